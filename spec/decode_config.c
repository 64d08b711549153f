/* The document as a whole: root, mounts, hooks, vm and the sections of other platforms. */
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "spec/decode.h"

#define OFF(member) offsetof(struct spec, member)

/* sethostname(2) takes 64 bytes. */
static int check_uts_name(struct dec *d, const struct json *node, void *out)
{
	if (node->len > 64)
		return dec_bad(d, node, "longer than 64 bytes");
	return 0;
}

/* ---- root ---- */

static const struct field root_fields[] = {
	{ "path", K_STR, OFF(root.path), .required = true },
	{ "readonly", K_BOOL, OFF(root.readonly) },
};

static int finish_root(struct dec *d, const struct json *node, void *obj)
{
	struct spec *s = obj;
	_cleanup_free_ char *joined = path_join(s->bundle, s->root.path);
	_cleanup_free_ char *path = path_normalize(joined);

	s->root.path = arena_strdup(d->a, path);
	return 0;
}
static const struct table root_table = TABLE(root_fields, .check = finish_root);

/* ---- mounts ---- */

static bool has_opt(const struct spec_mount *m, enum mount_opt_kind kind)
{
	for (size_t i = 0; i < m->options.n; i++) {
		const struct mount_opt *o =
		    mount_opt_find(m->options.v[i], strlen(m->options.v[i]));

		if (o && o->kind == kind)
			return true;
	}
	return false;
}

static int check_mount_kind(struct dec *d, const struct json *node, const struct spec_mount *m)
{
	bool bind = has_opt(m, MOPT_BIND);

	if (bind && !m->source)
		return dec_missing(d, node, "source");
	if (!bind && m->type && streq(m->type, "bind"))
		return dec_bad(d, json_get(node, "type"),
		    "a bind mount needs \"bind\" or \"rbind\" in its options");
	if (!bind && !m->type && !has_opt(m, MOPT_REMOUNT) && !has_opt(m, MOPT_PROPAGATION))
		return dec_fail(d, node, "needs a type, or \"bind\" or \"rbind\" in its options");
	if (!m->uid_mappings.n != !m->gid_mappings.n)
		return dec_fail(d, node, "uidMappings and gidMappings must be given together");
	return 0;
}

static int finish_mount(struct dec *d, const struct json *node, void *obj)
{
	struct spec_mount *m = obj;
	_cleanup_free_ char *dest = NULL;

	m->path = json_path(d->a, node);
	/* "For compatibility with old tools it MAY be a relative path, in which case it MUST be
	 * interpreted as relative to '/'." */
	if (!path_is_absolute(m->destination) && d->warn)
		log_warning("%s: %s.destination: %s: relative paths are deprecated, taken as "
			    "relative to \"/\"",
		    d->name, m->path, json_quote(d->a, m->destination));
	dest = path_normalize(m->destination);
	m->destination = arena_strdup(d->a, dest);
	return check_mount_kind(d, node, m);
}

#define MOUNT(member) offsetof(struct spec_mount, member)
static const struct field mount_fields[] = {
	{ "destination", K_STR, MOUNT(destination), .required = true },
	{ "type", K_STR, MOUNT(type) },
	{ "source", K_STR, MOUNT(source) },
	{ "options", K_STRV, MOUNT(options) },
	{ "uidMappings", K_LIST, MOUNT(uid_mappings), .table = &id_map_table },
	{ "gidMappings", K_LIST, MOUNT(gid_mappings), .table = &id_map_table },
};
static const struct table mount_table =
    TABLE(mount_fields, .size = sizeof(struct spec_mount), .check = finish_mount);

/* ---- hooks ---- */

#define HOOK(member) offsetof(struct spec_hook, member)
static const struct field hook_fields[] = {
	{ "path", K_STR, HOOK(path), .required = true, .fn = check_absolute },
	{ "args", K_STRV, HOOK(args) },
	{ "env", K_STRV, HOOK(env) },
	{ "timeout", K_OPT_I32, HOOK(timeout), .min = 1, .max = INT32_MAX },
};
static const struct table hook_table = TABLE(hook_fields, .size = sizeof(struct spec_hook));

static int decode_hooks(struct dec *d, const struct json *node, void *out)
{
	struct field fields[HOOK_KINDS] = { 0 };
	const struct table kinds = TABLE(fields);

	for (size_t i = 0; i < HOOK_KINDS; i++)
		fields[i] = (struct field){ spec_hook_names[i], K_LIST,
			i * sizeof(struct spec_hooks), .table = &hook_table };
	return decode_object(d, node, &kinds, out);
}

/* ---- vm ---- */

#define VM(member) offsetof(struct spec_vm, member)
static const struct field hypervisor_fields[] = {
	{ "path", K_STR, VM(hypervisor_path), .required = true, .fn = check_absolute },
	{ "parameters", K_STRV, VM(hypervisor_parameters) },
};
static const struct table hypervisor_table = TABLE(hypervisor_fields);
static const struct field kernel_fields[] = {
	{ "path", K_STR, VM(kernel_path), .required = true, .fn = check_absolute },
	{ "parameters", K_STRV, VM(kernel_parameters) },
	{ "initrd", K_STR, VM(initrd), .fn = check_absolute },
};
static const struct table kernel_table = TABLE(kernel_fields);

static int check_format(struct dec *d, const struct json *node, void *out)
{
	uint64_t unused;

	return dec_name(d, node, &spec_image_formats, &unused);
}
static const struct field image_fields[] = {
	{ "path", K_STR, VM(image_path), .required = true, .fn = check_absolute },
	{ "format", K_STR, VM(image_format), .required = true, .fn = check_format },
};
static const struct table image_table = TABLE(image_fields);
static const struct field hw_fields[] = {
	{ "vcpus", K_OPT_U32, VM(vcpus) },
	{ "memory", K_OPT_U64, VM(memory) },
};
static const struct table hw_table = TABLE(hw_fields);

static const struct field vm_fields[] = {
	{ "hypervisor", K_OBJECT, 0, .table = &hypervisor_table },
	{ "kernel", K_OBJECT, 0, .required = true, .table = &kernel_table },
	{ "image", K_OBJECT, 0, .table = &image_table },
	{ "hwConfig", K_OBJECT, 0, .table = &hw_table },
};
static const struct table vm_table = TABLE(vm_fields, .has = true, .has_off = VM(has));

/* ---- the document ---- */

static int decode_process(struct dec *d, const struct json *node, void *out)
{
	struct spec *s = out;

	s->has_process = true;
	return decode_object(d, node, &process_table, &s->process);
}

static int other_platform(struct dec *d, const struct json *node, void *out)
{
	log_debug("%s: %s: section of another platform, ignored", d->name, json_path(d->a, node));
	return 0;
}
#define OTHER(name)                                     \
	{                                               \
		name, K_CUSTOM, 0, .fn = other_platform \
	}

static const struct field config_fields[] = {
	{ "ociVersion", K_STR, OFF(oci_version), .required = true },
	{ "root", K_OBJECT, 0, .required = true, .table = &root_table },
	{ "process", K_CUSTOM, 0, .fn = decode_process },
	{ "hostname", K_STR, OFF(hostname), .fn = check_uts_name },
	{ "domainname", K_STR, OFF(domainname), .fn = check_uts_name },
	{ "mounts", K_LIST, OFF(mounts), .table = &mount_table },
	{ "hooks", K_CUSTOM, OFF(hooks), .fn = decode_hooks },
	{ "annotations", K_MAP, OFF(annotations) },
	{ "linux", K_OBJECT, 0, .table = &linux_table },
	{ "vm", K_OBJECT, OFF(vm), .table = &vm_table },
	OTHER("freebsd"),
	OTHER("solaris"),
	OTHER("windows"),
	OTHER("zos"),
};

static int finish_config(struct dec *d, const struct json *node, void *obj)
{
	struct spec *s = obj;

	/* Bind sources are relative to the bundle; other sources are the filesystem's business. */
	for (size_t i = 0; i < s->mounts.n; i++) {
		struct spec_mount *m = &s->mounts.v[i];

		if (m->source && has_opt(m, MOPT_BIND) && !path_is_absolute(m->source))
			m->source = arena_printf(d->a, "%s/%s", s->bundle, m->source);
	}
	if (!s->masked_paths.v)
		s->masked_paths.v = arena_calloc(d->a, 1, sizeof(char *));
	if (!s->readonly_paths.v)
		s->readonly_paths.v = arena_calloc(d->a, 1, sizeof(char *));
	return 0;
}
const struct table config_table = TABLE(config_fields, .check = finish_config);
