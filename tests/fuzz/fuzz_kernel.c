/* Kernel images: any file as the kernel of a small machine. */
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/fuzz/fuzz.h"
#include "vm/boot.h"

#define MEMORY (64ull << 20)

static void check_image(const struct kernel_image *k, size_t size)
{
	MUST(k->n <= KERNEL_SEGMENTS_MAX);
	for (unsigned i = 0; i < k->n; i++) {
		const struct kernel_segment *s = &k->segments[i];
		MUST(s->offset <= size && s->file_size <= size - s->offset);
		MUST(s->file_size <= s->memory_size);
		MUST(s->address >= BOOT_LOW_END);
		MUST(s->address + s->memory_size <= k->end);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct guest_memory m;
	struct err e = ERR_INIT;
	struct kernel_image k;
	struct boot_entry entry;

	if (!m.n)
		MUST(guest_memory_new(MEMORY, &m, &e) == 0);
	_cleanup_close_ int fd = memfd_create("kernel", MFD_CLOEXEC);
	MUST(fd >= 0 && fd_write_all(fd, data, size) == 0);
	int r = kernel_image_read(fd, "kernel", &k, &e);
	must_be_consistent(r, &e);
	if (r < 0)
		return 0;
	check_image(&k, size);
	const struct boot_files f = { fd, "kernel", fd, "quiet" };
	r = boot_load(&f, &m, &entry, &e);
	must_be_consistent(r, &e);
	MUST(r < 0 || k.end <= MEMORY);
	return 0;
}
