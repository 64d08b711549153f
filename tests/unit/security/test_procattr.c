#include <errno.h>
#include <linux/ioprio.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <sys/capability.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "security/internal.h"
#include "security/security.h"
#include "tests/unit/security/child.h"

static int proc_root(void)
{
	return open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
}

/* As root without capabilities: raising anything is refused. */
static void drop_caps(void)
{
	cap_t none = cap_init();

	CHECK_INT(cap_set_proc(none), 0);
	cap_free(none);
}

/* ---- lists ---- */

static void list_is(const char *list, unsigned long want, size_t end)
{
	struct id_set s = { .end = 99 };
	struct err e = ERR_INIT;

	CHECK_INT(id_set_parse(".x", list, &s, &e), 0);
	CHECK_INT(s.words[0], want);
	CHECK_INT(s.end, end);
}

static void list_refused(const char *list)
{
	struct id_set s = { .end = 99 };
	struct err e = ERR_INIT;

	CHECK_INT(id_set_parse(".x", list, &s, &e), -EINVAL);
	CHECK_HAS(e.msg, ".x: \"");
	CHECK_INT(s.end, 99);
}

TEST(lists)
{
	static const char *const bad[] = { ",", "0,", ",0", "0,,1", "-", "0-", "-1", "3-1", "a",
		"0x1", "1 2", "1;2", "8192", "0-8192", "99999999999999999999", "+1", "0-1-2", "1\t",
		"\n" };

	list_is("", 0, 0);
	list_is("  ", 0, 0);
	list_is("0", 1, 1);
	list_is("0-3,7", 0x8f, 8);
	list_is(" 0 - 3 , 7 ", 0x8f, 8);
	list_is("7,0-3,2-4", 0x9f, 8);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		list_refused(bad[i]);
}

/* ---- limits ---- */

static void rlimits_body(void)
{
	struct spec_rlimit l[] = {
		{ RLIMIT_NOFILE, "RLIMIT_NOFILE", 100, 200 },
		{ RLIMIT_CORE, "RLIMIT_CORE", 0, 0 },
	};
	struct spec_process p = { .rlimits = { l, 2 } };
	struct err e = ERR_INIT;
	struct rlimit got;

	CHECK_INT(rlimits_apply(&p, &e), 0);
	getrlimit(RLIMIT_NOFILE, &got);
	CHECK(got.rlim_cur == 100 && got.rlim_max == 200);
	getrlimit(RLIMIT_CORE, &got);
	CHECK(got.rlim_cur == 0 && got.rlim_max == 0);
	drop_caps();
	l[0].hard = 300;
	CHECK_INT(rlimits_apply(&p, &e), -EPERM);
	CHECK_HAS(e.msg, "RLIMIT_NOFILE: soft 100, hard 300: raising the hard limit above 200");
	l[0] = (struct spec_rlimit){ RLIMIT_NOFILE, "RLIMIT_NOFILE", 9, 8 };
	CHECK_INT(rlimits_apply(&p, &e), -EINVAL);
	CHECK_HAS(e.msg, "soft 9 is above hard 8");
}
TEST(rlimits)
{
	in_child(rlimits_body);
}

static void memlock_body(void)
{
	struct spec_rlimit l[] = { { RLIMIT_MEMLOCK, "RLIMIT_MEMLOCK", 4096, 4096 } };
	struct spec_process p = { .rlimits = { l, 1 } };
	struct err e = ERR_INIT;

	CHECK_INT(rlimits_apply(&p, &e), 0);
	drop_caps();
	l[0].soft = l[0].hard = RLIM_INFINITY;
	CHECK_INT(rlimits_apply(&p, &e), 0);
}
TEST(memlock_may_stay_low)
{
	in_child(memlock_body);
}

/* Nothing is lowered, and what is high enough is not asked for. */
TEST(raising_leaves_the_rest)
{
	struct spec_rlimit l[] = { { RLIMIT_NOFILE, "RLIMIT_NOFILE", 50, 60 },
		{ RLIMIT_CORE, "RLIMIT_CORE", 0, RLIM_INFINITY } };
	struct spec_process p = { .rlimits = { l, 2 } };
	struct rlimit low = { .rlim_cur = 10, .rlim_max = 20 };
	struct err e = ERR_INIT;
	struct rlimit got = { 0 }, before;
	pid_t pid;

	getrlimit(RLIMIT_NOFILE, &before);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		pause();
		_exit(0);
	}
	prlimit(pid, RLIMIT_CORE, &low, NULL);
	/* with CAP_SYS_RESOURCE it is raised, without that is told */
	if (rlimits_raise(pid, &p, &e) < 0)
		CHECK_HAS(e.msg, "RLIMIT_CORE: soft 0, hard unlimited: raising");
	else
		CHECK(prlimit(pid, RLIMIT_CORE, NULL, &got) == 0 && got.rlim_cur == 10 &&
		      got.rlim_max == RLIM_INFINITY);
	prlimit(pid, RLIMIT_NOFILE, NULL, &got);
	CHECK(got.rlim_cur == before.rlim_cur && got.rlim_max == before.rlim_max);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* ---- scheduling ---- */

static void sched_body(void)
{
	struct spec_process p = { .scheduler = { .has = true, .policy = SCHED_BATCH, .nice = 5 },
		.ioprio = { .has = true, .class_ = IOPRIO_CLASS_BE, .priority = 6 } };
	struct sched_attr a = { 0 };
	struct err e = ERR_INIT;

	CHECK_INT(sched_apply(&p, &e), 0);
	CHECK_INT(syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0), 0);
	CHECK_INT(a.sched_policy, SCHED_BATCH);
	CHECK_INT(a.sched_nice, 5);
	CHECK_INT(
	    syscall(SYS_ioprio_get, IOPRIO_WHO_PROCESS, 0), IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 6));
	drop_caps();
	p.scheduler =
	    (struct spec_scheduler){ .has = true, .policy = SCHED_FIFO, .priority = { true, 3 } };
	CHECK_INT(sched_apply(&p, &e), -EPERM);
	CHECK_HAS(e.msg, "CAP_SYS_NICE");
}
TEST(scheduler_and_ioprio)
{
	in_child(sched_body);
}

static void fifo_body(void)
{
	struct spec_process p = { .scheduler = { .has = true,
				      .policy = SCHED_RR,
				      .priority = { true, 7 },
				      .flags = SCHED_FLAG_RESET_ON_FORK } };
	struct sched_attr a = { 0 };
	struct err e = ERR_INIT;

	if (sched_apply(&p, &e) == -EPERM) {
		printf("# SKIP no real-time scheduling here\n");
		return;
	}
	CHECK_STR(e.msg, "");
	CHECK_INT(syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0), 0);
	CHECK_INT(a.sched_policy, SCHED_RR);
	CHECK_INT(a.sched_priority, 7);
	CHECK_INT(a.sched_flags, SCHED_FLAG_RESET_ON_FORK);
}
TEST(real_time)
{
	in_child(fifo_body);
}

static void affinity_body(void)
{
	struct err e = ERR_INIT;
	cpu_set_t before, got;

	sched_getaffinity(0, sizeof(before), &before);
	CHECK_INT(cpu_affinity_apply(0, NULL, &e), 0);
	CHECK_INT(cpu_affinity_apply(0, "", &e), 0);
	sched_getaffinity(0, sizeof(got), &got);
	CHECK(CPU_EQUAL(&before, &got));
	CHECK_INT(cpu_affinity_apply(0, "0", &e), 0);
	sched_getaffinity(0, sizeof(got), &got);
	CHECK_INT(CPU_COUNT(&got), 1);
	CHECK(CPU_ISSET(0, &got));
	CHECK_INT(cpu_affinity_apply(0, "8000", &e), -EINVAL);
	CHECK_HAS(e.msg, "none of these CPUs");
}
TEST(affinity)
{
	in_child(affinity_body);
}

/* ---- memory, personality ---- */

static void mempolicy_body(void)
{
	struct spec_mem_policy m = { .has = true, .mode = MPOL_BIND, .nodes = "0" };
	unsigned long mask[16] = { 0 };
	struct err e = ERR_INIT;
	int mode = -1;

	if (mem_policy_apply(&m, &e) == -ENOSYS) {
		printf("# SKIP kernel without NUMA\n");
		return;
	}
	CHECK_STR(e.msg, "");
	CHECK_INT(syscall(SYS_get_mempolicy, &mode, mask, 1024, NULL, 0), 0);
	CHECK_INT(mode, MPOL_BIND);
	CHECK_INT(mask[0], 1);
	m = (struct spec_mem_policy){ .has = true, .mode = MPOL_DEFAULT };
	CHECK_INT(mem_policy_apply(&m, &e), 0);
	CHECK_INT(syscall(SYS_get_mempolicy, &mode, NULL, 0, NULL, 0), 0);
	CHECK_INT(mode, MPOL_DEFAULT);
	m = (struct spec_mem_policy){ .has = true, .mode = MPOL_BIND };
	CHECK_INT(mem_policy_apply(&m, &e), -EINVAL);
	CHECK_HAS(e.msg, ".linux.memoryPolicy");
	m.nodes = "1000";
	CHECK_INT(mem_policy_apply(&m, &e), -EINVAL);
	m = (struct spec_mem_policy){ .has = false, .mode = 99 };
	CHECK_INT(mem_policy_apply(&m, &e), 0);
}
TEST(memory_policy)
{
	in_child(mempolicy_body);
}

static int own_score(void)
{
	char buf[16] = "";
	int fd = open("/proc/self/oom_score_adj", O_RDONLY);

	CHECK(read(fd, buf, sizeof(buf) - 1) > 0);
	close(fd);
	return atoi(buf);
}

static void oom_body(void)
{
	struct spec_process p = { .oom_score_adj = { true, 500 } };
	_cleanup_close_ int proc = proc_root();
	struct err e = ERR_INIT;

	CHECK_INT(oom_score_apply(proc, 0, &p, &e), 0);
	CHECK_INT(own_score(), 500);
	p.oom_score_adj.v = 600;
	CHECK_INT(oom_score_apply(proc, getpid(), &p, &e), 0);
	CHECK_INT(own_score(), 600);
	p.oom_score_adj.set = false;
	CHECK_INT(oom_score_apply(proc, 0, &p, &e), 0);
	CHECK_INT(own_score(), 600);
	p.oom_score_adj.set = true;
	p.oom_score_adj.v = 1001;
	CHECK_INT(oom_score_apply(proc, 0, &p, &e), -EINVAL);
	drop_caps();
	p.oom_score_adj.v = -900;
	CHECK_INT(oom_score_apply(proc, 0, &p, &e), -EACCES);
	CHECK_HAS(e.msg, ".process.oomScoreAdj: -900: lowering it needs CAP_SYS_RESOURCE");
	CHECK_INT(own_score(), 600);
}
TEST(oom_score)
{
	in_child(oom_body);
}

static void personality_body(void)
{
	struct spec s = { .personality = { true, PER_LINUX32 | ADDR_NO_RANDOMIZE } };
	struct err e = ERR_INIT;

	CHECK_INT(personality_apply(&s, &e), 0);
	CHECK_INT(personality(0xffffffff), PER_LINUX32 | ADDR_NO_RANDOMIZE);
}
TEST(personalities)
{
	in_child(personality_body);
}

TEST_MAIN(T(lists), T(rlimits), T(memlock_may_stay_low), T(raising_leaves_the_rest),
    T(scheduler_and_ioprio), T(real_time), T(affinity), T(memory_policy), T(oom_score),
    T(personalities))
