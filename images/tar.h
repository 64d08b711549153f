/*
 * Reads tar streams: ustar (POSIX.1-1988), GNU (long names, sparse files, base-256 numbers) and pax
 * (POSIX.1-2001: global and per-file records, path, linkpath, size, uid, gid, mtime,
 * SCHILY.xattr.*, LIBARCHIVE.xattr.*, GNU.sparse.* 0.0, 0.1 and 1.0). Does not touch the file
 * system.
 *
 * What two readers could understand differently is an error, not a guess: numbers with rubbish,
 * negative or overflowing sizes, data behind entries that have none, names with NUL inside, a pax
 * record whose length does not fit, an extended header that no entry follows, a stream that ends
 * inside an entry. The archive ends with two blocks of zeros or the stream's end; what follows
 * those blocks is skipped.
 *
 *   while ((r = tar_next(t, &en, e)) > 0)
 *           while ((r = tar_data(t, &piece, e)) > 0) …
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#include "base/err.h"

#define TAR_PATH_MAX	4095	       /* bytes of a name: PATH_MAX without its NUL */
#define TAR_PAX_MAX	(1024u * 1024) /* bytes of one extended header */
#define TAR_SPARSE_MAX	262144u	       /* pieces of one sparse file */
#define TAR_XATTR_VALUE (64u * 1024)   /* XATTR_SIZE_MAX */
#define TAR_XATTR_NAME	255u	       /* XATTR_NAME_MAX */

enum tar_type {
	TAR_FILE,
	TAR_HARDLINK,
	TAR_SYMLINK,
	TAR_CHAR,
	TAR_BLOCK_DEVICE,
	TAR_DIR,
	TAR_FIFO
};

struct tar_xattr {
	const char *name;  /* with its namespace: "user.x"; 1 to TAR_XATTR_NAME bytes */
	const void *value; /* at most TAR_XATTR_VALUE bytes */
	size_t len;
};

/* Pointers are valid until the next tar_next(). */
struct tar_entry {
	enum tar_type type;
	const char *path;     /* as written: not yet clean, see unpack.h; never empty */
	const char *linkpath; /* TAR_HARDLINK, TAR_SYMLINK: never empty; else NULL */
	uint32_t mode;	      /* permission and special bits, 07777 */
	uint32_t uid, gid;
	uint32_t dev_major, dev_minor;
	struct timespec mtime;
	uint64_t size;	 /* TAR_FILE: the file's, with its holes; else 0 */
	uint64_t stored; /* bytes of it that are in the stream */
	bool sparse;
	/* Where its data begins in the stream, for TAR_FILE that is not sparse: for readers of an
	 * uncompressed archive that come back. */
	uint64_t offset;
	const struct tar_xattr *xattrs; /* each name once */
	size_t n_xattrs;
	bool has_acl;	 /* SCHILY.acl.* records were there: text forms that are not decoded */
	uint64_t number; /* from 1, extended headers not counted */
};

/* Where the bytes come from. next gives the following piece, of any size: 1 and *p, *n (> 0), valid
 * until it is called again; 0 at the end; -errno with e set. skip, if not NULL, passes over n bytes
 * that need not be read; what next gave before is used up by then. */
struct tar_input {
	int (*next)(void *ctx, const void **p, size_t *n, struct err *e);
	int (*skip)(void *ctx, uint64_t n, struct err *e);
	void *ctx;
};

struct tar;
struct tar *tar_new(const struct tar_input *in);
void tar_free(struct tar *t); /* accepts NULL */
static inline void tar_freep(struct tar **t)
{
	tar_free(*t);
}
#define _cleanup_tar_ __attribute__((cleanup(tar_freep)))

/* The next entry, what is left of the present one's data skipped. 1: *ret is filled in; 0: the
 * archive's end; -EBADMSG and others: e names the entry by number and, if known, by path. */
int tar_next(struct tar *t, const struct tar_entry **ret, struct err *e);

/* A piece of the present entry's data: where it goes in the file, and the bytes. */
struct tar_piece {
	uint64_t offset;
	const void *p;
	size_t n; /* > 0 */
};
/* 1: a piece, ascending and without overlap; valid until the next call; 0: that was all. */
int tar_data(struct tar *t, struct tar_piece *ret, struct err *e);

/* The number of the entry at hand, for messages; 0 before the first. */
uint64_t tar_number(const struct tar *t);

/* An input that reads an open file from its current position, with lseek(2) for skips if seekable.
 * The file stays the caller's. */
struct tar_file;
struct tar_file *tar_file_new(int fd, const char *name, bool seekable, struct tar_input *ret);
void tar_file_free(struct tar_file *f); /* accepts NULL */
