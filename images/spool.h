/*
 * Parts of blobs that are on their way, kept so that a pull that was interrupted goes on where it
 * stood. A file per blob, under its digest, locked by whoever fills it. Private to images/.
 *
 * Nothing in it is believed: what comes from it is checked with the rest, as a whole. Neither is it
 * ever brought to the disk on purpose; after a loss of power it may be wrong, and is then dropped.
 */
#pragma once
#include <stdint.h>
#include <sys/types.h>

#include "images/digest.h"

/* Smaller blobs are not worth a file. */
#define SPOOL_MIN (256u * 1024)

struct spool {
	int dirfd, fd; /* dirfd borrowed; fd -EBADF: none */
	char name[DIGEST_TEXT_MAX];
	uint64_t have; /* bytes, from the blob's beginning */
};
#define SPOOL_INIT                             \
	{                                      \
		.dirfd = -EBADF, .fd = -EBADF, \
	}
/* Opens or makes the blob's. Without an error there is none where somebody else fills it. dirfd
 * -EBADF: none either. */
int spool_open(int dirfd, const struct digest *d, uint64_t size, struct spool *ret, struct err *e);
ssize_t spool_read(struct spool *s, uint64_t at, void *buf, size_t n, struct err *e);
int spool_add(struct spool *s, const void *buf, size_t n, struct err *e);
void spool_close(struct spool *s); /* what is there stays */
/* Removes the blob's, whoever has it open. */
void spool_drop(int dirfd, const struct digest *d);
