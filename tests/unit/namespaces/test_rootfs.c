/* The root: attaching, switching, propagation, read-only. Root only. */
#include <linux/magic.h>

#include "tests/unit/namespaces/mount_fixture.h"

static int procfd(void)
{
	return open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void check_inside(struct fx *f, struct mount_plan *p)
{
	struct stat st;
	char cwd[64];

	CHECK(access("/etc/passwd", F_OK) == 0); /* paths are the host's until the switch */
	if (fx_enter(f, p) < 0)
		return;
	CHECK_STR(getcwd(cwd, sizeof(cwd)), "/");
	CHECK(access("/marker", F_OK) == 0);
	CHECK(access("/etc/passwd", F_OK) < 0);
	CHECK(access("/../etc/passwd", F_OK) < 0);
	CHECK(fstatat(f->env.rootfd, "marker", &st, 0) == 0);
	/* the classic way out of a chroot */
	CHECK(mkdir("/x", 0755) == 0 && chroot("/x") == 0);
	for (int i = 0; i < 20; i++)
		CHECK(chdir("..") == 0);
	CHECK(access("etc/passwd", F_OK) < 0);
	CHECK(access("marker", F_OK) == 0);
}

static void in_pivot(void)
{
	struct fx f;

	fx_init(&f);
	fx_file(FX_ROOTFS "/marker", "");
	fx_ok(&f, check_inside);
	rmdir(FX_ROOTFS "/x");
	fx_chown(FX_ROOTFS, 100000, 100000);
	f.ns_flags = CLONE_NEWUSER;
	fx_maps(&f);
	fx_ok(&f, check_inside);
}

static void check_at_its_path(struct fx *f, struct mount_plan *p)
{
	_cleanup_close_ int proc = procfd();

	CHECK_HAS(fx_mountinfo(proc, FX_ROOTFS "/t"), "tmpfs");
	CHECK(mount("late", FX_ROOTFS "/mnt", "tmpfs", 0, NULL) == 0);
	CHECK(access("/tmp/../etc/passwd", F_OK) == 0);
	if (fx_enter(f, p) == 0)
		CHECK_HAS(fx_mountinfo(proc, "/mnt"), "late");
}

/* For hooks, which run before the switch. */
static void in_attached_at_its_path(void)
{
	_cleanup_close_ int proc = procfd();
	struct fx f;

	fx_init(&f);
	fx_dir(FX_ROOTFS "/mnt");
	fx_mount(&f, "/t", "tmpfs", "tmpfs", NULL);
	fx_ok(&f, check_at_its_path);
	CHECK_STR(fx_mountinfo(proc, FX_ROOTFS "/mnt"), "");
}

static void check_no_pivot(struct fx *f, struct mount_plan *p)
{
	_cleanup_close_ int old = open("/", O_PATH | O_CLOEXEC);

	check_inside(f, p);
	/* nothing of the host's kernel filesystems is left below */
	CHECK(fx_fstype(old, "proc") != PROC_SUPER_MAGIC);
	CHECK(fx_fstype(old, "sys") != SYSFS_MAGIC);
}

static void in_no_pivot(void)
{
	struct fx f;

	fx_init(&f);
	f.no_pivot = true;
	fx_file(FX_ROOTFS "/marker", "");
	fx_mount(&f, "/t", "tmpfs", "tmpfs", NULL);
	fx_ok(&f, check_no_pivot);
	CHECK(fx_fstype(AT_FDCWD, "/proc") == PROC_SUPER_MAGIC);
	rmdir(FX_ROOTFS "/x");
	fx_chown(FX_ROOTFS, 100000, 100000);
	f.ns_flags = CLONE_NEWUSER;
	fx_maps(&f);
	fx_ok(&f, check_no_pivot);
}

static void in_root_must_be_a_directory(void)
{
	struct fx f;

	fx_init(&f);
	f.s.root.path = FX_DIR "/file";
	CHECK_INT(fx_run(&f, NULL), -ENOENT);
	CHECK_HAS(f.e.msg, ".root.path: \"" FX_DIR "/file\"");
	fx_file(FX_DIR "/file", "");
	CHECK_INT(fx_run(&f, NULL), -ENOTDIR);
	CHECK(symlink("rootfs", FX_DIR "/link") == 0); /* the host's own links may be followed */
	f.s.root.path = FX_DIR "/link";
	fx_ok(&f, NULL);
}

/* ---- read-only ---- */

static void check_readonly(struct fx *f, struct mount_plan *p)
{
	int proc = procfd();

	CHECK(mkdirat(f->env.rootfd, "early", 0755) == 0);
	if (fx_enter(f, p) < 0)
		return;
	CHECK(mkdir("/late", 0755) < 0 && errno == EROFS);
	CHECK(mkdir("/rw/late", 0755) == 0);
	CHECK_HAS(fx_mountinfo(proc, "/"), "ro,nosuid,noatime");
}

static void in_readonly(void)
{
	struct fx f;

	mount("r", FX_ROOTFS, "tmpfs", MS_NOSUID | MS_NOATIME, "mode=0777");
	fx_init(&f);
	f.s.root.readonly = true;
	fx_mount(&f, "/rw", "tmpfs", "tmpfs", NULL);
	fx_ok(&f, check_readonly);
	CHECK(mkdir(FX_ROOTFS "/host", 0755) == 0); /* the host's mount is as it was */
	rmdir(FX_ROOTFS "/early");
	f.ns_flags = CLONE_NEWUSER;
	fx_maps(&f);
	fx_ok(&f, check_readonly);
}

/* ---- propagation ---- */

/* host_sees: does a mount that the container makes in the bind at /vol show up on the host's side?
 * container_sees: the other way round? */
static int host_pipe[2], container_pipe[2];

static void check_volume(struct fx *f, struct mount_plan *p)
{
	char c = 0;

	if (fx_enter(f, p) < 0)
		return;
	CHECK(mount("c", "/vol/fromc", "ramfs", 0, NULL) == 0);
	CHECK(mount("c", "/own", "ramfs", 0, NULL) == 0);
	CHECK(write(container_pipe[1], &c, 1) == 1);
	CHECK(read(host_pipe[0], &c, 1) == 1);
	c = fx_fstype(AT_FDCWD, "/vol/fromh") == RAMFS_MAGIC;
	CHECK(write(container_pipe[1], &c, 1) == 1);
}

static void propagates(struct fx *f, bool host_sees, bool container_sees)
{
	char c;
	pid_t pid;

	CHECK(pipe2(host_pipe, O_CLOEXEC) == 0 && pipe2(container_pipe, O_CLOEXEC) == 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		fx_ok(f, check_volume);
		fflush(stdout);
		_exit(test_failed);
	}
	close(container_pipe[1]); /* so that a child that failed ends the wait */
	CHECK(read(container_pipe[0], &c, 1) == 1);
	CHECK_INT(fx_fstype(AT_FDCWD, FX_DIR "/vol/fromc") == RAMFS_MAGIC, host_sees);
	CHECK(fx_fstype(AT_FDCWD, FX_ROOTFS "/own") != RAMFS_MAGIC);
	CHECK(fx_fstype(AT_FDCWD, FX_ROOTFS "/vol") == TMPFS_MAGIC);
	CHECK(mount("h", FX_DIR "/vol/fromh", "ramfs", 0, NULL) == 0);
	CHECK(write(host_pipe[1], "", 1) == 1);
	CHECK(read(container_pipe[0], &c, 1) == 1);
	CHECK_INT(c, container_sees);
	CHECK_INT(fx_wait(pid), 0);
	umount2(FX_DIR "/vol/fromh", MNT_DETACH);
	umount2(FX_DIR "/vol/fromc", MNT_DETACH);
	CHECK_STR(fx_mountinfo(procfd(), FX_ROOTFS "/vol"), "");
	close(host_pipe[0]);
	close(host_pipe[1]);
	close(container_pipe[0]);
}

static void volume(struct fx *f, enum spec_propagation root, const char *option)
{
	fx_init(f);
	f->s.rootfs_propagation = root;
	fx_mount(f, "/vol", "bind", "vol", "rbind", option, NULL);
}

static void in_propagation(void)
{
	static const struct {
		enum spec_propagation root;
		const char *option;
		bool host, container;
	} cases[] = {
		{ PROP_DEFAULT, NULL, false, true },
		{ PROP_RSLAVE, NULL, false, true },
		{ PROP_RPRIVATE, NULL, false, false },
		{ PROP_PRIVATE, "rslave", false, false },
		{ PROP_DEFAULT, "rprivate", false, false },
		{ PROP_DEFAULT, "rshared", false, true }, /* a slave that shares on */
		{ PROP_RSHARED, NULL, true, true },
		{ PROP_RSHARED, "rshared", true, true },
		{ PROP_SHARED, "rslave", false, true },
		{ PROP_RSHARED, "private", false, false },
		{ PROP_RUNBINDABLE, NULL, false, false },
	};

	fx_dir(FX_DIR "/vol");
	fx_dir(FX_DIR "/vol/fromc");
	fx_dir(FX_DIR "/vol/fromh");
	fx_dir(FX_ROOTFS "/vol");
	fx_dir(FX_ROOTFS "/own");
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fx f;

		volume(&f, cases[i].root, cases[i].option);
		propagates(&f, cases[i].host, cases[i].container);
		if (test_failed) {
			printf("# case %zu\n", i);
			return;
		}
	}
}

static void check_root_shared(struct fx *f, struct mount_plan *p)
{
	int proc = procfd();

	if (fx_enter(f, p) == 0) {
		CHECK_HAS(fx_mountinfo(proc, "/"), "shared:");
		CHECK_HAS(fx_mountinfo(proc, "/own"), "shared:");
	}
}

static void check_root_slave(struct fx *f, struct mount_plan *p)
{
	int proc = procfd();

	if (fx_enter(f, p) == 0) {
		CHECK_HAS(fx_mountinfo(proc, "/"), "master:");
		CHECK(!strstr(fx_mountinfo(proc, "/"), "shared:"));
	}
}

static void check_root_private(struct fx *f, struct mount_plan *p)
{
	int proc = procfd();

	if (fx_enter(f, p) == 0) {
		CHECK(!strstr(fx_mountinfo(proc, "/"), "master:"));
		CHECK(!strstr(fx_mountinfo(proc, "/"), "shared:"));
	}
}

static void check_root_unbindable(struct fx *f, struct mount_plan *p)
{
	int proc = procfd();

	if (fx_enter(f, p) == 0)
		CHECK_HAS(fx_mountinfo(proc, "/"), "unbindable");
}

static void in_root_propagation(void)
{
	static const struct {
		enum spec_propagation root;
		fx_check *check;
	} cases[] = {
		{ PROP_DEFAULT, check_root_slave },
		{ PROP_SLAVE, check_root_slave },
		{ PROP_RSHARED, check_root_shared },
		{ PROP_PRIVATE, check_root_private },
		{ PROP_UNBINDABLE, check_root_unbindable },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct fx f;

		fx_init(&f);
		f.s.rootfs_propagation = cases[i].root;
		fx_mount(&f, "/own", "tmpfs", NULL, NULL);
		fx_ok(&f, cases[i].check);
	}
}

#define SANDBOXED(name)                \
	TEST(name)                     \
	{                              \
		fx_sandbox(in_##name); \
	}
SANDBOXED(pivot)
SANDBOXED(attached_at_its_path)
SANDBOXED(no_pivot)
SANDBOXED(root_must_be_a_directory)
SANDBOXED(readonly)
SANDBOXED(propagation)
SANDBOXED(root_propagation)

TEST_MAIN(T(pivot), T(attached_at_its_path), T(no_pivot), T(root_must_be_a_directory), T(readonly),
    T(propagation), T(root_propagation))
