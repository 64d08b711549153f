/* The mounts of config.json, one after the other, in the child. */
#include <fcntl.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/mount.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "namespaces/mount.h"

static int place(struct mount_plan *p, struct mount_entry *m, const struct mount_env *env, int mfd,
    int targetfd, struct err *e)
{
	uint64_t id;
	int r = mount_place(m, env->rootfd, mfd, targetfd, &id, e);

	if (r == 0 && streq(m->dest, "/proc"))
		p->proc_mnt_id = id;
	return r;
}

static int apply_bind(
    struct mount_plan *p, struct mount_entry *m, const struct mount_env *env, struct err *e)
{
	struct mount_target t = { .fd = -EBADF };
	_cleanup_close_ int mfd = -EBADF, tfd = -EBADF;
	int r;

	if (m->link)
		return mount_make_link(m, env->rootfd, e);
	r = mount_target_open(p, m, env->rootfd, S_ISDIR(m->fmt), &t, e);
	if (r < 0)
		return r;
	tfd = t.fd;
	mfd = steal_fd(&m->fd);
	return place(p, m, env, mfd, tfd, e);
}

static int apply_new(
    struct mount_plan *p, struct mount_entry *m, const struct mount_env *env, struct err *e)
{
	struct mount_target t = { .fd = -EBADF };
	_cleanup_close_ int mfd = -EBADF, tfd = -EBADF;
	int r = mount_target_open(p, m, env->rootfd, true, &t, e);

	if (r < 0)
		return r;
	tfd = t.fd;
	r = mount_fs_new(m, env, t.created ? 0 : t.mode, &mfd, e);
	if (r == 0 && m->tmpcopyup && !t.created) {
		r = mount_copyup(tfd, mfd, m->dest, e);
		if (r < 0)
			err_wrap(e, "%s: tmpcopyup", m->m->path);
	}
	if (r == 0)
		r = place(p, m, env, mfd, tfd, e);
	if (r == 0 && m->late_ro)
		m->fd = steal_fd(&mfd);
	return r;
}

/*
 * The container's cgroup as a detached mount. A descriptor that was opened outside this mount
 * namespace cannot be cloned, so its directory is looked up again here, by the path the kernel
 * gives it, and compared.
 */
static int clone_cgroup(
    const struct mount_entry *m, const struct mount_env *env, int *ret, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	struct stat want, got;
	char name[40], path[4096];
	ssize_t n;

	if (env->cgroup_dirfd < 0)
		return err_set(e, ENOENT,
		    "%s: type \"%s\": the container has neither a cgroup namespace nor a cgroup of "
		    "its "
		    "own to show",
		    m->m->path, m->m->type);
	snprintf(name, sizeof(name), "self/fd/%d", env->cgroup_dirfd);
	n = readlinkat(env->procfd, name, path, sizeof(path) - 1);
	if (n < 0)
		return err_errno(e, errno, "%s: path of the container's cgroup", m->m->path);
	path[n] = '\0';
	fd = sys_open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
	if (fd < 0 || fstat(fd, &got) < 0 || fstat(env->cgroup_dirfd, &want) < 0)
		return err_errno(e, errno, "%s: the container's cgroup %s", m->m->path, path);
	if (got.st_dev != want.st_dev || got.st_ino != want.st_ino)
		return err_set(
		    e, EXDEV, "%s: %s is not the container's cgroup here", m->m->path, path);
	*ret = steal_fd(&fd);
	return 0;
}

static int bind_cgroup(
    const struct mount_entry *m, const struct mount_env *env, int *ret, struct err *e)
{
	struct mount_attr a = {
		.attr_set = m->top.set, .attr_clr = m->top.clr, .propagation = MS_PRIVATE
	};
	_cleanup_close_ int fd = -EBADF;
	int r = clone_cgroup(m, env, &fd, e);

	if (r < 0)
		return r;
	/* Without a namespace around it a writable cgroup is one of the host's: only on demand. */
	if (!env->new_cgroup_ns && !(a.attr_clr & MOUNT_ATTR_RDONLY))
		a.attr_set |= MOUNT_ATTR_RDONLY;
	if (sys_mount_setattr(fd, "", AT_EMPTY_PATH, &a) < 0)
		return err_errno(
		    e, errno, "%s: set the options on the container's cgroup", m->m->path);
	for (size_t i = 0; i < m->n_props; i++) {
		r = mount_set_propagation(fd, m->prop[i].type, m->prop[i].rec);
		if (r < 0)
			return err_errno(e, -r, "%s: set propagation", m->m->path);
	}
	*ret = steal_fd(&fd);
	return 0;
}

/* With a cgroup namespace a new cgroup2, whose root is the container's cgroup. Where the kernel
 * does not allow one to this user namespace, and where there is no cgroup namespace, the
 * container's cgroup is bound. */
static int apply_cgroup(
    struct mount_plan *p, struct mount_entry *m, const struct mount_env *env, struct err *e)
{
	struct mount_target t = { .fd = -EBADF };
	_cleanup_close_ int mfd = -EBADF, tfd = -EBADF;
	int r = mount_target_open(p, m, env->rootfd, true, &t, e);

	if (r < 0)
		return r;
	tfd = t.fd;
	r = -ENOENT;
	if (env->new_cgroup_ns) {
		r = mount_fs_new(m, env, 0, &mfd, e);
		if ((r != -EPERM && r != -EBUSY) || env->cgroup_dirfd < 0)
			goto place;
		log_debug(
		    "%s: no new cgroup2 (%s): binding the container's cgroup", m->m->path, e->msg);
		err_clear(e);
	}
	r = bind_cgroup(m, env, &mfd, e);
place:
	return r < 0 ? r : place(p, m, env, mfd, tfd, e);
}

static int apply_remount(
    struct mount_plan *p, struct mount_entry *m, const struct mount_env *env, struct err *e)
{
	struct mount_attr a = { .attr_set = m->top.set & ~(uint64_t)MOUNT_ATTR_RDONLY,
		.attr_clr = m->top.clr };
	struct mount_attr rec = { .attr_set = m->rec.set, .attr_clr = m->rec.clr };
	_cleanup_close_ int fd = root_open(env->rootfd, m->dest, O_PATH, 0);
	int r = 0;

	if (fd < 0)
		return err_errno(
		    e, -fd, "%s.destination: \"%s\" in the rootfs", m->m->path, m->dest);
	if (sys_mount_setattr(fd, "", AT_EMPTY_PATH, &a) < 0 ||
	    ((rec.attr_set || rec.attr_clr) &&
		sys_mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &rec) < 0))
		return err_errno(e, errno, "%s: remount \"%s\"%s", m->m->path, m->dest,
		    errno == EINVAL ? " (nothing is mounted there)" : "");
	for (size_t i = 0; r == 0 && i < m->n_props; i++)
		r = mount_set_propagation(fd, m->prop[i].type, m->prop[i].rec);
	if (r < 0)
		return err_errno(e, -r, "%s: set propagation", m->m->path);
	if (m->late_ro)
		m->fd = steal_fd(&fd);
	return 0;
}

typedef int apply_fn(
    struct mount_plan *p, struct mount_entry *m, const struct mount_env *env, struct err *e);

int mounts_apply(struct mount_plan *p, const struct mount_env *env, struct err *e)
{
	static apply_fn *const apply[] = {
		[MOUNT_BIND] = apply_bind,
		[MOUNT_NEW] = apply_new,
		[MOUNT_CGROUP] = apply_cgroup,
		[MOUNT_REMOUNT] = apply_remount,
	};

	for (size_t i = 0; i < p->n; i++) {
		int r = apply[p->v[i].kind](p, &p->v[i], env, e);

		if (r < 0)
			return r;
	}
	return 0;
}
