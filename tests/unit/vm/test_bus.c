#include "tests/unit/test.h"

#include "vm/acpi.h"
#include "vm/bus.h"

static char sent[8];
static void serial(void *arg, uint8_t byte)
{
	size_t n = strlen(sent);
	if (n < sizeof(sent) - 1)
		sent[n] = (char)byte;
}

static struct bus b;
static enum machine_end end;
static const char *why;

static bool out(uint16_t port, uint8_t value)
{
	end = MACHINE_FAILED;
	why = NULL;
	return bus_port(&b, port, true, &value, 1, 1, &end, &why);
}

static int in(uint16_t port)
{
	uint8_t value = 0x55;
	CHECK(!bus_port(&b, port, false, &value, 1, 1, &end, &why));
	return value;
}

TEST(power)
{
	CHECK(out(ACPI_PORT_SLEEP, 0x20 | ACPI_S5 << 2));
	CHECK_INT(end, MACHINE_SHUTDOWN);
	CHECK_HAS(why, "off");
	CHECK(!out(ACPI_PORT_SLEEP, ACPI_S5 << 2)); /* not enabled */
	CHECK(!out(ACPI_PORT_SLEEP, 0x20 | 3 << 2));
	CHECK(out(ACPI_PORT_RESET, ACPI_RESET_VALUE));
	CHECK_INT(end, MACHINE_RESET);
	CHECK(!out(ACPI_PORT_RESET, 0));
	CHECK(out(0x64, 0xfe));
	CHECK_INT(end, MACHINE_RESET);
	CHECK(!out(0x64, 0xaa));
	CHECK(!out(0x80, 0xfe));
	CHECK_INT(in(0x64), 0);
	CHECK_INT(in(0x70), 0xff);
}

TEST(serial_port)
{
	b = (struct bus){ 0 };
	CHECK_INT(in(0x3fd), 0xff); /* nothing there */
	CHECK(!out(0x3f8, 'x'));
	b.serial = serial;
	CHECK_INT(in(0x3fd) & 0x60, 0x60);
	uint8_t three[] = "abc";
	CHECK(!bus_port(&b, 0x3f8, true, three, 1, 3, &end, &why));
	CHECK_STR(sent, "abc");
	b.serial = NULL;
}

/* Wide and repeated accesses fill all of the buffer and nothing more. */
TEST(widths)
{
	uint8_t buf[10] = { 0 };
	CHECK(!bus_port(&b, 0xcfc, false, buf, 4, 2, &end, &why));
	CHECK(buf[0] == 0xff && buf[7] == 0xff && buf[8] == 0);
	memset(buf, 0, sizeof(buf));
	bus_mmio(&b, VM_MMIO_BASE, false, buf, 8);
	CHECK(buf[0] == 0xff && buf[7] == 0xff && buf[8] == 0);
	bus_mmio(&b, 0, true, buf, 8);
	bus_mmio(&b, UINT64_MAX - 3, false, buf, 8);
}

/* A window is its device's own; an access across its end reaches neither. */
TEST(windows)
{
	static const struct virtio_ops idle = { .name = "idle", .id = 42, .n_queues = 1 };
	struct err e = ERR_INIT;
	struct guest_memory m;
	struct virtio_device d[2] = { { .ops = &idle }, { .ops = &idle } };
	static _Alignas(VM_PAGE) uint8_t pages[2][VM_PAGE];
	uint8_t buf[8];
	CHECK_INT(guest_memory_new(2 << 20, &m, &e), 0);
	for (int i = 0; i < 2; i++) {
		CHECK_INT(virtio_attach(&d[i], &m, pages[i], &e), 0);
		b.devices[b.n++] = &d[i];
	}
	for (uint64_t w = 0; w < 3; w++) {
		bus_mmio(&b, VM_MMIO_BASE + w * VM_MMIO_SIZE, false, buf, 4);
		CHECK_INT(!memcmp(buf, "virt", 4), w < 2);
	}
	memset(buf, 0, sizeof(buf));
	bus_mmio(&b, VM_MMIO_BASE + VM_MMIO_SIZE - 2, false, buf, 4);
	CHECK(buf[0] == 0xff && buf[3] == 0xff);
	bus_mmio(&b, VM_MMIO_BASE - 2, false, buf, 4);
	CHECK(buf[0] == 0xff && buf[3] == 0xff);
	b.n = 0;
	for (int i = 0; i < 2; i++)
		virtio_detach(&d[i]);
	guest_memory_free(&m);
}

TEST_MAIN(T(power), T(serial_port), T(widths), T(windows))
