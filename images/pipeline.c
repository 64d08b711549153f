/*
 * layer_unpack(): the threads of one layer.
 *
 *   reader ──packed──► inflater ──plain──┬──► summer
 *                                        └──► the caller's thread: entries
 *
 * The reader computes the blob's digest, the summer the DiffID. How it ends:
 *
 * - Bad content (-EBADMSG), found by anybody: the others stop, but the reader goes on to the blob's
 *   end (at most the size that was promised), because if the digest does not match either, that is
 *   the news: the blob is not what was asked for.
 * - Anything else, or `cancel`: everybody stops at once.
 */
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "images/inflate.h"
#include "images/pipeline_ring.h"
#include "images/unpack_internal.h"

#define SLOT_SIZE	(256u * 1024)
#define SLOTS		8
#define DEFAULT_ENTRIES 4194304u
#define DEFAULT_BYTES	(256ull << 30)
#define DEFAULT_RATIO	200u
#define RATIO_FREE	(256ull << 20) /* inflated bytes before the ratio is asked for */

enum stage { READER, INFLATER, SUMMER, APPLIER, STAGES };
/* plain's readers */
enum { BY_SUMMER, BY_APPLIER };

struct pipeline {
	const struct unpack_layer *layer;
	struct unpack_opts opts;
	struct ring *packed, *plain;
	atomic_bool stop;
	/* Each is its thread's until that has ended. */
	struct err err[STAGES];
	struct hasher *blob_hash, *tar_hash;
	uint64_t size, tar_size;
	bool read_all;
	enum compression compression;
	atomic_uint_fast64_t read_so_far; /* of the blob, for the ratio */
	struct apply apply;
	uint64_t entries;
	const void *slot; /* the applier holds one of plain's */
};

static bool stopped(struct pipeline *p)
{
	return atomic_load_explicit(&p->stop, memory_order_relaxed) ||
	       (p->opts.cancel && atomic_load_explicit(p->opts.cancel, memory_order_relaxed));
}

static int cancelled(struct err *e)
{
	return err_set(e, ECANCELED, "cancelled");
}

/* A stage has failed. The rest of the blob is of interest if it has a digest to miss and an end. */
static void stage_failed(struct pipeline *p, int r)
{
	bool read_on = r == -EBADMSG && p->layer->digest && p->layer->size >= 0;

	if (!read_on)
		atomic_store(&p->stop, true);
	ring_abort(p->plain);
	if (!read_on)
		ring_abort(p->packed);
}

/* ---- reader ---- */

static ssize_t read_some(struct pipeline *p, void *buf, size_t n, struct err *e)
{
	const struct unpack_layer *l = p->layer;
	ssize_t got;

	if (l->read)
		return l->read(l->ctx, buf, n, e);
	do
		got = read(l->fd, buf, n);
	while (got < 0 && errno == EINTR);
	return got < 0 ? err_errno(e, errno, "read the blob") : got;
}

/* One slot, as full as the source makes it. *n 0: the end. */
static int read_slot(struct pipeline *p, char *buf, size_t *n, struct err *e)
{
	uint64_t left = p->layer->size < 0 ? UINT64_MAX : (uint64_t)p->layer->size - p->size;

	*n = 0;
	while (*n < SLOT_SIZE) {
		size_t room = SLOT_SIZE - *n;
		ssize_t got;

		if (stopped(p))
			return cancelled(e);
		/* One byte more than promised shows that there is more. */
		if (left < room)
			room = (size_t)left + 1;
		got = read_some(p, buf + *n, room, e);
		if (got < 0)
			return (int)got;
		if (got == 0)
			return 0;
		if ((uint64_t)got > left)
			return err_set(e, EBADMSG,
			    "the blob is longer than the %" PRId64 " bytes of its descriptor",
			    p->layer->size);
		*n += (size_t)got;
		left -= (uint64_t)got;
	}
	return 0;
}

static int read_blob(struct pipeline *p, struct err *e)
{
	int r = 0;

	for (;;) {
		/* Nobody takes it any more: for the digest alone. */
		char *slot = ring_write_begin(p->packed);
		size_t n;

		if (!slot)
			return cancelled(e);
		r = read_slot(p, slot, &n, e);
		if (r < 0)
			return r;
		if (n == 0)
			break;
		hasher_add(p->blob_hash, slot, n);
		p->size += n;
		if (p->layer->size < 0 && p->size > p->opts.limits.bytes)
			return err_set(e, EFBIG, "the blob exceeds the limit of %" PRIu64 " bytes",
			    p->opts.limits.bytes);
		atomic_fetch_add_explicit(&p->read_so_far, n, memory_order_relaxed);
		ring_write_end(p->packed, n);
		if (p->opts.progress)
			p->opts.progress(p->opts.progress_ctx, p->size);
	}
	if (p->layer->size >= 0 && p->size != (uint64_t)p->layer->size)
		return err_set(e, EBADMSG,
		    "the blob has %" PRIu64 " bytes, its descriptor says %" PRId64, p->size,
		    p->layer->size);
	p->read_all = true;
	return 0;
}

static void *reader_main(void *arg)
{
	struct pipeline *p = arg;
	int r = read_blob(p, &p->err[READER]);

	if (r < 0) {
		stage_failed(p, r);
		ring_abort(p->packed);
	}
	ring_write_close(p->packed);
	return NULL;
}

/* ---- inflater ---- */

static int check_limits(struct pipeline *p, struct err *e)
{
	const struct unpack_limits *l = &p->opts.limits;
	uint64_t in = atomic_load_explicit(&p->read_so_far, memory_order_relaxed);

	if (p->tar_size > l->bytes)
		return err_set(e, EFBIG,
		    "the inflated layer exceeds the limit of %" PRIu64 " bytes", l->bytes);
	if (p->tar_size > RATIO_FREE && p->tar_size / l->ratio > in)
		return err_set(e, EFBIG,
		    "the layer inflates to more than %u times its size: a decompression bomb",
		    l->ratio);
	return 0;
}

/* All that one piece of input comes to; without input (p NULL) what is still held back. */
static int inflate_piece(
    struct pipeline *p, struct inflate *z, const void *in, size_t n_in, struct err *e)
{
	bool finish = !in;

	for (;;) {
		void *slot = ring_write_begin(p->plain);
		size_t n = SLOT_SIZE;
		int r;

		if (!slot)
			return cancelled(e);
		r = finish ? inflate_finish(z, slot, &n, e)
			   : inflate_run(z, &in, &n_in, slot, &n, e);
		if (r < 0)
			return r;
		p->tar_size += n;
		r = check_limits(p, e);
		if (r < 0)
			return r;
		ring_write_end(p->plain, n);
		if (n == 0 && n_in == 0)
			return 0;
	}
}

static int inflate_all(struct pipeline *p, struct err *e)
{
	_cleanup_inflate_ struct inflate *z = inflate_new();
	const void *in;
	size_t n;
	int r;

	while ((r = ring_read(p->packed, 0, &in, &n)) > 0) {
		r = inflate_piece(p, z, in, n, e);
		ring_release(p->packed, 0);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return cancelled(e);
	r = inflate_piece(p, z, NULL, 0, e);
	p->compression = inflate_compression(z);
	return r;
}

static void *inflater_main(void *arg)
{
	struct pipeline *p = arg;
	int r = inflate_all(p, &p->err[INFLATER]);

	ring_leave(p->packed, 0);
	/* Cancelled by the applier's bad content: the reader goes on. */
	if (r < 0 && r != -ECANCELED)
		stage_failed(p, r);
	else if (r < 0)
		ring_abort(p->plain);
	ring_write_close(p->plain);
	return NULL;
}

/* ---- summer ---- */

static void *summer_main(void *arg)
{
	struct pipeline *p = arg;
	const void *buf;
	size_t n;
	int r;

	while ((r = ring_read(p->plain, BY_SUMMER, &buf, &n)) > 0) {
		hasher_add(p->tar_hash, buf, n);
		ring_release(p->plain, BY_SUMMER);
	}
	if (r < 0)
		cancelled(&p->err[SUMMER]);
	return NULL;
}

/* ---- applier ---- */

static int next_slot(void *ctx, const void **buf, size_t *n, struct err *e)
{
	struct pipeline *p = ctx;
	int r;

	if (p->slot)
		ring_release(p->plain, BY_APPLIER);
	p->slot = NULL;
	r = ring_read(p->plain, BY_APPLIER, buf, n);
	if (r < 0)
		return cancelled(e);
	p->slot = r > 0 ? *buf : NULL;
	return r;
}

static int apply_all(struct pipeline *p, struct err *e)
{
	struct tar_input in = { next_slot, NULL, p };
	_cleanup_tar_ struct tar *t = tar_new(&in);
	const struct tar_entry *en;
	int r;

	while ((r = tar_next(t, &en, e)) > 0) {
		if (stopped(p))
			return cancelled(e);
		r = apply_entry(&p->apply, t, en, e);
		if (r < 0)
			return r;
		p->entries++;
	}
	/* Behind the archive's end may be padding, which the digests cover. The stream's end is
	 * waited for, so that no directory gets its final mode in a layer that is cut off. */
	if (r == 0) {
		const void *buf;
		size_t n;

		while ((r = next_slot(p, &buf, &n, e)) > 0)
			;
	}
	return r < 0 ? r : apply_finish(&p->apply, e);
}

/* ---- all together ---- */

struct thread {
	pthread_t id;
	bool runs;
};

static int start(struct thread *t, void *(*fn)(void *), struct pipeline *p, struct err *e)
{
	int r = pthread_create(&t->id, NULL, fn, p);

	if (r)
		return err_errno(e, r, "start a thread");
	t->runs = true;
	return 0;
}

static int run_stages(struct pipeline *p, struct err *e)
{
	static void *(*const stages[])(void *) = { reader_main, inflater_main, summer_main };
	struct thread threads[ARRAY_SIZE(stages)] = { 0 };
	sigset_t all, before;
	int r = 0;

	/* Signals are for the caller's thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(stages); i++)
		r = start(&threads[i], stages[i], p, e);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r == 0) {
		int applied = apply_all(p, &p->err[APPLIER]);

		if (applied < 0 && applied != -ECANCELED)
			stage_failed(p, applied);
		else if (applied < 0)
			ring_abort(p->plain);
		ring_leave(p->plain, BY_APPLIER);
	} else {
		atomic_store(&p->stop, true);
		ring_abort(p->packed);
		ring_abort(p->plain);
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		if (threads[i].runs)
			pthread_join(threads[i].id, NULL);
	return r;
}

/* The first stage that has an error of its own; one that others stopped has none. */
static const struct err *cause(const struct pipeline *p)
{
	const struct err *any = NULL;

	for (int i = 0; i < STAGES; i++) {
		if (p->err[i].code && p->err[i].code != ECANCELED)
			return &p->err[i];
		if (p->err[i].code)
			any = &p->err[i];
	}
	return any;
}

static int mismatch(struct err *e, const char *what, const struct digest *want,
    const struct digest *got, const struct err *also)
{
	return err_set(e, EBADMSG, "%s is %s, not %s as it should be%s%s%s", what, got->text,
	    want->text, also ? " (first noticed as: " : "", also ? also->msg : "", also ? ")" : "");
}

static int judge(struct pipeline *p, struct unpack_result *res, struct err *e)
{
	const struct unpack_layer *l = p->layer;
	const struct err *why = cause(p);

	if (why && why->code != EBADMSG) {
		*e = *why;
		return -e->code;
	}
	if (p->read_all) {
		hasher_end(p->blob_hash, &res->digest);
		if (l->digest && !digest_equal(l->digest, &res->digest))
			return mismatch(e, "the blob's digest", l->digest, &res->digest, why);
	}
	if (why) {
		*e = *why;
		return -e->code;
	}
	hasher_end(p->tar_hash, &res->diff_id);
	if (!digest_equal(l->diff_id, &res->diff_id))
		return mismatch(e, "the DiffID", l->diff_id, &res->diff_id, NULL);
	res->size = p->size;
	res->tar_size = p->tar_size;
	res->entries = p->entries;
	res->skipped = p->apply.skipped;
	res->opaque_root = p->apply.opaque_root;
	res->compression = compression_name(p->compression);
	return 0;
}

static void set_defaults(struct unpack_limits *l)
{
	l->entries = l->entries ? l->entries : DEFAULT_ENTRIES;
	l->bytes = l->bytes ? l->bytes : DEFAULT_BYTES;
	l->ratio = l->ratio ? l->ratio : DEFAULT_RATIO;
}

static int unpack(struct pipeline *p, int rootfd, struct unpack_result *res, struct err *e)
{
	const struct unpack_layer *l = p->layer;
	int r = apply_init(&p->apply, rootfd, &p->opts, e);

	if (r == 0 && l->size >= 0 && (uint64_t)l->size > p->opts.limits.bytes)
		r = err_set(e, EFBIG, "%" PRId64 " bytes exceed the limit of %" PRIu64 " bytes",
		    l->size, p->opts.limits.bytes);
	if (r == 0)
		r = hasher_new(l->digest ? l->digest->alg : DIGEST_SHA256, &p->blob_hash, e);
	if (r == 0)
		r = hasher_new(l->diff_id->alg, &p->tar_hash, e);
	if (r < 0)
		return r;
	p->packed = ring_new(SLOTS, SLOT_SIZE, 1);
	p->plain = ring_new(SLOTS, SLOT_SIZE, 2);
	r = run_stages(p, e);
	if (r == 0)
		r = judge(p, res, e);
	ring_free(p->packed);
	ring_free(p->plain);
	return r;
}

int layer_unpack(const struct unpack_layer *layer, int rootfd, const struct unpack_opts *opts,
    struct unpack_result *ret, struct err *e)
{
	struct unpack_result res = { 0 };
	struct pipeline *p = xcalloc(1, sizeof(*p));
	int r;

	p->layer = layer;
	p->opts = *opts;
	set_defaults(&p->opts.limits);
	r = unpack(p, rootfd, &res, e);
	apply_free(&p->apply);
	hasher_free(p->blob_hash);
	hasher_free(p->tar_hash);
	free(p);
	if (r < 0)
		return err_wrap(e, "%s", layer->name);
	*ret = res;
	return 0;
}
