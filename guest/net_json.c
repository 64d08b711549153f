/* NET's JSON, checked down to the last address. */
#include <arpa/inet.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "guest/net.h"

#define INTERFACES_MAX 64
#define LIST_MAX       4096
#define MTU_MIN	       68
#define MTU_MAX	       65535

struct ctx {
	struct arena *a;
	struct err *e;
};

static int bad(struct ctx *c, const struct json *node, const char *want)
{
	if (node->type == JSON_STRING)
		return err_set(c->e, EINVAL, "network: %s: %s: must be %s", json_path(c->a, node),
		    json_quote(c->a, node->s), want);
	return err_set(c->e, EINVAL, "network: %s: must be %s", json_path(c->a, node), want);
}

/* NULL with an error set, unless it may be missing and is. */
static const struct json *member(struct ctx *c, const struct json *object, const char *key,
    enum json_type type, bool required, const char *want, int *r)
{
	const struct json *node = json_get(object, key);

	if (!node && required)
		*r = err_set(c->e, EINVAL, "network: %s.%s: missing", json_path(c->a, object), key);
	if (node && node->type != type)
		*r = bad(c, node, want);
	return node && node->type == type ? node : NULL;
}

static int get_uint(
    struct ctx *c, const struct json *object, const char *key, uint32_t max, uint32_t *ret)
{
	int r = 0;
	const struct json *node = member(c, object, key, JSON_INT, false, "a whole number", &r);

	if (node && (node->i < 0 || node->i > max))
		return bad(c, node, "a whole number in its range");
	if (node)
		*ret = (uint32_t)node->i;
	return r;
}

static int get_bool(struct ctx *c, const struct json *object, const char *key, bool *ret)
{
	int r = 0;
	const struct json *node = member(c, object, key, JSON_BOOL, false, "true or false", &r);

	if (node)
		*ret = node->b;
	return r;
}

/* "ADDRESS" or "ADDRESS/PREFIX"; without one the prefix is the whole address. */
static int parse_address(const char *text, struct net_addr *ret)
{
	struct net_addr a = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };
	const char *slash = strchr(text, '/');
	const int whole = a.family == AF_INET ? 32 : 128;
	char buf[INET6_ADDRSTRLEN] = "";
	size_t n = slash ? (size_t)(slash - text) : strlen(text);
	int64_t prefix = whole;

	if (n >= sizeof(buf))
		return -EINVAL;
	memcpy(buf, text, n);
	if (inet_pton(a.family, buf, a.bytes) != 1 ||
	    (slash && parse_int_range(slash + 1, 0, whole, &prefix) < 0))
		return -EINVAL;
	a.prefix = (uint8_t)prefix;
	*ret = a;
	return 0;
}

/* 1: there, 0: absent */
static int get_address(
    struct ctx *c, const struct json *object, const char *key, bool required, struct net_addr *ret)
{
	int r = 0;
	const struct json *node =
	    member(c, object, key, JSON_STRING, required, "an IP address", &r);

	if (!node)
		return r;
	return parse_address(node->s, ret) < 0 ? bad(c, node, "an IP address") : 1;
}

/* 1: there, 0: absent */
static int get_mac(
    struct ctx *c, const struct json *object, const char *key, bool required, uint8_t ret[6])
{
	static const char digits[] = "0123456789abcdef";
	int r = 0;
	const struct json *node =
	    member(c, object, key, JSON_STRING, required, "a MAC address", &r);
	const char *s = node ? node->s : "";

	if (!node)
		return r;
	for (int i = 0; i < 6; i++, s += 3) {
		const char *hi = s[0] ? strchr(digits, s[0] | 0x20) : NULL;
		const char *lo = hi && s[1] ? strchr(digits, s[1] | 0x20) : NULL;

		if (!hi || !lo || s[2] != (i < 5 ? ':' : '\0'))
			return bad(c, node, "a MAC address");
		ret[i] = (uint8_t)((hi - digits) << 4 | (lo - digits));
	}
	return 1;
}

/* ---- lists ---- */

typedef int element_fn(struct ctx *c, const struct json *node, void *element);

static int get_list(struct ctx *c, const struct json *object, const char *key, bool required,
    size_t max, size_t size, element_fn *fn, void *ret, size_t *ret_n)
{
	int r = 0;
	const struct json *node = member(c, object, key, JSON_ARRAY, required, "an array", &r);
	size_t n = 0;
	char *v;

	if (!node)
		return r;
	if (node->len > max)
		return bad(c, node, "an array of a sane length");
	v = arena_calloc(c->a, node->len + 1, size);
	json_foreach (it, node) {
		if (it->type != JSON_OBJECT)
			return bad(c, it, "an object");
		r = fn(c, it, v + n++ * size);
		if (r < 0)
			return r;
	}
	memcpy(ret, &v, sizeof(v));
	*ret_n = n;
	return 0;
}

static int take_address(struct ctx *c, const struct json *node, void *element)
{
	struct net_address *a = element;
	uint32_t scope = RT_SCOPE_UNIVERSE;
	int r = get_address(c, node, "address", true, &a->addr);

	if (r < 0)
		return r;
	r = get_address(c, node, "broadcast", false, &a->broadcast);
	a->has_broadcast = r > 0;
	if (r < 0 || (r = get_uint(c, node, "scope", 255, &scope)) < 0)
		return r;
	if (a->has_broadcast && a->broadcast.family != a->addr.family)
		return bad(c, json_get(node, "broadcast"), "of its address's family");
	a->scope = (uint8_t)scope;
	return 0;
}

static int take_destination(struct ctx *c, const struct json *node, struct net_route *r)
{
	const struct json *dst = json_get(node, "destination");
	uint32_t family = 4;
	int n;

	if (!dst || dst->type != JSON_STRING || !streq(dst->s, "default"))
		return get_address(c, node, "destination", true, &r->dst);
	n = get_uint(c, node, "family", 6, &family);
	if (n < 0 || (family != 4 && family != 6))
		return n < 0 ? n : bad(c, json_get(node, "family"), "4 or 6");
	r->dst = (struct net_addr){ .family = family == 4 ? AF_INET : AF_INET6 };
	return 0;
}

static int take_route(struct ctx *c, const struct json *node, void *element)
{
	struct net_route *r = element;
	uint32_t scope, type = RTN_UNICAST;
	int n = take_destination(c, node, r);

	if (n < 0 || (n = get_address(c, node, "gateway", false, &r->gateway)) < 0)
		return n;
	r->has_gateway = n > 0;
	if ((n = get_address(c, node, "source", false, &r->source)) < 0)
		return n;
	r->has_source = n > 0;
	scope = r->has_gateway || r->dst.family == AF_INET6 ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
	if ((n = get_uint(c, node, "metric", INT32_MAX, &r->metric)) < 0 ||
	    (n = get_uint(c, node, "scope", 255, &scope)) < 0 ||
	    (n = get_uint(c, node, "type", 255, &type)) < 0 ||
	    (n = get_bool(c, node, "onlink", &r->onlink)) < 0)
		return n;
	/* A gateway of the other family (RTA_VIA) is nobody's default, and is not carried. */
	if (r->has_gateway && r->gateway.family != r->dst.family)
		return bad(c, json_get(node, "gateway"), "of the destination's family");
	if (r->has_source && r->source.family != r->dst.family)
		return bad(c, json_get(node, "source"), "of the destination's family");
	r->scope = (uint8_t)scope;
	r->type = (uint8_t)type;
	return 0;
}

static int take_neighbour(struct ctx *c, const struct json *node, void *element)
{
	struct net_neighbour *n = element;
	int r = get_address(c, node, "address", true, &n->addr);

	if (r >= 0)
		r = get_mac(c, node, "mac", true, n->mac);
	return r < 0 ? r : 0;
}

static int take_interface(struct ctx *c, const struct json *node, void *element)
{
	struct net_interface *i = element;
	int r = 0;
	const struct json *name =
	    member(c, node, "name", JSON_STRING, true, "an interface's name", &r);

	if (!name)
		return r;
	if (!name->len || name->len >= sizeof(i->name) || streq(name->s, ".") ||
	    streq(name->s, "..") || strpbrk(name->s, "/: \t\n"))
		return bad(c, name, "an interface's name");
	memcpy(i->name, name->s, name->len);
	i->up = true;
	if ((r = get_mac(c, node, "mac", true, i->mac)) < 0)
		return r;
	memcpy(i->device, i->mac, sizeof(i->device));
	if ((r = get_mac(c, node, "device", false, i->device)) < 0 ||
	    (r = get_uint(c, node, "mtu", MTU_MAX, &i->mtu)) < 0 ||
	    (r = get_bool(c, node, "up", &i->up)) < 0 ||
	    (r = get_list(c, node, "addresses", true, LIST_MAX, sizeof(*i->addresses), take_address,
		 &i->addresses, &i->n_addresses)) < 0 ||
	    (r = get_list(c, node, "routes", true, LIST_MAX, sizeof(*i->routes), take_route,
		 &i->routes, &i->n_routes)) < 0)
		return r;
	if (i->mtu && i->mtu < MTU_MIN)
		return bad(c, json_get(node, "mtu"), "at least 68");
	return get_list(c, node, "neighbours", false, LIST_MAX, sizeof(*i->neighbours),
	    take_neighbour, &i->neighbours, &i->n_neighbours);
}

int net_parse(struct arena *a, const char *json, size_t n, struct net_config *ret, struct err *e)
{
	struct ctx c = { .a = a, .e = e };
	struct net_config got = { 0 };
	const struct json *doc;
	int r = json_parse(a, "network", json, n, &doc, e);

	if (r < 0)
		return r;
	if (doc->type != JSON_OBJECT)
		return bad(&c, doc, "an object");
	r = get_list(&c, doc, "interfaces", true, INTERFACES_MAX, sizeof(*got.v), take_interface,
	    &got.v, &got.n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < got.n; i++)
		for (size_t k = 0; k < i; k++)
			if (memcmp(got.v[i].device, got.v[k].device, 6) == 0 ||
			    streq(got.v[i].name, got.v[k].name))
				return err_set(e, EINVAL,
				    "network: .interfaces[%zu] and [%zu] have one name or MAC "
				    "address",
				    k, i);
	*ret = got;
	return 0;
}
