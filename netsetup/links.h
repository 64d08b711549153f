/* The links of one container, and the bridge that they share (rtnetlink(7), ip-link(8)). */
#pragma once
#include "netsetup/batch.h"
#include "netsetup/network.h"

#define NET_INNER "eth0" /* the interface's name in the container */

struct host_link {
	uint32_t index, flags, mtu, group;
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
/* Forwarding of IPv4; of the interface: no router advertisements taken, forwarding, and with
 * loopback the way for what the host sends from 127.0.0.1. */
int forwarding_on(const char *interface, bool loopback, struct err *e);

/* A veth pair, its peer in netns as NET_INNER. master 0: none, group instead. */
int veth_make(struct batch *b, const char *name, int netns, uint32_t master, uint32_t group,
    uint32_t mtu, const uint8_t *mac, struct err *e);
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

/* Helpers of both (raw messages into a batch). */
void add_address(struct batch *b, uint32_t index, const struct ip *a);
/* dst prefix 0: default; gateway NULL: on the link. */
void add_route(struct batch *b, uint32_t index, const struct ip *dst, const struct ip *gateway);
