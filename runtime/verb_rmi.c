#include "base/cleanup.h"
#include "base/log.h"
#include "runtime/image_work.h"
#include "runtime/verbs.h"

struct rmi_opts {
	const char *store;
};
struct rmi {
	const struct rmi_opts *o;
	int argc;
	char **argv;
};

static int work(void *ctx, const struct store_opts *so, struct image_result *ret, struct err *e)
{
	const struct rmi *m = ctx;
	_cleanup_store_ struct store *s = NULL;
	struct store_swept swept;
	int r = image_store_open(m->o->store, so, &s, e);

	for (int i = 0; i < m->argc && r == 0; i++) {
		size_t n;

		r = store_forget(s, m->argv[i], &n, e);
	}
	if (r < 0)
		return r;
	r = store_sweep(s, false, false, &swept, e);
	if (r == -EBUSY) { /* forgotten it is; its layers go with the next one */
		log_warning("%s: \"bailey prune\" removes the layers later", e->msg);
		err_clear(e);
		return 0;
	}
	return r;
}

static int run(const struct globals *g, void *opts, int argc, char **argv, struct err *e)
{
	_cleanup_image_ids_ struct image_ids ids = { 0 };
	struct rmi m = { .o = opts, .argc = argc, .argv = argv };
	struct image_result res;
	int r = image_ids(&ids, e);

	return r < 0 ? r : image_work(&ids, work, &m, &res, e);
}

static const struct opt opts[] = {
	{ "store", 0, OPT_STR, offsetof(struct rmi_opts, store), "DIR", STORE_HELP },
	{ 0 },
};

const struct verb verb_rmi = {
	.name = "rmi",
	.args = "IMAGE [IMAGE…]",
	.summary = "remove images from the store",
	.detail =
	    "IMAGE is a name as \"bailey images\" shows it, or the beginning of an ID: then all "
	    "names of the image go. Layers that a container, a bundle or another image uses stay.",
	.opts = opts,
	.opts_size = sizeof(struct rmi_opts),
	.min_args = 1,
	.max_args = -1,
	.error_exit = 1,
	.run = run,
};
