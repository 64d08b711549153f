/*
 * What a source of images has to offer: the contract between images/source.c, which walks from an
 * index to a manifest and checks everything, and one file per transport. Private to images/.
 *
 * A transport finds and hands over bytes. It need not check digests: image_resolve() does so for
 * documents, unpacking for layers. It must bound what it reads: a document by IMAGE_DOCUMENT_MAX, a
 * blob by its descriptor's size and not a byte more.
 */
#pragma once
#include "images/images.h"
#include "images/manifest.h"

/* A blob as it flows. read returns bytes (at most n), 0 at the end, or -errno with e set; it may
 * block, and is called by one thread at a time, which need not be the one that opened it. */
struct image_stream {
	ssize_t (*read)(void *ctx, void *buf, size_t n, struct err *e);
	/* What was read proved to be wrong: nothing of it may be kept for another time. NULL:
	 * nothing is. */
	void (*spoil)(void *ctx);
	void (*close)(void *ctx); /* NULL: nothing to do */
	void *ctx;
};
void image_stream_close(struct image_stream *s); /* accepts a zeroed one, and zeroes it */
#define _cleanup_image_stream_ __attribute__((cleanup(image_stream_close)))
/* n bytes of fd from offset on (pread(2)); takes fd over. what: for messages. */
void image_stream_fd(
    struct image_stream *ret, int fd, uint64_t offset, uint64_t n, const char *what);

/* A manifest or an index as it came. */
struct image_document {
	const char *media_type; /* as the transport or the descriptor has it; NULL: unknown */
	const char *digest;	/* what it has to be; NULL: found by name alone */
	const char *text;
	size_t len;
};

struct image_source_ops {
	struct image_source_info info;
	/* rest: what follows "NAME:". remote is never NULL. */
	int (*open)(const char *rest, const struct image_remote *remote, struct image_source **ret,
	    struct err *e);
	/* What the source's reference leads to: a manifest, or an index to choose from. */
	int (*top)(
	    struct image_source *s, struct arena *a, struct image_document *ret, struct err *e);
	/* A manifest or an index that an index named. NULL: it is a blob like any other. */
	int (*document)(struct image_source *s, struct arena *a, const struct image_descriptor *d,
	    struct image_document *ret, struct err *e);
	/* A blob's bytes from offset on, d->size - offset of them. Called from several threads at
	 * once, for several blobs; the source outlives the streams. */
	int (*blob)(struct image_source *s, const struct image_descriptor *d, uint64_t offset,
	    struct image_stream *ret, struct err *e);
	void (*close)(struct image_source *s);
};

/* Transports put this first into a struct of their own; image_source_open() fills it in. */
struct image_source {
	const struct image_source_ops *ops;
	struct arena *arena;
	/* The whole SOURCE, for messages and as the store's name for its image: it has to mean the
	 * same from anywhere. open may set it; else it is what was given. */
	const char *name;
	/* A directory for parts of blobs (images/spool.h), borrowed; -EBADF: none. */
	int spoolfd;
};
/* "PATH[:REF]" taken apart. *ret_name: with the path made absolute. */
int image_local_source(struct arena *a, const char *transport, const char *rest,
    const char **ret_path, const char **ret_ref, const char **ret_name, struct err *e);

extern const struct image_source_ops image_source_oci, image_source_oci_archive,
    image_source_docker_archive, image_source_docker;

/* Reads a whole blob of at most IMAGE_DOCUMENT_MAX bytes and checks size and digest. what: "the
 * image's configuration". NUL-terminated, in the arena. */
int image_read_blob(struct image_source *s, struct arena *a, const struct image_descriptor *d,
    const char *what, const char **ret, struct err *e);

/* The top document of a layout whose index.json is given (layout.c). Of its entries, ref means the
 * one with that org.opencontainers.image.ref.name, "@N" the one at that place, NULL the only one.
 * name: index.json's, for messages. */
int image_layout_top(struct image_source *s, struct arena *a, const char *name, const char *ref,
    const char *index, size_t n, struct image_document *ret, struct err *e);
/* oci-layout's version. */
int image_layout_check(struct arena *a, const char *name, const char *buf, size_t n, struct err *e);

/* An empty image, and its layers and configuration from im->config_text and m. want NULL: for any
 * platform. (source.c; the store makes images of what it keeps, too.) */
struct image *image_new(const char *name);
int image_from_documents(struct image *im, const struct image_manifest *m,
    const struct image_platform *want, struct err *e);
