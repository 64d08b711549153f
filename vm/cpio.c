#include "vm/cpio.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fd.h"

#define MAGIC	    "070701"
#define HEADER_SIZE 110
#define TRAILER	    "TRAILER!!!"
#define ALIGN_MAX   4096u

struct entry {
	const char *name;
	mode_t mode;
	uint64_t size;
	unsigned rdev_major, rdev_minor;
};

static int put(struct cpio *c, const void *buf, size_t n, struct err *e)
{
	int r = fd_write_all(c->fd, buf, n);

	if (r < 0)
		return err_errno(e, -r, "write %s", c->path);
	c->size += n;
	return 0;
}

int cpio_pad(struct cpio *c, unsigned align, struct err *e)
{
	static const char zeros[ALIGN_MAX];
	size_t n = (size_t)(-c->size & (align - 1));

	if (align > ALIGN_MAX)
		return err_set(e, EINVAL, "%s: alignment to %u bytes", c->path, align);
	return n ? put(c, zeros, n, e) : 0;
}

/* The header is 13 numbers of eight digits; the name ends in NUL, and data starts aligned to 4. */
static int header(struct cpio *c, const struct entry *n, struct err *e)
{
	_cleanup_free_ char *s = NULL;
	bool trailer = strcmp(n->name, TRAILER) == 0;
	unsigned links = S_ISDIR(n->mode) ? 2 : 1;
	int r;

	if (n->size > UINT32_MAX)
		return err_set(
		    e, EFBIG, "%s: %s has 4 GiB or more, too much for cpio", c->path, n->name);
	s = xasprintf(MAGIC "%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%08X%s",
	    trailer ? 0 : ++c->entries, n->mode, 0, 0, links, 0, (unsigned)n->size, 0, 0,
	    n->rdev_major, n->rdev_minor, (unsigned)strlen(n->name) + 1, 0, n->name);
	r = put(c, s, strlen(s) + 1, e);
	return r < 0 ? r : cpio_pad(c, 4, e);
}

int cpio_directory(struct cpio *c, const char *name, mode_t mode, struct err *e)
{
	return header(c, &(struct entry){ .name = name, .mode = S_IFDIR | mode }, e);
}

int cpio_chardev(
    struct cpio *c, const char *name, mode_t mode, unsigned maj, unsigned min, struct err *e)
{
	return header(c,
	    &(struct entry){
		.name = name, .mode = S_IFCHR | mode, .rdev_major = maj, .rdev_minor = min },
	    e);
}

int cpio_text(struct cpio *c, const char *name, mode_t mode, const char *text, struct err *e)
{
	size_t n = strlen(text);
	int r = header(c, &(struct entry){ .name = name, .mode = S_IFREG | mode, .size = n }, e);

	if (r == 0)
		r = put(c, text, n, e);
	return r < 0 ? r : cpio_pad(c, 4, e);
}

int cpio_copy(struct cpio *c, int from, uint64_t size, const char *what, struct err *e)
{
	off_t at = 0;

	while ((uint64_t)at < size) {
		ssize_t n = sendfile(c->fd, from, &at, (size_t)(size - (uint64_t)at));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(e, errno, "copy %s to %s", what, c->path);
		if (n == 0)
			return err_set(e, EIO, "%s became shorter while it was read", what);
		c->size += (uint64_t)n;
	}
	return 0;
}

int cpio_file(
    struct cpio *c, const char *name, mode_t mode, int fd, const char *what, struct err *e)
{
	struct stat st;
	int r;

	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, "stat %s", what);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "%s is no regular file", what);
	r = header(c,
	    &(struct entry){ .name = name, .mode = S_IFREG | mode, .size = (uint64_t)st.st_size },
	    e);
	if (r == 0)
		r = cpio_copy(c, fd, (uint64_t)st.st_size, what, e);
	return r < 0 ? r : cpio_pad(c, 4, e);
}

int cpio_end(struct cpio *c, unsigned align, struct err *e)
{
	int r = header(c, &(struct entry){ .name = TRAILER }, e);

	return r < 0 ? r : cpio_pad(c, align, e);
}
