/* "oci-archive:FILE[:REF]": an image layout in a tar archive. */
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "images/archive.h"

struct oci_archive {
	struct image_source s;
	struct archive *ar;
	const char *ref; /* NULL: none given */
};

static int oci_top(
    struct image_source *s, struct arena *a, struct image_document *ret, struct err *e)
{
	struct oci_archive *o = (struct oci_archive *)s;
	const char *name = arena_printf(a, "%s: index.json", archive_path(o->ar));
	const char *text;
	size_t n;
	int r = archive_read(o->ar, a, "index.json", &text, &n, e);

	return r < 0 ? r : image_layout_top(s, a, name, o->ref, text, n, ret, e);
}

static int oci_blob(struct image_source *s, const struct image_descriptor *d, uint64_t offset,
    struct image_stream *ret, struct err *e)
{
	struct oci_archive *o = (struct oci_archive *)s;
	_cleanup_free_ char *path = NULL;
	struct digest digest;
	uint64_t at, size;
	int r = digest_parse(d->digest, &digest, e);

	if (r < 0)
		return r;
	path = xasprintf("blobs/%s/%s", digest_alg_name(digest.alg), digest_hex(&digest));
	r = archive_find(o->ar, path, false, &at, &size, e);
	if (r < 0)
		return r;
	if (size != d->size)
		return err_set(e, EBADMSG, "%s: %s: has %llu bytes, its descriptor says %llu",
		    archive_path(o->ar), path, (unsigned long long)size,
		    (unsigned long long)d->size);
	return archive_stream(o->ar, at + offset, size - offset, path, ret, e);
}

static void oci_close(struct image_source *s)
{
	archive_close(((struct oci_archive *)s)->ar);
	arena_free(s->arena);
}

static int check_version(const struct archive *ar, struct arena *a, struct err *e)
{
	const char *text;
	size_t n;
	int r = archive_read(ar, a, "oci-layout", &text, &n, e);

	return r < 0 ? r
		     : image_layout_check(
			   a, arena_printf(a, "%s: oci-layout", archive_path(ar)), text, n, e);
}

static int oci_open(
    const char *rest, const struct image_remote *remote, struct image_source **ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_archive_ struct archive *ar = NULL;
	struct oci_archive *o = arena_alloc(a, sizeof(*o));
	const char *path;
	int r;

	r = image_local_source(a, "oci-archive", rest, &path, &o->ref, &o->s.name, e);
	if (r == 0)
		r = archive_open(path, &ar, e);
	if (r == 0)
		r = check_version(ar, a, e);
	if (r < 0)
		return r;
	o->s.arena = a;
	o->ar = steal_ptr(ar);
	*ret = &o->s;
	steal_ptr(a);
	return 0;
}

const struct image_source_ops image_source_oci_archive = {
	.info = {
		.name = "oci-archive",
		.syntax = "oci-archive:FILE[:REF]",
		.help = "an OCI image layout in a tar archive",
	},
	.open = oci_open,
	.top = oci_top,
	.blob = oci_blob,
	.close = oci_close,
};
