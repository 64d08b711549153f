#include "runtime/lifecycle.h"
#include "runtime/verbs.h"

static const struct opt opts[] = { { 0 } };

static int run(const struct globals *g, void *o, int argc, char **argv, struct err *e)
{
	_cleanup_container_ struct container *c = NULL;
	enum status st;
	int r;

	if ((r = container_open(g, argv[0], OPEN_EXCLUSIVE, &c, e)) < 0 ||
	    (r = container_status(c, &st, e)) < 0 || (r = status_check(c, EV_START, st, e)) < 0)
		return r;
	return container_start(c, e);
}

const struct verb verb_start = {
	.name = "start",
	.args = "CONTAINER",
	.summary = "let a created container's process execute its command",
	.opts = opts,
	.opts_size = 0,
	.min_args = 1,
	.max_args = 1,
	.error_exit = 1,
	.run = run,
};
