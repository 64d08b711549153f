/* CPUID as a guest sees it: what KVM supports, and what differs by vCPU (Intel SDM 2A, AMD APM 3,
 * Documentation/virt/kvm/x86/cpuid.rst). */
#include "vm/kvm.h"

enum {
	L1_ECX_MONITOR = 1u << 3,
	L1_ECX_VMX = 1u << 5,
	L1_ECX_X2APIC = 1u << 21,
	L1_ECX_TSC_DEADLINE = 1u << 24,
	L1_EDX_HTT = 1u << 28,
	EXT1_ECX_CMP_LEGACY = 1u << 1,
	EXT1_ECX_SVM = 1u << 2,
	EXT1_ECX_TOPOLOGY = 1u << 22,
};
#define L1_ECX_HYPERVISOR (1u << 31)

static uint32_t bits_for(unsigned n)
{
	uint32_t bits = 0;
	while ((1u << bits) < n)
		bits++;
	return bits;
}

static void features(struct kvm_cpuid_entry2 *c, unsigned id, unsigned n, bool tsc_deadline)
{
	c->ebx = (c->ebx & 0x0000ffff) | id << 24 | n << 16;
	c->ecx |= L1_ECX_HYPERVISOR | L1_ECX_X2APIC;
	c->ecx &= ~(L1_ECX_MONITOR | L1_ECX_VMX | L1_ECX_TSC_DEADLINE);
	/* KVM does not report it here, but by a capability. */
	if (tsc_deadline)
		c->ecx |= L1_ECX_TSC_DEADLINE;
	c->edx &= ~L1_EDX_HTT;
	if (n > 1)
		c->edx |= L1_EDX_HTT;
}

/* Intel's leaf 4 and AMD's 0x8000001d: whom a cache belongs to. Level 3 is shared. */
static void cache(struct kvm_cpuid_entry2 *c, unsigned n, bool intel)
{
	uint32_t type = c->eax & 0x1f, level = c->eax >> 5 & 7;
	if (!type)
		return;
	uint32_t sharing = level >= 3 ? (1u << bits_for(n)) - 1 : 0;
	uint32_t cores = intel ? (1u << bits_for(n)) - 1 : 0;
	c->eax = (c->eax & 0x3fff) | sharing << 14 | cores << 26;
}

/* Leaf 0xb: threads of a core, cores of the package. */
static void topology(struct kvm_cpuid_entry2 *c, unsigned id, unsigned n)
{
	enum { THREAD = 1, CORE = 2 };
	uint32_t level = c->index;
	c->eax = level == 1 ? bits_for(n) : 0;
	c->ebx = level == 0 ? 1 : level == 1 ? n : 0;
	c->ecx = level | (level == 0 ? THREAD << 8 : level == 1 ? CORE << 8 : 0);
	c->edx = id;
}

static void clear(struct kvm_cpuid_entry2 *c)
{
	c->eax = c->ebx = c->ecx = c->edx = 0;
}

static void of_vcpu(struct kvm_cpuid_entry2 *c, unsigned id, unsigned n, bool tsc_deadline)
{
	switch (c->function) {
	case 0x1:
		features(c, id, n, tsc_deadline);
		break;
	case 0x4:
		cache(c, n, true);
		break;
	case 0x5: /* mwait */
	case 0xa: /* performance counters */
		clear(c);
		break;
	case 0xb:
		topology(c, id, n);
		break;
	case 0x80000001:
		c->ecx &= ~(EXT1_ECX_SVM | EXT1_ECX_CMP_LEGACY);
		if (n > 1 && c->ecx & EXT1_ECX_TOPOLOGY)
			c->ecx |= EXT1_ECX_CMP_LEGACY;
		break;
	case 0x80000008: /* number of cores, width of their part of the APIC id */
		c->ecx = bits_for(n) << 12 | (n - 1);
		break;
	case 0x8000000a: /* SVM */
		clear(c);
		break;
	case 0x8000001d:
		cache(c, n, false);
		break;
	case 0x8000001e:
		c->eax = id;
		c->ebx = id; /* one thread a core */
		c->ecx = 0;
		c->edx = 0;
		break;
	default:
		break;
	}
}

void cpuid_add_topology(struct kvm_cpuid2 *c)
{
	uint32_t n = 0, last = 0;
	for (uint32_t i = 0; i < c->nent; i++) {
		const struct kvm_cpuid_entry2 *e = &c->entries[i];
		if (e->function == 0)
			last = e->eax;
		if (e->function != 0xb && e->function != 0x1f)
			c->entries[n++] = *e;
	}
	for (uint32_t level = 0; level < 2 && last >= 0xb; level++)
		c->entries[n++] = (struct kvm_cpuid_entry2){
			.function = 0xb, .index = level, .flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX
		};
	c->nent = n;
}

void cpuid_of_vcpu(struct kvm_cpuid2 *c, unsigned id, unsigned n, bool tsc_deadline)
{
	for (uint32_t i = 0; i < c->nent; i++)
		of_vcpu(&c->entries[i], id, n, tsc_deadline);
}
