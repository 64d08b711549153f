/*
 * Boot, without a machine: in namespaces of its own, with a tmpfs that holds what an initramfs
 * would as the root. No module is loaded, as nothing lists one.
 */
#include "guest/boot.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "tests/unit/test.h"

#define DIR_ "/tmp/bailey-test-boot"

static void put(const char *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	CHECK(fd >= 0);
	close(fd);
}

/* The caller's root becomes a tmpfs with a few files, the old one goes. */
static int become_initramfs(void)
{
	if (unshare(CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS) <
		0 ||
	    mount("", "/", "", MS_REC | MS_PRIVATE, "") < 0 ||
	    mount("initramfs", DIR_, "tmpfs", 0, "mode=755") < 0 || chdir(DIR_) < 0)
		return -errno;
	put("init");
	mkdir("modules", 0755);
	put("modules/left.ko");
	mkdir("modules/deep", 0755);
	put("modules/deep/er.ko");
	if (sys_pivot_root(".", ".") < 0 || umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

static long fs_type(const char *path)
{
	struct statfs s;

	return statfs(path, &s) < 0 ? -errno : (long)s.f_type;
}

static void booted(int old, int procfd)
{
	int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq lo = { 0 };
	struct stat st;

	CHECK_INT(fs_type("/"), 0x01021994); /* TMPFS_MAGIC */
	CHECK_INT(fs_type("/proc"), 0x9fa0);
	CHECK_INT(fs_type("/sys"), 0x62656572);
	CHECK_INT(fs_type("/sys/fs/cgroup"), 0x63677270); /* CGROUP2_SUPER_MAGIC */
	CHECK_INT(access("/dev/null", W_OK), 0);
	CHECK_INT(access(AGENT_EXPORT, X_OK), 0);
	CHECK_INT(faccessat(procfd, "1/stat", R_OK, 0), 0);
	/* The initramfs' memory is free, the devices are not touched. */
	CHECK(fstatat(old, "init", &st, 0) < 0 && errno == ENOENT);
	CHECK(fstatat(old, "modules", &st, 0) < 0 && errno == ENOENT);
	snprintf(lo.ifr_name, sizeof(lo.ifr_name), "lo");
	CHECK_INT(ioctl(sock, SIOCGIFFLAGS, &lo), 0);
	CHECK(lo.ifr_flags & IFF_UP);
	close(sock);
	/* A container's root can be pivoted to, which an initramfs forbids. */
	CHECK_INT(unshare(CLONE_NEWNS), 0);
	CHECK_INT(mkdir("/c", 0755), 0);
	CHECK_INT(mount("c", "/c", "tmpfs", 0, ""), 0);
	CHECK_INT(chdir("/c"), 0);
	CHECK_INT(sys_pivot_root(".", "."), 0);
}

static void boot(void)
{
	struct err e = ERR_INIT;
	int procfd = -EBADF, old, n;

	n = become_initramfs();
	if (n < 0) {
		printf("# become an initramfs: %s\n", strerror(-n));
		test_failed = 1;
		return;
	}
	old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(boot_machine(&procfd, &e), 0);
	CHECK_STR(e.msg, "");
	booted(old, procfd);
}

TEST(from_initramfs_to_root)
{
	int status;
	pid_t pid;

	if (geteuid() != 0) {
		printf("# SKIP needs root\n");
		return;
	}
	(void)mkdir(DIR_, 0700);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWPID) < 0)
			_exit(1);
		pid = fork();
		if (pid == 0) {
			boot();
			fflush(stdout);
			_exit(test_failed);
		}
		waitpid(pid, &status, 0);
		_exit(status != 0);
	}
	if (waitpid(pid, &status, 0) < 0 || status != 0)
		test_failed = 1;
	(void)rmdir(DIR_);
}

TEST_MAIN(T(from_initramfs_to_root))
