/* The `features` document (features.md), from the tables that the decoder uses. */
#include "base/str.h"
#include "spec/spec.h"
#include "spec/tables.h"

static void names(struct json_gen *g, const char *key, const struct spec_names *t, uint64_t mask)
{
	json_gen_key(g, key);
	json_gen_array(g);
	for (size_t i = 0; i < t->n; i++)
		if (!mask || (t->v[i].value & mask))
			json_gen_str(g, t->v[i].name);
	json_gen_end(g);
}

static void mount_options(struct json_gen *g)
{
	json_gen_key(g, "mountOptions");
	json_gen_array(g);
	for (size_t i = 0; i < mount_opts_n; i++)
		json_gen_str(g, mount_opts[i].name);
	json_gen_end(g);
}

static void enabled(struct json_gen *g, const char *key, bool v)
{
	json_gen_key(g, key);
	json_gen_map(g);
	json_gen_kbool(g, "enabled", v);
	json_gen_end(g);
}

static void cgroup(struct json_gen *g)
{
	json_gen_key(g, "cgroup");
	json_gen_map(g);
	json_gen_kbool(g, "v1", false);
	json_gen_kbool(g, "v2", true);
	json_gen_kbool(g, "systemd", true);
	json_gen_kbool(g, "systemdUser", true);
	json_gen_kbool(g, "rdma", true);
	json_gen_end(g);
}

static void seccomp(struct json_gen *g, unsigned supported)
{
	json_gen_key(g, "seccomp");
	json_gen_map(g);
	json_gen_kbool(g, "enabled", true);
	names(g, "actions", &spec_seccomp_actions, 0);
	names(g, "operators", &spec_seccomp_ops, 0);
	names(g, "archs", &spec_seccomp_archs, 0);
	names(g, "knownFlags", &spec_seccomp_flags, 0);
	if (supported)
		names(g, "supportedFlags", &spec_seccomp_flags, supported);
	else
		json_gen_kstrv(g, "supportedFlags", NULL);
	json_gen_end(g);
}

static void linux_features(struct json_gen *g, unsigned seccomp_supported_flags)
{
	json_gen_key(g, "linux");
	json_gen_map(g);
	names(g, "namespaces", &spec_ns_names, 0);
	names(g, "capabilities", &spec_caps, 0);
	cgroup(g);
	seccomp(g, seccomp_supported_flags);
	enabled(g, "apparmor", true);
	enabled(g, "selinux", true);
	enabled(g, "intelRdt", false);
	json_gen_key(g, "memoryPolicy");
	json_gen_map(g);
	names(g, "modes", &spec_mem_policies, 0);
	names(g, "flags", &spec_mem_policy_flags, 0);
	json_gen_end(g);
	json_gen_key(g, "mountExtensions");
	json_gen_map(g);
	enabled(g, "idmap", true);
	json_gen_end(g);
	enabled(g, "netDevices", true);
	json_gen_end(g);
}

char *spec_features_json(unsigned seccomp_supported_flags, const char *vm_unavailable)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(true);

	json_gen_map(g);
	json_gen_kstr(g, "ociVersionMin", OCI_VERSION_MIN);
	json_gen_kstr(g, "ociVersionMax", OCI_VERSION);
	json_gen_key(g, "hooks");
	json_gen_array(g);
	for (size_t i = 0; i < HOOK_KINDS; i++)
		json_gen_str(g, spec_hook_names[i]);
	json_gen_end(g);
	mount_options(g);
	linux_features(g, seccomp_supported_flags);
	json_gen_key(g, "annotations");
	json_gen_map(g);
	json_gen_kstr(g, "org.bailey.version", BAILEY_VERSION);
	json_gen_kstr(g, "org.bailey.isolation.levels", "namespace,vm");
	json_gen_kstr(g, "org.bailey.isolation.vm", vm_unavailable ? vm_unavailable : "available");
	json_gen_end(g);
	json_gen_kstrv(g, "potentiallyUnsafeConfigAnnotations", NULL);
	json_gen_end(g);
	return xstrdup(json_gen_text(g, NULL));
}
