/*
 * What stands in HTTP's headers: URLs, Content-Range, Retry-After, WWW-Authenticate. Private to
 * images/.
 *
 * All of it comes from strangers. URLs are taken apart here and put together again from the parts
 * that were judged, so that no second parser can see another host in them.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "base/alloc.h"
#include "base/err.h"

#define URL_MAX 16384

struct url {
	bool tls;	  /* https, or else http; nothing else parses */
	const char *host; /* lower case; an IPv6 address in brackets */
	uint16_t port;
	const char *path; /* "/…" with the query, without the fragment */
};
/* An absolute URL (RFC 3986): no user information, no blanks, control characters or backslashes.
 * -EINVAL; *ret is untouched then. Strings live in a. */
int url_parse(struct arena *a, const char *s, struct url *ret, struct err *e);
/* A Location, absolute or relative to base (RFC 9110, 10.2.2). */
int url_resolve(
    struct arena *a, const struct url *base, const char *location, struct url *ret, struct err *e);
/* In the arena; the port only where it is not the scheme's own. */
const char *url_text(struct arena *a, const struct url *u);
/* Scheme, host and port: who may see what the other was given. */
bool url_same_origin(const struct url *x, const struct url *y);
/* "localhost", 127.0.0.0/8, [::1], by the text alone. */
bool host_is_loopback(const char *host);

/* "bytes FIRST-LAST/SIZE" (RFC 9110, 14.4); *ret_size UINT64_MAX for "*". -EINVAL. */
int content_range_parse(const char *s, uint64_t *ret_first, uint64_t *ret_last, uint64_t *ret_size);
/* Seconds from now on, by number or by date (RFC 9110, 10.2.3); a time past is 0. -EINVAL. */
int retry_after_parse(const char *s, time_t now, uint64_t *ret);

struct challenge_param {
	const char *name; /* lower case */
	const char *value;
};
struct challenge {
	const char *scheme; /* lower case: "bearer" */
	struct challenge_param *params;
	size_t n;
};
struct challenges {
	struct challenge *v;
	size_t n;
};
#define CHALLENGES_MAX	     16
#define CHALLENGE_PARAMS_MAX 16
/* Appends what one WWW-Authenticate header holds (RFC 9110, 11.6.1) to ret, which starts zeroed.
 * A parameter that stands twice in one challenge is an error, as is whatever else can be read in
 * two ways. -EINVAL. */
int challenges_parse(struct arena *a, const char *s, struct challenges *ret, struct err *e);
/* The first of the scheme; NULL: none. */
const struct challenge *challenges_find(const struct challenges *c, const char *scheme);
/* NULL: absent. */
const char *challenge_get(const struct challenge *c, const char *name);
