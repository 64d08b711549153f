#include "images/digest.h"

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/test.h"

#define EMPTY_256 "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
/* FIPS 180-2, appendices B.1 and C.1: "abc" */
#define ABC_256 "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define ABC_512                                                                   \
	"sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a" \
	"2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"

TEST(test_parse)
{
	struct err e = ERR_INIT;
	struct digest d, d2;

	CHECK_INT(digest_parse(EMPTY_256, &d, &e), 0);
	CHECK_STR(d.text, EMPTY_256);
	CHECK_STR(digest_hex(&d), &EMPTY_256[7]);
	CHECK_INT(d.alg, DIGEST_SHA256);
	CHECK_INT(digest_parse(ABC_512, &d2, &e), 0);
	CHECK_INT(d2.alg, DIGEST_SHA512);
	CHECK_STR(d2.text, ABC_512);
	CHECK(!digest_equal(&d, &d2));
	CHECK(digest_equal(&d, &d));
}

TEST(test_refused)
{
	static const char *const bad[] = { "", "sha256", "sha256:", ":", "sha256:abc",
		"sha256:E3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
		(EMPTY_256 "0"), (EMPTY_256 "/"), (EMPTY_256 ":"), (" " EMPTY_256),
		"sha256:../../../../../../../../../../../../../../../../../etc/passwd-----",
		"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b85/",
		"sha512:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"sha25:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
		"md5:d41d8cd98f00b204e9800998ecf8427e", "../sha256:x", "SHA256:" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct digest d = { .text = "untouched" };
		struct err e = ERR_INIT;

		CHECK_INT(digest_parse(bad[i], &d, &e), -EINVAL);
		CHECK_STR(d.text, "untouched");
		CHECK_HAS(e.msg, "digest \"");
	}
}

TEST(test_message_is_printable)
{
	struct err e = ERR_INIT;
	struct digest d;

	digest_parse("sha256:\n\033[31m", &d, &e);
	CHECK(!strchr(e.msg, '\n') && !strchr(e.msg, '\033'));
}

TEST(test_compute)
{
	struct err e = ERR_INIT;
	struct hasher *h = NULL;
	struct digest d;

	CHECK_INT(digest_of(DIGEST_SHA256, "", 0, &d, &e), 0);
	CHECK_STR(d.text, EMPTY_256);
	CHECK_INT(digest_of(DIGEST_SHA512, "abc", 3, &d, &e), 0);
	CHECK_STR(d.text, ABC_512);
	CHECK_INT(hasher_new(DIGEST_SHA256, &h, &e), 0);
	hasher_add(h, "a", 1);
	hasher_add(h, "", 0);
	hasher_add(h, "bc", 2);
	hasher_end(h, &d);
	hasher_free(h);
	CHECK_STR(d.text, ABC_256);
}

TEST_MAIN(T(test_parse), T(test_refused), T(test_message_is_printable), T(test_compute))
