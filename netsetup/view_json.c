#include <arpa/inet.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/json.h"
#include "netsetup/view.h"

#define IP_TEXT (INET6_ADDRSTRLEN + 4)

static void put_ip(struct json_gen *g, const char *key, const struct view_ip *ip, bool prefix)
{
	char text[IP_TEXT];
	size_t n;

	if (!ip->family || !inet_ntop(ip->family, ip->bytes, text, INET6_ADDRSTRLEN))
		return;
	n = strlen(text);
	if (prefix)
		snprintf(text + n, sizeof(text) - n, "/%u", ip->prefix);
	json_gen_kstr(g, key, text);
}

static void put_mac(struct json_gen *g, const char *key, const uint8_t m[6])
{
	char text[18];

	snprintf(text, sizeof(text), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3], m[4],
	    m[5]);
	json_gen_kstr(g, key, text);
}

static void put_addresses(struct json_gen *g, const struct view_if *n)
{
	json_gen_key(g, "addresses");
	json_gen_array(g);
	for (size_t i = 0; i < n->n_addrs; i++) {
		json_gen_map(g);
		put_ip(g, "address", &n->addrs[i].ip, true);
		put_ip(g, "broadcast", &n->addrs[i].broadcast, false);
		json_gen_kuint(g, "scope", n->addrs[i].scope);
		json_gen_end(g);
	}
	json_gen_end(g);
}

static void put_routes(struct json_gen *g, const struct view_if *n)
{
	json_gen_key(g, "routes");
	json_gen_array(g);
	for (size_t i = 0; i < n->n_routes; i++) {
		const struct view_route *r = &n->routes[i];

		json_gen_map(g);
		if (r->dst.prefix) {
			put_ip(g, "destination", &r->dst, true);
		} else {
			json_gen_kstr(g, "destination", "default");
			json_gen_kuint(g, "family", r->dst.family == AF_INET ? 4 : 6);
		}
		put_ip(g, "gateway", &r->gateway, false);
		put_ip(g, "source", &r->source, false);
		json_gen_kuint(g, "metric", r->metric);
		json_gen_kuint(g, "scope", r->scope);
		json_gen_kuint(g, "type", r->type);
		if (r->onlink)
			json_gen_kbool(g, "onlink", true);
		json_gen_end(g);
	}
	json_gen_end(g);
}

static void put_neighbours(struct json_gen *g, const struct view_if *n)
{
	json_gen_key(g, "neighbours");
	json_gen_array(g);
	for (size_t i = 0; i < n->n_neighs; i++) {
		json_gen_map(g);
		put_ip(g, "address", &n->neighs[i].ip, false);
		put_mac(g, "mac", n->neighs[i].mac);
		json_gen_end(g);
	}
	json_gen_end(g);
}

char *view_json(const struct view *w)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);

	json_gen_map(g);
	json_gen_key(g, "interfaces");
	json_gen_array(g);
	for (size_t i = 0; i < w->n; i++) {
		const struct view_if *n = &w->v[i];

		json_gen_map(g);
		json_gen_kstr(g, "name", n->name);
		put_mac(g, "mac", n->mac);
		put_mac(g, "device", n->device);
		json_gen_kuint(g, "mtu", n->mtu);
		json_gen_kbool(g, "up", n->flags & IFF_UP);
		put_addresses(g, n);
		put_routes(g, n);
		put_neighbours(g, n);
		json_gen_end(g);
	}
	json_gen_end(g);
	json_gen_end(g);
	return xstrdup(json_gen_text(g, NULL));
}
