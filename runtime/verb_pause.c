#include "base/cleanup.h"
#include "runtime/container.h"
#include "runtime/verbs.h"
#include "runtime/vm_level.h"

static int run_pause(const struct globals *g, void *opts, int argc, char **argv, struct err *e)
{
	_cleanup_cgroup_ struct cgroup cg = CGROUP_INIT;
	_cleanup_container_ struct container *c = NULL;
	enum status st;
	int r;

	r = container_open(g, argv[0], OPEN_EXCLUSIVE, &c, e);
	if (r == 0)
		r = container_status(c, &st, e);
	if (r == 0)
		r = status_check(c, EV_PAUSE, st, e);
	if (r < 0)
		return r;
	r = container_cgroup(c, &cg, e);
	if (r == 0 && c->vm)
		r = vm_prepare_freeze(&cg, e);
	if (r == 0)
		r = cgroup_freeze(&cg, true, e);
	return r < 0 ? err_wrap(e, "pause \"%s\"", c->id) : 0;
}

static const struct opt pause_opts[] = { { 0 } };

const struct verb verb_pause = {
	.name = "pause",
	.args = "CONTAINER",
	.summary = "suspend all processes of a container",
	.detail =
	    "Freezes the container's cgroup and returns when all of its processes stand still. "
	    "\"bailey resume\" thaws it; a kill with KILL works on a paused container too.",
	.opts = pause_opts,
	.min_args = 1,
	.max_args = 1,
	.error_exit = 1,
	.run = run_pause,
};
