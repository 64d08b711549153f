/*
 * Moving a running program onto a sealed copy of its file, without executing it again.
 *
 * A process refers to the file that it was executed from in two ways: by the mappings of its
 * segments (/proc/PID/map_files) and by the link /proc/PID/exe. Both are exchanged here. Each
 * segment is mapped anew at its address: what is read-only from the copy, which holds the same
 * bytes, and what is writable, and by now differs from the file, as anonymous memory with its
 * present contents. Then PR_SET_MM_MAP exchanges the link, which the kernel refuses (EBUSY) while
 * any mapping of the old file is left. It wants CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN.
 *
 * The addresses stay what they are, and each single exchange is one system call, before and after
 * which memory reads the same. So failure at any point leaves a program that runs on, though still
 * from its file; the caller then executes the copy, which is as safe and costs a millisecond more
 * (docs/adr/0004-sealed-copy.md).
 */
#include "runtime/seal.h"

#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <linux/prctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fd.h"

/* The beginning of the program in memory, by the linker. */
extern const ElfW(Ehdr) __ehdr_start __attribute__((visibility("hidden")));

static uintptr_t page_down(uintptr_t a)
{
	return a & ~((uintptr_t)sysconf(_SC_PAGESIZE) - 1);
}

static uintptr_t page_up(uintptr_t a)
{
	return page_down(a + (uintptr_t)sysconf(_SC_PAGESIZE) - 1);
}

/* The first page holds the headers and the build ID, a hash of all the rest. Another file there is
 * what was executed when a dynamic linker got the program as its argument. */
bool seal_is_this_program(int copy)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	_cleanup_free_ char *first = xmalloc(page);

	return pread(copy, first, page, 0) == (ssize_t)page &&
	       memcmp(first, &__ehdr_start, page) == 0;
}

static int map_copy(int copy, const ElfW(Phdr) * p, uintptr_t start, uintptr_t end)
{
	int prot = PROT_READ | (p->p_flags & PF_X ? PROT_EXEC : 0);
	void *at = mmap((void *)start, end - start, prot, MAP_PRIVATE | MAP_FIXED, copy,
	    (off_t)page_down(p->p_offset));

	return at == MAP_FAILED ? -errno : 0;
}

/* Nothing may write to the segment between memcpy and mremap: no call in between does. */
static int move_to_anonymous(uintptr_t start, uintptr_t end)
{
	size_t n = end - start;
	void *fresh = mmap(
	    NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (fresh == MAP_FAILED)
		return -errno;
	memcpy(fresh, (const void *)start, n);
	if (mremap(fresh, n, n, MREMAP_MAYMOVE | MREMAP_FIXED, (void *)start) == MAP_FAILED) {
		int r = -errno;

		munmap(fresh, n);
		return r;
	}
	return 0;
}

static int exchange_segments(int copy)
{
	uintptr_t base = (uintptr_t)&__ehdr_start;
	const ElfW(Phdr) *ph = (const void *)(base + __ehdr_start.e_phoff);
	int r = 0;

	for (int i = 0; i < __ehdr_start.e_phnum && r == 0; i++) {
		uintptr_t start = page_down(base + ph[i].p_vaddr);
		/* Beyond the file's bytes lies what is anonymous anyway (.bss). */
		uintptr_t end = page_up(base + ph[i].p_vaddr + ph[i].p_filesz);

		if (ph[i].p_type != PT_LOAD || start == end)
			continue;
		r = ph[i].p_flags & PF_W ? move_to_anonymous(start, end)
					 : map_copy(copy, &ph[i], start, end);
	}
	/* As the dynamic linker had it (-z relro); the headers are in the first segment. */
	for (int i = 0; i < __ehdr_start.e_phnum && r == 0; i++) {
		uintptr_t start = page_down(base + ph[i].p_vaddr);
		uintptr_t end = page_down(base + ph[i].p_vaddr + ph[i].p_memsz);

		if (ph[i].p_type == PT_GNU_RELRO &&
		    mprotect((void *)start, end - start, PROT_READ) < 0)
			r = -errno;
	}
	return r;
}

/* proc_pid_stat(5) */
enum stat_field {
	STAT_STATE = 3,
	STAT_STARTCODE = 26,
	STAT_ENDCODE,
	STAT_STARTSTACK,
	STAT_START_DATA = 45,
	STAT_END_DATA,
	STAT_START_BRK,
	STAT_ARG_START,
	STAT_ARG_END,
	STAT_ENV_START,
	STAT_ENV_END,
	STAT_FIELDS,
};

static int read_stat(uint64_t field[STAT_FIELDS])
{
	_cleanup_free_ char *text = NULL;
	char *at;
	int r = kfile_read(AT_FDCWD, "/proc/self/stat", &text);

	if (r < 0)
		return r;
	at = strrchr(text, ')'); /* the end of the second field, which may hold anything */
	if (!at || strlen(at) < strlen(") S "))
		return -EIO;
	at += strlen(") S");
	for (int i = STAT_STATE + 1; i < STAT_FIELDS; i++)
		field[i] = strtoull(at, &at, 10);
	return *at ? 0 : -EIO; /* there is a field behind the last one here */
}

/* PR_SET_MM_EXE_FILE alone would want CAP_SYS_RESOURCE; so all is set, to what it is. */
static int exchange_link(int copy)
{
	uint64_t f[STAT_FIELDS];
	int r = read_stat(f);

	if (r < 0)
		return r;
	const struct prctl_mm_map map = {
		.start_code = f[STAT_STARTCODE],
		.end_code = f[STAT_ENDCODE],
		.start_data = f[STAT_START_DATA],
		.end_data = f[STAT_END_DATA],
		.start_brk = f[STAT_START_BRK],
		.brk = (uintptr_t)sbrk(0),
		.start_stack = f[STAT_STARTSTACK],
		.arg_start = f[STAT_ARG_START],
		.arg_end = f[STAT_ARG_END],
		.env_start = f[STAT_ENV_START],
		.env_end = f[STAT_ENV_END],
		.exe_fd = (uint32_t)copy,
	};

	return prctl(PR_SET_MM, PR_SET_MM_MAP, &map, sizeof(map), 0) < 0 ? -errno : 0;
}

#ifdef __SANITIZE_ADDRESS__
#define INSTRUMENTED true /* the sanitizer knows more about the segments than their bytes */
#else
#define INSTRUMENTED false
#endif

int seal_in_place(int copy)
{
	int r = INSTRUMENTED ? -EOPNOTSUPP : exchange_segments(copy);

	return r < 0 ? r : exchange_link(copy);
}
