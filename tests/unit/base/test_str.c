#include "base/str.h"

#include <limits.h>
#include <signal.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "tests/unit/test.h"

TEST(numbers_unsigned)
{
	uint64_t v = 7;
	uint32_t w = 7;

	CHECK_INT(parse_u64("0", &v), 0);
	CHECK_INT(v, 0);
	CHECK_INT(parse_u64("18446744073709551615", &v), 0);
	CHECK(v == UINT64_MAX);
	v = 7;
	CHECK_INT(parse_u64("18446744073709551616", &v), -ERANGE);
	CHECK_INT(parse_u64("99999999999999999999999", &v), -ERANGE);
	for (const char *const *s =
		 (const char *const[]){ "", "-1", "+1", " 1", "1 ", "0x10", "1e3", "١", NULL };
	     *s; s++)
		CHECK_INT(parse_u64(*s, &v), -EINVAL);
	CHECK_INT(v, 7);
	CHECK_INT(parse_u32("4294967295", &w), 0);
	CHECK(w == UINT32_MAX);
	CHECK_INT(parse_u32("4294967296", &w), -ERANGE);
}

TEST(numbers_signed)
{
	int64_t v = 7;
	int32_t w = 7;

	CHECK_INT(parse_i64("-9223372036854775808", &v), 0);
	CHECK(v == INT64_MIN);
	CHECK_INT(parse_i64("9223372036854775807", &v), 0);
	CHECK(v == INT64_MAX);
	CHECK_INT(parse_i64("9223372036854775808", &v), -ERANGE);
	CHECK_INT(parse_i64("-9223372036854775809", &v), -ERANGE);
	CHECK_INT(parse_i64("--1", &v), -EINVAL);
	CHECK_INT(parse_i64("-", &v), -EINVAL);
	CHECK(v == INT64_MAX);
	CHECK_INT(parse_i32("-2147483648", &w), 0);
	CHECK_INT(w, INT_MIN);
	CHECK_INT(parse_i32("2147483648", &w), -ERANGE);
	CHECK_INT(parse_int_range("11", 0, 10, &v), -ERANGE);
}

TEST(numbers_octal)
{
	uint32_t v = 7;

	CHECK_INT(parse_octal("0755", 07777, &v), 0);
	CHECK_INT(v, 0755);
	CHECK_INT(parse_octal("8", 07777, &v), -EINVAL);
	CHECK_INT(parse_octal("", 07777, &v), -EINVAL);
	CHECK_INT(parse_octal("10000", 07777, &v), -ERANGE);
	CHECK_INT(v, 0755);
}

TEST(sizes)
{
	static const struct {
		const char *text;
		int r;
		int64_t v;
	} rows[] = { { "0", 0, 0 }, { "512", 0, 512 }, { "1k", 0, 1024 }, { "1KB", 0, 1024 },
		{ "2KiB", 0, 2048 }, { "64m", 0, 64 << 20 }, { "3g", 0, 3LL << 30 }, { "7b", 0, 7 },
		{ "-1", 0, -1 }, { "-2", -EINVAL, 0 }, { "k", -EINVAL, 0 }, { "1x", -EINVAL, 0 },
		{ "1kk", -EINVAL, 0 }, { "1bb", -EINVAL, 0 }, { "", -EINVAL, 0 },
		{ "9e9", -EINVAL, 0 }, { "8388608t", -ERANGE, 0 },
		{ "9223372036854775807", 0, INT64_MAX }, { "9223372036854775808", -ERANGE, 0 },
		{ "1111111111111111111111111", -ERANGE, 0 } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t v = 99;

		CHECK_INT(parse_size(rows[i].text, true, &v), rows[i].r);
		CHECK_INT(v, rows[i].r ? 99 : rows[i].v);
	}
	CHECK_INT(parse_size("-1", false, &(int64_t){ 0 }), -EINVAL);
}

TEST(signals)
{
	CHECK_INT(parse_signal("9"), 9);
	CHECK_INT(parse_signal("KILL"), SIGKILL);
	CHECK_INT(parse_signal("SIGTERM"), SIGTERM);
	CHECK_INT(parse_signal("sigusr1"), SIGUSR1);
	CHECK_INT(parse_signal("RTMIN"), 34);
	CHECK_INT(parse_signal("SIGRTMIN+3"), 37);
	CHECK_INT(parse_signal("RTMAX-1"), 63);
	CHECK_INT(parse_signal("IOT"), SIGABRT);
	for (const char *const *s = (const char *const[]){ "", "0", "65", "-9", "SIG", "SIGSIGTERM",
		 "TERMX", "RTMIN-1", "RTMIN+31", "RTMAX+1", "999999999999", "averyveryverylongname",
		 NULL };
	     *s; s++)
		CHECK_INT(parse_signal(*s), -EINVAL);
}

TEST(buffers_and_vectors)
{
	struct strbuf b = { 0 };
	char *text, **v = strv_split("a::bc:", ':');

	text = strbuf_steal(&b);
	CHECK_STR(text, "");
	free(text);
	for (int i = 0; i < 1000; i++)
		strbuf_addf(&b, "%d,", i % 10);
	CHECK_INT(b.len, 2000);
	CHECK_INT(strlen(b.s), 2000);
	strbuf_free(&b);
	CHECK_INT(strv_len(v), 2);
	CHECK_STR(v[1], "bc");
	CHECK(strv_contains(v, "a") && !strv_contains(v, "b"));
	strv_free(v);
	CHECK(endswith("x.json", ".json") && !endswith("n", ".json"));
	CHECK_STR(startswith("prefix-rest", "prefix-"), "rest");
	CHECK(!startswith("pre", "prefix"));
}

TEST(time_text)
{
	static const struct {
		time_t t;
		const char *text;
	} known[] = {
		{ 0, "1970-01-01T00:00:00" },
		{ 951782399, "2000-02-28T23:59:59" },
		{ 951782400, "2000-02-29T00:00:00" },
		{ 1704164645, "2024-01-02T03:04:05" },
		{ 1709251200, "2024-03-01T00:00:00" },
		{ 1735689599, "2024-12-31T23:59:59" },
		{ 4107542400, "2100-03-01T00:00:00" },
	};
	char buf[40];

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		format_rfc3339(buf, &(struct timespec){ .tv_sec = known[i].t, .tv_nsec = 5 });
		CHECK(strncmp(buf, known[i].text, 19) == 0);
		CHECK_STR(buf + 19, ".000000005Z");
	}
	format_rfc3339_now(buf);
	CHECK_INT(strlen(buf), strlen("2024-01-02T03:04:05.123456789Z"));
	CHECK(buf[10] == 'T' && buf[19] == '.' && buf[29] == 'Z');
}

TEST_MAIN(T(numbers_unsigned), T(numbers_signed), T(numbers_octal), T(sizes), T(signals),
    T(buffers_and_vectors), T(time_text))
