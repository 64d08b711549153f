#include "images/http_header.h"

#include <string.h>

#include "images/registry.h"
#include "tests/unit/test.h"

static const char *parsed(struct arena *a, const char *s)
{
	struct err e = ERR_INIT;
	struct url u;

	return url_parse(a, s, &u, &e) < 0 ? "refused" : url_text(a, &u);
}

TEST(urls)
{
	static const struct {
		const char *in, *out;
	} t[] = {
		{ "https://Example.COM", "https://example.com/" },
		{ "HTTPS://h:443/x?y#z", "https://h/x?y" },
		{ "http://h:80", "http://h/" },
		{ "http://h:443/", "http://h:443/" },
		{ "https://[::1]:5000/v2/", "https://[::1]:5000/v2/" },
		{ "https://h:/x", "https://h/x" },
		{ "https://h?q", "https://h/?q" },
		{ "https://h/a%2Fb//c/../d", "https://h/a%2Fb//c/../d" },
		{ "https://user@h/", "refused" },
		{ "https://good.example\\@evil.example/", "refused" },
		{ "https://good.example#@evil.example/", "https://good.example/" },
		{ "https://h\r\nX: y/", "refused" },
		{ "https://h/ x", "refused" },
		{ "https://h:0/", "refused" },
		{ "https://h:65536/", "refused" },
		{ "https://h:80:80/", "refused" },
		{ "https://h:+80/", "refused" },
		{ "https://", "refused" },
		{ "https:///x", "refused" },
		{ "https:/h", "refused" },
		{ "https://.h/", "refused" },
		{ "https://[::1/", "refused" },
		{ "https://[::1]x/", "refused" },
		{ "https://[x]/", "refused" },
		{ "https://[::1%25lo]/", "refused" },
		{ "https://h%2e/", "refused" },
		{ "ftp://h/", "refused" },
		{ "file:///etc/passwd", "refused" },
		{ "h/x", "refused" },
		{ "", "refused" },
	};
	struct arena *a = arena_new();

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++)
		CHECK_STR(parsed(a, t[i].in), t[i].out);
	arena_free(a);
}

TEST(locations)
{
	static const struct {
		const char *in, *out;
	} t[] = {
		{ "/x", "https://h:5000/x" },
		{ "//other/x", "https://other/x" },
		{ "x?y", "https://h:5000/v2/a/x?y" },
		{ "?y", "https://h:5000/v2/a/b?y" },
		{ "https://other/x", "https://other/x" },
		{ "http://other", "http://other/" },
		{ "javascript:x", "refused" },
		{ "//user@other/x", "refused" },
		{ "/x\ty", "refused" },
		{ "", "refused" },
		{ "#x", "refused" },
	};
	struct arena *a = arena_new();
	struct url base, u;
	struct err e = ERR_INIT;

	CHECK_INT(url_parse(a, "https://h:5000/v2/a/b?q=/z", &base, &e), 0);
	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		int r = url_resolve(a, &base, t[i].in, &u, &e);

		CHECK_STR(r < 0 ? "refused" : url_text(a, &u), t[i].out);
	}
	arena_free(a);
}

TEST(origins)
{
	struct arena *a = arena_new();
	struct err e = ERR_INIT;
	static const struct {
		const char *x, *y;
		bool same;
	} t[] = {
		{ "https://h/a", "https://H:443/b", true },
		{ "https://h/", "http://h:443/", false },
		{ "https://h/", "https://h:444/", false },
		{ "https://h/", "https://h.x/", false },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct url x, y;

		CHECK_INT(url_parse(a, t[i].x, &x, &e), 0);
		CHECK_INT(url_parse(a, t[i].y, &y, &e), 0);
		CHECK_INT(url_same_origin(&x, &y), t[i].same);
	}
	arena_free(a);
}

TEST(loopback)
{
	static const char *const yes[] = { "localhost", "127.0.0.1", "127.255.1.2", "[::1]" };
	static const char *const no[] = { "example.com", "localhost.example.com", "127.0.0.1.x",
		"128.0.0.1", "10.127.0.1", "0.0.0.0", "[::2]", "::1", "127.1", "2130706433", "" };

	for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++)
		CHECK(host_is_loopback(yes[i]));
	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		CHECK(!host_is_loopback(no[i]));
}

/* Who may be given a registry's credentials. */
TEST(realms)
{
	static const struct {
		const char *registry, *realm;
		bool own;
	} t[] = {
		{ "https://r.example/", "https://r.example/token", true },
		{ "https://r.example/", "https://r.example:8443/token", true },
		{ "https://r.example/", "http://r.example/token", false },
		{ "https://r.example/", "https://auth.r.example/token", false },
		{ "https://r.example/", "https://example/token", false },
		{ "https://registry-1.docker.io/", "https://auth.docker.io/token", true },
		{ "https://registry-1.docker.io/", "http://auth.docker.io/token", false },
		{ "https://registry-1.docker.io/", "https://auth.docker.io:444/token", false },
		{ "https://registry-1.docker.io/", "https://auth.docker.io.evil.example/", false },
		{ "https://r.example/", "https://auth.docker.io/token", false },
		{ "http://127.0.0.1:5000/", "http://127.0.0.1:5001/token", true },
		{ "http://127.0.0.1:5000/", "http://127.0.0.2:5001/token", false },
	};
	struct arena *a = arena_new();
	struct err e = ERR_INIT;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct url base, realm;

		CHECK_INT(url_parse(a, t[i].registry, &base, &e), 0);
		CHECK_INT(url_parse(a, t[i].realm, &realm, &e), 0);
		CHECK_INT(registry_realm_is_own(&base, &realm), t[i].own);
	}
	arena_free(a);
}

TEST(content_ranges)
{
	static const char *const bad[] = { "", "bytes", "bytes 1-2", "bytes 2-1/9", "bytes 1-9/9",
		"bytes */9", "bytes 1-2/", "bytes 1-2/9x", "bytes -1-2/9", "bits 1-2/9",
		"bytes 1-2/18446744073709551616", "bytes 99999999999999999999999-1/9",
		"bytes=1-2/9", "bytes 1 -2/9" };
	uint64_t first = 7, last = 7, size = 7;

	CHECK_INT(content_range_parse("bytes 5-9/10", &first, &last, &size), 0);
	CHECK(first == 5 && last == 9 && size == 10);
	CHECK_INT(content_range_parse("Bytes  0-0/*", &first, &last, &size), 0);
	CHECK(first == 0 && last == 0 && size == UINT64_MAX);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		CHECK(content_range_parse(bad[i], &first, &last, &size) < 0);
	CHECK(first == 0 && last == 0 && size == UINT64_MAX);
}

TEST(retry_after)
{
	const time_t now = 1000000000; /* Sun, 09 Sep 2001 01:46:40 GMT */
	uint64_t s = 7;

	CHECK_INT(retry_after_parse("120", now, &s), 0);
	CHECK_INT(s, 120);
	CHECK_INT(retry_after_parse("Sun, 09 Sep 2001 01:47:00 GMT", now, &s), 0);
	CHECK_INT(s, 20);
	CHECK_INT(retry_after_parse("Sun, 09 Sep 2001 01:46:00 GMT", now, &s), 0);
	CHECK_INT(s, 0);
	CHECK(retry_after_parse("-1", now, &s) < 0);
	CHECK(retry_after_parse("soon", now, &s) < 0);
	CHECK(retry_after_parse("Sun, 09 Sep 2001 01:46:00 GMT+1", now, &s) < 0);
	CHECK(retry_after_parse("", now, &s) < 0);
}

TEST(challenges)
{
	struct challenges c = { 0 };
	struct arena *a = arena_new();
	struct err e = ERR_INIT;
	const struct challenge *b;

	CHECK_INT(challenges_parse(a,
		      "Negotiate abc==, Basic realm=\"a, b\", BEARER  Realm=\"https://h/t?a=b\" , "
		      "service = x , scope=\"a\\\"b\",, Digest",
		      &c, &e),
	    0);
	CHECK_INT(c.n, 4);
	CHECK_STR(c.v[0].scheme, "negotiate");
	CHECK_STR(challenge_get(challenges_find(&c, "basic"), "realm"), "a, b");
	b = challenges_find(&c, "bearer");
	CHECK_STR(challenge_get(b, "realm"), "https://h/t?a=b");
	CHECK_STR(challenge_get(b, "service"), "x");
	CHECK_STR(challenge_get(b, "scope"), "a\"b");
	CHECK(!challenge_get(b, "x"));
	CHECK(challenges_find(&c, "digest") && !challenges_find(&c, "ntlm"));
	/* A second header adds to the first. */
	CHECK_INT(challenges_parse(a, "NTLM", &c, &e), 0);
	CHECK_INT(c.n, 5);
	arena_free(a);
}

TEST(challenges_in_doubt)
{
	static const char *const bad[] = { "Bearer realm=\"x", "Bearer realm=\"x\\",
		"Bearer realm=x realm=y", "Bearer realm=\"x\",realm=\"y\"", "Bearer realm=\"x\"y",
		"Bearer realm=\"x\" Basic realm=y", "=x", "\"x\"", "Bearer @", "a/b c",
		"Bearer a=1,b=1,c=1,d=1,e=1,f=1,g=1,h=1,i=1,j=1,k=1,l=1,m=1,n=1,o=1,p=1,q=1",
		"a,b,c,d,e,f,g,h,i,j,k,l,m,n,o,p,q" };
	struct arena *a = arena_new();

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct challenges c = { 0 };
		struct err e = ERR_INIT;

		CHECK_INT(challenges_parse(a, bad[i], &c, &e), -EINVAL);
		if (e.code != EINVAL)
			printf("# taken: %s\n", bad[i]);
		CHECK_INT(c.n, 0);
	}
	arena_free(a);
}

TEST_MAIN(T(urls), T(locations), T(origins), T(loopback), T(realms), T(content_ranges),
    T(retry_after), T(challenges), T(challenges_in_doubt))
