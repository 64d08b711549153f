#include <errno.h>
#include <grp.h>
#include <sched.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "security/security.h"
#include "tests/unit/security/child.h"

static void full_body(void)
{
	uint32_t groups[] = { 5, 6 };
	struct spec_user u = {
		.uid = 1000, .gid = 1001, .umask = { true, 077 }, .additional_gids = { groups, 2 }
	};
	struct err e = ERR_INIT;
	uid_t r, ef, s;
	gid_t got[8];

	CHECK_INT(user_apply(&u, &e), 0);
	getresuid(&r, &ef, &s);
	CHECK(r == 1000 && ef == 1000 && s == 1000);
	getresgid(&r, &ef, &s);
	CHECK(r == 1001 && ef == 1001 && s == 1001);
	CHECK_INT(getgroups(8, got), 2);
	CHECK(got[0] == 5 && got[1] == 6);
	CHECK_INT(umask(0), 077);
	/* The permitted set survives for caps_apply(). */
	CHECK(status_hex("CapPrm") != 0);
}
TEST(ids_groups_umask)
{
	if (!skip_unless_root())
		in_child(full_body);
}

static void defaults_body(void)
{
	gid_t mine[] = { 42 };
	struct spec_user u = { .uid = 0, .gid = 0 };
	struct err e = ERR_INIT;

	setgroups(1, mine);
	umask(0);
	CHECK_INT(user_apply(&u, &e), 0);
	CHECK_INT(umask(0), 022);
	CHECK_INT(getgroups(0, NULL), 0); /* the caller's groups are gone */
}
TEST(default_umask_and_no_callers_groups)
{
	if (!skip_unless_root())
		in_child(defaults_body);
}

static void minus_one_body(void)
{
	struct spec_user u = { .uid = UINT32_MAX, .gid = 0 };
	struct err e = ERR_INIT;

	CHECK_INT(user_apply(&u, &e), -EINVAL);
	CHECK_HAS(e.msg, ".process.user.uid: 4294967295");
	u = (struct spec_user){ .uid = 0, .gid = UINT32_MAX };
	CHECK_INT(user_apply(&u, &e), -EINVAL);
	CHECK_HAS(e.msg, ".process.user.gid: 4294967295");
}
TEST(minus_one_is_no_id)
{
	in_child(minus_one_body);
}

static void put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);

	CHECK_INT(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

/* As an unprivileged user who maps himself alone. */
static bool lone_userns(void)
{
	if (setgroups(0, NULL) < 0 || setresgid(1000, 1000, 1000) < 0 ||
	    setresuid(1000, 1000, 1000) < 0 || prctl(PR_SET_DUMPABLE, 1) < 0 ||
	    unshare(CLONE_NEWUSER) < 0) {
		printf("# SKIP no unprivileged user namespaces\n");
		return false;
	}
	put("/proc/self/setgroups", "deny");
	put("/proc/self/uid_map", "0 1000 1");
	put("/proc/self/gid_map", "0 1000 1");
	return true;
}

static void userns_body(void)
{
	uint32_t groups[] = { 0 };
	struct spec_user u = { .uid = 0, .gid = 0 };
	struct err e = ERR_INIT;

	if (!lone_userns())
		return;
	CHECK_INT(user_apply(&u, &e), 0);
	u.additional_gids.v = groups;
	u.additional_gids.n = 1;
	CHECK_INT(user_apply(&u, &e), -EPERM);
	CHECK_HAS(e.msg, "setgroups is denied in this user namespace");
	u = (struct spec_user){ .uid = 1, .gid = 0 };
	CHECK_INT(user_apply(&u, &e), -EINVAL);
	CHECK_HAS(e.msg, ".process.user.uid: 1: not mapped");
	u = (struct spec_user){ .uid = 0, .gid = 33 };
	CHECK_INT(user_apply(&u, &e), -EINVAL);
	CHECK_HAS(e.msg, ".process.user.gid: 33: not mapped");
}
TEST(denied_setgroups_and_unmapped_ids)
{
	if (!skip_unless_root())
		in_child(userns_body);
}

/* Not the namespace's rule but a lack of rights: the caller's groups must not stay. */
static void no_right_body(void)
{
	struct spec_user u = { .uid = 1000, .gid = 1000 };
	struct err e = ERR_INIT;

	CHECK_INT(setresuid(1000, 1000, 1000), 0);
	CHECK_INT(user_apply(&u, &e), -EPERM);
	CHECK_HAS(e.msg, "CAP_SETGID");
}
TEST(setgroups_without_the_right_is_an_error)
{
	if (!skip_unless_root())
		in_child(no_right_body);
}

TEST_MAIN(T(ids_groups_umask), T(default_umask_and_no_callers_groups), T(minus_one_is_no_id),
    T(denied_setgroups_and_unmapped_ids), T(setgroups_without_the_right_is_an_error))
