#include "tests/unit/namespaces/sandbox.h"

#include <grp.h>
#include <poll.h>
#include <sys/prctl.h>

#include "namespaces/namespaces.h"
#include "namespaces/newidmap.h"

/* A child in a new user namespace, which lives until its pipe is closed. */
struct child {
	pid_t pid;
	int hold;
};

static struct child start_child(void)
{
	struct child c = { -1, -1 };
	int hold[2], ready[2];
	char b;

	CHECK(pipe2(hold, O_CLOEXEC) == 0 && pipe2(ready, O_CLOEXEC) == 0);
	fflush(NULL);
	c.pid = fork();
	if (c.pid == 0) {
		struct err e = ERR_INIT;

		close(hold[1]);
		b = unshare(CLONE_NEWUSER) == 0 ? 'y' : 'n';
		if (write(ready[1], &b, 1) != 1 || read(hold[0], &b, 1) != 1)
			_exit(2);
		/* 'r': become root and see whether it is so. */
		_exit(userns_become_root(&e) == 0 && getuid() == 0 && getgid() == 0 &&
			      getgroups(0, NULL) == 0
			  ? 0
			  : 1);
	}
	close(hold[0]);
	c.hold = hold[1];
	CHECK(read(ready[0], &b, 1) == 1 && b == 'y');
	close(ready[0]);
	close(ready[1]);
	return c;
}

/* Lets the child become root; returns its status. */
static int finish_child(struct child *c)
{
	int status = -1;

	CHECK_INT(write(c->hold, "r", 1), 1);
	waitpid(c->pid, &status, 0);
	close(c->hold);
	return status;
}

static const char *proc_file(pid_t pid, const char *name, char *buf, size_t size)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	return slurp(path, buf, size);
}

#define MAPS(name, ...)                                  \
	struct spec_id_map name##_v[] = { __VA_ARGS__ }; \
	struct spec_id_maps name = { name##_v, sizeof(name##_v) / sizeof(name##_v[0]) }

static void privileged_body(int rootfd)
{
	MAPS(uids, { 0, 100000, 1000 }, { 5000, 0, 1 });
	MAPS(gids, { 0, 200000, 10 });
	struct child c = start_child();
	struct err e = ERR_INIT;
	char buf[256];

	CHECK_INT(userns_write_maps(c.pid, &uids, &gids, &e), 0);
	CHECK_STR(e.msg, "");
	CHECK_STR(proc_file(c.pid, "uid_map", buf, sizeof(buf)),
	    "         0     100000       1000\n      5000          0          1\n");
	CHECK_STR(
	    proc_file(c.pid, "gid_map", buf, sizeof(buf)), "         0     200000         10\n");
	CHECK_STR(proc_file(c.pid, "setgroups", buf, sizeof(buf)), "allow\n");
	/* Maps are written once. */
	CHECK_INT(userns_write_maps(c.pid, &uids, &gids, &e), -EPERM);
	CHECK_HAS(e.msg, ".linux.gidMappings");
	CHECK_INT(finish_child(&c), 0);
}
TEST(privileged)
{
	in_sandbox(0, privileged_body);
}

static void empty_body(int rootfd)
{
	MAPS(uids, { 0, 100000, 1000 });
	struct spec_id_maps none = { 0 };
	struct child c = start_child();
	struct err e = ERR_INIT;

	CHECK_INT(userns_write_maps(c.pid, &uids, &none, &e), -EINVAL);
	CHECK_HAS(e.msg, ".linux.gidMappings");
	/* Without a mapping of 0 nobody becomes root. */
	CHECK(finish_child(&c) != 0);
}
TEST(empty_map)
{
	in_sandbox(0, empty_body);
}

static void drop_to(uid_t id)
{
	CHECK_INT(setgroups(0, NULL), 0);
	CHECK_INT(setresgid(id, id, id), 0);
	CHECK_INT(setresuid(id, id, id), 0);
	/* A change of user made /proc/PID root's. */
	CHECK_INT(prctl(PR_SET_DUMPABLE, 1), 0);
}

static void single_body(int rootfd)
{
	MAPS(uids, { 0, 4321, 1 });
	MAPS(gids, { 0, 4321, 1 });
	struct err e = ERR_INIT;
	char buf[256];

	/* Neither helper is needed. */
	CHECK_INT(mount("none", "/usr/bin", "tmpfs", 0, NULL), 0);
	drop_to(4321);
	struct child c = start_child();
	CHECK_INT(userns_write_maps(c.pid, &uids, &gids, &e), 0);
	CHECK_STR(e.msg, "");
	CHECK_STR(proc_file(c.pid, "setgroups", buf, sizeof(buf)), "deny\n");
	CHECK_STR(
	    proc_file(c.pid, "uid_map", buf, sizeof(buf)), "         0       4321          1\n");
	CHECK_INT(finish_child(&c), 0);
}
TEST(single_own_id)
{
	in_sandbox(0, single_body);
}

static void no_helper_body(int rootfd)
{
	MAPS(uids, { 0, 4321, 1 }, { 1, 100000, 10 });
	struct err e = ERR_INIT;

	CHECK_INT(mount("none", "/usr/bin", "tmpfs", 0, NULL), 0);
	drop_to(4321);
	struct child c = start_child();
	CHECK_INT(userns_write_maps(c.pid, &uids, &uids, &e), -ENOENT);
	CHECK_HAS(e.msg, "newgidmap");
	CHECK_HAS(e.msg, "uidmap");
	CHECK(finish_child(&c) != 0);
}
TEST(without_helper)
{
	in_sandbox(0, no_helper_body);
}

/* newuidmap(1) with grants of our own. */
static void helper_body(int rootfd)
{
	MAPS(uids, { 0, 4321, 1 }, { 1, 500000, 100 });
	MAPS(too_much, { 0, 4321, 1 }, { 1, 500000, 101 });
	struct err e = ERR_INIT;
	char buf[256];

	if (access("/usr/bin/newuidmap", X_OK) < 0 || access("/etc/subuid", F_OK) < 0 ||
	    access("/etc/subgid", F_OK) < 0) {
		printf("# SKIP newuidmap is not installed\n");
		return;
	}
	make_file(SANDBOX "/sub", "0:1:1\n4321:500000:100\n");
	make_file(SANDBOX "/passwd", "root:x:0:0::/:/bin/sh\nsub:x:4321:4321::/:/bin/sh\n");
	CHECK_INT(mount(SANDBOX "/sub", "/etc/subuid", NULL, MS_BIND, NULL), 0);
	CHECK_INT(mount(SANDBOX "/sub", "/etc/subgid", NULL, MS_BIND, NULL), 0);
	CHECK_INT(mount(SANDBOX "/passwd", "/etc/passwd", NULL, MS_BIND, NULL), 0);
	drop_to(4321);
	struct child c = start_child();
	setenv("PATH", "/nonexistent", 1);
	CHECK_INT(userns_write_maps(c.pid, &uids, &uids, &e), 0);
	CHECK_STR(e.msg, "");
	CHECK_STR(proc_file(c.pid, "uid_map", buf, sizeof(buf)),
	    "         0       4321          1\n         1     500000        100\n");
	CHECK_INT(finish_child(&c), 0);

	c = start_child();
	CHECK_INT(userns_write_maps(c.pid, &too_much, &too_much, &e), -EPERM);
	CHECK_HAS(e.msg, "host id 500100");
	CHECK_HAS(e.msg, "/etc/subgid");
	CHECK_HAS(e.msg, "newgidmap");
	CHECK_HAS(e.msg, "sub");
	CHECK(finish_child(&c) != 0);
}
TEST(helper)
{
	in_sandbox(0, helper_body);
}

TEST(grants)
{
	static const char text[] =
	    "other:1:4000000\nme:100:10\n77:110:5\nme:x:1\nme:200\nme:300:5:6\n";
	uint32_t id = 0;

	MAPS(ok, { 0, 77, 1 }, { 1, 100, 15 });
	CHECK(!subid_first_missing(text, "me", 77, 77, &ok, &id));
	/* Only those of the name or the number. */
	CHECK(subid_first_missing(text, "you", 77, 77, &ok, &id));
	CHECK_INT(id, 100);
	CHECK(subid_first_missing(text, "me", 78, 77, &ok, &id));
	CHECK_INT(id, 110);
	MAPS(end, { 0, 100, 16 });
	CHECK(subid_first_missing(text, "me", 77, 77, &end, &id));
	CHECK_INT(id, 115);
	MAPS(none, { 0, 4294967290U, 5 });
	CHECK(subid_first_missing("", NULL, 77, 77, &none, &id));
	CHECK_INT(id, 4294967290U);
}

TEST_MAIN(T(privileged), T(empty_map), T(single_own_id), T(without_helper), T(helper), T(grants))
