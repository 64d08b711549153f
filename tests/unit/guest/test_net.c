/* NET: the text, and what it does to a network namespace. Interfaces are veths, whose addresses the
 * test gives. */
#include "guest/net.h"

#include <arpa/inet.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "guest/netlink.h"
#include "tests/unit/test.h"

/* ---- the text ---- */

static int parse(const char *text, struct net_config *c, struct err *e)
{
	static struct arena *a;

	arena_free(a);
	a = arena_new();
	return net_parse(a, text, strlen(text), c, e);
}

#define HEAD  "{\"interfaces\":[{\"name\":\"eth0\",\"mac\":\"02:00:00:00:00:0A\","
#define LISTS "\"addresses\":[],\"routes\":[]"

TEST(text)
{
	struct net_config c;
	struct err e = ERR_INIT;
	const struct net_interface *i;

	CHECK_INT(parse(HEAD "\"mtu\":1400,\"device\":\"02:00:00:00:00:ff\",\"up\":false,"
			     "\"addresses\":[{\"address\":\"10.0.0.2/24\",\"broadcast\":"
			     "\"10.0.0.255\",\"scope\":253},{\"address\":\"fd00::2/64\"}],"
			     "\"routes\":[{\"destination\":\"default\",\"gateway\":\"10.0.0.1\","
			     "\"metric\":7,\"onlink\":true},{\"destination\":\"default\","
			     "\"family\":6},{\"destination\":\"10.9.0.0/16\",\"source\":"
			     "\"10.0.0.2\"}],\"neighbours\":[{\"address\":\"10.0.0.1\",\"mac\":"
			     "\"02:00:00:00:00:01\"}]}]}",
		      &c, &e),
	    0);
	CHECK_STR(e.msg, "");
	if (e.code)
		return;
	CHECK_INT(c.n, 1);
	i = c.v;
	CHECK_STR(i->name, "eth0");
	CHECK_INT(i->mac[5], 10);
	CHECK_INT(i->device[5], 255);
	CHECK_INT(i->mtu, 1400);
	CHECK(!i->up);
	CHECK_INT(i->n_addresses, 2);
	CHECK_INT(i->addresses[0].addr.prefix, 24);
	CHECK_INT(i->addresses[0].scope, 253);
	CHECK_INT(i->addresses[0].broadcast.bytes[3], 255);
	CHECK_INT(i->addresses[1].addr.family, AF_INET6);
	CHECK_INT(i->n_routes, 3);
	CHECK(i->routes[0].has_gateway && i->routes[0].onlink);
	CHECK_INT(i->routes[0].metric, 7);
	CHECK_INT(i->routes[0].scope, RT_SCOPE_UNIVERSE);
	CHECK_INT(i->routes[1].dst.family, AF_INET6);
	CHECK_INT(i->routes[2].dst.prefix, 16);
	CHECK_INT(i->routes[2].scope, RT_SCOPE_LINK);
	CHECK_INT(i->neighbours[0].mac[5], 1);
}

static void refused(const char *text, const char *why)
{
	struct net_config c;
	struct err e = ERR_INIT;

	CHECK_INT(parse(text, &c, &e), -EINVAL);
	CHECK_HAS(e.msg, why);
}

#define ADDRESS(a) HEAD "\"addresses\":[{\"address\":" a "}],\"routes\":[]}]}"
#define ROUTE(r)   HEAD "\"addresses\":[],\"routes\":[{" r "}]}]}"
TEST(bad_text)
{
	refused("[]", "must be an object");
	refused("{}", ".interfaces: missing");
	refused("{\"interfaces\":[1]}", ".interfaces[0]");
	refused("{\"interfaces\":[{}]}", ".interfaces[0].name: missing");
	refused("{\"interfaces\":[{\"name\":\"a/b\"}]}", "a/b");
	refused("{\"interfaces\":[{\"name\":\"sixteen-letters-\"}]}", "an interface's name");
	refused("{\"interfaces\":[{\"name\":\"a\",\"mac\":\"02:00:00:00:00\"}]}", "a MAC address");
	refused("{\"interfaces\":[{\"name\":\"a\",\"mac\":\"02:00:00:00:00:0g\"}]}", "a MAC");
	refused("{\"interfaces\":[{\"name\":\"a\",\"mac\":\"02:00:00:00:00:00:\"}]}", "a MAC");
	refused(HEAD "\"routes\":[]}]}", ".addresses: missing");
	refused(HEAD "\"mtu\":10," LISTS "}]}", "at least 68");
	refused(HEAD "\"mtu\":65536," LISTS "}]}", ".mtu");
	refused(ADDRESS("\"10.0.0.256/8\""), "an IP address");
	refused(ADDRESS("\"10.0.0.1/33\""), "an IP address");
	refused(ADDRESS("\"fd00::1/129\""), "an IP address");
	refused(ADDRESS("\"1:2:3:4:5:6:7:8:1:2:3:4:5:6:7:8:1:2:3:4:5:6:7:8/8\""), "an IP address");
	refused(ADDRESS("\"10.0.0.1/8\",\"broadcast\":\"fd00::1\""), "family");
	refused(ROUTE("\"gateway\":\"10.0.0.1\""), ".destination: missing");
	refused(ROUTE("\"destination\":\"default\",\"family\":5"), "4 or 6");
	refused(ROUTE("\"destination\":\"10.0.0.0/8\",\"gateway\":\"fd00::1\""), "family");
	refused(ROUTE("\"destination\":\"10.0.0.0/8\",\"metric\":-1"), ".metric");
	refused("{\"interfaces\":[{\"name\":\"a\",\"mac\":\"02:00:00:00:00:01\"," LISTS
		"},{\"name\":\"b\",\"mac\":\"02:00:00:00:00:01\"," LISTS "}]}",
	    "[0] and [1]");
}

/* ---- the namespace ---- */

static void sh_ok(int r, const char *what)
{
	if (r < 0) {
		printf("# %s: %s\n", what, strerror(-r));
		test_failed = 1;
	}
}

/* A veth pair NAME, NAMEp; the first with this last byte of the address 02:…. */
static void add_veth(const char *name, uint8_t last)
{
	const uint8_t mac[6] = { 2, 0, 0, 0, 0, last };
	struct err e = ERR_INIT;
	_cleanup_close_ int fd = nl_open(&e);
	struct nl_request r;
	struct {
		struct rtattr kind;
		char veth[4]; /* no NUL */
	} link = { { RTA_LENGTH(4), IFLA_INFO_KIND }, "veth" };

	(void)nl_begin(&r, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	nl_attr(&r, IFLA_IFNAME, name, strlen(name) + 1);
	nl_attr(&r, IFLA_ADDRESS, mac, sizeof(mac));
	nl_attr(&r, IFLA_LINKINFO, &link.kind, sizeof(link.kind) + sizeof(link.veth));
	sh_ok(nl_do(fd, &r), "add veth");
}

/* What `ip` says, one line per entry, ends trimmed; the caller frees. */
static char *ip(const char *args)
{
	_cleanup_strbuf_ struct strbuf out = { 0 };
	_cleanup_free_ char *cmd = xasprintf("ip %s", args);
	FILE *f = popen(cmd, "r");
	char buf[512];
	size_t n;

	while (f && (n = fread(buf, 1, sizeof(buf), f)) > 0)
		strbuf_addn(&out, buf, n);
	if (f)
		pclose(f);
	return strbuf_steal(&out);
}

static void ip_has(const char *args, const char *want)
{
	_cleanup_free_ char *got = ip(args);

	CHECK_HAS(got, want);
}

static void ip_lacks(const char *args, const char *unwanted)
{
	_cleanup_free_ char *got = ip(args);

	if (strstr(got, unwanted)) {
		printf("# ip %s: has %s: %s\n", args, unwanted, got);
		test_failed = 1;
	}
}

static int configure(const char *text)
{
	struct err e = ERR_INIT;
	int r = net_configure(text, strlen(text), &e);

	if (r < 0)
		printf("# %s\n", e.msg);
	return r;
}

static void in_namespace(void (*fn)(void))
{
	int status;
	pid_t pid;

	if (geteuid() != 0) {
		printf("# SKIP needs root for a network namespace\n");
		return;
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWNET) < 0)
			_exit(1);
		fn();
		fflush(stdout);
		_exit(test_failed);
	}
	if (waitpid(pid, &status, 0) < 0 || status != 0)
		test_failed = 1;
}

#define ETH(name, mac, rest) "{\"name\":\"" name "\",\"mac\":\"02:00:00:00:00:" mac "\"," rest "}"

static void first_and_later(void)
{
	add_veth("a", 1);
	CHECK_INT(
	    configure("{\"interfaces\":[" ETH("eth0", "01",
		"\"mtu\":1400,\"addresses\":[{\"address\":\"10.1.0.2/24\",\"broadcast\":"
		"\"10.1.0.255\"},{\"address\":\"fd01::2/64\"}],\"routes\":[{\"destination\":"
		"\"default\",\"gateway\":\"10.1.0.1\"},{\"destination\":\"10.7.0.0/16\"},{"
		"\"destination\":\"default\",\"family\":6,\"gateway\":\"fd01::1\"}],"
		"\"neighbours\":[{\"address\":\"10.1.0.1\",\"mac\":\"02:00:00:00:00:99\"}]") "]}"),
	    0);
	ip_has("-o link show lo", "UP");
	ip_has("-o link show eth0", "mtu 1400");
	ip_has("-o addr show eth0", "10.1.0.2/24 brd 10.1.0.255");
	ip_has("-o addr show eth0", "fd01::2/64");
	ip_lacks("-o addr show eth0", "tentative");
	ip_has("route", "default via 10.1.0.1 dev eth0");
	ip_has("route", "10.7.0.0/16 dev eth0");
	ip_has("-6 route", "default via fd01::1 dev eth0");
	ip_has("neigh", "10.1.0.1 dev eth0 lladdr 02:00:00:00:00:99 PERMANENT");

	/* Another network on the same device: what is no longer listed goes. */
	CHECK_INT(configure("{\"interfaces\":[" ETH("eth0", "01",
		      "\"mtu\":1500,\"addresses\":[{\"address\":\"10.2.0.2/24\"}],\"routes\":[{"
		      "\"destination\":\"default\",\"gateway\":\"10.2.0.1\"}]") "]}"),
	    0);
	ip_has("-o link show eth0", "mtu 1500");
	ip_lacks("-o addr show eth0", "10.1.0.2");
	ip_lacks("-o addr show eth0", "fd01::2");
	ip_has("route", "default via 10.2.0.1 dev eth0");
	ip_lacks("route", "10.7.0.0/16");
	ip_lacks("-6 route", "fd01::1");
	ip_lacks("neigh", "PERMANENT");

	/* None at all any more: nothing shows what the machine has. */
	CHECK_INT(configure("{\"interfaces\":[]}"), 0);
	ip_lacks("-o link", "2:");
	ip_lacks("-o addr", "10.2.0.2");
	ip_lacks("route", "10.2.0");
}

TEST(first_and_later_networks)
{
	in_namespace(first_and_later);
}

#define NONE "\"addresses\":[],\"routes\":[]"
static void names(void)
{
	add_veth("eth0", 1);
	add_veth("eth1", 2);
	/* They change places. */
	CHECK_INT(
	    configure("{\"interfaces\":[" ETH("eth1", "01", NONE) "," ETH("eth0", "02", NONE) "]}"),
	    0);
	ip_has("-o link show eth0", "02:00:00:00:00:02");
	ip_has("-o link show eth1", "02:00:00:00:00:01");
	/* The same once more is no change. */
	CHECK_INT(
	    configure("{\"interfaces\":[" ETH("eth1", "01", NONE) "," ETH("eth0", "02", NONE) "]}"),
	    0);
	ip_has("-o link show eth0", "02:00:00:00:00:02");
	/* A spare device gets the address of the interface that it stands for. */
	CHECK_INT(configure("{\"interfaces\":[" ETH(
		      "eth5", "77", "\"device\":\"02:00:00:00:00:02\"," NONE) "]}"),
	    0);
	ip_has("-o link show eth5", "02:00:00:00:00:77");
}

TEST(names_and_addresses_of_devices)
{
	in_namespace(names);
}

/* Away and back, under another name each time; what the container makes is its own. */
static void parked(void)
{
	add_veth("eth0", 1);
	add_veth("eth1", 2);
	CHECK_INT(configure("{\"interfaces\":[]}"), 0);
	ip_lacks("-o link", "02:00:00:00:00:0");
	add_veth("eth0", 3);
	add_veth("eth1", 4);
	CHECK_INT(configure("{\"interfaces\":[]}"), 0);
	ip_has("-o link", "02:00:00:00:00:03");
	ip_has("-o link", "02:00:00:00:00:04");
	CHECK_INT(configure("{\"interfaces\":[" ETH("eth7", "02",
		      "\"addresses\":[{\"address\":\"10.3.0.2/24\"}],\"routes\":[]") "]}"),
	    0);
	ip_has("-o addr show eth7", "10.3.0.2/24");
	ip_has("-o link show eth7", "02:00:00:00:00:02");
	ip_lacks("-o link", "02:00:00:00:00:01");
	CHECK_INT(
	    configure("{\"interfaces\":[" ETH("eth8", "01", NONE) "," ETH("eth7", "02", NONE) "]}"),
	    0);
	ip_has("-o link show eth8", "02:00:00:00:00:01");
	ip_lacks("-o addr show eth7", "10.3.0.2");
	CHECK_INT(configure("{\"interfaces\":[" ETH("eth0", "01", NONE) "]}"), -EEXIST);
}

TEST(devices_without_an_interface_are_not_seen)
{
	in_namespace(parked);
}

static void missing(void)
{
	struct err e = ERR_INIT;
	const char *text = "{\"interfaces\":[" ETH("eth0", "42", NONE) "]}";

	CHECK_INT(net_configure(text, strlen(text), &e), -ENODEV);
	CHECK_HAS(e.msg, "02:00:00:00:00:42");
	add_veth("a", 1);
	text = "{\"interfaces\":[" ETH("eth0", "01",
	    "\"addresses\":[],\"routes\":[{\"destination\":\"default\",\"gateway\":\"10.9.9."
	    "9\"}]") "]}";
	CHECK(net_configure(text, strlen(text), &e) < 0);
	CHECK_HAS(e.msg, "route to 0.0.0.0/0 by \"eth0\"");
}

TEST(what_cannot_be)
{
	in_namespace(missing);
}

TEST_MAIN(T(text), T(bad_text), T(first_and_later_networks), T(names_and_addresses_of_devices),
    T(devices_without_an_interface_are_not_seen), T(what_cannot_be))
