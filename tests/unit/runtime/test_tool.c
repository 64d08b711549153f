#include "runtime/tool.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/unit/test.h"

static struct err e;

static int run(const char *script, struct tool t)
{
	char *const argv[] = { (char *)"sh", (char *)"-c", (char *)script, NULL };

	e = (struct err)ERR_INIT;
	t.name = "sh";
	t.package = "dash";
	t.argv = argv;
	return tool_run(&t, &e);
}

static const struct tool plain = { .fd = -EBADF, .cap = -1 };

TEST(its_end)
{
	CHECK_INT(run("exit 0", plain), 0);
	CHECK_INT(run("echo one; printf 'two\\n\\001' >&2; exit 3", plain), -EIO);
	CHECK_STR(e.msg, "sh: exit code 3: one two");
	CHECK_INT(run("kill -9 $$", plain), -EIO);
	CHECK_HAS(e.msg, "killed by signal 9");
	/* Much output is neither waited for in vain nor kept. */
	CHECK_INT(
	    run("i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done; exit 1", plain),
	    -EIO);
	CHECK_HAS(e.msg, "line 19999");
}

TEST(not_there)
{
	char *const argv[] = { (char *)"no-such-tool", NULL };
	struct tool t = plain;

	e = (struct err)ERR_INIT;
	t.name = "no-such-tool";
	t.package = "no-such-package";
	t.argv = argv;
	CHECK_INT(tool_run(&t, &e), -ENOENT);
	CHECK_STR(e.msg, "no-such-tool is not installed (Debian: apt install no-such-package)");
}

/* Where PATH is nothing, the system's directories are looked at. */
TEST(without_path)
{
	CHECK_INT(unsetenv("PATH"), 0);
	CHECK_INT(run("exit 0", plain), 0);
	CHECK_INT(setenv("PATH", "/nowhere", 1), 0);
	CHECK_INT(run("ls / >/dev/null", plain), 0);
}

TEST(what_it_is_left_with)
{
	CHECK_INT(run("exec grep NoNewPrivs /proc/self/status && false", plain), 0);
	CHECK_INT(run("! grep -q 'NoNewPrivs:.1' /proc/self/status", plain), -EIO);
	CHECK_INT(run("grep -q 'CapEff:.0*$' /proc/self/status", plain), 0);
	CHECK_INT(run("read x", plain), -EIO); /* no input */
	CHECK_INT(run("[ $(ls /proc/self/fd | wc -l) -le 4 ]", plain), 0);
	CHECK_INT(run("[ \"$LC_ALL\" = C ]", plain), 0);
}

TEST(descriptor_and_size)
{
	char path[] = "/tmp/bailey-tool-XXXXXX";
	struct tool t = plain;
	struct stat st;

	t.fd = mkstemp(path);
	CHECK(t.fd >= 0);
	unlink(path);
	CHECK_INT(run("echo x >&3", t), 0);
	CHECK(fstat(t.fd, &st) == 0 && st.st_size == 2);
	t.size = 4096;
	CHECK_INT(run("exec dd if=/dev/zero bs=1024 count=100 >&3", t), -EFBIG);
	CHECK_HAS(e.msg, "larger than 4096 bytes");
	close(t.fd);
}

static int refuse(void *arg, struct err *why)
{
	return err_set(why, EPERM, "%s", (const char *)arg);
}

TEST(preparation)
{
	struct tool t = plain;

	t.prepare = refuse;
	t.arg = (void *)"not today";
	CHECK_INT(run("exit 0", t), -EIO);
	CHECK_HAS(e.msg, "not today");
}

TEST_MAIN(T(its_end), T(not_there), T(without_path), T(what_it_is_left_with),
    T(descriptor_and_size), T(preparation))
