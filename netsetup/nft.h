/*
 * nftables over nfnetlink (linux/netfilter/nf_tables.h; nft(8)), without libnftnl: bailey has one
 * table of fixed rules and adds elements to its maps (docs/adr/0009-networks.md).
 *
 *   table inet bailey
 *     chain guard        raw: nobody on a bridge talks to the host's 127.0.0.0/8
 *     chain forward      isolated networks talk to no other of ours
 *     chain prerouting,
 *     chain output       nat: published ports, by the maps ports4, ports6 (any address of the
 *                        host) and ports4a, ports6a (one address)
 *     chain postrouting  nat: masquerade what leaves our bridges, and what comes back to them
 *
 * Rules know our interfaces by their group, so that a network costs no rule.
 */
#pragma once
#include "netsetup/batch.h"
#include "netsetup/network.h"

/* Of interfaces (IFLA_GROUP): bailey's bridges and host ends; those of isolated networks. */
#define NFT_GROUP	   0x000ba1e0u
#define NFT_GROUP_ISOLATED 0x000ba1e1u

#define NFT_TABLE "bailey"

/* ---- messages ---- */

void nft_begin(struct batch *b);		    /* of a transaction */
int nft_end(struct batch *b, unsigned *ret_failed); /* commits it. Raw -errno */
/* NFT_MSG_…, with the family's header; flags without NLM_F_ACK, which is added. */
void nft_add(struct batch *b, unsigned msg, uint16_t flags);

/* ---- the table (nft_table.c) ---- */

/* Makes the table with its rules where it is missing, under run's lock (claim.h). The caller has a
 * claim of his already, so that nobody removes it after. */
int nft_ensure(struct batch *b, int run, struct err *e);
/* Replaces the table, whatever has become of it, by one without elements. */
int nft_renew(struct batch *b, struct err *e);
/* None is no error. For who holds run's lock and has seen no claim. */
int nft_remove(struct batch *b, struct err *e);

/* ---- elements (nft_ports.c) ---- */

/* One published port, from (proto, host address or any, host port) to a container's address. */
struct nft_port {
	uint8_t proto;
	uint16_t host, inner;
	struct ip addr, to; /* addr family 0: any */
};
/* All in one transaction. Existing elements with the same key are -EEXIST. */
int nft_ports_add(struct batch *b, const struct nft_port *v, size_t n);
/* Those that are not there are no error, and neither is no table. */
int nft_ports_del(struct batch *b, const struct nft_port *v, size_t n);
/* Traffic between containers of one isolated bridge that comes by way of the host (its published
 * ports). */
int nft_isolated_add(struct batch *b, const char *interface);
