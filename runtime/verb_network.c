#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "netsetup/network.h"
#include "runtime/verbs.h"

struct network_verb_opts {
	const char *subnet, *gateway, *subnet6, *gateway6, *interface;
	struct opt_i64 mtu, vlan;
	bool isolated, openvswitch;
};
#define OFF(field) offsetof(struct network_verb_opts, field)
static const struct opt opts[] = {
	{ "subnet", 0, OPT_STR, OFF(subnet), "ADDRESS/BITS", "IPv4 subnet (default: a free one)" },
	{ "gateway", 0, OPT_STR, OFF(gateway), "ADDRESS",
	    "the bridge's address (default: the first)" },
	{ "subnet6", 0, OPT_STR, OFF(subnet6), "ADDRESS/BITS",
	    "IPv6 subnet (default without --subnet: a random unique local one)" },
	{ "gateway6", 0, OPT_STR, OFF(gateway6), "ADDRESS", "the bridge's IPv6 address" },
	{ "interface", 0, OPT_STR, OFF(interface), "NAME",
	    "the bridge's name (default: of the network's)" },
	{ "mtu", 0, OPT_INT, OFF(mtu), "BYTES", "MTU (default: the default route's)", 68, 65535 },
	{ "vlan", 0, OPT_INT, OFF(vlan), "ID", "VLAN of the containers' ports of the bridge", 1,
	    NET_VLAN_MAX },
	{ "openvswitch", 0, OPT_FLAG, OFF(openvswitch), NULL,
	    "--interface is a bridge of Open vSwitch, which is there already" },
	{ "isolated", 0, OPT_FLAG, OFF(isolated), NULL,
	    "no traffic between it and bailey's other networks" },
	{ 0 },
};

static int ip_option(const char *name, const char *s, struct ip *to, struct err *e)
{
	return !s || ip_parse(s, to) == 0
		   ? 0
		   : err_set(e, EINVAL, "--%s \"%s\": no IP address", name, s);
}

static int create(const struct network_verb_opts *o, const char *name, struct err *e)
{
	struct network n = { .mtu = (uint32_t)(o->mtu.set ? o->mtu.v : 0),
		.vlan = (uint16_t)(o->vlan.set ? o->vlan.v : 0),
		.isolated = o->isolated,
		.openvswitch = o->openvswitch };
	int r;

	if ((r = network_check_name(name, e)) < 0 ||
	    (r = ip_option("subnet", o->subnet, &n.subnet4, e)) < 0 ||
	    (r = ip_option("gateway", o->gateway, &n.gateway4, e)) < 0 ||
	    (r = ip_option("subnet6", o->subnet6, &n.subnet6, e)) < 0 ||
	    (r = ip_option("gateway6", o->gateway6, &n.gateway6, e)) < 0)
		return r;
	if (o->interface && (!*o->interface || strlen(o->interface) >= sizeof(n.interface)))
		return err_set(e, EINVAL, "--interface \"%s\": 1 to %zu characters", o->interface,
		    sizeof(n.interface) - 1);
	snprintf(n.name, sizeof(n.name), "%s", name);
	if (o->interface)
		snprintf(n.interface, sizeof(n.interface), "%s", o->interface);
	r = network_create(&n, e);
	if (r == 0)
		puts(name);
	return r;
}

static int list(const struct network_verb_opts *o, const char *name, struct err *e)
{
	_cleanup_strv_ char **names = NULL;
	int r = network_names(&names, e);

	if (r < 0)
		return r;
	printf("%-20s  %-15s  %-4s  %-18s  %s\n", "NAME", "INTERFACE", "VLAN", "SUBNET", "SUBNET6");
	for (size_t i = 0; names[i]; i++) {
		char four[IP_TEXT], six[IP_TEXT], vlan[8] = "-";
		struct network n;

		r = network_load(names[i], &n, e);
		if (r < 0)
			return r;
		if (n.vlan)
			snprintf(vlan, sizeof(vlan), "%u", n.vlan);
		printf("%-20s  %-15s  %-4s  %-18s  %s\n", n.name,
		    n.interface[0] ? n.interface : "-", vlan,
		    n.subnet4.family ? ip_text(&n.subnet4, true, four) : "-",
		    n.subnet6.family ? ip_text(&n.subnet6, true, six) : "-");
	}
	return 0;
}

static int put_user(void *ctx, const char *address, const char *dir)
{
	struct json_gen *g = ctx;

	json_gen_map(g);
	json_gen_kstr(g, "address", address);
	json_gen_kstr(g, "container", strrchr(dir, '/') + 1);
	json_gen_kstr(g, "directory", dir);
	json_gen_end(g);
	return 0;
}

static int inspect(const struct network_verb_opts *o, const char *name, struct err *e)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(true);
	struct network n;
	int r = network_load(name, &n, e);

	if (r < 0)
		return r;
	json_gen_map(g);
	json_gen_key(g, "network");
	network_json(g, &n);
	json_gen_key(g, "addresses");
	json_gen_array(g);
	r = network_users(name, put_user, g, e);
	if (r < 0)
		return r;
	json_gen_end(g);
	json_gen_end(g);
	puts(json_gen_text(g, NULL));
	return 0;
}

static int rm(const struct network_verb_opts *o, const char *name, struct err *e)
{
	return network_remove(name, e);
}

static int reload(const struct network_verb_opts *o, const char *name, struct err *e)
{
	unsigned ports;
	int r = network_reload(&ports, e);

	if (r == 0)
		printf("%u ports\n", ports);
	return r;
}

static const struct command {
	const char *name;
	bool takes_name, takes_options;
	int (*run)(const struct network_verb_opts *o, const char *name, struct err *e);
} commands[] = {
	{ "create", true, true, create },
	{ "ls", false, false, list },
	{ "inspect", true, false, inspect },
	{ "rm", true, false, rm },
	{ "reload", false, false, reload },
};

static int run(const struct globals *g, void *opts_, int argc, char **argv, struct err *e)
{
	static const struct network_verb_opts none;

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		const struct command *c = &commands[i];

		if (!streq(c->name, argv[0]))
			continue;
		if (argc != (c->takes_name ? 2 : 1))
			return err_set(e, EINVAL, "\"bailey network %s\": takes %s", c->name,
			    c->takes_name ? "a NAME" : "no argument");
		if (!c->takes_options && memcmp(opts_, &none, sizeof(none)) != 0)
			return err_set(
			    e, EINVAL, "\"bailey network %s\": takes no options", c->name);
		if (g->is_rootless)
			return err_set(e, EPERM, "\"bailey network\": needs root");
		return c->run(opts_, argv[1], e);
	}
	return err_set(
	    e, EINVAL, "\"bailey network %s\": must be create, ls, inspect, rm or reload", argv[0]);
}

const struct verb verb_network = {
	.name = "network",
	.args = "create|ls|inspect|rm|reload [NAME]",
	.summary = "make, show and remove networks for run --network",
	.detail =
	    "create NAME writes a network's file below " NET_FILES
	    "; the options are for it alone. "
	    "rm NAME removes it, with its bridge, when no container is in it. inspect NAME shows "
	    "it "
	    "and who has which address. reload adds nftables' table anew, with the published ports "
	    "of all containers that live, after something flushed it.\n"
	    "The networks bridge and ptp exist without being created.",
	.examples = "bailey network create --subnet 10.9.0.0/24 --isolated web\n"
		    "bailey network create --openvswitch --interface br0 --vlan 7 \\\n    "
		    "--subnet 192.0.2.0/24 --gateway 192.0.2.1 lab\n"
		    "bailey network reload",
	.opts = opts,
	.opts_size = sizeof(struct network_verb_opts),
	.min_args = 1,
	.max_args = 2,
	.error_exit = 1,
	.run = run,
};
