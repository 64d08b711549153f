/*
 * Names of images, after the grammar of distribution's reference package:
 *
 *   name    = [domain "/"] component *("/" component)
 *   domain  = host [":" port], told from a component by a dot, a colon or "localhost"
 *   whole   = name [":" tag] ["@" digest]
 */
#include <ctype.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "images/manifest.h"

#define NAME_MAX_LEN 255
#define TAG_MAX_LEN  128
#define WHOLE_MAX    (NAME_MAX_LEN + 1 + TAG_MAX_LEN + 1 + 136)

#define LOWER "abcdefghijklmnopqrstuvwxyz"
#define UPPER "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#define DIGIT "0123456789"

static int bad(struct arena *a, const char *s, const char *why, struct err *e)
{
	return err_set(e, EINVAL, "image name %s: %s", json_quote(a, s), why);
}

static bool is_tag(const char *s)
{
	size_t n = strlen(s);

	return n > 0 && n <= TAG_MAX_LEN && *s != '.' && *s != '-' &&
	       strspn(s, LOWER UPPER DIGIT "_.-") == n;
}

/* Runs of lower-case letters and digits, with one separator between each two: ".", "_", "__" or any
 * number of "-". */
static bool is_component(const char *s, size_t n)
{
	size_t i = 0;

	while (i < n) {
		size_t run = 0, sep = 0;

		while (i + run < n && strchr(LOWER DIGIT, s[i + run]))
			run++;
		if (run == 0)
			return false;
		i += run;
		if (i == n)
			return true;
		while (i + sep < n && strchr("._-", s[i + sep]))
			sep++;
		if (sep == 0 || (sep > 1 && strspn(s + i, "-") < sep &&
				    !(sep == 2 && s[i] == '_' && s[i + 1] == '_')))
			return false;
		i += sep;
	}
	return false;
}

static bool is_path(const char *s)
{
	for (;;) {
		size_t n = strcspn(s, "/");

		if (!is_component(s, n))
			return false;
		if (!s[n])
			return true;
		s += n + 1;
	}
}

/* Labels of letters, digits and inner dashes; or an address in brackets; then perhaps a port. */
static bool is_domain(const char *s)
{
	size_t n = strcspn(s, ":");

	if (*s == '[') {
		n = strspn(s + 1, DIGIT "abcdefABCDEF:") + 1;
		if (n < 3 || s[n++] != ']')
			return false;
	} else {
		for (size_t i = 0; i < n;) {
			size_t len = strcspn(s + i, ".:");

			if (len == 0 || s[i] == '-' || s[i + len - 1] == '-' ||
			    strspn(s + i, LOWER UPPER DIGIT "-") < len)
				return false;
			i += len;
			if (i < n && ++i == n)
				return false;
		}
	}
	if (n == 0 || !s[n])
		return n > 0;
	return s[n] == ':' && s[n + 1] && strlen(s + n + 1) <= 5 &&
	       s[n + 1 + strspn(s + n + 1, DIGIT)] == '\0';
}

/* Does what stands before the first slash name a host? */
static bool looks_like_domain(const char *s, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (strchr(".:" UPPER, s[i]))
			return true;
	return n == strlen("localhost") && !strncmp(s, "localhost", n);
}

static void split_domain(struct arena *a, const char *rest, struct image_name *n)
{
	size_t first = strcspn(rest, "/");

	if (rest[first] && looks_like_domain(rest, first)) {
		n->domain = arena_strndup(a, rest, first);
		n->path = arena_strdup(a, rest + first + 1);
		if (streq(n->domain, "index.docker.io"))
			n->domain = "docker.io";
	} else {
		n->domain = "docker.io";
		n->path = arena_strdup(a, rest);
	}
	if (streq(n->domain, "docker.io") && !strchr(n->path, '/'))
		n->path = arena_printf(a, "library/%s", n->path);
}

int image_name_parse(struct arena *a, const char *s, struct image_name *ret, struct err *e)
{
	struct image_name n = { 0 };
	char *rest, *at, *slash, *colon;

	if (!*s)
		return err_set(e, EINVAL, "image name: must not be empty");
	if (strlen(s) > WHOLE_MAX)
		return bad(a, s, "too long", e);
	rest = arena_strdup(a, s);
	at = strchr(rest, '@');
	if (at) {
		*at = '\0';
		n.digest = at + 1;
		if (!image_digest_ok(n.digest))
			return bad(a, s, "what follows \"@\" is not a digest", e);
	}
	slash = strrchr(rest, '/');
	colon = strchr(slash ? slash : rest, ':');
	if (colon) {
		*colon = '\0';
		n.tag = colon + 1;
		if (!is_tag(n.tag))
			return bad(a, s, "what follows \":\" is not a tag", e);
	} else if (!n.digest) {
		n.tag = "latest";
	}
	split_domain(a, rest, &n);
	if (!is_domain(n.domain))
		return bad(a, s, "no valid host before the first \"/\"", e);
	if (!is_path(n.path))
		return bad(a, s,
		    "a repository's name has lower-case letters and digits, with \".\", \"_\", "
		    "\"__\" or dashes between them",
		    e);
	if (strlen(n.domain) + 1 + strlen(n.path) > NAME_MAX_LEN)
		return bad(a, s, "the repository's name is longer than 255 characters", e);
	*ret = n;
	return 0;
}

const char *image_name_text(struct arena *a, const struct image_name *n)
{
	return arena_printf(a, "%s/%s%s%s%s%s", n->domain, n->path, n->tag ? ":" : "",
	    n->tag ? n->tag : "", n->digest ? "@" : "", n->digest ? n->digest : "");
}
