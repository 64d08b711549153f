/* Platforms by Go's names. */
#include <string.h>
#include <sys/utsname.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "images/images.h"

/* uname(2)'s machine to GOARCH and variant. */
static const struct {
	const char *machine, *architecture, *variant;
} machines[] = {
	{ "x86_64", "amd64", NULL },
	{ "aarch64", "arm64", "v8" },
	{ "armv8l", "arm", "v8" },
	{ "armv7l", "arm", "v7" },
	{ "armv6l", "arm", "v6" },
	{ "i686", "386", NULL },
	{ "i586", "386", NULL },
	{ "i386", "386", NULL },
	{ "ppc64le", "ppc64le", NULL },
	{ "ppc64", "ppc64", NULL },
	{ "s390x", "s390x", NULL },
	{ "riscv64", "riscv64", NULL },
	{ "loongarch64", "loong64", NULL },
	{ "mips64", "mips64le", NULL },
};

void image_platform_host(struct image_platform *ret)
{
	struct utsname u;

	*ret = (struct image_platform){ .os = "linux" };
	if (uname(&u) < 0)
		return;
	for (size_t i = 0; i < ARRAY_SIZE(machines); i++) {
		if (!streq(u.machine, machines[i].machine))
			continue;
		ret->architecture = machines[i].architecture;
		ret->variant = machines[i].variant;
	}
}

static bool is_word(const char *s)
{
	return *s && strlen(s) < 64 &&
	       s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")] ==
		   '\0';
}

int image_platform_parse(struct arena *a, const char *s, struct image_platform *ret, struct err *e)
{
	struct image_platform p = { 0 };
	const char **fields[] = { &p.os, &p.architecture, &p.variant };
	size_t n = 0;
	bool ok = true;

	for (const char *at = s; ok; n++) {
		size_t len = strcspn(at, "/");

		ok = n < ARRAY_SIZE(fields);
		if (ok) {
			*fields[n] = arena_strndup(a, at, len);
			ok = is_word(*fields[n]);
		}
		if (!at[len])
			break;
		at += len + 1;
	}
	if (!ok || n < 1)
		return err_set(e, EINVAL,
		    "platform %s: must be OS/ARCHITECTURE[/VARIANT], as in linux/arm64/v8",
		    json_quote(a, s));
	*ret = p;
	return 0;
}

static const char *variant_of(const struct image_platform *p)
{
	if (p->variant)
		return p->variant;
	return p->architecture && streq(p->architecture, "arm64") ? "v8" : NULL;
}

static bool same(const char *want, const char *have)
{
	return !want || !have || streq(want, have);
}

bool image_platform_fits(const struct image_platform *want, const struct image_platform *have)
{
	return same(want->os, have->os) && same(want->architecture, have->architecture) &&
	       same(variant_of(want), variant_of(have));
}

const char *image_platform_text(struct arena *a, const struct image_platform *p)
{
	return arena_printf(a, "%s/%s%s%s", p->os ? p->os : "any",
	    p->architecture ? p->architecture : "any", p->variant ? "/" : "",
	    p->variant ? p->variant : "");
}
