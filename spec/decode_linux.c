/* The `linux` object. */
#include "base/str.h"
#include "spec/decode.h"

#define OFF(member) offsetof(struct spec, member)

/* ---- namespaces ---- */

struct ns_entry {
	int type;
	const char *path;
};
static const struct field ns_fields[] = {
	{ "type", K_ENUM, offsetof(struct ns_entry, type), .required = true,
	    .names = &spec_ns_names },
	{ "path", K_STR, offsetof(struct ns_entry, path), .fn = check_absolute },
};
static const struct table ns_table = TABLE(ns_fields);

static int decode_namespaces(struct dec *d, const struct json *node, void *out)
{
	struct spec_ns *ns = out;
	int r = dec_type(d, node, JSON_ARRAY);

	if (r < 0)
		return r;
	json_foreach (it, node) {
		struct ns_entry entry = { 0 };

		r = decode_object(d, it, &ns_table, &entry);
		if (r < 0)
			return r;
		if (ns[entry.type].has)
			return dec_bad(d, json_get(it, "type"), "duplicate namespace");
		ns[entry.type] = (struct spec_ns){ true, entry.path };
	}
	return 0;
}

/* ---- mappings ---- */

#define MAP(member) offsetof(struct spec_id_map, member)
static const struct field id_map_fields[] = {
	{ "containerID", K_U32, MAP(container_id), .required = true },
	{ "hostID", K_U32, MAP(host_id), .required = true },
	{ "size", K_U32, MAP(size), .required = true, .min = 1, .max = UINT32_MAX },
};

static int check_id_map(struct dec *d, const struct json *node, void *obj)
{
	const struct spec_id_map *m = obj;

	/* 2^32-1 is no ID: the last one is 2^32-2 */
	if (m->size > UINT32_MAX - m->container_id || m->size > UINT32_MAX - m->host_id)
		return dec_bad(d, json_get(node, "size"), "the range goes beyond the last ID");
	return 0;
}
const struct table id_map_table =
    TABLE(id_map_fields, .size = sizeof(struct spec_id_map), .check = check_id_map);

/* ---- devices ---- */

static int decode_device_type(struct dec *d, const struct json *node, void *out)
{
	const char *s;
	int r = dec_str(d, node, &s);

	if (r < 0)
		return r;
	if (!*s || s[1] || !strchr("bcup", *s))
		return dec_bad(
		    d, node, "must be \"b\" (block), \"c\" or \"u\" (character) or \"p\" (FIFO)");
	*(char *)out = *s;
	return 0;
}

static int check_device(struct dec *d, const struct json *node, void *obj)
{
	const struct spec_device *dev = obj;

	if (dev->type == 'p')
		return 0;
	if (!dec_get(node, "major"))
		return dec_missing(d, node, "major");
	if (!dec_get(node, "minor"))
		return dec_missing(d, node, "minor");
	return 0;
}

/* Numbers as dev_t of the kernel has them: 12 and 20 bits. */
#define DEV(member) offsetof(struct spec_device, member)
static const struct field device_fields[] = {
	{ "path", K_STR, DEV(path), .required = true, .fn = check_absolute },
	{ "type", K_CUSTOM, DEV(type), .required = true, .fn = decode_device_type },
	{ "major", K_U32, DEV(major), .max = (1 << 12) - 1 },
	{ "minor", K_U32, DEV(minor), .max = (1 << 20) - 1 },
	/* Engines pass a whole st_mode, file type included; devices_make takes the permissions. */
	{ "fileMode", K_OPT_U32, DEV(file_mode), .max = 0177777 },
	{ "uid", K_OPT_U32, DEV(uid), .max = UINT32_MAX - 1 },
	{ "gid", K_OPT_U32, DEV(gid), .max = UINT32_MAX - 1 },
};
static const struct table device_table =
    TABLE(device_fields, .size = sizeof(struct spec_device), .check = check_device);

/* ---- network interfaces ---- */

/* As the kernel's dev_valid_name(). */
static bool ifname_valid(const char *s)
{
	return *s && strlen(s) < 16 && !streq(s, ".") && !streq(s, "..") &&
	       !strpbrk(s, "/: \t\n\v\f\r");
}

static int check_net_device(struct dec *d, const struct json *node, void *obj)
{
	struct spec_net_device *n = obj;

	if (!ifname_valid(n->host_name))
		return dec_fail(
		    d, node, "must be named like an interface: at most 15 bytes, no '/'");
	if (!n->name)
		n->name = n->host_name;
	if (!ifname_valid(n->name))
		return dec_bad(d, json_get(node, "name"),
		    "must be an interface name: at most 15 bytes, no '/'");
	return 0;
}

static const struct field net_device_fields[] = {
	{ "name", K_STR, offsetof(struct spec_net_device, name) },
};
static const struct table net_device_table =
    TABLE(net_device_fields, .size = sizeof(struct spec_net_device),
	.key_off = offsetof(struct spec_net_device, host_name), .check = check_net_device);

/* ---- clocks, memory policy, personality ---- */

static const struct field offset_fields[] = {
	{ "secs", K_OPT_I64, offsetof(struct spec_time_offset, secs) },
	{ "nanosecs", K_U32, offsetof(struct spec_time_offset, nanosecs), .max = 999999999 },
};

static int finish_offset(struct dec *d, const struct json *node, void *obj)
{
	((struct spec_time_offset *)obj)->secs.set = true; /* nanosecs alone count too */
	return 0;
}
static const struct table offset_table = TABLE(offset_fields, .check = finish_offset);

static const struct field clock_fields[] = {
	{ "boottime", K_OBJECT, OFF(boottime), .table = &offset_table },
	{ "monotonic", K_OBJECT, OFF(monotonic), .table = &offset_table },
};
static const struct table clock_table = TABLE(clock_fields, .closed = true);

#define POLICY(member) offsetof(struct spec_mem_policy, member)
static const struct field mem_policy_fields[] = {
	{ "mode", K_ENUM, POLICY(mode), .required = true, .names = &spec_mem_policies },
	{ "nodes", K_STR, POLICY(nodes), .fn = check_cpu_list },
	{ "flags", K_BITS32, POLICY(flags), .names = &spec_mem_policy_flags },
};
static const struct table mem_policy_table =
    TABLE(mem_policy_fields, .has = true, .has_off = POLICY(has));

static int decode_domain(struct dec *d, const struct json *node, void *out)
{
	uint64_t persona;
	int r = dec_name(d, node, &spec_personality_domains, &persona);

	if (r < 0)
		return r;
	*(unsigned long *)out = persona;
	return 0;
}

static int decode_no_flags(struct dec *d, const struct json *node, void *out)
{
	int r = dec_type(d, node, JSON_ARRAY);

	if (r < 0 || node->len == 0)
		return r;
	return dec_bad(d, node->child, "the specification defines no personality flags");
}

static const struct field personality_fields[] = {
	{ "domain", K_CUSTOM, OFF(personality.persona), .required = true, .fn = decode_domain },
	{ "flags", K_CUSTOM, 0, .fn = decode_no_flags },
};
static const struct table personality_table =
    TABLE(personality_fields, .has = true, .has_off = OFF(personality.has));

/* ---- the object ---- */

/* `..` could lead out of the part of the tree that is the container's. */
static int check_cgroups_path(struct dec *d, const struct json *node, void *out)
{
	const char *s = *(const char **)out;

	for (const char *p = s; p; p = strchr(p, '/')) {
		p += *p == '/';
		if (strncmp(p, "..", 2) == 0 && (p[2] == '\0' || p[2] == '/'))
			return dec_bad(d, node, "must not contain \"..\"");
	}
	return 0;
}

static const struct field linux_fields[] = {
	{ "namespaces", K_CUSTOM, OFF(ns), .fn = decode_namespaces },
	{ "uidMappings", K_LIST, OFF(uid_mappings), .table = &id_map_table },
	{ "gidMappings", K_LIST, OFF(gid_mappings), .table = &id_map_table },
	{ "timeOffsets", K_OBJECT, 0, .table = &clock_table },
	{ "devices", K_LIST, OFF(devices), .table = &device_table },
	{ "netDevices", K_DICT, OFF(net_devices), .table = &net_device_table },
	{ "cgroupsPath", K_STR, OFF(cgroups_path), .fn = check_cgroups_path },
	{ "resources", K_OBJECT, OFF(resources), .table = &resources_table },
	{ "rootfsPropagation", K_ENUM, OFF(rootfs_propagation), .names = &spec_propagations },
	{ "seccomp", K_OBJECT, OFF(seccomp), .table = &seccomp_table },
	{ "sysctl", K_MAP, OFF(sysctl) },
	{ "maskedPaths", K_STRV, OFF(masked_paths), .fn = check_absolutes },
	{ "readonlyPaths", K_STRV, OFF(readonly_paths), .fn = check_absolutes },
	{ "mountLabel", K_STR, OFF(mount_label) },
	{ "intelRdt", K_NODE, OFF(intel_rdt) },
	{ "memoryPolicy", K_OBJECT, OFF(mem_policy), .table = &mem_policy_table },
	{ "personality", K_OBJECT, 0, .table = &personality_table },
};
const struct table linux_table = TABLE(linux_fields);
