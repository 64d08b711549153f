/*
 * The guest's ACPI tables (ACPI 6.5; private to vm/): hardware-reduced, so no PIT, PIC, RTC,
 * keyboard controller or power management timer is looked for. RSDP, XSDT, FADT, MADT and a DSDT
 * with one LNRO0005 node per virtio-mmio window and \_S5, which power-off needs.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "vm/memory.h"

/* I/O ports that the tables name. */
#define ACPI_PORT_SLEEP	       0x600 /* SLEEP_CONTROL_REG */
#define ACPI_PORT_SLEEP_STATUS 0x601
#define ACPI_PORT_RESET	       0x602 /* RESET_REG */
#define ACPI_RESET_VALUE       0x01
#define ACPI_SLEEP_ENABLE      0x20 /* SLP_EN */
#define ACPI_SLEEP_TYPE(v)     ((v) >> 2 & 7)
#define ACPI_S5		       5

#define ACPI_LOCAL_APIC 0xfee00000u
#define ACPI_IO_APIC	0xfec00000u

struct acpi_device {
	uint32_t base, size, gsi;
};
/* Writes all tables to [at, end); the RSDP is at `at`. -ENOSPC if they do not fit. */
int acpi_write(const struct guest_memory *m, uint64_t at, uint64_t end, unsigned vcpus,
    const struct acpi_device *devices, unsigned n, struct err *e);
