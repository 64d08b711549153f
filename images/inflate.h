/*
 * Decompression of layers, by magic number: gzip (RFC 1952, several members, NULs after the last),
 * zstd (RFC 8878, several frames, skippable ones), or none. The media type has no say; callers
 * compare it with inflate_compression() where they want to.
 *
 * gzip by libisal, or zlib where libisal is not installed; zstd by libzstd. Each is loaded with
 * dlopen(3) when the first stream that needs it comes (docs/adr/0007). Memory is constant: at most
 * 128 MiB for zstd's largest allowed window, below 1 MiB otherwise.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum compression { COMPRESSION_UNKNOWN, COMPRESSION_NONE, COMPRESSION_GZIP, COMPRESSION_ZSTD };
const char *compression_name(enum compression c); /* "gzip" */

struct inflate;
struct inflate *inflate_new(void);
void inflate_free(struct inflate *z); /* accepts NULL */
static inline void inflate_freep(struct inflate **z)
{
	inflate_free(*z);
}
#define _cleanup_inflate_ __attribute__((cleanup(inflate_freep)))

/* COMPRESSION_UNKNOWN until the first bytes were seen. */
enum compression inflate_compression(const struct inflate *z);

/*
 * Takes from *in, of *n_in bytes, and gives to out, of room for *n_out (> 0): both are advanced,
 * resp. set, to what was used. Call again with what is left; when neither input was left nor output
 * given, it is time for more input. Errors: -EBADMSG for bad data or an unknown compression (bzip2
 * and xz are named), those of loading the library.
 */
int inflate_run(
    struct inflate *z, const void **in, size_t *n_in, void *out, size_t *n_out, struct err *e);
/* After the last input: gives what is still held back (for inputs shorter than a magic number), as
 * inflate_run does; -EBADMSG if the stream is cut off. Call until *n_out comes back 0. */
int inflate_finish(struct inflate *z, void *out, size_t *n_out, struct err *e);
