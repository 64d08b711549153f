#include "base/path.h"

#include <linux/magic.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "base/sys.h"

#define PROC_ROOT_INO 1
#define OPEN_RETRIES  64

static int open_in_root(int rootfd, const char *path, int flags, mode_t mode, uint64_t resolve)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC), .resolve = resolve };
	int fd;

	if (flags & O_CREAT)
		how.mode = mode;
	/* EAGAIN: a rename or mount elsewhere made the kernel unsure that `..` stayed inside. */
	for (int i = 0; i < OPEN_RETRIES; i++) {
		fd = sys_openat2(rootfd, path, &how);
		if (fd >= 0)
			return fd;
		if (errno != EAGAIN && errno != EINTR)
			break;
	}
	return -errno;
}

int root_open(int rootfd, const char *path, int flags, mode_t mode)
{
	return open_in_root(rootfd, path, flags, mode, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS);
}

int root_open_nosym(int rootfd, const char *path, int flags, mode_t mode)
{
	return open_in_root(rootfd, path, flags, mode,
	    RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS);
}

/*
 * Makes what is missing of path. The kernel can tell how much of a path exists only by trying: the
 * longest existing prefix is opened with RESOLVE_IN_ROOT, then each further component is made in,
 * and opened from, the fd of its parent with O_NOFOLLOW. What somebody else puts there in between
 * is thus never followed: it is an error.
 */
int root_mkdir_p(int rootfd, const char *path, mode_t mode)
{
	_cleanup_free_ char *norm = path_normalize(path);
	_cleanup_close_ int fd = root_open(rootfd, norm, O_PATH | O_DIRECTORY, 0);
	char *rest;

	if (fd >= 0 || fd != -ENOENT)
		return steal_fd(&fd);
	rest = norm + strlen(norm);
	while (fd == -ENOENT && rest > norm) {
		char *slash = rest;
		char kept;

		while (slash > norm && slash[-1] != '/')
			slash--;
		rest = slash > norm ? slash - 1 : norm; /* the '/' before the last component */
		kept = *rest;
		*rest = '\0';
		fd = root_open(rootfd, *norm ? norm : "/", O_PATH | O_DIRECTORY, 0);
		*rest = kept;
	}
	if (fd < 0)
		return steal_fd(&fd);
	for (char *name = strtok_r(rest, "/", &rest); name; name = strtok_r(NULL, "/", &rest)) {
		int next;

		if (mkdirat(fd, name, mode) < 0 && errno != EEXIST)
			return -errno;
		next = openat(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (next < 0) /* a dangling symlink was there: there is nothing to follow */
			return errno == ELOOP || errno == ENOTDIR ? -ENOENT : -errno;
		close(fd);
		fd = next;
	}
	return steal_fd(&fd);
}

int root_open_parent(int rootfd, const char *path, mode_t mode, const char **ret_base)
{
	const char *slash = strrchr(path, '/');
	const char *base = slash ? slash + 1 : path;
	_cleanup_free_ char *dir = NULL;
	int fd;

	if (!*base || streq(base, ".") || streq(base, ".."))
		return -EINVAL;
	dir = xstrdup(path);
	dir[base - path] = '\0';
	fd = root_mkdir_p(rootfd, *dir ? dir : "/", mode);
	if (fd >= 0)
		*ret_base = base;
	return fd;
}

int root_create_file(int rootfd, const char *path, mode_t mode)
{
	_cleanup_close_ int parent = -EBADF, made = -EBADF;
	const char *base;
	int fd = root_open(rootfd, path, O_PATH, 0);

	if (fd != -ENOENT)
		return fd;
	parent = root_open_parent(rootfd, path, 0755, &base);
	if (parent < 0)
		return steal_fd(&parent);
	made = openat(parent, base, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
	if (made < 0 && errno != EEXIST)
		return -errno;
	fd = openat(parent, base, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd >= 0) {
		struct stat st;

		if (fstat(fd, &st) == 0 &&
		    S_ISLNK(st.st_mode)) { /* dangling, or put there just now */
			close(fd);
			return -ENOENT;
		}
		return fd;
	}
	return -errno;
}

char *path_normalize(const char *path)
{
	char *out = xmalloc(strlen(path) + 2); /* a leading "/", and the end */
	size_t len = 0;

	while (*path) {
		size_t n = strcspn(path, "/");

		if (n == 2 && startswith(path, "..")) {
			while (len && out[--len] != '/')
				;
		} else if (n && !(n == 1 && *path == '.')) {
			out[len++] = '/';
			memcpy(out + len, path, n);
			len += n;
		}
		path += n + (path[n] ? 1 : 0);
	}
	if (len == 0)
		out[len++] = '/';
	out[len] = '\0';
	return out;
}

char *path_join(const char *base, const char *path)
{
	if (path_is_absolute(path))
		return xstrdup(path);
	return xasprintf("%s%s%s", base, endswith(base, "/") ? "" : "/", path);
}

bool path_is_absolute(const char *path)
{
	return path[0] == '/';
}

bool fd_is_procfs(int fd)
{
	struct statfs s;

	return fstatfs(fd, &s) == 0 && s.f_type == PROC_SUPER_MAGIC;
}

bool fd_is_procfs_root(int fd)
{
	struct stat st;

	return fd_is_procfs(fd) && fstat(fd, &st) == 0 && st.st_ino == PROC_ROOT_INO;
}

bool fd_is_chardev(int fd, unsigned maj, unsigned min)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == makedev(maj, min);
}
