/* The transport's own: registers as the driver has written them, and the page that shows them
 * (private to mmio.c and mmio_page.c). */
#pragma once
#include <linux/virtio_config.h>
#include <pthread.h>

#include "vm/virtio.h"

struct queue_registers {
	uint32_t num;
	bool ready;
	uint64_t desc, avail, used;
};

/* What the owner's loop is told with a queue's eventfd. */
struct queue_owner {
	struct virtio_device *d;
	unsigned q;
};

struct virtio_registers {
	pthread_mutex_t lock;
	uint32_t status; /* atomic: NEEDS_RESET comes from the owner's thread */
	uint32_t device_features_sel, driver_features_sel, queue_sel;
	uint64_t driver_features; /* as written */
	struct queue_registers queues[VIRTIO_QUEUES_MAX];
	struct queue_owner owners[VIRTIO_QUEUES_MAX];
	bool activated; /* ops->activate has succeeded since the last reset */
	bool warned;
	uint8_t *page; /* VM_PAGE bytes */
	pthread_mutex_t page_lock;
};

static inline uint32_t mmio_status(const struct virtio_device *d)
{
	return __atomic_load_n(&d->regs->status, __ATOMIC_ACQUIRE);
}
static inline bool mmio_driver_ok(const struct virtio_device *d)
{
	return mmio_status(d) & VIRTIO_CONFIG_S_DRIVER_OK;
}
/* The features that the driver may choose from. */
uint64_t mmio_offered(const struct virtio_device *d);

/* Shows what the registers say now. With their lock. */
void mmio_page_show(struct virtio_device *d);
/* Only what changes without the driver: status, why it is interrupted, configuration space. From
 * any thread. */
void mmio_page_show_state(struct virtio_device *d);
