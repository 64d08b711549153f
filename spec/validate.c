/*
 * What holds across properties, and what is known but not executed.
 *
 * A rule here sees decoded structs; the document is asked only for the path of a message.
 */
#include "base/str.h"
#include "spec/decode.h"

/* ---- known, not executed ---- */

enum when {
	W_PRESENT,  /* there at all */
	W_NONZERO,  /* a number other than 0, and -1, which engines write for "not set" */
	W_NONEMPTY, /* an array with elements, a string with bytes */
	W_TRUE,
};
struct refusal {
	const char *path; /* "a.b[].c" from the object that the list is for */
	enum when when;
	const char *why;
};

#define V1_ONLY "is a feature of cgroup v1; this runtime is for cgroup v2: "

static const struct refusal config_refusals[] = {
	{ "vm.hypervisor", W_PRESENT,
	    "bailey is the hypervisor itself: there is no other program to run or to give "
	    "parameters" },
	{ "vm.image", W_PRESENT,
	    "the machine's root filesystem is .root.path; mount the image there instead" },
	{ "linux.intelRdt", W_PRESENT,
	    "cache and memory bandwidth allocation is not executed; assign the container's cgroup "
	    "to a resctrl group on the host instead" },
};
static const struct refusal process_refusals[] = {
	{ "commandLine", W_NONEMPTY, "is for Windows; use args" },
};
static const struct refusal resources_refusals[] = {
	{ "network.classID", W_NONZERO, V1_ONLY "mark packets with nftables (meta cgroup)" },
	{ "network.priorities", W_NONEMPTY,
	    V1_ONLY "set priorities with nftables (meta priority)" },
	{ "memory.kernel", W_NONZERO, V1_ONLY "memory.limit counts kernel memory too" },
	{ "memory.kernelTCP", W_NONZERO, V1_ONLY "memory.limit counts socket buffers too" },
	{ "memory.swappiness", W_NONZERO, V1_ONLY "limit memory.swap instead" },
	{ "memory.disableOOMKiller", W_TRUE,
	    V1_ONLY "protect the container with process.oomScoreAdj or unified memory.high" },
	{ "cpu.realtimeRuntime", W_NONZERO,
	    V1_ONLY "use process.scheduler for real-time policies" },
	{ "cpu.realtimePeriod", W_NONZERO, V1_ONLY "use process.scheduler for real-time policies" },
	{ "blockIO.leafWeight", W_NONZERO, V1_ONLY "use weight" },
	{ "blockIO.weightDevice[].leafWeight", W_NONZERO, V1_ONLY "use weight" },
};

static bool wanted(const struct json *node, enum when when)
{
	switch (when) {
	case W_PRESENT:
		return true;
	case W_NONZERO:
		return node->i != 0 && node->i != -1; /* UINT64_MAX is -1 of older engines */
	case W_NONEMPTY:
		return node->len != 0;
	case W_TRUE:
		return node->b;
	}
	return true;
}

static int refuse(struct dec *d, const struct json *node, const char *path, const struct refusal *r)
{
	size_t n = strcspn(path, ".[");
	const char *key = arena_strndup(d->a, path, n);
	int ret;

	node = dec_get(node, key);
	if (!node)
		return 0;
	path += n;
	if (*path == '.')
		return refuse(d, node, path + 1, r);
	if (*path == '[') {
		json_foreach (it, node) {
			ret = refuse(d, it, path + strlen("[]."), r);
			if (ret < 0)
				return ret;
		}
		return 0;
	}
	return wanted(node, r->when) ? dec_fail(d, node, "%s", r->why) : 0;
}

static int refuse_all(struct dec *d, const struct json *root, const struct refusal *list, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = refuse(d, root, list[i].path, &list[i]);
	return r;
}

/* ---- process ---- */

static int check_scheduler(struct dec *d, const struct json *node, const struct spec_scheduler *s)
{
	static const char *const deadline[] = { "runtime", "deadline", "period" };
	const char *policy;

	if (!s->has)
		return 0;
	node = json_get(node, "scheduler");
	policy = json_get(node, "policy")->s;
	if (s->priority.set && s->priority.v && !streq(policy, "SCHED_FIFO") &&
	    !streq(policy, "SCHED_RR"))
		return dec_bad(d, json_get(node, "priority"),
		    "is for SCHED_FIFO and SCHED_RR, not %s", policy);
	if (streq(policy, "SCHED_DEADLINE")) {
		if (!s->runtime)
			return dec_missing(d, node, "runtime");
		return 0;
	}
	for (size_t i = 0; i < ARRAY_SIZE(deadline); i++) {
		const struct json *it = dec_get(node, deadline[i]);

		if (it && it->u)
			return dec_bad(d, it, "is for SCHED_DEADLINE, not %s", policy);
	}
	return 0;
}

int validate_process(struct dec *d, const struct json *root, const struct spec_process *p)
{
	int r = refuse_all(d, root, process_refusals, ARRAY_SIZE(process_refusals));

	if (r < 0)
		return r;
	if (!dec_get(root, "args"))
		return dec_missing(d, root, "args");
	if (p->args.n == 0)
		return dec_fail(d, json_get(root, "args"), "must name the program to run");
	return check_scheduler(d, root, &p->scheduler);
}

/* ---- resources ---- */

int validate_resources(struct dec *d, const struct json *root, const struct spec_resources *r)
{
	const struct spec_cpu *c = &r->cpu;

	if (c->burst.set && c->quota.set && c->quota.v > 0 && c->burst.v > (uint64_t)c->quota.v)
		return dec_bad(d, json_get(json_get(root, "cpu"), "burst"),
		    "larger than the quota (%lld)", (long long)c->quota.v);
	return refuse_all(d, root, resources_refusals, ARRAY_SIZE(resources_refusals));
}

/* ---- the whole ---- */

static const struct json *at_linux(const struct spec *s, const char *key)
{
	return dec_get(dec_get(s->json, "linux"), key);
}

static const char *digits(const char *s)
{
	size_t n = strspn(s, "0123456789");

	return n && (n == 1 || *s != '0') ? s + n : NULL;
}

/* Semantic version 1.x.y with an optional "-pre" and "+build". */
static bool version_ok(const char *s)
{
	const char *tail = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-.+";

	s = startswith(s, "1.");
	if (!s || !(s = digits(s)) || *s++ != '.' || !(s = digits(s)))
		return false;
	return !*s || ((*s == '-' || *s == '+') && s[1] && s[strspn(s, tail)] == '\0');
}

static int check_version(struct dec *d, const struct spec *s)
{
	if (version_ok(s->oci_version))
		return 0;
	return dec_bad(d, json_get(s->json, "ociVersion"),
	    "unsupported version (bailey executes 1.x.y, up to %s)", OCI_VERSION);
}

static int check_uts(struct dec *d, const struct spec *s)
{
	if (s->ns[NS_UTS].has || (!s->hostname && !s->domainname))
		return 0;
	return dec_bad(d, json_get(s->json, s->hostname ? "hostname" : "domainname"),
	    "needs a uts namespace in .linux.namespaces, else it would rename the host");
}

static int check_userns(struct dec *d, const struct spec *s)
{
	const struct spec_ns *ns = &s->ns[NS_USER];
	static const char *const names[] = { "uidMappings", "gidMappings" };
	const size_t counts[] = { s->uid_mappings.n, s->gid_mappings.n };

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (counts[i] && !ns->has)
			return dec_fail(d, at_linux(s, names[i]),
			    "needs a user namespace in .linux.namespaces");
		if (!counts[i] && ns->has && !ns->path)
			return dec_fail_at(d, arena_printf(d->a, ".linux.%s", names[i]),
			    "a new user namespace needs at least one mapping");
	}
	return 0;
}

static int check_time(struct dec *d, const struct spec *s)
{
	const struct spec_ns *ns = &s->ns[NS_TIME];

	if (!s->monotonic.secs.set && !s->boottime.secs.set)
		return 0;
	if (!ns->has)
		return dec_fail(
		    d, at_linux(s, "timeOffsets"), "needs a time namespace in .linux.namespaces");
	if (ns->path)
		return dec_fail(d, at_linux(s, "timeOffsets"),
		    "the offsets of a namespace that is joined (%s) cannot be set", ns->path);
	return 0;
}

static int check_net_devices(struct dec *d, const struct spec *s)
{
	const struct json *node = at_linux(s, "netDevices");

	if (s->net_devices.n && !s->ns[NS_NET].has)
		return dec_fail(d, node, "needs a network namespace in .linux.namespaces");
	for (size_t i = 0; i < s->net_devices.n; i++)
		for (size_t j = 0; j < i; j++)
			if (streq(s->net_devices.v[i].name, s->net_devices.v[j].name) &&
			    !strstr(s->net_devices.v[i].name, "%d"))
				return dec_fail(d, json_get(node, s->net_devices.v[i].host_name),
				    "another device is to be named %s already",
				    json_quote(d->a, s->net_devices.v[i].name));
	return 0;
}

static int check_masks(struct dec *d, const struct spec *s)
{
	if (s->ns[NS_MOUNT].has || (!s->masked_paths.n && !s->readonly_paths.n))
		return 0;
	return dec_fail(d, at_linux(s, s->masked_paths.n ? "maskedPaths" : "readonlyPaths"),
	    "needs a mount namespace in .linux.namespaces");
}

static int check_idmaps(struct dec *d, const struct spec *s)
{
	for (size_t i = 0; i < s->mounts.n; i++) {
		const struct spec_mount *m = &s->mounts.v[i];

		if (m->uid_mappings.n || s->ns[NS_USER].has)
			continue;
		for (size_t j = 0; j < m->options.n; j++)
			if (streq(m->options.v[j], "idmap") || streq(m->options.v[j], "ridmap"))
				return dec_fail_at(d,
				    arena_printf(d->a, "%s.options[%zu]", m->path, j),
				    "\"%s\": needs uidMappings and gidMappings on the mount, or a "
				    "user namespace in .linux.namespaces",
				    m->options.v[j]);
	}
	return 0;
}

/* set_mempolicy(2): which modes take nodes */
static int check_mem_policy(struct dec *d, const struct spec *s)
{
	const struct json *node = at_linux(s, "memoryPolicy");
	const char *mode;
	bool none, optional;

	if (!s->mem_policy.has)
		return 0;
	mode = json_get(node, "mode")->s;
	none = streq(mode, "MPOL_DEFAULT") || streq(mode, "MPOL_LOCAL");
	optional = streq(mode, "MPOL_PREFERRED");
	if (none && s->mem_policy.nodes)
		return dec_bad(d, json_get(node, "nodes"), "%s takes no nodes", mode);
	if (!none && !optional && !s->mem_policy.nodes)
		return dec_missing(d, node, "nodes");
	return 0;
}

static int (*const rules[])(struct dec *, const struct spec *) = {
	check_uts,
	check_userns,
	check_time,
	check_net_devices,
	check_masks,
	check_idmaps,
	check_mem_policy,
};

int validate_spec(struct dec *d, const struct spec *s)
{
	int r = check_version(d, s);

	if (r == 0)
		r = refuse_all(d, s->json, config_refusals, ARRAY_SIZE(config_refusals));
	if (r == 0 && s->has_process)
		r = validate_process(d, json_get(s->json, "process"), &s->process);
	if (r == 0 && at_linux(s, "resources"))
		r = validate_resources(d, at_linux(s, "resources"), &s->resources);
	for (size_t i = 0; i < ARRAY_SIZE(rules) && r == 0; i++)
		r = rules[i](d, s);
	return r;
}
