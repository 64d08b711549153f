/*
 * The end of a container: its processes, its cgroup, its hooks, its network, its memory.
 *
 * The same steps undo a create that failed, end a container for `delete`, and find what a runtime
 * left that was killed: they go by state.json and the kernel's facts alone.
 */
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "netsetup/network.h"
#include "process/hooks.h"
#include "runtime/image_work.h"
#include "runtime/lifecycle.h"

#define END_TIMEOUT_MS 10000

/* SIGKILL works at once, unless the process waits for a device or a network file system. */
static int wait_for_end(const struct container *c, struct err *e)
{
	struct pollfd p = { .fd = c->pidfd, .events = POLLIN };
	int n;

	while ((n = poll(&p, 1, END_TIMEOUT_MS)) < 0 && errno == EINTR)
		;
	if (n < 0)
		return err_errno(e, errno, "wait for the end of init (pid %d)", c->pid);
	if (n == 0)
		return err_set(e, EBUSY,
		    "init (pid %d) survived SIGKILL for %d s: it may be in an uninterruptible "
		    "system call",
		    c->pid, END_TIMEOUT_MS / 1000);
	return 0;
}

/* Init first, by a descriptor that cannot be another process; its cgroup then takes all that it
 * left. */
static int end_processes(struct container *c, struct err *e)
{
	enum status st;
	int r = container_status(c, &st, e);

	if (r < 0)
		return r;
	if (c->pidfd >= 0 && sys_pidfd_send_signal(c->pidfd, SIGKILL) < 0 && errno != ESRCH)
		return err_errno(e, errno, "kill init (pid %d)", c->pid);
	r = container_remove_cgroup(c, e);
	return r < 0 || c->pidfd < 0 ? r : wait_for_end(c, e);
}

static void stop_hooks(struct container *c)
{
	struct spec_state state;
	struct spec *s;
	struct err e = ERR_INIT;

	if (!c->spec && faccessat(c->dirfd, "config.json", F_OK, 0) < 0)
		return;
	container_state(c, ST_STOPPED, &state);
	if (container_spec(c, &s, &e) < 0 || hooks_run(s, HOOK_POSTSTOP, &state, NULL, &e) < 0)
		log_warning("%s", e.msg);
}

int container_destroy(struct container *c, struct err *e)
{
	int r = end_processes(c, e);

	if (r < 0)
		return r;
	stop_hooks(c);
	if (c->network && (r = net_undo(c->dir, c->dirfd, e)) < 0)
		return r;
	if (c->owns_bundle && c->bundle && (r = image_bundle_remove(c->bundle, e)) < 0)
		return r;
	return container_forget(c, e);
}
