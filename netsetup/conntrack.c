#include "netsetup/conntrack.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>

#include "base/alloc.h"
#include "netsetup/batch.h"

#define FLOWS_MAX 10000

struct flow {
	uint8_t family;
	uint16_t len;
	uint8_t tuple[128]; /* CTA_TUPLE_ORIG's payload */
};
struct flows {
	uint16_t port; /* big-endian */
	struct flow *v;
	size_t n;
};

static const struct nlattr *find(const void *payload, size_t n, uint16_t type)
{
	const struct nlattr *a = payload;

	while (n >= sizeof(*a) && a->nla_len >= sizeof(*a) && a->nla_len <= n) {
		size_t step = MNL_ALIGN(a->nla_len);

		if ((a->nla_type & NLA_TYPE_MASK) == type)
			return a;
		if (step >= n)
			break;
		n -= step;
		a = (const void *)((const char *)a + step);
	}
	return NULL;
}

static const struct nlattr *inside(const struct nlattr *a, uint16_t type)
{
	return a ? find(a + 1, a->nla_len - sizeof(*a), type) : NULL;
}

static int flow_cb(const struct nlmsghdr *h, void *data)
{
	const struct nfgenmsg *g = mnl.mnl_nlmsg_get_payload(h);
	const struct nlattr *tuple, *proto, *num, *port;
	struct flows *f = data;
	size_t len;

	if (h->nlmsg_len < NLMSG_LENGTH(sizeof(*g)))
		return MNL_CB_OK;
	tuple = find(g + 1, h->nlmsg_len - NLMSG_LENGTH(sizeof(*g)), CTA_TUPLE_ORIG);
	proto = inside(tuple, CTA_TUPLE_PROTO);
	num = inside(proto, CTA_PROTO_NUM);
	port = inside(proto, CTA_PROTO_DST_PORT);
	if (!num || !port || *(const uint8_t *)(num + 1) != IPPROTO_UDP ||
	    memcmp(port + 1, &f->port, sizeof(f->port)) != 0)
		return MNL_CB_OK;
	len = tuple->nla_len - sizeof(*tuple);
	if (len > sizeof(f->v->tuple) || f->n == FLOWS_MAX)
		return MNL_CB_OK;
	f->v = xrealloc(f->v, (f->n + 1) * sizeof(*f->v));
	f->v[f->n].family = g->nfgen_family;
	f->v[f->n].len = (uint16_t)len;
	memcpy(f->v[f->n++].tuple, tuple + 1, len);
	return MNL_CB_OK;
}

static void request(struct batch *b, uint8_t family, uint16_t type, uint16_t flags)
{
	struct nfgenmsg *g;

	batch_begin(b);
	g = batch_add(b, (uint16_t)(NFNL_SUBSYS_CTNETLINK << 8 | type), flags, sizeof(*g));
	g->nfgen_family = family;
	g->version = NFNETLINK_V0;
}

static int remove_flow(struct batch *b, const struct flow *f)
{
	int r;

	request(b, f->family, IPCTNL_MSG_CT_DELETE, NLM_F_ACK);
	mnl.mnl_attr_put(b->h, CTA_TUPLE_ORIG | NLA_F_NESTED, f->len, f->tuple);
	r = batch_send(b, NULL);
	return r == -ENOENT ? 0 : r;
}

int conntrack_flush_udp(uint16_t port, struct err *e)
{
	_cleanup_batch_ struct batch b = BATCH_INIT;
	struct flows f = { .port = htons(port) };
	int r = batch_open(NETLINK_NETFILTER, &b, e);

	if (r < 0)
		return r;
	request(&b, AF_UNSPEC, IPCTNL_MSG_CT_GET, NLM_F_DUMP);
	r = batch_dump(&b, flow_cb, &f);
	for (size_t i = 0; i < f.n && r == 0; i++)
		r = remove_flow(&b, &f.v[i]);
	free(f.v);
	return r < 0 ? err_errno(e, -r, "conntrack: forget the flows to UDP port %u", port) : 0;
}
