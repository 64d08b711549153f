/*
 * A virtio device behind a virtio-mmio window (virtio 1.2, 4.2; version 2 only), and what the
 * transport (mmio.c) does for it.
 *
 * Threads: registers are written by whichever vCPU exits (the transport locks); a queue's requests
 * are handled by the one thread that owns the device: the monitor's main loop, or a worker of the
 * device's own. ioeventfd wakes it, irqfd interrupts the guest. The owner's lock stands between the
 * two: the owner holds it while it touches queues, a reset takes it.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "vm/loop.h"
#include "vm/queue.h"

#define VIRTIO_QUEUES_MAX 8

enum {
	VIRTIO_ID_NET_ = 1,
	VIRTIO_ID_BLOCK_ = 2,
	VIRTIO_ID_CONSOLE_ = 3,
	VIRTIO_ID_RNG_ = 4,
	VIRTIO_ID_BALLOON_ = 5,
	VIRTIO_ID_FS_ = 26,
};

struct virtio_device;
struct virtio_ops {
	const char *name;
	uint32_t id;	   /* VIRTIO_ID_* */
	uint64_t features; /* offered beside VERSION_1, INDIRECT_DESC and EVENT_IDX */
	unsigned n_queues;
	unsigned queue_size; /* the largest to offer, 0: QUEUE_SIZE */
	/* Configuration space; offset and len are within config_size. NULL write: read-only.
	 * Written on a vCPU's thread, read on any, with or without the owner's lock. */
	size_t config_size;
	void (*config_read)(struct virtio_device *d, unsigned offset, void *buf, unsigned len);
	void (*config_write)(
	    struct virtio_device *d, unsigned offset, const void *buf, unsigned len);
	/* Threads of the device's own, before the machine runs; prepare runs first on each of them.
	 * May be NULL. */
	int (*start)(struct virtio_device *d, int (*prepare)(void *arg, struct err *e), void *arg,
	    struct err *e);
	/* DRIVER_OK: queues are latched and ready, driver_features too. On a vCPU's thread, with
	 * the owner's lock held; system calls beyond futex and eventfd belong to the owner's thread
	 * instead. Afterwards every ready queue is kicked once. May be NULL. */
	int (*activate)(struct virtio_device *d, struct err *e);
	/* The driver has notified queue q. On the owner's thread, with its lock held, while the
	 * device is active. */
	void (*notify)(struct virtio_device *d, unsigned q);
	/* The driver resets the device, before its queues are: what was popped is forgotten. On a
	 * vCPU's thread, with the owner's lock held; only after activate. May be NULL. */
	void (*reset)(struct virtio_device *d);
	/* Ends threads, frees the device and calls virtio_detach(). */
	void (*free)(struct virtio_device *d);
};

struct virtio_device {
	const struct virtio_ops *ops;
	/* The owner's loop: the transport watches kick[] there and calls notify. NULL: the device
	 * has several owners (fs), waits for kick[] itself (from `start` on; reads of it block) and
	 * locks in its own way. */
	struct loop *loop;
	pthread_mutex_t owner; /* recursive */
	const struct guest_memory *mem;
	struct virtqueue queues[VIRTIO_QUEUES_MAX];
	int kick[VIRTIO_QUEUES_MAX]; /* eventfds, the transport makes them and ioeventfds of them */
	int irq;		     /* eventfd, irqfd of the device's interrupt line */
	uint64_t driver_features;    /* negotiated, latched at FEATURES_OK */
	unsigned config_generation;  /* atomic */
	uint32_t interrupt_status;   /* atomic; VIRTIO_MMIO_INT_CONFIG or 0 */
	/* Between DRIVER_OK and reset, and not broken. Changes under the owner's lock. */
	bool active;
	/* registers of the driver before they are latched, and their lock: mmio.c's */
	struct virtio_registers *regs;
};

/* Takes the owner's lock; tells whether the queues may be touched. For what reaches the device
 * otherwise than through notify. */
bool virtio_enter(struct virtio_device *d);
void virtio_leave(struct virtio_device *d);
/* The device has pushed to q: interrupts, if the driver wants that. With the owner's lock. */
void virtio_interrupt(struct virtio_device *d, struct virtqueue *q);
/* Has notify called for queue q (again) by the owner's loop. From any thread. */
void virtio_kick(struct virtio_device *d, unsigned q);
/* The configuration space has changed. From any thread. */
void virtio_config_changed(struct virtio_device *d);
/* A whole notify for devices that are done with each request at once: take does it and returns the
 * bytes that it wrote. After a few requests others get their turn. chain is the device's, for it is
 * too large for a stack. */
void virtio_serve(struct virtio_device *d, unsigned q, struct queue_chain *chain,
    uint32_t (*take)(struct virtio_device *d, unsigned q, const struct queue_chain *c));
/* The driver violated the specification: DEVICE_NEEDS_RESET, logged once with the reason; the
 * device is inactive until reset. With the owner's lock. */
void virtio_broken(struct virtio_device *d, const char *why);
static inline bool virtio_has(const struct virtio_device *d, unsigned feature)
{
	return d->driver_features >> feature & 1;
}
/* The common part of config_read: copies from the bytes of the configuration space. */
void virtio_config_copy(const void *config, size_t size, unsigned offset, void *buf, unsigned len);

/* ---- transport ---- */

/* Eventfds and register file. d->ops is set, and d->loop if it has one (kick[] is watched there
 * from now on); mem is the machine's, and so is page: VM_PAGE bytes, aligned, which show the guest
 * what the registers read. To be called before the loop runs. */
int virtio_attach(
    struct virtio_device *d, const struct guest_memory *mem, void *page, struct err *e);
/* The opposite; does nothing when the device is not attached. The loop must not run. */
void virtio_detach(struct virtio_device *d);
/* ops->start, if there is one: after virtio_attach(), before the machine starts. */
int virtio_start(
    struct virtio_device *d, int (*prepare)(void *arg, struct err *e), void *arg, struct err *e);
/* An access by a vCPU at offset of the device's window. Never fails: what is not there reads 0,
 * what is not allowed writes nothing. Reads get here only before the guest has the page mapped. */
void virtio_mmio_read(struct virtio_device *d, uint64_t offset, void *buf, unsigned len);
void virtio_mmio_write(struct virtio_device *d, uint64_t offset, const void *buf, unsigned len);
