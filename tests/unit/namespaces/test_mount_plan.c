/* Options and contradictions; no privilege, no kernel call. */
#include <linux/mount.h>

#include "tests/unit/namespaces/mount_fixture.h"

static struct mount_plan *plan(struct fx *f)
{
	struct mount_plan *p = NULL;
	int r = mount_plan_new(&f->s, &p, &f->e);

	if (r < 0)
		printf("# %s\n", f->e.msg);
	CHECK_INT(r, 0);
	return p;
}

static void refused(struct fx *f, const char *why)
{
	struct mount_plan *p = NULL;

	CHECK(mount_plan_new(&f->s, &p, &f->e) < 0);
	CHECK(p == NULL);
	CHECK_HAS(f->e.msg, why);
	mount_plan_free(p);
}

#define REFUSED(why, ...)                   \
	do {                                \
		struct fx f_;               \
		fx_init(&f_);               \
		fx_mount(&f_, __VA_ARGS__); \
		refused(&f_, why);          \
	} while (0)

TEST(flags_and_data)
{
	struct fx f;

	fx_init(&f);
	fx_mount(&f, "dev//./x/../pts", "devpts", "devpts", "nosuid", "noexec", "newinstance",
	    "ptmxmode=0666", "mode=0620", "gid=5", NULL);
	fx_mount(&f, "/t", "tmpfs", "tmpfs", "nosuid,strictatime,mode=755,size=65536k", "sync",
	    "context=\"a:b:c,d\"", NULL);
	_cleanup_mount_plan_ struct mount_plan *p = plan(&f);
	if (!p)
		return;
	CHECK_STR(p->v[0].dest, "/dev/pts");
	CHECK_INT(p->v[0].kind, MOUNT_NEW);
	CHECK_INT(p->v[0].top.set, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
	CHECK_INT(p->v[0].n_params, 4);
	CHECK_STR(p->v[0].params[0].key, "newinstance");
	CHECK(p->v[0].params[0].value == NULL);
	CHECK_STR(p->v[0].params[3].key, "gid");
	CHECK_STR(p->v[0].params[3].value, "5");
	CHECK_INT(p->v[1].top.set, MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME);
	CHECK_INT(p->v[1].n_params, 4);
	CHECK_STR(p->v[1].params[1].value, "65536k");
	CHECK_STR(p->v[1].params[2].key, "sync");
	CHECK_STR(p->v[1].params[3].value, "a:b:c,d");
}

TEST(later_options_win)
{
	struct fx f;

	fx_init(&f);
	fx_mount(&f, "/a", "bind", "/x", "bind", "ro", "rw", "nosuid", NULL);
	fx_mount(&f, "/b", "bind", "/x", "bind", "rw", "ro", "noatime", "relatime", NULL);
	fx_mount(&f, "/c", NULL, "/x", "rbind", "rro", "suid", "noatime", NULL);
	_cleanup_mount_plan_ struct mount_plan *p = plan(&f);
	if (!p)
		return;
	CHECK_INT(p->v[0].top.set, MOUNT_ATTR_NOSUID);
	CHECK_INT(p->v[0].top.clr, MOUNT_ATTR_RDONLY);
	CHECK_INT(p->v[1].top.set, MOUNT_ATTR_RDONLY);
	CHECK_INT(p->v[1].top.clr, MOUNT_ATTR__ATIME);
	CHECK(p->v[2].rec_bind);
	CHECK_INT(p->v[2].rec.set, MOUNT_ATTR_RDONLY);
	CHECK_INT(p->v[2].top.set, MOUNT_ATTR_NOATIME);
	CHECK_INT(p->v[2].top.clr, MOUNT_ATTR__ATIME | MOUNT_ATTR_NOSUID);
}

TEST(propagation_in_order)
{
	struct fx f;

	fx_init(&f);
	fx_mount(&f, "/a", "bind", "/x", "rbind", "rslave", "shared", NULL);
	_cleanup_mount_plan_ struct mount_plan *p = plan(&f);
	if (!p)
		return;
	CHECK_INT(p->v[0].n_props, 2);
	CHECK_INT(p->v[0].prop[0].type, MS_SLAVE);
	CHECK(p->v[0].prop[0].rec);
	CHECK_INT(p->v[0].prop[1].type, MS_SHARED);
	CHECK(!p->v[0].prop[1].rec);
	REFUSED(".mounts[0].options: more than 4", "/a", "bind", "/x", "private", "slave", "shared",
	    "private", "slave", NULL);
}

TEST(kinds)
{
	struct fx f;

	fx_init(&f);
	fx_mount(&f, "/a", "none", "/x", "bind", NULL);
	fx_mount(&f, "/b", "bind", "/x", NULL);
	fx_mount(&f, "/c", "cgroup", "cgroup", "ro", NULL);
	fx_mount(&f, "/d", "ext4", "/x", "rbind", NULL);
	fx_mount(&f, "/c", "none", NULL, "remount", "ro", NULL);
	_cleanup_mount_plan_ struct mount_plan *p = plan(&f);
	if (!p)
		return;
	CHECK_INT(p->v[0].kind, MOUNT_BIND);
	CHECK_INT(p->v[1].kind, MOUNT_BIND);
	CHECK_INT(p->v[2].kind, MOUNT_CGROUP);
	CHECK_INT(p->v[3].kind, MOUNT_BIND);
	CHECK_INT(p->v[4].kind, MOUNT_REMOUNT);
	REFUSED(".mounts[0].type: \"none\"", "/a", "none", "/x", "ro", NULL);
	REFUSED(".mounts[0].type: missing", "/a", NULL, "/x", NULL);
	REFUSED(".mounts[0].source: missing", "/a", "bind", NULL, NULL);
	REFUSED("\"z\": unknown", "/a", "bind", "/x", "bind", "z", NULL);
	REFUSED("\"size\": unknown", "/a", "bind", "/x", "bind", "size=1", NULL);
	REFUSED("takes no size", "/a", "none", NULL, "remount", "size=1", NULL);
	REFUSED("no name before", "/a", "tmpfs", NULL, "=1", NULL);
	REFUSED("tmpcopyup is for tmpfs", "/a", "bind", "/x", "tmpcopyup", NULL);
	REFUSED("tmpcopyup is for tmpfs", "/a", "proc", "/x", "tmpcopyup", NULL);
	REFUSED("copy-symlink", "/a", "tmpfs", "/x", "copy-symlink", NULL);
}

TEST(destinations)
{
	REFUSED("is the root itself", "/", "tmpfs", NULL, NULL);
	REFUSED("is the root itself", "/a/..", "tmpfs", NULL, NULL);
	REFUSED(".mounts[0].destination: missing", "", "tmpfs", NULL, NULL);
}

TEST(proc_takes_only_procfs)
{
	struct fx f;

	fx_init(&f);
	fx_mount(&f, "/proc", "proc", "proc", NULL);
	fx_mount(&f, "/proc/", "bind", "/proc", "rbind", NULL);
	fx_mount(&f, "/proc/meminfo", "bind", "/x", "bind", NULL);
	fx_mount(&f, "/procfs", "tmpfs", NULL, NULL);
	mount_plan_free(plan(&f));
	REFUSED("only procfs", "/proc", "tmpfs", NULL, NULL);
	REFUSED("only procfs", "/x/../proc/.", "sysfs", NULL, NULL);
	REFUSED("inside /proc", "/proc/self/attr", "bind", "/x", "bind", NULL);
	REFUSED("inside /proc", "/proc/sys", "tmpfs", NULL, NULL);
	REFUSED("inside /proc", "/proc/meminfo", "tmpfs", NULL, NULL);
	REFUSED("inside /proc", "/proc/meminfo/x", "bind", "/x", "bind", NULL);
}

TEST(idmaps)
{
	struct spec_id_map map = { 0, 1000, 10 };
	struct fx f;

	REFUSED("there is none", "/a", "bind", "/x", "idmap", NULL);
	fx_init(&f);
	fx_mount(&f, "/a", "bind", "/x", "bind", NULL)->uid_mappings =
	    (struct spec_id_maps){ &map, 1 };
	refused(&f, "gidMappings is missing");
	f.m[0].gid_mappings = f.m[0].uid_mappings;
	struct mount_plan *p = plan(&f);
	CHECK(p && p->v[0].idmap && !p->v[0].ridmap);
	mount_plan_free(p);
	f.m[0].type = "tmpfs";
	f.opts[0][0] = (char *)"ro";
	refused(&f, "only bind mounts");

	fx_init(&f);
	fx_maps(&f);
	fx_mount(&f, "/a", "bind", "/x", "rbind", "ridmap", NULL);
	p = plan(&f);
	CHECK(p && p->v[0].ridmap && !p->v[0].idmap);
	mount_plan_free(p);
}

TEST(mount_namespace_must_be_new)
{
	struct fx f;

	fx_init(&f);
	f.s.ns[NS_MOUNT].path = "/proc/1/ns/mnt";
	refused(&f, "new mount namespace");
	f.s.ns[NS_MOUNT].path = NULL;
	f.s.ns[NS_MOUNT].has = false;
	refused(&f, "new mount namespace");
}

TEST(read_only_waits_where_something_is_still_made)
{
	struct fx f;

	fx_init(&f);
	fx_mount(&f, "/dev", "devtmpfs", NULL, "ro", NULL);
	fx_mount(&f, "/t", "tmpfs", NULL, "rro", NULL);
	fx_mount(&f, "/sys", "sysfs", NULL, "ro", NULL);
	fx_mount(&f, "/b", "bind", "/x", "ro", NULL);
	_cleanup_mount_plan_ struct mount_plan *p = plan(&f);
	if (!p)
		return;
	CHECK(p->v[0].late_ro);
	CHECK(p->v[1].late_ro);
	CHECK(!p->v[2].late_ro);
	CHECK(!p->v[3].late_ro);
}

TEST_MAIN(T(flags_and_data), T(later_options_win), T(propagation_in_order), T(kinds),
    T(destinations), T(proc_takes_only_procfs), T(idmaps), T(mount_namespace_must_be_new),
    T(read_only_waits_where_something_is_still_made))
