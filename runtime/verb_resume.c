#include "base/cleanup.h"
#include "runtime/container.h"
#include "runtime/verbs.h"

static int run_resume(const struct globals *g, void *opts, int argc, char **argv, struct err *e)
{
	_cleanup_cgroup_ struct cgroup cg = CGROUP_INIT;
	_cleanup_container_ struct container *c = NULL;
	enum status st;
	int r;

	r = container_open(g, argv[0], OPEN_EXCLUSIVE, &c, e);
	if (r == 0)
		r = container_status(c, &st, e);
	if (r == 0)
		r = status_check(c, EV_RESUME, st, e);
	if (r < 0)
		return r;
	r = container_cgroup(c, &cg, e);
	if (r == 0)
		r = cgroup_freeze(&cg, false, e);
	return r < 0 ? err_wrap(e, "resume \"%s\"", c->id) : 0;
}

static const struct opt resume_opts[] = { { 0 } };

const struct verb verb_resume = {
	.name = "resume",
	.args = "CONTAINER",
	.summary = "let a paused container go on",
	.detail = "Thaws the container's cgroup and returns when its processes run.",
	.opts = resume_opts,
	.min_args = 1,
	.max_args = 1,
	.error_exit = 1,
	.run = run_resume,
};
