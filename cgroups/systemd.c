/*
 * Cgroups by way of systemd: each container is a transient scope, which systemd makes, limits and
 * removes. docs/adr/0005-systemd-driver.md tells why it is done so.
 *
 *   a holder, a process that only sleeps, is forked
 *   StartTransientUnit with its pid, the limits as properties, Delegate=yes
 *   JobRemoved: the holder is in the scope's cgroup, which /proc/HOLDER/cgroup names
 *   init is cloned straight into it; the holder has done its part and ends
 *
 * systemd ends and forgets a scope whose last process ended, and the holder dies with the runtime:
 * one killed before init is there leaves nothing that runs.
 */
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/log.h"
#include "base/sys.h"
#include "cgroups/systemd.h"

/* ---- the place ---- */

int systemd_choose_path(
    struct systemd *s, const char *cgroups_path, const char *id, char **ret, struct err *e)
{
	_cleanup_place_ struct sd_place place = { 0 };
	_cleanup_free_ char *top = NULL, *slice = NULL, *dir = NULL;
	int r = sd_parse_place(cgroups_path, id, s->user, &place, e);

	if (r == 0)
		r = sd_manager_property(s, "ControlGroup", &top, e);
	if (r < 0)
		return r;
	slice = sd_slice_path(place.slice);
	dir = sd_unit_dir(place.unit);
	/* The manager of a whole hierarchy says "" or "/". */
	*ret = xasprintf("%s%s/%s", streq(top, "/") ? "" : top, slice, dir);
	return 0;
}

/* ---- the holder ---- */

static pid_t fork_holder(struct err *e)
{
	pid_t parent = getpid(), pid = fork();

	if (pid < 0)
		return err_errno(e, errno, "fork");
	if (pid > 0)
		return pid;
	/* No copy of a lock or a socket may outlive the runtime's own. */
	(void)syscall(SYS_close_range, 0u, ~0u, 0u);
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent)
		for (;;)
			pause();
	_exit(1);
}

void systemd_end_holder(pid_t *holder)
{
	if (*holder <= 0)
		return;
	(void)kill(*holder, SIGKILL);
	while (waitpid(*holder, NULL, 0) < 0 && errno == EINTR)
		;
	*holder = 0;
}

/* ---- start ---- */

static void fixed_properties(struct sd_props *p, const char *id, const char *slice, pid_t holder)
{
	_cleanup_free_ char *description = xasprintf("bailey container %s", id);
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", holder);
	sd_props_str(p, "Description", description);
	sd_props_str(p, "Slice", slice);
	sd_prop_push(p, sd_props_set(p, "PIDs", "au"), pid);
	sd_props_bool(p, "Delegate", true);
	sd_props_bool(p, "DefaultDependencies", false);
	sd_props_str(p, "CollectMode", "inactive-or-failed");
	sd_props_bool(p, "CPUAccounting", true);
	sd_props_bool(p, "IOAccounting", true);
	sd_props_bool(p, "MemoryAccounting", true);
	sd_props_bool(p, "TasksAccounting", true);
}

static int limit_properties(
    struct systemd *s, struct sd_props *p, const struct cg_plan *plan, int dirfd, struct err *e)
{
	int version = 0, r = 0;

	if (sd_props_need_version(plan))
		r = sd_version(s, &version, e);
	return r < 0 ? r : sd_props_from_plan(p, plan, dirfd, version, e);
}

/* As long as the holder lives there must be room for init beside it. Returns whether there was
 * none, so that systemd_settle() has to take it away again. */
static bool make_room(struct sd_props *p)
{
	for (size_t i = 0; i < p->n; i++) {
		if (streq(p->v[i].name, "TasksMax") && streq(p->v[i].v[0], "1")) {
			sd_props_u64(p, "TasksMax", 2);
			return true;
		}
	}
	return false;
}

/* Where the holder is now is where the scope is, whatever was planned. */
static int open_scope(
    pid_t holder, const char *unit, const struct cg_plan *plan, struct cgroup *ret, struct err *e)
{
	_cleanup_cgroup_ struct cgroup c = CGROUP_INIT;
	_cleanup_free_ char *path = NULL;
	int r = cgroup_of_pid(holder, &path, e);

	if (r == 0 && !streq(sd_unit_of(path), unit))
		r = err_set(e, EPROTO,
		    "systemd: unit %s was started, but its first process is in the cgroup %s", unit,
		    path);
	/* Controllers that systemd does not know (hugetlb, rdma) it does not hand down. */
	if (r == 0)
		r = cg_enable_above(path, plan, e);
	if (r == 0)
		r = cgroup_open(path, &c, e);
	if (r < 0)
		return r;
	*ret = c;
	c = (struct cgroup)CGROUP_INIT;
	return 0;
}

static int start_scope(struct systemd *s, const struct systemd_scope *want, pid_t holder,
    struct cgroup *ret, struct err *e)
{
	_cleanup_plan_ struct cg_plan plan = { 0 };
	_cleanup_props_ struct sd_props props = { 0 };
	_cleanup_place_ struct sd_place place = { 0 };
	int r;

	if ((r = sd_parse_place(want->cgroups_path, want->id, s->user, &place, e)) < 0 ||
	    (r = cg_plan(&plan, want->resources, -EBADF, e)) < 0)
		return r;
	fixed_properties(&props, want->id, place.slice, holder);
	if ((r = limit_properties(s, &props, &plan, -EBADF, e)) < 0)
		return r;
	(void)make_room(&props);
	if ((r = sd_props_from_annotations(&props, want->annotations, e)) < 0 ||
	    (r = sd_start_unit(s, place.unit, &props, e)) < 0)
		return r;
	return open_scope(holder, place.unit, &plan, ret, e);
}

int systemd_start(struct systemd *s, const struct systemd_scope *want, struct cgroup *ret,
    pid_t *ret_holder, struct err *e)
{
	pid_t holder = fork_holder(e);
	int r;

	if (holder < 0)
		return -e->code;
	r = start_scope(s, want, holder, ret, e);
	if (r < 0)
		systemd_end_holder(&holder); /* and with it a scope that was made */
	else
		*ret_holder = holder;
	return r;
}

int systemd_adopt(bool user, const char *path, const char *below, pid_t pid, struct err *e)
{
	_cleanup_systemd_ struct systemd *s = NULL;
	_cleanup_free_ char *sub = xasprintf("%s%s", *below == '/' || !*below ? "" : "/", below);
	_cleanup_free_ char *now = NULL;
	int r = systemd_connect(user, &s, e);

	if (r == 0)
		r = sd_attach(s, sd_unit_of(path), sub, pid, e);
	if (r == 0)
		r = cgroup_of_pid(pid, &now, e);
	if (r == 0 && !(startswith(now, path) && streq(now + strlen(path), sub)))
		r = err_set(e, EPROTO, "systemd: process %d was moved to the cgroup %s, not %s%s",
		    pid, now, path, sub);
	return r;
}

/* ---- update ---- */

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct sd_prop *)a)->name, ((const struct sd_prop *)b)->name);
}

int systemd_update(bool user, const struct cgroup *c, const struct spec_resources *r, struct err *e)
{
	_cleanup_systemd_ struct systemd *s = NULL;
	_cleanup_plan_ struct cg_plan plan = { 0 };
	_cleanup_props_ struct sd_props props = { 0 };
	int rc = cg_plan(&plan, r, c->dirfd, e);

	if (rc == 0)
		rc = cg_check_usage(c->dirfd, &r->memory, e);
	if (rc < 0 || !plan.n)
		return rc;
	rc = systemd_connect(user, &s, e);
	if (rc == 0)
		rc = limit_properties(s, &props, &plan, c->dirfd, e);
	/* systemd keeps each in a file and looks for them in this order: in another the unit would
	 * be said to need a daemon-reload. */
	if (props.n)
		qsort(props.v, props.n, sizeof(*props.v), by_name);
	if (rc == 0 && props.n)
		rc = sd_set_properties(s, sd_unit_of(c->path), &props, e);
	return rc < 0 ? rc : cg_enable_above(c->path, &plan, e);
}

int systemd_settle(bool user, const struct cgroup *c, const struct spec_resources *r, struct err *e)
{
	_cleanup_systemd_ struct systemd *s = NULL;
	_cleanup_plan_ struct cg_plan plan = { 0 };
	_cleanup_props_ struct sd_props all = { 0 }, tasks = { 0 };
	int rc = cg_plan(&plan, r, c->dirfd, e);

	if (rc == 0)
		rc = sd_props_from_plan(&all, &plan, c->dirfd, 0, e);
	if (rc < 0 || !make_room(&all))
		return rc;
	sd_props_u64(&tasks, "TasksMax", 1);
	rc = systemd_connect(user, &s, e);
	return rc < 0 ? rc : sd_set_properties(s, sd_unit_of(c->path), &tasks, e);
}

/* ---- stop ---- */

/* Before systemd is asked: it would send SIGTERM and wait a minute and a half. -ENOENT, without a
 * message: it is gone. */
static int empty(const char *path, const struct cgroup *c, struct err *e)
{
	int r = cgroup_kill_all(c, SIGKILL, e);

	if (r == 0) {
		r = cg_wait_event(c->dirfd, "populated", 0, CG_TIMEOUT_MS);
		if (r == -ETIMEDOUT)
			return err_set(e, EBUSY,
			    "cgroup %s: processes in it survived SIGKILL for %d s: they may be in "
			    "an uninterruptible system call",
			    path, CG_TIMEOUT_MS / 1000);
		if (r < 0 && r != -ENOENT && r != -ENODEV)
			return err_errno(e, -r, "wait for cgroup %s to become empty", path);
	}
	if (r == -ENOENT || r == -ENODEV) {
		err_clear(e);
		return -ENOENT;
	}
	return r;
}

static int stop_unit(bool user, const char *unit, struct err *e)
{
	_cleanup_systemd_ struct systemd *s = NULL;

	/* Whoever cannot be reached finds the cgroup empty one day, or has ended with its scopes:
	 * a user's manager does when the user logs out. */
	if (systemd_connect(user, &s, e) < 0) {
		log_debug("unit %s is not stopped: %s", unit, e->msg);
		err_clear(e);
		return 0;
	}
	return sd_stop_unit(s, unit, e);
}

int systemd_stop(bool user, const char *path, uint64_t id, struct err *e)
{
	_cleanup_cgroup_ struct cgroup c = CGROUP_INIT;
	int r = cgroup_open(path, &c, e);

	/* systemd removes a scope's cgroup once the scope is over. */
	if (r == -ENOENT) {
		err_clear(e);
		return 0;
	}
	if (r == 0 && c.id != id) {
		log_debug("cgroup %s is another one by now: it stays", path);
		return 0;
	}
	if (r == 0)
		r = empty(path, &c, e);
	if (r == 0)
		r = stop_unit(user, sd_unit_of(path), e);
	return r < 0 && r != -ENOENT ? r : cgroup_destroy(path, id, NULL, e);
}

/* The call of a runtime that is dead may be under way still: asking systemd, whose queue it is in,
 * also waits for it. systemd may start the scope with a holder that is a zombie by then, which is
 * in no cgroup, and never learns that the scope is empty. */
int systemd_stop_planned(bool user, const char *path, int timeout_ms, struct err *e)
{
	_cleanup_cgroup_ struct cgroup c = CGROUP_INIT;
	int r = cgroup_open(path, &c, e);

	if (r < 0 && r != -ENOENT)
		return r;
	err_clear(e);
	if (r == 0 && cg_wait_event(c.dirfd, "populated", 0, timeout_ms) == -ETIMEDOUT) {
		log_debug("cgroup %s stays: it is not empty", path);
		return 0;
	}
	return stop_unit(user, sd_unit_of(path), e);
}
