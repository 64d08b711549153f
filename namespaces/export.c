/*
 * What a virtual machine's monitor has as its root, and serves to the guest: the container's rootfs
 * and the sources of its bind mounts, and nothing else.
 *
 *   /rootfs        the rootfs; writable until the guest's agent has made the missing mount points
 *                  (not there where the machine has it on a disk)
 *   /m/INDEX       the source of .mounts[INDEX], with the attributes that config.json gives it
 *
 * The tree itself is a tmpfs, read-only once it stands.
 */
#include <fcntl.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/mount.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "namespaces/mount.h"

static int new_tmpfs(int *ret, struct err *e)
{
	_cleanup_close_ int fsfd = sys_fsopen("tmpfs", FSOPEN_CLOEXEC);
	int fd;

	if (fsfd < 0 || sys_fsconfig(fsfd, FSCONFIG_SET_STRING, "mode", "0755", 0) < 0 ||
	    sys_fsconfig(fsfd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_errno(e, errno, "tmpfs for the machine's files");
	fd = sys_fsmount(
	    fsfd, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "tmpfs for the machine's files");
	*ret = fd;
	return 0;
}

static int make_place(int dir, const char *name, mode_t fmt)
{
	int fd;

	if (S_ISDIR(fmt))
		return mkdirat(dir, name, 0755) < 0 ? -errno : 0;
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static int put(int dir, const char *name, mode_t fmt, int mfd)
{
	int r = make_place(dir, name, fmt);

	if (r == 0 && sys_move_mount(mfd, "", dir, name, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		r = -errno;
	return r;
}

static int export_bind(
    struct mount_plan *p, size_t i, int dir, struct mount_export *x, struct err *e)
{
	struct mount_entry *m = &p->v[i];
	char name[24];
	int r;

	snprintf(name, sizeof(name), "%zu", i);
	if (m->link)
		r = symlinkat(m->link, dir, name) < 0 ? -errno : 0;
	else
		r = put(dir, name, m->fmt, m->fd);
	if (r < 0)
		return err_errno(
		    e, -r, "%s.source: \"%s\": export it to the machine", m->m->path, m->m->source);
	closep(&m->fd);
	m->fd = -EBADF;
	x->indices[x->n++] = (uint32_t)i;
	return 0;
}

static int export_binds(struct mount_plan *p, int root, struct mount_export *x, struct err *e)
{
	_cleanup_close_ int dir = -EBADF;
	int r = 0;

	x->indices = arena_calloc(p->arena, p->n, sizeof(*x->indices));
	if (mkdirat(root, "m", 0755) < 0 ||
	    (dir = openat(root, "m", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return err_errno(e, errno, "directory for the machine's files");
	for (size_t i = 0; i < p->n && r == 0; i++)
		if (p->v[i].kind == MOUNT_BIND)
			r = export_bind(p, i, dir, x, e);
	return r;
}

int mounts_export(struct mount_plan *p, struct mount_export *ret, struct err *e)
{
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };
	struct mount_export x = { .root = -EBADF, .rootfs = -EBADF };
	_cleanup_close_ int root = -EBADF, rootfs = -EBADF;
	int r = new_tmpfs(&root, e);

	if (r < 0)
		return r;
	/* Over "/", which is always reachable, and pivot_root(2) swaps the two. */
	if (sys_move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_errno(e, errno, "attach the machine's files");
	r = p->no_root ? 0 : put(root, "rootfs", S_IFDIR, p->root_fd);
	if (r < 0)
		return err_errno(
		    e, -r, ".root.path: \"%s\": export it to the machine", p->spec->root.path);
	rootfs = steal_fd(&p->root_fd);
	r = export_binds(p, root, &x, e);
	if (r < 0)
		return r;
	if (sys_mount_setattr(root, "", AT_EMPTY_PATH, &ro) < 0)
		return err_errno(e, errno, "make the tree of the machine's files read-only");
	x.root = steal_fd(&root);
	x.rootfs = steal_fd(&rootfs);
	*ret = x;
	return 0;
}

int mounts_export_seal(int rootfs)
{
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };

	return sys_mount_setattr(rootfs, "", AT_EMPTY_PATH, &ro) < 0 ? -errno : 0;
}
