/* The store's parts among themselves; private to images/. */
#pragma once
#include <sys/stat.h>

#include "images/images.h"
#include "images/manifest.h"
#include "images/source.h"
#include "images/unpack.h"

struct store {
	char *path; /* absolute */
	struct store_opts o;
	bool userxattr;
	int dirfd, lockfd;
	int layersfd, blobsfd, locksfd, namesfd, bundlesfd, refsfd, tmpfd, partialfd, rootsfd;
};

/* ---- work in progress (stage.c) ---- */

/* A directory DIRFD/NAME of a process that lives as long as it holds the lock DIRFD/NAME.lock. */
struct stage {
	int parentfd; /* borrowed */
	char name[32];
	int fd, lockfd; /* of the directory; of the lock */
};
#define STAGE_INIT                              \
	{                                       \
		.fd = -EBADF, .lockfd = -EBADF, \
	}
/* Makes one with a random name. what: for messages. */
int stage_new(int parentfd, const char *what, struct stage *ret, struct err *e);
/* Removes it with all it holds, and the lock. */
void stage_remove(struct stage *st);
/* Lets go of it: the directory stays, as long as whatever else keeps it (see stage_sweep). */
void stage_close(struct stage *st);
/* Removes the stages whose owners are gone, unless keep says that they are needed still. */
int stage_sweep(int parentfd, bool (*keep)(int parentfd, const char *name), struct err *e);

/* ---- layers (layers.c) ---- */

/* "sha256-0123…", from a checked digest; in the arena. */
const char *store_file_name(struct arena *a, const char *digest);
bool store_has_layer(const struct store *s, const char *chain_id);
/* -ENOENT names the first layer that is not there. */
int store_check_layers(const struct store *s, const struct image *im, struct err *e);
int store_unpack_missing(struct store *s, struct image_source *src, const struct image *im,
    const struct image_progress *p, struct err *e);
void unpack_opts_of(const struct store_opts *o, struct unpack_opts *ret);

/* ---- documents and names (names.c) ---- */

int store_put_documents(struct store *s, const struct image *im, struct err *e);
int store_put_name(struct store *s, const struct image *im, const char *name, struct err *e);
/* Calls fn for each name until it returns other than 0. */
struct store_name {
	const char *file, *name, *digest, *pulled;
};
int store_each_name(struct store *s,
    int (*fn)(struct store *s, const struct store_name *n, void *ctx, struct err *e), void *ctx,
    struct err *e);

/* Layer index of the image, from its source, applied to rootfd. */
int image_unpack_layer(struct image_source *src, const struct image *im, size_t index, int rootfd,
    const struct unpack_opts *opts, struct err *e);

/* ---- bundles (bundle_record.c, bundle_stored.c, bundle.c) ---- */

#define BUNDLE_FILE ".bailey-bundle"
int bundle_record_write(int dirfd, const struct bundle_info *b, struct err *e);
/* dir: its path, for messages and for b->path. -ENOENT: no such file. */
int bundle_record_read(int dirfd, const char *dir, struct bundle_info *ret, struct err *e);
/* Makes the directories of an overlay inside of dirfd, upper with the attributes of the image's
 * root, and fills in b's overlay. */
int bundle_overlay_dirs(
    struct store *s, const struct image *im, int dirfd, struct bundle_info *b, struct err *e);
/* The layers' directories, top first; strings live in a. */
int bundle_overlay_lowers(const struct store *s, const struct image *im, struct arena *a,
    struct spec_strv *ret, struct err *e);
/* Gives the directory, which is to be the top of an overlay, the attributes of the image's root. */
int bundle_root_attributes(struct store *s, const struct image *im, int topfd, struct err *e);
/* Writes config.json, atomically and last. lowers: for looking up the user; rootfd: the same where
 * it is there already, else -EBADF. */
int bundle_config(const struct image *im, const struct image_run *run, int dirfd,
    const struct image_overlay *o, int rootfd, image_mount_fn *mount, struct err *e);
/* Calls fn with the manifest's digest of every bundle that is there; forgets references to bundles
 * that are not. */
int store_each_bundle(struct store *s,
    int (*fn)(struct store *s, const char *digest, void *ctx, struct err *e), void *ctx,
    struct err *e);
/* Is the bundle's owner still there? Where that cannot be known: yes. */
bool store_bundle_is_owned(int bundlesfd, const char *name);
