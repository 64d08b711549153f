/* Shared by the tests of cgroups/: a fake cgroup directory of plain files, for controllers that the
 * machine lacks, and a real cgroup2 over /sys/fs/cgroup in a mount namespace of the test's own. */
#pragma once
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "cgroups/internal.h"
#include "tests/unit/test.h"

/* ---- fake ---- */

struct fake {
	char dir[64];
	struct cgroup c;
};

static inline void put(struct fake *f, const char *name, const char *text)
{
	int fd = openat(f->c.dirfd, name, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		abort();
	close(fd);
}

/* What is in a file now; valid until the next call. "(none)": no such file. */
static inline const char *get(struct fake *f, const char *name)
{
	static char text[4096];
	int fd = openat(f->c.dirfd, name, O_RDONLY);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		return "(none)";
	close(fd);
	text[n] = '\0';
	return text;
}

/* names: files to make empty, NULL-terminated. */
static inline struct fake fake_new(const char *controllers, const char *const *names)
{
	struct fake f = { .dir = "/tmp/bailey-cgroup-XXXXXX", .c = CGROUP_INIT };

	if (!mkdtemp(f.dir))
		abort();
	f.c.dirfd = open(f.dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	put(&f, "cgroup.controllers", controllers);
	for (; names && *names; names++)
		put(&f, *names, "");
	return f;
}

static inline void fake_free(struct fake *f)
{
	char cmd[128];

	snprintf(cmd, sizeof(cmd), "rm -r %s", f->dir);
	if (system(cmd))
		abort();
	cgroup_close(&f->c);
}

/* ---- real ---- */

/* Does the test, whole process, in its own mount namespace. False: skip, reason printed. */
static inline bool real_cgroup2(void)
{
	static int state; /* 0: not tried, 1: there, -1: not to be had */

	if (!state) {
		state = -1;
		if (unshare(CLONE_NEWNS) < 0)
			printf("# skip: unshare(CLONE_NEWNS): %s\n", strerror(errno));
		else if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
			 mount("none", "/sys/fs/cgroup", "cgroup2", 0, NULL) < 0)
			printf("# skip: mount cgroup2: %s\n", strerror(errno));
		else
			state = 1;
	}
	if (state < 0)
		printf("# skip: no cgroup2 of its own to be had\n");
	return state > 0;
}

/* "/bailey-unit-PID" + suffix; valid for the next seven calls. */
static inline const char *unit_path_of(pid_t pid, const char *suffix)
{
	static char buf[8][256];
	static int i;

	i = (i + 1) % 8;
	snprintf(buf[i], sizeof(buf[i]), "/bailey-unit-%d%s", pid, suffix);
	return buf[i];
}

static inline const char *unit_path(const char *suffix)
{
	return unit_path_of(getpid(), suffix);
}

static inline bool cgroup_exists(const char *path)
{
	char full[512];

	snprintf(full, sizeof(full), "/sys/fs/cgroup%s", path);
	return access(full, F_OK) == 0;
}

static inline bool enter(const struct cgroup *c)
{
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	return kfile_write(c->dirfd, "cgroup.procs", pid) == 0;
}

/* A child that sleeps inside c. */
static inline pid_t sleeper(const struct cgroup *c)
{
	int p[2];
	char ok = 0;
	pid_t pid;

	if (pipe(p) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		ok = enter(c);
		if (write(p[1], &ok, 1) < 0)
			_exit(1);
		for (;;)
			pause();
	}
	close(p[1]);
	if (read(p[0], &ok, 1) != 1 || !ok)
		printf("# sleeper did not get into the cgroup\n");
	close(p[0]);
	return pid;
}

/* Status of a child's end: the signal, or 1000 + exit status. */
static inline int reap(pid_t pid)
{
	int st;

	if (waitpid(pid, &st, 0) < 0)
		return -errno;
	return WIFSIGNALED(st) ? WTERMSIG(st) : 1000 + WEXITSTATUS(st);
}
