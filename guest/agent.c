/* The loop, and the table of who handles which frame of the host's. */
#include "guest/agent.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>

#include "base/cleanup.h"

#define EVENTS_MAX 32

/* ---- watches ---- */

void watch_set(struct agent *a, struct watch *w, uint32_t events)
{
	struct epoll_event ev = { .events = events, .data.ptr = w };
	int op = !w->events ? EPOLL_CTL_ADD : !events ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;

	if (events == w->events)
		return;
	if (epoll_ctl(a->epoll, op, w->fd, &ev) < 0)
		abort();
	w->events = events;
}

void watch_close(struct agent *a, struct watch *w)
{
	if (w->fd < 0)
		return;
	watch_set(a, w, 0);
	close(steal_fd(&w->fd));
	for (int i = 0; i < a->n_events; i++)
		if (a->events[i].data.ptr == w)
			a->events[i].data.ptr = NULL;
}

/* ---- frames ---- */

/* What a frame is about; c and p where the type asks for them. */
struct frame {
	const struct gp_header *h;
	const uint8_t *body;
	struct ctr *c;
	struct proc *p;
};

static int on_time(struct agent *a, const struct frame *f, struct err *e)
{
	struct gp_time t;

	memcpy(&t, f->body, sizeof(t));
	return a->host->set_time(&t, e);
}

static int on_entropy(struct agent *a, const struct frame *f, struct err *e)
{
	return a->host->add_entropy(f->body, f->h->length, e);
}

static int on_net(struct agent *a, const struct frame *f, struct err *e)
{
	int r = a->host->apply_net((const char *)f->body, f->h->length, e);

	if (r == 0)
		port_ok(a, 0, 0, f->h->seq);
	return r;
}

static int on_create(struct agent *a, const struct frame *f, struct err *e)
{
	return ctr_create(a, f->h, f->body, e);
}

static int on_start(struct agent *a, const struct frame *f, struct err *e)
{
	return proc_start(a, f->p, f->h->seq, e);
}

static int on_exec(struct agent *a, const struct frame *f, struct err *e)
{
	return ctr_exec(a, f->c, f->h, f->body, e);
}

static int on_signal(struct agent *a, const struct frame *f, struct err *e)
{
	struct gp_signal s;
	int r;

	memcpy(&s, f->body, sizeof(s));
	if (s.all && (s.number < 1 || s.number >= NSIG))
		return err_set(e, EINVAL, "signal %d: there is none", s.number);
	r = s.all ? cgroup_kill_all(&f->c->cg, s.number, e) : proc_signal(f->p, s.number, e);
	if (r == 0)
		port_ok(a, f->h->container, f->h->process, f->h->seq);
	return r;
}

static int on_winsize(struct agent *a, const struct frame *f, struct err *e)
{
	struct gp_winsize w;

	memcpy(&w, f->body, sizeof(w));
	return proc_winsize(f->p, &w, e);
}

static int on_stdin(struct agent *a, const struct frame *f, struct err *e)
{
	return stream_input(a, f->p, f->body, f->h->length, e);
}

static int on_credit(struct agent *a, const struct frame *f, struct err *e)
{
	struct gp_credit c;

	memcpy(&c, f->body, sizeof(c));
	return stream_credit(a, f->p, &c, e);
}

static int on_update(struct agent *a, const struct frame *f, struct err *e)
{
	int r = ctr_update(f->c, f->body, f->h->length, e);

	if (r == 0)
		port_ok(a, f->h->container, f->h->process, f->h->seq);
	return r;
}

static int on_stats(struct agent *a, const struct frame *f, struct err *e)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);
	int r = ctr_stats(f->c, g, e);

	if (r == 0)
		port_json(a, f->h, g);
	return r;
}

static int on_ps(struct agent *a, const struct frame *f, struct err *e)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);
	int r = ctr_ps(a, f->c, g, e);

	if (r == 0)
		port_json(a, f->h, g);
	return r;
}

static int on_shutdown(struct agent *a, const struct frame *f, struct err *e)
{
	a->shutdown = true;
	return 0;
}

static const struct {
	int (*fn)(struct agent *a, const struct frame *f, struct err *e);
	enum { NOTHING, CONTAINER, PROCESS } needs;
	bool late_is_fine; /* it crosses with the EXIT of whom it is for */
} handlers[GP_TYPES] = {
	[GP_TIME] = { on_time },
	[GP_ENTROPY] = { on_entropy },
	[GP_NET] = { on_net },
	[GP_CREATE] = { on_create },
	[GP_START] = { on_start, PROCESS },
	[GP_EXEC] = { on_exec, CONTAINER },
	[GP_SIGNAL] = { on_signal, PROCESS },
	[GP_WINSIZE] = { on_winsize, PROCESS, true },
	[GP_STDIN] = { on_stdin, PROCESS, true },
	[GP_CREDIT] = { on_credit, PROCESS, true },
	[GP_UPDATE] = { on_update, CONTAINER },
	[GP_STATS] = { on_stats, CONTAINER },
	[GP_PS] = { on_ps, CONTAINER },
	[GP_SHUTDOWN] = { on_shutdown },
};

static int find(const struct agent *a, struct frame *f, struct err *e)
{
	const struct gp_header *h = f->h;

	if (handlers[h->type].needs == NOTHING)
		return 0;
	f->c = ctr_find(a, h->container);
	if (!f->c)
		return err_set(
		    e, ESRCH, "container not running: %u is none in the machine", h->container);
	if (handlers[h->type].needs == CONTAINER)
		return 0;
	f->p = proc_find(f->c, h->process);
	if (!f->p)
		return err_set(e, ESRCH, "process %u of container %u does not exist, or has ended",
		    h->process, h->container);
	return 0;
}

int agent_frame(void *arg, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	struct agent *a = arg;
	struct frame f = { .h = h, .body = body };
	struct err why = ERR_INIT;
	int r = find(a, &f, &why);

	if (r == 0)
		r = handlers[h->type].fn(a, &f, &why);
	else if (handlers[h->type].late_is_fine)
		return 0;
	if (a->failed)
		return a->failed; /* with its own message, the port's */
	if (r < 0)
		port_error(a, h->container, h->process, h->seq, &why);
	return a->shutdown || port_queued(a) >= AGENT_QUEUE_MAX;
}

/* ---- the loop ---- */

static void say_hello(struct agent *a)
{
	struct utsname u = { 0 };
	struct sysinfo s = { 0 };
	uint8_t body[sizeof(struct gp_hello) + sizeof(u.release)];
	struct gp_hello hello = { .version = GP_VERSION };
	struct gp_header h = { .type = GP_HELLO };

	uname(&u);
	sysinfo(&s);
	hello.cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
	hello.memory = (uint64_t)s.totalram * s.mem_unit;
	memcpy(body, &hello, sizeof(hello));
	memcpy(body + sizeof(hello), u.release, strlen(u.release));
	h.length = (uint32_t)(sizeof(hello) + strlen(u.release));
	port_put(a, &h, body);
}

static void signals_ready(struct agent *a, void *arg, uint32_t events)
{
	struct signalfd_siginfo info[8];

	while (read(a->signals.fd, info, sizeof(info)) > 0)
		;
	procs_reap(a);
}

static int open_loop(struct agent *a, int port, struct err *e)
{
	sigset_t all;

	sigfillset(&all);
	if (sigprocmask(SIG_SETMASK, &all, NULL) < 0)
		return err_errno(e, errno, "block signals");
	(void)signal(SIGPIPE, SIG_IGN);
	a->epoll = epoll_create1(EPOLL_CLOEXEC);
	a->signals = (struct watch){ .fd = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK),
		.fn = signals_ready };
	if (a->epoll < 0 || a->signals.fd < 0)
		return err_errno(e, errno, "epoll_create1 or signalfd");
	if (fcntl(port, F_SETFL, fcntl(port, F_GETFL) | O_NONBLOCK) < 0)
		return err_errno(e, errno, "make the port non-blocking");
	a->port = (struct watch){ .fd = port, .fn = port_ready };
	watch_set(a, &a->signals, EPOLLIN);
	watch_set(a, &a->port, EPOLLIN);
	return 0;
}

static void handle(struct agent *a, int n)
{
	a->n_events = n;
	for (int i = 0; i < n && !a->failed && !a->shutdown; i++) {
		struct watch *w = a->events[i].data.ptr;

		if (w)
			w->fn(a, w->arg, a->events[i].events);
	}
	a->n_events = 0;
}

/* A container whose end was told, but of whose streams the end was not read yet, is cleared away as
 * ever; what still runs is the machine's to end. */
static void close_loop(struct agent *a)
{
	while (a->containers) {
		const struct proc *first = proc_find(a->containers, 0);

		if (first && first->told)
			ctr_end(a, a->containers);
		else
			ctr_free(a, a->containers);
	}
	closep(&a->port.fd);
	closep(&a->signals.fd);
	closep(&a->epoll);
	strbuf_free(&a->queue);
	gp_reader_free(&a->reader);
	free(a->input);
}

static int serve(struct agent *a, struct err *e)
{
	say_hello(a);
	while (!a->failed && !a->shutdown && !a->hung_up) {
		int n = epoll_wait(a->epoll, a->events, EVENTS_MAX, streams_expire(a));

		if (n < 0 && errno != EINTR)
			return err_errno(e, errno, "epoll_wait");
		handle(a, n < 0 ? 0 : n);
	}
	return a->failed ? a->failed : a->shutdown;
}

int agent_run(int port, int procfd, const struct agent_host *host, struct err *e)
{
	struct epoll_event events[EVENTS_MAX];
	struct agent a = {
		.host = host,
		.procfd = procfd,
		.epoll = -EBADF,
		.port.fd = -EBADF,
		.signals.fd = -EBADF,
		.events = events,
		.reader = { .way = GP_TO_GUEST },
		.error = e,
	};
	int r = open_loop(&a, port, e);

	if (r == 0)
		r = serve(&a, e);
	close_loop(&a);
	return r;
}
