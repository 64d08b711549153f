/* Opening the store, its format, its lock; see images/images.h for what lies where. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "images/spool.h"
#include "images/store.h"

int store_default_path(bool rootless, char **ret, struct err *e)
{
	const char *set = getenv("BAILEY_STORE"), *data = getenv("XDG_DATA_HOME");
	const char *home = getenv("HOME");

	if (set && *set)
		*ret = xstrdup(set);
	else if (!rootless)
		*ret = xstrdup("/var/lib/bailey/images");
	else if (data && path_is_absolute(data))
		*ret = path_join(data, "bailey/images");
	else if (home && path_is_absolute(home))
		*ret = path_join(home, ".local/share/bailey/images");
	else
		return err_set(e, ENOENT,
		    "no place for images: set XDG_DATA_HOME or HOME to an absolute path, or give "
		    "--store");
	return 0;
}

const char *store_path(const struct store *s)
{
	return s->path;
}

/* mkdir -p; what is made is private. */
static int make_path(const char *path, struct err *e)
{
	_cleanup_free_ char *copy = xstrdup(path);

	for (char *p = copy + 1;; p++) {
		bool last = !*p;

		if (!last && *p != '/')
			continue;
		*p = '\0';
		if (mkdir(copy, 0700) < 0 && errno != EEXIST)
			return err_errno(e, errno, "store %s: mkdir %s", path, copy);
		if (last)
			return 0;
		*p = '/';
	}
}

static int open_part(struct store *s, const char *name, int *ret, struct err *e)
{
	if (mkdirat(s->dirfd, name, 0700) < 0 && errno != EEXIST)
		return err_errno(e, errno, "store %s: mkdir %s", s->path, name);
	*ret = openat(s->dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return *ret < 0 ? err_errno(e, errno, "store %s: open %s", s->path, name) : 0;
}

static int open_parts(struct store *s, struct err *e)
{
	const struct {
		const char *name;
		int *fd;
	} parts[] = {
		{ "layers", &s->layersfd },
		{ "blobs", &s->blobsfd },
		{ "locks", &s->locksfd },
		{ "names", &s->namesfd },
		{ "bundles", &s->bundlesfd },
		{ "refs", &s->refsfd },
		{ "tmp", &s->tmpfd },
		{ "partial", &s->partialfd },
		{ "roots", &s->rootsfd },
	};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		int r = open_part(s, parts[i].name, parts[i].fd, e);

		if (r < 0)
			return r;
	}
	return 0;
}

/* Two that make the store at once write the same. */
static int check_format(struct store *s, struct err *e)
{
	static const char trusted[] = "1 trusted\n", user[] = "1 user\n";
	const char *fresh = s->o.rootless ? user : trusted;
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r;

	if (faccessat(s->dirfd, "format", F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT) {
		r = file_replace(s->dirfd, "format", fresh, strlen(fresh), 0600, false, e);
		if (r < 0)
			return err_wrap(e, "store %s", s->path);
	}
	r = file_read(s->dirfd, "format", 64, &text, &n, e);
	if (r < 0)
		return err_wrap(e, "store %s", s->path);
	s->userxattr = streq(text, user);
	if (!s->userxattr && !streq(text, trusted))
		return err_set(e, EINVAL,
		    "store %s: format: not one that this program writes: another version's store, "
		    "or no store at all",
		    s->path);
	if (s->o.rootless && !s->userxattr)
		return err_set(e, EPERM,
		    "store %s: was made by root: its layers cannot be used in a user namespace",
		    s->path);
	return 0;
}

static int take_lock(struct store *s, struct err *e)
{
	s->lockfd = openat(s->dirfd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (s->lockfd < 0)
		return err_errno(e, errno, "store %s: open lock", s->path);
	while (flock(s->lockfd, LOCK_SH) < 0)
		if (errno != EINTR)
			return err_errno(e, errno, "store %s: lock", s->path);
	return 0;
}

static int sweep_leftovers(struct store *s, struct err *e)
{
	int r = stage_sweep(s->tmpfd, NULL, e);

	if (r == 0)
		r = stage_sweep(s->bundlesfd, store_bundle_is_owned, e);
	return r < 0 ? err_wrap(e, "store %s: remove what a killed process left", s->path) : 0;
}

int store_open(const char *path, const struct store_opts *o, struct store **ret, struct err *e)
{
	_cleanup_store_ struct store *s = xcalloc(1, sizeof(*s));
	_cleanup_free_ char *cwd = NULL, *joined = NULL;
	int r;

	s->o = *o;
	s->dirfd = s->lockfd = s->layersfd = s->blobsfd = s->locksfd = -EBADF;
	s->namesfd = s->bundlesfd = s->refsfd = s->tmpfd = s->partialfd = s->rootsfd = -EBADF;
	if (!*path)
		return err_set(e, EINVAL, "store: the path must not be empty");
	if (!path_is_absolute(path) && !(cwd = getcwd(NULL, 0)))
		return err_errno(e, errno, "store %s: current directory", path);
	joined = path_join(cwd ? cwd : "/", path);
	s->path = path_normalize(joined);
	r = make_path(s->path, e);
	if (r < 0)
		return r;
	s->dirfd = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->dirfd < 0)
		return err_errno(e, errno, "store %s", s->path);
	if ((r = take_lock(s, e)) < 0 || (r = check_format(s, e)) < 0 ||
	    (r = open_parts(s, e)) < 0 || (r = sweep_leftovers(s, e)) < 0)
		return r;
	*ret = steal_ptr(s);
	return 0;
}

void store_close(struct store *s)
{
	if (!s)
		return;
	int *fds[] = { &s->dirfd, &s->lockfd, &s->layersfd, &s->blobsfd, &s->locksfd, &s->namesfd,
		&s->bundlesfd, &s->refsfd, &s->tmpfd, &s->partialfd, &s->rootsfd };

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		closep(fds[i]);
	free(s->path);
	free(s);
}

void unpack_opts_of(const struct store_opts *o, struct unpack_opts *ret)
{
	*ret = (struct unpack_opts){
		.userns = o->userns,
		.uids = o->uids,
		.gids = o->gids,
		.n_uids = o->n_uids,
		.n_gids = o->n_gids,
	};
}

/* The layers have their names: what came on the way is no longer needed. */
static void drop_partial(struct store *s, const struct image *im)
{
	for (size_t i = 0; i < im->n_layers; i++) {
		struct err ignored = ERR_INIT;
		struct digest d;

		if (digest_parse(im->layers[i].digest, &d, &ignored) == 0)
			spool_drop(s->partialfd, &d);
	}
}

int store_pull(struct store *s, struct image_source *src, const struct image *im, const char *name,
    const struct image_progress *p, struct err *e)
{
	int r;

	src->spoolfd = s->partialfd;
	r = store_unpack_missing(s, src, im, p, e);
	src->spoolfd = -EBADF;
	if (r == 0)
		drop_partial(s, im);
	if (r == 0)
		r = store_put_documents(s, im, e);
	if (r == 0 && name)
		r = store_put_name(s, im, name, e);
	return r;
}
