/*
 * Directories of work in progress. Their owner holds a lock beside each; who finds one unlocked
 * finds what a killed process left.
 *
 * The lock is there before the directory and goes after it, so a directory without one is left over
 * too. A lock that somebody else took and unlinked between our open and our flock is seen by its
 * link count.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "images/store.h"

#define NAME_TRIES 100

static void lock_name(const char *name, char ret[40])
{
	snprintf(ret, 40, "%s.lock", name);
}

static int random_name(char ret[32], struct err *e)
{
	uint64_t v;

	if (getrandom(&v, sizeof(v), 0) != sizeof(v))
		return err_errno(e, errno, "getrandom");
	snprintf(ret, 32, "%016llx", (unsigned long long)v);
	return 0;
}

/* 1: ours; 0: a sweep was faster, or the name is taken. */
static int try_lock(struct stage *st, struct err *e)
{
	char lock[40];
	struct stat sb;

	lock_name(st->name, lock);
	st->lockfd =
	    openat(st->parentfd, lock, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (st->lockfd < 0)
		return errno == EEXIST ? 0 : err_errno(e, errno, "create %s", lock);
	if (flock(st->lockfd, LOCK_EX | LOCK_NB) == 0 && fstat(st->lockfd, &sb) == 0 && sb.st_nlink)
		return 1;
	closep(&st->lockfd);
	st->lockfd = -EBADF;
	return 0;
}

int stage_new(int parentfd, const char *what, struct stage *ret, struct err *e)
{
	struct stage st = STAGE_INIT;
	int r = 0;

	st.parentfd = parentfd;
	for (int i = 0; i < NAME_TRIES && r == 0; i++) {
		r = random_name(st.name, e);
		if (r == 0)
			r = try_lock(&st, e);
	}
	if (r == 0)
		r = err_set(e, EEXIST, "no free name");
	if (r > 0 && mkdirat(parentfd, st.name, 0700) < 0)
		r = err_errno(e, errno, "mkdir %s", st.name);
	if (r >= 0) {
		st.fd = openat(parentfd, st.name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (st.fd < 0)
			r = err_errno(e, errno, "open %s", st.name);
	}
	if (r < 0) {
		stage_remove(&st);
		return err_wrap(e, "%s", what);
	}
	*ret = st;
	return 0;
}

void stage_close(struct stage *st)
{
	closep(&st->fd);
	closep(&st->lockfd);
	st->fd = st->lockfd = -EBADF;
}

void stage_remove(struct stage *st)
{
	struct err ignored = ERR_INIT; /* the next sweep tries again */
	char lock[40];

	if (st->lockfd < 0)
		return;
	lock_name(st->name, lock);
	if (tree_remove(st->parentfd, st->name, &ignored) == 0)
		(void)unlinkat(st->parentfd, lock, 0);
	stage_close(st);
}

/* name: of the directory. */
static int sweep_one(
    int parentfd, const char *name, bool (*keep)(int parentfd, const char *name), struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	char lock[40];
	int r;

	if (strlen(name) >= 32)
		return 0; /* none of ours */
	lock_name(name, lock);
	fd = openat(parentfd, lock, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno != ENOENT)
		return err_errno(e, errno, "open %s", lock);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0)
		return 0;
	if (keep && keep(parentfd, name))
		return 0;
	r = tree_remove(parentfd, name, e);
	if (r == 0)
		(void)unlinkat(parentfd, lock, 0);
	return r;
}

int stage_sweep(int parentfd, bool (*keep)(int parentfd, const char *name), struct err *e)
{
	_cleanup_strv_ char **names = NULL;
	_cleanup_closedir_ DIR *d = NULL;
	int fd = openat(parentfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		closep(&fd);
		return err_errno(e, errno, "read the directory of work in progress");
	}
	for (struct dirent *ent; (ent = readdir(d));) {
		size_t n = strlen(ent->d_name);

		if (ent->d_name[0] == '.')
			continue;
		if (endswith(ent->d_name, ".lock"))
			n -= strlen(".lock");
		strv_push(&names, xstrndup(ent->d_name, n));
	}
	for (size_t i = 0; i < strv_len(names) && r == 0; i++)
		r = sweep_one(parentfd, names[i], keep, e);
	return r;
}
