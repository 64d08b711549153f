/*
 * Runs commands in turn and prints what each run cost.
 *
 *   timer ROUNDS COMMAND ARG… -- COMMAND ARG… …
 *
 * Each round runs every command once (interleaved, so that the machine's moods hit all alike), by
 * vfork and execve with /dev/null as standard input and output. A line per run: index of the
 * command, wall-clock nanoseconds from vfork to wait4's return, CPU microseconds and peak RSS in
 * KiB of the process and its waited-for descendants, exit status.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_COMMANDS 32

static int results;

static uint64_t now(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static long cpu_us(const struct rusage *ru)
{
	return (ru->ru_utime.tv_sec + ru->ru_stime.tv_sec) * 1000000 + ru->ru_utime.tv_usec +
	       ru->ru_stime.tv_usec;
}

static void run_one(int index, char **argv)
{
	struct rusage ru;
	int status;
	uint64_t start = now();
	pid_t pid = vfork();
	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0 || wait4(pid, &status, 0, &ru) != pid)
		exit(2);
	uint64_t end = now();
	dprintf(results, "%d %llu %ld %ld %d\n", index, (unsigned long long)(end - start),
	    cpu_us(&ru), ru.ru_maxrss,
	    WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

/* Standard input and output become /dev/null; results go to what was standard output. */
static void redirect(void)
{
	results = fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0 || results < 0 || dup2(null, STDIN_FILENO) < 0 ||
	    dup2(null, STDOUT_FILENO) < 0) {
		perror("timer");
		exit(2);
	}
}

int main(int argc, char **argv)
{
	char **commands[MAX_COMMANDS];
	int n = 0, rounds = argc > 1 ? (int)strtol(argv[1], NULL, 10) : 0;

	for (int i = 2, start = 2; i <= argc; i++) {
		if (i < argc && strcmp(argv[i], "--") != 0)
			continue;
		argv[i] = NULL;
		if (n < MAX_COMMANDS && i > start)
			commands[n++] = argv + start;
		start = i + 1;
	}
	if (rounds < 1 || n == 0) {
		fprintf(stderr, "usage: timer ROUNDS COMMAND ARG… [-- COMMAND ARG…]…\n");
		return 2;
	}
	redirect();
	for (int r = 0; r < rounds; r++)
		for (int c = 0; c < n; c++)
			run_one(c, commands[c]);
	return 0;
}
