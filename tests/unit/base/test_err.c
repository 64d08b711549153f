#include "base/err.h"

#include <stdlib.h>

#include "base/alloc.h"
#include "tests/unit/test.h"

TEST(messages)
{
	struct err e = ERR_INIT;

	CHECK_INT(err_errno(&e, ENOENT, "open %s", "/x"), -ENOENT);
	CHECK_STR(e.msg, "open /x: no such file or directory");
	CHECK_INT(err_wrap(&e, "bundle %d", 7), -ENOENT);
	CHECK_STR(e.msg, "bundle 7: open /x: no such file or directory");
	CHECK_INT(err_exit(&e, 127), -ENOENT);
	CHECK_INT(e.exit, 127);
	err_clear(&e);
	CHECK(e.code == 0 && e.exit == 0 && !*e.msg);
	CHECK_INT(err_set(&e, EINVAL, "%s", "own words"), -EINVAL);
	CHECK_STR(e.msg, "own words");
	CHECK_INT(err_set(&e, 0, "no code"), -EIO);
}

TEST(long_messages_keep_their_cause)
{
	struct err e = ERR_INIT;
	char big[4000];

	memset(big, 'x', sizeof(big));
	big[sizeof(big) - 1] = '\0';
	err_errno(&e, EACCES, "%s", big);
	CHECK_HAS(e.msg, "permission denied");
	err_set(&e, EINVAL, "the cause");
	err_wrap(&e, "%s", big);
	CHECK_HAS(e.msg, "the cause");
	CHECK(sizeof(struct err) <= 1024);
}

TEST(quoted_text_stays_one_line)
{
	struct err e = ERR_INIT;

	err_set(&e, EINVAL, "--%s: unknown", "a\nb\033[2J\177");
	CHECK_STR(e.msg, "--a?b?[2J?: unknown");
	err_errno(&e, ENOENT, "open %s", "x\ny");
	CHECK_STR(e.msg, "open x?y: no such file or directory");
	err_wrap(&e, "%s", "\r\u00e9");
	CHECK_STR(e.msg, "?\u00e9: open x?y: no such file or directory");
}

TEST(arena_keeps_everything)
{
	struct arena *a = arena_new();
	char *strings[5000];
	int wrong = 0;

	for (int i = 0; i < 5000; i++)
		strings[i] = arena_printf(a, "string %d", i);
	char *big = arena_alloc(a, 1000000);
	big[999999] = 1;
	for (int i = 0; i < 5000; i++)
		wrong += atoi(strings[i] + 7) != i;
	CHECK_INT(wrong, 0);
	CHECK_INT(*(int *)arena_calloc(a, 4, 4), 0);
	CHECK_STR(arena_strndup(a, "abcdef", 3), "abc");
	arena_free(a);
	arena_free(NULL);
}

TEST_MAIN(T(messages), T(long_messages_keep_their_cause), T(quoted_text_stays_one_line),
    T(arena_keeps_everything))
