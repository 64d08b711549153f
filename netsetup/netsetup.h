/* Network set-up inside and into a container's network namespace (rtnetlink(7)). */
#pragma once
#include "base/err.h"
#include "spec/spec.h"

/* Brings "lo" up in the calling process's network namespace (SIOCSIFFLAGS: two calls, no netlink
 * needed). */
int net_loopback_up(struct err *e);
/* linux.netDevices: moves each host interface into the namespace netns_fd under its container name,
 * keeping global addresses, and sets it up. Called in the runtime's namespace. libmnl is loaded
 * here. */
int net_move_devices(const struct spec *s, int netns_fd, struct err *e);
