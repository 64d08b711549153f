#include "tests/unit/test.h"

#include "tests/unit/vm/driver.h"

/* A device that gives each request back at once, with eight bytes of configuration space. */
static struct loop *loop;
static struct virtio_device dev;
static struct driver v;
static uint8_t config[8];
static int notified[2], resets, activations, activate_result;

static void config_read(struct virtio_device *d, unsigned offset, void *buf, unsigned len)
{
	virtio_config_copy(config, sizeof(config), offset, buf, len);
}
static void config_write(struct virtio_device *d, unsigned offset, const void *buf, unsigned len)
{
	memcpy(config + offset, buf, len);
}
static int activate(struct virtio_device *d, struct err *e)
{
	activations++;
	return activate_result ? err_set(e, EIO, "refused") : 0;
}
static void notify(struct virtio_device *d, unsigned q)
{
	struct queue_chain c;

	notified[q]++;
	while (d->active) {
		int r = queue_pop(&d->queues[q], &c);

		if (r < 0)
			virtio_broken(d, d->queues[q].why);
		if (r <= 0)
			break;
		queue_push(&d->queues[q], c.head, 0);
	}
	virtio_interrupt(d, &d->queues[q]);
}
static void reset(struct virtio_device *d)
{
	resets++;
}
static void detach(struct virtio_device *d)
{
	virtio_detach(d);
}
static const struct virtio_ops ops = {
	.name = "test",
	.id = 42,
	.features = 1ull << 5 | 1ull << 40,
	.n_queues = 2,
	.config_size = sizeof(config),
	.config_read = config_read,
	.config_write = config_write,
	.activate = activate,
	.notify = notify,
	.reset = reset,
	.free = detach,
};

static void begin(void)
{
	struct err e = ERR_INIT;

	CHECK_INT(loop_new(&loop, &e), 0);
	dev = (struct virtio_device){ .ops = &ops, .loop = loop };
	notified[0] = notified[1] = resets = activations = activate_result = 0;
	memset(config, 0, sizeof(config));
	driver_init(&v, &dev, loop, 0);
	driver_run(&v);
	notified[0] = notified[1] = 0;
	driver_interrupted(&v);
}
static void end(void)
{
	driver_free(&v);
	loop_free(loop);
}
static void request(unsigned q)
{
	struct driver_seg s = { 0x100000, 1, false };

	driver_add(&v, q, &s, 1);
	driver_kick(&v, q);
	driver_run(&v);
}

TEST(identity)
{
	begin();
	CHECK_INT(driver_read32(&v, VIRTIO_MMIO_MAGIC_VALUE), 0x74726976);
	CHECK_INT(driver_read32(&v, VIRTIO_MMIO_VERSION), 2);
	CHECK_INT(driver_read32(&v, VIRTIO_MMIO_DEVICE_ID), 42);
	CHECK(driver_offered(&v) ==
	      (ops.features | 1ull << VIRTIO_F_VERSION_1 | 1ull << VIRTIO_RING_F_INDIRECT_DESC |
		  1ull << VIRTIO_RING_F_EVENT_IDX));
	driver_write32(&v, VIRTIO_MMIO_DEVICE_FEATURES_SEL, 2);
	CHECK_INT(driver_read32(&v, VIRTIO_MMIO_DEVICE_FEATURES), 0);
	for (uint32_t i = 0; i < 4; i++) {
		driver_write32(&v, VIRTIO_MMIO_QUEUE_SEL, i == 3 ? UINT32_MAX : i);
		CHECK_INT(driver_read32(&v, VIRTIO_MMIO_QUEUE_NUM_MAX), i < 2 ? 256 : 0);
	}
	/* No shared memory regions. */
	CHECK_INT(driver_read32(&v, VIRTIO_MMIO_SHM_LEN_LOW), UINT32_MAX);
	end();
}

TEST(a_request_and_its_interrupt)
{
	begin();
	request(1);
	CHECK_INT(notified[0], 0);
	CHECK_INT(notified[1], 1);
	CHECK_INT(driver_used(&v, 1, NULL), 0);
	CHECK_INT(driver_read32(&v, VIRTIO_MMIO_INTERRUPT_STATUS), VIRTIO_MMIO_INT_VRING);
	CHECK(driver_interrupted(&v));
	CHECK(!driver_interrupted(&v));
	driver_write32(&v, VIRTIO_MMIO_QUEUE_NOTIFY, 2); /* no such queue */
	driver_write32(&v, VIRTIO_MMIO_QUEUE_NOTIFY, UINT32_MAX);
	driver_run(&v);
	CHECK_INT(notified[0] + notified[1], 1);
	end();
}

/* Requests made before DRIVER_OK are seen by it: no notification is needed. */
TEST(filled_before_driver_ok)
{
	begin();
	struct driver_seg s = { 0x100000, 1, false };
	driver_write32(&v, VIRTIO_MMIO_STATUS, 0);
	driver_status(&v, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER);
	driver_features(&v, 1ull << VIRTIO_F_VERSION_1);
	driver_status(&v, VIRTIO_CONFIG_S_FEATURES_OK);
	driver_queue(&v, 0, 4);
	driver_add(&v, 0, &s, 1);
	driver_kick(&v, 0);
	driver_run(&v);
	CHECK_INT(notified[0], 0); /* not before */
	driver_status(&v, VIRTIO_CONFIG_S_DRIVER_OK);
	driver_run(&v);
	CHECK_INT(driver_used(&v, 0, NULL), 0);
	CHECK_INT(notified[1], 0); /* queue 1 was not made */
	end();
}

static uint32_t negotiate(uint64_t features)
{
	driver_write32(&v, VIRTIO_MMIO_STATUS, 0);
	driver_features(&v, features);
	return driver_status(
	    &v, VIRTIO_CONFIG_S_ACKNOWLEDGE | VIRTIO_CONFIG_S_DRIVER | VIRTIO_CONFIG_S_FEATURES_OK);
}
TEST(features)
{
	const uint64_t v1 = 1ull << VIRTIO_F_VERSION_1;
	begin();
	CHECK(!(negotiate(0) & VIRTIO_CONFIG_S_FEATURES_OK)); /* a legacy driver */
	CHECK(!(negotiate(v1 | 1) & VIRTIO_CONFIG_S_FEATURES_OK));
	CHECK(!(negotiate(v1 | 1ull << 63) & VIRTIO_CONFIG_S_FEATURES_OK));
	/* Without FEATURES_OK nothing starts. */
	CHECK(!(driver_status(&v, VIRTIO_CONFIG_S_DRIVER_OK) & VIRTIO_CONFIG_S_DRIVER_OK));
	CHECK(!dev.active);
	CHECK(negotiate(v1 | 1ull << 40) & VIRTIO_CONFIG_S_FEATURES_OK);
	driver_features(&v, v1 | 1ull << 5); /* too late */
	driver_status(&v, VIRTIO_CONFIG_S_DRIVER_OK);
	CHECK(dev.driver_features == (v1 | 1ull << 40));
	CHECK(virtio_has(&dev, 40) && !virtio_has(&dev, 5));
	end();
}

/* A queue's registers change nothing once it is ready, and nothing after DRIVER_OK
 * (CVE-2026-5747: a size that was rewritten after the activation). */
TEST(latched)
{
	begin();
	driver_write32(&v, VIRTIO_MMIO_QUEUE_SEL, 0);
	driver_write32(&v, VIRTIO_MMIO_QUEUE_READY, 0);
	CHECK_INT(driver_read32(&v, VIRTIO_MMIO_QUEUE_READY), 1);
	driver_write32(&v, VIRTIO_MMIO_QUEUE_NUM, 1 << 15);
	driver_write64(&v, VIRTIO_MMIO_QUEUE_DESC_LOW, 0xffff0000);
	CHECK_INT(dev.queues[0].size, 256);
	request(0);
	CHECK_INT(driver_used(&v, 0, NULL), 0);

	negotiate(1ull << VIRTIO_F_VERSION_1);
	driver_queue(&v, 0, 16);
	driver_write32(&v, VIRTIO_MMIO_QUEUE_NUM, 4); /* ready already */
	driver_write64(&v, VIRTIO_MMIO_QUEUE_USED_LOW, 0xffff0000);
	driver_queue(&v, 1, 16);
	driver_write32(&v, VIRTIO_MMIO_QUEUE_READY, 0); /* taken back: may change again */
	CHECK_INT(driver_read32(&v, VIRTIO_MMIO_QUEUE_READY), 0);
	driver_write32(&v, VIRTIO_MMIO_QUEUE_NUM, 4);
	driver_write32(&v, VIRTIO_MMIO_QUEUE_READY, 1);
	driver_status(&v, VIRTIO_CONFIG_S_DRIVER_OK);
	CHECK(!driver_needs_reset(&v));
	CHECK_INT(dev.queues[0].size, 16);
	CHECK_INT(dev.queues[1].size, 4);
	request(0);
	CHECK_INT(driver_used(&v, 0, NULL), 0);
	end();
}

TEST(bad_queues_need_a_reset)
{
	begin();
	for (int i = 0; i < 3; i++) {
		negotiate(1ull << VIRTIO_F_VERSION_1);
		driver_queue(&v, 0, 16);
		driver_write32(&v, VIRTIO_MMIO_QUEUE_READY, 0);
		if (i == 0)
			driver_write32(&v, VIRTIO_MMIO_QUEUE_NUM, 3);
		if (i == 1)
			driver_write32(&v, VIRTIO_MMIO_QUEUE_NUM, 0x10010);
		if (i == 2)
			driver_write32(&v, VIRTIO_MMIO_QUEUE_AVAIL_HIGH, 1);
		driver_write32(&v, VIRTIO_MMIO_QUEUE_READY, 1);
		activations = 0;
		driver_status(&v, VIRTIO_CONFIG_S_DRIVER_OK);
		CHECK(driver_needs_reset(&v));
		CHECK(!dev.active);
		CHECK_INT(activations, 0);
	}
	CHECK(!(driver_up(&v, 0) & VIRTIO_CONFIG_S_NEEDS_RESET));
	activate_result = -1;
	CHECK(driver_up(&v, 0) & VIRTIO_CONFIG_S_NEEDS_RESET);
	end();
}

TEST(broken_until_reset)
{
	begin();
	driver_interrupted(&v);
	*driver_desc(&v, 0, 0) = (struct vring_desc){ .addr = UINT64_MAX, .len = 1 };
	driver_offer(&v, 0, 0);
	driver_kick(&v, 0);
	driver_run(&v);
	CHECK(driver_needs_reset(&v));
	CHECK(driver_read32(&v, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG);
	CHECK(driver_interrupted(&v));
	int before = notified[1];
	request(1);
	CHECK_INT(notified[1], before); /* the whole device is still */
	/* The driver cannot clear it but by a reset. */
	driver_write32(&v, VIRTIO_MMIO_STATUS, 0xf);
	CHECK(driver_needs_reset(&v));
	driver_up(&v, 0);
	CHECK_INT(resets, 1);
	CHECK(!driver_needs_reset(&v));
	request(1);
	CHECK_INT(driver_used(&v, 1, NULL), 0);
	end();
}

TEST(reset_forgets)
{
	begin();
	driver_write32(&v, VIRTIO_MMIO_STATUS, 0);
	CHECK_INT(resets, 1);
	driver_write32(&v, VIRTIO_MMIO_STATUS, 0);
	CHECK_INT(resets, 1); /* was not active */
	CHECK_INT(driver_read32(&v, VIRTIO_MMIO_STATUS), 0);
	CHECK_INT(driver_read32(&v, VIRTIO_MMIO_QUEUE_READY), 0);
	CHECK(!dev.active && !dev.queues[0].ready && dev.driver_features == 0);
	request(0);
	CHECK_INT(notified[0], 0);
	end();
}

TEST(configuration_space)
{
	begin();
	uint8_t buf[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
	uint32_t before = driver_read32(&v, VIRTIO_MMIO_CONFIG_GENERATION);
	virtio_mmio_write(&dev, VIRTIO_MMIO_CONFIG, buf, 8);
	virtio_mmio_write(&dev, VIRTIO_MMIO_CONFIG + 3, buf, 1);
	memset(buf, 0xff, 8);
	virtio_mmio_read(&dev, VIRTIO_MMIO_CONFIG + 2, buf, 2);
	CHECK(buf[0] == 3 && buf[1] == 1);
	/* Across its end, beyond it, and far away: nothing there. */
	static const uint64_t out[] = { VIRTIO_MMIO_CONFIG + 5, VIRTIO_MMIO_CONFIG + 8, 0xffc,
		UINT64_MAX, UINT64_MAX - 3 };
	for (int i = 0; i < 5; i++) {
		memset(buf, 0xff, 8);
		virtio_mmio_read(&dev, out[i], buf, 4);
		CHECK(memcmp(buf, i ? "\0\0\0\0\xff" : "\6\7\10\0\xff", 5) == 0);
		virtio_mmio_write(&dev, out[i], buf, 4);
	}
	CHECK(config[5] == 6 && config[7] == 8);
	driver_interrupted(&v);
	virtio_config_changed(&dev);
	CHECK(driver_read32(&v, VIRTIO_MMIO_CONFIG_GENERATION) != before);
	CHECK_INT(driver_read32(&v, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG,
	    VIRTIO_MMIO_INT_CONFIG);
	CHECK(driver_interrupted(&v));
	CHECK_INT(driver_read32(&v, VIRTIO_MMIO_INTERRUPT_STATUS) & VIRTIO_MMIO_INT_CONFIG, 0);
	end();
}

/* What is shown is memory, to be read in any way; only aligned writes of four bytes reach
 * registers. */
TEST(other_accesses)
{
	begin();
	uint64_t x = UINT64_MAX;
	virtio_mmio_read(&dev, VIRTIO_MMIO_MAGIC_VALUE, &x, 1);
	CHECK_INT((uint8_t)x, 'v');
	virtio_mmio_read(&dev, VM_PAGE - 4, &x, 8);
	CHECK(x == 0);
	x = UINT64_MAX;
	virtio_mmio_write(&dev, VIRTIO_MMIO_STATUS, &x, 1);
	virtio_mmio_write(&dev, VIRTIO_MMIO_STATUS, &x, 8);
	CHECK(dev.active);
	for (unsigned reg = 0; reg < VIRTIO_MMIO_CONFIG; reg += 4)
		driver_read32(&v, reg);
	end();
}

TEST_MAIN(T(identity), T(a_request_and_its_interrupt), T(filled_before_driver_ok), T(features),
    T(latched), T(bad_queues_need_a_reset), T(broken_until_reset), T(reset_forgets),
    T(configuration_space), T(other_accesses))
