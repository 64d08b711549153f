#include "tests/unit/test.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "vm/acpi.h"
#include "vm/boot.h"

#define MIB (1ull << 20)

static int file(const void *buf, size_t n)
{
	int fd = memfd_create("kernel", MFD_CLOEXEC);
	CHECK_INT(fd_write_all(fd, buf, n), 0);
	return fd;
}

/* ---- a bzImage: two sectors of setup, 1 KiB of payload ---- */

static struct {
	uint8_t b[3 * 512 + 1024];
} bz;
#define BZ_HEADER ((struct setup_header *)(bz.b + 0x1f1))

static void make_bzimage(void)
{
	struct setup_header h = { .setup_sects = 2,
		.jump = 0x66eb,
		.header = 0x53726448,
		.version = 0x20f,
		.loadflags = LOADED_HIGH,
		.initrd_addr_max = 0x7fffffff,
		.cmdline_size = 2047,
		.xloadflags = XLF_KERNEL_64,
		.relocatable_kernel = 1,
		.pref_address = 16 * MIB,
		.init_size = 4 * MIB };
	memset(&bz, 0, sizeof(bz));
	memcpy(bz.b + 0x1f1, &h, sizeof(h));
	for (int i = 0; i < 1024; i++)
		bz.b[3 * 512 + i] = (uint8_t)(i * 7);
}

/* ---- an ELF kernel: one segment, one note ---- */

static struct {
	Elf64_Ehdr h;
	Elf64_Phdr p[2];
	struct {
		Elf64_Nhdr other;
		char linux_name[8], linux_desc[4];
		Elf64_Nhdr h;
		char name[4];
		uint64_t entry;
	} note;
	uint8_t code[512];
} elf;

static void make_elf(void)
{
	memset(&elf, 0, sizeof(elf));
	elf.h = (Elf64_Ehdr){ .e_ident = { 0x7f, 'E', 'L', 'F', ELFCLASS64, ELFDATA2LSB, 1 },
		.e_type = ET_EXEC,
		.e_machine = EM_X86_64,
		.e_phoff = offsetof(__typeof__(elf), p),
		.e_phentsize = sizeof(Elf64_Phdr),
		.e_phnum = 2 };
	elf.p[0] = (Elf64_Phdr){ .p_type = PT_LOAD,
		.p_offset = offsetof(__typeof__(elf), code),
		.p_paddr = 16 * MIB,
		.p_filesz = sizeof(elf.code),
		.p_memsz = MIB };
	elf.p[1] = (Elf64_Phdr){ .p_type = PT_NOTE,
		.p_offset = offsetof(__typeof__(elf), note),
		.p_filesz = sizeof(elf.note) };
	elf.note.other = (Elf64_Nhdr){ 6, 4, 18 };
	memcpy(elf.note.linux_name, "Linux", 6);
	elf.note.h = (Elf64_Nhdr){ 4, 8, 18 };
	memcpy(elf.note.name, "Xen", 4);
	elf.note.entry = 16 * MIB + 0x10;
	memset(elf.code, 0x90, sizeof(elf.code));
}

/* What reading these bytes gives, with its message. */
static int reads(const void *buf, size_t n, struct kernel_image *k, struct err *e)
{
	_cleanup_close_ int fd = file(buf, n);
	err_clear(e);
	return kernel_image_read(fd, "the-kernel", k, e);
}
#define REFUSED(buf, n, text)                                 \
	do {                                                  \
		struct kernel_image k_;                       \
		struct err e_ = ERR_INIT;                     \
		CHECK_INT(reads(buf, n, &k_, &e_), -ENOEXEC); \
		CHECK_HAS(e_.msg, text);                      \
		CHECK_HAS(e_.msg, "the-kernel: ");            \
	} while (0)

TEST(bzimage_header)
{
	struct kernel_image k;
	struct err e = ERR_INIT;
	make_bzimage();
	CHECK_INT(reads(&bz, sizeof(bz), &k, &e), 0);
	CHECK_INT(k.kind, KERNEL_BZIMAGE);
	CHECK_INT(k.segments[0].offset, 3 * 512);
	CHECK_INT(k.segments[0].file_size, 1024);
	CHECK_INT(k.segments[0].memory_size, 4 * MIB);
	CHECK_INT(k.entry, 16 * MIB + 0x200);
	CHECK_INT(k.end, 20 * MIB);
	CHECK_INT(k.cmdline_max, 2047);
}

TEST(bzimage_refused)
{
	make_bzimage();
	REFUSED(&bz, 100, "too short");
	REFUSED(&bz, 0x206, "cut short");
	REFUSED(&bz, 3 * 512 + 0x200, "cut short");
	BZ_HEADER->xloadflags = 0;
	REFUSED(&bz, sizeof(bz), "without 64-bit entry");
	make_bzimage();
	BZ_HEADER->version = 0x20b;
	REFUSED(&bz, sizeof(bz), "without 64-bit entry");
	make_bzimage();
	BZ_HEADER->loadflags = 0;
	REFUSED(&bz, sizeof(bz), "zImage");
	make_bzimage();
	BZ_HEADER->setup_sects = 255;
	REFUSED(&bz, sizeof(bz), "cut short");
	static const uint64_t bad[] = { 0, 0x9000, MIB - 1, VM_HOLE_START, UINT64_MAX,
		UINT64_MAX - MIB };
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		make_bzimage();
		BZ_HEADER->pref_address = bad[i];
		REFUSED(&bz, sizeof(bz), "wants to be at");
	}
	make_bzimage();
	BZ_HEADER->init_size = 0xffffffff;
	REFUSED(&bz, sizeof(bz), "bytes");
	make_bzimage();
	bz.b[0x201] = 4; /* a header that ends early */
	REFUSED(&bz, sizeof(bz), "header of");
	bz.b[0x201] = 0xff;
	REFUSED(&bz, sizeof(bz), "header of");
	make_bzimage();
	bz.b[0x202] = 'x';
	REFUSED(&bz, sizeof(bz), "neither a bzImage nor an ELF");
}

TEST(elf_header)
{
	struct kernel_image k;
	struct err e = ERR_INIT;
	make_elf();
	CHECK_INT(reads(&elf, sizeof(elf), &k, &e), 0);
	CHECK_INT(k.kind, KERNEL_ELF);
	CHECK_INT(k.n, 1);
	CHECK_INT(k.entry, 16 * MIB + 0x10);
	CHECK_INT(k.end, 17 * MIB);
	/* Linux writes 4 bytes on 32 bit */
	elf.note.h.n_descsz = 4;
	CHECK_INT(reads(&elf, sizeof(elf), &k, &e), 0);
	CHECK_INT(k.entry, 16 * MIB + 0x10);
}

TEST(elf_refused)
{
	make_elf();
	elf.h.e_machine = EM_AARCH64;
	REFUSED(&elf, sizeof(elf), "no x86-64 kernel");
	make_elf();
	elf.h.e_ident[EI_CLASS] = ELFCLASS32;
	REFUSED(&elf, sizeof(elf), "no x86-64 kernel");
	make_elf();
	elf.h.e_type = ET_DYN;
	REFUSED(&elf, sizeof(elf), "no x86-64 kernel");
	make_elf();
	elf.h.e_phnum = 65;
	REFUSED(&elf, sizeof(elf), "65 ELF program headers");
	make_elf();
	elf.h.e_phentsize = 1;
	REFUSED(&elf, sizeof(elf), "program headers of 1 bytes");
	static const uint64_t far[] = { sizeof(elf) - 8, sizeof(elf), INT64_MAX, UINT64_MAX,
		UINT64_MAX - 8 };
	for (size_t i = 0; i < ARRAY_SIZE(far); i++) {
		make_elf();
		elf.h.e_phoff = far[i];
		REFUSED(&elf, sizeof(elf), "beyond the file's end");
		make_elf();
		elf.p[0].p_offset = far[i];
		REFUSED(&elf, sizeof(elf), "beyond the end of the file");
		make_elf();
		elf.p[1].p_offset = far[i];
		REFUSED(&elf, sizeof(elf), "a note of");
		make_elf();
		elf.p[0].p_memsz = far[i] | 1ull << 40;
		REFUSED(&elf, sizeof(elf), "outside of 1 MiB to 3 GiB");
		make_elf();
		elf.p[0].p_paddr = far[i] | 1ull << 40;
		REFUSED(&elf, sizeof(elf), "outside of 1 MiB to 3 GiB");
	}
	make_elf();
	elf.p[0].p_paddr = 0x1000; /* over the tables */
	REFUSED(&elf, sizeof(elf), "outside of 1 MiB to 3 GiB");
	make_elf();
	elf.p[0].p_memsz = 1; /* less than is in the file */
	REFUSED(&elf, sizeof(elf), "beyond the end");
	make_elf();
	elf.p[1].p_filesz = 1 << 20;
	REFUSED(&elf, sizeof(elf), "a note of");
}

TEST(elf_notes)
{
	make_elf();
	elf.note.h.n_type = 17;
	REFUSED(&elf, sizeof(elf), "CONFIG_PVH");
	make_elf();
	elf.note.name[0] = 'Y';
	REFUSED(&elf, sizeof(elf), "CONFIG_PVH");
	make_elf();
	elf.note.other.n_namesz = 0xffffffff;
	REFUSED(&elf, sizeof(elf), "CONFIG_PVH");
	make_elf();
	elf.note.h.n_descsz = 0xfffffffd;
	REFUSED(&elf, sizeof(elf), "CONFIG_PVH");
	make_elf();
	elf.p[1].p_filesz -= 8; /* the note's value is behind the notes' end */
	REFUSED(&elf, sizeof(elf), "CONFIG_PVH");
	make_elf();
	elf.note.entry = 16 * MIB + sizeof(elf.code);
	REFUSED(&elf, sizeof(elf), "lies in no segment");
	make_elf();
	elf.p[0].p_type = PT_NULL;
	REFUSED(&elf, sizeof(elf), "lies in no segment");
}

/* ---- loading ---- */

static struct guest_memory m;
static struct boot_entry entry;

static int load(int kernel, int initrd, const char *cmdline, uint64_t mib, struct err *e)
{
	const struct boot_files f = { kernel, "the-kernel", initrd, cmdline };
	err_clear(e);
	CHECK_INT(guest_memory_new(mib * MIB, &m, e), 0);
	return boot_load(&f, &m, &entry, e);
}

TEST(load_bzimage)
{
	struct err e = ERR_INIT;
	uint8_t rd[5000];
	memset(rd, 0x5a, sizeof(rd));
	make_bzimage();
	_cleanup_close_ int kernel = file(&bz, sizeof(bz)), initrd = file(rd, sizeof(rd));
	CHECK_INT(load(kernel, initrd, "quiet", 64, &e), 0);
	CHECK(entry.paging && entry.rip == 16 * MIB + 0x200 && entry.rsi == BOOT_ZERO_PAGE);
	CHECK(!memcmp(guest_ptr(&m, 16 * MIB, 1024), bz.b + 3 * 512, 1024));
	const struct boot_params *p = guest_ptr(&m, BOOT_ZERO_PAGE, sizeof(*p));
	CHECK_INT(p->hdr.type_of_loader, 0xff);
	CHECK_STR(guest_ptr(&m, p->hdr.cmd_line_ptr, 6), "quiet");
	CHECK_INT(p->hdr.ramdisk_size, sizeof(rd));
	CHECK_INT(p->hdr.ramdisk_image, 64 * MIB - 8192);
	CHECK(!memcmp(guest_ptr(&m, p->hdr.ramdisk_image, sizeof(rd)), rd, sizeof(rd)));
	CHECK_INT(p->acpi_rsdp_addr, BOOT_ACPI);
	/* The tables are no RAM; all above 1 MiB is. */
	CHECK_INT(p->e820_entries, 3);
	CHECK_INT(p->e820_table[1].addr, BOOT_ACPI);
	CHECK_INT(p->e820_table[1].type, 2);
	CHECK_INT(p->e820_table[2].addr + p->e820_table[2].size, 64 * MIB);
	/* The identity map, by one address */
	const uint64_t *t = guest_ptr(&m, BOOT_PAGE_TABLE, 4096);
	t = guest_ptr(&m, t[0] & ~0xfffull, 4096);
	t = guest_ptr(&m, t[2] & ~0xfffull, 4096);
	CHECK_INT(t[5], (2ull << 30) | (5ull << 21) | 0x83);
	const uint8_t reset[] = { 0xba, 0x02, 0x06, 0xb0, 0x01, 0xee };
	CHECK(!memcmp(guest_ptr(&m, 0xffff0, 6), reset, 6));
	guest_memory_free(&m);
}

TEST(load_elf)
{
	struct err e = ERR_INIT;
	make_elf();
	_cleanup_close_ int kernel = file(&elf, sizeof(elf)), initrd = file("cpio", 4);
	CHECK_INT(load(kernel, initrd, "a=b", 4096, &e), 0);
	CHECK(!entry.paging && entry.rip == 16 * MIB + 0x10);
	const uint32_t *info = guest_ptr(&m, entry.rbx, 56);
	CHECK_INT(info[0], 0x336ec578);
	CHECK_INT(info[1], 1);
	CHECK_INT(info[3], 1);
	const uint64_t *address = (const uint64_t *)(info + 4);
	const uint64_t *module = guest_ptr(&m, address[0], 16);
	CHECK_INT(module[1], 4);
	CHECK(!memcmp(guest_ptr(&m, module[0], 4), "cpio", 4));
	CHECK(module[0] < VM_HOLE_START);
	CHECK_STR(guest_ptr(&m, address[1], 4), "a=b");
	CHECK_INT(address[2], BOOT_ACPI);
	CHECK_INT(info[12], 4);
	const uint64_t *map = guest_ptr(&m, address[3], 4 * 24);
	CHECK_INT(map[9], VM_HOLE_END);
	CHECK_INT(map[10], 4096 * MIB - VM_HOLE_START);
	CHECK(!memcmp(guest_ptr(&m, 16 * MIB, sizeof(elf.code)), elf.code, sizeof(elf.code)));
	guest_memory_free(&m);
}

TEST(memory_too_small)
{
	struct err e = ERR_INIT;
	make_bzimage();
	_cleanup_close_ int kernel = file(&bz, sizeof(bz)), initrd = file("cpio", 4);
	CHECK_INT(load(kernel, -EBADF, "", 18, &e), -ENOMEM);
	CHECK_HAS(e.msg, "the-kernel does not fit into the virtual machine's 18 MiB");
	CHECK_HAS(e.msg, "20 MiB at least");
	guest_memory_free(&m);
	CHECK_INT(load(kernel, -EBADF, "", 20, &e), 0);
	guest_memory_free(&m);
	/* The kernel has it all: nothing is left for the initrd. */
	CHECK_INT(load(kernel, initrd, "", 20, &e), -ENOMEM);
	CHECK_HAS(e.msg, "initramfs");
	guest_memory_free(&m);
	BZ_HEADER->initrd_addr_max = 0x1000;
	_cleanup_close_ int low = file(&bz, sizeof(bz));
	CHECK_INT(load(low, initrd, "", 64, &e), -ENOMEM);
	guest_memory_free(&m);
}

TEST(command_line)
{
	struct err e = ERR_INIT;
	char text[3000];
	make_bzimage();
	memset(text, 'x', sizeof(text));
	text[2048] = '\0';
	_cleanup_close_ int kernel = file(&bz, sizeof(bz));
	CHECK_INT(load(kernel, -EBADF, text, 64, &e), -E2BIG);
	CHECK_HAS(e.msg, "at most 2047 bytes, not 2048");
	guest_memory_free(&m);
	text[2047] = '\0';
	CHECK_INT(load(kernel, -EBADF, text, 64, &e), 0);
	guest_memory_free(&m);
	/* A kernel that claims to take more than the place for it */
	BZ_HEADER->cmdline_size = 0xffffffff;
	_cleanup_close_ int vast = file(&bz, sizeof(bz));
	static char huge[0x10001];
	memset(huge, 'x', 0x10000);
	CHECK_INT(load(vast, -EBADF, huge, 64, &e), -E2BIG);
	guest_memory_free(&m);
}

TEST(files)
{
	struct err e = ERR_INIT;
	struct kernel_image k;
	int p[2];
	CHECK_INT(pipe(p), 0);
	CHECK_INT(kernel_image_read(p[0], "the-kernel", &k, &e), -EINVAL);
	CHECK_HAS(e.msg, "not a regular file");
	make_bzimage();
	_cleanup_close_ int kernel = file(&bz, sizeof(bz)), empty = file("", 0);
	CHECK_INT(load(kernel, empty, "", 64, &e), -EINVAL);
	CHECK_HAS(e.msg, "initramfs: empty");
	guest_memory_free(&m);
	CHECK_INT(load(kernel, p[0], "", 64, &e), -EINVAL);
	guest_memory_free(&m);
	close(p[0]);
	close(p[1]);
}

TEST_MAIN(T(bzimage_header), T(bzimage_refused), T(elf_header), T(elf_refused), T(elf_notes),
    T(load_bzimage), T(load_elf), T(memory_too_small), T(command_line), T(files))
