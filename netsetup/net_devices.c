/*
 * linux.netDevices: host interfaces that become the container's.
 *
 * An interface changes namespace and name in one request. The kernel moves it first and renames it
 * then, so a refused name leaves it moved: the name is checked before, and what was lost to a race
 * is looked for under its old name. The move flushes the addresses, which are read before and added
 * again; then the interface is set up. When one fails, it and those that moved before go back.
 */
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "netsetup/link.h"
#include "netsetup/netsetup.h"

#define TEMPLATE_MAX 4096

struct moved {
	const struct spec_net_device *dev;
	uint32_t index, flags; /* in the host's namespace, before */
	char name[IFNAMSIZ];   /* in the container */
	uint32_t inner_index;  /* there; 0: not moved */
	struct addr_list addrs;
};

struct transfer {
	struct rtnl host, inner;
	int host_fd, inner_fd;
	struct moved *v;
	size_t n;
};

static void transfer_close(struct transfer *t)
{
	for (size_t i = 0; i < t->n; i++)
		addr_list_free(&t->v[i].addrs);
	free(t->v);
	rtnl_close(&t->host);
	rtnl_close(&t->inner);
	closep(&t->host_fd);
}

/* A socket in the container's namespace. A socket keeps the namespace it was made in, so the
 * process is there for two calls only. */
static int open_inner(struct transfer *t, struct err *e)
{
	int r;

	if (setns(t->inner_fd, CLONE_NEWNET) < 0)
		return err_errno(e, errno, "enter the container's network namespace");
	r = rtnl_open(&t->inner, e);
	if (setns(t->host_fd, CLONE_NEWNET) < 0) {
		/* Nothing that follows may happen in the wrong namespace. */
		log_error("return from the container's network namespace: %s", strerror(errno));
		abort();
	}
	return r;
}

static int open_both(struct transfer *t, struct err *e)
{
	struct stat a, b;
	int r;

	t->host_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (t->host_fd < 0)
		return err_errno(e, errno, "open /proc/self/ns/net");
	if (fstat(t->host_fd, &a) < 0 || fstat(t->inner_fd, &b) < 0)
		return err_errno(e, errno, "stat the network namespaces");
	if (a.st_dev == b.st_dev && a.st_ino == b.st_ino)
		return err_set(e, EINVAL,
		    "config.json: .linux.netDevices: needs a network namespace that is not the "
		    "host's");
	r = mnl_load(e);
	if (r < 0)
		return r;
	r = rtnl_open(&t->host, e);
	return r < 0 ? r : open_inner(t, e);
}

/* As the kernel's dev_valid_name(). */
static bool is_interface_name(const char *s)
{
	return *s && strlen(s) < IFNAMSIZ && !streq(s, ".") && !streq(s, "..") &&
	       !s[strcspn(s, "/: \t\n\v\f\r\xa0")];
}

/* Is name free in the container? Then it is m's. Else -EEXIST. */
static int take_name(struct transfer *t, struct moved *m, const char *name)
{
	struct link other;
	int r;

	if (!is_interface_name(name))
		return -EINVAL;
	r = link_find(&t->inner, name, &other);
	if (r != -ENODEV)
		return r < 0 ? r : -EEXIST;
	snprintf(m->name, sizeof(m->name), "%s", name);
	return 0;
}

/* Chooses the name in the container: the configured one, or the first free one of a template with
 * "%d". */
static int choose_name(struct transfer *t, struct moved *m)
{
	const char *want = m->dev->name, *percent = strchr(want, '%');
	int r = -EEXIST;

	if (!percent)
		return take_name(t, m, want);
	if (percent[1] != 'd' || strchr(percent + 1, '%'))
		return -EINVAL;
	for (unsigned i = 0; i < TEMPLATE_MAX && r == -EEXIST; i++) {
		_cleanup_free_ char *name =
		    xasprintf("%.*s%u%s", (int)(percent - want), want, i, percent + 2);

		r = take_name(t, m, name);
	}
	return r;
}

static int read_state(struct transfer *t, struct moved *m, struct err *e)
{
	struct link l;
	int r = link_find(&t->host, m->dev->host_name, &l);

	if (r == -ENODEV || r == -EINVAL)
		return err_set(e, ENODEV, "the host has no such interface");
	if (r < 0)
		return err_errno(e, -r, "look it up");
	m->index = l.index;
	m->flags = l.flags;
	r = addr_list_read(&t->host, l.index, &m->addrs);
	if (r < 0)
		return err_errno(e, -r, "read its addresses");
	r = choose_name(t, m);
	if (r == -EINVAL)
		return err_set(e, EINVAL, ".name: \"%s\" is no interface name", m->dev->name);
	if (r == -EEXIST)
		return err_set(e, EEXIST,
		    ".name: the container's network namespace has an interface \"%s\" already",
		    m->dev->name);
	if (r < 0)
		return err_errno(e, -r, "choose its name by \"%s\"", m->dev->name);
	return 0;
}

static int add_addresses(struct rtnl *r, uint32_t index, const struct addr_list *addrs)
{
	for (size_t i = 0; i < addrs->n; i++) {
		int rc = addr_add(r, index, &addrs->v[i]);

		if (rc < 0)
			return rc;
	}
	return 0;
}

static int move_one(struct transfer *t, struct moved *m, struct err *e)
{
	struct link l;
	int r = read_state(t, m, e);

	if (r < 0)
		return r;
	r = link_move(&t->host, m->index, t->inner_fd, m->name);
	if (r < 0) {
		/* Moved, but not renamed? Then the undoing has to know. */
		if (link_find(&t->host, m->dev->host_name, &l) == -ENODEV &&
		    link_find(&t->inner, m->dev->host_name, &l) == 0)
			m->inner_index = l.index;
		if (r == -EINVAL)
			return err_set(e, EINVAL,
			    "cannot be moved: it is bound to its namespace (as loopback, bridges "
			    "and some tunnels are)");
		return err_errno(
		    e, -r, "move to the container's network namespace as \"%s\"", m->name);
	}
	r = link_find(&t->inner, m->name, &l);
	if (r < 0)
		return err_errno(e, -r, "find \"%s\" in the container", m->name);
	m->inner_index = l.index;
	r = add_addresses(&t->inner, l.index, &m->addrs);
	if (r < 0)
		return err_errno(e, -r, "add its addresses in the container");
	r = link_set_up(&t->inner, l.index);
	if (r < 0)
		return err_errno(e, -r, "set it up in the container");
	log_debug("interface %s is the container's %s, with %zu addresses", m->dev->host_name,
	    m->name, m->addrs.n);
	return 0;
}

/* Back to how it was. What fails here is only told: the first error is the one to report. */
static void move_back(struct transfer *t, struct moved *m)
{
	struct link l;
	int r;

	if (m->inner_index == 0)
		return;
	r = link_move(&t->inner, m->inner_index, t->host_fd, m->dev->host_name);
	if (r == 0)
		r = link_find(&t->host, m->dev->host_name, &l);
	if (r == 0)
		r = add_addresses(&t->host, l.index, &m->addrs);
	if (r == 0 && (m->flags & IFF_UP))
		r = link_set_up(&t->host, l.index);
	if (r < 0)
		log_warning(
		    "interface %s: return it to the host: %s", m->dev->host_name, strerror(-r));
}

int net_move_devices(const struct spec *s, int netns_fd, struct err *e)
{
	_cleanup_(transfer_close) struct transfer t = { .host_fd = -EBADF, .inner_fd = netns_fd };
	int r;

	if (s->net_devices.n == 0)
		return 0;
	r = open_both(&t, e);
	if (r < 0)
		return r;
	t.n = s->net_devices.n;
	t.v = xcalloc(t.n, sizeof(*t.v));
	for (size_t i = 0; i < t.n; i++) {
		t.v[i].dev = &s->net_devices.v[i];
		if (move_one(&t, &t.v[i], e) < 0) {
			err_wrap(e, "config.json: .linux.netDevices.%s", t.v[i].dev->host_name);
			goto undo;
		}
	}
	return 0;
undo:
	for (size_t i = t.n; i-- > 0;)
		move_back(&t, &t.v[i]);
	return -e->code;
}
