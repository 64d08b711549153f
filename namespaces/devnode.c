#include "namespaces/devnode.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "namespaces/inroot.h"

static mode_t file_type(const struct spec_device *d)
{
	return d->type == 'b' ? S_IFBLK : d->type == 'p' ? S_IFIFO : S_IFCHR;
}

/* Type and number both: st_rdev alone means nothing on what is no device. */
static bool is_device(const struct stat *st, const struct spec_device *d)
{
	return (st->st_mode & S_IFMT) == file_type(d) &&
	       (d->type == 'p' || st->st_rdev == makedev(d->major, d->minor));
}

static const char *what_is(mode_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFLNK:
		return "a symbolic link";
	case S_IFDIR:
		return "a directory";
	case S_IFCHR:
	case S_IFBLK:
		return "another device";
	case S_IFIFO:
		return "a fifo";
	default:
		return "a file";
	}
}

static int exists_error(const struct dev_item *it, const struct stat *st, struct err *e)
{
	return err_set(e, EEXIST, "%s: %s is there already in the container's root", it->label,
	    what_is(st->st_mode));
}

/* ---- the host's nodes ---- */

static int open_host_at(const char *path, const struct spec_device *dev)
{
	_cleanup_close_ int fd = sys_open_tree(
	    AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return is_device(&st, dev) ? steal_fd(&fd) : -ENODEV;
}

/* "/dev/" + DEVNAME of /sys/dev/{char,block}/M:m/uevent, or NULL. Caller frees. */
static char *host_name(const struct spec_device *dev)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_strv_ char **lines = NULL;
	struct err ignored = ERR_INIT;
	char path[64];

	snprintf(path, sizeof(path), "/sys/dev/%s/%u:%u/uevent",
	    dev->type == 'b' ? "block" : "char", dev->major, dev->minor);
	if (file_read(AT_FDCWD, path, 65536, &text, NULL, &ignored) < 0)
		return NULL;
	lines = strv_split(text, '\n');
	for (size_t i = 0; i < strv_len(lines); i++) {
		const char *name = startswith(lines[i], "DEVNAME=");

		if (name)
			return xasprintf("/dev/%s", name);
	}
	return NULL;
}

int dev_open_host(const struct spec_device *dev, const char *label, int *ret, struct err *e)
{
	int fd = open_host_at(dev->path, dev);

	if (fd == -ENOENT || fd == -ENODEV) {
		_cleanup_free_ char *name = host_name(dev);

		if (name && !streq(name, dev->path)) {
			log_debug("%s: the host has it as %s", label, name);
			fd = open_host_at(name, dev);
		}
	}
	if (fd == -ENOENT || fd == -ENODEV)
		return err_set(e, ENODEV,
		    "%s: the host has no such node (%c %u:%u) to bind, and in a user namespace "
		    "none can be made",
		    label, dev->type, dev->major, dev->minor);
	if (fd < 0)
		return err_errno(e, -fd, "%s: open the host's node", label);
	*ret = fd;
	return 0;
}

/* ---- making ---- */

/* Looks at dir/base without following it; *ret may be NULL. */
static int look(int dir, const char *base, struct stat *st, int *ret)
{
	_cleanup_close_ int fd = openat(dir, base, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0 || fstat(fd, st) < 0)
		return -errno;
	if (ret)
		*ret = steal_fd(&fd);
	return 0;
}

static int make_node(const struct dev_item *it, int dir, const char *base)
{
	const struct spec_device *d = &it->dev;
	mode_t mode = (d->file_mode.set ? d->file_mode.v : 0666) & 07777;
	dev_t rdev = d->type == 'p' ? 0 : makedev(d->major, d->minor);

	return mknodat(dir, base, file_type(d) | mode, rdev) < 0 ? -errno : 0;
}

/* Does an existing node differ from what the configuration says explicitly? */
static bool differs(const struct spec_device *d, const struct stat *st)
{
	return (d->file_mode.set && (st->st_mode & 07777) != (d->file_mode.v & 07777)) ||
	       (d->uid.set && st->st_uid != d->uid.v) || (d->gid.set && st->st_gid != d->gid.v);
}

static int set_owner(const struct dev_item *it, int dir, const char *base, struct err *e)
{
	const struct spec_device *d = &it->dev;
	uid_t uid = d->uid.set ? d->uid.v : 0;
	gid_t gid = d->gid.set ? d->gid.v : 0;
	_cleanup_close_ int fd = -EBADF;
	struct stat st;
	int r = look(dir, base, &st, &fd);

	if (r < 0)
		return err_errno(e, -r, "%s: look at the node", it->label);
	if (!is_device(&st, d))
		return exists_error(it, &st, e);
	if (st.st_uid == uid && st.st_gid == gid)
		return 0;
	if (fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0)
		return err_errno(e, errno, "%s: set owner %u:%u", it->label, uid, gid);
	return 0;
}

static int place_node(const struct dev_item *it, int dir, const char *base, struct err *e)
{
	struct stat st;
	int r = make_node(it, dir, base);

	if (r == -EEXIST) {
		r = look(dir, base, &st, NULL);
		if (r < 0)
			return err_errno(e, -r, "%s: look at what is there", it->label);
		if (!is_device(&st, &it->dev))
			return exists_error(it, &st, e);
		if (!differs(&it->dev, &st)) {
			log_debug("%s: there already", it->label);
			return 0;
		}
		/* A new node rather than a chmod: what is there may have other names. */
		if (unlinkat(dir, base, 0) < 0)
			return err_errno(
			    e, errno, "%s: replace the node with another mode", it->label);
		r = make_node(it, dir, base);
	}
	if (r == -EPERM)
		return err_errno(e, EPERM, "%s: mknod (CAP_MKNOD is needed)", it->label);
	if (r < 0)
		return err_errno(e, -r, "%s: mknod", it->label);
	return set_owner(it, dir, base, e);
}

/* The file to bind on: made here, or the empty one of a former run, or a node of that device. */
static int open_bind_target(
    const struct dev_item *it, int dir, const char *base, int *ret, struct err *e)
{
	_cleanup_close_ int fd =
	    openat(dir, base, O_RDONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	struct stat st;
	int r;

	if (fd < 0 && errno != EEXIST)
		return err_errno(e, errno, "%s: make the file to bind on", it->label);
	if (fd < 0) {
		r = look(dir, base, &st, &fd);
		if (r < 0)
			return err_errno(e, -r, "%s: look at what is there", it->label);
		if (!is_device(&st, &it->dev) && !(S_ISREG(st.st_mode) && st.st_size == 0))
			return exists_error(it, &st, e);
	}
	*ret = steal_fd(&fd);
	return 0;
}

static int place_bind(const struct dev_item *it, int dir, const char *base, struct err *e)
{
	_cleanup_close_ int target = -EBADF;
	struct stat st;
	int r = open_bind_target(it, dir, base, &target, e);

	if (r < 0)
		return r;
	r = mount_onto(it->tree, target);
	if (r < 0)
		return err_errno(e, -r, "%s: bind the host's node", it->label);
	r = look(dir, base, &st, NULL);
	if (r < 0)
		return err_errno(e, -r, "%s: look at the node", it->label);
	if (!is_device(&st, &it->dev))
		return err_set(e, ESTALE, "%s: was replaced while it was mounted over", it->label);
	if (differs(&it->dev, &st))
		log_warning("%s: keeps the host node's mode and owner, it cannot be made anew here",
		    it->label);
	return 0;
}

static int open_dir(const struct dev_item *it, int rootfd, const char *base, struct err *e)
{
	_cleanup_free_ char *dir = xstrdup(it->dev.path);
	int fd;

	dir[base - it->dev.path] = '\0';
	fd = dir_open_nosym(rootfd, dir, !it->must_exist);
	/* The image must not choose where a device goes: a volume, say, that the host sees. */
	if (fd == -ELOOP)
		return err_set(e, ELOOP,
		    "%s: a directory on its way is a symbolic link in the container's root",
		    it->label);
	return fd < 0 ? err_errno(e, -fd, "%s: open its directory", it->label) : fd;
}

int dev_place(const struct dev_item *it, int rootfd, struct err *e)
{
	const char *base = strrchr(it->dev.path, '/') + 1;
	_cleanup_close_ int dir = -EBADF;
	struct stat st;
	int r;

	if (!*base)
		return err_set(e, EINVAL, "%s: is no path of a file", it->label);
	dir = open_dir(it, rootfd, base, e);
	if (dir < 0)
		return steal_fd(&dir);
	if (it->must_exist) {
		r = look(dir, base, &st, NULL);
		if (r < 0)
			return err_errno(
			    e, -r, "%s: /dev is a bind mount, where nothing is made", it->label);
		return is_device(&st, &it->dev) ? 0 : exists_error(it, &st, e);
	}
	return it->tree >= 0 ? place_bind(it, dir, base, e) : place_node(it, dir, base, e);
}
