/*
 * The networks of containers that are started from the command line (run --network).
 *
 * Life of one, in order; runtime/run_network.c calls it:
 *   net_plan()    writes the intent into the container's state directory (network.json), then takes
 *                 addresses and ports, then writes resolv.conf, hosts and hostname there
 *   net_attach()  init's network namespace exists: links, addresses, routes, rules, or pasta
 *   net_undo()    all of it back, in reverse, by network.json and the kernel's facts alone; also
 *                 after a runtime that was killed, and when the namespace is gone
 *
 * What containers share lies below NET_RUN/INODE, where INODE is the host's network namespace's:
 * lock (flock), NAME.json (what was chosen for networks that have no file), addr/NETWORK/ADDRESS
 * and ports/KEY. The latter are symbolic links that point nowhere: made in one call that fails when
 * the name is taken, with the owner in it, so that there is no moment to crash in.
 */
#pragma once
#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/err.h"
#include "netsetup/ip.h"

#define NET_RUN	  "/run/bailey-net"
#define NET_FILES "/etc/bailey/networks"

/* ---- named networks: NET_FILES/NAME.json ---- */

#define NET_NAME_MAX 48
#define NET_VLAN_MAX 4094
struct network {
	char name[NET_NAME_MAX + 1];
	char interface[IFNAMSIZ]; /* the bridge; "" with ptp */
	bool openvswitch;	  /* the bridge is Open vSwitch's and the administrator's */
	uint16_t vlan;		  /* of the containers' ports, untagged there; 0: none */
	struct ip subnet4, gateway4, subnet6, gateway6;
	uint32_t mtu;  /* 0: of the route to the outside, with openvswitch of the bridge */
	bool isolated; /* from bailey's other networks */
};
/* Letters, digits, "_", "-" and "."; not one of the words that --network has. */
int network_check_name(const char *name, struct err *e);
/* "bridge" and "ptp" exist without a file: a private subnet that no route of the host nor network
 * overlaps is chosen and kept for this boot. -ENOENT for others without a file. */
int network_load(const char *name, struct network *ret, struct err *e);
/* For one who has taken an address in it since he loaded it: -ESTALE if it was removed or changed
 * before that. From now on network_remove() sees the address. Takes run's lock (claim.h). */
int network_confirm(const struct network *n, int run, struct err *e);
/* Fills in what is empty (interface, subnet, gateways), checks, writes the file; -EEXIST, also for
 * a bridge that another network has: only those of Open vSwitch may share one. */
int network_create(struct network *n, struct err *e);
/* Removes file and bridge (not Open vSwitch's); -EBUSY names a container that has an address in it.
 */
int network_remove(const char *name, struct err *e);
/* All that have a file or are in use. NULL-terminated, the caller strv_free()s. */
int network_names(char ***ret, struct err *e);
struct json_gen;
void network_json(struct json_gen *g, const struct network *n);
/* Makes what its members with a family, and the other fields, say of subnets into a whole:
 * gateways, prefixes. -EINVAL names the member. */
int network_complete(struct network *n, struct err *e);
/* Calls for each living container with an address in it. */
int network_users(const char *name, int (*fn)(void *ctx, const char *address, const char *dir),
    void *ctx, struct err *e);
/* Tables, rules and ports of all that lives, added anew after somebody flushed them. */
int network_reload(unsigned *ret_ports, struct err *e);

/* ---- one container's ---- */

enum net_kind {
	NET_NONE,
	NET_HOST,
	NET_BRIDGE,  /* name: the network's */
	NET_MACVLAN, /* name: the host's interface */
	NET_IPVLAN,
	NET_PTP,
	NET_PASTA,
	NET_NS, /* name: the namespace's path */
	NET_KINDS,
};
struct net_port {
	uint8_t proto; /* IPPROTO_TCP, IPPROTO_UDP */
	uint16_t host, inner;
	struct ip addr; /* of the host; family 0: all of both families */
};
struct net_request {
	enum net_kind kind;
	const char *name;
	struct ip ip4, ip6, gateway; /* given by the user, else family 0 */
	bool has_mac;
	uint8_t mac[6];
	struct net_port *ports;
	size_t n_ports;
	char *const *dns;   /* addresses */
	char *const *hosts; /* "NAME:ADDRESS" */
	const char *hostname;
};
/* Parses what follows --network. -EINVAL. */
int net_parse_kind(const char *s, struct net_request *ret, struct err *e);
int net_parse_mac(const char *s, struct net_request *ret, struct err *e);
/* [ADDR:]HOST:CTR[/tcp|udp], ADDR of IPv6 in brackets. */
int net_parse_port(const char *s, struct net_port *ret, struct err *e);
/* Contradictions, and what needs root. */
int net_check(const struct net_request *q, bool rootless, struct err *e);

struct net_plan {
	const struct net_request *q;
	struct network net;
	struct ip ip4, ip6;  /* the container's, with prefix */
	char link[IFNAMSIZ]; /* the host's end */
	const char *dir;     /* the container's state directory */
	int dirfd;
};
/* dir, dirfd: the state directory, borrowed. On failure net_undo() takes back what was done. */
int net_plan(
    const struct net_request *q, const char *dir, int dirfd, struct net_plan *ret, struct err *e);
/* pid: init, which waits; netns: its network namespace. */
int net_attach(struct net_plan *p, int netns, int pid, struct err *e);
/* No network.json: nothing to do. */
int net_undo(const char *dir, int dirfd, struct err *e);
