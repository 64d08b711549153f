/*
 * Annotations "org.systemd.property.NAME" as unit properties, as runc has them. The value is in
 * GVariant's text format: true, 'text', 5 (a 32-bit integer), uint64 5, ['a', 'b'], @as [],
 * [('/dev/sda', uint64 100)].
 */
#include <ctype.h>
#include <math.h>
#include <stdio.h>

#include "cgroups/systemd.h"

#define PREFIX "org.systemd.property."

/* The D-Bus types that a basic value may have, with GVariant's word for each. */
static const struct basic {
	char type;
	const char *word;
	bool is_signed; /* integers: as wide as max says */
	uint64_t max;
} basics[] = {
	{ 'b', "boolean", false, 0 },
	{ 'y', "byte", false, UINT8_MAX },
	{ 'n', "int16", true, INT16_MAX },
	{ 'q', "uint16", false, UINT16_MAX },
	{ 'i', "int32", true, INT32_MAX },
	{ 'u', "uint32", false, UINT32_MAX },
	{ 'x', "int64", true, INT64_MAX },
	{ 't', "uint64", false, UINT64_MAX },
	{ 'd', "double", false, 0 },
	{ 's', "string", false, 0 },
	{ 'o', "objectpath", false, 0 },
	{ 'g', "signature", false, 0 },
};

static const struct basic *by_type(char type)
{
	for (size_t i = 0; i < ARRAY_SIZE(basics); i++) {
		if (basics[i].type == type)
			return &basics[i];
	}
	return NULL;
}

struct parser {
	const char *at;
	struct sd_props *p;
	struct sd_prop *prop;
	struct strbuf sig; /* of the value, or of the array's element */
};

static int bad(struct err *e, const char *why)
{
	return err_set(e, EINVAL, "%s", why);
}

static void blanks(struct parser *g)
{
	g->at += strspn(g->at, " \t\n");
}

static bool take(struct parser *g, char c)
{
	blanks(g);
	if (*g->at != c)
		return false;
	g->at++;
	return true;
}

static int string(struct parser *g, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	_cleanup_free_ char *text = NULL;
	char quote = *g->at++;

	for (; *g->at && *g->at != quote; g->at++) {
		static const char from[] = "\\'\"nt", to[] = "\\'\"\n\t";
		const char *esc;

		if (*g->at != '\\') {
			strbuf_addn(&b, g->at, 1);
			continue;
		}
		esc = *++g->at ? strchr(from, *g->at) : NULL;
		if (!esc)
			return bad(e, "after a \\ in text only \\ ' \" n and t may follow");
		strbuf_addn(&b, &to[esc - from], 1);
	}
	if (!*g->at)
		return bad(e, "the text has no closing quote");
	g->at++;
	text = strbuf_steal(&b);
	sd_prop_push(g->p, g->prop, text);
	return 0;
}

static int integer(const struct basic *t, const char *text, struct err *e)
{
	uint64_t u;
	int64_t i;

	if (t->is_signed
		? parse_i64(text, &i) < 0 || i > (int64_t)t->max || i < -(int64_t)t->max - 1
		: parse_u64(text, &u) < 0 || u > t->max)
		return err_set(e, EINVAL, "%s: not a whole number of the type %s", text, t->word);
	return 0;
}

/* true, false or a number of the type, which if 0 is chosen by how it is written. */
static int word(struct parser *g, char *type, struct err *e)
{
	size_t n = strcspn(g->at, " \t\n,[]()'\"");
	_cleanup_free_ char *text = xstrndup(g->at, n);
	bool truth = streq(text, "true") || streq(text, "false");
	const struct basic *t;
	char *end = text;

	if (!n)
		return bad(e, "a value is missing: expected true, a number, 'text' or [a, list]");
	if (!*type)
		*type = truth ? 'b' : strpbrk(text, ".eE") ? 'd' : 'i';
	t = by_type(*type);
	if (strchr("sog", *type) || (*type == 'b') != truth)
		return err_set(
		    e, EINVAL, "%s: not of the type %s; text stands in quotes", text, t->word);
	if (*type == 'd') {
		double d = strtod(text, &end);

		if (*end || !isfinite(d))
			return err_set(e, EINVAL, "%s: not a number", text);
	} else if (*type != 'b' && integer(t, text, e) < 0) {
		return -e->code;
	}
	g->at += n;
	sd_prop_push(g->p, g->prop, text);
	return 0;
}

/* "uint64 " before a value. */
static char type_word(struct parser *g)
{
	for (size_t i = 0; i < ARRAY_SIZE(basics); i++) {
		const char *rest = startswith(g->at, basics[i].word);

		if (rest && (*rest == ' ' || *rest == '\t')) {
			g->at = rest;
			blanks(g);
			return basics[i].type;
		}
	}
	return 0;
}

/* want: the type it must have, 0: any. */
static int basic(struct parser *g, char want, char *ret, struct err *e)
{
	char type;
	int r;

	blanks(g);
	type = type_word(g);
	if (type && want && type != want)
		return bad(e, "the values of a list must be of one type");
	if (!type)
		type = want;
	if (*g->at == '\'' || *g->at == '"') {
		if (type && !strchr("sog", type))
			return bad(e, "text where a value of another type is due");
		type = type ? type : 's';
		r = string(g, e);
	} else {
		r = word(g, &type, e);
	}
	*ret = type;
	return r;
}

static int tuple(struct parser *g, const char *want, struct err *e)
{
	_cleanup_strbuf_ struct strbuf sig = { 0 };
	size_t i = 1;

	strbuf_add(&sig, "(");
	do {
		char type;

		if (*want && (i >= strlen(want) || want[i] == ')'))
			return bad(e, "the values of a list must be of one type");
		if (basic(g, *want ? want[i] : 0, &type, e) < 0)
			return -e->code;
		strbuf_addn(&sig, &type, 1);
		i++;
	} while (take(g, ','));
	if (!take(g, ')'))
		return bad(e, "\")\" is missing");
	strbuf_add(&sig, ")");
	if (*want && !streq(want, sig.s))
		return bad(e, "the values of a list must be of one type");
	strbuf_free(&g->sig);
	strbuf_add(&g->sig, sig.s);
	return 0;
}

static int element(struct parser *g, struct err *e)
{
	_cleanup_free_ char *want = xstrdup(g->sig.s ? g->sig.s : "");
	bool opened = take(g, '(');
	char type;

	if (*want && opened != (*want == '('))
		return bad(e, "the values of a list must be of one type");
	if (opened)
		return tuple(g, want, e);
	if (basic(g, *want, &type, e) < 0)
		return -e->code;
	strbuf_free(&g->sig);
	strbuf_addn(&g->sig, &type, 1);
	return 0;
}

static int array(struct parser *g, struct err *e)
{
	_cleanup_free_ char *sig = NULL;

	if (take(g, ']')) {
		if (!g->sig.len)
			return bad(e, "the type of an empty list is unknown: write @as []");
	} else {
		do {
			if (element(g, e) < 0)
				return -e->code;
		} while (take(g, ','));
		if (!take(g, ']'))
			return bad(e, "\"]\" is missing");
	}
	sig = xasprintf("a%s", g->sig.s);
	g->prop->sig = arena_strdup(g->p->arena, sig);
	return 0;
}

/* "@a(st) " before a value: a basic type, or an array of one or of structs of them. */
static int annotated(struct parser *g, bool *ret_array, struct err *e)
{
	size_t n = strcspn(g->at, " \t");
	const char *t = g->at;
	size_t i;

	*ret_array = n && *t == 'a';
	if (*ret_array)
		t++, n--;
	i = n > 2 && t[0] == '(' && t[n - 1] == ')' ? 1 : 0;
	if (!n || (!i && n != 1))
		return bad(e, "the type after \"@\" is none that is understood here");
	strbuf_addn(&g->sig, t, n);
	for (size_t last = i ? n - 1 : n; i < last; i++) {
		if (!by_type(t[i]))
			return bad(e, "the type after \"@\" is none that is understood here");
	}
	g->at = t + n;
	return 0;
}

static int value(struct parser *g, struct err *e)
{
	bool is_array = false;
	char type, sig[2] = "";

	if (take(g, '@') && annotated(g, &is_array, e) < 0)
		return -e->code;
	if (take(g, '[')) {
		if (g->sig.len && !is_array)
			return bad(e, "a list where another type is due");
		return array(g, e);
	}
	if (is_array || (g->sig.len && *g->sig.s == '('))
		return bad(e, "\"[\" is missing");
	if (basic(g, g->sig.len ? *g->sig.s : 0, &type, e) < 0)
		return -e->code;
	sig[0] = type;
	g->prop->sig = arena_strdup(g->p->arena, sig);
	return 0;
}

/* ---- names ---- */

static int check_name(const char *name, struct err *e)
{
	/* What the rest of bailey stands on. */
	static const char *const own[] = { "PIDs", "PIDFDs", "Slice", "Delegate", "Controller" };
	size_t len = strlen(name);

	for (size_t i = 0; i < len; i++) {
		if (!isalpha((unsigned char)name[i]) && !(i && isdigit((unsigned char)name[i])))
			return bad(e, "the name of a property has letters and digits only");
	}
	if (len < 3)
		return bad(e, "the name of the property is too short");
	for (size_t i = 0; i < ARRAY_SIZE(own); i++) {
		if (streq(name, own[i]))
			return bad(e, "this property is set by bailey; linux.cgroupsPath chooses "
				      "the slice");
	}
	return 0;
}

/* systemd.unit(5) has TimeoutStopSec=, D-Bus only TimeoutStopUSec. */
static int seconds(struct sd_props *p, struct sd_prop *prop, const char *name, struct err *e)
{
	_cleanup_free_ char *usec = NULL;
	size_t len = strlen(name);
	double s;

	if (!endswith(name, "Sec") || endswith(name, "USec") || len < 4 ||
	    !islower((unsigned char)name[len - 4]))
		return 0;
	if (prop->n != 1 || !strchr("ynqiuxtd", prop->sig[0]))
		return bad(e, "must be a number of seconds");
	s = strtod(prop->v[0], NULL);
	if (s < 0 || s > 1e12)
		return bad(e, "must be a number of seconds");
	usec = xasprintf("%.*sUSec", (int)(len - 3), name);
	prop->name = arena_strdup(p->arena, usec);
	prop->sig = "t";
	prop->n = 0;
	sd_prop_push(p, prop, arena_printf(p->arena, "%llu", (unsigned long long)(s * 1e6 + 0.5)));
	return 0;
}

static int add(struct sd_props *p, const char *name, const char *text, struct err *e)
{
	struct parser g = { .at = text, .p = p };
	int r = check_name(name, e);

	if (r < 0)
		return r;
	g.prop = sd_props_set(p, name, "");
	r = value(&g, e);
	blanks(&g);
	if (r == 0 && *g.at)
		r = err_set(e, EINVAL, "nothing may follow the value: \"%s\"", g.at);
	strbuf_free(&g.sig);
	return r < 0 ? r : seconds(p, g.prop, name, e);
}

int sd_props_from_annotations(struct sd_props *p, const struct spec_map *m, struct err *e)
{
	for (size_t i = 0; i < m->n; i++) {
		const char *name = startswith(m->v[i].key, PREFIX);

		if (name && add(p, name, m->v[i].value, e) < 0)
			return err_wrap(e, "config.json: .annotations[\"%s\"]: \"%s\"", m->v[i].key,
			    m->v[i].value);
	}
	return 0;
}
