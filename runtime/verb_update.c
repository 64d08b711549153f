/*
 * Only what was asked for is written: a limit that neither the file nor an option names keeps its
 * value, and so do the device rules.
 */
#include <string.h>

#include "base/cleanup.h"
#include "runtime/container.h"
#include "runtime/verbs.h"
#include "runtime/vm_level.h"

struct update_opts {
	const char *resources;
	struct opt_i64 blkio_weight, cpu_period, cpu_quota, cpu_burst, cpu_share, cpu_idle;
	struct opt_i64 memory, memory_reservation, memory_swap, pids_limit;
	const char *cpuset_cpus, *cpuset_mems;
	const char *cpu_rt_period, *cpu_rt_runtime, *kernel_memory, *kernel_memory_tcp;
	const char *l3_cache_schema, *mem_bw_schema;
};

/* runc's options for which there is nothing to write to. */
static int check_unsupported(const struct update_opts *o, struct err *e)
{
	static const char no_rt[] = "cgroup v2 has no real-time group scheduling",
			  no_kmem[] =
			      "cgroup v2 has no limit for kernel memory: it is part of --memory",
			  no_rdt[] = "resctrl is not supported";
	const struct {
		const char *value, *name, *why;
	} unsupported[] = {
		{ o->cpu_rt_period, "cpu-rt-period", no_rt },
		{ o->cpu_rt_runtime, "cpu-rt-runtime", no_rt },
		{ o->kernel_memory, "kernel-memory", no_kmem },
		{ o->kernel_memory_tcp, "kernel-memory-tcp", no_kmem },
		{ o->l3_cache_schema, "l3-cache-schema", no_rdt },
		{ o->mem_bw_schema, "mem-bw-schema", no_rdt },
	};

	for (size_t i = 0; i < ARRAY_SIZE(unsupported); i++)
		if (unsupported[i].value)
			return err_set(e, ENOTSUP, "update: --%s: %s", unsupported[i].name,
			    unsupported[i].why);
	return 0;
}

/* Returns whether an option was given. */
static bool set_i64(struct opt_i64 *to, const struct opt_i64 *from)
{
	if (from->set)
		*to = *from;
	return from->set;
}

static bool set_u64(struct opt_u64 *to, const struct opt_i64 *from)
{
	if (from->set)
		*to = (struct opt_u64){ .set = true, .v = (uint64_t)from->v };
	return from->set;
}

static bool set_u32(struct opt_u32 *to, const struct opt_i64 *from)
{
	if (from->set)
		*to = (struct opt_u32){ .set = true, .v = (uint32_t)from->v };
	return from->set;
}

static bool set_str(const char **to, const char *from)
{
	if (from)
		*to = from;
	return from;
}

static bool apply_options(const struct update_opts *o, struct spec_resources *r)
{
	bool any = false;

	any |= set_u32(&r->block_io.weight, &o->blkio_weight);
	any |= set_u64(&r->cpu.period, &o->cpu_period);
	any |= set_i64(&r->cpu.quota, &o->cpu_quota);
	any |= set_u64(&r->cpu.burst, &o->cpu_burst);
	any |= set_u64(&r->cpu.shares, &o->cpu_share);
	any |= set_i64(&r->cpu.idle, &o->cpu_idle);
	any |= set_str(&r->cpu.cpus, o->cpuset_cpus);
	any |= set_str(&r->cpu.mems, o->cpuset_mems);
	any |= set_i64(&r->memory.limit, &o->memory);
	any |= set_i64(&r->memory.reservation, &o->memory_reservation);
	any |= set_i64(&r->memory.swap, &o->memory_swap);
	any |= set_i64(&r->pids_limit, &o->pids_limit);
	return any;
}

static int read_resources(
    struct arena *a, const struct update_opts *o, struct spec_resources *ret, struct err *e)
{
	int r = check_unsupported(o, e);

	if (r == 0 && o->resources)
		r = spec_load_resources(a, o->resources, ret, e);
	if (r < 0)
		return r;
	if (!apply_options(o, ret) && !o->resources)
		return err_set(e, EINVAL, "update: nothing to update: give --resources or a limit");
	return 0;
}

/* What the guest's kernel limits for the container; the rest is the host's. */
static char *guest_resources(const struct spec_resources *r)
{
	const struct {
		const char *key;
		const struct opt_i64 *v;
	} memory[] = {
		{ "limit", &r->memory.limit },
		{ "reservation", &r->memory.reservation },
		{ "swap", &r->memory.swap },
	};
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);

	json_gen_map(g);
	json_gen_key(g, "memory");
	json_gen_map(g);
	for (size_t i = 0; i < ARRAY_SIZE(memory); i++)
		if (memory[i].v->set)
			json_gen_kint(g, memory[i].key, memory[i].v->v);
	if (r->memory.check_before_update.set)
		json_gen_kbool(g, "checkBeforeUpdate", r->memory.check_before_update.v);
	json_gen_end(g);
	if (r->pids_limit.set) {
		json_gen_key(g, "pids");
		json_gen_map(g);
		json_gen_kint(g, "limit", r->pids_limit.v);
		json_gen_end(g);
	}
	json_gen_end(g);
	return xstrdup(json_gen_text(g, NULL));
}

/* A machine keeps the size it was booted with. */
static int update_machine(const struct container *c, const struct spec_resources *r, struct err *e)
{
	_cleanup_free_ char *json = guest_resources(r);
	_cleanup_close_ int sock = -EBADF;
	int64_t limit = r->memory.limit.set ? r->memory.limit.v : 0;

	if (limit > 0 && (uint64_t)limit > c->vm_usable)
		return err_set(e, EINVAL,
		    "memory limit %lld: the machine was booted with %llu bytes for the container",
		    (long long)limit, (unsigned long long)c->vm_usable);
	if (r->devices.n || r->unified.n)
		return err_set(e, ENOTSUP,
		    "devices and unified: not while a machine runs (isolation level vm)");
	sock = vm_connect(c, e);
	return sock < 0 ? sock : vm_request(sock, GP_UPDATE, json, strlen(json), NULL, e);
}

static int run_update(const struct globals *g, void *opts, int argc, char **argv, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_container_ struct container *c = NULL;
	struct spec_resources res = { 0 };
	enum status st;
	int r;

	r = read_resources(a, opts, &res, e);
	if (r == 0)
		r = container_open(g, argv[0], OPEN_EXCLUSIVE, &c, e);
	if (r == 0)
		r = container_status(c, &st, e);
	if (r == 0)
		r = status_check(c, EV_UPDATE, st, e);
	if (r < 0)
		return r;
	if (c->vm) {
		r = update_machine(c, &res, e);
		res = vm_host_resources(a, &res, c->vm_usable, c->vm_extra);
	}
	if (r == 0)
		r = container_update_cgroup(c, &res, e);
	return r < 0 ? err_wrap(e, "update \"%s\"", c->id) : 0;
}

#define OFF(field) offsetof(struct update_opts, field)
static const struct opt update_opts[] = {
	{ "resources", 'r', OPT_STR, OFF(resources), "FILE",
	    "read linux.resources as JSON from FILE, or from standard input (-); the options "
	    "below override it" },
	{ "blkio-weight", 0, OPT_INT, OFF(blkio_weight), "N", "share of block I/O, 10 to 1000", 10,
	    1000 },
	{ "cpu-period", 0, OPT_INT, OFF(cpu_period), "USEC", "CPU quota's period", 1, INT64_MAX },
	{ "cpu-quota", 0, OPT_INT, OFF(cpu_quota), "USEC", "CPU time per period; -1: no limit" },
	{ "cpu-burst", 0, OPT_INT, OFF(cpu_burst), "USEC",
	    "unused CPU time that may be saved up for later periods", 0, INT64_MAX },
	{ "cpu-share", 0, OPT_INT, OFF(cpu_share), "N",
	    "share of CPU time against the siblings, 2 to 262144", 0, 262144 },
	{ "cpu-idle", 0, OPT_INT, OFF(cpu_idle), "N", "1: run only when the CPU is idle; 0: not", 0,
	    1 },
	{ "cpuset-cpus", 0, OPT_STR, OFF(cpuset_cpus), "LIST", "CPUs to run on, e.g. 0-2,7" },
	{ "cpuset-mems", 0, OPT_STR, OFF(cpuset_mems), "LIST", "memory nodes to use" },
	{ "memory", 0, OPT_SIZE, OFF(memory), "BYTES",
	    "memory limit, with k, m, g or t behind it; -1: none" },
	{ "memory-reservation", 0, OPT_SIZE, OFF(memory_reservation), "BYTES",
	    "memory that is reclaimed last; -1: none" },
	{ "memory-swap", 0, OPT_SIZE, OFF(memory_swap), "BYTES",
	    "limit of memory and swap together; -1: none" },
	{ "pids-limit", 0, OPT_INT, OFF(pids_limit), "N", "number of tasks; -1: no limit", -1,
	    INT64_MAX },
	{ "cpu-rt-period", 0, OPT_STR, OFF(cpu_rt_period), "USEC", NULL },
	{ "cpu-rt-runtime", 0, OPT_STR, OFF(cpu_rt_runtime), "USEC", NULL },
	{ "kernel-memory", 0, OPT_STR, OFF(kernel_memory), "BYTES", NULL },
	{ "kernel-memory-tcp", 0, OPT_STR, OFF(kernel_memory_tcp), "BYTES", NULL },
	{ "l3-cache-schema", 0, OPT_STR, OFF(l3_cache_schema), "SCHEMA", NULL },
	{ "mem-bw-schema", 0, OPT_STR, OFF(mem_bw_schema), "SCHEMA", NULL },
	{ 0 },
};

const struct verb verb_update = {
	.name = "update",
	.args = "CONTAINER",
	.summary = "change a container's resource limits",
	.detail = "Writes the limits that are given and no others. Device rules change only when "
		  "the resources file has some.",
	.examples = "bailey update --memory 512m --pids-limit 100 web\n"
		    "echo '{\"cpu\":{\"quota\":50000,\"period\":100000}}' | bailey update -r - web",
	.opts = update_opts,
	.opts_size = sizeof(struct update_opts),
	.min_args = 1,
	.max_args = 1,
	.error_exit = 1,
	.run = run_update,
};
