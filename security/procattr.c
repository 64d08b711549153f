/* Attributes of a process that are neither rights nor labels: limits, scheduling, memory policy. */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/ioprio.h>
#include <linux/mempolicy.h>
#include <sched.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "base/sys.h"
#include "security/internal.h"
#include "security/security.h"

/* ---- limits ---- */

static char *limit_text(uint64_t v, char buf[24])
{
	if (v == RLIM_INFINITY)
		snprintf(buf, 24, "unlimited");
	else
		snprintf(buf, 24, "%" PRIu64, v);
	return buf;
}

static int rlimit_error(
    int code, const struct spec_rlimit *l, const struct rlimit *old, struct err *e)
{
	char soft[24], hard[24], now[24];

	limit_text(l->soft, soft);
	limit_text(l->hard, hard);
	if (code == EPERM)
		return err_set(e, EPERM,
		    ".process.rlimits: %s: soft %s, hard %s: raising the hard limit above %s needs "
		    "CAP_SYS_RESOURCE (lower the value, or raise bailey's own limit)",
		    l->name, soft, hard, limit_text(old->rlim_max, now));
	if (code == EINVAL && l->soft > l->hard)
		return err_set(e, EINVAL, ".process.rlimits: %s: soft %s is above hard %s", l->name,
		    soft, hard);
	return err_errno(e, code, ".process.rlimits: %s: soft %s, hard %s", l->name, soft, hard);
}

static int rlimit_set(
    pid_t pid, const struct spec_rlimit *l, const struct rlimit *new, struct err *e)
{
	struct rlimit old = { 0 };
	int code;

	if (prlimit(pid, (unsigned)l->resource, new, NULL) == 0)
		return 0;
	code = errno;
	/* Engines ask for it out of habit; locked memory of BPF is accounted to the cgroup since
	 * Linux 5.11. */
	if (code == EPERM && l->resource == RLIMIT_MEMLOCK) {
		log_debug("RLIMIT_MEMLOCK cannot be raised without CAP_SYS_RESOURCE");
		return 0;
	}
	(void)prlimit(pid, (unsigned)l->resource, NULL, &old);
	return rlimit_error(code, l, &old, e);
}

int rlimits_raise(pid_t pid, const struct spec_process *p, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->rlimits.n; i++) {
		const struct spec_rlimit *l = &p->rlimits.v[i];
		struct rlimit new;

		if (prlimit(pid, (unsigned)l->resource, NULL, &new) < 0)
			return err_errno(e, errno, ".process.rlimits: %s", l->name);
		if (l->hard <= new.rlim_max)
			continue;
		new.rlim_max = l->hard;
		r = rlimit_set(pid, l, &new, e);
	}
	return r;
}

int rlimits_apply(const struct spec_process *p, struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < p->rlimits.n; i++) {
		const struct spec_rlimit *l = &p->rlimits.v[i];
		const struct rlimit new = { .rlim_cur = l->soft, .rlim_max = l->hard };

		r = rlimit_set(0, l, &new, e);
	}
	return r;
}

/* ---- scheduling ---- */

static int scheduler_apply(const struct spec_scheduler *s, struct err *e)
{
	struct sched_attr a = {
		.size = sizeof(a),
		.sched_policy = (unsigned)s->policy,
		.sched_flags = s->flags,
		.sched_nice = s->nice,
		.sched_priority = s->priority.set ? (unsigned)s->priority.v : 0,
		.sched_runtime = s->runtime,
		.sched_deadline = s->deadline,
		.sched_period = s->period,
	};

	if (sys_sched_setattr(0, &a) == 0)
		return 0;
	if (errno == EPERM)
		return err_set(e, EPERM,
		    ".process.scheduler: policy %d, nice %d, priority %u: needs CAP_SYS_NICE, and "
		    "for SCHED_DEADLINE all CPUs of the cpuset",
		    s->policy, s->nice, a.sched_priority);
	return err_errno(e, errno,
	    ".process.scheduler: sched_setattr policy %d, nice %d, priority %u, flags %#" PRIx64,
	    s->policy, s->nice, a.sched_priority, s->flags);
}

static int ioprio_apply(const struct spec_ioprio *io, struct err *e)
{
	/* The first process of the container: its children inherit it. */
	if (sys_ioprio_set(IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(io->class_, io->priority)) == 0)
		return 0;
	return err_errno(
	    e, errno, ".process.ioPriority: class %d, priority %d", io->class_, io->priority);
}

int sched_apply(const struct spec_process *p, struct err *e)
{
	if (p->scheduler.has && scheduler_apply(&p->scheduler, e) < 0)
		return -e->code;
	return p->ioprio.has ? ioprio_apply(&p->ioprio, e) : 0;
}

int cpu_affinity_apply(pid_t pid, const char *list, struct err *e)
{
	const char *property = ".process.execCPUAffinity";
	struct id_set set;

	if (!list)
		return 0;
	if (id_set_parse(property, list, &set, e) < 0)
		return -e->code;
	if (set.end == 0) /* empty says the same as absent */
		return 0;
	if (sched_setaffinity(pid, sizeof(set.words), (const cpu_set_t *)set.words) == 0)
		return 0;
	if (errno == EINVAL)
		return err_set(e, EINVAL,
		    "%s: \"%s\": none of these CPUs is online and in the cpuset", property, list);
	return err_errno(e, errno, "%s: \"%s\"", property, list);
}

/* ---- memory ---- */

int mem_policy_apply(const struct spec_mem_policy *m, struct err *e)
{
	const char *property = ".linux.memoryPolicy";
	struct id_set set = { .end = 0 };
	long r;

	if (!m->has)
		return 0;
	if (m->nodes && id_set_parse(".linux.memoryPolicy.nodes", m->nodes, &set, e) < 0)
		return -e->code;
	/* The kernel reads one bit less than it is told. */
	r = syscall(SYS_set_mempolicy, m->mode | m->flags, set.end ? set.words : NULL,
	    set.end ? set.end + 1 : 0);
	if (r == 0)
		return 0;
	if (errno == EINVAL)
		return err_set(e, EINVAL,
		    "%s: mode %d, flags %#x, nodes \"%s\": refused by the kernel (the mode does "
		    "not go with these nodes or flags, no such node has memory, or the mode is "
		    "newer than the kernel)",
		    property, m->mode, (unsigned)m->flags, m->nodes ? m->nodes : "");
	return err_errno(e, errno, "%s: set_mempolicy mode %d, nodes \"%s\"", property, m->mode,
	    m->nodes ? m->nodes : "");
}

int oom_score_apply(int procfd, pid_t pid, const struct spec_process *p, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	char text[16];

	if (!p->oom_score_adj.set)
		return 0;
	fd = proc_open(procfd, pid, "oom_score_adj");
	if (fd < 0)
		return err_errno(e, -fd, ".process.oomScoreAdj: open oom_score_adj of process %d",
		    pid > 0 ? pid : getpid());
	snprintf(text, sizeof(text), "%d", p->oom_score_adj.v);
	if (write(fd, text, strlen(text)) >= 0)
		return 0;
	/* The specification demands the value: a container that is killed too early is not what
	 * was asked for, not for the unprivileged either. */
	if (errno == EACCES)
		return err_set(e, EACCES,
		    ".process.oomScoreAdj: %d: lowering it needs CAP_SYS_RESOURCE",
		    p->oom_score_adj.v);
	return err_errno(e, errno, ".process.oomScoreAdj: %d", p->oom_score_adj.v);
}

int personality_apply(const struct spec *s, struct err *e)
{
	if (!s->personality.has || personality(s->personality.persona) >= 0)
		return 0;
	return err_errno(e, errno, ".linux.personality: personality %#lx", s->personality.persona);
}
