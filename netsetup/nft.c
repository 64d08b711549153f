#include "netsetup/nft.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>

static void control(struct batch *b, uint16_t type)
{
	struct nfgenmsg *g = batch_add(b, type, 0, sizeof(*g));

	g->nfgen_family = AF_UNSPEC;
	g->version = NFNETLINK_V0;
	g->res_id = htons(NFNL_SUBSYS_NFTABLES);
}

void nft_begin(struct batch *b)
{
	batch_begin(b);
	control(b, NFNL_MSG_BATCH_BEGIN);
}

int nft_end(struct batch *b, unsigned *ret_failed)
{
	control(b, NFNL_MSG_BATCH_END);
	return batch_send(b, ret_failed);
}

void nft_add(struct batch *b, unsigned msg, uint16_t flags)
{
	struct nfgenmsg *g = batch_add(b, (uint16_t)(NFNL_SUBSYS_NFTABLES << 8 | msg),
	    (uint16_t)(NLM_F_ACK | flags), sizeof(*g));

	g->nfgen_family = NFPROTO_INET;
	g->version = NFNETLINK_V0;
}
