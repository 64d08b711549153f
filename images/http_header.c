#include "images/http_header.h"

#include <string.h>

#include "base/json.h"
#include "base/str.h"

/* ---- numbers and dates ---- */

/* Digits only, from *s on. */
static bool take_number(const char **s, uint64_t *ret)
{
	size_t n = strspn(*s, "0123456789");
	char text[24];

	if (n == 0 || n >= sizeof(text))
		return false;
	memcpy(text, *s, n);
	text[n] = '\0';
	*s += n;
	return parse_u64(text, ret) == 0;
}

int content_range_parse(const char *s, uint64_t *ret_first, uint64_t *ret_last, uint64_t *ret_size)
{
	uint64_t first, last, size = UINT64_MAX;

	if (strncasecmp(s, "bytes", 5) != 0 || s[5] != ' ')
		return -EINVAL;
	s += 5 + strspn(s + 5, " ");
	if (!take_number(&s, &first) || *s++ != '-' || !take_number(&s, &last) || *s++ != '/')
		return -EINVAL;
	if (*s == '*')
		s++;
	else if (!take_number(&s, &size))
		return -EINVAL;
	if (*s || first > last || last >= size)
		return -EINVAL;
	*ret_first = first;
	*ret_last = last;
	*ret_size = size;
	return 0;
}

int retry_after_parse(const char *s, time_t now, uint64_t *ret)
{
	struct tm tm = { 0 };
	const char *end;
	time_t then;

	if (parse_u64(s, ret) == 0)
		return 0;
	end = strptime(s, "%a, %d %b %Y %H:%M:%S GMT", &tm);
	if (!end || *end)
		return -EINVAL;
	then = timegm(&tm);
	*ret = then > now ? (uint64_t)(then - now) : 0;
	return 0;
}

/* ---- challenges ---- */

#define BLANKS " \t"

static size_t token_len(const char *s)
{
	return strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
			 "!#$%&'*+-.^_`|~");
}

static char *lower(struct arena *a, const char *s, size_t n)
{
	char *out = arena_strndup(a, s, n);

	for (char *p = out; *p; p++)
		*p = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
	return out;
}

/* "…" with backslashes taken away; NULL: it does not end. */
static const char *take_quoted(struct arena *a, const char **s)
{
	const char *p = *s + 1;
	char *out = arena_alloc(a, strlen(p) + 1);
	size_t n = 0;

	while (*p && *p != '"') {
		if (*p == '\\' && !*++p)
			return NULL;
		out[n++] = *p++;
	}
	if (*p != '"')
		return NULL;
	*s = p + 1;
	return out;
}

/* "name=value" at *s. 1: taken; 0: something else is there; -EINVAL. */
static int take_param(struct arena *a, const char **s, struct challenge *c)
{
	const char *p = *s, *value;
	size_t name = token_len(p), at = name, n;
	struct challenge_param *param;

	at += strspn(p + at, BLANKS);
	if (name == 0 || p[at] != '=')
		return 0;
	at++;
	at += strspn(p + at, BLANKS);
	p += at;
	if (*p == '"') {
		value = take_quoted(a, &p);
		if (!value)
			return -EINVAL;
	} else {
		n = token_len(p);
		if (n == 0) /* perhaps a token68 with its padding */
			return 0;
		value = arena_strndup(a, p, n);
		p += n;
	}
	if (c->n == CHALLENGE_PARAMS_MAX)
		return -EINVAL;
	param = &c->params[c->n];
	*param = (struct challenge_param){ lower(a, *s, name), value };
	if (challenge_get(c, param->name))
		return -EINVAL;
	c->n++;
	*s = p;
	return 1;
}

static const char *skip_commas(const char *s)
{
	return s + strspn(s, BLANKS ",");
}

/* The scheme, then parameters or one token68, which no scheme that is known here uses. */
static bool take_challenge(struct arena *a, const char **s, struct challenge *c)
{
	const char *p = *s;
	size_t n = token_len(p);
	int r = 1;

	if (n == 0 || (p[n] && !strchr(BLANKS ",", p[n])))
		return false;
	c->scheme = lower(a, p, n);
	c->params = arena_calloc(a, CHALLENGE_PARAMS_MAX, sizeof(*c->params));
	c->n = 0;
	p += n;
	if (*p == ' ' || *p == '\t') {
		p += strspn(p, BLANKS);
		r = take_param(a, &p, c);
		if (r == 0 && *p != ',') {
			/* token68, or the next challenge */
			n = token_len(p);
			n += strspn(p + n, "/=");
			if (n && (!p[n] || p[n] == ','))
				p += n;
		}
		while (r > 0) {
			const char *next;

			p += strspn(p, BLANKS);
			if (*p != ',')
				break;
			next = skip_commas(p);
			r = take_param(a, &next, c);
			if (r > 0)
				p = next;
		}
	}
	p += strspn(p, BLANKS);
	*s = p;
	return r >= 0 && (!*p || *p == ',');
}

int challenges_parse(struct arena *a, const char *s, struct challenges *ret, struct err *e)
{
	const char *whole = s;
	struct challenges c = *ret;

	if (!c.v)
		c.v = arena_calloc(a, CHALLENGES_MAX, sizeof(*c.v));
	for (s = skip_commas(s); *s; s = skip_commas(s)) {
		if (c.n == CHALLENGES_MAX || !take_challenge(a, &s, &c.v[c.n]))
			return err_set(e, EINVAL,
			    "WWW-Authenticate: %s: is not understood without doubt",
			    json_quote(a, whole));
		c.n++;
	}
	*ret = c;
	return 0;
}

const struct challenge *challenges_find(const struct challenges *c, const char *scheme)
{
	for (size_t i = 0; i < c->n; i++)
		if (streq(c->v[i].scheme, scheme))
			return &c->v[i];
	return NULL;
}

const char *challenge_get(const struct challenge *c, const char *name)
{
	for (size_t i = 0; i < c->n; i++)
		if (streq(c->params[i].name, name))
			return c->params[i].value;
	return NULL;
}
