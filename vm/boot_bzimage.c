/* A bzImage by its 64-bit entry: Documentation/arch/x86/boot.rst. */
#include <asm/bootparam.h>
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"
#include "vm/boot.h"

#define HEADER	     0x1f1u /* of setup_header in the file */
#define ENTRY_64     0x200u /* into the protected-mode part */
#define PROTOCOL_MIN 0x020c /* xloadflags: Linux 3.8 */
#define LOW_MEMORY   (1ull << 20)

_Static_assert(sizeof(struct setup_header) <= sizeof(((struct kernel_image *)0)->setup),
    "kernel_image.setup holds a setup_header");

/* The header ends where its jump instruction leads to, which says its length. */
static int read_header(
    int fd, const char *name, struct setup_header *ret, unsigned *ret_size, struct err *e)
{
	uint8_t jump[2];
	int r = boot_pread(fd, jump, sizeof(jump), 0x200);
	if (r < 0)
		return err_errno(e, -r, "%s: read", name);
	unsigned size = 0x202u + jump[1] - HEADER;
	if (size > sizeof(*ret))
		size = sizeof(*ret);
	if (jump[1] & 0x80 || size < offsetof(struct setup_header, init_size) + 4)
		return err_set(e, ENOEXEC, "%s: a bzImage with a header of %u bytes", name, size);
	*ret = (struct setup_header){ 0 };
	r = boot_pread(fd, ret, size, HEADER);
	if (r < 0)
		return err_set(e, ENOEXEC, "%s: a bzImage cut short", name);
	*ret_size = size;
	return 0;
}

static int check_header(const struct setup_header *h, const char *name, struct err *e)
{
	if (h->version < PROTOCOL_MIN || !(h->xloadflags & XLF_KERNEL_64))
		return err_set(e, ENOEXEC,
		    "%s: a bzImage without 64-bit entry (boot protocol %u.%02u, flags 0x%x)", name,
		    h->version >> 8, h->version & 0xff, h->xloadflags);
	if (!(h->loadflags & LOADED_HIGH))
		return err_set(e, ENOEXEC, "%s: a zImage, not a bzImage", name);
	if (h->pref_address < LOW_MEMORY || h->pref_address >= VM_HOLE_START || !h->init_size)
		return err_set(e, ENOEXEC,
		    "%s: a bzImage that wants to be at 0x%llx with 0x%x bytes of memory", name,
		    (unsigned long long)h->pref_address, h->init_size);
	return 0;
}

int boot_bzimage_read(
    int fd, const char *name, uint64_t size, struct kernel_image *ret, struct err *e)
{
	struct setup_header h;
	struct kernel_image k = { .kind = KERNEL_BZIMAGE, .n = 1 };
	int r = read_header(fd, name, &h, &k.setup_size, e);
	if (r < 0)
		return r;
	r = check_header(&h, name, e);
	if (r < 0)
		return r;

	/* 0 means 4, for kernels older than those accepted here too. */
	uint64_t setup = ((h.setup_sects ? h.setup_sects : 4) + 1) * 512ull;
	if (size <= setup + ENTRY_64)
		return err_set(e, ENOEXEC, "%s: a bzImage cut short: %llu bytes", name,
		    (unsigned long long)size);
	uint64_t payload = size - setup;
	/* Fits 64 bits: the address is below the hole; memory is compared with it later. */
	uint64_t memory = payload > h.init_size ? payload : h.init_size;
	if (memory > VM_HOLE_START)
		return err_set(
		    e, ENOEXEC, "%s: a bzImage of %llu bytes", name, (unsigned long long)memory);
	k.segments[0] = (struct kernel_segment){ setup, h.pref_address, payload, memory };
	k.entry = h.pref_address + ENTRY_64;
	k.end = h.pref_address + memory;
	k.initrd_max = h.initrd_addr_max;
	k.cmdline_max = h.cmdline_size;
	memcpy(k.setup, &h, sizeof(h));
	*ret = k;
	return 0;
}

/* Identity mapping of the first 4 GiB by 2 MiB pages. */
static void write_page_tables(const struct guest_memory *m)
{
	enum { PRESENT_WRITE = 0x3, LARGE = 0x80, ENTRIES = 512 };
	uint64_t *pml4 = guest_ptr(m, BOOT_PAGE_TABLE, 6 * VM_PAGE);
	uint64_t *pdpt = pml4 + ENTRIES, *pd = pdpt + ENTRIES;
	pml4[0] = (BOOT_PAGE_TABLE + VM_PAGE) | PRESENT_WRITE;
	for (unsigned i = 0; i < 4; i++)
		pdpt[i] = (BOOT_PAGE_TABLE + (2 + i) * VM_PAGE) | PRESENT_WRITE;
	for (uint64_t i = 0; i < 4 * ENTRIES; i++)
		pd[i] = i << 21 | LARGE | PRESENT_WRITE;
}

void boot_bzimage_setup(const struct kernel_image *k, const struct boot_info *i,
    const struct guest_memory *m, struct boot_entry *ret)
{
	struct boot_params *p = guest_ptr(m, BOOT_ZERO_PAGE, sizeof(*p));
	*p = (struct boot_params){ 0 };
	memcpy(&p->hdr, k->setup, k->setup_size);
	p->hdr.type_of_loader = 0xff; /* none that has a number */
	p->hdr.loadflags &= (uint8_t)~CAN_USE_HEAP;
	p->hdr.code32_start = (uint32_t)k->segments[0].address;
	p->hdr.vid_mode = 0xffff; /* normal */
	p->hdr.cmd_line_ptr = (uint32_t)i->cmdline;
	p->hdr.ramdisk_image = (uint32_t)i->initrd;
	p->hdr.ramdisk_size = (uint32_t)i->initrd_size;
	p->acpi_rsdp_addr = BOOT_ACPI;

	struct memory_range map[MEMORY_MAP_MAX];
	p->e820_entries = (uint8_t)boot_memory_map(m, map);
	for (unsigned n = 0; n < p->e820_entries; n++)
		p->e820_table[n] =
		    (struct boot_e820_entry){ map[n].start, map[n].size, map[n].type };
	write_page_tables(m);
	*ret = (struct boot_entry){ .paging = true, .rip = k->entry, .rsi = BOOT_ZERO_PAGE };
}
