/*
 * Standard streams. Output is read only while the host has granted credit and the port's queue has
 * room; input waits here until the process reads it. So a slow reader at either end slows down the
 * writer at the other, and nothing grows.
 *
 * A pipe's or terminal's other end may outlive the process it was made for, in the hands of
 * processes that it has left behind. Their output belongs to nobody: it is read and dropped, so
 * that they neither block nor die of it.
 */
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <time.h>

#include "base/cleanup.h"
#include "guest/agent.h"

#define PATIENCE_MS 1000 /* for a terminal's last output, which the kernel passes on by itself */
#define DROP_SIZE   (64u << 10)

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void send(struct agent *a, const struct proc *p, uint16_t type, const void *body, size_t n)
{
	const struct gp_header h = {
		.length = (uint32_t)n,
		.type = type,
		.container = p->c->number,
		.process = p->number,
	};

	port_put(a, &h, body);
}

/* ---- output ---- */

static void out_watch(struct agent *a, struct out_stream *s)
{
	watch_set(a, &s->w, s->drop || (s->credit && !a->paused) ? EPOLLIN : 0);
}

/* The stream's end for the host; told once. */
static void out_finish(struct agent *a, struct out_stream *s)
{
	if (!s->drop)
		send(a, s->p, s->number == 1 ? GP_STDOUT : GP_STDERR, NULL, 0);
	s->drop = true;
}

static void out_close(struct agent *a, struct out_stream *s)
{
	if (!s->open)
		return;
	out_finish(a, s);
	s->open = false;
	watch_close(a, &s->w);
}

/* Everything the writers have to say is read, but no more than fits a frame at a time. */
static ssize_t out_read(struct out_stream *s, uint8_t *buf)
{
	size_t n = s->drop ? DROP_SIZE : GP_PIECE;
	ssize_t k;

	if (!s->drop && n > s->credit)
		n = s->credit;
	if (!s->drop && s->last && n > s->left)
		n = s->left;
	do
		k = read(s->w.fd, buf, n);
	while (k < 0 && errno == EINTR);
	return k < 0 ? -errno : k;
}

static void out_ready(struct agent *a, void *arg, uint32_t events)
{
	static uint8_t buf[DROP_SIZE];
	struct out_stream *s = arg;
	struct proc *p = s->p;
	ssize_t n;

	if (!s->drop && (a->paused || !s->credit))
		return out_watch(a, s);
	n = out_read(s, buf);
	if (n == -EAGAIN)
		return;
	if (n <= 0) { /* a terminal says EIO once nobody has it open */
		out_close(a, s);
		return proc_settle(a, p);
	}
	if (s->drop)
		return;
	send(a, p, s->number == 1 ? GP_STDOUT : GP_STDERR, buf, (size_t)n);
	s->credit -= (uint32_t)n;
	if (s->last && p->terminal)
		s->patience = now_ms() + PATIENCE_MS;
	else if (s->last)
		s->left -= (size_t)n;
	if (s->last && !s->left)
		out_finish(a, s);
	out_watch(a, s);
	if (s->drop)
		proc_settle(a, p);
}

static void out_last(struct agent *a, struct out_stream *s)
{
	int left = 0;

	if (!s->open || s->drop)
		return;
	s->last = true;
	if (s->p->terminal) {
		s->left = SIZE_MAX;
		s->patience = now_ms() + PATIENCE_MS;
		return;
	}
	if (ioctl(s->w.fd, FIONREAD, &left) < 0 || left < 0)
		left = 0;
	s->left = (size_t)left;
	if (!s->left)
		out_finish(a, s);
	out_watch(a, s);
}

/* ---- input ---- */

static size_t in_waits(const struct in_stream *s)
{
	return s->bytes.len - s->at;
}

static void in_close(struct agent *a, struct in_stream *s)
{
	if (!s->open)
		return;
	s->open = false;
	watch_close(a, &s->w);
	strbuf_free(&s->bytes);
	s->at = 0;
}

static void in_credit(struct agent *a, struct in_stream *s, uint32_t bytes)
{
	const struct gp_credit c = { .stream = 0, .bytes = bytes };

	send(a, s->p, GP_CREDIT, &c, sizeof(c));
	s->granted = 0;
}

static void in_write(struct agent *a, struct in_stream *s)
{
	while (in_waits(s)) {
		ssize_t n = write(s->w.fd, s->bytes.s + s->at, in_waits(s));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			break;
		if (n <= 0) { /* nobody reads it, nor ever will */
			in_close(a, s);
			return in_credit(a, s, 0);
		}
		s->at += (size_t)n;
		s->granted += (uint32_t)n;
	}
	if (!in_waits(s)) {
		s->bytes.len = s->at = 0;
		if (s->end)
			return in_close(a, s);
	}
	if (s->granted >= GP_GRANT)
		in_credit(a, s, s->granted);
	watch_set(a, &s->w, in_waits(s) ? EPOLLOUT : 0);
}

static void in_ready(struct agent *a, void *arg, uint32_t events)
{
	in_write(a, arg);
}

static void in_append(struct in_stream *s, const uint8_t *bytes, size_t n)
{
	if (s->at > GP_WINDOW) {
		memmove(s->bytes.s, s->bytes.s + s->at, in_waits(s));
		s->bytes.len -= s->at;
		s->at = 0;
	}
	strbuf_addn(&s->bytes, (const char *)bytes, n);
}

/* Like the host's terminal, the guest's goes when its last master is closed: SIGHUP. */
static void hang_up(struct agent *a, struct proc *p)
{
	in_close(a, &p->in);
	closep(&p->master);
	p->master = -EBADF;
	out_close(a, &p->out[0]);
	proc_settle(a, p);
}

/* The monitor passes on what a client of its own says, so that it costs the client's process alone:
 * nothing more is taken for it. */
static int refuse_input(struct agent *a, struct in_stream *s, const char *why, struct err *e)
{
	if (s->open) {
		in_close(a, s);
		in_credit(a, s, 0);
	}
	return err_set(e, EPROTO, "STDIN of process %u: %s", s->p->number, why);
}

int stream_input(struct agent *a, struct proc *p, const uint8_t *bytes, size_t n, struct err *e)
{
	struct in_stream *s = &p->in;

	if (s->end && n == 0)
		return 0;
	if (s->end)
		return refuse_input(a, s, "bytes after its end", e);
	if (n == 0)
		s->end = true;
	if (p->terminal && s->end) {
		hang_up(a, p);
		return 0;
	}
	/* A terminal that is still to come takes what is sent before. */
	if (!s->open && !(p->terminal && p->state == PROC_PREPARING))
		return 0; /* it was told that nobody reads */
	if (in_waits(s) + s->granted + n > GP_WINDOW)
		return refuse_input(a, s, "more than was granted", e);
	if (n)
		in_append(s, bytes, n);
	if (s->open)
		in_write(a, s);
	return 0;
}

int stream_credit(struct agent *a, struct proc *p, const struct gp_credit *c, struct err *e)
{
	struct out_stream *s;

	if (c->stream != 1 && c->stream != 2)
		return err_set(e, EPROTO, "CREDIT for stream %u", c->stream);
	s = &p->out[c->stream - 1];
	if (!s->open || s->drop)
		return 0;
	if (c->bytes > GP_WINDOW || s->credit > GP_WINDOW - c->bytes)
		return err_set(
		    e, EPROTO, "CREDIT of %u over %u: more than the window", c->bytes, s->credit);
	s->credit += c->bytes;
	if (c->bytes == 0) {
		s->drop = true; /* without a word: it knows */
		if (!p->terminal)
			out_close(a, s); /* writers get what a pipe without a reader gives */
	}
	if (s->open)
		out_watch(a, s);
	if (s->drop)
		proc_settle(a, p);
	return 0;
}

/* ---- both ---- */

void streams_init(struct proc *p)
{
	p->master = -EBADF;
	p->in = (struct in_stream){ .p = p, .w = { .fd = -EBADF, .fn = in_ready, .arg = &p->in } };
	for (uint32_t i = 0; i < 2; i++)
		p->out[i] = (struct out_stream){
			.p = p,
			.number = i + 1,
			.credit = GP_WINDOW,
			.w = { .fd = -EBADF, .fn = out_ready, .arg = &p->out[i] },
		};
}

static void set_nonblocking(int fd)
{
	int flags = fcntl(fd, F_GETFL);

	(void)fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

void streams_open(struct agent *a, struct proc *p, int in, const int out[2])
{
	if (in >= 0) {
		set_nonblocking(in);
		p->in.w.fd = in;
		p->in.open = true;
		in_write(a, &p->in);
	}
	for (int i = 0; i < 2; i++) {
		struct out_stream *s = &p->out[i];

		if (out[i] < 0)
			continue;
		set_nonblocking(out[i]);
		s->w.fd = out[i];
		s->open = true;
		out_watch(a, s);
	}
	if (p->terminal && p->in.end)
		hang_up(a, p);
}

void streams_close(struct agent *a, struct proc *p)
{
	in_close(a, &p->in);
	strbuf_free(&p->in.bytes);
	for (int i = 0; i < 2; i++) {
		p->out[i].drop = true; /* no more words */
		out_close(a, &p->out[i]);
	}
	closep(&p->master);
	p->master = -EBADF;
}

void streams_last(struct agent *a, struct proc *p)
{
	in_close(a, &p->in);
	for (int i = 0; i < 2; i++)
		out_last(a, &p->out[i]);
}

bool streams_done(const struct proc *p)
{
	return (!p->out[0].open || p->out[0].drop) && (!p->out[1].open || p->out[1].drop);
}

bool streams_closed(const struct proc *p)
{
	return !p->out[0].open && !p->out[1].open;
}

void streams_resume(struct agent *a)
{
	for (struct ctr *c = a->containers; c; c = c->next)
		for (struct proc *p = c->procs; p; p = p->next)
			for (int i = 0; i < 2; i++)
				if (p->out[i].open)
					out_watch(a, &p->out[i]);
}

static bool is_readable(const struct out_stream *s)
{
	struct pollfd p = { .fd = s->w.fd, .events = POLLIN };

	return poll(&p, 1, 0) > 0;
}

/* The first terminal whose time is up, or NULL and the least time that is left. */
static struct out_stream *find_expired(struct agent *a, int *ret_left)
{
	int64_t now = now_ms(), least = -1;

	for (struct ctr *c = a->containers; c; c = c->next)
		for (struct proc *p = c->procs; p; p = p->next) {
			struct out_stream *s = &p->out[0];

			if (!s->open || s->drop || !s->patience)
				continue;
			/* It is the host that is slow, or this process: there is more. */
			if (!s->credit || a->paused || (s->patience <= now && is_readable(s)))
				s->patience = now + PATIENCE_MS;
			if (s->patience <= now)
				return s;
			if (least < 0 || s->patience - now < least)
				least = s->patience - now;
		}
	*ret_left = (int)least;
	return NULL;
}

int streams_expire(struct agent *a)
{
	struct out_stream *s;
	int left = -1;

	while ((s = find_expired(a, &left))) {
		out_finish(a, s);
		out_watch(a, s);
		proc_settle(a, s->p);
	}
	return left;
}
