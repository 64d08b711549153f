/* An agent that does as it is told, for tests of the monitor's side: what it is sent lands in
 * `to_guest`, and it speaks by agent_say(). */
#pragma once
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "vm/channel.h"

#define AGENT_FRAMES 64

struct agent_frame {
	struct gp_header h;
	uint8_t *body;
};
struct agent {
	struct channel *c;
	struct agent_frame got[AGENT_FRAMES]; /* the last ones, oldest first */
	unsigned n;
	unsigned hellos, events, ends;
	struct err why;
	size_t pretend_queued; /* what send() says is waiting */
	int event_result;
	int (*on_event)(void *arg, const struct gp_header *h, const uint8_t *body, struct err *e);
	void *on_event_arg;
};

static int agent_take(void *arg, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	struct agent *a = arg;
	struct agent_frame *f;

	if (a->n == AGENT_FRAMES) {
		free(a->got[0].body);
		memmove(a->got, a->got + 1, (AGENT_FRAMES - 1) * sizeof(*a->got));
		a->n--;
	}
	f = &a->got[a->n++];
	f->h = *h;
	f->body = malloc(h->length + 1);
	if (h->length)
		memcpy(f->body, body, h->length);
	return 0;
}

static size_t agent_send(void *arg, const struct gp_header *h, const void *body)
{
	struct agent *a = arg;
	struct err e = ERR_INIT;

	if (gp_check_header(h, GP_TO_GUEST, &e) < 0)
		abort();
	agent_take(a, h, body, &e);
	return a->pretend_queued;
}

static void agent_hello(void *arg, const struct gp_hello *h, const char *release)
{
	((struct agent *)arg)->hellos++;
}

static int agent_event(void *arg, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	struct agent *a = arg;

	a->events++;
	return a->on_event ? a->on_event(a->on_event_arg, h, body, e) : 0;
}

static void agent_broken(void *arg, const struct err *why)
{
	struct agent *a = arg;

	a->ends++;
	a->why = *why;
}

static inline void agent_init(struct agent *a)
{
	const struct channel_handler h = { .arg = a,
		.send = agent_send,
		.send_arg = a,
		.hello = agent_hello,
		.event = agent_event,
		.broken = agent_broken };

	memset(a, 0, sizeof(*a));
	a->c = channel_new(&h);
}

static inline void agent_clear(struct agent *a)
{
	while (a->n)
		free(a->got[--a->n].body);
}

static inline void agent_free(struct agent *a)
{
	channel_free(a->c);
	agent_clear(a);
}

static inline void agent_say(
    struct agent *a, enum gp_type type, uint32_t process, uint32_t seq, const void *body, size_t n)
{
	struct gp_header h = {
		.length = (uint32_t)n, .type = (uint16_t)type, .process = process, .seq = seq
	};
	uint8_t *frame = malloc(sizeof(h) + n);

	memcpy(frame, &h, sizeof(h));
	if (n)
		memcpy(frame + sizeof(h), body, n);
	channel_input(a->c, frame, sizeof(h) + n);
	free(frame);
}

static inline void agent_greet(struct agent *a)
{
	const struct gp_hello h = { .version = GP_VERSION, .cpus = 1, .memory = 1 << 26 };

	agent_say(a, GP_HELLO, 0, 0, &h, sizeof(h));
}

/* The newest frame of a type that the monitor has sent, or NULL. */
static inline const struct agent_frame *agent_got(const struct agent *a, enum gp_type type)
{
	for (unsigned i = a->n; i-- > 0;)
		if (a->got[i].h.type == type)
			return &a->got[i];
	return NULL;
}
