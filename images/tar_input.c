#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "images/tar_internal.h"

static void use(struct tar *t, size_t n)
{
	t->p += n;
	t->n -= n;
	t->pos += n;
}

/* 1, or 0 at the stream's end. */
static int more(struct tar *t, struct err *e)
{
	const void *p = NULL;
	size_t n = 0;
	int r;

	if (t->n > 0)
		return 1;
	r = t->in.next(t->in.ctx, &p, &n, e);
	if (r > 0) {
		t->p = p;
		t->n = n;
	}
	return r;
}

int tar_fill(struct tar *t, struct err *e)
{
	int r = more(t, e);

	return r == 0 ? tar_bad(t, e, "the archive ends in the middle of it") : r;
}

int tar_read(struct tar *t, void *buf, size_t n, struct err *e)
{
	char *to = buf;

	while (n > 0) {
		int r = tar_fill(t, e);
		size_t k;

		if (r < 0)
			return r;
		k = t->n < n ? t->n : n;
		memcpy(to, t->p, k);
		use(t, k);
		to += k;
		n -= k;
	}
	return 0;
}

int tar_read_block(struct tar *t, const uint8_t **ret, struct err *e)
{
	int r = more(t, e);

	if (r <= 0)
		return r;
	if (t->n >= TAR_BLOCK) {
		*ret = t->p;
		use(t, TAR_BLOCK);
		return 1;
	}
	r = tar_read(t, t->block, TAR_BLOCK, e);
	if (r < 0)
		return r;
	*ret = t->block;
	return 1;
}

int tar_skip(struct tar *t, uint64_t n, struct err *e)
{
	while (n > 0) {
		size_t k;
		int r;

		if (t->n == 0 && t->in.skip) {
			r = t->in.skip(t->in.ctx, n, e);
			if (r < 0)
				return r;
			t->pos += n;
			return 0;
		}
		r = tar_fill(t, e);
		if (r < 0)
			return r;
		k = t->n < n ? t->n : (size_t)n;
		use(t, k);
		n -= k;
	}
	return 0;
}

int tar_skip_padding(struct tar *t, unsigned n, struct err *e)
{
	int r = 1;

	while (n > 0 && (r = more(t, e)) > 0) {
		unsigned k = t->n < n ? (unsigned)t->n : n;

		use(t, k);
		n -= k;
	}
	return r < 0 ? r : 0;
}

/* ---- an open file ---- */

#define FILE_PIECE 65536

struct tar_file {
	int fd;
	char *name;
	uint64_t at, size; /* seekable: the position, and what fstat(2) said at the start */
	char buf[FILE_PIECE];
};

static int file_next(void *ctx, const void **p, size_t *n, struct err *e)
{
	struct tar_file *f = ctx;
	ssize_t got;

	do
		got = read(f->fd, f->buf, sizeof(f->buf));
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return err_errno(e, errno, "read %s", f->name);
	f->at += (uint64_t)got;
	*p = f->buf;
	*n = (size_t)got;
	return got > 0;
}

static int file_skip(void *ctx, uint64_t n, struct err *e)
{
	struct tar_file *f = ctx;

	/* lseek(2) would go beyond the end in silence. */
	if (f->at > f->size || n > f->size - f->at)
		return err_set(e, EBADMSG, "%s: the archive ends inside an entry", f->name);
	if (lseek(f->fd, (off_t)n, SEEK_CUR) < 0)
		return err_errno(e, errno, "seek in %s", f->name);
	f->at += n;
	return 0;
}

struct tar_file *tar_file_new(int fd, const char *name, bool seekable, struct tar_input *ret)
{
	struct tar_file *f = xcalloc(1, sizeof(*f));
	off_t at = seekable ? lseek(fd, 0, SEEK_CUR) : -1;
	off_t end = at >= 0 ? lseek(fd, 0, SEEK_END) : -1;

	f->fd = fd;
	f->name = xstrdup(name);
	/* A pipe passed as seekable is read instead. */
	if (end >= 0 && lseek(fd, at, SEEK_SET) == at) {
		f->at = (uint64_t)at;
		f->size = (uint64_t)end;
	} else {
		seekable = false;
	}
	*ret = (struct tar_input){ file_next, seekable ? file_skip : NULL, f };
	return f;
}

void tar_file_free(struct tar_file *f)
{
	if (!f)
		return;
	free(f->name);
	free(f);
}
