#include "runtime/create_opts.h"
#include "runtime/lifecycle.h"
#include "runtime/verbs.h"
#include "runtime/vm_level.h"

static const struct opt opts[] = {
	CREATE_OPTS,
	{ 0 },
};

int create_check(void *o, struct err *e)
{
	struct create_opts *c = o;
	struct vm_root root;
	int r = c->rootfs_image ? vm_root_check(VM_ROOT_OPTION, c->rootfs_image, &root, e) : 0;

	return r < 0 ? r : check_preserve_fds(&c->preserve_fds, &c->keep_fds, &c->listen_fds, e);
}

static int run(const struct globals *g, void *o, int argc, char **argv, struct err *e)
{
	_cleanup_container_ struct container *c = NULL;

	return container_create(g, argv[0], o, &c, NULL, e);
}

const struct verb verb_create = {
	.name = "create",
	.args = "CONTAINER",
	.summary = "make a container from a bundle; its process waits for start",
	.detail =
	    "Reads config.json in the bundle's directory, makes everything it asks for and leaves "
	    "the container in the state \"created\": its first process waits until \"bailey "
	    "start\" "
	    "lets it execute the configured command.",
	.opts = opts,
	.opts_size = sizeof(struct create_opts),
	.min_args = 1,
	.max_args = 1,
	.sealed = true,
	.check = create_check,
	.error_exit = 1,
	.run = run,
};
