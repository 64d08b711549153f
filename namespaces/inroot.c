#include "namespaces/inroot.h"

#include <fcntl.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"

int dir_open_nosym(int rootfd, const char *path, bool make)
{
	_cleanup_close_ int fd = root_open_nosym(rootfd, path, O_PATH | O_DIRECTORY, 0);
	_cleanup_free_ char *copy = NULL;
	char *save;

	if (fd != -ENOENT || !make)
		return steal_fd(&fd);
	fd = root_open_nosym(rootfd, "/", O_PATH | O_DIRECTORY, 0);
	copy = xstrdup(path);
	for (char *name = strtok_r(copy, "/", &save); name && fd >= 0;
	     name = strtok_r(NULL, "/", &save)) {
		int next;

		if (streq(name, ".."))
			return -EINVAL;
		if (mkdirat(fd, name, 0755) < 0 && errno != EEXIST)
			return -errno;
		next = root_open_nosym(fd, name, O_PATH | O_DIRECTORY, 0);
		close(fd);
		fd = next;
	}
	return steal_fd(&fd);
}

bool same_inode(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

int mount_onto(int tree, int target)
{
	if (sys_move_mount(
		tree, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return -errno;
	return 0;
}

int mount_clone(int fd)
{
	int r = sys_open_tree(fd, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);

	return r < 0 ? -errno : r;
}

int null_open(int rootfd, int *ret, struct err *e)
{
	_cleanup_close_ int dir = dir_open_nosym(rootfd, "/dev", false);
	_cleanup_close_ int peek = -EBADF, fd = -EBADF;

	if (dir < 0)
		return err_errno(e, -dir, "the container's /dev");
	/* Looked at before it is opened: opening what somebody put there could have effects. */
	peek = openat(dir, "null", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (peek < 0)
		return err_errno(e, errno, "the container's /dev/null");
	if (!fd_is_chardev(peek, 1, 3))
		return err_set(e, EINVAL,
		    "the container's /dev/null is not the null device (character device 1:3)");
	/* And opened, because only that proves that the mount is not nodev. */
	fd = openat(dir, "null", O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(
		    e, errno, "open the container's /dev/null (is /dev mounted with nodev?)");
	if (!fd_is_chardev(fd, 1, 3))
		return err_set(e, EINVAL, "the container's /dev/null changed while it was opened");
	*ret = steal_fd(&fd);
	return 0;
}
