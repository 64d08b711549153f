/*
 * The virtio-mmio transport (virtio 1.2, 4.2.2): the registers that the driver writes, the steps of
 * the device's life (3.1.1), and what wakes whom. What it reads is mmio_page.c's.
 *
 * Everything that the driver configures is latched: features at FEATURES_OK, a queue's registers
 * once it is ready, all of it at DRIVER_OK. Later writes change nothing until reset. Locks are
 * taken in this order: the registers', then the owner's.
 */
#include <errno.h>
#include <linux/virtio_config.h>
#include <linux/virtio_mmio.h>
#include <linux/virtio_ring.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "vm/mmio.h"

#define SERVED_MAX 16 /* requests of one notification, before others get their turn */

#define COMMON_FEATURES                                                     \
	(1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC | \
	    1ull << VIRTIO_RING_F_EVENT_IDX)

static void signal_fd(int fd)
{
	uint64_t one = 1;

	/* A full counter is as good as one more. */
	if (write(fd, &one, sizeof(one)) < 0)
		return;
}

static void interrupt_for_state(struct virtio_device *d, bool driver_ok)
{
	if (driver_ok)
		__atomic_or_fetch(&d->interrupt_status, VIRTIO_MMIO_INT_CONFIG, __ATOMIC_SEQ_CST);
	mmio_page_show_state(d);
	if (driver_ok)
		signal_fd(d->irq);
}

/* ---- for devices ---- */

bool virtio_enter(struct virtio_device *d)
{
	pthread_mutex_lock(&d->owner);
	return d->active;
}

void virtio_leave(struct virtio_device *d)
{
	pthread_mutex_unlock(&d->owner);
}

void virtio_interrupt(struct virtio_device *d, struct virtqueue *q)
{
	if (queue_wants_interrupt(q))
		signal_fd(d->irq);
}

void virtio_kick(struct virtio_device *d, unsigned q)
{
	signal_fd(d->kick[q]);
}

void virtio_serve(struct virtio_device *d, unsigned i, struct queue_chain *chain,
    uint32_t (*take)(struct virtio_device *d, unsigned q, const struct queue_chain *c))
{
	struct virtqueue *q = &d->queues[i];
	unsigned n = 0;
	int r = 0;

	do {
		queue_disable_notify(q);
		while (n < SERVED_MAX && (r = queue_pop(q, chain)) > 0) {
			queue_push(q, chain->head, take(d, i, chain));
			n++;
		}
	} while (r == 0 && queue_enable_notify(q));
	if (n)
		virtio_interrupt(d, q);
	if (r < 0)
		virtio_broken(d, q->why);
	else if (r > 0)
		virtio_kick(d, i);
}

void virtio_config_changed(struct virtio_device *d)
{
	__atomic_add_fetch(&d->config_generation, 1, __ATOMIC_SEQ_CST);
	if (d->regs)
		interrupt_for_state(d, mmio_driver_ok(d));
}

void virtio_broken(struct virtio_device *d, const char *why)
{
	uint32_t before =
	    __atomic_fetch_or(&d->regs->status, VIRTIO_CONFIG_S_NEEDS_RESET, __ATOMIC_SEQ_CST);

	d->active = false;
	interrupt_for_state(d, before & VIRTIO_CONFIG_S_DRIVER_OK);
	/* Once: the guest could fill the log with it. */
	if (!d->regs->warned)
		log_warning("virtual machine: %s device stopped, its driver erred: %s",
		    d->ops->name, why ? why : "unknown");
	d->regs->warned = true;
}

void virtio_config_copy(const void *config, size_t size, unsigned offset, void *buf, unsigned len)
{
	memset(buf, 0, len);
	if (offset < size)
		memcpy(buf, (const uint8_t *)config + offset,
		    len < size - offset ? len : size - offset);
}

/* ---- life ---- */

static void on_kick(void *arg, uint32_t events)
{
	struct queue_owner *o = arg;
	struct virtio_device *d = o->d;
	uint64_t count;

	if (read(d->kick[o->q], &count, sizeof(count)) < 0)
		return;
	if (virtio_enter(d) && d->queues[o->q].ready)
		d->ops->notify(d, o->q);
	virtio_leave(d);
}

static int attach_queue(struct virtio_device *d, unsigned q, struct err *e)
{
	/* Without a loop a thread of the queue's own sleeps in read(2). */
	d->kick[q] = eventfd(0, EFD_CLOEXEC | (d->loop ? EFD_NONBLOCK : 0));
	if (d->kick[q] < 0)
		return err_errno(e, errno, "make an eventfd for device %s", d->ops->name);
	d->regs->owners[q] = (struct queue_owner){ .d = d, .q = q };
	if (!d->loop)
		return 0;
	return loop_add(d->loop, d->kick[q], EPOLLIN, on_kick, &d->regs->owners[q], e);
}

int virtio_attach(
    struct virtio_device *d, const struct guest_memory *mem, void *page, struct err *e)
{
	pthread_mutexattr_t recursive;
	int r = 0;

	d->mem = mem;
	d->active = false;
	d->interrupt_status = 0;
	for (unsigned q = 0; q < VIRTIO_QUEUES_MAX; q++)
		d->kick[q] = -EBADF;
	d->regs = xcalloc(1, sizeof(*d->regs));
	d->regs->page = page;
	pthread_mutex_init(&d->regs->lock, NULL);
	pthread_mutex_init(&d->regs->page_lock, NULL);
	mmio_page_show(d);
	pthread_mutexattr_init(&recursive);
	pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
	pthread_mutex_init(&d->owner, &recursive);
	pthread_mutexattr_destroy(&recursive);
	d->irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (d->irq < 0)
		r = err_errno(e, errno, "make an eventfd for device %s", d->ops->name);
	for (unsigned q = 0; q < d->ops->n_queues && r == 0; q++)
		r = attach_queue(d, q, e);
	if (r < 0)
		virtio_detach(d);
	return r;
}

void virtio_detach(struct virtio_device *d)
{
	if (!d->regs)
		return;
	for (unsigned q = 0; q < VIRTIO_QUEUES_MAX; q++) {
		if (d->loop)
			loop_remove(d->loop, d->kick[q]);
		closep(&d->kick[q]);
		d->kick[q] = -EBADF;
	}
	closep(&d->irq);
	d->irq = -EBADF;
	pthread_mutex_destroy(&d->owner);
	pthread_mutex_destroy(&d->regs->page_lock);
	pthread_mutex_destroy(&d->regs->lock);
	free(d->regs);
	d->regs = NULL;
}

int virtio_start(
    struct virtio_device *d, int (*prepare)(void *arg, struct err *e), void *arg, struct err *e)
{
	return d->ops->start ? d->ops->start(d, prepare, arg, e) : 0;
}

uint64_t mmio_offered(const struct virtio_device *d)
{
	return d->ops->features | COMMON_FEATURES;
}

static void reset(struct virtio_device *d)
{
	struct virtio_registers *r = d->regs;

	pthread_mutex_lock(&d->owner);
	d->active = false;
	if (r->activated && d->ops->reset)
		d->ops->reset(d);
	r->activated = false;
	for (unsigned q = 0; q < VIRTIO_QUEUES_MAX; q++)
		queue_reset(&d->queues[q]);
	d->driver_features = 0;
	pthread_mutex_unlock(&d->owner);
	memset(r->queues, 0, sizeof(r->queues));
	r->driver_features = 0;
	r->device_features_sel = r->driver_features_sel = r->queue_sel = 0;
	__atomic_store_n(&d->interrupt_status, 0, __ATOMIC_SEQ_CST);
	__atomic_store_n(&r->status, 0, __ATOMIC_SEQ_CST);
}

/* With the owner's lock. */
static int activate_queues(struct virtio_device *d)
{
	for (unsigned i = 0; i < d->ops->n_queues; i++) {
		const struct queue_registers *q = &d->regs->queues[i];

		if (!q->ready)
			continue;
		if (queue_start(&d->queues[i], d->mem, (uint16_t)q->num, q->desc, q->avail, q->used,
			virtio_has(d, VIRTIO_RING_F_EVENT_IDX)) < 0) {
			virtio_broken(d, d->queues[i].why);
			return -EINVAL;
		}
	}
	return 0;
}

static void activate(struct virtio_device *d)
{
	struct err e = ERR_INIT;

	pthread_mutex_lock(&d->owner);
	if (activate_queues(d) == 0) {
		if (d->ops->activate && d->ops->activate(d, &e) < 0) {
			virtio_broken(d, e.msg);
		} else {
			d->regs->activated = true;
			d->active = true;
		}
	}
	pthread_mutex_unlock(&d->owner);
	/* The driver may have filled queues before it came here. */
	for (unsigned q = 0; q < d->ops->n_queues; q++)
		if (d->regs->queues[q].ready)
			virtio_kick(d, q);
}

static void write_status(struct virtio_device *d, uint32_t v)
{
	uint32_t old = mmio_status(d), new = v & ~old;

	if (v == 0) {
		reset(d);
		return;
	}
	/* Bits are only ever added, in order; NEEDS_RESET is the device's. */
	new &= VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK |
	       VIRTIO_CONFIG_S_DRIVER_OK | VIRTIO_CONFIG_S_FAILED;
	if (new &VIRTIO_CONFIG_S_FEATURES_OK) {
		uint64_t f = d->regs->driver_features;

		if ((f & ~mmio_offered(d)) || !(f >> VIRTIO_F_VERSION_1 & 1))
			new &= ~(uint32_t)VIRTIO_CONFIG_S_FEATURES_OK;
		else
			d->driver_features = f;
	}
	if (!((old | new) & VIRTIO_CONFIG_S_FEATURES_OK))
		new &= ~(uint32_t)VIRTIO_CONFIG_S_DRIVER_OK;
	__atomic_or_fetch(&d->regs->status, new, __ATOMIC_SEQ_CST);
	if (new &VIRTIO_CONFIG_S_DRIVER_OK)
		activate(d);
}

/* ---- registers ---- */

static void set_half(uint64_t *v, bool high, uint32_t half)
{
	*v = high ? (*v & UINT32_MAX) | (uint64_t)half << 32 : (*v & ~(uint64_t)UINT32_MAX) | half;
}

/* The selected queue's registers, closed once it is ready, before FEATURES_OK and after DRIVER_OK.
 */
static void write_queue_register(struct virtio_device *d, unsigned offset, uint32_t v)
{
	struct virtio_registers *r = d->regs;
	struct queue_registers *q = &r->queues[r->queue_sel % VIRTIO_QUEUES_MAX];
	uint32_t st = mmio_status(d);

	if (r->queue_sel >= d->ops->n_queues || !(st & VIRTIO_CONFIG_S_FEATURES_OK) ||
	    (st & VIRTIO_CONFIG_S_DRIVER_OK))
		return;
	if (offset == VIRTIO_MMIO_QUEUE_READY) {
		q->ready = v == 1;
		return;
	}
	if (q->ready)
		return;
	switch (offset) {
	case VIRTIO_MMIO_QUEUE_NUM:
		/* Too much for queue_start() too, which refuses it. */
		q->num = v > UINT16_MAX ? UINT16_MAX : v;
		break;
	case VIRTIO_MMIO_QUEUE_DESC_LOW:
	case VIRTIO_MMIO_QUEUE_DESC_HIGH:
		set_half(&q->desc, offset == VIRTIO_MMIO_QUEUE_DESC_HIGH, v);
		break;
	case VIRTIO_MMIO_QUEUE_AVAIL_LOW:
	case VIRTIO_MMIO_QUEUE_AVAIL_HIGH:
		set_half(&q->avail, offset == VIRTIO_MMIO_QUEUE_AVAIL_HIGH, v);
		break;
	case VIRTIO_MMIO_QUEUE_USED_LOW:
	case VIRTIO_MMIO_QUEUE_USED_HIGH:
		set_half(&q->used, offset == VIRTIO_MMIO_QUEUE_USED_HIGH, v);
		break;
	}
}

static void write_register(struct virtio_device *d, unsigned offset, uint32_t v)
{
	struct virtio_registers *r = d->regs;

	switch (offset) {
	case VIRTIO_MMIO_DEVICE_FEATURES_SEL:
		r->device_features_sel = v;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES_SEL:
		r->driver_features_sel = v;
		break;
	case VIRTIO_MMIO_DRIVER_FEATURES:
		if (r->driver_features_sel <= 1 && !(mmio_status(d) & VIRTIO_CONFIG_S_FEATURES_OK))
			set_half(&r->driver_features, r->driver_features_sel, v);
		break;
	case VIRTIO_MMIO_QUEUE_SEL:
		r->queue_sel = v;
		break;
	case VIRTIO_MMIO_QUEUE_NOTIFY:
		/* Only where no ioeventfd has caught it. */
		if (v < d->ops->n_queues)
			virtio_kick(d, v);
		break;
	case VIRTIO_MMIO_INTERRUPT_ACK:
		__atomic_and_fetch(&d->interrupt_status, ~v, __ATOMIC_SEQ_CST);
		break;
	case VIRTIO_MMIO_STATUS:
		write_status(d, v);
		break;
	default:
		write_queue_register(d, offset, v);
	}
}

/* Where in the configuration space an access lies; false: not within it. */
static bool in_config(const struct virtio_device *d, uint64_t offset, unsigned len, unsigned *ret)
{
	if (offset < VIRTIO_MMIO_CONFIG || len > d->ops->config_size ||
	    offset - VIRTIO_MMIO_CONFIG > d->ops->config_size - len)
		return false;
	*ret = (unsigned)(offset - VIRTIO_MMIO_CONFIG);
	return true;
}

void virtio_mmio_write(struct virtio_device *d, uint64_t offset, const void *buf, unsigned len)
{
	unsigned at;
	uint32_t v;

	pthread_mutex_lock(&d->regs->lock);
	if (in_config(d, offset, len, &at)) {
		if (d->ops->config_write)
			d->ops->config_write(d, at, buf, len);
	} else if (offset < VIRTIO_MMIO_CONFIG && offset % 4 == 0 && len == 4) {
		memcpy(&v, buf, sizeof(v));
		write_register(d, (unsigned)offset, v);
	}
	mmio_page_show(d);
	pthread_mutex_unlock(&d->regs->lock);
}
