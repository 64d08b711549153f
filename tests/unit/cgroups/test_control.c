/* Freezer, signals, lists of processes, OOM waiting, on a real cgroup2 where it matters. */
#include <sys/resource.h>
#include <time.h>

#include "tests/unit/cgroups/cgtest.h"

static const struct spec_resources nothing;

static struct cgroup make(const char *path)
{
	struct cgroup c = CGROUP_INIT;
	struct err e = ERR_INIT;

	if (cgroup_create(path, &nothing, false, &c, &e) < 0)
		printf("# %s\n", e.msg);
	return c;
}

static void drop(struct cgroup *c)
{
	struct err e = ERR_INIT;

	CHECK_INT(cgroup_destroy(c->path, 0, c->made_from, &e), 0);
	CHECK(!cgroup_exists(c->path));
	cgroup_close(c);
}

TEST(freeze_and_thaw)
{
	struct cgroup c;
	struct err e = ERR_INIT;
	uint64_t v = 7;
	bool is = true;
	pid_t pid;

	if (!real_cgroup2())
		return;
	c = make(unit_path(""));
	pid = sleeper(&c);
	CHECK_INT(cgroup_is_frozen(&c, &is, &e), 0);
	CHECK(!is);
	CHECK_INT(cgroup_freeze(&c, true, &e), 0);
	CHECK_INT(cg_read_key(c.dirfd, "cgroup.events", "frozen", &v), 0);
	CHECK_INT(v, 1); /* not only asked for: done */
	CHECK_INT(cgroup_is_frozen(&c, &is, &e), 0);
	CHECK(is);
	CHECK_INT(cgroup_freeze(&c, false, &e), 0);
	CHECK_INT(cg_read_key(c.dirfd, "cgroup.events", "frozen", &v), 0);
	CHECK_INT(v, 0);
	drop(&c);
	CHECK_INT(reap(pid), SIGKILL);
}

TEST(freeze_that_does_not_end_is_undone)
{
	struct fake f = fake_new("", (const char *const[]){ "cgroup.freeze", NULL });
	struct err e = ERR_INIT;

	put(&f, "cgroup.events", "populated 1\nfrozen 0\n");
	CHECK_INT(cg_freeze(&f.c, true, 60, &e), -ETIMEDOUT);
	CHECK_STR(get(&f, "cgroup.freeze"), "0");
	CHECK_HAS(e.msg, f.dir);
	CHECK_HAS(e.msg, "thawed again");
	put(&f, "cgroup.events", "populated 1\nfrozen 1\n");
	CHECK_INT(cg_freeze(&f.c, false, 60, &e), -ETIMEDOUT);
	CHECK_HAS(e.msg, "a cgroup above it");
	fake_free(&f);
}

TEST(without_a_cgroup)
{
	struct cgroup c = CGROUP_INIT;
	struct err e = ERR_INIT;
	bool b;

	CHECK_INT(cgroup_freeze(&c, true, &e), -ENOENT);
	CHECK_INT(cgroup_kill_all(&c, SIGTERM, &e), -ENOENT);
	CHECK_INT(cgroup_populated(&c, &b, &e), -ENOENT);
	CHECK_HAS(e.msg, "no cgroup");
}

TEST(signals_reach_sub_cgroups)
{
	struct cgroup top, sub;
	struct err e = ERR_INIT;
	pid_t a, b, out, *pids = NULL;
	size_t n = 0;
	bool is = false;

	if (!real_cgroup2())
		return;
	top = make(unit_path(""));
	sub = make(unit_path("/s/u/b"));
	CHECK_INT(cgroup_pids(&top, &pids, &n, &e), 0);
	CHECK_INT(n, 0);
	free(pids);
	CHECK_INT(cgroup_kill_all(&top, SIGTERM, &e), 0); /* none: fine */
	CHECK_INT(cgroup_kill_all(&top, SIGKILL, &e), 0);
	CHECK_INT(cgroup_populated(&top, &is, &e), 0);
	CHECK(!is);
	a = sleeper(&top);
	b = sleeper(&sub);
	out = fork();
	if (out == 0)
		for (;;)
			pause();
	CHECK_INT(cgroup_pids(&top, &pids, &n, &e), 0);
	CHECK_INT(n, 2);
	CHECK(n == 2 && pids[0] == a && pids[1] == b);
	free(pids);
	CHECK_INT(cgroup_populated(&top, &is, &e), 0);
	CHECK(is);
	CHECK_INT(cgroup_kill_all(&top, SIGTERM, &e), 0);
	CHECK_INT(reap(a), SIGTERM);
	CHECK_INT(reap(b), SIGTERM);
	CHECK_INT(waitpid(out, NULL, WNOHANG), 0); /* others are spared */
	kill(out, SIGKILL);
	reap(out);
	cgroup_close(&sub);
	drop(&top);
}

/* More processes than one batch of descriptors. */
TEST(signals_many)
{
	enum { N = 300 };
	struct cgroup c;
	struct err e = ERR_INIT;
	pid_t pid[N];
	int bad = 0;

	if (!real_cgroup2())
		return;
	c = make(unit_path(""));
	for (int i = 0; i < N; i++)
		pid[i] = sleeper(&c);
	CHECK_INT(cgroup_kill_all(&c, SIGUSR1, &e), 0);
	for (int i = 0; i < N; i++)
		bad += reap(pid[i]) != SIGUSR1;
	CHECK_INT(bad, 0);
	drop(&c);
}

TEST(sigkill_reaches_frozen_sub_cgroups)
{
	struct cgroup top, sub;
	struct err e = ERR_INIT;
	pid_t pid;

	if (!real_cgroup2())
		return;
	top = make(unit_path(""));
	sub = make(unit_path("/sub"));
	pid = sleeper(&sub);
	CHECK_INT(cgroup_freeze(&sub, true, &e), 0);
	CHECK_INT(cgroup_kill_all(&top, SIGKILL, &e), 0);
	CHECK_INT(reap(pid), SIGKILL);
	cgroup_close(&sub);
	drop(&top);
}

TEST(destroy_kills_and_removes_all)
{
	struct cgroup top, sub;
	struct err e = ERR_INIT;
	pid_t a, b;

	if (!real_cgroup2())
		return;
	top = make(unit_path("/made/top"));
	sub = make(unit_path("/made/top/x/y"));
	a = sleeper(&top);
	b = sleeper(&sub);
	CHECK_INT(cgroup_freeze(&sub, true, &e), 0);
	CHECK_INT(cgroup_destroy(top.path, 0, top.made_from, &e), 0);
	CHECK_INT(reap(a), SIGKILL);
	CHECK_INT(reap(b), SIGKILL);
	CHECK(!cgroup_exists(unit_path("")));
	cgroup_close(&top);
	cgroup_close(&sub);
}

/* Who has a cgroup delegated may nest it deeper than the runtime has descriptors, or than a path
 * has room for. */
TEST(deep_nesting)
{
	enum { DEPTH = 200 };
	struct rlimit old, few = { 64, 64 };
	struct cgroup top;
	struct err e = ERR_INIT;
	pid_t pid, *pids = NULL;
	size_t n = 0;
	int cur, made = 0;

	if (!real_cgroup2())
		return;
	top = make(unit_path(""));
	cur = openat(top.dirfd, ".", O_PATH | O_DIRECTORY);
	for (; made < DEPTH; made++) {
		static const char name[] = "a-long-name-that-makes-the-whole-longer-than-PATH_MAX";
		int next;

		if (mkdirat(cur, name, 0755) < 0)
			break;
		next = openat(cur, name, O_PATH | O_DIRECTORY);
		close(cur);
		cur = next;
	}
	CHECK_INT(made, DEPTH);
	getrlimit(RLIMIT_NOFILE, &old);
	few.rlim_max = old.rlim_max;
	setrlimit(RLIMIT_NOFILE, &few);
	pid = sleeper(&(struct cgroup){ .dirfd = cur });
	CHECK_INT(cgroup_pids(&top, &pids, &n, &e), 0);
	CHECK(n == 1 && pids[0] == pid);
	free(pids);
	close(cur);
	drop(&top);
	CHECK_INT(reap(pid), SIGKILL);
	setrlimit(RLIMIT_NOFILE, &old);
}

/* A write that EINVAL puts off is made again, one that went through is not. */
TEST(retried_write)
{
	struct cg_plan p = { 0 };
	struct cgroup c;
	struct err e = ERR_INIT;
	uint64_t v = 0;

	if (!real_cgroup2())
		return;
	c = make(unit_path(""));
	cg_plan_add(
	    &p, (struct cg_write){
		    .json = ".a", .file = "cgroup.max.depth", .value = "junk", .retried = true });
	cg_plan_add(
	    &p, (struct cg_write){ .json = ".b", .file = "cgroup.max.descendants", .value = "5" });
	cg_plan_add(
	    &p, (struct cg_write){
		    .json = ".a", .file = "cgroup.max.depth", .value = "3", .again = true });
	CHECK_INT(cg_write_plan(c.dirfd, &p, &e), 0);
	CHECK_INT(cg_read_u64(c.dirfd, "cgroup.max.depth", &v), 0);
	CHECK_INT(v, 3);
	p.v[0].value = "7";
	CHECK_INT(cg_write_plan(c.dirfd, &p, &e), 0);
	CHECK_INT(cg_read_u64(c.dirfd, "cgroup.max.depth", &v), 0);
	CHECK_INT(v, 7);
	p.v[0].value = "junk";
	p.v[0].retried = false;
	CHECK_INT(cg_write_plan(c.dirfd, &p, &e), -EINVAL);
	CHECK_HAS(e.msg, ".a: write \"junk\" to /sys/fs/cgroup");
	cg_plan_free(&p);
	drop(&c);
}

static int64_t spent(int64_t since)
{
	return cg_now_ms() - since;
}

TEST(oom_counts)
{
	struct fake f = fake_new("memory", NULL);
	struct err e = ERR_INIT;
	uint64_t count = 0;
	int64_t t;
	int pair[2];

	put(&f, "cgroup.events", "populated 1\nfrozen 0\n");
	put(&f, "memory.events", "low 0\nhigh 0\nmax 9\noom 5\noom_kill 2\noom_group_kill 4\n");
	CHECK_INT(cgroup_wait_oom(&f.c, -1, &count, -1, &e), 0);
	CHECK_INT(count, 2);
	t = cg_now_ms();
	CHECK_INT(cgroup_wait_oom(&f.c, -1, &count, 60, &e), 0);
	CHECK_INT(count, 2);
	CHECK(spent(t) >= 60);
	/* what can be read elsewhere ends the wait, and what has happened here is told all the same
	 */
	CHECK_INT(pipe2(pair, O_CLOEXEC), 0);
	t = cg_now_ms();
	CHECK_INT(cgroup_wait_oom(&f.c, pair[0], &count, 60, &e), 0);
	CHECK(spent(t) >= 60);
	CHECK_INT(write(pair[1], "", 1), 1);
	t = cg_now_ms();
	CHECK_INT(cgroup_wait_oom(&f.c, pair[0], &count, 8000, &e), 0);
	CHECK(spent(t) < 4000);
	close(pair[0]);
	close(pair[1]);
	put(&f, "cgroup.events", "populated 0\nfrozen 0\n");
	CHECK_INT(cgroup_wait_oom(&f.c, -1, &count, -1, &e), 1);
	fake_free(&f);
}

/* Woken by the kernel, not by the clock. */
TEST(oom_wait_ends_with_the_cgroup)
{
	struct cgroup c;
	struct err e = ERR_INIT;
	uint64_t count = 0;
	pid_t pid, killer;
	int64_t t = cg_now_ms();

	if (!real_cgroup2())
		return;
	c = make(unit_path(""));
	pid = sleeper(&c);
	killer = fork();
	if (killer == 0) {
		nanosleep(&(struct timespec){ .tv_nsec = 50000000 }, NULL);
		kill(pid, SIGKILL);
		_exit(0);
	}
	CHECK_INT(cgroup_wait_oom(&c, -1, &count, 8000, &e), 1);
	CHECK(spent(t) < 4000);
	reap(killer);
	reap(pid);
	drop(&c);
}

TEST_MAIN(T(freeze_and_thaw), T(freeze_that_does_not_end_is_undone), T(without_a_cgroup),
    T(signals_reach_sub_cgroups), T(signals_many), T(sigkill_reaches_frozen_sub_cgroups),
    T(destroy_kills_and_removes_all), T(deep_nesting), T(retried_write), T(oom_counts),
    T(oom_wait_ends_with_the_cgroup))
