/* resolv.conf, hosts and hostname in a container's state directory, for its mounts. */
#pragma once
#include "netsetup/network.h"

#define DNS_RESOLV "resolv.conf"
#define DNS_HOSTS  "hosts"
#define DNS_NAME   "hostname"

/* ip4, ip6: the container's own, family 0: none. */
int dns_write(const struct net_request *q, int dirfd, const struct ip *ip4, const struct ip *ip6,
    struct err *e);
/* The text for the container of the host's resolv.conf: nameservers that listen on the host's
 * loopback are left out. *ret_resolved: systemd-resolved's was among them. The caller frees. */
char *dns_filter(const char *text, bool *ret_resolved);
