/*
 * What this kernel and machine can do, each fact probed once when first asked for.
 *
 * bailey needs Linux 5.12 or later: openat2, clone3 with CLONE_INTO_CGROUP, the mount API with
 * mount_setattr, pidfds. There is no second way for any of them: kernel_require() fails closed and
 * names the missing call. BAILEY_TEST_NO_SYSCALL=openat2,… (honoured only when the build defines
 * BAILEY_TESTING) simulates an older kernel.
 */
#pragma once
#include <stdbool.h>

#include "base/err.h"

/* All calls of the list above, cheaply (each is called with arguments that fail with anything but
 * ENOSYS). */
int kernel_require(struct err *e);

bool kernel_has_apparmor(void); /* enabled, by /sys/module/apparmor/parameters/enabled */
bool kernel_has_selinux(void);	/* selinuxfs mounted */

/* Of /proc/cpuinfo's text: has the processor, as the kernel uses it, hardware virtualization (vmx
 * or svm among the flags)? True too where there is no line of flags to go by. */
bool kernel_cpuinfo_has_virtualization(const char *text);
