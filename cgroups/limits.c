/* Writing the plan, and cgroup_apply. */
#include "base/fd.h"
#include "base/log.h"
#include "cgroups/internal.h"

static int write_failed(int dirfd, const struct cg_write *w, int code, struct err *e)
{
	char name[CG_NAME_MAX];
	int has = w->controller ? cg_has_word(dirfd, "cgroup.controllers", w->controller) : 1;

	if (code == ENOENT && has == 0)
		return cg_missing_controller(dirfd, w, e);
	cg_name(dirfd, name);
	if (code == ENOENT && has > 0)
		return err_set(e, ENOENT, "%s: this kernel has no %s/%s", w->json, name, w->file);
	return err_errno(e, code, "%s: write \"%s\" to %s/%s", w->json, w->value, name, w->file);
}

int cg_write_plan(int dirfd, const struct cg_plan *p, struct err *e)
{
	bool refused = false;

	for (size_t i = 0; i < p->n; i++) {
		const struct cg_write *w = &p->v[i];
		int r;

		if (w->again && !refused)
			continue;
		r = kfile_write(dirfd, w->file, w->value);
		log_debug("%s: \"%s\"%s%s", w->file, w->value, r < 0 ? ": " : "",
		    r < 0 ? strerror(-r) : "");
		if (r == -EINVAL && w->retried)
			refused = true;
		else if (r == -ENOENT && (w->no_limit || w->optional) &&
			 faccessat(dirfd, "cgroup.controllers", F_OK, 0) == 0)
			continue;
		else if (r < 0)
			return write_failed(dirfd, w, -r, e);
	}
	return 0;
}

/* memory.checkBeforeUpdate: a limit below what is in use would have the kernel reclaim and kill. */
int cg_check_usage(int dirfd, const struct spec_memory *m, struct err *e)
{
	uint64_t usage, swap = 0;
	int r;

	if (!m->check_before_update.v || (m->limit.v <= 0 && m->swap.v <= 0))
		return 0;
	r = cg_read_u64(dirfd, "memory.current", &usage);
	if (r == -ENOENT) /* no memory controller: the write says so */
		return 0;
	if (r == 0)
		r = cg_read_u64(dirfd, "memory.swap.current", &swap);
	if (r < 0 && r != -ENOENT)
		return err_errno(e, -r, "read memory.current and memory.swap.current");
	if (m->limit.v > 0 && usage >= (uint64_t)m->limit.v)
		return err_set(e, EBUSY,
		    ".linux.resources.memory.limit: %lld: refused by checkBeforeUpdate: %llu bytes "
		    "are in use",
		    (long long)m->limit.v, (unsigned long long)usage);
	if (m->swap.v > 0 && usage + swap >= (uint64_t)m->swap.v)
		return err_set(e, EBUSY,
		    ".linux.resources.memory.swap: %lld: refused by checkBeforeUpdate: %llu bytes "
		    "of "
		    "memory and swap are in use",
		    (long long)m->swap.v, (unsigned long long)(usage + swap));
	return 0;
}

static int apply_limits(const struct cgroup *c, const struct spec_resources *r, struct err *e)
{
	_cleanup_plan_ struct cg_plan p = { 0 };
	int rc = cg_plan(&p, r, c->dirfd, e);

	if (rc < 0 || !p.n)
		return rc;
	if (c->dirfd < 0)
		return cg_plan_limits(&p) ? cg_require(c, e) : 0;
	rc = cg_check_usage(c->dirfd, &r->memory, e);
	return rc < 0 ? rc : cg_write_plan(c->dirfd, &p, e);
}

int cgroup_enable(const struct cgroup *c, const struct spec_resources *r, struct err *e)
{
	_cleanup_plan_ struct cg_plan p = { 0 };
	int rc = c->dirfd < 0 ? 0 : cg_plan(&p, r, c->dirfd, e);

	return rc < 0 || !p.n ? rc : cg_enable_above(c->path, &p, e);
}

int cgroup_apply(
    const struct cgroup *c, const struct spec_resources *r, bool with_devices, struct err *e)
{
	_cleanup_prog_ struct cg_prog prog = { 0 };
	int rc = apply_limits(c, r, e);

	if (rc < 0 || !with_devices)
		return rc;
	rc = cg_require(c, e);
	if (rc == 0)
		rc = cg_devices_compile(r, &prog, e);
	return rc < 0 ? rc : cg_devices_attach(c->dirfd, &prog, e);
}
