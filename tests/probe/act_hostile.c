/* Commands of a container, or a neighbour on the host, that means harm. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tests/probe/probe.h"

static int cmd_ptrace(int argc, char **argv)
{
	return result(ptrace(PTRACE_SEIZE, atoi(argv[1]), NULL, NULL));
}

/* Exchanges two names as fast as it can, until killed. */
static int cmd_swap(int argc, char **argv)
{
	for (;;)
		if (syscall(SYS_renameat2, AT_FDCWD, argv[1], AT_FDCWD, argv[2], 2) < 0 &&
		    errno != ENOENT)
			return result(-1);
}

struct haul {
	int seen, ptrace, mem, exe_write, foreign_root, fds;
};

static int try_open(pid_t pid, const char *what, int flags)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, what);
	fd = open(path, flags | O_CLOEXEC);
	if (fd >= 0)
		close(fd);
	return fd;
}

/* Everything that a process which may look into pid could carry away. */
static void molest(pid_t pid, const char *own_exe, struct haul *h)
{
	char path[64], buf[4096];
	ssize_t n;

	h->seen++;
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, buf, sizeof(buf) - 1);
	if (n > 0) {
		buf[n] = 0;
		if (strcmp(buf, own_exe) != 0 && strstr(buf, "busybox") == NULL) {
			/* A foreign program is visible: the runtime's own. May it be written? */
			if (try_open(pid, "exe", O_WRONLY) >= 0)
				h->exe_write++;
		} else {
			return;
		}
	} else {
		return; /* not even its program's name may be read */
	}
	h->fds += try_open(pid, "fd", O_RDONLY | O_DIRECTORY) >= 0;
	h->mem += try_open(pid, "mem", O_RDWR) >= 0;
	h->foreign_root += try_open(pid, "root/..", O_RDONLY) >= 0;
	if (ptrace(PTRACE_SEIZE, pid, NULL, NULL) == 0) {
		h->ptrace++;
		ptrace(PTRACE_DETACH, pid, NULL, NULL);
	}
}

static volatile sig_atomic_t stop;
static void on_term(int sig)
{
	stop = 1;
}

/* Looks at every other process again and again; at SIGTERM prints what it could lay hands on. */
static int cmd_lurk(int argc, char **argv)
{
	char own[4096] = "";
	struct haul h = {};
	struct sigaction sa = { .sa_handler = on_term };
	struct dirent *de;

	if (readlink("/proc/self/exe", own, sizeof(own) - 1) < 0)
		return 1;
	sigaction(SIGTERM, &sa, NULL);
	printf("ready\n");
	fflush(stdout);
	while (!stop) {
		DIR *d = opendir("/proc");
		while (d && (de = readdir(d))) {
			pid_t pid = atoi(de->d_name);
			if (pid > 0 && pid != getpid())
				molest(pid, own, &h);
		}
		if (d)
			closedir(d);
	}
	js_open(NULL, '{');
	js_int("seen", h.seen);
	js_int("ptrace", h.ptrace);
	js_int("mem", h.mem);
	js_int("exe_write", h.exe_write);
	js_int("root", h.foreign_root);
	js_int("fds", h.fds);
	js_close('}');
	js_end();
	return 0;
}

/* Waits until PID's program can be opened, holds it by O_PATH and tries to write it for SECONDS:
 * the overwrite of the host's runtime by its own victim. Prints the last result. */
static int cmd_overwrite(int argc, char **argv)
{
	char path[64];
	int held, fd = -1, err = 0;
	time_t end = time(NULL) + (argc > 2 ? atoi(argv[2]) : 1);

	snprintf(path, sizeof(path), "/proc/%s/exe", argv[1]);
	held = open(path, O_PATH | O_CLOEXEC);
	if (held < 0)
		return result(-1);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", held);
	while (fd < 0 && time(NULL) <= end) {
		fd = open(path, O_WRONLY | O_CLOEXEC);
		err = errno;
	}
	if (fd >= 0 && write(fd, "#!/overwritten\n", 15) < 0) {
		err = errno;
		fd = -1;
	}
	errno = err;
	return result(fd);
}

const struct command hostile_commands[] = {
	{ "ptrace", "PID", "ptrace(PTRACE_SEIZE)", 1, cmd_ptrace },
	{ "swap", "A B", "exchange two names for ever", 2, cmd_swap },
	{ "lurk", "", "molest every other process until SIGTERM", 0, cmd_lurk },
	{ "overwrite", "PID [SECONDS]", "write a process's program file", 1, cmd_overwrite },
	{},
};
