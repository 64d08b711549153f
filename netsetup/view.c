#include "netsetup/view.h"

#include <arpa/inet.h>
#include <linux/neighbour.h>
#include <net/if_arp.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "base/str.h"
#include "netsetup/tap.h"

/* A dump that something has changed under is repeated. */
#define DUMP_TRIES 20
#define ATTRS_MAX  64

struct reading {
	struct view w;
	size_t list_max;
};

void view_free(struct view *w)
{
	for (size_t i = 0; i < w->n; i++) {
		free(w->v[i].addrs);
		free(w->v[i].routes);
		free(w->v[i].neighs);
	}
	free(w->v);
	*w = (struct view){ 0 };
}

/* ---- attributes ---- */

struct attrs {
	const struct nlattr *v[ATTRS_MAX];
};

static int attr_cb(const struct nlattr *a, void *data)
{
	struct attrs *t = data;
	uint16_t type = mnl.mnl_attr_get_type(a);

	if (type < ATTRS_MAX)
		t->v[type] = a;
	return MNL_CB_OK;
}

static struct attrs attrs_of(const struct nlmsghdr *h, unsigned header)
{
	struct attrs t = { 0 };

	mnl.mnl_attr_parse(h, header, attr_cb, &t);
	return t;
}

/* Copies an attribute of exactly n bytes; false: absent. */
static bool get(const struct attrs *t, unsigned type, void *ret, size_t n)
{
	const struct nlattr *a = t->v[type];

	if (!a || mnl.mnl_attr_get_payload_len(a) != n)
		return false;
	memcpy(ret, mnl.mnl_attr_get_payload(a), n);
	return true;
}

static bool get_ip(
    const struct attrs *t, unsigned type, uint8_t family, uint8_t prefix, struct view_ip *ret)
{
	struct view_ip ip = { .family = family, .prefix = prefix };

	if (!get(t, type, ip.bytes, family == AF_INET ? 4 : 16))
		return false;
	*ret = ip;
	return true;
}

static uint8_t whole(uint8_t family)
{
	return family == AF_INET ? 32 : 128;
}

static bool is_ip(uint8_t family)
{
	return family == AF_INET || family == AF_INET6;
}

static struct view_if *find(struct reading *rd, uint32_t index)
{
	for (size_t i = 0; i < rd->w.n; i++)
		if (rd->w.v[i].index == index)
			return &rd->w.v[i];
	return NULL;
}

/* Room for one more in a list. */
static void *grow(struct reading *rd, void *list, size_t *n, size_t size)
{
	char *v;

	if (*n == rd->list_max) {
		errno = E2BIG;
		return NULL;
	}
	memcpy(&v, list, sizeof(v));
	v = xrealloc(v, (*n + 1) * size);
	memcpy(list, &v, sizeof(v));
	memset(v + *n * size, 0, size);
	return v + (*n)++ * size;
}

/* ---- messages ---- */

static int link_cb(const struct nlmsghdr *h, void *data)
{
	struct reading *rd = data;
	const struct ifinfomsg *i = mnl.mnl_nlmsg_get_payload(h);
	struct attrs t = attrs_of(h, sizeof(*i));
	struct view_if *n;
	const char *name;

	if (h->nlmsg_type != RTM_NEWLINK || i->ifi_flags & IFF_LOOPBACK || !t.v[IFLA_IFNAME])
		return MNL_CB_OK;
	name = mnl.mnl_attr_get_payload(t.v[IFLA_IFNAME]);
	if (startswith(name, TAP_PREFIX) || strlen(name) >= IFNAMSIZ)
		return MNL_CB_OK;
	n = grow(rd, &rd->w.v, &rd->w.n, sizeof(*n));
	if (!n)
		return MNL_CB_ERROR;
	n->index = (uint32_t)i->ifi_index;
	n->flags = i->ifi_flags;
	n->type = i->ifi_type;
	memcpy(n->name, name, strlen(name) + 1);
	get(&t, IFLA_MTU, &n->mtu, sizeof(n->mtu));
	/* Without a MAC address of six bytes it is no Ethernet, whatever it says. */
	if (!get(&t, IFLA_ADDRESS, n->mac, sizeof(n->mac)))
		n->type = ARPHRD_VOID;
	return MNL_CB_OK;
}

/* What the kernel makes of the interface's MAC address, as the guest's will. */
static bool is_own_link_local(const struct view_if *n, const struct view_ip *ip)
{
	const uint8_t *m = n->mac;
	const uint8_t own[16] = { 0xfe, 0x80, 0, 0, 0, 0, 0, 0, m[0] ^ 2, m[1], m[2], 0xff, 0xfe,
		m[3], m[4], m[5] };

	return ip->family == AF_INET6 && memcmp(ip->bytes, own, sizeof(own)) == 0;
}

/* The other end of a point-to-point address is reached by a route. */
static int add_peer(
    struct reading *rd, struct view_if *n, const struct view_addr *a, const struct view_ip *peer)
{
	struct view_route *r = grow(rd, &n->routes, &n->n_routes, sizeof(*r));

	if (!r)
		return MNL_CB_ERROR;
	r->dst = *peer;
	r->scope = peer->family == AF_INET ? RT_SCOPE_LINK : RT_SCOPE_UNIVERSE;
	r->type = RTN_UNICAST;
	if (peer->family == AF_INET)
		r->source = a->ip;
	return MNL_CB_OK;
}

static int addr_cb(const struct nlmsghdr *h, void *data)
{
	struct reading *rd = data;
	const struct ifaddrmsg *f = mnl.mnl_nlmsg_get_payload(h);
	struct attrs t = attrs_of(h, sizeof(*f));
	struct view_if *n = find(rd, f->ifa_index);
	uint32_t flags = f->ifa_flags;
	struct view_addr a = { .scope = f->ifa_scope }, *to;
	struct view_ip peer = { 0 };

	if (h->nlmsg_type != RTM_NEWADDR || !n || !is_ip(f->ifa_family))
		return MNL_CB_OK;
	get(&t, IFA_FLAGS, &flags, sizeof(flags));
	/* Addresses that IPv6 routers have announced the guest finds itself. */
	if (flags & IFA_F_DADFAILED || (f->ifa_family == AF_INET6 && !(flags & IFA_F_PERMANENT)))
		return MNL_CB_OK;
	get_ip(&t, IFA_ADDRESS, f->ifa_family, f->ifa_prefixlen, &peer);
	if (!get_ip(&t, IFA_LOCAL, f->ifa_family, f->ifa_prefixlen, &a.ip))
		a.ip = peer;
	if (!a.ip.family || is_own_link_local(n, &a.ip))
		return MNL_CB_OK;
	get_ip(&t, IFA_BROADCAST, f->ifa_family, whole(f->ifa_family), &a.broadcast);
	if (memcmp(a.ip.bytes, peer.bytes, sizeof(peer.bytes)) != 0 || flags & IFA_F_NOPREFIXROUTE)
		a.ip.prefix = whole(f->ifa_family);
	to = grow(rd, &n->addrs, &n->n_addrs, sizeof(*to));
	if (!to)
		return MNL_CB_ERROR;
	*to = a;
	return memcmp(a.ip.bytes, peer.bytes, sizeof(peer.bytes)) != 0 ? add_peer(rd, n, &a, &peer)
								       : MNL_CB_OK;
}

static int route_cb(const struct nlmsghdr *h, void *data)
{
	struct reading *rd = data;
	const struct rtmsg *f = mnl.mnl_nlmsg_get_payload(h);
	struct attrs t = attrs_of(h, sizeof(*f));
	uint32_t table = f->rtm_table, oif = 0;
	struct view_route *to;
	struct view_if *n;

	get(&t, RTA_TABLE, &table, sizeof(table));
	get(&t, RTA_OIF, &oif, sizeof(oif));
	/* The kernel's own come from the addresses, routers' announcements reach the guest. */
	if (h->nlmsg_type != RTM_NEWROUTE || !is_ip(f->rtm_family) || table != RT_TABLE_MAIN ||
	    f->rtm_flags & RTM_F_CLONED || f->rtm_protocol == RTPROT_KERNEL ||
	    f->rtm_protocol == RTPROT_REDIRECT || f->rtm_protocol == RTPROT_RA)
		return MNL_CB_OK;
	n = find(rd, oif);
	if (!n || t.v[RTA_MULTIPATH] || t.v[RTA_VIA] || t.v[RTA_ENCAP] || f->rtm_tos ||
	    f->rtm_src_len) {
		rd->w.left_out++;
		return MNL_CB_OK;
	}
	to = grow(rd, &n->routes, &n->n_routes, sizeof(*to));
	if (!to)
		return MNL_CB_ERROR;
	to->dst = (struct view_ip){ .family = f->rtm_family };
	get_ip(&t, RTA_DST, f->rtm_family, f->rtm_dst_len, &to->dst);
	get_ip(&t, RTA_GATEWAY, f->rtm_family, whole(f->rtm_family), &to->gateway);
	get_ip(&t, RTA_PREFSRC, f->rtm_family, whole(f->rtm_family), &to->source);
	get(&t, RTA_PRIORITY, &to->metric, sizeof(to->metric));
	to->scope = f->rtm_scope;
	to->type = f->rtm_type;
	to->onlink = f->rtm_flags & RTNH_F_ONLINK;
	return MNL_CB_OK;
}

static int neigh_cb(const struct nlmsghdr *h, void *data)
{
	struct reading *rd = data;
	const struct ndmsg *f = mnl.mnl_nlmsg_get_payload(h);
	struct attrs t = attrs_of(h, sizeof(*f));
	struct view_if *n = find(rd, (uint32_t)f->ndm_ifindex);
	struct view_neigh a = { 0 }, *to;

	if (h->nlmsg_type != RTM_NEWNEIGH || !n || !is_ip(f->ndm_family) ||
	    !(f->ndm_state & NUD_PERMANENT) || f->ndm_flags & NTF_PROXY ||
	    !get_ip(&t, NDA_DST, f->ndm_family, whole(f->ndm_family), &a.ip) ||
	    !get(&t, NDA_LLADDR, a.mac, sizeof(a.mac)))
		return MNL_CB_OK;
	to = grow(rd, &n->neighs, &n->n_neighs, sizeof(*to));
	if (!to)
		return MNL_CB_ERROR;
	*to = a;
	return MNL_CB_OK;
}

static int read_once(struct rtnl *r, struct reading *rd)
{
	static const struct {
		uint16_t type;
		size_t header;
		mnl_cb_t cb;
	} dumps[] = {
		{ RTM_GETLINK, sizeof(struct ifinfomsg), link_cb },
		{ RTM_GETADDR, sizeof(struct ifaddrmsg), addr_cb },
		{ RTM_GETROUTE, sizeof(struct rtmsg), route_cb },
		{ RTM_GETNEIGH, sizeof(struct ndmsg), neigh_cb },
	};
	struct rtnl_msg m;
	int rc = 0;

	for (size_t i = 0; i < sizeof(dumps) / sizeof(*dumps) && rc == 0; i++) {
		rtnl_msg_init(&m, dumps[i].type, NLM_F_DUMP, dumps[i].header);
		rc = rtnl_call(r, &m, dumps[i].cb, rd);
	}
	return rc;
}

int view_read(struct rtnl *r, size_t list_max, struct view *ret)
{
	for (int tries = 0;; tries++) {
		struct reading rd = { .list_max = list_max };
		int rc = read_once(r, &rd);

		if (rc == 0) {
			*ret = rd.w;
			return 0;
		}
		view_free(&rd.w);
		/* EINTR: the dump was overtaken by a change (NLM_F_DUMP_INTR). */
		if (rc != -EINTR || tries == DUMP_TRIES)
			return rc;
	}
}
