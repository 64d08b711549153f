#include <errno.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/kernel.h"
#include "base/sys.h"
#include "security/internal.h"
#include "security/security.h"
#include "tests/unit/security/child.h"

TEST(check_names_the_module_that_is_off)
{
	struct spec_process p = { .apparmor_profile = "cage" };
	struct err e = ERR_INIT;

	if (kernel_has_apparmor() || kernel_has_selinux()) {
		printf("# SKIP a module is on here\n");
		return;
	}
	CHECK_INT(lsm_check(&p, NULL, &e), -ENOTSUP);
	CHECK_STR(
	    e.msg, ".process.apparmorProfile: \"cage\": AppArmor is not enabled on this host");
	p = (struct spec_process){ .selinux_label = "u:r:t:s0" };
	CHECK_INT(lsm_check(&p, NULL, &e), -ENOTSUP);
	CHECK_HAS(e.msg, ".process.selinuxLabel: \"u:r:t:s0\": SELinux is not enabled");
	p = (struct spec_process){ .apparmor_profile = "unconfined", .selinux_label = "" };
	CHECK_INT(lsm_check(&p, "u:r:t:s0", &e), -ENOTSUP);
	CHECK_HAS(e.msg, ".linux.mountLabel");
	CHECK_INT(lsm_check(&p, NULL, &e), 0);
}

static void apply_body(void)
{
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int tmp = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct spec_process p = { .apparmor_profile = "no-such-profile-of-bailey" };
	struct err e = ERR_INIT;

	/* A profile that cannot be set is an error, with or without the module. */
	CHECK(lsm_apply_exec(proc, &p, &e) < 0);
	CHECK_HAS(e.msg, ".process.apparmorProfile: \"no-such-profile-of-bailey\"");
	CHECK_HAS(e.msg, "`/proc/self/attr/apparmor/exec`");
	CHECK_INT(lsm_apply_exec(tmp, &p, &e), -EPERM);
	p = (struct spec_process){ .selinux_label = "no:such:label" };
	CHECK(lsm_apply_exec(proc, &p, &e) < 0);
	CHECK_HAS(e.msg, "`/proc/self/attr/exec`");
	e = (struct err)ERR_INIT;
	p = (struct spec_process){ .apparmor_profile = "unconfined" };
	CHECK_INT(lsm_apply_exec(proc, &p, &e), 0);
	p = (struct spec_process){ .apparmor_profile = NULL };
	CHECK_INT(lsm_apply_exec(tmp, &p, &e), 0);
	CHECK_INT(e.code, 0);
}
TEST(apply_fails_closed)
{
	in_child(apply_body);
}

static void apply_now_body(void)
{
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int tmp = open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct spec_process p = { .apparmor_profile = "no-such-profile-of-bailey" };
	struct err e = ERR_INIT;

	CHECK(lsm_apply_now(proc, &p, &e) < 0);
	CHECK_HAS(e.msg, ".process.apparmorProfile: \"no-such-profile-of-bailey\"");
	CHECK_HAS(e.msg, "`/proc/self/attr/apparmor/current`");
	CHECK_INT(lsm_apply_now(tmp, &p, &e), -EPERM);
	p = (struct spec_process){ .selinux_label = "no:such:label" };
	CHECK(lsm_apply_now(proc, &p, &e) < 0);
	CHECK_HAS(e.msg, "`/proc/self/attr/current`");
	e = (struct err)ERR_INIT;
	p = (struct spec_process){ .apparmor_profile = "unconfined" };
	CHECK_INT(lsm_apply_now(proc, &p, &e), 0);
	CHECK_INT(e.code, 0);
}
TEST(apply_to_the_process_fails_closed)
{
	in_child(apply_now_body);
}

static bool private_mounts(void)
{
	if (geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0)
		return true;
	printf("# SKIP no mount namespaces here\n");
	return false;
}

/* CVE-2019-16884: something else where /proc/self/attr is expected. */
static void overmount_body(void)
{
	_cleanup_close_ int proc = -EBADF;
	char attr[64];

	if (!private_mounts())
		return;
	proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	snprintf(attr, sizeof(attr), "/proc/%d/attr", getpid());
	CHECK_INT(mount("tmpfs", attr, "tmpfs", 0, NULL), 0);
	CHECK_INT(mkdir("/proc/self/attr/apparmor", 0700), 0);
	CHECK_INT(mknod("/proc/self/attr/exec", S_IFREG | 0600, 0), 0);
	CHECK_INT(mknod("/proc/self/attr/apparmor/exec", S_IFREG | 0600, 0), 0);
	CHECK_INT(proc_open(proc, 0, "attr/exec"), -EXDEV);
	CHECK_INT(proc_open(proc, 0, "attr/apparmor/exec"), -EXDEV);
	umount2(attr, MNT_DETACH);
}
TEST(mounts_over_proc_are_refused)
{
	in_child(overmount_body);
}

/* The same with a whole tree that claims to be /proc. */
static void fake_root_body(void)
{
	_cleanup_close_ int dir = -EBADF, sub = -EBADF;

	if (!private_mounts())
		return;
	CHECK_INT(mount("tmpfs", "/mnt", "tmpfs", 0, NULL), 0);
	CHECK_INT(mkdir("/mnt/1", 0700), 0);
	CHECK_INT(symlink("1", "/mnt/self"), 0);
	CHECK_INT(mknod("/mnt/1/oom_score_adj", S_IFREG | 0600, 0), 0);
	dir = open("/mnt", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(proc_open(dir, 0, "oom_score_adj"), -EPERM);
	/* procfs, but not its root */
	sub = open("/proc/self", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(proc_open(sub, 0, "oom_score_adj"), -EPERM);
}
TEST(only_the_root_of_procfs_will_do)
{
	in_child(fake_root_body);
}

TEST(magic_links_are_refused)
{
	_cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	char path[32];

	snprintf(path, sizeof(path), "fd/%d", fd);
	CHECK_INT(proc_open(proc, 0, path), -ELOOP);
	CHECK_INT(proc_open(proc, 0, "cwd/x"), -ELOOP);
	CHECK_INT(proc_open(proc, 0, "../1/oom_score_adj/../../../etc"), -ENOTDIR);
}

TEST_MAIN(T(check_names_the_module_that_is_off), T(apply_fails_closed),
    T(apply_to_the_process_fails_closed), T(mounts_over_proc_are_refused),
    T(only_the_root_of_procfs_will_do), T(magic_links_are_refused))
