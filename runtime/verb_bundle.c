/* Bundles in directories of the user's: made, mounted again after a reboot, removed. */
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/sys.h"
#include "runtime/image_opts.h"
#include "runtime/verbs.h"

struct bundle_opts {
	struct image_opts image;
	bool flat, mount, delete;
};
struct bundle_job {
	const struct bundle_opts *o;
	const struct image_ids *ids;
	const char *source, *dir;
	struct image_run run;
};

/* ---- the mount on DIR/rootfs ---- */

static int open_rootfs(const struct bundle_info *b, int *ret, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/rootfs", b->path);

	*ret = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return *ret < 0 ? err_errno(e, errno, "open %s", path) : 0;
}

/* By what the kernel says of the directory itself: a mount point has another device, and a bundle
 * is not made on one. */
static int is_mounted(const struct bundle_info *b, bool *ret, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/rootfs", b->path);
	struct statx root, parent;

	*ret = false;
	if (statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, STATX_BASIC_STATS, &root) < 0)
		return errno == ENOENT ? 0 : err_errno(e, errno, "%s", path);
	if (statx(AT_FDCWD, b->path, 0, STATX_BASIC_STATS, &parent) < 0)
		return err_errno(e, errno, "%s", b->path);
	*ret = root.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT
		   ? root.stx_attributes & STATX_ATTR_MOUNT_ROOT
		   : root.stx_dev_major != parent.stx_dev_major ||
			 root.stx_dev_minor != parent.stx_dev_minor;
	return 0;
}

static int mount_rootfs(const struct bundle_info *b, struct err *e)
{
	_cleanup_close_ int rootfs = -EBADF, fd = -EBADF;
	int r = open_rootfs(b, &rootfs, e);

	if (r < 0)
		return r;
	fd = image_mount(&b->overlay, e);
	if (fd < 0)
		return fd;
	if (sys_move_mount(fd, "", rootfs, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) <
	    0)
		return err_errno(e, errno, "mount %s/rootfs", b->path);
	return 0;
}

static int unmount_rootfs(const struct bundle_info *b, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/rootfs", b->path);
	bool mounted;
	int r = is_mounted(b, &mounted, e);

	if (r < 0 || !mounted)
		return r;
	if (umount2(path, UMOUNT_NOFOLLOW) < 0)
		return err_errno(e, errno, "unmount %s%s", path,
		    errno == EBUSY ? " (does a container run from it?)" : "");
	return 0;
}

/* ---- making ---- */

static int make_flat(const struct bundle_job *j, const struct store_opts *so,
    const struct image_progress *p, struct err *e)
{
	_cleanup_image_source_ struct image_source *src = NULL;
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_image_ struct image *im = NULL;
	const struct image_remote remote = image_remote_of(&j->o->image.remote);
	const char *platform = j->o->image.platform;
	struct image_platform want;
	int r;

	if (startswith(j->source, "store:"))
		return err_set(e, EINVAL,
		    "--flat: %s: the store keeps layers unpacked one by one: give the image's own "
		    "source",
		    j->source);
	if (platform && (r = image_platform_parse(a, platform, &want, e)) < 0)
		return err_wrap(e, "--platform");
	if ((r = image_source_open(j->source, &remote, &src, e)) < 0 ||
	    (r = image_resolve(src, platform ? &want : NULL, &im, e)) < 0)
		return r;
	return bundle_make_flat(src, im, &j->run, so, j->dir, p, e);
}

static int make_overlay(const struct bundle_job *j, const struct store_opts *so,
    const struct image_progress *p, struct err *e)
{
	_cleanup_bundle_info_ struct bundle_info b = { 0 };
	_cleanup_store_ struct store *s = NULL;
	_cleanup_image_ struct image *im = NULL;
	const struct image_remote remote = image_remote_of(&j->o->image.remote);
	struct err second = ERR_INIT;
	int r = image_store_open(j->o->image.store, so, &s, e);

	if (r == 0)
		r = image_obtain(s,
		    &(struct image_want){
			.source = j->source,
			.platform = j->o->image.platform,
			.progress = p,
			.remote = &remote,
		    },
		    &im, e);
	if (r < 0 || (r = bundle_make(s, im, &j->run, j->dir, image_mount, &b, e)) < 0)
		return r;
	r = mount_rootfs(&b, e);
	if (r == 0)
		r = bundle_complete(&b, e);
	if (r < 0 && unmount_rootfs(&b, &second) == 0)
		(void)bundle_remove(&b, &second);
	return r;
}

static int make(void *ctx, const struct store_opts *so, struct image_result *ret, struct err *e)
{
	_cleanup_progress_ struct image_progress_state progress;
	const struct bundle_job *j = ctx;

	progress_init(&progress, isatty(STDERR_FILENO) ? PROGRESS_AUTO : PROGRESS_QUIET);
	return (j->o->flat ? make_flat : make_overlay)(
	    j, so, progress.callback.fn ? &progress.callback : NULL, e);
}

/* ---- mounting again, removing ---- */

static int remove_it(
    void *ctx, const struct store_opts *so, struct image_result *ret, struct err *e)
{
	const struct bundle_job *j = ctx;
	_cleanup_bundle_info_ struct bundle_info b = { 0 };
	int r = bundle_info(j->dir, &b, e);

	if (r == 0)
		r = unmount_rootfs(&b, e);
	return r < 0 ? r : bundle_remove(&b, e);
}

static int mount_it(void *ctx, const struct store_opts *so, struct image_result *ret, struct err *e)
{
	const struct bundle_job *j = ctx;
	_cleanup_bundle_info_ struct bundle_info b = { 0 };
	bool mounted;
	int r = bundle_info(j->dir, &b, e);

	if (r < 0)
		return r;
	if (!b.has_overlay)
		return err_set(
		    e, EINVAL, "%s: is a flat bundle: there is nothing to mount", b.path);
	if (!b.complete)
		return err_set(
		    e, EINVAL, "%s: a killed run left it half made: make it anew", b.path);
	r = is_mounted(&b, &mounted, e);
	return r < 0 || mounted ? r : mount_rootfs(&b, e);
}

/* ---- the verb ---- */

static int check_args(const struct bundle_opts *o, int argc, struct err *e)
{
	int wanted = o->mount || o->delete ? 1 : 2;

	if (o->mount + o->delete + o->flat > 1)
		return err_set(e, EINVAL, "--flat, --mount and --delete exclude each other");
	if (argc != wanted)
		return err_set(e, EINVAL, "bundle: %d argument%s wanted, %d given (usage: %s)",
		    wanted, wanted == 1 ? "" : "s", argc,
		    wanted == 1 ? "bailey bundle --mount|--delete DIR"
				: "bailey bundle [OPTION...] SOURCE DIR");
	return 0;
}

static int run(const struct globals *g, void *opts, int argc, char **argv, struct err *e)
{
	_cleanup_image_ids_ struct image_ids ids = { 0 };
	const struct bundle_opts *o = opts;
	struct bundle_job j = { .o = o, .ids = &ids, .source = argv[0], .dir = argv[argc - 1] };
	struct image_result res;
	int r = check_args(o, argc, e);

	if (r < 0 || (r = image_ids(&ids, e)) < 0)
		return r;
	if (ids.rootless && !o->flat && !o->delete)
		return err_set(e, EPERM,
		    "bundle: an overlay on the host is root's to mount: give --flat, or use "
		    "\"bailey run --image\", which mounts it in the container");
	j.run = image_run_of(&o->image, &ids, NULL);
	return image_work(&ids, o->delete ? remove_it : o->mount ? mount_it : make, &j, &res, e);
}

static const struct opt opts[] = {
	{ "flat", 0, OPT_FLAG, offsetof(struct bundle_opts, flat), NULL,
	    "the layers applied one over the other, instead of an overlay on the store's" },
	{ "mount", 0, OPT_FLAG, offsetof(struct bundle_opts, mount), NULL,
	    "mount the root filesystem of a bundle again, after a reboot" },
	{ "delete", 0, OPT_FLAG, offsetof(struct bundle_opts, delete), NULL,
	    "unmount and remove a bundle" },
	IMAGE_OPTS(struct bundle_opts, image),
	{ 0 },
};

const struct verb verb_bundle = {
	.name = "bundle",
	.args = "SOURCE DIR",
	.summary = "make a bundle of an image",
	.detail =
	    "Makes DIR with config.json and rootfs, for bailey or any other OCI runtime. "
	    "rootfs is an overlay on the store's layers, mounted; what the container writes lies "
	    "in DIR/upper. DIR has to be empty or not there; a bundle that a killed run left half "
	    "made is made anew. \"bailey bundle --delete DIR\" ends it. " SOURCE_DETAIL,
	.examples = "bailey bundle oci:layout:latest bundle && bailey run -b bundle web\n"
		    "bailey bundle --flat docker-archive:saved.tar bundle\n"
		    "bailey bundle --delete bundle",
	.opts = opts,
	.opts_size = sizeof(struct bundle_opts),
	.min_args = 1,
	.max_args = 2,
	.error_exit = 1,
	.run = run,
};
