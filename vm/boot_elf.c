/* An ELF vmlinux by PVH: flat 32-bit mode, EBX points to hvm_start_info. */
#include <elf.h>
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/boot.h"

#define LOW_MEMORY	 (1ull << 20)
#define HEADERS_MAX	 64u	     /* program headers; Linux has five */
#define NOTES_MAX	 (64u << 10) /* bytes of one PT_NOTE */
#define NOTE_PHYS32	 18	     /* XEN_ELFNOTE_PHYS32_ENTRY */
#define START_INFO_MAGIC 0x336ec578
#define CMDLINE_MAX	 2047 /* COMMAND_LINE_SIZE of x86, with a NUL */

struct start_info {
	uint32_t magic, version, flags, nr_modules;
	uint64_t modlist, cmdline, rsdp, memmap;
	uint32_t memmap_entries, reserved;
};
struct start_module {
	uint64_t start, size, cmdline, reserved;
};
struct start_memory {
	uint64_t start, size;
	uint32_t type, reserved;
};

/* Looks through one PT_NOTE's bytes. Sizes in them are the file's claim. */
static bool find_entry(const uint8_t *notes, uint64_t n, uint64_t *ret)
{
	uint64_t at = 0;
	while (n - at >= sizeof(Elf64_Nhdr)) {
		Elf64_Nhdr h;
		memcpy(&h, notes + at, sizeof(h));
		at += sizeof(h);
		uint64_t name = (h.n_namesz + 3ull) & ~3ull, desc = (h.n_descsz + 3ull) & ~3ull;
		if (name > n - at || desc > n - at - name)
			return false;
		if (h.n_type == NOTE_PHYS32 && h.n_namesz == 4 && h.n_descsz >= 4 &&
		    !memcmp(notes + at, "Xen", 4)) {
			uint64_t value = 0;
			memcpy(&value, notes + at + name, h.n_descsz >= 8 ? 8 : 4);
			*ret = value;
			return true;
		}
		at += name + desc;
	}
	return false;
}

static int read_note(
    int fd, const char *name, const Elf64_Phdr *p, uint64_t *entry, bool *found, struct err *e)
{
	static const char *const why = "%s: a note of %llu bytes at 0x%llx";
	uint8_t notes[NOTES_MAX];
	if (p->p_filesz > sizeof(notes))
		return err_set(e, ENOEXEC, why, name, (unsigned long long)p->p_filesz,
		    (unsigned long long)p->p_offset);
	int r = boot_pread(fd, notes, p->p_filesz, p->p_offset);
	if (r < 0)
		return err_set(e, ENOEXEC, why, name, (unsigned long long)p->p_filesz,
		    (unsigned long long)p->p_offset);
	*found = *found || find_entry(notes, p->p_filesz, entry);
	return 0;
}

static int add_segment(
    const char *name, uint64_t size, const Elf64_Phdr *p, struct kernel_image *k, struct err *e)
{
	if (!p->p_memsz)
		return 0;
	if (k->n == KERNEL_SEGMENTS_MAX)
		return err_set(
		    e, ENOEXEC, "%s: more than %d segments to load", name, KERNEL_SEGMENTS_MAX);
	if (p->p_offset > size || p->p_filesz > size - p->p_offset || p->p_filesz > p->p_memsz)
		return err_set(e, ENOEXEC, "%s: a segment beyond the end of the file", name);
	if (p->p_paddr < LOW_MEMORY || p->p_paddr >= VM_HOLE_START ||
	    p->p_memsz > VM_HOLE_START - p->p_paddr)
		return err_set(e, ENOEXEC,
		    "%s: a segment of %llu bytes to be loaded to 0x%llx, outside of 1 MiB to "
		    "3 GiB",
		    name, (unsigned long long)p->p_memsz, (unsigned long long)p->p_paddr);
	k->segments[k->n++] =
	    (struct kernel_segment){ p->p_offset, p->p_paddr, p->p_filesz, p->p_memsz };
	if (p->p_paddr + p->p_memsz > k->end)
		k->end = p->p_paddr + p->p_memsz;
	return 0;
}

static int read_program_headers(
    int fd, const char *name, uint64_t size, struct kernel_image *k, bool *found, struct err *e)
{
	Elf64_Ehdr h;
	Elf64_Phdr p[HEADERS_MAX];
	int r = boot_pread(fd, &h, sizeof(h), 0);
	if (r < 0)
		return err_errno(e, -r, "%s: read", name);
	if (h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_ident[EI_DATA] != ELFDATA2LSB ||
	    h.e_machine != EM_X86_64 || h.e_type != ET_EXEC)
		return err_set(e, ENOEXEC, "%s: an ELF file, but no x86-64 kernel", name);
	if (h.e_phentsize != sizeof(p[0]) || !h.e_phnum || h.e_phnum > HEADERS_MAX)
		return err_set(e, ENOEXEC, "%s: %u ELF program headers of %u bytes", name,
		    h.e_phnum, h.e_phentsize);
	r = h.e_phoff > size ? -ENODATA : boot_pread(fd, p, h.e_phnum * sizeof(p[0]), h.e_phoff);
	if (r < 0)
		return err_set(e, ENOEXEC, "%s: ELF program headers beyond the file's end", name);
	for (unsigned i = 0; i < h.e_phnum && r >= 0; i++) {
		if (p[i].p_type == PT_LOAD)
			r = add_segment(name, size, &p[i], k, e);
		else if (p[i].p_type == PT_NOTE)
			r = read_note(fd, name, &p[i], &k->entry, found, e);
	}
	return r;
}

int boot_elf_read(int fd, const char *name, uint64_t size, struct kernel_image *ret, struct err *e)
{
	struct kernel_image k = {
		.kind = KERNEL_ELF, .initrd_max = VM_HOLE_START - 1, .cmdline_max = CMDLINE_MAX
	};
	bool found = false;
	int r = read_program_headers(fd, name, size, &k, &found, e);
	if (r < 0)
		return r;
	if (!found)
		return err_set(e, ENOEXEC,
		    "%s: an ELF kernel without PVH entry (it needs CONFIG_PVH=y)", name);
	bool inside = false;
	for (unsigned i = 0; i < k.n; i++)
		inside = inside || (k.entry >= k.segments[i].address &&
				       k.entry - k.segments[i].address < k.segments[i].file_size);
	if (!inside)
		return err_set(e, ENOEXEC, "%s: the PVH entry 0x%llx lies in no segment", name,
		    (unsigned long long)k.entry);
	*ret = k;
	return 0;
}

void boot_elf_setup(const struct kernel_image *k, const struct boot_info *i,
    const struct guest_memory *m, struct boot_entry *ret)
{
	struct {
		struct start_info info;
		struct start_module module;
		struct start_memory map[MEMORY_MAP_MAX];
	} s = { .info = { START_INFO_MAGIC, 1 } };
	struct memory_range map[MEMORY_MAP_MAX];
	uint64_t base = BOOT_PVH_INFO;

	s.info.memmap_entries = boot_memory_map(m, map);
	for (unsigned n = 0; n < s.info.memmap_entries; n++)
		s.map[n] = (struct start_memory){ map[n].start, map[n].size, map[n].type, 0 };
	s.info.memmap = base + offsetof(__typeof__(s), map);
	s.info.cmdline = i->cmdline;
	s.info.rsdp = BOOT_ACPI;
	if (i->initrd_size) {
		s.info.nr_modules = 1;
		s.info.modlist = base + offsetof(__typeof__(s), module);
		s.module = (struct start_module){ i->initrd, i->initrd_size, 0, 0 };
	}
	guest_write(m, base, &s, sizeof(s));
	*ret = (struct boot_entry){ .rip = k->entry, .rbx = base };
}
