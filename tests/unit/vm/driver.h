/*
 * A small driver for virtio devices, in place of a guest: memory of the machine, made as the
 * monitor makes it, the register file reached as a vCPU's exits reach it, rings, chains and
 * indirect tables. `driver_init()` brings a device up; then `driver_add()`, `driver_kick()`,
 * `driver_run()` and `driver_used()` are a request's way. Addresses are guest-physical.
 */
#pragma once
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vm/loop.h"
#include "vm/memory.h"
#include "vm/virtio.h"

#define DRIVER_MEMORY (4ull << 20)
#define DRIVER_QUEUE  256

struct driver_queue {
	uint16_t size, next_desc, next_used;
	uint64_t desc, avail, used;
};
struct driver {
	struct virtio_device *d;
	struct loop *loop; /* the device's; NULL: it runs by itself */
	struct guest_memory mem;
	uint64_t next; /* free memory from here on */
	struct driver_queue q[VIRTIO_QUEUES_MAX];
	_Alignas(8) uint8_t page[VM_PAGE]; /* what the device's registers show */
};
struct driver_seg {
	uint64_t gpa;
	uint32_t len;
	bool write; /* by the device */
};

#define DRIVER_MUST(cond)                                                          \
	do {                                                                       \
		if (!(cond)) {                                                     \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                   \
		}                                                                  \
	} while (0)

/* ---- memory ---- */

static inline uint64_t driver_alloc(struct driver *v, uint64_t n, uint64_t align)
{
	uint64_t gpa = (v->next + align - 1) & ~(align - 1);

	DRIVER_MUST(gpa + n <= v->mem.size);
	v->next = gpa + n;
	return gpa;
}
static inline void *driver_ptr(struct driver *v, uint64_t gpa, uint64_t n)
{
	void *p = guest_ptr(&v->mem, gpa, n);

	DRIVER_MUST(p);
	return p;
}
/* n bytes copied into memory of their own. */
static inline uint64_t driver_put(struct driver *v, const void *buf, uint32_t n)
{
	uint64_t gpa = driver_alloc(v, n, 16);

	memcpy(driver_ptr(v, gpa, n), buf, n);
	return gpa;
}

/* ---- registers ---- */

static inline uint32_t driver_read32(struct driver *v, unsigned reg)
{
	uint32_t x;

	virtio_mmio_read(v->d, reg, &x, sizeof(x));
	return x;
}
static inline void driver_write32(struct driver *v, unsigned reg, uint32_t x)
{
	virtio_mmio_write(v->d, reg, &x, sizeof(x));
}
static inline void driver_write64(struct driver *v, unsigned low, uint64_t x)
{
	driver_write32(v, low, (uint32_t)x);
	driver_write32(v, low + 4, (uint32_t)(x >> 32));
}
static inline uint64_t driver_offered(struct driver *v)
{
	uint64_t f;

	driver_write32(v, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 0);
	f = driver_read32(v, VIRTIO_MMIO_DEVICE_FEATURES);
	driver_write32(v, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 1);
	return f | (uint64_t)driver_read32(v, VIRTIO_MMIO_DEVICE_FEATURES) << 32;
}
/* Adds bits to the status register; returns it as it is then. */
static inline uint32_t driver_status(struct driver *v, uint32_t bits)
{
	driver_write32(v, VIRTIO_MMIO_STATUS, driver_read32(v, VIRTIO_MMIO_STATUS) | bits);
	return driver_read32(v, VIRTIO_MMIO_STATUS);
}
static inline void driver_features(struct driver *v, uint64_t f)
{
	driver_write32(v, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 0);
	driver_write32(v, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)f);
	driver_write32(v, VIRTIO_MMIO_DRIVER_FEATURES_SEL, 1);
	driver_write32(v, VIRTIO_MMIO_DRIVER_FEATURES, (uint32_t)(f >> 32));
}
/* Makes a queue's rings anew and tells the device. */
static inline void driver_queue(struct driver *v, unsigned i, uint16_t size)
{
	struct driver_queue *q = &v->q[i];

	*q = (struct driver_queue){ .size = size };
	q->desc = driver_alloc(v, size * 16ull, 16);
	q->avail = driver_alloc(v, 6 + size * 2ull, 2);
	q->used = driver_alloc(v, 6 + size * 8ull, 4);
	memset(driver_ptr(v, q->avail, 4), 0, 4);
	memset(driver_ptr(v, q->used, 4), 0, 4);
	driver_write32(v, VIRTIO_MMIO_QUEUE_SEL, i);
	driver_write32(v, VIRTIO_MMIO_QUEUE_NUM, size);
	driver_write64(v, VIRTIO_MMIO_QUEUE_DESC_LOW, q->desc);
	driver_write64(v, VIRTIO_MMIO_QUEUE_AVAIL_LOW, q->avail);
	driver_write64(v, VIRTIO_MMIO_QUEUE_USED_LOW, q->used);
	driver_write32(v, VIRTIO_MMIO_QUEUE_READY, 1);
}
/* From reset to DRIVER_OK with these features (VERSION_1 is added) and all queues. Returns the
 * status register. */
static inline uint32_t driver_up(struct driver *v, uint64_t features)
{
	driver_write32(v, VIRTIO_MMIO_STATUS, 0);
	driver_status(v, VIRTIO_CONFIG_S_ACKNOWLEDGE);
	driver_status(v, VIRTIO_CONFIG_S_DRIVER);
	driver_features(v, features | 1ull << VIRTIO_F_VERSION_1);
	driver_status(v, VIRTIO_CONFIG_S_FEATURES_OK);
	for (unsigned i = 0; i < v->d->ops->n_queues; i++)
		driver_queue(v, i, DRIVER_QUEUE);
	return driver_status(v, VIRTIO_CONFIG_S_DRIVER_OK);
}
/* Attaches the device to new memory and brings it up. loop: d->loop, or NULL. */
static inline void driver_init(
    struct driver *v, struct virtio_device *d, struct loop *loop, uint64_t features)
{
	struct err e = ERR_INIT;

	*v = (struct driver){ .d = d, .loop = loop, .next = 0x1000 };
	DRIVER_MUST(guest_memory_new(DRIVER_MEMORY, &v->mem, &e) == 0);
	DRIVER_MUST(virtio_attach(d, &v->mem, v->page, &e) == 0);
	DRIVER_MUST(virtio_start(d, NULL, NULL, &e) == 0);
	driver_up(v, features);
}
static inline void driver_free(struct driver *v)
{
	v->d->ops->free(v->d);
	guest_memory_free(&v->mem);
}

/* ---- requests ---- */

static inline struct vring_desc *driver_desc(struct driver *v, unsigned q, unsigned i)
{
	return driver_ptr(v, v->q[q].desc + (i % v->q[q].size) * 16ull, 16);
}
static inline struct vring_desc driver_seg_desc(
    const struct driver_seg *s, bool last, uint16_t next)
{
	return (struct vring_desc){ .addr = s->gpa,
		.len = s->len,
		.flags = (uint16_t)((s->write ? VRING_DESC_F_WRITE : 0) |
				    (last ? 0 : VRING_DESC_F_NEXT)),
		.next = last ? 0 : next };
}
/* Makes the request that begins at descriptor head available. */
static inline void driver_offer(struct driver *v, unsigned q, uint16_t head)
{
	struct driver_queue *dq = &v->q[q];
	struct vring_avail *a = driver_ptr(v, dq->avail, 6 + dq->size * 2ull);

	a->ring[a->idx % dq->size] = head;
	__atomic_store_n(&a->idx, (uint16_t)(a->idx + 1), __ATOMIC_SEQ_CST);
}
/* A chain of n descriptors; they are used round robin, so that no more than the queue's size may be
 * in flight. Returns its head. */
static inline uint16_t driver_add(
    struct driver *v, unsigned q, const struct driver_seg *s, unsigned n)
{
	struct driver_queue *dq = &v->q[q];
	uint16_t head = dq->next_desc;

	for (unsigned i = 0; i < n; i++)
		*driver_desc(v, q, head + i) =
		    driver_seg_desc(&s[i], i + 1 == n, (uint16_t)((head + i + 1) % dq->size));
	dq->next_desc = (uint16_t)((head + n) % dq->size);
	driver_offer(v, q, head);
	return head;
}
/* The same through an indirect table. */
static inline uint16_t driver_add_indirect(
    struct driver *v, unsigned q, const struct driver_seg *s, unsigned n)
{
	struct driver_queue *dq = &v->q[q];
	uint64_t gpa = driver_alloc(v, n * 16ull, 16);
	struct vring_desc *t = driver_ptr(v, gpa, n * 16ull);
	uint16_t head = dq->next_desc;

	for (unsigned i = 0; i < n; i++)
		t[i] = driver_seg_desc(&s[i], i + 1 == n, (uint16_t)(i + 1));
	*driver_desc(v, q, head) =
	    (struct vring_desc){ .addr = gpa, .len = n * 16, .flags = VRING_DESC_F_INDIRECT };
	dq->next_desc = (uint16_t)((head + 1) % dq->size);
	driver_offer(v, q, head);
	return head;
}
/* What an ioeventfd does on a hit. */
static inline void driver_kick(struct driver *v, unsigned q)
{
	driver_write32(v, VIRTIO_MMIO_QUEUE_NOTIFY, q);
}
/* Runs the owner's loop until nothing is left to do. */
static inline void driver_run(struct driver *v)
{
	struct err e = ERR_INIT;

	for (int i = 0; i < 100000 && loop_once(v->loop, 0, &e) > 0;)
		i++;
}
/* The next finished request's head, or -1; *len: what the device says it has written. */
static inline int driver_used(struct driver *v, unsigned q, uint32_t *len)
{
	struct driver_queue *dq = &v->q[q];
	struct vring_used *u = driver_ptr(v, dq->used, 6 + dq->size * 8ull);
	struct vring_used_elem el;

	if (__atomic_load_n(&u->idx, __ATOMIC_SEQ_CST) == dq->next_used)
		return -1;
	el = u->ring[dq->next_used++ % dq->size];
	if (len)
		*len = el.len;
	return (int)el.id;
}
/* Waits for one of a device with a thread of its own, ten seconds at most. */
static inline int driver_wait(struct driver *v, unsigned q, uint32_t *len)
{
	int head = -1;

	for (int i = 0; i < 10000 && (head = driver_used(v, q, len)) < 0; i++)
		usleep(1000);
	return head;
}
/* Was there an interrupt since the last call? Acknowledges it. */
static inline bool driver_interrupted(struct driver *v)
{
	uint64_t count;

	driver_write32(
	    v, VIRTIO_MMIO_INTERRUPT_ACK, driver_read32(v, VIRTIO_MMIO_INTERRUPT_STATUS));
	return read(v->d->irq, &count, sizeof(count)) == sizeof(count);
}
static inline bool driver_needs_reset(struct driver *v)
{
	return driver_read32(v, VIRTIO_MMIO_STATUS) & VIRTIO_CONFIG_S_NEEDS_RESET;
}
