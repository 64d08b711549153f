/* Named networks' files: netsetup/network_file.c. */
#include <stdlib.h>

#include "base/json.h"
#include "netsetup/network_file.h"
#include "tests/unit/test.h"

static int parse(const char *text, struct network *ret, struct err *e)
{
	*e = (struct err)ERR_INIT;
	return network_parse("web.json", text, strlen(text), ret, e);
}

TEST(all_members)
{
	static const char text[] =
	    "{\"name\":\"web\",\"interface\":\"br9\",\"vlan\":4094,\"subnet\":\"10.9.0.0/24\","
	    "\"gateway\":\"10.9.0.9\",\"subnet6\":\"fd09::/64\",\"gateway6\":\"fd09::9\","
	    "\"mtu\":1400,\"isolated\":true}";
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);
	struct network n;
	struct err e;

	CHECK_INT(parse(text, &n, &e), 0);
	CHECK(n.vlan == 4094 && n.mtu == 1400 && n.isolated && !n.openvswitch);
	network_json(g, &n);
	CHECK_STR(json_gen_text(g, NULL), text);
}

TEST(openvswitch)
{
	struct network n;
	struct err e;

	CHECK_INT(parse("{\"name\":\"x\",\"interface\":\"br0\",\"openvswitch\":true,"
			"\"subnet\":\"10.9.0.0/24\"}",
		      &n, &e),
	    0);
	CHECK(n.openvswitch && !n.vlan && !n.gateway4.family); /* nobody's, unless named */
}

TEST(refused)
{
	static const struct {
		const char *text, *message;
	} v[] = {
		{ "[]", "must be an object" },
		{ "{\"name\":\"x\"}", ".subnet: missing" },
		{ "{\"name\":\"x\",\"subnet\":\"10.9.0.0/24\",\"vlan\":0}", ".vlan: must be" },
		{ "{\"name\":\"x\",\"subnet\":\"10.9.0.0/24\",\"vlan\":4095}", ".vlan: must be" },
		{ "{\"name\":\"x\",\"subnet\":\"10.9.0.0/24\",\"vlan\":\"1\"}", ".vlan: must be" },
		{ "{\"name\":\"ptp\",\"subnet\":\"10.9.0.0/24\",\"vlan\":1}", ".vlan: network" },
		{ "{\"name\":\"x\",\"subnet\":\"10.9.0.0/24\",\"openvswitch\":true}",
		    "needs .interface" },
		{ "{\"name\":\"x\",\"interface\":\"b\",\"openvswitch\":true}", "needs .subnet" },
		{ "{\"name\":\"x\",\"interface\":\"b\",\"openvswitch\":true,\"isolated\":true,"
		  "\"subnet\":\"10.9.0.0/24\"}",
		    ".isolated: not with" },
		{ "{\"name\":\"x\",\"interface\":\"--db\",\"subnet\":\"10.9.0.0/24\"}",
		    ".interface: \"--db\"" },
		{ "{\"name\":\"x\",\"interface\":\"a/b\",\"subnet\":\"10.9.0.0/24\"}",
		    ".interface: \"a/b\"" },
		{ "{\"name\":\"x\",\"interface\":\"sixteen-letters-\",\"subnet\":\"10.9.0.0/24\"}",
		    ".interface: must be" },
		{ "{\"name\":\"x\",\"subnet\":\"10.9.0.0/24\",\"Vlan\":1}", ".Vlan: unknown" },
		{ "{\"name\":\"x\",\"subnet\":\"10.9.0.0/24\",\"mtu\":67}", ".mtu: must be" },
		{ "{\"name\":\"x\",\"gateway\":\"10.9.0.1\",\"subnet6\":\"fd00::/64\"}",
		    ".gateway: there is no" },
	};

	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		struct network n = { .mtu = 7 };
		struct err e;

		CHECK_INT(parse(v[i].text, &n, &e), -EINVAL);
		CHECK(strstr(e.msg, v[i].message));
		CHECK(strstr(e.msg, "web.json"));
		CHECK_INT(n.mtu, 7);
	}
}

TEST_MAIN(T(all_members), T(openvswitch), T(refused))
