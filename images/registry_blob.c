/*
 * A blob from a registry. Connections break; the stream goes on where the last one stood, by Range,
 * and where a server does not know that, by reading past what is there already. What arrives is
 * also kept beside (images/spool.h), so that another run can go on as well.
 *
 * Not a byte more than the descriptor's size is taken, and the digest is the reader's to check.
 */
#include <string.h>

#include "base/cleanup.h"
#include "images/registry.h"
#include "images/spool.h"

/* So much progress makes up for a broken connection. */
#define PROGRESS (1024u * 1024)

struct blob_stream {
	struct registry *r;
	struct arena *arena;
	struct digest digest;
	const char *path, *what;
	uint64_t at, size;
	struct spool spool;
	struct http *h; /* NULL: not connected */
	uint64_t skip;	/* bytes that a server sends though we have them */
	struct backoff backoff;
	uint64_t counted; /* where backoff last began anew */
	bool network_failed;
};

static int check_range(const struct blob_stream *b, const struct http_response *resp, struct err *e)
{
	uint64_t first, last, size;

	if (!resp->content_range ||
	    content_range_parse(resp->content_range, &first, &last, &size) < 0)
		return err_set(e, EBADMSG, "a part without a valid Content-Range");
	if (first != b->at || (size != UINT64_MAX && size != b->size) || last >= b->size)
		return err_set(e, EBADMSG,
		    "asked for the bytes from %llu on of %llu, got %llu to %llu of %llu",
		    (unsigned long long)b->at, (unsigned long long)b->size,
		    (unsigned long long)first, (unsigned long long)last, (unsigned long long)size);
	return 0;
}

static int check_head(struct blob_stream *b, const struct http_response *resp, struct err *e)
{
	uint64_t expected = b->size;
	int r;

	if (resp->status == 206) {
		r = check_range(b, resp, e);
		if (r < 0)
			return r;
		return 0; /* a part may be shorter than asked for; the next request goes on */
	}
	b->skip = b->at;
	if (resp->length >= 0 && (uint64_t)resp->length != expected)
		return err_set(e, EBADMSG, "the server has %lld bytes, the descriptor says %llu",
		    (long long)resp->length, (unsigned long long)expected);
	return 0;
}

static int connect_blob(struct blob_stream *b, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct registry_ask q = { .path = b->path, .what = b->what, .from = b->at };
	struct http_response resp;
	int r = registry_ask(b->r, a, &q, &b->h, &resp, e);

	if (r < 0)
		return r;
	b->skip = 0;
	r = check_head(b, &resp, e);
	return r < 0 ? err_wrap(e, "%s", b->what) : 0;
}

static void disconnect(struct blob_stream *b)
{
	registry_give_back(b->r, b->h);
	b->h = NULL;
}

/* From the connection, past what is there already. 0: it is at its end. */
static ssize_t receive(struct blob_stream *b, void *buf, size_t n, struct err *e)
{
	for (;;) {
		size_t want = b->skip && b->skip < n ? (size_t)b->skip : n;
		ssize_t got = http_read(b->h, buf, want, e);

		if (got <= 0 || !b->skip)
			return got;
		b->skip -= (uint64_t)got;
	}
}

static int take(struct blob_stream *b, const void *buf, size_t n, struct err *e)
{
	int r;

	if (n > b->size - b->at)
		return err_set(e, EBADMSG, "%s: longer than the %llu bytes of its descriptor",
		    b->what, (unsigned long long)b->size);
	if (b->spool.fd >= 0 && (r = spool_add(&b->spool, buf, n, e)) < 0)
		return r;
	b->at += n;
	if (b->at - b->counted >= PROGRESS) {
		b->counted = b->at;
		b->backoff.tries = 0;
	}
	return 0;
}

static ssize_t from_network(struct blob_stream *b, void *buf, size_t n, struct err *e)
{
	for (;;) {
		ssize_t got;
		int r = b->h || b->at == b->size ? 0 : connect_blob(b, e);

		if (r < 0)
			return r;
		if (!b->h) /* there was nothing left to ask for */
			return 0;
		got = receive(b, buf, n, e);
		if (got > 0) {
			r = take(b, buf, (size_t)got, e);
			return r < 0 ? r : got;
		}
		if (got == 0 && b->at == b->size)
			return 0;
		disconnect(b);
		if (got == 0)
			err_set(e, EAGAIN, "the blob ends after %llu bytes of %llu",
			    (unsigned long long)b->at, (unsigned long long)b->size);
		if (backoff_wait(b->r, &b->backoff, e) < 0)
			return err_wrap(e, "%s", b->what);
	}
}

static ssize_t stream_read(void *ctx, void *buf, size_t n, struct err *e)
{
	struct blob_stream *b = ctx;
	ssize_t got;

	if (n == 0)
		return 0;
	if (b->spool.fd >= 0 && b->at < b->spool.have) {
		if (n > b->spool.have - b->at)
			n = (size_t)(b->spool.have - b->at);
		got = spool_read(&b->spool, b->at, buf, n, e);
		if (got > 0)
			b->at += (uint64_t)got;
		return got;
	}
	got = from_network(b, buf, n, e);
	b->network_failed |= got < 0 && got != -EBADMSG;
	return got;
}

static void stream_spoil(void *ctx)
{
	struct blob_stream *b = ctx;

	if (b->spool.fd >= 0 && !b->network_failed)
		spool_drop(b->spool.dirfd, &b->digest);
}

static void stream_close(void *ctx)
{
	struct blob_stream *b = ctx;

	disconnect(b);
	spool_close(&b->spool);
	arena_free(b->arena);
	free(b);
}

int registry_blob(struct image_source *s, const struct image_descriptor *d, uint64_t offset,
    struct image_stream *ret, struct err *e)
{
	struct registry *r = (struct registry *)s;
	struct blob_stream *b = xcalloc(1, sizeof(*b));
	int x;

	b->r = r;
	b->arena = arena_new();
	b->at = b->counted = offset;
	b->size = d->size;
	b->spool = (struct spool)SPOOL_INIT;
	x = digest_parse(d->digest, &b->digest, e);
	if (x == 0 && offset == 0)
		x = spool_open(s->spoolfd, &b->digest, d->size, &b->spool, e);
	if (x < 0) {
		stream_close(b);
		return x;
	}
	b->path = arena_printf(b->arena, "/v2/%s/blobs/%s", r->name.path, b->digest.text);
	b->what = arena_printf(b->arena, "blob %s", b->digest.text);
	*ret = (struct image_stream){
		.read = stream_read,
		.spoil = stream_spoil,
		.close = stream_close,
		.ctx = b,
	};
	return 0;
}
