/* URLs; see images/http_header.h. */
#include <arpa/inet.h>
#include <ctype.h>
#include <string.h>

#include "base/json.h"
#include "base/str.h"
#include "images/http_header.h"

static int bad(struct arena *a, const char *s, const char *why, struct err *e)
{
	return err_set(e, EINVAL, "URL %s: %s", json_quote(a, s), why);
}

static char *lower(struct arena *a, const char *s, size_t n)
{
	char *out = arena_strndup(a, s, n);

	for (char *p = out; *p; p++)
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
	return out;
}

/* A name of letters, digits, "-", "_" and ".", or an IPv6 address in brackets. */
static bool is_host(const char *s)
{
	size_t n = strlen(s);
	char inner[64];
	struct in6_addr in6;

	if (*s != '[')
		return n > 0 && n <= 253 && *s != '.' && *s != '-' &&
		       strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == n;
	if (n < 4 || n - 2 >= sizeof(inner) || s[n - 1] != ']')
		return false;
	memcpy(inner, s + 1, n - 2);
	inner[n - 2] = '\0';
	return inet_pton(AF_INET6, inner, &in6) == 1;
}

static bool is_visible(const char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s <= ' ' || (unsigned char)*s >= 0x7f ||
		    strchr("\\\"<>^`{|}", *s))
			return false;
	return true;
}

/* "host[:port]", all of s. */
static bool split_authority(struct arena *a, const char *s, size_t n, struct url *u)
{
	const char *text = lower(a, s, n), *port = NULL;
	size_t host = *text == '[' ? strcspn(text, "]") + 1 : strcspn(text, ":");
	uint32_t number;

	if (host > strlen(text))
		return false;
	if (text[host] == ':')
		port = text + host + 1;
	else if (text[host])
		return false;
	u->host = arena_strndup(a, text, host);
	u->port = u->tls ? 443 : 80;
	if (port && *port) {
		if (parse_u32(port, &number) < 0 || number == 0 || number > UINT16_MAX)
			return false;
		u->port = (uint16_t)number;
	}
	return is_host(u->host);
}

/* Path and query; an empty path is "/". */
static const char *clean_path(struct arena *a, const char *s)
{
	size_t n = strcspn(s, "#");

	return *s == '/' ? arena_strndup(a, s, n) : arena_printf(a, "/%.*s", (int)n, s);
}

int url_parse(struct arena *a, const char *s, struct url *ret, struct err *e)
{
	const char *rest = NULL;
	struct url u = { 0 };
	size_t n;

	if (strlen(s) > URL_MAX)
		return bad(a, s, "too long", e);
	if (!is_visible(s))
		return bad(a, s, "has characters that no URL has", e);
	if (strncasecmp(s, "https://", 8) == 0) {
		u.tls = true;
		rest = s + 8;
	} else if (strncasecmp(s, "http://", 7) == 0) {
		rest = s + 7;
	} else {
		return bad(a, s, "is not of https or http", e);
	}
	n = strcspn(rest, "/?#");
	if (memchr(rest, '@', n))
		return bad(a, s, "must not name a user", e);
	if (!split_authority(a, rest, n, &u))
		return bad(a, s, "has no valid host and port", e);
	u.path = clean_path(a, rest + n);
	*ret = u;
	return 0;
}

int url_resolve(
    struct arena *a, const struct url *base, const char *location, struct url *ret, struct err *e)
{
	struct url u = *base;
	size_t scheme = strcspn(location, ":/?#"), dir;

	if (location[scheme] == ':')
		return url_parse(a, location, ret, e);
	if (strlen(location) > URL_MAX)
		return bad(a, location, "too long", e);
	if (!is_visible(location))
		return bad(a, location, "has characters that no URL has", e);
	if (!*location || *location == '#')
		return bad(a, location, "leads nowhere", e);
	if (location[0] == '/' && location[1] == '/')
		return url_parse(
		    a, arena_printf(a, "%s:%s", base->tls ? "https" : "http", location), ret, e);
	if (*location == '/') {
		u.path = clean_path(a, location);
	} else {
		/* Beside the base; dots are the server's to resolve. */
		size_t path = strcspn(base->path, "?");

		for (dir = path; dir > 0 && base->path[dir - 1] != '/'; dir--)
			;
		if (*location == '?')
			dir = path;
		u.path = clean_path(a, arena_printf(a, "%.*s%s", (int)dir, base->path, location));
	}
	if (strlen(u.path) > URL_MAX)
		return bad(a, location, "too long", e);
	*ret = u;
	return 0;
}

const char *url_text(struct arena *a, const struct url *u)
{
	if (u->port == (u->tls ? 443 : 80))
		return arena_printf(a, "%s://%s%s", u->tls ? "https" : "http", u->host, u->path);
	return arena_printf(
	    a, "%s://%s:%u%s", u->tls ? "https" : "http", u->host, u->port, u->path);
}

bool url_same_origin(const struct url *x, const struct url *y)
{
	return x->tls == y->tls && x->port == y->port && streq(x->host, y->host);
}

bool host_is_loopback(const char *host)
{
	struct in_addr in;

	if (streq(host, "localhost") || streq(host, "[::1]"))
		return true;
	return inet_pton(AF_INET, host, &in) == 1 && ntohl(in.s_addr) >> 24 == 127;
}
