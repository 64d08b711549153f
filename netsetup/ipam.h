/* Addresses of a network's containers. */
#pragma once
#include "netsetup/network.h"

/* Takes an address of each family that the network has: want's, or where that has family 0 the next
 * free one; both families get the same number in their subnets where neither was asked for. -EBUSY
 * when the wanted one is taken, -ENOSPC when all are. */
int ipam_take(int run, const struct network *n, const struct ip *want4, const struct ip *want6,
    const char *owner, struct ip *ret4, struct ip *ret6, struct err *e);
/* Gives back what is dir's; addresses with family 0 unknown: then all are looked through. */
int ipam_release(
    int run, const char *network, const char *dir, const struct ip *a4, const struct ip *a6);
/* Has any living container an address in any network? 1, 0 or -errno. */
int ipam_is_used(int run);
