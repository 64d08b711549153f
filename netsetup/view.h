/* What a network namespace's Ethernet interfaces look like, and the text for a virtual machine's
 * agent that makes its own alike (GP_NET in guest/proto.h). */
#pragma once
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netsetup/rtnl.h"

/* An IP address or a prefix; family AF_UNSPEC: none. */
struct view_ip {
	uint8_t family, prefix;
	uint8_t bytes[16];
};
struct view_addr {
	struct view_ip ip, broadcast;
	uint8_t scope;
};
struct view_route {
	struct view_ip dst, gateway, source;
	uint32_t metric;
	uint8_t scope, type;
	bool onlink;
};
struct view_neigh {
	struct view_ip ip;
	uint8_t mac[6];
};
struct view_if {
	uint32_t index, flags, mtu;
	uint16_t type; /* ARPHRD_* */
	char name[IFNAMSIZ];
	uint8_t mac[6], device[6]; /* device: the machine's, the carrier's to fill in */
	struct view_addr *addrs;
	struct view_route *routes;
	struct view_neigh *neighs;
	size_t n_addrs, n_routes, n_neighs;
};
struct view {
	struct view_if *v;
	size_t n;
	unsigned left_out; /* routes of kinds that the text has no words for */
};
void view_free(struct view *w);
#define _cleanup_view_ __attribute__((cleanup(view_free)))
/* All interfaces but the loopback one and those whose names begin with "vm-", with at most
 * list_max addresses, routes and neighbours each: -E2BIG beyond. */
int view_read(struct rtnl *r, size_t list_max, struct view *ret);
/* The text; the caller frees. */
char *view_json(const struct view *w);
