/* ROOT/ID/state.json: one table of what it holds, for writing and reading. */
#include "runtime/container.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#define STATE_MAX (16 * 1024 * 1024) /* annotations are as large as their author likes */

enum kind { F_PID, F_UINT, F_STRING, F_BOOL };
static const struct field {
	const char *key;
	enum kind kind;
	size_t off;
	bool may_be_null;
} fields[] = {
	{ "pid", F_PID, offsetof(struct container, pid), false },
	{ "startTime", F_UINT, offsetof(struct container, start_time), false },
	{ "bundle", F_STRING, offsetof(struct container, bundle), false },
	{ "rootfs", F_STRING, offsetof(struct container, rootfs), false },
	{ "created", F_STRING, offsetof(struct container, created), false },
	{ "owner", F_STRING, offsetof(struct container, owner), false },
	{ "cgroupPath", F_STRING, offsetof(struct container, cgroup_path), true },
	{ "cgroupMadeFrom", F_STRING, offsetof(struct container, cgroup_made_from), true },
	{ "cgroupInode", F_UINT, offsetof(struct container, cgroup_id), false },
	{ "systemd", F_BOOL, offsetof(struct container, systemd), false },
	{ "systemdUser", F_BOOL, offsetof(struct container, systemd_user), false },
	{ "ownsBundle", F_BOOL, offsetof(struct container, owns_bundle), false },
	{ "vm", F_BOOL, offsetof(struct container, vm), false },
	{ "vmUsable", F_UINT, offsetof(struct container, vm_usable), false },
	{ "vmExtra", F_UINT, offsetof(struct container, vm_extra), false },
	{ "network", F_BOOL, offsetof(struct container, network), false },
	{ "ready", F_BOOL, offsetof(struct container, ready), false },
};

static int load_field(struct container *c, const struct field *f, const struct json *v)
{
	void *to = (char *)c + f->off;

	if (!v)
		return -ENOENT;
	if (v->type == JSON_NULL && f->may_be_null)
		return 0;
	switch (f->kind) {
	case F_PID:
		if (v->type != JSON_INT || v->i < 0 || v->i > INT32_MAX)
			return -EINVAL;
		*(pid_t *)to = (pid_t)v->i;
		return 0;
	case F_UINT:
		if (v->type != JSON_INT || v->i < 0)
			return -EINVAL;
		*(uint64_t *)to = (uint64_t)v->i;
		return 0;
	case F_STRING:
		if (v->type != JSON_STRING)
			return -EINVAL;
		*(const char **)to = arena_strdup(c->arena, v->s);
		return 0;
	case F_BOOL:
		if (v->type != JSON_BOOL)
			return -EINVAL;
		*(bool *)to = v->b;
		return 0;
	}
	return -EINVAL;
}

static int load_annotations(struct container *c, const struct json *map)
{
	if (!map || map->type != JSON_OBJECT)
		return -EINVAL;
	c->annotations.v = arena_calloc(c->arena, map->len, sizeof(*c->annotations.v));
	json_foreach (it, map) {
		if (it->type != JSON_STRING)
			return -EINVAL;
		c->annotations.v[c->annotations.n++] = (struct spec_kv){
			.key = it->key,
			.value = it->s,
		};
	}
	return 0;
}

static int bad_field(const struct container *c, const char *key, struct err *e)
{
	return err_set(e, EINVAL,
	    "%s/state.json: .%s: missing or of the wrong kind: not written by this program; end "
	    "the "
	    "container's processes by hand and remove the directory",
	    c->dir, key);
}

static int load_document(struct container *c, const struct json *doc, struct err *e)
{
	if (doc->type != JSON_OBJECT)
		return err_set(e, EINVAL, "%s/state.json: must be an object", c->dir);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		if (load_field(c, &fields[i], json_get(doc, fields[i].key)) < 0)
			return bad_field(c, fields[i].key, e);
	if (load_annotations(c, json_get(doc, "annotations")) < 0)
		return bad_field(c, "annotations", e);
	return 0;
}

int container_load_state(struct container *c, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	const struct json *doc;
	size_t len;
	int r;

	if (faccessat(c->dirfd, "state.json", F_OK, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return 0;
	r = file_read(c->dirfd, "state.json", STATE_MAX, &text, &len, e);
	if (r == 0)
		r = json_parse(c->arena, "state.json", text, len, &doc, e);
	if (r < 0)
		return err_wrap(e, "%s", c->dir);
	return load_document(c, doc, e);
}

static void save_field(const struct container *c, const struct field *f, struct json_gen *g)
{
	const void *from = (const char *)c + f->off;

	json_gen_key(g, f->key);
	switch (f->kind) {
	case F_PID:
		json_gen_int(g, *(const pid_t *)from);
		break;
	case F_UINT:
		json_gen_uint(g, *(const uint64_t *)from);
		break;
	case F_STRING:
		json_gen_str(g, *(const char *const *)from);
		break;
	case F_BOOL:
		json_gen_bool(g, *(const bool *)from);
		break;
	}
}

int container_save(const struct container *c, struct err *e)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);
	const char *text;
	size_t len;
	int r;

	json_gen_map(g);
	json_gen_kstr(g, "ociVersion", OCI_VERSION);
	json_gen_kstr(g, "id", c->id);
	for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
		save_field(c, &fields[i], g);
	json_gen_key(g, "annotations");
	json_gen_map(g);
	for (size_t i = 0; i < c->annotations.n; i++)
		json_gen_kstr(g, c->annotations.v[i].key, c->annotations.v[i].value);
	json_gen_end(g);
	json_gen_end(g);
	text = json_gen_text(g, &len);
	r = file_replace(c->dirfd, "state.json", text, len, 0600, true, e);
	return r < 0 ? err_wrap(e, "%s", c->dir) : 0;
}
