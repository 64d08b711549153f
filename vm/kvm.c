#include "vm/kvm.h"

#include <errno.h>
#include <linux/virtio_mmio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "vm/limits.h"

/* Pages of KVM's own in the hole of the guest's memory: needed by Intel's processors. */
#define IDENTITY_MAP 0xfffbc000ull
#define TSS	     0xfffbd000ull
#define IO_APIC_PINS 24
#define CPUID_MAX    256
/* Behind those of the memory. */
#define WINDOWS_SLOT 2

int kvm_ioctl(int fd, unsigned long request, uintptr_t arg)
{
	int r;
	do
		r = ioctl(fd, request, arg);
	while (r < 0 && errno == EINTR);
	return r < 0 ? -errno : r;
}

/* ---- what KVM must have ---- */

static const struct {
	int cap;
	const char *name;
} required[] = {
#define CAP(x)                             \
	{                                  \
		KVM_CAP_##x, "KVM_CAP_" #x \
	}
	CAP(IRQCHIP),
	CAP(USER_MEMORY),
	CAP(READONLY_MEM),
	CAP(SET_TSS_ADDR),
	CAP(SET_IDENTITY_MAP_ADDR),
	CAP(EXT_CPUID),
	CAP(MP_STATE),
	CAP(IRQ_ROUTING),
	CAP(IRQFD),
	CAP(IOEVENTFD),
	CAP(DESTROY_MEMORY_REGION_WORKS),
	CAP(JOIN_MEMORY_REGIONS_WORKS),
#undef CAP
};

int kvm_check(int kvm, unsigned vcpus, struct err *e)
{
	int version = kvm_ioctl(kvm, KVM_GET_API_VERSION, 0);
	if (version < 0)
		return err_errno(e, -version, "/dev/kvm: KVM_GET_API_VERSION");
	if (version != KVM_API_VERSION)
		return err_set(e, EOPNOTSUPP, "/dev/kvm: KVM's API has version %d, not %d", version,
		    KVM_API_VERSION);
	for (size_t i = 0; i < ARRAY_SIZE(required); i++)
		if (kvm_ioctl(kvm, KVM_CHECK_EXTENSION, (uintptr_t)required[i].cap) <= 0)
			return err_set(e, EOPNOTSUPP, "/dev/kvm: this kernel's KVM lacks %s",
			    required[i].name);
	int max = kvm_ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS);
	if (max > 0 && vcpus > (unsigned)max)
		return err_set(e, EOPNOTSUPP,
		    "/dev/kvm: this kernel's KVM gives a machine at most %d vCPUs, not %u", max,
		    vcpus);
	return 0;
}

/* ---- VM, memory, interrupts ---- */

/* Without the lines to the 8259s: the guest is told that there are none and does not mask them. */
static int route_to_io_apic(int vm, struct err *e)
{
	_cleanup_free_ struct kvm_irq_routing *t =
	    xcalloc(1, sizeof(*t) + IO_APIC_PINS * sizeof(t->entries[0]));
	t->nr = IO_APIC_PINS;
	for (uint32_t i = 0; i < t->nr; i++) {
		t->entries[i].gsi = i;
		t->entries[i].type = KVM_IRQ_ROUTING_IRQCHIP;
		t->entries[i].u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
		t->entries[i].u.irqchip.pin = i;
	}
	int r = kvm_ioctl(vm, KVM_SET_GSI_ROUTING, (uintptr_t)t);
	return r < 0 ? err_errno(e, -r, "virtual machine: KVM_SET_GSI_ROUTING") : 0;
}

int kvm_create_vm(int kvm, struct err *e)
{
	uint64_t identity = IDENTITY_MAP;
	int r = kvm_ioctl(kvm, KVM_CREATE_VM, 0);
	if (r < 0)
		return err_errno(e, -r, "/dev/kvm: KVM_CREATE_VM");
	_cleanup_close_ int vm = r;
	r = kvm_ioctl(vm, KVM_SET_IDENTITY_MAP_ADDR, (uintptr_t)&identity);
	if (r < 0)
		return err_errno(e, -r, "virtual machine: KVM_SET_IDENTITY_MAP_ADDR");
	r = kvm_ioctl(vm, KVM_SET_TSS_ADDR, TSS);
	if (r < 0)
		return err_errno(e, -r, "virtual machine: KVM_SET_TSS_ADDR");
	r = kvm_ioctl(vm, KVM_CREATE_IRQCHIP, 0);
	if (r < 0)
		return err_errno(e, -r, "virtual machine: KVM_CREATE_IRQCHIP");
	r = route_to_io_apic(vm, e);
	return r < 0 ? r : steal_fd(&vm);
}

int kvm_set_memory(int vm, const struct guest_memory *m, struct err *e)
{
	for (unsigned i = 0; i < m->n; i++) {
		struct kvm_userspace_memory_region slot = { .slot = i,
			.guest_phys_addr = m->regions[i].gpa,
			.memory_size = m->regions[i].size,
			.userspace_addr = (uintptr_t)m->regions[i].host };
		int r = kvm_ioctl(vm, KVM_SET_USER_MEMORY_REGION, (uintptr_t)&slot);
		if (r < 0)
			return err_errno(e, -r, "virtual machine: memory of %llu MiB at 0x%llx",
			    (unsigned long long)(m->regions[i].size >> 20),
			    (unsigned long long)m->regions[i].gpa);
	}
	return 0;
}

int kvm_map_windows(int vm, const void *windows, uint64_t size, struct err *e)
{
	struct kvm_userspace_memory_region slot = { .slot = WINDOWS_SLOT,
		.flags = KVM_MEM_READONLY,
		.guest_phys_addr = VM_MMIO_BASE,
		.memory_size = size,
		.userspace_addr = (uintptr_t)windows };
	int r = size ? kvm_ioctl(vm, KVM_SET_USER_MEMORY_REGION, (uintptr_t)&slot) : 0;
	return r < 0 ? err_errno(e, -r, "virtual machine: show the devices' windows") : 0;
}

/* A write of value at gpa signals fd and goes no further. */
static int bind_write(int vm, uint64_t gpa, uint32_t value, int fd)
{
	struct kvm_ioeventfd io = { .datamatch = value,
		.addr = gpa,
		.len = 4,
		.fd = fd,
		.flags = KVM_IOEVENTFD_FLAG_DATAMATCH };
	return kvm_ioctl(vm, KVM_IOEVENTFD, (uintptr_t)&io);
}

static int drop_acknowledgements(int vm, uint64_t base)
{
	/* KVM keeps what the descriptor stands for. */
	_cleanup_close_ int nobody = eventfd(0, EFD_CLOEXEC);
	if (nobody < 0)
		return -errno;
	return bind_write(vm, base + VIRTIO_MMIO_INTERRUPT_ACK, VIRTIO_MMIO_INT_VRING, nobody);
}

int kvm_bind_device(
    int vm, const struct virtio_device *d, uint64_t base, uint32_t gsi, struct err *e)
{
	for (unsigned q = 0; q < d->ops->n_queues; q++) {
		int r = bind_write(vm, base + VIRTIO_MMIO_QUEUE_NOTIFY, q, d->kick[q]);
		if (r < 0)
			return err_errno(
			    e, -r, "virtual machine: %s: ioeventfd of queue %u", d->ops->name, q);
	}
	int r = drop_acknowledgements(vm, base);
	if (r < 0)
		return err_errno(
		    e, -r, "virtual machine: %s: ioeventfd of acknowledgements", d->ops->name);
	struct kvm_irqfd irq = { .fd = (uint32_t)d->irq, .gsi = gsi };
	r = kvm_ioctl(vm, KVM_IRQFD, (uintptr_t)&irq);
	return r < 0 ? err_errno(e, -r, "virtual machine: %s: irqfd of line %u", d->ops->name, gsi)
		     : 0;
}

/* ---- processor ---- */

int kvm_cpuid(int kvm, struct kvm_cpuid2 **ret, struct err *e)
{
	_cleanup_free_ struct kvm_cpuid2 *c =
	    xcalloc(1, sizeof(*c) + (CPUID_MAX + 2) * sizeof(c->entries[0]));
	c->nent = CPUID_MAX;
	int r = kvm_ioctl(kvm, KVM_GET_SUPPORTED_CPUID, (uintptr_t)c);
	if (r < 0)
		return err_errno(e, -r, "/dev/kvm: KVM_GET_SUPPORTED_CPUID");
	cpuid_add_topology(c);
	*ret = steal_ptr(c);
	return 0;
}
