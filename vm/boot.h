/*
 * From a kernel's file to a guest that can run it (private to vm/). Two kinds, told apart by
 * content: a bzImage by its 64-bit entry (Documentation/arch/x86/boot.rst), an ELF vmlinux by PVH
 * (note XEN_ELFNOTE_PHYS32_ENTRY, xen/include/public/arch-x86/hvm/start_info.h). The file is
 * hostile input: it may be any user's.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "vm/memory.h"

/* Where things are below 1 MiB; the kernel itself lies above. */
#define BOOT_GDT	 0x500ull /* what the selectors of vcpu_set_boot() name */
#define BOOT_GDT_ENTRIES 5u
#define BOOT_PVH_INFO	 0x6000ull /* start_info, module list, memory map */
#define BOOT_ZERO_PAGE	 0x7000ull
#define BOOT_STACK	 0x8ff0ull
#define BOOT_PAGE_TABLE	 0x9000ull /* PML4, PDPT, four page directories */
#define BOOT_CMDLINE	 0x20000ull
#define BOOT_CMDLINE_MAX 0x10000ull
#define BOOT_RAM_END	 0x9f000ull /* of the first stretch of RAM */
#define BOOT_ACPI	 0xe0000ull /* RSDP and tables; the kernel looks here too */
#define BOOT_ACPI_END	 0xff000ull
#define BOOT_RESET	 0xffff0ull /* where a PC's firmware starts */
#define BOOT_LOW_END	 0x100000ull

enum kernel_kind { KERNEL_BZIMAGE, KERNEL_ELF };

#define KERNEL_SEGMENTS_MAX 16
struct kernel_segment {
	uint64_t offset, address, file_size, memory_size;
};
struct kernel_image {
	enum kernel_kind kind;
	unsigned n; /* segments; a bzImage has one */
	struct kernel_segment segments[KERNEL_SEGMENTS_MAX];
	uint64_t entry;	     /* guest-physical */
	uint64_t end;	     /* first byte behind what the kernel uses before it knows its memory */
	uint64_t initrd_max; /* last byte an initrd may have */
	uint32_t cmdline_max; /* without its NUL */
	uint8_t setup[0x100]; /* of a bzImage: its setup_header */
	unsigned setup_size;
};
/* Reads the file's headers; checks that what they say lies within the file. -ENOEXEC: neither
 * kind, or one that lacks the entry. Messages begin with name. */
int kernel_image_read(int fd, const char *name, struct kernel_image *ret, struct err *e);

/* The registers to start with. */
struct boot_entry {
	bool paging; /* long mode with BOOT_PAGE_TABLE; else flat 32-bit mode */
	uint64_t rip, rsi, rbx;
};
struct boot_files {
	int kernel;
	const char *kernel_name;
	int initrd; /* -EBADF: none */
	const char *cmdline;
};
/* Loads kernel, initrd and command line, and writes what the kernel's entry expects.
 * -ENOMEM names the least memory it would take. */
int boot_load(const struct boot_files *f, const struct guest_memory *m, struct boot_entry *ret,
    struct err *e);

/* The part for one kind each: writes zero page resp. start info. */
struct boot_info {
	uint64_t cmdline, initrd, initrd_size;
};
int boot_bzimage_read(
    int fd, const char *name, uint64_t size, struct kernel_image *ret, struct err *e);
int boot_elf_read(int fd, const char *name, uint64_t size, struct kernel_image *ret, struct err *e);
void boot_bzimage_setup(const struct kernel_image *k, const struct boot_info *i,
    const struct guest_memory *m, struct boot_entry *ret);
void boot_elf_setup(const struct kernel_image *k, const struct boot_info *i,
    const struct guest_memory *m, struct boot_entry *ret);

/* The guest's memory as e820 types it: at most MEMORY_MAP_MAX entries, returns how many. */
#define MEMORY_MAP_MAX 4
struct memory_range {
	uint64_t start, size;
	uint32_t type; /* 1 RAM, 2 reserved */
};
unsigned boot_memory_map(const struct guest_memory *m, struct memory_range ret[MEMORY_MAP_MAX]);

/* pread of exactly n bytes; -ENODATA where the file ends before. */
int boot_pread(int fd, void *buf, uint64_t n, uint64_t offset);
