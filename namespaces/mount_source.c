/*
 * The host's side: rootfs and bind sources as detached mounts.
 *
 * Host paths come from config.json, which is trusted, so symbolic links in them are followed. The
 * clones leave the host's peer groups here, before they are attached anywhere: what is mounted in
 * the container does not show up on the host, whatever the host's mounts are.
 */
#include <fcntl.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/mount.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "namespaces/mount.h"

uint64_t mount_default_propagation(enum spec_propagation p)
{
	static const uint64_t by_root[] = {
		[PROP_DEFAULT] = MS_SLAVE,
		[PROP_PRIVATE] = MS_PRIVATE,
		[PROP_RPRIVATE] = MS_PRIVATE,
		[PROP_SLAVE] = MS_SLAVE,
		[PROP_RSLAVE] = MS_SLAVE,
		[PROP_SHARED] = 0,
		[PROP_RSHARED] = 0,
		[PROP_UNBINDABLE] = MS_PRIVATE,
		[PROP_RUNBINDABLE] = MS_PRIVATE,
	};

	return by_root[p];
}

int mount_set_propagation(int fd, uint64_t type, bool rec)
{
	struct mount_attr a = { .propagation = type };

	if (sys_mount_setattr(fd, "", AT_EMPTY_PATH | (rec ? AT_RECURSIVE : 0), &a) < 0)
		return -errno;
	return 0;
}

void mount_plan_set_overlay(struct mount_plan *p, const struct overlay *o)
{
	p->overlay = o;
}

void mount_plan_set_no_root(struct mount_plan *p)
{
	p->no_root = true;
}

static int open_root(struct mount_plan *p, struct err *e)
{
	const char *path =
	    p->export ? arena_printf(p->arena, "%s/rootfs", p->export) : p->spec->root.path;
	uint64_t prop = mount_default_propagation(p->spec->rootfs_propagation);
	_cleanup_close_ int fd = -EBADF;
	struct stat st;
	int r;

	fd = p->overlay ? overlay_open(p->overlay, e)
			: sys_open_tree(
			      AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (fd < 0)
		return p->overlay ? fd : err_errno(e, errno, ".root.path: \"%s\"", path);
	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, ".root.path: \"%s\"", path);
	if (!S_ISDIR(st.st_mode))
		return err_errno(e, ENOTDIR, ".root.path: \"%s\"", path);
	/* A shared root could not be pivoted to, and would show every mount of the container to the
	 * host. What is below it stays shared when that is asked for; the root itself gets a peer
	 * group of its own in the end. */
	r = mount_set_propagation(fd, prop ? prop : MS_SLAVE, prop != 0);
	if (r < 0)
		return err_errno(e, -r, ".root.path: \"%s\": set propagation", path);
	p->root_fd = steal_fd(&fd);
	return 0;
}

static bool same_maps(const struct spec_id_maps *a, const struct spec_id_maps *b)
{
	return a->n == b->n && (a->n == 0 || memcmp(a->v, b->v, a->n * sizeof(*a->v)) == 0);
}

/* The user namespace for the entry's mappings; mounts that follow with the same ones share it. */
static int idmap_userns(struct mount_plan *p, const struct mount_entry *m, struct err *e)
{
	const struct spec_id_maps *uids = &m->m->uid_mappings, *gids = &m->m->gid_mappings;
	int fd;

	if (!uids->n) {
		uids = &p->spec->uid_mappings;
		gids = &p->spec->gid_mappings;
	}
	if (p->idmap.fd >= 0 && same_maps(uids, p->idmap.uids) && same_maps(gids, p->idmap.gids))
		return p->idmap.fd;
	fd = userns_new(uids, gids, e);
	if (fd < 0)
		return fd;
	closep(&p->idmap.fd);
	p->idmap.fd = fd;
	p->idmap.uids = uids;
	p->idmap.gids = gids;
	return fd;
}

static bool attr_empty(const struct mount_attr *a)
{
	return !a->attr_set && !a->attr_clr && !a->propagation;
}

static int set_attr(
    int fd, const struct mount_entry *m, bool rec, struct mount_attr *a, struct err *e)
{
	const char *why = "";

	if (attr_empty(a))
		return 0;
	if (sys_mount_setattr(fd, "", AT_EMPTY_PATH | (rec ? AT_RECURSIVE : 0), a) == 0)
		return 0;
	if ((a->attr_set & MOUNT_ATTR_IDMAP) && errno == EINVAL)
		why = " (its filesystem may not support id-mapped mounts on this kernel)";
	else if ((a->attr_set & MOUNT_ATTR_IDMAP) && errno == EPERM)
		why = " (an id-mapped mount needs privilege over the filesystem it is of)";
	else if (a->attr_clr && errno == EPERM)
		why = " (in a user namespace, flags that the host set on the source cannot be "
		      "taken off)";
	return err_errno(
	    e, errno, "%s: set the options on \"%s\"%s", m->m->path, m->m->source, why);
}

/*
 * As few mount_setattr calls as the options allow. A clone starts with its source's flags, and only
 * what the options name is set or cleared. A recursive change and one of the top mount alone need a
 * call each, and so does every propagation type beyond the first: `shared` after the default
 * `slave` is both.
 */
static int bind_attrs(struct mount_plan *p, const struct mount_entry *m, int fd, struct err *e)
{
	struct mount_attr rec = { .attr_set = m->rec.set, .attr_clr = m->rec.clr };
	struct mount_attr top = { .attr_set = m->top.set, .attr_clr = m->top.clr };
	uint64_t def = mount_default_propagation(p->spec->rootfs_propagation);
	size_t next = 0;
	int r;

	if (m->idmap || m->ridmap) {
		struct mount_attr *a = m->ridmap ? &rec : &top;

		r = idmap_userns(p, m, e);
		if (r < 0)
			return err_wrap(e, "%s", m->m->path);
		a->attr_set |= MOUNT_ATTR_IDMAP;
		a->userns_fd = (uint64_t)r;
	}
	rec.propagation = def;
	if (m->n_props && (m->prop[0].rec || !m->rec_bind) && m->prop[0].type != MS_SHARED &&
	    (def != MS_PRIVATE || m->prop[0].type != MS_SLAVE))
		rec.propagation = m->prop[next++].type; /* it replaces the default wholly */
	if (!m->rec_bind) {				/* one mount: all in one call */
		rec.attr_set |= top.attr_set & ~rec.attr_clr;
		rec.attr_clr |= top.attr_clr;
		rec.userns_fd |= top.userns_fd;
		top = (struct mount_attr){ 0 };
	}
	r = set_attr(fd, m, m->rec_bind, &rec, e);
	if (r == 0)
		r = set_attr(fd, m, false, &top, e);
	for (; r == 0 && next < m->n_props; next++) {
		struct mount_attr a = { .propagation = m->prop[next].type };

		r = set_attr(fd, m, m->prop[next].rec, &a, e);
	}
	return r;
}

/* copy-symlink: a source that is a symbolic link is copied, not mounted. *ret: NULL when it is
 * none. */
static int read_link(struct mount_plan *p, const char *path, const char **ret)
{
	char buf[4097];
	ssize_t n = readlink(path, buf, sizeof(buf) - 1);

	if (n < 0)
		return errno == EINVAL ? 0 : -errno;
	buf[n] = '\0';
	*ret = arena_strdup(p->arena, buf);
	return 0;
}

static int open_bind(struct mount_plan *p, struct mount_entry *m, struct err *e)
{
	_cleanup_free_ char *path = p->export ? xasprintf("%s/m/%td", p->export, m - p->v)
					      : path_join(p->spec->bundle, m->m->source);
	_cleanup_close_ int fd = -EBADF;
	unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC;
	struct stat st;
	int r;

	if (m->ext & MOPT_EXT_COPY_SYMLINK) {
		r = read_link(p, path, &m->link);
		if (r < 0)
			return err_errno(e, -r, "%s.source: \"%s\"", m->m->path, path);
		if (m->link)
			return 0;
	}
	if (m->rec_bind)
		flags |= AT_RECURSIVE;
	if (m->ext & MOPT_EXT_SRC_NOFOLLOW)
		flags |= AT_SYMLINK_NOFOLLOW;
	fd = sys_open_tree(AT_FDCWD, path, flags);
	if (fd < 0 && errno == EINVAL && !m->rec_bind)
		return err_errno(e, EINVAL,
		    "%s.source: \"%s\" (unbindable, or has mounts below it that a user namespace "
		    "must "
		    "not uncover: use \"rbind\")",
		    m->m->path, path);
	if (fd < 0)
		return err_errno(e, errno, "%s.source: \"%s\"", m->m->path, path);
	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, "%s.source: \"%s\"", m->m->path, path);
	if (streq(m->dest, "/proc") && !fd_is_procfs_root(fd))
		return err_set(e, EINVAL,
		    "%s.source: \"%s\" is not the root of a procfs, and nothing else goes over "
		    "/proc",
		    m->m->path, path);
	m->fmt = st.st_mode & S_IFMT;
	r = bind_attrs(p, m, fd, e);
	if (r < 0)
		return r;
	m->fd = steal_fd(&fd);
	return 0;
}

int mount_plan_open_sources(struct mount_plan *p, struct err *e)
{
	int r;

	if (p->root_fd >= 0)
		return 0;
	r = p->no_root ? 0 : open_root(p, e);
	for (size_t i = 0; r == 0 && i < p->n; i++)
		if (p->v[i].kind == MOUNT_BIND)
			r = open_bind(p, &p->v[i], e);
	closep(&p->idmap.fd);
	p->idmap.fd = -EBADF;
	return r;
}
