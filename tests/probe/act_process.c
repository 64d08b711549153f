/* Commands that live and die: exit codes, signals, children. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/probe/probe.h"

static int cmd_exit(int argc, char **argv)
{
	return atoi(argv[1]);
}

/* Dies by a signal. The first process of a pid namespace ignores its own signals, hence the fault
 * for SIGSEGV and the instruction for SIGILL and SIGTRAP. */
static int cmd_signal(int argc, char **argv)
{
	int sig = atoi(argv[1]);
	struct rlimit none = {};

	setrlimit(RLIMIT_CORE, &none);
	if (sig == SIGSEGV)
		*(volatile int *)8 = 1;
	if (sig == SIGILL)
		__builtin_trap();
	signal(sig, SIG_DFL);
	raise(sig);
	return 98;
}

static int cmd_sleep(int argc, char **argv)
{
	double s = argc > 1 ? atof(argv[1]) : 1e6;
	struct timespec ts = { (time_t)s, (long)((s - (time_t)s) * 1e9) };

	while (nanosleep(&ts, &ts) < 0 && errno == EINTR)
		;
	return 0;
}

/* Copies stdin to stdout until its end. */
static int cmd_echo(int argc, char **argv)
{
	char buf[65536];
	ssize_t n;

	while ((n = read(0, buf, sizeof(buf))) > 0)
		if (write(1, buf, n) != n)
			return 1;
	return 0;
}

/* Prints "ready", then each signal's number; ends after COUNT signals (exit 0) or with SIGALRM. */
static int cmd_trap(int argc, char **argv)
{
	int count = atoi(argv[1]), sig;
	sigset_t set;

	sigfillset(&set);
	sigdelset(&set, SIGCHLD);
	sigdelset(&set, SIGURG); /* Go programs send it to themselves and forward what they get */
	sigdelset(&set, SIGWINCH);
	sigprocmask(SIG_SETMASK, &set, NULL);
	printf("ready\n");
	fflush(stdout);
	while (count-- > 0) {
		if (sigwait(&set, &sig) != 0)
			return 1;
		printf("%d\n", sig);
		fflush(stdout);
	}
	return 0;
}

/* N children that end with 0..N-1; prints how many were made and reaped. */
static int cmd_fork(int argc, char **argv)
{
	int n = atoi(argv[1]), made = 0, reaped = 0;

	for (int i = 0; i < n; i++) {
		pid_t p = fork();
		if (p == 0)
			_exit(i);
		if (p < 0)
			break;
		made++;
	}
	while (wait(NULL) > 0)
		reaped++;
	printf("%d %d\n", made, reaped);
	return 0;
}

/* Leaves a grandchild behind that sleeps with the descriptors closed, and ends. */
static int cmd_orphan(int argc, char **argv)
{
	if (fork() == 0) {
		setsid();
		for (int i = 0; i < 3; i++)
			close(i);
		if (fork() == 0)
			sleep(argc > 1 ? atoi(argv[1]) : 1000);
		_exit(0);
	}
	wait(NULL);
	return 0;
}

/* Counts in FILE (rewritten in place) until killed, for tests that freeze. */
static int cmd_count(int argc, char **argv)
{
	char buf[32];
	int fd = open(argv[1], O_RDWR | O_CREAT | O_CLOEXEC, 0666), n;
	struct timespec ms = { 0, 1000000 };

	if (fd < 0)
		return result(-1);
	for (unsigned long i = 1;; i++) {
		n = snprintf(buf, sizeof(buf), "%lu\n", i);
		if (pwrite(fd, buf, n, 0) != n)
			return 1;
		nanosleep(&ms, NULL);
	}
}

/* Execs COMMAND after raising the effect of set-id bits to what no_new_privs allows: just execv, so
 * that a test can look at what a file's capabilities or set-id bits gave. */
static int cmd_exec(int argc, char **argv)
{
	execv(argv[1], argv + 1);
	return result(-1);
}

static int cmd_kill(int argc, char **argv)
{
	return result(kill(atoi(argv[1]), atoi(argv[2])));
}

static int cmd_setuid(int argc, char **argv)
{
	return result(setuid(atoi(argv[1])));
}

/* Tells a socket activation server's view: prints LISTEN_PID's truth. */
static int cmd_listen(int argc, char **argv)
{
	const char *pid = getenv("LISTEN_PID"), *fds = getenv("LISTEN_FDS");

	js_open(NULL, '{');
	js_str("pid", pid);
	js_str("fds", fds);
	js_bool("mine", pid && atoi(pid) == getpid());
	js_close('}');
	js_end();
	return 0;
}

const struct command process_commands[] = {
	{ "exit", "N", "exit with N", 1, cmd_exit },
	{ "signal", "N", "die by signal N", 1, cmd_signal },
	{ "sleep", "[SECONDS]", "sleep", 0, cmd_sleep },
	{ "echo", "", "copy stdin to stdout", 0, cmd_echo },
	{ "trap", "COUNT", "print signals as they arrive", 1, cmd_trap },
	{ "fork", "N", "make and reap children", 1, cmd_fork },
	{ "orphan", "[SECONDS]", "leave a sleeping grandchild", 0, cmd_orphan },
	{ "count", "FILE", "count in a file", 1, cmd_count },
	{ "exec", "PATH [ARG…]", "execv(3)", 1, cmd_exec },
	{ "kill", "PID SIG", "kill(2)", 2, cmd_kill },
	{ "setuid", "UID", "setuid(2)", 1, cmd_setuid },
	{ "listen", "", "socket activation as seen", 0, cmd_listen },
	{},
};
