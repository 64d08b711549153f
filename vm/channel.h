/*
 * The conversation with the agent (guest/proto.h), as the monitor has it: frames out of the agent's
 * port, requests and their replies. It knows no device: bytes go out by a callback and come in by
 * channel_input().
 *
 * What comes in is an attacker's. A frame that may not come, a reply that nobody waits for or of
 * the wrong kind, anything before HELLO, ends the conversation; then no callback but broken() is
 * called any more.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "guest/proto.h"

#define CHANNEL_REQUESTS_MAX 256 /* replies that are awaited at a time */

struct channel;
struct channel_handler {
	void *arg;
	/* Queues a frame for the guest (copied); returns how many bytes are queued by then. */
	size_t (*send)(void *send_arg, const struct gp_header *h, const void *body);
	void *send_arg;
	/* The first frame; release: the kernel's, printable. */
	void (*hello)(void *arg, const struct gp_hello *h, const char *release);
	/* STDOUT, STDERR, CREDIT, EXIT, OOM, LOG: 0, or -EPROTO when this one may not come now. */
	int (*event)(void *arg, const struct gp_header *h, const uint8_t *body, struct err *e);
	/* Once, with the reason. Replies that were awaited have been told (h NULL). */
	void (*broken)(void *arg, const struct err *why);
};

struct channel *channel_new(const struct channel_handler *h);
void channel_free(struct channel *c); /* accepts NULL; calls nothing */

/* Bytes from the agent. */
void channel_input(struct channel *c, const uint8_t *buf, size_t n);

/* h is GP_OK, GP_ERROR or GP_JSON; NULL: there will be no reply, the conversation has ended. */
typedef void channel_reply_fn(void *arg, const struct gp_header *h, const uint8_t *body);
/* Sends a request and has fn called once with the reply. -EBUSY: too many are under way. */
int channel_request(struct channel *c, enum gp_type type, uint32_t process, const void *body,
    size_t n, channel_reply_fn *fn, void *arg, struct err *e);
/* Sends a frame that has no reply. */
void channel_tell(
    struct channel *c, enum gp_type type, uint32_t process, const void *body, size_t n);
/* Replies to arg are dropped from now on. */
void channel_forget(struct channel *c, const void *arg);
/* Bytes that wait for the guest to take them, as of the last send. */
size_t channel_queued(const struct channel *c);
/* All of them have been taken. */
void channel_drained(struct channel *c);

/* A GP_ERROR's body as an error; returns -e->code, never 0. Control bytes in its text become '?'.
 */
int channel_error(const uint8_t *body, size_t n, struct err *e);
