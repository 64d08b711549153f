/* What the command line says of a container's network: the input's first letter chooses the option,
 * the rest is its value. */
#include <netinet/in.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "netsetup/dns.h"
#include "netsetup/network.h"
#include "netsetup/ports.h"
#include "tests/fuzz/fuzz.h"

static void an_address(const char *s)
{
	struct ip a, b;
	char text[IP_TEXT];

	if (ip_parse(s, &a) < 0)
		return;
	MUST(a.family == AF_INET || a.family == AF_INET6);
	MUST(a.prefix <= 8 * ip_len(&a));
	MUST(ip_parse(ip_text(&a, true, text), &b) == 0 && memcmp(&a, &b, sizeof(a)) == 0);
	b = ip_subnet(&a);
	MUST(ip_in(&b, &a) && ip_overlaps(&a, &b) && ip_index(&b, &b) == 0);
	if (8 * ip_len(&a) - a.prefix > 64)
		return;
	b = ip_nth(&b, ip_index(&b, &a));
	MUST(ip_equal(&a, &b));
}

static void a_network(const char *s)
{
	struct net_request q = { 0 };
	struct err e = ERR_INIT;
	int r = net_parse_kind(s, &q, &e);

	must_be_consistent(r, &e);
	MUST(r < 0 || (q.kind < NET_KINDS && q.name && *q.name));
	/* It becomes a file's name. */
	MUST(r < 0 || q.kind != NET_BRIDGE || !strchr(q.name, '/'));
}

static void a_port(const char *s)
{
	_cleanup_free_ char *key = NULL, *bare = NULL;
	struct net_port p, again;
	struct err e = ERR_INIT;
	char text[IP_TEXT];
	int r = net_parse_port(s, &p, &e);

	must_be_consistent(r, &e);
	if (r < 0)
		return;
	MUST(p.host && p.inner && (p.proto == IPPROTO_TCP || p.proto == IPPROTO_UDP));
	key = port_key(&p);
	MUST(!strchr(key, '/')); /* a file's name as well */
	ip_text(&p.addr, false, text);
	bare = xasprintf("%s%s%s%s%u:%u/%s", p.addr.family == AF_INET6 ? "[" : "", text,
	    p.addr.family == AF_INET6 ? "]" : "", p.addr.family ? ":" : "", p.host, p.inner,
	    p.proto == IPPROTO_UDP ? "udp" : "tcp");
	MUST(net_parse_port(bare, &again, &e) == 0);
	MUST(again.host == p.host && again.inner == p.inner && again.proto == p.proto &&
	     ip_equal(&again.addr, &p.addr));
}

static void a_mac(const char *s)
{
	struct net_request q = { 0 };
	struct err e = ERR_INIT;
	int r = net_parse_mac(s, &q, &e);

	must_be_consistent(r, &e);
	MUST(r < 0 || (q.has_mac && !(q.mac[0] & 1) && strlen(s) == 17));
}

static void a_host(const char *s)
{
	char *const v[] = { (char *)s, NULL };
	const struct net_request hosts = { .kind = NET_NONE, .hosts = v };
	const struct net_request dns = { .kind = NET_NONE, .dns = v };
	struct err e = ERR_INIT;
	int r = net_check(&hosts, false, &e);

	must_be_consistent(r, &e);
	/* One line of /etc/hosts, one name. */
	MUST(r < 0 || (strchr(s, ':') && !strpbrk(s, " \t\n")));
	e = (struct err)ERR_INIT;
	r = net_check(&dns, false, &e);
	must_be_consistent(r, &e);
	MUST(r < 0 || !strpbrk(s, " \t\n"));
}

static void a_resolv_conf(const char *s)
{
	bool resolved;
	char *text = dns_filter(s, &resolved), *twice = dns_filter(text, &resolved);

	MUST(strcmp(text, twice) == 0);
	free(text);
	free(twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const values[])(
	    const char *) = { an_address, a_network, a_port, a_mac, a_host, a_resolv_conf };
	char *s;

	log_mute();
	if (size == 0 || data[0] < 'a' || data[0] >= 'a' + ARRAY_SIZE(values))
		return 0;
	s = fuzz_string(data + 1, size - 1);
	values[data[0] - 'a'](s);
	free(s);
	return 0;
}
