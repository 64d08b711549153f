/*
 * The program: options before the verb, the verb with its own, one line about an error.
 *
 *   1. stdin, stdout and stderr exist, so that no file of ours becomes one of them
 *   2. the whole command line is parsed; nothing is opened before the verb's check
 *   3. the log is opened, so that engines learn of the errors of step 2 as well
 *   4. verbs that start a process in a container: program sealed (it goes on from a memfd that
 *      nothing inside can write to), kernel checked
 *   5. the verb runs
 */
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/kernel.h"
#include "base/log.h"
#include "base/str.h"
#include "runtime/cli.h"
#include "runtime/lifecycle.h"
#include "runtime/seal.h"

enum action { ACT_RUN, ACT_HELP, ACT_VERSION };

/* What the command line says. Static, so that it lives until the process ends. */
static struct call {
	struct globals g;
	enum action action;
	const struct verb *verb; /* NULL: none named */
	void *opts;
	int argc;
	char **argv;
} call;

static int open_stdio(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return -errno;
	return 0;
}

static int check_arg_count(const struct verb *v, int n, struct err *e)
{
	bool few = n < v->min_args;
	int limit = few ? v->min_args : v->max_args;
	const char *how = v->min_args == v->max_args ? "exactly" : few ? "at least" : "at most";

	if (!few && (v->max_args < 0 || n <= v->max_args))
		return 0;
	if (limit == 0)
		return err_set(e, EINVAL, "\"bailey %s\" takes no arguments", v->name);
	return err_set(e, EINVAL,
	    "\"bailey %s\" requires %s %d argument%s, %d given (usage: bailey %s [OPTION...] %s)",
	    v->name, how, limit, limit == 1 ? "" : "s", n, v->name, v->args);
}

/* argc, argv: the verb's name and what follows it. */
static int parse_verb(struct call *c, int argc, char **argv, struct err *e)
{
	const struct verb *v = verb_find(argv[0]);
	int r;

	if (!v)
		return err_set(e, EINVAL, "unknown command \"%s\": see \"bailey --help\"", argv[0]);
	c->verb = v;
	c->opts = xcalloc(1, v->opts_size + 1);
	r = cli_parse(v->opts, c->opts, argc - 1, argv + 1, v->options_first, e);
	if (r == CLI_HELP)
		c->action = ACT_HELP;
	if (r == CLI_HELP)
		return 0;
	if (r < 0)
		return err_wrap(e, "%s", v->name);
	c->argc = argc - 1 - r;
	c->argv = argv + 1 + r;
	return check_arg_count(v, c->argc, e);
}

static int parse(struct call *c, int argc, char **argv, struct err *e)
{
	int r = globals_parse(&c->g, argc - 1, argv + 1, e);

	if (r < 0 && r != CLI_HELP)
		return r;
	if (r == CLI_HELP || r == argc - 1)
		c->action = c->g.version ? ACT_VERSION : ACT_HELP;
	else if (c->g.version)
		c->action = ACT_VERSION;
	else
		r = parse_verb(c, argc - 1 - r, argv + 1 + r, e);
	if (r < 0 && r != CLI_HELP)
		return r;
	c->g.program = argv[0];
	if (c->action != ACT_RUN)
		return 0;
	r = globals_derive(&c->g, e);
	if (r == 0 && c->verb->check)
		r = c->verb->check(c->opts, e);
	return r;
}

static int start_log(const struct globals *g, struct err *e)
{
	enum log_level level;
	int r;

	if (!streq(g->log_format, "text") && !streq(g->log_format, "json"))
		return err_set(e, EINVAL, "--log-format %s: must be text or json", g->log_format);
	r = log_open(g->log && *g->log ? g->log : NULL,
	    streq(g->log_format, "json") ? LOG_JSON : LOG_TEXT, g->debug, e);
	if (r < 0 || !g->log_level || g->debug)
		return r;
	if (log_parse_level(g->log_level, &level) < 0)
		return err_set(
		    e, EINVAL, "--log-level %s: must be error, warning or debug", g->log_level);
	log_set_level(level);
	return 0;
}

static int run(struct call *c, char **argv, struct err *e)
{
	int r = 0;

	if (c->verb->sealed) {
		c->g.program_dir = host_program_dir(argv[0]);
		r = seal_self(argv, e);
		if (r == 0)
			r = kernel_require(e);
	}
	return r < 0 ? r : c->verb->run(&c->g, c->opts, c->argc, c->argv, e);
}

static int print_text(const struct call *c)
{
	if (c->action == ACT_VERSION)
		help_version(stdout);
	else if (c->verb)
		help_verb(stdout, c->verb);
	else
		help_program(stdout);
	return 0;
}

/* What did not reach its reader (a full disk, say) is no success. */
static int flush_stdout(struct err *e)
{
	if (fflush(stdout) < 0 || ferror(stdout))
		return err_errno(e, errno ? errno : EIO, "write standard output");
	return 0;
}

static int fail(const struct call *c, const struct err *e)
{
	log_error("%s", *e->msg ? e->msg : strerror(e->code ? e->code : EIO));
	if (e->exit)
		return e->exit;
	return c->verb && c->verb->error_exit ? c->verb->error_exit : 1;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT, log_error_ = ERR_INIT;
	int r, parsed;

	if (argc < 1 || open_stdio() < 0)
		return 1;
	/* Most commands need less than this: the heap grows once, and never shrinks to grow again.
	 */
	mallopt(M_TOP_PAD, 256 * 1024);
	mallopt(M_TRIM_THRESHOLD, 64 * 1024 * 1024);
	/* A caller that ignores its children's ends must not make ours unwaitable. */
	signal(SIGCHLD, SIG_DFL);
	parsed = parse(&call, argc, argv, &e);
	r = start_log(&call.g, &log_error_);
	if (parsed < 0)
		return fail(&call, &e);
	if (r < 0)
		return fail(&call, &log_error_);
	r = call.action == ACT_RUN ? run(&call, argv, &e) : print_text(&call);
	if (r >= 0 && flush_stdout(&e) < 0)
		r = -e.code;
	return r < 0 ? fail(&call, &e) : r;
}
