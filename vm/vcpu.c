#include "vm/vcpu.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "vm/limits.h"

enum {
	MSR_MISC_ENABLE = 0x1a0,
	MSR_MTRR_DEF_TYPE = 0x2ff,
};
#define MISC_FAST_STRING   1ull
#define MTRR_ENABLED	   (1ull << 11)
#define MTRR_WRITE_BACK	   6ull
#define CR0_PE		   1ull
#define CR0_ET		   (1ull << 4)
#define CR0_PG		   (1ull << 31)
#define CR4_PAE		   (1ull << 5)
#define EFER_LME_LMA	   0x500ull
#define RFLAGS_RESERVED	   2ull
#define KERNEL_SIGSET_SIZE 8

/* ---- construction ---- */

static int set_cpuid(int kvm, const struct vcpu *v, unsigned n, struct err *e)
{
	_cleanup_free_ struct kvm_cpuid2 *c = NULL;
	int r = kvm_cpuid(kvm, &c, e);
	if (r < 0)
		return r;
	bool deadline = kvm_ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	cpuid_of_vcpu(c, v->id, n, deadline);
	r = kvm_ioctl(v->fd, KVM_SET_CPUID2, (uintptr_t)c);
	return r < 0 ? err_errno(e, -r, "virtual machine: KVM_SET_CPUID2 of vCPU %u", v->id) : 0;
}

/* What firmware would have set. */
static int set_msrs(const struct vcpu *v, struct err *e)
{
	union {
		struct kvm_msrs h;
		uint8_t room[sizeof(struct kvm_msrs) + 2 * sizeof(struct kvm_msr_entry)];
	} s = { .h.nmsrs = 2 };
	s.h.entries[0] =
	    (struct kvm_msr_entry){ .index = MSR_MISC_ENABLE, .data = MISC_FAST_STRING };
	s.h.entries[1] = (struct kvm_msr_entry){ .index = MSR_MTRR_DEF_TYPE,
		.data = MTRR_ENABLED | MTRR_WRITE_BACK };
	int r = kvm_ioctl(v->fd, KVM_SET_MSRS, (uintptr_t)&s);
	if (r < 0)
		return err_errno(e, -r, "virtual machine: KVM_SET_MSRS of vCPU %u", v->id);
	if (r != (int)s.h.nmsrs)
		return err_set(e, EOPNOTSUPP, "virtual machine: KVM refuses MSR 0x%x of vCPU %u",
		    s.h.entries[r].index, v->id);
	return 0;
}

/* In the guest every signal is blocked but the one that makes a vCPU leave it. That one stays
 * blocked outside, so it cannot come too early. */
static int set_signal_mask(const struct vcpu *v, struct err *e)
{
	union {
		struct kvm_signal_mask h;
		uint8_t room[sizeof(struct kvm_signal_mask) + KERNEL_SIGSET_SIZE];
	} s = { .h.len = KERNEL_SIGSET_SIZE };
	uint64_t mask = ~(1ull << (VM_KICK_SIGNAL - 1));
	memcpy(s.h.sigset, &mask, sizeof(mask));
	int r = kvm_ioctl(v->fd, KVM_SET_SIGNAL_MASK, (uintptr_t)&s);
	return r < 0 ? err_errno(e, -r, "virtual machine: KVM_SET_SIGNAL_MASK of vCPU %u", v->id)
		     : 0;
}

static int map_run(int kvm, struct vcpu *v, struct err *e)
{
	int size = kvm_ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(*v->run))
		return err_errno(
		    e, size < 0 ? -size : EOPNOTSUPP, "/dev/kvm: KVM_GET_VCPU_MMAP_SIZE");
	void *p = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, v->fd, 0);
	if (p == MAP_FAILED)
		return err_errno(e, errno, "virtual machine: map the state of vCPU %u", v->id);
	v->run = p;
	v->run_size = (size_t)size;
	return 0;
}

int vcpu_new(int kvm, int vm, unsigned id, unsigned n, struct vcpu *ret, struct err *e)
{
	struct vcpu v = { .id = id };
	v.fd = kvm_ioctl(vm, KVM_CREATE_VCPU, id);
	if (v.fd < 0)
		return err_errno(e, -v.fd, "virtual machine: KVM_CREATE_VCPU %u", id);
	int r = map_run(kvm, &v, e);
	if (r >= 0)
		r = set_cpuid(kvm, &v, n, e);
	if (r >= 0)
		r = set_msrs(&v, e);
	if (r >= 0)
		r = set_signal_mask(&v, e);
	if (r < 0) {
		vcpu_free(&v);
		return r;
	}
	*ret = v;
	return 0;
}

void vcpu_free(struct vcpu *v)
{
	if (v->run)
		munmap(v->run, v->run_size);
	if (v->fd >= 0)
		close(v->fd);
	v->run = NULL;
	v->fd = -EBADF;
}

/* ---- first registers ---- */

enum { SELECTOR_CODE = 0x10, SELECTOR_DATA = 0x18, SELECTOR_TASK = 0x20 };

static struct kvm_segment segment(uint16_t selector, uint8_t type, bool code_data, bool long_mode)
{
	return (struct kvm_segment){ .limit = code_data ? 0xffffffff : 0x67,
		.selector = selector,
		.type = type,
		.present = 1,
		.s = code_data,
		.g = code_data,
		.l = long_mode,
		.db = code_data && !long_mode };
}

static void set_segments(struct kvm_sregs *s, bool long_mode)
{
	enum { CODE = 11, DATA = 3, TASK_BUSY = 11 }; /* accessed */
	s->cs = segment(SELECTOR_CODE, CODE, true, long_mode);
	s->ds = s->es = s->fs = s->gs = s->ss = segment(SELECTOR_DATA, DATA, true, false);
	s->tr = segment(SELECTOR_TASK, TASK_BUSY, false, false);
	s->ldt = (struct kvm_segment){ .unusable = 1 };
}

int vcpu_set_boot(const struct vcpu *v, const struct boot_entry *b, struct err *e)
{
	struct kvm_sregs s;
	int r = kvm_ioctl(v->fd, KVM_GET_SREGS, (uintptr_t)&s);
	if (r < 0)
		return err_errno(e, -r, "virtual machine: KVM_GET_SREGS");
	set_segments(&s, b->paging);
	s.cr0 = CR0_PE | CR0_ET;
	s.cr4 = 0;
	s.efer = 0;
	if (b->paging) {
		s.cr0 |= CR0_PG;
		s.cr3 = BOOT_PAGE_TABLE;
		s.cr4 = CR4_PAE;
		s.efer = EFER_LME_LMA;
	}
	s.gdt.base = BOOT_GDT;
	s.gdt.limit = BOOT_GDT_ENTRIES * 8 - 1;
	s.idt = (struct kvm_dtable){ 0 };
	r = kvm_ioctl(v->fd, KVM_SET_SREGS, (uintptr_t)&s);
	if (r < 0)
		return err_errno(e, -r, "virtual machine: KVM_SET_SREGS");
	struct kvm_regs regs = { .rflags = RFLAGS_RESERVED,
		.rip = b->rip,
		.rsi = b->rsi,
		.rbx = b->rbx,
		.rsp = BOOT_STACK };
	r = kvm_ioctl(v->fd, KVM_SET_REGS, (uintptr_t)&regs);
	return r < 0 ? err_errno(e, -r, "virtual machine: KVM_SET_REGS") : 0;
}

/* ---- running ---- */

static bool fail(
    const struct vcpu *v, enum machine_end *end, char *why, const char *what, uint64_t detail)
{
	struct kvm_regs regs = { 0 };
	(void)kvm_ioctl(v->fd, KVM_GET_REGS, (uintptr_t)&regs);
	snprintf(why, VCPU_WHY_MAX, "vCPU %u: %s (0x%" PRIx64 ") at 0x%llx", v->id, what, detail,
	    (unsigned long long)regs.rip);
	*end = MACHINE_FAILED;
	return true;
}

static bool system_event(const struct vcpu *v, enum machine_end *end, char *why)
{
	static const struct {
		uint32_t type;
		enum machine_end end;
		const char *why;
	} events[] = {
		{ KVM_SYSTEM_EVENT_SHUTDOWN, MACHINE_SHUTDOWN,
		    "the guest has switched itself off" },
		{ KVM_SYSTEM_EVENT_RESET, MACHINE_RESET, "the guest has reset itself" },
		{ KVM_SYSTEM_EVENT_CRASH, MACHINE_CRASH, "the guest has crashed" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(events); i++)
		if (events[i].type == v->run->system_event.type) {
			*end = events[i].end;
			snprintf(why, VCPU_WHY_MAX, "%s", events[i].why);
			return true;
		}
	return fail(v, end, why, "unknown system event", v->run->system_event.type);
}

/* Has the guest ended? */
static bool handle_exit(struct vcpu *v, struct bus *b, enum machine_end *end, char *why)
{
	struct kvm_run *run = v->run;
	const char *text;
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		if (!bus_port(b, run->io.port, run->io.direction == KVM_EXIT_IO_OUT,
			(uint8_t *)run + run->io.data_offset, run->io.size, run->io.count, end,
			&text))
			return false;
		snprintf(why, VCPU_WHY_MAX, "%s", text);
		return true;
	case KVM_EXIT_MMIO:
		bus_mmio(b, run->mmio.phys_addr, run->mmio.is_write, run->mmio.data, run->mmio.len);
		return false;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		return false;
	case KVM_EXIT_SHUTDOWN:
		*end = MACHINE_CRASH;
		snprintf(
		    why, VCPU_WHY_MAX, "triple fault: the guest's kernel has panicked or reset");
		return true;
	case KVM_EXIT_SYSTEM_EVENT:
		return system_event(v, end, why);
	case KVM_EXIT_FAIL_ENTRY:
		return fail(v, end, why, "the processor refuses to enter the guest",
		    run->fail_entry.hardware_entry_failure_reason);
	case KVM_EXIT_INTERNAL_ERROR:
		return fail(v, end, why, "KVM's internal error", run->internal.suberror);
	default:
		return fail(v, end, why, "unexpected exit from the guest", run->exit_reason);
	}
}

bool vcpu_run(struct vcpu *v, struct bus *b, const atomic_bool *stop, enum machine_end *end,
    char why[VCPU_WHY_MAX])
{
	while (!atomic_load(stop)) {
		/* EAGAIN: a vCPU that waited for its start-up interrupt. */
		if (ioctl(v->fd, KVM_RUN, 0) < 0) {
			if (errno == EINTR || errno == EAGAIN)
				continue;
			*end = MACHINE_FAILED;
			snprintf(why, VCPU_WHY_MAX, "vCPU %u: KVM_RUN: %s", v->id,
			    strerrordesc_np(errno));
			return true;
		}
		if (handle_exit(v, b, end, why))
			return true;
	}
	return false;
}
