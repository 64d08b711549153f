/*
 * What linux.resources asks of cgroup v2: a list of writes, made before anything is touched. From
 * it cgroup_create learns which controllers are needed, and cgroup_apply writes it.
 *
 * The conversions from the specification's v1 terms are those of runc and crun, so that a container
 * keeps its limits when the runtime is changed. Zero means "not set" where the peers have it so.
 */
#include <stdio.h>

#include "base/fd.h"
#include "cgroups/internal.h"

/* ---- the list ---- */

void cg_plan_free(struct cg_plan *p)
{
	arena_free(p->arena);
	free(p->v);
	*p = (struct cg_plan){ 0 };
}

void cg_plan_add(struct cg_plan *p, struct cg_write w)
{
	if (!p->arena)
		p->arena = arena_new();
	if (p->n == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 16;
		p->v = xrealloc(p->v, p->cap * sizeof(*p->v));
	}
	w.json = arena_strdup(p->arena, w.json);
	w.file = arena_strdup(p->arena, w.file);
	w.value = arena_strdup(p->arena, w.value);
	if (w.controller)
		w.controller = arena_strdup(p->arena, w.controller);
	p->v[p->n++] = w;
}

bool cg_plan_limits(const struct cg_plan *p)
{
	for (size_t i = 0; i < p->n; i++) {
		if (!p->v[i].no_limit)
			return true;
	}
	return false;
}

/* ---- conversions ---- */

/* log2(x) for x >= 1, by squaring: the mantissa's bits one by one. libm would be one more library
 * to load at each start of the program. */
static double log_2(double x)
{
	double r = 0, bit = 0.5;

	for (; x >= 2; x /= 2)
		r += 1;
	for (int i = 0; i < 52; i++, bit /= 2) {
		x *= x;
		if (x >= 2) {
			x /= 2;
			r += bit;
		}
	}
	return r;
}

/* 10^x for 0 <= x <= 4: the exponential series for x/16, raised to the 16th power. */
static double exp_10(double x)
{
	double y = x * 2.302585092994045684 / 16, term = 1, sum = 1;

	for (int i = 1; i < 20; i++) {
		term *= y / i;
		sum += term;
	}
	for (int i = 0; i < 4; i++)
		sum *= sum;
	return sum;
}

/*
 * cpu.shares [2..262144] to cpu.weight [1..10000]. The straight line that runc and crun used first
 * maps the default of 1024 shares to weight 39, though a cgroup's default weight is 100: a
 * container with default shares then lost to every other cgroup. Since runc 1.3.2 and crun 1.23
 * both use this curve, quadratic in the logarithm, through (2, 1), (1024, 100) and (262144, 10000).
 */
uint64_t cg_cpu_weight(uint64_t shares)
{
	double l, w;
	uint64_t floor;

	if (shares <= 2)
		return 1;
	if (shares >= 262144)
		return 10000;
	l = log_2((double)shares);
	/* Rounded up, but not for what is the arithmetic's error alone. */
	w = exp_10((l * l + 125 * l) / 612 - 7.0 / 34) - 1e-7;
	floor = (uint64_t)w;
	return floor + ((double)floor < w);
}

struct ctx {
	const struct spec_resources *r;
	int dirfd;
};
struct val {
	char text[160];
	bool no_limit, retried, again; /* see struct cg_write */
};
/* 1: set, 0: not asked for, or -errno with a message that lacks the property's name. */
typedef int value_fn(const struct ctx *c, struct val *v, struct err *e);

static int val_u64(struct val *v, uint64_t n)
{
	snprintf(v->text, sizeof(v->text), "%llu", (unsigned long long)n);
	return 1;
}

static int val_max(struct val *v)
{
	snprintf(v->text, sizeof(v->text), "max");
	v->no_limit = true;
	return 1;
}

/* -1 is "max", 0 is not set. */
static int val_bytes(struct val *v, const struct opt_i64 *n, struct err *e)
{
	if (!n->set || n->v == 0)
		return 0;
	if (n->v < -1)
		return err_set(
		    e, EINVAL, "%lld: neither a size nor -1 (unlimited)", (long long)n->v);
	if (n->v > 0)
		return val_u64(v, (uint64_t)n->v);
	return val_max(v);
}

static int memory_max(const struct ctx *c, struct val *v, struct err *e)
{
	return val_bytes(v, &c->r->memory.limit, e);
}

static int memory_low(const struct ctx *c, struct val *v, struct err *e)
{
	return val_bytes(v, &c->r->memory.reservation, e);
}

/* The limit that swap counts from: the property, else what an existing cgroup has. 0: unknown. */
static int64_t memory_limit_now(const struct ctx *c)
{
	uint64_t now;

	if (c->r->memory.limit.set && c->r->memory.limit.v)
		return c->r->memory.limit.v;
	if (c->dirfd < 0 || cg_read_u64(c->dirfd, "memory.max", &now) < 0 || now > INT64_MAX)
		return 0;
	return (int64_t)now;
}

/* The specification's swap is memory plus swap; cgroup v2 counts swap alone. */
static int memory_swap_max(const struct ctx *c, struct val *v, struct err *e)
{
	const struct spec_memory *m = &c->r->memory;
	bool asked = m->swap.set && m->swap.v != 0;
	struct opt_i64 unlimited = { true, -1 };
	int64_t limit;

	if (!asked) /* unlimited memory and nothing said of swap: v1 lifted both */
		return m->limit.set && m->limit.v == -1 ? val_bytes(v, &unlimited, e) : 0;
	if (m->swap.v < 0)
		return val_bytes(v, &m->swap, e);
	limit = memory_limit_now(c);
	if (limit == -1)
		return val_u64(v, (uint64_t)m->swap.v);
	if (limit <= 0)
		return err_set(e, EINVAL,
		    "%lld: it is memory plus swap, so .linux.resources.memory.limit must be set "
		    "too",
		    (long long)m->swap.v);
	if (m->swap.v < limit)
		return err_set(e, EINVAL,
		    "%lld: it is memory plus swap and cannot be below the memory limit, %lld",
		    (long long)m->swap.v, (long long)limit);
	return val_u64(v, (uint64_t)(m->swap.v - limit));
}

static int cpu_idle(const struct ctx *c, struct val *v, struct err *e)
{
	int64_t idle = c->r->cpu.idle.v;

	if (idle != 0 && idle != 1)
		return err_set(e, EINVAL, "%lld: neither 0 nor 1", (long long)idle);
	v->no_limit = !idle;
	return val_u64(v, (uint64_t)idle);
}

/* The weight of an idle cgroup cannot be written: leave idle before it, enter idle after it. */
static int cpu_idle_off(const struct ctx *c, struct val *v, struct err *e)
{
	return c->r->cpu.idle.set && c->r->cpu.idle.v != 1 ? cpu_idle(c, v, e) : 0;
}

static int cpu_idle_on(const struct ctx *c, struct val *v, struct err *e)
{
	return c->r->cpu.idle.set && c->r->cpu.idle.v == 1 ? cpu_idle(c, v, e) : 0;
}

static int cpu_weight(const struct ctx *c, struct val *v, struct err *e)
{
	if (!c->r->cpu.shares.set || !c->r->cpu.shares.v)
		return 0;
	return val_u64(v, cg_cpu_weight(c->r->cpu.shares.v));
}

static bool sets_cpu_max(const struct spec_cpu *cpu)
{
	return (cpu->quota.set && cpu->quota.v) || (cpu->period.set && cpu->period.v);
}

/* The kernel refuses a burst above the quota, so an update that raises both must write the quota
 * first, and one that lowers both the burst. Tried first and, if refused, again after cpu.max. */
static int cpu_burst(const struct ctx *c, struct val *v, struct err *e)
{
	if (!c->r->cpu.burst.set)
		return 0;
	v->no_limit = c->r->cpu.burst.v == 0;
	v->retried = sets_cpu_max(&c->r->cpu);
	return val_u64(v, c->r->cpu.burst.v);
}

static int cpu_burst_again(const struct ctx *c, struct val *v, struct err *e)
{
	int r = sets_cpu_max(&c->r->cpu) ? cpu_burst(c, v, e) : 0;

	v->retried = false;
	v->again = true;
	return r;
}

/* "QUOTA PERIOD"; a lone quota leaves the period as it is, a lone period needs the quota's present
 * value beside it. */
static int cpu_max(const struct ctx *c, struct val *v, struct err *e)
{
	const struct spec_cpu *cpu = &c->r->cpu;
	_cleanup_free_ char *now = NULL;
	char quota[24] = "max", period[24] = "";

	if (!sets_cpu_max(cpu))
		return 0;
	if (cpu->period.set && cpu->period.v)
		snprintf(period, sizeof(period), " %llu", (unsigned long long)cpu->period.v);
	if (cpu->quota.set && cpu->quota.v > 0)
		snprintf(quota, sizeof(quota), "%lld", (long long)cpu->quota.v);
	else if (!(cpu->quota.set && cpu->quota.v) && c->dirfd >= 0 &&
		 kfile_read(c->dirfd, "cpu.max", &now) == 0)
		snprintf(quota, sizeof(quota), "%.*s", (int)strcspn(now, " "), now);
	snprintf(v->text, sizeof(v->text), "%s%s", quota, period);
	v->no_limit = streq(quota, "max");
	return 1;
}

/* 0 counts as "not set", like -1: engines write either for "no limit". */
static int pids_max(const struct ctx *c, struct val *v, struct err *e)
{
	if (!c->r->pids_limit.set)
		return 0;
	if (c->r->pids_limit.v > 0)
		return val_u64(v, (uint64_t)c->r->pids_limit.v);
	return val_max(v);
}

/* ---- tables ---- */

static const struct row {
	const char *json, *controller, *file;
	value_fn *value;
} rows[] = {
	{ ".linux.resources.pids.limit", "pids", "pids.max", pids_max },
	{ ".linux.resources.memory.swap", "memory", "memory.swap.max", memory_swap_max },
	{ ".linux.resources.memory.limit", "memory", "memory.max", memory_max },
	{ ".linux.resources.memory.reservation", "memory", "memory.low", memory_low },
	{ ".linux.resources.cpu.idle", "cpu", "cpu.idle", cpu_idle_off },
	{ ".linux.resources.cpu.shares", "cpu", "cpu.weight", cpu_weight },
	{ ".linux.resources.cpu.idle", "cpu", "cpu.idle", cpu_idle_on },
	{ ".linux.resources.cpu.burst", "cpu", "cpu.max.burst", cpu_burst },
	{ ".linux.resources.cpu.quota/period", "cpu", "cpu.max", cpu_max },
	{ ".linux.resources.cpu.burst", "cpu", "cpu.max.burst", cpu_burst_again },
};

/* Properties that cgroup v2 has no file for. A value that asks for nothing is let pass. */
static int refuse_v1(const struct spec_resources *r, struct err *e)
{
	const struct spec_memory *m = &r->memory;
	const struct {
		const char *json;
		bool asked;
		const char *instead;
	} v1[] = {
		{ "memory.kernel", m->kernel.set && m->kernel.v > 0,
		    "memory.limit counts kernel memory too" },
		{ "memory.kernelTCP", m->kernel_tcp.set && m->kernel_tcp.v > 0,
		    "memory.limit counts socket buffers too" },
		{ "memory.swappiness", m->swappiness.set, "swap can be limited by memory.swap" },
		{ "memory.disableOOMKiller", m->disable_oom_killer.v,
		    "memory.high in unified throttles instead of killing" },
		{ "memory.useHierarchy", m->use_hierarchy.set && !m->use_hierarchy.v,
		    "accounting is always hierarchical" },
		{ "cpu.realtimeRuntime", r->cpu.realtime_runtime.v != 0, "there is no such limit" },
		{ "cpu.realtimePeriod", r->cpu.realtime_period.v != 0, "there is no such limit" },
		{ "blockIO.leafWeight", r->block_io.leaf_weight.v != 0, "use blockIO.weight" },
		{ "network.classID", r->net_class_id.v != 0,
		    "classify by cgroup in nftables or tc" },
		{ "network.priorities", r->net_priorities.n != 0,
		    "classify by cgroup in nftables or tc" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(v1); i++) {
		if (v1[i].asked)
			return err_set(e, EOPNOTSUPP,
			    ".linux.resources.%s: cgroup v2 has no such property: %s", v1[i].json,
			    v1[i].instead);
	}
	return 0;
}

static int plan_scalars(struct cg_plan *p, const struct ctx *c, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct row *row = &rows[i];
		struct val v = { 0 };
		int r = row->value(c, &v, e);

		if (r < 0)
			return err_wrap(e, "%s", row->json);
		if (r > 0)
			cg_plan_add(p, (struct cg_write){ .json = row->json,
					   .controller = row->controller,
					   .file = row->file,
					   .value = v.text,
					   .no_limit = v.no_limit,
					   .retried = v.retried,
					   .again = v.again });
	}
	return 0;
}

static void plan_cpuset(struct cg_plan *p, const struct spec_cpu *cpu)
{
	if (cpu->cpus && *cpu->cpus)
		cg_plan_add(p, (struct cg_write){ ".linux.resources.cpu.cpus", "cpuset",
				   "cpuset.cpus", cpu->cpus });
	if (cpu->mems && *cpu->mems)
		cg_plan_add(p, (struct cg_write){ ".linux.resources.cpu.mems", "cpuset",
				   "cpuset.mems", cpu->mems });
}

int cg_plan(struct cg_plan *p, const struct spec_resources *r, int dirfd, struct err *e)
{
	struct ctx c = { .r = r, .dirfd = dirfd };
	int rc = refuse_v1(r, e);

	if (rc == 0)
		rc = plan_scalars(p, &c, e);
	if (rc < 0)
		return rc;
	plan_cpuset(p, &r->cpu);
	return cg_plan_lists(p, r, dirfd, e);
}
