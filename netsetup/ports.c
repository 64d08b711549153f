#include "netsetup/ports.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "netsetup/claim.h"
#include "netsetup/conntrack.h"
#include "netsetup/links.h"
#include "netsetup/nft.h"

char *port_key(const struct net_port *p)
{
	char text[IP_TEXT];

	return xasprintf("%s-%s-%u", p->proto == IPPROTO_UDP ? "udp" : "tcp",
	    p->addr.family ? ip_text(&p->addr, false, text) : "any", p->host);
}

static int key_parse(const char *key, struct net_port *ret)
{
	struct net_port p = { .proto = IPPROTO_TCP };
	const char *addr = startswith(key, "tcp-"), *dash = strrchr(key, '-');
	char text[IP_TEXT];
	int64_t port;

	if (!addr) {
		addr = startswith(key, "udp-");
		p.proto = IPPROTO_UDP;
	}
	if (!addr || dash < addr || (size_t)(dash - addr) >= sizeof(text) ||
	    parse_int_range(dash + 1, 1, 65535, &port) < 0)
		return -EINVAL;
	snprintf(text, sizeof(text), "%.*s", (int)(dash - addr), addr);
	if (!streq(text, "any") && ip_parse(text, &p.addr) < 0)
		return -EINVAL;
	p.host = (uint16_t)port;
	*ret = p;
	return 0;
}

/* "INNER,IP4,IP6" */
static char *detail_of(const struct net_port *p, const struct ip *ip4, const struct ip *ip6)
{
	char four[IP_TEXT], six[IP_TEXT];

	return xasprintf("%u,%s,%s", p->inner, ip_text(ip4, false, four), ip_text(ip6, false, six));
}

static int detail_parse(const char *detail, struct net_port *p, struct ip *ip4, struct ip *ip6)
{
	_cleanup_free_ char *copy = xstrdup(detail);
	char *four = strchr(copy, ','), *six = four ? strchr(four + 1, ',') : NULL;
	int64_t inner;

	if (!six)
		return -EINVAL;
	*four++ = *six++ = '\0';
	*ip4 = *ip6 = (struct ip){ 0 };
	if (parse_int_range(copy, 1, 65535, &inner) < 0 || (*four && ip_parse(four, ip4) < 0) ||
	    (*six && ip_parse(six, ip6) < 0))
		return -EINVAL;
	p->inner = (uint16_t)inner;
	return 0;
}

static size_t rules_of(
    const struct net_port *p, const struct ip *ip4, const struct ip *ip6, struct nft_port ret[2])
{
	size_t n = 0;

	for (int six = 0; six < 2; six++) {
		const struct ip *to = six ? ip6 : ip4;

		if (!to->family || (p->addr.family && p->addr.family != to->family))
			continue;
		ret[n++] = (struct nft_port){
			.proto = p->proto,
			.host = p->host,
			.inner = p->inner,
			.addr = p->addr,
			.to = *to,
		};
	}
	return n;
}

/* ---- before ---- */

static int try_bind(const struct net_port *p, int family)
{
	int type = p->proto == IPPROTO_UDP ? SOCK_DGRAM : SOCK_STREAM;
	_cleanup_close_ int fd = socket(family, type | SOCK_CLOEXEC, 0);
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(p->host) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(p->host) };
	int one = 1, r;

	if (fd < 0)
		return errno == EAFNOSUPPORT ? 0 : -errno;
	memcpy(&four.sin_addr, p->addr.b, 4);
	memcpy(&six.sin6_addr, p->addr.b, 16);
	/* Connections that are ending are nobody's any more. */
	if (type == SOCK_STREAM)
		(void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (family == AF_INET)
		return bind(fd, (void *)&four, sizeof(four)) < 0 ? -errno : 0;
	(void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one));
	r = bind(fd, (void *)&six, sizeof(six)) < 0 ? -errno : 0;
	/* Without IPv6 there is nobody to be hidden. */
	return !p->addr.family && r == -EADDRNOTAVAIL ? 0 : r;
}

int port_check(const struct net_port *p, struct err *e)
{
	_cleanup_free_ char *key = port_key(p);
	int r = 0;

	if (p->addr.family == AF_INET6 && ip_is_loopback(&p->addr) &&
	    bridged_packets_pass("ip6tables"))
		return err_set(e, EOPNOTSUPP,
		    "-p: %s: not while net.bridge.bridge-nf-call-ip6tables is 1 (br_netfilter), "
		    "with "
		    "which the kernel drops the answers: set it to 0, or publish on 127.0.0.1",
		    key);
	if (!p->addr.family || p->addr.family == AF_INET)
		r = try_bind(p, AF_INET);
	if (r == 0 && (!p->addr.family || p->addr.family == AF_INET6))
		r = try_bind(p, AF_INET6);
	if (r == -EADDRINUSE)
		return err_set(e, EADDRINUSE, "-p: %s: a process of the host listens there", key);
	if (r == -EADDRNOTAVAIL)
		return err_set(e, EADDRNOTAVAIL, "-p: %s: the host has no such address", key);
	return r < 0 ? err_errno(e, -r, "-p: %s", key) : 0;
}

static int claim_one(int run, int dirfd, const struct net_port *p, const char *owner, struct err *e)
{
	_cleanup_free_ char *key = port_key(p), *other = NULL;
	int r = port_check(p, e);

	if (r < 0)
		return r;
	r = claim_take(run, dirfd, key, owner, &other);
	if (r == -EEXIST)
		return err_set(e, EADDRINUSE, "-p: %s: taken by %s", key, other);
	return r < 0 ? err_errno(e, -r, "-p: %s", key) : 0;
}

int ports_claim(int run, const struct net_request *q, const char *dir, int dirfd,
    const struct ip *ip4, const struct ip *ip6, struct err *e)
{
	_cleanup_close_ int ports = -EBADF;
	int r = 0;

	if (!q->n_ports)
		return 0;
	ports = run_dir(run, "ports");
	if (ports < 0)
		return err_errno(e, -ports, NET_RUN "/…/ports");
	for (size_t i = 0; i < q->n_ports && r == 0; i++) {
		_cleanup_free_ char *detail = detail_of(&q->ports[i], ip4, ip6);
		_cleanup_free_ char *owner = claim_owner(dir, dirfd, detail);
		struct nft_port rules[2];

		if (rules_of(&q->ports[i], ip4, ip6, rules) == 0)
			return err_set(e, EINVAL,
			    "-p: the network has no addresses of the family of the port's");
		r = claim_one(run, ports, &q->ports[i], owner, e);
	}
	return r;
}

/* ---- rules ---- */

static int publish(struct batch *b, const struct nft_port *v, size_t n, struct err *e)
{
	int r = nft_ports_add(b, v, n);

	/* The claims are this container's: what is there was left by a dead one. */
	if (r == -EEXIST) {
		r = nft_ports_del(b, v, n);
		if (r == 0)
			r = nft_ports_add(b, v, n);
	}
	return r < 0 ? err_errno(e, -r, "nftables: publish the ports") : 0;
}

int ports_publish(
    const struct net_request *q, const struct ip *ip4, const struct ip *ip6, struct err *e)
{
	_cleanup_free_ struct nft_port *v = xcalloc(2 * q->n_ports + 1, sizeof(*v));
	_cleanup_batch_ struct batch b = BATCH_INIT;
	size_t n = 0;
	int r;

	if (!q->n_ports)
		return 0;
	for (size_t i = 0; i < q->n_ports; i++)
		n += rules_of(&q->ports[i], ip4, ip6, v + n);
	r = batch_open(NETLINK_NETFILTER, &b, e);
	if (r == 0)
		r = publish(&b, v, n, e);
	for (size_t i = 0; i < q->n_ports && r == 0; i++)
		if (q->ports[i].proto == IPPROTO_UDP)
			r = conntrack_flush_udp(q->ports[i].host, e);
	return r;
}

/* The rules of those keys that are dir's. */
static int rules_of_keys(int ports, char *const *keys, const char *dir, struct nft_port *ret,
    size_t *ret_n, struct err *e)
{
	const struct ip ip4 = { .family = AF_INET }, ip6 = { .family = AF_INET6 };

	*ret_n = 0;
	for (char *const *k = keys; *k; k++) {
		struct net_port p;

		if (key_parse(*k, &p) < 0)
			return err_set(e, EINVAL, "network.json: .ports: \"%s\"", *k);
		if (claim_is(ports, *k, dir))
			*ret_n += rules_of(&p, &ip4, &ip6, ret + *ret_n);
	}
	return 0;
}

int ports_release(int run, char *const *keys, const char *dir, struct err *e)
{
	_cleanup_free_ struct nft_port *v = xcalloc(2 * strv_len(keys) + 1, sizeof(*v));
	_cleanup_batch_ struct batch b = BATCH_INIT;
	_cleanup_close_ int ports = -EBADF;
	size_t n;
	int r;

	if (!strv_len(keys))
		return 0;
	ports = run_dir(run, "ports");
	if (ports < 0)
		return err_errno(e, -ports, NET_RUN "/…/ports");
	if ((r = batch_open(NETLINK_NETFILTER, &b, e)) < 0 ||
	    (r = rules_of_keys(ports, keys, dir, v, &n, e)) < 0)
		return r;
	r = nft_ports_del(&b, v, n);
	if (r < 0)
		return err_errno(e, -r, "nftables: take the ports back");
	for (size_t i = 0; i < n; i++)
		if (v[i].proto == IPPROTO_UDP && (i == 0 || v[i].host != v[i - 1].host) &&
		    (r = conntrack_flush_udp(v[i].host, e)) < 0)
			return r;
	/* Last: who finds the claim gone finds no rule either. */
	for (char *const *k = keys; *k; k++) {
		r = claim_release(ports, *k, dir);
		if (r < 0)
			return err_errno(e, -r, "give port %s back", *k);
	}
	return 0;
}

struct republishing {
	struct batch b;
	unsigned n;
	struct err *e;
};

static int republish_one(void *ctx, const char *name, const char *detail, const char *dir)
{
	struct republishing *p = ctx;
	struct nft_port rules[2];
	struct net_port port;
	struct ip ip4, ip6;

	if (key_parse(name, &port) < 0 || detail_parse(detail, &port, &ip4, &ip6) < 0)
		return err_set(
		    p->e, EINVAL, NET_RUN "/…/ports/%s: not written by this program", name);
	p->n++;
	return publish(&p->b, rules, rules_of(&port, &ip4, &ip6, rules), p->e);
}

int ports_republish(int run, unsigned *ret_n, struct err *e)
{
	struct republishing p = { .e = e };
	_cleanup_close_ int ports = run_dir(run, "ports");
	int r;

	if (ports < 0)
		return err_errno(e, -ports, NET_RUN "/…/ports");
	r = batch_open(NETLINK_NETFILTER, &p.b, e);
	if (r < 0)
		return r;
	r = claim_each(ports, republish_one, &p);
	batch_close(&p.b);
	*ret_n = p.n;
	return r < 0 && !e->code ? err_errno(e, -r, NET_RUN "/…/ports") : r;
}
