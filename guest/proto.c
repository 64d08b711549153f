/*
 * The frames of proto.h out of a stream of bytes. Both sides use it, and neither trusts the other:
 * the body's length is believed only where the type allows it, and memory is taken only then.
 */
#include "guest/proto.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "frames are little-endian");
_Static_assert(sizeof(struct gp_header) == 20, "no padding");

#define ERROR_TEXT sizeof(((struct err *)0)->msg)
#define TO_GUEST   (1u << GP_TO_GUEST)
#define TO_HOST	   (1u << GP_TO_HOST)

static const struct {
	const char *name;
	unsigned ways;
	uint32_t min, max; /* of the body */
	bool reply;	   /* belongs to a seq */
} types[GP_TYPES] = {
	[GP_OK] = { "OK", TO_HOST, 0, 0, true },
	[GP_ERROR] = { "ERROR", TO_HOST, sizeof(struct gp_error),
	    sizeof(struct gp_error) + ERROR_TEXT, true },
	[GP_CREDIT] = { "CREDIT", TO_GUEST | TO_HOST, sizeof(struct gp_credit),
	    sizeof(struct gp_credit) },
	[GP_TIME] = { "TIME", TO_GUEST, sizeof(struct gp_time), sizeof(struct gp_time) },
	[GP_ENTROPY] = { "ENTROPY", TO_GUEST, 1, 4096 },
	[GP_NET] = { "NET", TO_GUEST, 1, 1u << 20 },
	[GP_CREATE] = { "CREATE", TO_GUEST, 1, GP_MAX_TO_GUEST },
	[GP_START] = { "START", TO_GUEST, 0, 0 },
	[GP_EXEC] = { "EXEC", TO_GUEST, 1, GP_MAX_TO_GUEST },
	[GP_SIGNAL] = { "SIGNAL", TO_GUEST, sizeof(struct gp_signal), sizeof(struct gp_signal) },
	[GP_WINSIZE] = { "WINSIZE", TO_GUEST, sizeof(struct gp_winsize),
	    sizeof(struct gp_winsize) },
	[GP_STDIN] = { "STDIN", TO_GUEST, 0, GP_MAX_DATA },
	[GP_UPDATE] = { "UPDATE", TO_GUEST, 1, GP_MAX_TO_GUEST },
	[GP_STATS] = { "STATS", TO_GUEST, 0, 0 },
	[GP_PS] = { "PS", TO_GUEST, 0, 0 },
	[GP_SHUTDOWN] = { "SHUTDOWN", TO_GUEST, 0, 0 },
	[GP_HELLO] = { "HELLO", TO_HOST, sizeof(struct gp_hello), sizeof(struct gp_hello) + 256 },
	[GP_JSON] = { "JSON", TO_HOST, 1, GP_MAX_TO_HOST, true },
	[GP_STDOUT] = { "STDOUT", TO_HOST, 0, GP_MAX_DATA },
	[GP_STDERR] = { "STDERR", TO_HOST, 0, GP_MAX_DATA },
	[GP_EXIT] = { "EXIT", TO_HOST, sizeof(struct gp_exit), sizeof(struct gp_exit) },
	[GP_OOM] = { "OOM", TO_HOST, sizeof(struct gp_oom), sizeof(struct gp_oom) },
	[GP_LOG] = { "LOG", TO_HOST, 1, 4096 },
};

const char *gp_type_name(uint16_t type)
{
	return type < GP_TYPES && types[type].name ? types[type].name : "unknown";
}

int gp_check_header(const struct gp_header *h, enum gp_way way, struct err *e)
{
	const char *from = way == GP_TO_GUEST ? "host" : "guest";

	if (h->type >= GP_TYPES || !(types[h->type].ways & (1u << way)))
		return err_set(e, EPROTO, "frame of type %u (%s): not one that the %s sends",
		    h->type, gp_type_name(h->type), from);
	if (h->length < types[h->type].min || h->length > types[h->type].max)
		return err_set(e, EPROTO, "%s frame of the %s: %u bytes, must be %u to %u",
		    types[h->type].name, from, h->length, types[h->type].min, types[h->type].max);
	if (h->zero || (types[h->type].reply && !h->seq))
		return err_set(e, EPROTO, "%s frame of the %s: %s", types[h->type].name, from,
		    h->zero ? "reserved bits are set" : "a reply to no request");
	return 0;
}

void gp_reader_free(struct gp_reader *r)
{
	free(steal_ptr(r->buf));
	r->have = r->cap = 0;
}

/* Moves bytes to the held piece until it is `want` long. */
static size_t hold(struct gp_reader *r, size_t want, const uint8_t *bytes, size_t n)
{
	size_t take = want - r->have;

	if (take > n)
		take = n;
	if (want > r->cap) {
		r->buf = xrealloc(r->buf, want);
		r->cap = want;
	}
	if (take)
		memcpy(r->buf + r->have, bytes, take);
	r->have += take;
	return take;
}

/* A large body is rare: its memory goes back. */
static void let_go(struct gp_reader *r)
{
	r->have = 0;
	if (r->cap > GP_MAX_TO_HOST)
		gp_reader_free(r);
}

/* One frame, or what there is of it. Returns how many bytes it took; *ret_stop: fn's word. */
static ssize_t feed_one(struct gp_reader *r, const uint8_t *bytes, size_t n, gp_frame_fn *fn,
    void *arg, int *ret_stop, struct err *e)
{
	struct gp_header h;
	size_t used = 0;
	int w;

	if (r->have < sizeof(h) && (r->have || n < sizeof(h))) {
		used = hold(r, sizeof(h), bytes, n);
		if (r->have < sizeof(h))
			return (ssize_t)used;
	}
	memcpy(&h, r->have ? r->buf : bytes, sizeof(h));
	w = gp_check_header(&h, r->way, e);
	if (w < 0)
		return w;
	if (!r->have && n - used >= sizeof(h) + h.length) {
		w = fn(arg, &h, bytes + sizeof(h), e);
		used = sizeof(h) + h.length;
	} else {
		used += hold(r, sizeof(h) + h.length, bytes + used, n - used);
		if (r->have < sizeof(h) + h.length)
			return (ssize_t)used;
		w = fn(arg, &h, r->buf + sizeof(h), e);
		let_go(r);
	}
	*ret_stop = w > 0;
	return w < 0 ? w : (ssize_t)used;
}

ssize_t gp_reader_feed(
    struct gp_reader *r, const uint8_t *bytes, size_t n, gp_frame_fn *fn, void *arg, struct err *e)
{
	size_t used = 0;
	int stop = 0;

	while (used < n && !stop) {
		ssize_t k = feed_one(r, bytes + used, n - used, fn, arg, &stop, e);

		if (k < 0)
			return k;
		used += (size_t)k;
	}
	return (ssize_t)used;
}
