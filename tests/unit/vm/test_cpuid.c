#include "tests/unit/test.h"

#include "vm/kvm.h"

static union {
	struct kvm_cpuid2 c;
	uint8_t room[sizeof(struct kvm_cpuid2) + 16 * sizeof(struct kvm_cpuid_entry2)];
} s;

static struct kvm_cpuid_entry2 *leaf(uint32_t function, uint32_t index)
{
	struct kvm_cpuid_entry2 *e = &s.c.entries[s.c.nent++];
	*e = (struct kvm_cpuid_entry2){ function, index, 0, ~0u, ~0u, ~0u, ~0u, { 0 } };
	return e;
}

TEST(features)
{
	s.c.nent = 0;
	struct kvm_cpuid_entry2 *one = leaf(1, 0), *ext = leaf(0x80000001, 0);
	struct kvm_cpuid_entry2 *pmu = leaf(0xa, 0), *svm = leaf(0x8000000a, 0), *mw = leaf(5, 0);
	one->ecx &= ~(1u << 31);
	cpuid_of_vcpu(&s.c, 3, 4, false);
	CHECK_INT(one->ebx >> 24, 3);
	CHECK_INT(one->ebx >> 16 & 0xff, 4);
	CHECK(one->ecx & 1u << 31);    /* hypervisor */
	CHECK(one->ecx & 1u << 21);    /* x2APIC */
	CHECK(!(one->ecx & 1u << 24)); /* TSC deadline: not here */
	CHECK(!(one->ecx & 1u << 5));  /* VMX */
	CHECK(!(one->ecx & 1u << 3));  /* monitor */
	CHECK(one->edx & 1u << 28);
	CHECK(!(ext->ecx & 1u << 2)); /* SVM */
	CHECK_INT(pmu->eax | pmu->ebx | svm->eax | mw->ecx, 0);
	cpuid_of_vcpu(&s.c, 0, 1, true);
	CHECK(one->ecx & 1u << 24);
	CHECK(!(one->edx & 1u << 28));
}

TEST(topology)
{
	s.c.nent = 0;
	struct kvm_cpuid_entry2 *smt = leaf(0xb, 0), *core = leaf(0xb, 1), *none = leaf(0xb, 2);
	struct kvm_cpuid_entry2 *size = leaf(0x80000008, 0), *id = leaf(0x8000001e, 0);
	cpuid_of_vcpu(&s.c, 4, 5, true);
	CHECK_INT(smt->eax, 0);
	CHECK_INT(smt->ebx, 1);
	CHECK_INT(smt->ecx, 0x100);
	CHECK_INT(core->eax, 3); /* five cores take three bits of the APIC id */
	CHECK_INT(core->ebx, 5);
	CHECK_INT(core->ecx, 0x201);
	CHECK_INT(none->ebx, 0);
	CHECK_INT(none->ecx, 2);
	CHECK(smt->edx == 4 && core->edx == 4 && none->edx == 4);
	CHECK_INT(size->ecx, 3 << 12 | 4);
	CHECK_INT(id->eax, 4);
}

TEST(caches)
{
	s.c.nent = 0;
	struct kvm_cpuid_entry2 *l1 = leaf(4, 0), *l3 = leaf(4, 1), *amd3 = leaf(0x8000001d, 3);
	l1->eax = 1 | 1 << 5;
	l3->eax = 3 | 3 << 5;
	amd3->eax = 3 | 3 << 5 | 0xfff << 14;
	cpuid_of_vcpu(&s.c, 1, 4, true);
	CHECK_INT(l1->eax >> 14 & 0xfff, 0);
	CHECK_INT(l1->eax >> 26, 3);
	CHECK_INT(l3->eax >> 14 & 0xfff, 3);
	CHECK_INT(amd3->eax >> 14 & 0xfff, 3);
}

/* Whatever of it KVM reports: nothing, one level, three of another leaf. */
TEST(topology_added)
{
	for (uint32_t reported = 0; reported < 4; reported++) {
		s.c.nent = 0;
		leaf(0, 0)->eax = 0x1f;
		for (uint32_t i = 0; i < reported; i++)
			leaf(i & 1 ? 0x1f : 0xb, i);
		leaf(0x80000000, 0);
		cpuid_add_topology(&s.c);
		CHECK_INT(s.c.nent, 4);
		CHECK_INT(s.c.entries[1].function, 0x80000000);
		for (uint32_t level = 0; level < 2; level++) {
			CHECK_INT(s.c.entries[2 + level].function, 0xb);
			CHECK_INT(s.c.entries[2 + level].index, level);
			CHECK_INT(s.c.entries[2 + level].flags, KVM_CPUID_FLAG_SIGNIFCANT_INDEX);
		}
	}
	s.c.nent = 0;
	leaf(0, 0)->eax = 0xa;
	cpuid_add_topology(&s.c);
	CHECK_INT(s.c.nent, 1);
}

TEST_MAIN(T(features), T(topology), T(topology_added), T(caches))
