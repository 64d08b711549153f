/* overlayfs as a root, the way of today's kernels and that of those before Linux 6.7. */
#include "tests/unit/namespaces/sandbox.h"

#include "base/str.h"
#include "base/sys.h"
#include "namespaces/overlay.h"

static char *const lowers[] = { SANDBOX "/top", SANDBOX "/middle", SANDBOX "/base", NULL };

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0644);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

static void make_layers(void)
{
	static const char *const dirs[] = { SANDBOX "/top", SANDBOX "/middle", SANDBOX "/base",
		SANDBOX "/upper", SANDBOX "/work" };

	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs); i++)
		CHECK_INT(mkdir(dirs[i], 0755), 0);
	put(SANDBOX "/base/a", "base");
	put(SANDBOX "/middle/a", "middle");
	put(SANDBOX "/top/a", "top");
	put(SANDBOX "/base/b", "base");
	put(SANDBOX "/middle/b", "middle");
}

static void check_file(int fd, const char *name, const char *want)
{
	char buf[32] = "";
	int f = openat(fd, name, O_RDONLY);

	CHECK(f >= 0 && read(f, buf, sizeof(buf) - 1) >= 0);
	CHECK_STR(buf, want);
	close(f);
}

static void both(bool old)
{
	struct overlay o = { .lowers = lowers };
	struct err e = ERR_INIT;
	char before[200], after[200];
	int fd;

	make_layers();
	CHECK(getcwd(before, sizeof(before)) != NULL);
	fd = overlay_open_as(&o, old, &e);
	CHECK_STR(e.msg, "");
	check_file(fd, "a", "top");
	check_file(fd, "b", "middle");
	CHECK_INT(openat(fd, "new", O_WRONLY | O_CREAT, 0644), -1);
	close(fd);

	o.upper = SANDBOX "/upper";
	o.work = SANDBOX "/work";
	fd = overlay_open_as(&o, old, &e);
	CHECK_STR(e.msg, "");
	CHECK_INT(close(openat(fd, "new", O_WRONLY | O_CREAT, 0644)), 0);
	CHECK_INT(unlinkat(fd, "a", 0), 0);
	close(fd);
	CHECK_INT(access(SANDBOX "/upper/new", F_OK), 0);
	CHECK_INT(access(SANDBOX "/top/a", F_OK), 0);
	CHECK(getcwd(after, sizeof(after)) != NULL);
	CHECK_STR(after, before);
}

static void today_body(int rootfd)
{
	both(false);
}
static void before_body(int rootfd)
{
	both(true);
}

static void errors_body(int rootfd)
{
	char *missing[] = { SANDBOX "/nothing", SANDBOX "/nothing-either", NULL };
	char name[300];
	char *longer[] = { name, name, NULL };
	char *many[200];
	struct overlay o = { .lowers = missing };
	struct err e = ERR_INIT;

	CHECK_INT(overlay_open_as(&o, false, &e), -ENOENT);
	CHECK_HAS(e.msg, SANDBOX "/nothing");
	CHECK_INT(overlay_open_as(&o, true, &e), -ENOENT);
	memset(name, 'x', sizeof(name) - 1);
	name[0] = '/';
	name[sizeof(name) - 1] = '\0';
	o.lowers = longer;
	CHECK_INT(overlay_open_as(&o, false, &e), -ENAMETOOLONG);
	CHECK(strstr(e.msg, "shorter path") || strstr(e.msg, "open layer")); /* old kernels */
	for (size_t i = 0; i + 1 < sizeof(many) / sizeof(*many); i++)
		many[i] = "/";
	many[199] = NULL;
	o.lowers = many;
	CHECK_INT(overlay_open_as(&o, true, &e), -E2BIG);
	CHECK_HAS(e.msg, "flat");
}

TEST(today)
{
	in_sandbox(0, today_body);
}
TEST(before_linux_6_5)
{
	in_sandbox(0, before_body);
}
TEST(errors)
{
	in_sandbox(0, errors_body);
}

TEST_MAIN(T(today), T(before_linux_6_5), T(errors))
