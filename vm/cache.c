#include "vm/cache.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"

#define LOCK	      ".lock"
#define UNFINISHED    ".new"
#define LOCK_TRIES    1000 /* of LOCK_NAP each: a maker needs milliseconds, a frozen one for ever */
#define LOCK_NAP_NSEC 10000000
#define OTHERS_WRITE  (S_IWGRP | S_IWOTH)

void cache_close(struct cache *c)
{
	closep(&c->fd);
	free(c->path);
	*c = (struct cache)CACHE_NONE;
}

/* ---- the directory ---- */

/* NULL: nowhere. */
static char *default_path(bool rootless)
{
	const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
	_cleanup_free_ char *parent = NULL;

	if (!rootless)
		return xstrdup("/var/cache/bailey");
	if (xdg && path_is_absolute(xdg))
		parent = xstrdup(xdg);
	else if (home && path_is_absolute(home))
		parent = path_join(home, ".cache");
	else
		return NULL;
	/* The first program that keeps something there makes it. */
	mkdir(parent, 0700);
	return path_join(parent, "bailey");
}

int cache_open(const char *dir, bool rootless, struct cache *ret, struct err *e)
{
	_cleanup_free_ char *path = dir ? xstrdup(dir) : default_path(rootless);
	_cleanup_close_ int fd = -EBADF;
	struct stat st;

	*ret = (struct cache)CACHE_NONE;
	if (!path)
		return 0;
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		log_debug("cache: make %s: %s", path, strerror(errno));
	fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 && (errno == ENOTDIR || errno == ELOOP))
		return err_errno(e, errno, "%s shall be the directory of cached files", path);
	if (fd < 0 || fstat(fd, &st) < 0) {
		log_debug("cache: open %s: %s", path, strerror(errno));
		return 0;
	}
	if (st.st_uid != geteuid())
		return err_set(e, EPERM,
		    "%s: owned by user %u: what is cached there would be trusted; remove it or "
		    "give it to user %u",
		    path, st.st_uid, geteuid());
	if (st.st_mode & OTHERS_WRITE)
		return err_set(e, EPERM,
		    "%s: others may write to it (mode %04o): what is cached there would be "
		    "trusted; remove it, or chmod 0700",
		    path, st.st_mode & 07777);
	ret->fd = steal_fd(&fd);
	ret->path = steal_ptr(path);
	return 0;
}

/* ---- files ---- */

int cache_get(const struct cache *c, const char *name)
{
	_cleanup_close_ int fd =
	    openat(c->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || st.st_mode & OTHERS_WRITE ||
	    st.st_size == 0)
		return -ENOENT;
	return steal_fd(&fd);
}

/* Returns the lock's descriptor, or -errno. It ends with the process, however that ends. */
static int lock(const struct cache *c)
{
	_cleanup_close_ int fd =
	    openat(c->fd, LOCK, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return -errno;
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, LOCK_EX | LOCK_NB) == 0)
			return steal_fd(&fd);
		if (errno != EWOULDBLOCK && errno != EINTR)
			return -errno;
		nanosleep(&(struct timespec){ .tv_nsec = LOCK_NAP_NSEC }, NULL);
	}
	return -EBUSY;
}

struct old_file {
	char *name;
	struct timespec made;
};

static int by_age(const void *a, const void *b)
{
	const struct timespec *x = &((const struct old_file *)a)->made;
	const struct timespec *y = &((const struct old_file *)b)->made;

	if (x->tv_sec != y->tv_sec)
		return x->tv_sec < y->tv_sec ? -1 : 1;
	return x->tv_nsec < y->tv_nsec ? -1 : x->tv_nsec > y->tv_nsec;
}

/* Removes the oldest files of name's kind. Whoever has one open keeps it. */
static void prune(const struct cache *c, const char *name)
{
	size_t kind = strcspn(name, "-"), n = 0;
	struct old_file *v = NULL;
	int fd = openat(c->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct stat st;

	for (struct dirent *de; d && (de = readdir(d));) {
		if (strncmp(de->d_name, name, kind + 1) != 0 ||
		    fstatat(c->fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		v = xrealloc(v, (n + 1) * sizeof(*v));
		v[n++] = (struct old_file){ xstrdup(de->d_name), st.st_mtim };
	}
	if (n)
		qsort(v, n, sizeof(*v), by_age);
	for (size_t i = 0; i < n; i++) {
		if (i + CACHE_KEEP < n && !streq(v[i].name, name))
			unlinkat(c->fd, v[i].name, 0);
		free(v[i].name);
	}
	free(v);
}

/* Under the lock. */
static int make(const struct cache *c, const char *name, cache_fill fill, void *arg, struct err *e)
{
	_cleanup_free_ char *path = path_join(c->path, name);
	_cleanup_close_ int fd = -EBADF;
	int r;

	/* Left by a maker that was killed. */
	if (unlinkat(c->fd, UNFINISHED, 0) < 0 && errno != ENOENT)
		return err_errno(e, errno, "remove %s/" UNFINISHED, c->path);
	fd = openat(c->fd, UNFINISHED, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return err_errno(e, errno, "create %s/" UNFINISHED, c->path);
	r = fill(fd, path, arg, e);
	/* A file that power loss left empty under its final name would be found by everybody. */
	if (r == 0 && (fsync(fd) < 0 || renameat(c->fd, UNFINISHED, c->fd, name) < 0))
		r = err_errno(e, errno, "write %s", path);
	if (r < 0)
		unlinkat(c->fd, UNFINISHED, 0);
	else
		prune(c, name);
	return r;
}

int cache_make(
    const struct cache *c, const char *name, cache_fill fill, void *arg, int *ret_fd, struct err *e)
{
	_cleanup_close_ int locked = -EBADF;
	int fd = cache_get(c, name), r;

	if (fd == -ENOENT) {
		locked = lock(c);
		if (locked < 0)
			return err_errno(e, -locked, "lock %s/" LOCK, c->path);
		/* Another process has made it meanwhile. */
		fd = cache_get(c, name);
	}
	if (fd == -ENOENT) {
		r = make(c, name, fill, arg, e);
		if (r < 0)
			return r;
		fd = cache_get(c, name);
	}
	if (fd < 0)
		return err_errno(e, -fd, "open %s/%s", c->path, name);
	*ret_fd = fd;
	return 0;
}
