#include "tests/unit/test.h"

#include "vm/acpi.h"

#define AT  0xe0000ull
#define END 0xff000ull

static struct guest_memory m;
static struct acpi_device devices[19];

static const uint8_t *at(uint64_t gpa, uint64_t n)
{
	static const uint8_t none[4096];
	const uint8_t *p = gpa >= AT && gpa < END ? guest_ptr(&m, gpa, n) : NULL;
	CHECK(p != NULL);
	return p ? p : none;
}
static uint32_t u32(const uint8_t *p)
{
	uint32_t v;
	memcpy(&v, p, 4);
	return v;
}
static uint64_t u64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, 8);
	return v;
}
static int sum(const uint8_t *p, uint64_t n)
{
	uint8_t s = 0;
	while (n--)
		s += *p++;
	return s;
}

static int build(unsigned vcpus, unsigned n)
{
	struct err e = ERR_INIT;
	CHECK_INT(guest_memory_new(2 << 20, &m, &e), 0);
	for (unsigned i = 0; i < n; i++)
		devices[i] = (struct acpi_device){ 0xd0000000 + i * 0x1000, 0x1000, 5 + i };
	return acpi_write(&m, AT, END, vcpus, devices, n, &e);
}

/* A table by its signature, checked as the guest would; NULL if the XSDT does not have it. */
static const uint8_t *table(const char *signature)
{
	const uint8_t *rsdp = at(AT, 36);
	const uint8_t *xsdt = at(u64(rsdp + 24), 36);
	CHECK(!memcmp(xsdt, "XSDT", 4));
	CHECK_INT(sum(xsdt, u32(xsdt + 4)), 0);
	for (uint32_t i = 36; i + 8 <= u32(xsdt + 4); i += 8) {
		const uint8_t *t = at(u64(xsdt + i), 36);
		CHECK_INT(sum(t, u32(t + 4)), 0);
		if (!memcmp(t, signature, 4))
			return t;
	}
	return NULL;
}

TEST(root)
{
	CHECK_INT(build(1, 2), 0);
	const uint8_t *rsdp = at(AT, 36);
	CHECK(!memcmp(rsdp, "RSD PTR ", 8));
	CHECK_INT(rsdp[15], 2);
	CHECK_INT(sum(rsdp, 20), 0);
	CHECK_INT(sum(rsdp, 36), 0);
	CHECK(table("FACP") && table("APIC") && !table("HPET"));
	guest_memory_free(&m);
}

/* What makes a distribution's kernel boot without looking for hardware that is not there. */
TEST(fixed_hardware)
{
	CHECK_INT(build(1, 1), 0);
	const uint8_t *f = table("FACP");
	CHECK_INT(u32(f + 4), 276);
	CHECK_INT(f[8], 6);
	uint16_t arch;
	memcpy(&arch, f + 109, 2);
	CHECK_INT(arch & 1 << 5, 1 << 5); /* no RTC */
	CHECK_INT(arch & 1 << 1, 0);	  /* no 8042 */
	CHECK_INT(u32(f + 112) & (1 << 20 | 1 << 10), 1 << 20 | 1 << 10);
	CHECK_INT(u64(f + 116 + 4), ACPI_PORT_RESET);
	CHECK_INT(f[128], ACPI_RESET_VALUE);
	CHECK_INT(f[244], 1);
	CHECK_INT(u64(f + 244 + 4), ACPI_PORT_SLEEP);
	CHECK_INT(u64(f + 256 + 4), ACPI_PORT_SLEEP_STATUS);
	const uint8_t *d = at(u64(f + 140), 36);
	CHECK(!memcmp(d, "DSDT", 4));
	CHECK_INT(sum(d, u32(d + 4)), 0);
	guest_memory_free(&m);
}

TEST(processors)
{
	CHECK_INT(build(32, 0), 0);
	const uint8_t *t = table("APIC");
	unsigned cpus = 0, io = 0;
	CHECK_INT(u32(t + 36), ACPI_LOCAL_APIC);
	CHECK_INT(u32(t + 40), 0);
	for (uint32_t i = 44; i < u32(t + 4); i += t[i + 1]) {
		if (t[i] == 0) {
			CHECK_INT(t[i + 1], 8);
			CHECK_INT(t[i + 2], cpus);
			CHECK_INT(t[i + 3], cpus);
			CHECK_INT(u32(t + i + 4), 1);
			cpus++;
		} else {
			CHECK_INT(t[i], 1);
			CHECK_INT(u32(t + i + 4), ACPI_IO_APIC);
			CHECK_INT(u32(t + i + 8), 0);
			io++;
		}
		if (!t[i + 1])
			break;
	}
	CHECK_INT(cpus, 32);
	CHECK_INT(io, 1);
	guest_memory_free(&m);
}

/* The AML, walked as far as it is made here: Name(_S5_) and one scope a device. */
TEST(device_nodes)
{
	CHECK_INT(build(1, 19), 0);
	const uint8_t *d = at(u64(table("FACP") + 140), 36);
	const uint8_t *p = d + 36, *end = d + u32(d + 4);
	const uint8_t s5[] = { 0x08, '_', 'S', '5', '_', 0x12 };
	CHECK(!memcmp(p, s5, sizeof(s5)));
	CHECK(p[8] == 2 && p[9] == 0x0a && p[10] == ACPI_S5);
	p += 6 + ((p[6] & 0xf) | p[7] << 4);
	for (unsigned i = 0; i < 19 && p < end; i++) {
		CHECK_INT(p[0], 0x10);
		CHECK(!memcmp(p + 3, "\\_SB_", 5));
		CHECK(p[8] == 0x5b && p[9] == 0x82);
		uint32_t scope = (uint32_t)((p[1] & 0xf) | p[2] << 4);
		uint32_t device = (uint32_t)((p[10] & 0xf) | p[11] << 4);
		CHECK_INT(p[1] >> 6, 1);
		CHECK_INT(scope, device + 9);
		CHECK(memmem(p, scope, "_HID\rLNRO0005", 14) != NULL);
		const uint8_t mem[] = { 0x86, 9, 0, 1 };
		const uint8_t *r = memmem(p, scope, mem, 4);
		CHECK(r && u32(r + 4) == devices[i].base && u32(r + 8) == 0x1000);
		CHECK(r && r[12] == 0x89 && r[15] == 0x03 && u32(r + 17) == devices[i].gsi);
		CHECK(r && r[21] == 0x79 && r + 23 == p + 1 + scope);
		p += 1 + scope;
	}
	CHECK(p == end);
	guest_memory_free(&m);
}

TEST(too_little_room)
{
	struct err e = ERR_INIT;
	CHECK_INT(guest_memory_new(2 << 20, &m, &e), 0);
	CHECK_INT(acpi_write(&m, AT, AT + 256, 1, devices, 1, &e), -ENOSPC);
	CHECK_HAS(e.msg, "256 bytes");
	err_clear(&e);
	CHECK_INT(acpi_write(&m, 4 << 20, 5 << 20, 1, devices, 1, &e), -ENOSPC);
	guest_memory_free(&m);
}

TEST_MAIN(T(root), T(fixed_hardware), T(processors), T(device_nodes), T(too_little_room))
