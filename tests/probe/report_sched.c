/* How the process runs: limits, scheduling, personality, clocks, memory policy. */
#include <errno.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tests/probe/probe.h"

static const struct {
	const char *name;
	int nr;
} limits[] = {
	{ "RLIMIT_AS", RLIMIT_AS },
	{ "RLIMIT_CORE", RLIMIT_CORE },
	{ "RLIMIT_CPU", RLIMIT_CPU },
	{ "RLIMIT_DATA", RLIMIT_DATA },
	{ "RLIMIT_FSIZE", RLIMIT_FSIZE },
	{ "RLIMIT_LOCKS", RLIMIT_LOCKS },
	{ "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
	{ "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
	{ "RLIMIT_NICE", RLIMIT_NICE },
	{ "RLIMIT_NOFILE", RLIMIT_NOFILE },
	{ "RLIMIT_NPROC", RLIMIT_NPROC },
	{ "RLIMIT_RSS", RLIMIT_RSS },
	{ "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
	{ "RLIMIT_RTTIME", RLIMIT_RTTIME },
	{ "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING },
	{ "RLIMIT_STACK", RLIMIT_STACK },
};

static void report_limits(void)
{
	struct rlimit r;

	js_open("rlimits", '{');
	for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
		if (getrlimit(limits[i].nr, &r) < 0)
			continue;
		js_open(limits[i].name, '[');
		js_int(NULL, (long long)r.rlim_cur); /* -1: unlimited */
		js_int(NULL, (long long)r.rlim_max);
		js_close(']');
	}
	js_close('}');
}

/* sched_getattr(2), the kernel's first version of it. */
struct attr {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static void report_sched(void)
{
	struct attr a = { .size = sizeof(a) };
	cpu_set_t set;

	if (syscall(SYS_sched_getattr, 0, &a, sizeof(a), 0) == 0) {
		js_open("sched", '{');
		js_int("policy", a.policy);
		js_int("flags", a.flags);
		js_int("nice", a.nice);
		js_int("priority", a.priority);
		js_int("runtime", a.runtime);
		js_int("deadline", a.deadline);
		js_int("period", a.period);
		js_close('}');
	}
	js_int("ioprio", syscall(SYS_ioprio_get, 1 /* IOPRIO_WHO_PROCESS */, 0));
	js_open("affinity", '[');
	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		for (int i = 0; i < CPU_SETSIZE; i++)
			if (CPU_ISSET(i, &set))
				js_int(NULL, i);
	js_close(']');
}

static void report_mempolicy(void)
{
	int mode = -1;
	unsigned long nodes = 0;

	if (syscall(SYS_get_mempolicy, &mode, &nodes, 8 * sizeof(nodes), NULL, 0) < 0)
		mode = -errno;
	js_open("mempolicy", '{');
	js_int("mode", mode);
	js_int("nodes", nodes);
	js_close('}');
}

static void clock_seconds(const char *key, clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	js_int(key, ts.tv_sec);
}

void report_scheduling(void)
{
	report_limits();
	report_sched();
	report_mempolicy();
	js_int("personality", personality(0xffffffff));
	clock_seconds("monotonic", CLOCK_MONOTONIC);
	clock_seconds("boottime", CLOCK_BOOTTIME);
	js_file("timens_offsets", "/proc/self/timens_offsets");
	js_file("oom_score_adj", "/proc/self/oom_score_adj");
}
