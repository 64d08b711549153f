/*
 * Handles, and how they come to be.
 *
 * An inode is opened by reopening the node's O_PATH descriptor, never by name: what was looked up
 * is what is opened. CREATE makes a file with O_EXCL or opens what is there like OPEN does, so that
 * no way leads to open(2) on a fifo, a socket or a device of the host.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "vm/fuse_internal.h"

/* Of a guest's open flags the ones that mean something here. O_APPEND comes with each WRITE, and
 * O_DIRECT is between the guest's page cache and the guest. */
#define OPEN_FLAGS (O_ACCMODE | O_TRUNC | O_NOATIME | O_SYNC | O_DSYNC)

/* ---- the table ---- */

static struct fuse_handle *slot(struct fuse_server *s, uint32_t index)
{
	return &s->handles[index / CHUNK][index % CHUNK];
}

static struct fuse_handle *slot_take(struct fuse_server *s)
{
	uint32_t index = s->free_handle;
	struct fuse_handle *h;

	if (index) {
		h = slot(s, index);
		s->free_handle = h->next_free;
	} else {
		if (s->n_handles + 1 >= CHUNK * HANDLE_CHUNKS)
			return NULL;
		index = ++s->n_handles;
		if (!s->handles[index / CHUNK])
			s->handles[index / CHUNK] = xcalloc(CHUNK, sizeof(*h));
		h = slot(s, index);
	}
	*h = (struct fuse_handle){ .index = index, .generation = h->generation, .used = true };
	pthread_mutex_init(&h->dir_lock, NULL);
	return h;
}

/* With the lock; nobody uses it. */
static void slot_give(struct fuse_server *s, struct fuse_handle *h)
{
	struct fuse_node *n = h->node;

	close(h->fd);
	fds_give(s);
	pthread_mutex_destroy(&h->dir_lock);
	h->used = false;
	h->generation++;
	h->next_free = s->free_handle;
	s->free_handle = h->index;
	n->handles--;
	n->users++;
	node_put_locked(s, n);
}

int handle_new(struct fuse_server *s, struct fuse_node *n, int fd, bool writable, uint64_t *ret)
{
	struct fuse_handle *h;

	pthread_mutex_lock(&s->lock);
	h = slot_take(s);
	if (!h) {
		close(fd);
		fds_give(s);
		pthread_mutex_unlock(&s->lock);
		return -ENFILE;
	}
	h->fd = fd;
	h->node = n;
	h->writable = writable;
	h->dir = S_ISDIR(n->type);
	n->handles++;
	*ret = (uint64_t)h->generation << 32 | h->index;
	pthread_mutex_unlock(&s->lock);
	return 0;
}

struct fuse_handle *handle_get(
    struct fuse_server *s, const struct fuse_node *n, uint64_t fh, bool dir)
{
	uint32_t index = (uint32_t)fh;
	struct fuse_handle *h = NULL;

	pthread_mutex_lock(&s->lock);
	if (index >= 1 && index <= s->n_handles) {
		h = slot(s, index);
		if (!h->used || h->closed || h->generation != fh >> 32 || (n && h->node != n) ||
		    h->dir != dir)
			h = NULL;
		else
			h->users++;
	}
	pthread_mutex_unlock(&s->lock);
	return h;
}

static void put_locked(struct fuse_server *s, struct fuse_handle *h)
{
	h->users--;
	if (h->closed && h->users == 0)
		slot_give(s, h);
}

void handle_put(struct fuse_server *s, struct fuse_handle *h)
{
	if (!h)
		return;
	pthread_mutex_lock(&s->lock);
	put_locked(s, h);
	pthread_mutex_unlock(&s->lock);
}

void handle_close(struct fuse_server *s, struct fuse_handle *h)
{
	pthread_mutex_lock(&s->lock);
	h->closed = true;
	put_locked(s, h);
	pthread_mutex_unlock(&s->lock);
}

void handles_reset(struct fuse_server *s)
{
	for (uint32_t i = 1; i <= s->n_handles; i++) {
		struct fuse_handle *h = slot(s, i);

		if (!h->used)
			continue;
		h->closed = true;
		if (h->users == 0)
			slot_give(s, h);
	}
}

void handles_free(struct fuse_server *s)
{
	handles_reset(s);
	for (unsigned i = 0; i < HANDLE_CHUNKS; i++)
		free(s->handles[i]);
}

/* ---- opening ---- */

static int counted_openat(struct fuse_server *s, int dir, const char *name, int flags, mode_t mode)
{
	int fd, r;

	pthread_mutex_lock(&s->lock);
	r = fds_take(s);
	pthread_mutex_unlock(&s->lock);
	if (r < 0)
		return r;
	fd = openat(dir, name, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, mode);
	if (fd >= 0)
		return fd;
	r = errno == EMFILE ? -ENFILE : -errno;
	pthread_mutex_lock(&s->lock);
	fds_give(s);
	pthread_mutex_unlock(&s->lock);
	return r;
}

int node_reopen(struct fuse_request *r, struct fuse_node *n, int flags)
{
	char path[FD_NAME_MAX];
	int fd = node_fd(r->s, n);

	return fd < 0 ? fd : counted_openat(r->s, AT_FDCWD, fd_name(fd, path), flags, 0);
}

/* What changes whenever the data does. 0: too fresh to tell, since a change within the same tick of
 * the host's clock would leave the same times. */
static uint64_t data_version(const struct statx *st)
{
	struct timespec now;
	int64_t age;

	if (clock_gettime(CLOCK_REALTIME, &now) < 0)
		return 0;
	age = (now.tv_sec - st->stx_ctime.tv_sec) * 1000 +
	      (now.tv_nsec - (int64_t)st->stx_ctime.tv_nsec) / 1000000;
	if (age < 50)
		return 0;
	return ((uint64_t)st->stx_ctime.tv_sec * 1000000000u + st->stx_ctime.tv_nsec) ^
	       ((uint64_t)st->stx_mtime.tv_sec * 1000000007u + st->stx_mtime.tv_nsec) << 20 ^
	       st->stx_size * 0x9e3779b97f4a7c15ull;
}

/* Pages that the guest has kept from an earlier open are good if the file is as it was then. */
static uint32_t keep_cache(struct fuse_node *n, int fd)
{
	struct statx st;
	uint64_t version = fd_statx(fd, &st) < 0 ? 0 : data_version(&st), old;

	old = __atomic_exchange_n(&n->version, version, __ATOMIC_RELAXED);
	return version && old == version ? FOPEN_KEEP_CACHE : 0;
}

static int open_reply(
    struct fuse_request *r, struct fuse_node *n, int fd, bool writable, struct fuse_open_out *out)
{
	int e;

	out->open_flags =
	    keep_cache(n, fd) | (writable && node_tells_at_close(r->s, n) ? 0 : FOPEN_NOFLUSH);
	e = handle_new(r->s, n, fd, writable, &out->fh);
	return e;
}

/* Opens a regular file with the guest's flags, O_CREAT and O_EXCL aside. */
static int open_regular(struct fuse_request *r, struct fuse_node *n, uint32_t flags,
    uint32_t open_flags, struct fuse_open_out *out)
{
	bool writable = (flags & O_ACCMODE) != O_RDONLY;
	int fd;

	if (S_ISDIR(n->type))
		return -EISDIR;
	if (S_ISLNK(n->type))
		return -ELOOP;
	if (!S_ISREG(n->type))
		return -ENXIO;
	if ((flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	if (flags & O_TRUNC)
		worker_fsetid(r->w, !(open_flags & FUSE_OPEN_KILL_SUIDGID));
	fd = node_reopen(r, n, (int)(flags & OPEN_FLAGS));
	/* An append-only inode wants the flag here already. */
	if (fd == -EPERM && flags & O_APPEND)
		fd = node_reopen(r, n, (int)(flags & (OPEN_FLAGS | O_APPEND)));
	return fd < 0 ? fd : open_reply(r, n, fd, writable, out);
}

int op_open(struct fuse_request *r)
{
	const struct fuse_open_in *in = r->arg;

	return open_regular(
	    r, r->node, in->flags, in->open_flags, reply_add(r, sizeof(struct fuse_open_out)));
}

/* The answer for a file that was made and is open as fd, which it takes over. */
static int made(struct fuse_request *r, const char *name, int fd, bool writable)
{
	struct fuse_entry_out *entry = reply_add(r, sizeof(*entry));
	struct fuse_open_out *open = reply_add(r, sizeof(*open));
	char path[FD_NAME_MAX];
	struct fuse_node *n;
	struct statx st;
	/* The very file, whatever its name may mean by now. */
	int e = counted_openat(r->s, AT_FDCWD, fd_name(fd, path), O_PATH, 0);

	if (e >= 0)
		e = node_enter(r->s, r->node, name, e, &st, &n);
	if (e < 0) {
		pthread_mutex_lock(&r->s->lock);
		close(fd);
		fds_give(r->s);
		pthread_mutex_unlock(&r->s->lock);
		return e;
	}
	entry_fill(r->s, n, &st, entry);
	e = open_reply(r, n, fd, writable, open);
	if (e < 0)
		node_forget(r->s, node_id(n), 1);
	node_put(r->s, n);
	return e;
}

/* Somebody else was first with the name. */
static int open_existing(struct fuse_request *r, const char *name)
{
	const struct fuse_create_in *in = r->arg;
	struct fuse_entry_out *entry = reply_add(r, sizeof(*entry));
	struct fuse_open_out *open = reply_add(r, sizeof(*open));
	struct fuse_node *n;
	struct statx st;
	int e = node_lookup(r->s, r->node, name, &st, &n);

	if (e < 0)
		return e;
	/* Stale makes the guest look again, and then do what its type asks for. */
	e = S_ISREG(n->type) ? open_regular(r, n, in->flags, in->open_flags, open) : -ESTALE;
	if (e == 0 && in->flags & O_TRUNC)
		e = fd_statx(n->fd, &st);
	entry_fill(r->s, n, &st, entry);
	if (e < 0)
		node_forget(r->s, node_id(n), 1);
	node_put(r->s, n);
	return e;
}

static int create(struct fuse_request *r, const char *name, bool temporary)
{
	const struct fuse_create_in *in = r->arg;
	bool writable = (in->flags & O_ACCMODE) != O_RDONLY;
	int dir = node_fd(r->s, r->node), fd, e;
	int flags = (int)(in->flags & OPEN_FLAGS & ~(unsigned)O_TRUNC);

	if (dir < 0)
		return dir;
	if (!S_ISDIR(r->node->type))
		return -ENOTDIR;
	if ((flags & O_ACCMODE) == O_ACCMODE)
		return -EINVAL;
	e = node_room(r->s);
	if (e == 0)
		e = worker_become(r);
	if (e < 0)
		return e;
	if (temporary)
		fd = counted_openat(r->s, dir, ".", flags | O_TMPFILE, in->mode & 07777);
	else
		fd = counted_openat(
		    r->s, dir, name, flags | O_CREAT | O_EXCL | O_NOFOLLOW, in->mode & 07777);
	if (fd == -EEXIST && !temporary && !(in->flags & O_EXCL))
		return open_existing(r, name);
	return fd < 0 ? fd : made(r, temporary ? NULL : name, fd, writable);
}

int op_create(struct fuse_request *r)
{
	int e;
	const char *name = request_name(r, &e);

	return name ? create(r, name, false) : e;
}

int op_tmpfile(struct fuse_request *r)
{
	return create(r, NULL, true);
}

int op_opendir(struct fuse_request *r)
{
	struct fuse_open_out *out = reply_add(r, sizeof(*out));
	int fd;

	if (!S_ISDIR(r->node->type))
		return -ENOTDIR;
	fd = node_reopen(r, r->node, O_RDONLY | O_DIRECTORY);
	return fd < 0 ? fd : handle_new(r->s, r->node, fd, false, &out->fh);
}

/* ---- closing ---- */

/* The node may be forgotten by now: that came over another queue. */
static int release(struct fuse_request *r, bool dir)
{
	const struct fuse_release_in *in = r->arg;
	struct fuse_handle *h = handle_get(r->s, NULL, in->fh, dir);

	if (!h)
		return -EBADF;
	if (node_id(h->node) != r->h.nodeid) {
		handle_put(r->s, h);
		return -EBADF;
	}
	handle_close(r->s, h);
	return 0;
}

int op_release(struct fuse_request *r)
{
	return release(r, false);
}

int op_releasedir(struct fuse_request *r)
{
	return release(r, true);
}

/* What close(2) tells on the host: errors of writing to a network file system. */
int op_flush(struct fuse_request *r)
{
	const struct fuse_flush_in *in = r->arg;
	struct fuse_handle *h = handle_get(r->s, r->node, in->fh, false);
	int e = 0, fd;

	if (!h)
		return -EBADF;
	if (h->writable) {
		fd = dup(h->fd);
		e = fd < 0 || close(fd) < 0 ? -errno : 0;
	}
	handle_put(r->s, h);
	return e;
}
