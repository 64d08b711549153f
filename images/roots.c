/*
 * Images of whole root filesystems, made of the layers for machines that have their root on a disk.
 * As with layers: who finds one missing takes its lock, looks again, makes it in tmp/, and gives it
 * its name when it is on the disk.
 */
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "images/store.h"

#define UPPER_DIR  "upper"
#define WORK_DIR   "work"
#define TREE_DIR   "tree"
#define IMAGE_FILE "image"

struct root_job {
	struct store *s;
	const struct image *im;
	image_fs_fn *make;
	struct arena *arena;
	const char *file; /* in roots/ */
	struct stage stage;
	const char *dir; /* the stage's path */
};

static int open_root(const struct root_job *j, struct err *e)
{
	int fd = openat(j->s->rootsfd, j->file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);

	if (fd < 0 && errno != ENOENT)
		return err_errno(e, errno, "store %s: open roots/%s", j->s->path, j->file);
	return fd < 0 ? -ENOENT : fd;
}

static int lock_root(const struct root_job *j, int *ret, struct err *e)
{
	const char *name = arena_printf(j->arena, "root-%s", j->file);

	*ret = openat(j->s->locksfd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*ret < 0)
		return err_errno(e, errno, "store %s: open locks/%s", j->s->path, name);
	while (flock(*ret, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_errno(e, errno, "store %s: lock locks/%s", j->s->path, name);
	return 0;
}

/* Nothing is written to upper but copies of directories (see image_fs_fn), and it has the root's
 * attributes. */
static int choose_layers(const struct root_job *j, struct image_overlay *o, struct err *e)
{
	static const char *const dirs[] = { TREE_DIR, UPPER_DIR, WORK_DIR };
	_cleanup_close_ int upper = -EBADF;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (mkdirat(j->stage.fd, dirs[i], 0755) < 0)
			return err_errno(e, errno, "mkdir %s/%s", j->dir, dirs[i]);
	upper = openat(j->stage.fd, UPPER_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (upper < 0)
		return err_errno(e, errno, "open %s/" UPPER_DIR, j->dir);
	r = bundle_root_attributes(j->s, j->im, upper, e);
	if (r < 0)
		return r;
	o->userxattr = j->s->userxattr;
	o->upper = arena_printf(j->arena, "%s/" UPPER_DIR, j->dir);
	o->work = arena_printf(j->arena, "%s/" WORK_DIR, j->dir);
	return bundle_overlay_lowers(j->s, j->im, j->arena, &o->lowers, e);
}

/* Read-only from now on, for everybody: machines share it. */
static int sync_image(const struct root_job *j, struct err *e)
{
	_cleanup_close_ int fd =
	    openat(j->stage.fd, IMAGE_FILE, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || fchmod(fd, 0400) < 0 || fsync(fd) < 0)
		return err_errno(
		    e, errno, "store %s: write tmp/%s/" IMAGE_FILE, j->s->path, j->stage.name);
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return err_set(
		    e, EIO, "store %s: tmp/%s/" IMAGE_FILE ": is empty", j->s->path, j->stage.name);
	return 0;
}

static int make_root(struct root_job *j, struct err *e)
{
	struct image_overlay o = { 0 };
	int r;

	j->dir = arena_printf(j->arena, "%s/tmp/%s", j->s->path, j->stage.name);
	if ((r = choose_layers(j, &o, e)) < 0 ||
	    (r = j->make(&o, j->dir, j->stage.lockfd, TREE_DIR, IMAGE_FILE, e)) < 0 ||
	    (r = sync_image(j, e)) < 0)
		return r;
	if (renameat(j->stage.fd, IMAGE_FILE, j->s->rootsfd, j->file) < 0 ||
	    fsync(j->s->rootsfd) < 0)
		return err_errno(e, errno, "store %s: rename tmp/%s/" IMAGE_FILE " to roots/%s",
		    j->s->path, j->stage.name, j->file);
	return 0;
}

int store_root_image(struct store *s, const struct image *im, image_fs_fn *make, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct root_job j = { .s = s, .im = im, .make = make, .arena = a, .stage = STAGE_INIT };
	_cleanup_close_ int lock = -EBADF;
	int r;

	if (im->n_layers == 0)
		return err_set(e, ENOENT, "%s: has no layer to make a root of", im->name);
	j.file = store_file_name(a, im->layers[im->n_layers - 1].chain_id);
	if ((r = open_root(&j, e)) != -ENOENT || (r = lock_root(&j, &lock, e)) < 0 ||
	    (r = open_root(&j, e)) != -ENOENT ||
	    (r = stage_new(s->tmpfd, "make room for a root image", &j.stage, e)) < 0)
		return r;
	r = make_root(&j, e);
	stage_remove(&j.stage);
	return r < 0 ? err_wrap(e, "%s: root image", im->name) : open_root(&j, e);
}
