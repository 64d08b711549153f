/* Names: looking up, making, removing and moving them. Every name is one component below an open
 * directory, checked by request_name(); nothing here follows a symlink of the host's. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vm/fuse_internal.h"

/* Looks name up and answers with its entry. */
static int reply_lookup(struct fuse_request *r, const char *name)
{
	struct fuse_node *n;
	struct statx st;
	int e = node_lookup(r->s, r->node, name, &st, &n);

	if (e < 0)
		return e;
	entry_fill(r->s, n, &st, reply_add(r, sizeof(struct fuse_entry_out)));
	node_put(r->s, n);
	return 0;
}

int op_lookup(struct fuse_request *r)
{
	int e;
	const char *name = request_name(r, &e);

	return name ? reply_lookup(r, name) : e;
}

int op_forget(struct fuse_request *r)
{
	const struct fuse_forget_in *in = r->arg;

	node_forget(r->s, r->h.nodeid, in->nlookup);
	return 0;
}

int op_batch_forget(struct fuse_request *r)
{
	const struct fuse_batch_forget_in *in = r->arg;
	size_t n = r->rest_len / sizeof(struct fuse_forget_one);

	for (size_t i = 0; i < n && i < in->count; i++) {
		struct fuse_forget_one one;

		memcpy(&one, r->rest + i * sizeof(one), sizeof(one));
		node_forget(r->s, one.nodeid, one.nlookup);
	}
	return 0;
}

int op_readlink(struct fuse_request *r)
{
	int fd = node_fd(r->s, r->node);
	ssize_t n;

	if (fd < 0)
		return fd;
	if (!S_ISLNK(r->node->type))
		return -EINVAL;
	n = readlinkat(fd, "", (char *)r->w->reply, PATH_MAX);
	if (n < 0)
		return -errno;
	r->reply_len = (size_t)n;
	return 0;
}

/* ---- making ---- */

/* The directory of a request that makes something, as whom it is made. */
static int begin_make(struct fuse_request *r)
{
	int dir = node_fd(r->s, r->node), e;

	if (dir < 0)
		return dir;
	if (!S_ISDIR(r->node->type))
		return -ENOTDIR;
	e = node_room(r->s);
	if (e == 0)
		e = worker_become(r);
	return e < 0 ? e : dir;
}

int op_symlink(struct fuse_request *r)
{
	int e, dir;
	const char *name = request_name(r, &e), *target;

	if (!name)
		return e;
	target = r->rest;
	if (strnlen(target, r->rest_len) == r->rest_len)
		return -EINVAL;
	dir = begin_make(r);
	if (dir < 0)
		return dir;
	if (symlinkat(target, dir, name) < 0)
		return -errno;
	return reply_lookup(r, name);
}

/* As the kernel's new_decode_dev(), in the user-space encoding. */
static dev_t decode_dev(uint32_t dev)
{
	return makedev((dev & 0xfff00) >> 8, (dev & 0xff) | (dev >> 12 & 0xfff00));
}

int op_mknod(struct fuse_request *r)
{
	const struct fuse_mknod_in *in = r->arg;
	int e, dir;
	const char *name = request_name(r, &e);

	if (!name)
		return e;
	if (!S_ISREG(in->mode) && !S_ISFIFO(in->mode) && !S_ISSOCK(in->mode) &&
	    !S_ISCHR(in->mode) && !S_ISBLK(in->mode))
		return -EINVAL;
	dir = begin_make(r);
	if (dir < 0)
		return dir;
	if (mknodat(dir, name, in->mode & (S_IFMT | 07777), decode_dev(in->rdev)) < 0)
		return -errno;
	return reply_lookup(r, name);
}

int op_mkdir(struct fuse_request *r)
{
	const struct fuse_mkdir_in *in = r->arg;
	int e, dir;
	const char *name = request_name(r, &e);

	if (!name)
		return e;
	dir = begin_make(r);
	if (dir < 0)
		return dir;
	if (mkdirat(dir, name, in->mode & 07777) < 0)
		return -errno;
	return reply_lookup(r, name);
}

int op_link(struct fuse_request *r)
{
	const struct fuse_link_in *in = r->arg;
	int e, dir = node_fd(r->s, r->node), fd;
	const char *name = request_name(r, &e);
	struct fuse_node *n, *found;
	char path[FD_NAME_MAX];
	struct statx st;

	if (!name)
		return e;
	if (dir < 0)
		return dir;
	n = node_get(r->s, in->oldnodeid);
	if (!n)
		return -ESTALE;
	fd = node_fd(r->s, n);
	/* Through the magic link: AT_EMPTY_PATH would want CAP_DAC_READ_SEARCH of the host. */
	e = fd;
	if (fd >= 0)
		e = linkat(AT_FDCWD, fd_name(fd, path), dir, name, AT_SYMLINK_FOLLOW) < 0 ? -errno
											  : 0;
	if (e == 0)
		e = node_lookup(r->s, r->node, name, &st, &found);
	if (e == 0) {
		entry_fill(r->s, found, &st, reply_add(r, sizeof(struct fuse_entry_out)));
		node_put(r->s, found);
	}
	node_put(r->s, n);
	return e;
}

/* ---- removing and moving ---- */

static int remove_name(struct fuse_request *r, int flags)
{
	int e, dir = node_fd(r->s, r->node);
	const char *name = request_name(r, &e);
	struct fuse_node *n;

	if (!name)
		return e;
	if (dir < 0)
		return dir;
	n = node_leaving(r->s, r->node, name);
	e = unlinkat(dir, name, flags) < 0 ? -errno : 0;
	node_left(r->s, n, r->node, name, e == 0);
	return e;
}

int op_unlink(struct fuse_request *r)
{
	return remove_name(r, 0);
}

int op_rmdir(struct fuse_request *r)
{
	return remove_name(r, AT_REMOVEDIR);
}

static int rename_to(struct fuse_request *r, uint64_t new_parent, unsigned flags)
{
	int e, from = node_fd(r->s, r->node), to;
	const char *name = request_name(r, &e), *new_name;
	struct fuse_node *n, *replaced = NULL;

	if (!name)
		return e;
	new_name = request_name(r, &e);
	if (!new_name)
		return e;
	if (from < 0)
		return from;
	n = node_get(r->s, new_parent);
	if (!n)
		return -ESTALE;
	to = node_fd(r->s, n);
	e = to;
	if (to >= 0) {
		/* A whiteout is made by the way: for whom it is. */
		e = flags & RENAME_WHITEOUT ? worker_become(r) : 0;
		if (!(flags & (RENAME_EXCHANGE | RENAME_NOREPLACE)))
			replaced = node_leaving(r->s, n, new_name);
		if (e == 0 && renameat2(from, name, to, new_name, flags) < 0)
			e = -errno;
		node_left(r->s, replaced, n, new_name, e == 0);
	}
	if (e == 0) {
		node_moved(r->s, n, new_name);
		if (flags & RENAME_EXCHANGE)
			node_moved(r->s, r->node, name);
	}
	node_put(r->s, n);
	return e;
}

int op_rename(struct fuse_request *r)
{
	return rename_to(r, ((const struct fuse_rename_in *)r->arg)->newdir, 0);
}

int op_rename2(struct fuse_request *r)
{
	const struct fuse_rename2_in *in = r->arg;

	if (in->flags & ~(uint32_t)(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT))
		return -EINVAL;
	return rename_to(r, in->newdir, in->flags);
}
