/* Decoding of indexes, manifests and configurations; see images/manifest.h. */
#include "images/manifest.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "spec/decode.h"

/* ---- checks ---- */

static int check_digest(struct dec *d, const struct json *node, void *out)
{
	if (!image_digest_ok(node->s))
		return dec_bad(d, node,
		    "must be a digest: \"sha256:\" or \"sha512:\" with hexadecimal digits, in "
		    "lower case, of their number");
	return 0;
}

static int check_digests(struct dec *d, const struct json *node, void *out)
{
	json_foreach (it, node) {
		int r = check_digest(d, it, NULL);

		if (r < 0)
			return r;
	}
	return 0;
}

/* What is shown on terminals and compared is a word. */
static int check_word(struct dec *d, const struct json *node, void *out)
{
	if (node->s[strspn(
		node->s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")] ||
	    node->len > 64)
		return dec_bad(d, node, "must be a word of letters, digits and _ . -");
	return 0;
}

static int check_version(struct dec *d, const struct json *node, void *out)
{
	return *(uint32_t *)out == 2 ? 0 : dec_bad(d, node, "must be 2");
}

/* CVE-2021-41190: whoever reads it the other way sees another image. */
static int refuse_other_kind(struct dec *d, const struct json *node, void *out)
{
	return dec_fail(d, node,
	    "does not belong here: a document that can be read as an index and as a manifest is "
	    "refused");
}

static int check_index_size(struct dec *d, const struct json *node, void *out)
{
	if (node->len > IMAGE_INDEX_MAX)
		return dec_fail(d, node, "%zu entries, more than %d", node->len, IMAGE_INDEX_MAX);
	return 0;
}

static int check_layers(struct dec *d, const struct json *node, void *out)
{
	const struct image_descriptors *l = out;

	if (l->n > IMAGE_LAYERS_MAX)
		return dec_fail(d, node, "%zu layers, more than %d", l->n, IMAGE_LAYERS_MAX);
	for (size_t i = 0; i < l->n; i++)
		if (media_kind(l->v[i].media_type) != MEDIA_LAYER)
			return dec_fail(d, node, "layer %zu is of the type %s: not one of a layer",
			    i, json_quote(d->a, l->v[i].media_type));
	return 0;
}

static int check_config(struct dec *d, const struct json *node, void *out)
{
	const struct image_descriptor *c = out;

	if (media_kind(c->media_type) != MEDIA_CONFIG)
		return dec_fail(d, node,
		    "of the type %s: not the configuration of a container image (an artifact of "
		    "another kind cannot be run)",
		    json_quote(d->a, c->media_type));
	if (c->size > IMAGE_DOCUMENT_MAX)
		return dec_fail(d, node, "a configuration of %llu bytes, more than %u",
		    (unsigned long long)c->size, IMAGE_DOCUMENT_MAX);
	return 0;
}

static int check_rootfs_type(struct dec *d, const struct json *node, void *out)
{
	const char *s;
	int r = dec_str(d, node, &s);

	if (r < 0)
		return r;
	return streq(s, "layers") ? 0 : dec_bad(d, node, "must be \"layers\"");
}

/* {"80/tcp": {}, …}: a set of names, as Go writes map[string]struct{}. */
static int decode_set(struct dec *d, const struct json *node, void *out)
{
	struct spec_strv *v = out;
	int r = dec_type(d, node, JSON_OBJECT);

	if (r < 0)
		return r;
	v->v = arena_calloc(d->a, node->len + 1, sizeof(*v->v));
	json_foreach (it, node) {
		r = it->type == JSON_NULL ? 0 : dec_type(d, it, JSON_OBJECT);
		if (r < 0)
			return r;
		v->v[v->n++] = (char *)it->key;
	}
	return 0;
}

/* ---- tables ---- */

#define OFF(type, field) offsetof(struct type, field)

static const struct field platform_fields[] = {
	{ "architecture", K_STR, OFF(image_platform, architecture), .required = true,
	    .fn = check_word },
	{ "os", K_STR, OFF(image_platform, os), .required = true, .fn = check_word },
	{ "variant", K_STR, OFF(image_platform, variant), .fn = check_word },
};
static const struct table platform_table = TABLE(platform_fields);

/* Indexes may lack what is optional in single-platform layouts: buildkit writes "unknown". */
static int decode_platform(struct dec *d, const struct json *node, void *out)
{
	struct image_descriptor *desc = out;

	desc->has_platform = true;
	return decode_object(d, node, &platform_table, &desc->platform);
}

static const struct field descriptor_fields[] = {
	{ "mediaType", K_STR, OFF(image_descriptor, media_type), .required = true },
	{ "digest", K_STR, OFF(image_descriptor, digest), .required = true, .fn = check_digest },
	{ "size", K_U64, OFF(image_descriptor, size), .required = true, .max = INT64_MAX },
	{ "platform", K_CUSTOM, 0, .fn = decode_platform },
	{ "annotations", K_MAP, OFF(image_descriptor, annotations) },
};
static const struct table descriptor_table =
    TABLE(descriptor_fields, .size = sizeof(struct image_descriptor));

static const struct field index_fields[] = {
	{ "schemaVersion", K_U32, OFF(image_index, schema_version), .required = true,
	    .fn = check_version },
	{ "mediaType", K_STR, OFF(image_index, media_type) },
	{ "manifests", K_LIST, OFF(image_index, manifests), .required = true,
	    .table = &descriptor_table, .fn = check_index_size },
	{ "config", K_CUSTOM, 0, .fn = refuse_other_kind },
	{ "layers", K_CUSTOM, 0, .fn = refuse_other_kind },
	{ "fsLayers", K_CUSTOM, 0, .fn = refuse_other_kind },
};
static const struct table index_table = TABLE(index_fields);

static const struct field manifest_fields[] = {
	{ "schemaVersion", K_U32, OFF(image_manifest, schema_version), .required = true,
	    .fn = check_version },
	{ "mediaType", K_STR, OFF(image_manifest, media_type) },
	{ "config", K_OBJECT, OFF(image_manifest, config), .required = true,
	    .table = &descriptor_table, .fn = check_config },
	{ "layers", K_LIST, OFF(image_manifest, layers), .required = true,
	    .table = &descriptor_table, .fn = check_layers },
	{ "manifests", K_CUSTOM, 0, .fn = refuse_other_kind },
	{ "fsLayers", K_CUSTOM, 0, .fn = refuse_other_kind },
};
static const struct table manifest_table = TABLE(manifest_fields);

static const struct field run_fields[] = {
	{ "User", K_STR, OFF(image_config, user) },
	{ "ExposedPorts", K_CUSTOM, OFF(image_config, exposed_ports), .fn = decode_set },
	{ "Env", K_STRV, OFF(image_config, env) },
	{ "Entrypoint", K_STRV, OFF(image_config, entrypoint) },
	{ "Cmd", K_STRV, OFF(image_config, cmd) },
	{ "Volumes", K_CUSTOM, OFF(image_config, volumes), .fn = decode_set },
	{ "WorkingDir", K_STR, OFF(image_config, working_dir) },
	{ "Labels", K_MAP, OFF(image_config, labels) },
	{ "StopSignal", K_STR, OFF(image_config, stop_signal) },
};
static const struct table run_table = TABLE(run_fields);

static const struct field rootfs_fields[] = {
	{ "type", K_CUSTOM, 0, .required = true, .fn = check_rootfs_type },
	{ "diff_ids", K_STRV, OFF(image_config, diff_ids), .required = true, .fn = check_digests },
};
static const struct table rootfs_table = TABLE(rootfs_fields);

/* Its parts go flat into one struct: the tables' offsets are the struct's own. */
static const struct field config_fields[] = {
	{ "created", K_STR, OFF(image_config, created) },
	{ "author", K_STR, OFF(image_config, author) },
	{ "architecture", K_STR, OFF(image_config, platform.architecture), .required = true,
	    .fn = check_word },
	{ "os", K_STR, OFF(image_config, platform.os), .required = true, .fn = check_word },
	{ "variant", K_STR, OFF(image_config, platform.variant), .fn = check_word },
	{ "os.version", K_STR, OFF(image_config, os_version) },
	{ "os.features", K_STRV, OFF(image_config, os_features) },
	{ "config", K_OBJECT, 0, .table = &run_table },
	{ "rootfs", K_OBJECT, 0, .required = true, .table = &rootfs_table },
};
static const struct table image_config_table = TABLE(config_fields);

/* ---- documents ---- */

static int parse(struct arena *a, const char *name, const char *buf, size_t n,
    const struct table *t, void *ret, struct err *e)
{
	struct dec d = { .a = a, .name = name, .e = e };
	const struct json *root;
	int r;

	if (n > IMAGE_DOCUMENT_MAX)
		return err_set(
		    e, EFBIG, "%s: %zu bytes, more than %u", name, n, IMAGE_DOCUMENT_MAX);
	r = json_parse(a, name, buf, n, &root, e);
	return r < 0 ? r : decode_object(&d, root, t, ret);
}

/* What it is called from outside and what it calls itself have to be one. */
static int check_media_type(struct arena *a, const char *name, enum media_kind kind,
    const char *outside, const char *inside, struct err *e)
{
	if (outside && media_kind(outside) != kind)
		return err_set(e, EINVAL, "%s: referred to as %s: not the type of %s", name,
		    json_quote(a, outside), media_kind_name(kind));
	if (inside && media_kind(inside) != kind)
		return err_set(e, EINVAL, "%s: .mediaType: %s: not the type of %s", name,
		    json_quote(a, inside), media_kind_name(kind));
	if (outside && inside && !streq(outside, inside))
		return err_set(e, EINVAL, "%s: .mediaType: %s: but it is referred to as %s", name,
		    json_quote(a, inside), json_quote(a, outside));
	return 0;
}

int image_index_parse(struct arena *a, const char *name, const char *media_type, const char *buf,
    size_t n, struct image_index *ret, struct err *e)
{
	struct image_index ix = { 0 };
	int r = parse(a, name, buf, n, &index_table, &ix, e);

	if (r == 0)
		r = check_media_type(a, name, MEDIA_INDEX, media_type, ix.media_type, e);
	if (r == 0)
		*ret = ix;
	return r;
}

int image_manifest_parse(struct arena *a, const char *name, const char *media_type, const char *buf,
    size_t n, struct image_manifest *ret, struct err *e)
{
	struct image_manifest m = { 0 };
	int r = parse(a, name, buf, n, &manifest_table, &m, e);

	if (r == 0)
		r = check_media_type(a, name, MEDIA_MANIFEST, media_type, m.media_type, e);
	if (r == 0)
		*ret = m;
	return r;
}

int image_config_parse(struct arena *a, const char *name, const char *buf, size_t n,
    struct image_config *ret, struct err *e)
{
	struct image_config c = { 0 };
	struct spec_strv *vectors[] = { &c.env, &c.entrypoint, &c.cmd, &c.exposed_ports, &c.volumes,
		&c.os_features };
	int r = parse(a, name, buf, n, &image_config_table, &c, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(vectors); i++)
		if (!vectors[i]->v)
			vectors[i]->v = arena_calloc(a, 1, sizeof(char *));
	*ret = c;
	return 0;
}

int image_document_kind(struct arena *a, const char *name, const char *buf, size_t n,
    enum media_kind *ret, struct err *e)
{
	const struct json *root;
	bool index, manifest;
	int r;

	if (n > IMAGE_DOCUMENT_MAX)
		return err_set(
		    e, EFBIG, "%s: %zu bytes, more than %u", name, n, IMAGE_DOCUMENT_MAX);
	r = json_parse(a, name, buf, n, &root, e);
	if (r < 0)
		return r;
	if (root->type != JSON_OBJECT)
		return err_set(e, EINVAL, "%s: neither a manifest nor an index", name);
	index = json_get(root, "manifests");
	manifest = json_get(root, "layers") || json_get(root, "config");
	if (index == manifest)
		return err_set(e, EINVAL, "%s: %s", name,
		    index ? "a manifest and an index at once" : "neither a manifest nor an index");
	*ret = index ? MEDIA_INDEX : MEDIA_MANIFEST;
	return 0;
}
