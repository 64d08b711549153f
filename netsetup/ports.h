/* Published ports: who has which, and their rules. */
#pragma once
#include "netsetup/network.h"

/* The claim's name: "tcp-ADDRESS-PORT", with "any" for all addresses. The caller frees. */
char *port_key(const struct net_port *p);
/* Is nobody of the host listening there, who would no longer be reached? -EADDRINUSE. */
int port_check(const struct net_port *p, struct err *e);
/* Takes all ports of q for the container in dir, whose addresses are ip4 and ip6, then adds their
 * rules and forgets older UDP flows. */
int ports_claim(int run, const struct net_request *q, const char *dir, int dirfd,
    const struct ip *ip4, const struct ip *ip6, struct err *e);
int ports_publish(
    const struct net_request *q, const struct ip *ip4, const struct ip *ip6, struct err *e);
/* Rules, then claims, of those keys that are dir's. */
int ports_release(int run, char *const *keys, const char *dir, struct err *e);
/* The rules of all living owners' ports, into an empty table. */
int ports_republish(int run, unsigned *ret_n, struct err *e);
