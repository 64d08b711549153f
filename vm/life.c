#include "vm/life.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"

#define SEED_BYTES 64
#define NET_MAX	   (1u << 20)

struct life {
	struct life_config c;
	enum life_state state;
	struct channel *channel;
	struct clients *clients;
	struct pump *pump;
	int signals, timer;
	int64_t sign; /* of life, the last one: seconds of CLOCK_MONOTONIC */
	bool waits;   /* for start_fd */
	bool exited;  /* process 0 */
	int status;
	struct {
		uint8_t *buf;
		size_t have, cap;
		bool watched, asked; /* asked: what there is now is on its way, and START waits */
	} net;			     /* a change that has not come whole */
	struct err failed;
};

static int64_t now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec;
}

/* ---- the end ---- */

static void over(struct life *l)
{
	l->state = LIFE_OVER;
	loop_stop(l->c.loop);
}

/* The first reason counts, and none once the process has ended by itself. */
static void fail(struct life *l, const struct err *why)
{
	if (l->state == LIFE_OVER || l->exited)
		return;
	l->failed = *why;
	if (l->state == LIFE_STARTING)
		l->c.vm->host->started(l->c.vm->host->arg, why);
	over(l);
}

/* On the loop's thread: all that the process has written is written. */
static void all_written(void *arg)
{
	struct life *l = arg;
	struct err e = ERR_INIT;

	if (l->exited) {
		over(l);
		return;
	}
	err_set(&e, ECONNRESET, "the standard streams' threads have ended");
	fail(l, &e);
}

static void pump_done(void *arg, int r, int status)
{
	struct life *l = arg;

	(void)loop_post(l->c.loop, all_written, l);
}

/* ---- start ---- */

static void stop_waiting(struct life *l)
{
	if (l->waits)
		loop_remove(l->c.loop, l->c.vm->host->start_fd);
	l->waits = false;
}

static void on_started(void *arg, const struct gp_header *h, const uint8_t *body)
{
	struct life *l = arg;
	struct err e = ERR_INIT;

	if (!h || l->state != LIFE_STARTING)
		return; /* the channel's end is told by itself */
	if (h->type == GP_ERROR) {
		channel_error(body, h->length, &e);
		fail(l, &e);
		return;
	}
	l->state = LIFE_RUNNING;
	l->c.vm->host->started(l->c.vm->host->arg, NULL);
	if (l->c.vm->tty >= 0)
		pump_winsize(l->pump, l->c.vm->tty);
	pump_go(l->pump);
}

static void request_start(struct life *l)
{
	struct err e = ERR_INIT;

	l->net.asked = false;
	if (channel_request(l->channel, GP_START, 0, NULL, 0, on_started, l, &e) < 0)
		fail(l, &e);
}

/* An engine may have brought the network right before it asked: the process finds it there. */
static void start(struct life *l)
{
	stop_waiting(l);
	l->state = LIFE_STARTING;
	l->net.asked =
	    l->net.watched && send(l->c.vm->net_changes, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1;
	if (!l->net.asked)
		request_start(l);
}

static void net_is_settled(struct life *l)
{
	if (l->net.asked && l->state == LIFE_STARTING)
		request_start(l);
}

static void on_start_fd(void *arg, uint32_t events)
{
	struct life *l = arg;

	if (l->c.vm->host->asked(l->c.vm->host->arg) > 0)
		start(l);
}

/* ---- create ---- */

static int wait_for_start(struct life *l, struct err *e)
{
	const struct vm_host *host = l->c.vm->host;
	int r = host->created(host->arg, e);

	if (r < 0)
		return r;
	l->state = LIFE_CREATED;
	loop_remove(l->c.loop, l->timer);
	if (r > 0) {
		start(l);
		return 0;
	}
	r = loop_add(l->c.loop, host->start_fd, EPOLLIN, on_start_fd, l, e);
	l->waits = r == 0;
	return r;
}

static void on_created(void *arg, const struct gp_header *h, const uint8_t *body)
{
	struct life *l = arg;
	struct err e = ERR_INIT;

	if (!h || l->state != LIFE_CREATING)
		return;
	if (h->type == GP_ERROR)
		channel_error(body, h->length, &e);
	else
		(void)wait_for_start(l, &e);
	if (e.code)
		fail(l, &e);
}

static void on_net(void *arg, const struct gp_header *h, const uint8_t *body)
{
	struct life *l = arg;
	struct err e = ERR_INIT;

	if (!h || h->type != GP_ERROR)
		return;
	channel_error(body, h->length, &e);
	err_wrap(&e, "network of the machine");
	if (l->state == LIFE_CREATING)
		fail(l, &e);
	else
		log_debug("%s", e.msg);
}

static void send_net(struct life *l, const void *json, size_t n)
{
	struct err e = ERR_INIT;

	if (l->state != LIFE_BOOT && l->state != LIFE_OVER &&
	    channel_request(l->channel, GP_NET, 0, json, n, on_net, l, &e) < 0)
		log_debug("network of the machine: %s", e.msg);
}

/* Changes follow each other; each is the whole network as it shall be, and an empty one the answer:
 * there are no others by now. */
static void take_changes(struct life *l)
{
	uint32_t n;

	while (l->net.have >= sizeof(n)) {
		memcpy(&n, l->net.buf, sizeof(n));
		if (n > NET_MAX || l->net.have - sizeof(n) < n)
			return;
		if (n)
			send_net(l, l->net.buf + sizeof(n), n);
		else
			net_is_settled(l);
		l->net.have -= sizeof(n) + n;
		memmove(l->net.buf, l->net.buf + sizeof(n) + n, l->net.have);
	}
}

static void on_net_changes(void *arg, uint32_t events)
{
	struct life *l = arg;
	ssize_t n;

	if (l->net.cap - l->net.have < 4096) {
		l->net.cap = l->net.have + 65536;
		l->net.buf = xrealloc(l->net.buf, l->net.cap);
	}
	n = recv(
	    l->c.vm->net_changes, l->net.buf + l->net.have, l->net.cap - l->net.have, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0 ||
	    l->net.have > 2 * NET_MAX) { /* who watches is gone: the network stays as it is */
		loop_remove(l->c.loop, l->c.vm->net_changes);
		l->net.watched = false;
		log_debug("the container's network is not watched any more");
		net_is_settled(l);
		return;
	}
	l->net.have += (size_t)n;
	take_changes(l);
}

/* What changes before the agent is there waits in the socket. */
static int watch_net(struct life *l, struct err *e)
{
	int r = 0;

	if (l->c.vm->net_changes >= 0)
		r = loop_add(l->c.loop, l->c.vm->net_changes, EPOLLIN, on_net_changes, l, e);
	l->net.watched = l->c.vm->net_changes >= 0 && r == 0;
	return r;
}

static int send_seed(struct life *l, struct err *e)
{
	uint8_t seed[SEED_BYTES];

	if (getrandom(seed, sizeof(seed), 0) != sizeof(seed))
		return err_errno(e, errno, "random bytes for the machine");
	channel_tell(l->channel, GP_ENTROPY, 0, seed, sizeof(seed));
	explicit_bzero(seed, sizeof(seed));
	return 0;
}

static void on_hello(void *arg, const struct gp_hello *h, const char *release)
{
	struct life *l = arg;
	const struct vm_config *vm = l->c.vm;
	struct err e = ERR_INIT;
	struct gp_time t;
	struct timespec ts;

	log_debug("machine: Linux %s, %u CPUs, %llu MiB", release, h->cpus,
	    (unsigned long long)(h->memory / VM_MIB));
	l->state = LIFE_CREATING;
	clock_gettime(CLOCK_REALTIME, &ts);
	t = (struct gp_time){ .sec = ts.tv_sec, .nsec = (uint32_t)ts.tv_nsec };
	channel_tell(l->channel, GP_TIME, 0, &t, sizeof(t));
	if (send_seed(l, &e) == 0 && watch_net(l, &e) == 0) {
		if (vm->net)
			send_net(l, vm->net, strlen(vm->net));
		(void)channel_request(
		    l->channel, GP_CREATE, 0, vm->create, vm->create_len, on_created, l, &e);
	}
	if (e.code)
		fail(l, &e);
}

/* ---- while it lives ---- */

static void log_guest(const uint8_t *body, size_t n)
{
	char text[256];
	size_t len = n < sizeof(text) - 1 ? n : sizeof(text) - 1;

	for (size_t i = 0; i < len; i++)
		text[i] = body[i] < ' ' || body[i] == 0x7f ? ' ' : (char)body[i];
	text[len] = '\0';
	log_debug("agent: %s", text);
}

static int on_event(void *arg, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	struct life *l = arg;
	int status, r;

	if (h->type == GP_LOG) {
		log_guest(body, h->length);
		return 0;
	}
	r = clients_event(l->clients, h, body, &status, e);
	if (r < 0 || status < 0)
		return r;
	if (l->state != LIFE_RUNNING)
		return err_set(e, EPROTO, "the container's process ends before it has started");
	l->exited = true;
	l->status = status;
	return 0; /* the pump says when it is over */
}

static void on_broken(void *arg, const struct err *why)
{
	fail(arg, why);
}

static void send_signal(struct life *l, int number)
{
	const struct gp_signal s = { .number = number };
	struct err e = ERR_INIT;

	if (channel_request(l->channel, GP_SIGNAL, 0, &s, sizeof(s), NULL, NULL, &e) < 0)
		log_debug("signal %d: %s", number, e.msg);
}

/* What an init does that waits for its start: nothing. */
static void on_signal(void *arg, uint32_t events)
{
	struct life *l = arg;
	struct signalfd_siginfo info;

	if (read(l->signals, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGCHLD && info.ssi_code != SI_USER)
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
	else if ((l->state != LIFE_STARTING && l->state != LIFE_RUNNING) || l->net.asked)
		log_debug("signal %u before the start", info.ssi_signo);
	else if (info.ssi_signo == SIGWINCH && l->c.vm->tty >= 0)
		pump_winsize(l->pump, l->c.vm->tty);
	else
		send_signal(l, (int)info.ssi_signo);
}

static unsigned patience(const struct life *l)
{
	return l->c.vm->patience ? l->c.vm->patience : LIFE_PATIENCE;
}

static void on_timer(void *arg, uint32_t events)
{
	struct life *l = arg;
	struct err e = ERR_INIT;
	uint64_t ticks;

	if (read(l->timer, &ticks, sizeof(ticks)) < 0 || now() - l->sign < patience(l))
		return;
	err_set(&e, ETIMEDOUT, "the machine has been silent for %u seconds, %s", patience(l),
	    l->state == LIFE_BOOT ? "its agent has not spoken yet" : "its agent does not answer");
	fail(l, &e);
}

void life_agent(struct life *l, const uint8_t *buf, size_t n)
{
	life_sign(l);
	channel_input(l->channel, buf, n);
}

void life_agent_open(struct life *l, bool open)
{
	struct err e = ERR_INIT;

	if (open || l->state == LIFE_BOOT)
		return;
	err_set(&e, ECONNRESET, "the machine's agent has hung up");
	fail(l, &e);
}

void life_agent_drained(struct life *l)
{
	channel_drained(l->channel);
	clients_resume(l->clients);
}

void life_sign(struct life *l)
{
	l->sign = now();
}

void life_machine_ended(struct life *l, const char *why)
{
	struct err e = ERR_INIT;

	err_set(&e, ECONNRESET, "the machine has ended: %s", why);
	fail(l, &e);
}

/* ---- made and freed ---- */

static int watch_signals(struct life *l, struct err *e)
{
	sigset_t all;

	sigfillset(&all);
	l->signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (l->signals < 0)
		return err_errno(e, errno, "signalfd");
	return loop_add(l->c.loop, l->signals, EPOLLIN, on_signal, l, e);
}

static int watch_time(struct life *l, struct err *e)
{
	const struct itimerspec each_second = { { 1, 0 }, { 1, 0 } };

	l->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (l->timer < 0 || timerfd_settime(l->timer, 0, &each_second, NULL) < 0)
		return err_errno(e, errno, "timerfd");
	life_sign(l);
	return loop_add(l->c.loop, l->timer, EPOLLIN, on_timer, l, e);
}

static int start_pump(struct life *l, struct err *e)
{
	struct pump_config p = {
		.fds = { l->c.vm->stdio[0], l->c.vm->stdio[1], l->c.vm->stdio[2] },
		.prepare = l->c.prepare,
		.done = pump_done,
		.arg = l,
	};
	int pair[2], r;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(e, errno, "socketpair for the standard streams");
	p.sock = pair[1];
	r = clients_add_pump(l->clients, pair[0], e);
	return r < 0 ? r : pump_start(&p, &l->pump, e);
}

int life_new(const struct life_config *c, struct life **ret, struct err *e)
{
	struct life *l = xcalloc(1, sizeof(*l));
	const struct channel_handler h = {
		.arg = l,
		.send = c->send,
		.send_arg = c->send_arg,
		.hello = on_hello,
		.event = on_event,
		.broken = on_broken,
	};
	int r;

	*l = (struct life){ .c = *c, .signals = -EBADF, .timer = -EBADF };
	l->channel = channel_new(&h);
	if ((r = clients_new(c->loop, l->channel, c->vm->control, &l->clients, e)) < 0 ||
	    (r = watch_signals(l, e)) < 0 || (r = watch_time(l, e)) < 0 ||
	    (r = start_pump(l, e)) < 0)
		return r;
	*ret = l;
	return 0;
}

enum life_state life_state(const struct life *l)
{
	return l->state;
}

int life_result(const struct life *l, int *ret_status, struct err *e)
{
	if (l->failed.code) {
		*e = l->failed;
		return -e->code;
	}
	*ret_status = l->status;
	return 0;
}
