/* KVM's side of a machine (Documentation/virt/kvm/api.rst; private to vm/). */
#pragma once
#include <linux/kvm.h>
#include <stdint.h>

#include "base/err.h"
#include "vm/memory.h"
#include "vm/virtio.h"

/* ioctl(2), restarted after EINTR: its value, or -errno. Not for KVM_RUN. */
int kvm_ioctl(int fd, unsigned long request, uintptr_t arg);

/* Does this KVM have what a machine with so many vCPUs takes? -EOPNOTSUPP names what it lacks. */
int kvm_check(int kvm, unsigned vcpus, struct err *e);
/* A VM with in-kernel interrupt controllers, whose lines lead to the I/O APIC alone. Returns the
 * descriptor. */
int kvm_create_vm(int kvm, struct err *e);
int kvm_set_memory(int vm, const struct guest_memory *m, struct err *e);
/* Shows the guest size bytes at VM_MMIO_BASE: it reads them without an exit; writes exit. Size 0:
 * nothing to show. */
int kvm_map_windows(int vm, const void *windows, uint64_t size, struct err *e);
/* Binds the device's eventfds: an ioeventfd per queue at the window's QueueNotify, its irq to the
 * interrupt line gsi. Has KVM drop the acknowledgements of used buffers (mmio_page.c). */
int kvm_bind_device(
    int vm, const struct virtio_device *d, uint64_t base, uint32_t gsi, struct err *e);

/* What the processor can do as KVM sees it, with leaf 0xb as cpuid_add_topology() leaves it; the
 * caller frees. */
int kvm_cpuid(int kvm, struct kvm_cpuid2 **ret, struct err *e);
/* Leaf 0xb with its two levels takes the place of what KVM reports of it and of 0x1f: by kernel
 * that is all levels of the host, one without content, or nothing. Room for two more entries is
 * needed. Processors that have no such leaf get none. */
void cpuid_add_topology(struct kvm_cpuid2 *c);
/* The same for vCPU `id` of n: APIC ids, topology (a core each, of one package), hypervisor bits;
 * no nested virtualization, performance counters or mwait. */
void cpuid_of_vcpu(struct kvm_cpuid2 *c, unsigned id, unsigned n, bool tsc_deadline);
