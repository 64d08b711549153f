#include "netsetup/claim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/path.h"
#include "base/str.h"
#include "netsetup/network.h"

int run_inode(uint64_t *ret, struct err *e)
{
	struct stat st;

	if (stat("/proc/self/ns/net", &st) < 0)
		return err_errno(e, errno, "stat /proc/self/ns/net");
	*ret = st.st_ino;
	return 0;
}

int run_open_of(uint64_t inode, int *ret, struct err *e)
{
	_cleanup_free_ char *path = xasprintf(NET_RUN "/%ju", (uintmax_t)inode);
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0)
		return err_errno(e, errno, "open %s", path);
	*ret = fd;
	return 0;
}

int run_open(int *ret, struct err *e)
{
	_cleanup_free_ char *path = NULL;
	uint64_t inode;
	int r = run_inode(&inode, e);

	if (r < 0)
		return r;
	path = xasprintf(NET_RUN "/%ju", (uintmax_t)inode);
	if ((mkdir(NET_RUN, 0755) < 0 && errno != EEXIST) ||
	    (mkdir(path, 0755) < 0 && errno != EEXIST))
		return err_errno(e, errno, "mkdir %s", path);
	return run_open_of(inode, ret, e);
}

int run_lock(int run, int *ret, struct err *e)
{
	int fd = openat(run, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_errno(e, errno, "open " NET_RUN "/…/lock");
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR) {
			err_errno(e, errno, "lock " NET_RUN "/…/lock");
			close(fd);
			return -e->code;
		}
	*ret = fd;
	return 0;
}

int run_dir(int run, const char *path)
{
	_cleanup_close_ int made = root_mkdir_p(run, path, 0755);
	int fd;

	if (made < 0)
		return made;
	fd = openat(made, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

char *claim_owner(const char *dir, int dirfd, const char *detail)
{
	struct stat st = { 0 };

	/* An inode that cannot be told matches none: the claim is as good as dead. */
	(void)fstat(dirfd, &st);
	return xasprintf("%ju:%s:%s", (uintmax_t)st.st_ino, detail, dir);
}

struct claim {
	char text[PATH_MAX];
	uint64_t inode;
	const char *detail, *dir;
};

/* The detail may hold colons, but no ":/", where the directory begins. */
static int claim_read(int dirfd, const char *name, struct claim *c)
{
	ssize_t n = readlinkat(dirfd, name, c->text, sizeof(c->text) - 1);
	char *colon, *dir;

	if (n < 0)
		return -errno;
	c->text[n] = '\0';
	colon = strchr(c->text, ':');
	dir = colon ? strstr(colon, ":/") : NULL;
	if (!dir)
		return -EINVAL;
	*colon = *dir = '\0';
	c->detail = dir == colon ? "" : colon + 1;
	c->dir = dir + 1;
	return parse_u64(c->text, &c->inode);
}

static bool is_alive(const struct claim *c)
{
	struct stat st;

	return lstat(c->dir, &st) == 0 && st.st_ino == c->inode;
}

static int take_over(int run, int dirfd, const char *name, const char *owner)
{
	_cleanup_close_ int lock = -EBADF;
	struct err e = ERR_INIT;
	struct claim c;
	int r = run_lock(run, &lock, &e);

	if (r < 0)
		return r;
	/* Another may have taken it over while this process waited. */
	r = claim_read(dirfd, name, &c);
	if (r == 0 && is_alive(&c))
		return -EEXIST;
	if (r != -ENOENT && unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	return symlinkat(owner, dirfd, name) < 0 ? -errno : 0;
}

int claim_take(int run, int dirfd, const char *name, const char *owner, char **ret_dir)
{
	struct claim c;
	int r;

	for (int tries = 0; tries < 10; tries++) {
		if (symlinkat(owner, dirfd, name) == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
		r = claim_read(dirfd, name, &c);
		if (r == -ENOENT)
			continue;
		if (r == 0 && is_alive(&c)) {
			if (ret_dir)
				*ret_dir = xstrdup(c.dir);
			return -EEXIST;
		}
		r = take_over(run, dirfd, name, owner);
		if (r != -EEXIST)
			return r;
	}
	return -EAGAIN;
}

int claim_release(int dirfd, const char *name, const char *dir)
{
	struct claim c;
	int r = claim_read(dirfd, name, &c);

	if (r == -ENOENT || (r == 0 && !streq(c.dir, dir)))
		return 0;
	if (r == 0 && unlinkat(dirfd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	return r;
}

bool claim_is(int dirfd, const char *name, const char *dir)
{
	struct claim c;

	return claim_read(dirfd, name, &c) == 0 && streq(c.dir, dir);
}

static int each(int dirfd, claim_fn fn, void *ctx, bool dead_too)
{
	_cleanup_closedir_ DIR *d = NULL;
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		r = -errno;
		closep(&fd);
		return r;
	}
	for (struct dirent *ent; r == 0 && (ent = readdir(d));) {
		struct claim c;

		if (ent->d_name[0] != '.' && claim_read(dirfd, ent->d_name, &c) == 0 &&
		    (dead_too || is_alive(&c)))
			r = fn(ctx, ent->d_name, c.detail, c.dir);
	}
	return r;
}

int claim_each(int dirfd, claim_fn fn, void *ctx)
{
	return each(dirfd, fn, ctx, false);
}

struct release {
	int dirfd;
	const char *dir;
};

static int release_one(void *ctx, const char *name, const char *detail, const char *dir)
{
	const struct release *r = ctx;

	if (streq(dir, r->dir) && unlinkat(r->dirfd, name, 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int claim_release_all(int dirfd, const char *dir)
{
	struct release r = { .dirfd = dirfd, .dir = dir };

	return each(dirfd, release_one, &r, true);
}
