/* Steps that devices, console and masks share: a path's directory without symlinks, a mount onto a
 * descriptor that is checked afterwards, and a null device that can be trusted. */
#pragma once
#include <stdbool.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/err.h"

/* Opens the directory path inside rootfd (O_PATH), making what is missing with 0755 (umask applies)
 * when make. No component may be a symlink: -ELOOP. Returns fd or -errno. */
int dir_open_nosym(int rootfd, const char *path, bool make);

/* Is what the two describe one object? */
bool same_inode(const struct stat *a, const struct stat *b);

/* move_mount(2) of the mount fd tree onto what target is open on. Returns 0 or -errno. */
int mount_onto(int tree, int target);

/* A detached copy of the mount (or of the part of it) that fd is open on. Returns fd or -errno. */
int mount_clone(int fd);

/* The container's /dev/null, opened O_RDONLY without following any symlink and known by descriptor
 * to be character device 1:3 on a file system that honours devices. */
int null_open(int rootfd, int *ret, struct err *e);
