#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

int fd_read_all(int fd, size_t max, char **ret, size_t *ret_len)
{
	_cleanup_free_ char *buf = NULL;
	size_t len = 0, cap = 0;

	for (;;) {
		ssize_t n;

		if (cap - len < 2) {
			cap = cap ? cap * 2 : 4096;
			buf = xrealloc(buf, cap);
		}
		n = read(fd, buf + len, cap - len - 1);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			break;
		len += (size_t)n;
		if (len > max)
			return -EFBIG;
	}
	buf[len] = '\0';
	*ret = steal_ptr(buf);
	if (ret_len)
		*ret_len = len;
	return 0;
}

int file_read(int dirfd, const char *path, size_t max, char **ret, size_t *ret_len, struct err *e)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);
	int r;

	if (fd < 0)
		return err_errno(e, errno, "open %s", path);
	r = fd_read_all(fd, max, ret, ret_len);
	if (r == -EFBIG)
		return err_set(e, EFBIG, "%s: larger than %zu bytes", path, max);
	if (r < 0)
		return err_errno(e, -r, "read %s", path);
	return 0;
}

int fd_write_all(int fd, const void *buf, size_t n)
{
	const char *p = buf;

	while (n) {
		ssize_t w = write(fd, p, n);

		if (w < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += w;
		n -= (size_t)w;
	}
	return 0;
}

int kfile_write(int dirfd, const char *path, const char *s)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t n = strlen(s);
	ssize_t w;

	if (fd < 0)
		return -errno;
	do
		w = write(fd, s, n);
	while (w < 0 && errno == EINTR);
	if (w < 0)
		return -errno;
	return (size_t)w == n ? 0 : -EIO;
}

int kfile_read(int dirfd, const char *path, char **ret)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	size_t n;
	int r;

	if (fd < 0)
		return -errno;
	r = fd_read_all(fd, 16 * 1024 * 1024, ret, &n);
	if (r < 0)
		return r;
	if (n && (*ret)[n - 1] == '\n')
		(*ret)[n - 1] = '\0';
	return 0;
}

int file_replace(int dirfd, const char *path, const void *buf, size_t n, mode_t mode,
    bool volatile_, struct err *e)
{
	_cleanup_free_ char *tmp = xasprintf("%s.tmp-%d", path, getpid());
	const int flags = O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW;
	_cleanup_close_ int fd = openat(dirfd, tmp, flags, mode);
	int r;

	/* Left by a process that was killed; or a trap, where others may write to the directory. */
	if (fd < 0 && errno == EEXIST && unlinkat(dirfd, tmp, 0) == 0)
		fd = openat(dirfd, tmp, flags, mode);
	if (fd < 0)
		return err_errno(e, errno, "create %s", tmp);
	r = fd_write_all(fd, buf, n);
	if (r == 0 && !volatile_ && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && renameat(dirfd, tmp, dirfd, path) < 0)
		r = -errno;
	if (r < 0) {
		unlinkat(dirfd, tmp, 0);
		return err_errno(e, -r, "write %s", path);
	}
	return 0;
}

union fd_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(int) * FD_PASS_MAX)];
};

int sock_send_fds(int sock, const void *buf, size_t n, const int *fds, size_t n_fds)
{
	union fd_control control = { 0 };
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t w;

	if (n_fds > FD_PASS_MAX)
		return -E2BIG;
	if (n_fds) {
		struct cmsghdr *c;

		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	do
		w = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (w < 0 && errno == EINTR);
	if (w < 0)
		return -errno;
	return (size_t)w == n ? 0 : -EMSGSIZE;
}

ssize_t sock_recv_fds(int sock, void *buf, size_t n, int *fds, size_t *n_fds)
{
	union fd_control control;
	struct iovec iov = { .iov_base = buf, .iov_len = n };
	struct msghdr msg = { .msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf) };
	size_t room = n_fds ? *n_fds : 0, got = 0;
	ssize_t len;

	do
		len = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (len < 0 && errno == EINTR);
	if (len < 0)
		return -errno;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		size_t count;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < count; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (got < room)
				fds[got++] = fd;
			else
				close(fd);
		}
	}
	if (n_fds)
		*n_fds = got;
	return (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) ? -EMSGSIZE : len;
}

/* A socket's address: the path itself, or below /proc/self/fd/DIRFD, which is always short. */
static int unix_address(struct sockaddr_un *a, int dirfd, const char *name)
{
	int n;

	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (dirfd == AT_FDCWD)
		n = snprintf(a->sun_path, sizeof(a->sun_path), "%s", name);
	else
		n = snprintf(a->sun_path, sizeof(a->sun_path), "/proc/self/fd/%d/%s", dirfd, name);
	return n < 0 || (size_t)n >= sizeof(a->sun_path) ? -ENAMETOOLONG : 0;
}

int unix_connect_at(int type, int dirfd, const char *name)
{
	_cleanup_close_ int fd = -EBADF;
	struct sockaddr_un a;
	int r = unix_address(&a, dirfd, name);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return -errno;
	return steal_fd(&fd);
}

int unix_connect(int type, const char *path)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *dir = NULL;
	_cleanup_close_ int dirfd = -EBADF;

	if (!slash || strlen(path) < sizeof(((struct sockaddr_un *)0)->sun_path))
		return unix_connect_at(type, AT_FDCWD, path);
	dir = xstrdup(path);
	dir[slash - path + 1] = '\0';
	dirfd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return -errno;
	return unix_connect_at(type, dirfd, slash + 1);
}

int unix_listen(int type, int dirfd, const char *name, mode_t mode)
{
	_cleanup_close_ int fd = -EBADF;
	struct sockaddr_un a;
	mode_t old;
	int r = unix_address(&a, dirfd, name);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	old = umask(0777 & ~mode);
	r = bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ? -errno : 0;
	umask(old);
	if (r < 0)
		return r;
	if (listen(fd, 16) < 0)
		return -errno;
	return steal_fd(&fd);
}

int fd_cloexec(int fd, bool on)
{
	int flags = fcntl(fd, F_GETFD);

	if (flags < 0)
		return -errno;
	flags = on ? flags | FD_CLOEXEC : flags & ~FD_CLOEXEC;
	return fcntl(fd, F_SETFD, flags) < 0 ? -errno : 0;
}

char *fd_path(int fd, char buf[FD_PATH_MAX])
{
	snprintf(buf, FD_PATH_MAX, "/proc/self/fd/%d", fd);
	return buf;
}

int fd_read_child(int fd, pid_t pid, size_t max, char **ret_text, int *ret_status)
{
	int r = fd_read_all(fd, max, ret_text, NULL);

	/* Also stops one that prints too much: its pipe is closed. */
	close(fd);
	while (waitpid(pid, ret_status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (r < 0)
		return r;
	for (char *c = *ret_text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = *c == '\n' && !c[1] ? '\0' : ' ';
	return 0;
}
