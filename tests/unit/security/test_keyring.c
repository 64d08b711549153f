#include <errno.h>
#include <linux/keyctl.h>
#include <sys/syscall.h>

#include "security/security.h"
#include "tests/unit/security/child.h"

static long session(void)
{
	return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_SESSION_KEYRING, 0);
}

static long first;

static void second_body(void)
{
	struct err e = ERR_INIT;

	/* As exec: away to another session keyring, then in by name. */
	CHECK_INT(keyring_join("bailey-test-other", &e), 0);
	CHECK(session() != first);
	CHECK_INT(keyring_join("bailey-test-ring", &e), 0);
	CHECK_INT(session(), first);
	CHECK_INT(keyring_join(".bailey-test-ring", &e), 0);
	CHECK(session() != first);
}

static void join_body(void)
{
	struct err e = ERR_INIT;
	char text[256] = "";
	long before = session();

	if (before < 0 && errno == ENOSYS) {
		printf("# SKIP kernel without keyrings\n");
		return;
	}
	CHECK_INT(keyring_join("bailey-test-ring", &e), 0);
	CHECK_STR(e.msg, "");
	first = session();
	CHECK(first > 0 && first != before);
	CHECK(syscall(SYS_keyctl, KEYCTL_DESCRIBE, first, text, sizeof(text)) > 0);
	CHECK_HAS(text, ";bailey-test-ring");
	in_child(second_body);
}
TEST(made_and_joined_by_name)
{
	in_child(join_body);
}

TEST_MAIN(T(made_and_joined_by_name))
