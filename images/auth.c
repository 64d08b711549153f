#include "images/auth.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"

/* ---- base64 (RFC 4648, 4) ---- */

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static char *encode(struct arena *a, const char *s, size_t n)
{
	char *out = arena_alloc(a, (n + 2) / 3 * 4 + 1), *p = out;

	for (size_t i = 0; i < n; i += 3) {
		uint32_t v = (uint32_t)(unsigned char)s[i] << 16;

		if (i + 1 < n)
			v |= (uint32_t)(unsigned char)s[i + 1] << 8;
		if (i + 2 < n)
			v |= (unsigned char)s[i + 2];
		*p++ = alphabet[v >> 18];
		*p++ = alphabet[v >> 12 & 63];
		*p++ = i + 1 < n ? alphabet[v >> 6 & 63] : '=';
		*p++ = i + 2 < n ? alphabet[v & 63] : '=';
	}
	return out;
}

/* NULL: not base64, or with a NUL inside. */
static char *decode(struct arena *a, const char *s)
{
	size_t n = strlen(s), len = 0,
	       pad = n && s[n - 1] == '=' ? 1 + (n > 1 && s[n - 2] == '=') : 0;
	char *out = arena_alloc(a, n / 4 * 3 + 1);

	if (n % 4)
		return NULL;
	for (size_t i = 0; i < n; i += 4) {
		uint32_t v = 0;

		for (size_t k = 0; k < 4; k++) {
			const char *at = i + k < n - pad ? strchr(alphabet, s[i + k]) : alphabet;

			if (!at)
				return NULL;
			v = v << 6 | (uint32_t)(at - alphabet);
		}
		for (int shift = 16; shift >= 0; shift -= 8)
			out[len++] = (char)(v >> shift & 255);
	}
	len -= pad;
	out[len] = '\0';
	return strlen(out) == len ? out : NULL;
}

/* ---- credentials ---- */

/* false: no colon, no user, or what no header may have. */
static bool split(struct arena *a, const char *s, struct credentials *ret)
{
	const char *colon = strchr(s, ':');

	if (!colon || colon == s)
		return false;
	for (const char *p = s; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return false;
	*ret = (struct credentials){
		.user = arena_strndup(a, s, (size_t)(colon - s)),
		.password = arena_strdup(a, colon + 1),
	};
	return true;
}

int credentials_parse(struct arena *a, const char *s, struct credentials *ret, struct err *e)
{
	if (!split(a, s, ret))
		return err_set(e, EINVAL, "--creds: must be USER:PASSWORD");
	ret->from = "--creds";
	return 0;
}

const char *credentials_basic(struct arena *a, const struct credentials *c)
{
	const char *both = arena_printf(a, "%s:%s", c->user, c->password);

	return arena_printf(a, "Basic %s", encode(a, both, strlen(both)));
}

/* ---- the file ---- */

static const char *string_of(const struct json *object, const char *key)
{
	const struct json *v = json_get(object, key);

	return v && v->type == JSON_STRING && *v->s ? v->s : NULL;
}

/* Of "https://HOST/v1/" and its like only the host counts, as docker and podman have it. */
static const char *clean_key(struct arena *a, const char *key)
{
	const char *rest = startswith(key, "https://");
	const char *host;

	rest = rest ? rest : startswith(key, "http://");
	host = rest ? arena_strndup(a, rest, strcspn(rest, "/")) : key;
	return streq(host, "index.docker.io") || streq(host, "registry-1.docker.io") ? "docker.io"
										     : host;
}

/* How much of "HOST/PATH" the key covers; 0: nothing. */
static size_t covers(const char *key, const char *whole)
{
	size_t n = strlen(key);

	return n && strncmp(key, whole, n) == 0 && (!whole[n] || whole[n] == '/') ? n : 0;
}

static int take_entry(struct arena *a, const char *name, const struct json *node,
    struct credentials *ret, struct err *e)
{
	const char *auth, *token;
	struct credentials c = { 0 };

	if (node->type != JSON_OBJECT)
		return err_set(e, EINVAL, "%s: %s: must be an object", name, json_path(a, node));
	auth = string_of(node, "auth");
	token = string_of(node, "identitytoken");
	if (!auth && string_of(node, "username") && string_of(node, "password")) {
		auth = arena_printf(
		    a, "%s:%s", string_of(node, "username"), string_of(node, "password"));
		auth = encode(a, auth, strlen(auth));
	}
	if (!auth && !token) /* docker leaves {} where a helper has the rest */
		return 0;
	if (auth) {
		const char *text = decode(a, auth);

		/* The text is a secret: it is not repeated. */
		if (!text || !split(a, text, &c))
			return err_set(e, EINVAL,
			    "%s: %s.auth: must be the base64 of USER:PASSWORD", name,
			    json_path(a, node));
	}
	c.identity_token = token;
	c.from = name;
	*ret = c;
	return 1;
}

/* A helper would have to be run: other people's programs with our rights. The pull goes on as
 * nobody; the user is told. */
static void warn_of_helpers(
    struct arena *a, const char *name, const struct json *doc, const char *host)
{
	const struct json *helpers = json_get(doc, "credHelpers");

	if ((helpers && helpers->type == JSON_OBJECT && json_get(helpers, host)) ||
	    string_of(doc, "credsStore"))
		log_warning("%s: names a credential helper, which is not run: what it has for %s "
			    "is not used",
		    name, json_quote(a, host));
}

int auth_file_find(struct arena *a, const char *name, const struct json *doc, const char *host,
    const char *path, struct credentials *ret, struct err *e)
{
	const char *whole = arena_printf(a, "%s/%s", host, path);
	const struct json *auths, *best = NULL;
	size_t most = 0;
	int r = 0;

	if (doc->type != JSON_OBJECT)
		return err_set(e, EINVAL, "%s: must be an object", name);
	auths = json_get(doc, "auths");
	if (auths && auths->type != JSON_NULL && auths->type != JSON_OBJECT)
		return err_set(e, EINVAL, "%s: .auths: must be an object", name);
	if (auths && auths->type == JSON_OBJECT)
		json_foreach (it, auths) {
			size_t n = covers(clean_key(a, it->key), whole);

			if (n > most) {
				most = n;
				best = it;
			}
		}
	if (best)
		r = take_entry(a, name, best, ret, e);
	if (r == 0)
		warn_of_helpers(a, name, doc, host);
	return r;
}

/* 0 also where there is no such file, unless it must be. */
static int find_in(struct arena *a, const char *name, bool must, const char *host, const char *path,
    struct credentials *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	const struct json *doc;
	size_t n;
	int r = file_read(AT_FDCWD, name, AUTH_FILE_MAX, &text, &n, e);

	if (r < 0 && !must && (r == -ENOENT || r == -ENOTDIR || r == -EACCES)) {
		log_debug("%s", e->msg);
		err_clear(e);
		return 0;
	}
	if (r < 0 || (n && (r = json_parse(a, name, text, n, &doc, e)) < 0))
		return err_wrap(e, "credentials");
	if (n == 0) /* podman takes that for no entries, too */
		return 0;
	r = auth_file_find(a, name, doc, host, path, ret, e);
	return r < 0 ? err_wrap(e, "credentials") : r;
}

/* "$VARIABLE/FILE", or "$HOME/FALLBACK/FILE"; NULL: neither is there. */
static const char *place(
    struct arena *a, const char *variable, const char *fallback, const char *file)
{
	const char *dir = getenv(variable), *home = getenv("HOME");

	if (dir && path_is_absolute(dir))
		return arena_printf(a, "%s/%s", dir, file);
	if (fallback && home && path_is_absolute(home))
		return arena_printf(a, "%s/%s/%s", home, fallback, file);
	return NULL;
}

int auth_find(struct arena *a, const char *authfile, const char *host, const char *path,
    struct credentials *ret, struct err *e)
{
	const char *set = getenv("REGISTRY_AUTH_FILE");
	const char *run = place(a, "XDG_RUNTIME_DIR", NULL, "containers/auth.json");
	const char *places[] = {
		run ? run : arena_printf(a, "/run/containers/%u/auth.json", geteuid()),
		place(a, "XDG_CONFIG_HOME", ".config", "containers/auth.json"),
		place(a, "DOCKER_CONFIG", ".docker", "config.json"),
	};
	int r = 0;

	if (authfile || (set && *set))
		return find_in(a, authfile ? authfile : set, true, host, path, ret, e);
	for (size_t i = 0; i < ARRAY_SIZE(places) && r == 0; i++)
		if (places[i])
			r = find_in(a, places[i], false, host, path, ret, e);
	return r;
}
