/* Ports of Open vSwitch's bridges, by ovs-vsctl(8). The bridges, their controllers, flows and
 * uplinks are the administrator's; bailey adds and removes its containers' ports and nothing else.
 */
#pragma once
#include <stdint.h>

#include "base/err.h"

/* Is there such a bridge? -ENOENT also where there is no ovs-vsctl. */
int ovs_bridge_check(const char *bridge, struct err *e);
/* Makes the host's interface `port` a port of the bridge, untagged in vlan (0: a trunk of all), and
 * waits until Open vSwitch has it. id: the container's, noted at the port (external_ids:bailey).
 * The process that does it does not outlive this one. */
int ovs_port_add(
    const char *bridge, const char *port, uint16_t vlan, const char *id, struct err *e);
/* From whichever bridge it is in; none is no error, whether the interface is there or not. */
int ovs_port_del(const char *port, struct err *e);
