/*
 * Signals go through a pidfd of a verified init, never to a number that may name another process by
 * now. SIGKILL must leave nobody behind: where init is PID 1 of its PID namespace the kernel ends
 * the namespace with it, else the whole cgroup is killed.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "base/sys.h"
#include "runtime/container.h"
#include "runtime/verbs.h"
#include "runtime/vm_level.h"

struct kill_opts {
	bool all;
};

static int choose_signal(const char *name, struct err *e)
{
	int sig = streq(name, "0") ? 0 : parse_signal(name);

	if (sig < 0)
		return err_set(e, EINVAL,
		    "unknown signal \"%s\": must be a number from 0 to 64 or a name such as TERM, "
		    "SIGKILL, RTMIN+1",
		    name);
	return sig;
}

static int signal_init(const struct container *c, int sig, struct err *e)
{
	if (sys_pidfd_send_signal(c->pidfd, sig) == 0)
		return 0;
	if (errno == ESRCH)
		return err_set(e, ESRCH, "kill \"%s\": container not running", c->id);
	return err_errno(e, errno, "kill \"%s\": send signal %d to process %d", c->id, sig, c->pid);
}

/* Is init number 1 in its innermost PID namespace? proc_pid_status(5), NSpid. The number may be
 * somebody else's once init has gone, so the answer counts only while the pidfd says it is there.
 */
static bool is_namespace_init(const struct container *c)
{
	_cleanup_free_ char *path = xasprintf("/proc/%d/status", c->pid), *text = NULL;
	struct err e = ERR_INIT;
	char *line, *last;

	if (file_read(AT_FDCWD, path, 1 << 20, &text, NULL, &e) < 0)
		return false;
	line = strstr(text, "\nNSpid:");
	if (!line)
		return false;
	line[1 + strcspn(line + 1, "\n")] = '\0';
	last = strrchr(line, '\t');
	return last && streq(last, "\t1") && sys_pidfd_send_signal(c->pidfd, 0) == 0;
}

/* Signals all in the cgroup; *any tells whether somebody was there. */
static int signal_cgroup(const struct container *c, int sig, bool *any, struct err *e)
{
	_cleanup_cgroup_ struct cgroup cg = CGROUP_INIT;
	int r = container_cgroup(c, &cg, e);

	*any = false;
	if (r == 0)
		r = cgroup_populated(&cg, any, e);
	if (r == 0 && *any && sig)
		r = cgroup_kill_all(&cg, sig, e);
	return r;
}

/* Init has gone. Without a PID namespace of their own others may live on in the cgroup. */
static int kill_stopped(const struct container *c, int sig, bool all, struct err *e)
{
	struct err why = ERR_INIT;
	bool any = false;
	int r = 0;

	if (c->cgroup_path && (all || sig == SIGKILL))
		r = signal_cgroup(c, sig, &any, &why);
	if (r < 0 && r != -ENOENT) {
		*e = why;
		return r;
	}
	/* containerd sends `kill --all` after init's end and takes silence as success. */
	if (any || all)
		return 0;
	return status_check(c, EV_KILL, ST_STOPPED, e);
}

/* In a machine they are the guest's: the monitor's is not told by its signals. */
static int kill_all_in_machine(const struct container *c, int sig, struct err *e)
{
	const struct gp_signal s = { .number = sig, .all = 1 };
	_cleanup_close_ int sock = vm_connect(c, e);
	int r = sock < 0 ? sock : vm_request(sock, GP_SIGNAL, &s, sizeof(s), NULL, e);

	return r < 0 ? err_wrap(e, "kill \"%s\"", c->id) : 0;
}

/* All that belong to a living container. */
static int kill_all(const struct container *c, int sig, struct err *e)
{
	bool any;
	int r;

	if (c->vm && sig != SIGKILL)
		return kill_all_in_machine(c, sig, e);

	if (sig == SIGKILL && is_namespace_init(c))
		return signal_init(c, sig, e);
	r = signal_cgroup(c, sig, &any, e);
	if (r < 0)
		return err_wrap(e, "kill \"%s\": cannot reach all its processes", c->id);
	return any ? 0 : signal_init(c, sig, e);
}

static int run_kill(const struct globals *g, void *opts, int argc, char **argv, struct err *e)
{
	_cleanup_container_ struct container *c = NULL;
	const struct kill_opts *o = opts;
	enum status st;
	int r, sig;

	sig = choose_signal(argc > 1 ? argv[1] : "TERM", e);
	if (sig < 0)
		return sig;
	/* No lock: nothing that another verb does may delay a kill. */
	r = container_open(g, argv[0], OPEN_UNLOCKED, &c, e);
	if (r == 0)
		r = container_status(c, &st, e);
	if (r < 0)
		return r;
	if (c->pidfd < 0)
		return kill_stopped(c, sig, o->all, e);
	r = status_check(c, EV_KILL, st, e);
	if (r < 0)
		return r;
	if (o->all)
		return kill_all(c, sig, e);
	if (sig == SIGKILL && !is_namespace_init(c)) {
		if (c->cgroup_path)
			return kill_all(c, sig, e);
		log_warning("kill \"%s\": no PID namespace and no cgroup of its own: processes "
			    "that it started may live on",
		    c->id);
	}
	return signal_init(c, sig, e);
}

static const struct opt kill_opts[] = {
	{ "all", 'a', OPT_FLAG, offsetof(struct kill_opts, all), NULL,
	    "signal every process of the container, also when its init has ended" },
	{ 0 },
};

const struct verb verb_kill = {
	.name = "kill",
	.args = "CONTAINER [SIGNAL]",
	.summary = "send a signal to a container's init process",
	.detail =
	    "SIGNAL is a name, with or without SIG, or a number; TERM by default. 0 only tests "
	    "whether the container runs. KILL also ends a paused container, and all of its "
	    "processes when they have no PID namespace of their own.",
	.examples = "bailey kill web\nbailey kill --all web KILL",
	.opts = kill_opts,
	.opts_size = sizeof(struct kill_opts),
	.min_args = 1,
	.max_args = 2,
	.error_exit = 1,
	.run = run_kill,
};
