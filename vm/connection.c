#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "vm/clients_internal.h"

/* ---- processes ---- */

struct process *process_new(struct clients *t, struct client *c, uint32_t number)
{
	struct process *p = xcalloc(1, sizeof(*p));

	*p = (struct process){ .next = t->processes,
		.number = number,
		.client = c,
		.may_send = { 0, GP_WINDOW, GP_WINDOW } };
	t->processes = p;
	t->n_processes++;
	c->process = p;
	c->made = true;
	return p;
}

struct process *process_find(struct clients *t, uint32_t number)
{
	struct process *p = t->processes;

	while (p && p->number != number)
		p = p->next;
	return p;
}

void process_free(struct clients *t, struct process *p)
{
	struct process **at = &t->processes;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	if (p->client)
		p->client->process = NULL;
	t->n_processes--;
	free(p);
}

/* Nobody reads or writes there any more. */
static void process_abandon(struct clients *t, struct process *p)
{
	p->client = NULL;
	for (uint32_t stream = 1; stream <= 2; stream++)
		channel_tell(t->channel, GP_CREDIT, p->number,
		    &(struct gp_credit){ .stream = stream }, sizeof(struct gp_credit));
	channel_tell(t->channel, GP_STDIN, p->number, NULL, 0);
}

/* ---- connections ---- */

static uint32_t events_of(const struct client *c)
{
	bool reads = !c->t->held && c->requests < REQUESTS_MAX;

	return (reads ? (uint32_t)EPOLLIN : 0) | (c->out_len ? (uint32_t)EPOLLOUT : 0);
}

void client_watch(struct client *c)
{
	struct err e = ERR_INIT;

	if (!c->closing && loop_change(c->t->loop, c->fd, events_of(c), &e) < 0)
		log_debug("control socket: %s", e.msg);
}

int client_new(struct clients *t, int fd, loop_fn fn, struct client **ret, struct err *e)
{
	struct client *c = xcalloc(1, sizeof(*c));
	int r;

	*c = (struct client){ .next = t->list, .t = t, .fd = fd, .in = { .way = GP_TO_GUEST } };
	r = loop_add(t->loop, fd, events_of(c), fn, c, e);
	if (r < 0) {
		free(c);
		return r;
	}
	t->list = c;
	t->n_clients++;
	*ret = c;
	return 0;
}

void client_free(struct client *c)
{
	struct clients *t = c->t;
	struct client **at = &t->list;

	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	t->n_clients--;
	loop_remove(t->loop, c->fd);
	close(c->fd);
	gp_reader_free(&c->in);
	free(c->out);
	for (struct pending *q = t->pending; q; q = q->next)
		if (q->client == c)
			q->client = NULL;
	if (c->process)
		process_abandon(t, c->process);
	free(c);
	if (t->deaf)
		clients_listen(t);
}

void client_flush(struct client *c)
{
	ssize_t n = 0;
	size_t done = 0;

	while (done < c->out_len) {
		n = send(c->fd, c->out + done, c->out_len - done, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		done += (size_t)n;
	}
	if (n < 0 && errno != EAGAIN)
		c->closing = true;
	memmove(c->out, c->out + done, c->out_len - done);
	c->out_len -= done;
}

static void queue(struct client *c, const void *buf, size_t n)
{
	if (c->out_len + n > c->out_cap) {
		c->out_cap = c->out_len + n + 4096;
		c->out = xrealloc(c->out, c->out_cap);
	}
	memcpy(c->out + c->out_len, buf, n);
	c->out_len += n;
}

/* To the connection: with its own seq, and as its own process. */
void client_pass_on(struct client *c, const struct gp_header *h, uint32_t seq, const uint8_t *body)
{
	const struct gp_header own = { .length = h->length, .type = h->type, .seq = seq };

	if (c->closing)
		return;
	if (c->out_len + sizeof(own) + h->length > OUT_MAX) {
		log_debug("control socket: a connection does not read: closed");
		c->closing = true;
		return;
	}
	queue(c, &own, sizeof(own));
	if (h->length)
		queue(c, body, h->length);
	client_flush(c);
	client_watch(c);
}

void clients_sweep(struct clients *t)
{
	for (struct client *c = t->list, *next; c; c = next) {
		next = c->next;
		if (c->closing)
			client_free(c);
	}
}
