/*
 * Paths inside a root that an attacker may own.
 *
 * Everything resolves with openat2(2): RESOLVE_IN_ROOT keeps `..`, absolute symlinks and magic
 * links inside rootfd, and what comes back is a descriptor, never a string to be resolved again.
 */
#pragma once
#include <fcntl.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "base/err.h"

/* openat2(rootfd, path, flags | O_CLOEXEC, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS). Retries
 * EAGAIN (a rename race seen by the kernel) a bounded number of times. Returns fd or -errno. */
int root_open(int rootfd, const char *path, int flags, mode_t mode);
/* The same with RESOLVE_NO_SYMLINKS: a symlink anywhere is -ELOOP. */
int root_open_nosym(int rootfd, const char *path, int flags, mode_t mode);
/* Opens the directory path inside rootfd (O_PATH|O_DIRECTORY), making missing components with
 * mode. Symlinks are followed inside the root; a dangling one is -ENOENT; a component that is no
 * directory -ENOTDIR. Each mkdirat goes to an open parent fd. Returns fd or -errno. */
int root_mkdir_p(int rootfd, const char *path, mode_t mode);
/* Makes the parents, then an empty regular file if nothing is there; returns an O_PATH fd of what
 * is there, symlinks followed inside the root. */
int root_create_file(int rootfd, const char *path, mode_t mode);
/* root_mkdir_p of the path's parent; *ret_base points into path at the last component, which is
 * never empty, "." or "..": -EINVAL then. */
int root_open_parent(int rootfd, const char *path, mode_t mode, const char **ret_base);

/* Absolute, without "//", "/./" and "/../" (resolved lexically, never above "/"); caller frees. */
char *path_normalize(const char *path);
/* base + "/" + path unless path is absolute; caller frees. */
char *path_join(const char *base, const char *path);
bool path_is_absolute(const char *path);

/* Is fd on procfs (PROC_SUPER_MAGIC), resp. its root (inode 1)? */
bool fd_is_procfs(int fd);
bool fd_is_procfs_root(int fd);
/* Character device with this number on fd? (fstat, never by path) */
bool fd_is_chardev(int fd, unsigned maj, unsigned min);
