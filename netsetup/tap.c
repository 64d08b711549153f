#include "netsetup/tap.h"

#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/pkt_cls.h>
#include <linux/pkt_sched.h>
#include <linux/rtnetlink.h>
#include <linux/tc_act/tc_mirred.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"

/* Of our filters; an ingress qdisc that has no other is ours. */
#define PRIORITY 0xba1eu

int tap_open(int tun, const char *name, struct err *e)
{
	struct ifreq r = { .ifr_flags = IFF_TAP | IFF_NO_PI | IFF_VNET_HDR | IFF_TUN_EXCL };
	char path[FD_PATH_MAX];
	_cleanup_close_ int fd = open(fd_path(tun, path), O_RDWR | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_errno(e, errno, "open /dev/net/tun");
	snprintf(r.ifr_name, sizeof(r.ifr_name), "%s", name);
	if (ioctl(fd, TUNSETIFF, &r) < 0)
		return err_errno(e, errno, "make the tap %s", name);
	return steal_fd(&fd);
}

/* IFLA_AF_SPEC { AF_INET6 { IFLA_INET6_ADDR_GEN_MODE } } */
static void put_no_addresses(struct nlmsghdr *h)
{
	struct nlattr *spec = mnl.mnl_attr_nest_start(h, IFLA_AF_SPEC);
	struct nlattr *inet6 = mnl.mnl_attr_nest_start(h, AF_INET6);
	uint8_t mode = IN6_ADDR_GEN_MODE_NONE;

	mnl.mnl_attr_put(h, IFLA_INET6_ADDR_GEN_MODE, sizeof(mode), &mode);
	mnl.mnl_attr_nest_end(h, inet6);
	mnl.mnl_attr_nest_end(h, spec);
}

static int set_state(struct rtnl *r, uint32_t index, bool up, const char *name, uint32_t mtu)
{
	struct rtnl_msg m;
	struct ifinfomsg *i = rtnl_msg_init(&m, RTM_NEWLINK, 0, sizeof(*i));

	i->ifi_index = (int)index;
	i->ifi_change = IFF_UP;
	i->ifi_flags = up ? IFF_UP : 0;
	if (mtu)
		mnl.mnl_attr_put_u32(m.h, IFLA_MTU, mtu);
	if (name)
		mnl.mnl_attr_put_strz(m.h, IFLA_IFNAME, name);
	return rtnl_call(r, &m, NULL, NULL);
}

int tap_set(struct rtnl *r, uint32_t index, const char *name, uint32_t mtu)
{
	struct rtnl_msg m;
	struct ifinfomsg *i = rtnl_msg_init(&m, RTM_NEWLINK, 0, sizeof(*i));
	int rc;

	i->ifi_index = (int)index;
	put_no_addresses(m.h);
	rc = rtnl_call(r, &m, NULL, NULL);
	/* A kernel without IPv6, or with it switched off, makes none anyway. */
	if (rc < 0 && rc != -EAFNOSUPPORT && rc != -EOPNOTSUPP && rc != -EINVAL)
		return rc;
	/* Before Linux 6.2 only what is down already takes another name. */
	if (name && ((rc = set_state(r, index, false, NULL, 0)) < 0 ||
			(rc = set_state(r, index, false, name, 0)) < 0))
		return rc;
	return set_state(r, index, true, NULL, mtu);
}

/* ---- redirection ---- */

static struct tcmsg *begin(
    struct rtnl_msg *m, uint16_t type, uint16_t flags, uint32_t index, const char *kind)
{
	struct tcmsg *t = rtnl_msg_init(m, type, flags, sizeof(*t));

	t->tcm_family = AF_UNSPEC;
	t->tcm_ifindex = (int)index;
	if (kind)
		mnl.mnl_attr_put_strz(m->h, TCA_KIND, kind);
	return t;
}

static int qdisc_add(struct rtnl *r, uint32_t index)
{
	struct rtnl_msg m;
	struct tcmsg *t = begin(&m, RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, index, "ingress");

	t->tcm_parent = TC_H_INGRESS;
	t->tcm_handle = TC_H_MAKE(TC_H_INGRESS, 0);
	return rtnl_call(r, &m, NULL, NULL);
}

int redirect_end(struct rtnl *r, uint32_t index)
{
	struct rtnl_msg m;
	struct tcmsg *t = begin(&m, RTM_DELQDISC, 0, index, NULL);

	t->tcm_parent = TC_H_INGRESS;
	t->tcm_handle = TC_H_MAKE(TC_H_INGRESS, 0);
	return rtnl_call(r, &m, NULL, NULL);
}

static int foreign_cb(const struct nlmsghdr *h, void *data)
{
	const struct tcmsg *t = mnl.mnl_nlmsg_get_payload(h);

	if (h->nlmsg_type == RTM_NEWTFILTER && TC_H_MAJ(t->tcm_info) >> 16 != PRIORITY)
		*(bool *)data = true;
	return MNL_CB_OK;
}

/* The ingress qdisc of index, where an earlier machine's may be. */
static int qdisc_own(struct rtnl *r, uint32_t index)
{
	int rc = qdisc_add(r, index);
	bool foreign = false;
	struct rtnl_msg m;
	struct tcmsg *t;

	if (rc != -EEXIST)
		return rc;
	t = begin(&m, RTM_GETTFILTER, NLM_F_DUMP, index, NULL);
	t->tcm_parent = TC_H_MAKE(TC_H_INGRESS, 0);
	rc = rtnl_call(r, &m, foreign_cb, &foreign);
	if (rc < 0)
		return rc;
	if (foreign)
		return -EEXIST;
	rc = redirect_end(r, index);
	return rc < 0 ? rc : qdisc_add(r, index);
}

/* A list of actions with one: out by `to`, and no further. */
static void put_action(struct nlmsghdr *h, uint16_t list, uint32_t to)
{
	struct tc_mirred p = {
		.action = TC_ACT_STOLEN, .eaction = TCA_EGRESS_REDIR, .ifindex = to
	};
	struct nlattr *actions = mnl.mnl_attr_nest_start(h, list);
	struct nlattr *first = mnl.mnl_attr_nest_start(h, 1), *options;

	mnl.mnl_attr_put_strz(h, TCA_ACT_KIND, "mirred");
	options = mnl.mnl_attr_nest_start(h, TCA_ACT_OPTIONS);
	mnl.mnl_attr_put(h, TCA_MIRRED_PARMS, sizeof(p), &p);
	mnl.mnl_attr_nest_end(h, options);
	mnl.mnl_attr_nest_end(h, first);
	mnl.mnl_attr_nest_end(h, actions);
}

static int filter_add(struct rtnl *r, uint32_t from, uint32_t to, bool u32)
{
	/* One key, of zeroes: it matches all. */
	const struct tc_u32_sel sel = { .flags = TC_U32_TERMINAL, .nkeys = 1 };
	uint8_t match[sizeof(sel) + sizeof(struct tc_u32_key)] = { 0 };
	struct rtnl_msg m;
	struct tcmsg *t =
	    begin(&m, RTM_NEWTFILTER, NLM_F_CREATE | NLM_F_EXCL, from, u32 ? "u32" : "matchall");
	struct nlattr *options;

	memcpy(match, &sel, sizeof(sel));
	t->tcm_parent = TC_H_MAKE(TC_H_INGRESS, 0);
	t->tcm_info = TC_H_MAKE(PRIORITY << 16, __builtin_bswap16(ETH_P_ALL));
	options = mnl.mnl_attr_nest_start(m.h, TCA_OPTIONS);
	if (u32)
		mnl.mnl_attr_put(m.h, TCA_U32_SEL, sizeof(match), match);
	put_action(m.h, u32 ? TCA_U32_ACT : TCA_MATCHALL_ACT, to);
	mnl.mnl_attr_nest_end(m.h, options);
	return rtnl_call(r, &m, NULL, NULL);
}

static int redirect(struct rtnl *r, uint32_t from, uint32_t to)
{
	int rc = filter_add(r, from, to, false);

	if (rc != -ENOENT)
		return rc;
	log_debug("net: no matchall filter in this kernel, or no mirred action: trying u32");
	return filter_add(r, from, to, true);
}

int redirect_both(struct rtnl *r, uint32_t index, uint32_t tap)
{
	int rc = qdisc_own(r, tap);

	if (rc == 0)
		rc = redirect(r, tap, index);
	if (rc == 0)
		rc = qdisc_own(r, index);
	if (rc < 0)
		return rc;
	rc = redirect(r, index, tap);
	if (rc < 0)
		redirect_end(r, index);
	return rc;
}
