#include "vm/boot.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vm/acpi.h"

#define MIB (1ull << 20)

int boot_pread(int fd, void *buf, uint64_t n, uint64_t offset)
{
	uint8_t *p = buf;
	while (n) {
		ssize_t got = pread(fd, p, n, (off_t)offset);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got ? -errno : -ENODATA;
		p += got;
		n -= (uint64_t)got;
		offset += (uint64_t)got;
	}
	return 0;
}

static int file_size(int fd, const char *name, uint64_t *ret, struct err *e)
{
	struct stat st;
	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, "%s: fstat", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s: not a regular file", name);
	*ret = (uint64_t)st.st_size;
	return 0;
}

int kernel_image_read(int fd, const char *name, struct kernel_image *ret, struct err *e)
{
	uint64_t size;
	uint8_t start[0x206];
	int r = file_size(fd, name, &size, e);
	if (r < 0)
		return r;
	r = size < sizeof(start) ? -ENODATA : boot_pread(fd, start, sizeof(start), 0);
	if (r == -ENODATA)
		return err_set(e, ENOEXEC, "%s: too short for a kernel", name);
	if (r < 0)
		return err_errno(e, -r, "%s: read", name);
	if (!memcmp(start, "\177ELF", 4))
		return boot_elf_read(fd, name, size, ret, e);
	if (!memcmp(start + 0x202, "HdrS", 4))
		return boot_bzimage_read(fd, name, size, ret, e);
	return err_set(e, ENOEXEC,
	    "%s: neither a bzImage nor an ELF vmlinux (for this architecture, uncompressed)", name);
}

unsigned boot_memory_map(const struct guest_memory *m, struct memory_range ret[MEMORY_MAP_MAX])
{
	unsigned n = 0;
	ret[n++] = (struct memory_range){ 0, BOOT_RAM_END, 1 };
	ret[n++] = (struct memory_range){ BOOT_ACPI, BOOT_LOW_END - BOOT_ACPI, 2 };
	ret[n++] = (struct memory_range){ MIB, m->regions[0].size - MIB, 1 };
	if (m->n > 1)
		ret[n++] = (struct memory_range){ m->regions[1].gpa, m->regions[1].size, 1 };
	return n;
}

static int too_small(const char *what, uint64_t needed, const struct guest_memory *m, struct err *e)
{
	return err_set(e, ENOMEM,
	    "%s does not fit into the virtual machine's %llu MiB of memory: it takes %llu MiB at "
	    "least",
	    what, (unsigned long long)(m->size / MIB),
	    (unsigned long long)((needed + MIB - 1) / MIB));
}

static int load_segments(const struct boot_files *f, const struct kernel_image *k,
    const struct guest_memory *m, struct err *e)
{
	if (k->end > m->regions[0].size)
		return too_small(f->kernel_name, k->end, m, e);
	for (unsigned i = 0; i < k->n; i++) {
		const struct kernel_segment *s = &k->segments[i];
		uint8_t *p = guest_ptr(m, s->address, s->memory_size);
		if (!p)
			return too_small(f->kernel_name, s->address + s->memory_size, m, e);
		/* What follows in memory is zero already. */
		int r = boot_pread(f->kernel, p, s->file_size, s->offset);
		if (r == -ENODATA)
			return err_set(e, ENOEXEC, "%s: cut short", f->kernel_name);
		if (r < 0)
			return err_errno(e, -r, "%s: read", f->kernel_name);
	}
	return 0;
}

/* As high as kernel and memory allow: the kernel grows upwards. */
static int load_initrd(const struct boot_files *f, const struct kernel_image *k,
    const struct guest_memory *m, struct boot_info *ret, struct err *e)
{
	uint64_t size;
	int r = file_size(f->initrd, "initramfs", &size, e);
	if (r < 0)
		return r;
	if (!size)
		return err_set(e, EINVAL, "initramfs: empty");
	uint64_t top = m->regions[0].size;
	if (top > k->initrd_max && k->initrd_max + 1)
		top = k->initrd_max + 1;
	if (size > top || ((top - size) & ~(VM_PAGE - 1)) < k->end)
		return too_small("initramfs", k->end + size + VM_PAGE, m, e);
	uint64_t at = (top - size) & ~(VM_PAGE - 1);
	r = boot_pread(f->initrd, guest_ptr(m, at, size), size, 0);
	if (r < 0)
		return err_errno(e, r == -ENODATA ? EIO : -r, "initramfs: read %llu bytes",
		    (unsigned long long)size);
	ret->initrd = at;
	ret->initrd_size = size;
	return 0;
}

static int load_cmdline(const struct boot_files *f, const struct kernel_image *k,
    const struct guest_memory *m, struct boot_info *ret, struct err *e)
{
	size_t n = strlen(f->cmdline);
	if (n > k->cmdline_max || n >= BOOT_CMDLINE_MAX)
		return err_set(e, E2BIG, "%s takes a command line of at most %u bytes, not %zu",
		    f->kernel_name, k->cmdline_max, n);
	guest_write(m, BOOT_CMDLINE, f->cmdline, n + 1);
	ret->cmdline = BOOT_CMDLINE;
	return 0;
}

static void write_gdt(const struct guest_memory *m, bool long_mode)
{
	/* Flat code and data, and a task state segment that nobody uses. */
	const uint64_t gdt[BOOT_GDT_ENTRIES] = { 0, 0,
		long_mode ? 0x00af9b000000ffff : 0x00cf9b000000ffff, 0x00cf93000000ffff,
		0x00008b0000000067 };
	guest_write(m, BOOT_GDT, gdt, sizeof(gdt));
}

/* A kernel that wants to reset by the firmware jumps there in real mode. */
static void write_reset(const struct guest_memory *m)
{
	const uint8_t code[] = { 0xba, ACPI_PORT_RESET & 0xff, ACPI_PORT_RESET >> 8, /* mov dx */
		0xb0, ACPI_RESET_VALUE,						     /* mov al */
		0xee,	/* out dx, al */
		0xf4 }; /* hlt */
	guest_write(m, BOOT_RESET, code, sizeof(code));
}

int boot_load(
    const struct boot_files *f, const struct guest_memory *m, struct boot_entry *ret, struct err *e)
{
	struct kernel_image k;
	struct boot_info info = { 0 };
	int r = kernel_image_read(f->kernel, f->kernel_name, &k, e);
	if (r < 0)
		return r;
	r = load_segments(f, &k, m, e);
	if (r < 0)
		return r;
	if (f->initrd >= 0)
		r = load_initrd(f, &k, m, &info, e);
	if (r < 0)
		return r;
	r = load_cmdline(f, &k, m, &info, e);
	if (r < 0)
		return r;
	*ret = (struct boot_entry){ 0 };
	if (k.kind == KERNEL_BZIMAGE)
		boot_bzimage_setup(&k, &info, m, ret);
	else
		boot_elf_setup(&k, &info, m, ret);
	write_gdt(m, ret->paging);
	write_reset(m);
	return 0;
}
