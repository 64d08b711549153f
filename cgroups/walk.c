/* Going through a cgroup and those below it. */
#include <fcntl.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "cgroups/internal.h"

/* One level of the way down: the sub-cgroups' names, the next to go into, and what we are called in
 * our parent. */
struct level {
	char **names;
	size_t next;
};
struct way {
	struct level *v;
	size_t n, cap;
	int fd; /* of the deepest level */
};

static void way_free(struct way *w)
{
	for (size_t i = 0; i < w->n; i++)
		strv_free(w->v[i].names);
	free(w->v);
	closep(&w->fd);
}

static int read_names(int fd, char ***ret)
{
	_cleanup_close_ int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = copy < 0 ? NULL : fdopendir(copy);
	_cleanup_strv_ char **names = NULL;

	if (!d)
		return -errno;
	steal_fd(&copy);
	for (;;) {
		struct dirent *de;

		errno = 0;
		de = readdir(d);
		if (!de)
			break;
		if (de->d_type == DT_DIR && !streq(de->d_name, ".") && !streq(de->d_name, ".."))
			strv_push(&names, xstrdup(de->d_name));
	}
	if (errno)
		return -errno;
	*ret = steal_ptr(names);
	return 0;
}

/* Takes fd. */
static int push(struct way *w, int fd)
{
	closep(&w->fd);
	w->fd = fd;
	if (w->n == w->cap) {
		w->cap = w->cap ? w->cap * 2 : 8;
		w->v = xrealloc(w->v, w->cap * sizeof(*w->v));
	}
	w->v[w->n] = (struct level){ 0 };
	return read_names(fd, &w->v[w->n++].names);
}

/* cgroup2 has no rename, so ".." is where we came from. */
static int pop(struct way *w)
{
	int up = openat(w->fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (up < 0)
		return -errno;
	closep(&w->fd);
	w->fd = up;
	strv_free(w->v[--w->n].names);
	return 0;
}

/* enter: on the way down, of every cgroup, dirfd's own included; NULL: none. remove_: rmdir on the
 * way up, of all but dirfd's own. A cgroup that vanishes meanwhile is not there to be visited. */
static int walk(int dirfd, int (*enter)(int fd, void *arg), void *arg, bool remove_)
{
	_cleanup_(way_free) struct way w = { .fd = -EBADF };
	int r, fd = openat(dirfd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	r = push(&w, fd);
	if (r == 0 && enter)
		r = enter(fd, arg);
	while (r == 0 && w.n) {
		struct level *l = &w.v[w.n - 1];
		const char *name = l->names ? l->names[l->next] : NULL;

		if (name) {
			l->next++;
			fd = openat(w.fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
			if (fd < 0 && errno == ENOENT)
				continue;
			r = fd < 0 ? -errno : push(&w, fd);
			if (r == 0 && enter)
				r = enter(fd, arg);
			continue;
		}
		if (w.n == 1)
			break;
		r = pop(&w);
		if (r < 0 || !remove_)
			continue;
		l = &w.v[w.n - 1];
		if (unlinkat(w.fd, l->names[l->next - 1], AT_REMOVEDIR) < 0 && errno != ENOENT)
			r = -errno;
	}
	return r;
}

int cg_walk(int dirfd, int (*visit)(int fd, void *arg), void *arg)
{
	return walk(dirfd, visit, arg, false);
}

int cg_remove_children(int dirfd)
{
	return walk(dirfd, NULL, NULL, true);
}

/* ---- processes ---- */

int cg_read_pids(int fd, struct cg_pidv *v)
{
	_cleanup_free_ char *text = NULL;
	char *save = NULL;
	int r = kfile_read(fd, "cgroup.procs", &text);

	if (r < 0)
		return r;
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		int32_t pid;

		r = parse_i32(l, &pid);
		if (r < 0)
			return r;
		if (!pid) /* lives outside the caller's pid namespace */
			continue;
		if (v->n == v->cap) {
			v->cap = v->cap ? v->cap * 2 : 64;
			v->v = xrealloc(v->v, v->cap * sizeof(*v->v));
		}
		v->v[v->n++] = pid;
	}
	return 0;
}

static int collect(int fd, void *arg)
{
	int r = cg_read_pids(fd, arg);

	/* The processes of threaded cgroups are all listed by the domain above them. */
	return r == -EOPNOTSUPP || r == -ENODEV ? 0 : r;
}

int cgroup_pids(const struct cgroup *c, pid_t **ret, size_t *ret_n, struct err *e)
{
	struct cg_pidv v = { 0 };
	char name[CG_NAME_MAX];
	int r = cg_require(c, e);

	if (r < 0)
		return r;
	r = cg_walk(c->dirfd, collect, &v);
	if (r < 0) {
		free(v.v);
		return err_errno(e, -r, "list the processes of cgroup %s", cg_name(c->dirfd, name));
	}
	*ret = v.v ? v.v : xcalloc(1, sizeof(pid_t));
	*ret_n = v.n;
	return 0;
}
