#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "vm/clients_internal.h"

#define HOLD_ABOVE (1u << 20) /* bytes that wait for the guest */
#define READ_SIZE  (64u << 10)

/* ---- requests ---- */

static void pending_free(struct pending *q)
{
	struct pending **at = &q->t->pending;

	while (*at != q)
		at = &(*at)->next;
	*at = q->next;
	free(q);
}

static void on_reply(void *arg, const struct gp_header *h, const uint8_t *body)
{
	struct pending *q = arg;
	struct client *c = q->client;
	struct clients *t;

	if (q->made && (!h || h->type == GP_ERROR))
		process_free(q->t, q->made);
	if (c) {
		c->requests--;
		if (h && q->seq)
			client_pass_on(c, h, q->seq, body);
		else
			client_watch(c);
	}
	t = q->t;
	pending_free(q);
	clients_sweep(t);
}

static int request(struct client *c, const struct gp_header *h, const uint8_t *body,
    uint32_t number, struct process *made, struct err *e)
{
	struct clients *t = c->t;
	struct pending *q = xcalloc(1, sizeof(*q));
	int r;

	*q = (struct pending){
		.next = t->pending, .t = t, .client = c, .made = made, .seq = h->seq
	};
	t->pending = q;
	c->requests++;
	r = channel_request(
	    t->channel, (enum gp_type)h->type, number, body, h->length, on_reply, q, e);
	if (r < 0) {
		c->requests--;
		pending_free(q);
	}
	return r;
}

static int exec_process(
    struct client *c, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	struct clients *t = c->t;
	struct process *p;
	int r;

	if (c->made)
		return err_set(e, EPROTO, "a second EXEC on a connection");
	if (t->n_processes == PROCESSES_MAX)
		return err_set(e, EAGAIN, "%u processes of exec already", PROCESSES_MAX);
	do {
		t->next_number = t->next_number == UINT32_MAX ? 1 : t->next_number + 1;
	} while (process_find(t, t->next_number));
	p = process_new(t, c, t->next_number);
	r = request(c, h, body, p->number, p, e);
	if (r < 0)
		process_free(t, p);
	return r;
}

static int grant(struct client *c, const uint8_t *body, struct err *e)
{
	struct process *p = c->process;
	struct gp_credit credit;

	memcpy(&credit, body, sizeof(credit));
	if (credit.stream != 1 && credit.stream != 2)
		return err_set(e, EPROTO, "credit for stream %u", credit.stream);
	if (credit.bytes > GP_WINDOW - p->may_send[credit.stream])
		return err_set(e, EPROTO, "credit for more than was read");
	p->may_send[credit.stream] += credit.bytes;
	channel_tell(c->t->channel, GP_CREDIT, p->number, body, sizeof(credit));
	return 0;
}

static int send_signal(
    struct client *c, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	struct gp_signal s;

	memcpy(&s, body, sizeof(s));
	if (c->made && !c->process && !s.all)
		return 0; /* it has just ended */
	return request(c, h, body, c->process && !s.all ? c->process->number : 0, NULL, e);
}

static int stream(struct client *c, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	if (!c->made)
		return err_set(e, EPROTO, "%s without EXEC", gp_type_name(h->type));
	if (!c->process)
		return 0;
	if (h->type == GP_CREDIT)
		return grant(c, body, e);
	channel_tell(c->t->channel, (enum gp_type)h->type, c->process->number, body, h->length);
	return 0;
}

/* From now on; the kills so far come first, so that others can be told from them. */
static void want_oom(struct client *c)
{
	const struct gp_oom oom = { .kills = c->t->oom_kills };
	const struct gp_header h = { .length = sizeof(oom), .type = GP_OOM };

	if (!c->wants_oom && oom.kills)
		client_pass_on(c, &h, 0, (const uint8_t *)&oom);
	c->wants_oom = true;
}

static int take(struct client *c, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	if (h->container || h->process)
		return err_set(e, EPROTO, "container and process must be 0");
	switch (h->type) {
	case GP_EXEC:
		return exec_process(c, h, body, e);
	case GP_SIGNAL:
		return send_signal(c, h, body, e);
	case GP_STDIN:
	case GP_CREDIT:
	case GP_WINSIZE:
		return stream(c, h, body, e);
	case GP_STATS:
		want_oom(c);
		return request(c, h, body, 0, NULL, e);
	case GP_UPDATE:
	case GP_PS:
		return request(c, h, body, 0, NULL, e);
	default:
		return err_set(e, EPROTO, "%s is not for clients", gp_type_name(h->type));
	}
}

/* Its own error is told to who made the request, and ends the connection only where it broke the
 * protocol. */
static int on_frame(void *arg, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	struct client *c = arg;
	struct {
		struct gp_error g;
		char msg[sizeof(e->msg)];
	} reply;
	struct gp_header head = { .type = GP_ERROR };
	int r = take(c, h, body, e);

	if (r == -EPROTO)
		return r;
	if (r < 0 && h->seq) {
		reply.g = (struct gp_error){ .code = e->code, .exit = e->exit };
		head.length = (uint32_t)(sizeof(reply.g) + strlen(e->msg));
		memcpy(reply.msg, e->msg, sizeof(reply.msg));
		client_pass_on(c, &head, h->seq, (const uint8_t *)&reply);
	}
	err_clear(e);
	return 0;
}

/* ---- events ---- */

static void hold(struct clients *t)
{
	if (t->held || channel_queued(t->channel) <= HOLD_ABOVE)
		return;
	t->held = true;
	for (struct client *c = t->list; c; c = c->next)
		client_watch(c);
}

void clients_resume(struct clients *t)
{
	if (!t->held)
		return;
	t->held = false;
	for (struct client *c = t->list; c; c = c->next)
		client_watch(c);
}

static void read_client(struct client *c)
{
	uint8_t buf[READ_SIZE];
	struct err e = ERR_INIT;
	ssize_t n = recv(c->fd, buf, sizeof(buf), MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		c->closing = true;
		return;
	}
	if (gp_reader_feed(&c->in, buf, (size_t)n, on_frame, c, &e) < 0) {
		log_debug("control socket: %s: connection closed", e.msg);
		c->closing = true;
	}
	hold(c->t);
	client_watch(c);
}

static void on_client(void *arg, uint32_t events)
{
	struct client *c = arg;
	struct clients *t = c->t;

	if (events & EPOLLOUT) {
		client_flush(c);
		client_watch(c);
	}
	if (!c->closing && events & EPOLLIN)
		read_client(c);
	else if (events & (EPOLLHUP | EPOLLERR))
		c->closing = true;
	clients_sweep(t);
}

static void on_connection(void *arg, uint32_t events)
{
	struct clients *t = arg;
	struct client *c;
	struct err e = ERR_INIT;
	int fd = accept4(t->listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0 && (errno == EMFILE || errno == ENFILE)) {
		loop_remove(t->loop, t->listening);
		t->deaf = true;
		return;
	}
	if (fd < 0)
		return;
	if (t->n_clients == CLIENTS_MAX || client_new(t, fd, on_client, &c, &e) < 0) {
		log_debug("control socket: connection refused: %s",
		    e.code ? e.msg : "there are too many");
		close(fd);
	}
}

/* ---- from the guest ---- */

static int take_output(
    struct clients *t, struct process *p, const struct gp_header *h, struct err *e)
{
	unsigned stream = h->type == GP_STDOUT ? 1 : 2;

	if (h->length > p->may_send[stream])
		return err_set(e, EPROTO, "%u bytes of %s where %u were granted", h->length,
		    gp_type_name(h->type), p->may_send[stream]);
	p->may_send[stream] -= h->length;
	return 0;
}

static int take_credit(const uint8_t *body, struct err *e)
{
	struct gp_credit credit;

	memcpy(&credit, body, sizeof(credit));
	if (credit.stream)
		return err_set(e, EPROTO, "credit for stream %u", credit.stream);
	return 0;
}

static int take_exit(const uint8_t *body, int *ret, struct err *e)
{
	struct gp_exit x;

	memcpy(&x, body, sizeof(x));
	if (!WIFEXITED(x.status) && !WIFSIGNALED(x.status))
		return err_set(e, EPROTO, "EXIT with wait status %#x", (unsigned)x.status);
	*ret = x.status;
	return 0;
}

static int take_oom(struct clients *t, const struct gp_header *h, const uint8_t *body)
{
	struct gp_oom oom;

	memcpy(&oom, body, sizeof(oom));
	t->oom_kills = oom.kills;
	for (struct client *c = t->list; c; c = c->next)
		if (c->wants_oom)
			client_pass_on(c, h, 0, body);
	clients_sweep(t);
	return 0;
}

int clients_event(
    struct clients *t, const struct gp_header *h, const uint8_t *body, int *ret_exit, struct err *e)
{
	struct process *p;
	int r = 0, status = -1;

	*ret_exit = -1;
	if (h->type == GP_OOM)
		return take_oom(t, h, body);
	p = process_find(t, h->process);
	if (!p)
		return err_set(e, EPROTO, "%s of process %u, which there is not",
		    gp_type_name(h->type), h->process);
	if (h->type == GP_STDOUT || h->type == GP_STDERR)
		r = take_output(t, p, h, e);
	else if (h->type == GP_CREDIT)
		r = take_credit(body, e);
	else if (h->type == GP_EXIT)
		r = take_exit(body, &status, e);
	if (r < 0)
		return r;
	if (p->client)
		client_pass_on(p->client, h, 0, body);
	if (h->type == GP_EXIT) {
		*ret_exit = p->number ? -1 : status;
		for (struct pending *q = t->pending; q; q = q->next)
			if (q->made == p)
				q->made = NULL;
		process_free(t, p);
	}
	clients_sweep(t);
	return 0;
}

/* ---- the table ---- */

void clients_listen(struct clients *t)
{
	struct err e = ERR_INIT;

	t->deaf = loop_add(t->loop, t->listening, EPOLLIN, on_connection, t, &e) < 0;
}

int clients_new(
    struct loop *l, struct channel *c, int listening, struct clients **ret, struct err *e)
{
	struct clients *t = xcalloc(1, sizeof(*t));
	int r;

	*t = (struct clients){ .loop = l, .channel = c, .listening = listening };
	r = listening < 0 ? 0 : loop_add(l, listening, EPOLLIN, on_connection, t, e);
	if (r < 0) {
		free(t);
		return r;
	}
	*ret = t;
	return 0;
}

int clients_add(struct clients *t, int sock, struct err *e)
{
	struct client *c;

	return client_new(t, sock, on_client, &c, e);
}

int clients_add_pump(struct clients *t, int sock, struct err *e)
{
	struct client *c;
	int r = client_new(t, sock, on_client, &c, e);

	if (r < 0)
		return r;
	process_new(t, c, 0);
	return 0;
}

void clients_free(struct clients *t)
{
	if (!t)
		return;
	while (t->pending) {
		channel_forget(t->channel, t->pending);
		pending_free(t->pending);
	}
	while (t->processes)
		process_free(t, t->processes);
	while (t->list)
		client_free(t->list);
	if (t->listening >= 0 && !t->deaf)
		loop_remove(t->loop, t->listening);
	free(t);
}
