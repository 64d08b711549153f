/* What layer_unpack() promises of its source, its callbacks and its end. What it makes of a layer's
 * contents: tests/integration/test_images_unpack.py, tests/attacks/test_layers.py. */
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "images/unpack.h"
#include "tests/unit/test.h"

/* A tar stream of n files of size bytes. */
struct made {
	char *p;
	size_t n;
	struct digest digest;
};

static void header(char *h, unsigned i, size_t size)
{
	unsigned sum = 0;

	snprintf(h, 100, "f%u", i);
	snprintf(h + 100, 8, "0000644");
	snprintf(h + 108, 8, "%07o", (unsigned)getuid());
	snprintf(h + 116, 8, "%07o", (unsigned)getgid());
	snprintf(h + 124, 12, "%011zo", size);
	snprintf(h + 136, 12, "%011o", 1);
	memset(h + 148, ' ', 8);
	h[156] = '0';
	memcpy(h + 257,
	    "ustar\0"
	    "00",
	    8);
	for (int k = 0; k < 512; k++)
		sum += (unsigned char)h[k];
	snprintf(h + 148, 8, "%06o", sum);
}

static struct made make_tar(unsigned files, size_t size)
{
	size_t each = 512 + (size + 511) / 512 * 512;
	struct made m = { xcalloc(1, files * each + 1024), files * each + 1024, { 0 } };
	struct err e = ERR_INIT;

	for (unsigned i = 0; i < files; i++)
		header(m.p + i * each, i, size);
	CHECK_INT(digest_of(DIGEST_SHA256, m.p, m.n, &m.digest, &e), 0);
	return m;
}

struct source {
	const struct made *m;
	size_t at, step;
	uint64_t most;	    /* asked for in one read beyond what was left */
	int fail;	    /* errno to fail with at the middle */
	bool endless;	    /* begins again at the end */
	atomic_bool cancel; /* set at the middle, if cancels */
	bool cancels;
	uint64_t progress;
	pthread_t thread;
};

static ssize_t source_read(void *ctx, void *buf, size_t n, struct err *e)
{
	struct source *s = ctx;
	size_t left = s->m->n - s->at;

	s->thread = pthread_self();
	if (s->at >= s->m->n / 2 && s->fail)
		return err_set(e, s->fail, "the source broke");
	if (s->at >= s->m->n / 2 && s->cancels)
		atomic_store(&s->cancel, true);
	if (n > left && n - left > s->most)
		s->most = n - left;
	if (left == 0 && s->endless)
		s->at = 0, left = s->m->n;
	n = n < left ? n : left;
	n = s->step && n > s->step ? s->step : n;
	memcpy(buf, s->m->p + s->at, n);
	s->at += n;
	return (ssize_t)n;
}

static void progress(void *ctx, uint64_t bytes)
{
	struct source *s = ctx;

	CHECK(bytes > s->progress);
	s->progress = bytes;
}

static int unpack(struct source *s, const struct digest *digest, int64_t size,
    const struct digest *diff_id, struct unpack_result *res, struct err *e)
{
	char dir[] = "/tmp/bailey-unit-XXXXXX";
	struct unpack_opts o = { .progress = progress, .progress_ctx = s, .cancel = &s->cancel };
	struct unpack_layer l = { .name = "layer 1 of test",
		.read = source_read,
		.ctx = s,
		.fd = -EBADF,
		.digest = digest,
		.diff_id = diff_id,
		.size = size };
	struct err e2 = ERR_INIT;
	int root, r;

	CHECK(mkdtemp(dir) != NULL);
	root = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = layer_unpack(&l, root, &o, res, e);
	close(root);
	CHECK_INT(tree_remove(AT_FDCWD, dir, &e2), 0);
	return r;
}

TEST(test_stream)
{
	struct made m = make_tar(30, 40000);
	struct source s = { .m = &m, .step = 777 };
	struct err e = ERR_INIT;
	struct unpack_result res;

	CHECK_INT(unpack(&s, &m.digest, (int64_t)m.n, &m.digest, &res, &e), 0);
	CHECK_STR(e.msg, "");
	CHECK_INT(res.size, m.n);
	CHECK_INT(res.tar_size, m.n);
	CHECK_INT(res.entries, 30);
	CHECK_STR(res.compression, "none");
	CHECK_STR(res.digest.text, m.digest.text);
	CHECK_INT(s.progress, m.n);
	CHECK(!pthread_equal(s.thread, pthread_self()));
	CHECK_INT(s.most, 1); /* not a byte beyond the size but one */
	free(m.p);
}

TEST(test_size)
{
	struct made m = make_tar(30, 40000);
	struct source s = { .m = &m };
	struct err e = ERR_INIT;
	struct unpack_result res = { .size = 77 };

	CHECK_INT(unpack(&s, &m.digest, (int64_t)m.n - 1, &m.digest, &res, &e), -EBADMSG);
	CHECK_HAS(e.msg, "layer 1 of test: the blob is longer");
	s = (struct source){ .m = &m };
	err_clear(&e);
	CHECK_INT(unpack(&s, &m.digest, (int64_t)m.n + 1, &m.digest, &res, &e), -EBADMSG);
	CHECK_HAS(e.msg, "its descriptor says");
	CHECK_INT(res.size, 77);
	/* Without an end. */
	s = (struct source){ .m = &m, .endless = true };
	err_clear(&e);
	CHECK_INT(unpack(&s, &m.digest, (int64_t)m.n, &m.digest, &res, &e), -EBADMSG);
	CHECK_HAS(e.msg, "longer");
	free(m.p);
}

TEST(test_source_fails)
{
	struct made m = make_tar(30, 400000);
	struct source s = { .m = &m, .fail = ECONNRESET };
	struct err e = ERR_INIT;
	struct unpack_result res;

	CHECK_INT(unpack(&s, &m.digest, (int64_t)m.n, &m.digest, &res, &e), -ECONNRESET);
	CHECK_STR(e.msg, "layer 1 of test: the source broke");
	free(m.p);
}

TEST(test_cancel)
{
	struct made m = make_tar(30, 400000);
	struct source s = { .m = &m, .cancels = true };
	struct err e = ERR_INIT;
	struct unpack_result res;

	CHECK_INT(unpack(&s, &m.digest, (int64_t)m.n, &m.digest, &res, &e), -ECANCELED);
	CHECK(s.at < m.n);
	free(m.p);
}

/* A bad entry at the start: the rest of the blob is read for its digest, which then is the news. */
TEST(test_wrong_blob_is_named_as_that)
{
	struct made m = make_tar(30, 400000), other = make_tar(1, 1);
	struct source s = { .m = &m };
	struct err e = ERR_INIT;
	struct unpack_result res;

	m.p[0] ^= 1;
	CHECK_INT(unpack(&s, &other.digest, (int64_t)m.n, &m.digest, &res, &e), -EBADMSG);
	CHECK_HAS(e.msg, other.digest.text);
	CHECK_HAS(e.msg, "first noticed as: tar: entry 1");
	CHECK_INT(s.at, m.n);
	/* Without a digest to miss nothing more is read than is under way. */
	s = (struct source){ .m = &m, .endless = true };
	err_clear(&e);
	CHECK_INT(unpack(&s, NULL, -1, &m.digest, &res, &e), -EBADMSG);
	CHECK_HAS(e.msg, "layer 1 of test: tar: entry 1");
	free(m.p);
	free(other.p);
}

TEST_MAIN(T(test_stream), T(test_size), T(test_source_fails), T(test_cancel),
    T(test_wrong_blob_is_named_as_that))
