/*
 * "docker-archive:FILE[:REF]": what `docker save` writes. Its manifest.json names files of the
 * archive; here it becomes an OCI manifest, so that all that follows is one way.
 *
 * A layer is not named by its blob's digest. A plain one has its DiffID for a digest; a compressed
 * one is hashed when the archive is opened. Layers may be links to others, inside of the archive.
 */
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "images/archive.h"
#include "spec/decode.h"

struct blob {
	const char *digest, *file, *media_type;
	uint64_t offset, size;
};

struct docker_archive {
	struct image_source s;
	struct archive *ar;
	const char *ref;    /* NULL: none given */
	struct blob *blobs; /* the configuration, then the layers */
	size_t n_blobs;
};

/* ---- manifest.json ---- */

struct saved {
	const char *config;
	struct spec_strv tags, layers;
};
struct saved_list {
	struct saved *v;
	size_t n;
};

static const struct field saved_fields[] = {
	{ "Config", K_STR, offsetof(struct saved, config), .required = true },
	{ "RepoTags", K_STRV, offsetof(struct saved, tags) },
	{ "Layers", K_STRV, offsetof(struct saved, layers), .required = true },
};
static const struct table saved_table = TABLE(saved_fields, .size = sizeof(struct saved));

static int parse_list(struct arena *a, const char *name, const char *buf, size_t n,
    struct saved_list *ret, struct err *e)
{
	struct dec d = { .a = a, .name = name, .e = e };
	const struct json *root;
	int r = json_parse(a, name, buf, n, &root, e);

	if (r < 0 || (r = dec_type(&d, root, JSON_ARRAY)) < 0)
		return r;
	if (root->len > IMAGE_INDEX_MAX)
		return err_set(
		    e, EFBIG, "%s: %zu images, more than %d", name, root->len, IMAGE_INDEX_MAX);
	ret->v = arena_calloc(a, root->len, sizeof(*ret->v));
	json_foreach (it, root) {
		struct saved *s = &ret->v[ret->n++];

		r = decode_object(&d, it, &saved_table, s);
		if (r < 0)
			return r;
		if (s->layers.n > IMAGE_LAYERS_MAX)
			return err_set(e, EFBIG, "%s: %zu layers, more than %d", name, s->layers.n,
			    IMAGE_LAYERS_MAX);
	}
	return 0;
}

/* Two names are one if they come to the same when filled up. */
static bool is_tagged(struct arena *a, const struct saved *s, const char *ref)
{
	struct image_name want, have;
	struct err ignored = ERR_INIT;
	bool parsed = image_name_parse(a, ref, &want, &ignored) == 0;

	for (size_t i = 0; i < s->tags.n; i++)
		if (streq(s->tags.v[i], ref) ||
		    (parsed && image_name_parse(a, s->tags.v[i], &have, &ignored) == 0 &&
			streq(image_name_text(a, &want), image_name_text(a, &have))))
			return true;
	return false;
}

static const char *list_tags(struct arena *a, const struct saved_list *l)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };

	for (size_t i = 0; i < l->n && i < 16; i++)
		strbuf_addf(&b, "%s%s", i ? ", " : "",
		    l->v[i].tags.n ? json_quote(a, l->v[i].tags.v[0]) : arena_printf(a, "@%zu", i));
	return b.len ? arena_strdup(a, b.s) : "none";
}

static int choose(struct docker_archive *o, struct arena *a, const struct saved_list *l,
    const struct saved **ret, struct err *e)
{
	const char *path = archive_path(o->ar);
	uint64_t at;

	if (o->ref && o->ref[0] == '@' && parse_u64(o->ref + 1, &at) == 0 && at < l->n) {
		*ret = &l->v[at];
		return 0;
	}
	for (size_t i = 0; o->ref && i < l->n; i++)
		if (is_tagged(a, &l->v[i], o->ref)) {
			*ret = &l->v[i];
			return 0;
		}
	if (o->ref)
		return err_set(e, ENOENT, "%s: no image is called %s (there are: %s)", path,
		    json_quote(a, o->ref), list_tags(a, l));
	if (l->n != 1)
		return err_set(e, EINVAL,
		    "%s: holds %zu images: name one by its REF or its place (there are: %s)", path,
		    l->n, list_tags(a, l));
	*ret = &l->v[0];
	return 0;
}

/* ---- digests ---- */

static int hash_file(struct docker_archive *o, struct blob *b, struct err *e)
{
	_cleanup_image_stream_ struct image_stream in = { 0 };
	_cleanup_hasher_ struct hasher *h = NULL;
	_cleanup_free_ char *buf = xmalloc(65536);
	struct digest d;
	ssize_t n;
	int r = hasher_new(DIGEST_SHA256, &h, e);

	if (r < 0 || (r = archive_stream(o->ar, b->offset, b->size, b->file, &in, e)) < 0)
		return r;
	while ((n = in.read(in.ctx, buf, 65536, e)) > 0)
		hasher_add(h, buf, (size_t)n);
	if (n < 0)
		return (int)n;
	hasher_end(h, &d);
	b->digest = arena_strdup(o->s.arena, d.text);
	return 0;
}

/* The type by the magic number, as everywhere with this format. */
static int sniff(struct docker_archive *o, struct blob *b, struct err *e)
{
	static const struct {
		const char *magic;
		size_t n;
		const char *type;
	} kinds[] = {
		{ "\x1f\x8b", 2, MEDIA_TYPE_TAR "+gzip" },
		{ "\x28\xb5\x2f\xfd", 4, MEDIA_TYPE_TAR "+zstd" },
	};
	_cleanup_image_stream_ struct image_stream in = { 0 };
	char m[4] = { 0 };
	ssize_t n;
	int r = archive_stream(o->ar, b->offset, b->size, b->file, &in, e);

	if (r < 0)
		return r;
	n = in.read(in.ctx, m, sizeof(m), e);
	if (n < 0)
		return (int)n;
	b->media_type = MEDIA_TYPE_TAR;
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if ((size_t)n >= kinds[i].n && !memcmp(m, kinds[i].magic, kinds[i].n))
			b->media_type = kinds[i].type;
	return 0;
}

static int find_blobs(struct docker_archive *o, const struct saved *s, struct err *e)
{
	_cleanup_arena_ struct arena *tmp = arena_new();
	struct image_config c;
	struct blob *config;
	const char *text;
	size_t n;
	int r;

	o->n_blobs = s->layers.n + 1;
	o->blobs = arena_calloc(o->s.arena, o->n_blobs, sizeof(*o->blobs));
	config = &o->blobs[0];
	config->file = s->config;
	config->media_type = MEDIA_TYPE_CONFIG;
	if ((r = archive_find(o->ar, s->config, false, &config->offset, &config->size, e)) < 0 ||
	    (r = archive_read(o->ar, tmp, s->config, &text, &n, e)) < 0 ||
	    (r = image_config_parse(tmp, s->config, text, n, &c, e)) < 0 ||
	    (r = hash_file(o, config, e)) < 0)
		return r;
	if (c.diff_ids.n != s->layers.n)
		return err_set(e, EINVAL,
		    "%s: manifest.json has %zu layers, the configuration %zu diff_ids",
		    archive_path(o->ar), s->layers.n, c.diff_ids.n);
	for (size_t i = 0; i < s->layers.n; i++) {
		struct blob *b = &o->blobs[i + 1];

		b->file = s->layers.v[i];
		if ((r = archive_find(o->ar, b->file, true, &b->offset, &b->size, e)) < 0 ||
		    (r = sniff(o, b, e)) < 0)
			return r;
		if (streq(b->media_type, MEDIA_TYPE_TAR))
			b->digest = arena_strdup(o->s.arena, c.diff_ids.v[i]);
		else if ((r = hash_file(o, b, e)) < 0)
			return r;
	}
	return 0;
}

/* ---- the OCI manifest of it ---- */

static void gen_descriptor(struct json_gen *g, const struct blob *b)
{
	json_gen_map(g);
	json_gen_kstr(g, "mediaType", b->media_type);
	json_gen_kstr(g, "digest", b->digest);
	json_gen_kuint(g, "size", b->size);
	json_gen_end(g);
}

static int docker_top(
    struct image_source *s, struct arena *a, struct image_document *ret, struct err *e)
{
	struct docker_archive *o = (struct docker_archive *)s;
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);
	const char *name = arena_printf(a, "%s: manifest.json", archive_path(o->ar));
	struct image_document doc = { .media_type = MEDIA_TYPE_MANIFEST };
	struct saved_list list = { 0 };
	const struct saved *saved = NULL;
	const char *text;
	size_t n;
	int r;

	if ((r = archive_read(o->ar, s->arena, "manifest.json", &text, &n, e)) < 0 ||
	    (r = parse_list(s->arena, name, text, n, &list, e)) < 0 ||
	    (r = choose(o, a, &list, &saved, e)) < 0 || (r = find_blobs(o, saved, e)) < 0)
		return r;
	json_gen_map(g);
	json_gen_kint(g, "schemaVersion", 2);
	json_gen_kstr(g, "mediaType", MEDIA_TYPE_MANIFEST);
	json_gen_key(g, "config");
	gen_descriptor(g, &o->blobs[0]);
	json_gen_key(g, "layers");
	json_gen_array(g);
	for (size_t i = 1; i < o->n_blobs; i++)
		gen_descriptor(g, &o->blobs[i]);
	json_gen_end(g);
	json_gen_end(g);
	text = json_gen_text(g, &doc.len);
	doc.text = arena_strndup(a, text, doc.len);
	*ret = doc;
	return 0;
}

static int docker_blob(struct image_source *s, const struct image_descriptor *d, uint64_t offset,
    struct image_stream *ret, struct err *e)
{
	struct docker_archive *o = (struct docker_archive *)s;

	for (size_t i = 0; i < o->n_blobs; i++) {
		const struct blob *b = &o->blobs[i];

		if (streq(b->digest, d->digest) && b->size == d->size)
			return archive_stream(
			    o->ar, b->offset + offset, b->size - offset, b->file, ret, e);
	}
	return err_set(e, ENOENT, "%s: no file has the digest %s", archive_path(o->ar), d->digest);
}

static void docker_close(struct image_source *s)
{
	archive_close(((struct docker_archive *)s)->ar);
	arena_free(s->arena);
}

static int docker_open(
    const char *rest, const struct image_remote *remote, struct image_source **ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct docker_archive *o = arena_alloc(a, sizeof(*o));
	const char *path;
	int r;

	o->s.arena = a;
	r = image_local_source(a, "docker-archive", rest, &path, &o->ref, &o->s.name, e);
	if (r == 0)
		r = archive_open(path, &o->ar, e);
	if (r < 0)
		return r;
	*ret = &o->s;
	steal_ptr(a);
	return 0;
}

const struct image_source_ops image_source_docker_archive = {
	.info = {
		.name = "docker-archive",
		.syntax = "docker-archive:FILE[:REF]",
		.help = "what \"docker save\" writes",
	},
	.open = docker_open,
	.top = docker_top,
	.blob = docker_blob,
	.close = docker_close,
};
