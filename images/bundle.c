/*
 * Bundles in directories of the user's.
 *
 * Their file .bailey-bundle comes first and says "complete" last: a directory where it does not was
 * left by a killed run, unless somebody holds the file's lock, and is made anew by the next one.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "images/store.h"

#define LOCK_FILE ".bailey-bundle.lock"

/* A directory as it becomes a bundle. */
struct making {
	struct bundle_info b;
	int dirfd, lockfd;
	bool made_dir;
};

static void making_free(struct making *m)
{
	closep(&m->dirfd);
	closep(&m->lockfd);
	bundle_info_free(&m->b);
}

static bool is_own_name(const char *name)
{
	static const char *const names[] = { BUNDLE_FILE, LOCK_FILE, "config.json", "rootfs",
		"upper", "work" };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (streq(names[i], name))
			return true;
	return startswith(name, BUNDLE_FILE ".tmp-") || startswith(name, "config.json.tmp-");
}

/* Calls remove for what bundles are made of; *ret_other: something else is there. */
static int walk(int dirfd, const char *path, bool remove, bool *ret_other, struct err *e)
{
	_cleanup_closedir_ DIR *d = NULL;
	_cleanup_strv_ char **own = NULL;
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;

	*ret_other = false;
	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		closep(&fd);
		return err_errno(e, errno, "read %s", path);
	}
	for (struct dirent *ent; (ent = readdir(d));) {
		if (streq(ent->d_name, ".") || streq(ent->d_name, ".."))
			continue;
		if (!is_own_name(ent->d_name))
			*ret_other = true;
		else if (!streq(ent->d_name, LOCK_FILE) && !streq(ent->d_name, BUNDLE_FILE))
			strv_push(&own, xstrdup(ent->d_name));
	}
	for (size_t i = 0; remove && i < strv_len(own) && r == 0; i++)
		r = tree_remove(dirfd, own[i], e);
	return r < 0 ? err_wrap(e, "%s", path) : 0;
}

/* Is nothing there but what a run leaves that was killed before its first record? That goes into
 * *ret_started, NULL: who cares. */
static int is_empty(int dirfd, const char *path, bool *ret, char ***ret_started, struct err *e)
{
	_cleanup_closedir_ DIR *d = NULL;
	int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		closep(&fd);
		return err_errno(e, errno, "read %s", path);
	}
	*ret = true;
	for (struct dirent *ent; (ent = readdir(d));) {
		if (streq(ent->d_name, ".") || streq(ent->d_name, "..") ||
		    streq(ent->d_name, LOCK_FILE))
			continue;
		if (!startswith(ent->d_name, BUNDLE_FILE ".tmp-"))
			*ret = false;
		else if (ret_started)
			strv_push(ret_started, xstrdup(ent->d_name));
	}
	return 0;
}

static int take_lock(struct making *m, struct err *e)
{
	m->lockfd = openat(m->dirfd, LOCK_FILE, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (m->lockfd < 0)
		return err_errno(e, errno, "%s/" LOCK_FILE, m->b.path);
	if (flock(m->lockfd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK)
		return err_set(e, EBUSY, "%s: another process is making a bundle there", m->b.path);
	return 0;
}

/* Before anything is made there. */
static int check_place(const struct making *m, struct err *e)
{
	bool empty = false;
	int r = is_empty(m->dirfd, m->b.path, &empty, NULL, e);

	if (r < 0 || empty)
		return r;
	if (faccessat(m->dirfd, BUNDLE_FILE, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
		return err_set(e, ENOTEMPTY, "%s: is not empty", m->b.path);
	return 0;
}

/* Empty, or what a killed run left. */
static int claim(struct making *m, struct err *e)
{
	_cleanup_bundle_info_ struct bundle_info old = { 0 };
	_cleanup_strv_ char **started = NULL;
	bool other, empty = false;
	int r = is_empty(m->dirfd, m->b.path, &empty, &started, e);

	for (size_t i = 0; r == 0 && i < strv_len(started); i++)
		if (unlinkat(m->dirfd, started[i], 0) < 0 && errno != ENOENT)
			r = err_errno(e, errno, "remove %s/%s", m->b.path, started[i]);
	if (r < 0 || empty)
		return r;
	r = bundle_record_read(m->dirfd, m->b.path, &old, e);
	if (r < 0)
		return r;
	if (old.complete)
		return err_set(e, EEXIST,
		    "%s: is a bundle already: \"bailey bundle --delete %s\" removes it", m->b.path,
		    m->b.path);
	r = walk(m->dirfd, m->b.path, true, &other, e);
	if (r == 0 && other)
		return err_set(e, ENOTEMPTY, "%s: is not empty", m->b.path);
	return r;
}

static int random_id(struct making *m, struct err *e)
{
	uint64_t v[2];

	if (getrandom(v, sizeof(v), 0) != sizeof(v))
		return err_errno(e, errno, "getrandom");
	m->b.id = arena_printf(
	    m->b.arena, "%016llx%016llx", (unsigned long long)v[0], (unsigned long long)v[1]);
	return 0;
}

static int begin(
    struct making *m, const char *dir, const char *store, const struct image *im, struct err *e)
{
	_cleanup_free_ char *cwd = NULL, *joined = NULL, *path = NULL;
	int r;

	m->b.arena = arena_new();
	if (!path_is_absolute(dir) && !(cwd = getcwd(NULL, 0)))
		return err_errno(e, errno, "current directory");
	joined = path_join(cwd ? cwd : "/", dir);
	path = path_normalize(joined);
	m->b.path = arena_strdup(m->b.arena, path);
	m->b.store = store ? arena_strdup(m->b.arena, store) : NULL;
	m->b.manifest = arena_strdup(m->b.arena, im->digest);
	m->made_dir = mkdir(path, 0700) == 0;
	if (!m->made_dir && errno != EEXIST)
		return err_errno(e, errno, "mkdir %s", path);
	m->dirfd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->dirfd < 0)
		return err_errno(e, errno, "open %s", path);
	if ((r = check_place(m, e)) < 0 || (r = take_lock(m, e)) < 0 || (r = claim(m, e)) < 0 ||
	    (r = random_id(m, e)) < 0)
		return r;
	/* A root filesystem has set-uid programs that are not the host's. */
	if (fchmod(m->dirfd, 0700) < 0)
		return err_errno(e, errno, "chmod %s", path);
	return bundle_record_write(m->dirfd, &m->b, e);
}

static void undo(struct making *m)
{
	struct err ignored = ERR_INIT; /* the next run makes it anew */
	bool other;

	if (!m->b.id || walk(m->dirfd, m->b.path, true, &other, &ignored) < 0)
		return;
	(void)unlinkat(m->dirfd, BUNDLE_FILE, 0);
	(void)unlinkat(m->dirfd, LOCK_FILE, 0);
	if (m->made_dir)
		(void)rmdir(m->b.path);
}

/* ---- references ---- */

static int ref_name(const char *path, struct digest *ret, struct err *e)
{
	return digest_of(DIGEST_SHA256, path, strlen(path), ret, e);
}

static int put_ref(struct store *s, const struct bundle_info *b, struct err *e)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);
	struct digest d;
	const char *text;
	size_t n;
	int r = ref_name(b->path, &d, e);

	if (r < 0)
		return r;
	json_gen_map(g);
	json_gen_kstr(g, "path", b->path);
	json_gen_kstr(g, "id", b->id);
	json_gen_end(g);
	text = json_gen_text(g, &n);
	r = file_replace(s->refsfd, digest_hex(&d), text, n, 0600, true, e);
	return r < 0 ? err_wrap(e, "store %s: refs", s->path) : 0;
}

/* What stays of it does no harm: the sweep finds that its bundle is gone. */
static void drop_ref(const struct bundle_info *b)
{
	_cleanup_close_ int fd = -EBADF;
	_cleanup_free_ char *refs = NULL;
	struct err ignored = ERR_INIT;
	struct digest d;

	if (!b->store || ref_name(b->path, &d, &ignored) < 0)
		return;
	refs = xasprintf("%s/refs", b->store);
	fd = open(refs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0)
		(void)unlinkat(fd, digest_hex(&d), 0);
}

/* ---- the two kinds ---- */

static int fill_overlay(struct making *m, struct store *s, const struct image *im,
    const struct image_run *run, image_mount_fn *mount, struct err *e)
{
	int r;

	if ((r = bundle_overlay_dirs(s, im, m->dirfd, &m->b, e)) < 0 ||
	    (r = bundle_record_write(m->dirfd, &m->b, e)) < 0 || (r = put_ref(s, &m->b, e)) < 0)
		return r;
	return bundle_config(im, run, m->dirfd, &m->b.overlay, -EBADF, mount, e);
}

int bundle_make(struct store *s, const struct image *im, const struct image_run *run,
    const char *dir, image_mount_fn *mount, struct bundle_info *ret, struct err *e)
{
	_cleanup_(making_free) struct making m = { .dirfd = -EBADF, .lockfd = -EBADF };
	int r = begin(&m, dir, s->path, im, e);

	if (r == 0)
		r = fill_overlay(&m, s, im, run, mount, e);
	if (r < 0) {
		undo(&m);
		return r;
	}
	*ret = m.b;
	m.b = (struct bundle_info){ 0 };
	return 0;
}

int bundle_complete(const struct bundle_info *b, struct err *e)
{
	struct bundle_info complete = *b;
	_cleanup_close_ int fd = open(b->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_errno(e, errno, "open %s", b->path);
	complete.complete = true;
	return bundle_record_write(fd, &complete, e);
}

static int apply_layers(struct making *m, struct image_source *src, const struct image *im,
    const struct store_opts *o, const struct image_progress *p, int *ret_rootfs, struct err *e)
{
	_cleanup_close_ int rootfs = -EBADF;
	struct unpack_opts opts;

	if (mkdirat(m->dirfd, "rootfs", 0755) < 0)
		return err_errno(e, errno, "mkdir %s/rootfs", m->b.path);
	rootfs = openat(m->dirfd, "rootfs", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (rootfs < 0 || fchmod(rootfs, 0755) < 0)
		return err_errno(e, errno, "open %s/rootfs", m->b.path);
	unpack_opts_of(o, &opts);
	opts.mode = UNPACK_FLAT;
	for (size_t i = 0; i < im->n_layers; i++) {
		const struct image_event done = { IMAGE_LAYER_DONE, i, im->layers[i].size };
		int r = image_unpack_layer(src, im, i, rootfs, &opts, e);

		if (r < 0)
			return r;
		if (p)
			p->fn(p->ctx, im, &done);
	}
	*ret_rootfs = steal_fd(&rootfs);
	return 0;
}

static int fill_flat(struct making *m, struct image_source *src, const struct image *im,
    const struct image_run *run, const struct store_opts *o, const struct image_progress *p,
    struct err *e)
{
	_cleanup_close_ int rootfs = -EBADF;
	int r = apply_layers(m, src, im, o, p, &rootfs, e);

	if (r == 0)
		r = bundle_config(im, run, m->dirfd, NULL, rootfs, NULL, e);
	if (r == 0 && syncfs(m->dirfd) < 0)
		r = err_errno(e, errno, "sync %s", m->b.path);
	return r < 0 ? r : bundle_complete(&m->b, e);
}

int bundle_make_flat(struct image_source *src, const struct image *im, const struct image_run *run,
    const struct store_opts *o, const char *dir, const struct image_progress *p, struct err *e)
{
	_cleanup_(making_free) struct making m = { .dirfd = -EBADF, .lockfd = -EBADF };
	int r = begin(&m, dir, NULL, im, e);

	if (r == 0)
		r = fill_flat(&m, src, im, run, o, p, e);
	if (r < 0)
		undo(&m);
	return r;
}

int bundle_remove(const struct bundle_info *b, struct err *e)
{
	_cleanup_close_ int fd = open(b->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool other;
	int r;

	if (fd < 0)
		return err_errno(e, errno, "open %s", b->path);
	r = walk(fd, b->path, true, &other, e);
	if (r < 0)
		return r;
	(void)unlinkat(fd, LOCK_FILE, 0);
	if (unlinkat(fd, BUNDLE_FILE, 0) < 0 && errno != ENOENT)
		return err_errno(e, errno, "remove %s/" BUNDLE_FILE, b->path);
	drop_ref(b);
	if (!other && rmdir(b->path) < 0 && errno != ENOENT)
		return err_errno(e, errno, "rmdir %s", b->path);
	return 0;
}
