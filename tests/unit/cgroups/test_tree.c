/* Paths, creating and removing, on a real cgroup2. */
#include "tests/unit/cgroups/cgtest.h"

#include "base/path.h"

static const struct spec_resources nothing;
static struct spec_resources memory_limit(void)
{
	return (struct spec_resources){ .memory.limit = { true, 1 << 20 } };
}

static int create(const char *path, struct cgroup *c, struct err *e)
{
	*e = (struct err)ERR_INIT;
	return cgroup_create(path, &nothing, false, c, e);
}

static const char *choose(const char *path, bool rootless)
{
	static char *got;
	struct err e = ERR_INIT;
	int r;

	free(got);
	got = NULL;
	r = cgroup_choose_path(path, "id1", rootless, &got, &e);
	return r < 0 ? strerror(-r) : got;
}

TEST(chosen_paths)
{
	struct cgroup c = CGROUP_INIT;
	struct err e;
	pid_t pid;

	if (!real_cgroup2())
		return;
	CHECK_STR(choose(NULL, false), "/bailey-id1");
	CHECK_STR(choose("", false), "/bailey-id1");
	CHECK_STR(choose("/a/b", false), "/a/b");
	CHECK_STR(choose("/a/./../../b//c/", false), "/b/c");
	CHECK_STR(choose("/", false), strerror(EINVAL));
	CHECK_STR(choose("..", false), strerror(EINVAL));
	CHECK_STR(choose("/a/..", false), strerror(EINVAL));
	/* beside the caller's own: the parent of …/outer/own is …/outer */
	CHECK_INT(create(unit_path("/outer/own"), &c, &e), 0);
	pid = fork();
	if (pid == 0) {
		char want[256];
		int bad = !enter(&c);

		snprintf(want, sizeof(want), "/bailey-unit-%d/outer/x", getppid());
		bad |= strcmp(choose("x", false), want) != 0;
		bad |= strcmp(choose("../../../x", false), want) != 0;
		snprintf(want, sizeof(want), "/bailey-unit-%d/outer/a.slice:b:c", getppid());
		bad |= strcmp(choose("a.slice:b:c", false), want) != 0;
		snprintf(want, sizeof(want), "/bailey-unit-%d/outer/bailey-id1", getppid());
		bad |= strcmp(choose(NULL, true), want) != 0;
		_exit(bad);
	}
	CHECK_INT(reap(pid), 1000);
	CHECK_INT(cgroup_destroy(unit_path("/outer/own"), 0, c.made_from, &e), 0);
	cgroup_close(&c);
}

TEST(create_and_destroy)
{
	struct cgroup a = CGROUP_INIT, b = CGROUP_INIT, again = CGROUP_INIT;
	struct err e;

	if (!real_cgroup2())
		return;
	CHECK_INT(create(unit_path("/x/a"), &a, &e), 0);
	CHECK_STR(a.path, unit_path("/x/a"));
	CHECK_STR(a.made_from, unit_path(""));
	CHECK(cgroup_exists(a.path));
	CHECK_INT(create(unit_path("/x/b"), &b, &e), 0);
	CHECK_STR(b.made_from, b.path);
	/* an empty one that exists is taken, and is not ours to remove beyond itself */
	CHECK_INT(create(unit_path("/x/a"), &again, &e), 0);
	CHECK(!again.made_from);
	CHECK_INT(cgroup_destroy(a.path, 0, a.made_from, &e), 0);
	CHECK(!cgroup_exists(a.path));
	CHECK(cgroup_exists(b.path)); /* made_from is in use: stays */
	CHECK_INT(cgroup_destroy(b.path, 0, unit_path(""), &e), 0);
	CHECK(!cgroup_exists(unit_path("")));
	CHECK_INT(cgroup_destroy(b.path, 0, b.made_from, &e), 0); /* absent: fine */
	CHECK_INT(cgroup_open(b.path, &again, &e), -ENOENT);
	cgroup_close(&a);
	cgroup_close(&b);
	cgroup_close(&again);
}

TEST(another_directory_of_that_path_stays)
{
	struct cgroup a = CGROUP_INIT, b = CGROUP_INIT;
	struct err e;
	pid_t pid;

	if (!real_cgroup2())
		return;
	CHECK_INT(create(unit_path("/x"), &a, &e), 0);
	CHECK_INT(cgroup_destroy(a.path, a.id, NULL, &e), 0);
	CHECK(!cgroup_exists(a.path));
	CHECK_INT(create(a.path, &b, &e), 0);
	CHECK(a.id != b.id);
	pid = sleeper(&b);
	CHECK_INT(cgroup_destroy(a.path, a.id, a.made_from, &e), 0);
	CHECK_INT(cgroup_remove_empty(a.path, a.made_from, 10, &e), 0);
	CHECK(cgroup_exists(b.path));
	CHECK_INT(kill(pid, 0), 0);
	CHECK_INT(cgroup_destroy(b.path, b.id, unit_path(""), &e), 0);
	CHECK_INT(reap(pid), SIGKILL);
	CHECK(!cgroup_exists(unit_path("")));
	cgroup_close(&a);
	cgroup_close(&b);
}

/* What a killed create leaves: its plan, and perhaps the directories. */
TEST(foreseen_and_removed)
{
	struct cgroup a = CGROUP_INIT;
	char *missing = NULL;
	struct err e;

	if (!real_cgroup2())
		return;
	CHECK_INT(cgroup_first_missing(unit_path("/x/y"), &missing, &e), 0);
	CHECK_STR(missing, unit_path(""));
	CHECK_INT(create(unit_path("/x/y"), &a, &e), 0);
	CHECK_STR(a.made_from, missing);
	CHECK_INT(cgroup_remove_empty(a.path, missing, 0, &e), 0);
	CHECK(!cgroup_exists(unit_path("")));
	CHECK_INT(create(unit_path("/x"), &a, &e), 0);
	free(steal_ptr(missing));
	CHECK_INT(cgroup_first_missing(unit_path("/x"), &missing, &e), 0);
	CHECK(!missing);
	CHECK_INT(cgroup_first_missing(unit_path("/x/z"), &missing, &e), 0);
	CHECK_STR(missing, unit_path("/x/z"));
	CHECK_INT(cgroup_remove_empty(unit_path("/x/z"), missing, 0, &e), 0);
	CHECK(cgroup_exists(unit_path("/x")));
	CHECK_INT(cgroup_destroy(a.path, a.id, a.made_from, &e), 0);
	free(missing);
	cgroup_close(&a);
}

TEST(bad_paths_are_refused)
{
	static const char *const bad[] = { "/", "", "a", "/a/../b", "//a", "/a/" };
	struct cgroup c = CGROUP_INIT;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct err e = ERR_INIT;

		CHECK_INT(cgroup_create(bad[i], &nothing, true, &c, &e), -EINVAL);
		CHECK_INT(cgroup_open(bad[i], &c, &e), -EINVAL);
		CHECK_INT(cgroup_destroy(bad[i], 0, NULL, &e), -EINVAL);
		CHECK_INT(cgroup_destroy("/bailey-unit-none", 0, bad[i], &e), -EINVAL);
	}
}

TEST(occupied_is_refused)
{
	struct cgroup c = CGROUP_INIT, other = CGROUP_INIT;
	struct err e;
	pid_t pid;

	if (!real_cgroup2())
		return;
	CHECK_INT(create(unit_path(""), &c, &e), 0);
	pid = sleeper(&c);
	CHECK_INT(create(c.path, &other, &e), -EBUSY);
	CHECK_HAS(e.msg, c.path);
	CHECK_HAS(e.msg, "holds processes");
	CHECK(cgroup_exists(c.path));
	CHECK_INT(cgroup_destroy(c.path, 0, NULL, &e), 0); /* kills */
	CHECK_INT(reap(pid), SIGKILL);
	CHECK(!cgroup_exists(c.path));
	cgroup_close(&c);
}

TEST(frozen_is_refused)
{
	struct cgroup c = CGROUP_INIT, other = CGROUP_INIT;
	struct err e;

	if (!real_cgroup2())
		return;
	CHECK_INT(create(unit_path(""), &c, &e), 0);
	CHECK_INT(cgroup_freeze(&c, true, &e), 0);
	CHECK_INT(create(c.path, &other, &e), -EBUSY);
	CHECK_HAS(e.msg, "frozen");
	CHECK_INT(cgroup_destroy(c.path, 0, NULL, &e), 0);
	cgroup_close(&c);
}

TEST(threaded_is_refused)
{
	struct cgroup dom = CGROUP_INIT, thr = CGROUP_INIT, c = CGROUP_INIT;
	struct err e;

	if (!real_cgroup2())
		return;
	CHECK_INT(create(unit_path(""), &dom, &e), 0);
	CHECK_INT(create(unit_path("/t"), &thr, &e), 0);
	CHECK_INT(kfile_write(thr.dirfd, "cgroup.type", "threaded"), 0);
	CHECK_INT(create(unit_path("/t"), &c, &e), -EOPNOTSUPP);
	CHECK_INT(create(unit_path("/t/below"), &c, &e), -EOPNOTSUPP);
	CHECK_HAS(e.msg, "\"domain invalid\"");
	CHECK(!cgroup_exists(unit_path("/t/below")));
	CHECK_INT(cgroup_destroy(dom.path, 0, NULL, &e), 0);
	cgroup_close(&dom);
	cgroup_close(&thr);
}

TEST(missing_controller_leaves_nothing)
{
	struct spec_resources r = { .unified = { &(struct spec_kv){ "nosuch.max", "1" }, 1 } };
	struct cgroup c = CGROUP_INIT;
	struct err e = ERR_INIT;

	if (!real_cgroup2())
		return;
	CHECK_INT(cgroup_create(unit_path("/a/b"), &r, false, &c, &e), -ENOENT);
	CHECK_STR(e.msg, "nosuch controller is not available in /sys/fs/cgroup/cgroup.controllers: "
			 ".linux.resources.unified[\"nosuch.max\"] cannot be set");
	CHECK(!cgroup_exists(unit_path("")));
	CHECK_INT(c.dirfd, -EBADF);
	/* lifting what cannot be limited needs no controller */
	r = (struct spec_resources){ .memory.limit = { true, -1 } };
	e = (struct err)ERR_INIT;
	CHECK_INT(cgroup_create(unit_path(""), &r, false, &c, &e), 0);
	CHECK_INT(cgroup_destroy(unit_path(""), 0, NULL, &e), 0);
	cgroup_close(&c);
}

/* The directory is the caller's, its subtree_control is not: what is enabled there is made use of.
 */
static int delegated_child(const char *path, const struct spec_resources *r)
{
	struct cgroup c = CGROUP_INIT;
	struct err e = ERR_INIT;

	if (setresuid(65534, 65534, 65534) < 0)
		return 100;
	if (cgroup_create(path, r, false, &c, &e) < 0) {
		printf("# %s\n", e.msg);
		fflush(stdout);
		return 1;
	}
	return cgroup_destroy(path, 0, c.made_from, &e) < 0;
}

/* The one controller that a machine with v1 hierarchies often leaves to cgroup2. */
TEST(enables_on_the_way_down)
{
	struct spec_hugepage huge = { "2MB", 2 << 20 };
	/* the memory limit is none, and so needs no controller */
	struct spec_resources r = { .hugepages = { &huge, 1 }, .memory.limit = { true, -1 } };
	struct cgroup c = CGROUP_INIT, top = CGROUP_INIT;
	bool was_on;
	struct err e = ERR_INIT;
	int root;
	pid_t pid;

	if (!real_cgroup2())
		return;
	root = cgroup_open_root(&e);
	if (cg_has_word(root, "cgroup.controllers", "hugetlb") != 1) {
		printf("# skip: cgroup2 has no hugetlb controller here\n");
		close(root);
		return;
	}
	was_on = cg_has_word(root, "cgroup.subtree_control", "hugetlb") == 1;
	CHECK_INT(cgroup_create(unit_path("/a/leaf"), &r, false, &c, &e), 0);
	CHECK_STR(c.made_from, unit_path(""));
	CHECK_INT(cgroup_open(unit_path("/a"), &top, &e), 0);
	CHECK_INT(cg_has_word(top.dirfd, "cgroup.subtree_control", "hugetlb"), 1);
	CHECK_INT(cg_has_word(c.dirfd, "cgroup.subtree_control", "hugetlb"), 0);
	CHECK_INT(cgroup_apply(&c, &r, false, &e), 0);
	CHECK_INT(fchownat(top.dirfd, "", 65534, 65534, AT_EMPTY_PATH), 0);
	pid = fork();
	if (pid == 0)
		_exit(delegated_child(unit_path_of(getppid(), "/a/user"), &r));
	CHECK_INT(reap(pid), 1000);
	cgroup_close(&top);
	CHECK_INT(cgroup_destroy(c.path, 0, c.made_from, &e), 0);
	cgroup_close(&c);
	/* an ancestor that holds processes */
	CHECK_INT(create(unit_path(""), &top, &e), 0);
	pid = sleeper(&top);
	CHECK_INT(cgroup_create(unit_path("/leaf"), &r, false, &c, &e), -EBUSY);
	CHECK_HAS(e.msg, "holds processes; move them");
	CHECK(!cgroup_exists(unit_path("/leaf")));
	CHECK_INT(cgroup_destroy(top.path, 0, NULL, &e), 0);
	reap(pid);
	cgroup_close(&top);
	if (!was_on) /* others may use it by now: then it stays */
		kfile_write(root, "cgroup.subtree_control", "-hugetlb");
	close(root);
}

/* In a child without rights or mounts. */
static int rootless_child(bool unmounted)
{
	struct spec_device_rule deny = { .type = 'a', .read = true, .write = true, .mknod = true };
	struct spec_resources r = { .devices = { &deny, 1 }, .pids_limit = { true, -1 } };
	struct spec_resources limit = memory_limit();
	struct cgroup c = CGROUP_INIT;
	struct err e = ERR_INIT;
	int bad = 0;

	if (unmounted) {
		while (umount2("/sys/fs/cgroup", MNT_DETACH) == 0)
			;
		umount2("/sys/fs/cgroup/unified", MNT_DETACH);
	} else if (setresuid(65534, 65534, 65534) < 0) {
		return 100;
	}
	bad |= cgroup_create("/bailey-unit-x/y", &r, true, &c, &e) != 0;
	bad |= (c.dirfd != -EBADF || c.path || c.made_from || e.code) << 1;
	bad |= (cgroup_create("/bailey-unit-x/y", &limit, true, &c, &e) >= 0) << 2;
	bad |= (strstr(e.msg, unmounted ? "mount -t cgroup2" : "memory") == NULL) << 3;
	bad |= (cgroup_create("/bailey-unit-x/y", &r, false, &c, &e) >= 0) << 4;
	return bad;
}

TEST(rootless_without_rights)
{
	pid_t pid;

	if (!real_cgroup2())
		return;
	pid = fork();
	if (pid == 0)
		_exit(rootless_child(false));
	CHECK_INT(reap(pid), 1000);
}

TEST(no_cgroup2_mount)
{
	pid_t pid;

	if (!real_cgroup2())
		return;
	pid = fork();
	if (pid == 0)
		_exit(unshare(CLONE_NEWNS) < 0 ? 100 : rootless_child(true));
	CHECK_INT(reap(pid), 1000);
}

/* /sys/fs/cgroup shows a part of the hierarchy only: paths count from there. */
static int bind_child(const char *unit)
{
	char src[256], *own = NULL;
	struct cgroup c = CGROUP_INIT;
	struct err e = ERR_INIT;
	int bad = 0;

	snprintf(src, sizeof(src), "/sys/fs/cgroup%s", unit);
	if (unshare(CLONE_NEWNS) < 0 || mount(src, "/sys/fs/cgroup", NULL, MS_BIND, NULL) < 0)
		return 100;
	bad |= cgroup_of_pid(0, &own, &e) != -ENOENT || !strstr(e.msg, "outside the mounted part");
	bad |= cgroup_open("/in", &c, &e) != 0 || !enter(&c);
	bad |= cgroup_of_pid(0, &own, &e) != 0 || strcmp(own, "/in") != 0;
	free(own);
	return bad;
}

TEST(part_of_the_hierarchy)
{
	struct cgroup c = CGROUP_INIT;
	struct err e;
	pid_t pid;

	if (!real_cgroup2())
		return;
	CHECK_INT(create(unit_path("/in"), &c, &e), 0);
	pid = fork();
	if (pid == 0)
		_exit(bind_child(c.made_from));
	CHECK_INT(reap(pid), 1000);
	CHECK_INT(cgroup_destroy(c.path, 0, c.made_from, &e), 0);
	cgroup_close(&c);
}

/* A hybrid host: cgroup2 somewhere else, v1 or nothing at /sys/fs/cgroup; names that mountinfo
 * escapes; the whole hierarchy is preferred to a part of it. */
static int elsewhere_child(const char *unit)
{
	char part[256];
	struct err e = ERR_INIT;
	struct stat a, b;
	int fd;

	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/sys/fs/cgroup", "tmpfs", 0, NULL) < 0 ||
	    mkdir("/sys/fs/cgroup/a b", 0755) < 0 || mkdir("/sys/fs/cgroup/part", 0755) < 0 ||
	    mount("none", "/sys/fs/cgroup/a b", "cgroup2", 0, NULL) < 0)
		return 100;
	snprintf(part, sizeof(part), "/sys/fs/cgroup/a b%s", unit);
	if (mount(part, "/sys/fs/cgroup/part", NULL, MS_BIND, NULL) < 0)
		return 101;
	fd = cgroup_open_root(&e);
	if (fd < 0 || fstat(fd, &a) < 0 || stat("/sys/fs/cgroup/a b", &b) < 0)
		return 1;
	return a.st_ino == b.st_ino && a.st_dev == b.st_dev ? 0 : 2;
}

TEST(mounted_elsewhere)
{
	struct cgroup c = CGROUP_INIT;
	struct err e;
	pid_t pid;

	if (!real_cgroup2())
		return;
	CHECK_INT(create(unit_path(""), &c, &e), 0);
	pid = fork();
	if (pid == 0)
		_exit(elsewhere_child(c.path));
	CHECK_INT(reap(pid), 1000);
	CHECK_INT(cgroup_destroy(c.path, 0, NULL, &e), 0);
	cgroup_close(&c);
}

TEST_MAIN(T(chosen_paths), T(create_and_destroy), T(bad_paths_are_refused), T(occupied_is_refused),
    T(frozen_is_refused), T(threaded_is_refused), T(missing_controller_leaves_nothing),
    T(enables_on_the_way_down), T(rootless_without_rights), T(no_cgroup2_mount),
    T(part_of_the_hierarchy), T(mounted_elsewhere), T(another_directory_of_that_path_stays),
    T(foreseen_and_removed))
