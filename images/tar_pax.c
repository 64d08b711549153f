/* pax's extended headers: records "LENGTH KEYWORD=VALUE\n" (POSIX.1-2001, pax, "pax Extended
 * Header"). Keywords that say nothing about what is to be made are ignored, as POSIX demands. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "images/tar_internal.h"

#define SCHILY	   "SCHILY.xattr."
#define LIBARCHIVE "LIBARCHIVE.xattr."

struct record {
	struct tar *t;
	struct tar_pax *p;
	const char *key;
	char *value; /* a NUL is behind it */
	size_t len;
};

void tar_pax_clear(struct tar_pax *p)
{
	for (size_t i = 0; i < p->n_data; i++)
		free(p->data[i]);
	free(p->data);
	free(p->xattrs);
	free(p->regions);
	memset(p, 0, sizeof(*p));
}

/* Grows v, an array of n elements, by one; its room doubles. */
static void *grow(void *v, size_t n, size_t size)
{
	if (n & (n - 1))
		return v;
	return xrealloc(v, (n ? n * 2 : 1) * size);
}

static int bad(const struct record *r, struct err *e, const char *why)
{
	_cleanup_arena_ struct arena *a = arena_new();

	return tar_bad(r->t, e, "pax record %s: %s", json_quote(a, r->key), why);
}

static int number(const struct record *r, uint64_t max, bool *has, uint64_t *ret, struct err *e)
{
	/* An empty value takes back what a global header or an earlier record said. */
	*has = r->len > 0;
	if (!*has)
		return 0;
	if (parse_u64(r->value, ret) < 0 || *ret > max)
		return bad(r, e, "no number in range");
	return 0;
}

static int set_path(struct record *r, struct err *e)
{
	if (r->len > TAR_PATH_MAX)
		return bad(r, e, "longer than 4095 bytes");
	r->p->path = r->len ? r->value : NULL;
	return 0;
}

static int set_linkpath(struct record *r, struct err *e)
{
	if (r->len > TAR_PATH_MAX)
		return bad(r, e, "longer than 4095 bytes");
	r->p->linkpath = r->len ? r->value : NULL;
	return 0;
}

static int set_size(struct record *r, struct err *e)
{
	return number(r, INT64_MAX, &r->p->has_size, &r->p->size, e);
}

static int set_uid(struct record *r, struct err *e)
{
	uint64_t v = 0;
	int ret = number(r, UINT32_MAX - 1, &r->p->has_uid, &v, e);

	r->p->uid = (uint32_t)v;
	return ret;
}

static int set_gid(struct record *r, struct err *e)
{
	uint64_t v = 0;
	int ret = number(r, UINT32_MAX - 1, &r->p->has_gid, &v, e);

	r->p->gid = (uint32_t)v;
	return ret;
}

static int set_mtime(struct record *r, struct err *e)
{
	r->p->has_mtime = r->len > 0;
	if (r->len && tar_number_time(r->value, &r->p->mtime) < 0)
		return bad(r, e, "no time");
	return 0;
}

static int set_acl(struct record *r, struct err *e)
{
	r->p->has_acl = r->len > 0;
	return 0;
}

static int set_sparse_major(struct record *r, struct err *e)
{
	return number(r, 1, &r->p->has_sparse_major, &r->p->sparse_major, e);
}

static int set_sparse_minor(struct record *r, struct err *e)
{
	return number(r, 1, &r->p->has_sparse_minor, &r->p->sparse_minor, e);
}

static int set_sparse_size(struct record *r, struct err *e)
{
	return number(r, INT64_MAX, &r->p->has_sparse_size, &r->p->sparse_size, e);
}

static int set_sparse_blocks(struct record *r, struct err *e)
{
	r->p->sparse_0 = true;
	return number(r, TAR_SPARSE_MAX, &r->p->has_sparse_blocks, &r->p->sparse_blocks, e);
}

static int set_sparse_name(struct record *r, struct err *e)
{
	if (r->len > TAR_PATH_MAX)
		return bad(r, e, "longer than 4095 bytes");
	r->p->sparse_name = r->len ? r->value : NULL;
	return 0;
}

static int set_sparse_map(struct record *r, struct err *e)
{
	r->p->sparse_0 = true;
	r->p->sparse_map = r->value;
	return 0;
}

static int set_sparse_offset(struct record *r, struct err *e)
{
	struct tar_pax *p = r->p;
	uint64_t v;

	if (p->region_open || parse_u64(r->value, &v) < 0)
		return bad(r, e, "not one number, followed by its numbytes");
	if (p->n_regions == TAR_SPARSE_MAX)
		return bad(r, e, "more than 262144 pieces");
	p->sparse_0 = true;
	p->region_open = true;
	p->regions = grow(p->regions, p->n_regions, sizeof(*p->regions));
	p->regions[p->n_regions++] = (struct tar_region){ v, 0 };
	return 0;
}

static int set_sparse_numbytes(struct record *r, struct err *e)
{
	struct tar_pax *p = r->p;

	if (!p->region_open || parse_u64(r->value, &p->regions[p->n_regions - 1].len) < 0)
		return bad(r, e, "not one number, preceded by its offset");
	p->region_open = false;
	return 0;
}

enum { BINARY = 1, LOCAL_ONLY = 2 };
static const struct keyword {
	const char *name;
	int (*set)(struct record *r, struct err *e);
	int flags;
} keywords[] = {
	{ "path", set_path, LOCAL_ONLY },
	{ "linkpath", set_linkpath, LOCAL_ONLY },
	{ "size", set_size, LOCAL_ONLY },
	{ "uid", set_uid, 0 },
	{ "gid", set_gid, 0 },
	{ "mtime", set_mtime, 0 },
	{ "SCHILY.acl.access", set_acl, BINARY },
	{ "SCHILY.acl.default", set_acl, BINARY },
	{ "SCHILY.acl.ace", set_acl, BINARY },
	{ "GNU.sparse.major", set_sparse_major, LOCAL_ONLY },
	{ "GNU.sparse.minor", set_sparse_minor, LOCAL_ONLY },
	{ "GNU.sparse.size", set_sparse_size, LOCAL_ONLY },
	{ "GNU.sparse.realsize", set_sparse_size, LOCAL_ONLY },
	{ "GNU.sparse.numblocks", set_sparse_blocks, LOCAL_ONLY },
	{ "GNU.sparse.name", set_sparse_name, LOCAL_ONLY },
	{ "GNU.sparse.map", set_sparse_map, LOCAL_ONLY },
	{ "GNU.sparse.offset", set_sparse_offset, LOCAL_ONLY },
	{ "GNU.sparse.numbytes", set_sparse_numbytes, LOCAL_ONLY },
};

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

ssize_t tar_percent_decode(char *s)
{
	const char *start = s;
	char *to = s;

	while (*s) {
		int hi, lo;

		if (*s != '%') {
			*to++ = *s++;
			continue;
		}
		hi = hex_digit(s[1]);
		lo = hi < 0 ? -1 : hex_digit(s[2]);
		if (lo < 0 || (hi == 0 && lo == 0))
			return -EINVAL; /* a NUL would end the name early */
		*to++ = (char)(hi << 4 | lo);
		s += 3;
	}
	*to = '\0';
	return to - start;
}

ssize_t tar_base64_decode(char *s)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8_t *to = (uint8_t *)s, *start = to;
	unsigned bits = 0;
	uint32_t acc = 0;

	for (; *s && *s != '='; s++) {
		const char *d = strchr(digits, *s);

		if (!d)
			return -EINVAL;
		acc = acc << 6 | (uint32_t)(d - digits);
		bits += 6;
		if (bits >= 8) {
			bits -= 8;
			*to++ = (uint8_t)(acc >> bits);
		}
	}
	while (*s == '=')
		s++;
	/* What is left over are less than six bits of zeros. */
	if (*s || bits >= 6 || (acc & ((1u << bits) - 1)))
		return -EINVAL;
	return to - start;
}

static int add_xattr(struct record *r, const char *name, size_t len, struct err *e)
{
	struct tar_pax *p = r->p;
	const char *dot = strchr(name, '.');

	if (!dot || dot == name || !dot[1])
		return bad(r, e, "an xattr's name is NAMESPACE.NAME");
	if (strlen(name) > TAR_XATTR_NAME)
		return bad(r, e, "an xattr's name has at most 255 bytes");
	if (len > TAR_XATTR_VALUE)
		return bad(r, e, "an xattr's value has at most 65536 bytes");
	for (size_t i = 0; i < p->n_xattrs; i++) {
		if (!streq(p->xattrs[i].name, name))
			continue;
		p->xattrs[i].value = r->value;
		p->xattrs[i].len = len;
		return 0;
	}
	/* As many names as listxattr(2) can return hold far fewer. */
	if (p->n_xattrs >= 1024)
		return bad(r, e, "more than 1024 xattrs");
	p->xattrs = grow(p->xattrs, p->n_xattrs, sizeof(*p->xattrs));
	p->xattrs[p->n_xattrs++] = (struct tar_xattr){ name, r->value, len };
	return 0;
}

static int set_xattr(struct record *r, struct err *e)
{
	const char *plain = startswith(r->key, SCHILY);
	ssize_t len;

	if (plain)
		return add_xattr(r, plain, r->len, e);
	if (tar_percent_decode((char *)r->key + strlen(LIBARCHIVE)) < 0)
		return bad(r, e, "the name is not percent-encoded");
	len = strlen(r->value) == r->len ? tar_base64_decode(r->value) : -EINVAL;
	if (len < 0)
		return bad(r, e, "the value is no base64");
	return add_xattr(r, r->key + strlen(LIBARCHIVE), (size_t)len, e);
}

static const struct keyword xattr_keyword = { "xattr", set_xattr, BINARY };

static const struct keyword *find(const char *key)
{
	if (startswith(key, SCHILY) || startswith(key, LIBARCHIVE))
		return &xattr_keyword;
	for (size_t i = 0; i < ARRAY_SIZE(keywords); i++)
		if (streq(keywords[i].name, key))
			return &keywords[i];
	return NULL;
}

static int apply(struct record *r, bool global, struct err *e)
{
	const struct keyword *k = find(r->key);

	if (!k)
		return 0;
	if (global && (k->flags & LOCAL_ONLY))
		return bad(r, e, "makes no sense in a global header, where readers disagree");
	if (!(k->flags & BINARY) && strlen(r->value) != r->len)
		return bad(r, e, "NUL inside");
	return k->set(r, e);
}

/* Splits the record at p, of which n bytes are there, and returns its length; 0: malformed. */
static size_t split(char *p, size_t n, struct record *r)
{
	size_t len = 0, i = 0;
	char *eq;

	for (; i < n && p[i] >= '0' && p[i] <= '9' && len <= n; i++)
		len = len * 10 + (size_t)(p[i] - '0');
	if (i == 0 || i >= n || p[i] != ' ' || len > n || len < i + 3 || p[len - 1] != '\n')
		return 0;
	r->key = p + i + 1;
	eq = memchr(r->key, '=', len - i - 2);
	if (!eq || eq == r->key)
		return 0;
	*eq = '\0';
	if (strlen(r->key) != (size_t)(eq - r->key))
		return 0; /* NUL in the keyword */
	r->value = eq + 1;
	r->len = (size_t)(p + len - 1 - r->value);
	r->value[r->len] = '\0';
	return len;
}

int tar_pax_parse(struct tar *t, struct tar_pax *p, bool global, char *buf, size_t n, struct err *e)
{
	struct record r = { .t = t, .p = p };

	if (n == 0) { /* a stream of such headers must not grow anything */
		free(buf);
		return 0;
	}
	p->data = grow(p->data, p->n_data, sizeof(*p->data));
	p->data[p->n_data++] = buf;
	p->bytes += n;
	if (p->bytes > TAR_PAX_MAX)
		return tar_bad(t, e, "more than 1 MiB of global extended headers");
	for (size_t at = 0, len; at < n; at += len) {
		int ret;

		len = split(buf + at, n - at, &r);
		if (len == 0)
			return tar_bad(
			    t, e, "malformed record at byte %zu of the extended header", at);
		ret = apply(&r, global, e);
		if (ret < 0)
			return ret;
	}
	return 0;
}
