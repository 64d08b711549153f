/* The guest's network as the host has it: NET of guest/proto.h. */
#pragma once
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/err.h"

struct net_addr {
	uint8_t family; /* AF_INET, AF_INET6 */
	uint8_t bytes[16];
	uint8_t prefix;
};
struct net_address {
	struct net_addr addr;
	bool has_broadcast;
	struct net_addr broadcast;
	uint8_t scope;
};
struct net_route {
	struct net_addr dst; /* prefix 0: default */
	bool has_gateway, has_source;
	struct net_addr gateway, source;
	uint32_t metric;
	uint8_t scope, type;
	bool onlink;
};
struct net_neighbour {
	struct net_addr addr;
	uint8_t mac[6];
};
struct net_interface {
	char name[IFNAMSIZ];
	uint8_t mac[6], device[6]; /* device: what the machine's has from the beginning */
	uint32_t mtu;		   /* 0: as it is */
	bool up;
	struct net_address *addresses;
	struct net_route *routes;
	struct net_neighbour *neighbours;
	size_t n_addresses, n_routes, n_neighbours;
	int index; /* net_apply()'s */
};
struct net_config {
	struct net_interface *v;
	size_t n;
};

/* Errors name the JSON path. What ret points to lives in a. */
int net_parse(struct arena *a, const char *json, size_t n, struct net_config *ret, struct err *e);
/* Makes the calling process's network namespace so. What is so already stays untouched. */
int net_apply(struct net_config *c, struct err *e);
/* Both. */
int net_configure(const char *json, size_t n, struct err *e);
