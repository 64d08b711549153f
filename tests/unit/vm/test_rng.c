#include "tests/unit/test.h"

#include "tests/unit/vm/driver.h"
#include "vm/devices.h"

static struct loop *loop;
static struct driver v;

static void begin(void)
{
	struct virtio_device *d;
	struct err e = ERR_INIT;

	CHECK_INT(loop_new(&loop, &e), 0);
	CHECK_INT(vm_rng_new(loop, &d, &e), 0);
	driver_init(&v, d, loop, 0);
}
static void end(void)
{
	driver_free(&v);
	loop_free(loop);
}

TEST(fills_buffers)
{
	static const uint8_t zero[64];
	struct driver_seg s[] = { { 0x100000, 40, true }, { 0x200000, 24, true } };
	uint32_t len = 0;

	begin();
	driver_add(&v, 0, s, 2);
	driver_kick(&v, 0);
	driver_run(&v);
	CHECK_INT(driver_used(&v, 0, &len), 0);
	CHECK_INT(len, 64);
	CHECK(memcmp(driver_ptr(&v, 0x100000, 40), zero, 40) != 0);
	CHECK(memcmp(driver_ptr(&v, 0x200000, 24), zero, 24) != 0);
	CHECK_INT(*(uint8_t *)driver_ptr(&v, 0x100028, 1), 0);
	CHECK(driver_interrupted(&v));
	end();
}

TEST(gives_a_bounded_share)
{
	struct driver_seg s = { 0x100000, 1 << 20, true }, read = { 0x100000, 8, false };
	uint32_t len = 0;

	begin();
	driver_add(&v, 0, &s, 1);
	driver_add(&v, 0, &read, 1); /* nothing to write into */
	for (int i = 0; i < 100; i++)
		driver_add(&v, 0, &s, 1);
	driver_kick(&v, 0);
	driver_run(&v);
	CHECK_INT(driver_used(&v, 0, &len), 0);
	CHECK_INT(len, 256);
	CHECK_INT(driver_used(&v, 0, &len), 1);
	CHECK_INT(len, 0);
	int n = 0;
	while (driver_used(&v, 0, NULL) >= 0)
		n++;
	CHECK_INT(n, 100); /* over several rounds of the loop */
	end();
}

TEST_MAIN(T(fills_buffers), T(gives_a_bounded_share))
