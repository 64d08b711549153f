/* Mounts as a container sees them, and what a hostile rootfs can do about it. Root only. */
#include <linux/magic.h>

#include "tests/unit/namespaces/mount_fixture.h"

static int procfd(void)
{
	return open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* What the child sees at path once it is in the container. */
#define INFO_HAS(path, want) CHECK_HAS(fx_mountinfo(proc, path), want)
#define INFO_LACKS(path, bad)                                           \
	do {                                                            \
		const char *i_ = fx_mountinfo(proc, path);              \
		if (strstr(i_, bad)) {                                  \
			printf("# %s has \"%s\": %s\n", path, bad, i_); \
			test_failed = 1;                                \
		}                                                       \
	} while (0)

static void check_default(struct fx *f, struct mount_plan *p)
{
	int proc = procfd();

	if (fx_enter(f, p) < 0)
		return;
	INFO_HAS("/proc", "rw,relatime - proc proc rw");
	INFO_HAS("/dev", "rw,nosuid - tmpfs tmpfs rw,size=65536k,mode=755");
	INFO_HAS("/dev/pts", "rw,nosuid,noexec,relatime - devpts devpts rw,gid=");
	INFO_HAS("/dev/pts", "5,mode=620,ptmxmode=666");
	INFO_HAS("/dev/shm", "rw,nosuid,nodev,noexec,relatime - tmpfs shm rw,size=65536k");
	INFO_HAS("/dev/mqueue", "rw,nosuid,nodev,noexec,relatime - mqueue mqueue");
	INFO_HAS("/sys", "ro,nosuid,nodev,noexec,relatime - sysfs sysfs");
	INFO_HAS("/sys/fs/cgroup", "ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup");
	CHECK(access("/proc/1", F_OK) == 0);
	CHECK(access("/etc/passwd", F_OK) < 0);
	CHECK(access("/.fx", F_OK) == 0);
}

static void default_mounts(struct fx *f)
{
	fx_init(f);
	f->ns_flags = CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP;
	fx_mount(f, "/proc", "proc", "proc", NULL);
	fx_mount(
	    f, "/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k", NULL);
	fx_mount(f, "/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance",
	    "ptmxmode=0666", "mode=0620", "gid=5", NULL);
	fx_mount(f, "/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777",
	    "size=65536k", NULL);
	fx_mount(f, "/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev", NULL);
	fx_mount(f, "/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro", NULL);
	fx_mount(f, "/sys/fs/cgroup", "cgroup", "cgroup", "nosuid", "noexec", "nodev", "relatime",
	    "ro", NULL);
	fx_file(FX_ROOTFS "/.fx", "");
}

static void in_default_config(void)
{
	struct fx f;

	default_mounts(&f);
	fx_ok(&f, check_default);
	/* Nothing came back to what stands for the host. */
	CHECK(fx_fstype(AT_FDCWD, FX_ROOTFS "/proc") == TMPFS_MAGIC);
	CHECK_STR(fx_mountinfo(procfd(), FX_ROOTFS "/proc"), "");
}

static void in_default_config_userns(void)
{
	struct fx f;

	default_mounts(&f);
	f.ns_flags |= CLONE_NEWUSER;
	fx_maps(&f);
	fx_chown(FX_ROOTFS, 100000, 100000);
	fx_ok(&f, check_default); /* and FX_DIR is 0700 of somebody else */
	f.opts[2][5] = (char *)"gid=100000";
	CHECK(fx_run(&f, NULL) < 0);
	CHECK_HAS(f.e.msg, ".mounts[2]");
	CHECK_HAS(f.e.msg, "gid");
	CHECK_HAS(f.e.msg, "may not map gid 100000");
}

static void in_sysfs_without_netns(void)
{
	struct fx f;

	fx_init(&f);
	f.ns_flags = CLONE_NEWUSER;
	fx_maps(&f);
	fx_chown(FX_ROOTFS, 100000, 100000);
	fx_mount(&f, "/sys", "sysfs", "sysfs", NULL);
	CHECK_INT(fx_run(&f, NULL), -EPERM);
	CHECK_HAS(f.e.msg, "rbind");
	f.m[0].type = "proc";
	f.m[0].destination = "/proc";
	CHECK_INT(fx_run(&f, NULL), -EPERM);
	CHECK_HAS(f.e.msg, "pid namespace");
}

static void in_kernel_explains(void)
{
	struct fx f;

	fx_init(&f);
	fx_mount(&f, "/t", "tmpfs", "tmpfs", "size=abc", NULL);
	CHECK_INT(fx_run(&f, NULL), -EINVAL);
	CHECK_HAS(
	    f.e.msg, ".mounts[0]: new tmpfs for \"/t\": option \"size=abc\": tmpfs: Bad value");
	f.opts[0][0] = (char *)"frobnicate";
	CHECK_INT(fx_run(&f, NULL), -EINVAL);
	CHECK_HAS(f.e.msg, "Unknown parameter 'frobnicate'");
	f.m[0].options.n = 0;
	f.m[0].type = "nosuchfs";
	CHECK_INT(fx_run(&f, NULL), -ENODEV);
	CHECK_HAS(f.e.msg, "knows no such filesystem");
	f.m[0].type = "bind";
	f.m[0].source = "missing/here";
	CHECK_INT(fx_run(&f, NULL), -ENOENT);
	CHECK_HAS(f.e.msg, ".mounts[0].source: \"" FX_DIR "/missing/here\": no such file");
}

/* ---- binds ---- */

static void check_binds(struct fx *f, struct mount_plan *p)
{
	int proc = procfd();
	struct stat st;

	if (fx_enter(f, p) < 0)
		return;
	INFO_HAS("/ro", "ro,nosuid,nodev,relatime");
	INFO_HAS("/plain", "rw,nosuid,relatime");
	INFO_HAS("/plain/sub", "rw,relatime");
	INFO_HAS("/suid", "rw,relatime");
	INFO_HAS("/rro", "ro,nosuid,relatime");
	INFO_HAS("/rro/sub", "ro,relatime");
	INFO_HAS("/noatime", "rw,nosuid,noatime,nodiratime");
	INFO_HAS("/file/new", "ro,nosuid");
	CHECK_STR(fx_mountinfo(proc, "/ro/sub"), "");
	CHECK(stat("/file/new", &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 2);
	CHECK(open("/ro/x", O_CREAT | O_WRONLY, 0600) < 0 && errno == EROFS);
	CHECK(open("/rro/sub/x", O_CREAT | O_WRONLY, 0600) < 0 && errno == EROFS);
	CHECK(open("/plain/x", O_CREAT | O_WRONLY, 0600) >= 0);
	CHECK(stat("/sock", &st) == 0 && S_ISFIFO(st.st_mode));
}

static void in_binds(void)
{
	struct fx f;

	fx_dir(FX_DIR "/src");
	mount("src", FX_DIR "/src", "tmpfs", MS_NOSUID, NULL);
	fx_dir(FX_DIR "/src/sub");
	mount("sub", FX_DIR "/src/sub", "tmpfs", 0, NULL);
	fx_file(FX_DIR "/src/f", "f\n");
	mkfifo(FX_DIR "/src/fifo", 0600);
	fx_init(&f);
	fx_mount(&f, "/ro", "bind", FX_DIR "/src", "bind", "ro", "nodev", NULL);
	fx_mount(&f, "/plain", "none", FX_DIR "/src", "rbind", "rprivate", NULL);
	fx_mount(&f, "/suid", "bind", "src", "bind", "suid", NULL);
	fx_mount(&f, "/rro", "bind", "src", "rbind", "rro", NULL);
	fx_mount(&f, "/noatime", "bind", "src", "bind", "noatime", "nodiratime", NULL);
	fx_mount(&f, "/file/new", "bind", "src/f", "bind", "ro", NULL);
	fx_mount(&f, "/sock", "bind", "src/fifo", "bind", NULL);
	fx_ok(&f, check_binds);

	fx_init(&f);
	fx_file(FX_ROOTFS "/isfile", "");
	fx_mount(&f, "/isfile", "bind", "src", "bind", NULL);
	CHECK_INT(fx_run(&f, NULL), -ENOTDIR);
	CHECK_HAS(f.e.msg, ".mounts[0].destination: \"/isfile\": not a directory");
	f.m[0].source = "src/f";
	f.m[0].destination = "/file";
	CHECK_INT(fx_run(&f, NULL), -EISDIR);
}

/* Sources opened in the user namespace carry the host's flags locked. */
static void check_locked(struct fx *f, struct mount_plan *unused)
{
	_cleanup_mount_plan_ struct mount_plan *p = NULL;
	int proc = procfd();
	struct fx g;
	int r;

	fx_init(&g);
	fx_mount(&g, "/ro", "bind", FX_DIR "/src", "bind", "ro", NULL);
	CHECK_INT(mount_plan_new(&g.s, &p, &g.e), 0);
	r = mount_plan_open_sources(p, &g.e);
	if (r < 0)
		printf("# %s\n", g.e.msg);
	CHECK_INT(r, 0);
	CHECK_INT(rootfs_attach(p, false, &g.env.rootfd, &g.e), 0);
	CHECK_INT(mounts_apply(p, &g.env, &g.e), 0);
	if (fx_enter(&g, p) < 0)
		return;
	INFO_HAS("/ro", "ro,nosuid,nodev,noexec,noatime");
}

static void check_locked_clear(struct fx *f, struct mount_plan *unused)
{
	_cleanup_mount_plan_ struct mount_plan *p = NULL;
	struct fx g;

	fx_init(&g);
	fx_mount(&g, "/x", "bind", FX_DIR "/src", "bind", "suid", NULL);
	CHECK_INT(mount_plan_new(&g.s, &p, &g.e), 0);
	CHECK_INT(mount_plan_open_sources(p, &g.e), -EPERM);
	CHECK_HAS(g.e.msg, "cannot be taken off");
}

static void in_locked_flags(void)
{
	struct fx f;

	fx_dir(FX_DIR "/src");
	mount("src", FX_DIR "/src", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME, NULL);
	chmod(FX_DIR, 0755);
	fx_chown(FX_ROOTFS, 100000, 100000);
	fx_init(&f);
	f.ns_flags = CLONE_NEWUSER;
	fx_maps(&f);
	/* The inner plan's root is the outer one's, attached at its path. */
	fx_ok(&f, check_locked);
	fx_ok(&f, check_locked_clear);
}

static void check_links(struct fx *f, struct mount_plan *p)
{
	char buf[64] = "";
	struct stat st;

	if (fx_enter(f, p) < 0)
		return;
	CHECK(readlink("/copied", buf, sizeof(buf) - 1) > 0);
	CHECK_STR(buf, "f");
	CHECK(lstat("/link", &st) == 0 && S_ISLNK(st.st_mode)); /* itself mounted on the link */
	CHECK(readlink("/link", buf, sizeof(buf) - 1) > 0);
	CHECK_STR(buf, "f");
	CHECK(lstat("/copyfile", &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 2);
}

static void in_link_extensions(void)
{
	struct fx f;

	fx_dir(FX_DIR "/src");
	fx_file(FX_DIR "/src/f", "f\n");
	CHECK(symlink("f", FX_DIR "/src/link") == 0);
	CHECK(symlink("elsewhere", FX_ROOTFS "/link") == 0);
	fx_init(&f);
	fx_mount(&f, "/copied", "bind", "src/link", "bind", "copy-symlink", NULL);
	fx_mount(&f, "/link", "bind", "src/link", "bind", "src-nofollow", "dest-nofollow", NULL);
	fx_mount(&f, "/copyfile", "bind", "src/f", "bind", "copy-symlink", NULL);
	fx_ok(&f, check_links);
	fx_ok(&f, check_links); /* the link is there already */
	unlink(FX_ROOTFS "/copied");
	CHECK(symlink("other", FX_ROOTFS "/copied") == 0);
	CHECK_INT(fx_run(&f, NULL), -EEXIST);
	CHECK_HAS(f.e.msg, "copy-symlink");
}

/* ---- hostile symlinks ---- */

static void check_inside(struct fx *f, struct mount_plan *p)
{
	int root = f->env.rootfd;

	CHECK(fx_fstype(root, "etc/in") == RAMFS_MAGIC);
	CHECK(fx_fstype(root, "etc") == RAMFS_MAGIC);
	CHECK(fx_fstype(root, "run/systemd/resolv") == RAMFS_MAGIC);
	CHECK(fx_fstype(root, "deep/made") == RAMFS_MAGIC);
}

static void in_links_stay_inside(void)
{
	struct fx f;

	fx_dir(FX_ROOTFS "/etc");
	fx_dir(FX_ROOTFS "/dangling");
	CHECK(symlink("/etc", FX_ROOTFS "/abs") == 0);
	CHECK(symlink("../../../../../../etc", FX_ROOTFS "/up") == 0);
	CHECK(symlink("../run/systemd/resolv", FX_ROOTFS "/dangling/resolv") == 0);
	CHECK(symlink("/../../deep", FX_ROOTFS "/dangling/deep") == 0);
	CHECK(symlink("loop", FX_ROOTFS "/loop") == 0);
	fx_init(&f);
	fx_mount(&f, "/up", "ramfs", NULL, NULL);
	fx_mount(&f, "/abs/in", "ramfs", NULL, NULL);
	fx_mount(&f, "/dangling/resolv", "ramfs", NULL, NULL);
	fx_mount(&f, "/dangling/deep/made", "ramfs", NULL, NULL);
	fx_ok(&f, check_inside);
	CHECK(access("/run/systemd/resolv", F_OK) < 0);
	CHECK(access("/deep", F_OK) < 0);
	fx_init(&f);
	fx_mount(&f, "/loop", "ramfs", NULL, NULL);
	CHECK_INT(fx_run(&f, NULL), -ELOOP);
	f.m[0].destination = "/loop/x";
	CHECK_INT(fx_run(&f, NULL), -ELOOP);
}

static void refuse_at(const char *dest, const char *type, const char *what)
{
	struct fx f;

	fx_init(&f);
	fx_mount(&f, dest, type, type, NULL);
	CHECK_INT(fx_run(&f, NULL), -ELOOP);
	CHECK_HAS(f.e.msg, what);
}

static void in_symlinked_proc(void)
{
	struct fx f;

	fx_dir(FX_ROOTFS "/fake");
	CHECK(symlink("/fake", FX_ROOTFS "/proc") == 0);
	CHECK(symlink("fake", FX_ROOTFS "/sys") == 0);
	CHECK(symlink("nowhere", FX_ROOTFS "/gone") == 0);
	refuse_at("/proc", "proc", "symbolic link");
	refuse_at("/sys", "sysfs", "symbolic link");
	refuse_at("/sys", "tmpfs", "symbolic link");
	refuse_at("/gone", "proc", "symbolic link");
	/* a link into the procfs that is mounted by then */
	unlink(FX_ROOTFS "/proc");
	CHECK(symlink("proc/self/attr", FX_ROOTFS "/att") == 0);
	CHECK(symlink("proc", FX_ROOTFS "/p") == 0);
	fx_init(&f);
	f.ns_flags = CLONE_NEWPID;
	fx_mount(&f, "/proc", "proc", "proc", NULL);
	fx_mount(&f, "/att", "tmpfs", NULL, NULL);
	CHECK_INT(fx_run(&f, NULL), -ELOOP);
	CHECK_HAS(f.e.msg, "leads into /proc");
	f.m[1].destination = "/p";
	CHECK_INT(fx_run(&f, NULL), -ELOOP);
	f.m[1].destination = "/p/sys";
	CHECK_INT(fx_run(&f, NULL), -ELOOP);
}

static void check_proc_file(struct fx *f, struct mount_plan *p)
{
	char buf[8] = "";
	_cleanup_close_ int fd = openat(f->env.rootfd, "proc/meminfo", O_RDONLY | O_CLOEXEC);

	CHECK(read(fd, buf, sizeof(buf) - 1) == 2);
	CHECK_STR(buf, "f\n");
}

static void in_proc_binds(void)
{
	struct fx f;

	fx_init(&f);
	fx_file(FX_DIR "/f", "f\n");
	fx_mount(&f, "/proc", "none", "/proc", "rbind", NULL);
	fx_mount(&f, "/proc/meminfo", "bind", FX_DIR "/f", "bind", NULL);
	fx_ok(&f, check_proc_file);
	f.m[0].source = FX_DIR;
	CHECK_INT(fx_run(&f, NULL), -EINVAL);
	CHECK_HAS(f.e.msg, "not the root of a procfs");
	f.m[0].source = "/proc/self";
	CHECK_INT(fx_run(&f, NULL), -EINVAL);
}

static void check_dev_link(struct fx *f, struct mount_plan *p)
{
	CHECK(fx_fstype(f->env.rootfd, "realdev") == RAMFS_MAGIC);
	CHECK(fx_fstype(f->env.rootfd, "realdev/pts") == DEVPTS_SUPER_MAGIC);
}

static void in_symlinked_dev(void)
{
	struct fx f;

	fx_dir(FX_ROOTFS "/realdev");
	CHECK(symlink("/../realdev", FX_ROOTFS "/dev") == 0);
	fx_init(&f);
	fx_mount(&f, "/dev", "ramfs", NULL, NULL);
	fx_mount(&f, "/dev/pts", "devpts", NULL, "newinstance", NULL);
	fx_ok(&f, check_dev_link);
	CHECK(access("/realdev", F_OK) < 0);
}

/* The target turns out not to be what the destination leads to. */
static void check_elsewhere(struct fx *f, struct mount_plan *p)
{
	_cleanup_close_ int other = openat(f->env.rootfd, "other", O_PATH | O_CLOEXEC);
	_cleanup_close_ int fsfd = sys_fsopen("ramfs", FSOPEN_CLOEXEC);
	_cleanup_close_ int mfd = -EBADF;

	sys_fsconfig(fsfd, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
	mfd = sys_fsmount(fsfd, FSMOUNT_CLOEXEC, 0);
	CHECK_INT(mount_place(&p->v[0], f->env.rootfd, mfd, other, NULL, &f->e), -EXDEV);
	CHECK_HAS(f->e.msg, "changed under the mount");
	err_clear(&f->e);
}

/* While somebody swaps the target with another directory all the time, a mount is placed or
 * refused, and nothing else happens. */
static void in_swapped_target(void)
{
	int placed = 0, refused = 0;
	struct fx f;
	pid_t pid;

	fx_dir(FX_ROOTFS "/swap");
	fx_dir(FX_ROOTFS "/other");
	fx_init(&f);
	fx_mount(&f, "/swap", "ramfs", NULL, NULL);
	fx_ok(&f, check_elsewhere);
	pid = fork();
	if (pid == 0)
		for (;;)
			syscall(SYS_renameat2, AT_FDCWD, FX_ROOTFS "/swap", AT_FDCWD,
			    FX_ROOTFS "/other", 2 /* RENAME_EXCHANGE */);
	for (int i = 0; i < 200; i++) {
		int r = fx_run(&f, NULL);

		placed += r == 0;
		refused += r == -EXDEV;
	}
	kill(pid, SIGKILL);
	fx_wait(pid);
	CHECK_INT(placed + refused, 200);
}

/* ---- cgroup and remount ---- */

static void check_cgroup_bind(struct fx *f, struct mount_plan *p)
{
	int proc = procfd();
	struct stat want, got;

	CHECK(fstat(f->env.cgroup_dirfd, &want) == 0);
	if (fx_enter(f, p) < 0)
		return;
	CHECK(stat("/cg", &got) == 0 && got.st_ino == want.st_ino && got.st_dev == want.st_dev);
	INFO_HAS("/cg", "ro,nosuid,relatime - cgroup2");
	INFO_HAS("/cgrw", "rw,relatime - cgroup2");
}

static void in_cgroup_bind(void)
{
	struct fx f;

	fx_dir(FX_DIR "/cg");
	if (mount("none", FX_DIR "/cg", "cgroup2", 0, NULL) < 0) {
		printf("# SKIP cgroup2 cannot be mounted: %m\n");
		return;
	}
	fx_dir(FX_DIR "/cg/bailey-test-mounts");
	fx_init(&f);
	f.env.procfd = procfd();
	fx_mount(&f, "/cg", "cgroup", "cgroup", "nosuid", NULL);
	fx_mount(&f, "/cgrw", "cgroup2", "cgroup", "rw", NULL);
	CHECK_INT(fx_run(&f, NULL), -ENOENT);
	CHECK_HAS(f.e.msg, "neither a cgroup namespace nor");
	f.env.cgroup_dirfd =
	    open(FX_DIR "/cg/bailey-test-mounts", O_PATH | O_DIRECTORY | O_CLOEXEC);
	fx_ok(&f, check_cgroup_bind);
	rmdir(FX_DIR "/cg/bailey-test-mounts");
}

static void check_remount(struct fx *f, struct mount_plan *p)
{
	int proc = procfd();

	if (fx_enter(f, p) < 0)
		return;
	INFO_HAS("/r", "ro,nosuid,noexec,relatime - ramfs");
}

static void in_remount(void)
{
	struct fx f;

	fx_dir(FX_ROOTFS "/plain");
	fx_init(&f);
	fx_mount(&f, "/r", "ramfs", NULL, "nosuid", NULL);
	fx_mount(&f, "/r", NULL, NULL, "remount", "ro", "noexec", NULL);
	fx_mount(&f, "/r/sub", "ramfs", NULL, NULL); /* still writable */
	fx_ok(&f, check_remount);
	f.m[1].destination = "/plain";
	CHECK_INT(fx_run(&f, NULL), -EINVAL);
	CHECK_HAS(f.e.msg, "nothing is mounted there");
}

#define SANDBOXED(name)                \
	TEST(name)                     \
	{                              \
		fx_sandbox(in_##name); \
	}
SANDBOXED(default_config)
SANDBOXED(default_config_userns)
SANDBOXED(sysfs_without_netns)
SANDBOXED(kernel_explains)
SANDBOXED(binds)
SANDBOXED(locked_flags)
SANDBOXED(link_extensions)
SANDBOXED(links_stay_inside)
SANDBOXED(symlinked_proc)
SANDBOXED(proc_binds)
SANDBOXED(symlinked_dev)
SANDBOXED(swapped_target)
SANDBOXED(cgroup_bind)
SANDBOXED(remount)

TEST_MAIN(T(default_config), T(default_config_userns), T(sysfs_without_netns), T(kernel_explains),
    T(binds), T(locked_flags), T(link_extensions), T(links_stay_inside), T(symlinked_proc),
    T(proc_binds), T(symlinked_dev), T(swapped_target), T(cgroup_bind), T(remount))
