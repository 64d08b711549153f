/*
 * The virtio-fs device (virtio 1.2, 5.11): queue 0 for FORGETs, the others for requests, a thread
 * for each, so that no request waits for another queue's.
 *
 * A worker sleeps on its queue's eventfd and holds its own lock while it touches the queue. The
 * device's owner lock is the outer one: activate and reset run with it and take the workers' locks;
 * a worker that has to report a broken queue does so after it has let go of its own.
 */
#include <errno.h>
#include <linux/virtio_fs.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "vm/devices.h"
#include "vm/fuse.h"

struct fs;
struct worker {
	struct fs *fs;
	unsigned q;
	pthread_t thread;
	bool begun;
	pthread_mutex_t lock; /* of the queue and the two below */
	bool active;
	unsigned epoch; /* counts activations */
	bool yield;	/* atomic: somebody wants the lock, who need not wait for an empty queue */
	struct queue_chain chain;
};

struct fs {
	struct virtio_device d;
	struct virtio_ops ops; /* n_queues is this device's own */
	struct virtio_fs_config config;
	struct fuse_server *server;
	unsigned n;
	struct worker workers[VIRTIO_QUEUES_MAX];
	bool stop; /* atomic */
	/* How the threads begin. */
	int (*prepare)(void *arg, struct err *e);
	void *prepare_arg;
	pthread_mutex_t lock;
	pthread_cond_t begun;
	unsigned n_begun, n_failed;
	struct err error; /* of the first that failed */
};

/* ---- a worker ---- */

static void lock_worker(struct worker *w)
{
	__atomic_store_n(&w->yield, true, __ATOMIC_RELEASE);
	pthread_mutex_lock(&w->lock);
	__atomic_store_n(&w->yield, false, __ATOMIC_RELEASE);
}

static bool should_yield(const struct worker *w)
{
	return __atomic_load_n(&w->yield, __ATOMIC_ACQUIRE) ||
	       __atomic_load_n(&w->fs->stop, __ATOMIC_ACQUIRE);
}

/* Handles what is in the queue, with the lock. Returns why the queue is broken, or NULL. */
static const char *drain(struct worker *w, struct fuse_worker *f)
{
	struct virtqueue *q = &w->fs->d.queues[w->q];
	const char *why = NULL;

	do {
		int r = 0;

		queue_disable_notify(q);
		while (!why && !should_yield(w) && (r = queue_pop(q, &w->chain)) > 0) {
			const struct queue_chain *c = &w->chain;
			ssize_t n = fuse_handle(f, c->read, c->n_read, c->write, c->n_write);

			if (n < 0)
				why = "a FUSE request without header or room for an answer";
			queue_push(q, c->head, n < 0 ? 0 : (uint32_t)n);
			virtio_interrupt(&w->fs->d, q);
		}
		if (r < 0)
			why = q->why ? q->why : "broken ring";
	} while (!why && queue_enable_notify(q) && !should_yield(w));
	return why;
}

static void report(struct worker *w, const char *why, unsigned epoch)
{
	struct virtio_device *d = &w->fs->d;
	bool same;

	virtio_enter(d);
	pthread_mutex_lock(&w->lock);
	same = w->active && w->epoch == epoch;
	w->active = false;
	pthread_mutex_unlock(&w->lock);
	/* Not if the driver has reset the device meanwhile. */
	if (same)
		virtio_broken(d, why);
	virtio_leave(d);
}

static void serve(struct worker *w, struct fuse_worker *f)
{
	while (!__atomic_load_n(&w->fs->stop, __ATOMIC_ACQUIRE)) {
		const char *why = NULL;
		unsigned epoch;
		uint64_t count;

		if (read(w->fs->d.kick[w->q], &count, sizeof(count)) < 0)
			continue;
		pthread_mutex_lock(&w->lock);
		epoch = w->epoch;
		if (w->active && w->fs->d.queues[w->q].ready)
			why = drain(w, f);
		pthread_mutex_unlock(&w->lock);
		if (why)
			report(w, why, epoch);
	}
}

static void *worker_main(void *arg)
{
	struct worker *w = arg;
	struct fs *fs = w->fs;
	struct fuse_worker *f = NULL;
	struct err e = ERR_INIT;
	int r = fuse_worker_new(fs->server, &f, &e);

	if (r == 0 && fs->prepare)
		r = fs->prepare(fs->prepare_arg, &e);
	pthread_mutex_lock(&fs->lock);
	fs->n_begun++;
	if (r < 0 && fs->n_failed++ == 0)
		fs->error = e;
	pthread_cond_signal(&fs->begun);
	pthread_mutex_unlock(&fs->lock);
	if (r == 0)
		serve(w, f);
	fuse_worker_free(f);
	return NULL;
}

/* ---- the device ---- */

static struct fs *fs_of(struct virtio_device *d)
{
	return (struct fs *)((char *)d - offsetof(struct fs, d));
}

static void fs_config_read(struct virtio_device *d, unsigned offset, void *buf, unsigned len)
{
	struct fs *fs = fs_of(d);

	virtio_config_copy(&fs->config, sizeof(fs->config), offset, buf, len);
}

static int fs_start(
    struct virtio_device *d, int (*prepare)(void *arg, struct err *e), void *arg, struct err *e)
{
	struct fs *fs = fs_of(d);
	unsigned n = 0;
	int r = 0;

	fs->prepare = prepare;
	fs->prepare_arg = arg;
	while (n < fs->n && r == 0) {
		struct worker *w = &fs->workers[n];

		r = pthread_create(&w->thread, NULL, worker_main, w);
		w->begun = r == 0;
		n += w->begun;
	}
	pthread_mutex_lock(&fs->lock);
	while (fs->n_begun < n)
		pthread_cond_wait(&fs->begun, &fs->lock);
	pthread_mutex_unlock(&fs->lock);
	if (r)
		return err_errno(e, r, "file server: make a thread");
	if (fs->n_failed) {
		*e = fs->error;
		return -e->code;
	}
	return 0;
}

static void set_active(struct fs *fs, bool active)
{
	for (unsigned i = 0; i < fs->n; i++) {
		struct worker *w = &fs->workers[i];

		lock_worker(w);
		w->active = active;
		w->epoch += active;
		pthread_mutex_unlock(&w->lock);
	}
}

static int fs_activate(struct virtio_device *d, struct err *e)
{
	set_active(fs_of(d), true);
	return 0;
}

/* Waits for the requests at work. */
static void fs_reset(struct virtio_device *d)
{
	set_active(fs_of(d), false);
	fuse_server_reset(fs_of(d)->server);
}

/* Every queue has its thread: none is handled by a loop. */
static void fs_notify(struct virtio_device *d, unsigned q)
{
	virtio_kick(d, q);
}

static void fs_free(struct virtio_device *d)
{
	struct fs *fs = fs_of(d);

	__atomic_store_n(&fs->stop, true, __ATOMIC_RELEASE);
	for (unsigned i = 0; i < fs->n; i++) {
		if (!fs->workers[i].begun)
			continue;
		virtio_kick(d, i);
		pthread_join(fs->workers[i].thread, NULL);
	}
	for (unsigned i = 0; i < fs->n; i++)
		pthread_mutex_destroy(&fs->workers[i].lock);
	pthread_cond_destroy(&fs->begun);
	pthread_mutex_destroy(&fs->lock);
	fuse_server_free(fs->server);
	virtio_detach(d);
	free(fs);
}

static const struct virtio_ops fs_ops = {
	.name = "fs",
	.id = VIRTIO_ID_FS_,
	.queue_size = QUEUE_SIZE_MAX, /* a request of FUSE_DATA_PAGES and its headers */
	.config_size = sizeof(struct virtio_fs_config),
	.config_read = fs_config_read,
	.start = fs_start,
	.activate = fs_activate,
	.notify = fs_notify,
	.reset = fs_reset,
	.free = fs_free,
};

int vm_fs_new(const struct vm_fs *c, struct virtio_device **ret, struct err *e)
{
	_cleanup_close_ int root = c->root, self_fd = c->self_fd;
	size_t n = strlen(c->tag);
	struct fuse_server *server;
	struct fs *fs;
	int r;

	if (n == 0 || n > sizeof(fs->config.tag))
		return err_set(e, EINVAL, "file server: tag \"%s\": 1 to %zu bytes are possible",
		    c->tag, sizeof(fs->config.tag));
	if (c->threads < 1 || c->threads >= VIRTIO_QUEUES_MAX)
		return err_set(e, EINVAL, "file server: %u threads: 1 to %u are possible",
		    c->threads, VIRTIO_QUEUES_MAX - 1);
	r = fuse_server_new(steal_fd(&root), steal_fd(&self_fd), NULL, &server, e);
	if (r < 0)
		return r;
	fs = xcalloc(1, sizeof(*fs));
	fs->server = server;
	fs->n = c->threads + 1;
	fs->ops = fs_ops;
	fs->ops.n_queues = fs->n;
	fs->d.ops = &fs->ops;
	memcpy(fs->config.tag, c->tag, n);
	fs->config.num_request_queues = c->threads;
	pthread_mutex_init(&fs->lock, NULL);
	pthread_cond_init(&fs->begun, NULL);
	for (unsigned i = 0; i < fs->n; i++) {
		fs->workers[i].fs = fs;
		fs->workers[i].q = i;
		pthread_mutex_init(&fs->workers[i].lock, NULL);
	}
	*ret = &fs->d;
	return 0;
}
