/* A network's file. What is taken can be written, and read again as the same. */
#include "base/json.h"
#include "base/log.h"
#include "netsetup/network_file.h"
#include "tests/fuzz/fuzz.h"

static char *text_of(const struct network *n)
{
	struct json_gen *g = json_gen_new(false);
	char *text;

	network_json(g, n);
	text = xstrdup(json_gen_text(g, NULL));
	json_gen_free(g);
	return text;
}

static void must_be_sound(
    const struct network *n, const struct ip *subnet, const struct ip *gateway)
{
	MUST(subnet->family || !gateway->family);
	if (!subnet->family)
		return;
	MUST(ip_last(subnet) >= 2);
	MUST(!gateway->family || ip_in(subnet, gateway));
	MUST(gateway->family || n->openvswitch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct network n, again;
	struct err e = ERR_INIT;
	char *text, *twice;
	int r;

	log_mute();
	r = network_parse("fuzz.json", (const char *)data, size, &n, &e);
	must_be_consistent(r, &e);
	if (r < 0)
		return 0;
	must_be_sound(&n, &n.subnet4, &n.gateway4);
	must_be_sound(&n, &n.subnet6, &n.gateway6);
	MUST(n.subnet4.family || n.subnet6.family);
	MUST(n.vlan <= NET_VLAN_MAX && !strchr(n.interface, '/') && n.interface[0] != '-');
	MUST(network_check_name(n.name, &e) == 0 && !strchr(n.name, '/'));
	text = text_of(&n);
	MUST(network_parse("again.json", text, strlen(text), &again, &e) == 0);
	twice = text_of(&again);
	MUST(strcmp(text, twice) == 0);
	free(text);
	free(twice);
	return 0;
}
