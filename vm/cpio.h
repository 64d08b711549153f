/* Writes a cpio archive as the kernel unpacks it: newc, Documentation/driver-api/early-userspace/
 * buffer-format.rst. Times are 0, the owner is root: equal contents give equal archives. */
#pragma once
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct cpio {
	int fd;		  /* written to at its offset */
	const char *path; /* of the archive, for messages */
	uint64_t size;	  /* bytes written so far */
	uint32_t entries;
};

/* name: without leading slash; parents are added before what is in them. Errors have the code of
 * the failed write: -ENOSPC, -EFBIG (an entry of 4 GiB) … */
int cpio_directory(struct cpio *c, const char *name, mode_t mode, struct err *e);
int cpio_chardev(
    struct cpio *c, const char *name, mode_t mode, unsigned maj, unsigned min, struct err *e);
int cpio_text(struct cpio *c, const char *name, mode_t mode, const char *text, struct err *e);
/* The contents of fd, a regular file at offset 0; what is the name of it on the host. */
int cpio_file(
    struct cpio *c, const char *name, mode_t mode, int fd, const char *what, struct err *e);
/* The trailer, and zeros up to a multiple of align bytes (a power of two). */
int cpio_end(struct cpio *c, unsigned align, struct err *e);

/* Appends size bytes of the regular file `from`, read from its start, to c->fd. -EIO: it became
 * shorter meanwhile. */
int cpio_copy(struct cpio *c, int from, uint64_t size, const char *what, struct err *e);
/* Zeros up to a multiple of align bytes. */
int cpio_pad(struct cpio *c, unsigned align, struct err *e);
