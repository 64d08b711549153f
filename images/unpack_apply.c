/* One entry after the other onto the directory. */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/path.h"
#include "base/str.h"
#include "images/unpack_internal.h"

/* The kernel's device numbers (linux/kdev_t.h). */
#define MAJOR_MAX 0xfffu
#define MINOR_MAX 0xfffffu
/* Of a directory's path, on average: they are kept until the end. */
#define PATH_BYTES 64

struct task {
	struct apply *a;
	struct tar *t;
	const struct tar_entry *en;
	struct place place;
};

static int bad(struct err *e, const char *why)
{
	return err_set(e, EBADMSG, "%s", why);
}

/* ---- names ---- */

/*
 * path without leading, trailing and double slashes and without "." components: "" for the root.
 * to: TAR_PATH_MAX + 2 bytes. Whiteouts may be last components only, so last_free says whether the
 * last one may begin with ".wh.".
 */
static int clean(const char *path, char *to, bool last_free, struct err *e)
{
	size_t len = 0;

	if (strlen(path) > TAR_PATH_MAX)
		return bad(e, "the name is longer than 4095 bytes");
	for (const char *p = path; *p;) {
		size_t n = strcspn(p, "/");
		bool last = p[n + strspn(p + n, "/")] == '\0';

		if (n == 2 && p[0] == '.' && p[1] == '.')
			return bad(e, "\"..\" in a name");
		if (n > NAME_MAX)
			return bad(e, "a component is longer than 255 bytes");
		if (startswith(p, WHITEOUT) && !(last && last_free))
			return bad(e, "\".wh.\" is reserved for whiteouts");
		if (n && !(n == 1 && p[0] == '.')) {
			if (len)
				to[len++] = '/';
			memcpy(to + len, p, n);
			len += n;
		}
		p += n;
		p += strspn(p, "/");
	}
	to[len] = '\0';
	return 0;
}

/* Cuts a clean path in two: returns the last component, and *parent, "" for the root. */
static const char *split(char *path, const char **parent)
{
	char *slash = strrchr(path, '/');

	*parent = slash ? path : "";
	if (!slash)
		return path;
	*slash = '\0';
	return slash + 1;
}

/* ---- types ---- */

/* Runs make, and once more after what is in the way has gone. make: raw -errno. */
static int make_new(struct task *k, int (*make)(struct task *k), const char *what, struct err *e)
{
	int r = make(k);

	if (r == -EEXIST) {
		r = make_way(k->a, &k->place, e);
		if (r < 0)
			return r;
		r = make(k);
	}
	return r < 0 ? err_errno(e, -r, "make the %s", what) : r;
}

static int open_file(struct task *k)
{
	/* Special bits only once it has its owner. */
	int fd = openat(k->place.dir->fd, k->place.name,
	    O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, k->en->mode & 0777);

	return fd < 0 ? -errno : fd;
}

static int write_at(int fd, const struct tar_piece *p)
{
	for (size_t done = 0; done < p->n;) {
		ssize_t n =
		    pwrite(fd, (const char *)p->p + done, p->n - done, (off_t)(p->offset + done));

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0)
			done += (size_t)n;
	}
	return 0;
}

static int apply_file(struct task *k, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	struct tar_piece piece;
	uint64_t max = k->a->opts->limits.bytes;
	int r;

	if (k->en->size > max - k->a->bytes)
		return err_set(e, EFBIG, "the files' sizes exceed the limit of %llu bytes",
		    (unsigned long long)max);
	k->a->bytes += k->en->size;
	fd = make_new(k, open_file, "file", e);
	if (fd < 0)
		return fd;
	while ((r = tar_data(k->t, &piece, e)) > 0) {
		r = write_at(fd, &piece);
		if (r < 0)
			return err_errno(e, -r, "write");
	}
	if (r == 0 && k->en->sparse && ftruncate(fd, (off_t)k->en->size) < 0)
		r = err_errno(
		    e, errno, "set the size of %llu bytes", (unsigned long long)k->en->size);
	return r < 0 ? r : set_attrs_file(k->a, fd, k->en, e);
}

static int apply_dir(struct task *k, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	bool existed = false;
	struct late *late;
	int r = dir_make(k->a, &k->place, true, &fd, &late, &existed, e);

	return r < 0 ? r : set_attrs_dir(k->a, fd, existed, late, k->en, e);
}

static int apply_root(struct apply *a, const struct tar_entry *en, struct err *e)
{
	struct late *late;
	int fd, r;

	if (en->type != TAR_DIR)
		return bad(e, "the root can be nothing but a directory");
	r = dir_root(a, &fd, &late, e);
	return r < 0 ? r : set_attrs_dir(a, fd, true, late, en, e);
}

static int make_symlink(struct task *k)
{
	return symlinkat(k->en->linkpath, k->place.dir->fd, k->place.name) < 0 ? -errno : 0;
}

static int apply_symlink(struct task *k, struct err *e)
{
	int r = make_new(k, make_symlink, "symlink", e);

	return r < 0 ? r : set_attrs_at(k->a, &k->place, k->en, e);
}

static int make_fifo(struct task *k)
{
	return mknodat(k->place.dir->fd, k->place.name, S_IFIFO | 0600, 0) < 0 ? -errno : 0;
}

static int apply_fifo(struct task *k, struct err *e)
{
	int r = make_new(k, make_fifo, "fifo", e);

	return r < 0 ? r : set_attrs_at(k->a, &k->place, k->en, e);
}

static int make_device(struct task *k)
{
	mode_t type = k->en->type == TAR_CHAR ? S_IFCHR : S_IFBLK;
	dev_t dev = makedev(k->en->dev_major, k->en->dev_minor);

	return mknodat(k->place.dir->fd, k->place.name, type | 0600, dev) < 0 ? -errno : 0;
}

/* Left out, but what lower layers have there is gone all the same. */
static int skip_device(struct task *k, struct err *e)
{
	int r = make_way(k->a, &k->place, e);

	k->a->skipped++;
	if (r == 0 && k->a->opts->mode == UNPACK_OVERLAY)
		r = make_whiteout(k->a, &k->place, e);
	return r;
}

static int apply_device(struct task *k, struct err *e)
{
	int r;

	if (k->en->dev_major > MAJOR_MAX || k->en->dev_minor > MINOR_MAX)
		return err_set(e, EBADMSG, "device number %u:%u out of range", k->en->dev_major,
		    k->en->dev_minor);
	if (k->en->type == TAR_CHAR && k->en->dev_major == 0 && k->en->dev_minor == 0)
		return bad(e, "character device 0:0 is how overlayfs removes files: only a "
			      "\".wh.\" file may do that");
	if (k->a->opts->userns)
		return skip_device(k, e);
	r = make_new(k, make_device, "device", e);
	return r < 0 ? r : set_attrs_at(k->a, &k->place, k->en, e);
}

struct link {
	int dir;
	const char *name;
	struct stat st;
};

static int make_link(struct task *k, const struct link *l)
{
	/* Without AT_SYMLINK_FOLLOW: a link to a symlink is one. */
	return linkat(l->dir, l->name, k->place.dir->fd, k->place.name, 0) < 0 ? -errno : 0;
}

static int link_over(struct task *k, const struct link *l, struct err *e)
{
	struct stat st;
	int r = make_link(k, l);

	if (r == -EEXIST &&
	    fstatat(k->place.dir->fd, k->place.name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == l->st.st_dev && st.st_ino == l->st.st_ino)
		return 0; /* the same file already; to remove it might remove the target */
	if (r == -EEXIST) {
		r = make_way(k->a, &k->place, e);
		if (r < 0)
			return r;
		r = make_link(k, l);
	}
	return r < 0 ? err_errno(e, -r, "make the hard link") : 0;
}

static int no_target(struct task *k, int code, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	const char *why = "is not there", *more = "";

	if (code == ELOOP)
		why = "leads through a symlink";
	else if (code != ENOENT && code != ENOTDIR)
		return err_errno(
		    e, code, "open the hard link's target %s", json_quote(arena, k->en->linkpath));
	else if (k->a->opts->mode == UNPACK_OVERLAY)
		more = ", in this layer";
	return err_set(e, EBADMSG, "the hard link's target %s %s%s",
	    json_quote(arena, k->en->linkpath), why, more);
}

static int apply_hardlink(struct task *k, struct err *e)
{
	_cleanup_close_ int dir = -EBADF;
	const char *parent;
	struct link l;
	int r = clean(k->en->linkpath, k->a->target, false, e);

	if (r < 0)
		return err_wrap(e, "hard link's target");
	if (!*k->a->target)
		return bad(e, "a hard link to the root");
	l.name = split(k->a->target, &parent);
	dir = root_open_nosym(k->a->root, *parent ? parent : ".", O_PATH | O_DIRECTORY, 0);
	if (dir < 0)
		return no_target(k, -dir, e);
	l.dir = dir;
	if (fstatat(dir, l.name, &l.st, AT_SYMLINK_NOFOLLOW) < 0)
		return no_target(k, errno, e);
	if (k->a->opts->mode == UNPACK_OVERLAY && is_whiteout(&l.st))
		return no_target(k, ENOENT, e);
	if (S_ISDIR(l.st.st_mode))
		return bad(e, "a hard link to a directory");
	return link_over(k, &l, e);
}

static int (*const apply_type[])(struct task *k, struct err *e) = {
	[TAR_FILE] = apply_file,
	[TAR_HARDLINK] = apply_hardlink,
	[TAR_SYMLINK] = apply_symlink,
	[TAR_CHAR] = apply_device,
	[TAR_BLOCK_DEVICE] = apply_device,
	[TAR_DIR] = apply_dir,
	[TAR_FIFO] = apply_fifo,
};

/* ---- all ---- */

int apply_count(struct apply *a, struct err *e)
{
	if (a->entries >= a->opts->limits.entries)
		return err_set(e, EFBIG, "more than the limit of %llu entries",
		    (unsigned long long)a->opts->limits.entries);
	if (a->late_bytes / PATH_BYTES > a->opts->limits.entries)
		return err_set(e, EFBIG, "more than %llu bytes of directories' names",
		    (unsigned long long)a->opts->limits.entries * PATH_BYTES);
	a->entries++;
	return 0;
}

static int apply_one(struct task *k, struct err *e)
{
	struct apply *a = k->a;
	const char *parent;
	int r = apply_count(a, e);

	if (r == 0)
		r = clean(k->en->path, a->path, true, e);
	if (r < 0)
		return r;
	if (!*a->path)
		return apply_root(a, k->en, e);
	k->place.name = split(a->path, &parent);
	r = dir_open(a, parent, &k->place.dir, e);
	if (r == 0)
		r = apply_whiteout(a, &k->place, k->en, e);
	if (r != 0)
		return r < 0 ? r : 0;
	r = apply_type[k->en->type](k, e);
	if (r == 0)
		made_add(a, &k->place);
	return r;
}

int apply_entry(struct apply *a, struct tar *t, const struct tar_entry *en, struct err *e)
{
	_cleanup_arena_ struct arena *arena = NULL;
	struct task k = { a, t, en, { NULL, NULL } };
	int r = apply_one(&k, e);

	/* The reader's own errors say so already. */
	if (r == 0 || startswith(e->msg, "tar: "))
		return r;
	arena = arena_new();
	return err_wrap(
	    e, "entry %llu %s", (unsigned long long)en->number, json_quote(arena, en->path));
}

int apply_finish(struct apply *a, struct err *e)
{
	return dirs_finish(a, e);
}
