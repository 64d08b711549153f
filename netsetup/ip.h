/* IPv4 and IPv6 addresses and prefixes: text, order, arithmetic. */
#pragma once
#include <arpa/inet.h>
#include <stdbool.h>
#include <stdint.h>

#define IP_TEXT (INET6_ADDRSTRLEN + 4)

/* family 0: none. prefix: of a subnet, or of an address in it. Unused bytes are 0. */
struct ip {
	uint8_t family, prefix;
	uint8_t b[16];
};
static inline unsigned ip_len(const struct ip *a)
{
	return a->family == AF_INET ? 4 : 16;
}
/* Without "/N" the prefix is the whole address. -EINVAL for anything else. */
int ip_parse(const char *s, struct ip *ret);
/* With "/N" or without. Returns buf. */
char *ip_text(const struct ip *a, bool prefix, char buf[IP_TEXT]);
/* Same family and same bytes. */
bool ip_equal(const struct ip *a, const struct ip *b);
bool ip_in(const struct ip *subnet, const struct ip *a);
bool ip_overlaps(const struct ip *a, const struct ip *b);
bool ip_is_loopback(const struct ip *a);
bool ip_is_any(const struct ip *a);
/* The n-th address of a subnet, with its prefix; what lies beyond 64 bits of host part stays 0. */
struct ip ip_nth(const struct ip *subnet, uint64_t n);
/* The inverse. */
uint64_t ip_index(const struct ip *subnet, const struct ip *a);
/* The number of the last address that a host may have; 0: the subnet is too small for any. */
uint64_t ip_last(const struct ip *subnet);
/* The subnet that an address with its prefix lies in. */
struct ip ip_subnet(const struct ip *a);
