/*
 * The root.
 *
 * The rootfs is attached at root.path in the container's mount namespace: hooks that run before
 * pivot_root(2) find it there with its mounts, and what they mount below it is the container's.
 *
 * Where that path cannot be walked, by the root of a user namespace for example, it goes over "/",
 * which is always reachable. Paths keep resolving in the old tree then too, because the process's
 * root directory is the mount underneath; all but those that climb back to "/" by "..", which leads
 * on to what is mounted on it.
 */
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "base/sys.h"
#include "namespaces/mount.h"

#define MOUNTINFO_MAX (64u * 1024 * 1024)

/* Always slaves, also where the rootfs stays shared: the tree must not carry the attached root to
 * its peers on the host, nor may dropping it later take theirs away. The clones opened before keep
 * the propagation that config.json gives them. */
int mounts_make_slaves(struct err *e)
{
	struct mount_attr slave = { .propagation = MS_SLAVE };

	if (sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &slave) < 0)
		return err_errno(e, errno, "make the inherited mounts slaves of the host's");
	return 0;
}

/* A guest has no root.path. */
static bool attach_at_its_path(const struct mount_plan *p)
{
	const char *path = p->spec->root.path;

	if (p->export)
		return false;
	if (sys_move_mount(p->root_fd, "", AT_FDCWD, path,
		MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) == 0)
		return true;
	log_debug("the rootfs goes over \"/\", as nothing can be mounted on %s: %m", path);
	return false;
}

/* With no_pivot mounts of the host are taken away by their paths, which must not lead into the
 * rootfs. */
int rootfs_attach(struct mount_plan *p, bool no_pivot, int *ret_rootfd, struct err *e)
{
	int r = mounts_make_slaves(e);

	if (r < 0)
		return r;
	if ((no_pivot || !attach_at_its_path(p)) &&
	    sys_move_mount(p->root_fd, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_errno(e, errno, ".root.path: attach \"%s\"", p->spec->root.path);
	*ret_rootfd = steal_fd(&p->root_fd);
	return 0;
}

static bool is_proc_or_sys(const char *path)
{
	struct statfs st;

	return statfs(path, &st) == 0 &&
	       (st.f_type == PROC_SUPER_MAGIC || st.f_type == SYSFS_MAGIC);
}

static int cover(const char *path, struct err *e)
{
	if (mount("tmpfs", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "size=0") <
	    0)
		return err_errno(e, errno, "cover the host's %s", path);
	return 0;
}

/* Takes one of the host's mounts away; what a user namespace holds locked it may only cover. Covers
 * are needed for procfs and sysfs, through which files of the host could be reached. */
static int drop_host_mount(const char *path, struct err *e)
{
	bool kernel_fs = is_proc_or_sys(path);

	if (umount2(path, MNT_DETACH) == 0)
		return 0;
	if (kernel_fs)
		return cover(path, e);
	log_debug("%s stays mounted under the root: %m", path);
	return 0;
}

/* The mount point of a line of /proc/self/mountinfo, unescaped in place. */
static char *mount_point(char *line)
{
	char *save, *f = strtok_r(line, " ", &save), *out;

	for (int i = 0; f && i < 4; i++)
		f = strtok_r(NULL, " ", &save);
	out = f;
	for (char *in = f; in && *in; in++) {
		if (in[0] == '\\' && in[1] && in[2] && in[3]) {
			*out++ = (char)((in[1] - '0') << 6 | (in[2] - '0') << 3 | (in[3] - '0'));
			in += 3;
		} else {
			*out++ = *in;
		}
	}
	if (out)
		*out = '\0';
	return f;
}

/*
 * --no-pivot, for a host whose root is an initramfs, which cannot be pivoted away: it stays below
 * the rootfs. Its mounts are taken away, so that nothing but the initramfs's own files remains. By
 * path, which is safe here: paths of this process resolve in the host's tree, never in the rootfs.
 * The list holds the container's mounts too, at paths that mean something else here or nothing.
 */
static int drop_host_mounts(struct err *e)
{
	_cleanup_close_ int fd = open("/proc/self/mountinfo", O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	_cleanup_strv_ char **points = NULL;
	char *save;
	int r;

	if (fd < 0)
		return err_errno(e, errno, "open /proc/self/mountinfo");
	r = fd_read_all(fd, MOUNTINFO_MAX, &text, NULL);
	if (r < 0)
		return err_errno(e, -r, "read /proc/self/mountinfo");
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		const char *path = mount_point(l);

		if (path && !streq(path, "/"))
			strv_push(&points, xstrdup(path));
	}
	for (size_t i = 0; i < strv_len(points); i++) {
		r = drop_host_mount(points[i], e);
		if (r < 0)
			return r;
	}
	return 0;
}

static int move_root(int rootfd, struct err *e)
{
	int r = drop_host_mounts(e);

	if (r < 0)
		return r;
	if (fchdir(rootfd) < 0 || chroot(".") < 0 || chdir("/") < 0)
		return err_errno(e, errno, "change the root directory");
	return 0;
}

int rootfs_pivot(struct mount_plan *p, int rootfd, bool no_pivot, struct err *e)
{
	if (no_pivot)
		return move_root(rootfd, e);
	if (fchdir(rootfd) < 0)
		return err_errno(e, errno, "enter the rootfs");
	if (sys_pivot_root(".", ".") < 0)
		return err_errno(e, errno, "pivot_root%s",
		    errno == EINVAL ? " (where the host's root is an initramfs, use --no-pivot)"
				    : "");
	/* The old tree is now on top of the new root; all of it is a slave, so this stays here. */
	if (umount2(".", MNT_DETACH) < 0)
		return err_errno(e, errno, "detach the old root");
	if (chdir("/") < 0)
		return err_errno(e, errno, "chdir to the new root");
	return 0;
}

static int set_readonly(int fd, const char *what, struct err *e)
{
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };

	if (sys_mount_setattr(fd, "", AT_EMPTY_PATH, &ro) < 0)
		return err_errno(e, errno, "%s: make it read-only", what);
	return 0;
}

int rootfs_finish(struct mount_plan *p, int rootfd, struct err *e)
{
	static const struct {
		uint64_t type;
		bool rec;
	} by_name[] = {
		[PROP_PRIVATE] = { MS_PRIVATE, false },
		[PROP_RPRIVATE] = { MS_PRIVATE, true },
		[PROP_SLAVE] = { MS_SLAVE, false },
		[PROP_RSLAVE] = { MS_SLAVE, true },
		[PROP_SHARED] = { MS_SHARED, false },
		[PROP_RSHARED] = { MS_SHARED, true },
		[PROP_UNBINDABLE] = { MS_UNBINDABLE, false },
		[PROP_RUNBINDABLE] = { MS_UNBINDABLE, true },
	};
	enum spec_propagation prop = p->spec->rootfs_propagation;
	int r;

	for (size_t i = 0; i < p->n; i++) {
		struct mount_entry *m = &p->v[i];

		if (!m->late_ro)
			continue;
		r = set_readonly(m->fd, m->m->path, e);
		if (r < 0)
			return r;
		closep(&m->fd);
		m->fd = -EBADF;
	}
	if (p->spec->root.readonly) {
		r = set_readonly(rootfd, ".root.readonly", e);
		if (r < 0)
			return r;
	}
	if (prop == PROP_DEFAULT)
		return 0;
	r = mount_set_propagation(rootfd, by_name[prop].type, by_name[prop].rec);
	if (r < 0)
		return err_errno(e, -r, ".linux.rootfsPropagation");
	return 0;
}
