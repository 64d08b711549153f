#include "tests/unit/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/kernel.h"

TEST(require_holds_here)
{
	struct err e = ERR_INIT;

	unsetenv("BAILEY_TEST_NO_SYSCALL");
	CHECK_INT(kernel_require(&e), 0);
	CHECK_INT(e.code, 0);
}

/* Every probe must really make its call: with it simulated away the name has to appear. */
TEST(require_names_what_is_missing)
{
#ifdef BAILEY_TESTING
	static const char *const calls[] = { "openat2", "clone3", "open_tree", "move_mount",
		"fsopen", "fsconfig", "fsmount", "mount_setattr", "pidfd_open" };

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		struct err e = ERR_INIT;
		char list[64];
		snprintf(list, sizeof(list), "nothing,%s", calls[i]);
		setenv("BAILEY_TEST_NO_SYSCALL", list, 1);
		CHECK_INT(kernel_require(&e), -ENOSYS);
		CHECK_HAS(e.msg, calls[i]);
		CHECK_HAS(e.msg, "5.12");
	}
	unsetenv("BAILEY_TEST_NO_SYSCALL");
#else
	struct err e = ERR_INIT;

	setenv("BAILEY_TEST_NO_SYSCALL", "openat2", 1);
	CHECK_INT(kernel_require(&e), 0); /* a release build does not listen */
	unsetenv("BAILEY_TEST_NO_SYSCALL");
#endif
}

TEST(lsm_probes_agree_with_sysfs)
{
	if (access("/sys/module/apparmor", F_OK) < 0)
		CHECK(!kernel_has_apparmor());
	if (access("/sys/fs/selinux/enforce", F_OK) < 0)
		CHECK(!kernel_has_selinux());
	else
		CHECK(kernel_has_selinux());
}

TEST(virtualization_is_a_whole_word_of_the_flags)
{
	static const struct {
		const char *text;
		bool has;
	} cases[] = {
		{ "", true },
		{ "model name\t: vmx\nbugs\t: svm\n", true }, /* nothing to go by */
		{ "processor\t: 0\nflags\t\t: fpu vmx sse\n", true },
		{ "flags\t\t: fpu svm", true },
		{ "flags\t\t: svm", true },
		{ "flags: vmx\n", true },
		{ "flags\t\t: fpu sse\nvmx flags\t: vnmi ept vmx\n", false },
		{ "flags\t\t: fpu sse svm_lock xvmx\nbugs\t\t: svm\n", false },
		{ "flags\t\t:\n", false },
		{ "flags\t\t: fpu\n\nflags\t\t: fpu vmx\n", true },
		{ "flagsx\t\t: vmx\nflags\t: fpu\n", false },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		CHECK_INT(kernel_cpuinfo_has_virtualization(cases[i].text), cases[i].has);
}

TEST_MAIN(T(require_holds_here), T(require_names_what_is_missing), T(lsm_probes_agree_with_sysfs),
    T(virtualization_is_a_whole_word_of_the_flags))
