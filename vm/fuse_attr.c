/* Attributes. Changes go to the inode through its entry in procfs's directory of descriptors, which
 * is the worker's working directory: O_PATH descriptors allow no fchmod(2) or ftruncate(2). */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vm/fuse_internal.h"

int fd_statx(int fd, struct statx *ret)
{
	return statx(fd, "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, NODE_STATX, ret) < 0 ? -errno : 0;
}

const char *fd_name(int fd, char buf[FD_NAME_MAX])
{
	snprintf(buf, FD_NAME_MAX, "%d", fd);
	return buf;
}

/* As the kernel's new_encode_dev(). */
static uint32_t encode_dev(uint32_t major, uint32_t minor)
{
	return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

static bool is_submount(const struct fuse_server *s, const struct fuse_node *n)
{
	return s->submounts && n->mount && S_ISDIR(n->type);
}

void attr_fill(
    struct fuse_server *s, const struct fuse_node *n, const struct statx *st, struct fuse_attr *ret)
{
	*ret = (struct fuse_attr){
		.ino = node_ino(n, st->stx_ino),
		.size = st->stx_size,
		.blocks = st->stx_blocks,
		.atime = (uint64_t)st->stx_atime.tv_sec,
		.mtime = (uint64_t)st->stx_mtime.tv_sec,
		.ctime = (uint64_t)st->stx_ctime.tv_sec,
		.atimensec = st->stx_atime.tv_nsec,
		.mtimensec = st->stx_mtime.tv_nsec,
		.ctimensec = st->stx_ctime.tv_nsec,
		.mode = st->stx_mode,
		.nlink = st->stx_nlink,
		.uid = st->stx_uid,
		.gid = st->stx_gid,
		.rdev = encode_dev(st->stx_rdev_major, st->stx_rdev_minor),
		.blksize = st->stx_blksize,
		.flags = is_submount(s, n) ? FUSE_ATTR_SUBMOUNT : 0,
	};
}

void entry_fill(struct fuse_server *s, const struct fuse_node *n, const struct statx *st,
    struct fuse_entry_out *ret)
{
	*ret = (struct fuse_entry_out){
		.nodeid = node_id(n),
		.entry_valid = KEEP_TIME,
		.attr_valid = KEEP_TIME,
	};
	attr_fill(s, n, st, &ret->attr);
}

/* The attributes of the node, by its handle if the request names one. */
static int request_statx(struct fuse_request *r, bool by_handle, uint64_t fh, struct statx *st)
{
	struct fuse_handle *h = NULL;
	int fd, e;

	if (by_handle) {
		h = handle_get(r->s, r->node, fh, S_ISDIR(r->node->type));
		if (!h)
			return -EBADF;
	}
	fd = h ? h->fd : node_fd(r->s, r->node);
	e = fd < 0 ? fd : fd_statx(fd, st);
	handle_put(r->s, h);
	return e;
}

static int attr_reply(struct fuse_request *r, const struct statx *st)
{
	struct fuse_attr_out *out = reply_add(r, sizeof(*out));

	out->attr_valid = KEEP_TIME;
	attr_fill(r->s, r->node, st, &out->attr);
	return 0;
}

int op_getattr(struct fuse_request *r)
{
	const struct fuse_getattr_in *in = r->arg;
	struct statx st;
	int e = request_statx(r, in->getattr_flags & FUSE_GETATTR_FH, in->fh, &st);

	return e < 0 ? e : attr_reply(r, &st);
}

static struct fuse_sx_time sx_time(const struct statx_timestamp *t)
{
	return (struct fuse_sx_time){ .tv_sec = t->tv_sec, .tv_nsec = t->tv_nsec };
}

int op_statx(struct fuse_request *r)
{
	const struct fuse_statx_in *in = r->arg;
	struct fuse_statx_out *out;
	struct statx st;
	int e = request_statx(r, in->getattr_flags & FUSE_GETATTR_FH, in->fh, &st);

	if (e < 0)
		return e;
	out = reply_add(r, sizeof(*out));
	out->attr_valid = KEEP_TIME;
	out->stat = (struct fuse_statx){
		.mask = st.stx_mask & (STATX_BASIC_STATS | STATX_BTIME),
		.blksize = st.stx_blksize,
		.nlink = st.stx_nlink,
		.uid = st.stx_uid,
		.gid = st.stx_gid,
		.mode = st.stx_mode,
		.ino = node_ino(r->node, st.stx_ino),
		.size = st.stx_size,
		.blocks = st.stx_blocks,
		.atime = sx_time(&st.stx_atime),
		.btime = sx_time(&st.stx_btime),
		.ctime = sx_time(&st.stx_ctime),
		.mtime = sx_time(&st.stx_mtime),
		.rdev_major = st.stx_rdev_major,
		.rdev_minor = st.stx_rdev_minor,
	};
	return 0;
}

/* ---- changes ---- */

static int set_owner(struct fuse_request *r, const struct fuse_setattr_in *in, int fd)
{
	uid_t uid = in->valid & FATTR_UID ? in->uid : (uid_t)-1;
	gid_t gid = in->valid & FATTR_GID ? in->gid : (gid_t)-1;

	if (!(in->valid & (FATTR_UID | FATTR_GID)))
		return 0;
	/* The set-group-id bit of what no group may execute (mandatory locking, once). */
	worker_fsetid(r->w, r->h.uid == 0);
	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH) < 0 ? -errno : 0;
}

static int set_mode(const struct fuse_setattr_in *in, const char *path)
{
	if (!(in->valid & FATTR_MODE))
		return 0;
	return fchmodat(AT_FDCWD, path, in->mode & 07777, 0) < 0 ? -errno : 0;
}

static int set_size(struct fuse_request *r, const struct fuse_setattr_in *in, const char *path)
{
	struct fuse_handle *h = NULL;
	int e;

	if (!(in->valid & FATTR_SIZE))
		return 0;
	if (in->size > INT64_MAX)
		return -EFBIG;
	if (in->valid & FATTR_FH) {
		h = handle_get(r->s, r->node, in->fh, false);
		if (!h)
			return -EBADF;
	}
	if (!S_ISREG(r->node->type)) {
		handle_put(r->s, h);
		return -EINVAL;
	}
	worker_fsetid(r->w, !(in->valid & FATTR_KILL_SUIDGID));
	e = h && h->writable ? ftruncate(h->fd, (off_t)in->size) : truncate(path, (off_t)in->size);
	e = e < 0 ? -errno : 0;
	handle_put(r->s, h);
	return e;
}

static struct timespec set_time(
    uint32_t valid, uint32_t flag, uint32_t now, uint64_t s, uint32_t ns)
{
	if (valid & now)
		return (struct timespec){ .tv_nsec = UTIME_NOW };
	if (valid & flag)
		return (struct timespec){ .tv_sec = (time_t)s, .tv_nsec = ns };
	return (struct timespec){ .tv_nsec = UTIME_OMIT };
}

static int set_times(const struct fuse_setattr_in *in, const char *path)
{
	const struct timespec t[2] = {
		set_time(in->valid, FATTR_ATIME, FATTR_ATIME_NOW, in->atime, in->atimensec),
		set_time(in->valid, FATTR_MTIME, FATTR_MTIME_NOW, in->mtime, in->mtimensec),
	};

	if (!(in->valid & (FATTR_ATIME | FATTR_MTIME | FATTR_ATIME_NOW | FATTR_MTIME_NOW)))
		return 0;
	/* The two special values of the field are flags of their own in the message. */
	if (((in->valid & FATTR_ATIME) && in->atimensec > 999999999) ||
	    ((in->valid & FATTR_MTIME) && in->mtimensec > 999999999))
		return -EINVAL;
	return utimensat(AT_FDCWD, path, t, 0) < 0 ? -errno : 0;
}

/* In an order in which no change undoes another: a new owner clears set-id bits, a new size sets
 * the time. */
int op_setattr(struct fuse_request *r)
{
	const struct fuse_setattr_in *in = r->arg;
	char path[FD_NAME_MAX];
	struct statx st;
	int fd = node_fd(r->s, r->node), e;

	if (fd < 0)
		return fd;
	fd_name(fd, path);
	e = set_owner(r, in, fd);
	if (e == 0 && in->valid & FATTR_MODE)
		worker_fsetid(r->w, true);
	if (e == 0)
		e = set_mode(in, path);
	if (e == 0)
		e = set_size(r, in, path);
	if (e == 0)
		e = set_times(in, path);
	if (e == 0)
		e = fd_statx(fd, &st);
	return e < 0 ? e : attr_reply(r, &st);
}

int op_statfs(struct fuse_request *r)
{
	int fd = node_fd(r->s, r->node);
	struct fuse_statfs_out *out;
	struct statfs st;

	if (fd < 0)
		return fd;
	if (fstatfs(fd, &st) < 0)
		return -errno;
	out = reply_add(r, sizeof(*out));
	out->st = (struct fuse_kstatfs){
		.blocks = st.f_blocks,
		.bfree = st.f_bfree,
		.bavail = st.f_bavail,
		.files = st.f_files,
		.ffree = st.f_ffree,
		.bsize = (uint32_t)st.f_bsize,
		.frsize = (uint32_t)st.f_frsize,
		.namelen = FUSE_NAME_LIMIT,
	};
	return 0;
}
