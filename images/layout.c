/*
 * "oci:PATH[:REF]": an image layout in a directory (image-layout.md).
 *
 * PATH is the user's, what lies below is not: everything there is opened without following any
 * symlink (GHSA-r3h2-rgqf-9hv9) and has to be a regular file of the descriptor's size.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "images/source.h"
#include "spec/decode.h"

#define ANNOTATION_REF "org.opencontainers.image.ref.name"

struct layout {
	struct image_source s;
	const char *path, *ref; /* ref NULL: none given */
	int dirfd;
};

/* ---- what is the same in a layout inside an archive ---- */

int image_layout_check(struct arena *a, const char *name, const char *buf, size_t n, struct err *e)
{
	const struct json *root, *v;
	int r = json_parse(a, name, buf, n, &root, e);

	if (r < 0)
		return r;
	v = root->type == JSON_OBJECT ? json_get(root, "imageLayoutVersion") : NULL;
	if (!v || v->type != JSON_STRING)
		return err_set(e, EINVAL, "%s: .imageLayoutVersion: must be a string", name);
	if (!startswith(v->s, "1."))
		return err_set(e, EINVAL, "%s: .imageLayoutVersion: %s: only 1.0.0 is known", name,
		    json_quote(a, v->s));
	return 0;
}

static bool is_image(const struct image_descriptor *d)
{
	enum media_kind k = media_kind(d->media_type);

	return k == MEDIA_MANIFEST || k == MEDIA_INDEX;
}

/* podman and skopeo also look for a whole image name where REF is but its tag. */
static bool is_named(const struct image_descriptor *d, const char *ref)
{
	const char *name = spec_map_get(&d->annotations, ANNOTATION_REF);

	return name && streq(name, ref);
}

static const char *list_refs(struct arena *a, const struct image_index *ix)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	size_t shown = 0;

	for (size_t i = 0; i < ix->manifests.n; i++) {
		const char *name = spec_map_get(&ix->manifests.v[i].annotations, ANNOTATION_REF);

		if (is_image(&ix->manifests.v[i]) && shown++ < 16)
			strbuf_addf(&b, "%s%s", b.len ? ", " : "",
			    name ? json_quote(a, name) : arena_printf(a, "@%zu", i));
	}
	return b.len ? arena_strdup(a, b.s) : "none";
}

/* The entry that ref means. */
static int choose(struct arena *a, const char *name, const char *ref, const struct image_index *ix,
    const struct image_descriptor **ret, struct err *e)
{
	const struct image_descriptor *found = NULL;
	size_t n = 0;
	uint64_t at;

	if (ref && ref[0] == '@' && parse_u64(ref + 1, &at) == 0) {
		if (at >= ix->manifests.n || !is_image(&ix->manifests.v[at]))
			return err_set(e, ENOENT, "%s: no image at %s (there are: %s)", name, ref,
			    list_refs(a, ix));
		*ret = &ix->manifests.v[at];
		return 0;
	}
	for (size_t i = 0; i < ix->manifests.n; i++) {
		const struct image_descriptor *d = &ix->manifests.v[i];

		if (!is_image(d) || (ref && !is_named(d, ref)))
			continue;
		n++;
		found = found ? found : d;
	}
	if (!found && ref)
		return err_set(e, ENOENT, "%s: no image is called %s (there are: %s)", name,
		    json_quote(a, ref), list_refs(a, ix));
	if (!found)
		return err_set(e, ENOENT, "%s: holds no image", name);
	if (n > 1)
		return err_set(e, EINVAL,
		    "%s: %zu images fit: name one by its REF or its place (there are: %s)", name, n,
		    list_refs(a, ix));
	*ret = found;
	return 0;
}

int image_layout_top(struct image_source *s, struct arena *a, const char *name, const char *ref,
    const char *index, size_t n, struct image_document *ret, struct err *e)
{
	const struct image_descriptor *d = NULL;
	struct image_document doc = { 0 };
	struct image_index ix;
	int r = image_index_parse(a, name, NULL, index, n, &ix, e);

	if (r < 0 || (r = choose(a, name, ref, &ix, &d, e)) < 0)
		return r;
	doc.media_type = d->media_type;
	doc.digest = d->digest;
	doc.len = d->size;
	r = image_read_blob(s, a, d, media_kind_name(media_kind(d->media_type)), &doc.text, e);
	if (r == 0)
		*ret = doc;
	return r;
}

/* ---- the directory ---- */

/* A regular file below the layout, by no symlink. */
static int open_file(const struct layout *l, const char *path, struct stat *st, struct err *e)
{
	_cleanup_close_ int fd = root_open_nosym(l->dirfd, path, O_RDONLY | O_NONBLOCK, 0);

	if (fd == -ELOOP)
		return err_set(e, ELOOP,
		    "%s/%s: is, or lies behind, a symbolic link: a layout's files have to be its "
		    "own",
		    l->path, path);
	if (fd < 0)
		return err_errno(e, -fd, "%s/%s", l->path, path);
	if (fstat(fd, st) < 0)
		return err_errno(e, errno, "%s/%s", l->path, path);
	if (!S_ISREG(st->st_mode))
		return err_set(e, EINVAL, "%s/%s: not a regular file", l->path, path);
	return steal_fd(&fd);
}

static int read_file(
    const struct layout *l, const char *path, const char **ret, size_t *ret_len, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	_cleanup_free_ char *buf = NULL;
	struct stat st;
	int r;

	fd = open_file(l, path, &st, e);
	if (fd < 0)
		return fd;
	r = fd_read_all(fd, IMAGE_DOCUMENT_MAX, &buf, ret_len);
	if (r < 0)
		return err_errno(e, -r, "read %s/%s", l->path, path);
	*ret = arena_strndup(l->s.arena, buf, *ret_len);
	return 0;
}

static int layout_top(
    struct image_source *s, struct arena *a, struct image_document *ret, struct err *e)
{
	struct layout *l = (struct layout *)s;
	const char *name = arena_printf(a, "%s/index.json", l->path);
	const char *text;
	size_t n;
	int r = read_file(l, "index.json", &text, &n, e);

	return r < 0 ? r : image_layout_top(s, a, name, l->ref, text, n, ret, e);
}

static int layout_blob(struct image_source *s, const struct image_descriptor *d, uint64_t offset,
    struct image_stream *ret, struct err *e)
{
	struct layout *l = (struct layout *)s;
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -EBADF;
	struct digest digest;
	struct stat st;
	int r = digest_parse(d->digest, &digest, e);

	if (r < 0)
		return r;
	path = xasprintf("blobs/%s/%s", digest_alg_name(digest.alg), digest_hex(&digest));
	fd = open_file(l, path, &st, e);
	if (fd < 0)
		return fd;
	if ((uint64_t)st.st_size != d->size)
		return err_set(e, EBADMSG, "%s/%s: has %llu bytes, its descriptor says %llu",
		    l->path, path, (unsigned long long)st.st_size, (unsigned long long)d->size);
	image_stream_fd(ret, steal_fd(&fd), offset, d->size - offset, path);
	return 0;
}

static void layout_close(struct image_source *s)
{
	struct layout *l = (struct layout *)s;

	closep(&l->dirfd);
	arena_free(s->arena);
}

static int layout_open(
    const char *rest, const struct image_remote *remote, struct image_source **ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct layout *l = arena_alloc(a, sizeof(*l));
	const char *text;
	size_t len;
	int r;

	l->s.arena = a;
	r = image_local_source(a, "oci", rest, &l->path, &l->ref, &l->s.name, e);
	if (r < 0)
		return r;
	l->dirfd = open(l->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (l->dirfd < 0)
		return err_errno(e, errno, "open %s", l->path);
	r = read_file(l, "oci-layout", &text, &len, e);
	if (r == 0)
		r = image_layout_check(a, arena_printf(a, "%s/oci-layout", l->path), text, len, e);
	if (r < 0) {
		closep(&l->dirfd);
		return r;
	}
	*ret = &l->s;
	steal_ptr(a);
	return 0;
}

const struct image_source_ops image_source_oci = {
	.info = {
		.name = "oci",
		.syntax = "oci:PATH[:REF]",
		.help = "an OCI image layout in the directory PATH",
	},
	.open = layout_open,
	.top = layout_top,
	.blob = layout_blob,
	.close = layout_close,
};
