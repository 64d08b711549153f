/* One decompressor behind images/inflate_sniff.c. Private to images/inflate*.c. */
#pragma once
#include <stdbool.h>

#include "images/inflate.h"

/* What inflate_run() was given, advanced as it is used. */
struct inflate_io {
	const uint8_t *in;
	size_t n_in;
	uint8_t *out;
	size_t room;
};

struct inflate_backend {
	const char *name;
	/* Allocates a decompressor; loads its library. */
	int (*open)(void **ret, struct err *e);
	/* As far as input and room go. */
	int (*run)(void *z, struct inflate_io *io, struct err *e);
	/* After the last input: may the stream end here? */
	int (*finish)(void *z, struct err *e);
	void (*free)(void *z);
};

/* gzip falls back to zlib where libisal is not installed. The two by name are for tests, which hold
 * one against the other. */
extern const struct inflate_backend inflate_gzip, inflate_gzip_isal, inflate_gzip_zlib,
    inflate_zstd;

/* As inflate_new(), but compression and backend are known. */
struct inflate *inflate_new_backend(enum compression c, const struct inflate_backend *b);
