#include "runtime/values.h"

#include <errno.h>

#include "base/cleanup.h"
#include "tests/unit/test.h"

static uint32_t uid;
static struct opt_u32 gid;

static int user(const char *s)
{
	uid = 77;
	gid = (struct opt_u32){ .set = true, .v = 88 };
	return parse_user_spec(s, &uid, &gid);
}

TEST(user_alone_leaves_the_group_unset)
{
	CHECK_INT(user("1"), 0);
	CHECK_INT(uid, 1);
	CHECK(!gid.set);
	CHECK_INT(user("0"), 0);
	CHECK_INT(uid, 0);
	CHECK_INT(user("4294967294"), 0);
	CHECK_INT(uid, 4294967294);
}

TEST(user_and_group)
{
	CHECK_INT(user("1000:5"), 0);
	CHECK_INT(uid, 1000);
	CHECK(gid.set);
	CHECK_INT(gid.v, 5);
	CHECK_INT(user("4294967294:4294967294"), 0);
	CHECK_INT(gid.v, 4294967294);
}

TEST(user_refused)
{
	static const char *const bad[] = { "", ":", "1:", ":1", "+1", "-1", " 1", "1 ", "1: 2",
		"1:+2", "1:2:3", "1:2 ", "0x1", "1.0", "root", "1:root", "\t1", "1\n", "4294967295",
		"4294967296", "1:4294967295", "18446744073709551616", "-4294967295", "1:-1",
		"00000000000000000001" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int r = user(bad[i]);

		if (r != -EINVAL && r != -ERANGE)
			printf("# \"%s\" accepted\n", bad[i]);
		CHECK(r == -EINVAL || r == -ERANGE);
		CHECK_INT(uid, 77);
		CHECK(gid.set && gid.v == 88);
	}
}

TEST(durations)
{
	static const struct {
		const char *s;
		int64_t ns;
	} good[] = {
		{ "0", 0 },
		{ "0s", 0 },
		{ "5s", 5000000000 },
		{ "500ms", 500000000 },
		{ "1m30s", 90000000000 },
		{ "1h", 3600000000000 },
		{ "1.5h", 5400000000000 },
		{ ".5s", 500000000 },
		{ "1.s", 1000000000 },
		{ "1h2m3s4ms5us6ns", 3723004005006 },
		{ "7\u00b5s", 7000 },
		{ "7\u03bcs", 7000 },
		{ "0.1234567891s", 123456789 },
		{ "9223372036854775807ns", INT64_MAX },
	};

	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		int64_t ns = -1;

		CHECK_INT(parse_duration(good[i].s, &ns), 0);
		CHECK_INT(ns, good[i].ns);
	}
}

TEST(durations_refused)
{
	static const struct {
		const char *s;
		int r;
	} bad[] = {
		{ "", -EINVAL },
		{ "5", -EINVAL },
		{ "s", -EINVAL },
		{ ".", -EINVAL },
		{ ".s", -EINVAL },
		{ "-5s", -EINVAL },
		{ "+5s", -EINVAL },
		{ " 5s", -EINVAL },
		{ "5s ", -EINVAL },
		{ "5 s", -EINVAL },
		{ "5S", -EINVAL },
		{ "5d", -EINVAL },
		{ "1.2.3s", -EINVAL },
		{ "1s2", -EINVAL },
		{ "9223372036854775808ns", -ERANGE },
		{ "9223372037s", -ERANGE },
		{ "99999999999999999999h", -ERANGE },
		{ "9223372036s1h", -ERANGE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int64_t ns = 42;

		CHECK_INT(parse_duration(bad[i].s, &ns), bad[i].r);
		CHECK_INT(ns, 42);
	}
}

TEST_MAIN(T(user_alone_leaves_the_group_unset), T(user_and_group), T(user_refused), T(durations),
    T(durations_refused))
