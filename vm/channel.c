#include "vm/channel.h"

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"

struct request {
	struct request *next;
	uint32_t seq, process;
	bool json; /* the reply is JSON, else OK */
	channel_reply_fn *fn;
	void *arg; /* fn NULL: forgotten */
};

struct channel {
	struct channel_handler h;
	struct gp_reader in;
	struct request *requests;
	unsigned n_requests;
	uint32_t next_seq;
	size_t queued;
	bool greeted, ended;
};

struct channel *channel_new(const struct channel_handler *h)
{
	struct channel *c = xcalloc(1, sizeof(*c));

	c->h = *h;
	c->in.way = GP_TO_HOST;
	c->next_seq = 1;
	return c;
}

static void drop_requests(struct channel *c, bool tell)
{
	while (c->requests) {
		struct request *q = c->requests;

		c->requests = q->next;
		c->n_requests--;
		if (tell && q->fn)
			q->fn(q->arg, NULL, NULL);
		free(q);
	}
}

void channel_free(struct channel *c)
{
	if (!c)
		return;
	drop_requests(c, false);
	gp_reader_free(&c->in);
	free(c);
}

static void end(struct channel *c, const struct err *why)
{
	c->ended = true;
	drop_requests(c, true);
	c->h.broken(c->h.arg, why);
}

/* ---- out ---- */

static void send_frame(struct channel *c, enum gp_type type, uint32_t process, uint32_t seq,
    const void *body, size_t n)
{
	const struct gp_header h = {
		.length = (uint32_t)n, .type = (uint16_t)type, .process = process, .seq = seq
	};

	if (!c->ended)
		c->queued = c->h.send(c->h.send_arg, &h, body);
}

void channel_tell(
    struct channel *c, enum gp_type type, uint32_t process, const void *body, size_t n)
{
	send_frame(c, type, process, 0, body, n);
}

int channel_request(struct channel *c, enum gp_type type, uint32_t process, const void *body,
    size_t n, channel_reply_fn *fn, void *arg, struct err *e)
{
	struct request *q;

	if (c->ended)
		return err_set(e, ECONNRESET, "the machine's agent is gone");
	if (n > GP_MAX_TO_GUEST)
		return err_set(e, E2BIG, "%s: %zu bytes, the machine's agent takes %u",
		    gp_type_name((uint16_t)type), n, GP_MAX_TO_GUEST);
	if (c->n_requests == CHANNEL_REQUESTS_MAX)
		return err_set(
		    e, EBUSY, "the machine's agent owes %u replies already", CHANNEL_REQUESTS_MAX);
	q = xcalloc(1, sizeof(*q));
	*q = (struct request){ .next = c->requests,
		.seq = c->next_seq,
		.process = process,
		.json = type == GP_STATS || type == GP_PS,
		.fn = fn,
		.arg = arg };
	c->requests = q;
	c->n_requests++;
	c->next_seq = c->next_seq == UINT32_MAX ? 1 : c->next_seq + 1;
	send_frame(c, type, process, q->seq, body, n);
	return 0;
}

void channel_forget(struct channel *c, const void *arg)
{
	for (struct request *q = c->requests; q; q = q->next)
		if (q->arg == arg)
			q->fn = NULL;
}

size_t channel_queued(const struct channel *c)
{
	return c->queued;
}

void channel_drained(struct channel *c)
{
	c->queued = 0;
}

/* ---- in ---- */

static int take_reply(
    struct channel *c, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	struct request **at = &c->requests, *q;
	channel_reply_fn *fn;
	void *arg;

	while (*at && (*at)->seq != h->seq)
		at = &(*at)->next;
	q = *at;
	if (!q)
		return err_set(e, EPROTO, "%s to request %u, which was not made",
		    gp_type_name(h->type), h->seq);
	if (h->type != GP_ERROR && (h->type == GP_JSON) != q->json)
		return err_set(
		    e, EPROTO, "%s to a request that has another reply", gp_type_name(h->type));
	if (h->process != q->process)
		return err_set(e, EPROTO, "reply to request %u for another process", h->seq);
	*at = q->next;
	c->n_requests--;
	fn = q->fn;
	arg = q->arg;
	free(q);
	if (fn)
		fn(arg, h, body);
	return 0;
}

static void clean_text(char *s)
{
	for (; *s; s++)
		if ((unsigned char)*s < ' ' || *s == 0x7f)
			*s = '?';
}

static int take_hello(
    struct channel *c, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	_cleanup_free_ char *release = NULL;
	struct gp_hello hello;

	memcpy(&hello, body, sizeof(hello));
	if (hello.version != GP_VERSION)
		return err_set(e, EPROTO,
		    "the agent speaks version %u of the protocol, this program %u: they are of "
		    "different releases",
		    hello.version, GP_VERSION);
	release = xstrndup((const char *)body + sizeof(hello), h->length - sizeof(hello));
	clean_text(release);
	c->greeted = true;
	c->h.hello(c->h.arg, &hello, release);
	return 0;
}

static int take_frame(void *arg, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	struct channel *c = arg;
	int r;

	if (h->container)
		return err_set(e, EPROTO, "frame for container %u: there is one, 0", h->container);
	if ((h->type == GP_HELLO) == c->greeted)
		return err_set(e, EPROTO, "%s frame %s", gp_type_name(h->type),
		    c->greeted ? "once more" : "before HELLO");
	if (h->type == GP_HELLO)
		return take_hello(c, h, body, e);
	if (h->type == GP_OK || h->type == GP_ERROR || h->type == GP_JSON)
		return take_reply(c, h, body, e);
	r = c->h.event(c->h.arg, h, body, e);
	return r < 0 ? r : 0;
}

void channel_input(struct channel *c, const uint8_t *buf, size_t n)
{
	struct err e = ERR_INIT;

	if (!c->ended && gp_reader_feed(&c->in, buf, n, take_frame, c, &e) < 0) {
		err_wrap(&e, "the machine's agent");
		end(c, &e);
	}
}

int channel_error(const uint8_t *body, size_t n, struct err *e)
{
	struct gp_error g;
	size_t len = n - sizeof(g);

	memcpy(&g, body, sizeof(g));
	*e = (struct err){ .code = g.code > 0 && g.code < 4096 ? g.code : EIO,
		.exit = g.exit > 0 && g.exit < 256 ? g.exit : 0 };
	if (len >= sizeof(e->msg))
		len = sizeof(e->msg) - 1;
	memcpy(e->msg, body + sizeof(g), len);
	e->msg[len] = '\0';
	clean_text(e->msg);
	if (!*e->msg)
		err_set(e, e->code, "the machine's agent gave no reason");
	return -e->code;
}
