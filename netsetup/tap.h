/* Taps, and the redirection between one and an interface (tc-mirred(8)). */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "netsetup/rtnl.h"

/* What the names of taps begin with. */
#define TAP_PREFIX "vm-"

/* Makes the tap called name, with virtio headers; tun: /dev/net/tun, reopened here, because a tap
 * belongs to the network namespace in which it was opened. Returns the descriptor, -EBUSY when the
 * name is taken, or -errno. */
int tap_open(int tun, const char *name, struct err *e);
/* No address of its own making (before it is up), MTU, name, up: what is not NULL or 0. */
int tap_set(struct rtnl *r, uint32_t index, const char *name, uint32_t mtu);

/* Everything that comes in on either goes out by the other. An ingress qdisc that an earlier
 * machine has left on `index` is replaced, another is -EEXIST. */
int redirect_both(struct rtnl *r, uint32_t index, uint32_t tap);
/* Takes that back on index; its tap's goes with it. */
int redirect_end(struct rtnl *r, uint32_t index);
