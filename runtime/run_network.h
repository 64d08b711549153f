/* run --network: the options, and what they make of a configuration. */
#pragma once
#include <stddef.h>

#include "netsetup/network.h"
#include "runtime/cli.h"
#include "spec/spec.h"

struct network_opts {
	const char *network, *ip, *ip6, *mac, *gateway;
	char **publish, **dns, **add_host;
};

/* T: the verb's struct; F: its struct network_opts. */
/* clang-format off */
#define NETWORK_OPTS(T, F) \
	{ "network", 0, OPT_STR, offsetof(T, F.network), "NETWORK", "none, host, bridge, ptp, pasta, macvlan:INTERFACE, ipvlan:INTERFACE, ns:PATH or a network's name (default: as config.json says)", 0, 0 }, \
	{ "publish", 'p', OPT_STRV, offsetof(T, F.publish), "[ADDR:]HOST:CTR[/udp]", "a port of the host that leads to one of the container (repeatable)", 0, 0 }, \
	{ "ip", 0, OPT_STR, offsetof(T, F.ip), "ADDRESS", "IPv4 address; with /BITS for macvlan and ipvlan", 0, 0 }, \
	{ "ip6", 0, OPT_STR, offsetof(T, F.ip6), "ADDRESS", "IPv6 address, likewise", 0, 0 }, \
	{ "gateway", 0, OPT_STR, offsetof(T, F.gateway), "ADDRESS", "IPv4 gateway, for macvlan and ipvlan", 0, 0 }, \
	{ "mac", 0, OPT_STR, offsetof(T, F.mac), "ADDRESS", "MAC address (default: random)", 0, 0 }, \
	{ "dns", 0, OPT_STRV, offsetof(T, F.dns), "ADDRESS", "nameserver instead of the host's (repeatable)", 0, 0 }, \
	{ "add-host", 0, OPT_STRV, offsetof(T, F.add_host), "NAME:ADDRESS", "a line of /etc/hosts (repeatable)", 0, 0 }
/* clang-format on */

/* *ret_wanted false: none was asked for. The ports belong to the caller (free). */
int network_request(const struct network_opts *o, const char *hostname, bool rootless,
    struct net_request *ret, bool *ret_wanted, struct err *e);

/* Replaces *s by what config.json says with the network in place of its own: the network namespace,
 * the host name if q has one, and mounts of resolv.conf, hosts and hostname from the container's
 * state directory dir, unless the configuration mounts its own there. Fills in q->hostname. */
int network_spec(
    struct net_request *q, const char *id, const char *dir, struct spec **s, struct err *e);
