/* The console device, driven as Linux's virtio_console does. BAILEY_TEST_STREAM: bytes of the
 * stream tests (default 64 MiB). */
#include "tests/unit/test.h"

#include <linux/virtio_console.h>
#include <malloc.h>

#include "guest/proto.h"
#include "tests/unit/vm/driver.h"
#include "vm/devices.h"

enum { LOG_RX, LOG_TX, CONTROL_RX, CONTROL_TX, AGENT_RX, AGENT_TX };

static struct loop *loop;
static struct virtio_device *dev;
static struct driver v;
static uint8_t got[1 << 20];
static size_t n_got, room, n_logged;
static int opens, closes, drains;

static size_t on_agent(void *arg, const uint8_t *buf, size_t n)
{
	if (n > room)
		n = room;
	if (n_got + n > sizeof(got))
		n = sizeof(got) - n_got;
	memcpy(got + n_got, buf, n);
	n_got += n;
	room -= n;
	return n;
}
static void on_open(void *arg, bool open)
{
	if (open)
		opens++;
	else
		closes++;
}
static void on_drained(void *arg)
{
	drains++;
}
static void on_log(void *arg, const uint8_t *buf, size_t n)
{
	n_logged += n;
}
static const struct console_handler handler = {
	.agent = on_agent, .agent_open = on_open, .agent_drained = on_drained, .log = on_log
};

static void begin(uint64_t features)
{
	struct err e = ERR_INIT;

	n_got = n_logged = 0;
	room = SIZE_MAX;
	opens = closes = drains = 0;
	CHECK_INT(loop_new(&loop, &e), 0);
	CHECK_INT(vm_console_new(loop, &handler, &dev, &e), 0);
	driver_init(&v, dev, loop, features);
	driver_run(&v);
}
static void end(void)
{
	driver_free(&v);
	loop_free(loop);
}

static void send_bytes(unsigned q, const void *buf, uint32_t n)
{
	struct driver_seg s = { driver_put(&v, buf, n), n, false };

	driver_add(&v, q, &s, 1);
	driver_kick(&v, q);
	driver_run(&v);
}
static void control(uint32_t id, uint16_t event, uint16_t value)
{
	struct virtio_console_control m = { id, event, value };

	send_bytes(CONTROL_TX, &m, sizeof(m));
	CHECK(driver_used(&v, CONTROL_TX, NULL) >= 0);
}
static uint64_t control_at;
static void offer_control(unsigned n)
{
	control_at = driver_alloc(&v, n * 64, 64);
	for (unsigned i = 0; i < n; i++) {
		struct driver_seg s = { control_at + i * 64, 64, true };
		driver_add(&v, CONTROL_RX, &s, 1);
	}
	driver_kick(&v, CONTROL_RX);
	driver_run(&v);
}
/* The next control message of the device's, as text. */
static const char *next_control(void)
{
	static char text[128];
	struct virtio_console_control m;
	uint32_t len = 0;

	if (driver_used(&v, CONTROL_RX, &len) < 0)
		return "none";
	memcpy(&m, driver_ptr(&v, control_at, 64), sizeof(m));
	snprintf(text, sizeof(text), "%u %u %u %.*s", m.id, m.event, m.value,
	    (int)(len - sizeof(m)), (char *)driver_ptr(&v, control_at + sizeof(m), 56));
	control_at += 64;
	return text;
}
static void open_agent(void)
{
	begin(1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
}

TEST(ports_are_announced)
{
	uint32_t ports;

	begin(1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	virtio_mmio_read(dev, VIRTIO_MMIO_CONFIG + 4, &ports, 4);
	CHECK_INT(ports, 2);
	offer_control(4);
	CHECK_STR(next_control(), "none");
	control(UINT32_MAX, VIRTIO_CONSOLE_DEVICE_READY, 1);
	CHECK_STR(next_control(), "0 1 1 ");
	CHECK_STR(next_control(), "1 1 1 ");
	control(0, VIRTIO_CONSOLE_PORT_READY, 1);
	CHECK_STR(next_control(), "0 4 1 ");
	CHECK_STR(next_control(), "0 6 1 ");
	control(1, VIRTIO_CONSOLE_PORT_READY, 1);
	CHECK_STR(next_control(), "none"); /* no buffers: kept */
	offer_control(4);
	CHECK_STR(next_control(), "1 7 1 org.bailey.agent");
	CHECK_STR(next_control(), "1 6 1 ");
	CHECK_STR(next_control(), "none");
	CHECK_INT(opens, 0);
	control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	CHECK_INT(opens, 1);
	control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	CHECK_INT(opens, 1);
	control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	CHECK_INT(closes, 1);
	/* Nonsense is ignored. */
	control(7, VIRTIO_CONSOLE_PORT_OPEN, 1);
	control(UINT32_MAX, VIRTIO_CONSOLE_PORT_READY, 1);
	control(1, 999, 1);
	CHECK_INT(opens, 1);
	CHECK_STR(next_control(), "none");
	end();
}

/* However often the driver asks, what is due stays the same few bits. */
TEST(a_flood_of_control_messages)
{
	begin(1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	struct virtio_console_control m = { 1, VIRTIO_CONSOLE_PORT_READY, 1 };
	struct driver_seg s = { driver_put(&v, &m, sizeof(m)), sizeof(m), false };
	size_t before = mallinfo2().uordblks;
	for (int i = 0; i < 100000; i++) {
		driver_add(&v, CONTROL_TX, &s, 1);
		if (i % 200 == 199) {
			driver_kick(&v, CONTROL_TX);
			driver_run(&v);
		}
	}
	CHECK(mallinfo2().uordblks <= before + 4096);
	offer_control(4);
	CHECK_STR(next_control(), "1 7 1 org.bailey.agent");
	CHECK_STR(next_control(), "1 6 1 ");
	CHECK_STR(next_control(), "none");
	end();
}

TEST(short_control_messages_and_buffers_break_it)
{
	begin(1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	send_bytes(CONTROL_TX, "1234567", 7);
	CHECK(driver_needs_reset(&v));
	driver_up(&v, 1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	control(1, VIRTIO_CONSOLE_PORT_READY, 1);
	struct driver_seg s = { 0x100000, 8, true };
	driver_add(&v, CONTROL_RX, &s, 1);
	driver_kick(&v, CONTROL_RX);
	driver_run(&v);
	CHECK(driver_needs_reset(&v));
	driver_up(&v, 1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	s.write = false;
	driver_add(&v, AGENT_RX, &s, 1);
	CHECK_INT(vm_console_send(dev, "abc", 3), 3);
	CHECK(driver_needs_reset(&v));
	end();
}

TEST(log_is_kept)
{
	char buf[VM_CONSOLE_LOG + 10], line[100];

	begin(0); /* without MULTIPORT too */
	CHECK_INT(vm_console_log(dev, buf, sizeof(buf)), 0);
	send_bytes(LOG_TX, "hello ", 6);
	send_bytes(LOG_TX, "world\n", 6);
	CHECK(driver_used(&v, LOG_TX, NULL) >= 0 && driver_used(&v, LOG_TX, NULL) >= 0);
	CHECK_INT(vm_console_log(dev, buf, sizeof(buf)), 12);
	CHECK(memcmp(buf, "hello world\n", 12) == 0);
	CHECK_INT(vm_console_log(dev, buf, 4), 4);
	CHECK(memcmp(buf, "rld\n", 4) == 0);
	CHECK_INT(n_logged, 12);
	for (int i = 0; i < 10000; i++) {
		snprintf(line, sizeof(line), "line %06d\n", i);
		send_bytes(LOG_TX, line, 12);
	}
	CHECK_INT(vm_console_log(dev, buf, sizeof(buf)), VM_CONSOLE_LOG);
	CHECK(memcmp(buf + VM_CONSOLE_LOG - 24, "line 009998\nline 009999\n", 24) == 0);
	end();
}

TEST(agent_input_stalls_and_resumes)
{
	open_agent();
	room = 3;
	send_bytes(AGENT_TX, "abcdef", 6);
	send_bytes(AGENT_TX, "ghi", 3);
	CHECK_INT(n_got, 3);
	CHECK_INT(driver_used(&v, AGENT_TX, NULL), -1); /* not given back before all is taken */
	vm_console_resume(dev);
	driver_run(&v);
	CHECK_INT(n_got, 3); /* still no room */
	room = 4;
	vm_console_resume(dev);
	driver_run(&v);
	CHECK(n_got == 7 && memcmp(got, "abcdefg", 7) == 0);
	CHECK(driver_used(&v, AGENT_TX, NULL) >= 0);
	room = 100;
	vm_console_resume(dev);
	driver_run(&v);
	CHECK(n_got == 9 && memcmp(got, "abcdefghi", 9) == 0);
	CHECK(driver_used(&v, AGENT_TX, NULL) >= 0);
	/* A reset while stalled. */
	room = 0;
	send_bytes(AGENT_TX, "xyz", 3);
	driver_up(&v, 1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	room = 100;
	send_bytes(AGENT_TX, "new", 3);
	CHECK(n_got == 12 && memcmp(got + 9, "new", 3) == 0);
	end();
}

static void offer_agent(uint64_t gpa, uint32_t n)
{
	struct driver_seg s = { gpa, n, true };

	driver_add(&v, AGENT_RX, &s, 1);
	driver_kick(&v, AGENT_RX);
	driver_run(&v);
}
TEST(agent_output_waits)
{
	uint32_t len = 0;

	begin(1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	CHECK_INT(vm_console_send(dev, "abc", 3), 3); /* the port is not open */
	offer_agent(0x100000, 4);
	CHECK_INT(driver_used(&v, AGENT_RX, NULL), -1);
	control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	CHECK(driver_used(&v, AGENT_RX, &len) >= 0);
	CHECK_INT(len, 3);
	CHECK(memcmp(driver_ptr(&v, 0x100000, 4), "abc", 3) == 0);
	CHECK_INT(drains, 1);
	CHECK_INT(vm_console_send(dev, "0123456789", 10), 10);
	CHECK_INT(vm_console_send(dev, "ab", 2), 12);
	CHECK_INT(vm_console_send(dev, NULL, 0), 12);
	CHECK_INT(drains, 1);
	offer_agent(0x100000, 11);
	CHECK_INT(drains, 1);
	offer_agent(0x100010, 11);
	CHECK_INT(drains, 2);
	CHECK(driver_used(&v, AGENT_RX, &len) >= 0 && len == 11);
	CHECK(driver_used(&v, AGENT_RX, &len) >= 0 && len == 1);
	CHECK(memcmp(driver_ptr(&v, 0x100000, 17), "0123456789a\0\0\0\0\0b", 17) == 0);
	/* Room beforehand: gone at once and in one piece, and nothing to tell. */
	offer_agent(0x100000, 11);
	vm_console_queue(dev, "vw", 2);
	CHECK(driver_used(&v, AGENT_RX, &len) < 0);
	CHECK_INT(vm_console_send(dev, "xy", 2), 0);
	CHECK(driver_used(&v, AGENT_RX, &len) >= 0 && len == 4);
	CHECK(memcmp(driver_ptr(&v, 0x100000, 4), "vwxy", 4) == 0);
	driver_run(&v);
	CHECK_INT(drains, 2);
	end();
}

TEST(closing_and_reset_drop_the_output)
{
	open_agent();
	CHECK_INT(vm_console_send(dev, "abc", 3), 3);
	control(1, VIRTIO_CONSOLE_PORT_OPEN, 0);
	CHECK_INT(closes, 1);
	CHECK_INT(vm_console_send(dev, NULL, 0), 0);
	control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	CHECK_INT(opens, 2);
	CHECK_INT(vm_console_send(dev, "abc", 3), 3);
	driver_up(&v, 1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	CHECK_INT(closes, 1); /* told on the loop's thread only */
	driver_run(&v);
	CHECK_INT(closes, 2);
	CHECK_INT(vm_console_send(dev, NULL, 0), 0);
	/* Reset and opened again before the loop came to it, the notification of the control queue
	 * being the older one: both are told. */
	control(1, VIRTIO_CONSOLE_PORT_OPEN, 1);
	CHECK_INT(opens, 3);
	driver_kick(&v, CONTROL_TX);
	driver_up(&v, 1ull << VIRTIO_CONSOLE_F_MULTIPORT);
	struct virtio_console_control m = { 1, VIRTIO_CONSOLE_PORT_OPEN, 1 };
	struct driver_seg s = { driver_put(&v, &m, sizeof(m)), sizeof(m), false };
	driver_add(&v, CONTROL_TX, &s, 1);
	driver_run(&v);
	CHECK_INT(closes, 3);
	CHECK_INT(opens, 4);
	end();
}

/* What was taken of the agent's output is told soon, not each time; at once where much waits. */
TEST(taken_output_is_told_together)
{
	enum { EACH = 100 };
	unsigned told = 0;

	open_agent();
	driver_interrupted(&v);
	for (unsigned i = 0; i < EACH; i++) {
		send_bytes(AGENT_TX, "abc", 3);
		CHECK(driver_used(&v, AGENT_TX, NULL) >= 0);
		told += driver_interrupted(&v);
	}
	CHECK(told < EACH / 2);
	usleep(50000);
	driver_run(&v);
	driver_interrupted(&v);
	usleep(50000);
	driver_run(&v);
	CHECK(!driver_interrupted(&v)); /* there was nothing more */
	send_bytes(AGENT_TX, "abc", 3);
	usleep(50000);
	driver_run(&v);
	CHECK(driver_interrupted(&v));
	struct driver_seg s = { driver_put(&v, "x", 1), 1, false };
	for (unsigned i = 0; i < DRIVER_QUEUE / 2; i++)
		driver_add(&v, AGENT_TX, &s, 1);
	driver_kick(&v, AGENT_TX);
	for (unsigned i = 0; i < 10 && n_got < 3 * (EACH + 1) + DRIVER_QUEUE / 2; i++)
		CHECK(loop_once(loop, 0, &(struct err)ERR_INIT) > 0);
	CHECK(driver_interrupted(&v));
	end();
}

/* ---- streams ---- */

static uint64_t stream_size(void)
{
	const char *s = getenv("BAILEY_TEST_STREAM");

	return s ? strtoull(s, NULL, 10) : 64ull << 20;
}
static uint8_t at(uint64_t i)
{
	return (uint8_t)(i * 2654435761u >> 13);
}

/* Guest to host through a reader that takes a little at a time and stalls in between. */
TEST(a_long_stream_to_the_host)
{
	uint64_t size = stream_size(), sent = 0, checked = 0;
	uint32_t in_flight = 0, bytes[DRIVER_QUEUE];

	open_agent();
	uint64_t gpa = driver_alloc(&v, DRIVER_QUEUE * 4096ull, 4096);
	size_t before = mallinfo2().uordblks;
	while (checked < size && !test_failed) {
		while (in_flight < DRIVER_QUEUE / 2 && sent < size) {
			unsigned slot = v.q[AGENT_TX].next_desc;
			struct driver_seg s = { gpa + slot * 4096, 4096, false };
			uint8_t *p = driver_ptr(&v, s.gpa, s.len);

			for (uint32_t i = 0; i < s.len; i++)
				p[i] = at(sent + i);
			sent += s.len;
			bytes[slot] = s.len;
			driver_add(&v, AGENT_TX, &s, 1);
			in_flight++;
		}
		driver_kick(&v, AGENT_TX);
		room = 100003;
		vm_console_resume(dev);
		driver_run(&v);
		for (size_t i = 0; i < n_got; i++)
			if (got[i] != at(checked + i))
				test_failed = 1;
		checked += n_got;
		n_got = 0;
		while (driver_used(&v, AGENT_TX, NULL) >= 0)
			in_flight--;
	}
	CHECK_INT(checked, size);
	CHECK_INT(bytes[0], 4096);
	CHECK(mallinfo2().uordblks <= before + 4096);
	end();
}

/* Host to guest from a sender that keeps to its bound; the guest offers small buffers. */
TEST(a_long_stream_to_the_guest)
{
	enum { BOUND = 512 << 10, PIECE = 70001 };
	static uint8_t piece[PIECE];
	uint64_t size = stream_size(), sent = 0, checked = 0;
	size_t queued = 0, most = 0;

	open_agent();
	uint64_t gpa = driver_alloc(&v, 64 * 4096, 4096);
	size_t before = mallinfo2().uordblks;
	while (checked < size && !test_failed) {
		while (queued < BOUND && sent < size) {
			size_t n = size - sent < PIECE ? size - sent : PIECE;

			for (size_t i = 0; i < n; i++)
				piece[i] = at(sent + i);
			queued = vm_console_send(dev, piece, n);
			sent += n;
		}
		for (int i = 0; i < 64; i++) {
			struct driver_seg s = { gpa + i * 4096, 4096, true };
			driver_add(&v, AGENT_RX, &s, 1);
		}
		driver_kick(&v, AGENT_RX);
		driver_run(&v);
		for (uint32_t i = 0, len; i < 64 && driver_used(&v, AGENT_RX, &len) >= 0; i++) {
			uint8_t *p = driver_ptr(&v, gpa + i * 4096, 4096);

			for (uint32_t k = 0; k < len; k++)
				if (p[k] != at(checked + k))
					test_failed = 1;
			checked += len;
		}
		queued = vm_console_send(dev, NULL, 0);
		if (mallinfo2().uordblks > most)
			most = mallinfo2().uordblks;
	}
	CHECK_INT(checked, size);
	CHECK(most <= before + 4 * BOUND);
	end();
}

TEST_MAIN(T(ports_are_announced), T(a_flood_of_control_messages),
    T(short_control_messages_and_buffers_break_it), T(log_is_kept),
    T(agent_input_stalls_and_resumes), T(agent_output_waits), T(closing_and_reset_drop_the_output),
    T(taken_output_is_told_together), T(a_long_stream_to_the_host), T(a_long_stream_to_the_guest))
