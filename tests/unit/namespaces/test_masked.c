#include "tests/unit/namespaces/sandbox.h"

#include <dirent.h>
#include <signal.h>
#include <sys/prctl.h>

#include "namespaces/namespaces.h"

static int mask(int rootfd, const char *path, struct err *e)
{
	char *v[] = { (char *)path, NULL };
	struct spec s = { .masked_paths = { v, 1 } };

	*e = (struct err)ERR_INIT;
	return masked_paths_apply(&s, rootfd, e);
}

static int readonly(int rootfd, const char *path, struct err *e)
{
	char *v[] = { (char *)path, NULL };
	struct spec s = { .readonly_paths = { v, 1 } };

	*e = (struct err)ERR_INIT;
	return readonly_paths_apply(&s, rootfd, e);
}

static int entries(const char *path)
{
	DIR *d = opendir(path);
	int n = 0;

	if (!d)
		return -1;
	for (struct dirent *de; (de = readdir(d));)
		n += de->d_name[0] != '.';
	closedir(d);
	return n;
}

static void kinds_body(int rootfd)
{
	char *v[] = { "/secret", "/dir", "/dir2", "/dir3/sub", "/fifo", "/link", "/dirlink",
		"/missing", "/missing/too", NULL };
	struct spec s = { .masked_paths = { v, 9 } };
	struct err e = ERR_INIT;
	struct stat a, b;
	char buf[64];

	make_null();
	make_file(SANDBOX "/secret", "secret");
	make_file(SANDBOX "/target", "behind the link");
	mkdir(SANDBOX "/dir", 0755);
	mkdir(SANDBOX "/dir2", 0755);
	mkdir(SANDBOX "/dir3", 0755);
	mkdir(SANDBOX "/dir3/sub", 0755);
	mkdir(SANDBOX "/dir4", 0755);
	make_file(SANDBOX "/dir/x", "x");
	make_file(SANDBOX "/dir2/x", "x");
	make_file(SANDBOX "/dir3/sub/x", "x");
	make_file(SANDBOX "/dir4/x", "x");
	CHECK_INT(mkfifo(SANDBOX "/fifo", 0644), 0);
	/* Absolute: means the container's root, not the host's. */
	CHECK_INT(symlink("/target", SANDBOX "/link"), 0);
	CHECK_INT(symlink("../../dir4", SANDBOX "/dirlink"), 0);
	CHECK_INT(masked_paths_apply(&s, rootfd, &e), 0);
	CHECK_STR(e.msg, "");
	CHECK_STR(slurp(SANDBOX "/secret", buf, sizeof(buf)), "");
	CHECK(is_char(SANDBOX "/secret", 1, 3));
	CHECK(is_char(SANDBOX "/fifo", 1, 3));
	CHECK_STR(slurp(SANDBOX "/target", buf, sizeof(buf)), "");
	CHECK_INT(entries(SANDBOX "/dir"), 0);
	CHECK_INT(entries(SANDBOX "/dir2"), 0);
	CHECK_INT(entries(SANDBOX "/dir3/sub"), 0);
	CHECK_INT(entries(SANDBOX "/dir4"), 0);
	/* One file system for all of them, which nobody can write to. */
	CHECK(stat(SANDBOX "/dir", &a) == 0 && stat(SANDBOX "/dir4", &b) == 0);
	CHECK(a.st_dev == b.st_dev);
	CHECK(mkdir(SANDBOX "/dir2/y", 0755) < 0 && errno == EROFS);
	CHECK(mount(NULL, SANDBOX "/dir2", NULL, MS_REMOUNT | MS_BIND, NULL) == 0);
	CHECK(mkdir(SANDBOX "/dir2/y", 0755) < 0 && errno == EROFS);
	CHECK(lstat(SANDBOX "/missing", &a) < 0);
}
TEST(every_kind_of_file)
{
	in_sandbox(0, kinds_body);
}

static void after_pivot_body(int rootfd)
{
	struct err e;

	make_null();
	mkdir(SANDBOX "/proc", 0755);
	mkdir(SANDBOX "/sys", 0755);
	CHECK_INT(mount("proc", SANDBOX "/proc", "proc", 0, NULL), 0);
	CHECK_INT(chroot(SANDBOX), 0);
	CHECK_INT(chdir("/"), 0);
	rootfd = open("/", O_PATH | O_CLOEXEC);
	CHECK_INT(mask(rootfd, "/proc/cpuinfo", &e), 0);
	CHECK_INT(mask(rootfd, "/proc/irq", &e), 0);
	CHECK_INT(mask(rootfd, "/proc/no_such_file", &e), 0);
	CHECK(is_char("/proc/cpuinfo", 1, 3));
	CHECK_INT(entries("/proc/irq"), 0);
	/* Not through magic links, to wherever a process's root is. */
	CHECK_INT(mask(rootfd, "/proc/self/root/dev", &e), -ELOOP);
	CHECK_HAS(e.msg, ".linux.maskedPaths[0]");
	CHECK_INT(readonly(rootfd, "/proc/sys", &e), 0);
	CHECK(open("/proc/sys/kernel/hostname", O_WRONLY) < 0 && errno == EROFS);
	close(rootfd);
}
TEST(after_the_root_is_switched)
{
	in_sandbox(CLONE_NEWUTS, after_pivot_body);
}

static void hostile_null_body(int rootfd)
{
	struct err e;
	char buf[64];

	make_file(SANDBOX "/secret", "secret");
	make_file(SANDBOX "/mine", "mine");
	/* None at all: "not found" must not pass for "nothing to mask". */
	CHECK_INT(mask(rootfd, "/secret", &e), -ENOENT);
	CHECK_HAS(e.msg, "/dev");
	mkdir(SANDBOX "/dev", 0755);
	CHECK_INT(mask(rootfd, "/secret", &e), -ENOENT);
	CHECK_HAS(e.msg, "/dev/null");
	/* A symlink, to a file and to the right device. */
	CHECK_INT(symlink("/mine", SANDBOX "/dev/null"), 0);
	CHECK(mask(rootfd, "/secret", &e) < 0);
	CHECK_INT(mknod(SANDBOX "/dev/real", S_IFCHR | 0666, makedev(1, 3)), 0);
	unlink(SANDBOX "/dev/null");
	CHECK_INT(symlink("real", SANDBOX "/dev/null"), 0);
	CHECK(mask(rootfd, "/secret", &e) < 0);
	/* A plain file, another device, the number on a block device. */
	unlink(SANDBOX "/dev/null");
	make_file(SANDBOX "/dev/null", "");
	CHECK_INT(mask(rootfd, "/secret", &e), -EINVAL);
	unlink(SANDBOX "/dev/null");
	CHECK_INT(mknod(SANDBOX "/dev/null", S_IFCHR | 0666, makedev(1, 5)), 0);
	CHECK_INT(mask(rootfd, "/secret", &e), -EINVAL);
	unlink(SANDBOX "/dev/null");
	CHECK_INT(mknod(SANDBOX "/dev/null", S_IFBLK | 0666, makedev(1, 3)), 0);
	CHECK_INT(mask(rootfd, "/secret", &e), -EINVAL);
	/* A file system that does not honour devices. */
	CHECK_INT(mount("dev", SANDBOX "/dev", "tmpfs", MS_NODEV, "mode=755"), 0);
	CHECK_INT(mknod(SANDBOX "/dev/null", S_IFCHR | 0666, makedev(1, 3)), 0);
	CHECK_INT(mask(rootfd, "/secret", &e), -EACCES);
	CHECK_HAS(e.msg, "nodev");
	CHECK_INT(umount(SANDBOX "/dev"), 0);
	/* /dev itself a symlink. */
	CHECK_INT(rename(SANDBOX "/dev", SANDBOX "/other"), 0);
	unlink(SANDBOX "/other/null");
	CHECK_INT(mknod(SANDBOX "/other/null", S_IFCHR | 0666, makedev(1, 3)), 0);
	CHECK_INT(symlink("other", SANDBOX "/dev"), 0);
	CHECK_INT(mask(rootfd, "/secret", &e), -ELOOP);
	CHECK_STR(slurp(SANDBOX "/secret", buf, sizeof(buf)), "secret");
}
TEST(hostile_null)
{
	in_sandbox(0, hostile_null_body);
}

static void odd_paths_body(int rootfd)
{
	struct err e;

	make_null();
	make_file(SANDBOX "/file", "");
	CHECK_INT(mask(rootfd, "/file/below", &e), -ENOTDIR);
	CHECK_HAS(e.msg, "/file/below");
	CHECK_INT(symlink("loop", SANDBOX "/loop"), 0);
	CHECK_INT(mask(rootfd, "/loop", &e), -ELOOP);
	CHECK_INT(mask(rootfd, "/", &e), -EINVAL);
	CHECK_INT(mask(rootfd, "/../.", &e), -EINVAL);
	CHECK_INT(readonly(rootfd, "/", &e), -EINVAL);
	CHECK_INT(readonly(rootfd, "/file/below", &e), -ENOTDIR);
	CHECK_INT(readonly(rootfd, "/nothing", &e), 0);
}
TEST(odd_paths)
{
	in_sandbox(0, odd_paths_body);
}

/* Somebody exchanges the path all the time: each outcome is either a mask or an error. */
static void race_body(int rootfd)
{
	struct err e;
	pid_t pid;

	make_null();
	make_file(SANDBOX "/a", "secret");
	make_file(SANDBOX "/b", "secret");
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			(void)renameat2(
			    AT_FDCWD, SANDBOX "/a", AT_FDCWD, SANDBOX "/b", RENAME_EXCHANGE);
	}
	for (int i = 0, stale = 0; i < 20000 && stale < 3; i++) {
		int r = mask(rootfd, "/a", &e);
		int ok_a = is_char(SANDBOX "/a", 1, 3), ok_b = is_char(SANDBOX "/b", 1, 3);

		CHECK(r == 0 || r == -ESTALE || r == -ENOENT);
		stale += r == -ESTALE;
		/* A mount point cannot be renamed, so a success stays one. */
		if (r == 0)
			CHECK(ok_a);
		while (ok_a && umount2(SANDBOX "/a", MNT_DETACH) == 0)
			;
		while (ok_b && umount2(SANDBOX "/b", MNT_DETACH) == 0)
			;
	}
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}
TEST(exchange_race)
{
	in_sandbox(0, race_body);
}

static void readonly_body(int rootfd)
{
	struct err e;

	mkdir(SANDBOX "/d", 0755);
	CHECK_INT(mount("d", SANDBOX "/d", "tmpfs", MS_NOSUID | MS_NOEXEC, NULL), 0);
	mkdir(SANDBOX "/d/sub", 0755);
	CHECK_INT(mount("sub", SANDBOX "/d/sub", "tmpfs", 0, NULL), 0);
	make_file(SANDBOX "/f", "x");
	CHECK_INT(symlink("/f", SANDBOX "/l"), 0);
	CHECK_INT(readonly(rootfd, "/d", &e), 0);
	CHECK_STR(e.msg, "");
	CHECK_INT(readonly(rootfd, "/l", &e), 0);
	CHECK(mkdir(SANDBOX "/d/x", 0755) < 0 && errno == EROFS);
	CHECK(mkdir(SANDBOX "/d/sub/x", 0755) < 0 && errno == EROFS);
	CHECK(open(SANDBOX "/f", O_WRONLY) < 0 && errno == EROFS);
	/* The other flags are kept. */
	FILE *mi = fopen("/proc/self/mountinfo", "re");
	char line[1024], last[1024] = "";
	while (mi && fgets(line, sizeof(line), mi))
		if (strstr(line, " " SANDBOX "/d "))
			snprintf(last, sizeof(last), "%s", line);
	if (mi)
		fclose(mi);
	CHECK_HAS(last, "ro,nosuid,noexec");
}
TEST(readonly_is_recursive_and_keeps_flags)
{
	in_sandbox(0, readonly_body);
}

TEST_MAIN(T(every_kind_of_file), T(after_the_root_is_switched), T(hostile_null), T(odd_paths),
    T(exchange_race), T(readonly_is_recursive_and_keeps_flags))
