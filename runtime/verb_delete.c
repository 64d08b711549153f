#include <signal.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/sys.h"
#include "runtime/lifecycle.h"
#include "runtime/verbs.h"

struct delete_opts {
	bool force;
};
static const struct opt opts[] = {
	{ "force", 'f', OPT_FLAG, offsetof(struct delete_opts, force), NULL,
	    "kill the container first; it is no error when it does not exist", 0, 0 },
	{ 0 },
};

/* Before the lock: whoever holds it may wait for this very process (a create whose init hangs). */
static int kill_init(const struct globals *g, const char *id, struct err *e)
{
	_cleanup_container_ struct container *c = NULL;
	enum status st;
	int r = container_open(g, id, OPEN_UNLOCKED, &c, e);

	if (r < 0)
		return r;
	if (container_status(c, &st, e) == 0 && c->pidfd >= 0)
		(void)sys_pidfd_send_signal(c->pidfd, SIGKILL);
	return 0;
}

static int run(const struct globals *g, void *opts_, int argc, char **argv, struct err *e)
{
	const struct delete_opts *o = opts_;
	_cleanup_container_ struct container *c = NULL;
	enum status st;
	int r = 0;

	if (o->force)
		r = kill_init(g, argv[0], e);
	if (r == 0)
		r = container_open(g, argv[0], OPEN_EXCLUSIVE, &c, e);
	if (r == -ENOENT && o->force) {
		log_debug("%s", e->msg);
		return 0;
	}
	if (r < 0 || (r = container_status(c, &st, e)) < 0)
		return r;
	if (!o->force && (r = status_check(c, EV_DELETE, st, e)) < 0)
		return r;
	return container_destroy(c, e);
}

const struct verb verb_delete = {
	.name = "delete",
	.args = "CONTAINER",
	.summary = "remove what is left of a stopped container",
	.detail =
	    "Also removes a container that was created and never started. Runs the poststop hooks.",
	.opts = opts,
	.opts_size = sizeof(struct delete_opts),
	.min_args = 1,
	.max_args = 1,
	.error_exit = 1,
	.run = run,
};
