/*
 * Every small grammar of the command line and of the environment. The first byte chooses the
 * parser, the rest is its text. What is accepted must be in range, and what is refused must leave
 * the output alone.
 */
#include "base/path.h"
#include "base/str.h"
#include "runtime/cli.h"
#include "runtime/values.h"
#include "security/security.h"
#include "spec/spec.h"
#include "tests/fuzz/fuzz.h"

#define UNTOUCHED 0x5a5a5a5a

/* Calls fn(s, …, &v) with v preset; a refusal has a known code and leaves v as it was. */
#define TRY_PARSE(type, ok, ...)                              \
	do {                                                  \
		type v = (type)UNTOUCHED;                     \
		int r = __VA_ARGS__;                          \
		MUST(r == 0 || r == -EINVAL || r == -ERANGE); \
		if (r < 0)                                    \
			MUST(v == (type)UNTOUCHED);           \
		else                                          \
			MUST(ok);                             \
	} while (0)

static void numbers(const char *s)
{
	TRY_PARSE(uint64_t, s[0] != '-', parse_u64(s, &v));
	TRY_PARSE(int64_t, s[0] != ' ', parse_i64(s, &v));
	TRY_PARSE(uint32_t, s[0] != '-', parse_u32(s, &v));
	TRY_PARSE(int32_t, s[0] != '+', parse_i32(s, &v));
	TRY_PARSE(int64_t, v >= -5 && v <= 70000, parse_int_range(s, -5, 70000, &v));
}

static void octal(const char *s)
{
	TRY_PARSE(uint32_t, v <= 07777, parse_octal(s, 07777, &v));
}

static void size(const char *s)
{
	TRY_PARSE(int64_t, v >= 0, parse_size(s, false, &v));
	TRY_PARSE(int64_t, v >= -1, parse_size(s, true, &v));
}

static void signal_name(const char *s)
{
	int r = parse_signal(s);
	MUST(r == -EINVAL || (r >= 1 && r <= 64));
}

static void duration(const char *s)
{
	TRY_PARSE(int64_t, v >= 0, parse_duration(s, &v));
}

static void user(const char *s)
{
	uint32_t uid = UNTOUCHED;
	struct opt_u32 gid = { .set = false, .v = UNTOUCHED };
	int r = parse_user_spec(s, &uid, &gid);
	MUST(r == 0 || r == -EINVAL || r == -ERANGE);
	if (r < 0) {
		MUST(uid == UNTOUCHED && !gid.set && gid.v == UNTOUCHED);
		return;
	}
	/* What was read is what was written, leading zeros aside. */
	char *end;
	MUST(strtoul(s, &end, 10) == uid && uid != UINT32_MAX);
	MUST(gid.set == (*end == ':'));
	if (gid.set)
		MUST(strtoul(end + 1, &end, 10) == gid.v && gid.v != UINT32_MAX);
	MUST(*end == '\0');
}

static void container_id(const char *s)
{
	struct err e = ERR_INIT;
	int r = spec_check_id(s, &e);
	must_be_consistent(r, &e);
	if (r == 0)
		MUST(s[0] && !strchr(s, '/') && strcmp(s, ".") && strcmp(s, "..") &&
		     strlen(s) <= 1024);
}

static void names(const char *s)
{
	int cap = spec_cap_parse(s);
	MUST(cap == -EINVAL || spec_cap_name(cap));
	const struct mount_opt *o = mount_opt_find(s, strlen(s));
	MUST(!o || streq(o->name, s));
}

static void paths(const char *s)
{
	char *n = path_normalize(s);
	if (n) {
		MUST(n[0] == '/' && !strstr(n, "//") && !strstr(n, "/../") && !strstr(n, "/./"));
		char *again = path_normalize(n);
		MUST(streq(n, again));
		free(again);
	}
	free(n);
}

static void vectors(const char *s)
{
	char **v = strv_split(s, ',');
	for (size_t i = 0; i < strv_len(v); i++)
		MUST(v[i][0] && !strchr(v[i], ','));
	strv_free(v);
}

/* Options are split at '\1'. */
struct parsed {
	bool flag;
	const char *str;
	char **strv;
	struct opt_i64 num, size;
	struct opt_bool maybe;
};
static const struct opt table[] = {
	{ "flag", 'f', OPT_FLAG, offsetof(struct parsed, flag), NULL, "a flag", 0, 0 },
	{ "str", 's', OPT_STR, offsetof(struct parsed, str), "S", "a string", 0, 0 },
	{ "strv", 'v', OPT_STRV, offsetof(struct parsed, strv), "S", "strings", 0, 0 },
	{ "num", 'n', OPT_INT, offsetof(struct parsed, num), "N", "a number", -3, 99 },
	{ "size", 0, OPT_SIZE, offsetof(struct parsed, size), "N", "a size", 0, 0 },
	{ "maybe", 0, OPT_OPT_BOOL, offsetof(struct parsed, maybe), NULL, "a tristate", 0, 0 },
	{ 0 },
};
static void options(const char *s, bool options_first)
{
	struct err e = ERR_INIT;
	struct parsed p = { 0 };
	char **argv = strv_split(s, '\1');
	char *none[] = { NULL };
	int argc = (int)strv_len(argv);
	int r = cli_parse(table, &p, argc, argv ? argv : none, options_first, &e);
	if (r == CLI_HELP)
		MUST(e.code == 0);
	else
		must_be_consistent(r, &e);
	if (r >= 0) {
		MUST(r <= argc);
		MUST(!p.num.set || (p.num.v >= -3 && p.num.v <= 99));
		MUST(!p.size.set || p.size.v >= -1);
	}
	strv_free(p.strv);
	strv_free(argv);
}
static void options_mixed(const char *s)
{
	options(s, false);
}
static void options_ordered(const char *s)
{
	options(s, true);
}

static void (*const parsers[])(const char *) = { numbers, octal, size, signal_name, duration, user,
	container_id, names, paths, vectors, options_mixed, options_ordered };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	if (n == 0)
		return 0;
	char *s = fuzz_string(data + 1, n - 1);
	/* Letters, so that seeds are readable: 'a' is the first. */
	parsers[(unsigned)(data[0] - 'a') % (sizeof(parsers) / sizeof(*parsers))](s);
	free(s);
	return 0;
}
