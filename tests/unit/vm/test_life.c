#include "vm/life.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/test.h"
#include "tests/unit/vm/agent.h"

/* What is tested lives as long as its process, so that leaks cannot be told. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "detect_leaks=0";
}

struct world {
	struct agent a; /* what was sent to the guest; its channel is the life's own */
	struct loop *loop;
	struct life *life;
	struct vm_config vm;
	struct vm_host host;
	int start[2], net[2], out; /* our ends: [1] */
	int created_result;	   /* 1: start at once */
	unsigned created, started;
	struct err not_started;
};

static int on_created(void *arg, struct err *e)
{
	struct world *w = arg;

	w->created++;
	return w->created_result < 0 ? err_set(e, EIO, "not sealed") : w->created_result;
}

static int on_asked(void *arg)
{
	struct world *w = arg;
	char c = 0;

	return recv(w->start[0], &c, 1, 0) == 1 && c == 's';
}

static void on_started(void *arg, const struct err *why)
{
	struct world *w = arg;

	w->started++;
	if (why)
		w->not_started = *why;
}

/* Never freed: its threads live on. */
static struct world *begin(const char *net)
{
	struct world *w = calloc(1, sizeof(*w));
	struct life_config c = { .vm = &w->vm, .send = agent_send, .send_arg = &w->a };
	struct err e = ERR_INIT;
	int out[2];

	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->start), 0);
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, w->net), 0);
	CHECK_INT(pipe2(out, O_CLOEXEC), 0);
	w->out = out[0];
	w->host = (struct vm_host){ .arg = w,
		.created = on_created,
		.asked = on_asked,
		.started = on_started,
		.start_fd = w->start[0] };
	w->vm = (struct vm_config){ .create = "{}",
		.create_len = 3,
		.net = net,
		.net_changes = net ? w->net[0] : -EBADF,
		.stdio = { -EBADF, out[1], -EBADF },
		.tty = -EBADF,
		.control = -EBADF,
		.patience = 2,
		.host = &w->host };
	CHECK_INT(loop_new(&w->loop, &e), 0);
	c.loop = w->loop;
	CHECK_INT(life_new(&c, &w->life, &e), 0);
	return w;
}

static void end(struct world *w)
{
	agent_clear(&w->a);
}

static void run(struct world *w)
{
	struct err e = ERR_INIT;

	while (loop_once(w->loop, 20, &e) > 0 && life_state(w->life) != LIFE_OVER)
		;
}

static void say(struct world *w, enum gp_type type, uint32_t seq, const void *body, size_t n)
{
	const struct gp_header h = { .length = (uint32_t)n, .type = (uint16_t)type, .seq = seq };
	uint8_t frame[256];

	memcpy(frame, &h, sizeof(h));
	if (n)
		memcpy(frame + sizeof(h), body, n);
	life_agent(w->life, frame, sizeof(h) + n);
}

static void greet(struct world *w)
{
	const struct gp_hello h = { .version = GP_VERSION, .cpus = 1 };

	say(w, GP_HELLO, 0, &h, sizeof(h));
}

static void answer(struct world *w, enum gp_type request)
{
	const struct agent_frame *f = agent_got(&w->a, request);

	CHECK(f != NULL);
	if (f)
		say(w, GP_OK, f->h.seq, NULL, 0);
}

static void refuse(struct world *w, enum gp_type request, int code, int exit_code)
{
	const struct agent_frame *f = agent_got(&w->a, request);
	struct {
		struct gp_error g;
		char text[4];
	} body = { { code, exit_code }, "why" };

	CHECK(f != NULL);
	if (f)
		say(w, GP_ERROR, f->h.seq, &body, sizeof(body.g) + 3);
}

static void up_to_running(struct world *w)
{
	greet(w);
	answer(w, GP_CREATE);
	CHECK_INT(send(w->start[1], "s", 1, 0), 1);
	run(w);
	answer(w, GP_START);
	CHECK_INT(life_state(w->life), LIFE_RUNNING);
}

TEST(from_hello_to_exit)
{
	struct err e = ERR_INIT;
	struct world *w;
	char buf[8];
	int status;

	w = begin(NULL);
	CHECK_INT(life_state(w->life), LIFE_BOOT);
	greet(w);
	CHECK_INT(life_state(w->life), LIFE_CREATING);
	CHECK(w->a.n == 3 && w->a.got[0].h.type == GP_TIME && w->a.got[1].h.type == GP_ENTROPY &&
	      w->a.got[2].h.type == GP_CREATE);
	answer(w, GP_CREATE);
	CHECK_INT(w->created, 1);
	CHECK_INT(life_state(w->life), LIFE_CREATED);
	run(w);
	CHECK(!agent_got(&w->a, GP_START)); /* nobody has asked */
	CHECK_INT(send(w->start[1], "x", 1, 0), 1);
	run(w);
	CHECK(!agent_got(&w->a, GP_START)); /* that was not start */
	CHECK_INT(send(w->start[1], "s", 1, 0), 1);
	run(w);
	CHECK_INT(life_state(w->life), LIFE_STARTING);
	answer(w, GP_START);
	CHECK_INT(w->started, 1);
	CHECK_INT(w->not_started.code, 0);
	say(w, GP_STDOUT, 0, "out", 3);
	say(w, GP_EXIT, 0, &(struct gp_exit){ 5 << 8 }, sizeof(struct gp_exit));
	life_machine_ended(w->life, "switched off"); /* no news: the process has ended by itself */
	while (life_state(w->life) != LIFE_OVER)
		run(w);
	CHECK_INT(life_result(w->life, &status, &e), 0);
	CHECK_INT(status, 5 << 8);
	CHECK_INT(read(w->out, buf, sizeof(buf)), 3);
	end(w);
}

TEST(start_at_once)
{
	struct world *w;

	w = begin(NULL);
	w->created_result = 1;
	greet(w);
	answer(w, GP_CREATE);
	CHECK_INT(life_state(w->life), LIFE_STARTING);
	CHECK(agent_got(&w->a, GP_START) != NULL);
	end(w);
}

static void must_fail(struct world *w, int code, const char *why)
{
	struct err e = ERR_INIT;
	int status = -1;

	CHECK_INT(life_state(w->life), LIFE_OVER);
	CHECK_INT(life_result(w->life, &status, &e), -code);
	CHECK_HAS(e.msg, why);
	CHECK_INT(status, -1);
	end(w);
}

TEST(the_agents_refusals)
{
	struct world *w;

	w = begin(NULL);
	greet(w);
	refuse(w, GP_CREATE, ENOENT, 127);
	CHECK_INT(w->created, 0);
	must_fail(w, ENOENT, "why");

	w = begin(NULL);
	w->created_result = 1;
	greet(w);
	answer(w, GP_CREATE);
	refuse(w, GP_START, EACCES, 126);
	CHECK_INT(w->started, 1);
	CHECK_INT(w->not_started.code, EACCES);
	CHECK_INT(w->not_started.exit, 126);
	must_fail(w, EACCES, "why");

	w = begin("{}");
	greet(w);
	refuse(w, GP_NET, EINVAL, 0);
	must_fail(w, EINVAL, "network of the machine: why");
}

TEST(the_hosts_refusal)
{
	struct world *w;

	w = begin(NULL);
	w->created_result = -1;
	greet(w);
	answer(w, GP_CREATE);
	must_fail(w, EIO, "not sealed");
}

TEST(ends_that_nobody_asked_for)
{
	struct world *w;

	w = begin(NULL);
	life_machine_ended(w->life, "triple fault");
	must_fail(w, ECONNRESET, "triple fault");

	w = begin(NULL);
	greet(w);
	life_agent_open(w->life, false);
	must_fail(w, ECONNRESET, "hung up");

	w = begin(NULL);
	w->created_result = 1;
	greet(w);
	answer(w, GP_CREATE);
	say(w, GP_EXIT, 0, &(struct gp_exit){ 0 }, sizeof(struct gp_exit));
	CHECK_INT(w->not_started.code, EPROTO); /* start is told */
	must_fail(w, EPROTO, "before it has started");

	w = begin(NULL);
	up_to_running(w);
	life_machine_ended(w->life, "panic");
	must_fail(w, ECONNRESET, "panic");
}

TEST(silence_is_not_borne_for_ever)
{
	struct world *w;

	w = begin(NULL);
	for (int i = 0; i < 400 && life_state(w->life) != LIFE_OVER; i++)
		run(w);
	must_fail(w, ETIMEDOUT, "its agent has not spoken");
}

TEST(a_created_container_may_wait)
{
	struct world *w;

	w = begin(NULL);
	greet(w);
	answer(w, GP_CREATE);
	for (int i = 0; i < 150; i++)
		run(w);
	CHECK_INT(life_state(w->life), LIFE_CREATED);
	end(w);
}

TEST(signals_go_on_once_it_starts)
{
	struct gp_signal s;
	struct world *w;

	w = begin(NULL);
	greet(w);
	answer(w, GP_CREATE);
	kill(getpid(), SIGTERM);
	run(w);
	CHECK(!agent_got(&w->a, GP_SIGNAL));
	CHECK_INT(send(w->start[1], "s", 1, 0), 1);
	run(w);
	answer(w, GP_START);
	kill(getpid(), SIGUSR1);
	run(w);
	CHECK(agent_got(&w->a, GP_SIGNAL) != NULL);
	if (agent_got(&w->a, GP_SIGNAL)) {
		memcpy(&s, agent_got(&w->a, GP_SIGNAL)->body, sizeof(s));
		CHECK(s.number == SIGUSR1 && !s.all);
	}
	end(w);
}

TEST(network_and_its_changes)
{
	static const uint32_t lengths[] = { 3, 5 };
	const struct agent_frame *f;
	struct world *w;

	w = begin("[0]");
	greet(w);
	f = agent_got(&w->a, GP_NET);
	CHECK(f && f->h.length == 3 && memcmp(f->body, "[0]", 3) == 0);
	answer(w, GP_NET);
	CHECK_INT(send(w->net[1], &lengths[0], 4, 0), 4);
	CHECK_INT(send(w->net[1], "[1", 2, 0), 2);
	run(w);
	CHECK_INT(agent_got(&w->a, GP_NET)->body[1], '0'); /* it has not come whole */
	CHECK_INT(send(w->net[1], "]", 1, 0), 1);
	CHECK_INT(send(w->net[1], &lengths[1], 4, 0), 4);
	CHECK_INT(send(w->net[1], "[234]", 5, 0), 5);
	run(w);
	f = agent_got(&w->a, GP_NET);
	CHECK(f->h.length == 5 && memcmp(f->body, "[234]", 5) == 0);
	end(w);
}

/* What is there when the start is asked for is told before. */
TEST(the_start_waits_for_the_network)
{
	const uint32_t none = 0, three = 3;
	struct world *w;
	char c;

	w = begin("[0]");
	greet(w);
	answer(w, GP_NET);
	answer(w, GP_CREATE);
	CHECK_INT(send(w->start[1], "s", 1, 0), 1);
	run(w);
	CHECK_INT(life_state(w->life), LIFE_STARTING);
	CHECK(!agent_got(&w->a, GP_START));
	CHECK_INT(recv(w->net[1], &c, 1, MSG_DONTWAIT), 1);
	CHECK_INT(send(w->net[1], &three, 4, 0), 4);
	CHECK_INT(send(w->net[1], "[1]", 3, 0), 3);
	run(w);
	CHECK_INT(agent_got(&w->a, GP_NET)->body[1], '1');
	CHECK(!agent_got(&w->a, GP_START));
	CHECK_INT(send(w->net[1], &none, 4, 0), 4);
	run(w);
	CHECK(agent_got(&w->a, GP_START) != NULL);
	answer(w, GP_START);
	CHECK_INT(w->started, 1);
	end(w);

	w = begin("[0]"); /* who would have answered is gone */
	greet(w);
	answer(w, GP_CREATE);
	CHECK_INT(send(w->start[1], "s", 1, 0), 1);
	run(w);
	close(w->net[1]);
	run(w);
	CHECK(agent_got(&w->a, GP_START) != NULL);
	end(w);
}

int main(void)
{
	static const struct test tests[] = { T(from_hello_to_exit), T(start_at_once),
		T(the_agents_refusals), T(the_hosts_refusal), T(ends_that_nobody_asked_for),
		T(silence_is_not_borne_for_ever), T(a_created_container_may_wait),
		T(signals_go_on_once_it_starts), T(network_and_its_changes),
		T(the_start_waits_for_the_network) };
	sigset_t all;
	int bad = 0;

	sigfillset(&all); /* as the monitor, before it has threads */
	sigprocmask(SIG_SETMASK, &all, NULL);
	for (size_t i = 0; i < sizeof(tests) / sizeof(*tests); i++) {
		test_failed = 0;
		tests[i].fn();
		printf("%s %s\n", test_failed ? "not ok" : "ok", tests[i].name);
		bad |= test_failed;
	}
	return bad;
}
