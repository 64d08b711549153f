/* The network device over a tap in a namespace of the test's own; a packet socket is the other end.
 */
#include "tests/unit/test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "tests/unit/vm/driver.h"
#include "vm/devices.h"

enum { RX, TX };
#define HDR sizeof(struct virtio_net_hdr_v1)
#define MRG (1ull << VIRTIO_NET_F_MRG_RXBUF)
/* Of the local experimental range, so that nothing of the stack's own is taken for ours. */
#define ETHERTYPE 0x88b5

static struct loop *loop;
static struct virtio_device *dev;
static struct driver v;
static int wire = -1, tap_fd = -1;

static int make_tap(const char *name, int mtu)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
	int s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	CHECK_INT(ioctl(fd, TUNSETIFF, &r), 0);
	r.ifr_mtu = mtu;
	CHECK_INT(ioctl(s, SIOCSIFMTU, &r), 0);
	r.ifr_flags = IFF_UP;
	CHECK_INT(ioctl(s, SIOCSIFFLAGS, &r), 0);
	close(s);
	return fd;
}
static int make_wire(const char *name)
{
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETHERTYPE));
	struct sockaddr_ll a = { .sll_family = AF_PACKET,
		.sll_protocol = htons(ETHERTYPE),
		.sll_ifindex = (int)if_nametoindex(name) };

	CHECK_INT(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}
static void begin(uint64_t features)
{
	struct vm_nic nic = { .mac = { 2, 0, 0, 0, 0, 7 }, .mtu = 65000 };
	struct err e = ERR_INIT;

	tap_fd = nic.tap = make_tap("tap0", 65000);
	wire = make_wire("tap0");
	CHECK_INT(loop_new(&loop, &e), 0);
	CHECK_INT(vm_net_new(loop, &nic, &dev, &e), 0);
	driver_init(&v, dev, loop, features);
	driver_run(&v);
}
static void end(void)
{
	driver_free(&v);
	loop_free(loop);
	close(wire);
}

/* An Ethernet frame of n bytes whose payload counts from `first`. */
static uint8_t *frame(size_t n, uint8_t first)
{
	static uint8_t f[70000];

	memset(f, 0xff, 6);
	memcpy(f + 6, (uint8_t[]){ 2, 0, 0, 0, 0, 9, ETHERTYPE >> 8, ETHERTYPE & 0xff }, 8);
	for (size_t i = 14; i < n; i++)
		f[i] = (uint8_t)(first + i * 7);
	return f;
}
TEST(configuration)
{
	struct virtio_net_config c;

	begin(0);
	virtio_mmio_read(dev, VIRTIO_MMIO_CONFIG, &c, sizeof(c));
	CHECK(memcmp(c.mac, "\2\0\0\0\0\7", 6) == 0);
	CHECK_INT(c.mtu, 65000);
	CHECK_INT(c.status, VIRTIO_NET_S_LINK_UP);
	driver_interrupted(&v);
	vm_net_set_link(dev, false);
	CHECK(driver_interrupted(&v));
	virtio_mmio_read(dev, VIRTIO_MMIO_CONFIG, &c, sizeof(c));
	CHECK_INT(c.status, 0);
	end();
}

static void transmit(const void *hdr, const void *data, uint32_t n)
{
	struct driver_seg s[] = { { driver_put(&v, hdr, HDR), HDR, false },
		{ driver_put(&v, data, n), n, false } };

	driver_add(&v, TX, s, 2);
	driver_kick(&v, TX);
	driver_run(&v);
	CHECK(driver_used(&v, TX, NULL) >= 0);
}
TEST(sends)
{
	struct virtio_net_hdr_v1 h = { 0 };
	uint8_t buf[70000];

	begin(MRG);
	transmit(&h, frame(60, 1), 60);
	CHECK_INT(recv(wire, buf, sizeof(buf), 0), 60);
	CHECK(memcmp(buf, frame(60, 1), 60) == 0);
	transmit(&h, frame(60000, 3), 60000);
	CHECK_INT(recv(wire, buf, sizeof(buf), 0), 60000);
	CHECK(memcmp(buf, frame(60000, 3), 60000) == 0);
	/* Header and packet in one segment, and cut within the header. */
	memset(buf, 0, HDR);
	memcpy(buf + HDR, frame(100, 5), 100);
	uint64_t at = driver_put(&v, buf, HDR + 100);
	struct driver_seg one = { at, HDR + 100, false };
	struct driver_seg cut[] = { { at, 5, false }, { at + 5, 1, false },
		{ at + 6, 106, false } };
	driver_add(&v, TX, &one, 1);
	driver_add_indirect(&v, TX, cut, 3);
	driver_kick(&v, TX);
	driver_run(&v);
	for (int i = 0; i < 2; i++) {
		CHECK_INT(recv(wire, buf, sizeof(buf), 0), 100);
		CHECK(memcmp(buf, frame(100, 5), 100) == 0);
	}
	end();
}

/* Dropped, and given back: what was not negotiated, what is too short or too long. */
TEST(refuses_to_send)
{
	struct virtio_net_hdr_v1 h = { 0 };
	uint8_t buf[128];

	begin(MRG);
	h.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
	transmit(&h, frame(60, 1), 60);
	h.flags = 0;
	static const uint8_t types[] = { VIRTIO_NET_HDR_GSO_TCPV4, VIRTIO_NET_HDR_GSO_TCPV6,
		VIRTIO_NET_HDR_GSO_UDP, VIRTIO_NET_HDR_GSO_ECN, 0x55, 0xff };
	for (size_t i = 0; i < sizeof(types); i++) {
		h.gso_type = types[i];
		transmit(&h, frame(60, 1), 60);
	}
	struct driver_seg shortest = { driver_put(&v, &h, HDR), HDR - 1, false };
	struct driver_seg only = { shortest.gpa, HDR, false };
	struct driver_seg in = { 0x100000, 2000, true };
	struct driver_seg longest[] = { { shortest.gpa, HDR, false },
		{ 0x100000, 1 << 20, false } };
	driver_add(&v, TX, &shortest, 1);
	driver_add(&v, TX, &only, 1);
	driver_add(&v, TX, &in, 1);
	driver_add(&v, TX, longest, 2);
	driver_kick(&v, TX);
	driver_run(&v);
	for (int i = 0; i < 4; i++)
		CHECK(driver_used(&v, TX, NULL) >= 0);
	CHECK_INT(recv(wire, buf, sizeof(buf), 0), -1);
	CHECK(!driver_needs_reset(&v));
	end();
}

/* A TCP segment far larger than the MTU goes through whole if that was negotiated, else not at all.
 */
static void tcp_segment(uint64_t features, int want)
{
	struct virtio_net_hdr_v1 h = { .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
		.gso_type = VIRTIO_NET_HDR_GSO_TCPV4,
		.hdr_len = 54,
		.gso_size = 1000,
		.csum_start = 34,
		.csum_offset = 16 };
	uint8_t buf[70000], *f = frame(5054, 0);

	begin(MRG | features);
	int all = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETH_P_IP));
	/* IPv4, TCP, 192.0.2.1 to 192.0.2.2; the checksum is the tap's business. */
	memcpy(f + 12,
	    (uint8_t[]){ 8, 0, 0x45, 0, 5040 >> 8, 5040 & 0xff, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2,
		1, 192, 0, 2, 2, 0, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x50, 0x10, 1, 0, 0, 0, 0, 0 },
	    42);
	transmit(&h, f, 5054);
	CHECK_INT(recv(all, buf, sizeof(buf), 0), want);
	close(all);
	end();
}
TEST(offloads)
{
	tcp_segment(1ull << VIRTIO_NET_F_CSUM | 1ull << VIRTIO_NET_F_HOST_TSO4 |
			1ull << VIRTIO_NET_F_GUEST_CSUM | 1ull << VIRTIO_NET_F_GUEST_TSO4,
	    5054);
}
TEST(offloads_not_negotiated)
{
	tcp_segment(1ull << VIRTIO_NET_F_CSUM, -1);
}

static void offer(uint64_t gpa, uint32_t n)
{
	struct driver_seg s = { gpa, n, true };

	driver_add(&v, RX, &s, 1);
}
static void kick_rx(void)
{
	driver_kick(&v, RX);
	driver_run(&v);
}
TEST(receives)
{
	begin(MRG);
	uint32_t len = 0;
	struct virtio_net_hdr_v1 *h = driver_ptr(&v, 0x100000, HDR);
	memset(h, 0xff, HDR);
	offer(0x100000, 2000);
	kick_rx();
	CHECK_INT(driver_used(&v, RX, &len), -1);
	CHECK_INT(send(wire, frame(100, 9), 100, 0), 100);
	driver_run(&v);
	CHECK(driver_used(&v, RX, &len) >= 0);
	CHECK_INT(len, HDR + 100);
	CHECK_INT(h->num_buffers, 1);
	CHECK_INT(h->gso_type, 0);
	CHECK(memcmp(h + 1, frame(100, 9), 100) == 0);
	CHECK(driver_interrupted(&v));
	end();
}

/* Without buffers the tap is left alone, and nothing is lost. */
TEST(holds_back)
{
	begin(MRG);
	uint32_t len = 0;
	int n = 0;
	for (int i = 0; i < 50; i++)
		CHECK_INT(send(wire, frame(100, (uint8_t)i), 100, 0), 100);
	driver_run(&v);
	CHECK_INT(driver_used(&v, RX, NULL), -1);
	struct err e = ERR_INIT;
	CHECK_INT(loop_once(loop, 0, &e), 0); /* not spinning either */
	for (int i = 0; i < 50; i++) {
		offer(0x100000, 2000);
		kick_rx();
		if (driver_used(&v, RX, &len) < 0)
			continue;
		CHECK(
		    memcmp(driver_ptr(&v, 0x100000 + HDR, 100), frame(100, (uint8_t)n), 100) == 0);
		n++;
	}
	CHECK_INT(n, 50);
	end();
}

static void merge(uint64_t features)
{
	begin(MRG | features);
	uint32_t len = 0, total = 0;
	uint8_t got[70000];
	offer(0x300000, 70000);
	kick_rx();
	CHECK_INT(send(wire, frame(60000, 1), 60000, 0), 60000);
	driver_run(&v);
	CHECK(driver_used(&v, RX, &len) >= 0);
	CHECK_INT(len, 60000 + HDR);
	for (int i = 0; i < 20; i++)
		offer(0x100000 + i * 1500, 1500);
	CHECK_INT(send(wire, frame(60000, 2), 60000, 0), 60000);
	kick_rx();
	/* Too few: the packet waits, no part of it is shown. */
	CHECK_INT(driver_used(&v, RX, NULL), -1);
	if (features)
		CHECK_INT(*(uint16_t *)driver_ptr(&v, v.q[RX].used + 4 + 8 * DRIVER_QUEUE, 2), 21);
	for (int i = 20; i < 60; i++)
		offer(0x100000 + i * 1500, 1500);
	kick_rx();
	struct virtio_net_hdr_v1 *h = driver_ptr(&v, 0x100000, HDR);
	CHECK_INT(h->num_buffers, 41);
	for (int i = 0; i < 41; i++) {
		CHECK(driver_used(&v, RX, &len) >= 0);
		CHECK_INT(len, i < 40 ? 1500 : 60000 + HDR - 40 * 1500);
		memcpy(got + total, driver_ptr(&v, 0x100000 + i * 1500, len), len);
		total += len;
	}
	CHECK_INT(driver_used(&v, RX, NULL), -1);
	CHECK_INT(total, 60000 + HDR);
	CHECK(memcmp(got + HDR, frame(60000, 2), 60000) == 0);
	end();
}
TEST(merges_buffers)
{
	merge(0);
}
/* The index at which the device wants to be told lies behind the buffers that did not suffice. */
TEST(merges_buffers_by_event_index)
{
	merge(1ull << VIRTIO_RING_F_EVENT_IDX);
}

TEST(without_merging_large_packets_are_dropped)
{
	begin(0);
	uint32_t len = 0;
	offer(0x300000, 2000);
	kick_rx();
	CHECK_INT(send(wire, frame(100, 0), 100, 0), 100);
	driver_run(&v);
	CHECK(driver_used(&v, RX, &len) >= 0);
	for (int i = 0; i < 4; i++)
		offer(0x100000 + i * 2000, 2000);
	CHECK_INT(send(wire, frame(60000, 1), 60000, 0), 60000);
	CHECK_INT(send(wire, frame(200, 2), 200, 0), 200);
	kick_rx();
	CHECK(driver_used(&v, RX, &len) >= 0);
	CHECK_INT(len, 200 + HDR);
	CHECK(memcmp(driver_ptr(&v, 0x100000 + HDR, 200), frame(200, 2), 200) == 0);
	end();
}

TEST(bad_receive_buffers)
{
	struct driver_seg readable = { 0x100000, 2000, false };

	begin(MRG);
	offer(0x100000, HDR - 1);
	kick_rx();
	CHECK(driver_needs_reset(&v));
	driver_up(&v, MRG);
	driver_run(&v);
	driver_add(&v, RX, &readable, 1);
	kick_rx();
	CHECK(driver_needs_reset(&v));
	/* Hostile but legal: buffers for the header alone. */
	driver_up(&v, MRG);
	for (int i = 0; i < 100; i++)
		offer(0x100000, HDR);
	CHECK_INT(send(wire, frame(60000, 1), 60000, 0), 60000);
	kick_rx();
	CHECK(!driver_needs_reset(&v));
	end();
}

/* After a reset nothing is read, and the loop is at rest, until the device is up again. */
TEST(reset)
{
	begin(MRG);
	struct err e = ERR_INIT;
	uint32_t len = 0;
	offer(0x100000, 2000);
	kick_rx();
	driver_write32(&v, VIRTIO_MMIO_STATUS, 0);
	CHECK_INT(send(wire, frame(100, 4), 100, 0), 100);
	driver_run(&v);
	CHECK_INT(loop_once(loop, 0, &e), 0);
	driver_up(&v, MRG);
	memset(driver_ptr(&v, 0x100000, 2000), 0, 2000);
	offer(0x100000, 2000);
	kick_rx();
	CHECK(driver_used(&v, RX, &len) >= 0);
	CHECK_INT(len, 100 + HDR);
	end();
}

TEST(tap_goes_away)
{
	begin(MRG);
	struct virtio_net_config c;
	struct err e = ERR_INIT;
	offer(0x300000, 2000);
	kick_rx();
	CHECK_INT(system("ip link del tap0"), 0);
	driver_run(&v);
	virtio_mmio_read(dev, VIRTIO_MMIO_CONFIG, &c, sizeof(c));
	CHECK_INT(c.status, 0);
	CHECK_INT(loop_once(loop, 0, &e), 0);
	kick_rx();
	struct virtio_net_hdr_v1 h = { 0 };
	transmit(&h, frame(60, 1), 60);
	CHECK(!driver_needs_reset(&v));
	end();
}

TEST(what_is_no_tap)
{
	struct vm_nic nic = { .mtu = 1500 };
	struct err e = ERR_INIT;

	CHECK_INT(loop_new(&loop, &e), 0);
	nic.tap = open("/dev/null", O_RDWR | O_CLOEXEC);
	CHECK(vm_net_new(loop, &nic, &dev, &e) < 0);
	CHECK_HAS(e.msg, "IFF_VNET_HDR");
	CHECK_INT(fcntl(nic.tap, F_GETFD), -1);
	nic.tap = make_tap("tap1", 1500);
	nic.mtu = 67;
	e = (struct err)ERR_INIT;
	CHECK_INT(vm_net_new(loop, &nic, &dev, &e), -EINVAL);
	loop_free(loop);
}

#define N(fn)                \
	{                    \
#fn, in_##fn \
	}
#define IN_CHILD(fn)              \
	static void in_##fn(void) \
	{                         \
		in_child(fn);     \
	}
static void in_child(void (*fn)(void))
{
	int status = -1;
	pid_t pid;

	if (access("/dev/net/tun", W_OK) < 0 || geteuid() != 0) {
		printf("# SKIP needs root and /dev/net/tun\n");
		return;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		test_failed = 0;
		CHECK_INT(unshare(CLONE_NEWNET), 0);
		/* Nothing of the stack's own on the wire. */
		if (system("echo 1 2>/dev/null >/proc/sys/net/ipv6/conf/default/disable_ipv6"))
			printf("# no IPv6\n");
		fn();
		fflush(NULL);
		_exit(test_failed);
	}
	waitpid(pid, &status, 0);
	CHECK_INT(status, 0);
}
IN_CHILD(configuration)
IN_CHILD(sends)
IN_CHILD(refuses_to_send)
IN_CHILD(offloads)
IN_CHILD(offloads_not_negotiated)
IN_CHILD(receives)
IN_CHILD(holds_back)
IN_CHILD(merges_buffers)
IN_CHILD(merges_buffers_by_event_index)
IN_CHILD(without_merging_large_packets_are_dropped)
IN_CHILD(bad_receive_buffers)
IN_CHILD(reset)
IN_CHILD(tap_goes_away)
IN_CHILD(what_is_no_tap)

TEST_MAIN(N(configuration), N(sends), N(refuses_to_send), N(offloads), N(offloads_not_negotiated),
    N(receives), N(holds_back), N(merges_buffers), N(merges_buffers_by_event_index),
    N(without_merging_large_packets_are_dropped), N(bad_receive_buffers), N(reset),
    N(tap_goes_away), N(what_is_no_tap))
