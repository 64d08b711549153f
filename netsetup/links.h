/* The links of one container, and the bridge that they share (rtnetlink(7), ip-link(8)). */
#pragma once
#include "netsetup/batch.h"
#include "netsetup/network.h"

#define NET_INNER "eth0" /* the interface's name in the container */

struct host_link {
	uint32_t index, flags, mtu, group;
	bool vlan_filtering; /* of a bridge */
};
/* Raw -errno; -ENODEV: none. */
int host_link_find(struct batch *b, const char *name, struct host_link *ret);
int host_link_del(struct batch *b, const char *name); /* none is no error */
/* The prefixes of the main tables, and the interface of the default route (0: none). */
int host_routes(
    struct batch *b, struct ip **ret, size_t *ret_n, uint32_t *ret_default, struct err *e);
/* MTU of the interface of the default route; 1500 without one. */
int host_mtu(struct batch *b, uint32_t *ret, struct err *e);

/* The network's bridge with its addresses, made where missing (bridge.c). It is up once it is
 * complete. */
int bridge_ensure(
    struct batch *b, int run, const struct network *n, struct host_link *ret, struct err *e);
/* Puts the bridge's port, or with self the bridge as a host's interface, into a VLAN: what comes in
 * without a tag belongs to it, and what goes out has none. */
int bridge_vlan(struct batch *b, uint32_t index, uint16_t vlan, bool self, struct err *e);
/* Forwarding of IPv4; of the interface: no router advertisements taken, forwarding, and with
 * loopback the way for what the host sends from 127.0.0.1. */
int forwarding_on(const char *interface, bool loopback, struct err *e);

/* A veth pair, its peer in netns as NET_INNER. */
struct veth {
	const char *name; /* the host's end */
	int netns;
	uint32_t mtu;
	const uint8_t *mac; /* of the container's end */
	uint32_t group;	    /* of the host's end; 0 with master */
	uint32_t master;    /* the bridge, 0: none */
	uint16_t vlan;	    /* of the bridge's port, untagged; 0: none */
	bool is_port;	    /* of a bridge, if of another kind: has no address of its own */
};
int veth_make(struct batch *b, const struct veth *v, struct err *e);
/* macvlan in bridge mode, or ipvlan in l2 mode, on parent: in netns under the name `name`. */
int sub_make(struct batch *b, enum net_kind kind, const char *name, int netns, const char *parent,
    const uint8_t *mac, struct err *e);
/* In the container: the interface `from` becomes NET_INNER, gets its addresses, comes up, then the
 * default routes. routed: the addresses are alone on the link, the gateways are reached by it. */
struct inner {
	const char *from;
	const struct ip *ip4, *ip6, *gateway4, *gateway6; /* family 0: none */
	bool routed;
};
int inner_configure(int netns, const struct inner *in, struct err *e);
/* The host's half of ptp: the gateways on the link, and a route to each address. */
int ptp_configure(struct batch *b, const char *name, const struct network *n, const struct ip *ip4,
    const struct ip *ip6, struct err *e);

/* Do bridges' packets pass the IP hooks of iptables or ip6tables (br_netfilter), and nftables' with
 * them? */
bool bridged_packets_pass(const char *table);

/* Helpers of both (raw messages into a batch). */
void add_address(struct batch *b, uint32_t index, const struct ip *a);
/* dst prefix 0: default; gateway NULL: on the link. */
void add_route(struct batch *b, uint32_t index, const struct ip *dst, const struct ip *gateway);
/* IPv6's counterpart of route_localnet, for an interface that is up: what comes in there and, the
 * address translated back, goes to ::1 has a route of the interface's own, which the kernel insists
 * on. Packets that arrive with ::1 in them are dropped before as ever (RFC 4291, 2.5.3). Those are
 * the translated ones too where bridged_packets_pass("ip6tables"). */
void add_route_loopback6(struct batch *b, uint32_t index);
