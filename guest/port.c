/*
 * The port. What goes to the host is queued in memory: output is not read above AGENT_QUEUE_PAUSE,
 * requests not above AGENT_QUEUE_MAX, so that the queue cannot grow beyond the sum of both and one
 * answer.
 */
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/cleanup.h"
#include "guest/agent.h"

#define READ_SIZE (64u << 10)

static void fail(struct agent *a, int code, const char *what)
{
	if (a->failed == 0)
		a->failed = err_errno(a->error, code, "%s the port to the host", what);
}

size_t port_queued(const struct agent *a)
{
	return a->queue.len - a->queue_at;
}

static void flush(struct agent *a)
{
	while (port_queued(a) && !a->failed && !a->hung_up) {
		ssize_t n = write(a->port.fd, a->queue.s + a->queue_at, port_queued(a));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == ENOMEM)) /* the driver copies it */
			break;
		if (n < 0 && (errno == EPIPE || errno == ECONNRESET)) {
			a->hung_up = true;
			break;
		}
		if (n < 0)
			return fail(a, errno, "write to");
		a->queue_at += (size_t)n;
	}
	if (!port_queued(a)) {
		if (a->queue.cap > AGENT_QUEUE_PAUSE)
			strbuf_free(&a->queue);
		a->queue.len = a->queue_at = 0;
	}
}

/* What is to be watched follows from what there is to do. */
static void watch(struct agent *a)
{
	uint32_t events = port_queued(a) ? EPOLLOUT : 0;

	if (port_queued(a) < AGENT_QUEUE_MAX)
		events |= EPOLLIN;
	if (events != a->port.events)
		watch_set(a, &a->port, events);
}

/* Bytes that are written already make room once they are more than what is left. */
static void compact(struct agent *a)
{
	if (a->queue_at < READ_SIZE || a->queue_at < port_queued(a))
		return;
	memmove(a->queue.s, a->queue.s + a->queue_at, port_queued(a));
	a->queue.len -= a->queue_at;
	a->queue_at = 0;
}

void port_put(struct agent *a, const struct gp_header *h, const void *body)
{
	bool idle = !port_queued(a);

	compact(a);
	strbuf_addn(&a->queue, (const char *)h, sizeof(*h));
	if (h->length)
		strbuf_addn(&a->queue, body, h->length);
	if (idle)
		flush(a);
	a->paused |= port_queued(a) >= AGENT_QUEUE_PAUSE;
	watch(a);
}

void port_ok(struct agent *a, uint32_t container, uint32_t process, uint32_t seq)
{
	const struct gp_header h = {
		.type = GP_OK, .container = container, .process = process, .seq = seq
	};

	if (seq)
		port_put(a, &h, NULL);
}

void port_error(
    struct agent *a, uint32_t container, uint32_t process, uint32_t seq, const struct err *why)
{
	uint8_t body[sizeof(struct gp_error) + sizeof(why->msg)];
	const struct gp_error head = { .code = why->code, .exit = why->exit };
	size_t n = strnlen(why->msg, sizeof(why->msg));
	const struct gp_header h = {
		.length = (uint32_t)(sizeof(head) + n),
		.type = GP_ERROR,
		.container = container,
		.process = process,
		.seq = seq,
	};

	if (!seq)
		return port_log(a, "%s", why->msg);
	memcpy(body, &head, sizeof(head));
	memcpy(body + sizeof(head), why->msg, n);
	port_put(a, &h, body);
}

void port_json(struct agent *a, const struct gp_header *request, struct json_gen *g)
{
	struct gp_header h = *request;
	struct err e = ERR_INIT;
	size_t n;
	const char *text = json_gen_text(g, &n);

	if (n > GP_MAX_TO_HOST) {
		err_set(&e, EMSGSIZE, "the answer has %zu bytes, more than %u", n, GP_MAX_TO_HOST);
		return port_error(a, h.container, h.process, h.seq, &e);
	}
	h.type = GP_JSON;
	h.length = (uint32_t)n;
	port_put(a, &h, text);
}

void port_log(struct agent *a, const char *fmt, ...)
{
	struct gp_header h = { .type = GP_LOG };
	char text[1200];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n <= 0)
		return;
	h.length = (size_t)n < sizeof(text) ? (uint32_t)n : sizeof(text) - 1;
	port_put(a, &h, text);
}

/* What was read of the port and waits, as far as the queue takes answers. */
static void take(struct agent *a)
{
	ssize_t n;

	if (a->input_n == a->input_at || a->failed || a->shutdown)
		return;
	n = gp_reader_feed(
	    &a->reader, a->input + a->input_at, a->input_n - a->input_at, agent_frame, a, a->error);
	if (n < 0)
		a->failed = (int)n;
	else
		a->input_at += (size_t)n;
}

/* The driver gives a page at a time: frames shall come whole. What ends it comes again by itself.
 */
static ssize_t read_pages(struct agent *a)
{
	size_t have = 0;
	ssize_t n;

	do {
		n = read(a->port.fd, a->input + have, READ_SIZE - have);
		if (n > 0)
			have += (size_t)n;
	} while (n > 0 && have < READ_SIZE);
	return have ? (ssize_t)have : n;
}

static void read_port(struct agent *a)
{
	ssize_t n;

	if (!a->input)
		a->input = xmalloc(READ_SIZE);
	if (a->input_at == a->input_n) {
		n = read_pages(a);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0 && errno != ECONNRESET)
			return fail(a, errno, "read");
		a->hung_up |= n <= 0;
		a->input_at = 0;
		a->input_n = n > 0 ? (size_t)n : 0;
	}
	take(a);
}

void port_ready(struct agent *a, void *arg, uint32_t events)
{
	if (events & EPOLLOUT)
		flush(a);
	if (a->paused && port_queued(a) <= AGENT_QUEUE_RESUME) {
		a->paused = false;
		streams_resume(a);
	}
	if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR) || a->input_at < a->input_n) &&
	    port_queued(a) < AGENT_QUEUE_MAX)
		read_port(a);
	watch(a);
}
