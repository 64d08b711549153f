/* Shared by images/tar*.c. */
#pragma once
#include "images/tar.h"

#define TAR_BLOCK 512

/* What extended headers say, for one entry or, by a global one, for all that follow. Strings and
 * values live in `data`, which the set owns. */
struct tar_pax {
	char **data;
	size_t n_data, bytes;
	const char *path, *linkpath;
	bool has_size, has_uid, has_gid, has_mtime, has_acl;
	uint64_t size;
	uint32_t uid, gid;
	struct timespec mtime;
	struct tar_xattr *xattrs;
	size_t n_xattrs;
	/* GNU.sparse.*: versions 0.0 and 0.1 give the map here, 1.0 in front of the data. */
	bool sparse_0, has_sparse_major, has_sparse_minor, has_sparse_size, has_sparse_blocks;
	uint64_t sparse_major, sparse_minor, sparse_size, sparse_blocks;
	const char *sparse_name, *sparse_map;
	struct tar_region *regions; /* 0.0: offset and numbytes by turns */
	size_t n_regions;
	bool region_open; /* an offset came, its numbytes not yet */
};
void tar_pax_clear(struct tar_pax *p);

struct tar_region {
	uint64_t offset, len;
};

struct tar {
	struct tar_input in;
	const uint8_t *p; /* what the input gave and is not used up */
	size_t n;
	uint64_t pos; /* bytes used up so far */
	uint8_t block[TAR_BLOCK];

	struct tar_entry en;
	bool named;    /* en.path is set: messages may use it */
	bool done;     /* the archive's end was seen */
	uint64_t left; /* bytes of the entry's data still in the stream */
	unsigned pad;  /* zeros after them */
	struct tar_pax global, local;
	bool has_local;
	char *long_name, *long_link; /* GNU 'L' and 'K' */
	char name[TAR_PATH_MAX + 1], link[TAR_PATH_MAX + 1];
	struct tar_xattr *xattrs; /* global and local, merged */

	struct tar_region *map; /* of a sparse file */
	size_t n_map, cap_map, map_at;
	uint64_t map_done; /* bytes given of map[map_at] */
};

/* The kernel's error number for a malformed archive: -EBADMSG with "entry N "PATH": " in front. */
int tar_bad(struct tar *t, struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* ---- tar_input.c ---- */
/* 512 bytes, valid until the next call of any of these. 1, 0 at the stream's end, or an error, also
 * for fewer. */
int tar_read_block(struct tar *t, const uint8_t **ret, struct err *e);
int tar_read(struct tar *t, void *buf, size_t n, struct err *e);
int tar_skip(struct tar *t, uint64_t n, struct err *e);
/* The zeros behind an entry's data; umoci ends its layers without the last ones. */
int tar_skip_padding(struct tar *t, unsigned n, struct err *e);
/* Makes t->p and t->n hold something; -EBADMSG at the stream's end. */
int tar_fill(struct tar *t, struct err *e);

/* ---- tar_number.c ---- */
/* A header's number: octal, or base-256 for n bytes with the high bit set. -EINVAL. */
int tar_number_field(const uint8_t *p, size_t n, int64_t *ret);
/* "1234567890.123456789", negative ones too. -EINVAL */
int tar_number_time(const char *s, struct timespec *ret);
bool tar_checksum_ok(const uint8_t *block);
bool tar_is_zero(const uint8_t *block);

/* ---- tar_pax.c ---- */
/* Takes buf (n bytes and a NUL behind them) over, and adds its records to p. */
int tar_pax_parse(
    struct tar *t, struct tar_pax *p, bool global, char *buf, size_t n, struct err *e);
/* LIBARCHIVE.xattr's two encodings, in place; return the length or -EINVAL. */
ssize_t tar_percent_decode(char *s);
ssize_t tar_base64_decode(char *s);

/* ---- tar_sparse.c ---- */
/* From an old GNU header ('S') and the blocks that follow it. */
int tar_sparse_gnu(struct tar *t, const uint8_t *block, struct err *e);
/* From the pax records, and for 1.0 the data's beginning. */
int tar_sparse_pax(struct tar *t, const struct tar_pax *p, struct err *e);
