/* The `process` object. */
#include "base/str.h"
#include "spec/decode.h"

/* (uid_t)-1 means "leave as it is" to setresuid(2): as an ID it would keep root. */
#define ID_MAX (UINT32_MAX - 1)

#define OFF(member)	      offsetof(struct spec_process, member)
#define OFF_IN(outer, member) (OFF(outer.member) - OFF(outer))

static const struct field console_fields[] = {
	{ "height", K_U16, OFF_IN(console_size, height), .required = true },
	{ "width", K_U16, OFF_IN(console_size, width), .required = true },
};
static const struct table console_table =
    TABLE(console_fields, .has = true, .has_off = OFF_IN(console_size, set));

static int decode_gids(struct dec *d, const struct json *node, void *out)
{
	__typeof__(((struct spec_user *)0)->additional_gids) *gids = out;
	int r = dec_type(d, node, JSON_ARRAY);

	if (r < 0)
		return r;
	gids->v = arena_calloc(d->a, node->len, sizeof(*gids->v));
	json_foreach (it, node) {
		uint64_t gid;

		r = dec_int(d, it, 0, ID_MAX, &gid);
		if (r < 0)
			return r;
		gids->v[gids->n++] = (uint32_t)gid;
	}
	return 0;
}

static const struct field user_fields[] = {
	{ "uid", K_U32, offsetof(struct spec_user, uid), .max = ID_MAX },
	{ "gid", K_U32, offsetof(struct spec_user, gid), .max = ID_MAX },
	{ "umask", K_OPT_U32, offsetof(struct spec_user, umask), .max = 0777 },
	{ "additionalGids", K_CUSTOM, offsetof(struct spec_user, additional_gids),
	    .fn = decode_gids },
};
static const struct table user_table = TABLE(user_fields);

#define CAPS(name, member)                                                            \
	{                                                                             \
		name, K_CAPS, offsetof(struct spec_caps, member), .names = &spec_caps \
	}
static const struct field caps_fields[] = {
	CAPS("bounding", bounding),
	CAPS("effective", effective),
	CAPS("permitted", permitted),
	CAPS("inheritable", inheritable),
	CAPS("ambient", ambient),
};
static const struct table caps_table =
    TABLE(caps_fields, .has = true, .has_off = offsetof(struct spec_caps, has));

static int decode_rlimit_type(struct dec *d, const struct json *node, void *out)
{
	struct spec_rlimit *l = out;
	uint64_t resource;
	int r = dec_name(d, node, &spec_rlimit_names, &resource);

	if (r < 0)
		return r;
	l->resource = (int)resource;
	l->name = node->s;
	return 0;
}

static int check_rlimit(struct dec *d, const struct json *node, void *obj)
{
	const struct spec_rlimit *l = obj;

	if (l->soft > l->hard)
		return dec_bad(d, json_get(node, "soft"), "above the hard limit (%llu)",
		    (unsigned long long)l->hard);
	return 0;
}

static const struct field rlimit_fields[] = {
	{ "type", K_CUSTOM, 0, .required = true, .fn = decode_rlimit_type },
	{ "soft", K_U64, offsetof(struct spec_rlimit, soft), .required = true },
	{ "hard", K_U64, offsetof(struct spec_rlimit, hard), .required = true },
};
static const struct table rlimit_table =
    TABLE(rlimit_fields, .size = sizeof(struct spec_rlimit), .check = check_rlimit);

static int check_rlimits(struct dec *d, const struct json *node, void *out)
{
	uint64_t seen = 0;

	json_foreach (it, node) {
		const struct json *type = json_get(it, "type");
		uint64_t bit = UINT64_C(1) << spec_name_find(&spec_rlimit_names, type->s)->value;

		if (seen & bit)
			return dec_bad(d, type, "the limit is already set by an earlier entry");
		seen |= bit;
	}
	return 0;
}

#define SCHED(member) offsetof(struct spec_scheduler, member)
static const struct field scheduler_fields[] = {
	{ "policy", K_ENUM, SCHED(policy), .required = true, .names = &spec_sched_policies },
	{ "nice", K_I32, SCHED(nice), .min = -20, .max = 19 },
	{ "priority", K_OPT_I32, SCHED(priority), .max = 99 },
	{ "flags", K_BITS, SCHED(flags), .names = &spec_sched_flags },
	{ "runtime", K_U64, SCHED(runtime) },
	{ "deadline", K_U64, SCHED(deadline) },
	{ "period", K_U64, SCHED(period) },
};
static const struct table scheduler_table =
    TABLE(scheduler_fields, .has = true, .has_off = SCHED(has));

static const struct field ioprio_fields[] = {
	{ "class", K_ENUM, offsetof(struct spec_ioprio, class_), .required = true,
	    .names = &spec_ioprio_classes },
	{ "priority", K_I32, offsetof(struct spec_ioprio, priority), .max = 7 },
};
static const struct table ioprio_table =
    TABLE(ioprio_fields, .has = true, .has_off = offsetof(struct spec_ioprio, has));

static const struct field affinity_fields[] = {
	{ "initial", K_STR, offsetof(struct spec_cpu_affinity, initial), .fn = check_cpu_list },
	{ "final", K_STR, offsetof(struct spec_cpu_affinity, final), .fn = check_cpu_list },
};
static const struct table affinity_table = TABLE(affinity_fields);

static int check_env(struct dec *d, const struct json *node, void *out)
{
	json_foreach (it, node)
		if (*it->s == '=' || !strchr(it->s, '='))
			return dec_bad(d, it, "must have the form NAME=value");
	return 0;
}

static const struct field process_fields[] = {
	{ "terminal", K_BOOL, OFF(terminal) },
	{ "consoleSize", K_OBJECT, OFF(console_size), .table = &console_table },
	{ "user", K_OBJECT, OFF(user), .table = &user_table },
	{ "args", K_STRV, OFF(args) },
	{ "env", K_STRV, OFF(env), .fn = check_env },
	{ "cwd", K_STR, OFF(cwd), .required = true, .fn = check_absolute },
	{ "capabilities", K_OBJECT, OFF(caps), .table = &caps_table },
	{ "rlimits", K_LIST, OFF(rlimits), .table = &rlimit_table, .fn = check_rlimits },
	{ "noNewPrivileges", K_BOOL, OFF(no_new_privileges) },
	{ "apparmorProfile", K_STR, OFF(apparmor_profile) },
	{ "selinuxLabel", K_STR, OFF(selinux_label) },
	{ "oomScoreAdj", K_OPT_I32, OFF(oom_score_adj), .min = -1000, .max = 1000 },
	{ "scheduler", K_OBJECT, OFF(scheduler), .table = &scheduler_table },
	{ "ioPriority", K_OBJECT, OFF(ioprio), .table = &ioprio_table },
	{ "execCPUAffinity", K_OBJECT, OFF(exec_cpu_affinity), .table = &affinity_table },
};

const struct table process_table = TABLE(process_fields);
