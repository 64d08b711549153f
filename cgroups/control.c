/* Freezing, killing, and waiting for cgroup.events. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <time.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/sys.h"
#include "cgroups/internal.h"

int64_t cg_now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- cgroup.events ---- */

int cg_wait_event(int dirfd, const char *key, uint64_t want, int timeout_ms)
{
	_cleanup_close_ int fd = openat(dirfd, "cgroup.events", O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	int64_t end = cg_now_ms() + timeout_ms;

	if (fd < 0)
		return -errno;
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLPRI };
		int64_t left = end - cg_now_ms();
		uint64_t v = 0;
		int r = cg_pread_key(fd, key, &v);

		if (r < 0)
			return r;
		if (v == want)
			return 0;
		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
	}
}

int cgroup_populated(const struct cgroup *c, bool *ret, struct err *e)
{
	char name[CG_NAME_MAX];
	uint64_t v;
	int r = cg_require(c, e);

	if (r < 0)
		return r;
	r = cg_read_key(c->dirfd, "cgroup.events", "populated", &v);
	if (r < 0)
		return err_errno(e, -r, "read %s/cgroup.events", cg_name(c->dirfd, name));
	*ret = v != 0;
	return 0;
}

/* ---- freezer ---- */

int cg_freeze(const struct cgroup *c, bool frozen, int timeout_ms, struct err *e)
{
	const char *what = frozen ? "freeze" : "thaw";
	char name[CG_NAME_MAX];
	int r = cg_require(c, e);

	if (r < 0)
		return r;
	r = kfile_write(c->dirfd, "cgroup.freeze", frozen ? "1" : "0");
	if (r == 0)
		r = cg_wait_event(c->dirfd, "frozen", frozen, timeout_ms);
	if (r == 0)
		return 0;
	cg_name(c->dirfd, name);
	if (r != -ETIMEDOUT)
		return err_errno(e, -r, "%s cgroup %s", what, name);
	if (!frozen)
		return err_set(e, ETIMEDOUT,
		    "cgroup %s was not thawed within %d ms: a cgroup above it may be frozen", name,
		    timeout_ms);
	r = kfile_write(c->dirfd, "cgroup.freeze", "0");
	if (r < 0)
		return err_errno(
		    e, -r, "cgroup %s was not frozen in time, and thawing it again failed", name);
	return err_set(e, ETIMEDOUT,
	    "cgroup %s was not frozen within %d ms and was thawed again: a process in it may be in "
	    "an uninterruptible system call",
	    name, timeout_ms);
}

int cgroup_freeze(const struct cgroup *c, bool frozen, struct err *e)
{
	return cg_freeze(c, frozen, CG_TIMEOUT_MS, e);
}

int cgroup_is_frozen(const struct cgroup *c, bool *ret, struct err *e)
{
	char name[CG_NAME_MAX];
	uint64_t v;
	int r = cg_require(c, e);

	if (r < 0)
		return r;
	r = cg_read_u64(c->dirfd, "cgroup.freeze", &v);
	if (r < 0)
		return err_errno(e, -r, "read %s/cgroup.freeze", cg_name(c->dirfd, name));
	*ret = v != 0;
	return 0;
}

/* ---- signals ---- */

/* Descriptors at a time: far below the usual limit of 1024. */
#define BATCH 128

static int cmp_pid(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return x < y ? -1 : x > y;
}

/*
 * A pid read from cgroup.procs may be another process's by the time it is used. So: open pidfds of
 * those listed, list again, and signal by pidfd those that are still listed. A pidfd keeps meaning
 * the process it was opened for; one whose process ended in between gives ESRCH.
 */
static int signal_batch(int fd, const pid_t *pids, size_t n, int sig)
{
	int pidfd[BATCH], r = 0;
	struct cg_pidv now = { 0 };

	for (size_t i = 0; i < n; i++) {
		pidfd[i] = sys_pidfd_open(pids[i], 0);
		/* These three: it ended since, and a thread may have the number now. */
		if (pidfd[i] < 0 && errno != ESRCH && errno != EINVAL && errno != ENOENT)
			r = -errno;
	}
	if (r == 0)
		r = cg_read_pids(fd, &now);
	if (now.n)
		qsort(now.v, now.n, sizeof(pid_t), cmp_pid);
	for (size_t i = 0; i < n; i++) {
		if (pidfd[i] < 0)
			continue;
		if (r == 0 && now.n && bsearch(&pids[i], now.v, now.n, sizeof(pid_t), cmp_pid) &&
		    sys_pidfd_send_signal(pidfd[i], sig) < 0 && errno != ESRCH)
			r = -errno;
		close(pidfd[i]);
	}
	free(now.v);
	return r;
}

static int signal_one_cgroup(int fd, void *arg)
{
	struct cg_pidv v = { 0 };
	int r = cg_read_pids(fd, &v);

	for (size_t i = 0; r == 0 && i < v.n; i += BATCH)
		r = signal_batch(fd, v.v + i, v.n - i < BATCH ? v.n - i : BATCH, *(int *)arg);
	free(v.v);
	return r == -EOPNOTSUPP || r == -ENODEV ? 0 : r;
}

/* Linux before 5.14 has no cgroup.kill: kill until none is left, for they may fork meanwhile. */
static int kill_by_walking(int dirfd)
{
	int sig = SIGKILL, r;
	int64_t end = cg_now_ms() + CG_TIMEOUT_MS;

	do {
		r = cg_walk(dirfd, signal_one_cgroup, &sig);
		if (r == 0)
			r = cg_wait_event(dirfd, "populated", 0, 20);
	} while (r == -ETIMEDOUT && cg_now_ms() < end);
	return r;
}

int cgroup_kill_all(const struct cgroup *c, int sig, struct err *e)
{
	char name[CG_NAME_MAX];
	int r = cg_require(c, e);

	if (r < 0)
		return r;
	if (sig == SIGKILL) {
		r = kfile_write(c->dirfd, "cgroup.kill", "1");
		if (r == -ENOENT && cg_has_word(c->dirfd, "cgroup.type", "domain") >= 0)
			r = kill_by_walking(c->dirfd);
	} else {
		r = cg_walk(c->dirfd, signal_one_cgroup, &sig);
	}
	if (r < 0)
		return err_errno(e, -r, "send signal %d to the processes of cgroup %s", sig,
		    cg_name(c->dirfd, name));
	return 0;
}
