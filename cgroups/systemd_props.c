/*
 * Limits as unit properties (systemd.resource-control(5)), made from the same plan that
 * cgroup_apply writes. systemd writes a unit's attributes again whenever it likes to, after
 * `systemctl daemon-reload` for one: a limit that it was not told of would then be gone.
 *
 * A file without a row here is none of systemd's: nobody but bailey writes it.
 */
#include <stdio.h>

#include "base/fd.h"
#include "base/log.h"
#include "cgroups/systemd.h"

#define CPUS_MAX 8192 /* CONFIG_NR_CPUS of the largest kernels */

/* ---- the list ---- */

void sd_props_free(struct sd_props *p)
{
	for (size_t i = 0; i < p->n; i++)
		free(p->v[i].v);
	free(p->v);
	arena_free(p->arena);
	*p = (struct sd_props){ 0 };
}

static struct sd_prop *find(struct sd_props *p, const char *name)
{
	for (size_t i = 0; i < p->n; i++) {
		if (streq(p->v[i].name, name))
			return &p->v[i];
	}
	return NULL;
}

struct sd_prop *sd_props_set(struct sd_props *p, const char *name, const char *sig)
{
	struct sd_prop *prop = find(p, name);

	if (!p->arena)
		p->arena = arena_new();
	if (!prop && p->n == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 32;
		p->v = xrealloc(p->v, p->cap * sizeof(*p->v));
	}
	if (!prop) {
		prop = &p->v[p->n++];
		*prop = (struct sd_prop){ .name = arena_strdup(p->arena, name) };
	}
	prop->sig = arena_strdup(p->arena, sig);
	prop->n = 0;
	return prop;
}

void sd_prop_push(struct sd_props *p, struct sd_prop *to, const char *value)
{
	if (to->n == to->cap) {
		to->cap = to->cap ? to->cap * 2 : 4;
		to->v = xrealloc(to->v, to->cap * sizeof(*to->v));
	}
	to->v[to->n++] = arena_strdup(p->arena, value);
}

void sd_props_str(struct sd_props *p, const char *name, const char *value)
{
	sd_prop_push(p, sd_props_set(p, name, "s"), value);
}

void sd_props_bool(struct sd_props *p, const char *name, bool value)
{
	sd_prop_push(p, sd_props_set(p, name, "b"), value ? "true" : "false");
}

void sd_props_u64(struct sd_props *p, const char *name, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	sd_prop_push(p, sd_props_set(p, name, "t"), text);
}

/* ---- conversions ---- */

struct conv {
	struct sd_props *p;
	const char *prop;
	int dirfd;
};
/* Returns 0 or -errno with a message that lacks property and value. */
typedef int conv_fn(const struct conv *c, const char *value, struct err *e);

static int not_a(struct err *e, const char *what)
{
	return err_set(e, EINVAL, "not %s, which systemd needs", what);
}

/* "max" is UINT64_MAX with systemd, which calls it infinity. */
static int to_limit(const char *value, uint64_t *ret)
{
	*ret = UINT64_MAX;
	return streq(value, "max") ? 0 : parse_u64(value, ret);
}

static int limit(const struct conv *c, const char *value, struct err *e)
{
	uint64_t n;

	if (to_limit(value, &n) < 0)
		return not_a(e, "a number or \"max\"");
	sd_props_u64(c->p, c->prop, n);
	return 0;
}

static int cpu_weight(const struct conv *c, const char *value, struct err *e)
{
	uint64_t n;

	if (parse_u64(value, &n) < 0)
		return not_a(e, "a number");
	sd_props_u64(c->p, c->prop, n);
	return 0;
}

/* An idle unit is one of weight 0; not idle is the default weight, UINT64_MAX, until a later write
 * says otherwise. */
static int cpu_idle(const struct conv *c, const char *value, struct err *e)
{
	if (!streq(value, "0") && !streq(value, "1"))
		return not_a(e, "0 or 1");
	sd_props_u64(c->p, c->prop, *value == '1' ? 0 : UINT64_MAX);
	return 0;
}

static uint64_t period_now(int dirfd)
{
	_cleanup_free_ char *now = NULL;
	uint64_t period;

	if (dirfd < 0 || kfile_read(dirfd, "cpu.max", &now) < 0 || !strchr(now, ' ') ||
	    parse_u64(strchr(now, ' ') + 1, &period) < 0 || !period)
		return 100000;
	return period;
}

/* systemd keeps whole percents of a CPU, so what it may write one day is rounded up to the next;
 * the file gets the exact value all the same. */
static int cpu_max(const struct conv *c, const char *value, struct err *e)
{
	_cleanup_strv_ char **word = strv_split(value, ' ');
	uint64_t quota, period = period_now(c->dirfd), per_sec = UINT64_MAX;

	if (strv_len(word) < 1 || strv_len(word) > 2 || to_limit(word[0], &quota) < 0 ||
	    (word[1] && parse_u64(word[1], &period) < 0) || !period)
		return not_a(e, "\"QUOTA PERIOD\"");
	if (quota != UINT64_MAX && quota / period > UINT32_MAX)
		return err_set(e, ERANGE, "the quota is more than 4294967295 periods");
	if (quota != UINT64_MAX) {
		if (period > UINT32_MAX)
			return err_set(e, ERANGE, "the period is longer than an hour");
		per_sec =
		    quota / period * 1000000 + (quota % period * 1000000 + period - 1) / period;
		per_sec = (per_sec + 9999) / 10000 * 10000;
	}
	sd_props_u64(c->p, "CPUQuotaPerSecUSec", per_sec);
	if (word[1])
		sd_props_u64(c->p, "CPUQuotaPeriodUSec", period);
	return 0;
}

/* A list like "0-3,8" to a mask, lowest byte first. */
static int cpu_list(const struct conv *c, const char *value, struct err *e)
{
	_cleanup_strv_ char **range = strv_split(value, ',');
	_cleanup_free_ uint8_t *mask = xcalloc(1, CPUS_MAX / 8);
	struct sd_prop *prop;
	size_t used = 0;

	for (size_t i = 0; range[i]; i++) {
		char *dash = strchr(range[i], '-');
		uint64_t first, last;

		if (dash)
			*dash++ = '\0';
		if (parse_u64(range[i], &first) < 0 ||
		    parse_u64(dash ? dash : range[i], &last) < 0 || first > last ||
		    last >= CPUS_MAX)
			return not_a(e, "a list like \"0-3,8\"");
		for (uint64_t n = first; n <= last; n++)
			mask[n / 8] |= (uint8_t)(1u << n % 8);
		used = used > last / 8 + 1 ? used : last / 8 + 1;
	}
	prop = sd_props_set(c->p, c->prop, "ay");
	for (size_t i = 0; i < used; i++) {
		char byte[8];

		snprintf(byte, sizeof(byte), "%u", mask[i]);
		sd_prop_push(c->p, prop, byte);
	}
	return 0;
}

static void add_device(const struct conv *c, const char *name, const char *number, uint64_t value)
{
	struct sd_prop *prop = find(c->p, name);
	char path[64], text[24];

	snprintf(path, sizeof(path), "/dev/block/%s", number);
	snprintf(text, sizeof(text), "%llu", (unsigned long long)value);
	if (!prop)
		prop = sd_props_set(c->p, name, "a(st)");
	sd_prop_push(c->p, prop, path);
	sd_prop_push(c->p, prop, text);
}

/* "WEIGHT", "default WEIGHT" or "MAJ:MIN WEIGHT". */
static int weight(const struct conv *c, const char *value, bool bfq, struct err *e)
{
	_cleanup_strv_ char **word = strv_split(value, ' ');
	size_t n = strv_len(word);
	uint64_t w;

	if (n < 1 || n > 2 || parse_u64(word[n - 1], &w) < 0)
		return not_a(e, "\"WEIGHT\" or \"MAJ:MIN WEIGHT\"");
	/* The inverse of what systemd does where BFQ schedules. */
	if (bfq && w > 100)
		w = 100 + (w - 100) * 11;
	if (n == 2 && !streq(word[0], "default"))
		add_device(c, "IODeviceWeight", word[0], w);
	else
		sd_props_u64(c->p, "IOWeight", w);
	return 0;
}

static int io_weight(const struct conv *c, const char *value, struct err *e)
{
	return weight(c, value, false, e);
}

static int bfq_weight(const struct conv *c, const char *value, struct err *e)
{
	return weight(c, value, true, e);
}

/* "MAJ:MIN rbps=N wbps=max …" */
static int io_max(const struct conv *c, const char *value, struct err *e)
{
	static const struct {
		const char *key, *prop;
	} keys[] = {
		{ "rbps=", "IOReadBandwidthMax" },
		{ "wbps=", "IOWriteBandwidthMax" },
		{ "riops=", "IOReadIOPSMax" },
		{ "wiops=", "IOWriteIOPSMax" },
	};
	_cleanup_strv_ char **word = strv_split(value, ' ');

	for (size_t i = 1; word[0] && word[i]; i++) {
		bool known = false;

		for (size_t k = 0; k < ARRAY_SIZE(keys) && !known; k++) {
			const char *v = startswith(word[i], keys[k].key);
			uint64_t n;

			known = v && to_limit(v, &n) == 0;
			if (known)
				add_device(c, keys[k].prop, word[0], n);
		}
		if (!known)
			return not_a(e, "\"MAJ:MIN rbps=N wbps=N riops=N wiops=N\"");
	}
	return 0;
}

/* ---- the table ---- */

static const struct row {
	const char *file, *prop;
	conv_fn *fn;
	int since; /* version of systemd; 0: all that run on the kernels that bailey needs */
} rows[] = {
	{ "cpu.idle", "CPUWeight", cpu_idle, 252 },
	{ "cpu.max", NULL, cpu_max, 0 },
	{ "cpu.weight", "CPUWeight", cpu_weight, 0 },
	{ "cpuset.cpus", "AllowedCPUs", cpu_list, 0 },
	{ "cpuset.mems", "AllowedMemoryNodes", cpu_list, 0 },
	{ "io.bfq.weight", NULL, bfq_weight, 0 },
	{ "io.max", NULL, io_max, 0 },
	{ "io.weight", NULL, io_weight, 0 },
	{ "memory.high", "MemoryHigh", limit, 0 },
	{ "memory.low", "MemoryLow", limit, 0 },
	{ "memory.max", "MemoryMax", limit, 0 },
	{ "memory.min", "MemoryMin", limit, 0 },
	{ "memory.swap.max", "MemorySwapMax", limit, 0 },
	{ "memory.zswap.max", "MemoryZSwapMax", limit, 253 },
	{ "pids.max", "TasksMax", limit, 0 },
};

static const struct row *find_row(const char *file)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		if (streq(rows[i].file, file))
			return &rows[i];
	}
	return NULL;
}

bool sd_props_need_version(const struct cg_plan *plan)
{
	for (size_t i = 0; i < plan->n; i++) {
		const struct row *row = find_row(plan->v[i].file);

		if (row && row->since)
			return true;
	}
	return false;
}

int sd_props_from_plan(
    struct sd_props *p, const struct cg_plan *plan, int dirfd, int version, struct err *e)
{
	for (size_t i = 0; i < plan->n; i++) {
		const struct cg_write *w = &plan->v[i];
		const struct row *row = find_row(w->file);
		struct conv c = { .p = p, .dirfd = dirfd };

		if (!row || row->since > version) {
			log_debug("%s: no property of systemd's, the file alone", w->file);
			continue;
		}
		c.prop = row->prop;
		if (row->fn(&c, w->value, e) < 0)
			return err_wrap(e, "%s: \"%s\"", w->json, w->value);
	}
	return 0;
}
