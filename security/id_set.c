/* Lists of CPUs and memory nodes. */
#include <ctype.h>
#include <stdbool.h>
#include <string.h>

#include "security/internal.h"

static void skip_blanks(const char **s)
{
	while (**s == ' ')
		(*s)++;
}

static bool take_number(const char **s, unsigned *ret)
{
	unsigned v = 0;

	if (!isdigit((unsigned char)**s))
		return false;
	for (; isdigit((unsigned char)**s); (*s)++) {
		v = v * 10 + (unsigned)(**s - '0');
		if (v >= ID_SET_MAX)
			return false;
	}
	*ret = v;
	return true;
}

static bool take_range(const char **s, struct id_set *set)
{
	const size_t bits = 8 * sizeof(set->words[0]);
	unsigned first, last;

	skip_blanks(s);
	if (!take_number(s, &first))
		return false;
	last = first;
	skip_blanks(s);
	if (**s == '-') {
		(*s)++;
		skip_blanks(s);
		if (!take_number(s, &last) || last < first)
			return false;
		skip_blanks(s);
	}
	for (unsigned i = first; i <= last; i++)
		set->words[i / bits] |= 1ul << (i % bits);
	if (last >= set->end)
		set->end = last + 1;
	return true;
}

int id_set_parse(const char *property, const char *list, struct id_set *ret, struct err *e)
{
	struct id_set set = { .end = 0 };
	const char *s = list;

	skip_blanks(&s);
	while (*s) {
		if (!take_range(&s, &set) || (*s && *s != ','))
			goto bad;
		if (!*s)
			break;
		s++;
		if (!*s)
			goto bad;
	}
	*ret = set;
	return 0;
bad:
	return err_set(e, EINVAL,
	    "%s: \"%s\": not a list like \"0-3,7\" of numbers below %d (wrong at offset %zu)",
	    property, list, ID_SET_MAX, (size_t)(s - list));
}
