/* "docker://HOST[:PORT]/NAME[:TAG|@DIGEST]": the pulling half of OCI's distribution-spec 1.1. */
#include "images/registry.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

#define ACCEPT                                                              \
	MEDIA_TYPE_MANIFEST ", " MEDIA_TYPE_INDEX ", "                      \
			    "application/vnd.docker.distribution.manifest." \
			    "v2+json, application/vnd.docker.distribution." \
			    "manifest.list.v2+json"

/* ---- documents ---- */

/* What the server says of the body has to fit the body. */
static int check_digest_header(
    const struct http_response *resp, const char *text, size_t n, struct err *e)
{
	struct digest said, is;
	int r;

	if (!resp->digest)
		return 0;
	if ((r = digest_parse(resp->digest, &said, e)) < 0 ||
	    (r = digest_of(said.alg, text, n, &is, e)) < 0)
		return err_wrap(e, "Docker-Content-Digest");
	if (!digest_equal(&said, &is))
		return err_set(e, EBADMSG,
		    "corrupt: its digest is %s, but the server's Docker-Content-Digest says %s",
		    is.text, said.text);
	return 0;
}

/* Without parameters, in lower case. */
static const char *media_type(struct arena *a, const char *type)
{
	size_t n = type ? strcspn(type, "; \t") : 0;

	return n ? arena_strndup(a, type, n) : NULL;
}

static int get_manifest(struct registry *r, struct arena *a, const char *ref, size_t max,
    struct image_document *ret, struct err *e)
{
	const struct registry_ask q = {
		.path = arena_printf(a, "/v2/%s/manifests/%s", r->name.path, ref),
		.accept = ACCEPT,
		.what = arena_printf(a, "manifest %s of %s/%s", ref, r->name.domain, r->name.path),
	};
	struct image_document doc = { 0 };
	struct http_response resp;
	int x = registry_ask_all(r, a, &q, max, &resp, &doc.text, &doc.len, e);

	if (x < 0)
		return x;
	doc.media_type = media_type(a, resp.type);
	if (!doc.media_type)
		return err_set(e, EPROTO, "%s: the server sends no Content-Type", q.what);
	x = check_digest_header(&resp, doc.text, doc.len, e);
	if (x < 0)
		return err_wrap(e, "%s", q.what);
	*ret = doc;
	return 0;
}

static int registry_top(
    struct image_source *s, struct arena *a, struct image_document *ret, struct err *e)
{
	struct registry *r = (struct registry *)s;
	const char *ref = r->name.digest ? r->name.digest : r->name.tag;
	struct image_document doc;
	int x = get_manifest(r, a, ref, IMAGE_DOCUMENT_MAX, &doc, e);

	if (x < 0)
		return x;
	doc.digest = r->name.digest; /* by a tag: whatever the body comes to */
	*ret = doc;
	return 0;
}

static int registry_document(struct image_source *s, struct arena *a,
    const struct image_descriptor *d, struct image_document *ret, struct err *e)
{
	struct registry *r = (struct registry *)s;
	struct image_document doc;
	int x;

	if (d->size > IMAGE_DOCUMENT_MAX)
		return err_set(e, EFBIG, "manifest %s: %llu bytes, more than %u", d->digest,
		    (unsigned long long)d->size, IMAGE_DOCUMENT_MAX);
	x = get_manifest(r, a, d->digest, d->size, &doc, e);
	if (x < 0)
		return x;
	if (!streq(doc.media_type, d->media_type))
		return err_set(e, EINVAL, "manifest %s: the server calls it %s, the index %s",
		    d->digest, json_quote(a, doc.media_type), json_quote(a, d->media_type));
	if (doc.len != d->size)
		return err_set(e, EBADMSG, "manifest %s: has %zu bytes, its descriptor says %llu",
		    d->digest, doc.len, (unsigned long long)d->size);
	doc.digest = d->digest;
	*ret = doc;
	return 0;
}

/* ---- opening ---- */

static int set_name(struct registry *r, const char *rest, struct err *e)
{
	const char *text = startswith(rest, "//"), *host;
	int x;

	if (!text)
		return err_set(e, EINVAL,
		    "a registry's image is written docker://HOST[:PORT]/NAME[:TAG|@DIGEST]");
	x = image_name_parse(r->s.arena, text, &r->name, e);
	if (x < 0)
		return x;
	if (r->name.digest && r->name.tag)
		return err_set(e, EINVAL,
		    "a tag and a digest at once: the tag may lead elsewhere by now; give one");
	r->s.name = arena_printf(r->s.arena, "docker://%s", image_name_text(r->s.arena, &r->name));
	host = streq(r->name.domain, "docker.io") ? "registry-1.docker.io" : r->name.domain;
	return url_parse(r->s.arena, arena_printf(r->s.arena, "https://%s/", host), &r->base, e);
}

static int set_options(struct registry *r, const struct image_remote *o, struct err *e)
{
	struct arena *a = r->s.arena;
	struct credentials ignored;

	r->insecure = o->insecure;
	r->authfile = o->authfile ? arena_strdup(a, o->authfile) : NULL;
	r->creds = o->creds ? arena_strdup(a, o->creds) : NULL;
	r->cert_dir = o->cert_dir ? arena_strdup(a, o->cert_dir) : NULL;
	r->timeout = o->timeout ? o->timeout : REGISTRY_TIMEOUT;
	r->retries = o->no_retries ? 0 : o->retries ? o->retries : REGISTRY_RETRIES;
	if (r->insecure && !host_is_loopback(r->base.host))
		return err_set(e, EPERM,
		    "--tls-verify=false: %s is not this machine: only loopback addresses may go "
		    "unverified (its certificate's authority belongs into --cert-dir or "
		    "/etc/containers/certs.d/%s)",
		    r->name.domain, r->name.domain);
	return r->creds ? credentials_parse(a, r->creds, &ignored, e) : 0;
}

static void registry_close(struct image_source *s)
{
	struct registry *r = (struct registry *)s;

	while (r->n_idle)
		http_free(r->idle[--r->n_idle]);
	pthread_mutex_destroy(&r->lock);
	arena_free(s->arena);
}

static int registry_open(
    const char *rest, const struct image_remote *remote, struct image_source **ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct registry *r = arena_alloc(a, sizeof(*r));
	int x;

	r->s.arena = a;
	if ((x = set_name(r, rest, e)) < 0 || (x = set_options(r, remote, e)) < 0)
		return x;
	pthread_mutex_init(&r->lock, NULL);
	*ret = &r->s;
	steal_ptr(a);
	return 0;
}

const struct image_source_ops image_source_docker = {
	.info = {
		.name = "docker",
		.syntax = "docker://HOST[:PORT]/NAME[:TAG|@DIGEST]",
		.help = "an image of a registry",
		.remote = true,
	},
	.open = registry_open,
	.top = registry_top,
	.document = registry_document,
	.blob = registry_blob,
	.close = registry_close,
};
