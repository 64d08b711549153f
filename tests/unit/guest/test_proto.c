#include "guest/proto.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "tests/unit/test.h"

struct seen {
	unsigned n;
	struct gp_header last;
	uint8_t body[GP_MAX_DATA];
	unsigned stop_at; /* fn returns 1 at this frame */
	int fail;
};

static int see(void *arg, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	struct seen *s = arg;

	s->n++;
	s->last = *h;
	if (h->length <= sizeof(s->body))
		memcpy(s->body, body, h->length);
	if (s->fail)
		return err_set(e, s->fail, "told to");
	return s->stop_at == s->n;
}

static size_t put(uint8_t *buf, uint16_t type, uint32_t seq, const void *body, uint32_t n)
{
	const struct gp_header h = { .length = n, .type = type, .process = 7, .seq = seq };

	memcpy(buf, &h, sizeof(h));
	if (n)
		memcpy(buf + sizeof(h), body, n);
	return sizeof(h) + n;
}

TEST(whole_frames)
{
	struct gp_reader r = { .way = GP_TO_GUEST };
	struct seen s = { 0 };
	struct err e = ERR_INIT;
	uint8_t buf[256];
	size_t n = put(buf, GP_START, 1, NULL, 0);

	n += put(buf + n, GP_STDIN, 0, "hello", 5);
	n += put(buf + n, GP_STDIN, 0, NULL, 0);
	CHECK_INT(gp_reader_feed(&r, buf, n, see, &s, &e), n);
	CHECK_INT(s.n, 3);
	CHECK_INT(s.last.type, GP_STDIN);
	CHECK_INT(s.last.length, 0);
	CHECK_INT(s.last.process, 7);
	CHECK(!r.buf); /* nothing was held */
	gp_reader_free(&r);
}

TEST(every_split)
{
	uint8_t buf[256];
	size_t n = put(buf, GP_STDIN, 0, "hello", 5);

	n += put(buf + n, GP_START, 9, NULL, 0);
	for (size_t step = 1; step < n; step++) {
		struct gp_reader r = { .way = GP_TO_GUEST };
		struct seen s = { 0 };
		struct err e = ERR_INIT;

		for (size_t at = 0; at < n; at += step) {
			size_t k = n - at < step ? n - at : step;

			CHECK_INT(gp_reader_feed(&r, buf + at, k, see, &s, &e), k);
		}
		CHECK_INT(s.n, 2);
		CHECK_INT(s.last.seq, 9);
		CHECK(memcmp(s.body, "hello", 5) == 0);
		CHECK_INT(r.have, 0);
		gp_reader_free(&r);
	}
}

TEST(stops_where_told)
{
	struct gp_reader r = { .way = GP_TO_GUEST };
	struct seen s = { .stop_at = 1 };
	struct err e = ERR_INIT;
	uint8_t buf[256];
	size_t first = put(buf, GP_STDIN, 0, "a", 1), n = first;

	n += put(buf + n, GP_STDIN, 0, "b", 1);
	CHECK_INT(gp_reader_feed(&r, buf, n, see, &s, &e), first);
	CHECK_INT(s.n, 1);
	CHECK_INT(gp_reader_feed(&r, buf + first, n - first, see, &s, &e), n - first);
	CHECK_INT(s.body[0], 'b');
	gp_reader_free(&r);
}

TEST(errors_of_the_taker)
{
	struct gp_reader r = { .way = GP_TO_GUEST };
	struct seen s = { .fail = ENOSPC };
	struct err e = ERR_INIT;
	uint8_t buf[64];
	size_t n = put(buf, GP_START, 1, NULL, 0);

	CHECK_INT(gp_reader_feed(&r, buf, n, see, &s, &e), -ENOSPC);
	CHECK_STR(e.msg, "told to");
	gp_reader_free(&r);
}

static void refused(enum gp_way way, struct gp_header h, const char *text)
{
	struct gp_reader r = { .way = way };
	struct seen s = { 0 };
	struct err e = ERR_INIT;

	/* Also when it comes byte by byte, and before a byte of its body is there. */
	for (size_t i = 0; i < sizeof(h); i++) {
		ssize_t k = gp_reader_feed(&r, (uint8_t *)&h + i, 1, see, &s, &e);

		CHECK_INT(k, i + 1 < sizeof(h) ? 1 : -EPROTO);
	}
	CHECK_HAS(e.msg, text);
	CHECK_INT(s.n, 0);
	CHECK(r.cap <= sizeof(h)); /* what it claimed was not made room for */
	gp_reader_free(&r);
}

TEST(bad_headers)
{
	refused(GP_TO_HOST, (struct gp_header){ .type = 0 }, "type 0");
	refused(GP_TO_HOST, (struct gp_header){ .type = GP_TYPES }, "not one that the guest");
	refused(GP_TO_HOST, (struct gp_header){ .type = 0xffff }, "not one that the guest");
	refused(GP_TO_HOST, (struct gp_header){ .type = GP_STDIN }, "(STDIN)");
	refused(GP_TO_GUEST, (struct gp_header){ .type = GP_EXIT }, "(EXIT)");
	refused(GP_TO_HOST, (struct gp_header){ .type = GP_STDOUT, .length = GP_MAX_DATA + 1 },
	    "must be 0 to 32768");
	refused(GP_TO_HOST, (struct gp_header){ .type = GP_JSON, .seq = 1, .length = UINT32_MAX },
	    "4294967295 bytes");
	refused(GP_TO_HOST, (struct gp_header){ .type = GP_EXIT, .length = 3 }, "must be 4 to 4");
	refused(GP_TO_HOST, (struct gp_header){ .type = GP_OK }, "no request");
	refused(GP_TO_HOST, (struct gp_header){ .type = GP_STDOUT, .zero = 1 }, "reserved");
}

TEST(memory_goes_back)
{
	struct gp_reader r = { .way = GP_TO_GUEST };
	struct seen s = { 0 };
	struct err e = ERR_INIT;
	const uint32_t n = GP_MAX_TO_GUEST;
	uint8_t *buf = xcalloc(1, sizeof(struct gp_header) + n);

	put(buf, GP_CREATE, 1, NULL, 0);
	memcpy(buf, &n, sizeof(n));
	CHECK_INT(gp_reader_feed(&r, buf, 1000, see, &s, &e), 1000);
	CHECK_INT(gp_reader_feed(&r, buf + 1000, sizeof(struct gp_header) + n - 1000, see, &s, &e),
	    sizeof(struct gp_header) + n - 1000);
	CHECK_INT(s.n, 1);
	CHECK(!r.buf);
	free(buf);
}

TEST_MAIN(T(whole_frames), T(every_split), T(stops_where_told), T(errors_of_the_taker),
    T(bad_headers), T(memory_goes_back))
