/* The maps of sparse files, in GNU tar's four notations ("Storing Sparse Files" in its manual). */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/str.h"
#include "images/tar_internal.h"

#define GNU_PIECE      24 /* offset[12], numbytes[12] */
#define GNU_IN_HEADER  4
#define GNU_IN_BLOCK   21
#define GNU_HEADER_MAP 386
#define GNU_EXTENDED   482
#define GNU_REALSIZE   483
#define GNU_MORE       504 /* in the blocks that follow */

static int add(struct tar *t, uint64_t offset, uint64_t len, struct err *e)
{
	if (t->n_map == TAR_SPARSE_MAX)
		return tar_bad(t, e, "sparse: more than %u pieces", TAR_SPARSE_MAX);
	if (t->n_map == t->cap_map) {
		t->cap_map = t->cap_map ? t->cap_map * 2 : 64;
		t->map = xrealloc(t->map, t->cap_map * sizeof(*t->map));
	}
	t->map[t->n_map++] = (struct tar_region){ offset, len };
	return 0;
}

/* Ascending, apart, inside the file, and together what is in the stream. */
static int check(struct tar *t, uint64_t size, struct err *e)
{
	uint64_t end = 0, sum = 0;

	for (size_t i = 0; i < t->n_map; i++) {
		const struct tar_region *g = &t->map[i];

		if (g->offset < end || g->offset > size || g->len > size - g->offset)
			return tar_bad(t, e,
			    "sparse: piece %zu (offset %llu, %llu bytes) overlaps the one before "
			    "or the end at %llu",
			    i, (unsigned long long)g->offset, (unsigned long long)g->len,
			    (unsigned long long)size);
		end = g->offset + g->len;
		sum += g->len;
	}
	if (sum != t->left)
		return tar_bad(t, e, "sparse: the pieces have %llu bytes, the archive %llu",
		    (unsigned long long)sum, (unsigned long long)t->left);
	t->en.size = size;
	t->en.sparse = true;
	return 0;
}

static int gnu_pieces(struct tar *t, const uint8_t *p, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++, p += GNU_PIECE) {
		int64_t offset, len;
		int r;

		if (p[0] == '\0') /* an unused slot */
			break;
		if (tar_number_field(p, 12, &offset) < 0 || offset < 0 ||
		    tar_number_field(p + 12, 12, &len) < 0 || len < 0)
			return tar_bad(t, e, "sparse: invalid number in the map");
		r = add(t, (uint64_t)offset, (uint64_t)len, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int tar_sparse_gnu(struct tar *t, const uint8_t *block, struct err *e)
{
	bool extended = block[GNU_EXTENDED];
	int64_t size;
	int r;

	if (tar_number_field(block + GNU_REALSIZE, 12, &size) < 0 || size < 0)
		return tar_bad(t, e, "sparse: invalid size");
	r = gnu_pieces(t, block + GNU_HEADER_MAP, GNU_IN_HEADER, e);
	while (r == 0 && extended) {
		r = tar_read_block(t, &block, e);
		if (r == 0)
			return tar_bad(t, e, "sparse: the archive ends inside the map");
		if (r < 0)
			return r;
		extended = block[GNU_MORE];
		if (extended && !block[0])
			return tar_bad(t, e, "sparse: an empty part of the map");
		r = gnu_pieces(t, block, GNU_IN_BLOCK, e);
	}
	return r < 0 ? r : check(t, (uint64_t)size, e);
}

/* "1,2,3,4": n pairs. */
static int map_0_1(struct tar *t, const char *s, uint64_t n, struct err *e)
{
	for (uint64_t i = 0; i < n; i++) {
		uint64_t v[2];
		int r;

		for (int k = 0; k < 2; k++) {
			char digits[24];
			size_t len = strcspn(s, ",");

			if (len >= sizeof(digits))
				return tar_bad(t, e, "sparse: invalid number in the map");
			memcpy(digits, s, len);
			digits[len] = '\0';
			if (parse_u64(digits, &v[k]) < 0)
				return tar_bad(t, e, "sparse: invalid number in the map");
			s += len;
			s += *s == ',';
		}
		r = add(t, v[0], v[1], e);
		if (r < 0)
			return r;
	}
	return *s ? tar_bad(t, e, "sparse: the map has more than its number of pieces") : 0;
}

/* One line of 1.0's map, which is part of the entry's data. */
static int map_line(struct tar *t, uint64_t *ret, struct err *e)
{
	char digits[24];

	for (size_t i = 0; i < sizeof(digits); i++) {
		int r;

		if (t->left == 0)
			return tar_bad(t, e, "sparse: the map is longer than the data");
		r = tar_read(t, digits + i, 1, e);
		if (r < 0)
			return r;
		t->left--;
		if (digits[i] != '\n')
			continue;
		digits[i] = '\0';
		if (parse_u64(digits, ret) < 0)
			break;
		return 0;
	}
	return tar_bad(t, e, "sparse: invalid number in the map");
}

static int map_1_0(struct tar *t, struct err *e)
{
	uint64_t n, v[2], whole = t->left, skip;
	int r = map_line(t, &n, e);

	if (r == 0 && n > TAR_SPARSE_MAX)
		return tar_bad(t, e, "sparse: more than %u pieces", TAR_SPARSE_MAX);
	for (uint64_t i = 0; r == 0 && i < n; i++) {
		r = map_line(t, &v[0], e);
		if (r == 0)
			r = map_line(t, &v[1], e);
		if (r == 0)
			r = add(t, v[0], v[1], e);
	}
	if (r < 0)
		return r;
	skip = (TAR_BLOCK - (whole - t->left) % TAR_BLOCK) % TAR_BLOCK;
	if (skip > t->left)
		return tar_bad(t, e, "sparse: the map is longer than the data");
	t->left -= skip;
	return tar_skip(t, skip, e);
}

int tar_sparse_pax(struct tar *t, const struct tar_pax *p, struct err *e)
{
	int r = 0;

	if (!p->has_sparse_size)
		return tar_bad(t, e, "sparse: no size");
	if (p->has_sparse_major && p->sparse_major == 1) {
		if (p->sparse_0 || p->sparse_minor != 0)
			return tar_bad(t, e, "sparse: unknown version");
		r = map_1_0(t, e);
		return r < 0 ? r : check(t, p->sparse_size, e);
	}
	if (!p->has_sparse_blocks || (p->sparse_map && p->n_regions) || p->region_open)
		return tar_bad(t, e, "sparse: no map, or two of them");
	if (p->sparse_map)
		r = map_0_1(t, p->sparse_map, p->sparse_blocks, e);
	else if (p->n_regions != p->sparse_blocks)
		return tar_bad(t, e, "sparse: the map has not its number of pieces");
	for (size_t i = 0; r == 0 && i < p->n_regions; i++)
		r = add(t, p->regions[i].offset, p->regions[i].len, e);
	return r < 0 ? r : check(t, p->sparse_size, e);
}
