/*
 * Removal of what lower layers have (image-spec layer.md, "Whiteouts").
 *
 * A whiteout never removes what its own layer brings, in whatever order they come. Flat, the layers
 * are one tree: `made` holds a hash of (inode of the directory, name) for all that this layer
 * brought, its whiteouts included. An inode number that is used again belongs to a directory of
 * this layer, so a stale entry says nothing wrong. As an overlay, all that is there but whiteouts
 * is this layer's.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "images/unpack_internal.h"

static int about(struct err *e, int code, const char *what, const char *name)
{
	_cleanup_arena_ struct arena *a = arena_new();

	return err_errno(e, code, "%s %s", what, json_quote(a, name));
}

bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

int make_whiteout(struct apply *a, const struct place *p, struct err *e)
{
	if (mknodat(p->dir->fd, p->name, S_IFCHR, makedev(0, 0)) < 0)
		return about(e, errno, "make the whiteout", p->name);
	return 0;
}

int mark_opaque(struct apply *a, int fd, struct err *e)
{
	const char *name = a->opts->userxattr ? "user.overlay.opaque" : "trusted.overlay.opaque";

	if (fsetxattr(fd, name, "y", 1, 0) < 0)
		return err_errno(e, errno,
		    "set %s, by which overlayfs knows a directory that hides lower layers%s", name,
		    errno == EOPNOTSUPP ? "; choose another file system for the store" : "");
	return 0;
}

/* ---- what this layer brought ---- */

static uint64_t mix(const struct apply *a, uint64_t h, uint64_t word)
{
	__uint128_t m = (__uint128_t)(h ^ word) * 0x9e3779b97f4a7c15ull;

	return (uint64_t)m ^ (uint64_t)(m >> 64) ^ a->seed;
}

/* Keyed, so that a layer cannot be made whose names collide. */
static uint64_t name_key(struct apply *a, uint64_t ino, const char *name)
{
	uint64_t h;

	if (!a->seed && getrandom(&a->seed, sizeof(a->seed), 0) != sizeof(a->seed))
		a->seed = (uint64_t)(uintptr_t)a;
	h = mix(a, a->seed, ino);
	for (size_t n = strlen(name), i = 0; i <= n; i += 8) {
		uint64_t word = 0;

		memcpy(&word, name + i, n - i < 8 ? n - i : 8);
		h = mix(a, h, word);
	}
	return h | 1;
}

void made_add(struct apply *a, const struct place *p)
{
	if (a->opts->mode == UNPACK_FLAT)
		u64map_put(&a->made, name_key(a, p->dir->ino, p->name), 1);
}

static bool made_has(struct apply *a, uint64_t dir, const char *name)
{
	return u64map_get(&a->made, name_key(a, dir, name)) != NULL;
}

/* ---- removing ---- */

int make_way(struct apply *a, const struct place *p, struct err *e)
{
	struct stat st;

	if (fstatat(p->dir->fd, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : about(e, errno, "stat", p->name);
	if (S_ISDIR(st.st_mode) || S_ISLNK(st.st_mode))
		dir_forget(a);
	return tree_remove(p->dir->fd, p->name, e);
}

static int prune(struct apply *a, int dir, struct err *e);

/* Removes name in dir as far as lower layers brought it. */
static int prune_one(struct apply *a, int dir, uint64_t ino, const char *name, struct err *e)
{
	_cleanup_close_ int sub = -EBADF;
	bool ours = made_has(a, ino, name);
	struct stat st;
	int r;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return about(e, errno, "stat", name);
	if (!S_ISDIR(st.st_mode))
		return ours || unlinkat(dir, name, 0) == 0 ? 0 : about(e, errno, "unlink", name);
	sub = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sub < 0)
		return about(e, errno, "open the directory", name);
	r = prune(a, sub, e);
	/* A lower layer's directory in which this layer has something stays. */
	if (r == 0 && !ours && unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY)
		r = about(e, errno, "rmdir", name);
	return r;
}

static int prune(struct apply *a, int dir, struct err *e)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct stat st;
	int fd, r = 0;

	/* A description of its own: dir may be the cache's. */
	fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d || fstat(fd, &st) < 0)
		return err_errno(e, errno, "read a directory below the whiteout");
	while (r == 0) {
		struct dirent *de;

		errno = 0;
		de = readdir(d);
		if (!de)
			return errno ? err_errno(e, errno, "read a directory") : 0;
		if (!streq(de->d_name, ".") && !streq(de->d_name, ".."))
			r = prune_one(a, fd, st.st_ino, de->d_name, e);
	}
	return r;
}

/* Everything of lower layers in the open directory. */
static int hide_below(struct apply *a, int fd, struct err *e)
{
	if (a->opts->mode == UNPACK_OVERLAY)
		return mark_opaque(a, fd, e);
	dir_forget(a);
	return prune(a, fd, e);
}

static int hide_one(struct apply *a, const struct place *p, struct err *e)
{
	bool overlay = a->opts->mode == UNPACK_OVERLAY;
	_cleanup_close_ int fd = -EBADF;
	struct stat st;

	if (fstatat(p->dir->fd, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return about(e, errno, "stat", p->name);
		return overlay ? make_whiteout(a, p, e) : 0;
	}
	if (!overlay) {
		dir_forget(a);
		return prune_one(a, p->dir->fd, p->dir->ino, p->name, e);
	}
	if (!S_ISDIR(st.st_mode))
		return 0; /* this layer's file, or a whiteout again: hidden either way */
	fd = openat(p->dir->fd, p->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return about(e, errno, "open the directory", p->name);
	return mark_opaque(a, fd, e);
}

static int check_hidden(const char *name, struct err *e)
{
	if (!*name)
		return err_set(e, EBADMSG, "a whiteout that names nothing");
	if (streq(name, ".") || streq(name, ".."))
		return err_set(e, EBADMSG, "a whiteout of no file's name");
	if (startswith(name, WHITEOUT))
		return err_set(e, EBADMSG, "a whiteout of a reserved name");
	return 0;
}

int apply_whiteout(
    struct apply *a, const struct place *p, const struct tar_entry *en, struct err *e)
{
	struct place hidden = { p->dir, startswith(p->name, WHITEOUT) };
	bool opaque = streq(p->name, WHITEOUT_OPAQUE);
	int r;

	if (!hidden.name)
		return 0;
	if (en->type != TAR_FILE || en->size != 0)
		return err_set(e, EBADMSG, "a whiteout has to be an empty file");
	if (!opaque && (r = check_hidden(hidden.name, e)) < 0)
		return r;
	/* What it hides has gone already; to look for it again and again could take for ever. */
	if (made_has(a, p->dir->ino, p->name))
		return 1;
	if (opaque && p->dir->ino == a->root_ino)
		a->opaque_root = true;
	r = opaque ? hide_below(a, p->dir->fd, e) : hide_one(a, &hidden, e);
	if (r < 0)
		return r;
	made_add(a, p);
	return 1;
}
