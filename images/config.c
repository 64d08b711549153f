/*
 * An image's configuration becomes config.json (image-spec conversion.md), on the base of the
 * default one, so that there is one place that says what a container of ours is like.
 */
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "images/images.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#define ANNOTATION   "org.opencontainers.image."

struct conversion {
	struct arena *a;
	const struct image_config *c;
	const struct image_run *run;
	int rootfd;
	struct json_gen *g;
	struct err *e;
};

/* ---- process ---- */

static size_t name_len(const char *entry)
{
	return strcspn(entry, "=");
}

static bool env_has(char *const *env, const char *entry)
{
	size_t n = name_len(entry);

	for (size_t i = 0; env && env[i]; i++)
		if (name_len(env[i]) == n && !strncmp(env[i], entry, n))
			return true;
	return false;
}

/* The image's, but for what the caller sets anew; then that; then what neither has. HOME is not
 * among them: whoever starts the process looks it up for a user who has none. */
static void gen_env(struct conversion *k)
{
	char *const *image = k->c->env.v, *const *own = k->run->env;
	const char *const defaults[] = { DEFAULT_PATH, k->run->terminal ? "TERM=xterm" : NULL };

	json_gen_key(k->g, "env");
	json_gen_array(k->g);
	for (size_t i = 0; image[i]; i++)
		if (!env_has(own, image[i]))
			json_gen_str(k->g, image[i]);
	for (size_t i = 0; own && own[i]; i++)
		if (strchr(own[i], '=') && !env_has(own + i + 1, own[i]))
			json_gen_str(k->g, own[i]);
	for (size_t i = 0; i < ARRAY_SIZE(defaults); i++)
		if (defaults[i] && !env_has(image, defaults[i]) && !env_has(own, defaults[i]))
			json_gen_str(k->g, defaults[i]);
	json_gen_end(k->g);
}

static int gen_args(struct conversion *k)
{
	bool replaced = k->run->entrypoint != NULL;
	char *const *lists[] = {
		replaced ? k->run->entrypoint : k->c->entrypoint.v,
		k->run->command ? k->run->command
		: replaced	? NULL
				: k->c->cmd.v,
	};
	size_t n = 0;

	json_gen_key(k->g, "args");
	json_gen_array(k->g);
	for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
		for (size_t i = 0; lists[l] && lists[l][i]; i++, n++)
			json_gen_str(k->g, lists[l][i]);
	json_gen_end(k->g);
	if (n == 0)
		return err_set(k->e, EINVAL,
		    "the image says no command (neither Entrypoint nor Cmd): give one");
	return 0;
}

static int gen_cwd(struct conversion *k)
{
	const char *cwd = k->run->cwd ? k->run->cwd : k->c->working_dir;

	if (cwd && !path_is_absolute(cwd))
		return err_set(k->e, EINVAL, "working directory %s: must be an absolute path",
		    json_quote(k->a, cwd));
	json_gen_kstr(k->g, "cwd", cwd ? cwd : "/");
	return 0;
}

static int gen_user(struct conversion *k)
{
	struct spec_user u;
	int r =
	    image_user_resolve(k->rootfd, k->run->user ? k->run->user : k->c->user, k->a, &u, k->e);

	if (r < 0)
		return r;
	json_gen_key(k->g, "user");
	json_gen_map(k->g);
	json_gen_kuint(k->g, "uid", u.uid);
	json_gen_kuint(k->g, "gid", u.gid);
	if (u.additional_gids.n) {
		json_gen_key(k->g, "additionalGids");
		json_gen_array(k->g);
		for (size_t i = 0; i < u.additional_gids.n; i++)
			json_gen_uint(k->g, u.additional_gids.v[i]);
		json_gen_end(k->g);
	}
	json_gen_end(k->g);
	return 0;
}

static bool is_one_of(const char *key, const char *const *names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (streq(key, names[i]))
			return true;
	return false;
}

static int gen_process(struct conversion *k, const struct json *base)
{
	static const char *const own[] = { "terminal", "user", "args", "env", "cwd" };
	int r;

	json_gen_map(k->g);
	json_gen_kbool(k->g, "terminal", k->run->terminal);
	if ((r = gen_user(k)) < 0 || (r = gen_args(k)) < 0 || (r = gen_cwd(k)) < 0)
		return r;
	gen_env(k);
	json_foreach (it, base) {
		if (is_one_of(it->key, own, ARRAY_SIZE(own)))
			continue;
		json_gen_key(k->g, it->key);
		json_gen_node(k->g, it);
	}
	json_gen_end(k->g);
	return 0;
}

static int gen_root(struct conversion *k, const struct json *base)
{
	json_gen_map(k->g);
	json_gen_kstr(k->g, "path", "rootfs");
	json_gen_kbool(k->g, "readonly", false);
	json_gen_end(k->g);
	return 0;
}

static int gen_hostname(struct conversion *k, const struct json *base)
{
	json_gen_str(k->g, k->run->hostname ? k->run->hostname : base->s);
	return 0;
}

/* ---- volumes ---- */

static int check_volume(struct conversion *k, const char *path)
{
	static const char *const kernel[] = { "/proc", "/sys", "/dev" };
	_cleanup_free_ char *clean = path_normalize(path);
	bool bad = !path_is_absolute(path) || streq(clean, "/");

	for (size_t i = 0; i < ARRAY_SIZE(kernel); i++) {
		const char *rest = startswith(clean, kernel[i]);

		bad |= rest && (!*rest || *rest == '/');
	}
	if (!bad)
		return 0;
	return err_set(k->e, EINVAL,
	    "volume %s: must be an absolute path of a directory other than /, /proc, /sys and /dev "
	    "and what is in these",
	    json_quote(k->a, path));
}

/* What is written there stays out of the root filesystem and goes with the container; it begins
 * with what the image has at the place. */
static int gen_mounts(struct conversion *k, const struct json *base)
{
	static char *const options[] = { "nosuid", "nodev", "tmpcopyup", NULL };

	json_gen_array(k->g);
	json_foreach (it, base)
		json_gen_node(k->g, it);
	for (size_t i = 0; i < k->c->volumes.n; i++) {
		int r = check_volume(k, k->c->volumes.v[i]);

		if (r < 0)
			return r;
		json_gen_map(k->g);
		json_gen_kstr(k->g, "destination", k->c->volumes.v[i]);
		json_gen_kstr(k->g, "type", "tmpfs");
		json_gen_kstr(k->g, "source", "tmpfs");
		json_gen_kstrv(k->g, "options", options);
		json_gen_end(k->g);
	}
	json_gen_end(k->g);
	return 0;
}

/* ---- linux ---- */

static void gen_maps(struct json_gen *g, const char *key, const struct spec_id_maps *m)
{
	json_gen_key(g, key);
	json_gen_array(g);
	for (size_t i = 0; i < m->n; i++) {
		json_gen_map(g);
		json_gen_kuint(g, "containerID", m->v[i].container_id);
		json_gen_kuint(g, "hostID", m->v[i].host_id);
		json_gen_kuint(g, "size", m->v[i].size);
		json_gen_end(g);
	}
	json_gen_end(g);
}

static int gen_linux(struct conversion *k, const struct json *base)
{
	static const char *const own[] = { "uidMappings", "gidMappings" };

	json_gen_map(k->g);
	if (k->run->rootless) {
		gen_maps(k->g, "uidMappings", &k->run->uids);
		gen_maps(k->g, "gidMappings", &k->run->gids);
	}
	json_foreach (it, base) {
		if (is_one_of(it->key, own, ARRAY_SIZE(own)))
			continue;
		json_gen_key(k->g, it->key);
		json_gen_node(k->g, it);
	}
	json_gen_end(k->g);
	return 0;
}

/* ---- annotations ---- */

/*
 * Keys by which runtimes take orders: an image has none to give. `run` hands annotations to systemd
 * as unit properties, for one, and that as root.
 */
static bool is_order(const char *key)
{
	static const char *const prefixes[] = { "org.systemd.property.", "org.bailey.", "run.oci.",
		"org.criu.", "io.katacontainers.", "io.kubernetes.cri" };

	for (size_t i = 0; i < ARRAY_SIZE(prefixes); i++)
		if (startswith(key, prefixes[i]))
			return true;
	return false;
}

static char *join(struct arena *a, const struct spec_strv *v)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };

	for (size_t i = 0; i < v->n; i++)
		strbuf_addf(&b, "%s%s", i ? "," : "", v->v[i]);
	return arena_strdup(a, b.len ? b.s : "");
}

static void gen_implicit(struct conversion *k)
{
	const struct image_config *c = k->c;
	const struct {
		const char *key, *value;
	} implicit[] = {
		{ ANNOTATION "os", c->platform.os },
		{ ANNOTATION "architecture", c->platform.architecture },
		{ ANNOTATION "variant", c->platform.variant },
		{ ANNOTATION "os.version", c->os_version },
		{ ANNOTATION "os.features", c->os_features.n ? join(k->a, &c->os_features) : NULL },
		{ ANNOTATION "author", c->author },
		{ ANNOTATION "created", c->created },
		{ ANNOTATION "stopSignal", c->stop_signal },
		{ ANNOTATION "exposedPorts",
		    c->exposed_ports.n ? join(k->a, &c->exposed_ports) : NULL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(implicit); i++)
		if (implicit[i].value && !spec_map_get(&c->labels, implicit[i].key))
			json_gen_kstr(k->g, implicit[i].key, implicit[i].value);
}

static void gen_annotations(struct conversion *k)
{
	const struct spec_map *labels = &k->c->labels;

	json_gen_key(k->g, "annotations");
	json_gen_map(k->g);
	for (size_t i = 0; i < labels->n; i++) {
		if (is_order(labels->v[i].key))
			log_warning("image label %s: left out: it would be an order to the runtime",
			    json_quote(k->a, labels->v[i].key));
		else
			json_gen_kstr(k->g, labels->v[i].key, labels->v[i].value);
	}
	gen_implicit(k);
	json_gen_end(k->g);
}

/* ---- the whole ---- */

static const struct part {
	const char *key;
	int (*gen)(struct conversion *k, const struct json *base);
} parts[] = {
	{ "process", gen_process },
	{ "root", gen_root },
	{ "hostname", gen_hostname },
	{ "mounts", gen_mounts },
	{ "linux", gen_linux },
};

static int gen_part(struct conversion *k, const struct json *base)
{
	json_gen_key(k->g, base->key);
	for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
		if (streq(parts[i].key, base->key))
			return parts[i].gen(k, base);
	json_gen_node(k->g, base);
	return 0;
}

int image_config_json(const struct image_config *c, const struct image_run *run, int rootfd,
    char **ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(true);
	_cleanup_free_ char *base = spec_default_config(run->rootless);
	struct conversion k = { .a = a, .c = c, .run = run, .rootfd = rootfd, .g = g, .e = e };
	_cleanup_spec_ struct spec *checked = NULL;
	const struct json *root;
	size_t len;
	int r = json_parse(a, "the default configuration", base, strlen(base), &root, e);

	if (r < 0)
		return r;
	json_gen_map(g);
	json_foreach (it, root) {
		r = gen_part(&k, it);
		if (r < 0)
			return r;
	}
	gen_annotations(&k);
	json_gen_end(g);
	json_gen_text(g, &len);
	/* What an image may say is not all of it what config.json may. */
	r = spec_parse("the image's configuration as config.json", "/", json_gen_text(g, NULL), len,
	    &checked, e);
	if (r == 0)
		*ret = xasprintf("%s\n", json_gen_text(g, NULL));
	return r;
}
