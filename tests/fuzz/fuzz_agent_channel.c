/*
 * What a hostile guest may say on the agent's port: the monitor's channel and client table, with a
 * container, an exec and requests under way. Whatever comes, nobody is sent more than was granted,
 * and the conversation ends at the first breach.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "vm/clients.h"

struct monitor {
	struct channel *channel;
	struct clients *clients;
	bool ended;
	unsigned replies;
};

static size_t on_send(void *arg, const struct gp_header *h, const void *body)
{
	return 0;
}

static void on_hello(void *arg, const struct gp_hello *h, const char *release)
{
	MUST(h->version == GP_VERSION);
}

static int on_event(void *arg, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	struct monitor *m = arg;
	int status;

	MUST(!m->ended);
	if (h->type == GP_LOG)
		return 0;
	return clients_event(m->clients, h, body, &status, e);
}

static void on_broken(void *arg, const struct err *why)
{
	struct monitor *m = arg;

	MUST(!m->ended && why->code > 0 && why->msg[0]);
	m->ended = true;
}

static void on_reply(void *arg, const struct gp_header *h, const uint8_t *body)
{
	struct monitor *m = arg;
	struct err e = ERR_INIT;

	m->replies++;
	if (h && h->type == GP_ERROR)
		MUST(channel_error(body, h->length, &e) < 0 && e.msg[0]);
}

/* A connection on which EXEC was sent. */
static void add_exec(struct monitor *m, struct loop *l, int pair[2])
{
	const struct gp_header h = { .length = 2, .type = GP_EXEC, .seq = 1 };
	struct err e = ERR_INIT;

	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	MUST(clients_add(m->clients, pair[0], &e) == 0);
	MUST(write(pair[1], &h, sizeof(h)) == sizeof(h) && write(pair[1], "{}", 2) == 2);
	while (loop_once(l, 0, &e) > 0)
		;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct gp_hello hello = { .version = GP_VERSION };
	const struct gp_header greeting = { .length = sizeof(hello), .type = GP_HELLO };
	struct monitor m = { 0 };
	const struct channel_handler h = { .arg = &m,
		.send = on_send,
		.hello = on_hello,
		.event = on_event,
		.broken = on_broken };
	struct err e = ERR_INIT;
	struct loop *l;
	int pump[2], exec[2];

	m.channel = channel_new(&h);
	MUST(loop_new(&l, &e) == 0 && clients_new(l, m.channel, -EBADF, &m.clients, &e) == 0);
	MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pump) == 0);
	MUST(clients_add_pump(m.clients, pump[0], &e) == 0);
	if (size && data[0] & 1) { /* or what comes is the first word */
		channel_input(m.channel, (const uint8_t *)&greeting, sizeof(greeting));
		channel_input(m.channel, (const uint8_t *)&hello, sizeof(hello));
	}
	MUST(channel_request(m.channel, GP_PS, 0, NULL, 0, on_reply, &m, &e) == 0);
	MUST(channel_request(m.channel, GP_START, 0, NULL, 0, on_reply, &m, &e) == 0);
	add_exec(&m, l, exec);
	if (size > 1 && data[0] & 2) { /* in two pieces */
		channel_input(m.channel, data + 1, (size - 1) / 2);
		channel_input(m.channel, data + 1 + (size - 1) / 2, size - 1 - (size - 1) / 2);
	} else if (size > 1) {
		channel_input(m.channel, data + 1, size - 1);
	}
	MUST(m.replies <= 2 && (!m.ended || m.replies == 2));
	close(pump[1]);
	close(exec[1]);
	while (loop_once(l, 0, &e) > 0)
		;
	clients_free(m.clients);
	loop_free(l);
	channel_free(m.channel);
	return 0;
}
