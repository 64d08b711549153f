/*
 * The guest's memory, as the monitor sees it. Every address that comes from the guest goes through
 * guest_ptr(): there is no other way from a guest-physical address to a pointer.
 *
 * Layout: RAM from 0 to at most VM_HOLE_START, the rest from 4 GiB on; device windows, local and
 * I/O APIC between.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define VM_HOLE_START 0xc0000000ull
#define VM_HOLE_END   0x100000000ull
#define VM_MMIO_BASE  0xd0000000ull /* virtio-mmio windows, VM_MMIO_SIZE each */
#define VM_MMIO_SIZE  0x1000ull
#define VM_PAGE	      4096ull

struct guest_region {
	uint64_t gpa, size;
	uint8_t *host;
};
struct guest_memory {
	struct guest_region regions[2];
	unsigned n;
	uint64_t size; /* of all */
};
/* Maps size bytes (a multiple of 2 MiB), private, anonymous, not reserved, never in a core dump,
 * where it can with huge pages on demand. -ENOMEM names the size. */
int guest_memory_new(uint64_t size, struct guest_memory *ret, struct err *e);
void guest_memory_free(struct guest_memory *m);
/* [gpa, gpa + len) if it lies within one region, else NULL; len 0 gives NULL too. The bytes belong
 * to the guest and may change at any time: copy what is checked. */
void *guest_ptr(const struct guest_memory *m, uint64_t gpa, uint64_t len);
/* Copies; -EFAULT if not all of it is guest memory. */
int guest_read(const struct guest_memory *m, uint64_t gpa, void *buf, size_t n);
int guest_write(const struct guest_memory *m, uint64_t gpa, const void *buf, size_t n);
