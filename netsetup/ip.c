#include "netsetup/ip.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/str.h"

int ip_parse(const char *s, struct ip *ret)
{
	char text[INET6_ADDRSTRLEN];
	const char *slash = strchr(s, '/');
	size_t n = slash ? (size_t)(slash - s) : strlen(s);
	struct ip a = { .family = strchr(s, ':') ? AF_INET6 : AF_INET };
	int64_t prefix = 8 * ip_len(&a);

	if (n >= sizeof(text))
		return -EINVAL;
	memcpy(text, s, n);
	text[n] = '\0';
	if (inet_pton(a.family, text, a.b) != 1)
		return -EINVAL;
	if (slash && parse_int_range(slash + 1, 0, 8 * ip_len(&a), &prefix) < 0)
		return -EINVAL;
	a.prefix = (uint8_t)prefix;
	*ret = a;
	return 0;
}

char *ip_text(const struct ip *a, bool prefix, char buf[IP_TEXT])
{
	size_t n;

	buf[0] = '\0';
	if (!a->family || !inet_ntop(a->family, a->b, buf, INET6_ADDRSTRLEN))
		return buf;
	n = strlen(buf);
	if (prefix)
		snprintf(buf + n, IP_TEXT - n, "/%u", a->prefix);
	return buf;
}

bool ip_equal(const struct ip *a, const struct ip *b)
{
	return a->family == b->family && memcmp(a->b, b->b, sizeof(a->b)) == 0;
}

static bool same_bits(const struct ip *a, const struct ip *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	if (a->family != b->family || memcmp(a->b, b->b, whole) != 0)
		return false;
	return rest == 0 || (a->b[whole] ^ b->b[whole]) >> (8 - rest) == 0;
}

bool ip_in(const struct ip *subnet, const struct ip *a)
{
	return same_bits(subnet, a, subnet->prefix);
}

bool ip_overlaps(const struct ip *a, const struct ip *b)
{
	return same_bits(a, b, a->prefix < b->prefix ? a->prefix : b->prefix);
}

bool ip_is_loopback(const struct ip *a)
{
	struct in6_addr six;

	if (a->family == AF_INET)
		return a->b[0] == 127;
	memcpy(&six, a->b, sizeof(six));
	return IN6_IS_ADDR_LOOPBACK(&six);
}

bool ip_is_any(const struct ip *a)
{
	static const uint8_t zero[16];

	return memcmp(a->b, zero, sizeof(zero)) == 0;
}

struct ip ip_nth(const struct ip *subnet, uint64_t n)
{
	struct ip a = ip_subnet(subnet);

	for (int i = (int)ip_len(&a) - 1; i >= 0 && n; i--, n >>= 8)
		a.b[i] = (uint8_t)(a.b[i] | (n & 0xff));
	return a;
}

uint64_t ip_index(const struct ip *subnet, const struct ip *a)
{
	unsigned len = ip_len(a), host = 8 * len - subnet->prefix;
	uint64_t n = 0;

	for (unsigned i = len > 8 ? len - 8 : 0; i < len; i++)
		n = n << 8 | a->b[i];
	return host >= 64 ? n : n & ((1ull << host) - 1);
}

uint64_t ip_last(const struct ip *subnet)
{
	unsigned host = 8 * ip_len(subnet) - subnet->prefix;
	uint64_t all = host >= 64 ? UINT64_MAX : (1ull << host) - 1;

	/* The last of IPv4's is the broadcast address, the first of both the subnet's own. */
	return host < 2 ? 0 : all - 1;
}

struct ip ip_subnet(const struct ip *a)
{
	struct ip s = *a;

	for (unsigned bit = s.prefix; bit < 8 * ip_len(&s); bit++)
		s.b[bit / 8] = (uint8_t)(s.b[bit / 8] & ~(0x80 >> bit % 8));
	return s;
}
