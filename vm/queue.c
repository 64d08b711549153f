#include "vm/queue.h"

#include <errno.h>
#include <linux/virtio_ring.h>
#include <string.h>

/* The driver's fields are read with one load each, by these alone. */
static uint16_t load16(const uint16_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}
static void store16(uint16_t *p, uint16_t v)
{
	__atomic_store_n(p, v, __ATOMIC_RELEASE);
}

/* With VIRTIO_F_EVENT_IDX a field follows each ring: at which index of the other side's the writer
 * wants to hear of it. */
static const uint16_t *used_event(const struct virtqueue *q)
{
	return (const uint16_t *)&q->avail->ring[q->size];
}
static uint16_t *avail_event(struct virtqueue *q)
{
	return (uint16_t *)&q->used->ring[q->size];
}

static int refuse(struct virtqueue *q, const char *why)
{
	q->why = why;
	return -EINVAL;
}

int queue_start(struct virtqueue *q, const struct guest_memory *m, uint16_t size, uint64_t desc,
    uint64_t avail, uint64_t used, bool event_idx)
{
	*q = (struct virtqueue){ .mem = m, .size = size, .event_idx = event_idx };
	if (size == 0 || size > QUEUE_SIZE_MAX || (size & (size - 1)))
		return refuse(q, "queue size is no power of two up to 512");
	if (desc % 16 || avail % 2 || used % 4)
		return refuse(q, "a ring's address is not aligned");
	q->desc = guest_ptr(m, desc, size * sizeof(struct vring_desc));
	q->avail =
	    guest_ptr(m, avail, sizeof(struct vring_avail) + (uint64_t)size * sizeof(uint16_t) + 2);
	q->used = guest_ptr(m, used,
	    sizeof(struct vring_used) + (uint64_t)size * sizeof(struct vring_used_elem) + 2);
	if (!q->desc || !q->avail || !q->used)
		return refuse(q, "a ring is not in guest memory");
	q->ready = true;
	return 0;
}

void queue_reset(struct virtqueue *q)
{
	*q = (struct virtqueue){ 0 };
}

static int broken(struct virtqueue *q, const char *why)
{
	q->broken = true;
	q->why = why;
	return -EPROTO;
}

static int add_segment(struct virtqueue *q, struct queue_chain *c, const struct vring_desc *d)
{
	void *p = guest_ptr(q->mem, d->addr, d->len);

	if (d->len == 0)
		return broken(q, "a buffer has no length");
	if (!p)
		return broken(q, "a buffer is not in guest memory");
	if (d->flags & VRING_DESC_F_WRITE) {
		c->write[c->n_write++] = (struct iovec){ p, d->len };
		c->write_bytes += d->len;
		return 0;
	}
	if (c->n_write)
		return broken(q, "a readable buffer follows a writable one");
	c->read[c->n_read++] = (struct iovec){ p, d->len };
	c->read_bytes += d->len;
	return 0;
}

/* What a walk through descriptors reads from: the queue's table or an indirect one. */
struct table {
	const struct vring_desc *v;
	uint32_t n;
	bool indirect;
};

static int enter_indirect(struct virtqueue *q, const struct vring_desc *d, struct table *t)
{
	if (t->indirect)
		return broken(q, "an indirect table within an indirect table");
	if (d->flags & VRING_DESC_F_NEXT)
		return broken(q, "a buffer after an indirect table");
	if (d->len == 0 || d->len % sizeof(struct vring_desc))
		return broken(q, "an indirect table's length is not a multiple of 16");
	t->v = guest_ptr(q->mem, d->addr, d->len);
	if (!t->v)
		return broken(q, "an indirect table is not in guest memory");
	t->n = d->len / (uint32_t)sizeof(struct vring_desc);
	t->indirect = true;
	return 0;
}

static int walk(struct virtqueue *q, struct queue_chain *c)
{
	struct table t = { .v = q->desc, .n = q->size };
	uint32_t i = c->head;

	/* A loop in the chain ends here too: no chain is longer than this. */
	for (unsigned steps = 0; steps <= QUEUE_SIZE_MAX; steps++) {
		struct vring_desc d;
		int r;

		if (i >= t.n)
			return broken(q, "a descriptor's index is beyond its table");
		memcpy(&d, &t.v[i], sizeof(d));
		/* The copy is what is checked and used: the compiler must not read it again. */
		__asm__ volatile("" : "+m"(d));
		if (d.flags & VRING_DESC_F_INDIRECT) {
			r = enter_indirect(q, &d, &t);
			if (r < 0)
				return r;
			i = 0;
			continue;
		}
		if (c->n_read + c->n_write == QUEUE_SIZE_MAX)
			break;
		r = add_segment(q, c, &d);
		if (r < 0)
			return r;
		if (!(d.flags & VRING_DESC_F_NEXT))
			return 1;
		i = d.next;
	}
	return broken(q, "a chain of descriptors is too long or has no end");
}

int queue_pop(struct virtqueue *q, struct queue_chain *ret)
{
	uint16_t idx, waiting;

	if (q->broken)
		return -EPROTO;
	if (!q->ready)
		return 0;
	idx = load16(&q->avail->idx);
	waiting = (uint16_t)(idx - q->next_avail);
	if (waiting == 0)
		return 0;
	if (waiting > q->size)
		return broken(q, "more requests are available than the queue holds");
	ret->head = load16(&q->avail->ring[q->next_avail % q->size]);
	ret->n_read = ret->n_write = 0;
	ret->read_bytes = ret->write_bytes = 0;
	if (ret->head >= q->size)
		return broken(q, "a request's index is beyond the queue");
	q->next_avail++;
	return walk(q, ret);
}

void queue_unpop(struct virtqueue *q)
{
	q->next_avail--;
}

void queue_fill(struct virtqueue *q, uint16_t place, uint16_t head, uint32_t written)
{
	if (!q->ready)
		return;
	q->used->ring[(uint16_t)(q->next_used + place) % q->size] =
	    (struct vring_used_elem){ .id = head, .len = written };
}

void queue_publish(struct virtqueue *q, uint16_t n)
{
	if (!q->ready)
		return;
	q->next_used = (uint16_t)(q->next_used + n);
	store16(&q->used->idx, q->next_used);
}

void queue_push(struct virtqueue *q, uint16_t head, uint32_t written)
{
	queue_fill(q, 0, head, written);
	queue_publish(q, 1);
}

bool queue_wants_interrupt(struct virtqueue *q)
{
	uint16_t old = q->signalled_used;
	bool valid = q->signalled_valid;

	if (!q->ready)
		return false;
	/* The used index must be visible before the driver's wish is read. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	if (!q->event_idx)
		return !(load16(&q->avail->flags) & VRING_AVAIL_F_NO_INTERRUPT);
	q->signalled_used = q->next_used;
	q->signalled_valid = true;
	return !valid || vring_need_event(load16(used_event(q)), q->next_used, old);
}

bool queue_await_more(struct virtqueue *q, uint16_t seen)
{
	if (!q->ready || q->broken)
		return false;
	if (q->event_idx)
		store16(avail_event(q), seen);
	else
		store16(&q->used->flags, 0);
	/* The wish must be visible before the index is read again. */
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	return load16(&q->avail->idx) != seen;
}

bool queue_enable_notify(struct virtqueue *q)
{
	return queue_await_more(q, q->next_avail);
}

void queue_disable_notify(struct virtqueue *q)
{
	/* With event_idx the index that was asked for stays behind: that is silence enough. */
	if (q->ready && !q->event_idx)
		store16(&q->used->flags, VRING_USED_F_NO_NOTIFY);
}

unsigned iov_slice(
    const struct iovec *v, unsigned n, uint64_t offset, uint64_t len, struct iovec *ret)
{
	unsigned used = 0;

	for (unsigned i = 0; i < n && len > 0; i++) {
		uint64_t part;

		if (offset >= v[i].iov_len) {
			offset -= v[i].iov_len;
			continue;
		}
		part = v[i].iov_len - offset;
		if (part > len)
			part = len;
		ret[used++] = (struct iovec){ (uint8_t *)v[i].iov_base + offset, part };
		len -= part;
		offset = 0;
	}
	return used;
}

static size_t iov_copy(
    const struct iovec *v, unsigned n, uint64_t offset, uint8_t *buf, size_t len, bool to_guest)
{
	size_t done = 0;

	for (unsigned i = 0; i < n && done < len; i++) {
		struct iovec part;

		if (offset >= v[i].iov_len) {
			offset -= v[i].iov_len;
			continue;
		}
		iov_slice(&v[i], 1, offset, len - done, &part);
		if (to_guest)
			memcpy(part.iov_base, buf + done, part.iov_len);
		else
			memcpy(buf + done, part.iov_base, part.iov_len);
		done += part.iov_len;
		offset = 0;
	}
	return done;
}

size_t iov_read(const struct iovec *v, unsigned n, uint64_t offset, void *buf, size_t len)
{
	return iov_copy(v, n, offset, buf, len, false);
}

size_t iov_write(const struct iovec *v, unsigned n, uint64_t offset, const void *buf, size_t len)
{
	return iov_copy(v, n, offset, (uint8_t *)buf, len, true);
}
