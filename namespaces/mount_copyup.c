/*
 * tmpcopyup: what the rootfs has at a tmpfs's destination is copied into it before it is placed.
 *
 * Everything goes by descriptors of both sides: a directory is opened from its parent with
 * O_NOFOLLOW, so a link that is put there meanwhile is an error, not a way out.
 */
#include <dirent.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "namespaces/mount.h"

#define DEPTH_MAX 256 /* of directories: each level holds two descriptors */
#define CHUNK	  (1u << 30)

struct copy {
	const char *what; /* the destination, for messages */
	struct err *e;
};

static int copy_dir(struct copy *c, int src, int dst, const struct stat *st, int depth);

static int fail(struct copy *c, const char *name, const char *doing)
{
	return err_errno(c->e, errno, "%s: %s \"%s\"", c->what, doing, name);
}

/* Labels belong to the new filesystem; of the security attributes only file capabilities are the
 * file's own. */
static bool xattr_wanted(const char *name)
{
	return !startswith(name, "security.") || streq(name, "security.capability");
}

static int copy_xattr(struct copy *c, int src, int dst, const char *attr, const char *name)
{
	_cleanup_free_ char *value = NULL;
	ssize_t n = fgetxattr(src, attr, NULL, 0);

	if (n < 0)
		return fail(c, name, "read attributes of");
	value = xmalloc((size_t)n + 1);
	n = fgetxattr(src, attr, value, (size_t)n);
	if (n < 0)
		return fail(c, name, "read attributes of");
	if (fsetxattr(dst, attr, value, (size_t)n, 0) == 0)
		return 0;
	if (errno != EOPNOTSUPP)
		return fail(c, name, attr);
	log_debug("tmpcopyup: this kernel's tmpfs holds no %s (%s/%s)", attr, c->what, name);
	return 0;
}

static int copy_xattrs(struct copy *c, int src, int dst, const char *name)
{
	_cleanup_free_ char *list = NULL;
	ssize_t n = flistxattr(src, NULL, 0);

	if (n == 0 || (n < 0 && errno == EOPNOTSUPP))
		return 0;
	if (n > 0) {
		list = xmalloc((size_t)n);
		n = flistxattr(src, list, (size_t)n);
	}
	if (n < 0)
		return fail(c, name, "list attributes of");
	for (char *a = list; a < list + n; a += strlen(a) + 1) {
		int r = xattr_wanted(a) ? copy_xattr(c, src, dst, a, name) : 0;

		if (r < 0)
			return r;
	}
	return 0;
}

/* Owner first: chown clears set-id bits and capabilities. */
static int copy_meta(struct copy *c, int src, int dst, const struct stat *st, const char *name)
{
	struct timespec times[2] = { st->st_atim, st->st_mtim };
	int r;

	if (fchown(dst, st->st_uid, st->st_gid) < 0)
		return fail(c, name, "set the owner of");
	r = copy_xattrs(c, src, dst, name);
	if (r < 0)
		return r;
	if (fchmod(dst, st->st_mode & 07777) < 0)
		return fail(c, name, "set the mode of");
	if (futimens(dst, times) < 0)
		return fail(c, name, "set the times of");
	return 0;
}

static int copy_file(struct copy *c, int srcdir, int dstdir, const char *name)
{
	_cleanup_close_ int src = -EBADF, dst = -EBADF;
	struct stat st;
	ssize_t n;

	src = openat(srcdir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (src < 0 || fstat(src, &st) < 0)
		return fail(c, name, "open");
	if (!S_ISREG(st.st_mode)) {
		errno = EBUSY;
		return fail(c, name, "changed while it was copied:");
	}
	dst = openat(dstdir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (dst < 0)
		return fail(c, name, "make");
	do
		n = sendfile(dst, src, NULL, CHUNK);
	while (n > 0 || (n < 0 && errno == EINTR));
	if (n < 0)
		return fail(c, name, "copy");
	return copy_meta(c, src, dst, &st, name);
}

static int copy_link(
    struct copy *c, int srcdir, int dstdir, const char *name, const struct stat *st)
{
	struct timespec times[2] = { st->st_atim, st->st_mtim };
	char buf[PATH_MAX];
	ssize_t n = readlinkat(srcdir, name, buf, sizeof(buf) - 1);

	if (n < 0)
		return fail(c, name, "read the link");
	buf[n] = '\0';
	if (symlinkat(buf, dstdir, name) < 0)
		return fail(c, name, "make the link");
	if (fchownat(dstdir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(c, name, "set the owner of");
	if (utimensat(dstdir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(c, name, "set the times of");
	return 0;
}

/* Devices, fifos, sockets. The tmpfs is ours alone until it is placed, so names in it are safe to
 * use twice. */
static int copy_node(
    struct copy *c, int srcdir, int dstdir, const char *name, const struct stat *st)
{
	struct timespec times[2] = { st->st_atim, st->st_mtim };

	if (mknodat(dstdir, name, st->st_mode, st->st_rdev) < 0)
		return fail(c, name, "make the node");
	if (fchownat(dstdir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(c, name, "set the owner of");
	if (fchmodat(dstdir, name, st->st_mode & 07777, 0) < 0)
		return fail(c, name, "set the mode of");
	if (utimensat(dstdir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(c, name, "set the times of");
	return 0;
}

static int copy_subdir(
    struct copy *c, int srcdir, int dstdir, const char *name, const struct stat *st, int depth)
{
	_cleanup_close_ int src = -EBADF, dst = -EBADF;
	struct open_how how = { .flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_NO_XDEV | RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };

	if (depth >= DEPTH_MAX) {
		errno = ELOOP;
		return fail(c, name, "too deep:");
	}
	if (mkdirat(dstdir, name, 0700) < 0)
		return fail(c, name, "make");
	dst = openat(dstdir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dst < 0)
		return fail(c, name, "open the copy of");
	src = sys_openat2(srcdir, name, &how);
	if (src < 0 && errno == EXDEV)
		return 0; /* a mount point: what is mounted there is not the rootfs's */
	if (src < 0)
		return fail(c, name, "open");
	return copy_dir(c, src, dst, st, depth + 1);
}

static int copy_entry(struct copy *c, int srcdir, int dstdir, const char *name, int depth)
{
	struct stat st;

	if (fstatat(srcdir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fail(c, name, "stat");
	if (S_ISDIR(st.st_mode))
		return copy_subdir(c, srcdir, dstdir, name, &st, depth);
	if (S_ISREG(st.st_mode))
		return copy_file(c, srcdir, dstdir, name);
	if (S_ISLNK(st.st_mode))
		return copy_link(c, srcdir, dstdir, name, &st);
	return copy_node(c, srcdir, dstdir, name, &st);
}

/* st: of src, NULL for the top, whose mode and owner the tmpfs has by its own options. */
static int copy_dir(struct copy *c, int src, int dst, const struct stat *st, int depth)
{
	_cleanup_closedir_ DIR *d = NULL;
	struct dirent *de;
	int fd = fcntl(src, F_DUPFD_CLOEXEC, 3);
	int r;

	if (fd < 0 || !(d = fdopendir(fd))) {
		closep(&fd);
		return fail(c, ".", "read");
	}
	while ((errno = 0, de = readdir(d))) {
		if (streq(de->d_name, ".") || streq(de->d_name, ".."))
			continue;
		r = copy_entry(c, src, dst, de->d_name, depth);
		if (r < 0)
			return r;
	}
	if (errno)
		return fail(c, ".", "read");
	return st ? copy_meta(c, src, dst, st, ".") : 0;
}

int mount_copyup(int srcfd, int mfd, const char *what, struct err *e)
{
	struct copy c = { what, e };
	_cleanup_close_ int src = openat(srcfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int dst = openat(mfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (src < 0 || dst < 0)
		return fail(&c, ".", "open");
	return copy_dir(&c, src, dst, NULL, 0);
}
