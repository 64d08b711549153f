/* What both kinds of bundles have: their file .bailey-bundle, an overlay's directories,
 * config.json. */
#include <fcntl.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "images/store.h"
#include "spec/decode.h"

#define RECORD_MAX (1024u * 1024)

/* ---- .bailey-bundle ---- */

static const struct field overlay_fields[] = {
	{ "lowers", K_STRV, offsetof(struct image_overlay, lowers), .required = true },
	{ "upper", K_STR, offsetof(struct image_overlay, upper), .required = true },
	{ "work", K_STR, offsetof(struct image_overlay, work), .required = true },
	{ "userxattr", K_BOOL, offsetof(struct image_overlay, userxattr), .required = true },
};
static const struct table overlay_table = TABLE(overlay_fields);

static int decode_overlay(struct dec *d, const struct json *node, void *out)
{
	struct bundle_info *b = out;

	b->has_overlay = true;
	return decode_object(d, node, &overlay_table, &b->overlay);
}

static int check_manifest(struct dec *d, const struct json *node, void *out)
{
	return image_digest_ok(node->s) ? 0 : dec_bad(d, node, "must be a digest");
}

static const struct field record_fields[] = {
	{ "id", K_STR, offsetof(struct bundle_info, id), .required = true },
	{ "store", K_STR, offsetof(struct bundle_info, store) },
	{ "manifest", K_STR, offsetof(struct bundle_info, manifest), .required = true,
	    .fn = check_manifest },
	{ "owner", K_STR, offsetof(struct bundle_info, owner) },
	{ "complete", K_BOOL, offsetof(struct bundle_info, complete), .required = true },
	{ "overlay", K_CUSTOM, 0, .fn = decode_overlay },
};
static const struct table record_table = TABLE(record_fields);

int bundle_record_write(int dirfd, const struct bundle_info *b, struct err *e)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);
	const char *text;
	size_t n;

	json_gen_map(g);
	json_gen_kstr(g, "id", b->id);
	json_gen_kstr(g, "store", b->store);
	json_gen_kstr(g, "manifest", b->manifest);
	json_gen_kstr(g, "owner", b->owner);
	json_gen_kbool(g, "complete", b->complete);
	if (b->has_overlay) {
		json_gen_key(g, "overlay");
		json_gen_map(g);
		json_gen_kstrv(g, "lowers", b->overlay.lowers.v);
		json_gen_kstr(g, "upper", b->overlay.upper);
		json_gen_kstr(g, "work", b->overlay.work);
		json_gen_kbool(g, "userxattr", b->overlay.userxattr);
		json_gen_end(g);
	}
	json_gen_end(g);
	text = json_gen_text(g, &n);
	return file_replace(dirfd, BUNDLE_FILE, text, n, 0600, true, e);
}

int bundle_record_read(int dirfd, const char *dir, struct bundle_info *ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_free_ char *text = NULL;
	struct bundle_info b = { .arena = a };
	struct dec d = { .a = a, .e = e };
	const struct json *root;
	size_t n;
	int r = file_read(dirfd, BUNDLE_FILE, RECORD_MAX, &text, &n, e);

	d.name = arena_printf(a, "%s/" BUNDLE_FILE, dir);
	if (r == -ENOENT)
		return err_set(e, ENOENT, "%s: not a bundle that was made of an image", dir);
	if (r < 0)
		return err_wrap(e, "%s", dir);
	if ((r = json_parse(a, d.name, text, n, &root, e)) < 0 ||
	    (r = decode_object(&d, root, &record_table, &b)) < 0)
		return r;
	b.path = arena_strdup(a, dir);
	*ret = b;
	steal_ptr(a);
	return 0;
}

int bundle_info(const char *dir, struct bundle_info *ret, struct err *e)
{
	_cleanup_free_ char *cwd = NULL, *joined = NULL, *path = NULL;
	_cleanup_close_ int fd = -EBADF;

	if (!path_is_absolute(dir) && !(cwd = getcwd(NULL, 0)))
		return err_errno(e, errno, "current directory");
	joined = path_join(cwd ? cwd : "/", dir);
	path = path_normalize(joined);
	fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "open bundle %s", path);
	return bundle_record_read(fd, path, ret, e);
}

void bundle_info_free(struct bundle_info *i)
{
	arena_free(i->arena);
	*i = (struct bundle_info){ 0 };
}

/* ---- the overlay ---- */

/*
 * The root directory of an overlay is the topmost one's in all but its contents, and a layer need
 * not have an entry for its root: the unpacked one is 0:0 and 0755 then. So upper takes after the
 * topmost layer that says something else.
 */
int bundle_root_attributes(struct store *s, const struct image *im, int topfd, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = im->n_layers; i-- > 0;) {
		const char *path =
		    arena_printf(a, "%s/diff", store_file_name(a, im->layers[i].chain_id));
		struct stat st;

		if (fstatat(s->layersfd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return err_errno(e, errno, "store %s: layers/%s", s->path, path);
		if (i > 0 && st.st_uid == 0 && st.st_gid == 0 && (st.st_mode & 07777) == 0755)
			continue;
		if (fchown(topfd, st.st_uid, st.st_gid) < 0 ||
		    fchmod(topfd, st.st_mode & 07777) < 0)
			return err_errno(e, errno, "set the root directory's owner and mode");
		return 0;
	}
	return 0;
}

static int make_dir(int dirfd, const char *name, int *ret, struct err *e)
{
	if (mkdirat(dirfd, name, 0755) < 0)
		return err_errno(e, errno, "mkdir %s", name);
	*ret = openat(dirfd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return *ret < 0 ? err_errno(e, errno, "open %s", name) : 0;
}

/* overlayfs does not look for the mark of an opaque directory on a layer's root. */
static int hides_what_is_below(const struct store *s, const char *path, bool *ret, struct err *e)
{
	const char *mark = s->userxattr ? "user.overlay.opaque" : "trusted.overlay.opaque";
	_cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	char value;

	if (fd < 0)
		return err_errno(e, errno, "open %s", path);
	*ret = fgetxattr(fd, mark, &value, 1) == 1 && value == 'y';
	return 0;
}

/* From the top to the first layer that hides the others. */
int bundle_overlay_lowers(const struct store *s, const struct image *im, struct arena *a,
    struct spec_strv *ret, struct err *e)
{
	struct spec_strv v = { .v = arena_calloc(a, im->n_layers + 1, sizeof(char *)) };
	bool hidden = false;

	for (size_t i = im->n_layers; i-- > 0 && !hidden;) {
		char *path = arena_printf(
		    a, "%s/layers/%s/diff", s->path, store_file_name(a, im->layers[i].chain_id));
		int r = hides_what_is_below(s, path, &hidden, e);

		if (r < 0)
			return r;
		v.v[v.n++] = path;
	}
	*ret = v;
	return 0;
}

int bundle_overlay_dirs(
    struct store *s, const struct image *im, int dirfd, struct bundle_info *b, struct err *e)
{
	_cleanup_close_ int rootfs = -EBADF, upper = -EBADF, work = -EBADF;
	struct image_overlay *o = &b->overlay;
	int r;

	if ((r = make_dir(dirfd, "rootfs", &rootfs, e)) < 0 ||
	    (r = make_dir(dirfd, "upper", &upper, e)) < 0 ||
	    (r = make_dir(dirfd, "work", &work, e)) < 0 ||
	    (r = bundle_root_attributes(s, im, upper, e)) < 0)
		return r;
	b->has_overlay = true;
	o->userxattr = s->userxattr;
	o->upper = arena_printf(b->arena, "%s/upper", b->path);
	o->work = arena_printf(b->arena, "%s/work", b->path);
	return bundle_overlay_lowers(s, im, b->arena, &o->lowers, e);
}

/* ---- config.json ---- */

/* The layers without upper: an overlay of one is no overlay. */
static int open_lowers(const struct image_overlay *o, image_mount_fn *mount, struct err *e)
{
	struct image_overlay lowers = *o;
	int fd;

	lowers.upper = lowers.work = NULL;
	if (o->lowers.n > 1)
		return mount(&lowers, e);
	fd = open(o->lowers.v[0], O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? err_errno(e, errno, "open %s", o->lowers.v[0]) : fd;
}

int bundle_config(const struct image *im, const struct image_run *run, int dirfd,
    const struct image_overlay *o, int rootfd, image_mount_fn *mount, struct err *e)
{
	const char *user = run->user ? run->user : im->config.user;
	_cleanup_close_ int opened = -EBADF;
	_cleanup_free_ char *text = NULL;
	int r;

	if (rootfd < 0 && image_user_needs_root(user)) {
		rootfd = opened = open_lowers(o, mount, e);
		if (rootfd < 0)
			return rootfd;
	}
	r = image_config_json(&im->config, run, rootfd, &text, e);
	if (r < 0)
		return err_wrap(e, "%s", im->name);
	return file_replace(dirfd, "config.json", text, strlen(text), 0644, true, e);
}
