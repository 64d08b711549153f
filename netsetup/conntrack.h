/* Connection tracking (ctnetlink). */
#pragma once
#include <stdint.h>

#include "base/err.h"

/* Forgets the UDP flows to a port of the host's: they would go on to where they went before, or
 * keep going to where nobody is any more, as long as somebody sends. */
int conntrack_flush_udp(uint16_t port, struct err *e);
