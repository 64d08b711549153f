#include "base/str.h"

#include <ctype.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

bool endswith(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n >= m && streq(s + n - m, suffix);
}

void strbuf_addn(struct strbuf *b, const char *s, size_t n)
{
	if (b->len + n + 1 > b->cap) {
		b->cap = (b->len + n + 1) * 2;
		b->s = xrealloc(b->s, b->cap);
	}
	memcpy(b->s + b->len, s, n);
	b->len += n;
	b->s[b->len] = '\0';
}

void strbuf_add(struct strbuf *b, const char *s)
{
	strbuf_addn(b, s, strlen(s));
}

void strbuf_addf(struct strbuf *b, const char *fmt, ...)
{
	va_list ap;
	char *s;

	va_start(ap, fmt);
	s = xvasprintf(fmt, ap);
	va_end(ap);
	strbuf_add(b, s);
	free(s);
}

char *strbuf_steal(struct strbuf *b)
{
	char *s = b->s ? b->s : xstrdup("");

	*b = (struct strbuf){ 0 };
	return s;
}

void strbuf_free(struct strbuf *b)
{
	free(b->s);
	*b = (struct strbuf){ 0 };
}

size_t strv_len(char *const *v)
{
	size_t n = 0;

	while (v && v[n])
		n++;
	return n;
}

void strv_push(char ***v, char *owned)
{
	size_t n = strv_len(*v);

	*v = xrealloc(*v, (n + 2) * sizeof(char *));
	(*v)[n] = owned;
	(*v)[n + 1] = NULL;
}

bool strv_contains(char *const *v, const char *s)
{
	for (; v && *v; v++)
		if (streq(*v, s))
			return true;
	return false;
}

char **strv_split(const char *s, char sep)
{
	char **v = xcalloc(1, sizeof(char *));

	while (*s) {
		size_t n = strcspn(s, (char[]){ sep, '\0' });

		if (n) {
			char *field = xmalloc(n + 1);

			memcpy(field, s, n);
			field[n] = '\0';
			strv_push(&v, field);
		}
		s += n + (s[n] ? 1 : 0);
	}
	return v;
}

void strv_free(char **v)
{
	for (size_t i = 0; v && v[i]; i++)
		free(v[i]);
	free(v);
}

int parse_u64(const char *s, uint64_t *ret)
{
	uint64_t v = 0;

	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(v, 10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
			return -ERANGE;
	}
	*ret = v;
	return 0;
}

int parse_i64(const char *s, int64_t *ret)
{
	bool negative = *s == '-';
	uint64_t v;
	int r = parse_u64(s + negative, &v);

	if (r < 0)
		return r;
	if (v > (uint64_t)INT64_MAX + negative)
		return -ERANGE;
	*ret = negative ? (int64_t)(0 - v) : (int64_t)v;
	return 0;
}

int parse_int_range(const char *s, int64_t min, int64_t max, int64_t *ret)
{
	int64_t v;
	int r = parse_i64(s, &v);

	if (r < 0)
		return r;
	if (v < min || v > max)
		return -ERANGE;
	*ret = v;
	return 0;
}

int parse_u32(const char *s, uint32_t *ret)
{
	uint64_t v;
	int r = parse_u64(s, &v);

	if (r < 0)
		return r;
	if (v > UINT32_MAX)
		return -ERANGE;
	*ret = (uint32_t)v;
	return 0;
}

int parse_i32(const char *s, int32_t *ret)
{
	int64_t v;
	int r = parse_int_range(s, INT32_MIN, INT32_MAX, &v);

	if (r == 0)
		*ret = (int32_t)v;
	return r;
}

int parse_octal(const char *s, uint32_t max, uint32_t *ret)
{
	uint64_t v = 0;

	if (!*s)
		return -EINVAL;
	for (; *s; s++) {
		if (*s < '0' || *s > '7')
			return -EINVAL;
		v = v * 8 + (uint64_t)(*s - '0');
		if (v > max)
			return -ERANGE;
	}
	*ret = (uint32_t)v;
	return 0;
}

/* The power of 1024 that a suffix such as "k", "KB" or "kib" stands for, or -1. */
static int size_suffix(const char *s)
{
	static const char units[] = "bkmgtp";
	const char *u;

	if (!*s)
		return 0;
	u = strchr(units, tolower((unsigned char)*s));
	if (!u)
		return -1;
	if (s[1] && (u == units || (strcasecmp(s + 1, "b") && strcasecmp(s + 1, "ib"))))
		return -1;
	return (int)(u - units);
}

int parse_size(const char *s, bool allow_minus_one, int64_t *ret)
{
	size_t digits = strspn(s, "0123456789");
	char number[24];
	uint64_t v;
	int r, power;

	if (allow_minus_one && streq(s, "-1")) {
		*ret = -1;
		return 0;
	}
	if (digits == 0 || digits >= sizeof(number))
		return digits ? -ERANGE : -EINVAL;
	memcpy(number, s, digits);
	number[digits] = '\0';
	r = parse_u64(number, &v);
	if (r < 0)
		return r;
	power = size_suffix(s + digits);
	if (power < 0)
		return -EINVAL;
	while (power-- > 0)
		if (__builtin_mul_overflow(v, 1024, &v))
			return -ERANGE;
	if (v > INT64_MAX)
		return -ERANGE;
	*ret = (int64_t)v;
	return 0;
}

static int parse_rt_signal(const char *s)
{
	const char *rest;
	int64_t n = 0;
	int base, sign;

	if ((rest = startswith(s, "RTMIN")))
		base = 34, sign = 1; /* the kernel's 32 and 33 belong to the C library */
	else if ((rest = startswith(s, "RTMAX")))
		base = 64, sign = -1;
	else
		return -EINVAL;
	if (*rest) {
		if (*rest != (sign > 0 ? '+' : '-') || parse_int_range(rest + 1, 0, 30, &n) < 0)
			return -EINVAL;
	}
	return base + sign * (int)n;
}

int parse_signal(const char *s)
{
	static const struct {
		const char *name;
		int sig;
	} extra[] = { { "IOT", SIGABRT }, { "CLD", SIGCHLD }, { "POLL", SIGIO },
		{ "UNUSED", SIGSYS } };
	char upper[16];
	const char *name = upper;
	int64_t n;

	if (parse_int_range(s, 1, 64, &n) == 0)
		return (int)n;
	if (strlen(s) >= sizeof(upper))
		return -EINVAL;
	for (size_t i = 0; i <= strlen(s); i++)
		upper[i] = (char)toupper((unsigned char)s[i]);
	if (startswith(name, "SIG"))
		name += 3;
	for (int sig = 1; sig < 32; sig++) {
		const char *abbrev = sigabbrev_np(sig);

		if (abbrev && streq(abbrev, name))
			return sig;
	}
	for (size_t i = 0; i < sizeof(extra) / sizeof(extra[0]); i++)
		if (streq(extra[i].name, name))
			return extra[i].sig;
	return parse_rt_signal(name);
}

/* gmtime_r(3) would read /etc/localtime first. Years are counted from March, so that the leap day
 * is their last one; 719468 days lie between 0000-03-01 and 1970-01-01, 146097 in 400 years. */
void format_rfc3339(char buf[40], const struct timespec *t)
{
	unsigned sec = (unsigned)(t->tv_sec % 86400);
	unsigned days = (unsigned)(t->tv_sec / 86400) + 719468;
	unsigned era, y, m, d;

	era = days / 146097;
	d = days % 146097;
	y = (d - d / 1460 + d / 36524 - d / 146096) / 365;
	d -= 365 * y + y / 4 - y / 100;
	m = (5 * d + 2) / 153; /* 0: March; five months have 153 days */
	d -= (153 * m + 2) / 5;
	y += era * 400 + (m >= 10);
	m += m < 10 ? 3 : -9u;
	snprintf(buf, 40, "%04u-%02u-%02uT%02u:%02u:%02u.%09ldZ", y, m, d + 1, sec / 3600,
	    sec / 60 % 60, sec % 60, t->tv_nsec);
}

void format_rfc3339_now(char buf[40])
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	format_rfc3339(buf, &now);
}
