#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/image_work.h"
#include "runtime/verbs.h"

#define SHORT_HEX 12

struct images_opts {
	const char *store, *format;
	bool quiet;
};

static void gen_entry(struct json_gen *g, const struct store_entry *en)
{
	const struct image *im = en->image;
	const struct image_platform *p = &im->config.platform;

	json_gen_map(g);
	json_gen_kstr(g, "name", im->name);
	json_gen_kstr(g, "id", im->config_digest);
	json_gen_kstr(g, "manifest", im->digest);
	json_gen_kstr(g, "os", p->os);
	json_gen_kstr(g, "architecture", p->architecture);
	if (p->variant)
		json_gen_kstr(g, "variant", p->variant);
	json_gen_kuint(g, "layers", im->n_layers);
	json_gen_kuint(g, "size", im->size);
	if (im->config.created)
		json_gen_kstr(g, "created", im->config.created);
	json_gen_kstr(g, "pulled", en->pulled);
	json_gen_end(g);
}

static void print_json(const struct store_list *l)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);

	json_gen_array(g);
	for (size_t i = 0; i < l->n; i++)
		gen_entry(g, &l->v[i]);
	json_gen_end(g);
	puts(json_gen_text(g, NULL));
}

/* A file's name may hold what moves a terminal's cursor. */
static const char *printable(struct arena *a, const char *s)
{
	char *copy = arena_strdup(a, s);

	for (char *p = copy; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	return copy;
}

static void print_table(const struct store_list *l)
{
	_cleanup_arena_ struct arena *a = arena_new();
	int width = (int)strlen("NAME");

	for (size_t i = 0; i < l->n; i++) {
		int n = (int)strlen(l->v[i].image->name);

		width = n > width ? n : width;
	}
	printf("%-*s  %-*s  %-14s  %10s  %s\n", width, "NAME", SHORT_HEX, "ID", "PLATFORM", "SIZE",
	    "PULLED");
	for (size_t i = 0; i < l->n; i++) {
		const struct image *im = l->v[i].image;

		printf("%-*s  %.*s  %-14s  %7.1f MB  %s\n", width, printable(a, im->name),
		    SHORT_HEX, strchr(im->config_digest, ':') + 1,
		    image_platform_text(a, &im->config.platform), (double)im->size / 1e6,
		    l->v[i].pulled);
	}
}

static int work(void *ctx, const struct store_opts *so, struct image_result *ret, struct err *e)
{
	const struct images_opts *o = ctx;
	_cleanup_store_list_ struct store_list l = { 0 };
	_cleanup_store_ struct store *s = NULL;
	int r = image_store_open(o->store, so, &s, e);

	if (r < 0 || (r = store_list(s, &l, e)) < 0)
		return r;
	if (o->quiet)
		for (size_t i = 0; i < l.n; i++)
			puts(l.v[i].image->config_digest);
	else if (o->format && streq(o->format, "json"))
		print_json(&l);
	else
		print_table(&l);
	return 0;
}

static int run(const struct globals *g, void *opts, int argc, char **argv, struct err *e)
{
	_cleanup_image_ids_ struct image_ids ids = { 0 };
	const struct images_opts *o = opts;
	struct image_result res;
	int r;

	if (o->format && !streq(o->format, "json") && !streq(o->format, "table"))
		return err_set(e, EINVAL, "--format %s: must be table or json", o->format);
	r = image_ids(&ids, e);
	return r < 0 ? r : image_work(&ids, work, opts, &res, e);
}

#define OFF(field) offsetof(struct images_opts, field)
static const struct opt opts[] = {
	{ "format", 'f', OPT_STR, OFF(format), "FORMAT", "table (default) or json" },
	{ "quiet", 'q', OPT_FLAG, OFF(quiet), NULL, "IDs only" },
	{ "store", 0, OPT_STR, OFF(store), "DIR", STORE_HELP },
	{ 0 },
};

const struct verb verb_images = {
	.name = "images",
	.args = "",
	.summary = "list the images of the store",
	.opts = opts,
	.opts_size = sizeof(struct images_opts),
	.error_exit = 1,
	.run = run,
};
