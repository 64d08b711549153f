/*
 * Processes, from the agent's side. What a new one has to say comes over its handshake socket
 * (process/handshake.h) while the loop goes on, so that one that hangs hinders no other.
 */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/sys.h"
#include "guest/child.h"
#include "process/handshake.h"
#include "process/spawn.h"

/* ---- making ---- */

struct pipes {
	int ours[3], theirs[3];
};
#define PIPES_INIT                                                                       \
	{                                                                                \
		.ours = { -EBADF, -EBADF, -EBADF }, .theirs = { -EBADF, -EBADF, -EBADF } \
	}

static void pipes_close(struct pipes *p)
{
	for (int i = 0; i < 3; i++) {
		closep(&p->ours[i]);
		closep(&p->theirs[i]);
	}
}

static int pipes_open(struct pipes *ret, struct err *e)
{
	for (int i = 0; i < 3; i++) {
		int ends[2];

		if (pipe2(ends, O_CLOEXEC) < 0)
			return err_errno(e, errno, "pipe");
		ret->ours[i] = ends[i == 0];
		ret->theirs[i] = ends[i != 0];
	}
	return 0;
}

static watch_fn sock_ready;

static struct proc *proc_new(
    struct agent *a, struct ctr *c, const struct spawn_request *r, int sock)
{
	struct proc *p = xcalloc(1, sizeof(*p)), **at = &c->procs;

	p->c = c;
	p->number = r->number;
	p->seq = r->seq;
	p->terminal = r->terminal;
	p->sock = (struct watch){ .fd = sock, .fn = sock_ready, .arg = p };
	streams_init(p);
	while (*at)
		at = &(*at)->next;
	*at = p;
	a->n_procs++;
	return p;
}

int proc_spawn(struct agent *a, struct ctr *c, struct ns_set *ns, const struct spawn_request *r,
    struct proc **ret, struct err *e)
{
	_cleanup_(pipes_close) struct pipes io = PIPES_INIT;
	_cleanup_close_ int sock = -EBADF, theirs = -EBADF, pidfd = -EBADF;
	unsigned joined = 0;
	struct proc *p;
	int pair[2], n;
	pid_t pid = 0;

	if (a->n_procs >= AGENT_PROCESSES)
		return err_set(e, EAGAIN, "the machine keeps %u processes already", a->n_procs);
	if ((!r->terminal && (n = pipes_open(&io, e)) < 0) || (n = hs_pair(pair, e)) < 0)
		return n;
	sock = pair[0];
	theirs = pair[1];
	n = spawn(ns, r->cgroupfd, &pid, &pidfd, &joined, e);
	if (n < 0)
		return n;
	if (n == 0) {
		close(sock);
		r->child->sock = theirs;
		r->child->joined = joined;
		memcpy(r->child->stdio, io.theirs, sizeof(io.theirs));
		child_main(r->child);
	}
	p = proc_new(a, c, r, steal_fd(&sock));
	p->pid = pid;
	p->pidfd = steal_fd(&pidfd);
	watch_set(a, &p->sock, EPOLLIN);
	if (!r->terminal) {
		streams_open(a, p, io.ours[0], io.ours + 1);
		io.ours[0] = io.ours[1] = io.ours[2] = -EBADF;
	}
	*ret = p;
	return 0;
}

struct proc *proc_find(const struct ctr *c, uint32_t number)
{
	for (struct proc *p = c->procs; p; p = p->next)
		if (p->number == number && p->state != PROC_FAILED)
			return p;
	return NULL;
}

/* ---- what it says ---- */

/* The master is read, written and resized by descriptors of its own: epoll knows each one once. */
static void take_terminal(struct agent *a, struct proc *p, int master)
{
	int in = fcntl(master, F_DUPFD_CLOEXEC, 3), out = fcntl(master, F_DUPFD_CLOEXEC, 3);

	struct err e = ERR_INIT;

	p->master = master;
	if (in < 0 || out < 0) {
		closep(&in);
		closep(&out);
		err_errno(&e, EMFILE, "the terminal of process %u", p->number);
		return proc_fail(a, p, &e);
	}
	if (p->winsize.rows || p->winsize.columns)
		(void)proc_winsize(p, &p->winsize, &e);
	streams_open(a, p, in, (const int[2]){ out, -EBADF });
}

static void answer(struct agent *a, struct proc *p, const struct err *why)
{
	uint32_t seq = p->seq;

	p->seq = 0;
	if (why)
		port_error(a, p->c->number, p->number, seq, why);
	else
		port_ok(a, p->c->number, p->number, seq);
}

/* Its number is free for another from here on; and a container's, whose cgroup and name the next
 * one would meet: so the first process is waited for. It has been killed. */
void proc_fail(struct agent *a, struct proc *p, const struct err *why)
{
	uint32_t container = p->c->number, number = p->number, seq = p->seq;

	p->state = PROC_FAILED;
	p->seq = 0;
	watch_close(a, &p->sock);
	streams_close(a, p);
	(void)sys_pidfd_send_signal(p->pidfd, SIGKILL);
	if (p->pid && number == 0) {
		while (waitpid(p->pid, &p->status, 0) < 0 && errno == EINTR)
			;
		p->ended = true;
		proc_settle(a, p);
	}
	port_error(a, container, number, seq, why);
}

static void say_prepared(struct agent *a, struct proc *p)
{
	struct err e = ERR_INIT;
	int fd = -EBADF, r;
	enum hs_step got;

	r = hs_expect_either(
	    p->sock.fd, p->number ? "the process" : "init", HS_READY, HS_CONSOLE, &got, &fd, &e);
	if (r == 0 && got == HS_CONSOLE && fd >= 0 && p->master < 0)
		return take_terminal(a, p, fd);
	closep(&fd);
	if (r == 0 && got == HS_CONSOLE)
		r = err_set(&e, EPROTO, "a second terminal, or none at all");
	if (r < 0)
		return proc_fail(a, p, &e);
	p->state = p->number ? PROC_STARTING : PROC_PREPARED;
	if (p->state == PROC_PREPARED)
		answer(a, p, NULL);
}

/* A first process that cannot be executed has been told of as one, so its EXIT follows. */
static void say_started(struct agent *a, struct proc *p)
{
	struct err e = ERR_INIT;
	int r = hs_wait_exec(p->sock.fd, &e);

	if (r < 0 && p->number)
		return proc_fail(a, p, &e);
	watch_close(a, &p->sock);
	p->state = PROC_RUNNING;
	answer(a, p, r < 0 ? &e : NULL);
}

static void sock_ready(struct agent *a, void *arg, uint32_t events)
{
	struct proc *p = arg;

	if (p->state == PROC_PREPARING)
		say_prepared(a, p);
	else if (p->state == PROC_STARTING)
		say_started(a, p);
	else
		watch_close(a, &p->sock); /* it died before it was started */
}

/* ---- requests ---- */

int proc_start(struct agent *a, struct proc *p, uint32_t seq, struct err *e)
{
	int r;

	if (p->state != PROC_PREPARED || p->ended || p->sock.fd < 0)
		return err_set(e, EINVAL, "container %u cannot be started: it %s", p->c->number,
		    p->ended || p->sock.fd < 0 ? "has ended" : "is running, or not created");
	r = hs_send(p->sock.fd, HS_START, -EBADF, e);
	if (r < 0)
		return r;
	p->state = PROC_STARTING;
	p->seq = seq;
	return 0;
}

int proc_signal(struct proc *p, int number, struct err *e)
{
	if (number < 0 || number >= NSIG)
		return err_set(e, EINVAL, "signal %d: there is none", number);
	if (p->ended)
		return err_set(e, ESRCH, "process %u has ended", p->number);
	if (sys_pidfd_send_signal(p->pidfd, number) < 0)
		return err_errno(e, errno, "send signal %d to process %u", number, p->number);
	return 0;
}

int proc_winsize(struct proc *p, const struct gp_winsize *w, struct err *e)
{
	const struct winsize size = { .ws_row = w->rows, .ws_col = w->columns };

	p->winsize = *w;
	if (p->master >= 0 && ioctl(p->master, TIOCSWINSZ, &size) < 0)
		return err_errno(e, errno, "set the terminal's size of process %u", p->number);
	return 0;
}

/* ---- the end ---- */

static struct proc *find_pid(const struct agent *a, pid_t pid)
{
	for (struct ctr *c = a->containers; c; c = c->next)
		for (struct proc *p = c->procs; p; p = p->next)
			if (p->pid == pid)
				return p;
	return NULL;
}

/* What it has said before it ended comes first. */
static void hear_out(struct agent *a, struct proc *p)
{
	while (p->sock.fd >= 0) {
		struct pollfd s = { .fd = p->sock.fd, .events = POLLIN };

		if (poll(&s, 1, 0) <= 0)
			return;
		sock_ready(a, p, EPOLLIN);
	}
}

static void ended(struct agent *a, struct proc *p, int status)
{
	struct err e = ERR_INIT;

	p->pid = 0;	/* it is another's from now on */
	hear_out(a, p); /* nothing settles, and so frees it, before it counts as ended */
	p->ended = true;
	p->status = status;
	if (p->seq) {
		err_set(&e, ECONNRESET, "the process ended without saying why");
		answer(a, p, &e);
		p->state = p->number || p->state == PROC_PREPARING ? PROC_FAILED : PROC_RUNNING;
	}
	streams_last(a, p);
	proc_settle(a, p);
}

void procs_reap(struct agent *a)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
		struct proc *p = find_pid(a, pid);

		if (p) /* else an orphan that fell to us, as to every PID 1 */
			ended(a, p, status);
	}
}

static void say_exit(struct agent *a, struct proc *p)
{
	const struct gp_exit body = { .status = p->status };
	const struct gp_header h = {
		.length = sizeof(body),
		.type = GP_EXIT,
		.container = p->c->number,
		.process = p->number,
	};

	if (p->number == 0)
		ctr_oom(a, p->c);
	port_put(a, &h, &body);
	p->told = true;
}

/* With a first process all others end: their EXITs come before its own. */
static bool others_wait(const struct proc *first)
{
	for (struct proc *p = first->c->procs; p; p = p->next)
		if (p != first && !p->told && p->state != PROC_FAILED)
			return true;
	return false;
}

void proc_forget(struct agent *a, struct proc *p)
{
	struct proc **at = &p->c->procs;

	while (*at != p)
		at = &(*at)->next;
	*at = p->next;
	watch_close(a, &p->sock);
	streams_close(a, p);
	closep(&p->pidfd);
	free(p);
	a->n_procs--;
}

void proc_settle(struct agent *a, struct proc *p)
{
	struct ctr *c = p->c;
	struct proc *first;

	if (!p->ended)
		return;
	if (p->state != PROC_FAILED && !p->told && streams_done(p) &&
	    !(p->number == 0 && others_wait(p)))
		say_exit(a, p);
	if (p->state == PROC_FAILED || (p->told && streams_closed(p)))
		proc_forget(a, p);
	first = proc_find(c, 0);
	if (first && first != p && first->ended && !first->told)
		return proc_settle(a, first);
	if (!c->procs)
		ctr_end(a, c);
}
