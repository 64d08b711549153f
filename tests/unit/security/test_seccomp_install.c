#include <errno.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "security/seccomp_internal.h"
#include "security/security.h"
#include "tests/unit/security/child.h"

#define STATE "{\"ociVersion\":\"1.0.2\",\"fds\":[\"seccompFd\"],\"pid\":1}"

static void make(struct seccomp_prog *p, struct spec_seccomp_rule *rules, size_t n)
{
	struct spec_seccomp s = { .has = true,
		.default_action = SECCOMP_ALLOW,
		.listener_path = "/x",
		.rules = { rules, n } };
	struct err e = ERR_INIT;

	CHECK_INT(seccomp_compile(&s, p, &e), 0);
	CHECK_STR(e.msg, "");
}

static struct spec_seccomp_rule rule(char **name, enum spec_seccomp_action a, uint32_t err)
{
	return (struct spec_seccomp_rule){
		.names = { name, 1 }, .action = a, .errno_ret = { err != 0, err }
	};
}

static char *getppid_name[] = { "getppid", NULL };
static char *mkdir_name[] = { "mkdir", NULL };

static void plain_body(void)
{
	struct spec_seccomp_rule r[] = { rule(getppid_name, SECCOMP_ERRNO, 77) };
	_cleanup_seccomp_ struct seccomp_prog p = { 0 };
	struct err e = ERR_INIT;

	make(&p, r, 1);
	p.flags = seccomp_supported_flags() &
		  ~(unsigned)SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV; /* all of them at once */
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	CHECK_INT(seccomp_install(&p, -EBADF, NULL, &e), 0);
	CHECK_INT(status_hex("Seccomp"), 2);
	CHECK_INT(syscall(SYS_getppid), -1);
	CHECK_INT(errno, 77);
}
TEST(plain_filter_with_all_flags)
{
	in_child(plain_body);
}

static void no_right_body(void)
{
	struct spec_seccomp_rule r[] = { rule(getppid_name, SECCOMP_ERRNO, 77) };
	_cleanup_seccomp_ struct seccomp_prog p = { 0 };
	struct err e = ERR_INIT;

	make(&p, r, 1);
	CHECK_INT(setresuid(1000, 1000, 1000), 0);
	CHECK_INT(seccomp_install(&p, -EBADF, NULL, &e), -EACCES);
	CHECK_HAS(e.msg, ".process.noNewPrivileges or CAP_SYS_ADMIN");
}
TEST(without_the_right)
{
	if (!skip_unless_root())
		in_child(no_right_body);
}

TEST(supported_flags)
{
	unsigned flags = seccomp_supported_flags();

	/* Linux 4.17 has these, and 5.12 is what bailey needs. */
	CHECK(flags & SECCOMP_FILTER_FLAG_TSYNC);
	CHECK(flags & SECCOMP_FILTER_FLAG_LOG);
	CHECK(flags & SECCOMP_FILTER_FLAG_SPEC_ALLOW);
	CHECK(!(flags & SECCOMP_FILTER_FLAG_NEW_LISTENER));
}

static void unknown_flag_body(void)
{
	struct spec_seccomp_rule r[] = { rule(getppid_name, SECCOMP_ERRNO, 77) };
	_cleanup_seccomp_ struct seccomp_prog p = { 0 };
	struct err e = ERR_INIT;

	make(&p, r, 1);
	p.flags = 1u << 30;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	CHECK_INT(seccomp_install(&p, -EBADF, NULL, &e), -EINVAL);
	CHECK_INT(status_hex("Seccomp"), 0);
}
TEST(unknown_flag_is_an_error)
{
	in_child(unknown_flag_body);
}

/* ---- with an agent ---- */

static int sockets[2]; /* [0] ours, the agent's; [1] the container's */

static char *everything_we_could_need[] = { "wait4", "waitid", "sendmsg", "poll", "nanosleep",
	"clock_nanosleep", "futex", "close", "shutdown", "getpid", "rt_sigaction", NULL };

/* The container's side: nearly all calls that a helper or a waiting process makes are fatal. */
static void listener_body(void)
{
	struct spec_seccomp_rule r[] = { rule(mkdir_name, SECCOMP_NOTIFY, 0),
		{ .names = { everything_we_could_need, ARRAY_SIZE(everything_we_could_need) - 1 },
		    .action = SECCOMP_KILL_PROCESS } };
	struct seccomp_prog p = { 0 };
	struct err e = ERR_INIT;
	int fd;

	make(&p, r, 2);
	p.flags |= SECCOMP_FILTER_FLAG_TSYNC; /* must not reach the helper */
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (seccomp_install(&p, sockets[1], STATE, &e) < 0)
		syscall(SYS_exit_group, 10);
	/* the agent says: errno 55 */
	if (syscall(SYS_mkdir, "/nowhere/x", 0700) != -1 || errno != 55)
		syscall(SYS_exit_group, 11);
	/* no descriptor of the listener is left to the payload */
	for (fd = 3; fd < 64; fd++) {
		char link[64], path[40];
		ssize_t n = readlink(fd_path(fd, path), link, sizeof(link) - 1);

		link[n > 0 ? n : 0] = '\0';
		if (strstr(link, "seccomp"))
			syscall(SYS_exit_group, 12);
	}
	syscall(SYS_exit_group, 0);
}

static void answer(int notify)
{
	struct seccomp_notif req = { 0 };
	struct seccomp_notif_resp resp = { 0 };
	struct pollfd p = { .fd = notify, .events = POLLIN };

	CHECK_INT(poll(&p, 1, 5000), 1);
	CHECK_INT(ioctl(notify, SECCOMP_IOCTL_NOTIF_RECV, &req), 0);
	CHECK_INT(req.data.nr, SYS_mkdir);
	resp.id = req.id;
	resp.error = -55;
	CHECK_INT(ioctl(notify, SECCOMP_IOCTL_NOTIF_SEND, &resp), 0);
}

static void without_agent_body(void)
{
	struct spec_seccomp_rule r[] = { rule(mkdir_name, SECCOMP_NOTIFY, 0),
		rule(getppid_name, SECCOMP_ERRNO, 77) };
	_cleanup_seccomp_ struct seccomp_prog p = { 0 };
	struct err e = ERR_INIT;

	make(&p, r, 2);
	p.flags |= SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
	seccomp_without_agent(&p);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	CHECK_INT(seccomp_install(&p, -EBADF, NULL, &e), 0);
	CHECK_INT(syscall(SYS_mkdir, "/nowhere/x", 0700), -1);
	CHECK_INT(errno, ENOSYS);
	CHECK_INT(syscall(SYS_getppid), -1);
	CHECK_INT(errno, 77);
}
TEST(without_an_agent)
{
	in_child(without_agent_body);
}

static pid_t fork_body(void (*body)(void))
{
	pid_t pid;

	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets), 0);
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(sockets[0]);
		body();
		_exit(99);
	}
	close(sockets[1]);
	return pid;
}

TEST(listener_reaches_the_agent)
{
	pid_t pid = fork_body(listener_body);
	char buf[4096] = "";
	size_t n_fds = 1;
	int notify = -1, status = -1;

	CHECK_INT(sock_recv_fds(sockets[0], buf, sizeof(buf) - 1, &notify, &n_fds), strlen(STATE));
	CHECK_STR(buf, STATE);
	CHECK_INT(n_fds, 1);
	/* exactly one state, then the end */
	CHECK_INT(read(sockets[0], buf, sizeof(buf)), 0);
	answer(notify);
	waitpid(pid, &status, 0);
	CHECK_INT(status, 0);
	close(notify);
	close(sockets[0]);
}

static void gone_body(void)
{
	struct spec_seccomp_rule r[] = { rule(mkdir_name, SECCOMP_NOTIFY, 0) };
	struct seccomp_prog p = { 0 };
	struct err e = ERR_INIT;

	make(&p, r, 1);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	alarm(5);
	while (read(sockets[1], &(char){ 0 }, 1) > 0)
		; /* until the agent has hung up */
	CHECK_INT(seccomp_install(&p, sockets[1], STATE, &e), -EPIPE);
	CHECK_HAS(e.msg, ".linux.seccomp.listenerPath: the agent did not take");
	/* Nobody will ever answer: the call must fail, not wait. */
	CHECK_INT(mkdir("/nowhere/x", 0700), -1);
	CHECK_INT(errno, ENOSYS);
	fflush(stdout);
	_exit(test_failed);
}
TEST(agent_that_hangs_up)
{
	int status = -1;
	pid_t pid = fork_body(gone_body);

	close(sockets[0]);
	waitpid(pid, &status, 0);
	CHECK_INT(status, 0);
}

static void full_body(void)
{
	struct spec_seccomp_rule r[] = { rule(mkdir_name, SECCOMP_NOTIFY, 0) };
	struct seccomp_prog p = { 0 };
	struct err e = ERR_INIT;
	char junk[4096] = { 0 };
	struct timespec start, end;
	int64_t ms;

	make(&p, r, 1);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	while (send(sockets[1], junk, sizeof(junk), MSG_DONTWAIT) > 0)
		;
	CHECK_INT(seccomp_agent_timeout_ms, 10000);
	seccomp_agent_timeout_ms = 200;
	clock_gettime(CLOCK_MONOTONIC, &start);
	CHECK_INT(seccomp_install(&p, sockets[1], STATE, &e), -ETIMEDOUT);
	clock_gettime(CLOCK_MONOTONIC, &end);
	ms = (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000;
	CHECK(ms >= 200 && ms < 5000);
	fflush(stdout);
	_exit(test_failed);
}
TEST(agent_that_does_not_read)
{
	int status = -1;
	pid_t pid = fork_body(full_body);

	waitpid(pid, &status, 0);
	CHECK_INT(status, 0);
	close(sockets[0]);
}

static void refused_body(void)
{
	struct spec_seccomp_rule r[] = { rule(mkdir_name, SECCOMP_NOTIFY, 0) };
	struct seccomp_prog p = { 0 };
	struct err e = ERR_INIT;

	make(&p, r, 1);
	CHECK_INT(seccomp_install(&p, -EBADF, STATE, &e), -EINVAL);
	CHECK_HAS(e.msg, "SCMP_ACT_NOTIFY without an agent");
	/* The kernel refuses: the helper must end and nothing be sent. */
	p.n = 0;
	CHECK_INT(seccomp_install(&p, sockets[1], STATE, &e), -EINVAL);
	CHECK_INT(status_hex("Seccomp"), 0);
	fflush(stdout);
	_exit(test_failed);
}
TEST(refused_filter_with_listener)
{
	int status = -1;
	pid_t pid = fork_body(refused_body);
	char c;

	CHECK_INT(read(sockets[0], &c, 1), 0);
	waitpid(pid, &status, 0);
	CHECK_INT(status, 0);
	close(sockets[0]);
}

/* What the payload finds after execve: one thread, no child, no descriptor of ours. */
static void exec_body(void)
{
	struct spec_seccomp_rule r[] = { rule(mkdir_name, SECCOMP_NOTIFY, 0) };
	struct seccomp_prog p = { 0 };
	struct err e = ERR_INIT;

	make(&p, r, 1);
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	if (seccomp_install(&p, sockets[1], STATE, &e) == 0)
		execl("/bin/sh", "sh", "-c",
		    "read -r children < /proc/$$/task/$$/children; test -z \"$children\" || exit 1;"
		    "set -- /proc/$$/task/*; test $# = 1 || exit 2;"
		    "for f in 3 4 5 6 7 8 9; do test ! -e /proc/$$/fd/$f || exit 3; done",
		    NULL);
	_exit(98);
}
TEST(nothing_is_left_to_the_payload)
{
	pid_t pid;
	int status = -1;

	fflush(stdout);
	pid = fork_body(exec_body);
	waitpid(pid, &status, 0);
	CHECK_INT(status, 0);
	close(sockets[0]);
}

TEST_MAIN(T(plain_filter_with_all_flags), T(without_the_right), T(supported_flags),
    T(unknown_flag_is_an_error), T(listener_reaches_the_agent), T(agent_that_hangs_up),
    T(agent_that_does_not_read), T(without_an_agent), T(refused_filter_with_listener),
    T(nothing_is_left_to_the_payload))
