#include "vm/pump.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "guest/proto.h"

#define STACK_SIZE (128u << 10)
#define IN	   0
#define WRITERS	   2

/* What was received and is not written yet: at most GP_WINDOW. */
struct out {
	struct pump *p;
	uint32_t stream; /* 1, 2 */
	uint8_t buf[GP_WINDOW];
	size_t first, len;
	bool eof, broken, done;
	pthread_cond_t wake;
};

struct pump {
	struct pump_config c;
	bool terminal;
	pthread_mutex_t lock, send_lock;
	pthread_cond_t in_wake, changed;
	uint64_t credit; /* of standard input */
	bool stop;	 /* nobody reads standard input */
	struct out out[WRITERS];
	unsigned prepared;
	struct err failed; /* of prepare */
	bool exited;
	int status;
};

/* ---- frames out ---- */

static bool send_all(int sock, const void *buf, size_t n)
{
	const char *at = buf;

	while (n) {
		ssize_t k = send(sock, at, n, MSG_NOSIGNAL);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return false;
		at += k;
		n -= (size_t)k;
	}
	return true;
}

/* In one piece: the monitor wakes once. */
struct frame {
	struct gp_header h;
	union {
		struct gp_credit credit;
		struct gp_signal signal;
		struct gp_winsize winsize;
	};
};
struct input_frame {
	struct gp_header h;
	uint8_t data[GP_PIECE];
};

_Static_assert(offsetof(struct frame, credit) == sizeof(struct gp_header), "no padding");

/* frame: one of the above, but for its header; n: bytes of its body. */
static void send_frame(struct pump *p, void *frame, enum gp_type type, size_t n)
{
	*(struct gp_header *)frame =
	    (struct gp_header){ .length = (uint32_t)n, .type = (uint16_t)type };
	pthread_mutex_lock(&p->send_lock);
	(void)send_all(p->c.sock, frame, sizeof(struct gp_header) + n);
	pthread_mutex_unlock(&p->send_lock);
}

static void send_credit(struct pump *p, uint32_t stream, uint32_t bytes)
{
	struct frame f = { .credit = { .stream = stream, .bytes = bytes } };

	send_frame(p, &f, GP_CREDIT, sizeof(f.credit));
}

void pump_signal(struct pump *p, int number)
{
	struct frame f = { .signal = { .number = number } };

	send_frame(p, &f, GP_SIGNAL, sizeof(f.signal));
}

void pump_winsize(struct pump *p, int tty)
{
	struct frame f = { 0 };
	struct winsize ws;

	if (ioctl(tty, TIOCGWINSZ, &ws) < 0)
		return;
	f.winsize = (struct gp_winsize){ .rows = ws.ws_row, .columns = ws.ws_col };
	send_frame(p, &f, GP_WINSIZE, sizeof(f.winsize));
}

/* ---- the reader ---- */

/* Whoever gave us the descriptor may have made it non-blocking; it is theirs too, so it stays. */
static void wait_for(int fd, short events)
{
	struct pollfd pfd = { .fd = fd, .events = events };

	(void)poll(&pfd, 1, -1);
}

static ssize_t read_some(int fd, void *buf, size_t n)
{
	for (;;) {
		ssize_t k = read(fd, buf, n);

		if (k >= 0 || (errno != EINTR && errno != EAGAIN))
			return k;
		if (errno == EAGAIN)
			wait_for(fd, POLLIN);
	}
}

/* How much may be read; 0: nobody reads there any more. */
static size_t wait_for_credit(struct pump *p)
{
	size_t n;

	pthread_mutex_lock(&p->lock);
	while (!p->credit && !p->stop)
		pthread_cond_wait(&p->in_wake, &p->lock);
	n = p->stop ? 0 : p->credit > GP_PIECE ? GP_PIECE : (size_t)p->credit;
	pthread_mutex_unlock(&p->lock);
	return n;
}

static void read_input(struct pump *p)
{
	struct input_frame f;
	ssize_t n = 0;
	size_t may;

	if (p->c.fds[IN] < 0)
		wait_for_credit(p); /* the process is there */
	while (p->c.fds[IN] >= 0 && (may = wait_for_credit(p))) {
		n = read_some(p->c.fds[IN], f.data, may);
		if (n <= 0)
			break;
		send_frame(p, &f, GP_STDIN, (size_t)n);
		pthread_mutex_lock(&p->lock);
		p->credit -= (uint64_t)n;
		pthread_mutex_unlock(&p->lock);
	}
	send_frame(p, &f, GP_STDIN, 0);
	if (!p->terminal)
		closep(&p->c.fds[IN]); /* whose writer learns of it */
}

/* ---- the writers ---- */

static bool write_all(int fd, const uint8_t *buf, size_t n)
{
	while (n) {
		ssize_t k = write(fd, buf, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno == EAGAIN) {
			wait_for(fd, POLLOUT);
			continue;
		}
		if (k <= 0)
			return false;
		buf += k;
		n -= (size_t)k;
	}
	return true;
}

/* The oldest bytes that lie in one piece; waits for some. They stay in the queue: only this thread
 * takes them out. 0: there will be no more. */
static size_t next_piece(struct out *o, const uint8_t **ret)
{
	size_t n;

	pthread_mutex_lock(&o->p->lock);
	while (!o->len && !o->eof)
		pthread_cond_wait(&o->wake, &o->p->lock);
	n = o->len;
	if (n > sizeof(o->buf) - o->first)
		n = sizeof(o->buf) - o->first;
	*ret = o->buf + o->first;
	pthread_mutex_unlock(&o->p->lock);
	return n;
}

static void piece_done(struct out *o, size_t n)
{
	pthread_mutex_lock(&o->p->lock);
	o->first = (o->first + n) % sizeof(o->buf);
	o->len -= n;
	pthread_mutex_unlock(&o->p->lock);
}

static void write_output(struct out *o)
{
	struct pump *p = o->p;
	int *fd = &p->c.fds[o->stream];
	const uint8_t *piece;
	uint32_t owed = 0;
	size_t n;

	while ((n = next_piece(o, &piece))) {
		if (*fd >= 0 && !o->broken && !write_all(*fd, piece, n)) {
			o->broken = true; /* who writes there shall learn of it */
			send_credit(p, o->stream, 0);
		}
		piece_done(o, n);
		owed += (uint32_t)n;
		if (owed < GP_GRANT)
			continue;
		if (!o->broken)
			send_credit(p, o->stream, owed);
		owed = 0;
	}
	if (!p->terminal)
		closep(fd);
	pthread_mutex_lock(&p->lock);
	o->done = true;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
}

/* ---- the receiver ---- */

static void end_output(struct out *o)
{
	o->eof = true;
	pthread_cond_signal(&o->wake);
}

static int add_output(struct out *o, const uint8_t *buf, size_t n, struct err *e)
{
	size_t at = (o->first + o->len) % sizeof(o->buf), part = sizeof(o->buf) - at;

	if (n > sizeof(o->buf) - o->len || o->eof)
		return err_set(e, EPROTO, "output beyond what was granted");
	if (part > n)
		part = n;
	memcpy(o->buf + at, buf, part);
	memcpy(o->buf, buf + part, n - part);
	o->len += n;
	if (!n)
		o->eof = true;
	pthread_cond_signal(&o->wake);
	return 0;
}

static void add_credit(struct pump *p, const uint8_t *body)
{
	struct gp_credit c;

	memcpy(&c, body, sizeof(c));
	p->credit += c.bytes;
	p->stop |= !c.bytes;
	pthread_cond_signal(&p->in_wake);
}

static int on_frame(void *arg, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	struct pump *p = arg;
	int r = 0;

	pthread_mutex_lock(&p->lock);
	if (h->type == GP_STDOUT || h->type == GP_STDERR) {
		r = add_output(&p->out[h->type == GP_STDERR], body, h->length, e);
	} else if (h->type == GP_CREDIT) {
		add_credit(p, body);
	} else if (h->type == GP_EXIT) {
		memcpy(&p->status, body, sizeof(p->status));
		p->exited = true;
		r = 1;
	}
	pthread_mutex_unlock(&p->lock);
	return r;
}

static void receive(struct pump *p)
{
	struct gp_reader in = { .way = GP_TO_HOST };
	uint8_t buf[64u << 10];
	struct err e = ERR_INIT;

	while (!p->exited) {
		ssize_t n = recv(p->c.sock, buf, sizeof(buf), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0 || gp_reader_feed(&in, buf, (size_t)n, on_frame, p, &e) < 0)
			break;
	}
	gp_reader_free(&in);
	pthread_mutex_lock(&p->lock);
	for (int i = 0; i < WRITERS; i++)
		end_output(&p->out[i]);
	while (p->exited && !(p->out[0].done && p->out[1].done))
		pthread_cond_wait(&p->changed, &p->lock);
	pthread_mutex_unlock(&p->lock);
	p->c.done(p->c.arg, p->exited ? 0 : -ECONNRESET, p->status);
}

/* ---- threads ---- */

/* Returns whether the thread may work. */
static bool prepare(struct pump *p)
{
	struct err e = ERR_INIT;
	int r = p->c.prepare ? p->c.prepare(p->c.arg, &e) : 0;

	pthread_mutex_lock(&p->lock);
	p->prepared++;
	if (r < 0)
		p->failed = e;
	pthread_cond_broadcast(&p->changed);
	pthread_mutex_unlock(&p->lock);
	return r == 0;
}

static void *reader_thread(void *arg)
{
	if (prepare(arg))
		read_input(arg);
	return NULL;
}

static void *writer_thread(void *arg)
{
	struct out *o = arg;

	if (prepare(o->p))
		write_output(o);
	return NULL;
}

static void *receiver_thread(void *arg)
{
	if (prepare(arg))
		receive(arg);
	return NULL;
}

static int start_threads(struct pump *p, struct err *e)
{
	const struct {
		void *(*fn)(void *);
		void *arg;
	} threads[] = {
		{ reader_thread, p },
		{ writer_thread, &p->out[0] },
		{ writer_thread, &p->out[1] },
		{ receiver_thread, p },
	};
	pthread_attr_t attr;
	pthread_t id;
	unsigned n = 0;
	int code = 0;

	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attr, STACK_SIZE + GP_MAX_DATA);
	for (; n < ARRAY_SIZE(threads) && code == 0; n++)
		code = pthread_create(&id, &attr, threads[n].fn, threads[n].arg);
	pthread_attr_destroy(&attr);
	if (code)
		return err_errno(e, code, "make the threads of the standard streams");
	pthread_mutex_lock(&p->lock);
	while (p->prepared < n)
		pthread_cond_wait(&p->changed, &p->lock);
	if (p->failed.code)
		*e = p->failed;
	pthread_mutex_unlock(&p->lock);
	return -e->code;
}

int pump_start(const struct pump_config *c, struct pump **ret, struct err *e)
{
	struct pump *p = xcalloc(1, sizeof(*p));
	int r;

	p->c = *c;
	p->terminal = c->fds[0] >= 0 && c->fds[0] == c->fds[1];
	pthread_mutex_init(&p->lock, NULL);
	pthread_mutex_init(&p->send_lock, NULL);
	pthread_cond_init(&p->in_wake, NULL);
	pthread_cond_init(&p->changed, NULL);
	for (unsigned i = 0; i < WRITERS; i++) {
		p->out[i].p = p;
		p->out[i].stream = i + 1;
		pthread_cond_init(&p->out[i].wake, NULL);
	}
	r = start_threads(p, e);
	if (r == 0)
		*ret = p;
	return r;
}

void pump_go(struct pump *p)
{
	pthread_mutex_lock(&p->lock);
	p->credit += GP_WINDOW;
	pthread_cond_signal(&p->in_wake);
	pthread_mutex_unlock(&p->lock);
}
