/* Removing trees that others filled. */
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "images/unpack.h"

/*
 * A container may nest directories deeper than paths are long or descriptors are many. Streams of
 * the first levels stay open; deeper down only the innermost is, and the way back up is "..", which
 * has to be the directory that was left.
 */
#define OPEN_LEVELS 64

struct level {
	DIR *dir; /* NULL: closed meanwhile */
	dev_t dev;
	ino_t ino;
	char *name; /* in the level above */
};

struct removal {
	struct level *levels;
	size_t n, cap;
};

static int failed(struct err *e, int code, const char *what, const char *name)
{
	_cleanup_arena_ struct arena *a = arena_new();

	return err_errno(e, code, "%s %s", what, json_quote(a, name));
}

static struct level *top(struct removal *w)
{
	return &w->levels[w->n - 1];
}

static void pop(struct removal *w)
{
	struct level *l = top(w);

	if (l->dir)
		closedir(l->dir);
	free(l->name);
	w->n--;
}

/* Takes fd over. */
static int push(struct removal *w, int fd, const char *name, struct err *e)
{
	_cleanup_free_ char *kept = xstrdup(name); /* it may be the stream's that is closed below */
	_cleanup_close_ int own = fd;
	struct stat st;
	DIR *dir;

	if (fstat(fd, &st) < 0)
		return failed(e, errno, "stat", name);
	if (w->n && st.st_dev != top(w)->dev)
		return failed(e, EBUSY, "another file system is mounted on", name);
	dir = fdopendir(fd);
	if (!dir)
		return failed(e, errno, "read the directory", name);
	steal_fd(&own);
	if (w->n > OPEN_LEVELS) {
		closedir(top(w)->dir);
		top(w)->dir = NULL;
	}
	if (w->n == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 16;
		w->levels = xrealloc(w->levels, w->cap * sizeof(*w->levels));
	}
	w->levels[w->n++] = (struct level){ dir, st.st_dev, st.st_ino, steal_ptr(kept) };
	return 0;
}

/* From the innermost level, which is empty now, back to the one around it. */
static int leave(struct removal *w, int outside, struct err *e)
{
	struct level *l = top(w), *up = w->n > 1 ? l - 1 : NULL;
	int fd = outside;

	if (up && !up->dir) {
		_cleanup_close_ int parent =
		    openat(dirfd(l->dir), "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		struct stat st;

		if (parent < 0 || fstat(parent, &st) < 0)
			return failed(e, errno, "go back from", l->name);
		if (st.st_dev != up->dev || st.st_ino != up->ino)
			return failed(e, EBUSY, "moved while it was being removed:", l->name);
		up->dir = fdopendir(parent);
		if (!up->dir)
			return failed(e, errno, "read the directory around", l->name);
		steal_fd(&parent);
	}
	if (up)
		fd = dirfd(up->dir);
	if (unlinkat(fd, l->name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return failed(e, errno, "rmdir", l->name);
	pop(w);
	return 0;
}

/* Removes name, or descends into it. */
static int remove_one(struct removal *w, int fd, const char *name, bool maybe_dir, struct err *e)
{
	int sub;

	if (unlinkat(fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	/* POSIX lets unlink(2) say EPERM of a directory; Linux says EISDIR. */
	if (errno != EISDIR && !(maybe_dir && errno == EPERM))
		return failed(e, errno, "unlink", name);
	if (unlinkat(fd, name, AT_REMOVEDIR) == 0)
		return 0;
	sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sub < 0)
		return failed(e, errno, "open the directory", name);
	return push(w, sub, name, e);
}

static int step(struct removal *w, int outside, struct err *e)
{
	DIR *dir = top(w)->dir;
	struct dirent *de;

	errno = 0;
	do
		de = readdir(dir);
	while (de && (streq(de->d_name, ".") || streq(de->d_name, "..")));
	if (!de && errno)
		return failed(e, errno, "read the directory", top(w)->name);
	if (!de)
		return leave(w, outside, e);
	return remove_one(
	    w, dirfd(dir), de->d_name, de->d_type == DT_DIR || de->d_type == DT_UNKNOWN, e);
}

int tree_remove(int dirfd_, const char *name, struct err *e)
{
	struct removal w = { 0 };
	int r = remove_one(&w, dirfd_, name, true, e);

	while (r == 0 && w.n > 0)
		r = step(&w, dirfd_, e);
	while (w.n > 0)
		pop(&w);
	free(w.levels);
	return r;
}
