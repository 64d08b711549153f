/*
 * What an image says about itself: descriptors, indexes, manifests and configurations
 * (image-spec 1.1: descriptor.md, image-index.md, manifest.md, config.md), with Docker's media
 * types for the same documents. Private to images/.
 *
 * All of it is hostile. A document is decoded by tables, as config.json is; digests are checked for
 * their form before anything is made of them, sizes for their range, media types by name: a
 * document that could be read as two kinds is refused (CVE-2021-41190). Unknown properties are
 * ignored, as the specification demands.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"
#include "images/digest.h"
#include "images/images.h"
#include "spec/spec.h"

/* Registries take manifests of at most 4 MiB; configurations are held to the same. */
#define IMAGE_DOCUMENT_MAX (4u * 1024 * 1024)
/* Entries of one index, and how deep indexes may nest. */
#define IMAGE_INDEX_MAX	  1000
#define IMAGE_INDEX_DEPTH 4

static inline bool image_digest_ok(const char *s)
{
	struct err ignored = ERR_INIT;
	struct digest d;

	return digest_parse(s, &d, &ignored) == 0;
}

enum media_kind { MEDIA_OTHER, MEDIA_INDEX, MEDIA_MANIFEST, MEDIA_CONFIG, MEDIA_LAYER };
/* MEDIA_OTHER: not in the table. */
enum media_kind media_kind(const char *media_type);
const char *media_kind_name(enum media_kind k); /* "an image index" */

#define MEDIA_TYPE_INDEX    "application/vnd.oci.image.index.v1+json"
#define MEDIA_TYPE_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define MEDIA_TYPE_CONFIG   "application/vnd.oci.image.config.v1+json"
#define MEDIA_TYPE_TAR	    "application/vnd.oci.image.layer.v1.tar"

/* Points at content. The digest has been checked: algorithm and hexadecimal digits of its length.
 */
struct image_descriptor {
	const char *media_type;
	const char *digest;
	uint64_t size; /* at most INT64_MAX */
	bool has_platform;
	struct image_platform platform;
	struct spec_map annotations;
};

struct image_descriptors {
	struct image_descriptor *v;
	size_t n;
};

struct image_index {
	uint32_t schema_version;
	const char *media_type; /* NULL: not said */
	struct image_descriptors manifests;
};

struct image_manifest {
	uint32_t schema_version;
	const char *media_type;
	struct image_descriptor config;
	struct image_descriptors layers; /* base first, at most IMAGE_LAYERS_MAX */
};

/* name: for messages. media_type: what the referring descriptor or the transport says that it is,
 * which a mediaType inside has to repeat; NULL: nothing is known, and one inside decides. */
int image_index_parse(struct arena *a, const char *name, const char *media_type, const char *buf,
    size_t n, struct image_index *ret, struct err *e);
int image_manifest_parse(struct arena *a, const char *name, const char *media_type, const char *buf,
    size_t n, struct image_manifest *ret, struct err *e);
int image_config_parse(struct arena *a, const char *name, const char *buf, size_t n,
    struct image_config *ret, struct err *e);
/* What the document is by its own words and properties: MEDIA_INDEX or MEDIA_MANIFEST. Refuses one
 * that is both or neither. */
int image_document_kind(struct arena *a, const char *name, const char *buf, size_t n,
    enum media_kind *ret, struct err *e);

/* The first entry whose platform fits; entries without one, which single-platform indexes have, fit
 * only where no other entry has one. Entries that are neither manifest nor index are passed over.
 * The error lists what there is. */
int image_index_choose(struct arena *a, const char *name, const struct image_index *ix,
    const struct image_platform *want, const struct image_descriptor **ret, struct err *e);
