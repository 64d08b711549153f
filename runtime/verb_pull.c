#include <stdio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "runtime/image_remote.h"
#include "runtime/image_work.h"
#include "runtime/verbs.h"

struct pull_opts {
	const char *store, *platform;
	bool json, quiet, root;
	struct remote_opts remote;
};
struct pull {
	const struct pull_opts *o;
	const char *source;
};

static void print_result(const struct pull_opts *o, const struct image *im)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);

	if (!o->json) {
		puts(im->config_digest);
		return;
	}
	json_gen_map(g);
	json_gen_kstr(g, "event", "pulled");
	json_gen_kstr(g, "id", im->config_digest);
	json_gen_kstr(g, "manifest", im->digest);
	json_gen_kstr(g, "name", im->name);
	json_gen_kuint(g, "size", im->size);
	json_gen_end(g);
	puts(json_gen_text(g, NULL));
}

static int make_root(struct store *s, const struct image *im, struct err *e)
{
	int fd = store_root_image(s, im, image_mkfs, e);

	if (fd < 0)
		return fd;
	close(fd);
	return 0;
}

static int work(void *ctx, const struct store_opts *so, struct image_result *ret, struct err *e)
{
	const struct pull *p = ctx;
	const struct image_remote remote = image_remote_of(&p->o->remote);
	_cleanup_progress_ struct image_progress_state progress;
	_cleanup_store_ struct store *s = NULL;
	_cleanup_image_ struct image *im = NULL;
	int r;

	progress_init(&progress, p->o->json    ? PROGRESS_JSON
				 : p->o->quiet ? PROGRESS_QUIET
					       : PROGRESS_AUTO);
	r = image_store_open(p->o->store, so, &s, e);
	if (r == 0)
		r = image_obtain(s,
		    &(struct image_want){
			.source = p->source,
			.platform = p->o->platform,
			.progress = p->o->quiet && !p->o->json ? NULL : &progress.callback,
			.remote = &remote,
		    },
		    &im, e);
	if (r == 0 && p->o->root)
		r = make_root(s, im, e);
	if (r < 0)
		return r;
	progress_end(&progress);
	print_result(p->o, im);
	return 0;
}

static int run(const struct globals *g, void *opts, int argc, char **argv, struct err *e)
{
	_cleanup_image_ids_ struct image_ids ids = { 0 };
	struct pull p = { .o = opts, .source = argv[0] };
	struct image_result res;
	int r = image_ids(&ids, e);

	return r < 0 ? r : image_work(&ids, work, &p, &res, e);
}

#define OFF(field) offsetof(struct pull_opts, field)
static const struct opt opts[] = {
	{ "platform", 0, OPT_STR, OFF(platform), "PLATFORM", PLATFORM_HELP },
	{ "store", 0, OPT_STR, OFF(store), "DIR", STORE_HELP },
	REMOTE_OPTS(struct pull_opts, remote),
	{ "json", 0, OPT_FLAG, OFF(json), NULL, "progress and result as JSON, an object a line" },
	{ "rootfs-image", 0, OPT_FLAG, OFF(root), NULL,
	    "also make what run --rootfs-image boots machines from" },
	{ "quiet", 'q', OPT_FLAG, OFF(quiet), NULL, "no progress" },
	{ 0 },
};

const struct verb verb_pull = {
	.name = "pull",
	.args = "SOURCE",
	.summary = "unpack an image's layers into the store",
	.detail =
	    "Checks and unpacks what the store lacks, and prints the image's ID. " SOURCE_DETAIL,
	.examples = "bailey pull oci:layout:latest\nbailey pull docker-archive:saved.tar\n"
		    "bailey pull docker://debian:12",
	.opts = opts,
	.opts_size = sizeof(struct pull_opts),
	.min_args = 1,
	.max_args = 1,
	.error_exit = 1,
	.run = run,
};
