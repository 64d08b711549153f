/*
 * A network namespace's interfaces, carried into a virtual machine.
 *
 * Each Ethernet interface gets a tap beside it and a redirection of everything that comes in on
 * either of them to the other's way out (tc(8): ingress qdisc, mirred). The kernel's own stack in
 * the namespace then sees no packet of theirs, so that it answers none: no ARP reply, no TCP reset,
 * no router advertisement taken. The interface keeps its addresses and routes, because engines look
 * for them there and change them there; the guest's get the same from the text that
 * carry_json() gives, and the same MAC address. Duplicate address detection of the stack's finds no
 * answers any more; the stack's announcements of what is configured on the interface (router
 * solicitations, multicast reports) go out as before and do no harm. The taps have no addresses at
 * all, not even link-local ones.
 *
 * Interfaces that come after the machine has started are carried by spare taps, which are devices
 * of the machine from the beginning.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define CARRY_MAX      16   /* interfaces and spares */
#define CARRY_LIST_MAX 1024 /* addresses, routes, neighbours of an interface */

#define CARRY_TEXT_MAX (1u << 20)

struct carry_config {
	int tun; /* /dev/net/tun (O_PATH will do); stays the caller's */
	unsigned spares;
};
struct carry_nic {
	int tap; /* IFF_TAP | IFF_NO_PI | IFF_VNET_HDR */
	uint8_t mac[6];
	uint16_t mtu; /* the most that the device will see */
};
struct carry;
/* In the network namespace to be carried, with CAP_NET_ADMIN over it and /proc mounted. An
 * interface that is up and no Ethernet, one with ingress filters of its own, and one that another
 * machine's tap carries already are errors that name it. */
int carry_open(const struct carry_config *c, struct carry **ret, struct err *e);
/* Takes the redirections back, as far as the interfaces are still there; the taps go when their
 * descriptors are closed. Accepts NULL. */
void carry_close(struct carry *c);
/* The network devices that the machine needs, 0 to carry_count() - 1; tap is the caller's from the
 * first call on. */
unsigned carry_count(const struct carry *c);
struct carry_nic carry_take(struct carry *c, unsigned i);
/* The text for GP_NET (guest/proto.h); until the next carry_update(). Interfaces without an
 * Ethernet's MAC address, tunnels of the kernel's that nobody uses among them, are left out. */
const char *carry_json(const struct carry *c);
/* Readable: something has changed, carry_update() says what. */
int carry_fd(const struct carry *c);
/* Reads everything anew: new interfaces take spare taps, those that went give theirs back. Never
 * blocks for anything but the kernel. Returns 1: carry_json() has changed, 0: it has not, or
 * -errno: nothing has changed. An interface that cannot be carried is left out with a warning,
 * once: it is tried again when its name, flags or MTU change, or another one goes. Same privilege
 * as carry_open(). */
int carry_update(struct carry *c, struct err *e);
/* The descriptors that carry_follow() works with, beside `out`: for a process that closes all
 * others. They stay the carry's. */
#define CARRY_FDS 2
void carry_fds(const struct carry *c, int ret[CARRY_FDS]);
/* For a process that keeps the privilege which the monitor gives up: hands each change on through
 * `out` (a stream socket), as a uint32_t of this machine's, the length, and the text; begins with
 * the present state if it is not what carry_open() found. A byte that comes from there is answered
 * by what has changed up to then, if anything, and a length of 0. Returns 0 when the other end is
 * closed.
 * What carry_update() cannot read is tried again at the next change, with a warning. */
int carry_follow(struct carry *c, int out, struct err *e);
