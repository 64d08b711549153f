#include "vm/acpi.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

/* ---- layouts (ACPI 6.5, 5.2) ---- */

struct header {
	char signature[4];
	uint32_t length;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	uint32_t oem_revision;
	char creator[4];
	uint32_t creator_revision;
} __attribute__((packed));

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	uint32_t rsdt, length;
	uint64_t xsdt;
	uint8_t checksum_all, reserved[3];
} __attribute__((packed));

struct address {
	uint8_t space, width, offset, access;
	uint64_t address;
} __attribute__((packed));

/* Most of it describes hardware that a hardware-reduced machine does not have. */
struct fadt {
	struct header h;
	uint8_t legacy[73];
	uint16_t boot_arch;
	uint8_t reserved;
	uint32_t flags;
	struct address reset;
	uint8_t reset_value;
	uint16_t arm_boot_arch;
	uint8_t minor;
	uint64_t x_facs, x_dsdt;
	struct address x_legacy[8];
	struct address sleep_control, sleep_status;
	char hypervisor[8];
} __attribute__((packed));
_Static_assert(sizeof(struct fadt) == 276, "a FADT of revision 6");
_Static_assert(offsetof(struct fadt, boot_arch) == 109, "IAPC_BOOT_ARCH");

struct madt_cpu {
	uint8_t type, length, uid, apic_id;
	uint32_t flags;
} __attribute__((packed));
struct madt_io_apic {
	uint8_t type, length, id, reserved;
	uint32_t address, gsi_base;
} __attribute__((packed));

enum {
	BOOT_NO_VGA = 1 << 2,
	BOOT_NO_RTC = 1 << 5, /* else the guest spins for one: over a second */
	FLAG_RESET = 1 << 10,
	FLAG_HW_REDUCED = 1 << 20,
	SPACE_IO = 1,
};

/* ---- bytes ---- */

struct out {
	uint8_t b[16384];
	size_t n;
	bool full;
};

static void put(struct out *o, const void *p, size_t n)
{
	if (n > sizeof(o->b) - o->n) {
		o->full = true;
		return;
	}
	memcpy(o->b + o->n, p, n);
	o->n += n;
}

static void put8(struct out *o, uint8_t v)
{
	put(o, &v, 1);
}

static void put32(struct out *o, uint32_t v)
{
	put(o, &v, 4);
}

static uint8_t checksum(const void *p, size_t n)
{
	const uint8_t *b = p;
	uint8_t sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += b[i];
	return (uint8_t)-sum;
}

/* Starts a table; table_end() fills in length and checksum. */
static size_t table_begin(struct out *o, const char *signature, uint8_t revision)
{
	struct header h = { .revision = revision, .oem_revision = 1, .creator_revision = 1 };
	while (o->n % 8)
		put8(o, 0);
	memcpy(h.signature, signature, 4);
	memcpy(h.oem, "BAILEY", 6);
	memcpy(h.oem_table, "MACHINE ", 8);
	memcpy(h.creator, "BAIL", 4);
	size_t at = o->n;
	put(o, &h, sizeof(h));
	return at;
}

static void table_end(struct out *o, size_t at)
{
	if (o->full)
		return;
	struct header *h = (struct header *)(o->b + at);
	h->length = (uint32_t)(o->n - at);
	h->checksum = 0;
	h->checksum = checksum(h, h->length);
}

/* ---- DSDT: AML (20.2) ---- */

enum {
	AML_ZERO = 0x00,
	AML_ONE = 0x01,
	AML_NAME = 0x08,
	AML_BYTE = 0x0a,
	AML_DWORD = 0x0c,
	AML_STRING = 0x0d,
	AML_SCOPE = 0x10,
	AML_BUFFER = 0x11,
	AML_PACKAGE = 0x12,
	AML_EXT = 0x5b,
	AML_DEVICE = 0x82,
	RES_MEMORY32 = 0x86,
	RES_IRQ = 0x89,
	RES_END = 0x79,
};

/* A package length of two bytes: enough for 4095. Returns where it is, for aml_close(). */
static size_t aml_open(struct out *o)
{
	size_t at = o->n;
	put8(o, 0);
	put8(o, 0);
	return at;
}

static void aml_close(struct out *o, size_t at)
{
	size_t n = o->n - at;
	if (n > 0xfff)
		o->full = true;
	if (o->full)
		return;
	o->b[at] = (uint8_t)(0x40 | (n & 0xf));
	o->b[at + 1] = (uint8_t)(n >> 4);
}

static void aml_name(struct out *o, const char name[4])
{
	put8(o, AML_NAME);
	put(o, name, 4);
}

static void aml_resources(struct out *o, const struct acpi_device *d)
{
	/* Memory32Fixed, Interrupt (consumer, edge, active high, exclusive), end tag. */
	enum { SIZE = 12 + 9 + 2 };
	aml_name(o, "_CRS");
	put8(o, AML_BUFFER);
	size_t at = aml_open(o);
	put8(o, AML_BYTE);
	put8(o, SIZE);
	put(o, (uint8_t[]){ RES_MEMORY32, 9, 0, 1 }, 4);
	put32(o, d->base);
	put32(o, d->size);
	put(o, (uint8_t[]){ RES_IRQ, 6, 0, 0x03, 1 }, 5);
	put32(o, d->gsi);
	put(o, (uint8_t[]){ RES_END, 0 }, 2);
	aml_close(o, at);
}

static void aml_device(struct out *o, const struct acpi_device *d, unsigned i)
{
	char name[5];
	snprintf(name, sizeof(name), "V%03u", i % 1000);
	put(o, (uint8_t[]){ AML_EXT, AML_DEVICE }, 2);
	size_t at = aml_open(o);
	put(o, name, 4);
	aml_name(o, "_HID");
	put8(o, AML_STRING);
	put(o, "LNRO0005", 9);
	aml_name(o, "_UID");
	put8(o, AML_BYTE);
	put8(o, (uint8_t)i);
	aml_name(o, "_CCA");
	put8(o, AML_ONE);
	aml_resources(o, d);
	aml_close(o, at);
}

static size_t dsdt(struct out *o, const struct acpi_device *devices, unsigned n)
{
	size_t table = table_begin(o, "DSDT", 2);
	aml_name(o, "_S5_");
	put8(o, AML_PACKAGE);
	size_t at = aml_open(o);
	put(o, (uint8_t[]){ 2, AML_BYTE, ACPI_S5, AML_ZERO }, 4);
	aml_close(o, at);
	/* One scope each, so that none grows beyond what its length can say. */
	for (unsigned i = 0; i < n; i++) {
		put8(o, AML_SCOPE);
		at = aml_open(o);
		put(o, "\\_SB_", 5);
		aml_device(o, &devices[i], i);
		aml_close(o, at);
	}
	table_end(o, table);
	return table;
}

/* ---- the other tables ---- */

static size_t fadt(struct out *o, uint64_t dsdt_address)
{
	size_t at = table_begin(o, "FACP", 6);
	struct fadt f = { .boot_arch = BOOT_NO_VGA | BOOT_NO_RTC,
		.flags = FLAG_HW_REDUCED | FLAG_RESET,
		.reset = { SPACE_IO, 8, 0, 1, ACPI_PORT_RESET },
		.reset_value = ACPI_RESET_VALUE,
		.minor = 5,
		.x_dsdt = dsdt_address,
		.sleep_control = { SPACE_IO, 8, 0, 1, ACPI_PORT_SLEEP },
		.sleep_status = { SPACE_IO, 8, 0, 1, ACPI_PORT_SLEEP_STATUS },
		.hypervisor = "BAILEY" };
	put(o, (uint8_t *)&f + sizeof(f.h), sizeof(f) - sizeof(f.h));
	table_end(o, at);
	return at;
}

static size_t madt(struct out *o, unsigned vcpus)
{
	size_t at = table_begin(o, "APIC", 5);
	put32(o, ACPI_LOCAL_APIC);
	put32(o, 0); /* no 8259 */
	for (unsigned i = 0; i < vcpus; i++) {
		struct madt_cpu c = { 0, sizeof(c), (uint8_t)i, (uint8_t)i, 1 };
		put(o, &c, sizeof(c));
	}
	struct madt_io_apic io = { 1, sizeof(io), 0, 0, ACPI_IO_APIC, 0 };
	put(o, &io, sizeof(io));
	table_end(o, at);
	return at;
}

static size_t xsdt(struct out *o, uint64_t fadt_address, uint64_t madt_address)
{
	size_t at = table_begin(o, "XSDT", 1);
	put(o, &fadt_address, 8);
	put(o, &madt_address, 8);
	table_end(o, at);
	return at;
}

int acpi_write(const struct guest_memory *m, uint64_t at, uint64_t end, unsigned vcpus,
    const struct acpi_device *devices, unsigned n, struct err *e)
{
	struct out o = { .n = sizeof(struct rsdp) };
	size_t dsdt_at = dsdt(&o, devices, n);
	size_t fadt_at = fadt(&o, at + dsdt_at), madt_at = madt(&o, vcpus);
	struct rsdp r = { .signature = { 'R', 'S', 'D', ' ', 'P', 'T', 'R', ' ' },
		.oem = { 'B', 'A', 'I', 'L', 'E', 'Y' },
		.revision = 2,
		.length = sizeof(r),
		.xsdt = at + xsdt(&o, at + fadt_at, at + madt_at) };
	r.checksum = checksum(&r, 20); /* the part that ACPI 1.0 knew */
	r.checksum_all = checksum(&r, sizeof(r));
	memcpy(o.b, &r, sizeof(r));
	if (o.full || o.n > end - at || guest_write(m, at, o.b, o.n) < 0)
		return err_set(e, ENOSPC,
		    "virtual machine: ACPI tables of %u devices do not fit into %llu bytes", n,
		    (unsigned long long)(end - at));
	return 0;
}
