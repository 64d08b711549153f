/* What security/ does cannot be undone, so tests run in forked children; their CHECKs count. */
#pragma once
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/test.h"

/* Returns the wait status; the child exits with test_failed. */
__attribute__((unused)) static int child_status(void (*fn)(void))
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		test_failed = 0;
		fn();
		fflush(stdout);
		_exit(test_failed);
	}
	waitpid(pid, &status, 0);
	return status;
}

__attribute__((unused)) static void in_child(void (*fn)(void))
{
	CHECK_INT(child_status(fn), 0);
}

/* The hexadecimal field of /proc/self/status, or ~0. */
__attribute__((unused)) static unsigned long long status_hex(const char *name)
{
	unsigned long long v = ~0ull;
	char line[512];
	FILE *f = fopen("/proc/self/status", "re");

	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ':')
			v = strtoull(line + strlen(name) + 1, NULL, 16);
	if (f)
		fclose(f);
	return v;
}

__attribute__((unused)) static bool skip_unless_root(void)
{
	if (geteuid() == 0)
		return false;
	printf("# SKIP not root\n");
	return true;
}
