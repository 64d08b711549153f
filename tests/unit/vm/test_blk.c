#include "tests/unit/test.h"

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "tests/unit/vm/driver.h"
#include "vm/devices.h"

#define SECTORS 64u
#define STATUS	0x3ff000

static struct virtio_device *dev;
static struct driver v;
static int file = -1;

static int open_disk(bool readonly, int flags, struct err *e)
{
	struct vm_disk d = { .readonly = readonly, .serial = "serial-0123456789abc" };
	char path[64];

	*e = (struct err)ERR_INIT;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	d.fd = open(path, flags | O_CLOEXEC);
	CHECK(d.fd >= 0);
	return vm_blk_new(&d, &dev, e);
}
/* A file of 64 sectors and a bit, filled with its sectors' numbers. */
static void make_file(void)
{
	uint8_t sector[512];

	file = memfd_create("disk", MFD_CLOEXEC);
	for (unsigned i = 0; i < SECTORS; i++) {
		memset(sector, (int)i, sizeof(sector));
		CHECK_INT(pwrite(file, sector, 512, i * 512), 512);
	}
	CHECK_INT(pwrite(file, "tail", 4, SECTORS * 512), 4);
}
static void begin(bool readonly)
{
	struct err e;

	make_file();
	CHECK_INT(open_disk(readonly, readonly ? O_RDONLY : O_RDWR, &e), 0);
	driver_init(&v, dev, NULL, 0);
}
static void end(void)
{
	driver_free(&v);
	close(file);
}

/* Header, data segments, status: one request's way; returns the status. */
static int request(
    uint32_t type, uint64_t sector, const struct driver_seg *data, unsigned n, uint32_t *ret_len)
{
	struct virtio_blk_outhdr h = { .type = type, .sector = sector };
	struct driver_seg s[16] = { { driver_put(&v, &h, sizeof(h)), sizeof(h), false } };
	uint8_t *status = driver_ptr(&v, STATUS, 1);
	uint32_t len = 0;

	for (unsigned i = 0; i < n; i++)
		s[1 + i] = data[i];
	s[1 + n] = (struct driver_seg){ STATUS, 1, true };
	*status = 0x55;
	driver_add(&v, 0, s, n + 2);
	driver_kick(&v, 0);
	CHECK(driver_wait(&v, 0, &len) >= 0);
	if (ret_len)
		*ret_len = len;
	return *status;
}
static int on_file(unsigned sector)
{
	uint8_t b[512];

	CHECK_INT(pread(file, b, 512, sector * 512), 512);
	for (int i = 1; i < 512; i++)
		if (b[i] != b[0])
			return -1;
	return b[0];
}

TEST(reads)
{
	struct driver_seg s[] = { { 0x100000, 512, true }, { 0x200000, 700, true },
		{ 0x210000, 324, true } };
	uint32_t len = 0;
	uint64_t capacity;

	begin(false);
	virtio_mmio_read(dev, VIRTIO_MMIO_CONFIG, &capacity, 8);
	CHECK_INT(capacity, SECTORS);
	CHECK_INT(request(VIRTIO_BLK_T_IN, 5, s, 3, &len), VIRTIO_BLK_S_OK);
	CHECK_INT(len, 3 * 512 + 1);
	CHECK_INT(*(uint8_t *)driver_ptr(&v, 0x100000, 1), 5);
	CHECK_INT(*(uint8_t *)driver_ptr(&v, 0x2001ff, 1), 6);
	CHECK_INT(*(uint8_t *)driver_ptr(&v, 0x200200, 1), 7);
	CHECK_INT(*(uint8_t *)driver_ptr(&v, 0x210143, 1), 7);
	CHECK(driver_interrupted(&v));
	end();
}

TEST(writes)
{
	begin(false);
	struct driver_seg s[] = { { 0x100000, 500, false }, { 0x200000, 524, false } };
	memset(driver_ptr(&v, 0x100000, 512), 0xe1, 512);
	memset(driver_ptr(&v, 0x200000, 12), 0xe1, 12);
	memset(driver_ptr(&v, 0x20000c, 512), 0xe2, 512);
	uint32_t len = 0;
	CHECK_INT(request(VIRTIO_BLK_T_OUT, 10, s, 2, &len), VIRTIO_BLK_S_OK);
	CHECK_INT(len, 1);
	CHECK_INT(on_file(9), 9);
	CHECK_INT(on_file(10), 0xe1);
	CHECK_INT(on_file(11), 0xe2);
	CHECK_INT(on_file(12), 12);
	CHECK_INT(request(VIRTIO_BLK_T_FLUSH, 0, NULL, 0, NULL), VIRTIO_BLK_S_OK);
	end();
}

/* Nothing beyond the disk's end, however the numbers are chosen. */
TEST(bounds)
{
	begin(false);
	struct driver_seg in = { 0x100000, 512, true }, out = { 0x100000, 512, false };
	struct driver_seg in2 = { 0x100000, 1024, true }, odd = { 0x100000, 511, true };
	static const uint64_t far[] = { SECTORS, SECTORS + 1, 1ull << 55, UINT64_MAX / 512,
		UINT64_MAX / 512 + 1, UINT64_MAX - 1, UINT64_MAX };
	for (int i = 0; i < 7; i++) {
		CHECK_INT(request(VIRTIO_BLK_T_IN, far[i], &in, 1, NULL), VIRTIO_BLK_S_IOERR);
		CHECK_INT(request(VIRTIO_BLK_T_OUT, far[i], &out, 1, NULL), VIRTIO_BLK_S_IOERR);
	}
	CHECK_INT(request(VIRTIO_BLK_T_IN, SECTORS - 1, &in, 1, NULL), VIRTIO_BLK_S_OK);
	CHECK_INT(request(VIRTIO_BLK_T_IN, SECTORS - 1, &in2, 1, NULL), VIRTIO_BLK_S_IOERR);
	CHECK_INT(request(VIRTIO_BLK_T_IN, 0, &odd, 1, NULL), VIRTIO_BLK_S_IOERR);
	struct stat st;
	CHECK_INT(fstat(file, &st), 0);
	CHECK_INT(st.st_size, SECTORS * 512 + 4);
	/* The file becomes shorter behind the device's back. */
	CHECK_INT(ftruncate(file, 512), 0);
	CHECK_INT(request(VIRTIO_BLK_T_IN, 1, &in, 1, NULL), VIRTIO_BLK_S_IOERR);
	CHECK_INT(request(0x1234, 0, &in, 1, NULL), VIRTIO_BLK_S_UNSUPP);
	CHECK(!driver_needs_reset(&v));
	end();
}

/* Even when the descriptor would permit it. */
TEST(read_only)
{
	struct err e;
	make_file();
	CHECK_INT(open_disk(true, O_RDWR, &e), 0);
	driver_init(&v, dev, NULL, 0);
	CHECK(driver_offered(&v) & 1ull << VIRTIO_BLK_F_RO);
	CHECK(!(driver_offered(&v) & 1ull << VIRTIO_BLK_F_DISCARD));
	struct driver_seg out = { 0x100000, 512, false };
	struct virtio_blk_discard_write_zeroes r = { 0, 8, 0 };
	struct driver_seg range = { driver_put(&v, &r, sizeof(r)), sizeof(r), false };
	memset(driver_ptr(&v, 0x100000, 512), 0xe1, 512);
	CHECK_INT(request(VIRTIO_BLK_T_OUT, 1, &out, 1, NULL), VIRTIO_BLK_S_IOERR);
	CHECK_INT(request(VIRTIO_BLK_T_DISCARD, 0, &range, 1, NULL), VIRTIO_BLK_S_IOERR);
	CHECK_INT(request(VIRTIO_BLK_T_WRITE_ZEROES, 0, &range, 1, NULL), VIRTIO_BLK_S_IOERR);
	CHECK_INT(on_file(1), 1);
	end();
}

static int clear_range(uint32_t type, uint64_t sector, uint32_t n, uint32_t flags)
{
	struct virtio_blk_discard_write_zeroes r[2] = { { 60, 1, 0 }, { sector, n, flags } };
	struct driver_seg s = { driver_put(&v, r, sizeof(r)), sizeof(r), false };

	return request(type, 0, &s, 1, NULL);
}
TEST(discards_and_zeroes)
{
	begin(false);
	CHECK(driver_offered(&v) & 1ull << VIRTIO_BLK_F_WRITE_ZEROES);
	CHECK_INT(clear_range(VIRTIO_BLK_T_DISCARD, 8, 8, 0), VIRTIO_BLK_S_OK);
	CHECK_INT(on_file(60), 0);
	for (unsigned i = 6; i < 18; i++)
		CHECK_INT(on_file(i), i >= 8 && i < 16 ? 0 : i);
	CHECK_INT(clear_range(VIRTIO_BLK_T_WRITE_ZEROES, 20, 3, 0), VIRTIO_BLK_S_OK);
	CHECK_INT(clear_range(VIRTIO_BLK_T_WRITE_ZEROES, 30, 2, 1), VIRTIO_BLK_S_OK);
	CHECK_INT(on_file(19), 19);
	CHECK_INT(on_file(20) + on_file(22) + on_file(30) + on_file(31), 0);
	CHECK_INT(on_file(23), 23);
	CHECK_INT(clear_range(VIRTIO_BLK_T_WRITE_ZEROES, 20, 3, 2), VIRTIO_BLK_S_UNSUPP);
	CHECK_INT(clear_range(VIRTIO_BLK_T_DISCARD, 40, 1, 1), VIRTIO_BLK_S_UNSUPP);
	CHECK_INT(clear_range(VIRTIO_BLK_T_DISCARD, SECTORS, 1, 0), VIRTIO_BLK_S_IOERR);
	CHECK_INT(clear_range(VIRTIO_BLK_T_DISCARD, 63, UINT32_MAX, 0), VIRTIO_BLK_S_IOERR);
	CHECK_INT(clear_range(VIRTIO_BLK_T_DISCARD, UINT64_MAX, 2, 0), VIRTIO_BLK_S_IOERR);
	CHECK_INT(on_file(63), 63);
	struct driver_seg odd = { 0x100000, 15, false }, many = { 0x100000, 17 * 16, false };
	CHECK_INT(request(VIRTIO_BLK_T_DISCARD, 0, &odd, 1, NULL), VIRTIO_BLK_S_UNSUPP);
	CHECK_INT(request(VIRTIO_BLK_T_DISCARD, 0, &many, 1, NULL), VIRTIO_BLK_S_UNSUPP);
	CHECK_INT(request(VIRTIO_BLK_T_DISCARD, 0, NULL, 0, NULL), VIRTIO_BLK_S_UNSUPP);
	struct stat st;
	CHECK_INT(fstat(file, &st), 0);
	CHECK_INT(st.st_size, SECTORS * 512 + 4);
	end();
}

TEST(serial)
{
	begin(false);
	struct driver_seg s = { 0x100000, 20, true }, small = { 0x100100, 4, true };
	uint32_t len = 0;
	CHECK_INT(request(VIRTIO_BLK_T_GET_ID, 0, &s, 1, &len), VIRTIO_BLK_S_OK);
	CHECK_INT(len, 21);
	CHECK(memcmp(driver_ptr(&v, 0x100000, 20), "serial-0123456789abc", 20) == 0);
	CHECK_INT(request(VIRTIO_BLK_T_GET_ID, 0, &small, 1, &len), VIRTIO_BLK_S_OK);
	CHECK_INT(len, 5);
	CHECK(memcmp(driver_ptr(&v, 0x100100, 5), "seri\0", 5) == 0);
	end();
}

/* Header and status may be cut anyhow; without one of them there is no answer. */
TEST(framing)
{
	begin(false);
	struct virtio_blk_outhdr h = { .type = VIRTIO_BLK_T_IN, .sector = 3 };
	uint64_t at = driver_put(&v, &h, sizeof(h));
	struct driver_seg s[] = { { at, 1, false }, { at + 1, 15, false }, { 0x100000, 300, true },
		{ 0x100200, 213, true } };
	driver_add_indirect(&v, 0, s, 4);
	driver_kick(&v, 0);
	CHECK(driver_wait(&v, 0, NULL) >= 0);
	CHECK_INT(*(uint8_t *)driver_ptr(&v, 0x1002d3, 1), 3);
	CHECK_INT(*(uint8_t *)driver_ptr(&v, 0x1002d4, 1), VIRTIO_BLK_S_OK);
	for (int i = 0; i < 2; i++) {
		if (i == 0)
			driver_add(&v, 0, s + 1, 2); /* 15 bytes of a header */
		else
			driver_add(&v, 0, s, 2); /* no status */
		driver_kick(&v, 0);
		for (int k = 0; k < 5000 && !driver_needs_reset(&v); k++)
			usleep(1000);
		CHECK(driver_needs_reset(&v));
		driver_up(&v, 0);
	}
	end();
}

TEST(what_is_no_disk)
{
	struct vm_disk d = { .readonly = true };
	struct err e = ERR_INIT;

	d.fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	CHECK_INT(vm_blk_new(&d, &dev, &e), -ENOTBLK);
	CHECK_INT(fcntl(d.fd, F_GETFD), -1); /* closed */
	d.fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(vm_blk_new(&d, &dev, &e), -ENOTBLK);
	make_file();
	CHECK_INT(open_disk(false, O_RDONLY, &e), -EACCES);
	CHECK_INT(open_disk(true, O_WRONLY, &e), -EACCES);
	CHECK_INT(open_disk(true, O_PATH, &e), -EACCES);
	close(file);
}

static int refuse(void *arg, struct err *e)
{
	return err_set(e, EPERM, "no");
}
TEST(thread_preparation_fails)
{
	struct guest_memory m;
	struct err e;

	make_file();
	CHECK_INT(open_disk(true, O_RDONLY, &e), 0);
	CHECK_INT(guest_memory_new(DRIVER_MEMORY, &m, &e), 0);
	CHECK_INT(virtio_attach(dev, &m, v.page, &e), 0);
	CHECK_INT(virtio_start(dev, refuse, NULL, &e), -EPERM);
	CHECK_STR(e.msg, "no");
	dev->ops->free(dev);
	guest_memory_free(&m);
	close(file);
}

/* Resets in the middle of traffic: the worker and the register file do not get in each other's way.
 */
TEST(resets_under_load)
{
	begin(false);
	struct virtio_blk_outhdr h = { .type = VIRTIO_BLK_T_IN };
	for (int round = 0; round < 200; round++) {
		v.next = 0x1000;
		driver_up(&v, 0);
		struct driver_seg s[] = { { driver_put(&v, &h, sizeof(h)), sizeof(h), false },
			{ 0x100000, 512 * 8, true }, { STATUS, 1, true } };
		for (int i = 0; i < 60; i++)
			driver_add(&v, 0, s, 3);
		driver_kick(&v, 0);
		if (round % 3 == 0)
			usleep(200);
	}
	CHECK(!driver_needs_reset(&v));
	for (int i = 0; i < 60; i++)
		CHECK(driver_wait(&v, 0, NULL) >= 0);
	end();
}

TEST_MAIN(T(reads), T(writes), T(bounds), T(read_only), T(discards_and_zeroes), T(serial),
    T(framing), T(what_is_no_disk), T(thread_preparation_fails), T(resets_under_load))
