#include "netsetup/links.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fd.h"

/* The metric of lo's own route is 0. */
#define BEHIND_LO 1024

/* ---- asking ---- */

static int attr_cb(const struct nlattr *a, void *data)
{
	const struct nlattr **v = data;
	uint16_t type = mnl.mnl_attr_get_type(a);

	if (type < 64)
		v[type] = a;
	return MNL_CB_OK;
}

static uint32_t get_u32(const struct nlattr *a)
{
	uint32_t v = 0;

	if (a && mnl.mnl_attr_get_payload_len(a) == sizeof(v))
		memcpy(&v, mnl.mnl_attr_get_payload(a), sizeof(v));
	return v;
}

static bool filters_vlans(const struct nlattr *info)
{
	const struct nlattr *v[64] = { 0 }, *data[64] = { 0 };
	const char *kind;

	if (!info)
		return false;
	mnl.mnl_attr_parse_nested(info, attr_cb, v);
	kind = v[IFLA_INFO_KIND] ? mnl.mnl_attr_get_payload(v[IFLA_INFO_KIND]) : "";
	if (!v[IFLA_INFO_DATA] || strcmp(kind, "bridge") != 0)
		return false;
	mnl.mnl_attr_parse_nested(v[IFLA_INFO_DATA], attr_cb, data);
	return data[IFLA_BR_VLAN_FILTERING] &&
	       *(const uint8_t *)mnl.mnl_attr_get_payload(data[IFLA_BR_VLAN_FILTERING]);
}

static int link_cb(const struct nlmsghdr *h, void *data)
{
	const struct ifinfomsg *i = mnl.mnl_nlmsg_get_payload(h);
	const struct nlattr *v[64] = { 0 };
	struct host_link *l = data;

	if (h->nlmsg_type != RTM_NEWLINK)
		return MNL_CB_OK;
	mnl.mnl_attr_parse(h, sizeof(*i), attr_cb, v);
	l->index = (uint32_t)i->ifi_index;
	l->flags = i->ifi_flags;
	l->mtu = get_u32(v[IFLA_MTU]);
	l->group = get_u32(v[IFLA_GROUP]);
	l->vlan_filtering = filters_vlans(v[IFLA_LINKINFO]);
	return MNL_CB_OK;
}

static int link_get(struct batch *b, uint32_t index, const char *name, struct host_link *ret)
{
	struct host_link l = { 0 };
	struct ifinfomsg *i;
	int r;

	batch_begin(b);
	i = batch_add(b, RTM_GETLINK, NLM_F_ACK, sizeof(*i));
	i->ifi_index = (int)index;
	if (name)
		mnl.mnl_attr_put_strz(b->h, IFLA_IFNAME, name);
	r = batch_dump(b, link_cb, &l);
	if (r == 0 && l.index == 0)
		r = -ENODEV;
	if (r == 0)
		*ret = l;
	return r;
}

int host_link_find(struct batch *b, const char *name, struct host_link *ret)
{
	return link_get(b, 0, name, ret);
}

int host_link_del(struct batch *b, const char *name)
{
	int r;

	batch_begin(b);
	batch_add(b, RTM_DELLINK, NLM_F_ACK, sizeof(struct ifinfomsg));
	mnl.mnl_attr_put_strz(b->h, IFLA_IFNAME, name);
	r = batch_send(b, NULL);
	return r == -ENODEV ? 0 : r;
}

struct routes {
	struct ip *v;
	size_t n;
	uint32_t oif;
};

static int route_cb(const struct nlmsghdr *h, void *data)
{
	const struct rtmsg *m = mnl.mnl_nlmsg_get_payload(h);
	const struct nlattr *v[64] = { 0 }, *dst;
	struct routes *t = data;
	struct ip ip;

	if (h->nlmsg_type != RTM_NEWROUTE || m->rtm_table != RT_TABLE_MAIN ||
	    (m->rtm_family != AF_INET && m->rtm_family != AF_INET6))
		return MNL_CB_OK;
	mnl.mnl_attr_parse(h, sizeof(*m), attr_cb, v);
	if (m->rtm_dst_len == 0) {
		if (!t->oif || m->rtm_family == AF_INET)
			t->oif = get_u32(v[RTA_OIF]);
		return MNL_CB_OK;
	}
	ip = (struct ip){ .family = m->rtm_family, .prefix = m->rtm_dst_len };
	dst = v[RTA_DST];
	if (!dst || mnl.mnl_attr_get_payload_len(dst) != ip_len(&ip))
		return MNL_CB_OK;
	memcpy(ip.b, mnl.mnl_attr_get_payload(dst), ip_len(&ip));
	t->v = xrealloc(t->v, (t->n + 1) * sizeof(ip));
	t->v[t->n++] = ip;
	return MNL_CB_OK;
}

int host_routes(
    struct batch *b, struct ip **ret, size_t *ret_n, uint32_t *ret_default, struct err *e)
{
	struct routes t = { 0 };
	int r;

	batch_begin(b);
	batch_add(b, RTM_GETROUTE, NLM_F_DUMP, sizeof(struct rtmsg));
	r = batch_dump(b, route_cb, &t);
	if (r < 0) {
		free(t.v);
		return err_errno(e, -r, "read the host's routes");
	}
	*ret = t.v;
	*ret_n = t.n;
	*ret_default = t.oif;
	return 0;
}

int host_mtu(struct batch *b, uint32_t *ret, struct err *e)
{
	_cleanup_free_ struct ip *routes = NULL;
	struct host_link l = { .mtu = 1500 };
	uint32_t index;
	size_t n;
	int r = host_routes(b, &routes, &n, &index, e);

	if (r == 0 && index && (r = link_get(b, index, NULL, &l)) < 0)
		return err_errno(e, -r, "read the default route's interface");
	if (r == 0)
		*ret = l.mtu;
	return r;
}

/* ---- addresses and routes ---- */

void add_address(struct batch *b, uint32_t index, const struct ip *a)
{
	struct ifaddrmsg *m =
	    batch_add(b, RTM_NEWADDR, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, sizeof(*m));

	m->ifa_family = a->family;
	m->ifa_prefixlen = a->prefix;
	m->ifa_index = index;
	/* Who else could have it? The store knows. */
	if (a->family == AF_INET6)
		m->ifa_flags = IFA_F_NODAD;
	mnl.mnl_attr_put(b->h, IFA_LOCAL, ip_len(a), a->b);
	mnl.mnl_attr_put(b->h, IFA_ADDRESS, ip_len(a), a->b);
	if (a->family == AF_INET && a->prefix < 31) {
		uint32_t host = a->prefix ? ~0u >> a->prefix : ~0u, broadcast;

		memcpy(&broadcast, a->b, 4);
		broadcast |= htonl(host);
		mnl.mnl_attr_put(b->h, IFA_BROADCAST, 4, &broadcast);
	}
}

void add_route(struct batch *b, uint32_t index, const struct ip *dst, const struct ip *gateway)
{
	struct rtmsg *m =
	    batch_add(b, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, sizeof(*m));

	m->rtm_family = dst->family;
	m->rtm_dst_len = dst->prefix;
	m->rtm_table = RT_TABLE_MAIN;
	m->rtm_protocol = RTPROT_STATIC;
	m->rtm_type = RTN_UNICAST;
	m->rtm_scope = gateway || dst->family == AF_INET6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	if (dst->prefix)
		mnl.mnl_attr_put(b->h, RTA_DST, ip_len(dst), dst->b);
	if (gateway)
		mnl.mnl_attr_put(b->h, RTA_GATEWAY, ip_len(gateway), gateway->b);
	mnl.mnl_attr_put_u32(b->h, RTA_OIF, index);
}

void add_route_loopback6(struct batch *b, uint32_t index)
{
	struct rtmsg *m =
	    batch_add(b, RTM_NEWROUTE, NLM_F_ACK | NLM_F_CREATE | NLM_F_REPLACE, sizeof(*m));

	m->rtm_family = AF_INET6;
	m->rtm_dst_len = 128;
	m->rtm_table = RT_TABLE_LOCAL;
	m->rtm_protocol = RTPROT_STATIC;
	m->rtm_type = RTN_LOCAL;
	mnl.mnl_attr_put(b->h, RTA_DST, sizeof(in6addr_loopback), &in6addr_loopback);
	mnl.mnl_attr_put_u32(b->h, RTA_PRIORITY, BEHIND_LO);
	mnl.mnl_attr_put_u32(b->h, RTA_OIF, index);
}

static struct ip alone(const struct ip *a)
{
	struct ip one = *a;

	one.prefix = (uint8_t)(8 * ip_len(a));
	return one;
}

static void configure_family(struct batch *b, uint32_t index, const struct ip *ip, bool routed)
{
	struct ip own = routed && ip->family ? alone(ip) : *ip;

	if (ip->family)
		add_address(b, index, &own);
}

static void route_family(
    struct batch *b, uint32_t index, const struct ip *ip, const struct ip *gateway, bool routed)
{
	struct ip all = { .family = ip->family }, via;

	if (!ip->family || !gateway->family)
		return;
	via = alone(gateway);
	if (routed)
		add_route(b, index, &via, NULL);
	add_route(b, index, &all, &via);
}

/* ---- links ---- */

bool bridged_packets_pass(const char *table)
{
	_cleanup_free_ char *value = NULL;
	char path[64];

	snprintf(path, sizeof(path), "/proc/sys/net/bridge/bridge-nf-call-%s", table);
	return kfile_read(AT_FDCWD, path, &value) == 0 && strcmp(value, "0") != 0;
}

/* Where they do, a packet whose destination becomes its own sender there is not routed but bridged,
 * back out of the port that it came in by. */
static bool needs_hairpin(void)
{
	return bridged_packets_pass("iptables") || bridged_packets_pass("ip6tables");
}

static void add_hairpin(struct batch *b, const char *name)
{
	struct nlattr *info, *data;

	batch_add(b, RTM_NEWLINK, NLM_F_ACK, sizeof(struct ifinfomsg));
	mnl.mnl_attr_put_strz(b->h, IFLA_IFNAME, name);
	info = mnl.mnl_attr_nest_start(b->h, IFLA_LINKINFO);
	mnl.mnl_attr_put_strz(b->h, IFLA_INFO_SLAVE_KIND, "bridge");
	data = mnl.mnl_attr_nest_start(b->h, IFLA_INFO_SLAVE_DATA);
	mnl.mnl_attr_put(b->h, IFLA_BRPORT_MODE, 1, &(uint8_t){ 1 });
	mnl.mnl_attr_nest_end(b->h, data);
	mnl.mnl_attr_nest_end(b->h, info);
}

/* An interface that a bridge has taken over has no address, not even a link-local one. */
static void add_no_address(struct batch *b)
{
	struct nlattr *spec = mnl.mnl_attr_nest_start(b->h, IFLA_AF_SPEC);
	struct nlattr *six = mnl.mnl_attr_nest_start(b->h, AF_INET6);

	mnl.mnl_attr_put(b->h, IFLA_INET6_ADDR_GEN_MODE, 1, &(uint8_t){ IN6_ADDR_GEN_MODE_NONE });
	mnl.mnl_attr_nest_end(b->h, six);
	mnl.mnl_attr_nest_end(b->h, spec);
}

static int set_vlan(struct batch *b, const struct veth *v, struct err *e)
{
	struct host_link l;
	int r = host_link_find(b, v->name, &l);

	if (r < 0)
		return err_errno(e, -r, "find %s", v->name);
	return bridge_vlan(b, l.index, v->vlan, false, e);
}

int veth_make(struct batch *b, const struct veth *v, struct err *e)
{
	struct nlattr *info, *data, *peer;
	struct ifinfomsg *i;
	int r;

	batch_begin(b);
	batch_add(b, RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, sizeof(*i));
	mnl.mnl_attr_put_strz(b->h, IFLA_IFNAME, v->name);
	mnl.mnl_attr_put_u32(b->h, IFLA_MTU, v->mtu);
	if (v->group)
		mnl.mnl_attr_put_u32(b->h, IFLA_GROUP, v->group);
	info = mnl.mnl_attr_nest_start(b->h, IFLA_LINKINFO);
	mnl.mnl_attr_put_strz(b->h, IFLA_INFO_KIND, "veth");
	data = mnl.mnl_attr_nest_start(b->h, IFLA_INFO_DATA);
	peer = mnl.mnl_attr_nest_start(b->h, VETH_INFO_PEER);
	mnl.mnl_nlmsg_put_extra_header(b->h, sizeof(*i));
	mnl.mnl_attr_put_strz(b->h, IFLA_IFNAME, NET_INNER);
	mnl.mnl_attr_put_u32(b->h, IFLA_MTU, v->mtu);
	mnl.mnl_attr_put(b->h, IFLA_ADDRESS, 6, v->mac);
	mnl.mnl_attr_put_u32(b->h, IFLA_NET_NS_FD, (uint32_t)v->netns);
	mnl.mnl_attr_nest_end(b->h, peer);
	mnl.mnl_attr_nest_end(b->h, data);
	mnl.mnl_attr_nest_end(b->h, info);
	/* Up in the message above would be ENOTCONN: the pair is no pair yet. */
	i = batch_add(b, RTM_NEWLINK, NLM_F_ACK, sizeof(*i));
	i->ifi_flags = i->ifi_change = IFF_UP;
	mnl.mnl_attr_put_strz(b->h, IFLA_IFNAME, v->name);
	if (v->master)
		mnl.mnl_attr_put_u32(b->h, IFLA_MASTER, v->master);
	if (v->master || v->is_port)
		add_no_address(b);
	if (v->master && needs_hairpin())
		add_hairpin(b, v->name);
	r = batch_send(b, NULL);
	if (r < 0)
		return err_errno(e, -r, "make the veth pair %s", v->name);
	/* Until then the port is in no VLAN: nothing passes. */
	return v->vlan ? set_vlan(b, v, e) : 0;
}

int sub_make(struct batch *b, enum net_kind kind, const char *name, int netns, const char *parent,
    const uint8_t *mac, struct err *e)
{
	const char *what = kind == NET_MACVLAN ? "macvlan" : "ipvlan";
	struct nlattr *info, *data;
	struct host_link p;
	int r = host_link_find(b, parent, &p);

	if (r < 0)
		return err_errno(e, -r, "--network %s:%s", what, parent);
	batch_begin(b);
	batch_add(b, RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	mnl.mnl_attr_put_strz(b->h, IFLA_IFNAME, name);
	mnl.mnl_attr_put_u32(b->h, IFLA_LINK, p.index);
	mnl.mnl_attr_put_u32(b->h, IFLA_NET_NS_FD, (uint32_t)netns);
	if (kind == NET_MACVLAN)
		mnl.mnl_attr_put(b->h, IFLA_ADDRESS, 6, mac);
	info = mnl.mnl_attr_nest_start(b->h, IFLA_LINKINFO);
	mnl.mnl_attr_put_strz(b->h, IFLA_INFO_KIND, what);
	data = mnl.mnl_attr_nest_start(b->h, IFLA_INFO_DATA);
	if (kind == NET_MACVLAN)
		mnl.mnl_attr_put_u32(b->h, IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
	else
		mnl.mnl_attr_put(b->h, IFLA_IPVLAN_MODE, 2, &(uint16_t){ IPVLAN_MODE_L2 });
	mnl.mnl_attr_nest_end(b->h, data);
	mnl.mnl_attr_nest_end(b->h, info);
	r = batch_send(b, NULL);
	if (r == -EOPNOTSUPP)
		return err_set(
		    e, EOPNOTSUPP, "--network %s:%s: this kernel has no %s", what, parent, what);
	return r < 0 ? err_errno(e, -r, "--network %s:%s: make the interface", what, parent) : 0;
}

int inner_configure(int netns, const struct inner *in, struct err *e)
{
	_cleanup_batch_ struct batch b = BATCH_INIT;
	struct host_link l;
	struct ifinfomsg *i;
	unsigned failed = 0;
	int r = batch_open_in(netns, NETLINK_ROUTE, &b, e);

	if (r < 0)
		return r;
	r = host_link_find(&b, in->from, &l);
	if (r < 0)
		return err_errno(e, -r, "find %s in the container", in->from);
	batch_begin(&b);
	/* Addresses before it is up: the host's end hears of no half-made one. */
	configure_family(&b, l.index, in->ip4, in->routed);
	configure_family(&b, l.index, in->ip6, in->routed);
	i = batch_add(&b, RTM_NEWLINK, NLM_F_ACK, sizeof(*i));
	i->ifi_index = (int)l.index;
	i->ifi_flags = i->ifi_change = IFF_UP;
	mnl.mnl_attr_put_strz(b.h, IFLA_IFNAME, NET_INNER);
	route_family(&b, l.index, in->ip4, in->gateway4, in->routed);
	route_family(&b, l.index, in->ip6, in->gateway6, in->routed);
	r = batch_send(&b, &failed);
	return r < 0 ? err_errno(
			   e, -r, "configure " NET_INNER " in the container (request %u)", failed)
		     : 0;
}

int ptp_configure(struct batch *b, const char *name, const struct network *n, const struct ip *ip4,
    const struct ip *ip6, struct err *e)
{
	struct host_link l;
	struct ip own, to;
	int r = host_link_find(b, name, &l);

	if (r < 0)
		return err_errno(e, -r, "find %s", name);
	batch_begin(b);
	for (int six = 0; six < 2; six++) {
		const struct ip *ip = six ? ip6 : ip4;

		if (!ip->family)
			continue;
		own = alone(six ? &n->gateway6 : &n->gateway4);
		to = alone(ip);
		add_address(b, l.index, &own);
		add_route(b, l.index, &to, NULL);
		if (six)
			add_route_loopback6(b, l.index);
	}
	r = batch_send(b, NULL);
	return r < 0 ? err_errno(e, -r, "configure %s", name) : 0;
}
