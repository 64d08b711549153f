/* The maps of table inet bailey, which table and elements agree on. */
#pragma once
#include <linux/netfilter.h>
#include <stdbool.h>
#include <stdint.h>

/* Key: (address,) protocol, port, each filled up to four bytes; value: address, port. */
struct nft_map {
	const char *name;
	uint8_t family;
	bool with_addr;
};
#define NFT_MAPS 4
extern const struct nft_map nft_maps[NFT_MAPS]; /* one address of the host's first */
#define NFT_SAME "same"				/* pairs of interfaces' names that may talk */
