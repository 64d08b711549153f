#include "process/hooks.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "base/sys.h"

#define OUTPUT_MAX 512 /* bytes of a failed hook's output that go into the message */

struct running_hook {
	pid_t pid;
	int pidfd;  /* readable when it ended */
	int input;  /* its stdin, we write; -EBADF once all is written */
	int output; /* its stdout and stderr, we read */
	const char *state;
	size_t state_left;
	char said[OUTPUT_MAX + 1];
	size_t said_len;
};

static void exec_hook(const struct spec_hook *h, const struct payload *as, int in, int out)
{
	char *const no_args[] = { (char *)h->path, NULL };
	char *const no_env[] = { NULL };
	struct err e = ERR_INIT;
	sigset_t none;

	(void)setpgid(0, 0); /* what it starts is killed with it */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	signal(SIGPIPE, SIG_DFL);
	/* Closed before execve looks for the hook: inside a container its name may be a link
	 * through a descriptor of ours; and what --preserve-fds hands on is for the payload alone.
	 */
	if (dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0 ||
	    (!as && close_range(3, ~0u, 0) < 0))
		_exit(127);
	if (as && payload_confine(as, &e) < 0) {
		dprintf(2, "%s", e.msg);
		_exit(127);
	}
	execve(h->path, h->args.n ? h->args.v : no_args, h->env.n ? h->env.v : no_env);
	dprintf(2, "execve %s: %s", h->path, strerror(errno));
	_exit(127);
}

static int hook_spawn(const struct spec_hook *h, const char *state, const struct payload *as,
    struct running_hook *ret, struct err *e)
{
	_cleanup_close_ int in_r = -EBADF, in_w = -EBADF, out_r = -EBADF, out_w = -EBADF;
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_errno(e, errno, "pipe");
	in_r = p[0], in_w = p[1];
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_errno(e, errno, "pipe");
	out_r = p[0], out_w = p[1];
	*ret = (struct running_hook){ .state = state, .state_left = strlen(state) };
	ret->pid = fork();
	if (ret->pid < 0)
		return err_errno(e, errno, "fork");
	if (ret->pid == 0)
		exec_hook(h, as, in_r, out_w);
	(void)setpgid(ret->pid, ret->pid); /* both sides do it: whoever comes first */
	ret->pidfd = sys_pidfd_open(ret->pid, 0);
	if (ret->pidfd < 0) {
		err_errno(e, errno, "pidfd_open");
		kill(-ret->pid, SIGKILL);
		waitpid(ret->pid, NULL, 0);
		return -e->code;
	}
	ret->input = steal_fd(&in_w);
	ret->output = steal_fd(&out_r);
	fcntl(ret->input, F_SETFL, O_NONBLOCK);
	fcntl(ret->output, F_SETFL, O_NONBLOCK);
	return 0;
}

static void feed(struct running_hook *h)
{
	ssize_t n = write(h->input, h->state, h->state_left);

	if (n > 0) {
		h->state += n;
		h->state_left -= (size_t)n;
	}
	/* A hook need not read its state: EPIPE is its choice. */
	if (h->state_left == 0 || (n < 0 && errno != EAGAIN && errno != EINTR)) {
		closep(&h->input);
		h->input = -EBADF;
	}
}

/* Keeps the beginning of what the hook says, lets the rest pass. */
static void listen_to(struct running_hook *h)
{
	char buf[1024];
	ssize_t n;

	while ((n = read(h->output, buf, sizeof(buf))) > 0) {
		size_t keep = (size_t)n;

		if (keep > OUTPUT_MAX - h->said_len)
			keep = OUTPUT_MAX - h->said_len;
		memcpy(h->said + h->said_len, buf, keep);
		h->said_len += keep;
	}
	if (n == 0) { /* all writers are gone: wait for the exit alone */
		closep(&h->output);
		h->output = -EBADF;
	}
}

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Until the hook ended (0) or its time is up (-ETIMEDOUT). */
static int attend(struct running_hook *h, int64_t deadline)
{
	for (;;) {
		struct pollfd fds[] = {
			{ .fd = h->pidfd, .events = POLLIN },
			{ .fd = h->output, .events = POLLIN },
			{ .fd = h->input, .events = POLLOUT },
		};
		int64_t left = deadline ? deadline - now_ms() : -1;

		if (deadline && left <= 0)
			return -ETIMEDOUT;
		if (poll(fds, ARRAY_SIZE(fds), left > 1000000 ? 1000000 : (int)left) < 0 &&
		    errno != EINTR)
			return -errno;
		if (fds[1].revents)
			listen_to(h);
		if (fds[2].revents)
			feed(h);
		if (fds[0].revents) {
			if (h->output >= 0)
				listen_to(h);
			return 0;
		}
	}
}

static int how_it_ended(const struct running_hook *h, int waited, const struct spec_hook *hook,
    int status, struct err *e)
{
	const char *colon = h->said_len ? ": " : "";

	if (waited == -ETIMEDOUT)
		return err_set(e, ETIMEDOUT, "%s: killed after its timeout of %d s%s%s", hook->path,
		    hook->timeout.v, colon, h->said);
	if (waited < 0)
		return err_errno(e, -waited, "%s: wait", hook->path);
	if (WIFSIGNALED(status))
		return err_set(e, EIO, "%s: killed by signal %d%s%s", hook->path, WTERMSIG(status),
		    colon, h->said);
	if (WEXITSTATUS(status))
		return err_set(e, EIO, "%s: exit status %d%s%s", hook->path, WEXITSTATUS(status),
		    colon, h->said);
	return 0;
}

static int hook_run(
    const struct spec_hook *hook, const char *state, const struct payload *as, struct err *e)
{
	struct running_hook h;
	int r = hook_spawn(hook, state, as, &h, e), status = 0;

	if (r < 0)
		return r;
	r = attend(&h, hook->timeout.set ? now_ms() + (int64_t)hook->timeout.v * 1000 : 0);
	if (r < 0)
		kill(-h.pid, SIGKILL);
	while (waitpid(h.pid, &status, 0) < 0 && errno == EINTR)
		;
	closep(&h.pidfd);
	closep(&h.input);
	closep(&h.output);
	while (h.said_len && (h.said[h.said_len - 1] == '\n' || h.said[h.said_len - 1] == ' '))
		h.said[--h.said_len] = '\0';
	for (size_t i = 0; i < h.said_len; i++)
		if (h.said[i] == '\n')
			h.said[i] = ' ';
	return how_it_ended(&h, r, hook, status, e);
}

/* The end of a container cannot be called off: every poststop hook gets its turn. */
int hooks_run(const struct spec *s, enum spec_hook_kind kind, const struct spec_state *state,
    const struct payload *as, struct err *e)
{
	const struct spec_hooks *hooks = &s->hooks[kind];
	_cleanup_free_ char *json = NULL;
	void (*old)(int);
	int first = 0;

	if (hooks->n == 0)
		return 0;
	json = spec_state_json(state, false);
	old = signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < hooks->n && (first == 0 || kind == HOOK_POSTSTOP); i++) {
		struct err one = ERR_INIT;

		log_debug("hook %s[%zu]: %s", spec_hook_names[kind], i, hooks->v[i].path);
		if (hook_run(&hooks->v[i], json, as, &one) == 0 || first < 0)
			continue;
		*e = one;
		first = err_wrap(e, ".hooks.%s[%zu]", spec_hook_names[kind], i);
	}
	signal(SIGPIPE, old);
	return first;
}
