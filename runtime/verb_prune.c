#include <stdio.h>

#include "base/cleanup.h"
#include "runtime/image_work.h"
#include "runtime/verbs.h"

struct prune_opts {
	const char *store;
	bool all;
};

static int work(void *ctx, const struct store_opts *so, struct image_result *ret, struct err *e)
{
	const struct prune_opts *o = ctx;
	_cleanup_store_ struct store *s = NULL;
	struct store_swept n;
	int r = image_store_open(o->store, so, &s, e);

	if (r == 0)
		r = store_sweep(s, o->all, true, &n, e);
	if (r < 0)
		return r;
	printf("removed %zu names, %zu layers, %zu root images, %zu documents\n", n.names, n.layers,
	    n.roots, n.blobs);
	return 0;
}

static int run(const struct globals *g, void *opts, int argc, char **argv, struct err *e)
{
	_cleanup_image_ids_ struct image_ids ids = { 0 };
	struct image_result res;
	int r = image_ids(&ids, e);

	return r < 0 ? r : image_work(&ids, work, opts, &res, e);
}

#define OFF(field) offsetof(struct prune_opts, field)
static const struct opt opts[] = {
	{ "all", 'a', OPT_FLAG, OFF(all), NULL,
	    "also the images that no container and no bundle uses" },
	{ "store", 0, OPT_STR, OFF(store), "DIR", STORE_HELP },
	{ 0 },
};

const struct verb verb_prune = {
	.name = "prune",
	.args = "",
	.summary = "remove from the store what nothing refers to",
	.detail =
	    "Removes layers that no image, container or bundle needs. Waits until others that "
	    "work in the store have ended.",
	.opts = opts,
	.opts_size = sizeof(struct prune_opts),
	.error_exit = 1,
	.run = run,
};
