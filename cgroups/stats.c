/*
 * Statistics with the field names of runc's `events --stats`. What a file that does not exist would
 * say (its controller is not enabled) is left out; numbers are read as the kernel prints them.
 */
#include <fcntl.h>
#include <stdlib.h>

#include "base/fd.h"
#include "cgroups/internal.h"

struct stats {
	int fd;
	struct json_gen *g;
};

/* ---- pieces ---- */

static void kuint_if(struct stats *s, const char *json_key, const char *file)
{
	uint64_t v;

	if (cg_read_u64(s->fd, file, &v) == 0)
		json_gen_kuint(s->g, json_key, v);
}

/* { "usage": …, "limit": … } with what of it exists. */
static void entry(struct stats *s, const char *json_key, const char *current, const char *max,
    const char *peak, const char *events, const char *event)
{
	uint64_t v;

	if (cg_read_u64(s->fd, current, &v) < 0)
		return;
	json_gen_key(s->g, json_key);
	json_gen_map(s->g);
	json_gen_kuint(s->g, "usage", v);
	if (max)
		kuint_if(s, "limit", max);
	if (peak)
		kuint_if(s, "max", peak);
	if (cg_read_key(s->fd, events, event, &v) < 0)
		v = 0;
	json_gen_kuint(s->g, "failcnt", v);
	json_gen_end(s->g);
}

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" */
static void pressure_line(struct json_gen *g, char *line)
{
	char *save = NULL, *word = strtok_r(line, " ", &save);

	if (!word)
		return;
	json_gen_key(g, word);
	json_gen_map(g);
	while ((word = strtok_r(NULL, " ", &save))) {
		char *value = strchr(word, '=');
		uint64_t total;

		if (!value)
			continue;
		*value++ = '\0';
		json_gen_key(g, word);
		if (parse_u64(value, &total) == 0)
			json_gen_uint(g, total);
		else
			json_gen_double(g, strtod(value, NULL));
	}
	json_gen_end(g);
}

static void pressure(struct stats *s, const char *file)
{
	_cleanup_free_ char *text = NULL;
	char *save = NULL;

	/* EOPNOTSUPP: switched off by the psi=0 boot parameter or cgroup.pressure. */
	if (kfile_read(s->fd, file, &text) < 0 || !*text)
		return;
	json_gen_key(s->g, "psi");
	json_gen_map(s->g);
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
		pressure_line(s->g, l);
	json_gen_end(s->g);
}

/* ---- sections ---- */

struct field {
	const char *key, *json;
	uint64_t factor;
};
static const struct field cpu_usage[] = {
	{ "usage_usec", "total", 1000 },
	{ "user_usec", "user", 1000 },
	{ "system_usec", "kernel", 1000 },
};
static const struct field cpu_throttling[] = {
	{ "nr_periods", "periods", 1 },
	{ "nr_throttled", "throttledPeriods", 1 },
	{ "throttled_usec", "throttledTime", 1000 },
};

/* cpu.stat's usage exists without the cpu controller too. */
static void cpu_fields(struct stats *s, const char *name, const struct field *f, size_t n)
{
	uint64_t v;

	if (cg_read_key(s->fd, "cpu.stat", f[0].key, &v) < 0)
		return;
	json_gen_key(s->g, name);
	json_gen_map(s->g);
	for (size_t i = 0; i < n; i++) {
		if (cg_read_key(s->fd, "cpu.stat", f[i].key, &v) == 0)
			json_gen_kuint(s->g, f[i].json, v * f[i].factor);
	}
	json_gen_end(s->g);
}

static void cpu(struct stats *s)
{
	cpu_fields(s, "usage", cpu_usage, ARRAY_SIZE(cpu_usage));
	cpu_fields(s, "throttling", cpu_throttling, ARRAY_SIZE(cpu_throttling));
	pressure(s, "cpu.pressure");
}

/* As v1 had it: memory plus swap, in both numbers. */
static void swap_entry(struct stats *s)
{
	uint64_t swap, swap_max, mem, mem_max;

	if (cg_read_u64(s->fd, "memory.swap.current", &swap) < 0 ||
	    cg_read_u64(s->fd, "memory.swap.max", &swap_max) < 0 ||
	    cg_read_u64(s->fd, "memory.current", &mem) < 0 ||
	    cg_read_u64(s->fd, "memory.max", &mem_max) < 0)
		return;
	if (__builtin_add_overflow(swap_max, mem_max, &swap_max))
		swap_max = UINT64_MAX;
	json_gen_key(s->g, "swap");
	json_gen_map(s->g);
	json_gen_kuint(s->g, "usage", swap + mem);
	json_gen_kuint(s->g, "limit", swap_max);
	json_gen_kuint(s->g, "failcnt", 0);
	json_gen_end(s->g);
}

static void memory(struct stats *s)
{
	_cleanup_free_ char *text = NULL;
	char *save = NULL;
	uint64_t v;

	entry(s, "usage", "memory.current", "memory.max", "memory.peak", "memory.events", "max");
	swap_entry(s);
	if (cg_read_key(s->fd, "memory.stat", "file", &v) == 0)
		json_gen_kuint(s->g, "cache", v);
	if (kfile_read(s->fd, "memory.stat", &text) == 0) {
		json_gen_key(s->g, "raw");
		json_gen_map(s->g);
		for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
			char *value = strchr(l, ' ');

			if (!value || parse_u64(value + 1, &v) < 0)
				continue;
			*value = '\0';
			json_gen_kuint(s->g, l, v);
		}
		json_gen_end(s->g);
	}
	pressure(s, "memory.pressure");
}

static void pids(struct stats *s)
{
	struct cg_pidv listed = { 0 };
	uint64_t current, max;

	if (cg_read_u64(s->fd, "pids.current", &current) == 0) {
		json_gen_kuint(s->g, "current", current);
		if (cg_read_u64(s->fd, "pids.max", &max) == 0)
			json_gen_kuint(s->g, "limit", max == UINT64_MAX ? 0 : max);
	} else if (cg_read_pids(s->fd, &listed) == 0) {
		json_gen_kuint(s->g, "current", listed.n);
	}
	free(listed.v);
}

/* One array of { major, minor, op, value } from io.stat's "8:0 rbytes=1 wbytes=2 rios=3 …". */
static void io_array(struct stats *s, const char *name, const char *const key[2])
{
	static const char *const op[2] = { "Read", "Write" };
	_cleanup_free_ char *text = NULL;
	char *save = NULL, *inner, *end;

	if (kfile_read(s->fd, "io.stat", &text) < 0)
		return;
	json_gen_key(s->g, name);
	json_gen_array(s->g);
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		char *word = strtok_r(l, " ", &inner);
		unsigned long major, minor;

		if (!word)
			continue;
		major = strtoul(word, &end, 10);
		minor = *end == ':' ? strtoul(end + 1, NULL, 10) : 0;
		while ((word = strtok_r(NULL, " ", &inner))) {
			for (int k = 0; k < 2; k++) {
				const char *v = startswith(word, key[k]);
				uint64_t n;

				if (!v || *v != '=' || parse_u64(v + 1, &n) < 0)
					continue;
				json_gen_map(s->g);
				json_gen_kuint(s->g, "major", major);
				json_gen_kuint(s->g, "minor", minor);
				json_gen_kstr(s->g, "op", op[k]);
				json_gen_kuint(s->g, "value", n);
				json_gen_end(s->g);
			}
		}
	}
	json_gen_end(s->g);
}

static void blkio(struct stats *s)
{
	io_array(s, "ioServiceBytesRecursive", (const char *const[]){ "rbytes", "wbytes" });
	io_array(s, "ioServicedRecursive", (const char *const[]){ "rios", "wios" });
	pressure(s, "io.pressure");
}

static int cmp_str(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Page sizes, from the names "hugetlb.SIZE.current". */
static char **page_sizes(int dirfd)
{
	_cleanup_close_ int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char **sizes = NULL;
	struct dirent *de;

	if (!d)
		return NULL;
	steal_fd(&fd);
	while ((de = readdir(d))) {
		const char *size = startswith(de->d_name, "hugetlb.");
		size_t n = size ? strcspn(size, ".") : 0;

		if (size && streq(size + n, ".current"))
			strv_push(&sizes, xasprintf("%.*s", (int)n, size));
	}
	if (sizes)
		qsort(sizes, strv_len(sizes), sizeof(*sizes), cmp_str);
	return sizes;
}

static void hugetlb(struct stats *s)
{
	_cleanup_strv_ char **sizes = page_sizes(s->fd);

	for (size_t i = 0; sizes && sizes[i]; i++) {
		_cleanup_free_ char *rsvd = xasprintf("hugetlb.%s.rsvd.current", sizes[i]);
		_cleanup_free_ char *used = xasprintf("hugetlb.%s.current", sizes[i]);
		_cleanup_free_ char *events = xasprintf("hugetlb.%s.events", sizes[i]);
		bool has_rsvd = faccessat(s->fd, rsvd, F_OK, 0) == 0;

		entry(s, sizes[i], has_rsvd ? rsvd : used, NULL, NULL, events, "max");
	}
}

/* "mlx4_0 hca_handle=2 hca_object=max" */
static void rdma_array(struct stats *s, const char *name, const char *file)
{
	_cleanup_free_ char *text = NULL;
	char *save = NULL, *inner;

	if (kfile_read(s->fd, file, &text) < 0)
		return;
	json_gen_key(s->g, name);
	json_gen_array(s->g);
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		char *word = strtok_r(l, " ", &inner);

		if (!word)
			continue;
		json_gen_map(s->g);
		json_gen_kstr(s->g, "device", word);
		while ((word = strtok_r(NULL, " ", &inner))) {
			const char *v;
			uint64_t n = UINT32_MAX;

			if ((v = startswith(word, "hca_handle="))) {
				parse_u64(v, &n);
				json_gen_kuint(s->g, "hca_handles", n);
			} else if ((v = startswith(word, "hca_object="))) {
				parse_u64(v, &n);
				json_gen_kuint(s->g, "hca_objects", n);
			}
		}
		json_gen_end(s->g);
	}
	json_gen_end(s->g);
}

static void rdma(struct stats *s)
{
	rdma_array(s, "rdma_current", "rdma.current");
	rdma_array(s, "rdma_limit", "rdma.max");
}

static const struct section {
	const char *name;
	void (*fill)(struct stats *s);
} sections[] = {
	{ "cpu", cpu },
	{ "memory", memory },
	{ "pids", pids },
	{ "blkio", blkio },
	{ "hugetlb", hugetlb },
	{ "rdma", rdma },
};

int cgroup_stats_json(const struct cgroup *c, struct json_gen *g, struct err *e)
{
	struct stats s = { .fd = c->dirfd, .g = g };
	char name[CG_NAME_MAX];
	int r = cg_require(c, e);

	if (r < 0)
		return r;
	r = cg_has_word(c->dirfd, "cgroup.controllers", "");
	if (r < 0)
		return err_errno(
		    e, -r, "read the statistics of cgroup %s", cg_name(c->dirfd, name));
	json_gen_map(g);
	for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
		json_gen_key(g, sections[i].name);
		json_gen_map(g);
		sections[i].fill(&s);
		json_gen_end(g);
	}
	json_gen_end(g);
	return 0;
}
