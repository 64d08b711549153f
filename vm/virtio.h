/*
 * A virtio device behind a virtio-mmio window (virtio 1.2, 4.2; version 2 only), and what the
 * transport (mmio.c) does for it.
 *
 * Threads: registers are written by whichever vCPU exits (the transport locks); a queue's requests
 * are handled by the one thread that owns the device: the monitor's main loop, or a worker of the
 * device's own. ioeventfd wakes it, irqfd interrupts the guest.
 */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
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
	/* Configuration space; offset and len are within config_size. NULL write: read-only. */
	size_t config_size;
	void (*config_read)(struct virtio_device *d, unsigned offset, void *buf, unsigned len);
	void (*config_write)(
	    struct virtio_device *d, unsigned offset, const void *buf, unsigned len);
	/* DRIVER_OK: queues are latched and ready. On the thread of the register write, the
	 * owner's thread does nothing with the device meanwhile. */
	int (*activate)(struct virtio_device *d, struct err *e);
	/* The driver has notified queue q. On the owner's thread. */
	void (*notify)(struct virtio_device *d, unsigned q);
	/* Before the queues are reset; on return the owner's thread does not touch them. */
	void (*reset)(struct virtio_device *d);
	void (*free)(struct virtio_device *d);
};

struct virtio_device {
	const struct virtio_ops *ops;
	const struct guest_memory *mem;
	struct virtqueue queues[VIRTIO_QUEUES_MAX];
	int kick[VIRTIO_QUEUES_MAX]; /* eventfds, the transport makes them and ioeventfds of them */
	int irq;		     /* eventfd, irqfd of the device's interrupt line */
	uint64_t driver_features;    /* negotiated, latched at FEATURES_OK */
	unsigned config_generation;
	uint32_t interrupt_status; /* atomic */
	bool active;
	/* registers of the driver before they are latched, and the lock: mmio.c's */
	struct virtio_registers *regs;
};

/* The device has pushed to q: interrupts, if the driver wants that. From the owner's thread. */
void virtio_interrupt(struct virtio_device *d, struct virtqueue *q);
/* The configuration space has changed. From any thread. */
void virtio_config_changed(struct virtio_device *d);
/* A queue is broken: DEVICE_NEEDS_RESET, logged once with its reason. */
void virtio_broken(struct virtio_device *d, const char *why);

/* ---- transport ---- */

/* Eventfds and register file. d->ops is set; mem is the machine's. */
int virtio_attach(struct virtio_device *d, const struct guest_memory *mem, struct err *e);
void virtio_detach(struct virtio_device *d);
/* An access by a vCPU at offset of the device's window. Never fails: what is not allowed reads 0
 * and writes nothing. */
void virtio_mmio_read(struct virtio_device *d, uint64_t offset, void *buf, unsigned len);
void virtio_mmio_write(struct virtio_device *d, uint64_t offset, const void *buf, unsigned len);
