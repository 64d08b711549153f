/* A KVM virtual machine: memory, vCPUs, kernel, interrupt lines, and the devices' windows.
 * Documentation/virt/kvm/api.rst, Documentation/arch/x86/boot.rst, PVH's start_info.h, ACPI 6.5. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "vm/virtio.h"

#define VM_VCPUS_MAX   32
#define VM_DEVICES_MAX 32

struct machine_config {
	int kvm;		 /* /dev/kvm */
	int kernel;		 /* bzImage or ELF vmlinux with a PVH note: told apart by content */
	const char *kernel_name; /* for messages */
	int initrd;		 /* -EBADF: none */
	const char *cmdline;
	unsigned vcpus;
	uint64_t memory; /* bytes */
};
enum machine_end { MACHINE_SHUTDOWN, MACHINE_RESET, MACHINE_CRASH, MACHINE_FAILED };

struct machine;
/* Checks KVM's version and capabilities; makes VM, memory, irqchip and vCPUs; loads kernel, initrd,
 * command line and tables later, in machine_load(). Errors name what KVM lacks. */
int machine_new(const struct machine_config *c, struct machine **ret, struct err *e);
void machine_free(struct machine *m);
const struct guest_memory *machine_memory(const struct machine *m);
/* Gives the device a window, an interrupt line, ioeventfds and an irqfd. The machine owns it. */
int machine_add(struct machine *m, struct virtio_device *d, struct err *e);
/* Loads kernel and initrd and writes ACPI tables (MADT, DSDT with a LNRO0005 node per device). */
int machine_load(struct machine *m, struct err *e);
/* Starts the vCPU threads; `prepare` runs first on each (signal mask, seccomp filter). ended is
 * called once, from a vCPU's thread, with the reason. */
int machine_start(struct machine *m, int (*prepare)(void *arg, struct err *e),
    void (*ended)(void *arg, enum machine_end end, const char *why), void *arg, struct err *e);
/* Makes every vCPU leave the guest and joins the threads. */
void machine_stop(struct machine *m);
