/* What the command line says of networks: netsetup/request.c, ip.c, dns.c. */
#include <netinet/in.h>
#include <stdlib.h>

#include "netsetup/dns.h"
#include "netsetup/network.h"
#include "tests/unit/test.h"

static struct ip ip(const char *s)
{
	struct ip a = { 0 };

	CHECK_INT(ip_parse(s, &a), 0);
	return a;
}

TEST(addresses)
{
	static const char *const bad[] = { "", "1.2.3", "1.2.3.4/33", "::/129", "1.2.3.4/", "x",
		"1.2.3.4/-1", "1.2.3.4 ", "01.2.3.4.5", "fe80::1%eth0" };
	struct ip a;
	char text[IP_TEXT];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK_INT(ip_parse(bad[i], &a), -EINVAL);
	a = ip("10.1.2.3/20");
	CHECK_STR(ip_text(&a, true, text), "10.1.2.3/20");
	a = ip_subnet(&a);
	CHECK_STR(ip_text(&a, true, text), "10.1.0.0/20");
	CHECK_INT(ip_last(&a), 4094);
	a = ip_nth(&a, 300);
	CHECK_STR(ip_text(&a, false, text), "10.1.1.44");
	CHECK_INT(
	    ip_index(&(struct ip){ .family = AF_INET, .prefix = 20, .b = { 10, 1 } }, &a), 300);
	a = ip("fd00::/64");
	a = ip_nth(&a, 0x12345);
	CHECK_STR(ip_text(&a, true, text), "fd00::1:2345/64");
	a = ip("10.0.0.0/31");
	CHECK_INT(ip_last(&a), 0);
	a = ip("::1");
	CHECK(ip_is_loopback(&a));
}

TEST(overlaps)
{
	const struct ip net = ip("10.200.0.0/20"), wide = ip("10.0.0.0/8"),
			next = ip("10.200.16.0/20");
	const struct ip all = ip("0.0.0.0/0"), six = ip("::/0");

	CHECK(ip_overlaps(&net, &wide) && ip_overlaps(&wide, &net));
	CHECK(!ip_overlaps(&net, &next));
	CHECK(ip_overlaps(&all, &net));
	CHECK(!ip_overlaps(&six, &net));
}

TEST(kinds)
{
	static const struct {
		const char *text;
		int kind; /* -1: refused */
		const char *name;
	} v[] = {
		{ "none", NET_NONE, "none" },
		{ "host", NET_HOST, "host" },
		{ "bridge", NET_BRIDGE, "bridge" },
		{ "ptp", NET_PTP, "ptp" },
		{ "pasta", NET_PASTA, "pasta" },
		{ "macvlan:eth0", NET_MACVLAN, "eth0" },
		{ "ipvlan:eth0", NET_IPVLAN, "eth0" },
		{ "ns:/run/netns/x", NET_NS, "/run/netns/x" },
		{ "web-1", NET_BRIDGE, "web-1" },
		{ "", -1 },
		{ "macvlan", -1 },
		{ "macvlan:", -1 },
		{ "none:x", -1 },
		{ "x:y", -1 },
		{ "../x", -1 },
		{ ".x", -1 },
		{ "a/b", -1 },
	};

	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		struct net_request q = { 0 };
		struct err e = ERR_INIT;
		int r = net_parse_kind(v[i].text, &q, &e);

		CHECK_INT(r, v[i].kind < 0 ? -EINVAL : 0);
		if (r == 0) {
			CHECK_INT(q.kind, v[i].kind);
			CHECK_STR(q.name, v[i].name);
		}
	}
}

TEST(ports)
{
	static const char *const bad[] = { "", "80", "0:80", "80:0", "65536:80", "80:80/sctp",
		"a:80", "1.2.3:80:80", "::1:80:80", "[::1:80:80", "[1.2.3.4]:80:80",
		"1.2.3.0/24:80:80", "-1:80", "80:80/", ":80:80" };
	struct err e = ERR_INIT;
	struct net_port p;
	char text[IP_TEXT];

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK_INT(net_parse_port(bad[i], &p, &e), -EINVAL);
	CHECK_INT(net_parse_port("8080:80", &p, &e), 0);
	CHECK(p.proto == IPPROTO_TCP && p.host == 8080 && p.inner == 80 && !p.addr.family);
	CHECK_INT(net_parse_port("[2001:db8::1]:53:5353/udp", &p, &e), 0);
	CHECK(p.proto == IPPROTO_UDP && p.host == 53 && p.inner == 5353);
	CHECK_STR(ip_text(&p.addr, false, text), "2001:db8::1");
}

TEST(mac)
{
	static const char *const bad[] = { "", "02:00:5e:10:00", "02:00:5e:10:00:01:02",
		"03:00:5e:10:00:01", "02-00-5e-10-00-01", "0g:00:5e:10:00:01" };
	struct net_request q = { 0 };
	struct err e = ERR_INIT;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		CHECK_INT(net_parse_mac(bad[i], &q, &e), -EINVAL);
	CHECK_INT(net_parse_mac("02:00:5E:10:ab:01", &q, &e), 0);
	CHECK(memcmp(q.mac, "\x02\x00\x5e\x10\xab\x01", 6) == 0);
}

TEST(networks_are_completed)
{
	struct network n = { .name = "a-name-longer-than-interfaces",
		.subnet4 = ip("10.9.0.7/24") };
	struct err e = ERR_INIT;
	char text[IP_TEXT];

	CHECK_INT(network_complete(&n, &e), 0);
	CHECK_STR(ip_text(&n.subnet4, true, text), "10.9.0.0/24");
	CHECK_STR(ip_text(&n.gateway4, true, text), "10.9.0.1/24");
	CHECK(strlen(n.interface) > 4 && strlen(n.interface) < IFNAMSIZ);
	n.gateway4 = ip("10.8.0.1");
	CHECK_INT(network_complete(&n, &e), -EINVAL);
	n = (struct network){ .name = "x", .subnet4 = ip("10.0.0.0/31") };
	CHECK_INT(network_complete(&n, &e), -EINVAL);
	n = (struct network){ .name = "x", .subnet4 = ip("fd00::/64") };
	CHECK_INT(network_complete(&n, &e), -EINVAL);
}

TEST(resolv_conf)
{
	bool resolved;
	char *s = dns_filter(
	    "nameserver 127.0.0.53\nsearch x\nnameserver ::1\nnameserver 192.0.2.1", &resolved);

	CHECK_STR(s, "search x\nnameserver 192.0.2.1\n");
	CHECK(resolved);
	free(s);
	s = dns_filter("nameserver 127.0.0.1\nnameserverx 127.0.0.1\n# nameserver ::1\nnameserver "
		       "fe80::1%eth0\n",
	    &resolved);
	CHECK_STR(s, "nameserverx 127.0.0.1\n# nameserver ::1\nnameserver fe80::1%eth0\n");
	CHECK(!resolved);
	free(s);
}

TEST_MAIN(T(addresses), T(overlaps), T(kinds), T(ports), T(mac), T(networks_are_completed),
    T(resolv_conf))
