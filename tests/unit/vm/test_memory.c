#include "tests/unit/test.h"

#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vm/memory.h"

#define MIB (1ull << 20)
#define GIB (1ull << 30)

TEST(one_region)
{
	struct err e = ERR_INIT;
	struct guest_memory m;
	CHECK_INT(guest_memory_new(8 * MIB, &m, &e), 0);
	CHECK_INT(m.n, 1);
	CHECK(guest_ptr(&m, 0, 8 * MIB) == m.regions[0].host);
	CHECK(guest_ptr(&m, 8 * MIB - 1, 1) == m.regions[0].host + 8 * MIB - 1);
	CHECK(guest_ptr(&m, 8 * MIB - 1, 2) == NULL);
	CHECK(guest_ptr(&m, 8 * MIB, 1) == NULL);
	CHECK(guest_ptr(&m, 0, 8 * MIB + 1) == NULL);
	CHECK(guest_ptr(&m, 4096, 0) == NULL);
	/* Sums beyond 64 bits */
	CHECK(guest_ptr(&m, UINT64_MAX, 1) == NULL);
	CHECK(guest_ptr(&m, UINT64_MAX, 2) == NULL);
	CHECK(guest_ptr(&m, 4096, UINT64_MAX) == NULL);
	CHECK(guest_ptr(&m, 4096, UINT64_MAX - 4095) == NULL);
	guest_memory_free(&m);
	CHECK_INT(m.n, 0);
	guest_memory_free(&m);
}

/* Nobody pays for memory that is not touched, so this works on a small machine too. */
TEST(around_the_hole)
{
	struct err e = ERR_INIT;
	struct guest_memory m;
	CHECK_INT(guest_memory_new(5 * GIB, &m, &e), 0);
	CHECK_INT(m.n, 2);
	CHECK_INT(m.regions[0].size, VM_HOLE_START);
	CHECK_INT(m.regions[1].gpa, VM_HOLE_END);
	CHECK_INT(m.regions[1].size, 5 * GIB - VM_HOLE_START);
	CHECK(guest_ptr(&m, VM_HOLE_START - 8, 8) != NULL);
	CHECK(guest_ptr(&m, VM_HOLE_START - 8, 9) == NULL);
	CHECK(guest_ptr(&m, VM_MMIO_BASE, 4) == NULL);
	CHECK(guest_ptr(&m, VM_HOLE_END - 1, 1) == NULL);
	CHECK(guest_ptr(&m, VM_HOLE_END - 1, 2) == NULL);
	CHECK(guest_ptr(&m, VM_HOLE_END, 1) == m.regions[1].host);
	CHECK(guest_ptr(&m, VM_HOLE_END + 2 * GIB - 1, 1) != NULL);
	CHECK(guest_ptr(&m, VM_HOLE_END + 2 * GIB, 1) == NULL);
	guest_memory_free(&m);
}

TEST(copies)
{
	struct err e = ERR_INIT;
	struct guest_memory m;
	char buf[8] = "";
	CHECK_INT(guest_memory_new(2 * MIB, &m, &e), 0);
	CHECK_INT(guest_write(&m, 2 * MIB - 6, "hello", 6), 0);
	CHECK_INT(guest_read(&m, 2 * MIB - 6, buf, 6), 0);
	CHECK_STR(buf, "hello");
	CHECK_INT(guest_write(&m, 2 * MIB - 5, "world", 6), -EFAULT);
	CHECK_INT(guest_read(&m, 2 * MIB - 6, buf, 6), 0);
	CHECK_STR(buf, "hello");
	CHECK_INT(guest_read(&m, 2 * MIB - 5, buf, 6), -EFAULT);
	CHECK_INT(guest_read(&m, 2 * MIB, buf, 0), 0);
	CHECK_INT(guest_write(&m, UINT64_MAX, buf, 0), 0);
	guest_memory_free(&m);
}

TEST(sizes)
{
	struct err e = ERR_INIT;
	struct guest_memory m = { .n = 7 };
	CHECK_INT(guest_memory_new(0, &m, &e), -EINVAL);
	err_clear(&e);
	CHECK_INT(guest_memory_new(3 * MIB, &m, &e), -EINVAL);
	CHECK_HAS(e.msg, "3145728");
	err_clear(&e);
	CHECK_INT(guest_memory_new(1ull << 62, &m, &e), -ENOMEM);
	CHECK_HAS(e.msg, "4398046511104 MiB");
	err_clear(&e);
	CHECK_INT(guest_memory_new(UINT64_MAX & ~(2 * MIB - 1), &m, &e), -ENOMEM);
	CHECK_INT(m.n, 7);
}

/* Not in core dumps (dd), not for children (dc), not reserved (nr); a page behind it that faults.
 */
TEST(mapping)
{
	struct err e = ERR_INIT;
	struct guest_memory m;
	char line[512], want[64];
	bool found = false, flags = false;
	CHECK_INT(guest_memory_new(4 * MIB, &m, &e), 0);
	CHECK_INT((uintptr_t)m.regions[0].host % (2 * MIB), 0);
	snprintf(want, sizeof(want), "%lx-%lx rw-p", (unsigned long)m.regions[0].host,
	    (unsigned long)(m.regions[0].host + 4 * MIB));
	_cleanup_fclose_ FILE *f = fopen("/proc/self/smaps", "re");
	while (f && !flags && fgets(line, sizeof(line), f)) {
		found = found || strstr(line, want);
		if (found && !strncmp(line, "VmFlags:", 8)) {
			flags = true;
			CHECK_HAS(line, " dd");
			CHECK_HAS(line, " dc");
			CHECK_HAS(line, " nr");
		}
	}
	CHECK(flags);
	guest_memory_free(&m);
}

TEST_MAIN(T(one_region), T(around_the_hole), T(copies), T(sizes), T(mapping))
