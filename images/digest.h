/*
 * Digests "ALGORITHM:HEX" (image-spec descriptor.md): their form, and computing them.
 *
 * SHA-2 comes from libcrypto, loaded with dlopen(3) when the first digest is computed; checking the
 * form loads nothing. All functions may be called from several threads.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* The registered algorithms. An enum, so that a table has a row for each. */
enum digest_alg { DIGEST_SHA256, DIGEST_SHA512, DIGEST_ALG_N };

#define DIGEST_HEX_MAX 128
/* "sha512:" and the digits and the end. */
#define DIGEST_TEXT_MAX (7 + DIGEST_HEX_MAX + 1)

/* One that has passed digest_parse(): safe as a file's name, equal if the texts are. */
struct digest {
	enum digest_alg alg;
	char text[DIGEST_TEXT_MAX]; /* "sha256:0123…" */
};

/* Takes "sha256:" and 64 or "sha512:" and 128 lower-case hexadecimal digits, nothing else: no other
 * algorithm, no "../", no upper case. Messages quote what was refused, cut and made printable.
 * -EINVAL; *ret is untouched then. */
int digest_parse(const char *s, struct digest *ret, struct err *e);
/* The digits alone: as a layout's blobs/ALGORITHM/HEX has them. Points into d. */
const char *digest_hex(const struct digest *d);
const char *digest_alg_name(enum digest_alg alg); /* "sha256" */
static inline bool digest_equal(const struct digest *a, const struct digest *b)
{
	return a->alg == b->alg && __builtin_strcmp(a->text, b->text) == 0;
}

/* A running computation. Errors are those of loading libcrypto, or its lack of the algorithm. */
struct hasher;
int hasher_new(enum digest_alg alg, struct hasher **ret, struct err *e);
void hasher_add(struct hasher *h, const void *buf, size_t n);
/* What it comes to; h takes no more bytes afterwards. */
void hasher_end(struct hasher *h, struct digest *ret);
void hasher_free(struct hasher *h); /* accepts NULL */
static inline void hasher_freep(struct hasher **h)
{
	hasher_free(*h);
}
#define _cleanup_hasher_ __attribute__((cleanup(hasher_freep)))

/* Of n bytes at once. */
int digest_of(enum digest_alg alg, const void *buf, size_t n, struct digest *ret, struct err *e);
