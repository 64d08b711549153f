/* A KVM virtual machine: memory, vCPUs, kernel, interrupt lines, and the devices' windows.
 * Documentation/virt/kvm/api.rst, Documentation/arch/x86/boot.rst, PVH's start_info.h, ACPI 6.5. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "vm/bus.h"
#include "vm/limits.h"
#include "vm/virtio.h"

struct machine_config {
	int kvm;		 /* /dev/kvm */
	int kernel;		 /* bzImage or ELF vmlinux with a PVH note: told apart by content */
	const char *kernel_name; /* for messages */
	int initrd;		 /* -EBADF: none */
	const char *cmdline;
	unsigned vcpus;
	uint64_t memory; /* bytes */
	/* What the guest sends to a serial port at I/O port 0x3f8 (earlycon=uart8250,io,0x3f8): its
	 * log before the console device works. From a vCPU's thread. NULL: no such port. */
	void (*serial)(void *arg, uint8_t byte);
	void *serial_arg;
};

struct machine;
/* Checks KVM's version and capabilities; makes VM, memory, interrupt controllers and vCPUs. The
 * descriptors and strings of c stay the caller's and are needed until machine_load(). Errors name
 * what KVM lacks. */
int machine_new(const struct machine_config *c, struct machine **ret, struct err *e);
/* machine_stop(), then frees the devices too; accepts NULL. */
void machine_free(struct machine *m);
static inline void machine_freep(struct machine **m)
{
	machine_free(*m);
}
#define _cleanup_machine_ __attribute__((cleanup(machine_freep)))
const struct guest_memory *machine_memory(const struct machine *m);
/* Gives the device a window, an interrupt line, ioeventfds and an irqfd. The machine owns it from
 * now on, also on failure. */
int machine_add(struct machine *m, struct virtio_device *d, struct err *e);
/* Loads kernel, initrd and command line and writes the ACPI tables, for the devices added so far.
 * The errors are the user's: no kernel, a broken one, too little memory. */
int machine_load(struct machine *m, struct err *e);

struct machine_hooks {
	void *arg;
	/* Runs first on every thread (signal mask, seccomp filter): of a vCPU, d is NULL; of a
	 * device's worker. May be NULL. */
	int (*prepare)(void *arg, const struct virtio_device *d, struct err *e);
	/* Once, from a vCPU's thread, with the reason. machine_stop() must not be called here. */
	void (*ended)(void *arg, enum machine_end end, const char *why);
};
/* Starts the devices' workers and the vCPUs. Every thread of the process must block VM_KICK_SIGNAL,
 * which makes vCPUs leave the guest. The guest runs once all threads are prepared. */
int machine_start(struct machine *m, const struct machine_hooks *h, struct err *e);
/* Makes every vCPU leave the guest and joins their threads. Afterwards nothing of the guest runs,
 * and ended is not called any more. Does nothing the second time. */
void machine_stop(struct machine *m);
