/* Files by descriptor: whole reads and writes, atomic replacement, passing fds over sockets. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

/* Reads all of fd, at most max bytes (-EFBIG beyond), NUL-terminated; caller frees *ret.
 * ret_len may be NULL. Raw -errno. */
int fd_read_all(int fd, size_t max, char **ret, size_t *ret_len);
/* For messages: what the child pid prints into the pipe fd (closed here) until both end, at most
 * max bytes, as one line of printable characters; caller frees *ret_text, also after an error.
 * *ret_status as waitpid(2)'s. Raw -errno. */
int fd_read_child(int fd, pid_t pid, size_t max, char **ret_text, int *ret_status);
/* Opens path below dirfd (AT_FDCWD too), O_RDONLY|O_CLOEXEC, and reads it whole. The error names
 * the path. */
int file_read(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len, struct err *e);
/* Writes all of buf, retrying short writes and EINTR. Raw -errno. */
int fd_write_all(int fd, const void *buf, size_t n);
/* Opens an existing file O_WRONLY|O_CLOEXEC|O_NOFOLLOW below dirfd and writes s in ONE write(2), as
 * kernel files demand. Raw -errno, so that callers choose the message. */
int kfile_write(int dirfd, const char *path, const char *s);
/* Reads a kernel file whole and drops one trailing newline; caller frees. Raw -errno. */
int kfile_read(int dirfd, const char *path, char **ret);
/* Replaces path below dirfd atomically (temporary name, fsync unless volatile_, rename). */
int file_replace(int dirfd, const char *path, const void *buf, size_t n, mode_t mode,
    bool volatile_, struct err *e);

/* Sends/receives one datagram with up to FD_PASS_MAX descriptors (SCM_RIGHTS). recv returns the
 * byte count, 0 on EOF; received fds are O_CLOEXEC; *n_fds in: capacity, out: count. Raw -errno. */
#define FD_PASS_MAX 8
int sock_send_fds(int sock, const void *buf, size_t n, const int *fds, size_t n_fds);
ssize_t sock_recv_fds(int sock, void *buf, size_t n, int *fds, size_t *n_fds);
/* Connects a SOCK_STREAM, SEQPACKET … unix socket to path, which may be longer than sun_path (it
 * goes through /proc/self/fd). Returns the fd (O_CLOEXEC) or -errno. */
int unix_connect(int type, const char *path);
/* Binds and listens at name inside dirfd. Returns the fd or -errno. */
int unix_listen(int type, int dirfd, const char *name, mode_t mode);
/* unix_connect() to name inside dirfd. */
int unix_connect_at(int type, int dirfd, const char *name);

/* Sets or clears FD_CLOEXEC. */
int fd_cloexec(int fd, bool on);
/* Formats "/proc/self/fd/N". */
#define FD_PATH_MAX 40
char *fd_path(int fd, char buf[FD_PATH_MAX]);
