/* What exec runs: the configuration's process with the flags applied. */
#include <errno.h>
#include <stdlib.h>

#include "runtime/exec.h"
#include "tests/unit/test.h"

#define CONFIG                                                                                     \
	"{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"process\":{\"cwd\":\"/"             \
	"here\",\"args\":[\"a\"],"                                                                 \
	"\"env\":[\"A=1\"],\"terminal\":true,\"user\":{\"uid\":5,\"gid\":6,\"additionalGids\":[7]" \
	"},"                                                                                       \
	"\"capabilities\":{\"bounding\":[\"CAP_KILL\"]},\"oomScoreAdj\":9},"                       \
	"\"linux\":{\"namespaces\":[{\"type\":\"mount\"}]}}"

static struct spec *config(void)
{
	struct err e = ERR_INIT;
	struct spec *s = NULL;

	CHECK_INT(spec_parse("config.json", "/b", CONFIG, strlen(CONFIG), &s, &e), 0);
	return s;
}

TEST(inherits)
{
	_cleanup_spec_ struct spec *s = config();
	struct exec_opts o = { 0 };
	struct spec_process p;
	struct err e = ERR_INIT;

	CHECK_INT(exec_process(s->arena, s, &o, (char *[]){ "cmd", "x", NULL }, &p, &e), 0);
	CHECK_INT(p.args.n, 2);
	CHECK_STR(p.args.v[0], "cmd");
	CHECK(!p.args.v[2] && !p.terminal);
	CHECK_STR(p.cwd, "/here");
	CHECK(p.user.uid == 5 && p.user.gid == 6 && p.oom_score_adj.v == 9);
	CHECK_INT(p.caps.bounding, 1 << 5);
}

TEST(flags_override)
{
	_cleanup_spec_ struct spec *s = config();
	struct exec_opts o = { .user = "1",
		.cwd = "/there",
		.env = (char *[]){ "B=2", NULL },
		.caps = (char *[]){ "CAP_CHOWN", NULL },
		.additional_gids = (char *[]){ "8", NULL },
		.tty = true,
		.no_new_privs = true };
	struct spec_process p;
	struct err e = ERR_INIT;

	CHECK_INT(exec_process(s->arena, s, &o, (char *[]){ "cmd", NULL }, &p, &e), 0);
	CHECK(p.user.uid == 1 && p.user.gid == 6); /* -u 1 is uid 1, never 0:0 */
	CHECK(p.terminal && p.no_new_privileges);
	CHECK_STR(p.cwd, "/there");
	CHECK_STR(p.env.v[1], "B=2");
	CHECK(p.user.additional_gids.n == 2 && p.user.additional_gids.v[1] == 8);
	CHECK_INT(p.caps.effective, 1);
	CHECK_INT(p.caps.permitted, 1);
	CHECK_INT(p.caps.bounding, 1 | 1 << 5);
	CHECK(p.caps.inheritable == 0 && p.caps.ambient == 0);
	CHECK_INT(s->process.user.uid, 5); /* the configuration stays */
}

TEST(refusals)
{
	_cleanup_spec_ struct spec *s = config();
	const struct {
		struct exec_opts o;
		const char *says;
	} rows[] = { { { .user = "root" }, "--user \"root\"" },
		{ { .user = "1:" }, "--user \"1:\"" },
		{ { .cwd = "x" }, "--cwd \"x\": must be an absolute path" },
		{ { .env = (char *[]){ "A", NULL } }, "--env \"A\"" },
		{ { .env = (char *[]){ "=A", NULL } }, "--env \"=A\"" },
		{ { .caps = (char *[]){ "CAP_X", NULL } }, "--cap \"CAP_X\"" },
		{ { .additional_gids = (char *[]){ "-1", NULL } }, "--additional-gids \"-1\"" },
		{ { .additional_gids = (char *[]){ "4294967295", NULL } }, "--additional-gids" },
		{ { .process = "/dev/null" }, "no command may follow" } };
	struct spec_process p = { .cwd = "untouched" };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err e = ERR_INIT;

		CHECK_INT(exec_process(s->arena, s, &rows[i].o, (char *[]){ "cmd", NULL }, &p, &e),
		    -EINVAL);
		CHECK_HAS(e.msg, rows[i].says);
	}
	struct exec_opts nothing = { 0 };
	struct err e = ERR_INIT;

	CHECK_INT(exec_process(s->arena, s, &nothing, (char *[]){ NULL }, &p, &e), -EINVAL);
	CHECK_HAS(e.msg, "a command, or --process FILE, is needed");
	CHECK_STR(p.cwd, "untouched");
}

TEST_MAIN(T(inherits), T(flags_override), T(refusals))
