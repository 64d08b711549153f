/* A container's network namespace, and one at the other end of its interfaces' wires. */
#include "tests/unit/test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "netsetup/carry.h"

#define ETHERTYPE 0x88b5 /* of the local experimental range */
#define HDR	  sizeof(struct virtio_net_hdr)

static int inner = -1, outer = -1, tun = -1;
static struct carry *c;
static struct err e;

/* Runs a command in a namespace and comes back to the container's. Its output in out. */
static char out[16384];
static int sh(int ns, const char *cmd)
{
	size_t n = 0;
	FILE *f;

	CHECK_INT(setns(ns, CLONE_NEWNET), 0);
	f = popen(cmd, "re");
	if (f)
		n = fread(out, 1, sizeof(out) - 1, f);
	out[n] = '\0';
	int rc = f ? pclose(f) : -1;
	CHECK_INT(setns(inner, CLONE_NEWNET), 0);
	return rc;
}
static int must_sh(int ns, const char *cmd)
{
	int rc = sh(ns, cmd);

	if (rc)
		printf("# %s\n", cmd);
	CHECK_INT(rc, 0);
	return rc;
}
static void wire(const char *name)
{
	char cmd[512];

	snprintf(cmd, sizeof(cmd),
	    "ip link add %s type veth peer name p%s netns /proc/%d/fd/%d && ip link set %s up",
	    name, name, getpid(), outer, name);
	must_sh(inner, cmd);
	snprintf(cmd, sizeof(cmd), "ip link set p%s up", name);
	must_sh(outer, cmd);
}
static int open_carry(unsigned spares)
{
	struct carry_config cfg = { .tun = tun, .spares = spares };

	e = (struct err)ERR_INIT;
	return carry_open(&cfg, &c, &e);
}
static int update(void)
{
	e = (struct err)ERR_INIT;
	int r = carry_update(c, &e);

	CHECK_STR(e.msg, "");
	return r;
}
static bool heard(void)
{
	struct pollfd p = { .fd = carry_fd(c), .events = POLLIN };

	return poll(&p, 1, 0) == 1;
}

static void in_child(void (*fn)(void))
{
	int status = -1;
	pid_t pid;

	if (geteuid() != 0 || access("/dev/net/tun", F_OK) < 0) {
		printf("# SKIP needs root and /dev/net/tun\n");
		return;
	}
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		test_failed = 0;
		CHECK_INT(unshare(CLONE_NEWNET), 0);
		outer = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		CHECK_INT(unshare(CLONE_NEWNET), 0);
		inner = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
		tun = open("/dev/net/tun", O_PATH | O_CLOEXEC);
		fn();
		fflush(NULL);
		_exit(test_failed);
	}
	waitpid(pid, &status, 0);
	CHECK_INT(status, 0);
}

/* ---- frames ---- */

static int packet_socket(const char *name)
{
	CHECK_INT(setns(outer, CLONE_NEWNET), 0);
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, htons(ETHERTYPE));
	struct sockaddr_ll a = { .sll_family = AF_PACKET,
		.sll_protocol = htons(ETHERTYPE),
		.sll_ifindex = (int)if_nametoindex(name) };
	CHECK_INT(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	CHECK_INT(setns(inner, CLONE_NEWNET), 0);
	return fd;
}
static const uint8_t frame[60] = { 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 1, 0x88, 0xb5,
	'h', 'i' };
/* Both ways between the far end's socket and the tap; what else comes is skipped. */
static bool passes(int far, int tap)
{
	uint8_t buf[2048] = { 0 };
	bool there = false, back = false;

	CHECK_INT(send(far, frame, sizeof(frame), 0), sizeof(frame));
	for (int i = 0; i < 200 && !there; i++) {
		ssize_t n = read(tap, buf, sizeof(buf));

		there = n == (ssize_t)(HDR + sizeof(frame)) &&
			memcmp(buf + HDR, frame, sizeof(frame)) == 0;
		if (n < 0)
			usleep(5000);
	}
	memset(buf, 0, HDR);
	memcpy(buf + HDR, frame, sizeof(frame));
	CHECK_INT(write(tap, buf, HDR + sizeof(frame)), HDR + sizeof(frame));
	for (int i = 0; i < 200 && !back; i++) {
		ssize_t n = recv(far, buf, sizeof(buf), 0);

		back = n == sizeof(frame) && memcmp(buf, frame, sizeof(frame)) == 0;
		if (n < 0)
			usleep(5000);
	}
	return there && back;
}
/* Has a packet with this EtherType come out of the tap? */
static bool tap_saw(int tap, uint16_t type)
{
	uint8_t buf[2048];
	ssize_t n;

	while ((n = read(tap, buf, sizeof(buf))) > 0)
		if (n > (ssize_t)HDR + 14 && buf[HDR + 12] == type >> 8 &&
		    buf[HDR + 13] == (type & 0xff))
			return true;
	return false;
}

/* Does a stack answer at this address, as seen from the far end? A port nobody listens on tells. */
static bool answers(int family, const char *address, int seconds)
{
	struct sockaddr_in a4 = { .sin_family = AF_INET, .sin_port = htons(9) };
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(9) };
	struct sockaddr *a = family == AF_INET ? (void *)&a4 : (void *)&a6;
	char byte = 0;
	bool yes = false;

	inet_pton(
	    family, address, family == AF_INET ? (void *)&a4.sin_addr : (void *)&a6.sin6_addr);
	CHECK_INT(setns(outer, CLONE_NEWNET), 0);
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	CHECK_INT(connect(fd, a, family == AF_INET ? sizeof(a4) : sizeof(a6)), 0);
	for (int i = 0; i < 40 * seconds && !yes; i++) {
		if (send(fd, &byte, 1, 0) < 0)
			yes = errno == ECONNREFUSED;
		usleep(25000);
	}
	close(fd);
	CHECK_INT(setns(inner, CLONE_NEWNET), 0);
	return yes;
}

/* ---- tests ---- */

static void text_body(void)
{
	wire("eth0");
	must_sh(inner,
	    "ip link set eth0 address 02:42:ac:11:00:02 mtu 1400 && "
	    "ip addr add 192.0.2.2/24 broadcast 192.0.2.255 dev eth0 && "
	    "ip addr add 198.51.100.1 peer 198.51.100.9/32 dev eth0 && "
	    "ip addr add 203.0.113.7/24 noprefixroute dev eth0 && "
	    "ip -6 addr add 2001:db8::2/64 nodad dev eth0 && "
	    "ip route add default via 192.0.2.1 && "
	    "ip route add 10.1.0.0/16 via 169.254.1.1 dev eth0 onlink src 192.0.2.2 metric 77 && "
	    "ip route add 172.16.0.0/12 dev eth0 && "
	    "ip -6 route add default via 2001:db8::1 dev eth0 metric 9 && "
	    "ip neigh add 192.0.2.1 lladdr 02:00:00:00:00:09 dev eth0 && "
	    "ip link add down0 type veth peer name down1");
	CHECK_INT(open_carry(0), 0);
	CHECK_STR(e.msg, "");
	CHECK_INT(carry_count(c), 3);
	const char *j = carry_json(c);
	CHECK_HAS(j, "{\"interfaces\":[{");
	CHECK_HAS(j, "\"name\":\"eth0\",\"mac\":\"02:42:ac:11:00:02\",\"device\":"
		     "\"02:42:ac:11:00:02\",\"mtu\":1400,\"up\":true,");
	CHECK_HAS(j, "{\"address\":\"192.0.2.2/24\",\"broadcast\":\"192.0.2.255\",\"scope\":0}");
	CHECK_HAS(j, "{\"address\":\"198.51.100.1/32\",\"scope\":0}");
	CHECK_HAS(j, "{\"destination\":\"198.51.100.9/32\",\"source\":\"198.51.100.1\","
		     "\"metric\":0,\"scope\":253,\"type\":1}");
	CHECK_HAS(j, "{\"address\":\"203.0.113.7/32\",\"scope\":0}");
	CHECK_HAS(j, "{\"address\":\"2001:db8::2/64\",\"scope\":0}");
	CHECK(!strstr(j, "fe80::42:acff:fe11:2/"));
	CHECK_HAS(j, "{\"destination\":\"default\",\"family\":4,\"gateway\":\"192.0.2.1\","
		     "\"metric\":0,\"scope\":0,\"type\":1}");
	CHECK_HAS(j, "{\"destination\":\"10.1.0.0/16\",\"gateway\":\"169.254.1.1\",\"source\":"
		     "\"192.0.2.2\",\"metric\":77,\"scope\":0,\"type\":1,\"onlink\":true}");
	CHECK_HAS(j, "{\"destination\":\"172.16.0.0/12\",\"metric\":0,\"scope\":253,\"type\":1}");
	CHECK_HAS(j, "{\"destination\":\"default\",\"family\":6,\"gateway\":\"2001:db8::1\","
		     "\"metric\":9,");
	CHECK(!strstr(j, "\"192.0.2.0/24\"")); /* the kernel's own */
	CHECK_HAS(j, "\"neighbours\":[{\"address\":\"192.0.2.1\",\"mac\":\"02:00:00:00:00:09\"}]");
	CHECK_HAS(j, "\"name\":\"down0\"");
	CHECK_HAS(j, "\"up\":false");
	CHECK(!strstr(j, "\"lo\""));
	struct carry_nic n = carry_take(c, 0);
	CHECK(n.tap >= 0);
	CHECK_INT(n.mtu, 1400);
	sh(inner, "ip -o link show vm-eth0; ip -6 -o addr show dev vm-eth0");
	CHECK_HAS(out, "mtu 1400");
	CHECK_HAS(out, ",UP");
	CHECK(!strstr(out, "fe80"));
	close(n.tap);
	carry_close(c);
	sh(inner, "tc qdisc show dev eth0");
	CHECK(!strstr(out, "ingress"));
}
TEST(text)
{
	in_child(text_body);
}

static void redirect_body(void)
{
	wire("eth0");
	must_sh(inner,
	    "ip addr add 192.0.2.2/24 dev eth0 && ip addr add 2001:db8::2/64 nodad dev eth0");
	must_sh(outer,
	    "ip addr add 192.0.2.1/24 dev peth0 && ip addr add 2001:db8::1/64 nodad dev peth0");
	/* Beforehand the stack does answer. */
	CHECK(answers(AF_INET, "192.0.2.2", 10));
	CHECK(answers(AF_INET6, "2001:db8::2", 10));
	must_sh(outer, "ip neigh flush all");
	CHECK_INT(open_carry(0), 0);
	struct carry_nic n = carry_take(c, 0);
	int far = packet_socket("peth0");
	CHECK(passes(far, n.tap));
	CHECK(!answers(AF_INET, "192.0.2.2", 1));
	CHECK(tap_saw(n.tap, 0x0806));
	sh(outer, "ip neigh show 192.0.2.2");
	CHECK(!strstr(out, "lladdr"));
	CHECK(!answers(AF_INET6, "2001:db8::2", 1));
	CHECK(tap_saw(n.tap, 0x86dd));
	sh(outer, "ip neigh show 2001:db8::2");
	CHECK(!strstr(out, "lladdr"));
	/* The addresses are still where engines look for them. */
	sh(inner, "ip -o addr show dev eth0");
	CHECK_HAS(out, "192.0.2.2/24");
	close(far);
	close(n.tap);
	carry_close(c);
	/* And the stack answers again. */
	CHECK(answers(AF_INET, "192.0.2.2", 10));
}
TEST(redirection)
{
	in_child(redirect_body);
}

static void changes_body(void)
{
	wire("eth0");
	CHECK_INT(open_carry(0), 0);
	update();
	CHECK_INT(update(), 0);
	CHECK(!heard());
	must_sh(inner, "ip addr add 192.0.2.2/24 dev eth0");
	CHECK(heard());
	CHECK_INT(update(), 1);
	CHECK_HAS(carry_json(c), "192.0.2.2/24");
	CHECK(!heard());
	CHECK_INT(update(), 0);
	must_sh(inner, "ip route add default via 192.0.2.1");
	CHECK(heard());
	CHECK_INT(update(), 1);
	CHECK_HAS(carry_json(c), "\"gateway\":\"192.0.2.1\"");
	must_sh(inner, "ip route del default; ip neigh add 192.0.2.7 lladdr 2:0:0:0:0:7 dev eth0");
	CHECK(heard());
	CHECK_INT(update(), 1);
	CHECK(!strstr(carry_json(c), "gateway"));
	CHECK_HAS(carry_json(c), "192.0.2.7");
	must_sh(inner,
	    "ip link set eth0 down; ip link set eth0 name net7; ip link set net7 mtu 1300 up");
	CHECK_INT(update(), 1);
	CHECK_HAS(carry_json(c), "\"name\":\"net7\"");
	CHECK_HAS(carry_json(c), "\"mtu\":1300");
	must_sh(inner, "ip link show vm-net7");
	/* More than the device was made for. */
	must_sh(inner, "ip link set net7 mtu 9000");
	CHECK_INT(update(), 1);
	CHECK_HAS(carry_json(c), "\"mtu\":1500");
	carry_close(c);
}
TEST(changes)
{
	in_child(changes_body);
}

static void spares_body(void)
{
	char mac[40];

	CHECK_INT(open_carry(2), 0);
	CHECK_STR(carry_json(c), "{\"interfaces\":[]}");
	CHECK_INT(carry_count(c), 2);
	struct carry_nic n = carry_take(c, 0), m = carry_take(c, 1);
	CHECK_INT(n.mac[0] & 3, 2);
	CHECK(memcmp(n.mac, m.mac, 6) != 0);
	CHECK_INT(n.mtu, 65521);
	update();
	wire("eth0");
	CHECK(heard());
	CHECK_INT(update(), 1);
	snprintf(mac, sizeof(mac), "\"device\":\"%02x:%02x:%02x:%02x:%02x:%02x\"", n.mac[0],
	    n.mac[1], n.mac[2], n.mac[3], n.mac[4], n.mac[5]);
	CHECK_HAS(carry_json(c), mac);
	int far = packet_socket("peth0");
	CHECK(passes(far, n.tap));
	close(far);
	/* A second one, then one too many: that is left out. */
	wire("eth1");
	CHECK_INT(update(), 1);
	CHECK_HAS(carry_json(c), "\"name\":\"eth1\"");
	wire("eth2");
	update();
	CHECK(!strstr(carry_json(c), "eth2"));
	/* One that goes makes room. */
	must_sh(inner, "ip link del eth0");
	CHECK_INT(update(), 1);
	CHECK(!strstr(carry_json(c), "\"eth0\""));
	CHECK_HAS(carry_json(c), "\"name\":\"eth2\"");
	CHECK_HAS(carry_json(c), mac);
	far = packet_socket("peth2");
	CHECK(passes(far, n.tap));
	close(far);
	far = packet_socket("peth1");
	CHECK(passes(far, m.tap));
	close(far);
	carry_close(c);
	close(n.tap);
	close(m.tap);
}
TEST(spares)
{
	in_child(spares_body);
}

static void refusals_body(void)
{
	wire("eth0");
	CHECK_INT(open_carry(0), 0);
	struct carry *first = c;
	CHECK_INT(open_carry(0), -EBUSY);
	CHECK_HAS(e.msg, "another virtual machine");
	CHECK_HAS(e.msg, "make the pod with isolation level namespace");
	struct carry_nic n = carry_take(first, 0);
	int far = packet_socket("peth0");
	CHECK(passes(far, n.tap)); /* the first one's is unharmed */
	close(n.tap);
	carry_close(first);
	must_sh(inner, "tc qdisc add dev eth0 ingress && tc filter add dev eth0 parent ffff: u32 "
		       "match u32 0 0 action mirred egress redirect dev lo");
	CHECK_INT(open_carry(0), -EEXIST);
	CHECK_HAS(e.msg, "\"eth0\"");
	CHECK_HAS(e.msg, "of its own");
	must_sh(inner, "tc filter show dev eth0 parent ffff: | grep -q mirred");
	must_sh(inner, "tc qdisc del dev eth0 ingress && ip tuntap add dev raw9 mode tun");
	CHECK_INT(open_carry(0), 0); /* down: nobody uses it */
	CHECK(!strstr(carry_json(c), "raw9"));
	carry_close(c);
	must_sh(inner, "ip link set raw9 up");
	CHECK_INT(open_carry(0), -EOPNOTSUPP);
	CHECK_HAS(e.msg, "\"raw9\" is no Ethernet");
	must_sh(inner, "ip link set raw9 down");
	CHECK_INT(open_carry(CARRY_MAX + 1), -E2BIG);
	close(tun);
	tun = open("/dev/null", O_PATH | O_CLOEXEC);
	CHECK(open_carry(0) < 0);
	sh(inner, "ip -o link; tc qdisc show dev eth0");
	CHECK(!strstr(out, "vm-"));
	CHECK(!strstr(out, "ingress"));
	close(far);
}
TEST(refusals)
{
	in_child(refusals_body);
}

/* A monitor that was killed leaves its redirection behind, and nothing else. */
/* One that cannot be carried is tried once: each try would make the event that asks for the next.
 */
static void left_out_body(void)
{
	int rounds = 0;

	CHECK_INT(open_carry(1), 0);
	struct carry_nic n = carry_take(c, 0);
	wire("eth0");
	must_sh(inner, "tc qdisc add dev eth0 ingress && tc filter add dev eth0 parent ffff: u32 "
		       "match u32 0 0 action mirred egress redirect dev lo");
	for (; rounds < 20 && (usleep(10000), heard()); rounds++)
		CHECK_INT(update(), 0);
	CHECK(rounds < 20);
	CHECK(!strstr(carry_json(c), "eth0"));
	/* Nothing goes out by it. */
	must_sh(inner, "tc filter show dev vm-spare0 parent ffff:");
	CHECK_STR(out, "");
	must_sh(inner, "tc filter show dev eth0 parent ffff: | grep -q mirred");
	/* A change of its own is a reason to try again. */
	must_sh(inner, "tc qdisc del dev eth0 ingress && ip link set eth0 mtu 1400");
	CHECK_INT(update(), 1);
	CHECK_HAS(carry_json(c), "\"name\":\"eth0\"");
	carry_close(c);
	close(n.tap);
}
TEST(left_out)
{
	in_child(left_out_body);
}

static void leftovers_body(void)
{
	wire("eth0");
	if (fork() == 0) {
		CHECK_INT(open_carry(1), 0);
		fflush(NULL);
		_exit(test_failed);
	}
	int status = -1;
	wait(&status);
	CHECK_INT(status, 0);
	sh(inner, "ip -o link; tc qdisc show dev eth0");
	CHECK(!strstr(out, "vm-"));
	CHECK_HAS(out, "ingress");
	CHECK_INT(open_carry(0), 0);
	CHECK_STR(e.msg, "");
	struct carry_nic n = carry_take(c, 0);
	int far = packet_socket("peth0");
	CHECK(passes(far, n.tap));
	close(far);
	close(n.tap);
	carry_close(c);
}
TEST(leftovers)
{
	in_child(leftovers_body);
}

/* Reads one text from the follower; "" for an empty one, and at its end. */
static const char *followed(int fd)
{
	static char text[65536];
	uint32_t n = 0;

	if (recv(fd, &n, sizeof(n), MSG_WAITALL) != sizeof(n) || n == 0 || n >= sizeof(text))
		return "";
	text[recv(fd, text, n, MSG_WAITALL)] = '\0';
	return text;
}
static void follow_body(void)
{
	int pair[2], status = -1;

	wire("eth0");
	CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	CHECK_INT(open_carry(1), 0);
	must_sh(inner, "ip addr add 192.0.2.3/24 dev eth0"); /* before anybody follows */
	pid_t pid = fork();
	if (pid == 0) {
		close(pair[0]);
		_exit(carry_follow(c, pair[1], &e) == 0 ? 0 : 1);
	}
	close(pair[1]);
	CHECK_HAS(followed(pair[0]), "192.0.2.3/24");
	must_sh(inner, "ip addr add 192.0.2.4/24 dev eth0");
	CHECK_HAS(followed(pair[0]), "192.0.2.4/24");
	wire("eth1");
	const char *t;
	do
		t = followed(pair[0]);
	while (*t && !strstr(t, "\"eth1\""));
	CHECK_HAS(t, "\"eth1\"");
	/* What there is when it is asked comes before the answer. */
	must_sh(inner, "ip addr add 192.0.2.5/24 dev eth0");
	CHECK_INT(send(pair[0], "", 1, 0), 1);
	char last[65536] = "";
	for (t = followed(pair[0]); *t; t = followed(pair[0]))
		snprintf(last, sizeof(last), "%s", t);
	CHECK_HAS(last, "192.0.2.5/24");
	must_sh(inner, "ip addr add 192.0.2.6/24 dev eth0");
	CHECK_HAS(followed(pair[0]), "192.0.2.6/24");
	close(pair[0]);
	waitpid(pid, &status, 0);
	CHECK_INT(status, 0);
	carry_close(c);
}
TEST(follow)
{
	in_child(follow_body);
}

static void many_body(void)
{
	wire("eth0");
	must_sh(inner, "for i in $(seq 1 250); do echo \"addr add 10.0.$i.1/32 dev eth0\"; "
		       "echo \"route add 10.1.$i.0/24 dev eth0\"; done | ip -batch -");
	CHECK_INT(open_carry(0), 0);
	CHECK_HAS(carry_json(c), "10.0.250.1/32");
	CHECK_HAS(carry_json(c), "10.1.250.0/24");
	must_sh(inner, "for i in $(seq 1 250); do for k in 2 3 4 5; do "
		       "echo \"addr add 10.0.$i.$k/32 dev eth0\"; done; done | ip -batch -");
	e = (struct err)ERR_INIT;
	CHECK_INT(carry_update(c, &e), -E2BIG);
	CHECK_HAS(carry_json(c), "10.0.250.1/32");
	carry_close(c);
}
TEST(many_addresses)
{
	in_child(many_body);
}

TEST_MAIN(T(text), T(redirection), T(changes), T(spares), T(refusals), T(left_out), T(leftovers),
    T(follow), T(many_addresses))
