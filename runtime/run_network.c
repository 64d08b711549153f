#include "runtime/run_network.h"

#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "netsetup/dns.h"

/* ---- options ---- */

static int parse_ip(const char *option, const char *s, struct ip *ret, struct err *e)
{
	if (s && ip_parse(s, ret) < 0)
		return err_set(e, EINVAL, "--%s \"%s\": must be an IP address", option, s);
	return 0;
}

static int without_network(const struct network_opts *o, struct err *e)
{
	const struct {
		const char *name;
		const void *given;
	} all[] = {
		{ "publish", o->publish },
		{ "ip", o->ip },
		{ "ip6", o->ip6 },
		{ "gateway", o->gateway },
		{ "mac", o->mac },
		{ "dns", o->dns },
		{ "add-host", o->add_host },
	};

	for (size_t i = 0; i < ARRAY_SIZE(all); i++)
		if (all[i].given)
			return err_set(e, EINVAL, "--%s: needs --network", all[i].name);
	return 0;
}

int network_request(const struct network_opts *o, const char *hostname, bool rootless,
    struct net_request *ret, bool *ret_wanted, struct err *e)
{
	struct net_request q = { .dns = o->dns, .hosts = o->add_host, .hostname = hostname };
	_cleanup_free_ struct net_port *ports = NULL;
	int r;

	*ret_wanted = o->network;
	if (!o->network)
		return without_network(o, e);
	if (hostname && (!*hostname || hostname[strcspn(hostname, " \t\n#")]))
		return err_set(e, EINVAL, "--hostname \"%s\": no blanks, no \"#\"", hostname);
	if ((r = net_parse_kind(o->network, &q, e)) < 0 ||
	    (r = parse_ip("ip", o->ip, &q.ip4, e)) < 0 ||
	    (r = parse_ip("ip6", o->ip6, &q.ip6, e)) < 0 ||
	    (r = parse_ip("gateway", o->gateway, &q.gateway, e)) < 0 ||
	    (o->mac && (r = net_parse_mac(o->mac, &q, e)) < 0))
		return r;
	ports = xcalloc(strv_len(o->publish) + 1, sizeof(*ports));
	q.ports = ports;
	for (; o->publish && o->publish[q.n_ports]; q.n_ports++)
		if ((r = net_parse_port(o->publish[q.n_ports], &ports[q.n_ports], e)) < 0)
			return r;
	r = net_check(&q, rootless, e);
	if (r < 0)
		return r;
	*ret = q;
	(void)steal_ptr(ports);
	return 0;
}

/* ---- the configuration ---- */

static const struct {
	const char *destination, *file;
} mounts[] = {
	{ "/etc/resolv.conf", DNS_RESOLV },
	{ "/etc/hosts", DNS_HOSTS },
	{ "/etc/hostname", DNS_NAME },
};

static bool mounts_at(const struct spec *s, const char *destination)
{
	for (size_t i = 0; i < s->mounts.n; i++)
		if (streq(s->mounts.v[i].destination, destination))
			return true;
	return false;
}

static void put_mounts(
    struct json_gen *g, const struct json *old, const struct spec *s, const char *dir)
{
	static char *const options[] = { "bind", "ro", "nosuid", "nodev", "noexec", NULL };

	json_gen_key(g, "mounts");
	json_gen_array(g);
	if (old)
		json_foreach (m, old)
			json_gen_node(g, m);
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		_cleanup_free_ char *source = xasprintf("%s/%s", dir, mounts[i].file);

		if (mounts_at(s, mounts[i].destination))
			continue;
		json_gen_map(g);
		json_gen_kstr(g, "destination", mounts[i].destination);
		json_gen_kstr(g, "type", "bind");
		json_gen_kstr(g, "source", source);
		json_gen_kstrv(g, "options", options);
		json_gen_end(g);
	}
	json_gen_end(g);
}

static bool is_network(const struct json *ns)
{
	const struct json *type = json_get(ns, "type");

	return type && type->type == JSON_STRING && streq(type->s, "network");
}

static void put_namespaces(struct json_gen *g, const struct json *old, const struct net_request *q)
{
	json_gen_key(g, "namespaces");
	json_gen_array(g);
	json_foreach (ns, old)
		if (!is_network(ns))
			json_gen_node(g, ns);
	if (q->kind != NET_HOST) {
		json_gen_map(g);
		json_gen_kstr(g, "type", "network");
		if (q->kind == NET_NS)
			json_gen_kstr(g, "path", q->name);
		json_gen_end(g);
	}
	json_gen_end(g);
}

static void put_linux(struct json_gen *g, const struct json *old, const struct net_request *q)
{
	json_gen_key(g, "linux");
	json_gen_map(g);
	json_foreach (m, old) {
		if (streq(m->key, "namespaces")) {
			put_namespaces(g, m, q);
			continue;
		}
		json_gen_key(g, m->key);
		json_gen_node(g, m);
	}
	json_gen_end(g);
}

static void rewrite(struct json_gen *g, const struct json *doc, const struct spec *s,
    const struct net_request *q, const char *dir)
{
	json_gen_map(g);
	json_foreach (m, doc) {
		if (streq(m->key, "linux")) {
			put_linux(g, m, q);
		} else if (!streq(m->key, "mounts") &&
			   !(q->hostname && streq(m->key, "hostname"))) {
			json_gen_key(g, m->key);
			json_gen_node(g, m);
		}
	}
	if (q->hostname)
		json_gen_kstr(g, "hostname", q->hostname);
	put_mounts(g, json_get(doc, "mounts"), s, dir);
	json_gen_end(g);
}

int network_spec(
    struct net_request *q, const char *id, const char *dir, struct spec **s, struct err *e)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(true);
	_cleanup_arena_ struct arena *a = arena_new();
	const struct json *doc;
	struct spec *changed;
	const char *text;
	size_t n;
	int r = json_parse(a, "config.json", (*s)->text, (*s)->text_len, &doc, e);

	if (r < 0)
		return r;
	rewrite(g, doc, *s, q, dir);
	text = json_gen_text(g, &n);
	r = spec_parse("config.json", (*s)->bundle, text, n, &changed, e);
	if (r < 0)
		return err_wrap(e, "with --network");
	changed->text = arena_strndup(changed->arena, text, n);
	changed->text_len = n;
	spec_free(*s);
	*s = changed;
	if (!q->hostname)
		q->hostname = changed->hostname ? changed->hostname : id;
	return 0;
}
