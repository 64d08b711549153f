/* Table, maps, chains and rules of nft.h, in one transaction. */
#include "netsetup/nft.h"

#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter_ipv4.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#include "base/cleanup.h"
#include "netsetup/claim.h"
#include "netsetup/links.h"
#include "netsetup/nft_sets.h"

/* nf_tables speaks big-endian. */
static void put_u32(struct nlmsghdr *h, uint16_t type, uint32_t v)
{
	mnl.mnl_attr_put_u32(h, type, htonl(v));
}
static void put_str(struct nlmsghdr *h, uint16_t type, const char *s)
{
	mnl.mnl_attr_put_strz(h, type, s);
}

/* ---- rules ---- */

/* The registers of four bytes: what rules look at begins at R0, what maps give at V0. */
#define R(n) (NFT_REG32_00 + (n))
#define V0   R(8)
/* Of the first packet of a connection from a container to an address of the host's; the others'
 * bits of the packet's mark stay. */
#define MARK 0x08000000u

struct rule {
	struct nlmsghdr *h;
	struct nlattr *list, *elem, *data;
};

static struct rule rule_begin(struct batch *b, const char *chain)
{
	struct rule r;

	nft_add(b, NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
	r.h = b->h;
	put_str(r.h, NFTA_RULE_TABLE, NFT_TABLE);
	put_str(r.h, NFTA_RULE_CHAIN, chain);
	r.list = mnl.mnl_attr_nest_start(r.h, NFTA_RULE_EXPRESSIONS);
	return r;
}

static void rule_end(struct rule *r)
{
	mnl.mnl_attr_nest_end(r->h, r->list);
}

static void expr_begin(struct rule *r, const char *name)
{
	r->elem = mnl.mnl_attr_nest_start(r->h, NFTA_LIST_ELEM);
	put_str(r->h, NFTA_EXPR_NAME, name);
	r->data = mnl.mnl_attr_nest_start(r->h, NFTA_EXPR_DATA);
}

static void expr_end(struct rule *r)
{
	mnl.mnl_attr_nest_end(r->h, r->data);
	mnl.mnl_attr_nest_end(r->h, r->elem);
}

static void put_data(struct rule *r, uint16_t type, const void *v, size_t n)
{
	struct nlattr *a = mnl.mnl_attr_nest_start(r->h, type);

	mnl.mnl_attr_put(r->h, NFTA_DATA_VALUE, n, v);
	mnl.mnl_attr_nest_end(r->h, a);
}

static void meta(struct rule *r, uint32_t key, uint32_t reg)
{
	expr_begin(r, "meta");
	put_u32(r->h, NFTA_META_DREG, reg);
	put_u32(r->h, NFTA_META_KEY, key);
	expr_end(r);
}

static void payload(struct rule *r, uint32_t base, uint32_t off, uint32_t len, uint32_t reg)
{
	expr_begin(r, "payload");
	put_u32(r->h, NFTA_PAYLOAD_DREG, reg);
	put_u32(r->h, NFTA_PAYLOAD_BASE, base);
	put_u32(r->h, NFTA_PAYLOAD_OFFSET, off);
	put_u32(r->h, NFTA_PAYLOAD_LEN, len);
	expr_end(r);
}

static void cmp(struct rule *r, uint32_t op, uint32_t reg, const void *v, size_t n)
{
	expr_begin(r, "cmp");
	put_u32(r->h, NFTA_CMP_SREG, reg);
	put_u32(r->h, NFTA_CMP_OP, op);
	put_data(r, NFTA_CMP_DATA, v, n);
	expr_end(r);
}

static void mask(struct rule *r, uint32_t reg, const void *m, const void *x, size_t n)
{
	expr_begin(r, "bitwise");
	put_u32(r->h, NFTA_BITWISE_SREG, reg);
	put_u32(r->h, NFTA_BITWISE_DREG, reg);
	put_u32(r->h, NFTA_BITWISE_LEN, (uint32_t)n);
	put_data(r, NFTA_BITWISE_MASK, m, n);
	put_data(r, NFTA_BITWISE_XOR, x, n);
	expr_end(r);
}

static void lookup(struct rule *r, const char *set, uint32_t from, uint32_t to)
{
	expr_begin(r, "lookup");
	put_str(r->h, NFTA_LOOKUP_SET, set);
	put_u32(r->h, NFTA_LOOKUP_SREG, from);
	if (to)
		put_u32(r->h, NFTA_LOOKUP_DREG, to);
	expr_end(r);
}

static void verdict(struct rule *r, int code)
{
	struct nlattr *a, *v;

	expr_begin(r, "immediate");
	put_u32(r->h, NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT);
	a = mnl.mnl_attr_nest_start(r->h, NFTA_IMMEDIATE_DATA);
	v = mnl.mnl_attr_nest_start(r->h, NFTA_DATA_VERDICT);
	put_u32(r->h, NFTA_VERDICT_CODE, (uint32_t)code);
	mnl.mnl_attr_nest_end(r->h, v);
	mnl.mnl_attr_nest_end(r->h, a);
	expr_end(r);
}

static void masquerade(struct rule *r)
{
	expr_begin(r, "masq");
	expr_end(r);
}

static void dnat(struct rule *r, uint32_t family, uint32_t addr, uint32_t port)
{
	expr_begin(r, "nat");
	put_u32(r->h, NFTA_NAT_TYPE, NFT_NAT_DNAT);
	put_u32(r->h, NFTA_NAT_FAMILY, family);
	put_u32(r->h, NFTA_NAT_REG_ADDR_MIN, addr);
	put_u32(r->h, NFTA_NAT_REG_PROTO_MIN, port);
	expr_end(r);
}

static void is_family(struct rule *r, uint8_t family)
{
	meta(r, NFT_META_NFPROTO, R(0));
	cmp(r, NFT_CMP_EQ, R(0), &family, 1);
}

/* key: NFT_META_IIFGROUP or OIFGROUP. */
static void is_ours(struct rule *r, uint32_t key, bool yes)
{
	const uint32_t bits = ~(NFT_GROUP ^ NFT_GROUP_ISOLATED), none = 0, group = NFT_GROUP;

	meta(r, key, R(0));
	mask(r, R(0), &bits, &none, sizeof(bits));
	cmp(r, yes ? NFT_CMP_EQ : NFT_CMP_NEQ, R(0), &group, sizeof(group));
}

static void is_isolated(struct rule *r, uint32_t key)
{
	const uint32_t group = NFT_GROUP_ISOLATED;

	meta(r, key, R(0));
	cmp(r, NFT_CMP_EQ, R(0), &group, sizeof(group));
}

/* off: of the address in IPv4's header: 12 source, 16 destination. */
static void is_loopback_net(struct rule *r, uint32_t off)
{
	const uint8_t net = 127;

	is_family(r, NFPROTO_IPV4);
	payload(r, NFT_PAYLOAD_NETWORK_HEADER, off, 1, R(0));
	cmp(r, NFT_CMP_EQ, R(0), &net, 1);
}

/* off: of the address in IPv6's header: 8 source, 24 destination. */
static void is_loopback6(struct rule *r, uint32_t off)
{
	is_family(r, NFPROTO_IPV6);
	payload(r, NFT_PAYLOAD_NETWORK_HEADER, off, sizeof(in6addr_loopback), R(0));
	cmp(r, NFT_CMP_EQ, R(0), &in6addr_loopback, sizeof(in6addr_loopback));
}

/* The destination is an address of the host's. */
static void is_local(struct rule *r)
{
	const uint32_t local = RTN_LOCAL;

	expr_begin(r, "fib");
	put_u32(r->h, NFTA_FIB_DREG, R(0));
	put_u32(r->h, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
	put_u32(r->h, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
	expr_end(r);
	cmp(r, NFT_CMP_EQ, R(0), &local, sizeof(local));
}

static void port_rule(struct batch *b, const char *chain, const struct nft_map *m)
{
	struct rule r = rule_begin(b, chain);
	unsigned words = m->family == NFPROTO_IPV4 ? 1 : 4, at = 0;

	is_family(&r, m->family);
	if (m->with_addr) {
		payload(&r, NFT_PAYLOAD_NETWORK_HEADER, words == 1 ? 16 : 24, words * 4, R(0));
		at = words;
	} else {
		is_local(&r);
	}
	meta(&r, NFT_META_L4PROTO, R(at));
	payload(&r, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, R(at + 1));
	lookup(&r, m->name, R(0), V0);
	dnat(&r, m->family, V0, V0 + words);
	rule_end(&r);
}

/* Postrouting cannot tell by the interface that a packet came from a container: where bridged
 * packets pass the IP hooks (br_netfilter) there is none. */
static void mark_rule(struct batch *b)
{
	struct rule r = rule_begin(b, "prerouting");

	is_ours(&r, NFT_META_IIFGROUP, true);
	is_local(&r);
	meta(&r, NFT_META_MARK, R(0));
	mask(&r, R(0), &(uint32_t){ ~MARK }, &(uint32_t){ MARK }, 4);
	expr_begin(&r, "meta");
	put_u32(r.h, NFTA_META_KEY, NFT_META_MARK);
	put_u32(r.h, NFTA_META_SREG, R(0));
	expr_end(&r);
	rule_end(&r);
}

static void rules(struct batch *b)
{
	static const char *const nat[] = { "prerouting", "output" };
	struct rule r;

	for (int source = 0; source < 2; source++) {
		r = rule_begin(b, "guard");
		is_ours(&r, NFT_META_IIFGROUP, true);
		is_loopback_net(&r, source ? 12 : 16);
		verdict(&r, NF_DROP);
		rule_end(&r);
	}
	r = rule_begin(b, "forward");
	meta(&r, NFT_META_IIFNAME, NFT_REG_1);
	meta(&r, NFT_META_OIFNAME, NFT_REG_2);
	lookup(&r, NFT_SAME, NFT_REG_1, 0);
	verdict(&r, NF_ACCEPT);
	rule_end(&r);
	for (int in = 0; in < 2; in++) {
		r = rule_begin(b, "forward");
		is_ours(&r, NFT_META_IIFGROUP, true);
		is_ours(&r, NFT_META_OIFGROUP, true);
		is_isolated(&r, in ? NFT_META_IIFGROUP : NFT_META_OIFGROUP);
		verdict(&r, NF_DROP);
		rule_end(&r);
	}
	mark_rule(b);
	/* No answer would come (see port_check()): better refused at once than waited for. */
	if (bridged_packets_pass("ip6tables")) {
		r = rule_begin(b, "output");
		is_loopback6(&r, 24);
		verdict(&r, NF_ACCEPT);
		rule_end(&r);
	}
	for (size_t c = 0; c < ARRAY_SIZE(nat); c++)
		for (size_t i = 0; i < NFT_MAPS; i++)
			port_rule(b, nat[c], &nft_maps[i]);
	r = rule_begin(b, "postrouting");
	is_ours(&r, NFT_META_IIFGROUP, true);
	is_ours(&r, NFT_META_OIFGROUP, false);
	masquerade(&r);
	rule_end(&r);
	/* A container that reaches its neighbour, or itself, by the host's port: the answer has to
	 * come back by the host. */
	r = rule_begin(b, "postrouting");
	is_ours(&r, NFT_META_OIFGROUP, true);
	meta(&r, NFT_META_MARK, R(0));
	mask(&r, R(0), &(uint32_t){ MARK }, &(uint32_t){ 0 }, 4);
	cmp(&r, NFT_CMP_NEQ, R(0), &(uint32_t){ 0 }, 4);
	expr_begin(&r, "ct");
	put_u32(r.h, NFTA_CT_DREG, R(0));
	put_u32(r.h, NFTA_CT_KEY, NFT_CT_STATUS);
	expr_end(&r);
	mask(&r, R(0), &(uint32_t){ IPS_DST_NAT }, &(uint32_t){ 0 }, 4);
	cmp(&r, NFT_CMP_NEQ, R(0), &(uint32_t){ 0 }, 4);
	masquerade(&r);
	rule_end(&r);
	/* The host's own, by 127.0.0.1 and ::1. */
	for (int six = 0; six < 2; six++) {
		r = rule_begin(b, "postrouting");
		is_ours(&r, NFT_META_OIFGROUP, true);
		if (six)
			is_loopback6(&r, 8);
		else
			is_loopback_net(&r, 12);
		masquerade(&r);
		rule_end(&r);
	}
}

/* ---- chains, maps ---- */

static void chain(struct batch *b, const char *name, const char *type, uint32_t hook, int priority)
{
	struct nlattr *a;

	nft_add(b, NFT_MSG_NEWCHAIN, NLM_F_CREATE);
	put_str(b->h, NFTA_CHAIN_TABLE, NFT_TABLE);
	put_str(b->h, NFTA_CHAIN_NAME, name);
	a = mnl.mnl_attr_nest_start(b->h, NFTA_CHAIN_HOOK);
	put_u32(b->h, NFTA_HOOK_HOOKNUM, hook);
	put_u32(b->h, NFTA_HOOK_PRIORITY, (uint32_t)priority);
	mnl.mnl_attr_nest_end(b->h, a);
	put_u32(b->h, NFTA_CHAIN_POLICY, NF_ACCEPT);
	put_str(b->h, NFTA_CHAIN_TYPE, type);
}

static void set(struct batch *b, const char *name, uint32_t id, uint32_t type, uint32_t len)
{
	nft_add(b, NFT_MSG_NEWSET, NLM_F_CREATE);
	put_str(b->h, NFTA_SET_TABLE, NFT_TABLE);
	put_str(b->h, NFTA_SET_NAME, name);
	put_u32(b->h, NFTA_SET_ID, id);
	put_u32(b->h, NFTA_SET_KEY_TYPE, type);
	put_u32(b->h, NFTA_SET_KEY_LEN, len);
}

/* What nft(8) calls its types, six bits each. */
enum { T_IPV4 = 7, T_IPV6 = 8, T_PROTO = 12, T_SERVICE = 13, T_IFNAME = 41 };

static void sets(struct batch *b)
{
	for (size_t i = 0; i < NFT_MAPS; i++) {
		const struct nft_map *m = &nft_maps[i];
		uint32_t ip = m->family == NFPROTO_IPV4 ? T_IPV4 : T_IPV6;
		uint32_t len = m->family == NFPROTO_IPV4 ? 4 : 16;
		uint32_t key = T_PROTO << 6 | T_SERVICE;

		if (m->with_addr)
			key |= ip << 12;
		set(b, m->name, (uint32_t)i + 1, key, 8 + (m->with_addr ? len : 0));
		put_u32(b->h, NFTA_SET_FLAGS, NFT_SET_MAP);
		put_u32(b->h, NFTA_SET_DATA_TYPE, ip << 6 | T_SERVICE);
		put_u32(b->h, NFTA_SET_DATA_LEN, len + 4);
	}
	set(b, NFT_SAME, NFT_MAPS + 1, T_IFNAME << 6 | T_IFNAME, 32);
}

static void table(struct batch *b)
{
	nft_add(b, NFT_MSG_NEWTABLE, NLM_F_CREATE);
	put_str(b->h, NFTA_TABLE_NAME, NFT_TABLE);
	sets(b);
	chain(b, "guard", "filter", NF_INET_PRE_ROUTING, NF_IP_PRI_RAW);
	chain(b, "forward", "filter", NF_INET_FORWARD, NF_IP_PRI_FILTER);
	chain(b, "prerouting", "nat", NF_INET_PRE_ROUTING, NF_IP_PRI_NAT_DST);
	chain(b, "output", "nat", NF_INET_LOCAL_OUT, NF_IP_PRI_NAT_DST);
	chain(b, "postrouting", "nat", NF_INET_POST_ROUTING, NF_IP_PRI_NAT_SRC);
	rules(b);
}

/* The last thing of the transaction: who sees the table sees all of it. */
static int exists(struct batch *b)
{
	batch_begin(b);
	nft_add(b, NFT_MSG_GETTABLE, 0);
	put_str(b->h, NFTA_TABLE_NAME, NFT_TABLE);
	return batch_send(b, NULL);
}

static int made(struct batch *b, struct err *e)
{
	unsigned failed = 0;
	int r = nft_end(b, &failed);

	return r == 0 ? 0
		      : err_errno(e, -r,
			    "nftables: make table inet " NFT_TABLE
			    " (message %u): the kernel needs nf_tables with NAT, fib and "
			    "masquerade for the inet family",
			    failed);
}

int nft_renew(struct batch *b, struct err *e)
{
	nft_begin(b);
	nft_add(b, NFT_MSG_NEWTABLE, NLM_F_CREATE); /* so that there is one to delete */
	put_str(b->h, NFTA_TABLE_NAME, NFT_TABLE);
	nft_add(b, NFT_MSG_DELTABLE, 0);
	put_str(b->h, NFTA_TABLE_NAME, NFT_TABLE);
	table(b);
	return made(b, e);
}

int nft_ensure(struct batch *b, int run, struct err *e)
{
	_cleanup_close_ int lock = -EBADF;
	/* Also for the look: nobody removes what it has found meanwhile. */
	int r = run_lock(run, &lock, e);

	if (r < 0)
		return r;
	r = exists(b);
	if (r != -ENOENT)
		return r < 0 ? err_errno(e, -r, "nftables: look up table inet " NFT_TABLE) : 0;
	nft_begin(b);
	table(b);
	return made(b, e);
}

int nft_remove(struct batch *b, struct err *e)
{
	int r;

	nft_begin(b);
	nft_add(b, NFT_MSG_DELTABLE, 0);
	put_str(b->h, NFTA_TABLE_NAME, NFT_TABLE);
	r = nft_end(b, NULL);
	/* EOPNOTSUPP: a kernel without nf_tables. */
	return r == 0 || r == -ENOENT || r == -EOPNOTSUPP
		   ? 0
		   : err_errno(e, -r, "nftables: remove table inet " NFT_TABLE);
}
