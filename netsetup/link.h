/* What moving an interface needs of rtnetlink: find, move, addresses, state. All return 0 or
 * -errno. */
#pragma once
#include <linux/if_addr.h>
#include <linux/netlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "netsetup/rtnl.h"

struct link {
	uint32_t index, flags; /* flags: IFF_* */
};
int link_find(struct rtnl *r, const char *name, struct link *ret); /* -ENODEV: none */
/* Into the namespace of netns_fd, as name, in one step. */
int link_move(struct rtnl *r, uint32_t index, int netns_fd, const char *name);
int link_set_up(struct rtnl *r, uint32_t index);

#define ADDR_ATTRS 6
struct addr {
	struct ifaddrmsg ifa;
	uint32_t flags;
	size_t n;
	struct {
		uint16_t type, len;
		uint8_t data[16];
	} attrs[ADDR_ATTRS];
};
struct addr_list {
	struct addr *v;
	size_t n;
};
void addr_list_free(struct addr_list *l);
/* The permanent addresses of global scope, of every family, in the kernel's order. */
int addr_list_read(struct rtnl *r, uint32_t index, struct addr_list *ret);
int addr_add(struct rtnl *r, uint32_t index, const struct addr *a);
