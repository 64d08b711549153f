/* A unit test is one program: TEST(name) { CHECK(…); } … and TEST_MAIN(name, …). It prints one
 * "ok NAME" or "not ok NAME" line per test and exits 1 when one failed. */
#pragma once
#include <stdio.h>
#include <string.h>

static int test_failed;

#define CHECK(cond)                                                                       \
	do {                                                                              \
		if (!(cond)) {                                                            \
			printf("# %s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #cond); \
			test_failed = 1;                                                  \
		}                                                                         \
	} while (0)
#define CHECK_INT(got, want)                                                                      \
	do {                                                                                      \
		long long g_ = (long long)(got), w_ = (long long)(want);                          \
		if (g_ != w_) {                                                                   \
			printf("# %s:%d: %s = %lld, wanted %lld\n", __FILE__, __LINE__, #got, g_, \
			    w_);                                                                  \
			test_failed = 1;                                                          \
		}                                                                                 \
	} while (0)
#define CHECK_STR(got, want)                                                                      \
	do {                                                                                      \
		const char *g_ = (got), *w_ = (want);                                             \
		if (!g_ || strcmp(g_, w_) != 0) {                                                 \
			printf("# %s:%d: %s = \"%s\", wanted \"%s\"\n", __FILE__, __LINE__, #got, \
			    g_ ? g_ : "(null)", w_);                                              \
			test_failed = 1;                                                          \
		}                                                                                 \
	} while (0)
/* haystack contains needle */
#define CHECK_HAS(haystack, needle)                                                  \
	do {                                                                         \
		const char *h_ = (haystack), *n_ = (needle);                         \
		if (!h_ || !strstr(h_, n_)) {                                        \
			printf("# %s:%d: \"%s\" lacks \"%s\"\n", __FILE__, __LINE__, \
			    h_ ? h_ : "(null)", n_);                                 \
			test_failed = 1;                                             \
		}                                                                    \
	} while (0)

struct test {
	const char *name;
	void (*fn)(void);
};
#define TEST(name) static void name(void)
#define TEST_MAIN(...)                                                                   \
	int main(void)                                                                   \
	{                                                                                \
		const struct test tests[] = { __VA_ARGS__ };                             \
		int bad = 0;                                                             \
		for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {          \
			test_failed = 0;                                                 \
			tests[i].fn();                                                   \
			printf("%s %s\n", test_failed ? "not ok" : "ok", tests[i].name); \
			bad |= test_failed;                                              \
		}                                                                        \
		return bad;                                                              \
	}
#define T(fn)           \
	{               \
#fn, fn \
	}
