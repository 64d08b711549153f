/*
 * Nodes: what the guest has looked up and not forgotten.
 *
 * An id is a slot and its generation, so that an id out of thin air finds nothing. A node's O_PATH
 * descriptor pins its inode; the descriptors that nothing uses are "idle", and beyond a limit the
 * oldest is closed. Such a node is found again by parent and name, if device, inode, mount and
 * birth time are the same: else it is stale, which makes the guest look the name up anew. What has
 * an open handle, or no name (any more: the guest has removed it), or is the root of a mount, stays
 * open. So nodes become stale by what the host does, not by what the guest does.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "vm/fuse_internal.h"

#define BUCKETS_MIN 1024u
/* Ancestors walked and opened to find one node again: deeper is stale. */
#define REOPEN_STEPS 65536u

static void settle(struct fuse_server *s, struct fuse_node *n);

/* ---- descriptors ---- */

static void unidle(struct fuse_server *s, struct fuse_node *n)
{
	if (!n->is_idle)
		return;
	TAILQ_REMOVE(&s->idle, n, idle);
	n->is_idle = false;
	s->now.idle--;
}

static void drop_fd(struct fuse_server *s, struct fuse_node *n)
{
	unidle(s, n);
	if (n->fd < 0)
		return;
	close(n->fd);
	__atomic_store_n(&n->fd, -EBADF, __ATOMIC_RELEASE);
	fds_give(s);
}

int fds_take(struct fuse_server *s)
{
	if (s->now.fds >= s->max.fds) {
		if (TAILQ_EMPTY(&s->idle))
			return -ENFILE;
		drop_fd(s, TAILQ_LAST(&s->idle, fuse_idle));
	}
	s->now.fds++;
	return 0;
}

void fds_give(struct fuse_server *s)
{
	s->now.fds--;
}

int node_room(struct fuse_server *s)
{
	int r;

	pthread_mutex_lock(&s->lock);
	r = s->now.nodes < s->max.nodes ? fds_take(s) : -ENFILE;
	if (r == 0)
		fds_give(s);
	pthread_mutex_unlock(&s->lock);
	return r;
}

/* ---- slots and hash ---- */

static struct fuse_node *slot(struct fuse_server *s, uint32_t index)
{
	return &s->nodes[index / CHUNK][index % CHUNK];
}

uint64_t node_id(const struct fuse_node *n)
{
	return (uint64_t)n->generation << 32 | n->index;
}

static uint32_t bucket_of(const struct fuse_server *s, const struct fuse_key *k)
{
	uint64_t h = k->ino * 0x9e3779b97f4a7c15ull ^ k->dev * 0xc2b2ae3d27d4eb4full ^
		     k->mnt * 0x165667b19e3779f9ull;

	h ^= h >> 32;
	return (uint32_t)(h * 0x9e3779b97f4a7c15ull >> 40) & (s->n_buckets - 1);
}

static void hash_insert(struct fuse_server *s, struct fuse_node *n)
{
	struct fuse_node **b = &s->buckets[bucket_of(s, &n->key)];

	n->chain = *b;
	*b = n;
	n->hashed = true;
}

static void hash_remove(struct fuse_server *s, struct fuse_node *n)
{
	struct fuse_node **p = &s->buckets[bucket_of(s, &n->key)];

	if (!n->hashed)
		return;
	while (*p != n)
		p = &(*p)->chain;
	*p = n->chain;
	n->hashed = false;
}

static void hash_grow(struct fuse_server *s)
{
	free(s->buckets);
	s->n_buckets *= 2;
	s->buckets = xcalloc(s->n_buckets, sizeof(*s->buckets));
	for (uint32_t i = FUSE_ROOT_INDEX; i <= s->n_nodes; i++) {
		struct fuse_node *n = slot(s, i);

		if (n->used && n->hashed)
			hash_insert(s, n);
	}
}

static bool same_inode(const struct fuse_node *n, const struct fuse_key *k, uint16_t type)
{
	return n->key.ino == k->ino && n->key.dev == k->dev && n->key.mnt == k->mnt &&
	       n->key.born == k->born && n->type == type;
}

static struct fuse_node *find(struct fuse_server *s, const struct fuse_key *k, uint16_t type)
{
	struct fuse_node *n = s->buckets[bucket_of(s, k)];

	while (n && !(n->key.ino == k->ino && n->key.dev == k->dev && n->key.mnt == k->mnt))
		n = n->chain;
	/* Not pinned, and the number has a new owner: the old one is stale. */
	if (n && n->fd < 0 && !same_inode(n, k, type)) {
		hash_remove(s, n);
		return NULL;
	}
	return n;
}

static void key_fill(const struct statx *st, struct fuse_key *ret)
{
	ret->dev = makedev(st->stx_dev_major, st->stx_dev_minor);
	ret->ino = st->stx_ino;
	ret->mnt = st->stx_mask & STATX_MNT_ID ? st->stx_mnt_id : 0;
	ret->born = st->stx_mask & STATX_BTIME
			? (uint64_t)st->stx_btime.tv_sec * 1000000000u + st->stx_btime.tv_nsec
			: 0;
}

static struct fuse_node *slot_take(struct fuse_server *s)
{
	uint32_t index = s->free_node;
	struct fuse_node *n;

	if (s->now.nodes >= s->max.nodes)
		return NULL;
	if (index) {
		n = slot(s, index);
		s->free_node = n->next_free;
	} else {
		if (s->n_nodes + 1 >= CHUNK * NODE_CHUNKS)
			return NULL;
		index = ++s->n_nodes;
		if (!s->nodes[index / CHUNK])
			s->nodes[index / CHUNK] = xcalloc(CHUNK, sizeof(*n));
		n = slot(s, index);
	}
	s->now.nodes++;
	if (s->now.nodes > s->n_buckets)
		hash_grow(s);
	*n = (struct fuse_node){
		.index = index, .generation = n->generation, .fd = -EBADF, .used = true
	};
	return n;
}

/* ---- lives ---- */

static bool wanted(const struct fuse_node *n)
{
	return n->lookups || n->users || n->handles || n->children || n->mount ||
	       n->index == FUSE_ROOT_INDEX;
}

static void slot_give(struct fuse_server *s, struct fuse_node *n)
{
	drop_fd(s, n);
	hash_remove(s, n);
	free(n->name);
	n->name = NULL;
	n->used = false;
	n->generation++;
	n->next_free = s->free_node;
	s->free_node = n->index;
	s->now.nodes--;
}

/* After a count went down: frees the node, and then perhaps its ancestors, or lets it idle. */
static void settle(struct fuse_server *s, struct fuse_node *n)
{
	while (n && !wanted(n)) {
		struct fuse_node *parent = n->parent;

		slot_give(s, n);
		if (parent)
			parent->children--;
		n = parent;
	}
	if (!n || n->users || n->handles || n->mount || n->fd < 0 || !n->name || n->is_idle)
		return;
	TAILQ_INSERT_HEAD(&s->idle, n, idle);
	n->is_idle = true;
	if (++s->now.idle > s->max.idle)
		drop_fd(s, TAILQ_LAST(&s->idle, fuse_idle));
}

static void use(struct fuse_server *s, struct fuse_node *n)
{
	n->users++;
	unidle(s, n);
}

/* Remembers where the node is. Renames on the host can make what is remembered a ring: then the old
 * place, stale as it is, stays. */
static void place(
    struct fuse_server *s, struct fuse_node *n, struct fuse_node *parent, const char *name)
{
	struct fuse_node *old = n->parent;

	if (n->index == FUSE_ROOT_INDEX || !name)
		return;
	if (n->name && old == parent && streq(n->name, name))
		return;
	for (struct fuse_node *p = parent; p; p = p->parent)
		if (p == n)
			return;
	free(n->name);
	n->name = xstrdup(name);
	parent->children++;
	n->parent = parent;
	if (old) {
		old->children--;
		settle(s, old);
	}
}

struct fuse_node *node_get(struct fuse_server *s, uint64_t id)
{
	uint32_t index = (uint32_t)id;
	struct fuse_node *n = NULL;

	pthread_mutex_lock(&s->lock);
	if (index >= FUSE_ROOT_INDEX && index <= s->n_nodes) {
		n = slot(s, index);
		if (!n->used || n->generation != id >> 32 ||
		    !(n->lookups || n->mount || index == FUSE_ROOT_INDEX))
			n = NULL;
		else
			use(s, n);
	}
	pthread_mutex_unlock(&s->lock);
	return n;
}

void node_put_locked(struct fuse_server *s, struct fuse_node *n)
{
	n->users--;
	settle(s, n);
}

void node_put(struct fuse_server *s, struct fuse_node *n)
{
	if (!n)
		return;
	pthread_mutex_lock(&s->lock);
	node_put_locked(s, n);
	pthread_mutex_unlock(&s->lock);
}

void node_again(struct fuse_server *s, struct fuse_node *n)
{
	pthread_mutex_lock(&s->lock);
	n->lookups++;
	pthread_mutex_unlock(&s->lock);
}

void node_forget(struct fuse_server *s, uint64_t id, uint64_t count)
{
	struct fuse_node *n = node_get(s, id);

	if (!n)
		return;
	pthread_mutex_lock(&s->lock);
	/* A guest that forgets more than it has looked up only hurts itself. */
	n->lookups -= count < n->lookups ? count : n->lookups;
	node_put_locked(s, n);
	pthread_mutex_unlock(&s->lock);
}

/* ---- finding ---- */

static int open_path(int dir, const char *name, struct statx *st)
{
	_cleanup_close_ int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	int r;

	if (fd < 0)
		return errno == EMFILE ? -ENFILE : -errno;
	r = fd_statx(fd, st);
	return r < 0 ? r : steal_fd(&fd);
}

/* Opens n, whose parent is open, again; with the lock. */
static int reopen_one(struct fuse_server *s, struct fuse_node *n)
{
	struct fuse_key key;
	struct statx st;
	int fd, r;

	if (!n->name)
		return -ESTALE;
	/* The parent is the most recent one: what fds_take() gives up is another. */
	if (n->parent->is_idle) {
		TAILQ_REMOVE(&s->idle, n->parent, idle);
		TAILQ_INSERT_HEAD(&s->idle, n->parent, idle);
	}
	r = fds_take(s);
	if (r < 0)
		return r;
	fd = n->parent->fd < 0 ? -ENFILE : open_path(n->parent->fd, n->name, &st);
	if (fd < 0) {
		fds_give(s);
		return fd == -ENOENT || fd == -ENOTDIR ? -ESTALE : fd;
	}
	key_fill(&st, &key);
	if (!same_inode(n, &key, st.stx_mode & S_IFMT)) {
		close(fd);
		fds_give(s);
		return -ESTALE;
	}
	__atomic_store_n(&n->fd, fd, __ATOMIC_RELEASE);
	settle(s, n);
	return 0;
}

int node_fd(struct fuse_server *s, struct fuse_node *n)
{
	int fd = __atomic_load_n(&n->fd, __ATOMIC_ACQUIRE), r = 0;

	if (fd >= 0)
		return fd;
	pthread_mutex_lock(&s->lock);
	for (unsigned steps = 0; n->fd < 0 && r == 0; steps++) {
		struct fuse_node *top = n;

		while (top->parent && top->parent->fd < 0 && steps++ < REOPEN_STEPS)
			top = top->parent;
		r = top->parent && steps < REOPEN_STEPS ? reopen_one(s, top) : -ESTALE;
	}
	fd = r < 0 ? r : n->fd;
	pthread_mutex_unlock(&s->lock);
	return fd;
}

/* The node of what st describes, if there is one already: counted, with a reference; takes over
 * fd (or -EBADF) in any case. With the lock. */
static struct fuse_node *known(struct fuse_server *s, struct fuse_node *parent, const char *name,
    int fd, const struct statx *st)
{
	struct fuse_key key;
	struct fuse_node *n;

	key_fill(st, &key);
	n = find(s, &key, st->stx_mode & S_IFMT);
	if (!n)
		return NULL;
	if (fd >= 0 && n->fd < 0) {
		__atomic_store_n(&n->fd, fd, __ATOMIC_RELEASE);
	} else if (fd >= 0) {
		close(fd);
		fds_give(s);
	}
	n->lookups++;
	use(s, n);
	place(s, n, parent, name);
	return n;
}

static struct fuse_node *add(struct fuse_server *s, struct fuse_node *parent, const char *name,
    int fd, const struct statx *st)
{
	struct fuse_node *n = slot_take(s);

	if (!n)
		return NULL;
	n->fd = fd;
	n->lookups = n->users = 1;
	n->type = st->stx_mode & S_IFMT;
	key_fill(st, &n->key);
	n->device = fuse_device_index(s, n->key.dev, parent->device, fd);
	n->mount = st->stx_attributes & st->stx_attributes_mask & STATX_ATTR_MOUNT_ROOT;
	n->super = n->mount && s->submounts && S_ISDIR(n->type) ? n->device : parent->super;
	hash_insert(s, n);
	place(s, n, parent, name);
	return n;
}

int node_enter(struct fuse_server *s, struct fuse_node *parent, const char *name, int fd,
    struct statx *st, struct fuse_node **ret)
{
	struct fuse_node *n;
	int r = fd_statx(fd, st);

	pthread_mutex_lock(&s->lock);
	n = r < 0 ? NULL : known(s, parent, name, fd, st);
	if (!n && r == 0) {
		n = add(s, parent, name, fd, st);
		r = n ? 0 : -ENFILE;
	}
	if (r < 0) {
		close(fd);
		fds_give(s);
	}
	pthread_mutex_unlock(&s->lock);
	if (r == 0)
		*ret = n;
	return r;
}

int node_lookup(struct fuse_server *s, struct fuse_node *parent, const char *name, struct statx *st,
    struct fuse_node **ret)
{
	int dir = node_fd(s, parent), fd, r;
	struct fuse_node *n;

	if (dir < 0)
		return dir;
	if (!S_ISDIR(parent->type))
		return -ENOTDIR;
	/* One call where the node is known: most lookups ask whether a name is still good. */
	if (statx(dir, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, NODE_STATX, st) < 0)
		return -errno;
	pthread_mutex_lock(&s->lock);
	n = known(s, parent, name, -EBADF, st);
	r = n ? 0 : fds_take(s);
	pthread_mutex_unlock(&s->lock);
	if (n) {
		*ret = n;
		return 0;
	}
	if (r < 0)
		return r;
	fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0)
		return node_enter(s, parent, name, fd, st, ret);
	r = errno == EMFILE ? -ENFILE : -errno;
	pthread_mutex_lock(&s->lock);
	fds_give(s);
	pthread_mutex_unlock(&s->lock);
	return r;
}

void node_moved(struct fuse_server *s, struct fuse_node *parent, const char *name)
{
	int dir = node_fd(s, parent);
	struct fuse_node *n;
	struct fuse_key key;
	struct statx st;

	if (dir < 0 || statx(dir, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, NODE_STATX, &st) < 0)
		return;
	key_fill(&st, &key);
	pthread_mutex_lock(&s->lock);
	n = find(s, &key, st.stx_mode & S_IFMT);
	if (n)
		place(s, n, parent, name);
	pthread_mutex_unlock(&s->lock);
}

struct fuse_node *node_leaving(struct fuse_server *s, struct fuse_node *parent, const char *name)
{
	int dir = node_fd(s, parent);
	struct fuse_node *n;
	struct fuse_key key;
	struct statx st;

	if (dir < 0 || statx(dir, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, NODE_STATX, &st) < 0)
		return NULL;
	key_fill(&st, &key);
	pthread_mutex_lock(&s->lock);
	n = find(s, &key, st.stx_mode & S_IFMT);
	if (n)
		use(s, n);
	pthread_mutex_unlock(&s->lock);
	/* Failing is no worse than before: the node may become stale. */
	if (n)
		node_fd(s, n);
	return n;
}

void node_left(struct fuse_server *s, struct fuse_node *n, struct fuse_node *parent,
    const char *name, bool gone)
{
	if (!n)
		return;
	pthread_mutex_lock(&s->lock);
	if (gone && n->name && n->fd >= 0 && n->parent == parent && streq(n->name, name)) {
		free(n->name);
		n->name = NULL;
	}
	node_put_locked(s, n);
	pthread_mutex_unlock(&s->lock);
}

/* ---- the table ---- */

int nodes_init(struct fuse_server *s, int root, struct err *e)
{
	struct fuse_node *n;
	struct statx st;
	int r = fd_statx(root, &st);

	if (r < 0)
		return err_errno(e, -r, "file server: statx of the exported directory");
	if (!S_ISDIR(st.stx_mode))
		return err_set(e, ENOTDIR, "file server: what is exported is no directory");
	TAILQ_INIT(&s->idle);
	s->n_buckets = BUCKETS_MIN;
	s->buckets = xcalloc(s->n_buckets, sizeof(*s->buckets));
	n = slot_take(s);
	n->fd = root;
	n->type = S_IFDIR;
	key_fill(&st, &n->key);
	n->device = n->super = fuse_device_index(s, n->key.dev, 0, root);
	hash_insert(s, n);
	s->now.fds++;
	return 0;
}

void nodes_reset(struct fuse_server *s)
{
	for (uint32_t i = FUSE_ROOT_INDEX; i <= s->n_nodes; i++) {
		struct fuse_node *n = slot(s, i);

		if (!n->used)
			continue;
		n->lookups = 0;
		n->mount = false;
		settle(s, n);
	}
}

void nodes_free(struct fuse_server *s)
{
	for (uint32_t i = FUSE_ROOT_INDEX; i <= s->n_nodes; i++) {
		struct fuse_node *n = slot(s, i);

		if (n->used)
			slot_give(s, n);
	}
	for (unsigned i = 0; i < NODE_CHUNKS; i++)
		free(s->nodes[i]);
	free(s->buckets);
}
