#include "tests/unit/test.h"

#include "tests/unit/vm/driver.h"

/* The rings are made by the driver of a device that does nothing; the queue under test is another
 * one over them. */
static void nothing(struct virtio_device *d, unsigned q)
{
}
static void no_free(struct virtio_device *d)
{
	virtio_detach(d);
}
static const struct virtio_ops idle = {
	.name = "idle", .id = 42, .n_queues = 1, .notify = nothing, .free = no_free
};

static struct driver v;
static struct virtio_device dev;
static struct virtqueue q;
static struct queue_chain c;

static void begin_size(uint16_t size, bool event_idx)
{
	dev = (struct virtio_device){ .ops = &idle };
	driver_init(&v, &dev, NULL, 0);
	driver_write32(&v, VIRTIO_MMIO_STATUS, 0);
	driver_queue(&v, 0, size);
	CHECK_INT(
	    queue_start(&q, &v.mem, size, v.q[0].desc, v.q[0].avail, v.q[0].used, event_idx), 0);
}
static void begin(void)
{
	begin_size(8, false);
}
static void end(void)
{
	driver_free(&v);
}
static void must_break(const char *why)
{
	CHECK_INT(queue_pop(&q, &c), -EPROTO);
	CHECK(q.broken);
	CHECK_HAS(q.why, why);
	CHECK_INT(queue_pop(&q, &c), -EPROTO); /* for good */
	end();
}

TEST(start_checks)
{
	begin();
	uint64_t d = v.q[0].desc, a = v.q[0].avail, u = v.q[0].used, end_ = v.mem.size;
	const struct {
		uint16_t size;
		uint64_t desc, avail, used;
		int want;
	} t[] = {
		{ 8, d, a, u, 0 },
		{ 0, d, a, u, -EINVAL },
		{ 3, d, a, u, -EINVAL },
		{ 2 * QUEUE_SIZE_MAX, d, a, u, -EINVAL },
		{ 65535, d, a, u, -EINVAL },
		{ 8, d + 8, a, u, -EINVAL },
		{ 8, d, a + 1, u, -EINVAL },
		{ 8, d, a, u + 2, -EINVAL },
		{ 8, end_ - 128, a, u, 0 },
		{ 8, end_ - 112, a, u, -EINVAL },
		{ 8, d, end_ - 22, u, 0 },
		{ 8, d, end_ - 20, u, -EINVAL },
		{ 8, d, a, end_ - 72, 0 },
		{ 8, d, a, end_ - 68, -EINVAL },
		{ 8, d, a, end_, -EINVAL },
		{ 8, ~15ull, a, u, -EINVAL },
		{ 8, d, ~1ull, u, -EINVAL },
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		int r = queue_start(&q, &v.mem, t[i].size, t[i].desc, t[i].avail, t[i].used, false);

		if (r != t[i].want || q.ready != (r == 0) || (r && !q.why))
			printf("# row %zu: %d\n", i, r), test_failed = 1;
	}
	CHECK_INT(queue_start(&q, &v.mem, 0, d, a, u, false), -EINVAL);
	CHECK_INT(queue_pop(&q, &c), 0);
	end();
}

TEST(a_request)
{
	begin();
	struct driver_seg s[] = { { 0x100000, 10, false }, { 0x100100, 20, false },
		{ 0x200000, 4096, true }, { v.mem.size - 1, 1, true } };
	CHECK_INT(queue_pop(&q, &c), 0);
	int head = driver_add(&v, 0, s, 4);
	CHECK_INT(queue_pop(&q, &c), 1);
	CHECK_INT(c.head, head);
	CHECK_INT(c.n_read, 2);
	CHECK_INT(c.n_write, 2);
	CHECK_INT(c.read_bytes, 30);
	CHECK_INT(c.write_bytes, 4097);
	CHECK(c.read[1].iov_base == guest_ptr(&v.mem, 0x100100, 20));
	CHECK_INT(c.read[1].iov_len, 20);
	CHECK(c.write[1].iov_base == guest_ptr(&v.mem, v.mem.size - 1, 1));
	CHECK_INT(queue_pop(&q, &c), 0);
	queue_unpop(&q);
	CHECK_INT(queue_pop(&q, &c), 1);
	CHECK_INT(driver_used(&v, 0, NULL), -1);
	queue_push(&q, c.head, 77);
	uint32_t len = 0;
	CHECK_INT(driver_used(&v, 0, &len), head);
	CHECK_INT(len, 77);
	end();
}

/* Many rounds: indices wrap at the ring's size and at 65536; order stays. */
TEST(wraps)
{
	begin_size(4, false);
	struct driver_seg s[] = { { 0x100000, 1, false }, { 0x100100, 1, true } };
	for (unsigned i = 0; i < 70000 && !test_failed; i++) {
		int h1 = driver_add(&v, 0, s, 2), h2 = driver_add(&v, 0, s, 2);
		CHECK_INT(queue_pop(&q, &c), 1);
		CHECK_INT(c.head, h1);
		CHECK_INT(queue_pop(&q, &c), 1);
		CHECK_INT(c.head, h2);
		CHECK_INT(queue_pop(&q, &c), 0);
		queue_push(&q, (uint16_t)h2, 2);
		queue_push(&q, (uint16_t)h1, 1);
		CHECK_INT(driver_used(&v, 0, NULL), h2);
		CHECK_INT(driver_used(&v, 0, NULL), h1);
	}
	end();
}

TEST(indirect)
{
	begin_size(256, false);
	struct driver_seg s[QUEUE_SIZE_MAX + 1];
	for (int i = 0; i < QUEUE_SIZE_MAX + 1; i++)
		s[i] = (struct driver_seg){ 0x100000 + 16 * i, 16, i > 200 };
	driver_add_indirect(&v, 0, s, QUEUE_SIZE_MAX); /* all that a chain may have */
	CHECK_INT(queue_pop(&q, &c), 1);
	CHECK_INT(c.n_read, 201);
	CHECK_INT(c.n_write, QUEUE_SIZE_MAX - 201);
	/* After direct descriptors too. */
	driver_add(&v, 0, s, 2);
	struct vring_desc *d = driver_desc(&v, 0, v.q[0].next_desc - 1);
	*d = (struct vring_desc){ driver_alloc(&v, 32, 16), 32, VRING_DESC_F_INDIRECT, 0 };
	struct vring_desc *t = driver_ptr(&v, d->addr, 32);
	t[0] = (struct vring_desc){ 0x100000, 5, VRING_DESC_F_NEXT, 1 };
	t[1] = (struct vring_desc){ 0x100000, 6, VRING_DESC_F_WRITE, 0 };
	CHECK_INT(queue_pop(&q, &c), 1);
	CHECK_INT(c.n_read, 2);
	CHECK_INT(c.read_bytes, 21);
	CHECK_INT(c.write_bytes, 6);
	driver_add_indirect(&v, 0, s, QUEUE_SIZE_MAX + 1);
	must_break("too long");
}

/* Descriptors that no driver may make, one at a time. */
TEST(bad_descriptors)
{
	const struct {
		struct vring_desc d[3];
		const char *why;
	} t[] = {
		{ { { 0x1000, 0, 0, 0 } }, "no length" },
		{ { { DRIVER_MEMORY, 1, 0, 0 } }, "not in guest memory" },
		{ { { DRIVER_MEMORY - 1, 2, 0, 0 } }, "not in guest memory" },
		{ { { 0x1000, UINT32_MAX, VRING_DESC_F_WRITE, 0 } }, "not in guest memory" },
		{ { { UINT64_MAX, 1, 0, 0 } }, "not in guest memory" },
		{ { { UINT64_MAX - 4, 16, 0, 0 } }, "not in guest memory" },
		{ { { VM_MMIO_BASE, 4, 0, 0 } }, "not in guest memory" },
		{ { { 0x1000, 1, VRING_DESC_F_NEXT, 8 } }, "beyond its table" },
		{ { { 0x1000, 1, VRING_DESC_F_NEXT, 65535 } }, "beyond its table" },
		{ { { 0x1000, 1, VRING_DESC_F_NEXT, 0 } }, "no end" },
		{ { { 0x1000, 1, VRING_DESC_F_NEXT, 1 }, { 0x1000, 1, VRING_DESC_F_NEXT, 0 } },
		    "no end" },
		{ { { 0x1000, 1, VRING_DESC_F_NEXT | VRING_DESC_F_WRITE, 1 }, { 0x1000, 1, 0, 0 } },
		    "follows a writable" },
		{ { { 0x1000, 0, VRING_DESC_F_INDIRECT, 0 } }, "multiple of 16" },
		{ { { 0x1000, 15, VRING_DESC_F_INDIRECT, 0 } }, "multiple of 16" },
		{ { { DRIVER_MEMORY - 16, 32, VRING_DESC_F_INDIRECT, 0 } }, "not in guest" },
		{ { { 0x1000, 16, VRING_DESC_F_INDIRECT | VRING_DESC_F_NEXT, 1 }, { 0 } },
		    "after an indirect" },
	};
	for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
		begin();
		for (unsigned k = 0; k < 3; k++)
			*driver_desc(&v, 0, k) = t[i].d[k];
		driver_offer(&v, 0, 0);
		must_break(t[i].why);
	}
}

static void nested_table(uint64_t gpa, struct vring_desc d)
{
	*driver_desc(&v, 0, 0) = (struct vring_desc){ gpa, 16, VRING_DESC_F_INDIRECT, 0 };
	*(struct vring_desc *)driver_ptr(&v, gpa, 16) = d;
	driver_offer(&v, 0, 0);
}
TEST(bad_indirect_tables)
{
	begin();
	nested_table(0x200000, (struct vring_desc){ 0x200000, 16, VRING_DESC_F_INDIRECT, 0 });
	must_break("within an indirect");
	begin();
	nested_table(0x200000, (struct vring_desc){ 0x1000, 16, VRING_DESC_F_NEXT, 1 });
	must_break("beyond its table");
	begin();
	nested_table(0x200000, (struct vring_desc){ 0x1000, 16, VRING_DESC_F_NEXT, 0 });
	must_break("no end");
}

TEST(bad_rings)
{
	begin();
	driver_offer(&v, 0, 8);
	must_break("beyond the queue");
	begin();
	*(uint16_t *)driver_ptr(&v, v.q[0].avail + 2, 2) = 9;
	must_break("more requests");
	begin();
	*(uint16_t *)driver_ptr(&v, v.q[0].avail + 2, 2) = 65535; /* backwards */
	must_break("more requests");
}

TEST(interrupts_and_notifications_by_flags)
{
	begin();
	uint16_t *avail = driver_ptr(&v, v.q[0].avail, 4), *used = driver_ptr(&v, v.q[0].used, 4);
	struct driver_seg s = { 0x100000, 1, false };
	CHECK(queue_wants_interrupt(&q));
	avail[0] = VRING_AVAIL_F_NO_INTERRUPT;
	CHECK(!queue_wants_interrupt(&q));
	queue_disable_notify(&q);
	CHECK_INT(used[0], VRING_USED_F_NO_NOTIFY);
	CHECK(!queue_enable_notify(&q));
	CHECK_INT(used[0], 0);
	queue_disable_notify(&q);
	driver_add(&v, 0, &s, 1);
	CHECK(queue_enable_notify(&q));
	end();
}

TEST(interrupts_and_notifications_by_event_index)
{
	begin_size(8, true);
	uint16_t *used_event = driver_ptr(&v, v.q[0].avail + 4 + 16, 2);
	uint16_t *avail_event = driver_ptr(&v, v.q[0].used + 4 + 64, 2);
	struct driver_seg s = { 0x100000, 1, false };
	*used_event = 100;
	CHECK(queue_wants_interrupt(&q)); /* the first time in any case */
	*used_event = 1;
	for (int i = 0; i < 4; i++) {
		driver_add(&v, 0, &s, 1);
		CHECK_INT(queue_pop(&q, &c), 1);
		queue_push(&q, c.head, 0);
		/* Wanted after the second one. */
		CHECK_INT(queue_wants_interrupt(&q), i == 1);
	}
	CHECK(!queue_enable_notify(&q));
	CHECK_INT(*avail_event, 4);
	driver_add(&v, 0, &s, 1);
	CHECK(queue_enable_notify(&q));
	CHECK_INT(*avail_event, 4);
	end();
}

TEST(segments)
{
	char a[3] = "abc", b[1] = "d", d[4] = "efgh", buf[9] = "";
	struct iovec s[] = { { a, 3 }, { b, 1 }, { d, 4 } }, out[3];
	CHECK_INT(iov_read(s, 3, 0, buf, 8), 8);
	CHECK_STR(buf, "abcdefgh");
	memset(buf, 0, sizeof(buf));
	CHECK_INT(iov_read(s, 3, 2, buf, 3), 3);
	CHECK_STR(buf, "cde");
	CHECK_INT(iov_read(s, 3, 6, buf, 8), 2);
	CHECK_INT(iov_read(s, 3, 8, buf, 8), 0);
	CHECK_INT(iov_read(s, 3, UINT64_MAX, buf, 8), 0);
	CHECK_INT(iov_read(NULL, 0, 0, buf, 8), 0);
	CHECK_INT(iov_write(s, 3, 1, "XYZ1", 4), 4);
	CHECK(memcmp(a, "aXY", 3) == 0 && b[0] == 'Z' && memcmp(d, "1fgh", 4) == 0);
	CHECK_INT(iov_write(s, 3, 7, "__", 2), 1);
	CHECK_INT(iov_slice(s, 3, 2, 3, out), 3);
	CHECK(out[0].iov_base == a + 2 && out[0].iov_len == 1);
	CHECK(out[2].iov_base == d && out[2].iov_len == 1);
	CHECK_INT(iov_slice(s, 3, 3, UINT64_MAX, out), 2);
	CHECK_INT(iov_slice(s, 3, 3, 0, out), 0);
}

TEST_MAIN(T(start_checks), T(a_request), T(wraps), T(indirect), T(bad_descriptors),
    T(bad_indirect_tables), T(bad_rings), T(interrupts_and_notifications_by_flags),
    T(interrupts_and_notifications_by_event_index), T(segments))
