/*
 * Split virtqueues, the device's side (virtio 1.2, 2.7). Every field of the driver's is copied once
 * and checked before use; a broken ring ends the device (needs reset), never the monitor.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "vm/memory.h"

#define QUEUE_SIZE     256 /* that a device offers which asks for no other */
#define QUEUE_SIZE_MAX 512 /* descriptors, and so segments of a chain */

struct vring_desc;
struct vring_avail;
struct vring_used;

/* Latched from the driver's registers at DRIVER_OK: what it writes later changes nothing until
 * reset. The rings lie in guest memory, bounds checked once by queue_start(). */
struct virtqueue {
	const struct guest_memory *mem;
	uint16_t size;
	bool ready, event_idx;
	const struct vring_desc *desc;
	const struct vring_avail *avail;
	struct vring_used *used;
	uint16_t next_avail, next_used, signalled_used;
	bool signalled_valid;
	bool broken; /* the driver violated the specification; why: */
	const char *why;
};

/* A request: what the device may read, then what it may write, as pointers into guest memory. The
 * driver can change the bytes at any time: copy what is checked. */
struct queue_chain {
	uint16_t head;
	unsigned n_read, n_write;
	struct iovec read[QUEUE_SIZE_MAX], write[QUEUE_SIZE_MAX];
	uint64_t read_bytes, write_bytes;
};

/* Takes the ring addresses and size; checks alignment, bounds and that size is a power of two of at
 * most QUEUE_SIZE_MAX. -EINVAL leaves a queue that is not ready, with q->why. */
int queue_start(struct virtqueue *q, const struct guest_memory *m, uint16_t size, uint64_t desc,
    uint64_t avail, uint64_t used, bool event_idx);
void queue_reset(struct virtqueue *q);
/* The next request: 1, none (or not ready): 0, broken ring: -EPROTO (q->broken, q->why), then and
 * from then on. Follows one indirect table (VIRTIO_F_INDIRECT_DESC). */
int queue_pop(struct virtqueue *q, struct queue_chain *ret);
/* Takes the last popped one back. */
void queue_unpop(struct virtqueue *q);
/* Gives the request back; written: bytes that the device has put into its write segments. */
void queue_push(struct virtqueue *q, uint16_t head, uint32_t written);
/* The same for several that must be seen at once: fill the places 0, 1 … then publish them. */
void queue_fill(struct virtqueue *q, uint16_t place, uint16_t head, uint32_t written);
void queue_publish(struct virtqueue *q, uint16_t n);
/* Must the driver be interrupted for what was pushed since the last call? */
bool queue_wants_interrupt(struct virtqueue *q);
/* Asks for a notification at the next request, or asks for none. After enabling look again: returns
 * whether requests came meanwhile. */
bool queue_enable_notify(struct virtqueue *q);
void queue_disable_notify(struct virtqueue *q);
/* queue_enable_notify() for a device to which the requests before index `seen` (q->next_avail when
 * it had popped them all, before it took them back) do not suffice. */
bool queue_await_more(struct virtqueue *q, uint16_t seen);

/* From and to segments; return the bytes copied (fewer where the segments end). */
size_t iov_read(const struct iovec *v, unsigned n, uint64_t offset, void *buf, size_t len);
size_t iov_write(const struct iovec *v, unsigned n, uint64_t offset, const void *buf, size_t len);
/* The segments of [offset, offset + len) of v's, as far as there are; returns how many (at most n).
 */
unsigned iov_slice(
    const struct iovec *v, unsigned n, uint64_t offset, uint64_t len, struct iovec *ret);
