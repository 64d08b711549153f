/*
 * The image_fs_fn: an image's layers as one EROFS file, by mkfs.erofs
 * (docs/adr/0011-root-images.md).
 *
 * The tool reads names and contents that are hostile. It sees them in a mount namespace of its own,
 * is left with the one capability that reads files of any mode, and writes into a directory of the
 * store's tmp/. What it writes is never mounted on the host.
 */
#include <fcntl.h>
#include <ftw.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "base/sys.h"
#include "runtime/image_work.h"
#include "runtime/tool.h"

/* Part of the file system that is left for others: 1/N. */
#define RESERVE	 20
#define WALK_FDS 64
#define LOST	 "lost+found"

struct mkfs {
	const struct image_overlay *overlay;
	const char *dir, *tree;
};

/* ---- what the tool would stumble over ---- */

/* nftw(3) hands nothing to its callback. This is a process of its own, with one thread. */
static struct {
	char **stale; /* directories with whiteouts of nothing */
	char *unfit;
} found;

/* Debian 12's tool leaves these out. The empty directory that a file system has is no loss. */
static bool would_be_lost(const char *path, int base, int type)
{
	const char *name = path + base;
	_cleanup_free_ char *parent = xstrndup(path, base ? (size_t)base - 1 : 0);
	const char *slash = strrchr(parent, '/');

	return (startswith(name, LOST) && type != FTW_D) ||
	       startswith(slash ? slash + 1 : parent, LOST);
}

static int look_at(const char *path, const struct stat *st, int type, struct FTW *f)
{
	size_t n = strv_len(found.stale), len = f->base ? (size_t)f->base - 1 : 0;

	if (would_be_lost(path, f->base, type)) {
		found.unfit = xstrdup(path);
		return 1;
	}
	if (type == FTW_NS &&
	    !(n && strlen(found.stale[n - 1]) == len && memcmp(found.stale[n - 1], path, len) == 0))
		strv_push(&found.stale, xstrndup(path, len));
	return 0;
}

/*
 * A directory that one layer alone has is shown with the whiteouts in it, which cannot be looked
 * at: overlayfs hides them only where it merges. So these directories get a part in the upper
 * layer, by a change of their mode to what it is.
 */
static int hide_whiteouts(const char *tree, struct err *e)
{
	if (nftw(tree, look_at, WALK_FDS, FTW_PHYS) < 0)
		return err_errno(e, errno, "walk the layers");
	if (found.unfit)
		return err_set(
		    e, ENOTSUP, "%s: mkfs.erofs leaves out what is called " LOST, found.unfit);
	for (char **dir = found.stale; dir && *dir; dir++) {
		struct stat st;

		if (stat(*dir, &st) < 0 || chmod(*dir, st.st_mode & 07777) < 0)
			return err_errno(e, errno, "%s: hide the whiteouts in it", *dir);
	}
	return 0;
}

static int mount_tree(void *arg, struct err *e)
{
	struct mount_attr safe = { .attr_set =
				       MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC };
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };
	const struct mkfs *m = arg;
	_cleanup_close_ int mfd = -EBADF;
	int r;

	if (unshare(CLONE_NEWNS) < 0)
		return err_errno(e, errno, "make a mount namespace");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return err_errno(e, errno, "make the mounts private");
	mfd = image_mount(m->overlay, e);
	if (mfd < 0)
		return mfd;
	if (sys_mount_setattr(mfd, "", AT_EMPTY_PATH, &safe) < 0 || chdir(m->dir) < 0 ||
	    sys_move_mount(mfd, "", AT_FDCWD, m->tree, MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return err_errno(e, errno, "mount the layers on %s/%s", m->dir, m->tree);
	r = hide_whiteouts(m->tree, e);
	if (r == 0 && sys_mount_setattr(mfd, "", AT_EMPTY_PATH, &ro) < 0)
		r = err_errno(e, errno, "make the layers read-only");
	return r;
}

/* ---- the tool ---- */

static int room(const char *dir, uint64_t *ret, struct err *e)
{
	uint64_t free_bytes, reserve;
	struct statvfs v;

	if (statvfs(dir, &v) < 0)
		return err_errno(e, errno, "size of the store's file system");
	free_bytes = (uint64_t)v.f_bavail * v.f_frsize;
	reserve = (uint64_t)v.f_blocks * v.f_frsize / RESERVE;
	if (free_bytes <= reserve)
		return err_set(e, ENOSPC,
		    "the store's file system has no more than %llu bytes free",
		    (unsigned long long)free_bytes);
	*ret = free_bytes - reserve;
	return 0;
}

/*
 * No -T: it would take every file's time of modification away, on which programs depend. A fixed
 * UUID, since a random one says nothing.
 */
int image_mkfs(const struct image_overlay *o, const char *dir, int lock, const char *tree,
    const char *file, struct err *e)
{
	struct mkfs m = { .overlay = o, .dir = dir, .tree = tree };
	char *const argv[] = { (char *)"mkfs.erofs", (char *)"--quiet",
		(char *)"-U00000000-0000-0000-0000-000000000000", (char *)file, (char *)tree,
		NULL };
	struct tool t = {
		.name = "mkfs.erofs",
		.package = "erofs-utils",
		.argv = argv,
		.fd = lock,
		.prepare = mount_tree,
		.arg = &m,
		.cap = CAP_DAC_READ_SEARCH,
	};
	int r = room(dir, &t.size, e);

	return r < 0 ? r : tool_run(&t, e);
}
