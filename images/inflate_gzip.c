/*
 * gzip by libisal or zlib. A file is a row of members; NULs may follow the last (tapes and some
 * writers pad), anything else behind it is an error.
 *
 * The libraries see one member at a time. What lies between members is looked at here, so that both
 * decide alike.
 */
#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "images/inflate_backend.h"
#include "images/loadlib.h"

enum phase { BETWEEN, MEMBER, PADDING };

struct engine {
	int (*init)(void *state, struct err *e);
	int (*reset)(void *state); /* for the next member */
	/* Sets *end at the end of a member. */
	int (*step)(void *state, struct inflate_io *io, bool *end, struct err *e);
	void (*end)(void *state);
	size_t state;
};

struct gzip {
	const struct engine *engine;
	enum phase phase;
	bool any; /* a member was seen */
	max_align_t state[];
};

/* ---- libisal ---- */

#define ISAL_FUNCTIONS(X)     \
	X(isal_inflate_init)  \
	X(isal_inflate_reset) \
	X(isal_inflate)

static struct {
#define X(f) __typeof__(&f) f;
	ISAL_FUNCTIONS(X)
#undef X
} isal;
static const struct loadlib_symbol isal_symbols[] = {
#define X(f) { #f, (void **)&isal.f },
	ISAL_FUNCTIONS(X)
#undef X
};
static struct loadlib isal_lib =
    LOADLIB_INIT("libisal.so.2", "Debian: libisal2, for gzip", isal_symbols);

static int isal_init(void *state, struct err *e)
{
	struct inflate_state *s = state;

	isal.isal_inflate_init(s);
	s->crc_flag = ISAL_GZIP; /* header and trailer too */
	return 0;
}

static int isal_reset(void *state)
{
	struct inflate_state *s = state;

	isal.isal_inflate_reset(s);
	s->crc_flag = ISAL_GZIP;
	return 0;
}

static const char *isal_error(int code)
{
	static const struct {
		int code;
		const char *text;
	} texts[] = {
		{ ISAL_INVALID_BLOCK, "invalid block" },
		{ ISAL_INVALID_SYMBOL, "invalid symbol" },
		{ ISAL_INVALID_LOOKBACK, "distance too far back" },
		{ ISAL_INVALID_WRAPPER, "invalid header" },
		{ ISAL_UNSUPPORTED_METHOD, "unknown compression method" },
		{ ISAL_INCORRECT_CHECKSUM, "checksum or length does not match" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
		if (texts[i].code == code)
			return texts[i].text;
	return "invalid data";
}

static int isal_step(void *state, struct inflate_io *io, bool *end, struct err *e)
{
	struct inflate_state *s = state;
	uint32_t n_in = io->n_in > INT32_MAX ? INT32_MAX : (uint32_t)io->n_in;
	uint32_t room = io->room > INT32_MAX ? INT32_MAX : (uint32_t)io->room;
	int r;

	s->next_in = (uint8_t *)io->in;
	s->avail_in = n_in;
	s->next_out = io->out;
	s->avail_out = room;
	r = isal.isal_inflate(s);
	if (r < 0 || r == ISAL_NEED_DICT)
		return err_set(e, EBADMSG, "gzip: %s", isal_error(r));
	io->in += n_in - s->avail_in;
	io->n_in -= n_in - s->avail_in;
	io->out += room - s->avail_out;
	io->room -= room - s->avail_out;
	*end = s->block_state == ISAL_BLOCK_FINISH;
	return 0;
}

static void isal_end(void *state)
{
}

static const struct engine isal_engine = { isal_init, isal_reset, isal_step, isal_end,
	sizeof(struct inflate_state) };

/* ---- zlib ---- */

#define ZLIB_FUNCTIONS(X) \
	X(inflateInit2_)  \
	X(inflateReset)   \
	X(inflate)        \
	X(inflateEnd)

static struct {
#define X(f) __typeof__(&f) f;
	ZLIB_FUNCTIONS(X)
#undef X
} zl;
static const struct loadlib_symbol zlib_symbols[] = {
#define X(f) { #f, (void **)&zl.f },
	ZLIB_FUNCTIONS(X)
#undef X
};
static struct loadlib zlib_lib =
    LOADLIB_INIT("libz.so.1", "Debian: zlib1g, for gzip", zlib_symbols);

#define WINDOW_GZIP (MAX_WBITS + 16) /* gzip headers and trailers only */

static int zlib_init(void *state, struct err *e)
{
	z_stream *s = state;

	memset(s, 0, sizeof(*s));
	if (zl.inflateInit2_(s, WINDOW_GZIP, ZLIB_VERSION, (int)sizeof(*s)) != Z_OK)
		return err_set(e, ENOSYS, "libz.so.1 does not start: %s",
		    s->msg ? s->msg : "another version than the headers'");
	return 0;
}

static int zlib_reset(void *state)
{
	return zl.inflateReset(state) == Z_OK ? 0 : -EINVAL;
}

static int zlib_step(void *state, struct inflate_io *io, bool *end, struct err *e)
{
	z_stream *s = state;
	uInt n_in = io->n_in > INT32_MAX ? INT32_MAX : (uInt)io->n_in;
	uInt room = io->room > INT32_MAX ? INT32_MAX : (uInt)io->room;
	int r;

	s->next_in = (Bytef *)io->in;
	s->avail_in = n_in;
	s->next_out = io->out;
	s->avail_out = room;
	r = zl.inflate(s, Z_NO_FLUSH);
	if (r != Z_OK && r != Z_STREAM_END && r != Z_BUF_ERROR)
		return err_set(e, EBADMSG, "gzip: %s", s->msg ? s->msg : "invalid data");
	io->in += n_in - s->avail_in;
	io->n_in -= n_in - s->avail_in;
	io->out += room - s->avail_out;
	io->room -= room - s->avail_out;
	*end = r == Z_STREAM_END;
	return 0;
}

static void zlib_end(void *state)
{
	zl.inflateEnd(state);
}

static const struct engine zlib_engine = { zlib_init, zlib_reset, zlib_step, zlib_end,
	sizeof(z_stream) };

/* ---- members ---- */

static int gzip_new(const struct engine *engine, void **ret, struct err *e)
{
	_cleanup_free_ struct gzip *g = xcalloc(1, sizeof(*g) + engine->state);
	int r;

	g->engine = engine;
	r = engine->init(g->state, e);
	if (r < 0)
		return r;
	*ret = steal_ptr(g);
	return 0;
}

static int isal_open(void **ret, struct err *e)
{
	int r = loadlib(&isal_lib, e);

	return r < 0 ? r : gzip_new(&isal_engine, ret, e);
}

static int zlib_open(void **ret, struct err *e)
{
	int r = loadlib(&zlib_lib, e);

	return r < 0 ? r : gzip_new(&zlib_engine, ret, e);
}

static int gzip_open(void **ret, struct err *e)
{
	struct err first = ERR_INIT;

	if (isal_open(ret, &first) == 0)
		return 0;
	log_debug("%s; zlib does it, at half the speed", first.msg);
	return zlib_open(ret, e);
}

/* Looks at what follows a member: the next one, padding, or rubbish. */
static int between(struct gzip *g, struct inflate_io *io, struct err *e)
{
	if (g->any && *io->in == 0) {
		g->phase = PADDING;
		return 0;
	}
	if (g->any && *io->in != 0x1f)
		return err_set(e, EBADMSG, "gzip: rubbish (byte 0x%02x) after the last member",
		    (unsigned)*io->in);
	if (g->any && g->engine->reset(g->state) < 0)
		return err_set(e, EBADMSG, "gzip: the library does not start another member");
	g->phase = MEMBER;
	g->any = true;
	return 0;
}

static int padding(struct inflate_io *io, struct err *e)
{
	while (io->n_in > 0) {
		if (*io->in != 0)
			return err_set(e, EBADMSG, "gzip: rubbish (byte 0x%02x) after padding",
			    (unsigned)*io->in);
		io->in++;
		io->n_in--;
	}
	return 0;
}

static int member(struct gzip *g, struct inflate_io *io, bool *idle, struct err *e)
{
	size_t before_in = io->n_in, before_room = io->room;
	bool end = false;
	int r = g->engine->step(g->state, io, &end, e);

	if (r < 0)
		return r;
	if (end)
		g->phase = BETWEEN;
	*idle = !end && io->n_in == before_in && io->room == before_room;
	return 0;
}

static int gzip_run(void *z, struct inflate_io *io, struct err *e)
{
	struct gzip *g = z;
	bool idle = false;
	int r = 0;

	/* A step without input too: output may be held back. */
	while (r == 0 && io->room > 0 && !idle) {
		if (g->phase == MEMBER)
			r = member(g, io, &idle, e);
		else if (io->n_in == 0)
			break;
		else if (g->phase == PADDING)
			r = padding(io, e);
		else
			r = between(g, io, e);
	}
	if (r == 0 && idle && io->n_in > 0 && io->room > 0)
		return err_set(e, EBADMSG, "gzip: the stream leads nowhere");
	return r;
}

static int gzip_finish(void *z, struct err *e)
{
	struct gzip *g = z;

	if (g->phase == MEMBER)
		return err_set(e, EBADMSG, "gzip: the stream is cut off");
	return 0;
}

static void gzip_free(void *z)
{
	struct gzip *g = z;

	g->engine->end(g->state);
	free(g);
}

const struct inflate_backend inflate_gzip = { "gzip", gzip_open, gzip_run, gzip_finish, gzip_free };
const struct inflate_backend inflate_gzip_isal = { "libisal", isal_open, gzip_run, gzip_finish,
	gzip_free };
const struct inflate_backend inflate_gzip_zlib = { "zlib", zlib_open, gzip_run, gzip_finish,
	gzip_free };
