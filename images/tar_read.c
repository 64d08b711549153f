#include "images/tar.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "images/tar_internal.h"

/* Where a header's fields are. */
enum {
	NAME = 0,
	NAME_LEN = 100,
	MODE = 100,
	UID = 108,
	GID = 116,
	SIZE = 124,
	MTIME = 136,
	TYPE = 156,
	LINK = 157,
	LINK_LEN = 100,
	MAGIC = 257,
	MAJOR = 329,
	MINOR = 337,
	PREFIX = 345,
	PREFIX_LEN = 155,
	STAR_PREFIX_LEN = 131, /* star has times behind it, and "tar" at the end */
	STAR_MAGIC = 508,
};

struct tar *tar_new(const struct tar_input *in)
{
	struct tar *t = xcalloc(1, sizeof(*t));

	t->in = *in;
	return t;
}

static void forget(struct tar *t)
{
	if (t->has_local)
		tar_pax_clear(&t->local);
	t->has_local = false;
	free(t->long_name);
	free(t->long_link);
	free(t->xattrs);
	t->long_name = t->long_link = NULL;
	t->xattrs = NULL;
	t->n_map = t->map_at = 0;
	t->map_done = 0;
}

void tar_free(struct tar *t)
{
	if (!t)
		return;
	forget(t);
	tar_pax_clear(&t->global);
	free(t->map);
	free(t);
}

uint64_t tar_number(const struct tar *t)
{
	return t->en.number;
}

int tar_bad(struct tar *t, struct err *e, const char *fmt, ...)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_free_ char *why = NULL;
	va_list ap;

	va_start(ap, fmt);
	why = xvasprintf(fmt, ap);
	va_end(ap);
	return err_set(e, EBADMSG, "tar: entry %llu%s%s: %s", (unsigned long long)t->en.number,
	    t->named ? " " : "", t->named ? json_quote(a, t->en.path) : "", why);
}

/* ---- extended headers ---- */

static int field(struct tar *t, const uint8_t *block, int at, size_t n, const char *what,
    int64_t min, int64_t max, int64_t *ret, struct err *e)
{
	int64_t v = 0;

	if (tar_number_field(block + at, n, &v) < 0 || v < min || v > max)
		return tar_bad(t, e, "header: invalid %s", what);
	*ret = v;
	return 0;
}

/* The body of an extended header, with a NUL behind it; caller frees. */
static int body(
    struct tar *t, const uint8_t *block, size_t max, char **ret, size_t *ret_n, struct err *e)
{
	_cleanup_free_ char *buf = NULL;
	int64_t n = 0;
	int r = field(t, block, SIZE, 12, "size", 0, INT64_MAX, &n, e);

	if (r < 0)
		return r;
	if ((uint64_t)n > max)
		return tar_bad(
		    t, e, "extended header of %lld bytes, more than %zu", (long long)n, max);
	buf = xmalloc((size_t)n + 1);
	r = tar_read(t, buf, (size_t)n, e);
	if (r == 0)
		r = tar_skip(t, (uint64_t)(-n & (TAR_BLOCK - 1)), e);
	if (r < 0)
		return r;
	buf[n] = '\0';
	*ret_n = (size_t)n;
	*ret = steal_ptr(buf);
	return 0;
}

static int long_text(struct tar *t, const uint8_t *block, char **to, struct err *e)
{
	_cleanup_free_ char *buf = NULL;
	size_t n, len;
	int r;

	if (*to)
		return tar_bad(t, e, "two long names for it");
	r = body(t, block, TAR_PATH_MAX + 1, &buf, &n, e);
	if (r < 0)
		return r;
	len = strlen(buf);
	for (size_t i = len; i < n; i++)
		if (buf[i])
			return tar_bad(t, e, "NUL inside a long name");
	if (len == 0 || len > TAR_PATH_MAX)
		return tar_bad(t, e, "a long name of %zu bytes", len);
	*to = steal_ptr(buf);
	return 0;
}

static int on_long_name(struct tar *t, const uint8_t *block, struct err *e)
{
	return long_text(t, block, &t->long_name, e);
}

static int on_long_link(struct tar *t, const uint8_t *block, struct err *e)
{
	return long_text(t, block, &t->long_link, e);
}

static int on_pax(struct tar *t, const uint8_t *block, struct err *e)
{
	char *buf = NULL;
	size_t n;
	int r;

	if (t->has_local)
		return tar_bad(t, e, "two pax headers for it");
	r = body(t, block, TAR_PAX_MAX, &buf, &n, e);
	if (r < 0)
		return r;
	t->has_local = true;
	return tar_pax_parse(t, &t->local, false, buf, n, e);
}

static int on_global(struct tar *t, const uint8_t *block, struct err *e)
{
	char *buf = NULL;
	size_t n;
	int r = body(t, block, TAR_PAX_MAX, &buf, &n, e);

	return r < 0 ? r : tar_pax_parse(t, &t->global, true, buf, n, e);
}

static const struct {
	char flag;
	int (*handle)(struct tar *t, const uint8_t *block, struct err *e);
} extended[] = {
	{ 'x', on_pax },
	{ 'g', on_global },
	{ 'L', on_long_name },
	{ 'K', on_long_link },
};

/* ---- entries ---- */

static const struct {
	char flag;
	enum tar_type type;
} types[] = {
	{ '0', TAR_FILE },
	{ '\0', TAR_FILE },
	{ '7', TAR_FILE }, /* "contiguous" */
	{ 'S', TAR_FILE },
	{ '1', TAR_HARDLINK },
	{ '2', TAR_SYMLINK },
	{ '3', TAR_CHAR },
	{ '4', TAR_BLOCK_DEVICE },
	{ '5', TAR_DIR },
	{ '6', TAR_FIFO },
};

static int entry_type(struct tar *t, char flag, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i].flag != flag)
			continue;
		t->en.type = types[i].type;
		return 0;
	}
	return tar_bad(t, e, "unknown type 0x%02x", (unsigned)(uint8_t)flag);
}

/* "prefix/name", each cut at its NUL. Only POSIX's own magic has a prefix: GNU keeps times there.
 */
static const char *header_name(struct tar *t, const uint8_t *block)
{
	const char *name = (const char *)block + NAME, *prefix = (const char *)block + PREFIX;
	size_t max = memcmp(block + STAR_MAGIC, "tar", 4) == 0 ? STAR_PREFIX_LEN : PREFIX_LEN;
	size_t n = 0, len = strnlen(name, NAME_LEN);

	if (memcmp(block + MAGIC, "ustar", 6) == 0 && *prefix) {
		n = strnlen(prefix, max);
		memcpy(t->name, prefix, n);
		t->name[n++] = '/';
	}
	memcpy(t->name + n, name, len);
	t->name[n + len] = '\0';
	return t->name;
}

static int names(struct tar *t, const uint8_t *block, struct err *e)
{
	const char *link = (const char *)block + LINK;
	const struct tar_pax *p = &t->local;

	t->en.path = header_name(t, block);
	if (t->long_name)
		t->en.path = t->long_name;
	if (p->path)
		t->en.path = p->path;
	if (p->sparse_name)
		t->en.path = p->sparse_name;
	t->named = true;
	if (t->long_name && (p->path || p->sparse_name))
		return tar_bad(t, e, "a name by pax and another by GNU's long name");
	if (!t->en.path[0])
		return tar_bad(t, e, "no name");
	if (t->en.type != TAR_HARDLINK && t->en.type != TAR_SYMLINK)
		return 0;
	memcpy(t->link, link, LINK_LEN);
	t->link[LINK_LEN] = '\0';
	t->en.linkpath = t->link;
	if (t->long_link)
		t->en.linkpath = t->long_link;
	if (p->linkpath)
		t->en.linkpath = p->linkpath;
	if (t->long_link && p->linkpath)
		return tar_bad(t, e, "a link's target by pax and another by GNU's long name");
	return t->en.linkpath[0] ? 0 : tar_bad(t, e, "a link without target");
}

static int numbers(struct tar *t, const uint8_t *block, struct err *e)
{
	const struct tar_pax *p = &t->local, *g = &t->global;
	int64_t mode = 0, uid = 0, gid = 0, mtime = 0, dev[2] = { 0, 0 };
	int r = field(t, block, MODE, 8, "mode", 0, UINT32_MAX, &mode, e);

	/* What pax says counts, and the header's field may then be anything. */
	if (r == 0 && !p->has_uid && !g->has_uid)
		r = field(t, block, UID, 8, "uid", 0, UINT32_MAX - 1, &uid, e);
	if (r == 0 && !p->has_gid && !g->has_gid)
		r = field(t, block, GID, 8, "gid", 0, UINT32_MAX - 1, &gid, e);
	if (r == 0 && !p->has_mtime && !g->has_mtime)
		r = field(t, block, MTIME, 12, "mtime", INT64_MIN, INT64_MAX, &mtime, e);
	if (r == 0 && (t->en.type == TAR_CHAR || t->en.type == TAR_BLOCK_DEVICE)) {
		r = field(t, block, MAJOR, 8, "device number", 0, UINT32_MAX, &dev[0], e);
		if (r == 0)
			r = field(t, block, MINOR, 8, "device number", 0, UINT32_MAX, &dev[1], e);
	}
	if (r < 0)
		return r;
	t->en.mode = (uint32_t)mode & 07777;
	t->en.uid = p->has_uid ? p->uid : g->has_uid ? g->uid : (uint32_t)uid;
	t->en.gid = p->has_gid ? p->gid : g->has_gid ? g->gid : (uint32_t)gid;
	t->en.mtime = p->has_mtime   ? p->mtime
		      : g->has_mtime ? g->mtime
				     : (struct timespec){ .tv_sec = mtime };
	t->en.dev_major = (uint32_t)dev[0];
	t->en.dev_minor = (uint32_t)dev[1];
	return 0;
}

static bool has_sparse(const struct tar_pax *p)
{
	return p->sparse_0 || p->has_sparse_major || p->has_sparse_minor || p->has_sparse_size ||
	       p->sparse_name;
}

static int data(struct tar *t, const uint8_t *block, struct err *e)
{
	int64_t size = (int64_t)t->local.size;
	int r = 0;

	if (!t->local.has_size)
		r = field(t, block, SIZE, 12, "size", 0, INT64_MAX, &size, e);
	if (r < 0)
		return r;
	if (t->en.type != TAR_FILE && (size != 0 || has_sparse(&t->local)))
		return tar_bad(t, e, "data behind an entry that can have none");
	t->left = t->en.size = (uint64_t)size;
	t->pad = (unsigned)(-t->left & (TAR_BLOCK - 1));
	t->en.offset = t->pos;
	if (block[TYPE] == 'S' && has_sparse(&t->local))
		return tar_bad(t, e, "sparse in two ways");
	if (block[TYPE] == 'S')
		r = tar_sparse_gnu(t, block, e);
	else if (has_sparse(&t->local))
		r = tar_sparse_pax(t, &t->local, e);
	t->en.stored = t->left;
	return r;
}

/* The global header's, but for those that the entry's own has too. */
static void merge_xattrs(struct tar *t)
{
	const struct tar_pax *p = &t->local, *g = &t->global;
	size_t n = p->n_xattrs;

	t->en.has_acl = p->has_acl || g->has_acl;
	t->en.xattrs = p->xattrs;
	t->en.n_xattrs = n;
	if (g->n_xattrs == 0)
		return;
	t->xattrs = xcalloc(p->n_xattrs + g->n_xattrs, sizeof(*t->xattrs));
	if (n)
		memcpy(t->xattrs, p->xattrs, n * sizeof(*t->xattrs));
	for (size_t i = 0; i < g->n_xattrs; i++) {
		bool again = false;

		for (size_t k = 0; k < p->n_xattrs; k++)
			again = again || streq(p->xattrs[k].name, g->xattrs[i].name);
		if (!again)
			t->xattrs[n++] = g->xattrs[i];
	}
	t->en.xattrs = t->xattrs;
	t->en.n_xattrs = n;
}

static int entry(struct tar *t, const uint8_t *block, struct err *e)
{
	uint8_t kept[TAR_BLOCK];
	int r = entry_type(t, (char)block[TYPE], e);

	/* A sparse file's map is read while the header is still needed. */
	memcpy(kept, block, TAR_BLOCK);
	if (r == 0)
		r = names(t, kept, e);
	if (r == 0)
		r = numbers(t, kept, e);
	if (r == 0)
		r = data(t, kept, e);
	if (r < 0)
		return r;
	if (t->en.type == TAR_FILE && endswith(t->en.path, "/")) {
		/* Before POSIX this was how directories were written. */
		if (kept[TYPE] != '\0' || t->en.size != 0)
			return tar_bad(t, e, "a file whose name ends in a slash");
		t->en.type = TAR_DIR;
	}
	merge_xattrs(t);
	return 1;
}

/* 1: it was one. */
static int extended_header(struct tar *t, const uint8_t *block, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(extended); i++) {
		int r;

		if ((char)block[TYPE] != extended[i].flag)
			continue;
		r = extended[i].handle(t, block, e);
		return r < 0 ? r : 1;
	}
	return 0;
}

/* 1: block is a header; 0: the end. */
static int header(struct tar *t, const uint8_t **block, struct err *e)
{
	bool pending = t->has_local || t->long_name || t->long_link;
	int r = tar_read_block(t, block, e);

	if (r == 1 && tar_is_zero(*block)) {
		r = tar_read_block(t, block, e);
		if (r == 1 && !tar_is_zero(*block))
			return tar_bad(t, e, "a single block of zeros in front of it");
		if (r == 1)
			r = 0;
	}
	if (r == 0 && pending)
		return tar_bad(t, e, "extended header without an entry");
	if (r == 1 && !tar_checksum_ok(*block))
		return tar_bad(t, e, "header: checksum does not match");
	return r;
}

int tar_next(struct tar *t, const struct tar_entry **ret, struct err *e)
{
	const uint8_t *block;
	int r;

	if (t->done)
		return 0;
	r = tar_skip(t, t->left, e);
	if (r == 0)
		r = tar_skip_padding(t, t->pad, e);
	if (r < 0)
		return r;
	forget(t);
	t->left = t->pad = 0;
	t->en = (struct tar_entry){ .number = t->en.number + 1 };
	t->named = false;
	do {
		r = header(t, &block, e);
		if (r == 0) {
			t->done = true;
			return 0;
		}
		if (r > 0)
			r = extended_header(t, block, e);
	} while (r > 0);
	if (r == 0)
		r = entry(t, block, e);
	if (r > 0)
		*ret = &t->en;
	return r;
}

int tar_data(struct tar *t, struct tar_piece *ret, struct err *e)
{
	uint64_t max = t->left, at = t->en.size - t->left;
	int r;

	if (t->left == 0)
		return 0;
	if (t->en.sparse) {
		while (t->map[t->map_at].len == t->map_done) {
			t->map_at++;
			t->map_done = 0;
		}
		max = t->map[t->map_at].len - t->map_done;
		at = t->map[t->map_at].offset + t->map_done;
	}
	r = tar_fill(t, e);
	if (r < 0)
		return r;
	ret->offset = at;
	ret->p = t->p;
	ret->n = t->n < max ? t->n : (size_t)max;
	t->p += ret->n;
	t->n -= ret->n;
	t->pos += ret->n;
	t->left -= ret->n;
	t->map_done += ret->n;
	return 1;
}
