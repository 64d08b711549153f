/* Reading config.json, process.json and resources.json. */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "spec/decode.h"

#define ID_MAX_LEN 1024

void spec_free(struct spec *s)
{
	if (s)
		arena_free(s->arena); /* s itself lives there */
}

int spec_decode(struct dec *d, const struct json *root, const char *bundle, struct spec **ret)
{
	struct spec *s = arena_alloc(d->a, sizeof(*s));
	int r;

	s->arena = d->a;
	s->json = root;
	s->bundle = arena_strdup(d->a, bundle);
	r = decode_object(d, root, &config_table, s);
	if (r < 0)
		return r;
	*ret = s;
	return 0;
}

static int parse(const char *name, const char *bundle, const char *buf, size_t n, bool warn,
    struct spec **ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct dec d = { .a = a, .name = name, .warn = warn, .e = e };
	const struct json *root;
	struct spec *s;
	int r;

	r = json_parse(a, name, buf, n, &root, e);
	if (r < 0)
		return r;
	r = spec_decode(&d, root, bundle, &s);
	if (r < 0)
		return r;
	r = validate_spec(&d, s);
	if (r < 0)
		return r;
	*ret = s;
	steal_ptr(a);
	return 0;
}

int spec_parse(const char *name, const char *bundle, const char *buf, size_t n, struct spec **ret,
    struct err *e)
{
	return parse(name, bundle, buf, n, false, ret, e);
}

static int absolute(const char *path, char **ret, struct err *e)
{
	_cleanup_free_ char *cwd = NULL, *joined = NULL;

	if (!path_is_absolute(path)) {
		cwd = getcwd(NULL, 0);
		if (!cwd)
			return err_errno(e, errno, "getcwd (for bundle %s)", path);
	}
	joined = path_join(cwd ? cwd : "/", path);
	*ret = path_normalize(joined);
	return 0;
}

/* The name in messages is config.json, or what the caller was given. */
int spec_load(const char *bundle, const char *config, struct spec **ret, struct err *e)
{
	_cleanup_free_ char *dir = NULL, *path = NULL, *buf = NULL;
	const char *name = config ? config : "config.json";
	_cleanup_spec_ struct spec *s = NULL;
	struct stat st;
	size_t n;
	int r;

	r = absolute(bundle, &dir, e);
	if (r < 0)
		return r;
	path = config ? xstrdup(config) : path_join(dir, "config.json");
	r = file_read(AT_FDCWD, path, JSON_MAX_SIZE, &buf, &n, e);
	if (r < 0)
		return r;
	r = parse(name, dir, buf, n, true, &s, e);
	if (r < 0)
		return r;
	if (stat(s->root.path, &st) < 0)
		return err_errno(e, errno, "%s: .root.path: rootfs \"%s\"", name, s->root.path);
	if (!S_ISDIR(st.st_mode))
		return err_errno(e, ENOTDIR, "%s: .root.path: rootfs \"%s\"", name, s->root.path);
	s->text = arena_strndup(s->arena, buf, n);
	s->text_len = n;
	*ret = steal_ptr(s);
	return 0;
}

/* ---- parts ---- */

static int decode_process_node(struct arena *a, const char *name, const struct json *root,
    struct spec_process *ret, struct err *e)
{
	struct dec d = { .a = a, .name = name, .e = e };
	struct spec_process p = { 0 };
	int r = decode_object(&d, root, &process_table, &p);

	if (r == 0)
		r = validate_process(&d, root, &p);
	if (r == 0)
		*ret = p;
	return r;
}

static int decode_resources_node(struct arena *a, const char *name, const struct json *root,
    struct spec_resources *ret, struct err *e)
{
	struct dec d = { .a = a, .name = name, .e = e };
	struct spec_resources res = { 0 };
	int r = decode_object(&d, root, &resources_table, &res);

	if (r == 0)
		r = validate_resources(&d, root, &res);
	if (r == 0)
		*ret = res;
	return r;
}

static const char *shown(const char *path)
{
	return streq(path, "-") ? "standard input" : path;
}

int spec_parse_process(struct arena *a, const char *name, const char *buf, size_t n,
    struct spec_process *ret, struct err *e)
{
	const struct json *root;
	int r = json_parse(a, name, buf, n, &root, e);

	return r < 0 ? r : decode_process_node(a, name, root, ret, e);
}

int spec_load_process(struct arena *a, const char *path, struct spec_process *ret, struct err *e)
{
	const struct json *root;
	int r = json_parse_file(a, AT_FDCWD, path, &root, e);

	return r < 0 ? r : decode_process_node(a, shown(path), root, ret, e);
}

int spec_parse_resources(struct arena *a, const char *name, const char *buf, size_t n,
    struct spec_resources *ret, struct err *e)
{
	const struct json *root;
	int r = json_parse(a, name, buf, n, &root, e);

	return r < 0 ? r : decode_resources_node(a, name, root, ret, e);
}

int spec_load_resources(
    struct arena *a, const char *path, struct spec_resources *ret, struct err *e)
{
	const struct json *root;
	int r = json_parse_file(a, AT_FDCWD, path, &root, e);

	return r < 0 ? r : decode_resources_node(a, shown(path), root, ret, e);
}

/* ---- container IDs ---- */

int spec_check_id(const char *id, struct err *e)
{
	const char *ok = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.-";
	_cleanup_arena_ struct arena *a = arena_new();
	size_t n = strlen(id);

	if (n == 0)
		return err_set(e, EINVAL, "container ID must not be empty");
	if (n > ID_MAX_LEN)
		return err_set(e, EINVAL, "container ID is longer than %d characters", ID_MAX_LEN);
	if (strspn(id, ok) != n)
		return err_set(e, EINVAL,
		    "invalid container ID %s: only letters, digits and _ + . - are allowed",
		    json_quote(a, id));
	if (streq(id, ".") || streq(id, ".."))
		return err_set(e, EINVAL, "invalid container ID \"%s\"", id);
	return 0;
}
