/*
 * The guest's kernel and its initramfs: found on the host, or made of what is found there.
 *
 * Both are looked up by the host's half of create, before any root is switched; the monitor gets
 * descriptors. What they hold is the guest's: nothing here is executed on the host. docs/vm.md says
 * what users need to know of it.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "vm/kernel_file.h"
#include "vm/modules.h"

/* ---- where to look ---- */

/* Strings are borrowed; zeroed fields take the defaults. */
struct vm_places {
	/* vm.kernel.path of config.json, or the configuration file's: only this one then. NULL: see
	 * vm_kernel_find(). */
	const char *kernel;
	/* vm.kernel.initrd, put in front of the generated one. NULL: none. */
	const char *initrd;
	/* The directory of the program's file, absolute: dirname of /proc/self/exe before the
	 * program runs from its sealed copy. What belongs to it is found from there, in a build
	 * tree as well as where it is installed. */
	const char *program_dir;
	enum vm_disks disks;
	/* The caller is not root of the host: chooses where files are cached. */
	bool rootless;
	/* Instead of the directory for cached files. */
	const char *cache;
	/* In front of /boot and /lib/modules; for tests. */
	const char *root;
};

/* ---- kernel ---- */

struct vm_kernel {
	int fd; /* O_RDONLY; at offset 0 */
	enum vm_kernel_format format;
	char *path;    /* as it was found, for messages */
	char *release; /* as uname -r says it in the guest: "6.1.0-28-amd64" */
	int modules;   /* O_PATH of modules_path; -EBADF: everything is taken to be built in */
	char *modules_path;
};
#define VM_KERNEL_NONE                          \
	{                                       \
		.fd = -EBADF, .modules = -EBADF \
	}

/*
 * The kernel to boot, by this order:
 *   1. places->kernel: a bzImage or an ELF vmlinux, told apart by content. Its modules are those of
 *      /lib/modules/RELEASE; without a modules.dep there they are taken to be built in.
 *   2. what `make guest-kernel` made: guest/vmlinux, then guest/bzImage, in program_dir (a build
 *      tree), in program_dir/../lib/bailey (an installation). All built in.
 *   3. the newest /boot/vmlinuz-RELEASE, by version comparison as `sort -V` has it, that has
 *      /lib/modules/RELEASE/modules.dep or, by /boot/config-RELEASE, takes no modules. Others are
 *      passed over (--debug says why).
 * -ENOENT when there is none: the error names what was looked for and the remedy. -ENOEXEC: a file
 * that is no x86-64 kernel image.
 */
int vm_kernel_find(const struct vm_places *places, struct vm_kernel *ret, struct err *e);
void vm_kernel_free(struct vm_kernel *k); /* closes and frees; accepts VM_KERNEL_NONE */
#define _cleanup_vm_kernel_ __attribute__((cleanup(vm_kernel_free)))

/* ---- initramfs ---- */

/*
 * A cpio archive (newc, not compressed, padded to whole pages) for that kernel: the agent as /init,
 * /dev/console, empty directories dev, proc, sys, run, modules; and, where the kernel has modules,
 * those that the machine's devices need with all that they depend on, as /modules/NAME.ko in load
 * order named line by line in /modules/list.
 *
 * The agent is bailey-agent in program_dir, else in program_dir/../libexec/bailey. It loads a
 * compressed module (.ko.xz, .ko.zst, .ko.gz) with MODULE_INIT_COMPRESSED_FILE; where the kernel's
 * configuration is found (config-RELEASE beside the kernel, config in the modules' directory) and
 * says that the kernel cannot, that is an error here.
 *
 * The archive is cached in /var/cache/bailey (root of the host) or $XDG_CACHE_HOME/bailey,
 * $HOME/.cache/bailey (others), under a name made of the kernel's release and the identity (device,
 * inode, size, change time) of agent and modules.dep. It appears there whole or not at all, once
 * for any number of concurrent callers. A cache that somebody else may write to is an error; one
 * that cannot be written is not: the archive then lives in memory (--debug says so).
 *
 * With places->initrd the archive is: that file, padded to 4 bytes, then the generated one. The
 * kernel unpacks one over the other, so the agent stays /init whatever the file brings; what it has
 * in /modules is loaded if the kernel's own modules were not found. Never cached.
 *
 * *ret_fd: O_RDONLY, at offset 0. *ret_size: bytes. Errors name kernel and module that is missing,
 * or the compression that the kernel cannot undo.
 */
int vm_initramfs(const struct vm_places *places, const struct vm_kernel *k, int *ret_fd,
    uint64_t *ret_size, struct err *e);
