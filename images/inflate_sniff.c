#include "images/inflate.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "images/inflate_backend.h"

#define MAGIC 4

struct inflate {
	enum compression compression;
	const struct inflate_backend *backend; /* NULL: bytes are passed on as they are */
	void *z;
	/* Bytes that were looked at for the magic number and not yet used. */
	uint8_t head[MAGIC];
	size_t n_head, head_used;
};

static int none_open(void **ret, struct err *e)
{
	*ret = NULL;
	return 0;
}

static int none_run(void *z, struct inflate_io *io, struct err *e)
{
	size_t n = io->n_in < io->room ? io->n_in : io->room;

	memcpy(io->out, io->in, n);
	io->in += n;
	io->n_in -= n;
	io->out += n;
	io->room -= n;
	return 0;
}

static int none_finish(void *z, struct err *e)
{
	return 0;
}

static void none_free(void *z)
{
}

static const struct inflate_backend inflate_none = { "none", none_open, none_run, none_finish,
	none_free };

/* Ordered by nothing but magic; a tar stream begins with a name and has none. */
static const struct {
	uint8_t magic[MAGIC], mask[MAGIC];
	enum compression c;
	const struct inflate_backend *backend;
	const char *refused;
} magics[] = {
	{ { 0x1f, 0x8b }, { 0xff, 0xff }, COMPRESSION_GZIP, &inflate_gzip, NULL },
	{ { 0x28, 0xb5, 0x2f, 0xfd }, { 0xff, 0xff, 0xff, 0xff }, COMPRESSION_ZSTD, &inflate_zstd,
	    NULL },
	/* A skippable frame in front. */
	{ { 0x50, 0x2a, 0x4d, 0x18 }, { 0xf0, 0xff, 0xff, 0xff }, COMPRESSION_ZSTD, &inflate_zstd,
	    NULL },
	{ { 'B', 'Z', 'h', '0' }, { 0xff, 0xff, 0xff, 0xf0 }, COMPRESSION_UNKNOWN, NULL, "bzip2" },
	{ { 0xfd, '7', 'z', 'X' }, { 0xff, 0xff, 0xff, 0xff }, COMPRESSION_UNKNOWN, NULL, "xz" },
};

const char *compression_name(enum compression c)
{
	static const char *const names[] = { [COMPRESSION_UNKNOWN] = "unknown",
		[COMPRESSION_NONE] = "none",
		[COMPRESSION_GZIP] = "gzip",
		[COMPRESSION_ZSTD] = "zstd" };

	return names[c];
}

struct inflate *inflate_new(void)
{
	return xcalloc(1, sizeof(struct inflate));
}

struct inflate *inflate_new_backend(enum compression c, const struct inflate_backend *b)
{
	struct inflate *z = inflate_new();

	z->compression = c;
	z->backend = b;
	return z;
}

void inflate_free(struct inflate *z)
{
	if (!z)
		return;
	if (z->z)
		z->backend->free(z->z);
	free(z);
}

enum compression inflate_compression(const struct inflate *z)
{
	return z->compression;
}

static int choose(struct inflate *z, struct err *e)
{
	uint8_t head[MAGIC] = { 0 };

	memcpy(head, z->head, z->n_head);
	z->backend = &inflate_none;
	z->compression = COMPRESSION_NONE;
	for (size_t i = 0; i < ARRAY_SIZE(magics); i++) {
		bool fits = true;

		for (size_t k = 0; k < MAGIC; k++)
			fits = fits && (head[k] & magics[i].mask[k]) == magics[i].magic[k];
		if (!fits)
			continue;
		if (magics[i].refused)
			return err_set(e, EBADMSG,
			    "compressed with %s: layers are tar, gzip or zstd", magics[i].refused);
		z->backend = magics[i].backend;
		z->compression = magics[i].c;
		break;
	}
	return 0;
}

static int run(struct inflate *z, struct inflate_io *io, struct err *e)
{
	int r = 0;

	if (!z->z)
		r = z->backend->open(&z->z, e);
	if (r == 0 && z->head_used < z->n_head) {
		struct inflate_io head = { z->head + z->head_used, z->n_head - z->head_used,
			io->out, io->room };

		r = z->backend->run(z->z, &head, e);
		z->head_used = z->n_head - head.n_in;
		io->out = head.out;
		io->room = head.room;
	}
	if (r == 0 && z->head_used == z->n_head && io->room > 0)
		r = z->backend->run(z->z, io, e);
	return r;
}

int inflate_run(
    struct inflate *z, const void **in, size_t *n_in, void *out, size_t *n_out, struct err *e)
{
	struct inflate_io io = { *in, *n_in, out, *n_out };
	int r = 0;

	if (!z->backend) {
		while (io.n_in > 0 && z->n_head < MAGIC) {
			z->head[z->n_head++] = *io.in++;
			io.n_in--;
		}
		if (z->n_head == MAGIC)
			r = choose(z, e);
	}
	if (r == 0 && z->backend)
		r = run(z, &io, e);
	*n_out = r < 0 ? 0 : *n_out - io.room;
	*in = io.in;
	*n_in = io.n_in;
	return r;
}

int inflate_finish(struct inflate *z, void *out, size_t *n_out, struct err *e)
{
	struct inflate_io io = { z->head, 0, out, *n_out };
	int r = z->backend ? 0 : choose(z, e);

	if (r == 0)
		r = run(z, &io, e);
	*n_out = r < 0 ? 0 : *n_out - io.room;
	if (r == 0 && *n_out == 0)
		r = z->backend->finish(z->z, e);
	return r;
}
