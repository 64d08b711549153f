/* What the command line says of a container's network. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "netsetup/network.h"

static const struct word {
	const char *word;
	enum net_kind kind;
	bool arg, addresses, ports;
} words[] = {
	{ "none", NET_NONE },
	{ "host", NET_HOST },
	{ "bridge", NET_BRIDGE, .addresses = true, .ports = true },
	{ "macvlan", NET_MACVLAN, .arg = true, .addresses = true },
	{ "ipvlan", NET_IPVLAN, .arg = true, .addresses = true },
	{ "ptp", NET_PTP, .addresses = true, .ports = true },
	{ "pasta", NET_PASTA, .ports = true },
	{ "ns", NET_NS, .arg = true },
};

int net_parse_kind(const char *s, struct net_request *ret, struct err *e)
{
	const char *colon = strchr(s, ':');
	size_t n = colon ? (size_t)(colon - s) : strlen(s);

	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		if (strlen(words[i].word) != n || strncmp(words[i].word, s, n) != 0)
			continue;
		if (words[i].arg != (colon && colon[1]))
			break;
		ret->kind = words[i].kind;
		ret->name = words[i].arg ? colon + 1 : words[i].word;
		return 0;
	}
	if (colon || !*s)
		return err_set(e, EINVAL,
		    "--network \"%s\": must be none, host, bridge, ptp, pasta, macvlan:INTERFACE, "
		    "ipvlan:INTERFACE, ns:PATH or a network's name",
		    s);
	for (size_t i = 0; i < ARRAY_SIZE(words); i++)
		if (streq(words[i].word, s))
			return err_set(e, EINVAL, "--network %s: needs :%s", s,
			    words[i].kind == NET_NS ? "PATH" : "INTERFACE");
	ret->kind = NET_BRIDGE;
	ret->name = s;
	return network_check_name(s, e);
}

int net_parse_mac(const char *s, struct net_request *ret, struct err *e)
{
	static const char hex[] = "0123456789abcdef";
	uint8_t mac[6] = { 0 };

	for (size_t i = 0; i < 17; i++) {
		const char *digit = s[i] ? strchr(hex, s[i] | (s[i] >= 'A' ? 0x20 : 0)) : NULL;

		if (i % 3 == 2 ? s[i] != ':' : !digit)
			return err_set(
			    e, EINVAL, "--mac \"%s\": must be like 02:00:5e:10:00:01", s);
		if (i % 3 != 2)
			mac[i / 3] = (uint8_t)(mac[i / 3] << 4 | (digit - hex));
	}
	if (s[17] || mac[0] & 1)
		return err_set(e, EINVAL, "--mac \"%s\": %s", s,
		    s[17] ? "too long" : "an address of a group, not of an interface");
	memcpy(ret->mac, mac, sizeof(mac));
	ret->has_mac = true;
	return 0;
}

static int bad_port(const char *s, const char *why, struct err *e)
{
	return err_set(e, EINVAL,
	    "-p \"%s\": %s: must be [ADDRESS:]HOST:CONTAINER[/tcp|udp], with "
	    "ports from 1 to 65535 and an IPv6 address in brackets",
	    s, why);
}

int net_parse_port(const char *s, struct net_port *ret, struct err *e)
{
	_cleanup_free_ char *copy = xstrdup(s);
	struct net_port p = { .proto = IPPROTO_TCP };
	char *slash = strrchr(copy, '/'), *inner, *host, *addr = copy;
	int64_t a, b;

	if (slash) {
		*slash++ = '\0';
		if (streq(slash, "udp"))
			p.proto = IPPROTO_UDP;
		else if (!streq(slash, "tcp"))
			return bad_port(s, "unknown protocol", e);
	}
	inner = strrchr(copy, ':');
	if (!inner)
		return bad_port(s, "one port only", e);
	*inner++ = '\0';
	host = strrchr(copy, ':');
	if (host)
		*host++ = '\0';
	else
		host = copy, addr = NULL;
	if (parse_int_range(host, 1, 65535, &a) < 0 || parse_int_range(inner, 1, 65535, &b) < 0)
		return bad_port(s, "not a port", e);
	p.host = (uint16_t)a;
	p.inner = (uint16_t)b;
	if (addr) {
		size_t n = strlen(addr);
		bool brackets = n > 2 && addr[0] == '[' && addr[n - 1] == ']';

		if (brackets) {
			addr[n - 1] = '\0';
			addr++;
		}
		if (strchr(addr, '/') || ip_parse(addr, &p.addr) < 0 ||
		    brackets != (p.addr.family == AF_INET6))
			return bad_port(s, "not an address", e);
	}
	*ret = p;
	return 0;
}

static const struct word *word_of(enum net_kind kind)
{
	for (size_t i = 0;; i++)
		if (words[i].kind == kind)
			return &words[i];
}

static int check_hosts(const struct net_request *q, struct err *e)
{
	struct ip a;

	for (char *const *v = q->hosts; v && *v; v++) {
		const char *colon = strchr(*v, ':');

		if (!colon || colon == *v || strpbrk(*v, " \t\n#") || strchr(colon, '/') ||
		    ip_parse(colon + 1, &a) < 0)
			return err_set(e, EINVAL, "--add-host \"%s\": must be NAME:ADDRESS", *v);
	}
	for (char *const *v = q->dns; v && *v; v++)
		if (strchr(*v, '/') || ip_parse(*v, &a) < 0)
			return err_set(e, EINVAL, "--dns \"%s\": must be an IP address", *v);
	return 0;
}

int net_check(const struct net_request *q, bool rootless, struct err *e)
{
	const struct word *w = word_of(q->kind);

	if (!w->addresses && (q->ip4.family || q->ip6.family || q->has_mac))
		return err_set(e, EINVAL, "--network %s: takes no --ip, --ip6 and --mac", w->word);
	if (q->gateway.family && !(q->kind == NET_MACVLAN || q->kind == NET_IPVLAN))
		return err_set(e, EINVAL, "--gateway is for macvlan and ipvlan alone");
	if (q->kind == NET_IPVLAN && q->has_mac)
		return err_set(e, EINVAL, "--network ipvlan: has its interface's MAC address");
	if (!w->ports && q->n_ports)
		return err_set(e, EINVAL, "--network %s: publishes no ports (-p)", w->word);
	if (q->ip4.family && q->ip4.family != AF_INET)
		return err_set(e, EINVAL, "--ip: must be an IPv4 address");
	if (q->ip6.family && q->ip6.family != AF_INET6)
		return err_set(e, EINVAL, "--ip6: must be an IPv6 address");
	if (rootless && (w->addresses || q->kind == NET_BRIDGE))
		return err_set(
		    e, EPERM, "--network %s: needs root: \"--network pasta\" needs none", w->word);
	return check_hosts(q, e);
}
