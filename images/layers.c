/*
 * The store's layers. Each is unpacked once: who wants one that is missing takes the lock of its
 * chain ID, looks again, and unpacks into tmp/. Locks are taken from the base up, and chain IDs
 * make a tree, so no two processes wait for each other in a circle.
 *
 * A thread unpacks a layer; two run at once. When all are there, one syncfs(2) brings them to the
 * disk, and only then do they get their names.
 */
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "images/store.h"

#define WORKERS 2

const char *store_file_name(struct arena *a, const char *digest)
{
	char *name = arena_strdup(a, digest);

	*strchr(name, ':') = '-';
	return name;
}

bool store_has_layer(const struct store *s, const char *chain_id)
{
	_cleanup_arena_ struct arena *a = arena_new();

	return faccessat(s->layersfd, store_file_name(a, chain_id), F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int store_check_layers(const struct store *s, const struct image *im, struct err *e)
{
	for (size_t i = 0; i < im->n_layers; i++)
		if (!store_has_layer(s, im->layers[i].chain_id))
			return err_set(e, ENOENT, "store %s: layer %zu of %s (%s) is missing",
			    s->path, i + 1, im->name, im->layers[i].chain_id);
	return 0;
}

/* ---- a job ---- */

struct layer_job {
	size_t index;
	const char *file; /* its name in layers/ and locks/ */
	int lockfd;
	bool missing;
	struct stage stage;
};

struct pull {
	struct store *s;
	struct image_source *src;
	const struct image *im;
	const struct image_progress *progress;
	struct layer_job *jobs;
	pthread_mutex_t mutex; /* of next, e, failed and the callback */
	size_t next;
	bool failed;
	struct err e;
	atomic_bool cancel;
};

static void report(struct pull *p, enum image_event_kind kind, size_t layer, uint64_t bytes)
{
	const struct image_event ev = { .kind = kind, .layer = layer, .bytes = bytes };

	if (!p->progress)
		return;
	pthread_mutex_lock(&p->mutex);
	p->progress->fn(p->progress->ctx, p->im, &ev);
	pthread_mutex_unlock(&p->mutex);
}

struct layer_progress {
	struct pull *p;
	size_t layer;
};

static void report_bytes(void *ctx, uint64_t bytes)
{
	struct layer_progress *lp = ctx;

	report(lp->p, IMAGE_LAYER_BYTES, lp->layer, bytes);
}

int image_unpack_layer(struct image_source *src, const struct image *im, size_t index, int rootfd,
    const struct unpack_opts *opts, struct err *e)
{
	const struct image_layer *l = &im->layers[index];
	const struct image_descriptor d = {
		.media_type = l->media_type,
		.digest = l->digest,
		.size = l->size,
	};
	_cleanup_image_stream_ struct image_stream in = { 0 };
	_cleanup_free_ char *name = xasprintf("layer %zu of %s", index + 1, im->name);
	struct digest digest, diff_id;
	struct unpack_result result;
	int r;

	if ((r = digest_parse(l->digest, &digest, e)) < 0 ||
	    (r = digest_parse(l->diff_id, &diff_id, e)) < 0 ||
	    (r = src->ops->blob(src, &d, 0, &in, e)) < 0)
		return err_wrap(e, "%s", name);
	r = layer_unpack(
	    &(struct unpack_layer){
		.name = name,
		.read = in.read,
		.ctx = in.ctx,
		.fd = -EBADF,
		.digest = &digest,
		.diff_id = &diff_id,
		.size = (int64_t)l->size,
	    },
	    rootfd, opts, &result, e);
	if (r == -EBADMSG && in.spoil)
		in.spoil(in.ctx);
	return r;
}

static int unpack_one(struct pull *p, struct layer_job *j, struct err *e)
{
	struct layer_progress lp = { .p = p, .layer = j->index };
	_cleanup_close_ int diff = -EBADF;
	struct unpack_opts opts;
	int r = stage_new(p->s->tmpfd, "make room for a layer", &j->stage, e);

	if (r < 0)
		return r;
	if (mkdirat(j->stage.fd, "diff", 0755) < 0)
		return err_errno(e, errno, "mkdir tmp/%s/diff", j->stage.name);
	diff = openat(j->stage.fd, "diff", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (diff < 0)
		return err_errno(e, errno, "open tmp/%s/diff", j->stage.name);
	if (fchmod(diff, 0755) < 0) /* whatever the umask */
		return err_errno(e, errno, "chmod tmp/%s/diff", j->stage.name);
	unpack_opts_of(&p->s->o, &opts);
	opts.mode = UNPACK_OVERLAY;
	opts.userxattr = p->s->userxattr;
	opts.progress = p->progress ? report_bytes : NULL;
	opts.progress_ctx = &lp;
	opts.cancel = &p->cancel;
	r = image_unpack_layer(p->src, p->im, j->index, diff, &opts, e);
	if (r == 0)
		report(p, IMAGE_LAYER_DONE, j->index, p->im->layers[j->index].size);
	return r;
}

/* ---- the workers ---- */

static struct layer_job *next_job(struct pull *p)
{
	struct layer_job *j = NULL;

	pthread_mutex_lock(&p->mutex);
	while (!p->failed && p->next < p->im->n_layers && !j) {
		j = &p->jobs[p->next++];
		if (!j->missing)
			j = NULL;
	}
	pthread_mutex_unlock(&p->mutex);
	return j;
}

static void *work(void *ctx)
{
	struct pull *p = ctx;

	for (struct layer_job *j; (j = next_job(p));) {
		struct err e = ERR_INIT;

		if (unpack_one(p, j, &e) == 0)
			continue;
		pthread_mutex_lock(&p->mutex);
		if (!p->failed) /* the first one is the cause of the others */
			p->e = e;
		p->failed = true;
		pthread_mutex_unlock(&p->mutex);
		atomic_store(&p->cancel, true);
	}
	return NULL;
}

/* The caller is one of them. */
static int unpack_all(struct pull *p, size_t n_missing, struct err *e)
{
	pthread_t threads[WORKERS - 1];
	size_t n = 0;

	while (n < ARRAY_SIZE(threads) && n + 1 < n_missing &&
	       pthread_create(&threads[n], NULL, work, p) == 0)
		n++;
	work(p);
	while (n > 0)
		pthread_join(threads[--n], NULL);
	if (p->failed)
		*e = p->e;
	return p->failed ? -e->code : 0;
}

/* ---- locks, and the names in the end ---- */

static int lock_layer(struct pull *p, struct layer_job *j, struct err *e)
{
	j->lockfd = openat(p->s->locksfd, j->file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (j->lockfd < 0)
		return err_errno(e, errno, "store %s: open locks/%s", p->s->path, j->file);
	while (flock(j->lockfd, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_errno(e, errno, "store %s: lock locks/%s", p->s->path, j->file);
	return 0;
}

/* The same chain ID twice in one image cannot be: it would be its own ancestor's digest. */
static int find_missing(struct pull *p, struct arena *a, size_t *ret, struct err *e)
{
	size_t n = 0;

	for (size_t i = 0; i < p->im->n_layers; i++) {
		const char *id = p->im->layers[i].chain_id;
		struct layer_job *j = &p->jobs[i];
		int r;

		j->index = i;
		j->file = store_file_name(a, id);
		if (!store_has_layer(p->s, id)) {
			r = lock_layer(p, j, e);
			if (r < 0)
				return r;
			j->missing = !store_has_layer(p->s, id);
		}
		if (j->missing)
			n++;
		else
			report(p, IMAGE_LAYER_KNOWN, i, p->im->layers[i].size);
	}
	*ret = n;
	return 0;
}

/* From below, so that what is there always has what it lies on. */
static int name_layers(struct pull *p, struct err *e)
{
	for (size_t i = 0; i < p->im->n_layers; i++) {
		struct layer_job *j = &p->jobs[i];

		if (!j->missing)
			continue;
		if (renameat(p->s->tmpfd, j->stage.name, p->s->layersfd, j->file) < 0)
			return err_errno(e, errno, "store %s: rename tmp/%s to layers/%s",
			    p->s->path, j->stage.name, j->file);
		stage_remove(&j->stage); /* its lock */
	}
	if (fsync(p->s->layersfd) < 0)
		return err_errno(e, errno, "store %s: sync layers/", p->s->path);
	return 0;
}

static int pull_steps(struct pull *p, struct arena *a, struct err *e)
{
	size_t missing;
	int r = find_missing(p, a, &missing, e);

	if (r < 0 || missing == 0 || (r = unpack_all(p, missing, e)) < 0)
		return r;
	report(p, IMAGE_SYNC, 0, 0);
	if (syncfs(p->s->dirfd) < 0)
		return err_errno(e, errno, "store %s: sync", p->s->path);
	return name_layers(p, e);
}

int store_unpack_missing(struct store *s, struct image_source *src, const struct image *im,
    const struct image_progress *progress, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct pull p = {
		.s = s,
		.src = src,
		.im = im,
		.progress = progress,
		.jobs = arena_calloc(a, im->n_layers, sizeof(*p.jobs)),
		.mutex = PTHREAD_MUTEX_INITIALIZER,
		.e = ERR_INIT,
	};
	int r;

	for (size_t i = 0; i < im->n_layers; i++) {
		p.jobs[i].lockfd = -EBADF;
		p.jobs[i].stage = (struct stage)STAGE_INIT;
	}
	r = pull_steps(&p, a, e);
	for (size_t i = 0; i < im->n_layers; i++) {
		stage_remove(&p.jobs[i].stage); /* nothing, if all went well */
		closep(&p.jobs[i].lockfd);
	}
	return r;
}
