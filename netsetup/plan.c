/*
 * A container's network from the intent to the end. Order: journal, addresses, journal with the
 * addresses, ports, files; then, with the namespace, links and rules. A claim that the journal
 * cannot name yet is found by its owner.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "netsetup/claim.h"
#include "netsetup/dns.h"
#include "netsetup/ipam.h"
#include "netsetup/journal.h"
#include "netsetup/links.h"
#include "netsetup/nft.h"
#include "netsetup/ovs.h"
#include "netsetup/pasta.h"
#include "netsetup/ports.h"

static bool has_network(enum net_kind kind)
{
	return kind == NET_BRIDGE || kind == NET_PTP;
}

static bool has_link(enum net_kind kind)
{
	return has_network(kind) || kind == NET_MACVLAN || kind == NET_IPVLAN;
}

static int choose_link(char name[IFNAMSIZ], struct err *e)
{
	uint8_t r[6];

	if (getrandom(r, sizeof(r), 0) != sizeof(r))
		return err_errno(e, errno, "getrandom");
	snprintf(name, IFNAMSIZ, "bv%02x%02x%02x%02x%02x%02x", r[0], r[1], r[2], r[3], r[4], r[5]);
	return 0;
}

static int take(struct net_plan *p, int run, struct journal *j, struct err *e)
{
	_cleanup_free_ char *owner = claim_owner(p->dir, p->dirfd, "");
	int r = ipam_take(run, &p->net, &p->q->ip4, &p->q->ip6, owner, &p->ip4, &p->ip6, e);

	if (r < 0)
		return r;
	j->ip4 = p->ip4;
	j->ip6 = p->ip6;
	r = journal_write(j, p->dirfd, e);
	return r < 0 ? r : ports_claim(run, p->q, p->dir, p->dirfd, &p->ip4, &p->ip6, e);
}

/* What only the network's file tells. */
static int check_openvswitch(const struct network *n, const struct net_request *q, struct err *e)
{
	int r;

	if (q->n_ports)
		return err_set(e, EINVAL,
		    "--network %s: publishes no ports (-p): the host is not on the way to its "
		    "containers, which others reach on bridge %s of Open vSwitch",
		    n->name, n->interface);
	r = ovs_bridge_check(n->interface, e);
	return r < 0 ? err_wrap(e, "--network %s", n->name) : 0;
}

int net_plan(
    const struct net_request *q, const char *dir, int dirfd, struct net_plan *ret, struct err *e)
{
	struct net_plan p = { .q = q, .dir = dir, .dirfd = dirfd, .ip4 = q->ip4, .ip6 = q->ip6 };
	_cleanup_journal_ struct journal j = { .kind = q->kind };
	_cleanup_close_ int run = -EBADF;
	int r = run_inode(&j.host, e);

	if (r < 0)
		return r;
	if (has_network(q->kind)) {
		if ((r = network_load(q->name, &p.net, e)) < 0 ||
		    (p.net.openvswitch && (r = check_openvswitch(&p.net, q, e)) < 0) ||
		    (r = run_open(&run, e)) < 0)
			return r;
		j.openvswitch = p.net.openvswitch;
		snprintf(j.network, sizeof(j.network), "%s", p.net.name);
		for (size_t i = 0; i < q->n_ports; i++)
			strv_push(&j.ports, port_key(&q->ports[i]));
	}
	if (has_link(q->kind) && (r = choose_link(p.link, e)) < 0)
		return r;
	if (has_network(q->kind))
		memcpy(j.link, p.link, sizeof(j.link));
	if ((r = journal_write(&j, dirfd, e)) < 0 || (run >= 0 && (r = take(&p, run, &j, e)) < 0) ||
	    (run >= 0 && (r = network_confirm(&p.net, run, e)) < 0) ||
	    (r = dns_write(q, dirfd, &p.ip4, &p.ip6, e)) < 0)
		return r;
	*ret = p;
	return 0;
}

static int choose_mac(const struct net_request *q, uint8_t mac[6], struct err *e)
{
	memcpy(mac, q->mac, 6);
	if (q->has_mac)
		return 0;
	if (getrandom(mac, 6, 0) != 6)
		return err_errno(e, errno, "getrandom");
	mac[0] = (uint8_t)((mac[0] & 0xfc) | 2);
	return 0;
}

static int rules(const struct net_plan *p, int run, struct err *e)
{
	_cleanup_batch_ struct batch b = BATCH_INIT;
	int r = batch_open(NETLINK_NETFILTER, &b, e);

	if (r == 0)
		r = nft_ensure(&b, run, e);
	if (r == 0 && p->net.isolated && (r = nft_isolated_add(&b, p->net.interface)) < 0)
		return err_errno(e, -r, "nftables: network \"%s\"", p->net.name);
	return r < 0 ? r : ports_publish(p->q, &p->ip4, &p->ip6, e);
}

static struct inner inner_of(const struct net_plan *p)
{
	return (struct inner){
		.from = NET_INNER,
		.ip4 = &p->ip4,
		.ip6 = &p->ip6,
		.gateway4 = &p->net.gateway4,
		.gateway6 = &p->net.gateway6,
		.routed = p->q->kind == NET_PTP,
	};
}

static int attach_ptp(const struct net_plan *p, struct batch *b, struct veth *v, struct err *e)
{
	const struct inner in = inner_of(p);
	_cleanup_close_ int run = -EBADF;
	int r = run_open(&run, e);

	v->group = NFT_GROUP;
	v->mtu = p->net.mtu;
	if (r == 0 && !v->mtu)
		r = host_mtu(b, &v->mtu, e);
	if (r == 0)
		r = veth_make(b, v, e);
	if (r == 0)
		r = forwarding_on(p->link, true, e);
	if (r == 0)
		r = ptp_configure(b, p->link, &p->net, &p->ip4, &p->ip6, e);
	if (r == 0)
		r = rules(p, run, e);
	return r < 0 ? r : inner_configure(v->netns, &in, e);
}

static int attach_bridge(const struct net_plan *p, struct batch *b, struct veth *v, struct err *e)
{
	const struct inner in = inner_of(p);
	_cleanup_close_ int run = -EBADF;
	struct host_link bridge = { 0 };
	int r = run_open(&run, e);

	if (r == 0)
		r = bridge_ensure(b, run, &p->net, &bridge, e);
	v->master = bridge.index;
	v->mtu = bridge.mtu;
	v->vlan = p->net.vlan;
	if (r == 0)
		r = veth_make(b, v, e);
	if (r == 0)
		r = rules(p, run, e);
	return r < 0 ? r : inner_configure(v->netns, &in, e);
}

static int attach_openvswitch(
    const struct net_plan *p, struct batch *b, struct veth *v, struct err *e)
{
	const struct inner in = inner_of(p);
	struct host_link bridge;
	int r = host_link_find(b, p->net.interface, &bridge);

	if (r < 0)
		return err_errno(e, -r,
		    "network \"%s\": interface %s of Open vSwitch (does it run in this network "
		    "namespace?)",
		    p->net.name, p->net.interface);
	v->mtu = p->net.mtu ? p->net.mtu : bridge.mtu;
	v->is_port = true;
	r = veth_make(b, v, e);
	if (r == 0)
		r = ovs_port_add(
		    p->net.interface, p->link, p->net.vlan, strrchr(p->dir, '/') + 1, e);
	return r < 0 ? r : inner_configure(v->netns, &in, e);
}

static int attach_veth(const struct net_plan *p, struct batch *b, int netns, struct err *e)
{
	uint8_t mac[6];
	struct veth v = { .name = p->link, .netns = netns, .mac = mac };
	int r = choose_mac(p->q, mac, e);

	if (r < 0)
		return r;
	if (p->net.openvswitch)
		return attach_openvswitch(p, b, &v, e);
	return p->q->kind == NET_PTP ? attach_ptp(p, b, &v, e) : attach_bridge(p, b, &v, e);
}

static int attach_sub(const struct net_plan *p, struct batch *b, int netns, struct err *e)
{
	const struct net_request *q = p->q;
	struct inner in = {
		.from = p->link,
		.ip4 = &p->ip4,
		.ip6 = &p->ip6,
		.gateway4 = &q->gateway,
		.gateway6 = &(struct ip){ 0 },
	};
	uint8_t mac[6];
	int r = choose_mac(q, mac, e);

	if (r == 0)
		r = sub_make(b, q->kind, p->link, netns, q->name, mac, e);
	return r < 0 ? r : inner_configure(netns, &in, e);
}

int net_attach(struct net_plan *p, int netns, int pid, struct err *e)
{
	_cleanup_batch_ struct batch b = BATCH_INIT;
	int r;

	if (p->q->kind == NET_PASTA)
		return pasta_start(p->q, p->dir, netns, pid, e);
	if (!has_link(p->q->kind))
		return 0;
	r = batch_open(NETLINK_ROUTE, &b, e);
	if (r < 0)
		return r;
	return has_network(p->q->kind) ? attach_veth(p, &b, netns, e) : attach_sub(p, &b, netns, e);
}

/* ---- the end ---- */

static int remove_link(const char *name, struct err *e)
{
	_cleanup_batch_ struct batch b = BATCH_INIT;
	int r = batch_open(NETLINK_ROUTE, &b, e);

	if (r < 0)
		return r;
	r = host_link_del(&b, name);
	return r < 0 ? err_errno(e, -r, "remove %s", name) : 0;
}

/* The rules, when nobody is left who needs them. Who takes an address after the look finds no table
 * later, and makes one. */
static int remove_rules(int run, struct err *e)
{
	_cleanup_batch_ struct batch b = BATCH_INIT;
	_cleanup_close_ int lock = -EBADF;
	int r = run_lock(run, &lock, e);

	if (r < 0)
		return r;
	r = ipam_is_used(run);
	if (r)
		return r < 0 ? err_errno(e, -r, NET_RUN "/…/addr") : 0;
	r = batch_open(NETLINK_NETFILTER, &b, e);
	if (r == -EPROTONOSUPPORT) { /* a kernel that cannot have any */
		err_clear(e);
		return 0;
	}
	return r < 0 ? r : nft_remove(&b, e);
}

static int undo_here(const struct journal *j, const char *dir, struct err *e)
{
	_cleanup_close_ int run = -EBADF;
	int r = 0;

	if (j->network[0])
		r = run_open(&run, e);
	if (r == 0 && j->ports)
		r = ports_release(run, j->ports, dir, e);
	if (r == 0 && j->openvswitch)
		r = ovs_port_del(j->link, e);
	if (r == 0 && j->link[0])
		r = remove_link(j->link, e);
	if (r == 0 && j->network[0] &&
	    (r = ipam_release(run, j->network, dir, &j->ip4, &j->ip6)) < 0)
		err_errno(e, -r, "give the addresses back");
	return r < 0 || !j->network[0] ? r : remove_rules(run, e);
}

/* From another network namespace than the container was made in: its links have gone with its own
 * one, the claims are files. Rules are out of reach, and gone if that namespace is. */
static int undo_elsewhere(const struct journal *j, const char *dir, struct err *e)
{
	_cleanup_close_ int run = -EBADF, ports = -EBADF;
	int r;

	if (!j->network[0])
		return 0;
	if (j->openvswitch && (r = ovs_port_del(j->link, e)) < 0)
		return r;
	r = run_open_of(j->host, &run, e);
	if (r == -ENOENT) {
		err_clear(e);
		return 0;
	}
	if (r == 0 && (r = ipam_release(run, j->network, dir, &j->ip4, &j->ip6)) < 0)
		err_errno(e, -r, "give the addresses back");
	if (r < 0 || !j->ports)
		return r;
	log_warning(
	    "the container's ports were published in another network namespace (inode %ju): "
	    "if that is there still, \"bailey network reload\" in it takes their rules away",
	    (uintmax_t)j->host);
	ports = run_dir(run, "ports");
	r = ports < 0 ? ports : claim_release_all(ports, dir);
	return r < 0 ? err_errno(e, -r, "give the ports back") : 0;
}

int net_undo(const char *dir, int dirfd, struct err *e)
{
	_cleanup_journal_ struct journal j = { 0 };
	uint64_t here;
	bool found;
	int r = journal_read(dirfd, &j, &found, e);

	if (r < 0 || !found)
		return r;
	r = run_inode(&here, e);
	if (r == 0 && j.kind == NET_PASTA)
		r = pasta_stop(dir, dirfd, e);
	if (r == 0)
		r = here == j.host ? undo_here(&j, dir, e) : undo_elsewhere(&j, dir, e);
	if (r < 0)
		return err_wrap(e, "network");
	if (unlinkat(dirfd, JOURNAL, 0) < 0 && errno != ENOENT)
		return err_errno(e, errno, "remove " JOURNAL);
	return 0;
}

static int isolate_again(struct batch *b, struct err *e)
{
	_cleanup_strv_ char **names = NULL;
	int r = network_names(&names, e);

	for (size_t i = 0; r == 0 && names[i]; i++) {
		struct network n;

		r = network_load(names[i], &n, e);
		if (r == 0 && n.isolated && (r = nft_isolated_add(b, n.interface)) < 0)
			return err_errno(e, -r, "nftables: network \"%s\"", n.name);
	}
	return r;
}

int network_reload(unsigned *ret_ports, struct err *e)
{
	_cleanup_batch_ struct batch b = BATCH_INIT;
	_cleanup_close_ int run = -EBADF, lock = -EBADF;
	int r;

	if ((r = run_open(&run, e)) < 0 || (r = run_lock(run, &lock, e)) < 0 ||
	    (r = batch_open(NETLINK_NETFILTER, &b, e)) < 0)
		return r;
	r = ipam_is_used(run);
	if (r < 0)
		return err_errno(e, -r, NET_RUN "/…/addr");
	if (r == 0) {
		*ret_ports = 0;
		return nft_remove(&b, e);
	}
	if ((r = nft_renew(&b, e)) < 0)
		return r;
	r = isolate_again(&b, e);
	return r < 0 ? r : ports_republish(run, ret_ports, e);
}
