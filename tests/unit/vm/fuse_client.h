/* A FUSE client without a kernel: requests to a file server over a directory of its own, handled on
 * a thread of the server's so that the test's own ids and working directory stay as they are. */
#pragma once
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/fuse.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vm/fuse.h"

struct client {
	char top[64], root[80]; /* what is exported is top/root */
	struct fuse_server *server;
	struct err error;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t cond;
	/* The request on its way. */
	const struct iovec *in, *out;
	unsigned n_in, n_out;
	ssize_t result;
	bool pending, done, stop;
	/* Of the headers to come. */
	uint64_t unique;
	uint32_t uid, gid;
	const uint32_t *ext; /* extension, in units of 8 bytes */
	uint16_t n_ext;
	/* The last reply. */
	_Alignas(8) uint8_t reply[1 << 17];
	size_t reply_len;
};

static void *client_server_main(void *arg)
{
	struct client *c = arg;
	struct fuse_worker *w = NULL;
	int r = fuse_worker_new(c->server, &w, &c->error);

	pthread_mutex_lock(&c->lock);
	while (!c->stop) {
		if (c->pending) {
			c->pending = false;
			c->result = r < 0 ? r : fuse_handle(w, c->in, c->n_in, c->out, c->n_out);
			c->done = true;
			pthread_cond_broadcast(&c->cond);
		}
		pthread_cond_wait(&c->cond, &c->lock);
	}
	pthread_mutex_unlock(&c->lock);
	fuse_worker_free(w);
	return NULL;
}

static inline ssize_t client_raw(struct client *c, const struct iovec *in, unsigned n_in,
    const struct iovec *out, unsigned n_out)
{
	pthread_mutex_lock(&c->lock);
	c->in = in;
	c->out = out;
	c->n_in = n_in;
	c->n_out = n_out;
	c->done = false;
	c->pending = true;
	pthread_cond_broadcast(&c->cond);
	while (!c->done)
		pthread_cond_wait(&c->cond, &c->lock);
	pthread_mutex_unlock(&c->lock);
	return c->result;
}

/* One request of a struct and up to two pieces behind it. Returns 0 or the reply's -errno; the
 * answer's body is in c->reply. -EBADMSG: the reply is malformed. */
static inline int client_call(struct client *c, uint32_t op, uint64_t node, const void *arg,
    size_t n_arg, const void *one, size_t n_one, const void *two, size_t n_two)
{
	size_t n_ext = (size_t)c->n_ext * 8;
	struct fuse_in_header h = {
		.len = (uint32_t)(sizeof(h) + n_arg + n_one + n_two + n_ext),
		.opcode = op,
		.unique = ++c->unique,
		.nodeid = node,
		.uid = c->uid,
		.gid = c->gid,
		.total_extlen = c->n_ext,
	};
	struct fuse_out_header o = { 0 };
	const struct iovec in[] = {
		{ &h, sizeof(h) },
		{ (void *)arg, n_arg },
		{ (void *)one, n_one },
		{ (void *)two, n_two },
		{ (void *)c->ext, n_ext },
	};
	const struct iovec out[] = { { &o, sizeof(o) }, { c->reply, sizeof(c->reply) } };
	ssize_t n;

	memset(c->reply, 0x5a, 256);
	n = client_raw(c, in, 5, out, op == FUSE_FORGET || op == FUSE_BATCH_FORGET ? 0 : 2);
	c->reply_len = 0;
	if (n == 0 && (op == FUSE_FORGET || op == FUSE_BATCH_FORGET || op == FUSE_INTERRUPT))
		return 0;
	if (n < (ssize_t)sizeof(o) || o.len != (size_t)n || o.unique != c->unique || o.error > 0 ||
	    (o.error < 0 && n != sizeof(o)))
		return -EBADMSG;
	c->reply_len = (size_t)n - sizeof(o);
	return o.error;
}

#define CALL(c, op, node, arg) client_call(c, op, node, arg, sizeof(*(arg)), NULL, 0, NULL, 0)
#define CALL_NAME(c, op, node, arg, name) \
	client_call(c, op, node, arg, sizeof(*(arg)), name, strlen(name) + 1, NULL, 0)
#define CALL_ONLY_NAME(c, op, node, name) \
	client_call(c, op, node, NULL, 0, name, strlen(name) + 1, NULL, 0)
#define REPLY(c, type) ((const struct type *)(const void *)(c)->reply)

#define CLIENT_FLAGS                                                                          \
	(FUSE_ASYNC_READ | FUSE_ATOMIC_O_TRUNC | FUSE_AUTO_INVAL_DATA | FUSE_DO_READDIRPLUS | \
	    FUSE_MAX_PAGES | FUSE_SUBMOUNTS | FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT |   \
	    FUSE_INIT_EXT)
#define CLIENT_FLAGS2 (1u << 2) /* CREATE_SUPP_GROUP */

static inline int client_init(struct client *c)
{
	struct fuse_init_in in = {
		.major = 7, .minor = 38, .flags = CLIENT_FLAGS, .flags2 = CLIENT_FLAGS2
	};

	return CALL(c, FUSE_INIT, 0, &in);
}

static inline int client_tree(struct client *c)
{
	snprintf(c->top, sizeof(c->top), "/tmp/fuse-XXXXXX");
	if (!mkdtemp(c->top))
		return -errno;
	snprintf(c->root, sizeof(c->root), "%s/root", c->top);
	return mkdir(c->root, 0755) < 0 ? -errno : 0;
}

/* A server over an empty directory; limits as for fuse_server_new(). */
static inline int client_start(struct client *c, const struct fuse_limits *limits)
{
	memset(c, 0, sizeof(*c));
	int r = client_tree(c);

	if (r < 0)
		return r;
	r = fuse_server_new(open(c->root, O_PATH | O_DIRECTORY | O_CLOEXEC),
	    open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC), limits, &c->server, &c->error);
	if (r < 0)
		return r;
	pthread_mutex_init(&c->lock, NULL);
	pthread_cond_init(&c->cond, NULL);
	if (pthread_create(&c->thread, NULL, client_server_main, c) != 0)
		return -EAGAIN;
	return client_init(c);
}

static inline int client_unlink(const char *path, const struct stat *st, int type, struct FTW *f)
{
	(void)st;
	(void)type;
	(void)f;
	return remove(path) < 0 && errno != EBUSY ? -1 : 0;
}

static inline void client_stop(struct client *c)
{
	pthread_mutex_lock(&c->lock);
	c->stop = true;
	pthread_cond_broadcast(&c->cond);
	pthread_mutex_unlock(&c->lock);
	pthread_join(c->thread, NULL);
	fuse_server_free(c->server);
	pthread_cond_destroy(&c->cond);
	pthread_mutex_destroy(&c->lock);
	nftw(c->top, client_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- shorthands: 0 or -errno, or what they return ---- */

static inline int c_lookup(struct client *c, uint64_t dir, const char *name, uint64_t *ret)
{
	int r = CALL_ONLY_NAME(c, FUSE_LOOKUP, dir, name);

	if (ret)
		*ret = 0;
	if (r == 0 && ret)
		*ret = REPLY(c, fuse_entry_out)->nodeid;
	return r;
}

static inline int c_mkdir(struct client *c, uint64_t dir, const char *name, uint64_t *ret)
{
	struct fuse_mkdir_in in = { .mode = 0755 };
	int r = CALL_NAME(c, FUSE_MKDIR, dir, &in, name);

	if (ret)
		*ret = 0;
	if (r == 0 && ret)
		*ret = REPLY(c, fuse_entry_out)->nodeid;
	return r;
}

static inline int c_open(struct client *c, uint64_t node, uint32_t flags, uint64_t *fh)
{
	struct fuse_open_in in = { .flags = flags };
	int r = CALL(c, FUSE_OPEN, node, &in);

	*fh = r == 0 ? REPLY(c, fuse_open_out)->fh : 0;
	return r;
}

static inline int c_opendir(struct client *c, uint64_t node, uint64_t *fh)
{
	struct fuse_open_in in = { .flags = O_RDONLY };
	int r = CALL(c, FUSE_OPENDIR, node, &in);

	*fh = r == 0 ? REPLY(c, fuse_open_out)->fh : 0;
	return r;
}

static inline int c_create(struct client *c, uint64_t dir, const char *name, uint32_t flags,
    uint32_t mode, uint64_t *node, uint64_t *fh)
{
	struct fuse_create_in in = { .flags = flags | O_CREAT, .mode = S_IFREG | mode };
	int r = CALL_NAME(c, FUSE_CREATE, dir, &in, name);

	*node = *fh = 0;
	if (r == 0) {
		*node = REPLY(c, fuse_entry_out)->nodeid;
		*fh = ((const struct fuse_open_out *)(const void *)(c->reply +
								    sizeof(struct fuse_entry_out)))
			  ->fh;
	}
	return r;
}

static inline int c_release(struct client *c, uint64_t node, uint64_t fh)
{
	struct fuse_release_in in = { .fh = fh };

	return CALL(c, FUSE_RELEASE, node, &in);
}

static inline int c_releasedir(struct client *c, uint64_t node, uint64_t fh)
{
	struct fuse_release_in in = { .fh = fh };

	return CALL(c, FUSE_RELEASEDIR, node, &in);
}

static inline int c_forget(struct client *c, uint64_t node, uint64_t n)
{
	struct fuse_forget_in in = { .nlookup = n };

	return CALL(c, FUSE_FORGET, node, &in);
}

/* Returns the bytes written. */
static inline int c_write(struct client *c, uint64_t node, uint64_t fh, uint64_t offset,
    const void *buf, size_t n, uint32_t write_flags)
{
	struct fuse_write_in in = {
		.fh = fh, .offset = offset, .size = (uint32_t)n, .write_flags = write_flags
	};
	int r = client_call(c, FUSE_WRITE, node, &in, sizeof(in), buf, n, NULL, 0);

	return r < 0 ? r : (int)REPLY(c, fuse_write_out)->size;
}

/* Returns the bytes read, which are in c->reply. */
static inline int c_read(struct client *c, uint64_t node, uint64_t fh, uint64_t offset, uint32_t n)
{
	struct fuse_read_in in = { .fh = fh, .offset = offset, .size = n };
	int r = CALL(c, FUSE_READ, node, &in);

	return r < 0 ? r : (int)c->reply_len;
}

static inline int c_getattr(struct client *c, uint64_t node, struct fuse_attr *ret)
{
	struct fuse_getattr_in in = { 0 };
	int r = CALL(c, FUSE_GETATTR, node, &in);

	if (r == 0)
		*ret = REPLY(c, fuse_attr_out)->attr;
	return r;
}

/* A path of the host's below the exported directory. */
static inline const char *c_path(const struct client *c, const char *name, char buf[512])
{
	snprintf(buf, 512, "%s/%s", c->root, name);
	return buf;
}
