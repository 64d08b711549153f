#include <errno.h>
#include <fcntl.h>
#include <linux/if_bridge.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "netsetup/claim.h"
#include "netsetup/links.h"
#include "netsetup/nft.h"

static int sysctl_set(const char *path, const char *value, struct err *e)
{
	_cleanup_free_ char *now = NULL;
	int r = kfile_read(AT_FDCWD, path, &now);

	if (r == 0 && strcmp(now, value) == 0)
		return 0;
	if (r == 0)
		r = kfile_write(AT_FDCWD, path, value);
	return r < 0 ? err_errno(e, -r, "%s", path) : 0;
}

int forwarding_on(const char *interface, bool loopback, struct err *e)
{
	static const char *const six[][2] = {
		{ "accept_ra", "0" }, { "forwarding", "1" }, /* of this interface alone */
	};
	char path[96];
	int r = sysctl_set("/proc/sys/net/ipv4/ip_forward", "1", e);

	if (r == 0 && loopback) {
		snprintf(
		    path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/route_localnet", interface);
		r = sysctl_set(path, "1", e);
	}
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(six); i++) {
		snprintf(path, sizeof(path), "/proc/sys/net/ipv6/conf/%s/%s", interface, six[i][0]);
		r = sysctl_set(path, six[i][1], e);
		if (r == -ENOENT) { /* a kernel without IPv6 */
			err_clear(e);
			return 0;
		}
	}
	return r;
}

int bridge_vlan(struct batch *b, uint32_t index, uint16_t vlan, bool self, struct err *e)
{
	const struct bridge_vlan_info v = {
		.flags = BRIDGE_VLAN_INFO_PVID | BRIDGE_VLAN_INFO_UNTAGGED,
		.vid = vlan,
	};
	struct nlattr *spec;
	struct ifinfomsg *i;
	int r;

	batch_begin(b);
	i = batch_add(b, RTM_SETLINK, NLM_F_ACK, sizeof(*i));
	i->ifi_family = PF_BRIDGE;
	i->ifi_index = (int)index;
	spec = mnl.mnl_attr_nest_start(b->h, IFLA_AF_SPEC);
	if (self)
		mnl.mnl_attr_put(b->h, IFLA_BRIDGE_FLAGS, 2, &(uint16_t){ BRIDGE_FLAGS_SELF });
	mnl.mnl_attr_put(b->h, IFLA_BRIDGE_VLAN_INFO, sizeof(v), &v);
	mnl.mnl_attr_nest_end(b->h, spec);
	r = batch_send(b, NULL);
	return r < 0 ? err_errno(e, -r, "put interface %u into VLAN %u", index, vlan) : 0;
}

static int no_vlans(const struct network *n, struct err *e)
{
	return err_set(e, EOPNOTSUPP,
	    "network \"%s\": .vlan: this kernel's bridges have no VLANs "
	    "(CONFIG_BRIDGE_VLAN_FILTERING)",
	    n->name);
}

/* A MAC address of its own: without one the bridge takes its lowest port's, and changes it. */
static int make(struct batch *b, const struct network *n, struct err *e)
{
	struct nlattr *info, *data;
	uint32_t mtu = n->mtu;
	uint8_t mac[6];
	int r = mtu ? 0 : host_mtu(b, &mtu, e);

	if (r < 0)
		return r;
	if (getrandom(mac, sizeof(mac), 0) != sizeof(mac))
		return err_errno(e, errno, "getrandom");
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 2);
	batch_begin(b);
	batch_add(b, RTM_NEWLINK, NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	mnl.mnl_attr_put_strz(b->h, IFLA_IFNAME, n->interface);
	mnl.mnl_attr_put(b->h, IFLA_ADDRESS, sizeof(mac), mac);
	mnl.mnl_attr_put_u32(b->h, IFLA_MTU, mtu);
	mnl.mnl_attr_put_u32(b->h, IFLA_GROUP, n->isolated ? NFT_GROUP_ISOLATED : NFT_GROUP);
	info = mnl.mnl_attr_nest_start(b->h, IFLA_LINKINFO);
	mnl.mnl_attr_put_strz(b->h, IFLA_INFO_KIND, "bridge");
	if (n->vlan) {
		/* Ports are in no VLAN but those that they were given. */
		data = mnl.mnl_attr_nest_start(b->h, IFLA_INFO_DATA);
		mnl.mnl_attr_put(b->h, IFLA_BR_VLAN_FILTERING, 1, &(uint8_t){ 1 });
		mnl.mnl_attr_put(b->h, IFLA_BR_VLAN_DEFAULT_PVID, 2, &(uint16_t){ 0 });
		mnl.mnl_attr_nest_end(b->h, data);
	}
	mnl.mnl_attr_nest_end(b->h, info);
	r = batch_send(b, NULL);
	if (r == -EOPNOTSUPP && n->vlan)
		return no_vlans(n, e);
	return r < 0 ? err_errno(e, -r, "make bridge %s", n->interface) : 0;
}

static int complete(struct batch *b, const struct network *n, struct host_link *l, struct err *e)
{
	struct ifinfomsg *i;
	int r = forwarding_on(n->interface, true, e);

	if (r == 0 && n->vlan)
		r = bridge_vlan(b, l->index, n->vlan, true, e);
	if (r < 0)
		return r;
	batch_begin(b);
	if (n->gateway4.family)
		add_address(b, l->index, &n->gateway4);
	if (n->gateway6.family)
		add_address(b, l->index, &n->gateway6);
	i = batch_add(b, RTM_NEWLINK, NLM_F_ACK, sizeof(*i));
	i->ifi_index = (int)l->index;
	i->ifi_flags = i->ifi_change = IFF_UP;
	if (n->gateway6.family)
		add_route_loopback6(b, l->index);
	r = batch_send(b, NULL);
	return r < 0 ? err_errno(e, -r, "configure bridge %s", n->interface) : 0;
}

/* Some kernels without VLANs of bridges make one as if it had not been asked for them. */
static int made_with_vlans(struct batch *b, const struct network *n, struct err *e)
{
	struct host_link l;
	int r = host_link_find(b, n->interface, &l);

	if (r < 0)
		return err_errno(e, -r, "look up bridge %s", n->interface);
	if (l.vlan_filtering)
		return 0;
	(void)host_link_del(b, n->interface);
	return no_vlans(n, e);
}

static int is_right(const struct network *n, const struct host_link *l, struct err *e)
{
	if (l->group != (n->isolated ? NFT_GROUP_ISOLATED : NFT_GROUP))
		return err_set(e, EEXIST,
		    "interface %s exists and is not the bridge of network \"%s\" (by its group)",
		    n->interface, n->name);
	if (l->vlan_filtering != !!n->vlan)
		return err_set(e, EEXIST,
		    "bridge %s was made %s a VLAN, unlike network \"%s\" has it now: \"ip link del "
		    "%s\" when no container is in it",
		    n->interface, n->vlan ? "without" : "with", n->name, n->interface);
	return 0;
}

int bridge_ensure(
    struct batch *b, int run, const struct network *n, struct host_link *ret, struct err *e)
{
	_cleanup_close_ int lock = -EBADF;
	struct host_link l;
	int r = host_link_find(b, n->interface, &l);

	if (r < 0 || !(l.flags & IFF_UP)) {
		r = run_lock(run, &lock, e);
		if (r < 0)
			return r;
		r = host_link_find(b, n->interface, &l);
		if (r == -ENODEV &&
		    ((r = make(b, n, e)) < 0 || (n->vlan && (r = made_with_vlans(b, n, e)) < 0)))
			return r;
		r = r < 0 ? r : host_link_find(b, n->interface, &l);
	}
	if (r < 0)
		return err_errno(e, -r, "look up bridge %s", n->interface);
	if ((r = is_right(n, &l, e)) < 0 ||
	    (!(l.flags & IFF_UP) && (r = complete(b, n, &l, e)) < 0))
		return r;
	*ret = l;
	return 0;
}
