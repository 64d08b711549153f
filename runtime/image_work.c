#include "runtime/image_work.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

/* The child's last word. */
struct answer {
	int ret;
	struct err e;
	char text[sizeof(((struct image_result *)0)->text)];
};

struct job {
	const struct image_ids *ids;
	image_work_fn *fn;
	void *ctx;
	int sock;
	pid_t parent;
};

/* ---- the child ---- */

static struct unpack_idmap *inside_of(const struct spec_id_maps *m)
{
	struct unpack_idmap *v = xcalloc(m->n + 1, sizeof(*v));

	for (size_t i = 0; i < m->n; i++)
		v[i] = (struct unpack_idmap){ m->v[i].container_id, m->v[i].container_id,
			m->v[i].size };
	return v;
}

/* Tells the parent that the namespace is there, and waits for its maps. */
static int enter_namespaces(const struct job *j, struct err *e)
{
	char c = 0;

	if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return err_errno(e, errno, "make a user namespace%s",
		    errno == EPERM || errno == ENOSPC ? " (are unprivileged ones allowed? see "
							"/proc/sys/user/max_user_namespaces)"
						      : "");
	if (send(j->sock, &c, 1, MSG_NOSIGNAL) != 1)
		return err_errno(e, errno, "tell of the user namespace");
	if (recv(j->sock, &c, 1, 0) != 1)
		return err_set(e, ECANCELED, "no mappings came");
	return userns_become_root(e);
}

/* A pull holds three descriptors for each layer that is missing. */
static void many_files(void)
{
	struct rlimit l;

	if (getrlimit(RLIMIT_NOFILE, &l) < 0 || l.rlim_cur == l.rlim_max)
		return;
	l.rlim_cur = l.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &l) < 0)
		log_debug("setrlimit RLIMIT_NOFILE: %s", strerror(errno));
}

static int work(const struct job *j, struct image_result *res, struct err *e)
{
	struct store_opts o = { .rootless = j->ids->rootless, .userns = j->ids->rootless };
	int r = j->ids->rootless ? enter_namespaces(j, e) : 0;

	if (r < 0)
		return r;
	/* Only now: a change of the user clears it. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return err_errno(e, errno, "prctl PR_SET_PDEATHSIG");
	if (getppid() != j->parent)
		return err_set(e, ECANCELED, "the parent is gone");
	o.uids = inside_of(&j->ids->uids); /* until the process ends */
	o.gids = inside_of(&j->ids->gids);
	o.n_uids = j->ids->uids.n;
	o.n_gids = j->ids->gids.n;
	return j->fn(j->ctx, &o, res, e);
}

static _Noreturn void child(const struct job *j)
{
	struct image_result res = { .fd = -EBADF };
	struct answer a = { 0 };

	signal(SIGINT, SIG_DFL);
	signal(SIGTERM, SIG_DFL);
	many_files();
	a.ret = work(j, &res, &a.e);
	memcpy(a.text, res.text, sizeof(a.text));
	if (fflush(stdout) < 0 && a.ret >= 0)
		a.ret = err_errno(&a.e, errno, "write standard output");
	(void)sock_send_fds(j->sock, &a, sizeof(a), &res.fd, res.fd >= 0);
	_exit(0);
}

/* ---- the parent ---- */

static int map_child(const struct job *j, pid_t pid, struct err *e)
{
	ssize_t n;
	char c;

	while ((n = recv(j->sock, &c, 1, MSG_PEEK | MSG_TRUNC)) < 0 && errno == EINTR)
		;
	if (n != 1) /* it failed before: this is its answer */
		return 0;
	(void)recv(j->sock, &c, 1, 0);
	if (userns_write_maps(pid, &j->ids->uids, &j->ids->gids, e) < 0)
		return -e->code;
	if (send(j->sock, &c, 1, MSG_NOSIGNAL) != 1)
		return err_errno(e, errno, "tell of the mappings");
	return 0;
}

static int take_answer(const struct job *j, struct image_result *ret, struct err *e)
{
	struct answer a;
	int fd = -EBADF;
	size_t n_fds = 1;
	ssize_t n = sock_recv_fds(j->sock, &a, sizeof(a), &fd, &n_fds);

	if (n != sizeof(a)) {
		if (n_fds == 1)
			closep(&fd);
		return err_set(e, ECANCELED, "the process that works with images was killed");
	}
	if (a.ret < 0) {
		*e = a.e;
		return a.ret;
	}
	memcpy(ret->text, a.text, sizeof(ret->text));
	ret->fd = n_fds == 1 ? fd : -EBADF;
	return a.ret;
}

int image_work(const struct image_ids *ids, image_work_fn *fn, void *ctx, struct image_result *ret,
    struct err *e)
{
	struct job j = { .ids = ids, .fn = fn, .ctx = ctx, .parent = getpid() };
	_cleanup_close_ int ours = -EBADF;
	int r, sv[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
		return err_errno(e, errno, "socketpair");
	ours = sv[0];
	(void)fflush(stdout);
	pid = fork();
	if (pid < 0) {
		err_errno(e, errno, "fork");
		close(sv[1]);
		return -e->code;
	}
	if (pid == 0) {
		close(sv[0]);
		j.sock = sv[1];
		child(&j);
	}
	close(sv[1]);
	j.sock = ours;
	r = ids->rootless ? map_child(&j, pid, e) : 0;
	if (r == 0)
		r = take_answer(&j, ret, e);
	else
		(void)kill(pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return r;
}

/* ---- what the verbs do in it ---- */

int image_mount(const struct image_overlay *o, struct err *e)
{
	const struct overlay ov = {
		.lowers = o->lowers.v,
		.upper = o->upper,
		.work = o->work,
		.userxattr = o->userxattr,
	};

	return overlay_open(&ov, e);
}

int image_store_open(
    const char *path, const struct store_opts *o, struct store **ret, struct err *e)
{
	_cleanup_free_ char *fallback = NULL;
	int r = path ? 0 : store_default_path(o->rootless, &fallback, e);

	return r < 0 ? r : store_open(path ? path : fallback, o, ret, e);
}

static int want_platform(
    struct arena *a, const char *text, struct image_platform *ret, struct err *e)
{
	int r;

	if (!text) {
		image_platform_host(ret);
		return 0;
	}
	r = image_platform_parse(a, text, ret, e);
	return r < 0 ? err_wrap(e, "--platform") : 0;
}

int image_obtain(struct store *s, const struct image_want *w, struct image **ret, struct err *e)
{
	_cleanup_image_source_ struct image_source *src = NULL;
	_cleanup_arena_ struct arena *a = arena_new();
	const char *stored = startswith(w->source, "store:");
	struct image_platform platform;
	struct image *im;
	int r = want_platform(a, w->platform, &platform, e);

	if (r < 0)
		return r;
	if (stored)
		return store_find(s, stored, ret, e);
	r = image_source_open(w->source, w->remote, &src, e);
	if (r < 0)
		return r;
	if ((r = image_resolve(src, &platform, &im, e)) < 0)
		return r;
	r = store_pull(s, src, im, im->name, w->progress, e);
	if (r < 0)
		image_free(im);
	else
		*ret = im;
	return r;
}

/* ---- the end of a bundle ---- */

static int remove_bundle(
    void *ctx, const struct store_opts *o, struct image_result *ret, struct err *e)
{
	return bundle_remove_stored(ctx, e);
}

int image_bundle_remove(const char *path, struct err *e)
{
	_cleanup_image_ids_ struct image_ids ids = { 0 };
	struct image_result res;
	int r = image_ids(&ids, e);

	if (r < 0)
		return r;
	if (!ids.rootless) /* nothing that threads or other ids are needed for */
		return bundle_remove_stored(path, e);
	return image_work(&ids, remove_bundle, (void *)path, &res, e);
}
