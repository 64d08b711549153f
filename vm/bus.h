/* What a vCPU's exits reach: device windows and I/O ports, and how a guest ends itself there. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "vm/limits.h"
#include "vm/virtio.h"

enum machine_end {
	MACHINE_SHUTDOWN, /* power-off by ACPI */
	MACHINE_RESET,	  /* by ACPI's reset register or the keyboard controller's command */
	MACHINE_CRASH,	  /* triple fault: a kernel's panic with reboot=t, or one gone astray */
	MACHINE_FAILED,	  /* KVM could not go on */
};

struct bus {
	struct virtio_device *devices[VM_DEVICES_MAX];
	unsigned n;
	void (*serial)(void *arg, uint8_t byte);
	void *arg;
};

static inline uint64_t bus_window(unsigned i)
{
	return VM_MMIO_BASE + i * VM_MMIO_SIZE;
}
/* An access to what is no memory. Where nothing answers reads give ones, writes go nowhere. */
void bus_mmio(struct bus *b, uint64_t gpa, bool write, uint8_t *data, unsigned len);
/* `count` accesses of size bytes each to one port. Returns true when the guest has ended itself
 * that way: *end, *why. */
bool bus_port(struct bus *b, uint16_t port, bool write, uint8_t *data, unsigned size,
    unsigned count, enum machine_end *end, const char **why);
