/* What the store knows of images: their documents by digest, and names for them. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "images/store.h"

#define NAME_RECORD_MAX 65536
#define ID_PREFIX_MIN	4

/* ---- documents ---- */

static int put_blob(struct store *s, const char *digest, const char *text, size_t n, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *file = store_file_name(a, digest);
	int r;

	if (faccessat(s->blobsfd, file, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return 0;
	r = file_replace(s->blobsfd, file, text, n, 0600, false, e);
	return r < 0 ? err_wrap(e, "store %s: blobs", s->path) : 0;
}

int store_put_documents(struct store *s, const struct image *im, struct err *e)
{
	int r = put_blob(s, im->config_digest, im->config_text, im->config_len, e);

	return r < 0 ? r : put_blob(s, im->digest, im->manifest, im->manifest_len, e);
}

static int get_blob(struct store *s, struct arena *a, const char *digest, const char **ret,
    size_t *ret_len, struct err *e)
{
	const char *file = store_file_name(a, digest);
	_cleanup_free_ char *text = NULL;
	struct digest want, got;
	size_t n;
	int r = file_read(s->blobsfd, file, IMAGE_DOCUMENT_MAX, &text, &n, e);

	if (r < 0 || (r = digest_parse(digest, &want, e)) < 0 ||
	    (r = digest_of(want.alg, text, n, &got, e)) < 0)
		return err_wrap(e, "store %s: blobs", s->path);
	if (!digest_equal(&want, &got))
		return err_set(e, EBADMSG,
		    "store %s: blobs/%s is corrupt: its digest is %s (remove the file and pull the "
		    "image again)",
		    s->path, file, got.text);
	*ret = arena_strndup(a, text, n);
	*ret_len = n;
	return 0;
}

int store_load(
    struct store *s, const char *digest, const char *name, struct image **ret, struct err *e)
{
	_cleanup_image_ struct image *im = image_new(name);
	struct image_manifest m;
	int r;

	im->digest = arena_strdup(im->arena, digest);
	if ((r = get_blob(s, im->arena, digest, &im->manifest, &im->manifest_len, e)) < 0 ||
	    (r = image_manifest_parse(
		 im->arena, name, NULL, im->manifest, im->manifest_len, &m, e)) < 0 ||
	    (r = get_blob(s, im->arena, m.config.digest, &im->config_text, &im->config_len, e)) < 0)
		return r;
	im->config_digest = m.config.digest;
	r = image_from_documents(im, &m, NULL, e);
	if (r == 0)
		*ret = steal_ptr(im);
	return r;
}

/* ---- names ---- */

static int read_name(
    struct store *s, struct arena *a, const char *file, struct store_name *ret, struct err *e);

/* What is there already is not written again, as that waits for the disk. */
int store_put_name(struct store *s, const struct image *im, const char *name, struct err *e)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);
	struct err unreadable = ERR_INIT;
	struct store_name there;
	struct digest d;
	char now[40];
	const char *text;
	size_t n;
	int r = digest_of(DIGEST_SHA256, name, strlen(name), &d, e);

	if (r < 0)
		return r;
	if (read_name(s, im->arena, digest_hex(&d), &there, &unreadable) == 0 &&
	    streq(there.name, name) && streq(there.digest, im->digest))
		return 0;
	format_rfc3339_now(now);
	json_gen_map(g);
	json_gen_kstr(g, "name", name);
	json_gen_kstr(g, "manifest", im->digest);
	json_gen_kstr(g, "pulled", now);
	json_gen_end(g);
	text = json_gen_text(g, &n);
	r = file_replace(s->namesfd, digest_hex(&d), text, n, 0600, false, e);
	return r < 0 ? err_wrap(e, "store %s: names", s->path) : 0;
}

static const char *string_of(const struct json *doc, const char *key)
{
	const struct json *v = doc->type == JSON_OBJECT ? json_get(doc, key) : NULL;

	return v && v->type == JSON_STRING ? v->s : NULL;
}

/* 0: read; 1: it went away meanwhile. */
static int read_name(
    struct store *s, struct arena *a, const char *file, struct store_name *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	const struct json *doc;
	size_t n;
	int r = file_read(s->namesfd, file, NAME_RECORD_MAX, &text, &n, e);

	if (r == -ENOENT) {
		err_clear(e);
		return 1;
	}
	if (r == 0)
		r = json_parse(a, file, text, n, &doc, e);
	if (r < 0)
		return err_wrap(e, "store %s: names", s->path);
	*ret = (struct store_name){
		.file = arena_strdup(a, file),
		.name = string_of(doc, "name"),
		.digest = string_of(doc, "manifest"),
		.pulled = string_of(doc, "pulled"),
	};
	if (!ret->name || !ret->digest || !ret->pulled || !image_digest_ok(ret->digest))
		return err_set(e, EINVAL,
		    "store %s: names/%s: not written by this program; remove the file and pull "
		    "the image again",
		    s->path, file);
	return 0;
}

int store_each_name(struct store *s,
    int (*fn)(struct store *s, const struct store_name *n, void *ctx, struct err *e), void *ctx,
    struct err *e)
{
	_cleanup_closedir_ DIR *d = NULL;
	int fd = openat(s->namesfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		closep(&fd);
		return err_errno(e, errno, "store %s: read names/", s->path);
	}
	for (struct dirent *ent; r == 0 && (ent = readdir(d));) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct store_name n;

		/* file_replace's temporary files have other names */
		if (strlen(ent->d_name) != 64 || strspn(ent->d_name, "0123456789abcdef") != 64)
			continue;
		r = read_name(s, a, ent->d_name, &n, e);
		if (r == 0)
			r = fn(s, &n, ctx, e);
		else if (r == 1)
			r = 0;
	}
	return r;
}

/* ---- finding ---- */

/* Does ref, with or without "sha256:", begin the digest's digits? */
static bool is_prefix(const char *ref, const char *digest)
{
	const char *hex = startswith(ref, "sha256:");

	hex = hex ? hex : ref;
	return strlen(hex) >= ID_PREFIX_MIN && strspn(hex, "0123456789abcdef") == strlen(hex) &&
	       startswith(strchr(digest, ':') + 1, hex);
}

/* The part of a source that is a name: "docker://x" and "x" are one. */
static bool same_name(const char *ref, const char *name)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const char *bare = startswith(name, "docker://");
	const char *want = startswith(ref, "docker://");
	struct err ignored = ERR_INIT;
	struct image_name x, y;

	if (streq(ref, name))
		return true;
	if (!bare)
		return false;
	return image_name_parse(a, want ? want : ref, &x, &ignored) == 0 &&
	       image_name_parse(a, bare, &y, &ignored) == 0 &&
	       streq(image_name_text(a, &x), image_name_text(a, &y));
}

struct search {
	const char *ref;
	struct image *by_name, *by_id;
	bool ambiguous;
	char **files; /* of all names that fit */
};

static int match(struct store *s, const struct store_name *n, void *ctx, struct err *e)
{
	_cleanup_image_ struct image *im = NULL;
	struct search *f = ctx;
	bool named = same_name(f->ref, n->name);
	struct image **place = named ? &f->by_name : &f->by_id;
	int r;

	r = store_load(s, n->digest, n->name, &im, e);
	if (r < 0 && named)
		return r;
	if (r < 0) { /* some other image: not what was asked for */
		err_clear(e);
		return 0;
	}
	if (!named && !is_prefix(f->ref, im->config_digest) && !is_prefix(f->ref, im->digest))
		return 0;
	if (!named && *place && !streq((*place)->config_digest, im->config_digest))
		f->ambiguous = true;
	strv_push(&f->files, xstrdup(n->file));
	if (!*place)
		*place = steal_ptr(im);
	return 0;
}

static void search_free(struct search *f)
{
	image_free(f->by_name);
	image_free(f->by_id);
	strv_free(f->files);
}

static int search(struct store *s, struct search *f, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	int r = store_each_name(s, match, f, e);

	if (r < 0)
		return r;
	if (!f->by_name && !f->by_id)
		return err_set(e, ENOENT, "store %s: no image %s (see \"bailey images\")", s->path,
		    json_quote(a, f->ref));
	if (!f->by_name && f->ambiguous)
		return err_set(e, EINVAL, "store %s: %s begins the IDs of several images", s->path,
		    json_quote(a, f->ref));
	return 0;
}

int store_find(struct store *s, const char *ref, struct image **ret, struct err *e)
{
	_cleanup_(search_free) struct search f = { .ref = ref };
	int r = search(s, &f, e);

	if (r == 0)
		r = store_check_layers(s, f.by_name ? f.by_name : f.by_id, e);
	if (r == 0)
		*ret = f.by_name ? steal_ptr(f.by_name) : steal_ptr(f.by_id);
	return r;
}

static int forget_name(struct store *s, const struct store_name *n, void *ctx, struct err *e)
{
	struct search *f = ctx;

	if (!streq(n->name, f->ref))
		return 0;
	strv_push(&f->files, xstrdup(n->file));
	return 0;
}

int store_forget(struct store *s, const char *ref, size_t *ret, struct err *e)
{
	_cleanup_(search_free) struct search exact = { .ref = ref }, f = { .ref = ref };
	char **files;
	int r = store_each_name(s, forget_name, &exact, e);

	/* A name that is there word for word goes even if its image cannot be read. */
	if (r == 0 && !exact.files)
		r = search(s, &f, e);
	if (r < 0)
		return r;
	files = exact.files ? exact.files : f.files;
	for (size_t i = 0; i < strv_len(files); i++)
		if (unlinkat(s->namesfd, files[i], 0) < 0 && errno != ENOENT)
			return err_errno(e, errno, "store %s: remove names/%s", s->path, files[i]);
	*ret = strv_len(files);
	return 0;
}

/* ---- the list ---- */

static int add_entry(struct store *s, const struct store_name *n, void *ctx, struct err *e)
{
	struct store_list *l = ctx;
	struct image *im;
	int r = store_load(s, n->digest, n->name, &im, e);

	if (r < 0)
		return err_wrap(e, "%s", n->name);
	l->v = xrealloc(l->v, (l->n + 1) * sizeof(*l->v));
	l->v[l->n++] = (struct store_entry){
		.image = im,
		.pulled = arena_strdup(im->arena, n->pulled),
	};
	return 0;
}

static int compare_entries(const void *a, const void *b)
{
	const struct store_entry *x = a, *y = b;

	return strcmp(x->image->name, y->image->name);
}

int store_list(struct store *s, struct store_list *ret, struct err *e)
{
	_cleanup_store_list_ struct store_list l = { 0 };
	int r = store_each_name(s, add_entry, &l, e);

	if (r < 0)
		return r;
	if (l.n)
		qsort(l.v, l.n, sizeof(*l.v), compare_entries);
	*ret = l;
	l = (struct store_list){ 0 };
	return 0;
}

void store_list_free(struct store_list *l)
{
	for (size_t i = 0; i < l->n; i++)
		image_free(l->v[i].image);
	free(l->v);
	*l = (struct store_list){ 0 };
}
