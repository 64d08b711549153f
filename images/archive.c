/* The index of a tar archive; see images/archive.h. */
#include "images/archive.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "base/str.h"
#include "images/tar.h"

#define LINKS_MAX 8
#define NAMES_MAX (32u * 1024 * 1024) /* bytes of all names and links */

struct member {
	const char *name; /* absolute and lexically clean: "/blobs/sha256/…" */
	const char *link; /* the same for what it points to; NULL: a file */
	uint64_t offset, size;
	size_t place; /* in the archive: of two with one name the later one counts, as for tar */
};

struct archive {
	struct arena *arena;
	const char *path;
	int fd;
	uint64_t size;
	struct member *v; /* by name, then place */
	size_t n, cap, name_bytes;
};

static int compare(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	int c = strcmp(x->name, y->name);

	return c ? c : (x->place > y->place) - (x->place < y->place);
}

static const char *clean(struct arena *a, const char *path)
{
	_cleanup_free_ char *whole = xasprintf("/%s", path), *c = path_normalize(whole);

	return arena_strdup(a, c);
}

/* A symlink's target counts from its own directory, a hard link's from the top. */
static const char *link_target(struct arena *a, const struct tar_entry *en, const char *name)
{
	const char *slash = strrchr(name, '/');

	if (en->type == TAR_HARDLINK || en->linkpath[0] == '/')
		return clean(a, en->linkpath);
	return clean(a, arena_printf(a, "%.*s/%s", (int)(slash - name), name, en->linkpath));
}

static int add(struct archive *ar, const struct tar_entry *en, struct err *e)
{
	struct member m = { .offset = en->offset, .size = en->size, .place = ar->n };

	if (en->type != TAR_FILE && en->type != TAR_SYMLINK && en->type != TAR_HARDLINK)
		return 0;
	if (en->sparse)
		return err_set(
		    e, EINVAL, "entry %llu: a sparse file", (unsigned long long)en->number);
	if (ar->n == ARCHIVE_ENTRIES_MAX)
		return err_set(e, EFBIG, "more than %u entries", ARCHIVE_ENTRIES_MAX);
	if (en->type == TAR_FILE && (m.offset > ar->size || m.size > ar->size - m.offset))
		return err_set(e, EBADMSG, "entry %llu: ends beyond the archive's end",
		    (unsigned long long)en->number);
	ar->name_bytes += strlen(en->path) + (en->linkpath ? strlen(en->linkpath) : 0);
	if (ar->name_bytes > NAMES_MAX)
		return err_set(e, EFBIG, "more than %u bytes of names", NAMES_MAX);
	m.name = clean(ar->arena, en->path);
	if (en->type != TAR_FILE)
		m.link = link_target(ar->arena, en, m.name);
	if (ar->n == ar->cap) {
		ar->cap = ar->cap ? 2 * ar->cap : 64;
		ar->v = xrealloc(ar->v, ar->cap * sizeof(*ar->v));
	}
	ar->v[ar->n++] = m;
	return 0;
}

static int read_index(struct archive *ar, struct err *e)
{
	struct tar_input in;
	struct tar_file *file = tar_file_new(ar->fd, ar->path, true, &in);
	_cleanup_tar_ struct tar *t = tar_new(&in);
	const struct tar_entry *en;
	int r;

	while ((r = tar_next(t, &en, e)) > 0) {
		r = add(ar, en, e);
		if (r < 0)
			break;
	}
	tar_file_free(file);
	if (r < 0)
		return r;
	if (ar->n)
		qsort(ar->v, ar->n, sizeof(*ar->v), compare);
	return 0;
}

/* The magic numbers that a compressed archive begins with. */
static bool is_compressed(int fd)
{
	unsigned char m[4] = { 0 };

	return pread(fd, m, sizeof(m), 0) == sizeof(m) &&
	       (!memcmp(m, "\x1f\x8b", 2) || !memcmp(m, "\x28\xb5\x2f\xfd", 4) ||
		   !memcmp(m, "BZh", 3) || !memcmp(m, "\xfd\x37zX", 4));
}

int archive_open(const char *path, struct archive **ret, struct err *e)
{
	_cleanup_archive_ struct archive *ar = xcalloc(1, sizeof(*ar));
	struct stat st;
	int r;

	ar->arena = arena_new();
	ar->path = arena_strdup(ar->arena, path);
	ar->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (ar->fd < 0)
		return err_errno(e, errno, "open %s", path);
	if (fstat(ar->fd, &st) < 0)
		return err_errno(e, errno, "%s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL,
		    "%s: not a regular file (an archive is read at more than one place)", path);
	if (is_compressed(ar->fd))
		return err_set(
		    e, EINVAL, "%s: is compressed as a whole: decompress it first", path);
	ar->size = (uint64_t)st.st_size;
	r = read_index(ar, e);
	if (r < 0)
		return err_wrap(e, "%s", path);
	*ret = steal_ptr(ar);
	return 0;
}

void archive_close(struct archive *a)
{
	if (!a)
		return;
	closep(&a->fd);
	arena_free(a->arena);
	free(a->v);
	free(a);
}

const char *archive_path(const struct archive *a)
{
	return a->path;
}

static const struct member *find(const struct archive *a, const char *name)
{
	size_t lo = 0, hi = a->n;

	while (lo < hi) { /* the first one behind all of this name */
		size_t mid = lo + (hi - lo) / 2;

		if (strcmp(a->v[mid].name, name) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo && streq(a->v[lo - 1].name, name) ? &a->v[lo - 1] : NULL;
}

int archive_find(const struct archive *a, const char *name, bool links, uint64_t *ret_offset,
    uint64_t *ret_size, struct err *e)
{
	_cleanup_arena_ struct arena *tmp = arena_new();
	const char *at = clean(tmp, name);

	for (int i = 0; i <= LINKS_MAX; i++) {
		const struct member *m = find(a, at);

		if (!m)
			return err_set(e, ENOENT, "%s: %s is not in the archive%s%s", a->path,
			    json_quote(tmp, at), i ? ", to which a link leads from " : "",
			    i ? json_quote(tmp, name) : "");
		if (!m->link) {
			*ret_offset = m->offset;
			*ret_size = m->size;
			return 0;
		}
		if (!links)
			return err_set(e, ELOOP, "%s: %s is a link", a->path, json_quote(tmp, at));
		at = m->link;
	}
	return err_set(e, ELOOP, "%s: %s: more than %d links in a row", a->path,
	    json_quote(tmp, name), LINKS_MAX);
}

int archive_stream(const struct archive *a, uint64_t offset, uint64_t n, const char *what,
    struct image_stream *ret, struct err *e)
{
	int fd = fcntl(a->fd, F_DUPFD_CLOEXEC, 0); /* pread(2): the position is nobody's */

	if (fd < 0)
		return err_errno(e, errno, "dup");
	image_stream_fd(ret, fd, offset, n, what);
	return 0;
}

int archive_read(const struct archive *a, struct arena *arena, const char *name, const char **ret,
    size_t *ret_len, struct err *e)
{
	_cleanup_image_stream_ struct image_stream in = { 0 };
	uint64_t offset, size;
	size_t have = 0;
	char *buf;
	int r = archive_find(a, name, false, &offset, &size, e);

	if (r < 0)
		return r;
	if (size > IMAGE_DOCUMENT_MAX)
		return err_set(e, EFBIG, "%s: %s: %llu bytes, more than %u", a->path, name,
		    (unsigned long long)size, IMAGE_DOCUMENT_MAX);
	r = archive_stream(a, offset, size, name, &in, e);
	if (r < 0)
		return r;
	buf = arena_alloc(arena, size + 1);
	while (have < size) {
		ssize_t n = in.read(in.ctx, buf + have, size - have, e);

		if (n < 0)
			return (int)n;
		if (n == 0)
			return err_set(
			    e, EBADMSG, "%s: %s: the archive became shorter", a->path, name);
		have += (size_t)n;
	}
	*ret = buf;
	*ret_len = size;
	return 0;
}
