#include "images/pipeline_ring.h"

#include <errno.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>

#include "base/alloc.h"

struct ring {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	size_t slots, slot_size;
	unsigned readers;
	uint64_t written;	     /* buffers, since the start */
	uint64_t read[RING_READERS]; /* released; UINT64_MAX: has left */
	bool closed, aborted;
	size_t *len;
	char *data;
};

struct ring *ring_new(size_t slots, size_t slot_size, unsigned readers)
{
	struct ring *r = xcalloc(1, sizeof(*r));

	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->changed, NULL);
	r->slots = slots;
	r->slot_size = slot_size;
	r->readers = readers;
	r->len = xcalloc(slots, sizeof(*r->len));
	r->data = xmalloc(slots * slot_size);
	return r;
}

void ring_free(struct ring *r)
{
	if (!r)
		return;
	pthread_cond_destroy(&r->changed);
	pthread_mutex_destroy(&r->lock);
	free(r->len);
	free(r->data);
	free(r);
}

static bool full(const struct ring *r)
{
	for (unsigned i = 0; i < r->readers; i++)
		if (r->read[i] != UINT64_MAX && r->written - r->read[i] >= r->slots)
			return true;
	return false;
}

void *ring_write_begin(struct ring *r)
{
	void *p = NULL;

	pthread_mutex_lock(&r->lock);
	while (!r->aborted && full(r))
		pthread_cond_wait(&r->changed, &r->lock);
	if (!r->aborted)
		p = r->data + r->written % r->slots * r->slot_size;
	pthread_mutex_unlock(&r->lock);
	return p;
}

static void change(struct ring *r, void (*fn)(struct ring *r, uint64_t v), uint64_t v)
{
	pthread_mutex_lock(&r->lock);
	fn(r, v);
	pthread_cond_broadcast(&r->changed);
	pthread_mutex_unlock(&r->lock);
}

static void set_written(struct ring *r, uint64_t n)
{
	r->len[r->written % r->slots] = n;
	r->written++;
}

void ring_write_end(struct ring *r, size_t n)
{
	if (n > 0)
		change(r, set_written, n);
}

static void set_closed(struct ring *r, uint64_t unused)
{
	r->closed = true;
}

void ring_write_close(struct ring *r)
{
	change(r, set_closed, 0);
}

int ring_read(struct ring *r, unsigned reader, const void **p, size_t *n)
{
	int ret = 0;

	pthread_mutex_lock(&r->lock);
	while (!r->aborted && !r->closed && r->read[reader] == r->written)
		pthread_cond_wait(&r->changed, &r->lock);
	if (r->aborted) {
		ret = -ECANCELED;
	} else if (r->read[reader] < r->written) {
		size_t slot = r->read[reader] % r->slots;

		*p = r->data + slot * r->slot_size;
		*n = r->len[slot];
		ret = 1;
	}
	pthread_mutex_unlock(&r->lock);
	return ret;
}

static void set_released(struct ring *r, uint64_t reader)
{
	r->read[reader]++;
}

void ring_release(struct ring *r, unsigned reader)
{
	change(r, set_released, reader);
}

static void set_left(struct ring *r, uint64_t reader)
{
	r->read[reader] = UINT64_MAX;
}

void ring_leave(struct ring *r, unsigned reader)
{
	change(r, set_left, reader);
}

static void set_aborted(struct ring *r, uint64_t unused)
{
	r->aborted = true;
}

void ring_abort(struct ring *r)
{
	change(r, set_aborted, 0);
}
