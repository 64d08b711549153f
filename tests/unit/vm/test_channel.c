#include "vm/channel.h"

#include "tests/unit/test.h"
#include "tests/unit/vm/agent.h"

struct reply {
	unsigned n;
	int type; /* -1: none will come */
	char text[64];
};

static void on_reply(void *arg, const struct gp_header *h, const uint8_t *body)
{
	struct reply *r = arg;

	r->n++;
	r->type = h ? h->type : -1;
	r->text[0] = '\0';
	if (h && h->type == GP_JSON && h->length < sizeof(r->text))
		memcpy(r->text, body, h->length), r->text[h->length] = '\0';
}

static uint32_t ask(struct agent *a, enum gp_type type, struct reply *r)
{
	struct err e = ERR_INIT;

	CHECK_INT(channel_request(a->c, type, 0, NULL, 0, on_reply, r, &e), 0);
	return a->got[a->n - 1].h.seq;
}

TEST(requests_get_their_own_replies)
{
	struct reply start = { 0 }, ps = { 0 };
	struct agent a;
	uint32_t s1, s2;

	agent_init(&a);
	agent_greet(&a);
	CHECK_INT(a.hellos, 1);
	s1 = ask(&a, GP_START, &start);
	s2 = ask(&a, GP_PS, &ps);
	CHECK(s1 && s2 && s1 != s2);
	agent_say(&a, GP_JSON, 0, s2, "[1]", 3);
	CHECK_INT(ps.type, GP_JSON);
	CHECK_STR(ps.text, "[1]");
	CHECK_INT(start.n, 0);
	agent_say(&a, GP_OK, 0, s1, NULL, 0);
	CHECK_INT(start.type, GP_OK);
	CHECK_INT(a.ends, 0);
	agent_free(&a);
}

/* Byte by byte, as a port delivers it at worst. */
TEST(frames_come_in_pieces)
{
	struct gp_header h = { .length = 3, .type = GP_LOG };
	uint8_t frame[sizeof(h) + 3];
	struct agent a;

	agent_init(&a);
	agent_greet(&a);
	memcpy(frame, &h, sizeof(h));
	memcpy(frame + sizeof(h), "abc", 3);
	for (size_t i = 0; i < sizeof(frame); i++) {
		CHECK_INT(a.events, 0);
		channel_input(a.c, frame + i, 1);
	}
	CHECK_INT(a.events, 1);
	agent_free(&a);
}

static void must_end(struct agent *a, const char *why)
{
	CHECK_INT(a->ends, 1);
	CHECK_HAS(a->why.msg, why);
	CHECK_INT(a->why.code, EPROTO);
	agent_greet(a); /* nothing is heard any more */
	agent_say(a, GP_LOG, 0, 0, "x", 1);
	CHECK_INT(a->events, 0);
	CHECK_INT(a->ends, 1);
	agent_free(a);
}

TEST(anything_before_hello_ends_it)
{
	struct agent a;

	agent_init(&a);
	agent_say(&a, GP_LOG, 0, 0, "x", 1);
	CHECK_INT(a.hellos, 0);
	must_end(&a, "before HELLO");
}

TEST(a_second_hello_ends_it)
{
	struct agent a;

	agent_init(&a);
	agent_greet(&a);
	agent_greet(&a);
	CHECK_INT(a.hellos, 1);
	must_end(&a, "once more");
}

TEST(another_version_ends_it)
{
	const struct gp_hello h = { .version = GP_VERSION + 1 };
	struct agent a;

	agent_init(&a);
	agent_say(&a, GP_HELLO, 0, 0, &h, sizeof(h));
	CHECK_INT(a.hellos, 0);
	must_end(&a, "version");
}

TEST(replies_to_nothing_end_it)
{
	struct reply r = { 0 };
	struct agent a;
	uint32_t seq;

	agent_init(&a);
	agent_greet(&a);
	seq = ask(&a, GP_START, &r);
	agent_say(&a, GP_OK, 0, seq + 1, NULL, 0);
	CHECK_INT(r.type, -1);
	must_end(&a, "not made");
}

TEST(a_reply_counts_once)
{
	struct reply r = { 0 };
	struct agent a;
	uint32_t seq;

	agent_init(&a);
	agent_greet(&a);
	seq = ask(&a, GP_START, &r);
	agent_say(&a, GP_OK, 0, seq, NULL, 0);
	agent_say(&a, GP_OK, 0, seq, NULL, 0);
	CHECK_INT(r.n, 1);
	must_end(&a, "not made");
}

TEST(the_wrong_kind_of_reply_ends_it)
{
	struct reply r = { 0 };
	struct agent a;
	uint32_t seq;

	agent_init(&a);
	agent_greet(&a);
	seq = ask(&a, GP_PS, &r);
	agent_say(&a, GP_OK, 0, seq, NULL, 0);
	CHECK_INT(r.type, -1);
	must_end(&a, "another reply");
}

TEST(a_reply_for_another_process_ends_it)
{
	struct reply r = { 0 };
	struct agent a;
	uint32_t seq;

	agent_init(&a);
	agent_greet(&a);
	seq = ask(&a, GP_START, &r);
	agent_say(&a, GP_OK, 7, seq, NULL, 0);
	must_end(&a, "another process");
}

TEST(what_only_the_host_sends_ends_it)
{
	struct agent a;

	agent_init(&a);
	agent_greet(&a);
	agent_say(&a, GP_START, 0, 0, NULL, 0);
	must_end(&a, "START");
}

TEST(lengths_are_checked_before_memory_is_taken)
{
	struct gp_header h = { .length = 0xfffffff0u, .type = GP_JSON, .seq = 1 };
	struct agent a;

	agent_init(&a);
	agent_greet(&a);
	channel_input(a.c, (const uint8_t *)&h, sizeof(h));
	must_end(&a, "bytes");
}

TEST(other_containers_end_it)
{
	struct gp_header h = { .length = 1, .type = GP_LOG, .container = 1 };
	uint8_t frame[sizeof(h) + 1] = { 0 };
	struct agent a;

	agent_init(&a);
	agent_greet(&a);
	memcpy(frame, &h, sizeof(h));
	channel_input(a.c, frame, sizeof(frame));
	must_end(&a, "container 1");
}

TEST(requests_are_bounded)
{
	struct reply r = { 0 };
	struct err e = ERR_INIT;
	struct agent a;

	agent_init(&a);
	agent_greet(&a);
	for (unsigned i = 0; i < CHANNEL_REQUESTS_MAX; i++)
		CHECK_INT(channel_request(a.c, GP_PS, 0, NULL, 0, on_reply, &r, &e), 0);
	CHECK_INT(channel_request(a.c, GP_PS, 0, NULL, 0, on_reply, &r, &e), -EBUSY);
	agent_say(&a, GP_OK, 0, 0, NULL, 0); /* a reply to no request ends it, and tells all */
	CHECK_INT(r.n, CHANNEL_REQUESTS_MAX);
	CHECK_INT(channel_request(a.c, GP_PS, 0, NULL, 0, on_reply, &r, &e), -ECONNRESET);
	agent_free(&a);
}

TEST(forgotten_requests_call_nobody)
{
	struct reply r = { 0 };
	struct agent a;
	uint32_t seq;

	agent_init(&a);
	agent_greet(&a);
	seq = ask(&a, GP_START, &r);
	channel_forget(a.c, &r);
	agent_say(&a, GP_OK, 0, seq, NULL, 0);
	CHECK_INT(r.n, 0);
	CHECK_INT(a.ends, 0);
	agent_free(&a);
}

TEST(errors_are_made_presentable)
{
	struct {
		struct gp_error g;
		char text[16];
	} body = { { .code = ENOENT, .exit = 127 }, "no\nway" };
	struct err e = ERR_INIT;

	CHECK_INT(channel_error((uint8_t *)&body, sizeof(body.g) + 6, &e), -ENOENT);
	CHECK_STR(e.msg, "no?way");
	CHECK_INT(e.exit, 127);
	body.g = (struct gp_error){ .code = -5, .exit = 4711 };
	CHECK_INT(channel_error((uint8_t *)&body, sizeof(body.g), &e), -EIO);
	CHECK_INT(e.exit, 0);
	CHECK(e.msg[0]);
}

TEST_MAIN(T(requests_get_their_own_replies), T(frames_come_in_pieces),
    T(anything_before_hello_ends_it), T(a_second_hello_ends_it), T(another_version_ends_it),
    T(replies_to_nothing_end_it), T(a_reply_counts_once), T(the_wrong_kind_of_reply_ends_it),
    T(a_reply_for_another_process_ends_it), T(what_only_the_host_sends_ends_it),
    T(lengths_are_checked_before_memory_is_taken), T(other_containers_end_it),
    T(requests_are_bounded), T(forgotten_requests_call_nobody), T(errors_are_made_presentable))
