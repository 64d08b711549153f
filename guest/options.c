/* The JSON texts of the protocol (proto.h), checked. */
#include <string.h>

#include "base/cleanup.h"
#include "guest/agent.h"

#define TAG_MAX	   35 /* of a virtio-fs device: 36 bytes of configuration space */
#define SERIAL_MAX 20 /* of a virtio block device */

static int wrong_type(struct arena *a, const struct json *node, const char *want, struct err *e)
{
	return err_set(e, EINVAL, "options: %s: must be %s, is %s", json_path(a, node), want,
	    json_type_name(node->type));
}

static int get_string(struct arena *a, const struct json *object, const char *key, bool required,
    const char **ret, struct err *e)
{
	const struct json *node = json_get(object, key);

	if (node && node->type == JSON_NULL)
		node = NULL;
	if (!node && required)
		return err_set(e, EINVAL, "options: .%s: missing", key);
	if (node && node->type != JSON_STRING)
		return wrong_type(a, node, "a string", e);
	if (node)
		*ret = node->s;
	return 0;
}

static int get_bool(
    struct arena *a, const struct json *object, const char *key, bool *ret, struct err *e)
{
	const struct json *node = json_get(object, key);

	if (node && node->type != JSON_BOOL)
		return wrong_type(a, node, "true or false", e);
	if (node)
		*ret = node->b;
	return 0;
}

static int get_indices(struct arena *a, const struct json *object, const char *key, uint32_t **ret,
    size_t *ret_n, struct err *e)
{
	const struct json *node = json_get(object, key);
	size_t n = 0;

	if (!node || node->type != JSON_ARRAY)
		return err_set(e, EINVAL, "options: .%s: must be an array", key);
	*ret = arena_calloc(a, node->len + 1, sizeof(**ret));
	json_foreach (it, node) {
		if (it->type != JSON_INT || it->i < 0 || it->i > INT32_MAX)
			return wrong_type(a, it, "a whole number from 0 on", e);
		(*ret)[n++] = (uint32_t)it->i;
	}
	*ret_n = n;
	return 0;
}

static int check_serial(const char *key, const char *serial, struct err *e)
{
	size_t n = serial ? strlen(serial) : 1;

	if (n < 1 || n > SERIAL_MAX || (serial && strchr(serial, '/')))
		return err_set(e, EINVAL, "options: .root.%s: must have 1 to %d bytes and no slash",
		    key, SERIAL_MAX);
	return 0;
}

static int get_root(
    struct arena *a, const struct json *object, struct create_options *o, struct err *e)
{
	const struct json *node = json_get(object, "root");
	int r;

	if (!node || node->type == JSON_NULL)
		return 0;
	if (node->type != JSON_OBJECT)
		return wrong_type(a, node, "an object", e);
	if ((r = get_string(a, node, "disk", false, &o->root_disk, e)) < 0 ||
	    (r = get_string(a, node, "scratch", false, &o->scratch_disk, e)) < 0 ||
	    (r = check_serial("disk", o->root_disk, e)) < 0)
		return r;
	if (!o->root_disk)
		return err_set(e, EINVAL, "options: .root.disk: missing");
	return check_serial("scratch", o->scratch_disk, e);
}

static int parse_object(
    struct arena *a, const char *text, size_t n, const struct json **ret, struct err *e)
{
	int r = json_parse(a, "options", text, n, ret, e);

	if (r == 0 && (*ret)->type != JSON_OBJECT)
		return wrong_type(a, *ret, "an object", e);
	return r;
}

int options_split(const uint8_t *body, size_t n, const char **text1, size_t *n1, const char **text2,
    size_t *n2, struct err *e)
{
	const uint8_t *end1 = memchr(body, '\0', n), *end2 = NULL;

	if (end1)
		end2 = memchr(end1 + 1, '\0', n - (size_t)(end1 + 1 - body));
	if (!end2 || end2 + 1 != body + n)
		return err_set(
		    e, EPROTO, "CREATE: must be two texts, each ended by a NUL, and nothing else");
	*text1 = (const char *)body;
	*n1 = (size_t)(end1 - body);
	*text2 = (const char *)end1 + 1;
	*n2 = (size_t)(end2 - end1 - 1);
	return 0;
}

int options_create(
    struct arena *a, const char *text, size_t n, struct create_options *ret, struct err *e)
{
	struct create_options o = { .tag = GP_TAG, .keyring = true };
	const struct json *doc;
	int r;

	if ((r = parse_object(a, text, n, &doc, e)) < 0 ||
	    (r = get_string(a, doc, "id", true, &o.id, e)) < 0 ||
	    (r = get_string(a, doc, "bundle", true, &o.bundle, e)) < 0 ||
	    (r = get_string(a, doc, "tag", false, &o.tag, e)) < 0 ||
	    (r = get_string(a, doc, "rootfs", false, &o.rootfs, e)) < 0 ||
	    (r = get_string(a, doc, "created", false, &o.created, e)) < 0 ||
	    (r = get_string(a, doc, "owner", false, &o.owner, e)) < 0 ||
	    (r = get_string(a, doc, "hostname", false, &o.hostname, e)) < 0 ||
	    (r = get_string(a, doc, "domainname", false, &o.domainname, e)) < 0 ||
	    (r = get_bool(a, doc, "keyring", &o.keyring, e)) < 0 ||
	    (r = get_root(a, doc, &o, e)) < 0 ||
	    (r = get_indices(a, doc, "exports", &o.exports, &o.n_exports, e)) < 0 ||
	    (r = spec_check_id(o.id, e)) < 0)
		return r;
	if (o.bundle[0] != '/')
		return err_set(e, EINVAL, "options: .bundle: must be an absolute path");
	if (!o.tag[0] || strlen(o.tag) > TAG_MAX)
		return err_set(e, EINVAL, "options: .tag: must have 1 to %d bytes", TAG_MAX);
	*ret = o;
	return 0;
}

int options_exec(
    struct arena *a, const char *text, size_t n, struct exec_options *ret, struct err *e)
{
	struct exec_options o = { .keyring = true };
	const struct json *doc, *own;
	int r = parse_object(a, text, n, &doc, e);

	if (r < 0)
		return r;
	own = json_get(doc, "bailey");
	if (own && own->type != JSON_OBJECT)
		return wrong_type(a, own, "an object", e);
	if (own && ((r = get_bool(a, own, "keyring", &o.keyring, e)) < 0 ||
		       (r = get_string(a, own, "cgroup", false, &o.cgroup, e)) < 0))
		return r;
	*ret = o;
	return 0;
}
