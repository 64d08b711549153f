#include "images/auth.h"

#include <string.h>

#include "tests/unit/test.h"

static int find(struct arena *a, const char *text, const char *host, const char *path,
    struct credentials *ret, struct err *e)
{
	const struct json *doc;
	int r = json_parse(a, "auth.json", text, strlen(text), &doc, e);

	*e = (struct err)ERR_INIT;
	return r < 0 ? r : auth_file_find(a, "auth.json", doc, host, path, ret, e);
}

/* dTpw: "u:p"; dTI6cDI=: "u2:p2" */
TEST(longest_entry)
{
	static const char text[] =
	    "{\"auths\": {\"h\": {\"auth\": \"dTpw\"}, \"h/ns\": {\"auth\": \"dTI6cDI=\"},"
	    " \"https://old/v1/\": {\"auth\": \"dTpw\"},"
	    " \"https://index.docker.io/v1/\": {\"auth\": \"dTI6cDI=\"}, \"empty\": {}}}";
	static const struct {
		const char *host, *path, *user;
	} t[] = {
		{ "h", "x", "u" },
		{ "h", "ns/x", "u2" },
		{ "h", "ns", "u2" },
		{ "h", "nsx", "u" },
		{ "old", "x", "u" },
		{ "docker.io", "library/x", "u2" },
		{ "h2", "x", NULL },
		{ "h:5000", "x", NULL },
		{ "", "h", NULL },
		{ "empty", "x", NULL },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct arena *a = arena_new();
		struct credentials c = { 0 };
		struct err e = ERR_INIT;

		CHECK_INT(find(a, text, t[i].host, t[i].path, &c, &e), t[i].user != NULL);
		if (t[i].user)
			CHECK_STR(c.user, t[i].user);
		arena_free(a);
	}
}

TEST(entries)
{
	static const struct {
		const char *entry;
		int r;
		const char *user, *password, *token;
	} t[] = {
		{ "{\"auth\": \"YTpiOmM=\"}", 1, "a", "b:c", NULL },
		{ "{\"auth\": \"YTo=\"}", 1, "a", "", NULL },
		{ "{\"username\": \"a\", \"password\": \"b\"}", 1, "a", "b", NULL },
		{ "{\"identitytoken\": \"t\"}", 1, NULL, NULL, "t" },
		{ "{\"auth\": \"\"}", 0, NULL, NULL, NULL },
		{ "{\"auth\": \"YTpi\\n\"}", -EINVAL, NULL, NULL, NULL },
		{ "{\"auth\": \"YTp\"}", -EINVAL, NULL, NULL, NULL },
		{ "{\"auth\": \"Y=pi\"}", -EINVAL, NULL, NULL, NULL },
		{ "{\"auth\": \"====\"}", -EINVAL, NULL, NULL, NULL },
		{ "{\"auth\": \"YQBiOmM=\"}", -EINVAL, NULL, NULL, NULL },     /* NUL */
		{ "{\"auth\": \"YTpiDQpYOiB5\"}", -EINVAL, NULL, NULL, NULL }, /* CR LF */
		{ "{\"auth\": \"OmI=\"}", -EINVAL, NULL, NULL, NULL },	       /* no user */
		{ "[]", -EINVAL, NULL, NULL, NULL },
	};

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		struct arena *a = arena_new();
		struct credentials c = { 0 };
		struct err e = ERR_INIT;
		const char *text = arena_printf(a, "{\"auths\": {\"h\": %s}}", t[i].entry);

		CHECK_INT(find(a, text, "h", "x", &c, &e), t[i].r);
		if (t[i].user) {
			CHECK_STR(c.user, t[i].user);
			CHECK_STR(c.password, t[i].password);
		}
		if (t[i].token)
			CHECK_STR(c.identity_token, t[i].token);
		arena_free(a);
	}
}

TEST(header)
{
	struct arena *a = arena_new();
	struct credentials c;
	struct err e = ERR_INIT;

	/* RFC 7617, 2 */
	CHECK_INT(credentials_parse(a, "Aladdin:open sesame", &c, &e), 0);
	CHECK_STR(credentials_basic(a, &c), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
	CHECK_INT(credentials_parse(a, "a:b", &c, &e), 0);
	CHECK_STR(credentials_basic(a, &c), "Basic YTpi");
	CHECK_INT(credentials_parse(a, "user", &c, &e), -EINVAL);
	CHECK(!strstr(e.msg, "user")); /* it may have been the password */
	CHECK_INT(credentials_parse(a, ":b", &c, &e), -EINVAL);
	CHECK_INT(credentials_parse(a, "a:b\nc", &c, &e), -EINVAL);
	arena_free(a);
}

TEST_MAIN(T(longest_entry), T(entries), T(header))
