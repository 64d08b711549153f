/*
 * Owners, modes, xattrs and times. The order matters to the kernel: writing takes file capabilities
 * and special bits away, chown(2) too, so: data, owner, mode, xattrs, time.
 */
#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "images/unpack_internal.h"

/* ---- owners ---- */

static int map_id(const struct unpack_idmap *map, size_t n, uint32_t id, uint32_t *ret)
{
	if (n == 0) {
		*ret = id;
		return 0;
	}
	for (size_t i = 0; i < n; i++) {
		if (id < map[i].inside || id - map[i].inside >= map[i].count)
			continue;
		*ret = map[i].outside + (id - map[i].inside);
		return 0;
	}
	return -EINVAL;
}

int map_owner(const struct apply *a, uint32_t uid, uint32_t gid, uid_t *ret_uid, gid_t *ret_gid,
    struct err *e)
{
	const struct unpack_opts *o = a->opts;

	if (map_id(o->uids, o->n_uids, uid, ret_uid) < 0)
		return err_set(e, EINVAL,
		    "user %u is outside of the id mapping; add ranges to /etc/subuid", uid);
	if (map_id(o->gids, o->n_gids, gid, ret_gid) < 0)
		return err_set(e, EINVAL,
		    "group %u is outside of the id mapping; add ranges to /etc/subgid", gid);
	return 0;
}

static int chown_failed(struct err *e, int code, uid_t uid, gid_t gid)
{
	return err_errno(e, code, "chown to %u:%u%s", uid, gid,
	    code == EINVAL ? ", which this user namespace does not map" : "");
}

/* ---- file capabilities ---- */

/* Bytes of struct vfs_ns_cap_data by revision (linux/capability.h), little endian. */
#define CAP_V2_SIZE 20
#define CAP_V3_SIZE 24

static uint32_t get_le32(const uint8_t *p)
{
	return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void put_le32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

/*
 * Capabilities count for the user namespace whose root they name, by default the host's. Files made
 * for a namespace mapped elsewhere have to name its root. buf: CAP_V3_SIZE bytes.
 */
static int map_capability(const struct apply *a, struct tar_xattr *x, uint8_t *buf, struct err *e)
{
	const struct unpack_opts *o = a->opts;
	uint32_t root = 0, magic = x->len >= 4 ? get_le32(x->value) : 0;
	uint32_t revision = magic & VFS_CAP_REVISION_MASK;

	if (!(revision == VFS_CAP_REVISION_2 && x->len == CAP_V2_SIZE) &&
	    !(revision == VFS_CAP_REVISION_3 && x->len == CAP_V3_SIZE))
		return err_set(e, EBADMSG, "security.capability: unknown form (%zu bytes, 0x%08x)",
		    x->len, magic);
	memcpy(buf, x->value, x->len);
	if (revision == VFS_CAP_REVISION_3)
		root = get_le32(buf + CAP_V2_SIZE);
	if (map_id(o->uids, o->n_uids, root, &root) < 0)
		return err_set(
		    e, EINVAL, "security.capability: user %u is outside of the id mapping", root);
	if (root != 0 || revision == VFS_CAP_REVISION_3) {
		put_le32(buf, (magic & ~VFS_CAP_REVISION_MASK) | VFS_CAP_REVISION_3);
		put_le32(buf + CAP_V2_SIZE, root);
		x->len = CAP_V3_SIZE;
	}
	x->value = buf;
	return 0;
}

/* ---- xattrs ---- */

enum xattr_fate { XATTR_SET, XATTR_LEFT_OUT, XATTR_REFUSED };
/* The first prefix that fits decides. */
static const struct {
	const char *prefix;
	enum xattr_fate fate;
} fates[] = {
	{ "trusted.overlay.", XATTR_REFUSED },
	{ "user.overlay.", XATTR_REFUSED },
	{ "security.selinux", XATTR_LEFT_OUT },
	{ "system.posix_acl_", XATTR_LEFT_OUT },
	{ "user.", XATTR_SET },
	{ "trusted.", XATTR_SET },
	{ "security.", XATTR_SET },
};

static enum xattr_fate fate(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(fates); i++)
		if (startswith(name, fates[i].prefix))
			return fates[i].fate;
	return XATTR_REFUSED;
}

static int xattr_failed(struct err *e, int code, const char *what, const char *name)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *hint = "";

	if (code == EOPNOTSUPP)
		hint = " (this file system or file type has none of that kind)";
	else if (code == EPERM)
		hint = " (the kernel keeps it to a more privileged user)";
	return err_errno(e, code, "%s xattr %s%s", what, json_quote(a, name), hint);
}

/* fd, or if that is negative the name in its place, a symlink not followed. */
static int set_one(int fd, const struct place *p, const struct tar_xattr *x)
{
	char dir[FD_PATH_MAX], *path;
	int r;

	if (fd >= 0)
		return fsetxattr(fd, x->name, x->value, x->len, 0) < 0 ? -errno : 0;
	path = xasprintf("%s/%s", fd_path(p->dir->fd, dir), p->name);
	r = lsetxattr(path, x->name, x->value, x->len, 0) < 0 ? -errno : 0;
	free(path);
	return r;
}

static int set_xattrs(
    struct apply *a, int fd, const struct place *p, const struct tar_entry *en, struct err *e)
{
	a->skipped += en->has_acl;
	for (size_t i = 0; i < en->n_xattrs; i++) {
		struct tar_xattr x = en->xattrs[i];
		enum xattr_fate what = fate(x.name);
		uint8_t cap[CAP_V3_SIZE];
		int r = 0;

		if (what == XATTR_LEFT_OUT) {
			a->skipped++;
			continue;
		}
		if (what == XATTR_REFUSED)
			return xattr_failed(e, EBADMSG, "a layer has no say in", x.name);
		if (streq(x.name, "security.capability"))
			r = map_capability(a, &x, cap, e);
		if (r < 0)
			return r;
		r = set_one(fd, p, &x);
		if (r < 0)
			return xattr_failed(e, -r, "set", x.name);
	}
	return 0;
}

/* A directory of a lower layer that this layer names too is as this layer says. */
static int clear_xattrs(int fd, struct err *e)
{
	_cleanup_free_ char *names = NULL;
	ssize_t n = flistxattr(fd, NULL, 0);

	if (n <= 0)
		return n < 0 && errno != EOPNOTSUPP ? err_errno(e, errno, "list xattrs") : 0;
	names = xmalloc((size_t)n);
	n = flistxattr(fd, names, (size_t)n);
	if (n < 0)
		return err_errno(e, errno, "list xattrs");
	for (const char *x = names; x < names + n; x += strlen(x) + 1)
		if (fate(x) == XATTR_SET && fremovexattr(fd, x) < 0)
			return xattr_failed(e, errno, "remove", x);
	return 0;
}

/* ---- all of them ---- */

int set_attrs_dir(struct apply *a, int fd, bool existed, struct late *late,
    const struct tar_entry *en, struct err *e)
{
	uid_t uid;
	gid_t gid;
	int r = map_owner(a, en->uid, en->gid, &uid, &gid, e);

	if (r == 0 && fchown(fd, uid, gid) < 0)
		r = chown_failed(e, errno, uid, gid);
	if (r == 0 && existed)
		r = clear_xattrs(fd, e);
	if (r == 0)
		r = set_xattrs(a, fd, NULL, en, e);
	if (r < 0)
		return r;
	late->mode = en->mode;
	late->mtime = en->mtime;
	late->set_mode = late->set_mtime = true;
	return 0;
}

int set_attrs_file(struct apply *a, int fd, const struct tar_entry *en, struct err *e)
{
	struct timespec times[2] = { en->mtime, en->mtime };
	struct stat st;
	uid_t uid;
	gid_t gid;
	int r = map_owner(a, en->uid, en->gid, &uid, &gid, e);

	/* Most files are right already, and asking costs less than setting. */
	if (r == 0 && fstat(fd, &st) < 0)
		r = err_errno(e, errno, "stat");
	if (r == 0 && (st.st_uid != uid || st.st_gid != gid) && fchown(fd, uid, gid) < 0)
		r = chown_failed(e, errno, uid, gid);
	if (r == 0 && (st.st_mode & 07777) != en->mode && fchmod(fd, en->mode) < 0)
		r = err_errno(e, errno, "chmod to %04o", en->mode);
	if (r == 0)
		r = set_xattrs(a, fd, NULL, en, e);
	if (r == 0 && futimens(fd, times) < 0)
		r = err_errno(e, errno, "set the time");
	return r;
}

int set_attrs_at(struct apply *a, const struct place *p, const struct tar_entry *en, struct err *e)
{
	struct timespec times[2] = { en->mtime, en->mtime };
	int dir = p->dir->fd;
	uid_t uid;
	gid_t gid;
	int r = map_owner(a, en->uid, en->gid, &uid, &gid, e);

	if (r == 0 && fchownat(dir, p->name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		r = chown_failed(e, errno, uid, gid);
	if (r == 0 && en->type != TAR_SYMLINK &&
	    fchmodat(dir, p->name, en->mode, AT_SYMLINK_NOFOLLOW) < 0)
		r = err_errno(e, errno, "chmod to %04o", en->mode);
	if (r == 0)
		r = set_xattrs(a, -EBADF, p, en, e);
	if (r == 0 && utimensat(dir, p->name, times, AT_SYMLINK_NOFOLLOW) < 0)
		r = err_errno(e, errno, "set the time");
	return r;
}
