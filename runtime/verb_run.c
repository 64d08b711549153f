#include <signal.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/sys.h"
#include "runtime/create_opts.h"
#include "runtime/foreground.h"
#include "runtime/lifecycle.h"
#include "runtime/verbs.h"

static const struct opt opts[] = {
	CREATE_OPTS,
	{ "detach", 'd', OPT_FLAG, CREATE_OPT(detach), NULL, "return once the process runs", 0, 0 },
	{ "keep", 0, OPT_FLAG, CREATE_OPT(keep), NULL, "do not delete the container when it ends",
	    0, 0 },
	{ 0 },
};

/* The container's end is its deletion; while it runs, other verbs may take the lock. */
static int stay(struct container *c, const struct create_opts *o, int master, struct err *e)
{
	struct err gone = ERR_INIT;
	int status = 0, r;

	container_unlock(c);
	r = foreground_wait(c->pid, c->pidfd, master, &status, e);
	if (r < 0 || o->keep)
		return r < 0 ? r : status;
	r = container_relock(c, &gone);
	if (r == -ENOENT) /* somebody else deleted it */
		return status;
	if (r < 0 || container_destroy(c, &gone) < 0)
		log_warning("delete \"%s\": %s", c->id, gone.msg);
	return status;
}

static int run(const struct globals *g, void *opts_, int argc, char **argv, struct err *e)
{
	_cleanup_container_ struct container *c = NULL;
	_cleanup_close_ int master = -EBADF;
	struct create_opts *o = opts_;
	bool foreground = !o->detach && !o->console_socket;
	int r;

	if (!o->detach)
		foreground_prepare();
	o->start = true;
	r = container_create(g, argv[0], o, &c, foreground ? &master : NULL, e);
	if (r < 0)
		return r;
	return o->detach ? 0 : stay(c, o, master, e);
}

const struct verb verb_run = {
	.name = "run",
	.args = "CONTAINER",
	.summary = "create and start a container, and stay until it ends",
	.detail =
	    "Create, start, wait and delete in one: the exit code is the process's own, or 128 + N "
	    "when signal N ended it. Signals sent to bailey go to the process. With --detach, "
	    "returns at once and leaves the container for delete.",
	.opts = opts,
	.opts_size = sizeof(struct create_opts),
	.min_args = 1,
	.max_args = 1,
	.sealed = true,
	.check = create_check,
	.error_exit = 1,
	.run = run,
};
