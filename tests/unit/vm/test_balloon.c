#include "tests/unit/test.h"

#include <linux/virtio_balloon.h>
#include <sys/mman.h>

#include "tests/unit/vm/driver.h"
#include "vm/devices.h"

enum { INFLATE, DEFLATE };

static struct loop *loop;
static struct virtio_device *dev;
static struct driver v;

static void begin(void)
{
	struct err e = ERR_INIT;

	CHECK_INT(loop_new(&loop, &e), 0);
	CHECK_INT(vm_balloon_new(loop, &dev, &e), 0);
	driver_init(&v, dev, loop,
	    1ull << VIRTIO_BALLOON_F_REPORTING | 1ull << VIRTIO_BALLOON_F_DEFLATE_ON_OOM);
	driver_run(&v);
	/* Huge pages would come back whole. */
	madvise(v.mem.regions[0].host, v.mem.size, MADV_NOHUGEPAGE);
	memset(driver_ptr(&v, 0x100000, 0x100000), 0xaa, 0x100000);
}
static void end(void)
{
	driver_free(&v);
	loop_free(loop);
}
static unsigned resident(uint64_t gpa, unsigned pages)
{
	unsigned char vec[256];
	unsigned n = 0;

	CHECK_INT(mincore(driver_ptr(&v, gpa, pages * VM_PAGE), pages * VM_PAGE, vec), 0);
	for (unsigned i = 0; i < pages; i++)
		n += vec[i] & 1;
	return n;
}
static void request(unsigned q, const struct driver_seg *s, unsigned n)
{
	uint32_t len = 1;

	driver_add(&v, q, s, n);
	driver_kick(&v, q);
	driver_run(&v);
	CHECK(driver_used(&v, q, &len) >= 0);
	CHECK_INT(len, 0);
}
static void inflate(const uint32_t *pfns, uint32_t n)
{
	struct driver_seg s = { driver_put(&v, pfns, n * 4), n * 4, false };

	request(INFLATE, &s, 1);
}

TEST(inflated_pages_go)
{
	begin();
	CHECK_INT(resident(0x100000, 256), 256);
	inflate((uint32_t[]){ 0x101, 0x102, 0x103, 0x110, 0x120, 0x11f, 0x11e }, 7);
	CHECK_INT(resident(0x100000, 256), 249);
	CHECK_INT(resident(0x101000, 3), 0);
	CHECK_INT(resident(0x110000, 1), 0);
	CHECK_INT(resident(0x11e000, 3), 0);
	CHECK_INT(*(uint8_t *)driver_ptr(&v, 0x101000, 1), 0);
	CHECK_INT(*(uint8_t *)driver_ptr(&v, 0x104000, 1), 0xaa);
	/* Deflating needs nothing of the host. */
	struct driver_seg s = { 0x300000, 4, false };
	request(DEFLATE, &s, 1);
	end();
}

/* Pages outside of memory, half numbers, none at all: nothing happens, neighbours stay. */
TEST(hostile_page_numbers)
{
	begin();
	unsigned last = DRIVER_MEMORY / VM_PAGE;
	memset(driver_ptr(&v, DRIVER_MEMORY - VM_PAGE, VM_PAGE), 1, VM_PAGE);
	inflate(
	    (uint32_t[]){ last, UINT32_MAX, last - 1, last, 0xd0000, 0x102, UINT32_MAX, 0x103 }, 8);
	CHECK_INT(resident(DRIVER_MEMORY - VM_PAGE, 1), 0);
	CHECK_INT(resident(0x100000, 256), 254);
	struct driver_seg s[] = { { 0x300000, 3, false }, { 0x300010, 3, true } };
	*(uint32_t *)driver_ptr(&v, 0x300000, 4) = 0x105;
	request(INFLATE, s, 2);
	request(INFLATE, s + 1, 1);
	CHECK_INT(resident(0x100000, 256), 254);
	CHECK(!driver_needs_reset(&v));
	end();
}

/* The queue's number depends on how the driver counts. */
TEST(reported_pages_go)
{
	begin();
	struct driver_seg s[] = { { 0x110000, 0x10000, true }, { 0x180000, 0x2000, true } };
	request(2, s, 2);
	CHECK_INT(resident(0x110000, 16), 0);
	CHECK_INT(resident(0x180000, 2), 0);
	CHECK_INT(resident(0x100000, 256), 238);
	struct driver_seg odd[] = { { 0x1a0001, 0x2fff, true }, { 0x1b0000, 0xfff, true },
		{ 0x1c0800, 0x100, true } };
	request(4, odd, 3); /* whole pages only */
	CHECK_INT(resident(0x1a0000, 4), 2);
	CHECK_INT(resident(0x100000, 256), 236);
	struct driver_seg beyond = { DRIVER_MEMORY - 0x1000, 0x2000, true };
	driver_add(&v, 2, &beyond, 1);
	driver_kick(&v, 2);
	driver_run(&v);
	CHECK(driver_needs_reset(&v));
	end();
}

TEST(target)
{
	uint32_t pages, actual = 77;

	begin();
	driver_interrupted(&v);
	vm_balloon_set(dev, 3 << 20);
	CHECK(driver_interrupted(&v));
	virtio_mmio_read(dev, VIRTIO_MMIO_CONFIG, &pages, 4);
	CHECK_INT(pages, 768);
	virtio_mmio_write(dev, VIRTIO_MMIO_CONFIG + 4, &actual, 4);
	virtio_mmio_write(dev, VIRTIO_MMIO_CONFIG, &actual, 4); /* the host's own */
	virtio_mmio_write(dev, VIRTIO_MMIO_CONFIG + 3, &actual, 4);
	CHECK_INT(vm_balloon_actual(dev), 77 * 4096);
	virtio_mmio_read(dev, VIRTIO_MMIO_CONFIG, &pages, 4);
	CHECK_INT(pages, 768);
	vm_balloon_set(dev, UINT64_MAX);
	virtio_mmio_read(dev, VIRTIO_MMIO_CONFIG, &pages, 4);
	CHECK_INT(pages, UINT32_MAX);
	end();
}

TEST_MAIN(T(inflated_pages_go), T(hostile_page_numbers), T(reported_pages_go), T(target))
