/* The part of the plan that comes from lists: block I/O, huge pages, RDMA, and unified. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "cgroups/internal.h"

/* ---- block I/O ---- */

#define BLKIO ".linux.resources.blockIO."

/* Both schedulers' weights: BFQ takes v1's range as it is, iocost 1..10000. */
static int weight_value(bool bfq, const char *json, uint32_t weight, unsigned *ret, struct err *e)
{
	if (weight < 10 || weight > 1000)
		return err_set(e, EINVAL, "%s: %u: out of range (10 to 1000)", json, weight);
	*ret = bfq ? weight : 1 + (weight - 10) * 9999 / 990;
	return 0;
}

static int plan_weight_devices(
    struct cg_plan *p, const struct spec_block_io *io, bool bfq, struct cg_write w, struct err *e)
{
	char json[96], value[64];
	unsigned n = 0;

	w.json = json;
	w.value = value;
	for (size_t i = 0; i < io->weight_device.n; i++) {
		const struct spec_weight_device *d = &io->weight_device.v[i];

		snprintf(json, sizeof(json), BLKIO "weightDevice[%zu]", i);
		if (d->leaf_weight.v)
			return err_set(e, EOPNOTSUPP,
			    "%s.leafWeight: cgroup v2 has no such property: use weight", json);
		if (!d->weight.set || !d->weight.v)
			continue;
		if (weight_value(bfq, json, d->weight.v, &n, e) < 0)
			return -e->code;
		snprintf(value, sizeof(value), "%u:%u %u", d->major, d->minor, n);
		cg_plan_add(p, w);
	}
	return 0;
}

static int plan_weights(struct cg_plan *p, const struct spec_block_io *io, int dirfd, struct err *e)
{
	bool one = io->weight.set && io->weight.v, bfq;
	struct cg_write w = { .json = BLKIO "weight", .controller = "io" };
	char value[64];
	unsigned n = 0;

	if (!one && !io->weight_device.n)
		return 0;
	bfq = dirfd >= 0 && faccessat(dirfd, "io.bfq.weight", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	w.file = bfq ? "io.bfq.weight" : "io.weight";
	w.value = value;
	if (one) {
		if (weight_value(bfq, w.json, io->weight.v, &n, e) < 0)
			return -e->code;
		snprintf(value, sizeof(value), "%u", n);
		cg_plan_add(p, w);
	}
	return plan_weight_devices(p, io, bfq, w, e);
}

static void plan_throttles(
    struct cg_plan *p, const char *name, const char *key, const struct spec_throttles *t)
{
	char json[96], value[96];

	for (size_t i = 0; i < t->n; i++) {
		const struct spec_throttle *d = &t->v[i];

		snprintf(json, sizeof(json), BLKIO "%s[%zu]", name, i);
		if (d->rate)
			snprintf(value, sizeof(value), "%u:%u %s=%llu", d->major, d->minor, key,
			    (unsigned long long)d->rate);
		else /* as in v1, 0 lifts the limit */
			snprintf(value, sizeof(value), "%u:%u %s=max", d->major, d->minor, key);
		cg_plan_add(p, (struct cg_write){ .json = json,
				   .controller = "io",
				   .file = "io.max",
				   .value = value,
				   .no_limit = !d->rate });
	}
}

/* ---- huge pages, RDMA ---- */

/* A limit of 0 is a limit: no huge pages. */
static int plan_hugepages(struct cg_plan *p, const struct spec_resources *r, struct err *e)
{
	for (size_t i = 0; i < r->hugepages.n; i++) {
		const struct spec_hugepage *h = &r->hugepages.v[i];
		char json[64], value[32];
		_cleanup_free_ char *max = xasprintf("hugetlb.%s.max", h->page_size);
		_cleanup_free_ char *rsvd = xasprintf("hugetlb.%s.rsvd.max", h->page_size);
		struct cg_write w = { json, "hugetlb", max, value };

		snprintf(json, sizeof(json), ".linux.resources.hugepageLimits[%zu]", i);
		if (!*h->page_size || strchr(h->page_size, '/'))
			return err_set(
			    e, EINVAL, "%s.pageSize: \"%s\": not a page size", json, h->page_size);
		snprintf(value, sizeof(value), "%llu", (unsigned long long)h->limit);
		cg_plan_add(p, w);
		/* Reservations too, else mmap would promise pages that a fault cannot have. */
		w.file = rsvd;
		w.optional = true;
		cg_plan_add(p, w);
	}
	return 0;
}

static void plan_rdma(struct cg_plan *p, const struct spec_resources *r)
{
	for (size_t i = 0; i < r->rdma.n; i++) {
		const struct spec_rdma *d = &r->rdma.v[i];
		_cleanup_free_ char *json = xasprintf(".linux.resources.rdma[\"%s\"]", d->device);
		_cleanup_strbuf_ struct strbuf value = { 0 };

		if (!d->hca_handles.set && !d->hca_objects.set)
			continue;
		strbuf_add(&value, d->device);
		if (d->hca_handles.set)
			strbuf_addf(&value, " hca_handle=%u", d->hca_handles.v);
		if (d->hca_objects.set)
			strbuf_addf(&value, " hca_object=%u", d->hca_objects.v);
		cg_plan_add(p, (struct cg_write){ json, "rdma", "rdma.max", value.s });
	}
}

/* ---- unified ---- */

/* Of the core's own files only those that limit: the others move processes, kill, freeze, or change
 * what the runtime itself relies on. */
static const char *const core_files[] = { "cgroup.max.depth", "cgroup.max.descendants",
	"cgroup.pressure" };

static int check_unified(const struct spec_kv *kv, const char *json, struct err *e)
{
	if (strchr(kv->key, '/') || !strchr(kv->key, '.') || kv->key[0] == '.')
		return err_set(e, EINVAL,
		    "%s: not the name of a cgroup file (controller.parameter, no slashes)", json);
	if (!*kv->value)
		return err_set(e, EINVAL, "%s: empty value", json);
	if (!startswith(kv->key, "cgroup."))
		return 0;
	for (size_t i = 0; i < ARRAY_SIZE(core_files); i++) {
		if (streq(kv->key, core_files[i]))
			return 0;
	}
	return err_set(
	    e, EPERM, "%s: refused: this file is the runtime's to write, it sets no limit", json);
}

/* Files like io.max take one line per write(2). */
static int plan_unified(struct cg_plan *p, const struct spec_kv *kv, struct err *e)
{
	_cleanup_free_ char *json = xasprintf(".linux.resources.unified[\"%s\"]", kv->key);
	_cleanup_strv_ char **lines = NULL;
	_cleanup_free_ char *controller = NULL;
	int r = check_unified(kv, json, e);

	if (r < 0)
		return r;
	if (!startswith(kv->key, "cgroup."))
		controller = xasprintf("%.*s", (int)strcspn(kv->key, "."), kv->key);
	lines = strv_split(kv->value, '\n');
	if (!lines[0])
		return err_set(e, EINVAL, "%s: empty value", json);
	for (size_t i = 0; lines[i]; i++)
		cg_plan_add(p, (struct cg_write){ json, controller, kv->key, lines[i] });
	return 0;
}

int cg_plan_lists(struct cg_plan *p, const struct spec_resources *r, int dirfd, struct err *e)
{
	const struct spec_block_io *io = &r->block_io;
	int rc = plan_weights(p, io, dirfd, e);

	if (rc < 0)
		return rc;
	plan_throttles(p, "throttleReadBpsDevice", "rbps", &io->read_bps);
	plan_throttles(p, "throttleWriteBpsDevice", "wbps", &io->write_bps);
	plan_throttles(p, "throttleReadIOPSDevice", "riops", &io->read_iops);
	plan_throttles(p, "throttleWriteIOPSDevice", "wiops", &io->write_iops);
	rc = plan_hugepages(p, r, e);
	if (rc < 0)
		return rc;
	plan_rdma(p, r);
	/* Last, so that what is said in cgroup v2's own terms holds. */
	for (size_t i = 0; i < r->unified.n && rc == 0; i++)
		rc = plan_unified(p, &r->unified.v[i], e);
	return rc;
}
