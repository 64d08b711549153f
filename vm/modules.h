/* Which modules of a kernel the guest needs, and in which order. modules.dep(5), modules.builtin.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct module_wanted {
	const char *name; /* "virtio_rng": no suffix, "_" where the file may have "-" */
	bool optional;	  /* a kernel without it will do */
};
/* What is on the machine's disks: their driver and file systems are loaded as well. */
enum vm_disks {
	VM_DISKS_NONE,
	VM_DISKS_IMAGE,	  /* erofs */
	VM_DISKS_SCRATCH, /* and ext4 */
};
/* What the machine's devices and the container in it need; *ret_n of them. */
const struct module_wanted *modules_wanted(enum vm_disks disks, size_t *ret_n);

/* Most modules that are taken; a closure larger than that is no kernel's. */
#define MODULES_MAX 64

/*
 * Reads modules.dep and modules.builtin (NUL-terminated; both may hold anything) and returns the
 * files to load, as they are named there, relative to the modules' directory: dependencies first,
 * none twice, none that is built in. The caller frees *ret with strv_free().
 * -ENOENT: a wanted one is neither a module nor built in; the error names it and the release.
 * -EINVAL: a line leads out of the directory or wants more than MODULES_MAX.
 */
int modules_closure(const char *release, const char *dep, const char *builtin,
    const struct module_wanted *wanted, size_t n, char ***ret, struct err *e);

/* "xz" of "…/x.ko.xz"; "" for a file that is not compressed, NULL for what is no module. */
const char *module_compression(const char *path);

/* Can a kernel with this configuration (the text of its config file) load modules compressed like
 * that itself (finit_module's MODULE_INIT_COMPRESSED_FILE)? */
bool modules_kernel_decompresses(const char *config, const char *compression);
