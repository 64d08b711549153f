/*
 * A container's cgroup, told from others that had or will have the same path: config.json chooses
 * the path, and an engine may give the next container what a stopped one still has in its state.
 * What counts is the directory itself, by its inode number, which cgroup2 does not give twice.
 */
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "runtime/container.h"

/* How long what init of a killed create still does may take until it finds that it is alone. */
#define ORPHAN_MS 2000

int container_cgroup(const struct container *c, struct cgroup *ret, struct err *e)
{
	_cleanup_cgroup_ struct cgroup cg = CGROUP_INIT;
	int r;

	if (!c->cgroup_path)
		return err_set(e, ENOENT,
		    "container \"%s\" has no cgroup: it was created without one (rootless without "
		    "a delegated cgroup, or --cgroup-manager=disabled)",
		    c->id);
	r = cgroup_open(c->cgroup_path, &cg, e);
	if (r < 0)
		return r;
	if (cg.id != c->cgroup_id)
		return err_set(e, ENOENT, "cgroup %s is not that of container \"%s\"%s",
		    c->cgroup_path, c->id, c->cgroup_id ? " any more: it was made anew" : " yet");
	*ret = cg;
	cg = (struct cgroup)CGROUP_INIT;
	return 0;
}

static int plan_scope(
    const struct globals *g, struct container *c, const char *cgroups_path, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	int r = systemd_connect(g->is_rootless, &c->manager, e);

	if (r == 0)
		r = systemd_choose_path(c->manager, cgroups_path, c->id, &path, e);
	if (r < 0)
		return r;
	c->systemd = true;
	c->systemd_user = g->is_rootless;
	c->cgroup_path = arena_strdup(c->arena, path);
	return 0;
}

int container_plan_cgroup(
    const struct globals *g, struct container *c, const char *cgroups_path, struct err *e)
{
	_cleanup_free_ char *path = NULL, *made_from = NULL;
	struct err absent = ERR_INIT;
	int r;

	if (g->manager == CGROUP_DISABLED)
		return 0;
	if (g->manager == CGROUP_SYSTEMD)
		return plan_scope(g, c, cgroups_path, e);
	r = cgroup_choose_path(cgroups_path, c->id, g->is_rootless, &path, e);
	if (r < 0)
		return r;
	c->cgroup_path = arena_strdup(c->arena, path);
	/* Where this fails, making it fails too, and says why. */
	if (cgroup_first_missing(path, &made_from, &absent) == 0 && made_from)
		c->cgroup_made_from = arena_strdup(c->arena, made_from);
	return 0;
}

/* Is the cgroup, which was there already, what another container below --root has left? *ret: the
 * topmost directory that was made for that one. */
static int find_claim(const struct globals *g, const struct container *c, const struct cgroup *cg,
    bool *claimed, const char **ret, struct err *e)
{
	_cleanup_strv_ char **ids = NULL;
	int r = container_ids(g, &ids, e);

	*claimed = false;
	for (char **id = ids; r == 0 && *id; id++) {
		_cleanup_container_ struct container *o = NULL;
		struct err gone = ERR_INIT;
		enum status st;

		if (streq(*id, c->id) || container_open(g, *id, OPEN_UNLOCKED, &o, &gone) < 0 ||
		    !o->cgroup_path || !streq(o->cgroup_path, cg->path))
			continue;
		r = container_status(o, &st, e);
		if (r == 0 && st != ST_STOPPED)
			return err_set(e, EBUSY,
			    "cgroup %s is that of container \"%s\" (%s): choose another "
			    "linux.cgroupsPath",
			    cg->path, o->id, status_names[st]);
		if (r < 0 || o->cgroup_id != cg->id)
			continue;
		*claimed = true;
		*ret = o->cgroup_made_from ? arena_strdup(c->arena, o->cgroup_made_from) : NULL;
	}
	return r;
}

/* What a stopped container has left is made anew: it has that one's limits and device rules, and
 * deleting that container kills whoever is in it. */
static int create_own(const struct globals *g, struct container *c,
    const struct spec_resources *res, struct cgroup *cg, struct err *e)
{
	const char *made_from = NULL;
	bool claimed = false;
	int r = cgroup_create(c->cgroup_path, res, g->is_rootless, cg, e);

	if (r < 0 || !cg->path)
		return r;
	c->cgroup_made_from = cg->made_from ? arena_strdup(c->arena, cg->made_from) : NULL;
	if (cg->made_from)
		return 0;
	r = find_claim(g, c, cg, &claimed, &made_from, e);
	if (r < 0 || !claimed)
		return r;
	cgroup_close(cg);
	r = cgroup_remove_empty(c->cgroup_path, NULL, 0, e);
	if (r == 0)
		r = cgroup_create(c->cgroup_path, res, g->is_rootless, cg, e);
	if (r == 0 && !cg->made_from)
		r = err_set(e, EBUSY,
		    "cgroup %s belongs to a stopped container and cannot be made anew: remove the "
		    "cgroups in it, or choose another linux.cgroupsPath",
		    c->cgroup_path);
	c->cgroup_made_from = made_from;
	return r;
}

static int make_scope(struct container *c, const struct spec *s, const struct spec_resources *res,
    struct cgroup *ret, pid_t *ret_holder, struct err *e)
{
	struct systemd_scope want = {
		.cgroups_path = s->cgroups_path,
		.id = c->id,
		.resources = res,
		.annotations = &s->annotations,
	};
	int r = systemd_start(c->manager, &want, ret, ret_holder, e);

	systemd_close(c->manager);
	c->manager = NULL;
	if (r == 0)
		c->cgroup_path = arena_strdup(c->arena, ret->path);
	return r;
}

int container_make_cgroup(const struct globals *g, struct container *c, const struct spec *s,
    const struct spec_resources *res, struct cgroup *ret, pid_t *ret_holder, struct err *e)
{
	int r;

	if (!c->cgroup_path)
		return 0;
	r = c->systemd ? make_scope(c, s, res, ret, ret_holder, e) : create_own(g, c, res, ret, e);
	if (r < 0 || !ret->path)
		c->cgroup_path = c->cgroup_made_from = NULL;
	c->cgroup_id = r < 0 ? 0 : ret->id;
	/* Before a process can be in it: from here on whoever is there is the container's. */
	return r < 0 ? r : container_save(c, e);
}

int container_apply_cgroup(const struct container *c, const struct cgroup *cg,
    const struct spec_resources *res, bool with_devices, struct err *e)
{
	int r = c->systemd ? systemd_settle(c->systemd_user, cg, res, e) : 0;

	return r < 0 ? r : cgroup_apply(cg, res, with_devices, e);
}

int container_update_cgroup(
    const struct container *c, const struct spec_resources *res, struct err *e)
{
	_cleanup_cgroup_ struct cgroup cg = CGROUP_INIT;
	int r = container_cgroup(c, &cg, e);

	if (r == 0)
		r = c->systemd ? systemd_update(c->systemd_user, &cg, res, e)
			       : cgroup_enable(&cg, res, e);
	return r < 0 ? r : cgroup_apply(&cg, res, res->devices.n > 0, e);
}

int container_remove_cgroup(const struct container *c, struct err *e)
{
	if (!c->cgroup_path)
		return 0;
	if (c->systemd && c->cgroup_id)
		return systemd_stop(c->systemd_user, c->cgroup_path, c->cgroup_id, e);
	if (c->systemd)
		return systemd_stop_planned(c->systemd_user, c->cgroup_path, ORPHAN_MS, e);
	if (c->cgroup_id)
		return cgroup_destroy(c->cgroup_path, c->cgroup_id, c->cgroup_made_from, e);
	/* Planned, and perhaps made: a killed create left it empty or with an init that ends by
	 * itself. Whoever stays in it is somebody else. */
	return cgroup_remove_empty(c->cgroup_path, c->cgroup_made_from, ORPHAN_MS, e);
}
