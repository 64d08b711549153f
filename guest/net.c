/*
 * Applies NET: interfaces are found by MAC address and get the host's names, addresses and routes;
 * what the host no longer has goes (park.h). What is there already stays, so that connections live
 * on when the host's network changes beside them.
 */
#include "guest/net.h"

#include <arpa/inet.h>
#include <linux/if_addr.h>
#include <linux/if_arp.h>
#include <linux/neighbour.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "guest/netlink.h"
#include "guest/park.h"

#define LINKS_MAX 256

struct link {
	int index;
	unsigned flags, type;
	uint32_t mtu;
	uint8_t mac[6], device[6]; /* device: the permanent address, where there is one */
	char name[IFNAMSIZ];
	bool wanted;
};
struct links {
	struct link v[LINKS_MAX];
	size_t n;
};

static size_t addr_len(const struct net_addr *a)
{
	return a->family == AF_INET ? 4 : 16;
}

#define ADDR_TEXT (INET6_ADDRSTRLEN + 4)
/* "ADDRESS/PREFIX", for messages. */
static const char *addr_text(const struct net_addr *a, char buf[ADDR_TEXT])
{
	char text[INET6_ADDRSTRLEN] = "?";

	(void)inet_ntop(a->family, a->bytes, text, sizeof(text));
	snprintf(buf, ADDR_TEXT, "%s/%u", text, a->prefix);
	return buf;
}

/* ---- links ---- */

static int take_link(void *arg, const struct nlmsghdr *m)
{
	struct links *all = arg;
	const struct ifinfomsg *i = NLMSG_DATA(m);
	const struct rtattr *name = nl_find(m, sizeof(*i), IFLA_IFNAME);
	const struct rtattr *mac = nl_find(m, sizeof(*i), IFLA_ADDRESS);
	const struct rtattr *permanent = nl_find(m, sizeof(*i), IFLA_PERM_ADDRESS);
	const struct rtattr *mtu = nl_find(m, sizeof(*i), IFLA_MTU);
	struct link *l;

	if (m->nlmsg_type != RTM_NEWLINK || !name)
		return 0;
	if (all->n == LINKS_MAX)
		return -E2BIG;
	l = &all->v[all->n++];
	*l = (struct link){ .index = i->ifi_index, .flags = i->ifi_flags, .type = i->ifi_type };
	snprintf(l->name, sizeof(l->name), "%s", (const char *)RTA_DATA(name));
	if (mac && RTA_PAYLOAD(mac) == sizeof(l->mac))
		memcpy(l->mac, RTA_DATA(mac), sizeof(l->mac));
	memcpy(l->device, l->mac, sizeof(l->device));
	if (permanent && RTA_PAYLOAD(permanent) == sizeof(l->device))
		memcpy(l->device, RTA_DATA(permanent), sizeof(l->device));
	if (mtu && RTA_PAYLOAD(mtu) == sizeof(l->mtu))
		memcpy(&l->mtu, RTA_DATA(mtu), sizeof(l->mtu));
	return 0;
}

static int set_link(int fd, int index, bool up, const char *name, uint32_t mtu, const uint8_t *mac)
{
	struct nl_request r;
	struct ifinfomsg *i = nl_begin(&r, RTM_NEWLINK, 0, sizeof(*i));

	i->ifi_index = index;
	i->ifi_change = IFF_UP;
	i->ifi_flags = up ? IFF_UP : 0;
	if (name)
		nl_attr(&r, IFLA_IFNAME, name, strlen(name) + 1);
	if (mtu)
		nl_attr_u32(&r, IFLA_MTU, mtu);
	if (mac)
		nl_attr(&r, IFLA_ADDRESS, mac, 6);
	return nl_do(fd, &r);
}

static struct link *find_link(struct links *all, const struct net_interface *i)
{
	for (size_t k = 0; k < all->n; k++)
		if (all->v[k].type == ARPHRD_ETHER && memcmp(all->v[k].device, i->device, 6) == 0)
			return &all->v[k];
	return NULL;
}

static int list_links(int fd, struct links *all, struct err *e)
{
	int r;

	all->n = 0;
	r = nl_dump(fd, RTM_GETLINK, AF_UNSPEC, take_link, all);
	return r < 0 ? err_errno(e, -r, "network: list the machine's interfaces") : 0;
}

/* ---- the machine's devices ---- */

/* By their MAC addresses: what is there before any container is, and what NET has named. */
static struct {
	uint8_t v[LINKS_MAX][6];
	size_t n;
	bool begun;
} machines;

static bool is_machines(const struct link *l)
{
	for (size_t k = 0; k < machines.n; k++)
		if (memcmp(machines.v[k], l->device, 6) == 0)
			return true;
	return false;
}

static void learn(const struct link *l)
{
	if (l->type == ARPHRD_ETHER && !is_machines(l) && machines.n < LINKS_MAX)
		memcpy(machines.v[machines.n++], l->device, 6);
}

/* Brings back what is parked and now wanted. */
static int fetch(int fd, const struct net_config *c, struct links *all, struct err *e)
{
	_cleanup_free_ struct links *away = xcalloc(1, sizeof(*away));
	bool moved = false;
	int r = park_socket() < 0 ? 0 : list_links(park_socket(), away, e);

	for (size_t k = 0; !machines.begun && k < all->n; k++)
		learn(&all->v[k]);
	machines.begun = true;
	for (size_t k = 0; r == 0 && k < c->n; k++) {
		const struct link *l = find_link(away, &c->v[k]);

		/* -ENODEV below, where it is in neither */
		if (!l || find_link(all, &c->v[k]))
			continue;
		r = park_take(fd, l->index, e);
		moved = true;
	}
	return r < 0 || !moved ? r : list_links(fd, all, e);
}

static int match_links(struct net_config *c, struct links *all, struct err *e)
{
	for (size_t k = 0; k < c->n; k++) {
		struct net_interface *i = &c->v[k];
		struct link *l = find_link(all, i);

		if (!l)
			return err_set(e, ENODEV,
			    "network: .interfaces[%zu]: \"%s\": the machine has no interface with "
			    "MAC address %02x:%02x:%02x:%02x:%02x:%02x",
			    k, i->name, i->device[0], i->device[1], i->device[2], i->device[3],
			    i->device[4], i->device[5]);
		l->wanted = true;
		learn(l);
		i->index = l->index;
	}
	return 0;
}

static const char *name_of(const struct links *all, int index)
{
	for (size_t k = 0; k < all->n; k++)
		if (all->v[k].index == index)
			return all->v[k].name;
	return "";
}

/* Names may have to change places: all that change get one of their own first. */
static int rename_links(int fd, const struct net_config *c, const struct links *all, struct err *e)
{
	for (int final = 0; final < 2; final++)
		for (size_t k = 0; k < c->n; k++) {
			const struct net_interface *i = &c->v[k];
			char temporary[IFNAMSIZ];
			int r;

			if (streq(name_of(all, i->index), i->name))
				continue;
			snprintf(temporary, sizeof(temporary), "rename%d", i->index);
			/* Before Linux 6.2 only what is down already takes another name. */
			r = final ? 0 : set_link(fd, i->index, false, NULL, 0, NULL);
			if (r == 0)
				r = set_link(
				    fd, i->index, false, final ? i->name : temporary, 0, NULL);
			if (r < 0)
				return err_errno(e, -r, "network: rename \"%s\" to \"%s\"",
				    name_of(all, i->index), i->name);
		}
	return 0;
}

/* ---- what is there and shall not be ---- */

/* Messages of a dump that are to be sent back as deletions: a table that changes while it is dumped
 * would be seen with gaps. */
struct sweep {
	const struct net_interface *i;
	int index;
	bool (*stale)(const struct sweep *s, const struct nlmsghdr *m);
	struct arena *arena;
	const struct nlmsghdr **v;
	size_t n, cap;
};

static int collect(void *arg, const struct nlmsghdr *m)
{
	struct sweep *s = arg;
	struct nlmsghdr *copy;

	if (!s->stale(s, m))
		return 0;
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 16;
		s->v = xrealloc(s->v, s->cap * sizeof(*s->v));
	}
	copy = arena_alloc(s->arena, m->nlmsg_len);
	memcpy(copy, m, m->nlmsg_len);
	s->v[s->n++] = copy;
	return 0;
}

static bool same(const struct rtattr *a, const struct net_addr *want)
{
	return a && RTA_PAYLOAD(a) == addr_len(want) &&
	       memcmp(RTA_DATA(a), want->bytes, addr_len(want)) == 0;
}

/* Addresses that the kernel has made itself stay: link-local ones and those with a lifetime. */
static bool address_stale(const struct sweep *s, const struct nlmsghdr *m)
{
	const struct ifaddrmsg *f = NLMSG_DATA(m);
	const struct rtattr *a = nl_find(m, sizeof(*f), IFA_LOCAL);

	if (m->nlmsg_type != RTM_NEWADDR || (int)f->ifa_index != s->index)
		return false;
	if (f->ifa_family == AF_INET6 &&
	    (f->ifa_scope == RT_SCOPE_LINK || !(f->ifa_flags & IFA_F_PERMANENT)))
		return false;
	if (!a)
		a = nl_find(m, sizeof(*f), IFA_ADDRESS);
	for (size_t k = 0; k < s->i->n_addresses; k++) {
		const struct net_addr *w = &s->i->addresses[k].addr;

		if (w->family == f->ifa_family && w->prefix == f->ifa_prefixlen && same(a, w))
			return false;
	}
	return true;
}

static uint32_t attr_u32(const struct nlmsghdr *m, size_t n, uint16_t type)
{
	const struct rtattr *a = nl_find(m, n, type);
	uint32_t v = 0;

	if (a && RTA_PAYLOAD(a) == sizeof(v))
		memcpy(&v, RTA_DATA(a), sizeof(v));
	return v;
}

static bool same_or_absent(const struct rtattr *a, bool has, const struct net_addr *want)
{
	return has ? same(a, want) : !a;
}

/* IPv6 routes without a metric get the kernel's default. */
static bool same_metric(uint8_t family, uint32_t got, uint32_t want)
{
	return got == want || (family == AF_INET6 && want == 0 && got == 1024);
}

static bool route_wanted(const struct nlmsghdr *m, const struct net_interface *i)
{
	const struct rtmsg *f = NLMSG_DATA(m);
	const struct rtattr *dst = nl_find(m, sizeof(*f), RTA_DST);
	const struct rtattr *gateway = nl_find(m, sizeof(*f), RTA_GATEWAY);

	for (size_t k = 0; k < i->n_routes; k++) {
		const struct net_route *w = &i->routes[k];

		if (w->dst.family == f->rtm_family && w->dst.prefix == f->rtm_dst_len &&
		    same_or_absent(dst, w->dst.prefix > 0, &w->dst) &&
		    same_or_absent(gateway, w->has_gateway, &w->gateway) &&
		    same_metric(f->rtm_family, attr_u32(m, sizeof(*f), RTA_PRIORITY), w->metric))
			return true;
	}
	return false;
}

/* Only what was made here (RTPROT_STATIC): the kernel's own routes come and go with addresses. */
static bool route_stale(const struct sweep *s, const struct nlmsghdr *m)
{
	const struct rtmsg *f = NLMSG_DATA(m);

	return m->nlmsg_type == RTM_NEWROUTE && f->rtm_protocol == RTPROT_STATIC &&
	       f->rtm_table == RT_TABLE_MAIN &&
	       attr_u32(m, sizeof(*f), RTA_OIF) == (uint32_t)s->index && !route_wanted(m, s->i);
}

static bool neighbour_stale(const struct sweep *s, const struct nlmsghdr *m)
{
	const struct ndmsg *f = NLMSG_DATA(m);
	const struct rtattr *dst = nl_find(m, sizeof(*f), NDA_DST);

	if (m->nlmsg_type != RTM_NEWNEIGH || f->ndm_ifindex != s->index ||
	    !(f->ndm_state & NUD_PERMANENT))
		return false;
	for (size_t k = 0; k < s->i->n_neighbours; k++)
		if (s->i->neighbours[k].addr.family == f->ndm_family &&
		    same(dst, &s->i->neighbours[k].addr))
			return false;
	return true;
}

static int sweep(int fd, int index, const struct net_interface *i, struct err *e)
{
	static const struct {
		uint16_t dump, del;
		bool (*stale)(const struct sweep *s, const struct nlmsghdr *m);
		const char *what;
	} kinds[] = {
		{ RTM_GETROUTE, RTM_DELROUTE, route_stale, "routes" },
		{ RTM_GETADDR, RTM_DELADDR, address_stale, "addresses" },
		{ RTM_GETNEIGH, RTM_DELNEIGH, neighbour_stale, "neighbours" },
	};

	for (size_t k = 0; k < ARRAY_SIZE(kinds); k++) {
		_cleanup_arena_ struct arena *arena = arena_new();
		struct sweep s = {
			.i = i, .index = index, .stale = kinds[k].stale, .arena = arena
		};
		int r = nl_dump(fd, kinds[k].dump, AF_UNSPEC, collect, &s);

		for (size_t n = 0; r == 0 && n < s.n; n++) {
			r = nl_echo(fd, s.v[n], kinds[k].del);
			/* It may have gone with what went before it. */
			if (r == -ESRCH || r == -ENOENT || r == -EADDRNOTAVAIL)
				r = 0;
		}
		free(s.v);
		if (r < 0)
			return err_errno(
			    e, -r, "network: take old %s off interface %d", kinds[k].what, index);
	}
	return 0;
}

/* ---- what shall be ---- */

static int add_address(
    int fd, const struct net_interface *i, const struct net_address *w, struct err *e)
{
	struct nl_request r;
	struct ifaddrmsg *f = nl_begin(&r, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*f));
	char text[ADDR_TEXT];
	int n;

	f->ifa_family = w->addr.family;
	f->ifa_prefixlen = w->addr.prefix;
	f->ifa_scope = w->scope;
	f->ifa_index = (uint32_t)i->index;
	if (w->addr.family == AF_INET6) /* the host has looked for duplicates */
		f->ifa_flags = IFA_F_NODAD;
	nl_attr(&r, IFA_LOCAL, w->addr.bytes, addr_len(&w->addr));
	nl_attr(&r, IFA_ADDRESS, w->addr.bytes, addr_len(&w->addr));
	if (w->has_broadcast && w->addr.family == AF_INET)
		nl_attr(&r, IFA_BROADCAST, w->broadcast.bytes, 4);
	n = nl_do(fd, &r);
	if (n < 0 && n != -EEXIST)
		return err_errno(
		    e, -n, "network: give %s to \"%s\"", addr_text(&w->addr, text), i->name);
	return 0;
}

static int add_route(
    int fd, const struct net_interface *i, const struct net_route *w, struct err *e)
{
	struct nl_request r;
	struct rtmsg *f = nl_begin(&r, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*f));
	char text[ADDR_TEXT];
	int n;

	f->rtm_family = w->dst.family;
	f->rtm_dst_len = w->dst.prefix;
	f->rtm_table = RT_TABLE_MAIN;
	f->rtm_protocol = RTPROT_STATIC;
	f->rtm_scope = w->scope;
	f->rtm_type = w->type;
	if (w->onlink)
		f->rtm_flags = RTNH_F_ONLINK;
	if (w->dst.prefix)
		nl_attr(&r, RTA_DST, w->dst.bytes, addr_len(&w->dst));
	if (w->has_gateway)
		nl_attr(&r, RTA_GATEWAY, w->gateway.bytes, addr_len(&w->gateway));
	if (w->has_source)
		nl_attr(&r, RTA_PREFSRC, w->source.bytes, addr_len(&w->source));
	if (w->metric)
		nl_attr_u32(&r, RTA_PRIORITY, w->metric);
	nl_attr_u32(&r, RTA_OIF, (uint32_t)i->index);
	n = nl_do(fd, &r);
	if (n < 0 && n != -EEXIST)
		return err_errno(
		    e, -n, "network: route to %s by \"%s\"", addr_text(&w->dst, text), i->name);
	return 0;
}

static int add_neighbour(
    int fd, const struct net_interface *i, const struct net_neighbour *w, struct err *e)
{
	struct nl_request r;
	struct ndmsg *f = nl_begin(&r, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, sizeof(*f));
	char text[ADDR_TEXT];
	int n;

	f->ndm_family = w->addr.family;
	f->ndm_ifindex = i->index;
	f->ndm_state = NUD_PERMANENT;
	nl_attr(&r, NDA_DST, w->addr.bytes, addr_len(&w->addr));
	nl_attr(&r, NDA_LLADDR, w->mac, sizeof(w->mac));
	n = nl_do(fd, &r);
	return n < 0 ? err_errno(e, -n, "network: neighbour %s of \"%s\"",
			   addr_text(&w->addr, text), i->name)
		     : 0;
}

/* A gateway must be reachable when its route comes, by an address or by a route without one. */
static int add_routes(int fd, const struct net_interface *i, struct err *e)
{
	for (int gateways = 0; gateways < 2; gateways++)
		for (size_t k = 0; k < i->n_routes; k++) {
			int r = i->routes[k].has_gateway == gateways
				    ? add_route(fd, i, &i->routes[k], e)
				    : 0;

			if (r < 0)
				return r;
		}
	return 0;
}

static int apply_interface(int fd, const struct net_interface *i, struct err *e)
{
	int r = set_link(fd, i->index, i->up, NULL, i->mtu, i->mac);

	if (r < 0)
		return err_errno(e, -r, "network: set \"%s\" %s with MTU %u and its MAC address",
		    i->name, i->up ? "up" : "down", i->mtu);
	r = sweep(fd, i->index, i, e);
	for (size_t k = 0; r == 0 && k < i->n_addresses; k++)
		r = add_address(fd, i, &i->addresses[k], e);
	if (r == 0 && i->up) /* an interface that is down has none */
		r = add_routes(fd, i, e);
	for (size_t k = 0; r == 0 && i->up && k < i->n_neighbours; k++)
		r = add_neighbour(fd, i, &i->neighbours[k], e);
	return r;
}

/* Only the machine's devices, not what the container has made itself. */
static int retire(int fd, const struct links *all, struct err *e)
{
	for (size_t k = 0; k < all->n; k++) {
		const struct link *l = &all->v[k];
		int r = 0;

		if (l->type == ARPHRD_LOOPBACK && !(l->flags & IFF_UP) &&
		    (r = set_link(fd, l->index, true, NULL, 0, NULL)) < 0)
			return err_errno(e, -r, "network: set \"%s\" up", l->name);
		if (l->type == ARPHRD_ETHER && !l->wanted && is_machines(l))
			r = park_put(fd, l->index, l->device, e);
		if (r < 0)
			return r;
	}
	return 0;
}

int net_apply(struct net_config *c, struct err *e)
{
	_cleanup_free_ struct links *all = xcalloc(1, sizeof(*all));
	_cleanup_close_ int fd = nl_open(e);
	int r;

	if (fd < 0)
		return fd;
	r = list_links(fd, all, e);
	if (r == 0)
		r = fetch(fd, c, all, e);
	if (r == 0)
		r = match_links(c, all, e);
	if (r == 0)
		r = retire(fd, all, e);
	if (r == 0)
		r = rename_links(fd, c, all, e);
	for (size_t k = 0; r == 0 && k < c->n; k++)
		r = apply_interface(fd, &c->v[k], e);
	return r;
}

int net_configure(const char *json, size_t n, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct net_config c;
	int r = net_parse(a, json, n, &c, e);

	return r < 0 ? r : net_apply(&c, e);
}
