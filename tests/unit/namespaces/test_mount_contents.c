/* What is in a mount: a tmpfs's mode and copied contents, id-mapped owners. Root only. */
#include <linux/magic.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "tests/unit/namespaces/mount_fixture.h"

/* ---- tmpfs ---- */

static void check_tmpfs(struct fx *f, struct mount_plan *p)
{
	struct stat st;

	CHECK(fstatat(f->env.rootfd, "have", &st, 0) == 0);
	CHECK_INT(st.st_mode & 07777, 01750);
	CHECK(fstatat(f->env.rootfd, "asked", &st, 0) == 0);
	CHECK_INT(st.st_mode & 07777, 0700);
	CHECK(fstatat(f->env.rootfd, "new", &st, 0) == 0);
	CHECK_INT(st.st_mode & 07777, 01777);
}

static void in_tmpfs_mode(void)
{
	struct fx f;

	fx_dir(FX_ROOTFS "/have");
	chmod(FX_ROOTFS "/have", 01750);
	fx_dir(FX_ROOTFS "/asked");
	fx_init(&f);
	fx_mount(&f, "/have", "tmpfs", "tmpfs", NULL);
	fx_mount(&f, "/asked", "tmpfs", "tmpfs", "mode=0700", NULL);
	fx_mount(&f, "/new", "tmpfs", "tmpfs", NULL);
	fx_ok(&f, check_tmpfs);
}

static void check_copyup(struct fx *f, struct mount_plan *p)
{
	_cleanup_close_ int d = openat(f->env.rootfd, "up", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char buf[64] = "";
	struct stat st;

	CHECK(fx_fstype(f->env.rootfd, "up") == TMPFS_MAGIC);
	CHECK(fstatat(d, "f", &st, 0) == 0);
	CHECK_INT(st.st_mode & 07777, 04751);
	CHECK_INT(st.st_uid, 7);
	CHECK_INT(st.st_gid, 8);
	CHECK_INT(st.st_mtim.tv_sec, 1000);
	CHECK_INT(st.st_size, 2);
	CHECK(fstatat(d, "sub", &st, 0) == 0);
	CHECK_INT(st.st_mode & 07777, 0500);
	CHECK_INT(st.st_mtim.tv_sec, 2000);
	CHECK(fstatat(d, "sub/fifo", &st, 0) == 0 && S_ISFIFO(st.st_mode));
	CHECK(fstatat(d, "sub/null", &st, 0) == 0 && st.st_rdev == makedev(1, 3));
	CHECK_INT(st.st_mode & 07777, 0606);
	CHECK(readlinkat(d, "link", buf, sizeof(buf) - 1) > 0);
	CHECK_STR(buf, "/etc/passwd");
	CHECK(fstatat(d, "link", &st, AT_SYMLINK_NOFOLLOW) == 0);
	CHECK_INT(st.st_uid, 9);
	CHECK(fstatat(d, "mnt/secret", &st, 0) < 0); /* what is mounted is not the rootfs's */
	CHECK(fstatat(d, "mnt", &st, 0) == 0);
	_cleanup_close_ int fd = openat(d, "f", O_RDONLY | O_CLOEXEC);
	CHECK(fgetxattr(fd, "trusted.fx", buf, sizeof(buf)) == 3 && memcmp(buf, "abc", 3) == 0);
	CHECK(faccessat(d, "w", W_OK, 0) < 0);
	CHECK(mknodat(d, "w", S_IFREG | 0600, 0) == 0); /* read-only comes last */
	CHECK_INT(rootfs_finish(p, f->env.rootfd, &f->e), 0);
	CHECK(openat(d, "w2", O_CREAT | O_WRONLY | O_CLOEXEC, 0600) < 0 && errno == EROFS);
}

static void in_tmpcopyup(void)
{
	const struct timespec t1[2] = { { 1000, 0 }, { 1000, 0 } },
			      t2[2] = { { 2000, 0 }, { 2000, 0 } };
	struct fx f;

	fx_dir(FX_ROOTFS "/up");
	fx_dir(FX_ROOTFS "/up/sub");
	fx_dir(FX_ROOTFS "/up/mnt");
	mount("m", FX_ROOTFS "/up/mnt", "tmpfs", 0, NULL);
	fx_file(FX_ROOTFS "/up/mnt/secret", "");
	fx_file(FX_ROOTFS "/up/f", "f\n");
	fx_chown(FX_ROOTFS "/up/f", 7, 8);
	chmod(FX_ROOTFS "/up/f", 04751);
	CHECK(setxattr(FX_ROOTFS "/up/f", "trusted.fx", "abc", 3, 0) == 0);
	utimensat(AT_FDCWD, FX_ROOTFS "/up/f", t1, 0);
	CHECK(symlink("/etc/passwd", FX_ROOTFS "/up/link") == 0);
	fx_chown(FX_ROOTFS "/up/link", 9, 9);
	mkfifo(FX_ROOTFS "/up/sub/fifo", 0600);
	CHECK(mknod(FX_ROOTFS "/up/sub/null", S_IFCHR | 0600, makedev(1, 3)) == 0);
	chmod(FX_ROOTFS "/up/sub/null", 0606);
	chmod(FX_ROOTFS "/up/sub", 0500);
	utimensat(AT_FDCWD, FX_ROOTFS "/up/sub", t2, 0);
	fx_init(&f);
	fx_mount(&f, "/up", "tmpfs", "tmpfs", "tmpcopyup", "ro", NULL);
	fx_ok(&f, check_copyup);
	fx_mount(&f, "/notthere", "tmpfs", "tmpfs", "tmpcopyup", NULL);
	fx_ok(&f, NULL);
	f.opts[0][2] = (char *)"nr_inodes=3";
	f.m[0].options.n = 3;
	CHECK_INT(fx_run(&f, NULL), -ENOSPC);
	CHECK_HAS(f.e.msg, ".mounts[0]: tmpcopyup: /up: ");
}

/* ---- id mappings ---- */

static void check_idmap(struct fx *f, struct mount_plan *p)
{
	struct stat st;

	CHECK(fstatat(f->env.rootfd, "id/f", &st, 0) == 0);
	CHECK_INT(st.st_uid, 5005);
	CHECK_INT(st.st_gid, 6006);
	CHECK(fstatat(f->env.rootfd, "id/sub/f", &st, 0) == 0);
	CHECK_INT(st.st_uid, 5);
	CHECK(fstatat(f->env.rootfd, "rid/sub/f", &st, 0) == 0);
	CHECK_INT(st.st_uid, 5005);
}

static void check_idmap_userns(struct fx *f, struct mount_plan *p)
{
	struct stat st;

	CHECK(fstatat(f->env.rootfd, "id/f", &st, 0) == 0);
	CHECK_INT(st.st_uid, 5); /* as on the disk */
	CHECK_INT(st.st_gid, 6);
}

static void in_idmap(void)
{
	struct spec_id_map u = { 0, 5000, 100 }, g = { 0, 6000, 100 };
	struct fx f;

	fx_dir(FX_DIR "/src");
	fx_dir(FX_DIR "/src/sub");
	fx_file(FX_DIR "/src/f", "");
	fx_chown(FX_DIR "/src/f", 5, 6);
	mount("sub", FX_DIR "/src/sub", "tmpfs", 0, NULL);
	fx_file(FX_DIR "/src/sub/f", "");
	fx_chown(FX_DIR "/src/sub/f", 5, 6);
	fx_init(&f);
	fx_mount(&f, "/id", "bind", "src", "rbind", NULL);
	fx_mount(&f, "/rid", "bind", "src", "rbind", "ridmap", NULL);
	for (int i = 0; i < 2; i++) {
		f.m[i].uid_mappings = (struct spec_id_maps){ &u, 1 };
		f.m[i].gid_mappings = (struct spec_id_maps){ &g, 1 };
	}
	if (fx_run(&f, NULL) == -EINVAL && strstr(f.e.msg, "may not support")) {
		printf("# SKIP this kernel's tmpfs has no id-mapped mounts (Linux 6.3)\n");
		return;
	}
	fx_ok(&f, check_idmap);
	fx_init(&f);
	f.ns_flags = CLONE_NEWUSER;
	fx_maps(&f);
	fx_chown(FX_ROOTFS, 100000, 100000);
	fx_mount(&f, "/id", "bind", "src", "bind", "idmap", NULL);
	fx_ok(&f, check_idmap_userns);
	fx_mount(&f, "/p", "bind", "/proc", "bind", "idmap", NULL);
	CHECK_INT(fx_run(&f, NULL), -EINVAL);
	CHECK_HAS(f.e.msg, "may not support id-mapped");
}

#define SANDBOXED(name)                \
	TEST(name)                     \
	{                              \
		fx_sandbox(in_##name); \
	}
SANDBOXED(tmpfs_mode)
SANDBOXED(tmpcopyup)
SANDBOXED(idmap)

TEST_MAIN(T(tmpfs_mode), T(tmpcopyup), T(idmap))
