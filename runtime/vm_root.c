/*
 * A machine's root on a disk: one read-only image of the layers of the image that the bundle was
 * made of (images/, store_root_image()), shared by all machines of that image, and a place for what
 * the container writes: the guest's memory, or a disk of its own.
 */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "runtime/image_work.h"
#include "runtime/tool.h"
#include "runtime/vm_level.h"

#define SCRATCH_FILE	"scratch"
#define SCRATCH_DEFAULT (10 * INT64_C(1073741824))
#define SCRATCH_MIN	(16 * INT64_C(1048576))
#define SCRATCH_MAX	(16 * INT64_C(1099511627776))
#define SCRATCH_BLOCK	4096

/* ---- what is asked for ---- */

int vm_root_parse(const char *text, struct vm_root *ret)
{
	const char *rest = startswith(text, "scratch");
	struct vm_root v = VM_ROOT_NONE;
	int64_t size = SCRATCH_DEFAULT;
	int r;

	v.wanted = true;
	if (streq(text, "memory")) {
		*ret = v;
		return 0;
	}
	if (!rest || (*rest && *rest != ':'))
		return -EINVAL;
	if (*rest) {
		r = parse_size(rest + 1, false, &size);
		if (r < 0)
			return r;
	}
	if (size < SCRATCH_MIN || size > SCRATCH_MAX)
		return -ERANGE;
	v.scratch = (uint64_t)size / SCRATCH_BLOCK * SCRATCH_BLOCK;
	*ret = v;
	return 0;
}

int vm_root_check(const char *where, const char *text, struct vm_root *ret, struct err *e)
{
	int r = vm_root_parse(text, ret);

	if (r == -ERANGE)
		return err_set(e, ERANGE,
		    "%s: \"%s\": the scratch disk must have %lld MiB to %lld TiB", where, text,
		    (long long)(SCRATCH_MIN >> 20), (long long)(SCRATCH_MAX >> 40));
	if (r < 0)
		return err_set(
		    e, EINVAL, "%s: \"%s\": must be memory, scratch or scratch:SIZE", where, text);
	return 0;
}

int vm_root_choose(const char *flag, const struct spec *s, enum isolation level,
    struct vm_root *ret, struct err *e)
{
	const char *noted = spec_map_get(&s->annotations, VM_ROOT_ANNOTATION);
	const char *where =
	    flag ? VM_ROOT_OPTION : "config.json: .annotations[\"" VM_ROOT_ANNOTATION "\"]";
	int r;

	*ret = (struct vm_root)VM_ROOT_NONE;
	if (!flag && !noted)
		return 0;
	r = vm_root_check(where, flag ? flag : noted, ret, e);
	if (r == 0 && level != ISOLATION_VM)
		r = err_set(e, EINVAL, "%s: needs isolation level vm (--isolation=vm)", where);
	return r;
}

/* ---- the image ---- */

/* Somebody has written to the bundle's root filesystem, and would miss that in the machine. */
static int check_unchanged(const struct bundle_info *b, struct err *e)
{
	_cleanup_closedir_ DIR *d = opendir(b->overlay.upper);

	if (!d)
		return err_errno(e, errno, "open %s", b->overlay.upper);
	for (const struct dirent *i; (i = readdir(d));)
		if (!streq(i->d_name, ".") && !streq(i->d_name, ".."))
			return err_set(e, ENOTEMPTY,
			    "bundle %s: its root filesystem was changed (there is %s/%s): a root "
			    "image has the image's layers alone",
			    b->path, b->overlay.upper, i->d_name);
	return 0;
}

static int make_image(
    void *ctx, const struct store_opts *so, struct image_result *ret, struct err *e)
{
	const struct bundle_info *b = ctx;
	_cleanup_store_ struct store *s = NULL;
	_cleanup_image_ struct image *im = NULL;
	int r;

	if ((r = check_unchanged(b, e)) < 0 || (r = store_open(b->store, so, &s, e)) < 0 ||
	    (r = store_load(s, b->manifest, b->manifest, &im, e)) < 0)
		return r;
	ret->fd = store_root_image(s, im, image_mkfs, e);
	return ret->fd < 0 ? ret->fd : 0;
}

static int open_image(const struct bundle_info *b, int *ret, struct err *e)
{
	_cleanup_image_ids_ struct image_ids ids = { 0 };
	struct image_result res = { .fd = -EBADF };
	int r = image_ids(&ids, e);

	if (r == 0)
		r = image_work(&ids, make_image, (void *)b, &res, e);
	if (r < 0)
		return r;
	*ret = res.fd;
	return 0;
}

static int find_bundle(const char *dir, struct bundle_info *ret, struct err *e)
{
	int r = bundle_info(dir, ret, e);

	if (r == 0 && (!ret->store || !ret->has_overlay))
		r = err_set(e, ENOTSUP,
		    "bundle %s: is flat: a root image is made of the layers in a store", dir);
	if (r == 0 && !ret->complete)
		r = err_set(e, ENOENT, "bundle %s: was left incomplete by a killed run", dir);
	return r < 0 ? err_wrap(e, VM_ROOT_OPTION) : 0;
}

/* ---- the scratch disk ---- */

/* As old kernels have it, without what e2fsprogs adds by itself; no journal: who crashes never sees
 * it again. */
#define FEATURES                                                                              \
	"none,dir_index,dir_nlink,ext_attr,extent,extra_isize,filetype,huge_file,large_file," \
	"sparse_super"

static int format(int fd, struct err *e)
{
	char *const argv[] = { (char *)"mke2fs", (char *)"-q", (char *)"-F", (char *)"-t",
		(char *)"ext4", (char *)"-O", (char *)FEATURES, (char *)"-b", (char *)"4096",
		(char *)"-m", (char *)"0", (char *)"-E",
		(char *)"nodiscard,lazy_itable_init=1,root_owner=0:0", (char *)"/proc/self/fd/3",
		NULL };
	const struct tool t = {
		.name = "mke2fs", .package = "e2fsprogs", .argv = argv, .fd = fd, .cap = -1
	};

	return tool_run(&t, e);
}

/* It has no name once it is there: it goes with the monitor, however that ends. A run that is
 * killed before leaves it in the bundle, which the store removes. */
static int make_scratch(const char *dir, uint64_t size, int *ret, struct err *e)
{
	_cleanup_close_ int dirfd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -EBADF;
	int r;

	if (dirfd < 0)
		return err_errno(e, errno, "open %s", dir);
	(void)unlinkat(dirfd, SCRATCH_FILE, 0);
	fd = openat(dirfd, SCRATCH_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0 || unlinkat(dirfd, SCRATCH_FILE, 0) < 0 || ftruncate(fd, (off_t)size) < 0)
		return err_errno(
		    e, errno, "scratch disk of %llu bytes in %s", (unsigned long long)size, dir);
	r = format(fd, e);
	if (r < 0)
		return err_wrap(e, "scratch disk");
	*ret = steal_fd(&fd);
	return 0;
}

int vm_root_open(struct vm_root *v, const char *bundle, struct err *e)
{
	_cleanup_bundle_info_ struct bundle_info b = { 0 };
	int r;

	if (!v->wanted)
		return 0;
	if ((r = find_bundle(bundle, &b, e)) < 0)
		return r;
	r = open_image(&b, &v->image_fd, e);
	if (r == 0 && v->scratch)
		r = make_scratch(b.path, v->scratch, &v->scratch_fd, e);
	if (r < 0)
		vm_root_close(v);
	return r < 0 ? err_wrap(e, VM_ROOT_OPTION) : 0;
}

void vm_root_close(struct vm_root *v)
{
	closep(&v->image_fd);
	closep(&v->scratch_fd);
	v->image_fd = v->scratch_fd = -EBADF;
}

size_t vm_root_disks(const struct vm_root *v, struct vm_disk ret[VM_ROOT_DISKS])
{
	size_t n = 0;

	if (v->image_fd >= 0)
		ret[n++] =
		    (struct vm_disk){ .fd = v->image_fd, .readonly = true, .serial = GP_DISK_ROOT };
	if (v->scratch_fd >= 0)
		ret[n++] = (struct vm_disk){ .fd = v->scratch_fd, .serial = GP_DISK_SCRATCH };
	return n;
}
