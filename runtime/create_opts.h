/* The options that create and run share, as rows for their tables. */
#pragma once
#include <stddef.h>

#include "runtime/cli.h"
#include "runtime/lifecycle.h"

#define CREATE_OPT(field) offsetof(struct create_opts, field)
/* clang-format off */
#define CREATE_OPTS \
	{ "bundle", 'b', OPT_STR, CREATE_OPT(bundle), "DIR", "the bundle's directory (default: the current one)", 0, 0 }, \
	{ "config", 'f', OPT_STR, CREATE_OPT(config), "FILE", "configuration instead of DIR/config.json", 0, 0 }, \
	{ "console-socket", 0, OPT_STR, CREATE_OPT(console_socket), "SOCKET", "unix socket that receives the terminal's master descriptor", 0, 0 }, \
	{ "pid-file", 0, OPT_STR, CREATE_OPT(pid_file), "FILE", "where to write the process's number", 0, 0 }, \
	{ "isolation", 0, OPT_STR, CREATE_OPT(isolation), "LEVEL", "namespace, or vm: a virtual machine of its own (default: by annotation, vm section, program name, configuration file)", 0, 0 }, \
	{ "rootfs-image", 0, OPT_STR, CREATE_OPT(rootfs_image), "memory|scratch[:SIZE]", "at level vm, for a bundle of an image: boot from one read-only image of all layers, and keep what is written in the guest's memory or on a disk of SIZE (10g)", 0, 0 }, \
	{ "no-pivot", 0, OPT_FLAG, CREATE_OPT(no_pivot), NULL, "do not use pivot_root (for a root on a ramdisk)", 0, 0 }, \
	{ "no-new-keyring", 0, OPT_FLAG, CREATE_OPT(no_new_keyring), NULL, "keep the caller's session keyring", 0, 0 }, \
	{ "preserve-fds", 0, OPT_INT, CREATE_OPT(preserve_fds), "N", "pass N descriptors, from 3 on, to the process", 0, 1024 }
/* clang-format on */

/* The check of both verbs: the descriptors to pass are open. */
int create_check(void *opts, struct err *e);
