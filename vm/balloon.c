/*
 * The balloon device (virtio 1.2, 5.5): pages that the guest gives up, on demand (inflate) or
 * because they are free anyway (free page reporting), go back to the host by MADV_DONTNEED. The
 * guest takes them again by touching them: it finds zeroes.
 *
 * Of the optional queues only the one for reporting is offered. Where it comes in the numbering
 * depends on the driver's age: Linux counts only the queues that exist, the specification all. Any
 * of them it sets up is the one.
 */
#include <linux/virtio_balloon.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/alloc.h"
#include "vm/devices.h"

#define PFN_SHIFT VIRTIO_BALLOON_PFN_SHIFT
#define PFNS_MAX  4096u /* of one request; Linux sends 256 */

enum { Q_INFLATE, Q_DEFLATE, Q_REPORTING_FIRST, QUEUES = 5 };

struct balloon {
	struct virtio_device d;
	uint32_t pages, actual; /* of 4 KiB; atomic */
	struct queue_chain chain;
};

static void config_read(struct virtio_device *d, unsigned offset, void *buf, unsigned len)
{
	struct balloon *b = (struct balloon *)d;
	struct virtio_balloon_config c = {
		.num_pages = __atomic_load_n(&b->pages, __ATOMIC_SEQ_CST),
		.actual = __atomic_load_n(&b->actual, __ATOMIC_SEQ_CST),
	};

	virtio_config_copy(&c, sizeof(c), offset, buf, len);
}

static void config_write(struct virtio_device *d, unsigned offset, const void *buf, unsigned len)
{
	struct balloon *b = (struct balloon *)d;
	uint32_t v;

	if (offset != offsetof(struct virtio_balloon_config, actual) || len != sizeof(v))
		return;
	memcpy(&v, buf, sizeof(v));
	__atomic_store_n(&b->actual, v, __ATOMIC_SEQ_CST);
}

/* [p, p + n) is guest memory: only whole pages inside of it go. */
static void give_back(uint8_t *p, uint64_t n)
{
	uintptr_t start = ((uintptr_t)p + VM_PAGE - 1) & ~(uintptr_t)(VM_PAGE - 1);
	uintptr_t end = ((uintptr_t)p + n) & ~(uintptr_t)(VM_PAGE - 1);

	/* It fails for locked memory only, which then stays: nothing is lost. */
	if (start < end)
		(void)madvise((void *)start, end - start, MADV_DONTNEED);
}

static void report(const struct queue_chain *c)
{
	for (unsigned i = 0; i < c->n_write; i++)
		give_back(c->write[i].iov_base, c->write[i].iov_len);
}

/* Page numbers, runs of which go in one call. They come rising or falling. */
static void inflate(const struct guest_memory *mem, const struct queue_chain *c)
{
	uint64_t start = 0, n = 0; /* of the run, in pages */
	uint32_t pfn;

	for (unsigned i = 0; i < PFNS_MAX; i++) {
		if (iov_read(c->read, c->n_read, i * sizeof(pfn), &pfn, sizeof(pfn)) < sizeof(pfn))
			break;
		if (!guest_ptr(mem, (uint64_t)pfn << PFN_SHIFT, VM_PAGE))
			continue;
		if (n && pfn == start + n) {
			n++;
		} else if (n && pfn + 1ull == start) {
			start--;
			n++;
		} else {
			uint8_t *p = guest_ptr(mem, start << PFN_SHIFT, n << PFN_SHIFT);

			if (p)
				give_back(p, n << PFN_SHIFT);
			start = pfn;
			n = 1;
		}
	}
	uint8_t *p = guest_ptr(mem, start << PFN_SHIFT, n << PFN_SHIFT);
	if (p)
		give_back(p, n << PFN_SHIFT);
}

static uint32_t take(struct virtio_device *d, unsigned i, const struct queue_chain *c)
{
	if (i == Q_INFLATE)
		inflate(d->mem, c);
	else if (i >= Q_REPORTING_FIRST)
		report(c);
	return 0;
}

static void notify(struct virtio_device *d, unsigned i)
{
	virtio_serve(d, i, &((struct balloon *)d)->chain, take);
}

static void reset(struct virtio_device *d)
{
	__atomic_store_n(&((struct balloon *)d)->actual, 0, __ATOMIC_SEQ_CST);
}

static void balloon_free(struct virtio_device *d)
{
	virtio_detach(d);
	free(d);
}

static const struct virtio_ops ops = {
	.name = "balloon",
	.id = VIRTIO_ID_BALLOON_,
	.features = 1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM | 1ull << VIRTIO_BALLOON_F_REPORTING,
	.n_queues = QUEUES,
	.config_size = sizeof(struct virtio_balloon_config),
	.config_read = config_read,
	.config_write = config_write,
	.notify = notify,
	.reset = reset,
	.free = balloon_free,
};

int vm_balloon_new(struct loop *l, struct virtio_device **ret, struct err *e)
{
	struct balloon *b = xcalloc(1, sizeof(*b));

	b->d.ops = &ops;
	b->d.loop = l;
	*ret = &b->d;
	return 0;
}

void vm_balloon_set(struct virtio_device *d, uint64_t bytes)
{
	struct balloon *b = (struct balloon *)d;
	uint64_t pages = bytes >> PFN_SHIFT;

	__atomic_store_n(
	    &b->pages, pages > UINT32_MAX ? UINT32_MAX : (uint32_t)pages, __ATOMIC_SEQ_CST);
	virtio_config_changed(d);
}

uint64_t vm_balloon_actual(struct virtio_device *d)
{
	struct balloon *b = (struct balloon *)d;

	return (uint64_t)__atomic_load_n(&b->actual, __ATOMIC_SEQ_CST) << PFN_SHIFT;
}
