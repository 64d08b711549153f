/*
 * A tar archive as a source of files: read once for an index of its entries, then by offset.
 * Private to images/.
 *
 * The archive has to be a plain tar in a regular file, as skopeo, podman, buildah and docker write
 * it. Names are compared as the archive has them, cleaned of "./"; nothing is ever looked up
 * outside of it.
 */
#pragma once
#include "images/source.h"

#define ARCHIVE_ENTRIES_MAX 100000u

struct archive;
/* path: for messages too. */
int archive_open(const char *path, struct archive **ret, struct err *e);
void archive_close(struct archive *a); /* accepts NULL */
static inline void archive_closep(struct archive **a)
{
	archive_close(*a);
}
#define _cleanup_archive_ __attribute__((cleanup(archive_closep)))
const char *archive_path(const struct archive *a);

/* Where the regular file name lies. With links, symbolic and hard links to files of the archive are
 * followed, inside of it only and a bounded number of times; without, one is an error (-ELOOP).
 * -ENOENT where it is not. */
int archive_find(const struct archive *a, const char *name, bool links, uint64_t *ret_offset,
    uint64_t *ret_size, struct err *e);
/* Reads it whole, at most IMAGE_DOCUMENT_MAX bytes; NUL-terminated, in the arena. */
int archive_read(const struct archive *a, struct arena *arena, const char *name, const char **ret,
    size_t *ret_len, struct err *e);
/* n bytes of the archive from offset on, as a stream. */
int archive_stream(const struct archive *a, uint64_t offset, uint64_t n, const char *what,
    struct image_stream *ret, struct err *e);
