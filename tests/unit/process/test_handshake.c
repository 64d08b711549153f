#include "process/handshake.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tests/unit/test.h"

static int sockets[2];

static void open_pair(void)
{
	struct err e = ERR_INIT;

	CHECK_INT(hs_pair(sockets, &e), 0);
	CHECK(fcntl(sockets[0], F_GETFD) == FD_CLOEXEC && fcntl(sockets[1], F_GETFD) == FD_CLOEXEC);
}

static void close_pair(void)
{
	closep(&sockets[0]);
	closep(&sockets[1]);
}

TEST(steps_and_descriptors)
{
	_cleanup_close_ int fd = -EBADF;
	struct err e = ERR_INIT;
	enum hs_step got;

	open_pair();
	CHECK_INT(hs_send(sockets[0], HS_GO, -EBADF, &e), 0);
	CHECK_INT(hs_expect(sockets[1], "it", HS_GO, NULL, &e), 0);
	CHECK_INT(hs_send(sockets[0], HS_CONSOLE, STDOUT_FILENO, &e), 0);
	CHECK_INT(hs_expect_either(sockets[1], "it", HS_READY, HS_CONSOLE, &got, &fd, &e), 0);
	CHECK(got == HS_CONSOLE && fcntl(fd, F_GETFD) == FD_CLOEXEC);
	CHECK_INT(hs_send(sockets[0], HS_MOUNTED, -EBADF, &e), 0);
	CHECK_INT(hs_expect(sockets[1], "it", HS_READY, NULL, &e), -EPROTO);
	CHECK_STR(e.msg, "handshake: it sent \"mounted\" where \"ready\" was due");
	close_pair();
}

TEST(death_is_told)
{
	struct err e = ERR_INIT;

	open_pair();
	closep(&sockets[0]);
	CHECK_INT(hs_expect(sockets[1], "init", HS_MOUNTED, NULL, &e), -ECONNRESET);
	CHECK_STR(e.msg, "init ended without saying why, before \"mounted\"");
	CHECK_INT(hs_send(sockets[1], HS_GO, -EBADF, &e), -EPIPE);
	close_pair();
}

/* The child says why and dies while a message to it waits unread: the reason still arrives. */
TEST(errors_outlive_unread_messages)
{
	struct err e = ERR_INIT, why = ERR_INIT;
	pid_t pid;

	open_pair();
	CHECK_INT(hs_send(sockets[0], HS_GO, -EBADF, &e), 0);
	pid = fork();
	if (pid == 0) {
		close(sockets[0]);
		err_errno(&why, ENOENT, "exec: \"nosuch\"");
		err_exit(&why, 127);
		hs_send_error(sockets[1], &why);
		_exit(0);
	}
	closep(&sockets[1]);
	CHECK_INT(hs_expect(sockets[0], "init", HS_READY, NULL, &e), -ENOENT);
	CHECK_STR(e.msg, "exec: \"nosuch\": no such file or directory");
	CHECK_INT(e.exit, 127);
	close_pair();
	waitpid(pid, NULL, 0);
}

TEST(programs_travel)
{
	struct sock_filter insns[3] = { { 6, 0, 0, 1 }, { 6, 0, 0, 2 }, { 6, 0, 0, 3 } };
	const struct seccomp_prog prog = { .insns = insns, .n = 3, .flags = 5 }, none = { 0 },
				  huge = { .insns = insns, .n = 5000 };
	_cleanup_seccomp_ struct seccomp_prog got = { 0 };
	struct err e = ERR_INIT;

	open_pair();
	CHECK_INT(hs_send_seccomp(sockets[0], &none, &e), 0);
	CHECK_INT(hs_recv_seccomp(sockets[1], &got, &e), 0);
	CHECK(got.n == 0 && !got.insns);
	CHECK_INT(hs_send_seccomp(sockets[0], &prog, &e), 0);
	CHECK_INT(hs_recv_seccomp(sockets[1], &got, &e), 0);
	CHECK(got.n == 3 && got.flags == 5 && got.insns[2].k == 3);
	CHECK_INT(hs_send_seccomp(sockets[0], &huge, &e), -E2BIG);
	CHECK_INT(hs_send(sockets[0], HS_GO, -EBADF, &e), 0);
	CHECK_INT(hs_recv_seccomp(sockets[1], &got, &e), -EPROTO);
	close_pair();
}

TEST(end_of_file_is_success)
{
	struct err e = ERR_INIT, why = ERR_INIT;

	open_pair();
	closep(&sockets[0]);
	CHECK_INT(hs_wait_exec(sockets[1], &e), 0);
	close_pair();
	open_pair();
	err_set(&why, EACCES, "not this one");
	if (fork() == 0) {
		close(sockets[1]);
		hs_send_error(sockets[0], &why);
		_exit(0);
	}
	closep(&sockets[0]);
	CHECK_INT(hs_wait_exec(sockets[1], &e), -EACCES);
	CHECK_STR(e.msg, "not this one");
	close_pair();
	wait(NULL);
}

TEST_MAIN(T(steps_and_descriptors), T(death_is_told), T(errors_outlive_unread_messages),
    T(programs_travel), T(end_of_file_is_success))
