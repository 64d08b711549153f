/*
 * What the verbs of images share: a process for the work, progress, options.
 *
 * Work with images is done in a child: its threads and libraries are gone when a container is made,
 * and for an ordinary user it lives in a user namespace that maps the ids of /etc/sub[ug]id, so
 * that files keep their owners. It dies with its parent.
 */
#pragma once
#include "images/images.h"
#include "namespaces/namespaces.h"
#include "runtime/cli.h"

/* Not root over the whole host? By the facts, not by --rootless. */
int image_is_rootless(bool *ret, struct err *e);

/* The ids that containers of images get: from 0 on without a gap. For root none: n is 0. */
struct image_ids {
	struct arena *arena;
	bool rootless;
	struct spec_id_maps uids, gids;
};
int image_ids(struct image_ids *ret, struct err *e);
void image_ids_free(struct image_ids *i);
#define _cleanup_image_ids_ __attribute__((cleanup(image_ids_free)))

/* What the work gives back: a line of text (a path, an ID) and a descriptor. */
struct image_result {
	char text[3000];
	int fd; /* -EBADF: none */
};
/* Runs fn in the child; ids->rootless: in a new user and mount namespace. o's ids are those of
 * inside. What fn returns and writes into the error comes back. */
typedef int image_work_fn(
    void *ctx, const struct store_opts *o, struct image_result *ret, struct err *e);
int image_work(const struct image_ids *ids, image_work_fn *fn, void *ctx, struct image_result *ret,
    struct err *e);

/* The image_mount_fn over namespaces/. */
int image_mount(const struct image_overlay *o, struct err *e);

/* The image_fs_fn: EROFS, by mkfs.erofs. The overlay has an upper directory. */
int image_mkfs(const struct image_overlay *o, const char *dir, int lock, const char *tree,
    const char *file, struct err *e);

/* Opens the store at path, or the default one. */
int image_store_open(
    const char *path, const struct store_opts *o, struct store **ret, struct err *e);

/* SOURCE as the verbs take it: a source of images/, or "store:NAME". Pulls what the store lacks of
 * it, tells progress if p is not NULL, and returns what to run. */
struct image_want {
	const char *source, *platform, *store;
	const struct image_progress *progress;
	const struct image_remote *remote; /* NULL: as usual */
};
int image_obtain(struct store *s, const struct image_want *w, struct image **ret, struct err *e);

/* A bundle of `run --image`, removed: as its owner may not remove it alone, by image_work(). */
int image_bundle_remove(const char *path, struct err *e);

/* ---- progress (image_progress.c) ---- */

enum progress_style { PROGRESS_AUTO, PROGRESS_JSON, PROGRESS_QUIET };
/* A bar on a terminal, else a line per layer, both on standard error; JSON lines on standard
 * output. */
struct image_progress_state {
	enum progress_style style;
	bool terminal;
	uint64_t *bytes; /* by layer */
	size_t n, done;
	uint64_t shown_at; /* ms */
	struct image_progress callback;
};
void progress_init(struct image_progress_state *p, enum progress_style style);
void progress_end(struct image_progress_state *p);
#define _cleanup_progress_ __attribute__((cleanup(progress_end)))

/* ---- options ---- */

#define STORE_HELP                                                                         \
	"where images are kept (default: $BAILEY_STORE, /var/lib/bailey/images, rootless " \
	"$XDG_DATA_HOME/bailey/images)"
#define PLATFORM_HELP "OS/ARCHITECTURE[/VARIANT] instead of the machine's own"
/* "SOURCE is one of …", for the verbs' details. */
#define SOURCE_DETAIL                                                                       \
	"SOURCE is oci:PATH[:REF] (an OCI image layout), oci-archive:FILE[:REF] (one in a " \
	"tar file), docker-archive:FILE[:REF] (what \"docker save\" writes), "              \
	"docker://HOST[:PORT]/NAME[:TAG|@DIGEST] (a registry's) or store:NAME "             \
	"(what \"bailey images\" lists, by name or by the beginning of its ID)."
