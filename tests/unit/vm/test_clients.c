#include "vm/clients.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "tests/unit/test.h"
#include "tests/unit/vm/agent.h"

struct table {
	struct agent a;
	struct loop *loop;
	struct clients *t;
	int dir, listening;
	char path[64];
	int exit; /* of process 0 */
};

static int on_event(void *arg, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	struct table *k = arg;
	int status, r = clients_event(k->t, h, body, &status, e);

	if (status >= 0)
		k->exit = status;
	return r;
}

static void begin(struct table *k)
{
	struct err e = ERR_INIT;

	memset(k, 0, sizeof(*k));
	k->exit = -1;
	agent_init(&k->a);
	k->a.on_event = on_event;
	k->a.on_event_arg = k;
	agent_greet(&k->a);
	snprintf(k->path, sizeof(k->path), "/tmp/bailey-clients-XXXXXX");
	CHECK(mkdtemp(k->path));
	k->dir = open(k->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	k->listening = unix_listen(SOCK_STREAM | SOCK_NONBLOCK, k->dir, "vm.sock", 0600);
	CHECK(k->listening >= 0);
	CHECK_INT(loop_new(&k->loop, &e), 0);
	CHECK_INT(clients_new(k->loop, k->a.c, k->listening, &k->t, &e), 0);
}

static void end(struct table *k)
{
	clients_free(k->t);
	loop_free(k->loop);
	agent_free(&k->a);
	close(k->listening);
	unlinkat(k->dir, "vm.sock", 0);
	close(k->dir);
	rmdir(k->path);
}

static void run(struct table *k)
{
	struct err e = ERR_INIT;

	while (loop_once(k->loop, 0, &e) > 0)
		;
}

static int dial(struct table *k)
{
	int fd = unix_connect_at(SOCK_STREAM, k->dir, "vm.sock");

	CHECK(fd >= 0);
	run(k);
	return fd;
}

static void tell(
    struct table *k, int fd, enum gp_type type, uint32_t seq, const void *body, size_t n)
{
	struct gp_header h = { .length = (uint32_t)n, .type = (uint16_t)type, .seq = seq };

	CHECK_INT(send(fd, &h, sizeof(h), MSG_NOSIGNAL), sizeof(h));
	if (n)
		CHECK_INT(send(fd, body, n, MSG_NOSIGNAL), (ssize_t)n);
	run(k);
}

/* The next frame that the monitor has sent there; type -1: none, -2: it has hung up. */
static int heard(int fd, struct gp_header *h, void *body, size_t max)
{
	ssize_t n = recv(fd, h, sizeof(*h), MSG_DONTWAIT);

	if (n != sizeof(*h))
		return n == 0 ? -2 : -1;
	CHECK(h->length <= max);
	if (h->length)
		CHECK_INT(recv(fd, body, h->length, MSG_DONTWAIT), h->length);
	CHECK_INT(h->process, 0);
	return h->type;
}

static const struct agent_frame *exec_on(struct table *k, int fd)
{
	const struct agent_frame *f;

	tell(k, fd, GP_EXEC, 5, "{}", 2);
	f = agent_got(&k->a, GP_EXEC);
	CHECK(f && f->h.process && f->h.seq);
	return f;
}

TEST(exec_has_its_streams_and_its_end)
{
	struct gp_header h;
	const struct agent_frame *f;
	char buf[64] = "";
	struct table k;
	uint32_t number;
	int fd;

	begin(&k);
	fd = dial(&k);
	f = exec_on(&k, fd);
	number = f->h.process;
	agent_say(&k.a, GP_OK, number, f->h.seq, NULL, 0);
	CHECK_INT(heard(fd, &h, buf, sizeof(buf)), GP_OK);
	CHECK_INT(h.seq, 5);
	agent_say(&k.a, GP_STDOUT, number, 0, "out", 3);
	CHECK_INT(heard(fd, &h, buf, sizeof(buf)), GP_STDOUT);
	CHECK(memcmp(buf, "out", 3) == 0);
	tell(&k, fd, GP_STDIN, 0, "in", 2);
	f = agent_got(&k.a, GP_STDIN);
	CHECK(f && f->h.process == number && f->h.length == 2);
	agent_say(&k.a, GP_EXIT, number, 0, &(struct gp_exit){ 3 << 8 }, sizeof(struct gp_exit));
	CHECK_INT(heard(fd, &h, buf, sizeof(buf)), GP_EXIT);
	CHECK_INT(k.exit, -1);
	agent_say(&k.a, GP_STDOUT, number, 0, "x", 1);
	CHECK_INT(k.a.ends, 1); /* there is no such process any more */
	close(fd);
	end(&k);
}

TEST(a_refused_exec_is_told_and_gone)
{
	const struct gp_error no = { .code = ENOENT, .exit = 127 };
	const struct agent_frame *f;
	struct gp_header h;
	char buf[64];
	struct table k;
	int fd;

	begin(&k);
	fd = dial(&k);
	f = exec_on(&k, fd);
	agent_say(&k.a, GP_ERROR, f->h.process, f->h.seq, &no, sizeof(no));
	CHECK_INT(heard(fd, &h, buf, sizeof(buf)), GP_ERROR);
	CHECK_INT(h.seq, 5);
	agent_say(&k.a, GP_STDOUT, f->h.process, 0, "x", 1);
	CHECK_INT(k.a.ends, 1);
	close(fd);
	end(&k);
}

TEST(processes_are_told_apart)
{
	uint32_t number[2];
	struct gp_header h;
	char buf[64];
	struct table k;
	int fd[2];

	begin(&k);
	for (int i = 0; i < 2; i++) {
		fd[i] = dial(&k);
		number[i] = exec_on(&k, fd[i])->h.process;
	}
	CHECK(number[0] != number[1]);
	agent_say(&k.a, GP_STDERR, number[1], 0, "b", 1);
	CHECK_INT(heard(fd[0], &h, buf, sizeof(buf)), -1);
	CHECK_INT(heard(fd[1], &h, buf, sizeof(buf)), GP_STDERR);
	close(fd[0]);
	close(fd[1]);
	end(&k);
}

TEST(output_beyond_the_credit_ends_the_machine)
{
	static const uint8_t data[GP_MAX_DATA];
	struct gp_header h;
	static char buf[GP_MAX_DATA];
	struct table k;
	uint32_t number;
	int fd;

	begin(&k);
	fd = dial(&k);
	number = exec_on(&k, fd)->h.process;
	for (unsigned i = 0; i < GP_WINDOW / GP_MAX_DATA; i++) {
		agent_say(&k.a, GP_STDOUT, number, 0, data, sizeof(data));
		CHECK_INT(heard(fd, &h, buf, sizeof(buf)), GP_STDOUT);
	}
	CHECK_INT(k.a.ends, 0);
	/* what the reader has passed on it may grant anew, not more */
	tell(&k, fd, GP_CREDIT, 0, &(struct gp_credit){ 1, 10 }, sizeof(struct gp_credit));
	CHECK(agent_got(&k.a, GP_CREDIT));
	agent_say(&k.a, GP_STDOUT, number, 0, data, 10);
	CHECK_INT(k.a.ends, 0);
	agent_say(&k.a, GP_STDERR, number, 0, data, 10); /* has its own */
	CHECK_INT(k.a.ends, 0);
	agent_say(&k.a, GP_STDOUT, number, 0, data, 1);
	CHECK_INT(k.a.ends, 1);
	CHECK_HAS(k.a.why.msg, "granted");
	close(fd);
	end(&k);
}

TEST(credit_for_what_was_not_read_closes_the_connection)
{
	struct gp_header h;
	char buf[64];
	struct table k;
	int fd;

	begin(&k);
	fd = dial(&k);
	exec_on(&k, fd);
	tell(&k, fd, GP_CREDIT, 0, &(struct gp_credit){ 1, 1 }, sizeof(struct gp_credit));
	CHECK_INT(heard(fd, &h, buf, sizeof(buf)), -2);
	close(fd);
	end(&k);
}

TEST(a_closed_connection_leaves_its_process)
{
	const struct agent_frame *f;
	struct gp_credit credit;
	struct table k;
	uint32_t number, seq;
	int fd;

	begin(&k);
	fd = dial(&k);
	f = exec_on(&k, fd);
	number = f->h.process;
	seq = f->h.seq;
	close(fd); /* before the reply, even */
	run(&k);
	f = agent_got(&k.a, GP_CREDIT);
	CHECK(f && f->h.process == number);
	memcpy(&credit, f->body, sizeof(credit));
	CHECK_INT(credit.bytes, 0);
	f = agent_got(&k.a, GP_STDIN);
	CHECK(f && f->h.process == number && f->h.length == 0);
	agent_say(&k.a, GP_OK, number, seq, NULL, 0);
	agent_say(&k.a, GP_STDOUT, number, 0, "late", 4);
	agent_say(&k.a, GP_EXIT, number, 0, &(struct gp_exit){ 0 }, sizeof(struct gp_exit));
	CHECK_INT(k.a.ends, 0);
	end(&k);
}

TEST(exit_before_the_reply_to_exec)
{
	const struct agent_frame *f;
	struct table k;
	int fd;

	begin(&k);
	fd = dial(&k);
	f = exec_on(&k, fd);
	agent_say(&k.a, GP_EXIT, f->h.process, 0, &(struct gp_exit){ 0 }, sizeof(struct gp_exit));
	agent_say(&k.a, GP_ERROR, f->h.process, f->h.seq, &(struct gp_error){ 1, 1 },
	    sizeof(struct gp_error));
	CHECK_INT(k.a.ends, 0);
	close(fd);
	end(&k);
}

TEST(signals_go_to_the_container_or_to_the_process)
{
	const struct gp_signal all = { .number = 15, .all = 1 }, one = { .number = 2 };
	struct gp_header h;
	char buf[64];
	struct table k;
	int fd;

	begin(&k);
	fd = dial(&k);
	tell(&k, fd, GP_SIGNAL, 9, &all, sizeof(all));
	CHECK_INT(agent_got(&k.a, GP_SIGNAL)->h.process, 0);
	agent_say(&k.a, GP_OK, 0, agent_got(&k.a, GP_SIGNAL)->h.seq, NULL, 0);
	CHECK_INT(heard(fd, &h, buf, sizeof(buf)), GP_OK);
	CHECK_INT(h.seq, 9);
	exec_on(&k, fd);
	tell(&k, fd, GP_SIGNAL, 0, &one, sizeof(one));
	CHECK_INT(agent_got(&k.a, GP_SIGNAL)->h.process, agent_got(&k.a, GP_EXEC)->h.process);
	close(fd);
	end(&k);
}

TEST(what_a_client_may_not_say_closes_it)
{
	static const struct {
		enum gp_type type;
		size_t n;
	} cases[] = { { GP_START, 0 }, { GP_CREATE, 4 }, { GP_STDIN, 1 }, { GP_SHUTDOWN, 0 },
		{ GP_EXIT, 4 }, { GP_NET, 2 }, { GP_TIME, 16 } };
	static const char zeros[64];
	struct gp_header h;
	char buf[64];
	struct table k;

	begin(&k);
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		int fd = dial(&k);

		agent_clear(&k.a);
		tell(&k, fd, cases[i].type, 1, zeros, cases[i].n);
		CHECK_INT(heard(fd, &h, buf, sizeof(buf)), -2);
		CHECK_INT(k.a.n, 0);
		close(fd);
	}
	end(&k);
}

TEST(a_guest_that_takes_nothing_holds_clients_back)
{
	struct table k;
	int fd;

	begin(&k);
	fd = dial(&k);
	exec_on(&k, fd);
	k.a.pretend_queued = 2 << 20;
	tell(&k, fd, GP_STDIN, 0, "a", 1);
	agent_clear(&k.a);
	tell(&k, fd, GP_STDIN, 0, "b", 1);
	CHECK_INT(k.a.n, 0);
	k.a.pretend_queued = 0;
	channel_drained(k.a.c);
	clients_resume(k.t);
	run(&k);
	CHECK(agent_got(&k.a, GP_STDIN) && agent_got(&k.a, GP_STDIN)->body[0] == 'b');
	close(fd);
	end(&k);
}

TEST(the_containers_own_end)
{
	struct gp_header h;
	struct err e = ERR_INIT;
	char buf[64];
	struct table k;
	int pair[2];

	begin(&k);
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	CHECK_INT(clients_add_pump(k.t, pair[0], &e), 0);
	agent_say(&k.a, GP_STDOUT, 0, 0, "hi", 2);
	CHECK_INT(heard(pair[1], &h, buf, sizeof(buf)), GP_STDOUT);
	agent_say(&k.a, GP_EXIT, 0, 0, &(struct gp_exit){ 9 }, sizeof(struct gp_exit));
	CHECK_INT(heard(pair[1], &h, buf, sizeof(buf)), GP_EXIT);
	CHECK_INT(k.exit, 9);
	close(pair[1]);
	end(&k);
}

TEST(an_impossible_wait_status_ends_the_machine)
{
	struct err e = ERR_INIT;
	struct table k;
	int pair[2];

	begin(&k);
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	CHECK_INT(clients_add_pump(k.t, pair[0], &e), 0);
	agent_say(&k.a, GP_EXIT, 0, 0, &(struct gp_exit){ 0x7f }, sizeof(struct gp_exit));
	CHECK_INT(k.exit, -1);
	CHECK_INT(k.a.ends, 1);
	close(pair[1]);
	end(&k);
}

TEST(oom_is_told_to_those_who_asked_for_statistics)
{
	const struct gp_oom oom = { 1 };
	struct gp_header h;
	char buf[64];
	struct table k;
	int asked, other;

	begin(&k);
	asked = dial(&k);
	other = dial(&k);
	tell(&k, asked, GP_STATS, 1, NULL, 0);
	agent_say(&k.a, GP_OOM, 0, 0, &oom, sizeof(oom));
	CHECK_INT(heard(asked, &h, buf, sizeof(buf)), GP_OOM);
	CHECK_INT(heard(other, &h, buf, sizeof(buf)), -1);
	/* who comes later learns how many there were before */
	tell(&k, other, GP_STATS, 1, NULL, 0);
	CHECK_INT(heard(other, &h, buf, sizeof(buf)), GP_OOM);
	CHECK_INT(((const struct gp_oom *)(const void *)buf)->kills, 1);
	tell(&k, other, GP_STATS, 2, NULL, 0);
	CHECK_INT(heard(other, &h, buf, sizeof(buf)), -1);
	close(asked);
	close(other);
	end(&k);
}

TEST_MAIN(T(exec_has_its_streams_and_its_end), T(a_refused_exec_is_told_and_gone),
    T(processes_are_told_apart), T(output_beyond_the_credit_ends_the_machine),
    T(credit_for_what_was_not_read_closes_the_connection),
    T(a_closed_connection_leaves_its_process), T(exit_before_the_reply_to_exec),
    T(signals_go_to_the_container_or_to_the_process), T(what_a_client_may_not_say_closes_it),
    T(a_guest_that_takes_nothing_holds_clients_back), T(the_containers_own_end),
    T(an_impossible_wait_status_ends_the_machine), T(oom_is_told_to_those_who_asked_for_statistics))
