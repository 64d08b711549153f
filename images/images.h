/*
 * Images: from a source (a layout, an archive, a registry) over the store to a bundle.
 *
 *   image_source_open, image_resolve      which manifest, which configuration, which layers
 *   store_pull                            layers unpacked, each once, whoever asks
 *   bundle_make                           config.json and a root filesystem
 *
 * Whatever an image holds is hostile until its digest was checked, and its meaning stays so
 * afterwards: sizes are capped, documents decoded strictly, paths resolved inside the root. Nothing
 * here prints; progress goes to a callback.
 *
 * docs/images.md tells the same to users: sources, the store's directories, crash safety.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/alloc.h"
#include "base/err.h"
#include "images/unpack.h"
#include "spec/spec.h"

/* As many as overlayfs stacks (OVL_MAX_STACK). */
#define IMAGE_LAYERS_MAX 500

/* ================= platforms ================= */

/* Go's names: "linux", "amd64", "v8". NULL: any will do. */
struct image_platform {
	const char *os, *architecture, *variant;
};
/* "OS/ARCHITECTURE[/VARIANT]" as --platform has it. Strings live in a. */
int image_platform_parse(struct arena *a, const char *s, struct image_platform *ret, struct err *e);
/* The machine's own (uname(2)). */
void image_platform_host(struct image_platform *ret);
/* Does an image for have run on want? A variant that one side leaves out fits; arm64 is v8. */
bool image_platform_fits(const struct image_platform *want, const struct image_platform *have);
/* "linux/arm/v7", in the arena. */
const char *image_platform_text(struct arena *a, const struct image_platform *p);

/* ================= names ================= */

/* A repository's name as docker's tools write it, filled up: "alpine" is
 * docker.io/library/alpine:latest. The grammar is that of distribution's references. */
struct image_name {
	const char *domain; /* "docker.io", "localhost:5000" */
	const char *path;   /* "library/alpine" */
	const char *tag;    /* NULL only where there is a digest */
	const char *digest; /* checked; NULL: none */
};
int image_name_parse(struct arena *a, const char *s, struct image_name *ret, struct err *e);
const char *image_name_text(struct arena *a, const struct image_name *n);

/* ================= sources ================= */

struct image_source;
struct image_source_info {
	const char *name;   /* "oci" */
	const char *syntax; /* "oci:PATH[:REF]" */
	const char *help;   /* one line */
	bool remote;	    /* asked only for what the store lacks */
};
/* What can be read, NULL-terminated; for help texts. */
const struct image_source_info *const *image_sources(void);

/* How registries are to be met. All zero: verified, as auth.json says, 30 s, 5 retries. */
struct image_remote {
	const char *authfile; /* instead of the usual places */
	const char *creds;    /* "USER:PASSWORD" instead of a file's */
	const char *cert_dir; /* instead of certs.d/HOST */
	bool insecure;	      /* no verification; an error but for loopback addresses */
	unsigned timeout;     /* s: to connect, to be answered, to see a body go on; 0: 30 */
	unsigned retries;     /* of what may go away by itself; 0: 5 */
	bool no_retries;
};

/* Opens SOURCE, "TRANSPORT:…" as skopeo writes it. A transport that is not in the table is an error
 * that lists those that are. remote: NULL as all zero. Free with image_source_close(). */
int image_source_open(const char *source, const struct image_remote *remote,
    struct image_source **ret, struct err *e);
void image_source_close(struct image_source *s); /* accepts NULL */
static inline void image_source_closep(struct image_source **s)
{
	image_source_close(*s);
}
#define _cleanup_image_source_ __attribute__((cleanup(image_source_closep)))
const struct image_source_info *image_source_info(const struct image_source *s);

/* ================= images ================= */

/* An image's configuration (config.md), decoded. Strings NULL: absent. */
struct image_config {
	const char *created, *author, *os_version;
	struct image_platform platform;
	struct spec_strv os_features;
	const char *user, *working_dir, *stop_signal;
	struct spec_strv env, entrypoint, cmd;
	struct spec_strv exposed_ports, volumes; /* the keys */
	struct spec_map labels;
	struct spec_strv diff_ids; /* checked digests, base first */
};

struct image_layer {
	const char *digest;   /* of the blob */
	const char *diff_id;  /* of the tar stream inside */
	const char *chain_id; /* of this layer on those below it: what the store knows it by */
	const char *media_type;
	uint64_t size; /* of the blob, bytes */
};

struct image {
	struct arena *arena;
	const char *name;		    /* the source as it was given */
	const char *digest, *config_digest; /* of the manifest; of the configuration: the ID */
	const char *manifest, *config_text; /* as they were read */
	size_t manifest_len, config_len;
	struct image_config config;
	struct image_layer *layers; /* base first */
	size_t n_layers;
	uint64_t size; /* of all layers' blobs */
};
void image_free(struct image *i); /* accepts NULL */
static inline void image_freep(struct image **i)
{
	image_free(*i);
}
#define _cleanup_image_ __attribute__((cleanup(image_freep)))

/* Reads index, manifest and configuration for the platform (want NULL: the machine's own); every
 * digest and size is checked. want is checked against the configuration too. */
int image_resolve(
    struct image_source *s, const struct image_platform *want, struct image **ret, struct err *e);

/* ================= the store ================= */

/*
 * A directory (docs/images.md):
 *
 *   format        "1", and whose xattrs mark opaque directories: "trusted" or "user"
 *   lock          flock: shared by everybody at work, exclusive by the sweep
 *   blobs/ALG-HEX manifests and configurations, checked against their digest whenever they are read
 *   layers/ALG-HEX/diff   unpacked layers by chain ID, complete or not there
 *   roots/ALG-HEX a file system image of all layers up to this chain ID (store_root_image())
 *   locks/ALG-HEX who unpacks this chain ID; root-ALG-HEX: who makes its image
 *   names/HEX     a name and its manifest's digest
 *   partial/ALG-HEX  what is there of a blob that a registry was sending when a pull ended
 *   bundles/ID/   the bundles of `run --image`
 *   refs/HEX      bundles elsewhere
 *   tmp/          work in progress, each with a lock of its owner's
 *
 * Nothing is made under its final name but by rename(2) of something whole that is on the disk.
 */
struct store;

struct store_opts {
	bool rootless; /* a new store marks opaque directories by user.overlay.* */
	/* The caller is in a user namespace that maps these, and only these. */
	bool userns;
	const struct unpack_idmap *uids, *gids;
	size_t n_uids, n_gids;
};

/* /var/lib/bailey/images; rootless $XDG_DATA_HOME/bailey/images or ~/.local/share/bailey/images;
 * before both $BAILEY_STORE. Caller frees. */
int store_default_path(bool rootless, char **ret, struct err *e);
/* Opens it, making what is missing (0700), holds the shared lock until store_close(), and removes
 * what a killed process left in tmp/ and bundles/. o's arrays are borrowed. */
int store_open(const char *path, const struct store_opts *o, struct store **ret, struct err *e);
void store_close(struct store *s); /* accepts NULL */
static inline void store_closep(struct store **s)
{
	store_close(*s);
}
#define _cleanup_store_ __attribute__((cleanup(store_closep)))
const char *store_path(const struct store *s); /* absolute */

enum image_event_kind {
	IMAGE_LAYER_KNOWN, /* the store has it */
	IMAGE_LAYER_BYTES, /* so many of the blob's bytes are read */
	IMAGE_LAYER_DONE,
	IMAGE_SYNC, /* all are unpacked; they are being written to the disk */
};
struct image_event {
	enum image_event_kind kind;
	size_t layer; /* index */
	uint64_t bytes;
};
/* Called from several threads, never by two at a time. */
struct image_progress {
	void (*fn)(void *ctx, const struct image *im, const struct image_event *ev);
	void *ctx;
};

/* Unpacks what the store lacks of the image, two layers at a time, each once whoever else asks for
 * it, and keeps its manifest and configuration. One syncfs(2); then everything appears. Every
 * layer's digest, size and DiffID are checked. name: recorded for the image; NULL: none (a bundle
 * must refer to it before the store is closed, or the next sweep takes it). p may be NULL. */
int store_pull(struct store *s, struct image_source *src, const struct image *im, const char *name,
    const struct image_progress *p, struct err *e);

/* An image of the store, by a name as it was pulled, by an image name that fills up to the same, or
 * by the beginning (4 digits or more) of its ID or of its manifest's digest, where that fits one
 * only. -ENOENT where there is none; its layers are all there. */
int store_find(struct store *s, const char *ref, struct image **ret, struct err *e);
/* By its manifest's digest. */
int store_load(
    struct store *s, const char *digest, const char *name, struct image **ret, struct err *e);

/* A file system image of the whole root, EROFS, for a disk of a virtual machine. Made by make()
 * when it is first asked for, once whoever else asks, and kept as long as the image is. Returns an
 * open descriptor, which outlives a sweep. The layers are all there. */
struct image_overlay;
/* Makes the file `file` in the directory dir (absolute) out of what the overlay shows. tree: an
 * empty directory there, to mount it on where nobody else sees it. The overlay's upper directory is
 * for this alone: it may be written to as long as that does not show. lock: whoever writes there
 * holds this descriptor, and with it the lock by which dir is known to be in use. */
typedef int image_fs_fn(const struct image_overlay *o, const char *dir, int lock, const char *tree,
    const char *file, struct err *e);
int store_root_image(struct store *s, const struct image *im, image_fs_fn *make, struct err *e);

struct store_entry {
	struct image *image; /* name, digest, config_digest, size … */
	const char *pulled;  /* RFC 3339 */
};
struct store_list {
	struct store_entry *v; /* by name */
	size_t n;
};
int store_list(struct store *s, struct store_list *ret, struct err *e);
void store_list_free(struct store_list *l);
#define _cleanup_store_list_ __attribute__((cleanup(store_list_free)))

/* Forgets a name, as store_find() takes it; with an ID, all names of the image. *ret: how many.
 * What nobody refers to any more stays until a sweep. */
int store_forget(struct store *s, const char *ref, size_t *ret, struct err *e);

struct store_swept {
	size_t names, layers, blobs, roots;
};
/* Removes the layers, root images and blobs that no name and no bundle refers to, and with unused
 * the names that no bundle uses. Waits until nobody else is at work, or, with wait false, returns
 * -EBUSY at once. The store is open for its caller only, from here on. */
int store_sweep(struct store *s, bool unused, bool wait, struct store_swept *ret, struct err *e);

/* ================= bundles ================= */

/* A root filesystem out of a store's layers, for overlayfs. Absolute paths. */
struct image_overlay {
	struct spec_strv lowers;  /* top first */
	const char *upper, *work; /* NULL: read-only */
	bool userxattr;
};

/* What the caller wants otherwise than the image. NULL, 0: as the image has it. */
struct image_run {
	char **command;	   /* in Cmd's place */
	char **entrypoint; /* in Entrypoint's place, and without Cmd */
	char **env;	   /* NAME=VALUE, replacing what has the NAME */
	const char *user, *cwd, *hostname;
	bool terminal;
	bool rootless;
	/* rootless: the user namespace's mappings */
	struct spec_id_maps uids, gids;
};

/* config.json for an image, by image-spec's conversion.md, on the base of `bailey spec`'s. rootfd:
 * the root filesystem, for passwd and group (-EBADF: not needed). Caller frees *ret. What is left
 * out of the labels is told by log_warning (docs/images.md). */
int image_config_json(const struct image_config *c, const struct image_run *run, int rootfd,
    char **ret, struct err *e);
/* "user[:group]" by /etc/passwd and /etc/group inside rootfd; numbers as they are. */
int image_user_resolve(
    int rootfd, const char *user, struct arena *a, struct spec_user *ret, struct err *e);
/* Does that take a look into the root filesystem? Not for "" and "UID:GID". */
bool image_user_needs_root(const char *user);

/* Mounts the overlay detached; returns the mount's descriptor. images/ may not mount. Without upper
 * and work it is read-only; it then has two lowers or more. */
typedef int image_mount_fn(const struct image_overlay *o, struct err *e);

/* What a bundle is, as its file .bailey-bundle tells. */
struct bundle_info {
	struct arena *arena;
	const char *path;     /* absolute */
	const char *id;	      /* random */
	const char *store;    /* NULL: flat, needs none */
	const char *manifest; /* digest */
	const char *owner;    /* a container's directory, for those of `run --image`; else NULL */
	bool complete;
	bool has_overlay;
	struct image_overlay overlay; /* strings in the arena */
};
/* -ENOENT where dir is, or has, no bundle that this program made of an image. */
int bundle_info(const char *dir, struct bundle_info *ret, struct err *e);
void bundle_info_free(struct bundle_info *i);
#define _cleanup_bundle_info_ __attribute__((cleanup(bundle_info_free)))

/* A bundle in the store, for `run --image`: STORE/bundles/ID with config.json, an empty rootfs for
 * the runtime to mount the overlay on, upper and work. It lives as long as owner, a directory,
 * does: the sweep asks. Until that exists, *ret_lock has to stay open. */
int bundle_make_stored(struct store *s, const struct image *im, const struct image_run *run,
    const char *owner, image_mount_fn *mount, char **ret_path, int *ret_lock, struct err *e);
/* Removes one, by its path. 0 where there is none. */
int bundle_remove_stored(const char *path, struct err *e);

/* A bundle in a directory of the user's, which must be empty, not there, or left by a killed run.
 * The root filesystem is an overlay on the store's layers, which the caller mounts on DIR/rootfs
 * before it calls bundle_complete(); the store knows of the bundle. */
int bundle_make(struct store *s, const struct image *im, const struct image_run *run,
    const char *dir, image_mount_fn *mount, struct bundle_info *ret, struct err *e);
int bundle_complete(const struct bundle_info *b, struct err *e);
/* The same, complete, with the layers applied one over the other in DIR/rootfs. No store takes
 * part; o says which ids there are. */
int bundle_make_flat(struct image_source *src, const struct image *im, const struct image_run *run,
    const struct store_opts *o, const char *dir, const struct image_progress *p, struct err *e);
/* Removes what either made, and the directory if nothing else is in it. rootfs must not be mounted
 * any more. */
int bundle_remove(const struct bundle_info *b, struct err *e);
