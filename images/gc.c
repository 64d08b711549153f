/*
 * Mark and sweep. The mark starts from names and bundles; what it does not reach goes. The store's
 * lock is held exclusively meanwhile, so nobody is between unpacking something and referring to it.
 * Nothing is removed unless all of the mark succeeded.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "images/store.h"

struct mark {
	char **bundled; /* manifests' digests that bundles refer to */
	char **files;	/* names in blobs/ and layers/ that stay */
	char **roots;	/* in roots/ */
	char **unused;	/* names/ that are to go */
	bool drop_unused;
};

static void mark_free(struct mark *m)
{
	strv_free(m->bundled);
	strv_free(m->files);
	strv_free(m->roots);
	strv_free(m->unused);
}

static void keep(char ***names, const char *digest)
{
	_cleanup_arena_ struct arena *a = arena_new();

	strv_push(names, xstrdup(store_file_name(a, digest)));
}

static int mark_image(
    struct store *s, const char *digest, const char *name, struct mark *m, struct err *e)
{
	_cleanup_image_ struct image *im = NULL;
	int r = store_load(s, digest, name, &im, e);

	if (r < 0)
		return err_wrap(e,
		    "%s: cannot tell what it needs, so nothing is removed (\"bailey rmi\" forgets "
		    "an image)",
		    name);
	keep(&m->files, im->digest);
	keep(&m->files, im->config_digest);
	for (size_t i = 0; i < im->n_layers; i++)
		keep(&m->files, im->layers[i].chain_id);
	/* That of a layer below is another image's, which may be gone. */
	if (im->n_layers)
		keep(&m->roots, im->layers[im->n_layers - 1].chain_id);
	return 0;
}

static int mark_bundle(struct store *s, const char *digest, void *ctx, struct err *e)
{
	struct mark *m = ctx;

	if (strv_contains(m->bundled, digest))
		return 0;
	strv_push(&m->bundled, xstrdup(digest));
	return mark_image(s, digest, digest, m, e);
}

static int mark_name(struct store *s, const struct store_name *n, void *ctx, struct err *e)
{
	struct mark *m = ctx;

	if (m->drop_unused && !strv_contains(m->bundled, n->digest)) {
		strv_push(&m->unused, xstrdup(n->file));
		return 0;
	}
	return strv_contains(m->bundled, n->digest) ? 0 : mark_image(s, n->digest, n->name, m, e);
}

/* ---- sweep ---- */

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort(char **names)
{
	if (names)
		qsort(names, strv_len(names), sizeof(char *), compare);
}

static bool is_kept(char **sorted, const char *name)
{
	return sorted && bsearch(&name, sorted, strv_len(sorted), sizeof(char *), compare);
}

/* Whatever is not marked goes, temporary files of killed processes included. */
static int sweep_dir(
    struct store *s, int dirfd, const char *what, char **kept, size_t *n, struct err *e)
{
	_cleanup_closedir_ DIR *d = NULL;
	_cleanup_strv_ char **gone = NULL;
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		closep(&fd);
		return err_errno(e, errno, "store %s: read %s/", s->path, what);
	}
	for (struct dirent *ent; (ent = readdir(d));)
		if (ent->d_name[0] != '.' && !is_kept(kept, ent->d_name))
			strv_push(&gone, xstrdup(ent->d_name));
	for (size_t i = 0; i < strv_len(gone); i++) {
		size_t len = strlen(gone[i]);
		const char *tail = gone[i] + (len > 16 ? len - 16 : 0);
		int r = 0;

		/* It leaves its name first: half of a layer is never called by it. In tmp/, without
		 * a lock, it is a leftover for everybody. */
		if (renameat(dirfd, gone[i], s->tmpfd, tail) < 0)
			r = err_errno(e, errno, "rename");
		if (r == 0)
			r = tree_remove(s->tmpfd, tail, e);
		if (r < 0)
			return err_wrap(e, "store %s: remove %s/%s", s->path, what, gone[i]);
		(*n)++;
	}
	return 0;
}

/* Files with part in the name; those of file_replace() have it when their process was killed. */
static int sweep_files(
    struct store *s, int dirfd, const char *what, const char *part, struct err *e)
{
	_cleanup_closedir_ DIR *d = NULL;
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		closep(&fd);
		return err_errno(e, errno, "store %s: read %s", s->path, what);
	}
	for (struct dirent *ent; (ent = readdir(d));)
		if (ent->d_name[0] != '.' && strstr(ent->d_name, part) &&
		    unlinkat(dirfd, ent->d_name, 0) < 0 && errno != ENOENT)
			return err_errno(
			    e, errno, "store %s: remove %s%s", s->path, what, ent->d_name);
	return 0;
}

static int sweep(struct store *s, struct mark *m, struct store_swept *ret, struct err *e)
{
	size_t locks = 0;
	int r;

	for (size_t i = 0; i < strv_len(m->unused); i++, ret->names++)
		if (unlinkat(s->namesfd, m->unused[i], 0) < 0 && errno != ENOENT)
			return err_errno(
			    e, errno, "store %s: remove names/%s", s->path, m->unused[i]);
	sort(m->files);
	sort(m->roots);
	if ((r = sweep_dir(s, s->layersfd, "layers", m->files, &ret->layers, e)) < 0 ||
	    (r = sweep_dir(s, s->rootsfd, "roots", m->roots, &ret->roots, e)) < 0 ||
	    (r = sweep_dir(s, s->blobsfd, "blobs", m->files, &ret->blobs, e)) < 0 ||
	    (r = sweep_files(s, s->namesfd, "names/", ".tmp-", e)) < 0 ||
	    (r = sweep_files(s, s->refsfd, "refs/", ".tmp-", e)) < 0 ||
	    (r = sweep_files(s, s->dirfd, "", ".tmp-", e)) < 0 ||
	    (r = sweep_files(s, s->partialfd, "partial/", "", e)) < 0)
		return r;
	/* Nobody holds one: who unpacks holds the store's lock as well. */
	return sweep_dir(s, s->locksfd, "locks", NULL, &locks, e);
}

static int lock_alone(struct store *s, bool wait, struct err *e)
{
	while (flock(s->lockfd, LOCK_EX | (wait ? 0 : LOCK_NB)) < 0) {
		if (errno == EWOULDBLOCK)
			return err_set(e, EBUSY, "store %s: others are at work in it", s->path);
		if (errno != EINTR)
			return err_errno(e, errno, "store %s: lock", s->path);
	}
	return 0;
}

int store_sweep(struct store *s, bool unused, bool wait, struct store_swept *ret, struct err *e)
{
	_cleanup_(mark_free) struct mark m = { .drop_unused = unused };
	struct store_swept swept = { 0 };
	int r;

	if ((r = lock_alone(s, wait, e)) < 0 ||
	    (r = store_each_bundle(s, mark_bundle, &m, e)) < 0 ||
	    (r = store_each_name(s, mark_name, &m, e)) < 0 || (r = sweep(s, &m, &swept, e)) < 0)
		return r;
	*ret = swept;
	return 0;
}
