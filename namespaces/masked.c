/*
 * maskedPaths and readonlyPaths.
 *
 * The source of a mask is never a path: directories get clones of one empty read-only tmpfs made
 * here, files get clones of the container's null device after it was verified by descriptor
 * (inroot.h). So "not found" can only mean that the path to mask does not exist, the one error
 * that is skipped. ENOTDIR is not: a component that should be a directory and is not means that
 * the tree is not what the configuration describes. After each mount the path is resolved again,
 * and finding anything but the mask there is an error: it was swapped meanwhile.
 */
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "namespaces/inroot.h"
#include "namespaces/namespaces.h"

struct masks {
	int rootfd;
	int null;      /* -EBADF until the first file */
	int empty;     /* the tmpfs; -EBADF until the first directory */
	bool attached; /* empty is placed: only then can it be cloned */
};

static void masks_close(struct masks *m)
{
	closep(&m->null);
	closep(&m->empty);
}

/* An empty directory as a detached mount, read-only as a superblock and as a mount. */
static int make_empty_dir(struct err *e)
{
	_cleanup_close_ int fs = sys_fsopen("tmpfs", FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0)
		return err_errno(e, errno, "make the empty tmpfs for masks");
	if (sys_fsconfig(fs, FSCONFIG_SET_STRING, "source", "tmpfs", 0) < 0 ||
	    sys_fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0555", 0) < 0 ||
	    sys_fsconfig(fs, FSCONFIG_SET_STRING, "nr_inodes", "1", 0) < 0 ||
	    sys_fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL, 0) < 0 ||
	    sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_errno(e, errno, "make the empty tmpfs for masks");
	fd = sys_fsmount(fs, FSMOUNT_CLOEXEC,
	    MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	return fd < 0 ? err_errno(e, errno, "mount the empty tmpfs for masks") : fd;
}

/* *ret_tree: what to place; *ret_owned: it is a clone, to be closed by the caller. */
static int mask_for_dir(struct masks *m, int *ret, struct err *e)
{
	int fd;

	if (m->empty < 0) {
		fd = make_empty_dir(e);
		if (fd < 0)
			return fd;
		m->empty = fd;
	}
	if (!m->attached) {
		/* Before Linux 6.15 a mount cannot be cloned before it is attached, so the
		 * first directory gets the original. The fd stays on it. */
		fd = fcntl(m->empty, F_DUPFD_CLOEXEC, 0);
		if (fd < 0)
			return err_errno(e, errno, "duplicate a descriptor");
	} else {
		fd = mount_clone(m->empty);
		if (fd < 0)
			return err_errno(e, -fd, "clone the empty tmpfs for masks");
	}
	m->attached = true;
	*ret = fd;
	return 0;
}

static int mask_for_file(struct masks *m, int *ret, struct err *e)
{
	int fd, r;

	if (m->null < 0) {
		r = null_open(m->rootfd, &m->null, e);
		if (r < 0)
			return r;
	}
	fd = mount_clone(m->null);
	if (fd < 0)
		return err_errno(e, -fd, "clone the container's /dev/null");
	*ret = fd;
	return 0;
}

/* Puts tree on target and makes sure that it is what path now leads to. */
static int place(int rootfd, const char *path, int tree, int target, struct err *e)
{
	_cleanup_close_ int again = -EBADF;
	struct stat want, got;
	int r;

	if (fstat(tree, &want) < 0)
		return err_errno(e, errno, "%s: stat", path);
	r = mount_onto(tree, target);
	if (r < 0)
		return err_errno(e, -r, "%s: mount", path);
	again = root_open(rootfd, path, O_PATH, 0);
	if (again < 0)
		return err_errno(e, -again, "%s: look at the mount", path);
	if (fstat(again, &got) < 0)
		return err_errno(e, errno, "%s: stat", path);
	if (!same_inode(&want, &got))
		return err_set(e, ESTALE, "%s: was replaced while it was mounted over", path);
	return 0;
}

/* Opens a path to cover; *ret: -EBADF when it does not exist. */
static int open_target(int rootfd, const char *path, struct stat *st, int *ret, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	_cleanup_free_ char *norm = path_normalize(path);

	if (streq(norm, "/"))
		return err_set(e, EINVAL, "\"%s\": is the root itself", path);
	fd = root_open(rootfd, path, O_PATH, 0);
	if (fd == -ENOENT) {
		log_debug("%s: does not exist, nothing to cover", path);
		*ret = -EBADF;
		return 0;
	}
	if (fd < 0)
		return err_errno(e, -fd, "%s: open", path);
	if (fstat(fd, st) < 0)
		return err_errno(e, errno, "%s: stat", path);
	*ret = steal_fd(&fd);
	return 0;
}

static int mask_one(struct masks *m, const char *path, struct err *e)
{
	_cleanup_close_ int target = -EBADF, tree = -EBADF;
	struct stat st;
	int r = open_target(m->rootfd, path, &st, &target, e);

	if (r < 0 || target < 0)
		return r;
	r = S_ISDIR(st.st_mode) ? mask_for_dir(m, &tree, e) : mask_for_file(m, &tree, e);
	return r < 0 ? r : place(m->rootfd, path, tree, target, e);
}

int masked_paths_apply(const struct spec *s, int rootfd, struct err *e)
{
	_cleanup_(masks_close) struct masks m = { rootfd, -EBADF, -EBADF, false };

	for (size_t i = 0; i < s->masked_paths.n; i++) {
		int r = mask_one(&m, s->masked_paths.v[i], e);

		if (r < 0)
			return err_wrap(e, "config.json: .linux.maskedPaths[%zu]", i);
	}
	return 0;
}

static int readonly_one(int rootfd, const char *path, struct err *e)
{
	_cleanup_close_ int target = -EBADF, tree = -EBADF;
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	struct stat st;
	int r = open_target(rootfd, path, &st, &target, e);

	if (r < 0 || target < 0)
		return r;
	tree = sys_open_tree(
	    target, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE);
	if (tree < 0)
		return err_errno(e, errno, "%s: clone the mount", path);
	/* Detached, so nothing can have a file open for writing on it. */
	if (sys_mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr) < 0)
		return err_errno(e, errno, "%s: set read-only", path);
	r = place(rootfd, path, tree, target, e);
	if (r < 0)
		return r;
	/* A bind has the inode of what it covers, so place() could not see a swap that restored
	 * it: ask for the property itself. */
	_cleanup_close_ int again = root_open(rootfd, path, O_PATH, 0);
	struct statvfs vfs;
	if (again < 0 || fstatvfs(again, &vfs) < 0)
		return err_errno(e, again < 0 ? -again : errno, "%s: look at the mount", path);
	if (!(vfs.f_flag & ST_RDONLY))
		return err_set(e, ESTALE, "%s: was replaced while it was mounted over", path);
	return 0;
}

int readonly_paths_apply(const struct spec *s, int rootfd, struct err *e)
{
	for (size_t i = 0; i < s->readonly_paths.n; i++) {
		int r = readonly_one(rootfd, s->readonly_paths.v[i], e);

		if (r < 0)
			return err_wrap(e, "config.json: .linux.readonlyPaths[%zu]", i);
	}
	return 0;
}
