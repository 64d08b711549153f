/* Two network namespaces of the test's own play host and container; ip(8) makes and shows
 * interfaces. */
#include "tests/unit/test.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netsetup/netsetup.h"

static int inner = -1, outer = -1;

static void in_child(void (*fn)(void))
{
	int status = -1;
	pid_t pid;

	if (geteuid() != 0) {
		printf("# SKIP needs root\n");
		return;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		test_failed = 0;
		CHECK_INT(unshare(CLONE_NEWNET), 0);
		inner = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		CHECK_INT(unshare(CLONE_NEWNET), 0);
		outer = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		if (system("ip link add probe0 type veth peer name probe1 && ip link del probe0") !=
		    0)
			printf("# SKIP no ip(8) or no veth\n");
		else
			fn();
		fflush(NULL);
		_exit(test_failed);
	}
	waitpid(pid, &status, 0);
	CHECK_INT(status, 0);
}

/* Runs a command in the given namespace; returns its exit status, and its output in buf. */
static int sh(int ns, const char *cmd, char *buf, size_t size)
{
	size_t n = 0;
	FILE *f;

	CHECK_INT(setns(ns, CLONE_NEWNET), 0);
	f = popen(cmd, "re");
	if (f && buf)
		n = fread(buf, 1, size - 1, f);
	if (buf)
		buf[n] = '\0';
	int rc = f ? pclose(f) : -1;
	CHECK_INT(setns(outer, CLONE_NEWNET), 0);
	return rc;
}

static int move(struct spec_net_device *v, size_t n, struct err *e)
{
	struct spec s = { 0 };

	*e = (struct err)ERR_INIT;
	s.net_devices.v = v;
	s.net_devices.n = n;
	return net_move_devices(&s, inner, e);
}

static void loopback_body(void)
{
	struct err e = ERR_INIT;
	char buf[4096];

	sh(outer, "ip -o link show lo", buf, sizeof(buf));
	CHECK(!strstr(buf, "LOOPBACK,UP"));
	CHECK_INT(net_loopback_up(&e), 0);
	CHECK_INT(net_loopback_up(&e), 0);
	sh(outer, "ip -o addr show lo; ip -o link show lo", buf, sizeof(buf));
	CHECK_HAS(buf, "LOOPBACK,UP");
	CHECK_HAS(buf, "127.0.0.1/8");
}
TEST(loopback)
{
	in_child(loopback_body);
}

static void moves_body(void)
{
	struct spec_net_device d[] = { { "br0", "eth0" }, { "br1", "br1" } };
	struct err e;
	char buf[8192];

	CHECK_INT(sh(outer,
		      "ip link add br0 type veth peer name pbr0 && ip link set br0 mtu 1400 up && "
		      "ip link add br1 type veth peer name pbr1 && "
		      "ip addr add 192.0.2.5/24 broadcast 192.0.2.255 label br0:x dev br0 && "
		      "ip addr add 192.0.2.6/24 dev br0 && "
		      "ip addr add 198.51.100.1 peer 198.51.100.2/30 metric 77 dev br0 && "
		      "ip addr add 203.0.113.1/24 scope link dev br0 && "
		      "ip addr add 198.18.0.9/24 valid_lft 900 preferred_lft 900 dev br0",
		      NULL, 0),
	    0);
	int v6 = sh(
	    outer, "ip addr add 2001:db8::5/64 nodad noprefixroute dev br0 2>&1", buf, sizeof(buf));
	CHECK_INT(move(d, 2, &e), 0);
	CHECK_STR(e.msg, "");
	CHECK(sh(outer, "ip link show br0 2>&1", buf, sizeof(buf)) != 0);
	sh(inner, "ip -o link show", buf, sizeof(buf));
	CHECK_HAS(buf, "eth0@");
	CHECK_HAS(buf, "mtu 1400");
	sh(inner, "ip -o link show up", buf, sizeof(buf));
	CHECK_HAS(buf, "eth0@");
	CHECK_HAS(buf, "br1@"); /* set up although it was down */
	sh(inner, "ip -o addr show dev eth0", buf, sizeof(buf));
	CHECK_HAS(buf, "192.0.2.5/24 brd 192.0.2.255 scope global");
	CHECK_HAS(buf, "192.0.2.6/24 scope global secondary");
	CHECK_HAS(buf, "198.51.100.1 peer 198.51.100.2/30 metric 77");
	if (v6 == 0) {
		CHECK_HAS(buf, "2001:db8::5/64 scope global");
		CHECK_HAS(buf, "noprefixroute");
	} else {
		printf("# SKIP IPv6 part: no IPv6 here\n");
	}
	/* Neither what is of local meaning nor what somebody else renews. */
	CHECK(!strstr(buf, "203.0.113.1/"));
	CHECK(!strstr(buf, "198.18.0.9/"));
	/* The process is back. */
	CHECK(sh(outer, "ip link add back0 type bridge", NULL, 0) == 0);
	CHECK_INT(system("ip link show back0 > /dev/null"), 0);
}
TEST(moves_with_addresses)
{
	in_child(moves_body);
}

static void template_body(void)
{
	struct spec_net_device d[] = { { "br0", "net%d" }, { "br1", "net%d" } };
	struct spec_net_device bad[] = { { "br2", "n%dx%d" } }, bad2[] = { { "br2", "n%s" } },
			       bad3[] = { { "br2", "a/b" } },
			       bad4[] = { { "br2", "sixteen-letters-" } };
	struct err e;
	char buf[4096];

	CHECK_INT(sh(inner, "ip link add net0 type bridge", NULL, 0), 0);
	CHECK_INT(sh(outer,
		      "ip link add br0 type veth peer name pbr0; ip link add br1 type veth peer "
		      "name pbr1; ip link add br2 "
		      "type veth peer name pbr2",
		      NULL, 0),
	    0);
	CHECK_INT(move(d, 2, &e), 0);
	CHECK_STR(e.msg, "");
	sh(inner, "ip -o link show up", buf, sizeof(buf));
	CHECK_HAS(buf, "net1@");
	CHECK_HAS(buf, "net2@");
	CHECK_INT(move(bad, 1, &e), -EINVAL);
	CHECK_HAS(e.msg, "n%dx%d");
	CHECK_INT(move(bad2, 1, &e), -EINVAL);
	CHECK_INT(move(bad3, 1, &e), -EINVAL);
	CHECK_INT(move(bad4, 1, &e), -EINVAL);
	CHECK_INT(sh(outer, "ip link show br2 > /dev/null", NULL, 0), 0);
}
TEST(names)
{
	in_child(template_body);
}

static void failure_body(void)
{
	struct spec_net_device d[] = { { "br0", "eth0" }, { "br1", "taken" } };
	struct spec_net_device bridge[] = { { "bridge0", "eth0" } };
	struct spec_net_device none[] = { { "nosuch", "eth0" } }, lo[] = { { "lo", "lo9" } };
	struct err e;
	char buf[4096];

	CHECK_INT(sh(inner, "ip link add taken type bridge", NULL, 0), 0);
	CHECK_INT(
	    sh(outer,
		"ip link add br0 type veth peer name pbr0 && ip addr add 192.0.2.5/24 dev br0 && "
		"ip link set br0 up && ip link add br1 type veth peer name pbr1",
		NULL, 0),
	    0);
	CHECK_INT(move(d, 2, &e), -EEXIST);
	CHECK_HAS(e.msg, ".linux.netDevices.br1");
	CHECK_HAS(e.msg, "taken");
	/* The first one is back as it was. */
	sh(outer, "ip -o addr show br0; ip -o link show up", buf, sizeof(buf));
	CHECK_HAS(buf, "192.0.2.5/24");
	CHECK_HAS(buf, "br0@");
	CHECK(sh(inner, "ip link show eth0 2>&1", buf, sizeof(buf)) != 0);
	CHECK_INT(sh(outer, "ip link show br1 > /dev/null", NULL, 0), 0);
	CHECK_INT(move(none, 1, &e), -ENODEV);
	CHECK_HAS(e.msg, ".linux.netDevices.nosuch");
	CHECK_INT(move(lo, 1, &e), -EINVAL);
	CHECK_HAS(e.msg, "bound to its namespace");
	CHECK_INT(sh(outer, "ip link add bridge0 type bridge", NULL, 0), 0);
	CHECK_INT(move(bridge, 1, &e), -EINVAL);
	CHECK_HAS(e.msg, "bound to its namespace");
}
TEST(failure_undoes)
{
	in_child(failure_body);
}

static void own_body(void)
{
	struct spec_net_device d[] = { { "br0", "eth0" } };
	struct spec s = { 0 };
	struct err e = ERR_INIT;

	s.net_devices.v = d;
	s.net_devices.n = 1;
	CHECK_INT(sh(outer, "ip link add br0 type veth peer name pbr0", NULL, 0), 0);
	CHECK_INT(net_move_devices(&s, outer, &e), -EINVAL);
	CHECK_HAS(e.msg, ".linux.netDevices");
	CHECK_INT(sh(outer, "ip link show br0 > /dev/null", NULL, 0), 0);
}
TEST(not_into_the_own_namespace)
{
	in_child(own_body);
}

TEST_MAIN(T(loopback), T(moves_with_addresses), T(names), T(failure_undoes),
    T(not_into_the_own_namespace))
