#include "netsetup/nft.h"

#include <errno.h>
#include <linux/netfilter/nf_tables.h>
#include <net/if.h>
#include <string.h>

#include "netsetup/nft_sets.h"

const struct nft_map nft_maps[NFT_MAPS] = {
	{ "ports4a", NFPROTO_IPV4, true },
	{ "ports4", NFPROTO_IPV4, false },
	{ "ports6a", NFPROTO_IPV6, true },
	{ "ports6", NFPROTO_IPV6, false },
};

static const struct nft_map *map_of(const struct nft_port *p)
{
	uint8_t family = p->to.family == AF_INET ? NFPROTO_IPV4 : NFPROTO_IPV6;

	for (size_t i = 0;; i++)
		if (nft_maps[i].family == family && nft_maps[i].with_addr == !!p->addr.family)
			return &nft_maps[i];
}

static size_t put_word(uint8_t *to, const void *v, size_t n)
{
	memcpy(to, v, n);
	return (n + 3) & ~(size_t)3;
}

static void put_value(struct nlmsghdr *h, uint16_t type, const void *v, size_t n)
{
	struct nlattr *a = mnl.mnl_attr_nest_start(h, type);

	mnl.mnl_attr_put(h, NFTA_DATA_VALUE, n, v);
	mnl.mnl_attr_nest_end(h, a);
}

static void element(struct batch *b, unsigned msg, uint16_t flags, const char *set, const void *key,
    size_t n_key, const void *value, size_t n_value)
{
	struct nlattr *list, *one;

	nft_add(b, msg, flags);
	mnl.mnl_attr_put_strz(b->h, NFTA_SET_ELEM_LIST_TABLE, NFT_TABLE);
	mnl.mnl_attr_put_strz(b->h, NFTA_SET_ELEM_LIST_SET, set);
	list = mnl.mnl_attr_nest_start(b->h, NFTA_SET_ELEM_LIST_ELEMENTS);
	one = mnl.mnl_attr_nest_start(b->h, NFTA_LIST_ELEM);
	put_value(b->h, NFTA_SET_ELEM_KEY, key, n_key);
	if (value)
		put_value(b->h, NFTA_SET_ELEM_DATA, value, n_value);
	mnl.mnl_attr_nest_end(b->h, one);
	mnl.mnl_attr_nest_end(b->h, list);
}

static void port_element(struct batch *b, unsigned msg, uint16_t flags, const struct nft_port *p)
{
	const uint16_t host = htons(p->host), inner = htons(p->inner);
	uint8_t key[24] = { 0 }, value[20] = { 0 };
	size_t k = 0, v;

	if (p->addr.family)
		k = put_word(key, p->addr.b, ip_len(&p->addr));
	k += put_word(key + k, &p->proto, 1);
	k += put_word(key + k, &host, 2);
	v = put_word(value, p->to.b, ip_len(&p->to));
	v += put_word(value + v, &inner, 2);
	element(
	    b, msg, flags, map_of(p)->name, key, k, msg == NFT_MSG_NEWSETELEM ? value : NULL, v);
}

/* One transaction for as many as surely fit. */
static int ports_change(
    struct batch *b, unsigned msg, uint16_t flags, const struct nft_port *v, size_t n)
{
	for (size_t i = 0; i < n;) {
		int r;

		nft_begin(b);
		for (size_t j = 0; j < 32 && i < n; j++, i++)
			port_element(b, msg, flags, &v[i]);
		r = nft_end(b, NULL);
		if (r < 0)
			return r;
	}
	return 0;
}

int nft_ports_add(struct batch *b, const struct nft_port *v, size_t n)
{
	return ports_change(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE | NLM_F_EXCL, v, n);
}

int nft_ports_del(struct batch *b, const struct nft_port *v, size_t n)
{
	int r = ports_change(b, NFT_MSG_DELSETELEM, 0, v, n);

	if (r != -ENOENT)
		return r;
	for (size_t i = 0; i < n; i++) {
		r = ports_change(b, NFT_MSG_DELSETELEM, 0, &v[i], 1);
		if (r < 0 && r != -ENOENT)
			return r;
	}
	return 0;
}

int nft_isolated_add(struct batch *b, const char *interface)
{
	char key[2 * IFNAMSIZ] = { 0 };

	memcpy(key, interface, strlen(interface));
	memcpy(key + IFNAMSIZ, interface, strlen(interface));
	nft_begin(b);
	element(b, NFT_MSG_NEWSETELEM, NLM_F_CREATE, NFT_SAME, key, sizeof(key), NULL, 0);
	return nft_end(b, NULL);
}
