/*
 * What the driver reads: a page of memory.
 *
 * The guest has each device's page mapped read-only at the device's window (KVM_MEM_READONLY), so
 * no read costs an exit; writes fault and come to virtio_mmio_write(), or to an ioeventfd. The
 * selectors are registers that are written, so what they select is shown before the driver can
 * read it.
 *
 * InterruptStatus says "a buffer was used" from DRIVER_OK on: then nothing has to be undone when
 * the driver acknowledges that, KVM drops the write (kvm_bind_device()), and an interrupt costs no
 * exit to the monitor at all. The line is edge-triggered, so nothing is repeated for it; a driver
 * that is interrupted for its configuration looks at its queues in vain.
 */
#include <linux/virtio_mmio.h>
#include <string.h>

#include "vm/mmio.h"

#define MAGIC	0x74726976 /* "virt" */
#define VENDOR	0x59454c42 /* "BLEY" */
#define VERSION 2

static void show(struct virtio_device *d, unsigned offset, uint32_t v)
{
	__atomic_store_n((uint32_t *)(void *)(d->regs->page + offset), v, __ATOMIC_SEQ_CST);
}

static void show_state(struct virtio_device *d)
{
	uint32_t why = __atomic_load_n(&d->interrupt_status, __ATOMIC_SEQ_CST);

	show(d, VIRTIO_MMIO_STATUS, mmio_status(d));
	show(
	    d, VIRTIO_MMIO_INTERRUPT_STATUS, why | (mmio_driver_ok(d) ? VIRTIO_MMIO_INT_VRING : 0));
	show(d, VIRTIO_MMIO_CONFIG_GENERATION,
	    __atomic_load_n(&d->config_generation, __ATOMIC_SEQ_CST));
	if (d->ops->config_read && d->ops->config_size)
		d->ops->config_read(
		    d, 0, d->regs->page + VIRTIO_MMIO_CONFIG, (unsigned)d->ops->config_size);
}

void mmio_page_show_state(struct virtio_device *d)
{
	pthread_mutex_lock(&d->regs->page_lock);
	show_state(d);
	pthread_mutex_unlock(&d->regs->page_lock);
}

void mmio_page_show(struct virtio_device *d)
{
	/* There are no regions of shared memory. */
	static const unsigned no_region[] = { VIRTIO_MMIO_SHM_LEN_LOW, VIRTIO_MMIO_SHM_LEN_HIGH,
		VIRTIO_MMIO_SHM_BASE_LOW, VIRTIO_MMIO_SHM_BASE_HIGH };
	const struct virtio_registers *r = d->regs;
	uint64_t features = r->device_features_sel ? mmio_offered(d) >> 32 : mmio_offered(d);
	bool queue = r->queue_sel < d->ops->n_queues;
	uint32_t queue_size = d->ops->queue_size ? d->ops->queue_size : QUEUE_SIZE;

	pthread_mutex_lock(&d->regs->page_lock);
	show(d, VIRTIO_MMIO_MAGIC_VALUE, MAGIC);
	show(d, VIRTIO_MMIO_VERSION, VERSION);
	show(d, VIRTIO_MMIO_DEVICE_ID, d->ops->id);
	show(d, VIRTIO_MMIO_VENDOR_ID, VENDOR);
	show(d, VIRTIO_MMIO_DEVICE_FEATURES, r->device_features_sel > 1 ? 0 : (uint32_t)features);
	show(d, VIRTIO_MMIO_QUEUE_NUM_MAX, queue ? queue_size : 0);
	show(d, VIRTIO_MMIO_QUEUE_READY, queue && r->queues[r->queue_sel].ready);
	for (size_t i = 0; i < sizeof(no_region) / sizeof(no_region[0]); i++)
		show(d, no_region[i], UINT32_MAX);
	show_state(d);
	pthread_mutex_unlock(&d->regs->page_lock);
}

void virtio_mmio_read(struct virtio_device *d, uint64_t offset, void *buf, unsigned len)
{
	memset(buf, 0, len);
	if (offset >= VM_PAGE || len > VM_PAGE - offset)
		return;
	pthread_mutex_lock(&d->regs->page_lock);
	memcpy(buf, d->regs->page + offset, len);
	pthread_mutex_unlock(&d->regs->page_lock);
}
