/*
 * A hostile driver: the input is a program of register accesses, writes into memory, chains and
 * notifications for one of the devices. Nothing that it does may leave its memory, keep the loop
 * busy for ever, change a read-only disk, or keep the device from working after a reset.
 *
 * Input: the device's number, then operations (struct op_table below says their operands).
 */
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/log.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/vm/driver.h"
#include "vm/devices.h"

#define MEMORY	  (256u << 10)
#define DATA	  (128u << 10) /* chains' buffers lie from here on, mostly */
#define DISK_SIZE (32u << 10)

static struct driver v;
static const uint8_t *in;
static size_t left;

static uint8_t u8(void)
{
	return left ? left--, *in++ : 0;
}
static uint16_t u16(void)
{
	uint16_t lo = u8();

	return (uint16_t)(lo | u8() << 8);
}
static uint32_t u32(void)
{
	uint32_t lo = u16();

	return lo | (uint32_t)u16() << 16;
}

/* ---- devices ---- */

static size_t on_agent(void *arg, const uint8_t *buf, size_t n)
{
	/* Reads all of it, takes a part now and then. */
	uint8_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum ^= buf[i];
	return sum % 4 ? n : sum % (n + 1);
}
static void on_open(void *arg, bool open)
{
	if (open)
		vm_console_send(v.d, "hello", 5);
}
static void on_drained(void *arg)
{
	vm_console_resume(v.d);
}
static int console(struct virtio_device **ret, struct err *e)
{
	static const struct console_handler h = {
		.agent = on_agent, .agent_open = on_open, .agent_drained = on_drained
	};

	return vm_console_new(v.loop, &h, ret, e);
}
static int rng(struct virtio_device **ret, struct err *e)
{
	return vm_rng_new(v.loop, ret, e);
}
static int balloon(struct virtio_device **ret, struct err *e)
{
	return vm_balloon_new(v.loop, ret, e);
}

static int disk = -1;
static int blk(bool readonly, struct virtio_device **ret, struct err *e)
{
	struct vm_disk d = { .readonly = readonly };
	uint8_t byte = 0x5a;

	if (disk < 0)
		disk = memfd_create("disk", MFD_CLOEXEC);
	MUST(ftruncate(disk, 0) == 0 && ftruncate(disk, DISK_SIZE) == 0);
	MUST(pwrite(disk, &byte, 1, DISK_SIZE / 2) == 1);
	d.fd = fcntl(disk, F_DUPFD_CLOEXEC, 0);
	return vm_blk_new(&d, ret, e);
}
static int blk_rw(struct virtio_device **ret, struct err *e)
{
	return blk(false, ret, e);
}
static int blk_ro(struct virtio_device **ret, struct err *e)
{
	return blk(true, ret, e);
}
static void check_disk(void)
{
	struct stat st;

	MUST(fstat(disk, &st) == 0 && st.st_size == DISK_SIZE);
}
static void check_read_only(void)
{
	static const uint8_t zero[DISK_SIZE / 2];
	uint8_t buf[DISK_SIZE];

	check_disk();
	MUST(pread(disk, buf, sizeof(buf), 0) == sizeof(buf));
	MUST(memcmp(buf, zero, sizeof(zero)) == 0 && buf[DISK_SIZE / 2] == 0x5a);
	MUST(memcmp(buf + DISK_SIZE / 2 + 1, zero, sizeof(zero) - 1) == 0);
}

/* One tap in a network namespace of the fuzzer's own, and a packet socket at its other end; without
 * the right to make them there are none. */
static int far = -EBADF;
static int make_tap(void)
{
	struct ifreq r = { .ifr_name = "tap0", .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR };
	struct sockaddr_ll a = { .sll_family = AF_PACKET };
	int fd, s;

	if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
		return -EBADF;
	fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || ioctl(fd, TUNSETIFF, &r) < 0)
		return -EBADF;
	s = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	r.ifr_mtu = 65000;
	MUST(ioctl(s, SIOCSIFMTU, &r) == 0);
	r.ifr_flags = IFF_UP;
	MUST(ioctl(s, SIOCSIFFLAGS, &r) == 0);
	close(s);
	far = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	a.sll_ifindex = (int)if_nametoindex("tap0");
	MUST(bind(far, (struct sockaddr *)&a, sizeof(a)) == 0);
	return fd;
}
static int net(struct virtio_device **ret, struct err *e)
{
	struct vm_nic nic = { .mtu = 1500 };
	static int tap = -1;
	uint8_t old[128];

	if (tap == -1)
		tap = make_tap();
	if (tap < 0)
		return -ENODEV;
	/* What the input before this one has left there. */
	while (read(tap, old, sizeof(old)) > 0)
		;
	nic.tap = fcntl(tap, F_DUPFD_CLOEXEC, 0);
	return vm_net_new(v.loop, &nic, ret, e);
}

static const struct {
	int (*make)(struct virtio_device **ret, struct err *e);
	void (*check)(void);
} devices[] = {
	{ console },
	{ rng },
	{ balloon },
	{ blk_rw, check_disk },
	{ blk_ro, check_read_only },
	{ net },
};
static unsigned device;

/* ---- operations ---- */

static void run(void)
{
	struct err e = ERR_INIT;
	int rounds = 0;

	while (loop_once(v.d->loop, 0, &e) > 0)
		MUST(++rounds < 2000);
}
static unsigned a_queue(void)
{
	return u8() % v.d->ops->n_queues;
}
static void op_write(void)
{
	uint64_t x = u32();
	unsigned offset = u16() & 0xfff;

	virtio_mmio_write(v.d, offset, &x, 4);
}
static void op_access(void)
{
	static const unsigned lens[] = { 1, 2, 4, 8 };
	uint64_t x = 0;
	unsigned offset = u16(), len = lens[u8() % 4];

	virtio_mmio_read(v.d, offset, &x, len);
	virtio_mmio_write(v.d, offset ^ 0x100, &x, len);
}
static void op_poke(void)
{
	uint32_t at = u32() % MEMORY;
	unsigned n = u8();

	for (unsigned i = 0; i < n && at + i < MEMORY; i++)
		v.mem.regions[0].host[at + i] = u8();
}
static void op_chain(void)
{
	struct driver_seg s[16];
	unsigned q = a_queue(), how = u8(), n = 1 + how % 16;

	for (unsigned i = 0; i < n; i++) {
		uint16_t at = u16(), len = u16();

		s[i] = (struct driver_seg){ DATA + at, len, u8() & 1 };
	}
	if (how & 0x80 && v.next + 4096 < DATA)
		driver_add_indirect(&v, q, s, n);
	else
		driver_add(&v, q, s, n);
}
static void op_kick(void)
{
	driver_kick(&v, a_queue());
	run();
}
static void up(uint64_t features)
{
	v.next = 0x1000;
	MUST(!(driver_up(&v, features & driver_offered(&v)) & VIRTIO_CONFIG_S_NEEDS_RESET));
	MUST(v.d->active);
	run();
}
static void op_up(void)
{
	uint64_t f = u32();

	up(f | (uint64_t)u8() << 28 | (uint64_t)u8() << 32);
}
static void op_host(void)
{
	static const uint8_t bytes[65536];
	char log[64];
	uint16_t n = u16();

	if (device == 0 && vm_console_send(v.d, NULL, 0) < (1u << 20))
		vm_console_send(v.d, bytes, n);
	if (device == 0) {
		vm_console_resume(v.d);
		MUST(vm_console_log(v.d, log, n % sizeof(log)) <= n % sizeof(log));
	}
	if (device == 2)
		vm_balloon_set(v.d, (uint64_t)n << 12);
	if (device == 5 && n >= 14)
		MUST(send(far, bytes, n, 0) == n || n > 65000 || errno == ENOBUFS);
	run();
}
static void op_descriptor(void)
{
	unsigned q = a_queue(), i = u8();
	struct vring_desc d = { .addr = u32(), .len = u32(), .flags = u8(), .next = u16() };

	*driver_desc(&v, q, i) = d;
	driver_offer(&v, q, (uint16_t)i);
}
static void (*const ops[])(
    void) = { op_write, op_access, op_poke, op_chain, op_kick, op_up, op_host, op_descriptor };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static uint8_t *memory;
	struct err e = ERR_INIT;

	log_set_level(LEVEL_ERROR);
	if (!memory && !(memory = aligned_alloc(VM_PAGE, MEMORY)))
		abort();
	memset(memory, 0, MEMORY);
	in = data;
	left = n;
	device = u8() % (sizeof(devices) / sizeof(*devices));
	v = (struct driver){ .mem = { { { 0, MEMORY, memory } }, 1, MEMORY } };
	MUST(loop_new(&v.loop, &e) == 0);
	if (devices[device].make(&v.d, &e) < 0) {
		loop_free(v.loop);
		return 0;
	}
	MUST(virtio_attach(v.d, &v.mem, v.page, &e) == 0);
	up(0);
	while (left)
		ops[u8() % 8]();
	if (devices[device].check)
		devices[device].check();
	up(UINT64_MAX);
	v.d->ops->free(v.d);
	loop_free(v.loop);
	return 0;
}
