/* zstd by libzstd: frames one after the other, skippable ones among them, which is how zstd:chunked
 * carries its table of contents. */
#include <stdlib.h>
#include <zstd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "images/inflate_backend.h"
#include "images/loadlib.h"

/* 128 MiB: what zstd's own tools accept without being asked. A frame may want up to 3 TiB. */
#define WINDOW_LOG_MAX 27

#define ZSTD_FUNCTIONS(X)         \
	X(ZSTD_createDCtx)        \
	X(ZSTD_freeDCtx)          \
	X(ZSTD_DCtx_setParameter) \
	X(ZSTD_decompressStream)  \
	X(ZSTD_isError)           \
	X(ZSTD_getErrorName)

static struct {
#define X(f) __typeof__(&f) f;
	ZSTD_FUNCTIONS(X)
#undef X
} zs;
static const struct loadlib_symbol zstd_symbols[] = {
#define X(f) { #f, (void **)&zs.f },
	ZSTD_FUNCTIONS(X)
#undef X
};
static struct loadlib zstd_lib =
    LOADLIB_INIT("libzstd.so.1", "Debian: libzstd1, for layers in zstd", zstd_symbols);

struct zstd {
	ZSTD_DCtx *ctx;
	bool inside; /* a frame has begun and is not complete */
};

static void zstd_free(void *z)
{
	struct zstd *s = z;

	zs.ZSTD_freeDCtx(s->ctx);
	free(s);
}

static int zstd_open(void **ret, struct err *e)
{
	struct zstd *s;
	int r = loadlib(&zstd_lib, e);

	if (r < 0)
		return r;
	s = xcalloc(1, sizeof(*s));
	s->ctx = zs.ZSTD_createDCtx();
	if (!s->ctx || zs.ZSTD_isError(zs.ZSTD_DCtx_setParameter(
			   s->ctx, ZSTD_d_windowLogMax, WINDOW_LOG_MAX))) {
		zstd_free(s);
		return err_set(e, ENOSYS, "libzstd.so.1 does not start");
	}
	*ret = s;
	return 0;
}

static int zstd_run(void *z, struct inflate_io *io, struct err *e)
{
	struct zstd *s = z;

	/* Without input only to fetch what is held back. */
	while (io->room > 0 && (io->n_in > 0 || s->inside)) {
		ZSTD_inBuffer in = { io->in, io->n_in, 0 };
		ZSTD_outBuffer out = { io->out, io->room, 0 };
		size_t r = zs.ZSTD_decompressStream(s->ctx, &out, &in);

		if (zs.ZSTD_isError(r))
			return err_set(e, EBADMSG, "zstd: %s", zs.ZSTD_getErrorName(r));
		s->inside = r != 0;
		io->in += in.pos;
		io->n_in -= in.pos;
		io->out += out.pos;
		io->room -= out.pos;
		if (in.pos == 0 && out.pos == 0) {
			if (io->n_in > 0)
				return err_set(e, EBADMSG, "zstd: the stream leads nowhere");
			break;
		}
	}
	return 0;
}

static int zstd_finish(void *z, struct err *e)
{
	struct zstd *s = z;

	if (s->inside)
		return err_set(e, EBADMSG, "zstd: the stream is cut off");
	return 0;
}

const struct inflate_backend inflate_zstd = { "libzstd", zstd_open, zstd_run, zstd_finish,
	zstd_free };
