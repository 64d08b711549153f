#include "netsetup/link.h"

#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"

#ifndef IFA_PROTO
#define IFA_PROTO 11
#endif

/* Flags that somebody set; the others (tentative, secondary …) are the kernel's findings. */
#define ADDR_FLAGS_KEPT                                                                 \
	(IFA_F_NODAD | IFA_F_HOMEADDRESS | IFA_F_MANAGETEMPADDR | IFA_F_NOPREFIXROUTE | \
	    IFA_F_MCAUTOJOIN)

static int link_cb(const struct nlmsghdr *h, void *data)
{
	const struct ifinfomsg *i = mnl.mnl_nlmsg_get_payload(h);
	struct link *l = data;

	if (h->nlmsg_type == RTM_NEWLINK) {
		l->index = (uint32_t)i->ifi_index;
		l->flags = i->ifi_flags;
	}
	return MNL_CB_OK;
}

int link_find(struct rtnl *r, const char *name, struct link *ret)
{
	struct link l = { 0 };
	struct rtnl_msg m;
	int rc;

	if (!*name || strlen(name) >= IFNAMSIZ)
		return -EINVAL;
	rtnl_msg_init(&m, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
	mnl.mnl_attr_put_strz(m.h, IFLA_IFNAME, name);
	rc = rtnl_call(r, &m, link_cb, &l);
	if (rc < 0)
		return rc;
	if (l.index == 0)
		return -ENODEV;
	*ret = l;
	return 0;
}

int link_move(struct rtnl *r, uint32_t index, int netns_fd, const char *name)
{
	struct rtnl_msg m;
	struct ifinfomsg *i = rtnl_msg_init(&m, RTM_NEWLINK, 0, sizeof(*i));

	i->ifi_index = (int)index;
	mnl.mnl_attr_put_u32(m.h, IFLA_NET_NS_FD, (uint32_t)netns_fd);
	mnl.mnl_attr_put_strz(m.h, IFLA_IFNAME, name);
	return rtnl_call(r, &m, NULL, NULL);
}

int link_set_up(struct rtnl *r, uint32_t index)
{
	struct rtnl_msg m;
	struct ifinfomsg *i = rtnl_msg_init(&m, RTM_NEWLINK, 0, sizeof(*i));

	i->ifi_index = (int)index;
	i->ifi_flags = i->ifi_change = IFF_UP;
	return rtnl_call(r, &m, NULL, NULL);
}

struct addr_read {
	uint32_t index;
	struct addr_list list;
};

static int attr_cb(const struct nlattr *attr, void *data)
{
	struct addr *a = data;
	uint16_t type = mnl.mnl_attr_get_type(attr), len = mnl.mnl_attr_get_payload_len(attr);
	const void *payload = mnl.mnl_attr_get_payload(attr);

	switch (type) {
	case IFA_FLAGS:
		if (len == sizeof(a->flags))
			memcpy(&a->flags, payload, len);
		break;
	/* Not IFA_LABEL, which begins with the old name, nor IFA_CACHEINFO: permanent ones have no
	 * lifetime. */
	case IFA_ADDRESS:
	case IFA_LOCAL:
	case IFA_BROADCAST:
	case IFA_ANYCAST:
	case IFA_RT_PRIORITY:
	case IFA_PROTO:
		if (a->n == ADDR_ATTRS || len > sizeof(a->attrs[0].data))
			return MNL_CB_ERROR;
		a->attrs[a->n].type = type;
		a->attrs[a->n].len = len;
		memcpy(a->attrs[a->n++].data, payload, len);
	}
	return MNL_CB_OK;
}

static int addr_cb(const struct nlmsghdr *h, void *data)
{
	const struct ifaddrmsg *ifa = mnl.mnl_nlmsg_get_payload(h);
	struct addr_read *rd = data;
	struct addr a = { .ifa = *ifa, .flags = ifa->ifa_flags };

	if (h->nlmsg_type != RTM_NEWADDR || ifa->ifa_index != rd->index)
		return MNL_CB_OK;
	if (mnl.mnl_attr_parse(h, sizeof(*ifa), attr_cb, &a) < 0) {
		errno = EBADMSG;
		return MNL_CB_ERROR;
	}
	if (ifa->ifa_scope != RT_SCOPE_UNIVERSE || !(a.flags & IFA_F_PERMANENT))
		return MNL_CB_OK;
	rd->list.v = xrealloc(rd->list.v, (rd->list.n + 1) * sizeof(a));
	rd->list.v[rd->list.n++] = a;
	return MNL_CB_OK;
}

void addr_list_free(struct addr_list *l)
{
	free(l->v);
	*l = (struct addr_list){ 0 };
}

int addr_list_read(struct rtnl *r, uint32_t index, struct addr_list *ret)
{
	struct addr_read rd = { .index = index };
	struct rtnl_msg m;
	int rc;

	rtnl_msg_init(&m, RTM_GETADDR, NLM_F_DUMP, sizeof(struct ifaddrmsg));
	rc = rtnl_call(r, &m, addr_cb, &rd);
	if (rc < 0)
		addr_list_free(&rd.list);
	else
		*ret = rd.list;
	return rc;
}

int addr_add(struct rtnl *r, uint32_t index, const struct addr *a)
{
	struct rtnl_msg m;
	struct ifaddrmsg *ifa =
	    rtnl_msg_init(&m, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*ifa));

	ifa->ifa_family = a->ifa.ifa_family;
	ifa->ifa_prefixlen = a->ifa.ifa_prefixlen;
	ifa->ifa_scope = a->ifa.ifa_scope;
	ifa->ifa_index = index;
	mnl.mnl_attr_put_u32(m.h, IFA_FLAGS, a->flags & ADDR_FLAGS_KEPT);
	for (size_t i = 0; i < a->n; i++)
		mnl.mnl_attr_put(m.h, a->attrs[i].type, a->attrs[i].len, a->attrs[i].data);
	return rtnl_call(r, &m, NULL, NULL);
}
