/* The `linux.resources` object, which is also what `update` reads. */
#include "base/str.h"
#include "spec/decode.h"

#define OFF(member) offsetof(struct spec_resources, member)

/* ---- devices ---- */

static int decode_rule_type(struct dec *d, const struct json *node, void *out)
{
	const char *s;
	int r = dec_str(d, node, &s);

	if (r < 0)
		return r;
	if (!*s)
		return 0;
	if (s[1] || !strchr("abc", *s))
		return dec_bad(d, node, "must be \"a\" (all), \"b\" (block) or \"c\" (character)");
	*(char *)out = *s;
	return 0;
}

static int decode_rule_access(struct dec *d, const struct json *node, void *out)
{
	struct spec_device_rule *rule = out;
	const char *s;
	int r = dec_str(d, node, &s);

	if (r < 0)
		return r;
	if (!*s || s[strspn(s, "rwm")])
		return dec_bad(d, node, "must be made of r (read), w (write) and m (mknod)");
	rule->read = strchr(s, 'r');
	rule->write = strchr(s, 'w');
	rule->mknod = strchr(s, 'm');
	return 0;
}

static int finish_rule(struct dec *d, const struct json *node, void *obj)
{
	struct spec_device_rule *rule = obj;

	if (!rule->type)
		rule->type = 'a';
	return 0;
}

#define RULE(member) offsetof(struct spec_device_rule, member)
static const struct field rule_fields[] = {
	{ "allow", K_BOOL, RULE(allow), .required = true },
	{ "type", K_CUSTOM, RULE(type), .fn = decode_rule_type },
	{ "major", K_OPT_I64, RULE(major), .min = -1, .max = UINT32_MAX },
	{ "minor", K_OPT_I64, RULE(minor), .min = -1, .max = UINT32_MAX },
	{ "access", K_CUSTOM, 0, .required = true, .fn = decode_rule_access },
};
static const struct table rule_table =
    TABLE(rule_fields, .size = sizeof(struct spec_device_rule), .check = finish_rule);

/* ---- memory, cpu, pids ---- */

/* Bytes, -1: unlimited. */
#define LIMIT .min = -1, .max = INT64_MAX

#define MEM(member) offsetof(struct spec_memory, member)
static const struct field memory_fields[] = {
	{ "limit", K_OPT_I64, MEM(limit), LIMIT },
	{ "reservation", K_OPT_I64, MEM(reservation), LIMIT },
	{ "swap", K_OPT_I64, MEM(swap), LIMIT },
	{ "kernel", K_OPT_I64, MEM(kernel), LIMIT },
	{ "kernelTCP", K_OPT_I64, MEM(kernel_tcp), LIMIT },
	{ "swappiness", K_OPT_U64, MEM(swappiness) },
	{ "disableOOMKiller", K_OPT_BOOL, MEM(disable_oom_killer) },
	{ "useHierarchy", K_OPT_BOOL, MEM(use_hierarchy) },
	{ "checkBeforeUpdate", K_OPT_BOOL, MEM(check_before_update) },
};
static const struct table memory_table = TABLE(memory_fields);

#define CPU(member) offsetof(struct spec_cpu, member)
static const struct field cpu_fields[] = {
	{ "shares", K_OPT_U64, CPU(shares) },
	{ "quota", K_OPT_I64, CPU(quota), LIMIT },
	{ "burst", K_OPT_U64, CPU(burst) },
	{ "period", K_OPT_U64, CPU(period) },
	{ "realtimeRuntime", K_OPT_I64, CPU(realtime_runtime) },
	{ "realtimePeriod", K_OPT_U64, CPU(realtime_period) },
	{ "cpus", K_STR, CPU(cpus), .fn = check_cpu_list },
	{ "mems", K_STR, CPU(mems), .fn = check_cpu_list },
	{ "idle", K_OPT_I64, CPU(idle), .max = 1 },
};
static const struct table cpu_table = TABLE(cpu_fields);

static const struct field pids_fields[] = {
	{ "limit", K_OPT_I64, 0, LIMIT },
};
static const struct table pids_table = TABLE(pids_fields);

/* ---- block I/O ---- */

/* Zero is how engines write "not set". */
static int check_weight(struct dec *d, const struct json *node, void *out)
{
	const struct opt_u32 *w = out;

	if (w->v && w->v < 10)
		return dec_bad(d, node, "out of range (10 to 1000, or 0 for none)");
	return 0;
}
#define WEIGHT .max = 1000, .fn = check_weight

#define WDEV(member) offsetof(struct spec_weight_device, member)
static const struct field weight_device_fields[] = {
	{ "major", K_U32, WDEV(major), .required = true },
	{ "minor", K_U32, WDEV(minor), .required = true },
	{ "weight", K_OPT_U32, WDEV(weight), WEIGHT },
	{ "leafWeight", K_OPT_U32, WDEV(leaf_weight), WEIGHT },
};

static int check_weight_device(struct dec *d, const struct json *node, void *obj)
{
	const struct spec_weight_device *w = obj;

	if (!w->weight.set && !w->leaf_weight.set)
		return dec_missing(d, node, "weight");
	return 0;
}
static const struct table weight_device_table = TABLE(
    weight_device_fields, .size = sizeof(struct spec_weight_device), .check = check_weight_device);

#define THROTTLE(member) offsetof(struct spec_throttle, member)
static const struct field throttle_fields[] = {
	{ "major", K_U32, THROTTLE(major), .required = true },
	{ "minor", K_U32, THROTTLE(minor), .required = true },
	{ "rate", K_U64, THROTTLE(rate), .required = true },
};
static const struct table throttle_table =
    TABLE(throttle_fields, .size = sizeof(struct spec_throttle));

#define BLKIO(member) offsetof(struct spec_block_io, member)
static const struct field block_io_fields[] = {
	{ "weight", K_OPT_U32, BLKIO(weight), WEIGHT },
	{ "leafWeight", K_OPT_U32, BLKIO(leaf_weight), WEIGHT },
	{ "weightDevice", K_LIST, BLKIO(weight_device), .table = &weight_device_table },
	{ "throttleReadBpsDevice", K_LIST, BLKIO(read_bps), .table = &throttle_table },
	{ "throttleWriteBpsDevice", K_LIST, BLKIO(write_bps), .table = &throttle_table },
	{ "throttleReadIOPSDevice", K_LIST, BLKIO(read_iops), .table = &throttle_table },
	{ "throttleWriteIOPSDevice", K_LIST, BLKIO(write_iops), .table = &throttle_table },
};
static const struct table block_io_table = TABLE(block_io_fields);

/* ---- huge pages, rdma, network ---- */

static int check_page_size(struct dec *d, const struct json *node, void *out)
{
	const char *s = *(const char **)out;
	size_t digits = strspn(s, "0123456789");

	if (digits == 0 || s[0] == '0' || !s[digits] || !strchr("KMG", s[digits]) ||
	    !streq(s + digits + 1, "B"))
		return dec_bad(d, node, "must be a page size like \"64KB\", \"2MB\" or \"1GB\"");
	return 0;
}

static const struct field hugepage_fields[] = {
	{ "pageSize", K_STR, offsetof(struct spec_hugepage, page_size), .required = true,
	    .fn = check_page_size },
	{ "limit", K_U64, offsetof(struct spec_hugepage, limit), .required = true },
};
static const struct table hugepage_table =
    TABLE(hugepage_fields, .size = sizeof(struct spec_hugepage));

static const struct field rdma_fields[] = {
	{ "hcaHandles", K_OPT_U32, offsetof(struct spec_rdma, hca_handles) },
	{ "hcaObjects", K_OPT_U32, offsetof(struct spec_rdma, hca_objects) },
};

static int check_rdma(struct dec *d, const struct json *node, void *obj)
{
	const struct spec_rdma *r = obj;

	if (!r->hca_handles.set && !r->hca_objects.set)
		return dec_fail(d, node, "hcaHandles or hcaObjects is required");
	return 0;
}
static const struct table rdma_table = TABLE(rdma_fields, .size = sizeof(struct spec_rdma),
    .key_off = offsetof(struct spec_rdma, device), .check = check_rdma);

static const struct field net_prio_fields[] = {
	{ "name", K_STR, offsetof(struct spec_net_prio, name), .required = true },
	{ "priority", K_U32, offsetof(struct spec_net_prio, priority), .required = true },
};
static const struct table net_prio_table =
    TABLE(net_prio_fields, .size = sizeof(struct spec_net_prio));

static const struct field network_fields[] = {
	{ "classID", K_OPT_U32, OFF(net_class_id) },
	{ "priorities", K_LIST, OFF(net_priorities), .table = &net_prio_table },
};
static const struct table network_table = TABLE(network_fields);

/* A key is a file's name in the cgroup's directory, nothing else. */
static int check_unified(struct dec *d, const struct json *node, void *out)
{
	json_foreach (it, node)
		if (strchr(it->key, '/') || streq(it->key, ".") || streq(it->key, ".."))
			return dec_fail(d, it, "must be the name of a file in the cgroup");
	return 0;
}

static const struct field resources_fields[] = {
	{ "devices", K_LIST, OFF(devices), .table = &rule_table },
	{ "memory", K_OBJECT, OFF(memory), .table = &memory_table },
	{ "cpu", K_OBJECT, OFF(cpu), .table = &cpu_table },
	{ "pids", K_OBJECT, OFF(pids_limit), .table = &pids_table },
	{ "blockIO", K_OBJECT, OFF(block_io), .table = &block_io_table },
	{ "hugepageLimits", K_LIST, OFF(hugepages), .table = &hugepage_table },
	{ "rdma", K_DICT, OFF(rdma), .table = &rdma_table },
	{ "network", K_OBJECT, 0, .table = &network_table },
	{ "unified", K_MAP, OFF(unified), .fn = check_unified },
};
const struct table resources_table = TABLE(resources_fields);
