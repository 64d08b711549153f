/* Indexes, manifests and configurations of images: the first byte says which, the rest is it. */
#include "images/manifest.h"
#include "tests/fuzz/fuzz.h"

static void check_descriptors(const struct image_descriptors *d)
{
	for (size_t i = 0; i < d->n; i++) {
		MUST(image_digest_ok(d->v[i].digest));
		MUST(d->v[i].size <= INT64_MAX);
		MUST(d->v[i].media_type != NULL);
	}
}

static void an_index(struct arena *a, const char *buf, size_t n)
{
	struct image_platform host = { "linux", "amd64", NULL };
	const struct image_descriptor *chosen = NULL;
	struct err e = ERR_INIT, none = ERR_INIT;
	struct image_index ix;
	int r = image_index_parse(a, "index", NULL, buf, n, &ix, &e);

	must_be_consistent(r, &e);
	if (r < 0)
		return;
	check_descriptors(&ix.manifests);
	r = image_index_choose(a, "index", &ix, &host, &chosen, &none);
	must_be_consistent(r, &none);
	MUST((r == 0) == (chosen != NULL));
}

static void a_manifest(struct arena *a, const char *buf, size_t n)
{
	struct err e = ERR_INIT, again = ERR_INIT;
	struct image_manifest m;
	struct image_index ix;
	int r = image_manifest_parse(a, "manifest", MEDIA_TYPE_MANIFEST, buf, n, &m, &e);

	must_be_consistent(r, &e);
	if (r < 0)
		return;
	check_descriptors(&m.layers);
	MUST(m.layers.n <= IMAGE_LAYERS_MAX);
	MUST(m.config.size <= IMAGE_DOCUMENT_MAX);
	/* Nobody may read it as something else. */
	MUST(image_index_parse(a, "index", NULL, buf, n, &ix, &again) < 0);
}

static void a_config(struct arena *a, const char *buf, size_t n)
{
	char *command[] = { "/bin/true", NULL };
	const struct image_run run = { .command = command };
	struct err e = ERR_INIT, made = ERR_INIT;
	struct image_config c;
	char *text = NULL;
	int r = image_config_parse(a, "config", buf, n, &c, &e);

	must_be_consistent(r, &e);
	if (r < 0)
		return;
	for (size_t i = 0; i < c.diff_ids.n; i++)
		MUST(image_digest_ok(c.diff_ids.v[i]));
	if (image_user_needs_root(c.user)) /* no root filesystem here */
		c.user = NULL;
	r = image_config_json(&c, &run, -1, &text, &made);
	must_be_consistent(r, &made);
	MUST((r == 0) == (text != NULL));
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const kinds[])(
	    struct arena *, const char *, size_t) = { an_index, a_manifest, a_config };
	struct arena *a = arena_new();
	enum media_kind kind;
	struct err e = ERR_INIT;

	if (size > 0) {
		const char *buf = (const char *)data + 1;

		kinds[data[0] % 3](a, buf, size - 1);
		must_be_consistent(
		    image_document_kind(a, "document", buf, size - 1, &kind, &e), &e);
	}
	arena_free(a);
	return 0;
}
