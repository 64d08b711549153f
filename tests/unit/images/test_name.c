/* Names of images and platforms. */
#include "base/str.h"
#include "images/images.h"
#include "tests/unit/test.h"

#define HEX	 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define LETTERS8 "abcdefgh"
#define LONG128                                                                                   \
	LETTERS8 LETTERS8 LETTERS8 LETTERS8 LETTERS8 LETTERS8 LETTERS8 LETTERS8 LETTERS8 LETTERS8 \
	    LETTERS8 LETTERS8 LETTERS8 LETTERS8 LETTERS8 LETTERS8

TEST(names_are_filled_up)
{
	static const struct {
		const char *in, *out;
	} v[] = {
		{ "alpine", "docker.io/library/alpine:latest" },
		{ "alpine:3.19", "docker.io/library/alpine:3.19" },
		{ "user/app", "docker.io/user/app:latest" },
		{ "docker.io/alpine", "docker.io/library/alpine:latest" },
		{ "index.docker.io/alpine", "docker.io/library/alpine:latest" },
		{ "localhost/x", "localhost/x:latest" },
		{ "localhost:5000/x/y:t", "localhost:5000/x/y:t" },
		{ "a.b/c", "a.b/c:latest" },
		{ "HOST/c", "HOST/c:latest" },
		{ "[::1]:5000/c", "[::1]:5000/c:latest" },
		{ "x/a__b.c-d--e/f", "docker.io/x/a__b.c-d--e/f:latest" },
		{ "x@sha256:" HEX, "docker.io/library/x@sha256:" HEX },
		{ "x:t@sha256:" HEX, "docker.io/library/x:t@sha256:" HEX },
		{ "x:" LONG128, "docker.io/library/x:" LONG128 },
	};

	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct image_name n;
		struct err e = ERR_INIT;

		CHECK_INT(image_name_parse(a, v[i].in, &n, &e), 0);
		CHECK_STR(image_name_text(a, &n), v[i].out);
	}
}

TEST(bad_names_are_refused)
{
	static const char *const v[] = { "", ":", "x:", "x:-t", "x:.t", "x:t/", "x/", "/x", "x//y",
		"X", "x/Y", "a..b", "a._b", "a___b", ".a", "a.", "-a", "a-", "..", "../x",
		"host:99999999/x", "host:/x", "host:port/x", "-host.a/x", "host-.a/x", "a..b/c",
		"host./x", "[::1/x", "[]/x", "x@", "x@sha256:abc", "x@sha256:../../" HEX,
		"x@md5:" HEX, "a b", "a\nb", "a%2fb", "a?b", "x:" LONG128 "y",
		"a/" LONG128 "/" LONG128 };

	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++) {
		_cleanup_arena_ struct arena *a = arena_new();
		struct image_name n;
		struct err e = ERR_INIT;

		if (image_name_parse(a, v[i], &n, &e) == 0) {
			printf("# taken: %s\n", v[i]);
			test_failed = 1;
		}
		CHECK_HAS(e.msg, "image name");
	}
}

TEST(platforms_fit)
{
	static const struct {
		struct image_platform want, have;
		bool fits;
	} v[] = {
		{ { "linux", "amd64", NULL }, { "linux", "amd64", NULL }, true },
		{ { "linux", "amd64", NULL }, { "linux", "amd64", "v3" }, true },
		{ { "linux", "arm", "v7" }, { "linux", "arm", "v6" }, false },
		{ { "linux", "arm", NULL }, { "linux", "arm", "v6" }, true },
		{ { "linux", "arm64", NULL }, { "linux", "arm64", "v9" }, false },
		{ { "linux", "arm64", "v8" }, { "linux", "arm64", NULL }, true },
		{ { "linux", "amd64", NULL }, { "windows", "amd64", NULL }, false },
		{ { "linux", "amd64", NULL }, { "linux", "arm64", NULL }, false },
		{ { "linux", NULL, NULL }, { "linux", "arm64", "v8" }, true },
	};

	for (size_t i = 0; i < sizeof(v) / sizeof(*v); i++)
		CHECK_INT(image_platform_fits(&v[i].want, &v[i].have), v[i].fits);
}

TEST_MAIN(T(names_are_filled_up), T(bad_names_are_refused), T(platforms_fit))
