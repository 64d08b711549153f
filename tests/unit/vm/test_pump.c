#include "vm/pump.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "guest/proto.h"
#include "tests/unit/test.h"

/* A pump lives as long as its process, so that leaks cannot be told. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

/* The pump's three streams as pipes, and the monitor's end of its connection. */
struct bench {
	struct pump *p;
	int in, out, err, sock; /* our ends */
	pthread_mutex_t lock;
	pthread_cond_t ended;
	bool done;
	int r, status;
};

static void on_done(void *arg, int r, int status)
{
	struct bench *b = arg;

	pthread_mutex_lock(&b->lock);
	b->done = true;
	b->r = r;
	b->status = status;
	pthread_cond_signal(&b->ended);
	pthread_mutex_unlock(&b->lock);
}

static void begin(struct bench *b)
{
	int in[2], out[2], err[2], sock[2];
	struct pump_config c = { .done = on_done, .arg = b };
	struct err e = ERR_INIT;

	memset(b, 0, sizeof(*b));
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->ended, NULL);
	CHECK_INT(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC) |
		      socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sock),
	    0);
	c.sock = sock[0];
	c.fds[0] = in[0];
	c.fds[1] = out[1];
	c.fds[2] = err[1];
	b->in = in[1];
	b->out = out[0];
	b->err = err[0];
	b->sock = sock[1];
	CHECK_INT(pump_start(&c, &b->p, &e), 0);
}

static void say(struct bench *b, enum gp_type type, const void *body, size_t n)
{
	const struct gp_header h = { .length = (uint32_t)n, .type = (uint16_t)type };

	CHECK_INT(send(b->sock, &h, sizeof(h), MSG_NOSIGNAL), sizeof(h));
	if (n)
		CHECK_INT(send(b->sock, body, n, MSG_NOSIGNAL), (ssize_t)n);
}

static void say_exit(struct bench *b, int status)
{
	say(b, GP_EXIT, &(struct gp_exit){ status }, sizeof(struct gp_exit));
}

/* Waits for the pump's next frame. */
static int hear(struct bench *b, struct gp_header *h, void *body, size_t max)
{
	ssize_t n = recv(b->sock, h, sizeof(*h), MSG_WAITALL);

	CHECK_INT(n, sizeof(*h));
	if (n != sizeof(*h))
		return -1;
	CHECK(h->length <= max);
	if (h->length)
		CHECK_INT(recv(b->sock, body, h->length, MSG_WAITALL), h->length);
	return h->type;
}

/* Is it over within so many milliseconds? */
static bool over(struct bench *b, long ms)
{
	struct timespec until;
	bool done;

	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_nsec += ms % 1000 * 1000000;
	until.tv_sec += ms / 1000 + until.tv_nsec / 1000000000;
	until.tv_nsec %= 1000000000;
	pthread_mutex_lock(&b->lock);
	while (!b->done && pthread_cond_timedwait(&b->ended, &b->lock, &until) == 0)
		;
	done = b->done;
	pthread_mutex_unlock(&b->lock);
	return done;
}

TEST(both_outputs_and_the_status)
{
	struct bench b;
	char buf[8];

	begin(&b);
	say(&b, GP_STDOUT, "one", 3);
	say(&b, GP_STDERR, "two", 3);
	say_exit(&b, 7 << 8);
	CHECK(over(&b, 5000));
	CHECK_INT(b.r, 0);
	CHECK_INT(b.status, 7 << 8);
	CHECK_INT(read(b.out, buf, sizeof(buf)), 3);
	CHECK(memcmp(buf, "one", 3) == 0);
	CHECK_INT(read(b.err, buf, sizeof(buf)), 3);
	CHECK_INT(read(b.out, buf, sizeof(buf)), 0); /* and their ends */
}

TEST(input_waits_until_the_process_is_there)
{
	struct gp_header h;
	struct bench b;
	char buf[64];

	begin(&b);
	CHECK_INT(write(b.in, "early", 5), 5);
	CHECK(!over(&b, 50));
	CHECK_INT(recv(b.sock, buf, 1, MSG_DONTWAIT), -1);
	pump_go(b.p);
	CHECK_INT(hear(&b, &h, buf, sizeof(buf)), GP_STDIN);
	CHECK_INT(h.length, 5);
	close(b.in);
	CHECK_INT(hear(&b, &h, buf, sizeof(buf)), GP_STDIN);
	CHECK_INT(h.length, 0);
	say_exit(&b, 0);
	CHECK(over(&b, 5000));
}

static void *fill(void *arg)
{
	static const char data[8192];
	size_t total = 0;

	while (total < 4 * GP_WINDOW) {
		ssize_t n = write(*(int *)arg, data, sizeof(data));

		if (n <= 0)
			break;
		total += (size_t)n;
	}
	return NULL;
}

/* Without credit no more than a window is taken from who writes. */
TEST(input_stops_at_the_credit)
{
	static char buf[GP_MAX_DATA];
	struct gp_header h;
	size_t total = 0;
	struct bench b;
	pthread_t id;

	begin(&b);
	pthread_create(&id, NULL, fill, &b.in);
	pump_go(b.p);
	while (total < GP_WINDOW && hear(&b, &h, buf, sizeof(buf)) == GP_STDIN)
		total += h.length;
	CHECK_INT(total, GP_WINDOW);
	CHECK(!over(&b, 100));
	CHECK_INT(recv(b.sock, buf, 1, MSG_DONTWAIT), -1);
	say(&b, GP_CREDIT, &(struct gp_credit){ 0, 100 }, sizeof(struct gp_credit));
	total = 0;
	while (total < 100 && hear(&b, &h, buf, sizeof(buf)) == GP_STDIN)
		total += h.length;
	CHECK_INT(total, 100);
	/* nobody reads there any more: who writes learns of it */
	signal(SIGPIPE, SIG_IGN);
	say(&b, GP_CREDIT, &(struct gp_credit){ 0, 0 }, sizeof(struct gp_credit));
	pthread_join(id, NULL);
	say_exit(&b, 0);
	CHECK(over(&b, 5000));
}

/* Credit comes back for what is written, and only then; not for little. */
TEST(output_is_granted_when_it_is_written)
{
	static char data[GP_MAX_DATA];
	struct gp_header h;
	struct gp_credit c;
	size_t granted = 0, got = 0;
	struct bench b;

	begin(&b);
	for (unsigned i = 0; i < GP_WINDOW / GP_MAX_DATA; i++)
		say(&b, GP_STDOUT, data, sizeof(data));
	CHECK(!over(&b, 100)); /* the pipe holds 64 KiB of it */
	while (got < GP_WINDOW) {
		ssize_t n = read(b.out, data, sizeof(data));

		CHECK(n > 0);
		got += (size_t)n;
	}
	while (granted <= GP_WINDOW - GP_GRANT) {
		CHECK_INT(hear(&b, &h, &c, sizeof(c)), GP_CREDIT);
		CHECK_INT(c.stream, 1);
		CHECK(c.bytes >= GP_GRANT);
		granted += c.bytes;
	}
	CHECK(granted <= GP_WINDOW);
	say(&b, GP_STDERR, data, 100);
	CHECK_INT(read(b.err, data, sizeof(data)), 100);
	CHECK(!over(&b, 50));
	CHECK_INT(recv(b.sock, data, 1, MSG_DONTWAIT), -1);
	say_exit(&b, 0);
	CHECK(over(&b, 5000));
}

TEST(the_end_waits_for_the_last_byte)
{
	static char data[GP_MAX_DATA];
	size_t got = 0;
	struct bench b;
	ssize_t n;

	begin(&b);
	for (unsigned i = 0; i < GP_WINDOW / GP_MAX_DATA; i++)
		say(&b, GP_STDOUT, data, sizeof(data));
	say_exit(&b, 0);
	CHECK(!over(&b, 100));
	while ((n = read(b.out, data, sizeof(data))) > 0)
		got += (size_t)n;
	CHECK_INT(got, GP_WINDOW);
	CHECK(over(&b, 5000));
}

TEST(a_reader_that_went_is_told_to_the_process)
{
	struct gp_header h;
	struct gp_credit c;
	struct bench b;

	signal(SIGPIPE, SIG_IGN);
	begin(&b);
	close(b.out);
	say(&b, GP_STDOUT, "x", 1);
	CHECK_INT(hear(&b, &h, &c, sizeof(c)), GP_CREDIT);
	CHECK_INT(c.stream, 1);
	CHECK_INT(c.bytes, 0);
	say_exit(&b, 0);
	CHECK(over(&b, 5000));
}

TEST(a_machine_that_went)
{
	struct bench b;

	begin(&b);
	close(b.sock);
	CHECK(over(&b, 5000));
	CHECK_INT(b.r, -ECONNRESET);
}

TEST(signals_and_sizes)
{
	struct winsize ws = { .ws_row = 24, .ws_col = 80 };
	int tty = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct gp_signal s;
	struct gp_winsize w;
	struct gp_header h;
	struct bench b;

	begin(&b);
	pump_signal(b.p, SIGTERM);
	CHECK_INT(hear(&b, &h, &s, sizeof(s)), GP_SIGNAL);
	CHECK_INT(s.number, SIGTERM);
	CHECK_INT(h.seq, 0);
	CHECK_INT(ioctl(tty, TIOCSWINSZ, &ws), 0);
	pump_winsize(b.p, tty);
	CHECK_INT(hear(&b, &h, &w, sizeof(w)), GP_WINSIZE);
	CHECK(w.rows == 24 && w.columns == 80);
	say_exit(&b, 0);
	CHECK(over(&b, 5000));
	close(tty);
}

static int refuse(void *arg, struct err *e)
{
	return err_set(e, EPERM, "no");
}

TEST(threads_that_cannot_be_jailed_do_nothing)
{
	struct pump_config c = {
		.sock = -EBADF, .fds = { -EBADF, -EBADF, -EBADF }, .prepare = refuse
	};
	struct err e = ERR_INIT;
	struct pump *p;

	CHECK_INT(pump_start(&c, &p, &e), -EPERM);
}

TEST_MAIN(T(both_outputs_and_the_status), T(input_waits_until_the_process_is_there),
    T(input_stops_at_the_credit), T(output_is_granted_when_it_is_written),
    T(the_end_waits_for_the_last_byte), T(a_reader_that_went_is_told_to_the_process),
    T(a_machine_that_went), T(signals_and_sizes), T(threads_that_cannot_be_jailed_do_nothing))
