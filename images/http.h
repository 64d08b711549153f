/*
 * HTTP requests over libcurl, which is loaded with dlopen(3) by the first of them. Private to
 * images/.
 *
 * One struct http carries one request at a time and keeps its connection for the next; it belongs
 * to one thread at a time. Redirects, authentication, retries are the caller's: each response is
 * handed over as it came. The body is pulled, so that who does not read holds the sender up.
 *
 * Errors that may go away by themselves (a connection that breaks, time that runs out) are -EAGAIN;
 * all others, wrong certificates among them, are not.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "images/http_header.h"

#define HTTP_HEAD_MAX (64u * 1024)
/* In waiting for a body, less than this many bytes per second counts as nothing at all. */
#define HTTP_RATE_MIN 256

/* What makes a server credible. Paths and texts are borrowed while the request lasts. */
struct http_tls {
	const char *ca;		/* certificates in PEM that count beside the system's; NULL: none */
	const char *cert, *key; /* files to show to the server; NULL: none */
	bool insecure;		/* no verification; only loopback addresses are connected to */
};

struct http_request {
	const struct url *url;
	const struct http_tls *tls;
	const char *authorization; /* the header's value; NULL: none */
	const char *accept;	   /* NULL: anything */
	const char *form;	   /* a POST of this; NULL: a GET */
	uint64_t from;		   /* wanted from this byte on */
};

struct http_response {
	int status;
	int64_t length; /* of the body; -1: not said */
	/* Headers; NULL: absent. In the arena that http_start() was given. */
	const char *type, *location, *content_range, *retry_after, *digest;
	struct challenges challenges;
};

struct http;
/* timeout: seconds for a connection to come about, for a response to begin, and for a stretch of
 * the body. Errors are those of loading libcurl. */
int http_new(unsigned timeout, struct http **ret, struct err *e);
void http_free(struct http *h); /* accepts NULL */
static inline void http_freep(struct http **h)
{
	http_free(*h);
}
#define _cleanup_http_ __attribute__((cleanup(http_freep)))

/* Sends q and returns when the response's headers are there. Ends what went before. -EPROTO where
 * the server does not speak TLS, -EPERM where it is not credible. */
int http_start(struct http *h, struct arena *a, const struct http_request *q,
    struct http_response *ret, struct err *e);
/* At most n bytes of the body; 0: its end. */
ssize_t http_read(struct http *h, void *buf, size_t n, struct err *e);
/* All of it, at most max bytes (-EFBIG), NUL-terminated, in the arena. */
int http_read_all(
    struct http *h, struct arena *a, size_t max, const char **ret, size_t *ret_len, struct err *e);
/* Forgets the response; the connection lives on if the body was read to its end. */
void http_stop(struct http *h);
/* In percent signs, but for letters, digits and "-._~"; in the arena. */
const char *http_escape(struct arena *a, const char *s);
