#include "base/log.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"
#include "tests/unit/test.h"

/* Each case runs in a child, because the log is the process's; its stderr is collected in `err`. */
static char dir[] = "/tmp/bailey-test-log-XXXXXX", *out, *logged;

static void capture(void (*fn)(const char *log))
{
	_cleanup_free_ char *errfile = xasprintf("%s/err", dir), *log = xasprintf("%s/log", dir);
	struct err e = ERR_INIT;
	int status;
	pid_t pid;

	unlink(log);
	pid = fork();
	if (!pid) {
		dup2(open(errfile, O_WRONLY | O_CREAT | O_TRUNC, 0600), 2);
		fn(log);
		_exit(0);
	}
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(status, 0);
	free(out);
	free(logged);
	out = logged = NULL;
	CHECK_INT(file_read(AT_FDCWD, errfile, 1 << 20, &out, NULL, &e), 0);
	if (access(log, F_OK) == 0)
		CHECK_INT(file_read(AT_FDCWD, log, 1 << 20, &logged, NULL, &e), 0);
}

TEST(setup)
{
	CHECK(mkdtemp(dir));
}

static void all_levels(void)
{
	log_debug("d %d", 1);
	log_warning("w %d", 2);
	log_error("e %d", 3);
}

static void fn_plain(const char *log)
{
	struct err e = ERR_INIT;

	if (log_open(NULL, LOG_TEXT, false, &e) || log_fd() != -EBADF || log_debug_enabled())
		_exit(1);
	all_levels();
}
TEST(stderr_gets_errors_and_warnings)
{
	capture(fn_plain);
	CHECK_STR(out, "bailey: warning: w 2\nbailey: e 3\n");
	CHECK(!logged);
}

static void fn_debug(const char *log)
{
	struct err e = ERR_INIT;

	if (log_open(NULL, LOG_TEXT, true, &e) || !log_debug_enabled())
		_exit(1);
	all_levels();
	log_mute();
	all_levels();
	if (log_debug_enabled())
		_exit(1);
}
TEST(debug_and_mute)
{
	capture(fn_debug);
	CHECK_STR(out, "bailey: debug: d 1\nbailey: warning: w 2\nbailey: e 3\n");
}

static void fn_json(const char *log)
{
	struct err e = ERR_INIT;

	if (log_open(log, LOG_JSON, false, &e) || !(fcntl(log_fd(), F_GETFD) & FD_CLOEXEC))
		_exit(1);
	log_debug("quiet");
	log_warning("only on stderr");
	log_error("bad \"%s\"\n\xff", "name");
}
/* podman unmarshals the whole file as one object */
TEST(json_log_is_one_object)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct json *j = NULL;
	struct err e = ERR_INIT;

	capture(fn_json);
	CHECK_STR(out, "bailey: warning: only on stderr\nbailey: bad \"name\"\\x0a\xff\n");
	CHECK(logged);
	if (!logged)
		return;
	CHECK_INT(json_parse(a, "log", logged, strlen(logged), &j, &e), 0);
	if (!j)
		return;
	CHECK_INT(j->len, 3);
	CHECK_STR(json_get(j, "level")->s, "error");
	CHECK_HAS(json_get(j, "msg")->s, "bad \"name\"\n");
	CHECK(strlen(json_get(j, "time")->s) >= 20 && endswith(json_get(j, "time")->s, "Z"));
	CHECK(strchr(logged, '\n') == logged + strlen(logged) - 1);
}

static void fn_json_stderr(const char *log)
{
	struct err e = ERR_INIT;

	if (log_open(NULL, LOG_JSON, false, &e))
		_exit(1);
	log_error("x");
}
TEST(json_on_stderr_without_log)
{
	capture(fn_json_stderr);
	CHECK_HAS(out, "{\"level\":\"error\",\"msg\":\"x\",\"time\":\"");
}

static void fn_text(const char *log)
{
	struct err e = ERR_INIT;

	if (log_open(log, LOG_TEXT, true, &e))
		_exit(1);
	log_debug("path \"%s\"", "a\nb\x1b[31m");
	log_error("last");
}
TEST(text_log)
{
	capture(fn_text);
	CHECK_STR(out, "bailey: last\n");
	CHECK_HAS(logged, " level=debug msg=\"path \\\"a\\x0ab\\x1b[31m\\\"\"\n");
	CHECK_HAS(logged, " level=error msg=\"last\"\n");
	CHECK(logged && startswith(logged, "time=\"20"));
}

static void fn_level(const char *log)
{
	enum log_level l;
	struct err e = ERR_INIT;

	if (log_open(log, LOG_JSON, false, &e) || log_parse_level("warning", &l))
		_exit(1);
	log_set_level(l);
	all_levels();
	if (log_parse_level("error", &l))
		_exit(1);
	log_set_level(l);
	all_levels();
}
TEST(level)
{
	enum log_level l = LEVEL_DEBUG;

	capture(fn_level);
	CHECK_STR(out, "bailey: warning: w 2\nbailey: e 3\nbailey: e 3\n");
	CHECK_HAS(logged, "{\"level\":\"warning\",\"msg\":\"w 2\"");
	CHECK(logged && !strstr(logged, "debug"));
	CHECK_INT(log_parse_level("Warning", &l), -EINVAL);
	CHECK_INT(log_parse_level("", &l), -EINVAL);
	CHECK_INT(l, LEVEL_DEBUG);
}

static void fn_append(const char *log)
{
	struct err e = ERR_INIT;
	int fd = open(log, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (write(fd, "before\n", 7) != 7 || log_open(log, LOG_TEXT, false, &e))
		_exit(1);
	log_error("after");
}
TEST(file_is_appended)
{
	capture(fn_append);
	CHECK(logged && startswith(logged, "before\ntime="));
}

static void fn_full(const char *log)
{
	struct err e = ERR_INIT;

	if (log_open("/dev/full", LOG_TEXT, false, &e))
		_exit(1);
	errno = 4321;
	log_error("still on stderr");
	if (errno != 4321)
		_exit(1);
}
TEST(full_disk_is_survived_and_errno_kept)
{
	capture(fn_full);
	CHECK_STR(out, "bailey: still on stderr\n");
}

TEST(open_errors)
{
	struct err e = ERR_INIT;
	char longname[128] = "syslog:";

	CHECK_INT(log_open("/nonexistent-dir/log", LOG_TEXT, false, &e), -ENOENT);
	CHECK_STR(e.msg, "--log: open /nonexistent-dir/log: no such file or directory");
	memset(longname + 7, 'a', 100);
	CHECK_INT(log_open(longname, LOG_TEXT, false, &e), -EINVAL);
	CHECK_HAS(e.msg, "longer than 63 bytes");
	CHECK_INT(log_open("journald:a\nPRIORITY=0", LOG_TEXT, false, &e), -EINVAL);
	CHECK_HAS(e.msg, "control character");
	CHECK_INT(log_fd(), -EBADF);
}

TEST(teardown)
{
	_cleanup_free_ char *errfile = xasprintf("%s/err", dir), *log = xasprintf("%s/log", dir);

	unlink(errfile);
	unlink(log);
	free(out);
	free(logged);
	CHECK_INT(rmdir(dir), 0);
}

TEST_MAIN(T(setup), T(stderr_gets_errors_and_warnings), T(debug_and_mute),
    T(json_log_is_one_object), T(json_on_stderr_without_log), T(text_log), T(level),
    T(file_is_appended), T(full_disk_is_survived_and_errno_kept), T(open_errors), T(teardown))
