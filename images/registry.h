/*
 * The parts of "docker://…" among themselves; private to images/registry*.c.
 *
 *   registry.c          the source: names to documents and blobs
 *   registry_ask.c      a request with all that it may take: authentication, redirects, retries
 *   registry_token.c    from a challenge to an Authorization
 *   registry_certs.c    certs.d
 *   registry_blob.c     a blob as a stream that survives its connections
 */
#pragma once
#include <pthread.h>

#include "images/auth.h"
#include "images/http.h"
#include "images/source.h"

#define REGISTRY_TIMEOUT  30 /* s */
#define REGISTRY_RETRIES  5
#define REGISTRY_IDLE_MAX 8
#define REGISTRY_HOPS_MAX 5
/* A Retry-After beyond this is an answer, not a pause. */
#define REGISTRY_WAIT_MAX 60

struct registry {
	struct image_source s;
	struct image_name name;
	struct url base; /* its API, without a path; tls may still change (see scheme_known) */
	bool insecure;	 /* --tls-verify=false: a loopback address, unverified, perhaps not TLS */
	const char *authfile, *creds, *cert_dir;
	unsigned timeout, retries;

	pthread_mutex_t lock; /* of what follows */
	bool scheme_known;
	const char *authorization; /* NULL: none wanted so far; strings live in the arena */
	bool authorization_basic;
	unsigned generation; /* counts up with each authorization */
	struct http *idle[REGISTRY_IDLE_MAX];
	size_t n_idle;
};

/* ---- registry_ask.c ---- */

struct registry_ask {
	const char *path;   /* "/v2/…" */
	const char *accept; /* NULL: anything */
	const char *what;   /* for messages: "manifest of …" */
	uint64_t from;	    /* a blob wanted from this byte on */
};
/* Returns a connection whose response is a 200, or, with from, a 206 (ret->status); its body is to
 * be read. Give it back with registry_give_back(). */
int registry_ask(struct registry *r, struct arena *a, const struct registry_ask *q,
    struct http **ret_conn, struct http_response *ret, struct err *e);
/* The same, of a document: read whole, at most max bytes. */
int registry_ask_all(struct registry *r, struct arena *a, const struct registry_ask *q, size_t max,
    struct http_response *ret, const char **ret_text, size_t *ret_len, struct err *e);
int registry_take(struct registry *r, struct http **ret, struct err *e);
void registry_give_back(struct registry *r, struct http *h); /* accepts NULL */

/* Pauses between attempts: from 200 ms on, doubling, with a random part. */
struct backoff {
	unsigned tries;
	uint64_t wait; /* s, at least: what a Retry-After said */
};
/* e holds what went wrong. 0: go on, e is clear; else e is final: no tries are left, or it was not
 * of the kind (-EAGAIN) that time may cure. */
int backoff_wait(const struct registry *r, struct backoff *b, struct err *e);
/* Takes a 408, 429 or 5xx for what it is: -EAGAIN, with b->wait. Other errors of the server: -EIO,
 * -EACCES, -ENOENT with its message, if it has one. */
int registry_refused(struct http *h, struct arena *a, const struct http_response *resp,
    struct backoff *b, struct err *e);

/* ---- registry_token.c ---- */

/* Finds an authorization that answers the challenges of a 401; seen: the generation that was
 * refused. */
int registry_authenticate(
    struct registry *r, const struct challenges *c, unsigned seen, struct err *e);
/* May credentials for the registry's host go to realm? (docs/images.md) */
bool registry_realm_is_own(const struct url *base, const struct url *realm);

/* ---- registry_certs.c ---- */

/* What DIR (NULL: /etc/containers/certs.d/HOST[:PORT], /etc/docker/certs.d/…) has for the host.
 * Strings live in a. */
int registry_certs(
    struct arena *a, const char *dir, const struct url *u, struct http_tls *ret, struct err *e);

/* ---- registry_blob.c ---- */

int registry_blob(struct image_source *s, const struct image_descriptor *d, uint64_t offset,
    struct image_stream *ret, struct err *e);
