/*
 * Writing JSON over yajl_gen, which does the escaping and the commas. Opening brackets are held
 * back by one call, so that an empty array is "[]" in pretty output too.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yajl/yajl_gen.h>

#include "base/json.h"
#include "base/str.h"

struct json_gen {
	yajl_gen yajl;
	yajl_alloc_funcs alloc; /* yajl keeps a pointer while it is set up */
	size_t depth;
	char open[YAJL_MAX_DEPTH]; /* '{' or '[' per level */
	char pending;		   /* bracket not yet handed to yajl, or 0 */
	bool key;		   /* a key was written, its value is due */
	bool done;
};

static void *g_malloc(void *ctx, size_t n)
{
	return xmalloc(n);
}

static void *g_realloc(void *ctx, void *p, size_t n)
{
	return xrealloc(p, n);
}

static void g_free(void *ctx, void *p)
{
	free(p);
}

static void must(yajl_gen_status s)
{
	if (s != yajl_gen_status_ok)
		abort();
}

struct json_gen *json_gen_new(bool pretty)
{
	struct json_gen *g = xcalloc(1, sizeof(*g));

	g->alloc = (yajl_alloc_funcs){ g_malloc, g_realloc, g_free, NULL };
	g->yajl = yajl_gen_alloc(&g->alloc);
	if (!g->yajl)
		abort();
	if (pretty) {
		yajl_gen_config(g->yajl, yajl_gen_beautify, 1);
		yajl_gen_config(g->yajl, yajl_gen_indent_string, "  ");
	}
	return g;
}

void json_gen_free(struct json_gen *g)
{
	if (!g)
		return;
	yajl_gen_free(g->yajl);
	free(g);
}

static void flush(struct json_gen *g)
{
	if (g->pending)
		must(g->pending == '{' ? yajl_gen_map_open(g->yajl) : yajl_gen_array_open(g->yajl));
	g->pending = 0;
}

/* Before each value: it must be the document, an element, or follow a key. */
static void value(struct json_gen *g)
{
	if (g->done || (g->depth && g->open[g->depth - 1] == '{' && !g->key))
		abort();
	g->key = false;
	flush(g);
	if (g->depth == 0)
		g->done = true;
}

static void open_container(struct json_gen *g, char bracket)
{
	value(g);
	if (g->depth == sizeof(g->open))
		abort();
	g->open[g->depth++] = bracket;
	g->pending = bracket;
	g->done = false;
}

void json_gen_map(struct json_gen *g)
{
	open_container(g, '{');
}

void json_gen_array(struct json_gen *g)
{
	open_container(g, '[');
}

void json_gen_end(struct json_gen *g)
{
	if (g->depth == 0 || g->key)
		abort();
	g->depth--;
	if (g->pending)
		must(yajl_gen_number(g->yajl, g->pending == '{' ? "{}" : "[]", 2));
	else if (g->open[g->depth] == '{')
		must(yajl_gen_map_close(g->yajl));
	else
		must(yajl_gen_array_close(g->yajl));
	g->pending = 0;
	if (g->depth == 0)
		g->done = true;
}

/* With every malformed byte replaced by U+FFFD, so that the output is always valid. */
static void put_string(struct json_gen *g, const char *s)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	size_t n = strlen(s), start = 0, len;

	for (size_t i = 0; i < n; i += len) {
		len = utf8_seq_len(s + i, n - i);
		if (len)
			continue;
		strbuf_addn(&b, s + start, i - start);
		strbuf_add(&b, "\xef\xbf\xbd");
		len = 1;
		start = i + 1;
	}
	if (b.s) {
		strbuf_addn(&b, s + start, n - start);
		s = b.s;
		n = b.len;
	}
	must(yajl_gen_string(g->yajl, (const unsigned char *)s, n));
}

void json_gen_key(struct json_gen *g, const char *k)
{
	if (g->depth == 0 || g->open[g->depth - 1] != '{' || g->key)
		abort();
	flush(g);
	g->key = true;
	put_string(g, k);
}

void json_gen_str(struct json_gen *g, const char *s)
{
	if (!s) {
		json_gen_null(g);
		return;
	}
	value(g);
	put_string(g, s);
}

static void number(struct json_gen *g, const char *text)
{
	value(g);
	must(yajl_gen_number(g->yajl, text, strlen(text)));
}

void json_gen_int(struct json_gen *g, int64_t v)
{
	char text[32];

	snprintf(text, sizeof(text), "%lld", (long long)v);
	number(g, text);
}

void json_gen_uint(struct json_gen *g, uint64_t v)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu", (unsigned long long)v);
	number(g, text);
}

void json_gen_double(struct json_gen *g, double v)
{
	char text[40];

	if (!isfinite(v))
		abort();
	snprintf(text, sizeof(text), "%.17g", v);
	if (!strpbrk(text, ".e")) /* keeps its type when it is read again */
		snprintf(text, sizeof(text), "%.17g.0", v);
	number(g, text);
}

void json_gen_bool(struct json_gen *g, bool v)
{
	value(g);
	must(yajl_gen_bool(g->yajl, v));
}

void json_gen_null(struct json_gen *g)
{
	value(g);
	must(yajl_gen_null(g->yajl));
}

static void gen_container(struct json_gen *g, const struct json *node)
{
	open_container(g, node->type == JSON_OBJECT ? '{' : '[');
	json_foreach (it, node) {
		if (it->key)
			json_gen_key(g, it->key);
		json_gen_node(g, it);
	}
	json_gen_end(g);
}

/* Recursion is bounded by JSON_MAX_DEPTH. */
void json_gen_node(struct json_gen *g, const struct json *node)
{
	switch (node->type) {
	case JSON_NULL:
		json_gen_null(g);
		break;
	case JSON_BOOL:
		json_gen_bool(g, node->b);
		break;
	case JSON_INT:
		json_gen_int(g, node->i);
		break;
	case JSON_UINT:
		json_gen_uint(g, node->u);
		break;
	case JSON_DOUBLE:
		json_gen_double(g, node->d);
		break;
	case JSON_STRING:
		json_gen_str(g, node->s);
		break;
	case JSON_ARRAY:
	case JSON_OBJECT:
		gen_container(g, node);
		break;
	}
}

void json_gen_kstr(struct json_gen *g, const char *k, const char *v)
{
	json_gen_key(g, k);
	json_gen_str(g, v);
}

void json_gen_kint(struct json_gen *g, const char *k, int64_t v)
{
	json_gen_key(g, k);
	json_gen_int(g, v);
}

void json_gen_kuint(struct json_gen *g, const char *k, uint64_t v)
{
	json_gen_key(g, k);
	json_gen_uint(g, v);
}

void json_gen_kbool(struct json_gen *g, const char *k, bool v)
{
	json_gen_key(g, k);
	json_gen_bool(g, v);
}

void json_gen_kstrv(struct json_gen *g, const char *k, char *const *v)
{
	json_gen_key(g, k);
	json_gen_array(g);
	for (; v && *v; v++)
		json_gen_str(g, *v);
	json_gen_end(g);
}

const char *json_gen_text(struct json_gen *g, size_t *ret_len)
{
	const unsigned char *text;
	size_t n;

	if (!g->done)
		abort();
	must(yajl_gen_get_buf(g->yajl, &text, &n));
	/* yajl ends pretty output with a newline; the buffer is g's own. */
	if (n && text[n - 1] == '\n')
		((char *)text)[--n] = '\0';
	if (ret_len)
		*ret_len = n;
	return (const char *)text;
}
