/* What a kernel image says of itself. Documentation/arch/x86/boot.rst, ELF-64. */
#pragma once
#include <stdbool.h>

#include "base/err.h"

enum vm_kernel_format { VM_KERNEL_BZIMAGE, VM_KERNEL_ELF };

/* Longest release that is taken: it names directories and cached files. */
#define KERNEL_RELEASE_MAX 64

/* Tells a bzImage from an ELF vmlinux by content and finds the release, "6.1.0-28-amd64", in the
 * header's version text or the banner ("Linux version …"). path: for messages. The caller frees
 * *ret_release, which may be NULL: not looked for then. -ENOEXEC: neither, or not for x86-64, or
 * without a usable release. */
int kernel_file_identify(
    int fd, const char *path, enum vm_kernel_format *ret, char **ret_release, struct err *e);

/* May s name a directory below /lib/modules? Letters, digits and "._+~:-", no leading dot. */
bool kernel_release_valid(const char *s);
