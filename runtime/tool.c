#include "runtime/tool.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "security/security.h"

#define SAID_MAX  600
#define NOT_FOUND 127
#define NOT_READY 126
#define FIRST_FD  3

/* ---- the tool's process ---- */

/* What an ordinary user's PATH often lacks. */
static char *search_path(void)
{
	const char *own = getenv("PATH");

	return xasprintf("PATH=%s%s/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", own ? own : "",
	    own && *own ? ":" : "");
}

static int limit_size(uint64_t size, struct err *e)
{
	const struct rlimit l = { size, size };

	if (size && setrlimit(RLIMIT_FSIZE, &l) < 0)
		return err_errno(e, errno, "setrlimit RLIMIT_FSIZE");
	return 0;
}

static int give_up(int cap, struct err *e)
{
	const uint64_t keep = cap < 0 ? 0 : UINT64_C(1) << cap;
	const struct spec_caps caps = {
		.has = true, .bounding = keep, .permitted = keep, .effective = keep
	};
	int r;

	if ((r = caps_drop_bounding(&caps, e)) < 0 || (r = caps_apply(&caps, e)) < 0)
		return r;
	return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
		   ? err_errno(e, errno, "prctl PR_SET_NO_NEW_PRIVS")
		   : 0;
}

static int become(const struct tool *t, int out, struct err *e)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	sigset_t none;
	int r;

	if (null < 0)
		return err_errno(e, errno, "open /dev/null");
	if ((t->prepare && (r = t->prepare(t->arg, e)) < 0) || (r = limit_size(t->size, e)) < 0 ||
	    (r = give_up(t->cap, e)) < 0)
		return r;
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	if (dup2(null, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 ||
	    (t->fd >= 0 && t->fd != FIRST_FD && dup2(t->fd, FIRST_FD) < 0) ||
	    (t->fd == FIRST_FD && fcntl(FIRST_FD, F_SETFD, 0) < 0) ||
	    close_range(t->fd >= 0 ? FIRST_FD + 1 : FIRST_FD, ~0u, 0) < 0)
		return err_errno(e, errno, "descriptors for %s", t->name);
	steal_fd(&null);
	return 0;
}

static _Noreturn void tool_main(const struct tool *t, pid_t parent, int out)
{
	char *env[] = { search_path(), (char *)"LC_ALL=C", NULL };
	struct err e = ERR_INIT;

	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent)
		_exit(NOT_READY);
	if (become(t, out, &e) < 0) {
		(void)fd_write_all(out, e.msg, strlen(e.msg));
		_exit(NOT_READY);
	}
	(void)setenv("PATH", env[0] + strlen("PATH="), 1);
	execvpe(t->name, t->argv, env);
	_exit(errno == ENOENT ? NOT_FOUND : NOT_READY);
}

/* ---- the caller ---- */

/* Reads to the end; the last bytes stay, as one line of text. */
static void listen_to(int fd, char said[SAID_MAX + 1])
{
	char buf[1024];
	size_t have = 0;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) != 0) {
		if (n < 0 && errno != EINTR)
			break;
		for (ssize_t i = 0; i < n; i++) {
			if (have == SAID_MAX) {
				memmove(said, said + SAID_MAX / 2, SAID_MAX / 2);
				have = SAID_MAX / 2;
			}
			said[have++] = (char)(buf[i] >= ' ' && buf[i] < 0x7f ? buf[i] : ' ');
		}
	}
	while (have && said[have - 1] == ' ')
		have--;
	said[have] = '\0';
}

static int judge(const struct tool *t, int status, const char *said, struct err *e)
{
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == NOT_FOUND && !*said)
		return err_set(
		    e, ENOENT, "%s is not installed (Debian: apt install %s)", t->name, t->package);
	if (WIFSIGNALED(status) && WTERMSIG(status) == SIGXFSZ)
		return err_set(e, EFBIG,
		    "%s: the file would be larger than %llu bytes, which is what the disk has free "
		    "(holes in sparse files count)",
		    t->name, (unsigned long long)t->size);
	if (WIFSIGNALED(status))
		return err_set(e, EIO, "%s: killed by signal %d%s%s", t->name, WTERMSIG(status),
		    *said ? ": " : "", said);
	return err_set(
	    e, EIO, "%s: exit code %d%s%s", t->name, WEXITSTATUS(status), *said ? ": " : "", said);
}

int tool_run(const struct tool *t, struct err *e)
{
	_cleanup_close_ int in = -EBADF;
	char said[SAID_MAX + 1];
	pid_t parent = getpid(), pid;
	int p[2], status;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_errno(e, errno, "pipe");
	in = p[0];
	pid = fork();
	if (pid < 0) {
		err_errno(e, errno, "fork");
		close(p[1]);
		return -e->code;
	}
	if (pid == 0)
		tool_main(t, parent, p[1]);
	close(p[1]);
	listen_to(in, said);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(e, errno, "wait for %s", t->name);
	return judge(t, status, said, e);
}
