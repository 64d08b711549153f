/* Requests: taken apart by one table, answered in one place. INIT and the server's life. */
#include "vm/fuse.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "vm/fuse_internal.h"
#include "vm/queue.h"

#define MINOR_MIN 31 /* Linux 5.4; virtio-fs began with it */
#define MINOR	  39

/* ---- INIT, DESTROY ---- */

#define WANTED                                                                                    \
	(FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_BIG_WRITES | FUSE_AUTO_INVAL_DATA |         \
	    FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO | FUSE_ASYNC_DIO | FUSE_PARALLEL_DIROPS | \
	    FUSE_MAX_PAGES | FUSE_CACHE_SYMLINKS | FUSE_SUBMOUNTS | FUSE_HANDLE_KILLPRIV_V2 |     \
	    FUSE_SETXATTR_EXT | FUSE_INIT_EXT | CREATE_SUPP_GROUP)

/* What the request of an older guest may lack: flags2 and beyond. */
#define INIT_IN_MIN offsetof(struct fuse_init_in, flags2)

static int op_init(struct fuse_request *r)
{
	const struct fuse_init_in *in = r->arg;
	struct fuse_init_out *out = reply_add(r, sizeof(*out));
	uint64_t flags = in->flags;
	bool again;

	if (flags & FUSE_INIT_EXT)
		flags |= (uint64_t)in->flags2 << 32;
	flags &= WANTED;
	*out = (struct fuse_init_out){
		.major = FUSE_KERNEL_VERSION,
		.minor = MINOR,
		.max_readahead = in->max_readahead,
		.flags = (uint32_t)flags,
		.flags2 = (uint32_t)(flags >> 32),
		.max_background = 64,
		.congestion_threshold = 48,
		.max_write = FUSE_DATA_MAX,
		.max_pages = FUSE_DATA_PAGES,
		.time_gran = 1,
	};
	/* A larger major is told ours and asks again. */
	if (in->major > FUSE_KERNEL_VERSION)
		return 0;
	if (in->major < FUSE_KERNEL_VERSION || in->minor < MINOR_MIN)
		return -EPROTO;
	pthread_mutex_lock(&r->s->lock);
	again = r->s->ready;
	if (!again) {
		r->s->submounts = flags & FUSE_SUBMOUNTS;
		r->s->setxattr_ext = flags & FUSE_SETXATTR_EXT;
		r->s->supp_groups = flags & CREATE_SUPP_GROUP;
		__atomic_store_n(&r->s->ready, true, __ATOMIC_RELEASE);
	}
	pthread_mutex_unlock(&r->s->lock);
	/* Once between resets: what was agreed upon is in use. */
	return again ? -EPROTO : 0;
}

static int op_destroy(struct fuse_request *r)
{
	fuse_server_reset(r->s);
	return 0;
}

/* ---- the table ---- */

enum {
	NO_NODE = 1,  /* the header's node id means nothing */
	NO_REPLY = 2, /* the guest has no room for one */
	DATA = 4,     /* what follows the struct stays in the segments */
};

struct fuse_op {
	int (*fn)(struct fuse_request *r);
	uint16_t size, min; /* of the struct; of what an older guest sends of it (0: all) */
	uint8_t flags;
};

static const struct fuse_op ops[] = {
	[FUSE_LOOKUP] = { op_lookup },
	[FUSE_FORGET] = { op_forget, sizeof(struct fuse_forget_in), 0, NO_NODE | NO_REPLY },
	[FUSE_GETATTR] = { op_getattr, sizeof(struct fuse_getattr_in) },
	[FUSE_SETATTR] = { op_setattr, sizeof(struct fuse_setattr_in) },
	[FUSE_READLINK] = { op_readlink },
	[FUSE_SYMLINK] = { op_symlink },
	[FUSE_MKNOD] = { op_mknod, sizeof(struct fuse_mknod_in) },
	[FUSE_MKDIR] = { op_mkdir, sizeof(struct fuse_mkdir_in) },
	[FUSE_UNLINK] = { op_unlink },
	[FUSE_RMDIR] = { op_rmdir },
	[FUSE_RENAME] = { op_rename, sizeof(struct fuse_rename_in) },
	[FUSE_LINK] = { op_link, sizeof(struct fuse_link_in) },
	[FUSE_OPEN] = { op_open, sizeof(struct fuse_open_in) },
	[FUSE_READ] = { op_read, sizeof(struct fuse_read_in) },
	[FUSE_WRITE] = { op_write, sizeof(struct fuse_write_in), 0, DATA },
	[FUSE_STATFS] = { op_statfs },
	[FUSE_RELEASE] = { op_release, sizeof(struct fuse_release_in), 0, NO_NODE },
	[FUSE_FSYNC] = { op_fsync, sizeof(struct fuse_fsync_in) },
	[FUSE_SETXATTR] = { op_setxattr, sizeof(struct fuse_setxattr_in),
	    FUSE_COMPAT_SETXATTR_IN_SIZE },
	[FUSE_GETXATTR] = { op_getxattr, sizeof(struct fuse_getxattr_in) },
	[FUSE_LISTXATTR] = { op_listxattr, sizeof(struct fuse_getxattr_in) },
	[FUSE_REMOVEXATTR] = { op_removexattr },
	[FUSE_FLUSH] = { op_flush, sizeof(struct fuse_flush_in) },
	[FUSE_INIT] = { op_init, sizeof(struct fuse_init_in), INIT_IN_MIN, NO_NODE },
	[FUSE_OPENDIR] = { op_opendir, sizeof(struct fuse_open_in) },
	[FUSE_READDIR] = { op_readdir, sizeof(struct fuse_read_in) },
	[FUSE_RELEASEDIR] = { op_releasedir, sizeof(struct fuse_release_in), 0, NO_NODE },
	[FUSE_FSYNCDIR] = { op_fsyncdir, sizeof(struct fuse_fsync_in) },
	[FUSE_CREATE] = { op_create, sizeof(struct fuse_create_in) },
	[FUSE_DESTROY] = { op_destroy, 0, 0, NO_NODE },
	[FUSE_BATCH_FORGET] = { op_batch_forget, sizeof(struct fuse_batch_forget_in), 0,
	    NO_NODE | NO_REPLY },
	[FUSE_FALLOCATE] = { op_fallocate, sizeof(struct fuse_fallocate_in) },
	[FUSE_READDIRPLUS] = { op_readdirplus, sizeof(struct fuse_read_in) },
	[FUSE_RENAME2] = { op_rename2, sizeof(struct fuse_rename2_in) },
	[FUSE_LSEEK] = { op_lseek, sizeof(struct fuse_lseek_in) },
	[FUSE_COPY_FILE_RANGE] = { op_copy_file_range, sizeof(struct fuse_copy_file_range_in) },
	[FUSE_SYNCFS] = { op_syncfs, sizeof(struct fuse_syncfs_in) },
	[FUSE_TMPFILE] = { op_tmpfile, sizeof(struct fuse_create_in) },
	[OP_STATX] = { op_statx, sizeof(struct fuse_statx_in) },
};

/* Of the operation, or NULL: the guest's kernel takes ENOSYS for "does not exist here": locks (they
 * are its own), ioctl, poll, bmap, access, interrupt, DAX. */
static const struct fuse_op *op_find(uint32_t opcode)
{
	return opcode < ARRAY_SIZE(ops) && ops[opcode].fn ? &ops[opcode] : NULL;
}

/* ---- taking apart ---- */

const char *request_name(struct fuse_request *r, int *ret_error)
{
	const char *name = r->rest;
	size_t n = strnlen(name, r->rest_len);

	/* It ends within the message; ".." would leave the tree, "." has a node. */
	if (n == r->rest_len || n == 0 || memchr(name, '/', n) || strcmp(name, ".") == 0 ||
	    strcmp(name, "..") == 0) {
		*ret_error = -EINVAL;
		return NULL;
	}
	if (n > FUSE_NAME_LIMIT) {
		*ret_error = -ENAMETOOLONG;
		return NULL;
	}
	r->rest += n + 1;
	r->rest_len -= n + 1;
	return name;
}

/* One supplementary group behind the operation's own arguments; cuts them off. */
static int take_extensions(struct fuse_request *r, size_t *len)
{
	size_t n = (size_t)r->h.total_extlen * 8, at;
	struct {
		uint32_t size, type, groups, first;
	} ext;

	r->supp = FUSE_NO_ID;
	if (!r->s->supp_groups || n == 0)
		return 0;
	if (n > *len)
		return -EINVAL;
	*len -= n;
	at = *len;
	while (n >= 8) {
		memcpy(&ext, r->w->args + at, n < sizeof(ext) ? n : sizeof(ext));
		if (ext.size < 8 || ext.size > n)
			return -EINVAL;
		if (ext.type == EXT_SUPP_GROUPS && ext.size >= sizeof(ext) && ext.groups == 1)
			r->supp = ext.first;
		n -= ext.size;
		at += ext.size;
	}
	return 0;
}

static int take_apart(struct fuse_request *r, const struct fuse_op *op)
{
	size_t len = r->h.len - sizeof(r->h), min = op->min ? op->min : op->size;
	struct fuse_worker *w = r->w;
	int e;

	if (op->fn == op_setxattr)
		min = r->s->setxattr_ext ? op->size : op->min;
	if (op->flags & DATA && len > op->size)
		len = op->size;
	if (len < min || len > sizeof(w->args) - 1)
		return -EINVAL;
	if (iov_read(r->in, r->n_in, sizeof(r->h), w->args, len) != len)
		return -EINVAL;
	e = take_extensions(r, &len);
	if (e < 0)
		return e;
	if (len < min)
		return -EINVAL;
	w->args[len] = '\0';
	/* A short struct is filled up in a place of its own. */
	r->arg = w->args;
	size_t own = op->fn == op_setxattr ? min : len < op->size ? len : op->size;
	if (own < op->size) {
		memcpy(w->scratch, w->args, own);
		memset(w->scratch + own, 0, op->size - own);
		r->arg = w->scratch;
	}
	r->rest = (const char *)w->args + own;
	r->rest_len = len - own;
	return 0;
}

/* ---- answering ---- */

void *reply_add(struct fuse_request *r, size_t n)
{
	void *p = r->w->reply + r->reply_len;

	memset(p, 0, n);
	r->reply_len += n;
	return p;
}

static ssize_t answer(struct fuse_request *r, int result)
{
	struct fuse_out_header h = { .len = sizeof(h), .error = result, .unique = r->h.unique };

	if (result == 0 && sizeof(h) + r->reply_len > r->out_bytes) {
		/* Nothing that was counted for the guest is lost to it: it broke the protocol. */
		h.error = -EIO;
		r->reply_len = 0;
	} else if (result < 0) {
		r->reply_len = 0;
	}
	h.len += (uint32_t)r->reply_len;
	if (r->reply_len && !r->in_place)
		iov_write(r->out, r->n_out, sizeof(h), r->w->reply, r->reply_len);
	iov_write(r->out, r->n_out, 0, &h, sizeof(h));
	return h.len;
}

static uint64_t total(const struct iovec *v, unsigned n)
{
	uint64_t sum = 0;

	while (n--)
		sum += v++->iov_len;
	return sum;
}

static int perform(struct fuse_request *r, const struct fuse_op *op)
{
	int e;

	if (r->h.len < sizeof(r->h) || r->h.len > r->in_bytes)
		return -EINVAL;
	if (!op)
		return -ENOSYS;
	if (!__atomic_load_n(&r->s->ready, __ATOMIC_ACQUIRE) && op->fn != op_init)
		return -EIO;
	e = take_apart(r, op);
	if (e < 0)
		return e;
	if (!(op->flags & NO_NODE)) {
		r->node = node_get(r->s, r->h.nodeid);
		if (!r->node)
			return -ESTALE;
	}
	e = op->fn(r);
	/* From the host's kernel it concerns one file system of many; the guest's would never ask
	 * again. */
	e = e == -ENOSYS ? -EOPNOTSUPP : e;
	node_put(r->s, r->node);
	return e;
}

ssize_t fuse_handle(struct fuse_worker *w, const struct iovec *in, unsigned n_in,
    const struct iovec *out, unsigned n_out)
{
	struct fuse_request r = {
		.w = w,
		.s = w->s,
		.supp = FUSE_NO_ID,
		.in = in,
		.out = out,
		.n_in = n_in,
		.n_out = n_out,
		.in_bytes = total(in, n_in),
		.out_bytes = total(out, n_out),
	};
	const struct fuse_op *op;
	int e;

	if (n_in > ARRAY_SIZE(w->iov) || n_out > ARRAY_SIZE(w->iov) ||
	    iov_read(in, n_in, 0, &r.h, sizeof(r.h)) != sizeof(r.h))
		return -EPROTO;
	op = op_find(r.h.opcode);
	if (op && op->flags & NO_REPLY) {
		perform(&r, op);
		return 0;
	}
	/* There is no answer to an INTERRUPT, nor room for any. */
	if (r.h.opcode == FUSE_INTERRUPT)
		return 0;
	if (r.out_bytes < sizeof(struct fuse_out_header))
		return -EPROTO;
	e = perform(&r, op);
	return answer(&r, e > 0 ? -EIO : e < -511 ? -EIO : e);
}

/* ---- the server ---- */

void fuse_default_limits(struct fuse_limits *ret)
{
	struct rlimit l = { .rlim_cur = 1024 };
	uint64_t n;

	getrlimit(RLIMIT_NOFILE, &l);
	n = l.rlim_cur > (1u << 20) ? 1u << 20 : l.rlim_cur;
	/* The rest of the process has a few dozen. */
	n = n > 1024 ? n - 256 : n * 3 / 4;
	*ret = (struct fuse_limits){ .nodes = 1u << 20, .fds = n, .idle = n / 2 };
	/* An idle descriptor pins an inode and a name in the host's memory, which is the
	 * container's. */
	if (ret->idle > 16384)
		ret->idle = 16384;
}

int fuse_server_new(int root, int self_fd, const struct fuse_limits *limits,
    struct fuse_server **ret, struct err *e)
{
	_cleanup_close_ int r_fd = root, s_fd = self_fd;
	struct fuse_server *s = xcalloc(1, sizeof(*s));
	int r;

	if (limits)
		s->max = *limits;
	else
		fuse_default_limits(&s->max);
	r = nodes_init(s, root, e);
	if (r < 0) {
		free(s);
		return r;
	}
	steal_fd(&r_fd);
	s->self_fd = steal_fd(&s_fd);
	pthread_mutex_init(&s->lock, NULL);
	*ret = s;
	return 0;
}

void fuse_server_reset(struct fuse_server *s)
{
	pthread_mutex_lock(&s->lock);
	handles_reset(s);
	nodes_reset(s);
	__atomic_store_n(&s->ready, false, __ATOMIC_RELEASE);
	pthread_mutex_unlock(&s->lock);
}

struct fuse_limits fuse_server_usage(struct fuse_server *s)
{
	struct fuse_limits now;

	pthread_mutex_lock(&s->lock);
	now = s->now;
	pthread_mutex_unlock(&s->lock);
	return now;
}

void fuse_server_free(struct fuse_server *s)
{
	if (!s)
		return;
	handles_free(s);
	nodes_free(s);
	closep(&s->self_fd);
	pthread_mutex_destroy(&s->lock);
	free(s);
}
