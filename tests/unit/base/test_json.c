#include "base/json.h"

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/test.h"

/* Parses text; returns the root or NULL with *e set. */
static const struct json *parse_n(struct arena *a, const char *s, size_t n, struct err *e)
{
	const struct json *j = NULL;

	*e = (struct err)ERR_INIT;
	return json_parse(a, "t.json", s, n, &j, e) < 0 ? NULL : j;
}

static const struct json *parse(struct arena *a, const char *s, struct err *e)
{
	return parse_n(a, s, strlen(s), e);
}

static void refused(const char *text, size_t n, const char *message)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct err e;

	CHECK(parse_n(a, text, n, &e) == NULL);
	CHECK_HAS(e.msg, message);
	CHECK(strchr(e.msg, '\n') == NULL);
	CHECK_INT(e.code, EINVAL);
}
#define REFUSED(lit, message) refused(lit, sizeof(lit) - 1, message)

TEST(numbers)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct err e;
	const struct json *j = parse(a,
	    "[0,-0,9223372036854775807,-9223372036854775808,9223372036854775808,"
	    "18446744073709551615,18446744073709551616,-9223372036854775809,1.5,1e3,2.0]",
	    &e);

	CHECK(j && j->type == JSON_ARRAY && j->len == 11);
	if (!j)
		return;
	j = j->child;
	CHECK(j->type == JSON_INT && j->i == 0);
	j = j->next;
	CHECK(j->type == JSON_INT && j->i == 0);
	j = j->next;
	CHECK(j->type == JSON_INT && j->i == INT64_MAX);
	j = j->next;
	CHECK(j->type == JSON_INT && j->i == INT64_MIN);
	j = j->next;
	CHECK(j->type == JSON_UINT && j->u == (uint64_t)INT64_MAX + 1);
	j = j->next;
	CHECK(j->type == JSON_UINT && j->u == UINT64_MAX);
	j = j->next;
	CHECK(j->type == JSON_DOUBLE && j->d > 1.8e19);
	j = j->next;
	CHECK(j->type == JSON_DOUBLE && j->d < -9.2e18);
	j = j->next;
	CHECK(j->type == JSON_DOUBLE && j->d == 1.5);
	j = j->next;
	CHECK(j->type == JSON_DOUBLE && j->d == 1000);
	j = j->next;
	CHECK(j->type == JSON_DOUBLE && j->d == 2);
	REFUSED("[1e400]", "number out of range");
	REFUSED("[01]", "invalid JSON");
	REFUSED("[+1]", "invalid JSON");
	REFUSED("[1.]", "invalid JSON");
	REFUSED("[NaN]", "invalid JSON");
}

TEST(tree)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct err e;
	const struct json *j = parse(a,
	    "{\"linux\":{\"ns\":[{},{\"type\":\"pid\"}],\"a.b/"
	    "c\":{\"k\":null}},\"t\":true,\"\":[[]]}",
	    &e);
	const struct json *ns, *odd;

	CHECK(j && j->type == JSON_OBJECT && j->len == 3 && !j->key && !j->parent);
	if (!j)
		return;
	CHECK_STR(json_path(a, j), ".");
	ns = json_get(json_get(j, "linux"), "ns");
	CHECK(ns && ns->type == JSON_ARRAY && ns->len == 2);
	CHECK_STR(json_path(a, json_get(ns->child->next, "type")), ".linux.ns[1].type");
	CHECK_STR(json_get(ns->child->next, "type")->s, "pid");
	CHECK_INT(json_get(ns->child->next, "type")->len, 3);
	odd = json_get(json_get(j, "linux"), "a.b/c");
	CHECK_STR(json_path(a, json_get(odd, "k")), ".linux[\"a.b/c\"].k");
	CHECK(json_get(odd, "k")->type == JSON_NULL);
	CHECK(json_get(j, "t")->b);
	CHECK(json_get(j, "absent") == NULL);
	CHECK(json_get(json_get(j, "t"), "x") == NULL);
	CHECK_STR(json_path(a, json_get(j, "")->child), ".[\"\"][0]");
}

TEST(strings)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct err e;
	const struct json *j =
	    parse(a, "[\"\\u00e9\\ud83d\\ude00\\n\\/\", \"\xf0\x9f\x98\x80\"]", &e);

	CHECK(j != NULL);
	if (j) {
		CHECK_STR(j->child->s, "\xc3\xa9\xf0\x9f\x98\x80\n/");
		CHECK_STR(j->child->next->s, "\xf0\x9f\x98\x80");
	}
	REFUSED("[\"a\\u0000b\"]", "NUL");
	REFUSED("{\"a\\u0000\":1}", "NUL");
	REFUSED("[\"a\0b\"]", "invalid JSON");
	REFUSED("[\"\\ud800\"]", "surrogate");
	REFUSED("[\"\\ud800x\"]", "surrogate");
	REFUSED("[\"\\ud800\\u0041\"]", "surrogate");
	REFUSED("[\"\\udc00\"]", "surrogate");
	REFUSED("[\"\\u12g4\"]", "invalid JSON");
	REFUSED("[\"\\x\"]", "invalid JSON");
	REFUSED("[\"\\", "invalid JSON");
	REFUSED("[\"\\ud8", "invalid JSON");
	REFUSED("[\"\xff\"]", "invalid UTF-8 (byte 0xff)");
	REFUSED("[\"\xc0\x80\"]", "invalid UTF-8");
	REFUSED("[\"\xe0\x80\xaf\"]", "invalid UTF-8");
	REFUSED("[\"\xed\xa0\x80\"]", "invalid UTF-8");
	REFUSED("[\"\xf4\x90\x80\x80\"]", "invalid UTF-8");
	REFUSED("[\"\xf0\x9f\x98", "invalid UTF-8");
	REFUSED("\xef\xbb\xbf{}", "invalid JSON");
	REFUSED("[\"a\tb\"]", "invalid JSON");
	CHECK(parse(a, "[\"\\\\ud800\"]", &e) != NULL); /* an escaped backslash, then text */
}

TEST(syntax)
{
	REFUSED("", "premature EOF");
	REFUSED("{", "premature EOF");
	REFUSED("{\"a\":[1,2", "premature EOF");
	REFUSED("{} x", "invalid JSON");
	REFUSED("{}{}", "trailing garbage");
	REFUSED("{\"a\":1,}", "invalid JSON");
	REFUSED("[1,]", "invalid JSON");
	REFUSED("{a:1}", "invalid JSON");
	REFUSED("/* c */{}", "invalid JSON");
	REFUSED("{]\n", "line 1, column 2");
}

TEST(positions)
{
	REFUSED("{\n  \"a\": 1,\n  \"b\": }", "t.json: line 3, column 8");
	REFUSED("[\n\n  \"\xff\"]", "t.json: line 3, column 4");
}

TEST(duplicates)
{
	REFUSED("{\"a\":1,\n \"a\":2}", "t.json: line 2, column 4: .a: duplicate key");
	REFUSED("{\"x\":{\"b\":1,\"a\":0,\"c\":[],\"b\":{}}}", ".x.b: duplicate key");
	REFUSED("{\"a\":1,\"\\u0061\":2}", ".a: duplicate key");
}

/* n times open, then n times close. */
static char *nested(size_t n, const char *open, const char *close)
{
	struct strbuf b = { 0 };

	for (size_t i = 0; i < n; i++)
		strbuf_add(&b, open);
	for (size_t i = 0; i < n; i++)
		strbuf_add(&b, close);
	return strbuf_steal(&b);
}

TEST(depth)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct err e;
	char *s = nested(JSON_MAX_DEPTH, "[", "]");

	CHECK(parse(a, s, &e) != NULL);
	free(s);
	s = nested(JSON_MAX_DEPTH + 1, "[", "]");
	CHECK(parse(a, s, &e) == NULL);
	CHECK_HAS(e.msg, "line 1, column 65: nested deeper than 64 levels");
	free(s);
	s = nested(1000000, "{\"a\":", "}");
	CHECK(parse(a, s, &e) == NULL);
	CHECK_HAS(e.msg, "nested deeper");
	free(s);
}

TEST(caps)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_strbuf_ struct strbuf b = { 0 };
	_cleanup_free_ char *big = xcalloc(JSON_MAX_SIZE + 1, 1);
	struct err e;

	strbuf_add(&b, "[0");
	for (size_t i = 0; i < JSON_MAX_NODES; i++)
		strbuf_add(&b, ",0");
	strbuf_add(&b, "]");
	CHECK(parse(a, b.s, &e) == NULL);
	CHECK_HAS(e.msg, "more than 1000000 values");
	b.s[b.len - 5] = ']'; /* exactly the cap: the array and 999999 elements */
	CHECK(parse_n(a, b.s, b.len - 4, &e) != NULL);

	memset(big, ' ', JSON_MAX_SIZE + 1);
	big[0] = '1';
	CHECK(parse_n(a, big, JSON_MAX_SIZE, &e) != NULL);
	CHECK(parse_n(a, big, JSON_MAX_SIZE + 1, &e) == NULL);
	CHECK_INT(e.code, EFBIG);
	CHECK_HAS(e.msg, "larger than 16 MiB");
}

/* Quadratic work on keys or a leak of yajl's state would show here (the latter with SAN=1). */
TEST(many_members)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_strbuf_ struct strbuf b = { 0 };
	const struct json *j;
	struct err e;

	strbuf_add(&b, "{");
	for (unsigned i = 0; i < 300000; i++)
		strbuf_addf(&b, "%s\"key%u\":[{}]", i ? "," : "", i);
	strbuf_add(&b, "}");
	j = parse(a, b.s, &e);
	CHECK(j && j->len == 300000);
	strbuf_add(&b, "]");
	CHECK(parse(a, b.s, &e) == NULL);
}

TEST(files)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char path[] = "/tmp/bailey-test-json-XXXXXX";
	int fd = mkstemp(path), saved = dup(STDIN_FILENO);
	const struct json *j = NULL;
	struct err e = ERR_INIT;

	CHECK(fd >= 0 && write(fd, "{\"a\":}", 6) == 6);
	CHECK_INT(json_parse_file(a, AT_FDCWD, path, &j, &e), -EINVAL);
	CHECK_HAS(e.msg, path);
	CHECK(pwrite(fd, "[true]", 6, 0) == 6);
	CHECK_INT(json_parse_file(a, AT_FDCWD, path, &j, &e), 0);
	CHECK(j && j->child->b);
	j = NULL;
	lseek(fd, 0, SEEK_SET);
	dup2(fd, STDIN_FILENO);
	CHECK_INT(json_parse_file(a, AT_FDCWD, "-", &j, &e), 0);
	CHECK(j && j->child->b);
	dup2(saved, STDIN_FILENO);
	close(saved);
	close(fd);
	unlink(path);
	CHECK_INT(json_parse_file(a, AT_FDCWD, path, &j, &e), -ENOENT);
	CHECK_HAS(e.msg, path);
}

TEST(quote)
{
	_cleanup_arena_ struct arena *a = arena_new();
	char big[1000];

	CHECK_STR(
	    json_quote(a, "a\"b\\c\n\x7f\xff\xc3\xa9"), "\"a\\\"b\\\\c\\x0a\\x7f\\xff\xc3\xa9\"");
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	CHECK(strlen(json_quote(a, big)) < 250);
	CHECK_HAS(json_quote(a, big), "x…\"");
}

TEST(generate)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);
	char *list[] = { "x", "y", NULL };
	size_t n = 0;

	json_gen_map(g);
	json_gen_kstr(g, "s", "a\"\n\x01/\xc3\xa9");
	json_gen_kstr(g, "bad", "a\xff\xc3z\xed\xa0\x80");
	json_gen_kstr(g, "null", NULL);
	json_gen_kint(g, "min", INT64_MIN);
	json_gen_kuint(g, "max", UINT64_MAX);
	json_gen_kbool(g, "t", true);
	json_gen_kstrv(g, "v", list);
	json_gen_kstrv(g, "none", NULL);
	json_gen_key(g, "d");
	json_gen_array(g);
	json_gen_double(g, 2);
	json_gen_double(g, 0.1);
	json_gen_map(g);
	json_gen_end(g);
	json_gen_end(g);
	json_gen_end(g);
	CHECK_STR(json_gen_text(g, &n),
	    "{\"s\":\"a\\\"\\n\\u0001/\xc3\xa9\",\"bad\":\"a\xef\xbf\xbd\xef\xbf\xbdz"
	    "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\",\"null\":null,\"min\":-9223372036854775808,"
	    "\"max\":18446744073709551615,\"t\":true,\"v\":[\"x\",\"y\"],\"none\":[],"
	    "\"d\":[2.0,0.10000000000000001,{}]}");
	CHECK_INT(n, strlen(json_gen_text(g, NULL)));
}

TEST(pretty)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(true);

	json_gen_map(g);
	json_gen_kint(g, "a", 1);
	json_gen_key(g, "b");
	json_gen_array(g);
	json_gen_array(g);
	json_gen_end(g);
	json_gen_end(g);
	json_gen_end(g);
	CHECK_STR(json_gen_text(g, NULL), "{\n  \"a\": 1,\n  \"b\": [\n    []\n  ]\n}");
}

TEST(round_trip)
{
	static const char text[] =
	    "{\"a\":[1,-1,18446744073709551615,1.5,3.0,true,false,null,\"\\u00e9\"],"
	    "\"b\":{\"\":{}},\"c\":[]}";
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);
	struct err e;
	const struct json *j = parse(a, text, &e);

	CHECK(j != NULL);
	if (!j)
		return;
	json_gen_node(g, j);
	CHECK_STR(json_gen_text(g, NULL),
	    "{\"a\":[1,-1,18446744073709551615,1.5,3.0,true,false,null,\"\xc3\xa9\"],"
	    "\"b\":{\"\":{}},\"c\":[]}");
}

static void misuse_value(struct json_gen *g)
{
	json_gen_map(g);
	json_gen_int(g, 1);
}
static void misuse_key(struct json_gen *g)
{
	json_gen_array(g);
	json_gen_key(g, "a");
}
static void misuse_end(struct json_gen *g)
{
	json_gen_map(g);
	json_gen_key(g, "a");
	json_gen_end(g);
}
static void misuse_text(struct json_gen *g)
{
	json_gen_map(g);
	json_gen_text(g, NULL);
}
static void misuse_second(struct json_gen *g)
{
	json_gen_int(g, 1);
	json_gen_int(g, 1);
}
static void misuse_nan(struct json_gen *g)
{
	json_gen_double(g, NAN);
}

TEST(misuse)
{
	void (*const v[])(struct json_gen *) = { misuse_value, misuse_key, misuse_end, misuse_text,
		misuse_second, misuse_nan };

	fflush(stdout);
	for (size_t i = 0; i < ARRAY_SIZE(v); i++) {
		int status = 0;
		pid_t pid = fork();

		if (pid == 0) {
			v[i](json_gen_new(false));
			_exit(0);
		}
		CHECK(waitpid(pid, &status, 0) == pid);
		CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	}
}

TEST_MAIN(T(numbers), T(tree), T(strings), T(syntax), T(positions), T(duplicates), T(depth),
    T(caps), T(many_members), T(files), T(quote), T(generate), T(pretty), T(round_trip), T(misuse))
