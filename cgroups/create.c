/*
 * Making a container's cgroup.
 *
 * Without limits that is one mkdir and one open. With limits the path is walked down from the
 * mount, and each ancestor hands on the controllers that are needed and that it does not hand on
 * yet: whoever owns the ancestors (systemd, a delegating user) has often done so, and a delegated
 * caller may not write there.
 */
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/log.h"
#include "cgroups/internal.h"

#define OPEN_DIR (O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

/* ---- controllers ---- */

int cg_missing_controller(int dirfd, const struct cg_write *w, struct err *e)
{
	char name[CG_NAME_MAX];

	return err_set(e, ENOENT,
	    "%s controller is not available in %s/cgroup.controllers: %s cannot be set",
	    w->controller, cg_name(dirfd, name), w->json);
}

static int enable_failed(int fd, int code, const char *words, struct err *e)
{
	char name[CG_NAME_MAX];
	const char *why;

	cg_name(fd, name);
	switch (code) {
	case EBUSY:
		why = "the cgroup itself holds processes; move them into a child cgroup, or choose "
		      "another linux.cgroupsPath";
		break;
	case EOPNOTSUPP:
		why = "the cgroup is threaded; choose a linux.cgroupsPath below a domain cgroup";
		break;
	case EACCES:
	case EPERM:
		why = "permission denied; have the controllers delegated to the caller (systemd: "
		      "Delegate=yes)";
		break;
	default:
		return err_errno(
		    e, code, "enable \"%s\" in %s/cgroup.subtree_control", words, name);
	}
	return err_set(
	    e, code, "cannot enable \"%s\" in %s/cgroup.subtree_control: %s", words, name, why);
}

/* Appends "+controller" for each that p needs and that is not in enabled. */
static int missing_words(
    int fd, const struct cg_plan *p, char *const *enabled, struct strbuf *words, struct err *e)
{
	_cleanup_strv_ char **added = NULL;

	for (size_t i = 0; i < p->n; i++) {
		const struct cg_write *w = &p->v[i];
		int r;

		if (!w->controller || w->no_limit || strv_contains(enabled, w->controller) ||
		    strv_contains(added, w->controller))
			continue;
		r = cg_has_word(fd, "cgroup.controllers", w->controller);
		if (r < 0)
			return err_errno(e, -r, "read cgroup.controllers");
		if (!r)
			return cg_missing_controller(fd, w, e);
		strv_push(&added, xstrdup(w->controller));
		strbuf_addf(words, "%s+%s", words->len ? " " : "", w->controller);
	}
	return 0;
}

static int enable(int fd, const struct cg_plan *p, struct err *e)
{
	_cleanup_strbuf_ struct strbuf words = { 0 };
	_cleanup_strv_ char **enabled = NULL;
	_cleanup_free_ char *text = NULL;
	char name[CG_NAME_MAX];
	int r = kfile_read(fd, "cgroup.subtree_control", &text);

	if (r < 0)
		return err_errno(e, -r, "read %s/cgroup.subtree_control", cg_name(fd, name));
	enabled = strv_split(text, ' ');
	r = missing_words(fd, p, enabled, &words, e);
	if (r < 0 || !words.len)
		return r;
	log_debug("%s/cgroup.subtree_control: %s", cg_name(fd, name), words.s);
	r = kfile_write(fd, "cgroup.subtree_control", words.s);
	return r < 0 ? enable_failed(fd, -r, words.s, e) : 0;
}

int cg_enable_above(const char *path, const struct cg_plan *p, struct err *e)
{
	_cleanup_close_ int cur = -EBADF;
	_cleanup_free_ char *copy = xstrdup(path);
	char *save = NULL;

	if (!cg_plan_limits(p))
		return 0;
	cur = cgroup_open_root(e);
	if (cur < 0)
		return cur;
	for (char *name = strtok_r(copy, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
		int next, r = enable(cur, p, e);

		if (r < 0)
			return r;
		next = openat(cur, name, OPEN_DIR);
		if (next < 0)
			return err_errno(e, errno, "open cgroup %s", path);
		closep(&cur);
		cur = next;
	}
	return 0;
}

/* ---- directories ---- */

static int make_failed(int code, const char *path, struct err *e)
{
	return err_errno(e, code, "create cgroup %s", path);
}

/* Component by component. made: length of the path's prefix that is the topmost new directory, 0
 * where all existed; made_leaf: the last one is new. Set also on failure, for the undoing.
 * -EAGAIN, without message: another container's end removed a parent under us. */
static int walk_down(int root, const char *path, const struct cg_plan *p, size_t *made,
    bool *made_leaf, int *ret_fd, struct err *e)
{
	_cleanup_close_ int cur = openat(root, ".", OPEN_DIR);
	_cleanup_free_ char *copy = xstrdup(path);
	char *save = NULL;

	if (cur < 0)
		return err_errno(e, errno, "open the cgroup2 mount");
	for (char *name = strtok_r(copy, "/", &save); name; name = strtok_r(NULL, "/", &save)) {
		int next, r = cg_plan_limits(p) ? enable(cur, p, e) : 0;

		if (r < 0)
			return r;
		*made_leaf = mkdirat(cur, name, 0755) == 0;
		if (!*made_leaf && errno == ENOENT)
			return -EAGAIN;
		if (!*made_leaf && errno != EEXIST)
			return make_failed(errno, path, e);
		if (*made_leaf && !*made)
			*made = (size_t)(name - copy) + strlen(name);
		next = openat(cur, name, OPEN_DIR);
		if (next < 0 && errno == ENOENT)
			return -EAGAIN;
		if (next < 0)
			return err_errno(e, errno, "open cgroup %s", path);
		closep(&cur);
		cur = next;
	}
	*ret_fd = steal_fd(&cur);
	return 0;
}

/* The common case: no controller to enable, all parents there. -ENOENT: they are not. */
static int make_at_once(
    int root, const char *path, size_t *made, bool *made_leaf, int *ret_fd, struct err *e)
{
	int fd;

	*made_leaf = mkdirat(root, path + 1, 0755) == 0;
	if (!*made_leaf && errno == ENOENT)
		return -ENOENT;
	if (!*made_leaf && errno != EEXIST)
		return make_failed(errno, path, e);
	if (*made_leaf)
		*made = strlen(path);
	fd = openat(root, path + 1, OPEN_DIR);
	if (fd < 0)
		return err_errno(e, errno, "open cgroup %s", path);
	*ret_fd = fd;
	return 0;
}

static void remove_made(int root, const char *path, size_t made)
{
	_cleanup_free_ char *p = xstrdup(path);

	while (made && strlen(p) >= made) {
		unlinkat(root, p + 1, AT_REMOVEDIR);
		*strrchr(p, '/') = '\0';
	}
}

/* ---- checks ---- */

static int check_domain(int fd, const char *path, struct err *e)
{
	_cleanup_free_ char *type = NULL;
	int r = kfile_read(fd, "cgroup.type", &type);

	if (r < 0)
		return err_errno(e, -r, "read cgroup.type of %s", path);
	if (streq(type, "domain"))
		return 0;
	return err_set(e, EOPNOTSUPP,
	    "cgroup %s: its type is \"%s\": a container needs a \"domain\" cgroup that is not "
	    "below "
	    "a threaded one",
	    path, type);
}

static int check_unused(int fd, const char *path, struct err *e)
{
	uint64_t populated, frozen;
	int r = cg_read_key(fd, "cgroup.events", "populated", &populated);

	if (r == 0)
		r = cg_read_u64(fd, "cgroup.freeze", &frozen);
	if (r < 0)
		return err_errno(e, -r, "read cgroup.events and cgroup.freeze of %s", path);
	if (populated)
		return err_set(e, EBUSY,
		    "cgroup %s is not empty: it holds processes that are not of this container; "
		    "choose another linux.cgroupsPath",
		    path);
	if (frozen)
		return err_set(e, EBUSY,
		    "cgroup %s is frozen: write 0 to its cgroup.freeze, or remove it", path);
	return 0;
}

static int create_at(
    int root, const char *path, const struct cg_plan *p, struct cgroup *ret, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	bool nested = strchr(path + 1, '/'), made_leaf = false;
	size_t made = 0;
	struct stat st;
	int r = -ENOENT;

	if (!cg_plan_limits(p))
		r = make_at_once(root, path, &made, &made_leaf, &fd, e);
	if (r == -ENOENT && !e->code) {
		r = -EAGAIN;
		for (int i = 0; i < 16 && r == -EAGAIN; i++)
			r = walk_down(root, path, p, &made, &made_leaf, &fd, e);
		if (r == -EAGAIN)
			r = make_failed(ENOENT, path, e);
	}
	/* A new child of the root can be nothing but an unused domain. */
	if (r == 0 && (nested || !made_leaf))
		r = check_domain(fd, path, e);
	if (r == 0 && !made_leaf)
		r = check_unused(fd, path, e);
	if (r == 0 && fstat(fd, &st) < 0)
		r = err_errno(e, errno, "stat cgroup %s", path);
	if (r < 0) {
		remove_made(root, path, made);
		return r;
	}
	*ret = (struct cgroup){
		.dirfd = steal_fd(&fd),
		.path = xstrdup(path),
		.id = st.st_ino,
		.made_from = made ? xasprintf("%.*s", (int)made, path) : NULL,
	};
	return 0;
}

static bool is_denied(int code)
{
	return code == EACCES || code == EPERM || code == EROFS;
}

int cgroup_create(const char *path, const struct spec_resources *r, bool rootless,
    struct cgroup *ret, struct err *e)
{
	_cleanup_plan_ struct cg_plan p = { 0 };
	_cleanup_close_ int root = -EBADF;
	int rc = cg_check_path(path, e);

	if (rc == 0)
		rc = cg_plan(&p, r, -EBADF, e);
	if (rc < 0)
		return rc;
	root = cgroup_open_root(e);
	rc = root < 0 ? root : create_at(root, path, &p, ret, e);
	if (rc == 0 || !rootless || !(root < 0 || is_denied(-rc)))
		return rc;
	if (cg_plan_limits(&p))
		return err_wrap(e, "limits need a cgroup that this rootless caller may make");
	log_debug("no cgroup for the container, which sets no limits: %s", e->msg);
	err_clear(e);
	*ret = (struct cgroup)CGROUP_INIT;
	return 0;
}
