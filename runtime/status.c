/*
 * Status is read off the kernel, never off a stored word:
 *
 *   creating  state.json is not marked ready, and init lives or who makes it holds the lock
 *   created   init lives and still listens on start.sock
 *   running   init lives and executed the payload: the socket is closed
 *   paused    running, and its cgroup is frozen
 *   stopped   no such process, a zombie, or another process with that number
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/sys.h"
#include "runtime/container.h"
#include "runtime/procstat.h"

const char *const status_names[ST_COUNT] = {
	[ST_CREATING] = "creating",
	[ST_CREATED] = "created",
	[ST_RUNNING] = "running",
	[ST_PAUSED] = "paused",
	[ST_STOPPED] = "stopped",
};

/* The order closes the race with pid reuse: what pidfd holds cannot be replaced while it is
 * compared. */
static bool init_alive(struct container *c)
{
	_cleanup_close_ int pidfd = -EBADF;
	struct procstat st;

	if (c->pid <= 0)
		return false;
	pidfd = sys_pidfd_open(c->pid, 0);
	if (pidfd < 0 || procstat_read(c->pid, &st) < 0)
		return false;
	if (st.start_time != c->start_time || st.state == 'Z' || st.state == 'X')
		return false;
	closep(&c->pidfd);
	c->pidfd = steal_fd(&pidfd);
	return true;
}

/* Who holds the lock itself is the only one who can be at work. */
static bool maker_at_work(const struct container *c)
{
	_cleanup_close_ int fd =
	    c->lockfd >= 0 ? -EBADF : openat(c->dirfd, "lock", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* Without waiting: a frozen init lets nobody in, and its backlog fills up (EAGAIN). */
static bool still_listening(const struct container *c)
{
	_cleanup_close_ int fd =
	    unix_connect_at(SOCK_SEQPACKET | SOCK_NONBLOCK, c->dirfd, "start.sock");

	return fd >= 0 || fd == -EAGAIN;
}

int container_status(struct container *c, enum status *ret, struct err *e)
{
	bool frozen = false;

	if (!init_alive(c)) {
		*ret = !c->ready && maker_at_work(c) ? ST_CREATING : ST_STOPPED;
		return 0;
	}
	if (!c->ready) {
		*ret = ST_CREATING;
		return 0;
	}
	*ret = still_listening(c) ? ST_CREATED : ST_RUNNING;
	if (c->cgroup_path) {
		_cleanup_cgroup_ struct cgroup cg = CGROUP_INIT;
		struct err gone = ERR_INIT;

		if (container_cgroup(c, &cg, &gone) == 0 &&
		    cgroup_is_frozen(&cg, &frozen, &gone) == 0 && frozen)
			*ret = ST_PAUSED;
	}
	return 0;
}

/* Which status allows which verb; the text for the others is what engines look for. */
#define ON(st) (1u << (st))
#define ALIVE  (ON(ST_CREATED) | ON(ST_RUNNING) | ON(ST_PAUSED))
static const struct {
	const char *verb;
	unsigned allowed;
	int code;
	const char *text;
} legal[EV_COUNT] = {
	[EV_START] = { "start", ON(ST_CREATED), EBUSY, "only a created container can be started" },
	[EV_EXEC] = { "exec", ON(ST_CREATED) | ON(ST_RUNNING), EBUSY, "container not running" },
	[EV_KILL] = { "kill", ALIVE | ON(ST_CREATING), ESRCH, "container not running" },
	[EV_DELETE] = { "delete", ON(ST_STOPPED) | ON(ST_CREATED), EBUSY,
	    "container is not stopped, --force kills it first" },
	[EV_PAUSE] = { "pause", ON(ST_CREATED) | ON(ST_RUNNING), EBUSY, "container not running" },
	[EV_RESUME] = { "resume", ON(ST_PAUSED), EBUSY, "container not paused" },
	[EV_UPDATE] = { "update", ALIVE, EBUSY, "container not running" },
	[EV_PS] = { "ps", ALIVE, EBUSY, "container not running" },
	[EV_EVENTS] = { "events", ALIVE, EBUSY, "container not running" },
};

int status_check(const struct container *c, enum container_event ev, enum status st, struct err *e)
{
	if (legal[ev].allowed & ON(st))
		return 0;
	return err_set(e, legal[ev].code, "cannot %s container \"%s\": %s (it is %s)",
	    legal[ev].verb, c->id, legal[ev].text, status_names[st]);
}
