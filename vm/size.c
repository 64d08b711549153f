/* How large a machine is, for a container that wants so much of it. */
#include "vm/vm.h"

#define BASE  (80 * VM_MIB) /* kernel, its reserves, the initramfs, the agent */
#define SHARE 48	    /* one page in that many: the kernel's table of pages, and slack */
#define ALIGN (2 * VM_MIB)

/* The monitor: heap, stacks, queues, one copy of what is under way to and from files. */
#define MONITOR	 (24 * VM_MIB)
#define PER_VCPU VM_MIB
/* Page tables of the machine's memory, the host's and the guest's: 8 bytes a page each. */
#define TABLES 256

uint64_t vm_memory_for(uint64_t usable)
{
	uint64_t all = BASE + usable + usable / SHARE;

	if (all < usable || all > UINT64_MAX - ALIGN)
		return UINT64_MAX / ALIGN * ALIGN;
	all = (all + ALIGN - 1) / ALIGN * ALIGN;
	return all < VM_MEMORY_MIN ? VM_MEMORY_MIN : all;
}

uint64_t vm_memory_usable(uint64_t memory)
{
	return memory <= BASE ? 0 : (memory - BASE) / (SHARE + 1) * SHARE;
}

uint64_t vm_overhead(uint64_t memory, unsigned vcpus)
{
	return MONITOR + vcpus * PER_VCPU + memory / TABLES;
}
