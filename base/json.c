/*
 * Reading JSON. yajl's parser keeps its state on the heap and calls back once per token, so its
 * stack use is constant; the caps on size, depth and node count are enforced here, in the
 * callbacks.
 *
 * Three things yajl 2.1 lets pass are checked on the text before it sees it: UTF-8 that is
 * overlong, a surrogate or beyond U+10FFFF, and escaped surrogates without their other half, which
 * it would turn into '?'.
 */
#include "base/json.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yajl/yajl_parse.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

/* What the tree's reader sees, and what only the parser needs. */
struct node {
	struct json j;
	struct node *tail; /* last child */
	uint32_t off;	   /* end of the key, for a duplicate's position */
};

struct parser {
	struct arena *a;
	const char *name, *buf;
	size_t n;
	yajl_handle yajl;
	struct node *root, *cur; /* cur: innermost open array or object */
	const char *key;	 /* pending member name */
	uint32_t key_off;
	size_t depth, nodes;
	struct err *e;
	bool failed; /* e is set: yajl was cancelled */
};

size_t utf8_seq_len(const char *str, size_t n)
{
	const unsigned char *s = (const unsigned char *)str;
	size_t len;
	unsigned lo = 0x80, hi = 0xbf; /* of the second byte */

	if (n == 0)
		return 0;
	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		len = 2;
	else if ((s[0] & 0xf0) == 0xe0)
		len = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (s[0] == 0xe0)
		lo = 0xa0; /* else overlong */
	else if (s[0] == 0xed)
		hi = 0x9f; /* else a surrogate */
	else if (s[0] == 0xf0)
		lo = 0x90;
	else if (s[0] == 0xf4)
		hi = 0x8f; /* U+10FFFF */
	if (n < len || s[1] < lo || s[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

static int fail_at(struct parser *p, size_t off, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* Sets "NAME: line L, column C: message"; the column counts bytes from 1. */
static int fail_at(struct parser *p, size_t off, const char *fmt, ...)
{
	size_t line = 1, column = 1;
	char msg[512];
	va_list ap;

	if (off > p->n)
		off = p->n;
	for (size_t i = 0; i < off; i++) {
		column++;
		if (p->buf[i] == '\n') {
			line++;
			column = 1;
		}
	}
	va_start(ap, fmt);
	vsnprintf(msg, sizeof(msg), fmt, ap);
	va_end(ap);
	p->failed = true;
	return err_set(p->e, EINVAL, "%s: line %zu, column %zu: %s", p->name, line, column, msg);
}

/* Where yajl is: the last byte of the token that it has just read. */
static size_t position(const struct parser *p)
{
	size_t n = yajl_get_bytes_consumed(p->yajl);

	return n ? n - 1 : 0;
}

/* ---- checks on the text ---- */

static int hex4(const char *s, size_t n)
{
	int v = 0;

	if (n < 4)
		return -1;
	for (size_t i = 0; i < 4; i++) {
		const char *digits = "0123456789abcdef";
		const char *d = s[i] ? strchr(digits, s[i] | 0x20) : NULL;

		if (!d)
			return -1;
		v = v * 16 + (int)(d - digits);
	}
	return v;
}

/* Length of the escape at off, whose first byte is a backslash. What is no escape at all is left to
 * yajl. */
static int check_escape(struct parser *p, size_t off, size_t *ret_len)
{
	int c, low;

	*ret_len = 2;
	if (off + 1 >= p->n || p->buf[off + 1] != 'u')
		return 0;
	c = hex4(p->buf + off + 2, p->n - off - 2);
	if (c < 0)
		return 0;
	if (c == 0)
		return fail_at(p, off, "\\u0000 (NUL) inside a string");
	*ret_len = 6;
	if (c < 0xd800 || c > 0xdfff)
		return 0;
	low = -1;
	if (off + 7 < p->n && p->buf[off + 6] == '\\' && p->buf[off + 7] == 'u')
		low = hex4(p->buf + off + 8, p->n - off - 8);
	if (c >= 0xdc00 || low < 0xdc00 || low > 0xdfff)
		return fail_at(p, off, "half of a surrogate pair (\\u%04x)", (unsigned)c);
	*ret_len = 12;
	return 0;
}

static int check_text(struct parser *p)
{
	for (size_t i = 0; i < p->n;) {
		size_t len = 1;

		if (p->buf[i] == '\\') {
			if (check_escape(p, i, &len) < 0)
				return -EINVAL;
		} else {
			len = utf8_seq_len(p->buf + i, p->n - i);
			if (len == 0)
				return fail_at(p, i, "invalid UTF-8 (byte 0x%02x)",
				    (unsigned)(unsigned char)p->buf[i]);
		}
		i += len;
	}
	return 0;
}

/* ---- callbacks: 1 goes on, 0 cancels with p->e set ---- */

static struct node *add(struct parser *p, enum json_type type)
{
	struct node *n;

	if (++p->nodes > JSON_MAX_NODES) {
		fail_at(p, position(p), "more than %u values", JSON_MAX_NODES);
		return NULL;
	}
	n = arena_alloc(p->a, sizeof(*n));
	n->j.type = type;
	n->j.key = p->key;
	n->off = p->key_off;
	p->key = NULL;
	if (!p->cur) {
		p->root = n;
		return n;
	}
	n->j.parent = &p->cur->j;
	if (p->cur->tail)
		p->cur->tail->j.next = &n->j;
	else
		p->cur->j.child = &n->j;
	p->cur->tail = n;
	p->cur->j.len++;
	return n;
}

static int on_null(void *ctx)
{
	return add(ctx, JSON_NULL) != NULL;
}

static int on_bool(void *ctx, int v)
{
	struct node *n = add(ctx, JSON_BOOL);

	if (!n)
		return 0;
	n->j.b = v != 0;
	return 1;
}

/* Whole numbers stay exact: int64, else uint64, else (beyond 64 bits) the nearest double. */
static int on_number(void *ctx, const char *text, size_t len)
{
	struct parser *p = ctx;
	const char *s = arena_strndup(p->a, text, len);
	struct node *n = add(p, JSON_DOUBLE);

	if (!n)
		return 0;
	if (!strpbrk(s, ".eE")) {
		errno = 0;
		n->j.i = strtoll(s, NULL, 10);
		n->j.type = JSON_INT;
		if (errno == 0)
			return 1;
		errno = 0;
		n->j.u = strtoull(s, NULL, 10);
		n->j.type = JSON_UINT;
		if (errno == 0 && s[0] != '-')
			return 1;
		n->j.type = JSON_DOUBLE;
	}
	n->j.d = strtod(s, NULL);
	if (isfinite(n->j.d))
		return 1;
	fail_at(p, position(p), "number out of range");
	return 0;
}

static int on_string(void *ctx, const unsigned char *s, size_t len)
{
	struct parser *p = ctx;
	struct node *n = add(p, JSON_STRING);

	if (!n)
		return 0;
	n->j.s = arena_strndup(p->a, (const char *)s, len);
	n->j.len = len;
	return 1;
}

static int on_key(void *ctx, const unsigned char *s, size_t len)
{
	struct parser *p = ctx;

	p->key = arena_strndup(p->a, (const char *)s, len);
	p->key_off = (uint32_t)position(p);
	return 1;
}

static int open_container(struct parser *p, enum json_type type)
{
	struct node *n;

	if (++p->depth > JSON_MAX_DEPTH) {
		fail_at(p, position(p), "nested deeper than %d levels", JSON_MAX_DEPTH);
		return 0;
	}
	n = add(p, type);
	if (!n)
		return 0;
	p->cur = n;
	return 1;
}

static int close_container(struct parser *p)
{
	p->depth--;
	p->cur = (struct node *)p->cur->j.parent; /* every node of the tree was made by add() */
	return 1;
}

static int on_start_array(void *ctx)
{
	return open_container(ctx, JSON_ARRAY);
}

static int on_end_array(void *ctx)
{
	return close_container(ctx);
}

static int on_start_map(void *ctx)
{
	return open_container(ctx, JSON_OBJECT);
}

static int by_key(const void *pa, const void *pb)
{
	const struct node *a = *(const struct node *const *)pa;
	const struct node *b = *(const struct node *const *)pb;
	int c = strcmp(a->j.key, b->j.key);

	return c ? c : (a->off > b->off) - (a->off < b->off);
}

/* Sorted, so that an object of a million members costs no million times a million. */
static int on_end_map(void *ctx)
{
	struct parser *p = ctx;
	struct node *obj = p->cur;
	_cleanup_free_ const struct node **v = xcalloc(obj->j.len, sizeof(*v));
	size_t n = 0;

	json_foreach (it, &obj->j)
		v[n++] = (const struct node *)it;
	qsort(v, n, sizeof(*v), by_key);
	for (size_t i = 1; i < n; i++) {
		if (!streq(v[i - 1]->j.key, v[i]->j.key))
			continue;
		fail_at(p, v[i]->off, "%s: duplicate key", json_path(p->a, &v[i]->j));
		return 0;
	}
	return close_container(p);
}

static const yajl_callbacks callbacks = {
	.yajl_null = on_null,
	.yajl_boolean = on_bool,
	.yajl_number = on_number,
	.yajl_string = on_string,
	.yajl_start_map = on_start_map,
	.yajl_map_key = on_key,
	.yajl_end_map = on_end_map,
	.yajl_start_array = on_start_array,
	.yajl_end_array = on_end_array,
};

/* yajl does not check its allocations; these abort. */
static void *y_malloc(void *ctx, size_t n)
{
	return xmalloc(n);
}

static void *y_realloc(void *ctx, void *p, size_t n)
{
	return xrealloc(p, n);
}

static void y_free(void *ctx, void *p)
{
	free(p);
}

static void yajl_freep(yajl_handle *h)
{
	if (*h)
		yajl_free(*h);
}

/* yajl's words for what is wrong are short and end in a newline. */
static int fail_yajl(struct parser *p, size_t off)
{
	unsigned char *text = yajl_get_error(p->yajl, 0, NULL, 0);
	size_t len = strcspn((const char *)text, "\n");

	fail_at(p, off, "invalid JSON: %.*s", (int)len, (const char *)text);
	yajl_free_error(p->yajl, text);
	return -EINVAL;
}

int json_parse(struct arena *a, const char *name, const char *buf, size_t n,
    const struct json **ret, struct err *e)
{
	yajl_alloc_funcs alloc = { y_malloc, y_realloc, y_free, NULL };
	struct parser p = { .a = a, .name = name, .buf = buf, .n = n, .e = e };
	_cleanup_(yajl_freep) yajl_handle h = NULL;

	if (n > JSON_MAX_SIZE)
		return err_set(e, EFBIG, "%s: larger than %u MiB", name, JSON_MAX_SIZE >> 20);
	if (check_text(&p) < 0)
		return -EINVAL;
	p.yajl = h = yajl_alloc(&callbacks, &alloc, &p);
	if (yajl_parse(h, (const unsigned char *)buf, n) != yajl_status_ok)
		return p.failed ? -EINVAL : fail_yajl(&p, position(&p));
	if (yajl_complete_parse(h) != yajl_status_ok)
		return p.failed ? -EINVAL : fail_yajl(&p, n);
	*ret = &p.root->j;
	return 0;
}

int json_parse_file(
    struct arena *a, int dirfd, const char *path, const struct json **ret, struct err *e)
{
	_cleanup_free_ char *buf = NULL;
	size_t n;
	int r;

	if (streq(path, "-")) {
		r = fd_read_all(STDIN_FILENO, JSON_MAX_SIZE, &buf, &n);
		if (r < 0)
			return err_errno(e, -r, "read standard input");
		return json_parse(a, "standard input", buf, n, ret, e);
	}
	r = file_read(dirfd, path, JSON_MAX_SIZE, &buf, &n, e);
	if (r < 0)
		return r;
	return json_parse(a, path, buf, n, ret, e);
}

/* ---- the tree ---- */

const struct json *json_get(const struct json *object, const char *key)
{
	if (object->type != JSON_OBJECT)
		return NULL;
	json_foreach (it, object)
		if (streq(it->key, key))
			return it;
	return NULL;
}

#define QUOTE_MAX 200

const char *json_quote(struct arena *a, const char *s)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	size_t n = strlen(s), len;

	strbuf_add(&b, "\"");
	for (size_t i = 0; i < n; i += len) {
		unsigned char c = (unsigned char)s[i];

		len = utf8_seq_len(s + i, n - i);
		if (b.len >= QUOTE_MAX) {
			strbuf_add(&b, "…");
			break;
		}
		if (len == 0 || c < 0x20 || c == 0x7f) {
			strbuf_addf(&b, "\\x%02x", (unsigned)c);
			len = 1;
		} else {
			if (c == '"' || c == '\\')
				strbuf_add(&b, "\\");
			strbuf_addn(&b, s + i, len);
		}
	}
	strbuf_add(&b, "\"");
	return arena_strdup(a, b.s);
}

static bool plain_key(const char *s)
{
	const char *ok = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";

	return *s && strspn(s, ok) == strlen(s);
}

const char *json_path(struct arena *a, const struct json *node)
{
	const char *path = "";

	for (; node->parent; node = node->parent) {
		size_t i = 0;

		if (node->key) {
			if (plain_key(node->key))
				path = arena_printf(a, ".%s%s", node->key, path);
			else
				path = arena_printf(a, "[%s]%s", json_quote(a, node->key), path);
			continue;
		}
		for (const struct json *it = node->parent->child; it != node; it = it->next)
			i++;
		path = arena_printf(a, "[%zu]%s", i, path);
	}
	return *path == '.' ? path : arena_printf(a, ".%s", path);
}

const char *json_type_name(enum json_type t)
{
	static const char *const names[] = {
		[JSON_NULL] = "null",
		[JSON_BOOL] = "a boolean",
		[JSON_INT] = "a whole number",
		[JSON_UINT] = "a whole number",
		[JSON_DOUBLE] = "a number",
		[JSON_STRING] = "a string",
		[JSON_ARRAY] = "an array",
		[JSON_OBJECT] = "an object",
	};
	return names[t];
}
