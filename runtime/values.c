#include "runtime/values.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"

static int parse_id(const char *s, uint32_t *ret)
{
	uint32_t v;
	int r = parse_u32(s, &v);

	if (r < 0)
		return r;
	if (v == UINT32_MAX)
		return -ERANGE;
	*ret = v;
	return 0;
}

int parse_user_spec(const char *s, uint32_t *uid, struct opt_u32 *gid)
{
	const char *colon = strchr(s, ':');
	struct opt_u32 g = { .set = colon };
	char first[16];
	uint32_t u;
	int r;

	if (!colon)
		colon = s + strlen(s);
	if ((size_t)(colon - s) >= sizeof(first))
		return -EINVAL;
	memcpy(first, s, (size_t)(colon - s));
	first[colon - s] = '\0';
	r = parse_id(first, &u);
	if (r == 0 && g.set)
		r = parse_id(colon + 1, &g.v);
	if (r < 0)
		return r;
	*uid = u;
	*gid = g;
	return 0;
}

/* Longer names first where one begins another. */
static const struct {
	const char *name;
	int64_t ns;
} units[] = {
	{ "ns", 1 },
	{ "us", 1000 },
	{ "\u00b5s", 1000 }, /* micro sign */
	{ "\u03bcs", 1000 }, /* Greek mu */
	{ "ms", 1000000 },
	{ "s", 1000000000 },
	{ "m", 60 * INT64_C(1000000000) },
	{ "h", 3600 * INT64_C(1000000000) },
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Digits behind the point, each worth a tenth of the one before; what is below 1 ns is cut off. */
static const char *parse_fraction(const char *p, int64_t unit, int64_t *ns)
{
	for (; is_digit(*p); p++) {
		unit /= 10;
		*ns += (*p - '0') * unit;
	}
	return p;
}

/* One number with its unit, e.g. "1.5h". Returns what follows, or NULL with *error set. */
static const char *parse_term(const char *s, int64_t *total, int *error)
{
	const char *point, *p = s, *end;
	int64_t whole = 0, ns = 0;
	size_t u = 0;

	*error = -EINVAL;
	while (is_digit(*p))
		p++;
	point = p;
	if (*p == '.')
		for (p++; is_digit(*p);)
			p++;
	if (p - s <= (*point == '.')) /* no digit at all */
		return NULL;
	while (u < ARRAY_SIZE(units) && !startswith(p, units[u].name))
		u++;
	if (u == ARRAY_SIZE(units))
		return NULL;
	end = p + strlen(units[u].name);
	*error = -ERANGE;
	for (p = s; p < point; p++)
		if (__builtin_mul_overflow(whole, 10, &whole) ||
		    __builtin_add_overflow(whole, *p - '0', &whole))
			return NULL;
	if (*point == '.')
		parse_fraction(point + 1, units[u].ns, &ns);
	if (__builtin_mul_overflow(whole, units[u].ns, &whole) ||
	    __builtin_add_overflow(whole, ns, &ns) || __builtin_add_overflow(*total, ns, total))
		return NULL;
	return end;
}

int parse_duration(const char *s, int64_t *ret_ns)
{
	int64_t total = 0;
	int error = -EINVAL;

	if (!*s)
		return -EINVAL;
	if (streq(s, "0"))
		s = "0s";
	while (*s) {
		s = parse_term(s, &total, &error);
		if (!s)
			return error;
	}
	*ret_ns = total;
	return 0;
}
