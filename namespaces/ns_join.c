/* Namespaces to join: opened and checked while still outside, entered later by descriptor. */
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "namespaces/namespaces.h"

static void ns_set_init(struct ns_set *n)
{
	for (int t = 0; t < NS_TYPES; t++)
		n->fds[t] = -EBADF;
	n->new_flags = 0;
}

void ns_set_close(struct ns_set *n)
{
	for (int t = 0; t < NS_TYPES; t++) {
		closep(&n->fds[t]);
		n->fds[t] = -EBADF;
	}
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Is fd the caller's own namespace of type t? */
static int is_own(int fd, enum spec_ns_type t, bool *ret)
{
	char path[32];
	struct stat own, other;

	snprintf(path, sizeof(path), "/proc/self/ns/%s", spec_ns_proc_name(t));
	if (stat(path, &own) < 0 || fstat(fd, &other) < 0)
		return -errno;
	*ret = same_file(&own, &other);
	return 0;
}

static int open_path(enum spec_ns_type t, const char *path, int *ret, struct err *e)
{
	/* O_NONBLOCK: a fifo at that path must not hang the runtime. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	const char *name = spec_ns_name(t);
	struct statfs sfs;
	int type;

	if (fd < 0)
		return err_errno(
		    e, errno, "config.json: .linux.namespaces (%s).path: open %s", name, path);
	if (fstatfs(fd, &sfs) < 0)
		return err_errno(e, errno, "statfs %s", path);
	type = sfs.f_type == NSFS_MAGIC ? ioctl(fd, NS_GET_NSTYPE) : -1;
	if (type < 0)
		return err_set(e, EINVAL,
		    "config.json: .linux.namespaces (%s).path: %s is not a namespace file", name,
		    path);
	if (type != spec_ns_clone_flag(t)) {
		const char *is = "unknown";
		for (int i = 0; i < NS_TYPES; i++)
			if (spec_ns_clone_flag(i) == type)
				is = spec_ns_name(i);
		return err_set(e, EINVAL,
		    "config.json: .linux.namespaces (%s).path: %s is a %s namespace", name, path,
		    is);
	}
	*ret = steal_fd(&fd);
	return 0;
}

int ns_open(const struct spec *s, struct ns_set *ret, struct err *e)
{
	_cleanup_ns_set_ struct ns_set n;
	int r;

	ns_set_init(ret);
	ns_set_init(&n);
	for (int t = 0; t < NS_TYPES; t++) {
		bool own = false;

		if (!s->ns[t].has)
			continue;
		if (!s->ns[t].path) {
			n.new_flags |= (unsigned)spec_ns_clone_flag(t);
			continue;
		}
		r = open_path(t, s->ns[t].path, &n.fds[t], e);
		if (r < 0)
			return r;
		/* setns(2) refuses to enter the user namespace one is in. */
		if (t == NS_USER) {
			r = is_own(n.fds[t], t, &own);
			if (r < 0)
				return err_errno(
				    e, -r, "compare %s with the own user namespace", s->ns[t].path);
			if (own) {
				log_debug("%s is the caller's user namespace: nothing to join",
				    s->ns[t].path);
				close(steal_fd(&n.fds[t]));
			}
		}
	}
	*ret = n;
	ns_set_init(&n);
	return 0;
}

int ns_join(const struct ns_set *n, unsigned mask, struct err *e)
{
	for (int t = 0; t < NS_TYPES; t++) {
		if (!(mask & (1U << t)) || n->fds[t] < 0)
			continue;
		if (setns(n->fds[t], spec_ns_clone_flag(t)) < 0)
			return err_errno(e, errno, "join the %s namespace", spec_ns_name(t));
		log_debug("joined the %s namespace", spec_ns_name(t));
	}
	return 0;
}

int ns_open_process(int procpidfd, struct ns_set *ret, struct err *e)
{
	_cleanup_ns_set_ struct ns_set n;

	ns_set_init(ret);
	ns_set_init(&n);
	for (int t = 0; t < NS_TYPES; t++) {
		/* The namespace the process is in; pid_for_children and time_for_children are
		 * where it would put its children, which it may have changed. */
		char path[16], own_path[32];
		bool own = false;
		int r;

		snprintf(path, sizeof(path), "ns/%s", spec_ns_proc_name(t));
		snprintf(own_path, sizeof(own_path), "/proc/self/%s", path);
		n.fds[t] = openat(procpidfd, path, O_RDONLY | O_CLOEXEC);
		if (n.fds[t] < 0) {
			/* A kernel without this kind has it neither here nor there; else the
			 * process is gone. */
			if (errno == ENOENT && access(own_path, F_OK) < 0 && errno == ENOENT)
				continue;
			if (errno == ENOENT || errno == ESRCH)
				return err_set(e, ESRCH,
				    "open the %s namespace of the container's process: it is gone",
				    spec_ns_name(t));
			return err_errno(e, errno,
			    "open the %s namespace of the container's process", spec_ns_name(t));
		}
		r = is_own(n.fds[t], t, &own);
		if (r < 0)
			return err_errno(e, -r, "compare with %s", own_path);
		if (own)
			close(steal_fd(&n.fds[t]));
	}
	*ret = n;
	ns_set_init(&n);
	return 0;
}
