/*
 * Slots: each has a tap, which is a network device of the machine with a MAC address of its own for
 * ever, and maybe an interface that it carries. At first each interface gets a slot whose device
 * has the interface's own MAC address; the spares have random ones, and the guest gives its
 * interface the carried one's. Interfaces are told apart by index: names and addresses may change.
 */
#include "netsetup/carry.h"

#include <net/if.h>
#include <net/if_arp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "netsetup/link.h"
#include "netsetup/rtnl.h"
#include "netsetup/tap.h"
#include "netsetup/view.h"

#define GROUPS                                                                  \
	(RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR | \
	    RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE)
#define MTU_MAX 65521u /* of a tap: 65535 less an Ethernet header */

struct slot {
	int tap;
	uint32_t tap_index;
	uint8_t mac[6];	     /* the device's */
	uint16_t mtu;	     /* the most that the device will see */
	uint32_t index;	     /* of the interface that is carried; 0: free */
	char name[IFNAMSIZ]; /* the interface's when last seen */
};

/* An interface that was left out, as it was then. */
struct refused {
	uint32_t index, flags, mtu;
	char name[IFNAMSIZ];
};

struct carry {
	struct rtnl rtnl, events;
	int tun;
	struct slot v[CARRY_MAX];
	unsigned n;
	struct refused *refused;
	size_t n_refused;
	unsigned left_out;
	bool opened; /* from then on an interface that cannot be carried is left out */
	char *json;
};

void carry_close(struct carry *c)
{
	if (!c)
		return;
	for (unsigned i = 0; i < c->n; i++) {
		if (c->v[i].index)
			redirect_end(&c->rtnl, c->v[i].index);
		closep(&c->v[i].tap);
	}
	rtnl_close(&c->rtnl);
	rtnl_close(&c->events);
	free(c->refused);
	free(c->json);
	free(c);
}

/* ---- slots ---- */

static void tap_name(const char *interface, uint32_t index, char ret[IFNAMSIZ])
{
	if (strlen(TAP_PREFIX) + strlen(interface) < IFNAMSIZ)
		snprintf(ret, IFNAMSIZ, TAP_PREFIX "%.12s", interface);
	else
		snprintf(ret, IFNAMSIZ, TAP_PREFIX "if%u", index % 10000000);
}

static int slot_add(struct carry *c, const char *name, uint16_t mtu, struct err *e)
{
	struct slot *s = &c->v[c->n];
	struct link l;
	int r;

	if (c->n == CARRY_MAX)
		return err_set(e, E2BIG, "network: more than %d interfaces", CARRY_MAX);
	r = tap_open(c->tun, name, e);
	if (r == -EBUSY) {
		*e = (struct err)ERR_INIT;
		return err_set(e, EBUSY,
		    "network: %s exists: another virtual machine has this network namespace, and "
		    "only "
		    "one can have its interfaces: give this container a network of its own, or, "
		    "where "
		    "the other is a pod's infra container, make the pod with isolation level "
		    "namespace",
		    name);
	}
	if (r < 0)
		return r;
	*s = (struct slot){ .tap = r, .mtu = mtu };
	c->n++;
	r = link_find(&c->rtnl, name, &l);
	if (r < 0)
		return err_errno(e, -r, "network: find %s", name);
	s->tap_index = l.index;
	return 0;
}

/* Free slots are named by their number until an interface gives them a name. */
static void spare_name(unsigned i, char ret[IFNAMSIZ])
{
	snprintf(ret, IFNAMSIZ, TAP_PREFIX "spare%u", i);
}

static int spare_add(struct carry *c, struct err *e)
{
	char name[IFNAMSIZ];
	uint8_t *mac;
	int r;

	spare_name(c->n, name);
	r = slot_add(c, name, MTU_MAX, e);
	if (r < 0)
		return r;
	mac = c->v[c->n - 1].mac;
	if (getrandom(mac, 6, 0) != 6)
		return err_errno(e, errno, "network: a random MAC address");
	mac[0] = (uint8_t)((mac[0] & ~1u) | 2); /* unicast, local */
	r = tap_set(&c->rtnl, c->v[c->n - 1].tap_index, NULL, 0);
	return r < 0 ? err_errno(e, -r, "network: set %s up", name) : 0;
}

static struct slot *slot_of(struct carry *c, uint32_t index)
{
	for (unsigned i = 0; i < c->n; i++)
		if (c->v[i].index == index)
			return &c->v[i];
	return NULL;
}

static void slot_free(struct carry *c, struct slot *s)
{
	char name[IFNAMSIZ];

	s->index = 0;
	spare_name((unsigned)(s - c->v), name);
	redirect_end(&c->rtnl, s->tap_index);
	tap_set(&c->rtnl, s->tap_index, name, 0);
}

static int slot_attach(struct carry *c, struct slot *s, const struct view_if *n, struct err *e)
{
	char name[IFNAMSIZ];
	int r;

	tap_name(n->name, n->index, name);
	r = tap_set(&c->rtnl, s->tap_index, name, n->mtu);
	if (r < 0)
		return err_errno(
		    e, -r, "network: set up %s with MTU %u for \"%s\"", name, n->mtu, n->name);
	r = redirect_both(&c->rtnl, n->index, s->tap_index);
	if (r < 0)
		slot_free(c, s); /* half of it may be there */
	if (r == -EEXIST)
		return err_set(e, EEXIST,
		    "network: interface \"%s\" has an ingress qdisc with filters of its own",
		    n->name);
	if (r < 0)
		return err_errno(e, -r,
		    "network: redirect \"%s\" to the virtual machine (needs sch_ingress, "
		    "act_mirred "
		    "and cls_matchall or cls_u32)",
		    n->name);
	s->index = n->index;
	memcpy(s->name, n->name, sizeof(s->name));
	return 0;
}

/* ---- what is there ---- */

static int check_kind(const struct view_if *n, struct err *e)
{
	if (n->mtu >= 68 && n->mtu <= MTU_MAX)
		return 0;
	return err_set(e, EINVAL, "network: interface \"%s\": MTU %u is not between 68 and %u",
	    n->name, n->mtu, MTU_MAX);
}

/* A slot for a new interface: its own while the machine is not yet built, then a spare. */
static int take_slot(struct carry *c, const struct view_if *n, struct slot **ret, struct err *e)
{
	char name[IFNAMSIZ];
	int r;

	if (c->opened) {
		*ret = slot_of(c, 0);
		return *ret ? 0
			    : err_set(e, ENOSPC,
				  "network: interface \"%s\" came too late: the virtual machine "
				  "has no spare device",
				  n->name);
	}
	tap_name(n->name, n->index, name);
	r = slot_add(c, name, (uint16_t)n->mtu, e);
	if (r < 0)
		return r;
	*ret = &c->v[c->n - 1];
	memcpy((*ret)->mac, n->mac, sizeof(n->mac));
	return 0;
}

/* Has n carried. */
static int carry_one(struct carry *c, struct view_if *n, struct err *e)
{
	struct slot *s = slot_of(c, n->index);
	char name[IFNAMSIZ];
	int r = 0;

	if (!s) {
		r = check_kind(n, e);
		if (r == 0)
			r = take_slot(c, n, &s, e);
		if (r == 0)
			r = slot_attach(c, s, n, e);
	} else if (!streq(s->name, n->name)) {
		tap_name(n->name, n->index, name);
		r = tap_set(&c->rtnl, s->tap_index, name, n->mtu);
		if (r < 0)
			return err_errno(e, -r, "network: rename the tap of \"%s\"", n->name);
		memcpy(s->name, n->name, sizeof(s->name));
	}
	if (r < 0)
		return r;
	/* The device's MTU was told to the guest's driver when it started. */
	if (n->mtu > s->mtu)
		n->mtu = s->mtu;
	memcpy(n->device, s->mac, sizeof(n->device));
	return 0;
}

static void view_drop(struct view *w, size_t i)
{
	free(w->v[i].addrs);
	free(w->v[i].routes);
	free(w->v[i].neighs);
	memmove(&w->v[i], &w->v[i + 1], (--w->n - i) * sizeof(*w->v));
}

static bool seen(const struct view *w, uint32_t index)
{
	for (size_t i = 0; i < w->n; i++)
		if (w->v[i].index == index)
			return true;
	return false;
}

/* Tunnels of the kernel's that are down (tunl0, sit0 …) are in every namespace: not a word. */
static int refuse_kind(const struct view_if *n, struct err *e)
{
	if (!(n->flags & IFF_UP))
		return 0;
	return err_set(e, EOPNOTSUPP,
	    "network: interface \"%s\" is no Ethernet: a virtual machine cannot have it", n->name);
}

/* Was it left out before, and is as it was then? Another try would fail again, and what it changes
 * on the way (a tap's name) would be the next event. */
static bool is_refused(const struct carry *c, const struct view_if *n)
{
	for (size_t i = 0; i < c->n_refused; i++) {
		const struct refused *r = &c->refused[i];

		if (r->index == n->index)
			return r->flags == n->flags && r->mtu == n->mtu && streq(r->name, n->name);
	}
	return false;
}

static void forget_refused(struct carry *c)
{
	free(c->refused);
	c->refused = NULL;
	c->n_refused = 0;
}

static void refuse(struct refused *r, const struct view_if *n)
{
	*r = (struct refused){ .index = n->index, .flags = n->flags, .mtu = n->mtu };
	memcpy(r->name, n->name, sizeof(r->name));
}

static void free_slots(struct carry *c, const struct view *w)
{
	for (unsigned i = 0; i < c->n; i++) {
		if (!c->v[i].index || seen(w, c->v[i].index))
			continue;
		log_debug("network: interface %u is gone from the container", c->v[i].index);
		slot_free(c, &c->v[i]);
		/* The one that had found no device may have it now. */
		forget_refused(c);
	}
}

enum took { TAKEN, LEFT_OUT, GONE };

/* Carries one of them; before the machine is built one that cannot be is an error. */
static int take_one(struct carry *c, struct view_if *n, struct err *e)
{
	struct err why = ERR_INIT;
	bool ether = n->type == ARPHRD_ETHER;
	int r;

	if (is_refused(c, n))
		return LEFT_OUT;
	r = ether ? carry_one(c, n, &why) : refuse_kind(n, &why);
	if (r < 0 && !c->opened) {
		*e = why;
		return r;
	}
	if (r == -ENODEV) /* meanwhile: the next event will say so */
		return GONE;
	if (r < 0)
		log_warning("%s", why.msg);
	return r < 0 || !ether ? LEFT_OUT : TAKEN;
}

/* Reads, carries what is new, frees what is gone. */
static int refresh(struct carry *c, struct view *w, struct err *e)
{
	_cleanup_free_ struct refused *refused = NULL;
	size_t n = 0;
	int r = view_read(&c->rtnl, CARRY_LIST_MAX, w);

	if (r < 0)
		return err_errno(e, -r, "network: read the container's interfaces");
	free_slots(c, w);
	refused = xcalloc(w->n + 1, sizeof(*refused));
	for (size_t i = 0; i < w->n;) {
		r = take_one(c, &w->v[i], e);
		if (r < 0)
			return r;
		if (r == LEFT_OUT)
			refuse(&refused[n++], &w->v[i]);
		if (r == TAKEN)
			i++;
		else
			view_drop(w, i);
	}
	free(c->refused);
	c->refused = steal_ptr(refused);
	c->n_refused = n;
	if (w->left_out != c->left_out)
		log_warning("network: %u routes are of kinds that the virtual machine does not get",
		    w->left_out);
	c->left_out = w->left_out;
	return 0;
}

static int text(const struct view *w, char **ret, struct err *e)
{
	_cleanup_free_ char *json = view_json(w);

	if (strlen(json) > CARRY_TEXT_MAX)
		return err_set(e, E2BIG, "network: more addresses and routes than can be carried");
	*ret = steal_ptr(json);
	return 0;
}

int carry_open(const struct carry_config *cfg, struct carry **ret, struct err *e)
{
	_cleanup_view_ struct view w = { 0 };
	struct carry *c;
	int r = mnl_load(e);

	if (r < 0)
		return r;
	c = xcalloc(1, sizeof(*c));
	c->tun = cfg->tun;
	r = rtnl_open(&c->rtnl, e);
	/* Listening comes first, so that no change falls between. */
	if (r == 0)
		r = rtnl_listen(&c->events, GROUPS, e);
	if (r == 0)
		r = refresh(c, &w, e);
	for (unsigned i = 0; i < cfg->spares && r == 0; i++)
		r = spare_add(c, e);
	if (r == 0)
		r = text(&w, &c->json, e);
	if (r < 0) {
		carry_close(c);
		return r;
	}
	c->opened = true;
	*ret = c;
	return 0;
}

unsigned carry_count(const struct carry *c)
{
	return c->n;
}

struct carry_nic carry_take(struct carry *c, unsigned i)
{
	struct slot *s = &c->v[i];
	struct carry_nic n = { .tap = steal_fd(&s->tap), .mtu = s->mtu };

	memcpy(n.mac, s->mac, sizeof(n.mac));
	return n;
}

const char *carry_json(const struct carry *c)
{
	return c->json;
}

int carry_fd(const struct carry *c)
{
	return mnl.mnl_socket_get_fd(c->events.sock);
}

int carry_update(struct carry *c, struct err *e)
{
	_cleanup_view_ struct view w = { 0 };
	_cleanup_free_ char *json = NULL;
	int r;

	rtnl_drain(&c->events);
	r = refresh(c, &w, e);
	if (r == 0)
		r = text(&w, &json, e);
	if (r < 0)
		return r;
	if (streq(json, c->json))
		return 0;
	free(c->json);
	c->json = steal_ptr(json);
	return 1;
}

/* Raw -errno; -EPIPE: the other end is closed. */
static int hand_on(int out, const char *json)
{
	uint32_t n = (uint32_t)strlen(json);
	struct iovec v[] = { { &n, sizeof(n) }, { (char *)json, n } };
	struct msghdr m = { .msg_iov = v, .msg_iovlen = 2 };

	while (m.msg_iovlen) {
		ssize_t r = sendmsg(out, &m, MSG_NOSIGNAL);

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return errno == ECONNRESET ? -EPIPE : -errno;
		for (; m.msg_iovlen; m.msg_iov++, m.msg_iovlen--) { /* empty ones too */
			size_t part =
			    (size_t)r < m.msg_iov->iov_len ? (size_t)r : m.msg_iov->iov_len;

			m.msg_iov->iov_base = (char *)m.msg_iov->iov_base + part;
			m.msg_iov->iov_len -= part;
			r -= (ssize_t)part;
			if (m.msg_iov->iov_len)
				break;
		}
	}
	return 0;
}

void carry_fds(const struct carry *c, int ret[CARRY_FDS])
{
	ret[0] = mnl.mnl_socket_get_fd(c->rtnl.sock);
	ret[1] = carry_fd(c);
}

/* A question, or a change: 1, 0. -EPIPE: nobody is there to ask. */
static int wait_for_more(struct carry *c, int out)
{
	struct pollfd p[] = { { .fd = carry_fd(c), .events = POLLIN },
		{ .fd = out, .events = POLLIN } };
	char byte;
	int r;

	do
		r = poll(p, 2, -1);
	while (r < 0 && errno == EINTR);
	if (r < 0)
		return -errno;
	if (!p[1].revents)
		return 0;
	return recv(out, &byte, 1, 0) == 1 ? 1 : -EPIPE;
}

int carry_follow(struct carry *c, int out, struct err *e)
{
	int r, asked = 0;

	do {
		struct err why = ERR_INIT;

		r = carry_update(c, &why);
		if (r < 0)
			log_warning("%s", why.msg);
		r = r > 0 ? hand_on(out, c->json) : 0;
		if (r == 0 && asked)
			r = hand_on(out, "");
		if (r == 0)
			r = asked = wait_for_more(c, out);
	} while (r >= 0);
	return r == -EPIPE ? 0 : err_errno(e, -r, "network: tell the monitor of changes");
}
