#include "netsetup/network_file.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/str.h"

#define FILE_MAX (64 * 1024)

void network_json(struct json_gen *g, const struct network *n)
{
	char text[IP_TEXT];

	json_gen_map(g);
	json_gen_kstr(g, "name", n->name);
	if (n->interface[0])
		json_gen_kstr(g, "interface", n->interface);
	if (n->openvswitch)
		json_gen_kbool(g, "openvswitch", true);
	if (n->vlan)
		json_gen_kuint(g, "vlan", n->vlan);
	if (n->subnet4.family)
		json_gen_kstr(g, "subnet", ip_text(&n->subnet4, true, text));
	if (n->gateway4.family)
		json_gen_kstr(g, "gateway", ip_text(&n->gateway4, false, text));
	if (n->subnet6.family)
		json_gen_kstr(g, "subnet6", ip_text(&n->subnet6, true, text));
	if (n->gateway6.family)
		json_gen_kstr(g, "gateway6", ip_text(&n->gateway6, false, text));
	if (n->mtu)
		json_gen_kuint(g, "mtu", n->mtu);
	if (n->isolated)
		json_gen_kbool(g, "isolated", true);
	json_gen_end(g);
}

/* ---- reading ---- */

struct reader {
	struct arena *a;
	const char *file;
};

static int bad(const struct reader *r, const struct json *v, const char *want, struct err *e)
{
	return err_set(e, EINVAL, "%s: %s: must be %s", r->file, json_path(r->a, v), want);
}

enum type { TEXT, ADDRESS, NUMBER32, NUMBER16, FLAG };

static const struct member {
	const char *key;
	enum type type;
	size_t offset, size; /* size: of texts */
	int64_t min, max;
} members[] = {
#define AT(f) offsetof(struct network, f)
	{ "name", TEXT, AT(name), sizeof(((struct network *)0)->name) },
	{ "interface", TEXT, AT(interface), sizeof(((struct network *)0)->interface) },
	{ "openvswitch", FLAG, AT(openvswitch) },
	{ "vlan", NUMBER16, AT(vlan), .min = 1, .max = NET_VLAN_MAX },
	{ "subnet", ADDRESS, AT(subnet4) },
	{ "gateway", ADDRESS, AT(gateway4) },
	{ "subnet6", ADDRESS, AT(subnet6) },
	{ "gateway6", ADDRESS, AT(gateway6) },
	{ "mtu", NUMBER32, AT(mtu), .min = 68, .max = 65535 },
	{ "isolated", FLAG, AT(isolated) },
#undef AT
};

static int read_number(
    const struct reader *r, const struct member *m, const struct json *v, void *to, struct err *e)
{
	char want[64];

	if (v->type != JSON_INT || v->i < m->min || v->i > m->max) {
		snprintf(want, sizeof(want), "a number from %jd to %jd", (intmax_t)m->min,
		    (intmax_t)m->max);
		return bad(r, v, want, e);
	}
	if (m->type == NUMBER16)
		*(uint16_t *)to = (uint16_t)v->i;
	else
		*(uint32_t *)to = (uint32_t)v->i;
	return 0;
}

static int read_value(
    const struct reader *r, const struct member *m, const struct json *v, void *to, struct err *e)
{
	switch (m->type) {
	case TEXT:
		if (v->type != JSON_STRING || !*v->s || strlen(v->s) >= m->size)
			return bad(r, v, "a short string", e);
		snprintf(to, m->size, "%s", v->s);
		return 0;
	case ADDRESS:
		if (v->type != JSON_STRING || ip_parse(v->s, to) < 0)
			return bad(r, v, "an IP address, or a subnet as ADDRESS/BITS", e);
		return 0;
	case FLAG:
		if (v->type != JSON_BOOL)
			return bad(r, v, "true or false", e);
		*(bool *)to = v->b;
		return 0;
	case NUMBER16:
	case NUMBER32:
		break;
	}
	return read_number(r, m, v, to, e);
}

static int read_member(
    const struct reader *r, const struct json *v, struct network *to, struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(members); i++)
		if (streq(v->key, members[i].key))
			return read_value(r, &members[i], v, (char *)to + members[i].offset, e);
	return err_set(e, EINVAL, "%s: %s: unknown", r->file, json_path(r->a, v));
}

int network_parse(const char *file, const char *text, size_t n, struct network *ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct reader r = { .a = a, .file = file };
	struct network net = { 0 };
	const struct json *doc;
	int rc = json_parse(a, file, text, n, &doc, e);

	if (rc < 0)
		return rc;
	if (doc->type != JSON_OBJECT)
		return err_set(e, EINVAL, "%s: must be an object", file);
	json_foreach (v, doc) {
		rc = read_member(&r, v, &net, e);
		if (rc < 0)
			return rc;
	}
	rc = network_complete(&net, e);
	if (rc < 0)
		return err_wrap(e, "%s", file);
	*ret = net;
	return 0;
}

int network_read(int dirfd, const char *file, struct network *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r = file_read(dirfd, file, FILE_MAX, &text, &n, e);

	return r < 0 ? r : network_parse(file, text, n, ret, e);
}

int network_write(int dirfd, const char *file, const struct network *n, struct err *e)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(true);
	_cleanup_free_ char *text = NULL;

	network_json(g, n);
	text = xasprintf("%s\n", json_gen_text(g, NULL));
	return file_replace(dirfd, file, text, strlen(text), 0644, false, e);
}

/* ---- completing ---- */

static int complete_family(const struct network *n, struct ip *subnet, struct ip *gateway,
    int family, const char *which, struct err *e)
{
	char s[IP_TEXT], g[IP_TEXT];

	if (!subnet->family)
		return gateway->family
			   ? err_set(e, EINVAL, ".gateway%s: there is no .subnet%s", which, which)
			   : 0;
	*subnet = ip_subnet(subnet);
	ip_text(subnet, true, s);
	if (subnet->family != family || ip_last(subnet) < 2)
		return err_set(
		    e, EINVAL, ".subnet%s: \"%s\": wrong family, or no room for hosts", which, s);
	/* Who is the gateway on a switch of the administrator's, if any, is for him to say. */
	if (!gateway->family && n->openvswitch)
		return 0;
	if (!gateway->family)
		*gateway = ip_nth(subnet, 1);
	if (!ip_in(subnet, gateway) || ip_index(subnet, gateway) == 0)
		return err_set(e, EINVAL, ".gateway%s: \"%s\": not a host's address in %s", which,
		    ip_text(gateway, false, g), s);
	gateway->prefix = subnet->prefix;
	return 0;
}

/* "b-" and the name, or what of it fits with a hash of the rest. */
static void choose_interface(struct network *n)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	if (strlen(n->name) + 2 < sizeof(n->interface)) {
		snprintf(n->interface, sizeof(n->interface), "b-%.12s", n->name);
		return;
	}
	for (const char *p = n->name; *p; p++)
		hash = (hash ^ (uint8_t)*p) * 16777619u;
	snprintf(n->interface, sizeof(n->interface), "b-%.4s%08x", n->name, hash);
}

static int check_kind(const struct network *n, struct err *e)
{
	if (streq(n->name, "ptp") && (n->vlan || n->openvswitch))
		return err_set(e, EINVAL, ".%s: network \"ptp\" has no bridge",
		    n->vlan ? "vlan" : "openvswitch");
	if (n->openvswitch && !n->interface[0])
		return err_set(
		    e, EINVAL, ".openvswitch: needs .interface, the bridge's name in Open vSwitch");
	if (n->openvswitch && n->isolated)
		return err_set(e, EINVAL,
		    ".isolated: not with .openvswitch, whose traffic the host does not route: "
		    "a .vlan of its own keeps it from others");
	if (n->openvswitch && !n->subnet4.family && !n->subnet6.family)
		return err_set(e, EINVAL,
		    ".openvswitch: needs .subnet or .subnet6, the addresses that containers may "
		    "have on the bridge");
	return 0;
}

int network_complete(struct network *n, struct err *e)
{
	int r = network_check_name(n->name, e);

	if (r == 0)
		r = check_kind(n, e);
	if (r == 0)
		r = complete_family(n, &n->subnet4, &n->gateway4, AF_INET, "", e);
	if (r == 0)
		r = complete_family(n, &n->subnet6, &n->gateway6, AF_INET6, "6", e);
	if (r < 0)
		return r;
	if (!n->subnet4.family && !n->subnet6.family)
		return err_set(e, EINVAL, ".subnet: missing, and .subnet6 too");
	if (!n->interface[0] && !streq(n->name, "ptp"))
		choose_interface(n);
	/* A leading "-" would be an option to ovs-vsctl. */
	if (n->interface[strcspn(n->interface, "/: \t\n")] || n->interface[0] == '-' ||
	    streq(n->interface, ".") || streq(n->interface, ".."))
		return err_set(e, EINVAL, ".interface: \"%s\": no interface's name", n->interface);
	return 0;
}
