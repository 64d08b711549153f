#include "tests/unit/namespaces/sandbox.h"

#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <time.h>

#include "namespaces/namespaces.h"

/* A child in namespaces of its own, until killed. */
static pid_t start_other(int flags)
{
	int p[2];
	char b = 0;
	pid_t pid;

	CHECK_INT(pipe2(p, O_CLOEXEC), 0);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		b = unshare(flags) == 0 &&
		    (!(flags & CLONE_NEWUTS) || sethostname("other", 5) == 0);
		if (write(p[1], &b, 1) != 1)
			_exit(1);
		for (;;)
			pause();
	}
	CHECK(read(p[0], &b, 1) == 1 && b == 1);
	close(p[0]);
	close(p[1]);
	return pid;
}

static void stop_other(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static void open_join_body(int rootfd)
{
	pid_t pid = start_other(CLONE_NEWUTS | CLONE_NEWIPC);
	_cleanup_ns_set_ struct ns_set n;
	struct spec s = { 0 };
	struct err e = ERR_INIT;
	struct utsname u;
	char uts[64], ipc[64];

	snprintf(uts, sizeof(uts), "/proc/%d/ns/uts", pid);
	snprintf(ipc, sizeof(ipc), "/proc/%d/ns/ipc", pid);
	s.ns[NS_UTS] = (struct spec_ns){ true, uts };
	s.ns[NS_IPC] = (struct spec_ns){ true, ipc };
	s.ns[NS_NET].has = true;
	s.ns[NS_PID].has = true;
	s.ns[NS_USER] = (struct spec_ns){ true, "/proc/self/ns/user" };
	CHECK_INT(ns_open(&s, &n, &e), 0);
	CHECK_STR(e.msg, "");
	CHECK_INT(n.new_flags, CLONE_NEWNET | CLONE_NEWPID);
	CHECK(n.fds[NS_UTS] >= 0 && n.fds[NS_IPC] >= 0);
	CHECK(fcntl(n.fds[NS_UTS], F_GETFD) & FD_CLOEXEC);
	/* Our own user namespace cannot be joined, and need not be. */
	CHECK_INT(n.fds[NS_USER], -EBADF);
	CHECK_INT(n.fds[NS_NET], -EBADF);
	/* The mask holds back. */
	CHECK_INT(ns_join(&n, 1U << NS_IPC, &e), 0);
	CHECK(uname(&u) == 0 && strcmp(u.nodename, "other") != 0);
	CHECK_INT(ns_join(&n, ~0U, &e), 0);
	CHECK_INT(uname(&u), 0);
	CHECK_STR(u.nodename, "other");
	stop_other(pid);
}
TEST(open_and_join)
{
	in_sandbox(0, open_join_body);
}

static void refused_body(int rootfd)
{
	static const struct {
		const char *path;
		int code;
		const char *text;
	} t[] = {
		{ "/proc/self/ns/uts", -EINVAL, "is a uts namespace" },
		{ "/dev/null", -EINVAL, "not a namespace" },
		{ SANDBOX "/file", -EINVAL, "not a namespace" },
		{ SANDBOX "/fifo", -EINVAL, "not a namespace" },
		{ SANDBOX "/missing", -ENOENT, "/missing" },
	};
	_cleanup_ns_set_ struct ns_set n;

	make_file(SANDBOX "/file", "");
	CHECK_INT(mkfifo(SANDBOX "/fifo", 0600), 0);
	alarm(20); /* the fifo must not hang us */
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct spec s = { 0 };
		struct err e = ERR_INIT;

		s.ns[NS_NET] = (struct spec_ns){ true, t[i].path };
		CHECK_INT(ns_open(&s, &n, &e), t[i].code);
		CHECK_HAS(e.msg, ".linux.namespaces (network).path");
		CHECK_HAS(e.msg, t[i].text);
		CHECK_INT(n.fds[NS_NET], -EBADF);
	}
}
TEST(refused)
{
	in_sandbox(0, refused_body);
}

static void process_body(int rootfd)
{
	_cleanup_ns_set_ struct ns_set n;
	struct err e = ERR_INIT;
	char path[64];
	pid_t pid;
	int fd;

	/* unshare(CLONE_NEWPID) moves only its children: the process itself is in ours. */
	pid = start_other(CLONE_NEWNET | CLONE_NEWCGROUP | CLONE_NEWPID);
	snprintf(path, sizeof(path), "/proc/%d", pid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(ns_open_process(fd, &n, &e), 0);
	CHECK_STR(e.msg, "");
	for (int t = 0; t < NS_TYPES; t++) {
		bool differs = t == NS_NET || t == NS_CGROUP;
		CHECK_INT(n.fds[t] >= 0, differs);
	}
	CHECK_INT(n.new_flags, 0);
	stop_other(pid);
	struct ns_set gone;
	CHECK_INT(ns_open_process(fd, &gone, &e), -ESRCH);
	CHECK_HAS(e.msg, "gone");
	CHECK_INT(gone.fds[NS_NET], -EBADF);
	close(fd);
}
TEST(of_a_process)
{
	in_sandbox(0, process_body);
}

static long long clock_secs(clockid_t c)
{
	struct timespec t = { 0 };

	clock_gettime(c, &t);
	return t.tv_sec;
}

static void time_body(int rootfd)
{
	struct spec s = { .monotonic = { { true, 1000000 }, 0 },
		.boottime = { { true, 2000000 }, 5 } };
	int procfd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	long long mono = clock_secs(CLOCK_MONOTONIC), boot = clock_secs(CLOCK_BOOTTIME);
	struct err e = ERR_INIT;
	char before[64] = "", after[64] = "", children[64] = "";

	if (access("/proc/self/ns/time", F_OK) < 0) {
		printf("# SKIP the kernel has no time namespaces\n");
		return;
	}
	CHECK(readlink("/proc/self/ns/time", before, sizeof(before) - 1) > 0);
	CHECK_INT(timens_enter(&s, procfd, &e), 0);
	CHECK_STR(e.msg, "");
	/* The caller itself is in it, not only its children. */
	CHECK(readlink("/proc/self/ns/time", after, sizeof(after) - 1) > 0);
	CHECK(readlink("/proc/self/ns/time_for_children", children, sizeof(children) - 1) > 0);
	CHECK(strcmp(before, after) != 0);
	CHECK_STR(after, children);
	CHECK(clock_secs(CLOCK_MONOTONIC) - mono >= 1000000);
	CHECK(clock_secs(CLOCK_MONOTONIC) - mono < 1000100);
	CHECK(clock_secs(CLOCK_BOOTTIME) - boot >= 2000000);
	/* A clock cannot run below zero. */
	s.monotonic.secs.v = -4000000000LL;
	CHECK_INT(timens_enter(&s, procfd, &e), -ERANGE);
	CHECK_HAS(e.msg, ".linux.timeOffsets");
	close(procfd);
}
TEST(time_namespace)
{
	in_sandbox(0, time_body);
}

static void uts_body(int rootfd)
{
	char longname[66];
	struct spec s = { .hostname = "inner", .domainname = "inner.example" };
	struct err e = ERR_INIT;
	struct utsname u;

	/* The host must not be renamed by a forgotten namespace. */
	CHECK_INT(uts_apply(&s, &e), -EINVAL);
	CHECK_HAS(e.msg, ".hostname");
	CHECK(uname(&u) == 0 && strcmp(u.nodename, "inner") != 0);
	s.ns[NS_UTS].has = true;
	CHECK_INT(uts_apply(&s, &e), 0);
	CHECK_INT(uname(&u), 0);
	CHECK_STR(u.nodename, "inner");
	CHECK_STR(u.domainname, "inner.example");
	memset(longname, 'a', 65);
	longname[65] = '\0';
	s.hostname = longname;
	CHECK_INT(uts_apply(&s, &e), -EINVAL);
	CHECK_HAS(e.msg, "64");
}
TEST(uts)
{
	in_sandbox(CLONE_NEWUTS, uts_body);
}

TEST_MAIN(T(open_and_join), T(refused), T(of_a_process), T(time_namespace), T(uts))
