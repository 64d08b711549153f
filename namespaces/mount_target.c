/*
 * Destinations. The rootfs may be hostile and may change while we look: a destination is resolved
 * inside the root to a descriptor, the mount goes onto that descriptor, and afterwards the
 * destination is resolved again and must lead to the mount. Nothing is ever mounted by a path.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/mount.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "namespaces/mount.h"

#define SYMLINKS_MAX 40 /* as in path_resolution(7) */

static int mnt_id(int fd, uint64_t *ret, mode_t *ret_mode)
{
	struct statx sx;

	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC,
		STATX_TYPE | STATX_MODE | STATX_MNT_ID, &sx) < 0)
		return -errno;
	*ret = sx.stx_mnt_id;
	if (ret_mode)
		*ret_mode = sx.stx_mode;
	return 0;
}

/* What is written to /proc and read from it decides labels and sysctls, so no part of the way there
 * may be a symbolic link; nor to a new sysfs. */
static bool wants_plain_path(const struct mount_entry *m)
{
	return path_below(m->dest, "/proc") || streq(m->dest, "/sys") || streq(m->type, "proc") ||
	       streq(m->type, "sysfs");
}

static int open_dest(const struct mount_entry *m, int rootfd)
{
	if (wants_plain_path(m))
		return root_open_nosym(rootfd, m->dest, O_PATH, 0);
	return root_open(
	    rootfd, m->dest, O_PATH | (m->ext & MOPT_EXT_DEST_NOFOLLOW ? O_NOFOLLOW : 0), 0);
}

/*
 * Where path leads when its links point to what does not exist yet, such as an image's
 * /etc/mtab -> ../proc/self/mounts: a path inside the root without
 * links. It may be stale the moment it is made; it is only used to make what is missing, and that
 * resolves inside the root again. Caller frees; NULL: too many links.
 */
static char *resolve_missing(int rootfd, const char *path)
{
	_cleanup_free_ char *left = xstrdup(path), *done = xstrdup("/");

	for (int links = 0; links <= SYMLINKS_MAX;) {
		_cleanup_close_ int fd = -EBADF;
		_cleanup_free_ char *raw = NULL, *next = NULL, *rest = NULL;
		char link[PATH_MAX];
		const char *name = left + strspn(left, "/");
		size_t len = strcspn(name, "/");
		ssize_t n = 0;

		if (!len)
			return steal_ptr(done);
		raw = xasprintf("%s/%.*s", done, (int)len, name);
		next = path_normalize(raw);
		fd = root_open_nosym(rootfd, next, O_PATH | O_NOFOLLOW, 0);
		if (fd >= 0)
			n = readlinkat(fd, "", link, sizeof(link) - 1);
		if (n > 0) {
			link[n] = '\0';
			links++;
			rest = xasprintf("%s%s", link, name + len);
			free(next);
			next = *link == '/' ? xstrdup("/") : steal_ptr(done);
		} else { /* missing, or no link: nothing to resolve in it */
			rest = xstrdup(name + len);
		}
		free(left);
		left = steal_ptr(rest);
		free(done);
		done = steal_ptr(next);
	}
	return NULL;
}

static int make_at(int rootfd, const char *path, bool dir)
{
	return dir ? root_mkdir_p(rootfd, path, 0755) : root_create_file(rootfd, path, 0644);
}

static int make_dest(const struct mount_entry *m, int rootfd, bool dir)
{
	_cleanup_free_ char *path = NULL;
	int fd = make_at(rootfd, m->dest, dir);

	if (fd == -ENOENT && !wants_plain_path(m)) {
		path = resolve_missing(rootfd, m->dest);
		fd = path ? make_at(rootfd, path, dir) : -ELOOP;
	}
	if (fd < 0 || !wants_plain_path(m))
		return fd;
	close(fd);
	return open_dest(m, rootfd); /* by the rules that hold for it */
}

static int target_error(const struct mount_entry *m, int code, struct err *e)
{
	if (code == ELOOP && wants_plain_path(m))
		return err_set(e, ELOOP,
		    "%s.destination: \"%s\": a component is a symbolic link in the rootfs, which "
		    "is "
		    "refused for %s",
		    m->m->path, m->dest, path_below(m->dest, "/proc") ? "/proc" : "sysfs");
	return err_errno(e, code, "%s.destination: \"%s\" in the rootfs", m->m->path, m->dest);
}

int mount_target_open(const struct mount_plan *p, const struct mount_entry *m, int rootfd, bool dir,
    struct mount_target *ret, struct err *e)
{
	_cleanup_close_ int fd = open_dest(m, rootfd);
	bool created = false;
	uint64_t id;
	mode_t mode;
	int r;

	if (fd == -ENOENT) {
		fd = make_dest(m, rootfd, dir);
		created = true;
	}
	if (fd < 0)
		return target_error(m, -fd, e);
	r = mnt_id(fd, &id, &mode);
	if (r < 0)
		return target_error(m, -r, e);
	if (S_ISDIR(mode) != dir)
		return err_set(e, dir ? ENOTDIR : EISDIR,
		    "%s.destination: \"%s\": %s in the rootfs, where %s is to be mounted",
		    m->m->path, m->dest, dir ? "not a directory" : "a directory",
		    dir ? "a directory" : "a file");
	if (p->proc_mnt_id && id == p->proc_mnt_id && !path_below(m->dest, "/proc"))
		return err_set(e, ELOOP,
		    "%s.destination: \"%s\": leads into /proc by a symbolic link in the rootfs",
		    m->m->path, m->dest);
	ret->fd = steal_fd(&fd);
	ret->mode = mode;
	ret->created = created;
	return 0;
}

int mount_place(const struct mount_entry *m, int rootfd, int mfd, int targetfd,
    uint64_t *ret_mnt_id, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	uint64_t want, got = 0;
	int r;

	if (sys_move_mount(
		mfd, "", targetfd, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) < 0)
		return err_errno(e, errno, "%s: mount %s on \"%s\"", m->m->path, m->type, m->dest);
	r = mnt_id(mfd, &want, NULL);
	if (r < 0)
		return err_errno(e, -r, "%s: statx", m->m->path);
	fd = open_dest(m, rootfd);
	if (fd < 0)
		return target_error(m, -fd, e);
	r = mnt_id(fd, &got, NULL);
	if (r < 0 || got != want)
		return err_set(e, EXDEV,
		    "%s.destination: \"%s\": the rootfs changed under the mount, which now is "
		    "elsewhere",
		    m->m->path, m->dest);
	if (ret_mnt_id)
		*ret_mnt_id = want;
	return 0;
}

int mount_make_link(const struct mount_entry *m, int rootfd, struct err *e)
{
	_cleanup_close_ int dir = -EBADF;
	const char *base;
	char buf[PATH_MAX];
	ssize_t n;

	dir = root_open_parent(rootfd, m->dest, 0755, &base);
	if (dir < 0)
		return target_error(m, -dir, e);
	if (symlinkat(m->link, dir, base) == 0)
		return 0;
	if (errno != EEXIST)
		return target_error(m, errno, e);
	n = readlinkat(dir, base, buf, sizeof(buf) - 1);
	if (n >= 0) {
		buf[n] = '\0';
		if (streq(buf, m->link))
			return 0;
	}
	return err_set(e, EEXIST,
	    "%s.destination: \"%s\" exists and is no symbolic link to \"%s\" (copy-symlink)",
	    m->m->path, m->dest, m->link);
}
