/*
 * Which processes run in the container: those of its cgroup. The table is ps(1)'s own, of which
 * only their lines are let through.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "runtime/container.h"
#include "runtime/verbs.h"
#include "runtime/vm_level.h"

struct ps_opts {
	const char *format;
};

static int compare_pids(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return (x > y) - (x < y);
}

static int print_json(const pid_t *pids, size_t n)
{
	_cleanup_json_gen_ struct json_gen *j = json_gen_new(false);

	json_gen_array(j);
	for (size_t i = 0; i < n; i++)
		json_gen_int(j, pids[i]);
	json_gen_end(j);
	puts(json_gen_text(j, NULL));
	return 0;
}

/* Runs `ps ARGS` with its stdout in a pipe. */
static int start_ps(char *const *args, pid_t *ret_pid, FILE **ret, struct err *e)
{
	_cleanup_free_ char **argv = xcalloc(strv_len(args) + 3, sizeof(*argv));
	int pipefd[2];
	size_t n = 0;
	pid_t pid;

	argv[n++] = (char *)"ps";
	if (!*args)
		argv[n++] = (char *)"-ef";
	while (*args)
		argv[n++] = *args++;
	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return err_errno(e, errno, "pipe");
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (dup2(pipefd[1], STDOUT_FILENO) < 0)
			_exit(126);
		execvp("ps", argv);
		_exit(127);
	}
	close(pipefd[1]);
	if (pid < 0) {
		close(pipefd[0]);
		return err_errno(e, errno, "fork");
	}
	*ret = fdopen(pipefd[0], "r");
	if (!*ret)
		abort();
	*ret_pid = pid;
	return 0;
}

static int end_ps(pid_t pid, struct err *e)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(e, errno, "wait for ps");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return err_set(e, ENOENT,
		    "ps: not found in PATH: install it (Debian: procps) or use --format json");
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return err_set(e, EIO, "ps failed (wait status %#x)", status);
	return 0;
}

/* The n-th word of a line, or NULL. */
static const char *word(const char *line, size_t n)
{
	line += strspn(line, " \t");
	while (n-- && *line) {
		line += strcspn(line, " \t\n");
		line += strspn(line, " \t");
	}
	return *line && *line != '\n' ? line : NULL;
}

static ssize_t pid_column(const char *header)
{
	const char *w;

	for (size_t i = 0; (w = word(header, i)); i++)
		if (strcspn(w, " \t\n") == 3 && startswith(w, "PID"))
			return (ssize_t)i;
	return -1;
}

static bool line_is_ours(const char *line, size_t column, const pid_t *pids, size_t n)
{
	const char *w = word(line, column);
	pid_t pid = w ? (pid_t)strtol(w, NULL, 10) : 0;

	return n && pid > 0 && bsearch(&pid, pids, n, sizeof(pid), compare_pids);
}

/* Reads to the end in any case, so that ps is not ended by a broken pipe. */
static int filter_lines(FILE *f, const pid_t *pids, size_t n, struct err *e)
{
	_cleanup_free_ char *line = NULL;
	ssize_t column = -1;
	size_t cap = 0;
	bool header = true;

	while (getline(&line, &cap, f) >= 0) {
		if (header) {
			column = pid_column(line);
			header = false;
			if (column >= 0)
				fputs(line, stdout);
		} else if (column >= 0 && line_is_ours(line, (size_t)column, pids, n)) {
			fputs(line, stdout);
		}
	}
	if (!header && column < 0)
		return err_set(e, EINVAL,
		    "the output of ps has no PID column: let its options print one (e.g. -o "
		    "pid,args)");
	return 0;
}

static int print_table(char *const *args, const pid_t *pids, size_t n, struct err *e)
{
	_cleanup_fclose_ FILE *f = NULL;
	struct err failed = ERR_INIT;
	pid_t pid = -1;
	int r;

	r = start_ps(args, &pid, &f, e);
	if (r < 0)
		return r;
	r = filter_lines(f, pids, n, e);
	/* ps's own failure explains the missing column */
	if (end_ps(pid, &failed) < 0) {
		*e = failed;
		return -e->code;
	}
	return r;
}

/* ---- of a machine: its own kernel tells ---- */

struct guest_column {
	const char *key, *title;
	int width; /* negative: to the left, as printf(3) has it */
};
static const struct guest_column guest_columns[] = {
	{ "uid", "UID", -8 },
	{ "pid", "PID", 7 },
	{ "ppid", "PPID", 7 },
	{ "tty", "TTY", -7 },
	{ "time", "TIME", 8 },
	{ "cmd", "CMD", 0 },
};

/* Bytes of the guest's that could move a terminal's cursor are not printed. */
static void print_guest_text(const char *s, int width)
{
	_cleanup_free_ char *clean = xstrdup(s);

	for (char *p = clean; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = '?';
	printf("%*s", width, clean);
}

static void print_guest_cell(const struct guest_column *c, const struct json *v)
{
	char buf[32];

	if (streq(c->key, "time") && v && (v->type == JSON_INT || v->type == JSON_DOUBLE)) {
		long t = v->type == JSON_INT ? (long)v->i : (long)v->d;

		snprintf(buf, sizeof(buf), "%02ld:%02ld:%02ld", t / 3600, t / 60 % 60, t % 60);
		print_guest_text(buf, c->width);
	} else if (v && v->type == JSON_INT) {
		snprintf(buf, sizeof(buf), "%lld", (long long)v->i);
		print_guest_text(buf, c->width);
	} else {
		print_guest_text(v && v->type == JSON_STRING ? v->s : "?", c->width);
	}
}

static int print_guest_table(const struct container *c, char *const *args, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_close_ int sock = -EBADF;
	_cleanup_free_ char *text = NULL;
	const struct json *list;
	int r;

	if (*args)
		return err_set(e, ENOTSUP,
		    "options of ps(1) (\"%s\"): the processes are another kernel's (isolation "
		    "level "
		    "vm); execute ps in the container instead",
		    *args);
	sock = vm_connect(c, e);
	r = sock < 0 ? sock : vm_request(sock, GP_PS, NULL, 0, &text, e);
	if (r == 0)
		r = json_parse(a, "the machine's processes", text, strlen(text), &list, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < ARRAY_SIZE(guest_columns); i++)
		printf("%*s%s", guest_columns[i].width, guest_columns[i].title,
		    i + 1 < ARRAY_SIZE(guest_columns) ? " " : "\n");
	if (list->type != JSON_ARRAY)
		return err_set(e, EPROTO, "the machine's processes: no list");
	json_foreach (it, list) {
		for (size_t i = 0; i < ARRAY_SIZE(guest_columns); i++) {
			print_guest_cell(&guest_columns[i],
			    it->type == JSON_OBJECT ? json_get(it, guest_columns[i].key) : NULL);
			putchar(i + 1 < ARRAY_SIZE(guest_columns) ? ' ' : '\n');
		}
	}
	return 0;
}

static int run_ps(const struct globals *g, void *opts, int argc, char **argv, struct err *e)
{
	const struct ps_opts *o = opts;
	bool json = o->format && streq(o->format, "json");
	_cleanup_cgroup_ struct cgroup cg = CGROUP_INIT;
	_cleanup_container_ struct container *c = NULL;
	_cleanup_free_ pid_t *pids = NULL;
	enum status st;
	size_t n = 0;
	int r;

	if (o->format && !json && !streq(o->format, "table"))
		return err_set(e, EINVAL, "--format %s: must be table or json", o->format);
	r = container_open(g, argv[0], OPEN_UNLOCKED, &c, e);
	if (r == 0)
		r = container_status(c, &st, e);
	if (r == 0)
		r = status_check(c, EV_PS, st, e);
	if (r == 0 && c->vm && !json)
		return print_guest_table(c, argv + 1, e);
	if (r == 0)
		r = container_cgroup(c, &cg, e);
	if (r == 0)
		r = cgroup_pids(&cg, &pids, &n, e);
	if (r < 0)
		return r;
	if (n)
		qsort(pids, n, sizeof(*pids), compare_pids);
	return json ? print_json(pids, n) : print_table(argv + 1, pids, n, e);
}

static const struct opt ps_opts[] = {
	{ "format", 'f', OPT_STR, offsetof(struct ps_opts, format), "FORMAT",
	    "table (default) or json: an array of process IDs as the host sees them" },
	{ 0 },
};

const struct verb verb_ps = {
	.name = "ps",
	.args = "CONTAINER [PS OPTION...]",
	.summary = "show the processes that run in a container",
	.detail =
	    "The table comes from ps(1), with -ef or the options given behind CONTAINER; they "
	    "must leave a PID column in it. Of a container in a machine (isolation level vm) the "
	    "table "
	    "is the machine's own; json are the processes that stand for it on the host.",
	.examples = "bailey ps web\nbailey ps web -o pid,pcpu,args\nbailey ps --format json web",
	.opts = ps_opts,
	.opts_size = sizeof(struct ps_opts),
	.min_args = 1,
	.max_args = -1,
	.options_first = true,
	.error_exit = 1,
	.run = run_ps,
};
