#include "base/cleanup.h"
#include "runtime/container.h"
#include "runtime/verbs.h"

/* No lock: hooks ask for the state while create holds it. state.json is replaced atomically. */
static int run_state(const struct globals *g, void *opts, int argc, char **argv, struct err *e)
{
	_cleanup_container_ struct container *c = NULL;
	_cleanup_free_ char *json = NULL;
	struct spec_state state;
	enum status st;
	int r;

	r = container_open(g, argv[0], OPEN_UNLOCKED, &c, e);
	if (r == 0)
		r = container_status(c, &st, e);
	if (r < 0)
		return r;
	container_state(c, st, &state);
	json = spec_state_json(&state, true);
	puts(json);
	return 0;
}

static const struct opt state_opts[] = { { 0 } };

const struct verb verb_state = {
	.name = "state",
	.args = "CONTAINER",
	.summary = "print a container's state as JSON",
	.detail = "Prints the state object of the OCI runtime specification (ociVersion, id, "
		  "status, pid, bundle, annotations) with rootfs, created and owner. The status is "
		  "creating, created, running, paused or stopped; pid is 0 when stopped.",
	.opts = state_opts,
	.min_args = 1,
	.max_args = 1,
	.error_exit = 1,
	.run = run_state,
};
