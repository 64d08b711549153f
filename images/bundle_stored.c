/* Bundles in the store, which `run --image` makes and `delete` removes. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "images/store.h"

static int fill(struct store *s, const struct image *im, const struct image_run *run,
    const struct stage *st, struct bundle_info *b, image_mount_fn *mount, struct err *e)
{
	int r;

	if ((r = bundle_overlay_dirs(s, im, st->fd, b, e)) < 0 ||
	    (r = bundle_record_write(st->fd, b, e)) < 0)
		return r;
	return bundle_config(im, run, st->fd, &b->overlay, -EBADF, mount, e);
}

int bundle_make_stored(struct store *s, const struct image *im, const struct image_run *run,
    const char *owner, image_mount_fn *mount, char **ret_path, int *ret_lock, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct stage st;
	struct bundle_info b = {
		.arena = a,
		.store = s->path,
		.manifest = im->digest,
		.owner = owner,
		.complete = true,
	};
	int r = stage_new(s->bundlesfd, "make a bundle", &st, e);

	if (r < 0)
		return r;
	b.id = st.name;
	b.path = arena_printf(a, "%s/bundles/%s", s->path, st.name);
	r = fill(s, im, run, &st, &b, mount, e);
	if (r < 0) {
		stage_remove(&st);
		return r;
	}
	*ret_path = xstrdup(b.path);
	*ret_lock = steal_fd(&st.lockfd);
	stage_close(&st);
	return 0;
}

int bundle_remove_stored(const char *path, struct err *e)
{
	const char *slash = strrchr(path, '/');
	_cleanup_free_ char *parent = NULL, *lock = NULL;
	_cleanup_close_ int fd = -EBADF;
	int r;

	if (!slash || !slash[1])
		return err_set(e, EINVAL, "bundle %s: not one in a store", path);
	parent = xstrndup(path, (size_t)(slash - path));
	fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(e, errno, "open %s", parent);
	r = tree_remove(fd, slash + 1, e);
	if (r < 0)
		return err_wrap(e, "remove bundle %s", path);
	lock = xasprintf("%s.lock", slash + 1);
	(void)unlinkat(fd, lock, 0);
	return 0;
}

bool store_bundle_is_owned(int bundlesfd, const char *name)
{
	_cleanup_bundle_info_ struct bundle_info b = { 0 };
	_cleanup_close_ int fd = -EBADF;
	struct err e = ERR_INIT;

	fd = openat(bundlesfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 || bundle_record_read(fd, name, &b, &e) < 0)
		return fd < 0 ? errno != ENOENT : e.code != ENOENT;
	return b.owner && (access(b.owner, F_OK) == 0 || errno != ENOENT);
}

static int each_stored(struct store *s,
    int (*fn)(struct store *s, const char *digest, void *ctx, struct err *e), void *ctx,
    struct err *e)
{
	_cleanup_closedir_ DIR *d = NULL;
	int fd = openat(s->bundlesfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		closep(&fd);
		return err_errno(e, errno, "store %s: read bundles/", s->path);
	}
	for (struct dirent *ent; r == 0 && (ent = readdir(d));) {
		_cleanup_bundle_info_ struct bundle_info b = { 0 };
		_cleanup_close_ int dirfd = -EBADF;

		if (ent->d_name[0] == '.' || endswith(ent->d_name, ".lock"))
			continue;
		dirfd = openat(
		    s->bundlesfd, ent->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (dirfd < 0 && errno == ENOENT) /* delete does not take the store's lock */
			continue;
		if (dirfd < 0)
			return err_errno(
			    e, errno, "store %s: open bundles/%s", s->path, ent->d_name);
		r = bundle_record_read(dirfd, ent->d_name, &b, e);
		if (r == -ENOENT) {
			err_clear(e);
			r = 0;
		} else if (r == 0) {
			r = fn(s, b.manifest, ctx, e);
		}
	}
	return r;
}

/* ---- those elsewhere ---- */

#define REF_MAX 65536

/* -ENOENT: the bundle is gone, or another one is in its place. */
static int read_ref(
    struct store *s, struct arena *a, const char *file, struct bundle_info *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	const struct json *doc, *path, *id;
	size_t n;
	int r = file_read(s->refsfd, file, REF_MAX, &text, &n, e);

	if (r < 0 || (r = json_parse(a, file, text, n, &doc, e)) < 0)
		return err_wrap(e, "store %s: refs", s->path);
	path = doc->type == JSON_OBJECT ? json_get(doc, "path") : NULL;
	id = doc->type == JSON_OBJECT ? json_get(doc, "id") : NULL;
	if (!path || path->type != JSON_STRING || !id || id->type != JSON_STRING)
		return err_set(e, EINVAL,
		    "store %s: refs/%s: not written by this program: remove the file if no bundle "
		    "uses this store",
		    s->path, file);
	r = bundle_info(path->s, ret, e);
	if (r == 0 && !streq(ret->id, id->s)) {
		bundle_info_free(ret);
		r = err_set(e, ENOENT, "%s: another bundle", path->s);
	}
	return r;
}

static int each_elsewhere(struct store *s,
    int (*fn)(struct store *s, const char *digest, void *ctx, struct err *e), void *ctx,
    struct err *e)
{
	_cleanup_closedir_ DIR *d = NULL;
	int fd = openat(s->refsfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		closep(&fd);
		return err_errno(e, errno, "store %s: read refs/", s->path);
	}
	for (struct dirent *ent; r == 0 && (ent = readdir(d));) {
		_cleanup_arena_ struct arena *a = arena_new();
		_cleanup_bundle_info_ struct bundle_info b = { 0 };

		if (strspn(ent->d_name, "0123456789abcdef") != 64 || ent->d_name[64])
			continue;
		r = read_ref(s, a, ent->d_name, &b, e);
		if (r == -ENOENT) {
			err_clear(e);
			(void)unlinkat(s->refsfd, ent->d_name, 0);
			r = 0;
		} else if (r == 0) {
			r = fn(s, b.manifest, ctx, e);
		}
	}
	return r;
}

int store_each_bundle(struct store *s,
    int (*fn)(struct store *s, const char *digest, void *ctx, struct err *e), void *ctx,
    struct err *e)
{
	int r = each_stored(s, fn, ctx, e);

	return r < 0 ? r : each_elsewhere(s, fn, ctx, e);
}
