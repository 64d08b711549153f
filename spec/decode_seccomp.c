/* The `linux.seccomp` object. */
#include "base/str.h"
#include "spec/decode.h"

/* seccomp(2): the low 16 bits of a filter's answer; as an errno the kernel takes up to 4095. */
#define ERRNO_MAX 4095

/* "the runtime MUST print an error and fail" (config-linux.md#seccomp) */
static int check_errno(struct dec *d, const struct json *obj, const char *action, const char *key,
    enum spec_seccomp_action a, const struct opt_u32 *v)
{
	if (!v->set || a == SECCOMP_ERRNO || a == SECCOMP_TRACE)
		return 0;
	return dec_bad(
	    d, json_get(obj, key), "%s %s takes no errno", action, json_get(obj, action)->s);
}

#define ARG(member) offsetof(struct spec_seccomp_arg, member)
static const struct field arg_fields[] = {
	{ "index", K_U32, ARG(index), .required = true, .max = 5 },
	{ "value", K_U64, ARG(value), .required = true },
	{ "valueTwo", K_U64, ARG(value_two) },
	{ "op", K_ENUM, ARG(op), .required = true, .names = &spec_seccomp_ops },
};
static const struct table arg_table = TABLE(arg_fields, .size = sizeof(struct spec_seccomp_arg));

static int check_syscalls(struct dec *d, const struct json *node, void *out)
{
	if (node->len == 0)
		return dec_fail(d, node, "must name at least one system call");
	json_foreach (it, node)
		if (!*it->s)
			return dec_bad(d, it, "must not be empty");
	return 0;
}

static int check_rule(struct dec *d, const struct json *node, void *obj)
{
	const struct spec_seccomp_rule *r = obj;

	return check_errno(d, node, "action", "errnoRet", r->action, &r->errno_ret);
}

#define RULE(member) offsetof(struct spec_seccomp_rule, member)
static const struct field rule_fields[] = {
	{ "names", K_STRV, RULE(names), .required = true, .fn = check_syscalls },
	{ "action", K_ENUM, RULE(action), .required = true, .names = &spec_seccomp_actions },
	{ "errnoRet", K_OPT_U32, RULE(errno_ret), .max = ERRNO_MAX },
	{ "args", K_LIST, RULE(args), .table = &arg_table },
};
static const struct table rule_table =
    TABLE(rule_fields, .size = sizeof(struct spec_seccomp_rule), .check = check_rule);

static int check_archs(struct dec *d, const struct json *node, void *out)
{
	json_foreach (it, node) {
		uint64_t unused;
		int r = dec_name(d, it, &spec_seccomp_archs, &unused);

		if (r < 0)
			return r;
	}
	return 0;
}

static const struct json *notify_rule(const struct json *node)
{
	const struct json *rules = dec_get(node, "syscalls");

	if (!rules)
		return NULL;
	json_foreach (it, rules)
		if (streq(json_get(it, "action")->s, "SCMP_ACT_NOTIFY"))
			return it;
	return NULL;
}

static int check_seccomp(struct dec *d, const struct json *node, void *obj)
{
	const struct spec_seccomp *s = obj;
	const struct json *notify = notify_rule(node);

	if (s->default_action == SECCOMP_NOTIFY)
		return dec_bad(d, json_get(node, "defaultAction"),
		    "cannot be the default action: the agent's own answer would need it");
	if (notify && !s->listener_path)
		return dec_fail(d, notify, "SCMP_ACT_NOTIFY needs .linux.seccomp.listenerPath");
	if (s->listener_metadata && !s->listener_path)
		return dec_fail(
		    d, json_get(node, "listenerMetadata"), "not allowed without listenerPath");
	return check_errno(
	    d, node, "defaultAction", "defaultErrnoRet", s->default_action, &s->default_errno_ret);
}

#define OFF(member) offsetof(struct spec_seccomp, member)
static const struct field seccomp_fields[] = {
	{ "defaultAction", K_ENUM, OFF(default_action), .required = true,
	    .names = &spec_seccomp_actions },
	{ "defaultErrnoRet", K_OPT_U32, OFF(default_errno_ret), .max = ERRNO_MAX },
	{ "architectures", K_STRV, OFF(archs), .fn = check_archs },
	{ "flags", K_BITS32, OFF(flags), .names = &spec_seccomp_flags },
	{ "listenerPath", K_STR, OFF(listener_path), .fn = check_absolute },
	{ "listenerMetadata", K_STR, OFF(listener_metadata) },
	{ "syscalls", K_LIST, OFF(rules), .table = &rule_table },
};
const struct table seccomp_table =
    TABLE(seccomp_fields, .has = true, .has_off = OFF(has), .check = check_seccomp);
