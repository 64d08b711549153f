/*
 * A layer, that is a compressed tar stream (image-spec layer.md), becomes a directory.
 *
 *   read, hash the blob ──► inflate ──┬──► hash the tar stream (DiffID)
 *                                     └──► read entries, apply them
 *
 * Each stage is a thread; bounded rings lie between them (images/ring.h), so memory does not grow
 * with the layer. What does grow is small: some 150 bytes per directory and, with UNPACK_FLAT, 32
 * per entry.
 *
 * Everything in the stream is hostile until both digests were checked, which is at its end: unpack
 * into a staging directory that nobody else can enter (0700 above it) and throw that away on any
 * error. Nothing is synced: that is the caller's, once for all layers (syncfs(2)).
 *
 * Which tar is understood: tar.h. What applying means:
 *
 * - Names are resolved below the directory alone (openat2(2) with RESOLVE_IN_ROOT), symlinks in
 *   them as the container would follow them; the last component is never followed. A leading "/"
 *   and "." components are dropped; ".." is an error. What exists under the name goes first, unless
 *   both are directories. Missing parents are made, 0755 and owned by 0:0.
 * - A hard link's target is resolved without following any symlink and has to be there.
 * - Owner, mode with its special bits (after the owner), xattrs, modification time in nanoseconds.
 *   Names of users in the tar are ignored, as image-spec demands. Directories get theirs at the
 * end.
 * - xattrs: user.*, trusted.* and security.* are set, and refused by the kernel's word where that
 *   refuses. security.capability is rewritten for mapped ids to name the mapped root. Not set, and
 *   counted in `skipped`: security.selinux (labels are the runtime's) and POSIX ACLs, which no
 * other engine takes from layers either. trusted.overlay.* and user.overlay.* are an error: a layer
 * has no say in how layers are stacked.
 * - Devices: with opts.userns they are left out and counted in `skipped`, as all engines do, since
 * the kernel lets nobody make them there; a container's /dev is the runtime's. Character device
 * 0:0, by which overlayfs removes files, is an error.
 * - Whiteouts: ".wh.NAME" removes NAME of the layers below and never what this layer itself brings,
 *   ".wh..wh..opq" everything of the layers below in its directory, wherever in the stream they
 * come. A bare ".wh.", one that is a component further up, and AUFS's own ".wh..wh.*" files are
 * errors.
 *
 * Differences between the two modes: with UNPACK_OVERLAY only the layer's own files are there, so a
 * hard link cannot name a file of a layer below, and a symlink of a layer below does not lead to
 * where its directory is.
 */
#pragma once
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "images/digest.h"

enum unpack_mode {
	UNPACK_FLAT,	/* onto a directory that holds the layers below: whiteouts remove there */
	UNPACK_OVERLAY, /* into an empty directory that becomes a lowerdir of overlayfs */
};

/* A range of ids: what the layer calls inside, inside + 1 … is given to chown(2) as outside … */
struct unpack_idmap {
	uint32_t inside, outside, count;
};

/* 0: the default. Beyond one the layer is refused with -EFBIG. */
struct unpack_limits {
	/* Default 4,194,304. Directories' paths may have 64 times as many bytes together. */
	uint64_t entries;
	/* Of the blob; of the inflated stream; of all files' sizes with their holes: each.
	 * Default 256 GiB. */
	uint64_t bytes;
	/* Inflated to compressed bytes, asked beyond the first 256 MiB of inflated ones. Default
	 * 200: ordinary layers have 2 to 10, gzip's bound is 1032. */
	uint32_t ratio;
};

struct unpack_opts {
	enum unpack_mode mode;
	/* UNPACK_OVERLAY: opaque directories are marked by user.overlay.opaque (mount option
	 * userxattr) instead of trusted.overlay.opaque. Whiteouts are 0:0 character devices either
	 * way: anybody may make those since Linux 5.8. */
	bool userxattr;
	/* The process is in a user namespace of its own: see devices above. */
	bool userns;
	/* Without ranges ids are taken as they are. With ranges an id outside of all of them is an
	 * error that names entry and remedy. Inside a user namespace give its ranges with outside =
	 * inside, so that the error comes from here and not from chown(2). */
	const struct unpack_idmap *uids, *gids;
	size_t n_uids, n_gids;
	struct unpack_limits limits;
	/* Called now and then, by a thread other than the caller's but one at a time, with the
	 * blob's bytes read so far. NULL: not. */
	void (*progress)(void *ctx, uint64_t bytes);
	void *progress_ctx;
	/* Another thread sets it and layer_unpack() ends soon, with -ECANCELED: as soon as the
	 * source's read returns. NULL: never. */
	const atomic_bool *cancel;
};

struct unpack_layer {
	/* For messages: "layer 3 of docker.io/library/debian". */
	const char *name;
	/* Where the compressed stream comes from. read returns bytes (at most n), 0 at the end, or
	 * -errno with e set; it is called by one thread, not the caller's, and may block. NULL: fd
	 * is read from its current position on; it stays open. */
	ssize_t (*read)(void *ctx, void *buf, size_t n, struct err *e);
	void *ctx;
	int fd;
	/* What it has to be. digest and size are the blob's, as the descriptor has them: not a byte
	 * beyond size is read but one to see the end. digest NULL and size -1: the source has no
	 * word on it (docker-archive). diff_id is the inflated stream's and always needed. */
	const struct digest *digest, *diff_id;
	int64_t size;
};

struct unpack_result {
	struct digest digest, diff_id; /* as computed; equal to what was expected */
	uint64_t size, tar_size;       /* bytes of the blob; inflated */
	uint64_t entries;
	uint64_t skipped;	 /* devices, labels and ACLs that were left out, see above */
	const char *compression; /* "none", "gzip", "zstd": found by magic number */
	/* UNPACK_OVERLAY: the layer hides all below it. The directory itself carries the opaque
	 * xattr then, but overlayfs does not look for it on a layer's root: leave the layers below
	 * out of lowerdir. */
	bool opaque_root;
};

/*
 * Applies a layer below rootfd (any descriptor of the directory, O_PATH too). Several may run at
 * once, for different directories.
 *
 * Errors: -EBADMSG for what is wrong with the blob (digest, size, compression, tar, hostile names),
 * -EFBIG for limits, -ECANCELED, else the system call's. A blob whose digest is wrong is reported
 * as that even if it was first noticed as something else, and both digests are in the message.
 * Others name the layer, the entry's number (from 1) and its path. *ret is untouched on failure.
 */
int layer_unpack(const struct unpack_layer *layer, int rootfd, const struct unpack_opts *opts,
    struct unpack_result *ret, struct err *e);

/*
 * Removes what name is inside dirfd, whatever it is, a directory with all that is below: depth and
 * names may be hostile, no symlink is followed, no mount point entered. 0 when there is nothing.
 */
int tree_remove(int dirfd, const char *name, struct err *e);
