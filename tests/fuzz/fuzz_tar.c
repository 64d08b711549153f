/*
 * The tar reader. The first byte says in how large pieces the stream comes: what is read must not
 * depend on it. Entries that are accepted are within all bounds, pieces of data ascend and stay
 * inside of the file.
 */
#include "base/str.h"
#include "images/tar.h"
#include "tests/fuzz/fuzz.h"

struct stream {
	const uint8_t *p;
	size_t n, piece;
};

static int next(void *ctx, const void **p, size_t *n, struct err *e)
{
	struct stream *s = ctx;

	if (s->n == 0)
		return 0;
	*p = s->p;
	*n = s->n < s->piece ? s->n : s->piece;
	s->p += *n;
	s->n -= *n;
	return 1;
}

static uint64_t mix(uint64_t h, const void *p, size_t n)
{
	const uint8_t *b = p;

	for (size_t i = 0; i < n; i++)
		h = (h ^ b[i]) * 0x100000001b3;
	return h;
}

static uint64_t check_entry(const struct tar_entry *en, uint64_t h)
{
	size_t len = strlen(en->path);

	MUST(len > 0 && len <= TAR_PATH_MAX);
	MUST((en->type == TAR_HARDLINK || en->type == TAR_SYMLINK) == (en->linkpath != NULL));
	MUST(!en->linkpath || (*en->linkpath && strlen(en->linkpath) <= TAR_PATH_MAX));
	MUST(en->mode <= 07777 && en->uid != UINT32_MAX && en->gid != UINT32_MAX);
	MUST(en->size <= INT64_MAX && (en->type == TAR_FILE || en->size == 0));
	MUST(en->stored <= en->size && (en->sparse || en->stored == en->size));
	MUST(en->mtime.tv_nsec >= 0 && en->mtime.tv_nsec < 1000000000);
	for (size_t i = 0; i < en->n_xattrs; i++) {
		const struct tar_xattr *x = &en->xattrs[i];

		MUST(strchr(x->name, '.') && strlen(x->name) <= TAR_XATTR_NAME);
		MUST(x->len <= TAR_XATTR_VALUE);
		for (size_t k = 0; k < i; k++)
			MUST(!streq(x->name, en->xattrs[k].name));
		h = mix(mix(h, x->name, strlen(x->name)), x->value, x->len);
	}
	h = mix(h, en->path, len);
	h = mix(h, &en->size, sizeof(en->size));
	h = mix(h, &en->mtime, sizeof(en->mtime));
	return h + en->type + en->mode + en->uid + en->gid + en->number;
}

static uint64_t read_all(const uint8_t *data, size_t size, size_t piece)
{
	struct stream s = { data, size, piece };
	const struct tar_input in = { next, NULL, &s };
	struct tar *t = tar_new(&in);
	const struct tar_entry *en;
	struct err e = ERR_INIT;
	uint64_t h = 0xcbf29ce484222325, number = 0;
	int r;

	while ((r = tar_next(t, &en, &e)) > 0) {
		struct tar_piece d;
		uint64_t end = 0, stored = 0;

		MUST(en->number == ++number && tar_number(t) == number);
		h = check_entry(en, h);
		/* Every third is skipped. */
		while (number % 3 && (r = tar_data(t, &d, &e)) > 0) {
			MUST(d.n > 0 && d.offset >= end && d.n <= en->size - d.offset);
			end = d.offset + d.n;
			stored += d.n;
			h = mix(h, d.p, d.n);
		}
		if (r < 0)
			break;
		MUST(number % 3 == 0 || stored == en->stored);
	}
	must_be_consistent(r < 0 ? r : 0, &e);
	h = mix(h, e.msg, strlen(e.msg));
	tar_free(t);
	return h;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	MUST(read_all(data + 1, size - 1, 1u + data[0] * 7u) ==
	     read_all(data + 1, size - 1, SIZE_MAX));
	return 0;
}
