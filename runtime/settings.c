/* bailey's own configuration file: one table of what it may hold. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "runtime/isolation.h"
#include "vm/machine.h"

#define SYSTEM_FILE "/etc/bailey/config.json"
#define FILE_MAX    (1u << 20)

enum kind { S_STRING, S_PATH, S_STRINGS, S_U32, S_U64, S_SECTION };
struct setting {
	const char *key;
	enum kind kind;
	size_t off;
	int64_t min, max;
	const struct setting *section;
};
#define OFF(field) offsetof(struct settings, field)

static const struct setting vm_settings[] = {
	{ "kernel", S_PATH, OFF(kernel) },
	{ "initrd", S_PATH, OFF(initrd) },
	{ "parameters", S_STRINGS, OFF(parameters) },
	{ "vcpus", S_U32, OFF(vcpus), 1, VM_VCPUS_MAX },
	{ "memory", S_U64, OFF(memory), 1, INT64_MAX },
	{ "patience", S_U32, OFF(patience), 1, 86400 },
	{ 0 },
};
static const struct setting file_settings[] = {
	{ "isolation", S_STRING, OFF(isolation) },
	{ "vm", S_SECTION, 0, .section = vm_settings },
	{ 0 },
};

struct reader {
	struct arena *a;
	const char *name;
	struct settings *s;
};

static int read_section(
    struct reader *r, const struct json *node, const struct setting *table, struct err *e);

static int bad(struct reader *r, const struct json *node, const char *want, struct err *e)
{
	return err_set(e, EINVAL, "%s: %s: must be %s", r->name, json_path(r->a, node), want);
}

static int read_strings(
    struct reader *r, const struct json *node, struct spec_strv *to, struct err *e)
{
	if (node->type != JSON_ARRAY)
		return bad(r, node, "an array of strings", e);
	to->v = arena_calloc(r->a, node->len + 1, sizeof(char *));
	json_foreach (it, node) {
		if (it->type != JSON_STRING)
			return bad(r, it, "a string", e);
		to->v[to->n++] = arena_strdup(r->a, it->s);
	}
	return 0;
}

static int read_number(
    struct reader *r, const struct json *node, const struct setting *t, struct err *e)
{
	void *to = (char *)r->s + t->off;

	if (node->type != JSON_INT || node->i < t->min || node->i > t->max)
		return bad(r, node,
		    arena_printf(r->a, "a whole number from %lld to %lld", (long long)t->min,
			(long long)t->max),
		    e);
	if (t->kind == S_U32)
		*(struct opt_u32 *)to = (struct opt_u32){ true, (uint32_t)node->i };
	else
		*(struct opt_u64 *)to = (struct opt_u64){ true, (uint64_t)node->i };
	return 0;
}

static int read_setting(
    struct reader *r, const struct json *node, const struct setting *t, struct err *e)
{
	void *to = (char *)r->s + t->off;

	switch (t->kind) {
	case S_STRING:
	case S_PATH:
		if (node->type != JSON_STRING)
			return bad(r, node, "a string", e);
		if (t->kind == S_PATH && !path_is_absolute(node->s))
			return bad(r, node, "an absolute path", e);
		*(const char **)to = arena_strdup(r->a, node->s);
		return 0;
	case S_STRINGS:
		return read_strings(r, node, to, e);
	case S_U32:
	case S_U64:
		return read_number(r, node, t, e);
	case S_SECTION:
		return read_section(r, node, t->section, e);
	}
	return bad(r, node, "known", e);
}

static int read_section(
    struct reader *r, const struct json *node, const struct setting *table, struct err *e)
{
	if (node->type != JSON_OBJECT)
		return bad(r, node, "an object", e);
	json_foreach (it, node) {
		const struct setting *t = table;
		int x;

		while (t->key && !streq(t->key, it->key))
			t++;
		if (!t->key)
			return err_set(e, EINVAL, "%s: %s: there is no such setting", r->name,
			    json_path(r->a, it));
		x = read_setting(r, it, t, e);
		if (x < 0)
			return x;
	}
	return 0;
}

int settings_parse(struct arena *a, const char *name, const char *text, size_t n,
    struct settings *ret, struct err *e)
{
	struct settings s = { .path = arena_strdup(a, name) };
	struct reader r = { .a = a, .name = name, .s = &s };
	const struct json *doc;
	enum isolation level;
	int x = json_parse(a, name, text, n, &doc, e);

	if (x == 0)
		x = read_section(&r, doc, file_settings, e);
	if (x < 0)
		return x;
	if (s.isolation && isolation_parse(s.isolation, &level) < 0)
		return bad(&r, json_get(doc, "isolation"), "namespace or vm", e);
	*ret = s;
	return 0;
}

/* Where an ordinary user's own may lie; NULL: nowhere. */
static char *users_file(void)
{
	const char *xdg = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");

	if (geteuid() == 0)
		return NULL;
	if (xdg && path_is_absolute(xdg))
		return path_join(xdg, "bailey/config.json");
	return home && path_is_absolute(home) ? path_join(home, ".config/bailey/config.json")
					      : NULL;
}

int settings_load(struct arena *a, struct settings *ret, struct err *e)
{
	const char *own = getenv("BAILEY_CONFIG");
	_cleanup_free_ char *users = own ? NULL : users_file();
	const char *const paths[] = { own ? own : users, own ? NULL : SYSTEM_FILE };
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
		if (!paths[i] || (!own && access(paths[i], F_OK) < 0 && errno == ENOENT))
			continue;
		r = file_read(AT_FDCWD, paths[i], FILE_MAX, &text, &n, e);
		return r < 0 ? r : settings_parse(a, paths[i], text, n, ret, e);
	}
	*ret = (struct settings){ 0 };
	return 0;
}
