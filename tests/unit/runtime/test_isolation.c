#include "runtime/isolation.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "runtime/vm_level.h"
#include "tests/unit/test.h"

/* ---- the choice ---- */

static struct spec_kv annotation = { ISOLATION_ANNOTATION, NULL };

static int choose(const char *flag, const char *annotated, bool section, const char *program,
    const char *setting, struct err *e)
{
	struct spec s = { .vm.has = section };
	const struct settings st = { .path = "/etc/x.json", .isolation = setting };
	enum isolation level = ISOLATION_LEVELS;
	int r;

	annotation.value = annotated;
	if (annotated) {
		s.annotations.v = &annotation;
		s.annotations.n = 1;
	}
	*e = (struct err)ERR_INIT;
	r = isolation_choose(flag, &s, program, &st, &level, e);
	return r < 0 ? r : (int)level;
}

TEST(the_strongest_word_counts)
{
	enum { NS = ISOLATION_NAMESPACE, VM = ISOLATION_VM };
	struct err e;

	CHECK_INT(choose(NULL, NULL, false, "/usr/bin/bailey", NULL, &e), NS);
	CHECK_INT(choose(NULL, NULL, false, "bailey", "vm", &e), VM);
	CHECK_INT(choose(NULL, NULL, false, "/usr/bin/bailey-vm", NULL, &e), VM);
	CHECK_INT(choose(NULL, NULL, false, "bailey-vm", "namespace", &e), VM);
	CHECK_INT(choose(NULL, NULL, false, "bailey-vmx", NULL, &e), NS);
	CHECK_INT(choose(NULL, NULL, true, "bailey", "namespace", &e), VM);
	CHECK_INT(choose(NULL, "namespace", true, "bailey-vm", "vm", &e), NS);
	CHECK_INT(choose("vm", "namespace", false, "bailey", "namespace", &e), VM);
	CHECK_INT(choose("namespace", "vm", true, "bailey-vm", "vm", &e), NS);
}

TEST(sandboxes_of_pods_are_no_machines)
{
	static const struct {
		const char *key, *value;
		enum isolation by_name;
		enum pod_part part;
	} cases[] = {
		{ "io.kubernetes.cri.container-type", "sandbox", ISOLATION_NAMESPACE, POD_SANDBOX },
		{ "io.kubernetes.cri-o.ContainerType", "sandbox", ISOLATION_NAMESPACE,
		    POD_SANDBOX },
		{ "io.kubernetes.cri.container-type", "container", ISOLATION_VM, POD_CONTAINER },
		{ "io.kubernetes.cri-o.ContainerType", "container", ISOLATION_VM, POD_CONTAINER },
		{ "io.kubernetes.cri.container-type", "other", ISOLATION_VM, POD_NONE },
		{ "io.kubernetes.cri.sandbox-id", "sandbox", ISOLATION_VM, POD_NONE },
	};
	const struct settings st = { .path = "/etc/x.json", .isolation = "vm" };
	struct err e = ERR_INIT;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct spec_kv kv = { cases[i].key, cases[i].value };
		struct spec s = { .annotations = { .v = &kv, .n = 1 } };
		enum isolation level;

		CHECK_INT(pod_part_of(&s), cases[i].part);
		CHECK_INT(isolation_choose(NULL, &s, "/usr/bin/bailey-vm", &st, &level, &e), 0);
		CHECK_INT(level, cases[i].by_name);
		CHECK_INT(isolation_choose(NULL, &s, "bailey", &st, &level, &e), 0);
		CHECK_INT(level, cases[i].by_name);
		CHECK_INT(isolation_choose("vm", &s, "bailey", &st, &level, &e), 0);
		CHECK_INT(level, ISOLATION_VM);
	}
}

TEST(other_words_are_errors)
{
	struct err e;

	CHECK_INT(choose("", NULL, false, "bailey", NULL, &e), -EINVAL);
	CHECK_HAS(e.msg, "--isolation: \"\"");
	CHECK_INT(choose("VM", NULL, false, "bailey", NULL, &e), -EINVAL);
	CHECK_INT(choose(NULL, "kvm", false, "bailey", NULL, &e), -EINVAL);
	CHECK_HAS(e.msg, "org.bailey.isolation");
	/* a stronger word makes the weaker one nobody's */
	CHECK_INT(choose("vm", "kvm", false, "bailey", NULL, &e), ISOLATION_VM);
}

/* ---- the configuration file ---- */

static int parse(const char *text, struct arena *a, struct settings *s, struct err *e)
{
	*e = (struct err)ERR_INIT;
	return settings_parse(a, "c.json", text, strlen(text), s, e);
}

TEST(settings_are_read)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct settings s;
	struct err e;

	CHECK_INT(parse("{\"isolation\":\"vm\",\"vm\":{\"kernel\":\"/k\",\"initrd\":\"/i\","
			"\"parameters\":[\"a\",\"b\"],\"vcpus\":3,\"memory\":268435456,"
			"\"patience\":9}}",
		      a, &s, &e),
	    0);
	CHECK_STR(s.isolation, "vm");
	CHECK_STR(s.kernel, "/k");
	CHECK_STR(s.initrd, "/i");
	CHECK_INT(s.parameters.n, 2);
	CHECK_INT(s.vcpus.v, 3);
	CHECK_INT(s.memory.v, 268435456);
	CHECK_INT(s.patience.v, 9);
	CHECK_INT(parse("{}", a, &s, &e), 0);
	CHECK(!s.isolation && !s.kernel && !s.vcpus.set);
}

TEST(settings_that_are_none)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "[]", "must be an object" },
		{ "{\"isolate\":1}", ".isolate: there is no such setting" },
		{ "{\"isolation\":\"kvm\"}", ".isolation: must be namespace or vm" },
		{ "{\"isolation\":1}", ".isolation: must be a string" },
		{ "{\"vm\":{\"kernel\":\"k\"}}", ".vm.kernel: must be an absolute path" },
		{ "{\"vm\":{\"vcpus\":0}}", ".vm.vcpus: must be a whole number from 1 to 32" },
		{ "{\"vm\":{\"vcpus\":33}}", ".vm.vcpus: must be a whole number from 1 to 32" },
		{ "{\"vm\":{\"parameters\":\"a\"}}", ".vm.parameters: must be an array" },
		{ "{\"vm\":{\"parameters\":[1]}}", ".vm.parameters[0]: must be a string" },
		{ "{\"vm\":{\"isolation\":\"vm\"}}", ".vm.isolation: there is no such setting" },
		{ "{", "c.json" },
	};
	_cleanup_arena_ struct arena *a = arena_new();

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct settings s = { .isolation = "untouched" };
		struct err e;

		CHECK_INT(parse(cases[i].text, a, &s, &e), -EINVAL);
		CHECK_HAS(e.msg, cases[i].why);
		CHECK_STR(s.isolation, "untouched");
	}
}

/* ---- what a machine cannot give ---- */

static int check(
    const char *more_linux, const char *namespaces, const struct create_opts *o, struct err *e)
{
	_cleanup_free_ char *text = xasprintf("{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},"
					      "\"linux\":{\"namespaces\":[%s]%s}}",
	    namespaces, more_linux);
	_cleanup_spec_ struct spec *s = NULL;
	int r;

	*e = (struct err)ERR_INIT;
	r = spec_parse("config.json", "/b", text, strlen(text), &s, e);
	CHECK_INT(r, 0);
	return r < 0 ? r : vm_check(s, o, e);
}

#define NS(type)	  "{\"type\":\"" type "\"}"
#define NS_AT(type, path) "{\"type\":\"" type "\",\"path\":\"" path "\"}"
#define USUAL		  NS("mount") "," NS("pid") "," NS("ipc") "," NS("network")
#define WITHOUT(a, b, c)  NS(a) "," NS(b) "," NS(c)

TEST(a_usual_configuration_can_run)
{
	const struct create_opts o = { 0 };
	struct err e;

	CHECK_INT(check("", USUAL, &o, &e), 0);
	CHECK_STR(e.msg, "");
	CHECK_INT(check("", USUAL "," NS("uts") "," NS("cgroup"), &o, &e), 0);
}

TEST(the_hosts_namespaces_are_refused)
{
	static const struct {
		const char *namespaces, *why;
	} cases[] = {
		{ WITHOUT("mount", "ipc", "network"), "\"pid\" is missing" },
		{ WITHOUT("mount", "pid", "network"), "\"ipc\" is missing" },
		{ WITHOUT("mount", "pid", "ipc"), "\"network\" is missing" },
		{ NS_AT("pid", "/proc/1/ns/pid") "," WITHOUT("mount", "ipc", "network"),
		    "pid: \"/proc/1/ns/pid\" cannot be joined" },
		{ NS_AT("uts", "/x") "," USUAL, "uts: \"/x\" cannot be joined" },
		{ NS_AT("network", "/proc/self/ns/net") "," WITHOUT("mount", "ipc", "pid"),
		    "the network of who calls" },
	};
	const struct create_opts o = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct err e;

		CHECK_INT(check("", cases[i].namespaces, &o, &e), -ENOTSUP);
		CHECK_HAS(e.msg, cases[i].why);
	}
}

TEST(the_hosts_things_are_refused)
{
	const struct create_opts none = { 0 }, fds = { .keep_fds = 1 },
				 no_pivot = { .no_pivot = true };
	struct err e;

	CHECK_INT(check(",\"devices\":[{\"path\":\"/dev/fuse\",\"type\":\"c\",\"major\":10,"
			"\"minor\":229}]",
		      USUAL, &none, &e),
	    0);
	CHECK_INT(check(",\"devices\":[{\"path\":\"/dev/sda\",\"type\":\"b\",\"major\":8,"
			"\"minor\":0}]",
		      USUAL, &none, &e),
	    -ENOTSUP);
	CHECK_HAS(e.msg, ".linux.devices[0]: \"/dev/sda\"");
	CHECK_INT(
	    check(",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"listenerPath\":\"/l\"}",
		USUAL, &none, &e),
	    -ENOTSUP);
	CHECK_HAS(e.msg, "listenerPath");
	CHECK_INT(check("", USUAL, &fds, &e), -ENOTSUP);
	CHECK_HAS(e.msg, "--preserve-fds");
	CHECK_INT(check("", USUAL, &no_pivot, &e), -ENOTSUP);
}

/* ---- sizes ---- */

TEST(what_is_left_is_what_was_wanted)
{
	for (uint64_t mib = 1; mib <= 1u << 20; mib = mib * 3 + 1) {
		uint64_t all = vm_memory_for(mib * VM_MIB);

		CHECK(vm_memory_usable(all) + VM_MIB >= mib * VM_MIB);
		CHECK_INT(all % (2 * VM_MIB), 0);
		CHECK(all >= VM_MEMORY_MIN);
		CHECK(vm_overhead(all, 2) > vm_overhead(all, 1));
	}
	CHECK_INT(vm_memory_usable(0), 0);
	CHECK(vm_memory_for(UINT64_MAX) > VM_MEMORY_MIN); /* no overflow */
}

TEST(the_hosts_limits_leave_room_for_the_machine)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct spec_kv unified[] = { { "memory.max", "100" }, { "memory.high", "max" },
		{ "pids.max", "5" }, { "cpu.weight", "7" } };
	struct spec_resources in = {
		.memory = { .limit = { true, 1000 },
		    .swap = { true, -1 },
		    .reservation = { true, 10 } },
		.pids_limit = { true, 20 },
		.unified = { unified, 4 },
	};
	struct spec_resources out = vm_host_resources(a, &in, 4950, 50);

	CHECK_INT(out.memory.limit.v, 5000);
	CHECK_INT(out.memory.swap.v, -1);
	CHECK_INT(out.memory.reservation.v, 10);
	CHECK(!out.pids_limit.set);
	CHECK_INT(out.unified.n, 3);
	CHECK_STR(spec_map_get(&out.unified, "memory.max"), "5000");
	CHECK_STR(spec_map_get(&out.unified, "memory.high"), "max");
	CHECK(!spec_map_get(&out.unified, "pids.max"));
	CHECK_INT(in.memory.limit.v, 1000);
	/* Swap beside it stays as much, and no swap none. */
	in.memory.swap.v = 1300;
	in.memory.check_before_update = (struct opt_bool){ true, true };
	out = vm_host_resources(a, &in, 4950, 50);
	CHECK_INT(out.memory.swap.v, 5300);
	CHECK(!out.memory.check_before_update.set);
	in.memory.swap.v = 1000;
	CHECK_INT(vm_host_resources(a, &in, 4950, 50).memory.swap.v, 5000);
	/* What has no limit in the guest has none here. */
	in.memory.limit.v = -1;
	CHECK_INT(vm_host_resources(a, &in, 4950, 50).memory.limit.v, -1);
}

TEST_MAIN(T(the_strongest_word_counts), T(sandboxes_of_pods_are_no_machines),
    T(other_words_are_errors), T(settings_are_read), T(settings_that_are_none),
    T(a_usual_configuration_can_run), T(the_hosts_namespaces_are_refused),
    T(the_hosts_things_are_refused), T(what_is_left_is_what_was_wanted),
    T(the_hosts_limits_leave_room_for_the_machine))
