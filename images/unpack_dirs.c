/*
 * Directories of a layer: found, made, remembered.
 *
 * Entries come sorted by directory, so a few open ones serve almost all of them. Whatever could
 * make a cached path lead elsewhere is the removal of a directory or a symlink, and that empties
 * the cache.
 *
 * Modes and times of directories are set when all is done: a time would change with the next file
 * made inside, a mode may keep an unprivileged process out. Until then a directory is 0700.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "images/unpack_internal.h"

#define DIR_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)

static int about(struct err *e, int code, const char *what, const char *path)
{
	_cleanup_arena_ struct arena *a = arena_new();

	return err_errno(e, code, "%s %s", what, json_quote(a, *path ? path : "/"));
}

/* ---- the cache ---- */

static void drop(struct dir *d)
{
	closep(&d->fd);
	free(d->path);
	*d = (struct dir){ .fd = -EBADF };
}

void dir_forget(struct apply *a)
{
	for (size_t i = 0; i < DIR_CACHE; i++)
		a->cache[i].stale = true;
}

static struct dir *cache_find(struct apply *a, const char *path)
{
	/* From the last one put in. */
	for (unsigned i = 0; i < DIR_CACHE; i++) {
		struct dir *d = &a->cache[(a->hand - i) % DIR_CACHE];

		if (d->fd >= 0 && !d->stale && streq(d->path, path))
			return d;
	}
	return NULL;
}

static struct dir *cache_put(struct apply *a, const char *path, int fd, uint64_t ino)
{
	struct dir *d = &a->cache[++a->hand % DIR_CACHE];

	drop(d);
	*d = (struct dir){ .path = xstrdup(path), .fd = fd, .ino = ino };
	return d;
}

/* ---- records for the end ---- */

/* A new record, or the old one of the same inode emptied: its directory is gone then. */
static struct late *late_new(struct apply *a, uint64_t ino, char *path)
{
	uint64_t *at = u64map_get(&a->late_of, ino);
	struct late *l;

	if (!at) {
		if ((a->n_late & (a->n_late - 1)) == 0)
			a->late =
			    xrealloc(a->late, (a->n_late ? a->n_late * 2 : 1) * sizeof(*a->late));
		u64map_put(&a->late_of, ino, a->n_late);
		l = &a->late[a->n_late++];
	} else {
		l = &a->late[*at];
		a->late_bytes -= strlen(l->path);
		free(l->path);
	}
	a->late_bytes += strlen(path);
	*l = (struct late){ .path = path, .ino = ino };
	return l;
}

static struct late *late_find(struct apply *a, uint64_t ino)
{
	uint64_t *at = u64map_get(&a->late_of, ino);

	return at ? &a->late[*at] : NULL;
}

/* Where fd is below the root, by the kernel's word: its path went through symlinks. */
static int real_path(struct apply *a, int fd, char **ret, struct err *e)
{
	char link[FD_PATH_MAX], root[PATH_MAX], path[PATH_MAX];
	ssize_t n_root = readlink(fd_path(a->root, link), root, sizeof(root));
	ssize_t n = readlink(fd_path(fd, link), path, sizeof(path) - 1);

	if (n_root < 0 || n < 0)
		return err_errno(e, errno, "readlink %s", link);
	if (n_root == 1)
		n_root = 0; /* "/" */
	if (n == sizeof(path) - 1 || n < n_root || memcmp(path, root, (size_t)n_root) != 0)
		return err_set(e, ENAMETOOLONG, "a directory's path is too long");
	path[n] = '\0';
	*ret = xstrdup(path + n_root + (path[n_root] == '/'));
	return 0;
}

/* An existing directory: its time is to be as it was, unless an entry names it. */
static int late_existing(
    struct apply *a, int fd, const char *path, bool symlinks, struct stat *st, struct err *e)
{
	char *real = NULL;
	struct late *l;
	int r;

	if (fstat(fd, st) < 0)
		return about(e, errno, "stat", path);
	if (late_find(a, st->st_ino))
		return 0;
	if (symlinks) {
		r = real_path(a, fd, &real, e);
		if (r < 0)
			return r;
	} else {
		real = xstrdup(path);
	}
	l = late_new(a, st->st_ino, real);
	l->mtime = st->st_mtim;
	l->set_mtime = true;
	return 0;
}

/* ---- making ---- */

static int new_path(struct apply *a, const struct place *p, char **ret, struct err *e)
{
	const char *parent = late_find(a, p->dir->ino)->path;

	if (strlen(parent) + 1 + strlen(p->name) > TAR_PATH_MAX)
		return err_set(e, ENAMETOOLONG,
		    "through symlinks its directory's name is longer than %d bytes", TAR_PATH_MAX);
	*ret = xasprintf("%s%s%s", parent, *parent ? "/" : "", p->name);
	return 0;
}

/* What is in the way of a directory goes, if it may. *opaque: what it replaces hid lower layers. */
static int clear_place(
    struct apply *a, const struct place *p, bool replace, bool *exists, bool *opaque, struct err *e)
{
	struct stat st;
	int r;

	*exists = false;
	if (fstatat(p->dir->fd, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return about(e, errno, "stat", p->name);
	*exists = S_ISDIR(st.st_mode);
	if (*exists)
		return 0;
	*opaque = a->opts->mode == UNPACK_OVERLAY;
	if (!replace && !(*opaque && is_whiteout(&st)))
		return about(e, ENOTDIR, "parent", p->name);
	r = make_way(a, p, e);
	if (r == 0 && mkdirat(p->dir->fd, p->name, 0700) < 0)
		r = about(e, errno, "mkdir", p->name);
	return r;
}

/* implied: no entry says whose it is. */
static int record_new(struct apply *a, const struct place *p, int fd, bool implied, bool opaque,
    struct late **ret, struct err *e)
{
	char *path = NULL;
	struct stat st;
	uid_t uid = 0;
	gid_t gid = 0;
	int r = fstat(fd, &st) < 0 ? about(e, errno, "stat", p->name) : 0;

	if (r == 0 && implied)
		r = map_owner(a, 0, 0, &uid, &gid, e);
	if (r == 0 && implied && (st.st_uid != uid || st.st_gid != gid) && fchown(fd, uid, gid) < 0)
		r = about(e, errno, "chown", p->name);
	if (r == 0 && opaque)
		r = mark_opaque(a, fd, e);
	if (r == 0)
		r = new_path(a, p, &path, e);
	if (r < 0)
		return r;
	*ret = late_new(a, st.st_ino, path);
	(*ret)->mode = IMPLIED_DIR_MODE;
	(*ret)->set_mode = true;
	made_add(a, p);
	return 0;
}

int dir_make(struct apply *a, const struct place *p, bool replace, int *ret_fd,
    struct late **ret_late, bool *existed, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	bool exists = false, opaque = false;
	struct stat st;
	int r = 0;

	if (mkdirat(p->dir->fd, p->name, 0700) < 0) {
		if (errno != EEXIST)
			return about(e, errno, "mkdir", p->name);
		r = clear_place(a, p, replace, &exists, &opaque, e);
		if (r < 0)
			return r;
	}
	fd = openat(p->dir->fd, p->name, DIR_FLAGS | O_NOFOLLOW);
	if (fd < 0)
		return about(e, errno, "open", p->name);
	if (exists) {
		char *path = NULL;

		r = new_path(a, p, &path, e);
		if (r == 0)
			r = late_existing(a, fd, path, false, &st, e);
		free(path);
		if (r == 0)
			*ret_late = late_find(a, st.st_ino);
	} else {
		r = record_new(a, p, fd, !replace, opaque, ret_late, e);
	}
	if (r < 0)
		return r;
	if (existed)
		*existed = exists;
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* ---- opening ---- */

static int open_existing(struct apply *a, const char *path, struct dir **ret, struct err *e)
{
	_cleanup_close_ int fd = root_open_nosym(a->root, *path ? path : ".", DIR_FLAGS, 0);
	bool symlinks = fd == -ELOOP;
	struct stat st;
	int r;

	if (symlinks)
		fd = root_open(a->root, path, DIR_FLAGS, 0);
	if (fd == -ENOENT || fd == -ENOTDIR)
		return 0;
	if (fd < 0)
		return about(e, -fd, "open the directory", path);
	r = late_existing(a, fd, path, symlinks, &st, e);
	if (r < 0)
		return r;
	*ret = cache_put(a, path, steal_fd(&fd), st.st_ino);
	return 1;
}

/* The longest part of path that is there; *rest becomes what is missing of it, "" for nothing. */
static int open_prefix(
    struct apply *a, char *path, struct dir **ret, const char **rest, struct err *e)
{
	size_t end = strlen(path);
	int r;

	for (*rest = path + end;; *rest = path + end + (end > 0)) {
		char kept = path[end];

		path[end] = '\0';
		*ret = cache_find(a, path);
		r = *ret ? 1 : open_existing(a, path, ret, e);
		path[end] = kept;
		if (r != 0)
			return r;
		if (end == 0)
			return err_set(e, ENOENT, "the directory to unpack into is gone");
		while (end > 0 && path[end - 1] != '/')
			end--;
		end -= end > 0; /* the slash */
	}
}

int dir_open(struct apply *a, const char *path, struct dir **ret, struct err *e)
{
	_cleanup_free_ char *copy = NULL;
	const char *rest;
	struct dir *d = cache_find(a, path);
	char *p;
	int r;

	if (d) {
		*ret = d;
		return 0;
	}
	copy = xstrdup(path);
	r = open_prefix(a, copy, &d, &rest, e);
	for (p = copy + (rest - copy); r >= 0 && *p;) {
		char *slash = strchrnul(p, '/'), kept = *slash;
		struct place place = { d, p };
		struct late *l;
		int fd = -EBADF;

		*slash = '\0';
		r = apply_count(a, e);
		if (r == 0)
			r = dir_make(a, &place, false, &fd, &l, NULL, e);
		if (r == 0)
			d = cache_put(a, copy, fd, l->ino);
		*slash = kept;
		p = slash + (kept == '/');
	}
	if (r < 0)
		return r;
	*ret = d;
	return 0;
}

int dir_root(struct apply *a, int *ret_fd, struct late **ret_late, struct err *e)
{
	struct dir *d;
	int r = dir_open(a, "", &d, e);

	if (r < 0)
		return r;
	*ret_fd = d->fd;
	*ret_late = late_find(a, d->ino);
	return 0;
}

/* ---- the end ---- */

static int finish_one(struct apply *a, const struct late *l, struct err *e)
{
	struct timespec times[2] = { l->mtime, l->mtime };
	_cleanup_close_ int fd = root_open_nosym(a->root, *l->path ? l->path : ".", DIR_FLAGS, 0);
	struct stat st;

	/* Another entry took its place. */
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP)
		return 0;
	if (fd < 0)
		return about(e, -fd, "open the directory", l->path);
	if (fstat(fd, &st) < 0)
		return about(e, errno, "stat", l->path);
	if (st.st_ino != l->ino)
		return 0;
	if (l->set_mode && fchmod(fd, l->mode) < 0)
		return about(e, errno, "chmod", l->path);
	if (l->set_mtime && futimens(fd, times) < 0)
		return about(e, errno, "set the time of", l->path);
	return 0;
}

/* Backwards, so that a directory that keeps an unprivileged process out comes after those below. */
int dirs_finish(struct apply *a, struct err *e)
{
	int r = 0;

	for (size_t i = a->n_late; r == 0 && i > 0; i--)
		r = finish_one(a, &a->late[i - 1], e);
	return r;
}

int apply_init(struct apply *a, int rootfd, const struct unpack_opts *opts, struct err *e)
{
	struct stat st;

	memset(a, 0, sizeof(*a));
	a->root = rootfd;
	a->opts = opts;
	for (size_t i = 0; i < DIR_CACHE; i++)
		a->cache[i].fd = -EBADF;
	if (fstat(rootfd, &st) < 0)
		return err_errno(e, errno, "stat the directory to unpack into");
	a->root_ino = st.st_ino;
	return 0;
}

void apply_free(struct apply *a)
{
	for (size_t i = 0; i < DIR_CACHE; i++)
		drop(&a->cache[i]);
	for (size_t i = 0; i < a->n_late; i++)
		free(a->late[i].path);
	free(a->late);
	u64map_free(&a->late_of);
	u64map_free(&a->made);
}
