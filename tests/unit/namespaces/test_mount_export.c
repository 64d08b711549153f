/* Sources from the tree that a host exports to its virtual machine. */
#include "tests/unit/namespaces/mount_fixture.h"

#define EXPORT FX_DIR "/export"

static void three_mounts(struct fx *f)
{
	fx_init(f);
	f->s.root.path = "/nowhere/rootfs";
	fx_mount(f, "/tmp", "tmpfs", "tmpfs", NULL);
	fx_mount(f, "/data", "bind", "/nowhere/data", "rbind", "ro", NULL);
	fx_mount(f, "/file", "bind", "/nowhere/file", "bind", "idmap", NULL);
	fx_maps(f);
}

static int use(struct fx *f, const uint32_t *indices, size_t n)
{
	_cleanup_mount_plan_ struct mount_plan *p = NULL;
	int r = mount_plan_new(&f->s, &p, &f->e);

	return r < 0 ? r : mount_plan_use_export(p, EXPORT, indices, n, &f->e);
}

TEST(every_bind_is_exported)
{
	struct fx f;

	three_mounts(&f);
	CHECK_INT(use(&f, (const uint32_t[]){ 2, 1 }, 2), 0);
	three_mounts(&f);
	CHECK_INT(use(&f, (const uint32_t[]){ 2 }, 1), -EINVAL);
	CHECK_HAS(f.e.msg, ".mounts[1].source: the host does not export it");
	three_mounts(&f);
	CHECK_INT(use(&f, (const uint32_t[]){ 0, 1, 2 }, 3), -EINVAL);
	CHECK_HAS(f.e.msg, "exports[0]: .mounts[0] is no bind mount");
	three_mounts(&f);
	CHECK_INT(use(&f, (const uint32_t[]){ 1, 2, 3 }, 3), -EINVAL);
	CHECK_HAS(f.e.msg, "exports[2]: .mounts[3]");
}

static void open_from_export(void)
{
	_cleanup_mount_plan_ struct mount_plan *p = NULL;
	struct stat st;
	struct fx f;

	fx_dir(EXPORT);
	fx_dir(EXPORT "/rootfs");
	fx_dir(EXPORT "/m");
	fx_dir(EXPORT "/m/1");
	fx_file(EXPORT "/m/1/seen", "x");
	fx_file(EXPORT "/m/2", "x");
	fx_file(EXPORT "/rootfs/here", "x");
	three_mounts(&f);
	CHECK_INT(mount_plan_new(&f.s, &p, &f.e), 0);
	CHECK_INT(mount_plan_use_export(p, EXPORT, (const uint32_t[]){ 1, 2 }, 2, &f.e), 0);
	/* An id-mapped mount of tmpfs would be made, or refused: the host has done that. */
	CHECK(!p->v[2].idmap);
	CHECK_INT(mount_plan_open_sources(p, &f.e), 0);
	CHECK_STR(f.e.msg, "");
	CHECK_INT(fstatat(p->root_fd, "here", &st, 0), 0);
	CHECK_INT(fstatat(p->v[1].fd, "seen", &st, 0), 0);
	CHECK_INT(p->v[2].fmt, S_IFREG);
}

TEST(sources_are_the_exports)
{
	fx_sandbox(open_from_export);
}

TEST_MAIN(T(every_bind_is_exported), T(sources_are_the_exports))
