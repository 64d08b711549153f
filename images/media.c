/* Media types, by name; and which entry of an index is for a platform. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "images/manifest.h"

static const struct {
	const char *name;
	enum media_kind kind;
} media_types[] = {
	{ MEDIA_TYPE_INDEX, MEDIA_INDEX },
	{ "application/vnd.docker.distribution.manifest.list.v2+json", MEDIA_INDEX },
	{ MEDIA_TYPE_MANIFEST, MEDIA_MANIFEST },
	{ "application/vnd.docker.distribution.manifest.v2+json", MEDIA_MANIFEST },
	{ MEDIA_TYPE_CONFIG, MEDIA_CONFIG },
	{ "application/vnd.docker.container.image.v1+json", MEDIA_CONFIG },
	{ MEDIA_TYPE_TAR, MEDIA_LAYER },
	{ MEDIA_TYPE_TAR "+gzip", MEDIA_LAYER },
	{ MEDIA_TYPE_TAR "+zstd", MEDIA_LAYER },
	{ "application/vnd.oci.image.layer.nondistributable.v1.tar", MEDIA_LAYER },
	{ "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", MEDIA_LAYER },
	{ "application/vnd.oci.image.layer.nondistributable.v1.tar+zstd", MEDIA_LAYER },
	{ "application/vnd.docker.image.rootfs.diff.tar", MEDIA_LAYER },
	{ "application/vnd.docker.image.rootfs.diff.tar.gzip", MEDIA_LAYER },
	{ "application/vnd.docker.image.rootfs.diff.tar.zstd", MEDIA_LAYER },
	{ "application/vnd.docker.image.rootfs.foreign.diff.tar", MEDIA_LAYER },
	{ "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", MEDIA_LAYER },
};

enum media_kind media_kind(const char *media_type)
{
	for (size_t i = 0; media_type && i < ARRAY_SIZE(media_types); i++)
		if (streq(media_types[i].name, media_type))
			return media_types[i].kind;
	return MEDIA_OTHER;
}

const char *media_kind_name(enum media_kind k)
{
	static const char *const names[] = {
		[MEDIA_OTHER] = "something unknown",
		[MEDIA_INDEX] = "an image index",
		[MEDIA_MANIFEST] = "an image manifest",
		[MEDIA_CONFIG] = "an image's configuration",
		[MEDIA_LAYER] = "an image's layer",
	};

	return names[k];
}

static bool is_candidate(const struct image_descriptor *d)
{
	enum media_kind k = media_kind(d->media_type);

	return k == MEDIA_MANIFEST || k == MEDIA_INDEX;
}

int image_index_choose(struct arena *a, const char *name, const struct image_index *ix,
    const struct image_platform *want, const struct image_descriptor **ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf there = { 0 };
	const struct image_descriptor *plain = NULL;
	size_t with_platform = 0, shown = 0;

	for (size_t i = 0; i < ix->manifests.n; i++) {
		const struct image_descriptor *d = &ix->manifests.v[i];

		if (!is_candidate(d))
			continue;
		if (!d->has_platform) {
			plain = plain ? plain : d;
			continue;
		}
		with_platform++;
		if (image_platform_fits(want, &d->platform)) {
			*ret = d;
			return 0;
		}
		if (shown++ < 16)
			strbuf_addf(&there, "%s%s", there.len ? ", " : "",
			    image_platform_text(a, &d->platform));
	}
	if (!with_platform && plain) {
		*ret = plain;
		return 0;
	}
	return err_set(e, ENOENT, "%s: no image for %s (there are: %s); see --platform", name,
	    image_platform_text(a, want), there.len ? there.s : "none");
}
