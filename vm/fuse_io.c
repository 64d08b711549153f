/* Data: read and written between the host's page cache and the request's segments, without a copy
 * of ours. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdio.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vm/fuse_internal.h"
#include "vm/queue.h"

/* A worker serves one request at a time: a long copy is done in parts. */
#define COPY_MAX (16u << 20)

int op_read(struct fuse_request *r)
{
	const struct fuse_read_in *in = r->arg;
	uint64_t room = r->out_bytes - sizeof(struct fuse_out_header);
	struct fuse_handle *h;
	unsigned n;
	ssize_t got;

	if (in->offset > INT64_MAX)
		return -EINVAL;
	h = handle_get(r->s, r->node, in->fh, false);
	if (!h)
		return -EBADF;
	n = iov_slice(r->out, r->n_out, sizeof(struct fuse_out_header),
	    in->size < room ? in->size : room, r->w->iov);
	got = preadv2(h->fd, r->w->iov, (int)n, (off_t)in->offset, 0);
	got = got < 0 ? -errno : got;
	handle_put(r->s, h);
	if (got < 0)
		return (int)got;
	r->reply_len = (size_t)got;
	r->in_place = true;
	return 0;
}

/* The flags that the file has in the guest now, by fcntl(2) perhaps not those of its opening. */
static int write_flags(uint32_t flags)
{
	int rwf = flags & O_APPEND ? RWF_APPEND : 0;

	if ((flags & O_SYNC) == O_SYNC)
		rwf |= RWF_SYNC;
	else if (flags & O_DSYNC)
		rwf |= RWF_DSYNC;
	return rwf;
}

int op_write(struct fuse_request *r)
{
	const struct fuse_write_in *in = r->arg;
	const uint64_t at = sizeof(r->h) + sizeof(*in);
	struct fuse_write_out *out;
	struct fuse_handle *h;
	ssize_t put;
	unsigned n;

	/* All that it says is there, and its answer has room. */
	if (in->size > r->h.len - at || in->offset > INT64_MAX ||
	    r->out_bytes < sizeof(struct fuse_out_header) + sizeof(*out))
		return -EINVAL;
	h = handle_get(r->s, r->node, in->fh, false);
	if (!h)
		return -EBADF;
	n = iov_slice(r->in, r->n_in, at, in->size, r->w->iov);
	worker_fsetid(r->w, !(in->write_flags & FUSE_WRITE_KILL_SUIDGID));
	put = pwritev2(h->fd, r->w->iov, (int)n, (off_t)in->offset,
	    in->write_flags & FUSE_WRITE_CACHE ? 0 : write_flags(in->flags));
	put = put < 0 ? -errno : put;
	handle_put(r->s, h);
	if (put < 0)
		return (int)put;
	out = reply_add(r, sizeof(*out));
	out->size = (uint32_t)put;
	return 0;
}

static int sync_handle(struct fuse_request *r, bool dir)
{
	const struct fuse_fsync_in *in = r->arg;
	struct fuse_handle *h = handle_get(r->s, r->node, in->fh, dir);
	int e;

	if (!h)
		return -EBADF;
	e = in->fsync_flags & FUSE_FSYNC_FDATASYNC ? fdatasync(h->fd) : fsync(h->fd);
	e = e < 0 ? -errno : 0;
	handle_put(r->s, h);
	return e;
}

int op_fsync(struct fuse_request *r)
{
	return sync_handle(r, false);
}

int op_fsyncdir(struct fuse_request *r)
{
	return sync_handle(r, true);
}

/* The file system of a mount: the guest asks for each of its superblocks. */
int op_syncfs(struct fuse_request *r)
{
	int fd, e;

	if (!S_ISDIR(r->node->type))
		return -EINVAL;
	fd = node_reopen(r, r->node, O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	e = syncfs(fd) < 0 ? -errno : 0;
	pthread_mutex_lock(&r->s->lock);
	close(fd);
	fds_give(r->s);
	pthread_mutex_unlock(&r->s->lock);
	return e;
}

/* This message and the next do not tell whether set-id bits may stay: root's do, as where root has
 * CAP_FSETID. */
int op_fallocate(struct fuse_request *r)
{
	const struct fuse_fallocate_in *in = r->arg;
	struct fuse_handle *h;
	int e;

	if (in->mode &
	    ~(uint32_t)(FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		return -EOPNOTSUPP;
	if (in->offset > INT64_MAX || in->length > INT64_MAX)
		return -EFBIG;
	h = handle_get(r->s, r->node, in->fh, false);
	if (!h)
		return -EBADF;
	worker_fsetid(r->w, r->h.uid == 0);
	e = fallocate(h->fd, (int)in->mode, (off_t)in->offset, (off_t)in->length) < 0 ? -errno : 0;
	handle_put(r->s, h);
	return e;
}

int op_lseek(struct fuse_request *r)
{
	const struct fuse_lseek_in *in = r->arg;
	struct fuse_lseek_out *out;
	struct fuse_handle *h;
	off_t at;
	int e;

	/* The guest's kernel knows about the others itself. */
	if (in->whence != SEEK_DATA && in->whence != SEEK_HOLE)
		return -EINVAL;
	if (in->offset > INT64_MAX)
		return -ENXIO;
	h = handle_get(r->s, r->node, in->fh, false);
	if (!h)
		return -EBADF;
	at = lseek(h->fd, (off_t)in->offset, (int)in->whence);
	e = at < 0 ? -errno : 0;
	handle_put(r->s, h);
	if (e < 0)
		return e;
	out = reply_add(r, sizeof(*out));
	out->offset = (uint64_t)at;
	return 0;
}

int op_copy_file_range(struct fuse_request *r)
{
	const struct fuse_copy_file_range_in *in = r->arg;
	struct fuse_handle *from = NULL, *to = NULL;
	struct fuse_write_out *out;
	struct fuse_node *n;
	loff_t at_in = (loff_t)in->off_in, at_out = (loff_t)in->off_out;
	ssize_t copied = -EBADF;

	if (in->flags || in->off_in > INT64_MAX || in->off_out > INT64_MAX)
		return -EINVAL;
	n = node_get(r->s, in->nodeid_out);
	if (!n)
		return -ESTALE;
	from = handle_get(r->s, r->node, in->fh_in, false);
	to = handle_get(r->s, n, in->fh_out, false);
	if (from && to) {
		worker_fsetid(r->w, r->h.uid == 0);
		copied = copy_file_range(
		    from->fd, &at_in, to->fd, &at_out, in->len < COPY_MAX ? in->len : COPY_MAX, 0);
		copied = copied < 0 ? -errno : copied;
	}
	handle_put(r->s, from);
	handle_put(r->s, to);
	node_put(r->s, n);
	if (copied < 0)
		return (int)copied;
	out = reply_add(r, sizeof(*out));
	out->size = (uint32_t)copied;
	return 0;
}
