/* Waiting for the OOM killer. Both files notify pollers of each change. */
#include <fcntl.h>
#include <limits.h>
#include <poll.h>

#include "base/fd.h"
#include "cgroups/internal.h"

static int open_events(int dirfd, const char *file)
{
	int fd = openat(dirfd, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	return fd < 0 ? -errno : fd;
}

/* 1: over, or *count rose (in *rose); 0: wait on. Raw -errno. */
static int look(int mem, int core, uint64_t *count, bool *rose)
{
	uint64_t populated, kills = *count;
	int r = mem >= 0 ? cg_pread_key(mem, "oom_kill", &kills) : 0;

	if (r == 0)
		r = cg_pread_key(core, "populated", &populated);
	if (r < 0) /* -ENODEV: the cgroup was removed */
		return r == -ENODEV ? 1 : r;
	*rose = kills > *count;
	*count = kills;
	return !populated || *rose;
}

int cgroup_wait_oom(
    const struct cgroup *c, int other, uint64_t *count, int timeout_ms, struct err *e)
{
	_cleanup_close_ int mem = -EBADF, core = -EBADF;
	int64_t end = cg_now_ms() + timeout_ms;
	char name[CG_NAME_MAX];
	int r = cg_require(c, e);

	if (r < 0)
		return r;
	core = open_events(c->dirfd, "cgroup.events");
	if (core == -ENOENT || core == -ENODEV)
		return 1;
	mem = open_events(c->dirfd, "memory.events"); /* absent without memory controller */
	if (core < 0 || (mem < 0 && mem != -ENOENT && mem != -ENODEV)) {
		r = core < 0 ? core : mem;
		return err_errno(e, -r, "open the events of cgroup %s", cg_name(c->dirfd, name));
	}
	for (;;) {
		struct pollfd p[] = { { .fd = core, .events = POLLPRI },
			{ .fd = mem < 0 ? -1 : mem, .events = POLLPRI },
			{ .fd = other, .events = POLLIN } };
		int64_t left = timeout_ms < 0 ? -1 : end - cg_now_ms();
		bool rose = false;

		r = look(mem, core, count, &rose);
		if (r < 0)
			return err_errno(
			    e, -r, "read the events of cgroup %s", cg_name(c->dirfd, name));
		if (r > 0)
			return !rose;
		if (timeout_ms == 0 || (timeout_ms > 0 && left <= 0))
			return 0;
		if (poll(p, ARRAY_SIZE(p), (int)left) < 0 && errno != EINTR)
			return err_errno(e, errno, "poll");
		if (p[2].revents)
			timeout_ms = 0; /* one more look */
	}
}
