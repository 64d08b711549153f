/* What registries say in headers: URLs, Location, Content-Range, Retry-After, WWW-Authenticate. */
#include "base/alloc.h"
#include "images/http_header.h"
#include "tests/fuzz/fuzz.h"

/* Nothing that a request line, another parser or a terminal could take for something else. */
static void must_be_clean(struct arena *a, const struct url *u)
{
	const char *text = url_text(a, u), *p;
	struct err e = ERR_INIT;
	struct url again;

	for (p = text; *p; p++)
		MUST(*p > ' ' && *p < 0x7f && !strchr("\\#\"<>", *p));
	p = strstr(text, "://") + 3;
	MUST(!memchr(p, '@', strcspn(p, "/")) && *u->path == '/' && *u->host && u->port);
	if (strlen(text) > URL_MAX)
		return;
	MUST(url_parse(a, text, &again, &e) == 0);
	MUST(url_same_origin(u, &again) && !strcmp(u->path, again.path));
	MUST(!strcmp(text, url_text(a, &again)));
}

static void a_url(struct arena *a, const char *s)
{
	struct err e = ERR_INIT, f = ERR_INIT, g = ERR_INIT;
	struct url u, base;
	int r = url_parse(a, s, &u, &e);

	must_be_consistent(r, &e);
	if (r == 0)
		must_be_clean(a, &u);
	MUST(url_parse(a, "https://h:1/v2/x?y", &base, &f) == 0);
	r = url_resolve(a, &base, s, &u, &g);
	must_be_consistent(r, &g);
	if (r == 0)
		must_be_clean(a, &u);
}

static void a_challenge(struct arena *a, const char *s)
{
	struct challenges c = { 0 };
	struct err e = ERR_INIT;
	int r = challenges_parse(a, s, &c, &e);

	must_be_consistent(r, &e);
	MUST(r == 0 || c.n == 0);
	MUST(c.n <= CHALLENGES_MAX);
	for (size_t i = 0; i < c.n; i++) {
		MUST(*c.v[i].scheme && c.v[i].n <= CHALLENGE_PARAMS_MAX);
		for (size_t k = 0; k < c.v[i].n; k++)
			MUST(challenge_get(&c.v[i], c.v[i].params[k].name) ==
			     c.v[i].params[k].value);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *s = fuzz_string(data, size);
	struct arena *a = arena_new();
	uint64_t first, last, total, after;

	a_url(a, s);
	a_challenge(a, s);
	if (content_range_parse(s, &first, &last, &total) == 0)
		MUST(first <= last && last < total);
	(void)retry_after_parse(s, 1000000000, &after);
	(void)host_is_loopback(s);
	arena_free(a);
	free(s);
	return 0;
}
