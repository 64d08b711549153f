#include "vm/memory.h"

#include <string.h>
#include <sys/mman.h>

#define HUGE_PAGE (2ull << 20)

/* An area that starts at a huge page's boundary, with a page that nobody may touch behind it. */
static uint8_t *map_aligned(uint64_t size)
{
	uint64_t all = size + HUGE_PAGE + VM_PAGE;
	if (all < size || all > SIZE_MAX)
		return NULL;
	uint8_t *p = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (p == MAP_FAILED)
		return NULL;
	uint8_t *start = (uint8_t *)(((uintptr_t)p + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1));
	if (start > p)
		munmap(p, (size_t)(start - p));
	uint8_t *end = start + size + VM_PAGE;
	if (end < p + all)
		munmap(end, (size_t)(p + all - end));
	if (mprotect(start, size, PROT_READ | PROT_WRITE) < 0) {
		munmap(start, size + VM_PAGE);
		return NULL;
	}
	return start;
}

int guest_memory_new(uint64_t size, struct guest_memory *ret, struct err *e)
{
	if (!size || size % HUGE_PAGE)
		return err_set(e, EINVAL,
		    "virtual machine: memory of %llu bytes is no multiple of 2 MiB",
		    (unsigned long long)size);
	uint8_t *host = map_aligned(size);
	if (!host)
		return err_errno(e, ENOMEM, "virtual machine: map %llu MiB of memory for the guest",
		    (unsigned long long)(size >> 20));
	/* The guest's secrets stay out of core dumps and of children. Kernels without one of the
	 * advices only lack the advantage. */
	(void)madvise(host, size, MADV_DONTDUMP);
	(void)madvise(host, size, MADV_DONTFORK);
	(void)madvise(host, size, MADV_HUGEPAGE);

	struct guest_memory m = { .size = size };
	uint64_t low = size < VM_HOLE_START ? size : VM_HOLE_START;
	m.regions[m.n++] = (struct guest_region){ 0, low, host };
	if (size > low)
		m.regions[m.n++] = (struct guest_region){ VM_HOLE_END, size - low, host + low };
	*ret = m;
	return 0;
}

void guest_memory_free(struct guest_memory *m)
{
	if (m->n)
		munmap(m->regions[0].host, m->size + VM_PAGE);
	*m = (struct guest_memory){ 0 };
}

void *guest_ptr(const struct guest_memory *m, uint64_t gpa, uint64_t len)
{
	if (!len)
		return NULL;
	for (unsigned i = 0; i < m->n; i++) {
		const struct guest_region *r = &m->regions[i];
		if (gpa < r->gpa)
			continue;
		uint64_t offset = gpa - r->gpa;
		if (offset < r->size && len <= r->size - offset)
			return r->host + offset;
	}
	return NULL;
}

int guest_read(const struct guest_memory *m, uint64_t gpa, void *buf, size_t n)
{
	const void *p = guest_ptr(m, gpa, n);
	if (!p)
		return n ? -EFAULT : 0;
	memcpy(buf, p, n);
	return 0;
}

int guest_write(const struct guest_memory *m, uint64_t gpa, const void *buf, size_t n)
{
	void *p = guest_ptr(m, gpa, n);
	if (!p)
		return n ? -EFAULT : 0;
	memcpy(p, buf, n);
	return 0;
}
