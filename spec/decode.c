#include "spec/decode.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "base/str.h"

/* ---- messages ---- */

#define NAMES_SHOWN 16

int dec_fail_at(struct dec *d, const char *path, const char *fmt, ...)
{
	_cleanup_free_ char *msg = NULL;
	va_list ap;

	va_start(ap, fmt);
	msg = xvasprintf(fmt, ap);
	va_end(ap);
	return err_set(d->e, EINVAL, "%s: %s: %s", d->name, path, msg);
}

int dec_fail(struct dec *d, const struct json *node, const char *fmt, ...)
{
	_cleanup_free_ char *msg = NULL;
	va_list ap;

	va_start(ap, fmt);
	msg = xvasprintf(fmt, ap);
	va_end(ap);
	return dec_fail_at(d, json_path(d->a, node), "%s", msg);
}

static const char *show(struct dec *d, const struct json *node)
{
	switch (node->type) {
	case JSON_BOOL:
		return node->b ? "true" : "false";
	case JSON_INT:
		return arena_printf(d->a, "%" PRId64, node->i);
	case JSON_UINT:
		return arena_printf(d->a, "%" PRIu64, node->u);
	case JSON_DOUBLE:
		return arena_printf(d->a, "%.17g", node->d);
	case JSON_STRING:
		return json_quote(d->a, node->s);
	default:
		return json_type_name(node->type);
	}
}

int dec_bad(struct dec *d, const struct json *node, const char *fmt, ...)
{
	_cleanup_free_ char *msg = NULL;
	va_list ap;

	va_start(ap, fmt);
	msg = xvasprintf(fmt, ap);
	va_end(ap);
	return dec_fail(d, node, "%s: %s", show(d, node), msg);
}

int dec_missing(struct dec *d, const struct json *object, const char *key)
{
	const char *path = json_path(d->a, object);

	return dec_fail_at(d, arena_printf(d->a, "%s.%s", streq(path, ".") ? "" : path, key),
	    "required property is missing");
}

int dec_type(struct dec *d, const struct json *node, enum json_type want)
{
	if (node->type == want)
		return 0;
	return dec_bad(d, node, "must be %s", json_type_name(want));
}

const struct json *dec_get(const struct json *object, const char *key)
{
	const struct json *node = object ? json_get(object, key) : NULL;

	return node && node->type != JSON_NULL ? node : NULL;
}

/* ---- scalars ---- */

int dec_str(struct dec *d, const struct json *node, const char **ret)
{
	int r = dec_type(d, node, JSON_STRING);

	if (r < 0)
		return r;
	*ret = node->s;
	return 0;
}

int dec_name(struct dec *d, const struct json *node, const struct spec_names *names, uint64_t *ret)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	const struct spec_name *found;
	const char *s;
	int r = dec_str(d, node, &s);

	if (r < 0)
		return r;
	found = spec_name_find(names, s);
	if (found) {
		*ret = found->value;
		return 0;
	}
	for (size_t i = 0; i < names->n && i < NAMES_SHOWN; i++)
		strbuf_addf(&b, "%s%s", i ? ", " : "", names->v[i].name);
	return dec_bad(d, node, "unknown %s (one of %s%s)", names->what, b.s,
	    names->n > NAMES_SHOWN ? ", …" : "");
}

/* Ranges and places of the integer kinds. */
static const struct int_kind {
	bool opt;
	size_t width, v_off;
	int64_t min;
	uint64_t max;
} int_kinds[] = {
	[K_U16] = { false, 2, 0, 0, UINT16_MAX },
	[K_I32] = { false, 4, 0, INT32_MIN, INT32_MAX },
	[K_U32] = { false, 4, 0, 0, UINT32_MAX },
	[K_U64] = { false, 8, 0, 0, UINT64_MAX },
	[K_OPT_I32] = { true, 4, offsetof(struct opt_i32, v), INT32_MIN, INT32_MAX },
	[K_OPT_U32] = { true, 4, offsetof(struct opt_u32, v), 0, UINT32_MAX },
	[K_OPT_I64] = { true, 8, offsetof(struct opt_i64, v), INT64_MIN, INT64_MAX },
	[K_OPT_U64] = { true, 8, offsetof(struct opt_u64, v), 0, UINT64_MAX },
};

int dec_int(struct dec *d, const struct json *node, int64_t min, uint64_t max, uint64_t *ret)
{
	bool ok = false;

	if (node->type == JSON_INT && node->i < 0)
		ok = node->i >= min;
	else if (node->type == JSON_INT || node->type == JSON_UINT)
		ok = node->u <= max && (min <= 0 || node->u >= (uint64_t)min);
	else if (node->type != JSON_DOUBLE)
		return dec_bad(d, node, "must be a whole number");
	else if (node->d > -1e15 && node->d < 1e15)
		return dec_bad(
		    d, node, "must be a whole number, written without fraction and exponent");
	if (!ok)
		return dec_bad(d, node, "out of range (%" PRId64 " to %" PRIu64 ")", min, max);
	*ret = node->u; /* of a negative number: its two's complement */
	return 0;
}

static int decode_int(struct dec *d, const struct json *node, const struct field *f, char *out)
{
	const struct int_kind *k = &int_kinds[f->kind];
	bool narrowed = f->min || f->max;
	char *place = out + k->v_off;
	uint64_t v;
	int r = dec_int(d, node, narrowed ? f->min : k->min, narrowed ? f->max : k->max, &v);

	if (r < 0)
		return r;
	if (k->width == 2)
		*(uint16_t *)place = (uint16_t)v;
	else if (k->width == 4)
		*(uint32_t *)place = (uint32_t)v;
	else
		*(uint64_t *)place = v;
	if (k->opt)
		*(bool *)out = true;
	return 0;
}

static int decode_bool(struct dec *d, const struct json *node, const struct field *f, char *out)
{
	int r = dec_type(d, node, JSON_BOOL);

	if (r < 0)
		return r;
	if (f->kind == K_BOOL)
		*(bool *)out = node->b;
	else
		*(struct opt_bool *)out = (struct opt_bool){ true, node->b };
	return 0;
}

static int decode_str(struct dec *d, const struct json *node, const struct field *f, char *out)
{
	const char *s;
	int r = dec_str(d, node, &s);

	if (r < 0)
		return r;
	if (!*s && f->required)
		return dec_bad(d, node, "must not be empty");
	*(const char **)out = *s ? s : NULL;
	return 0;
}

static int decode_enum(struct dec *d, const struct json *node, const struct field *f, char *out)
{
	uint64_t v;
	int r;

	if (!f->required && node->type == JSON_STRING && !*node->s)
		return 0;
	r = dec_name(d, node, f->names, &v);
	if (r < 0)
		return r;
	*(int *)out = (int)v;
	return 0;
}

/* ---- arrays and maps ---- */

static int decode_strv(struct dec *d, const struct json *node, const struct field *f, char *out)
{
	struct spec_strv *v = (struct spec_strv *)out;
	size_t i = 0;
	int r = dec_type(d, node, JSON_ARRAY);

	if (r < 0)
		return r;
	v->v = arena_calloc(d->a, node->len + 1, sizeof(*v->v));
	json_foreach (it, node) {
		const char *s;

		r = dec_str(d, it, &s);
		if (r < 0)
			return r;
		v->v[i++] = (char *)s;
	}
	v->n = i;
	return 0;
}

static int decode_map(struct dec *d, const struct json *node, const struct field *f, char *out)
{
	struct spec_map *m = (struct spec_map *)out;
	size_t i = 0;
	int r = dec_type(d, node, JSON_OBJECT);

	if (r < 0)
		return r;
	m->v = arena_calloc(d->a, node->len, sizeof(*m->v));
	json_foreach (it, node) {
		if (!*it->key)
			return dec_fail(d, it, "the name must not be empty");
		r = dec_str(d, it, &m->v[i].value);
		if (r < 0)
			return r;
		m->v[i++].key = it->key;
	}
	m->n = i;
	return 0;
}

static int decode_bits(struct dec *d, const struct json *node, const struct field *f, char *out)
{
	uint64_t bits = 0, v;
	int r = dec_type(d, node, JSON_ARRAY);

	if (r < 0)
		return r;
	json_foreach (it, node) {
		r = dec_name(d, it, f->names, &v);
		if (r < 0 && f->kind == K_CAPS && it->type == JSON_STRING) {
			/* config.md: a warning, no error; what is not known is not granted */
			if (d->warn)
				log_warning("%s: left out", d->e->msg);
			err_clear(d->e);
			continue;
		}
		if (r < 0)
			return r;
		bits |= f->kind == K_CAPS ? UINT64_C(1) << v : v;
	}
	if (f->kind == K_BITS32)
		*(uint32_t *)out = (uint32_t)bits;
	else
		*(uint64_t *)out = bits;
	return 0;
}

static int decode_sub(struct dec *d, const struct json *node, const struct field *f, char *out)
{
	return decode_object(d, node, f->table, out);
}

/* K_LIST, K_DICT: out is struct { T *v; size_t n; } */
static int decode_list(struct dec *d, const struct json *node, const struct field *f, char *out)
{
	const struct table *t = f->table;
	struct {
		char *v;
		size_t n;
	} list = { 0 };
	int r = dec_type(d, node, f->kind == K_LIST ? JSON_ARRAY : JSON_OBJECT);

	if (r < 0)
		return r;
	list.v = arena_calloc(d->a, node->len, t->size);
	json_foreach (it, node) {
		char *elem = list.v + list.n * t->size;

		if (f->kind == K_DICT) {
			if (it->type == JSON_NULL)
				continue;
			if (!*it->key)
				return dec_fail(d, it, "the name must not be empty");
			*(const char **)(elem + t->key_off) = it->key;
		}
		r = decode_object(d, it, t, elem);
		if (r < 0)
			return r;
		list.n++;
	}
	memcpy(out, &list, sizeof(list));
	return 0;
}

static int decode_node(struct dec *d, const struct json *node, const struct field *f, char *out)
{
	*(const struct json **)out = node;
	return 0;
}

static int decode_custom(struct dec *d, const struct json *node, const struct field *f, char *out)
{
	return f->fn(d, node, out);
}

/* ---- objects ---- */

static int (*const decoders[])(struct dec *, const struct json *, const struct field *, char *) = {
	[K_BOOL] = decode_bool,
	[K_OPT_BOOL] = decode_bool,
	[K_U16] = decode_int,
	[K_I32] = decode_int,
	[K_U32] = decode_int,
	[K_U64] = decode_int,
	[K_OPT_I32] = decode_int,
	[K_OPT_U32] = decode_int,
	[K_OPT_I64] = decode_int,
	[K_OPT_U64] = decode_int,
	[K_STR] = decode_str,
	[K_STRV] = decode_strv,
	[K_MAP] = decode_map,
	[K_ENUM] = decode_enum,
	[K_BITS] = decode_bits,
	[K_BITS32] = decode_bits,
	[K_CAPS] = decode_bits,
	[K_OBJECT] = decode_sub,
	[K_LIST] = decode_list,
	[K_DICT] = decode_list,
	[K_NODE] = decode_node,
	[K_CUSTOM] = decode_custom,
};

static int decode_field(struct dec *d, const struct json *node, const struct field *f, char *obj)
{
	int r = decoders[f->kind](d, node, f, obj + f->off);

	if (r < 0 || !f->fn || f->kind == K_CUSTOM)
		return r;
	return f->fn(d, node, obj + f->off);
}

static const struct field *find_field(const struct table *t, const char *name)
{
	for (size_t i = 0; i < t->n; i++)
		if (streq(t->fields[i].name, name))
			return &t->fields[i];
	return NULL;
}

static int unknown(struct dec *d, const struct json *node, const struct table *t)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };

	if (!t->closed) {
		if (log_debug_enabled())
			log_debug(
			    "%s: %s: unknown property, ignored", d->name, json_path(d->a, node));
		return 0;
	}
	for (size_t i = 0; i < t->n; i++)
		strbuf_addf(&b, "%s%s", i ? ", " : "", t->fields[i].name);
	return dec_fail(d, node, "unknown name (one of %s)", b.s);
}

/* Recursion goes as deep as the tables nest, whatever the document holds. */
int decode_object(struct dec *d, const struct json *node, const struct table *t, void *obj)
{
	int r = dec_type(d, node, JSON_OBJECT);

	if (r < 0)
		return r;
	json_foreach (it, node) {
		const struct field *f;

		if (it->type == JSON_NULL)
			continue;
		f = find_field(t, it->key);
		r = f ? decode_field(d, it, f, obj) : unknown(d, it, t);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < t->n; i++)
		if (t->fields[i].required && !dec_get(node, t->fields[i].name))
			return dec_missing(d, node, t->fields[i].name);
	for (size_t i = 0; i < t->n; i++) { /* absent vectors are empty, not NULL */
		struct spec_strv *v = (struct spec_strv *)((char *)obj + t->fields[i].off);

		if (t->fields[i].kind == K_STRV && !v->v)
			v->v = arena_calloc(d->a, 1, sizeof(*v->v));
	}
	if (t->has)
		*((bool *)((char *)obj + t->has_off)) = true;
	return t->check ? t->check(d, node, obj) : 0;
}

/* ---- checks ---- */

int check_absolute(struct dec *d, const struct json *node, void *out)
{
	const char *s = *(const char **)out;

	if (s && *s != '/')
		return dec_bad(d, node, "must be an absolute path");
	return 0;
}

int check_absolutes(struct dec *d, const struct json *node, void *out)
{
	json_foreach (it, node)
		if (*it->s != '/')
			return dec_bad(d, it, "must be an absolute path");
	return 0;
}

int check_cpu_list(struct dec *d, const struct json *node, void *out)
{
	const char *s = *(const char **)out;

	if (s && s[strspn(s, "0123456789,- ")])
		return dec_bad(d, node, "must be a list like \"0-3,7\"");
	return 0;
}
