/* A test's body in a process of its own, with a private mount namespace and an empty tmpfs, at
 * SANDBOX, that plays the container's root. */
#pragma once
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/test.h"

#define SANDBOX "/mnt"

/* Runs fn(rootfd) in a child that unshared flags; its failed checks count here. */
static inline void in_sandbox(int flags, void (*fn)(int rootfd))
{
	int status = 0;
	pid_t pid;

	if (geteuid() != 0) {
		printf("# SKIP needs root\n");
		return;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		int rootfd;

		test_failed = 0;
		CHECK_INT(unshare(CLONE_NEWNS | flags), 0);
		CHECK_INT(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
		CHECK_INT(mount("root", SANDBOX, "tmpfs", 0, "mode=755"), 0);
		rootfd = open(SANDBOX, O_PATH | O_DIRECTORY | O_CLOEXEC);
		CHECK(rootfd >= 0);
		if (!test_failed)
			fn(rootfd);
		fflush(NULL);
		_exit(test_failed);
	}
	CHECK(pid > 0 && waitpid(pid, &status, 0) == pid);
	CHECK_INT(status, 0);
}

static inline void make_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	CHECK(fd >= 0);
	CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
	close(fd);
}

/* Reads at most size - 1 bytes; "" on any error. */
static inline const char *slurp(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, buf, size - 1) : 0;

	buf[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return buf;
}

static inline bool is_char(const char *path, unsigned maj, unsigned min)
{
	struct stat st;

	return lstat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(maj, min);
}

static inline void make_null(void)
{
	CHECK_INT(mkdir(SANDBOX "/dev", 0755), 0);
	CHECK_INT(mknod(SANDBOX "/dev/null", S_IFCHR | 0666, makedev(1, 3)), 0);
}
