/* The table of sources, their streams, and the way from a source's reference to an image. */
#include "images/source.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "base/str.h"

/* A transport is a row here and a file of its own. */
static const struct image_source_ops *const transports[] = {
	&image_source_oci,
	&image_source_oci_archive,
	&image_source_docker_archive,
	&image_source_docker,
};

const struct image_source_info *const *image_sources(void)
{
	static const struct image_source_info *infos[ARRAY_SIZE(transports) + 1];

	for (size_t i = 0; i < ARRAY_SIZE(transports); i++)
		infos[i] = &transports[i]->info;
	return infos;
}

/* ---- streams ---- */

void image_stream_close(struct image_stream *s)
{
	if (s->close)
		s->close(s->ctx);
	*s = (struct image_stream){ 0 };
}

struct file_stream {
	int fd;
	uint64_t at, left;
	char *what;
};

static ssize_t file_stream_read(void *ctx, void *buf, size_t n, struct err *e)
{
	struct file_stream *f = ctx;
	ssize_t got;

	if (n > f->left)
		n = f->left;
	do
		got = n ? pread(f->fd, buf, n, (off_t)f->at) : 0;
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return err_errno(e, errno, "read %s", f->what);
	f->at += (uint64_t)got;
	f->left -= (uint64_t)got;
	return got;
}

static void file_stream_close(void *ctx)
{
	struct file_stream *f = ctx;

	close(f->fd);
	free(f->what);
	free(f);
}

void image_stream_fd(
    struct image_stream *ret, int fd, uint64_t offset, uint64_t n, const char *what)
{
	struct file_stream *f = xcalloc(1, sizeof(*f));

	*f = (struct file_stream){ .fd = fd, .at = offset, .left = n, .what = xstrdup(what) };
	*ret = (struct image_stream){
		.read = file_stream_read,
		.close = file_stream_close,
		.ctx = f,
	};
}

/* ---- opening ---- */

int image_local_source(struct arena *a, const char *transport, const char *rest,
    const char **ret_path, const char **ret_ref, const char **ret_name, struct err *e)
{
	_cleanup_free_ char *cwd = NULL, *joined = NULL, *path = NULL;
	size_t n = strcspn(rest, ":");
	const char *ref = rest[n] && rest[n + 1] ? rest + n + 1 : NULL;

	if (n == 0)
		return err_set(e, EINVAL, "a path is missing: %s:PATH[:REF]", transport);
	if (rest[0] != '/' && !(cwd = getcwd(NULL, 0)))
		return err_errno(e, errno, "current directory");
	*ret_path = arena_strndup(a, rest, n);
	joined = path_join(cwd ? cwd : "/", *ret_path);
	path = path_normalize(joined);
	*ret_ref = ref ? arena_strdup(a, ref) : NULL;
	*ret_name = arena_printf(a, "%s:%s%s%s", transport, path, ref ? ":" : "", ref ? ref : "");
	return 0;
}

static int no_transport(const char *source, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_SIZE(transports); i++)
		strbuf_addf(&b, "%s%s", i ? ", " : "", transports[i]->info.syntax);
	return err_set(e, EINVAL, "source %s: not one of the kinds %s", json_quote(a, source), b.s);
}

int image_source_open(
    const char *source, const struct image_remote *remote, struct image_source **ret, struct err *e)
{
	static const struct image_remote usual;
	size_t n = strcspn(source, ":");
	struct image_source *s;

	for (size_t i = 0; source[n] && i < ARRAY_SIZE(transports); i++) {
		const struct image_source_ops *ops = transports[i];
		int r;

		if (strlen(ops->info.name) != n || strncmp(ops->info.name, source, n) != 0)
			continue;
		r = ops->open(source + n + 1, remote ? remote : &usual, &s, e);
		if (r < 0)
			return err_wrap(e, "%s", source);
		s->ops = ops;
		s->spoolfd = -EBADF;
		if (!s->name)
			s->name = arena_strdup(s->arena, source);
		*ret = s;
		return 0;
	}
	return no_transport(source, e);
}

void image_source_close(struct image_source *s)
{
	if (s)
		s->ops->close(s);
}

const struct image_source_info *image_source_info(const struct image_source *s)
{
	return &s->ops->info;
}

/* ---- documents ---- */

static int check_digest(
    const char *what, const char *want, const char *buf, size_t n, struct err *e)
{
	struct digest wanted, got;
	int r = digest_parse(want, &wanted, e);

	if (r == 0)
		r = digest_of(wanted.alg, buf, n, &got, e);
	if (r == 0 && !digest_equal(&wanted, &got))
		r = err_set(e, EBADMSG, "corrupt: its digest is %s, not %s", got.text, wanted.text);
	return r < 0 ? err_wrap(e, "%s", what) : 0;
}

int image_read_blob(struct image_source *s, struct arena *a, const struct image_descriptor *d,
    const char *what, const char **ret, struct err *e)
{
	_cleanup_image_stream_ struct image_stream in = { 0 };
	size_t have = 0;
	char *buf;
	int r;

	if (d->size > IMAGE_DOCUMENT_MAX)
		return err_set(e, EFBIG, "%s (%s): %llu bytes, more than %u", what, d->digest,
		    (unsigned long long)d->size, IMAGE_DOCUMENT_MAX);
	r = s->ops->blob(s, d, 0, &in, e);
	if (r < 0)
		return err_wrap(e, "%s", what);
	buf = arena_alloc(a, d->size + 1);
	while (have < d->size) {
		ssize_t n = in.read(in.ctx, buf + have, d->size - have, e);

		if (n < 0)
			return err_wrap(e, "%s", what);
		if (n == 0)
			return err_set(e, EBADMSG, "%s (%s): ends after %zu bytes of %llu", what,
			    d->digest, have, (unsigned long long)d->size);
		have += (size_t)n;
	}
	*ret = buf;
	return check_digest(what, d->digest, buf, have, e);
}

/* ---- from the reference to the manifest ---- */

static int read_document(struct image_source *s, struct arena *a, const struct image_descriptor *d,
    struct image_document *ret, struct err *e)
{
	struct image_document doc = { .media_type = d->media_type, .digest = d->digest };
	int r;

	if (s->ops->document)
		return s->ops->document(s, a, d, ret, e);
	r = image_read_blob(s, a, d, media_kind_name(media_kind(d->media_type)), &doc.text, e);
	if (r < 0)
		return r;
	doc.len = d->size;
	*ret = doc;
	return 0;
}

/* Replaces an index by what it names, until there is a manifest. */
static int descend(struct image_source *s, struct arena *a, const struct image_platform *want,
    struct image_document *doc, struct err *e)
{
	for (int depth = 0;; depth++) {
		const struct image_descriptor *d;
		struct image_index ix;
		enum media_kind kind;
		int r = image_document_kind(a, s->name, doc->text, doc->len, &kind, e);

		if (r == 0 && doc->digest)
			r = check_digest(s->name, doc->digest, doc->text, doc->len, e);
		if (r < 0 || kind == MEDIA_MANIFEST)
			return r;
		if (depth == IMAGE_INDEX_DEPTH)
			return err_set(e, ELOOP, "%s: indexes are nested more than %d deep",
			    s->name, IMAGE_INDEX_DEPTH);
		if ((r = image_index_parse(
			 a, s->name, doc->media_type, doc->text, doc->len, &ix, e)) < 0 ||
		    (r = image_index_choose(a, s->name, &ix, want, &d, e)) < 0 ||
		    (r = read_document(s, a, d, doc, e)) < 0)
			return r;
	}
}

/* ---- the image ---- */

/* ChainID(L0..Ln) = SHA-256 of "ChainID(L0..Ln-1) DiffID(Ln)" (config.md). */
static int chain_ids(struct image *im, struct err *e)
{
	for (size_t i = 0; i < im->n_layers; i++) {
		struct image_layer *l = &im->layers[i];
		_cleanup_free_ char *text = NULL;
		struct digest d;
		int r;

		if (i == 0) {
			l->chain_id = l->diff_id;
			continue;
		}
		text = xasprintf("%s %s", im->layers[i - 1].chain_id, l->diff_id);
		r = digest_of(DIGEST_SHA256, text, strlen(text), &d, e);
		if (r < 0)
			return r;
		l->chain_id = arena_strdup(im->arena, d.text);
	}
	return 0;
}

static int set_layers(struct image *im, const struct image_manifest *m, struct err *e)
{
	const struct spec_strv *ids = &im->config.diff_ids;

	if (ids->n != m->layers.n)
		return err_set(e, EINVAL,
		    "%s: the manifest has %zu layers, the configuration %zu diff_ids", im->name,
		    m->layers.n, ids->n);
	if (ids->n == 0)
		return err_set(e, EINVAL, "%s: no layers: there is nothing to run", im->name);
	im->layers = arena_calloc(im->arena, m->layers.n, sizeof(*im->layers));
	for (size_t i = 0; i < m->layers.n; i++) {
		const struct image_descriptor *d = &m->layers.v[i];

		im->layers[i] = (struct image_layer){
			.digest = d->digest,
			.diff_id = ids->v[i],
			.media_type = d->media_type,
			.size = d->size,
		};
		if (__builtin_add_overflow(im->size, d->size, &im->size))
			return err_set(e, EINVAL, "%s: the layers' sizes overflow", im->name);
	}
	im->n_layers = m->layers.n;
	return chain_ids(im, e);
}

static int check_platform(struct image *im, const struct image_platform *want, struct err *e)
{
	if (image_platform_fits(want, &im->config.platform))
		return 0;
	return err_set(e, ENOENT, "%s: is for %s, not for %s; see --platform", im->name,
	    image_platform_text(im->arena, &im->config.platform),
	    image_platform_text(im->arena, want));
}

int image_from_documents(struct image *im, const struct image_manifest *m,
    const struct image_platform *want, struct err *e)
{
	int r =
	    image_config_parse(im->arena, arena_printf(im->arena, "%s: configuration", im->name),
		im->config_text, im->config_len, &im->config, e);

	if (r < 0 || (want && (r = check_platform(im, want, e)) < 0))
		return r;
	return set_layers(im, m, e);
}

struct image *image_new(const char *name)
{
	struct arena *a = arena_new();
	struct image *im = arena_alloc(a, sizeof(*im));

	im->arena = a;
	im->name = arena_strdup(a, name);
	return im;
}

void image_free(struct image *i)
{
	if (i)
		arena_free(i->arena);
}

int image_resolve(
    struct image_source *s, const struct image_platform *want, struct image **ret, struct err *e)
{
	_cleanup_image_ struct image *im = image_new(s->name);
	struct image_document doc = { 0 };
	struct image_platform host;
	struct image_manifest m;
	struct digest d;
	int r;

	image_platform_host(&host);
	want = want ? want : &host;
	if ((r = s->ops->top(s, im->arena, &doc, e)) < 0 ||
	    (r = descend(s, im->arena, want, &doc, e)) < 0 ||
	    (r = image_manifest_parse(
		 im->arena, s->name, doc.media_type, doc.text, doc.len, &m, e)) < 0 ||
	    (r = digest_of(DIGEST_SHA256, doc.text, doc.len, &d, e)) < 0 ||
	    (r = image_read_blob(
		 s, im->arena, &m.config, "the image's configuration", &im->config_text, e)) < 0)
		return r;
	im->manifest = doc.text;
	im->manifest_len = doc.len;
	im->config_len = m.config.size;
	im->digest = arena_strdup(im->arena, d.text);
	im->config_digest = m.config.digest;
	r = image_from_documents(im, &m, want, e);
	if (r == 0)
		*ret = steal_ptr(im);
	return r;
}
