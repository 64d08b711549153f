#include "runtime/container.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "runtime/isolation.h"

#define CONFIG_MAX     JSON_MAX_SIZE
#define FORGET_RETRIES 1000

static struct container *container_alloc(const struct globals *g, const char *id)
{
	struct arena *a = arena_new();
	struct container *c = arena_alloc(a, sizeof(*c));

	c->arena = a;
	c->id = arena_strdup(a, id);
	c->dir = arena_printf(a, "%s/%s", g->root, id);
	c->dirfd = c->lockfd = c->pidfd = -EBADF;
	return c;
}

void container_close(struct container *c)
{
	if (!c)
		return;
	closep(&c->dirfd);
	closep(&c->lockfd);
	closep(&c->pidfd);
	spec_free(c->spec);
	systemd_close(c->manager);
	arena_free(c->arena);
}

/* The lock file goes away with the directory: who waited for it finds nothing when it gets it. */
static int take_lock(struct container *c, struct err *e)
{
	struct stat locked, named;

	c->lockfd = openat(c->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (c->lockfd < 0 && errno == ENOENT)
		return err_set(e, ENOENT, "container \"%s\" does not exist", c->id);
	if (c->lockfd < 0)
		return err_errno(e, errno, "open %s/lock", c->dir);
	while (flock(c->lockfd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_errno(e, errno, "lock %s/lock", c->dir);
	if (fstat(c->lockfd, &locked) < 0 ||
	    fstatat(c->dirfd, "lock", &named, AT_SYMLINK_NOFOLLOW) < 0 ||
	    locked.st_ino != named.st_ino)
		return err_set(e, ENOENT, "container \"%s\" does not exist", c->id);
	return 0;
}

void container_unlock(struct container *c)
{
	closep(&c->lockfd);
	c->lockfd = -EBADF;
}

/* A directory that was removed takes no new lock file, even if another has its name by now. */
int container_relock(struct container *c, struct err *e)
{
	return take_lock(c, e);
}

int container_open(const struct globals *g, const char *id, enum lock_mode lock,
    struct container **ret, struct err *e)
{
	_cleanup_container_ struct container *c = NULL;
	int r = spec_check_id(id, e);

	if (r < 0)
		return r;
	c = container_alloc(g, id);
	c->dirfd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (c->dirfd < 0 && errno == ENOENT)
		return err_set(e, ENOENT, "container \"%s\" does not exist", id);
	if (c->dirfd < 0)
		return err_errno(e, errno, "open %s", c->dir);
	if (lock == OPEN_EXCLUSIVE && (r = take_lock(c, e)) < 0)
		return r;
	r = container_load_state(c, e);
	if (r < 0)
		return r;
	*ret = steal_ptr(c);
	return 0;
}

/* mkdir -p of the state root: private to its owner, as it holds copies of configurations. */
static int make_root(const char *root, struct err *e)
{
	_cleanup_free_ char *path = path_normalize(root);

	for (char *p = path + 1; *p; p++) {
		if (*p != '/')
			continue;
		*p = '\0';
		if (mkdir(path, 0755) < 0 && errno != EEXIST)
			return err_errno(e, errno, "--root %s: mkdir %s", root, path);
		*p = '/';
	}
	if (mkdir(path, 0700) < 0 && errno != EEXIST)
		return err_errno(e, errno, "--root %s: mkdir", root);
	return 0;
}

int container_new(const struct globals *g, const char *id, struct container **ret, struct err *e)
{
	_cleanup_container_ struct container *c = NULL;
	int r = spec_check_id(id, e);

	if (r < 0)
		return r;
	c = container_alloc(g, id);
	if (mkdir(c->dir, 0711) < 0) {
		if (errno == ENOENT) {
			r = make_root(g->root, e);
			if (r < 0)
				return r;
			errno = mkdir(c->dir, 0711) < 0 ? errno : 0;
		}
		if (errno == EEXIST)
			return err_set(e, EEXIST, "container with id \"%s\" already exists (in %s)",
			    id, g->root);
		if (errno)
			return err_errno(e, errno, "mkdir %s", c->dir);
	}
	c->dirfd = open(c->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (c->dirfd < 0) {
		err_errno(e, errno, "open %s", c->dir);
		(void)rmdir(c->dir);
		return -e->code;
	}
	r = take_lock(c, e);
	if (r < 0) {
		(void)rmdir(c->dir);
		return r;
	}
	*ret = steal_ptr(c);
	return 0;
}

/* The lock goes last: whoever gets it meanwhile finds an empty directory. Who comes between the two
 * calls makes a lock anew, once each, and sees by its name's absence that it is too late. */
static int remove_dir(const struct container *c, struct err *e)
{
	for (int i = 0; i < FORGET_RETRIES; i++) {
		(void)unlinkat(c->dirfd, "lock", 0);
		if (rmdir(c->dir) == 0 || errno == ENOENT)
			return 0;
		if (errno != ENOTEMPTY)
			break;
	}
	return err_errno(e, errno, "rmdir %s", c->dir);
}

int container_forget(struct container *c, struct err *e)
{
	_cleanup_closedir_ DIR *d = NULL;
	int fd = fcntl(c->dirfd, F_DUPFD_CLOEXEC, 0);

	if (fd < 0)
		return err_errno(e, errno, "dup");
	d = fdopendir(fd);
	if (!d) {
		close(fd);
		return err_errno(e, errno, "read %s", c->dir);
	}
	rewinddir(d);
	for (struct dirent *ent; (ent = readdir(d));) {
		if (streq(ent->d_name, ".") || streq(ent->d_name, "..") ||
		    streq(ent->d_name, "lock"))
			continue;
		if (unlinkat(c->dirfd, ent->d_name, 0) < 0 && errno != ENOENT)
			return err_errno(e, errno, "remove %s/%s", c->dir, ent->d_name);
	}
	return remove_dir(c, e);
}

int container_spec(struct container *c, struct spec **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = c->spec ? 0 : file_read(c->dirfd, "config.json", CONFIG_MAX, &text, &len, e);

	if (r == 0 && !c->spec)
		r = spec_parse("config.json", c->bundle ? c->bundle : "/", text, len, &c->spec, e);
	if (r < 0)
		return err_wrap(e, "%s", c->dir);
	*ret = c->spec;
	return 0;
}

static int compare_names(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int container_ids(const struct globals *g, char ***ret, struct err *e)
{
	_cleanup_closedir_ DIR *d = opendir(g->root);
	_cleanup_strv_ char **ids = xcalloc(1, sizeof(char *));

	if (!d && errno != ENOENT)
		return err_errno(e, errno, "read --root %s", g->root);
	for (struct dirent *ent; d && (ent = readdir(d));) {
		struct err bad_name = ERR_INIT;

		if ((ent->d_type == DT_DIR || ent->d_type == DT_UNKNOWN) &&
		    spec_check_id(ent->d_name, &bad_name) == 0)
			strv_push(&ids, xstrdup(ent->d_name));
	}
	qsort(ids, strv_len(ids), sizeof(char *), compare_names);
	*ret = steal_ptr(ids);
	return 0;
}

void container_state(const struct container *c, enum status st, struct spec_state *ret)
{
	*ret = (struct spec_state){
		.id = c->id,
		.status = status_names[st],
		.bundle = c->bundle ? c->bundle : "",
		.rootfs = c->rootfs,
		.created = c->created,
		.owner = c->owner,
		.isolation = isolation_names[c->vm ? ISOLATION_VM : ISOLATION_NAMESPACE],
		.pid = st == ST_STOPPED ? 0 : c->pid,
		.annotations = &c->annotations,
	};
}
