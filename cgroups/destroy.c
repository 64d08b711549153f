/* Removing a container's cgroup with all that lives in it. */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/log.h"
#include "cgroups/internal.h"

/* A cgroup may stay busy for a moment after its last process is gone from cgroup.procs. */
static int remove_tree(int root, const char *path, int dirfd)
{
	int64_t end = cg_now_ms() + CG_TIMEOUT_MS;
	long wait_ms = 1;

	for (;;) {
		struct timespec pause = { .tv_nsec = wait_ms * 1000000 };
		int r = cg_remove_children(dirfd);

		if (r == -ENOENT || r == -ENODEV)
			r = 0;
		if (r == 0 && unlinkat(root, path + 1, AT_REMOVEDIR) < 0)
			r = errno == ENOENT ? 0 : -errno;
		if (r != -EBUSY || cg_now_ms() >= end)
			return r;
		nanosleep(&pause, NULL);
		wait_ms = wait_ms < 100 ? wait_ms * 2 : 100;
	}
}

static int open_there(int root, const char *path, struct cgroup *ret, struct err *e)
{
	struct stat st;

	ret->dirfd = openat(root, path + 1, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (ret->dirfd < 0 && errno == ENOENT)
		return -ENOENT; /* without a message: it is no error */
	if (ret->dirfd < 0 || fstat(ret->dirfd, &st) < 0)
		return err_errno(e, errno, "open cgroup %s", path);
	ret->id = st.st_ino;
	return 0;
}

static int empty_and_remove(int root, const char *path, const struct cgroup *c, struct err *e)
{
	int r = cgroup_kill_all(c, SIGKILL, e);

	if (r == -ENOENT || r == -ENODEV) {
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	r = cg_wait_event(c->dirfd, "populated", 0, CG_TIMEOUT_MS);
	if (r == -ETIMEDOUT)
		return err_set(e, EBUSY,
		    "cgroup %s: processes in it survived SIGKILL for %d s: they may be in an "
		    "uninterruptible system call",
		    path, CG_TIMEOUT_MS / 1000);
	if (r < 0 && r != -ENOENT && r != -ENODEV)
		return err_errno(e, -r, "wait for cgroup %s to become empty", path);
	r = remove_tree(root, path, c->dirfd);
	return r < 0 ? err_errno(e, -r, "remove cgroup %s", path) : 0;
}

/* From path's parent up to made_from; the first that is in use (or gone from our reach) ends it. */
static void remove_ancestors(int root, const char *path, const char *made_from)
{
	_cleanup_free_ char *p = xstrdup(path);
	size_t top = strlen(made_from);
	const char *rest = startswith(path, made_from);

	if (!rest || *rest != '/')
		return;
	for (;;) {
		*strrchr(p, '/') = '\0';
		if (strlen(p) < top)
			return;
		if (unlinkat(root, p + 1, AT_REMOVEDIR) < 0 && errno != ENOENT) {
			log_debug("cgroup %s stays: %s", p, strerror(errno));
			return;
		}
	}
}

static int open_for_removal(const char *path, const char *made_from, struct err *e)
{
	int r = cg_check_path(path, e);

	if (r == 0 && made_from)
		r = cg_check_path(made_from, e);
	return r < 0 ? r : cgroup_open_root(e);
}

int cgroup_destroy(const char *path, uint64_t id, const char *made_from, struct err *e)
{
	_cleanup_close_ int root = open_for_removal(path, made_from, e);
	_cleanup_cgroup_ struct cgroup c = CGROUP_INIT;
	int r;

	if (root < 0)
		return steal_fd(&root);
	r = open_there(root, path, &c, e);
	if (r < 0 && r != -ENOENT)
		return r;
	if (r == 0 && id && id != c.id) {
		log_debug("cgroup %s is another one by now: it stays", path);
		return 0;
	}
	/* Most containers are over by now and have no sub-cgroups. */
	if (r == 0 && unlinkat(root, path + 1, AT_REMOVEDIR) < 0 && errno != ENOENT) {
		r = empty_and_remove(root, path, &c, e);
		if (r < 0)
			return r;
	}
	if (made_from)
		remove_ancestors(root, path, made_from);
	return 0;
}

int cgroup_remove_empty(const char *path, const char *made_from, int timeout_ms, struct err *e)
{
	_cleanup_close_ int root = open_for_removal(path, made_from, e);
	_cleanup_cgroup_ struct cgroup c = CGROUP_INIT;
	int r;

	if (root < 0)
		return steal_fd(&root);
	r = open_there(root, path, &c, e);
	if (r == 0)
		r = cg_wait_event(c.dirfd, "populated", 0, timeout_ms);
	else if (r != -ENOENT)
		return r;
	if (r == 0 && unlinkat(root, path + 1, AT_REMOVEDIR) < 0 && errno != ENOENT)
		r = -errno;
	if (r < 0 && r != -ENOENT && r != -ENODEV) {
		log_debug("cgroup %s stays: %s", path, strerror(-r));
		return 0;
	}
	if (made_from)
		remove_ancestors(root, path, made_from);
	return 0;
}
