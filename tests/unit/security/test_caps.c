#include <errno.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "base/cleanup.h"
#include "security/security.h"
#include "tests/unit/security/child.h"

#define BIT(c) (UINT64_C(1) << (c))

static const uint64_t docker =
    BIT(CAP_CHOWN) | BIT(CAP_KILL) | BIT(CAP_NET_BIND_SERVICE) | BIT(CAP_SETUID);

static struct spec_caps sets(uint64_t bounding, uint64_t rest, uint64_t inh, uint64_t ambient)
{
	return (struct spec_caps){ .has = true,
		.bounding = bounding,
		.permitted = rest,
		.effective = rest,
		.inheritable = inh,
		.ambient = ambient };
}

/* What a container's process ends up with. */
static void apply(const struct spec_caps *c, uint32_t uid)
{
	struct spec_user u = { .uid = uid, .gid = uid };
	struct err e = ERR_INIT;

	CHECK_INT(caps_drop_bounding(c, &e), 0);
	CHECK_INT(user_apply(&u, &e), 0);
	CHECK_INT(caps_apply(c, &e), 0);
	CHECK_STR(e.msg, "");
	CHECK_INT(prctl(PR_GET_KEEPCAPS), 0);
}

static void check_sets(uint64_t inh, uint64_t prm, uint64_t eff, uint64_t bnd, uint64_t amb)
{
	CHECK_INT(status_hex("CapInh"), inh);
	CHECK_INT(status_hex("CapPrm"), prm);
	CHECK_INT(status_hex("CapEff"), eff);
	CHECK_INT(status_hex("CapBnd"), bnd);
	CHECK_INT(status_hex("CapAmb"), amb);
}

static void root_body(void)
{
	struct spec_caps c = sets(docker, docker, 0, 0);

	apply(&c, 0);
	check_sets(0, docker, docker, docker, 0);
}
TEST(root_gets_exactly_the_sets)
{
	if (!skip_unless_root())
		in_child(root_body);
}

static void user_body(void)
{
	struct spec_caps c = sets(docker, docker, docker, BIT(CAP_KILL));

	apply(&c, 1000);
	check_sets(docker, docker, docker, docker, BIT(CAP_KILL));
	CHECK_INT(getuid(), 1000);
}
TEST(another_user_keeps_what_was_asked_for)
{
	if (!skip_unless_root())
		in_child(user_body);
}

static void distinct_body(void)
{
	struct spec_caps c = { .has = true,
		.bounding = BIT(CAP_CHOWN) | BIT(CAP_KILL) | BIT(CAP_SETUID) | BIT(CAP_SETGID),
		.permitted = BIT(CAP_KILL) | BIT(CAP_SETUID),
		.effective = BIT(CAP_SETUID),
		.inheritable = BIT(CAP_CHOWN) | BIT(CAP_SETUID),
		.ambient = BIT(CAP_SETUID) };

	apply(&c, 7);
	check_sets(c.inheritable, c.permitted, c.effective, c.bounding, c.ambient);
}
TEST(sets_are_independent)
{
	if (!skip_unless_root())
		in_child(distinct_body);
}

static void none_body(void)
{
	struct spec_caps c = { .has = false, .bounding = ~0ull, .permitted = ~0ull };

	apply(&c, 0);
	check_sets(0, 0, 0, 0, 0);
}
TEST(absent_object_means_empty_sets)
{
	if (!skip_unless_root())
		in_child(none_body);
}

static bool keep_inheritable;

/* A set left over from the caller must not survive (CVE-2022-29162). */
static void leftover_body(void)
{
	struct spec_caps c = sets(docker, docker, 0, 0);
	cap_t now = cap_get_proc();
	cap_value_t kill = CAP_KILL;

	cap_set_flag(now, CAP_INHERITABLE, 1, &kill, CAP_SET);
	CHECK_INT(cap_set_proc(now), 0);
	CHECK_INT(cap_set_ambient(CAP_KILL, CAP_SET), 0);
	cap_free(now);
	/* Inheritable by configuration: ambient must go all the same. */
	if (keep_inheritable)
		c.inheritable = docker;
	/* The kernel itself clears it for those who leave user 0. */
	apply(&c, keep_inheritable ? 0 : 1000);
	check_sets(c.inheritable, docker, docker, docker, 0);
}
TEST(callers_inheritable_and_ambient_go)
{
	if (skip_unless_root())
		return;
	in_child(leftover_body);
	keep_inheritable = true;
	in_child(leftover_body);
}

static void ambient_without_inheritable_body(void)
{
	struct spec_caps c = sets(docker, docker, 0, docker);

	apply(&c, 1000);
	check_sets(0, docker, docker, docker, 0);
}
TEST(ambient_without_inheritable_is_left_out)
{
	if (!skip_unless_root())
		in_child(ambient_without_inheritable_body);
}

static void unavailable_body(void)
{
	struct spec_caps c =
	    sets(docker | BIT(CAP_SYS_BOOT) | BIT(63), docker | BIT(CAP_SYS_BOOT), 0, 0);
	cap_t now = cap_get_proc();
	cap_value_t lost = CAP_SYS_BOOT;

	CHECK_INT(cap_drop_bound(CAP_SYS_BOOT), 0);
	cap_set_flag(now, CAP_PERMITTED, 1, &lost, CAP_CLEAR);
	cap_set_flag(now, CAP_EFFECTIVE, 1, &lost, CAP_CLEAR);
	CHECK_INT(cap_set_proc(now), 0);
	cap_free(now);
	apply(&c, 0);
	check_sets(0, docker, docker, docker, 0);
}
TEST(what_the_caller_lacks_is_left_out)
{
	if (!skip_unless_root())
		in_child(unavailable_body);
}

/* Runs caps_check with stderr in a buffer. */
static int check_output(const struct spec_caps *c, bool userns, char *out, size_t n, struct err *e)
{
	int saved = dup(2), fds[2], r;
	ssize_t got;

	CHECK_INT(pipe2(fds, O_NONBLOCK), 0);
	dup2(fds[1], 2);
	r = caps_check(c, userns, e);
	dup2(saved, 2);
	got = read(fds[0], out, n - 1);
	out[got > 0 ? got : 0] = '\0';
	close(saved);
	close(fds[0]);
	close(fds[1]);
	return r;
}

TEST(check_refuses_contradictions)
{
	struct spec_caps c = sets(docker, docker, 0, 0);
	struct err e = ERR_INIT;

	CHECK_INT(caps_check(&c, true, &e), 0);
	c.effective |= BIT(CAP_SYS_ADMIN);
	CHECK_INT(caps_check(&c, true, &e), -EPERM);
	CHECK_STR(e.msg, ".process.capabilities.effective: CAP_SYS_ADMIN: not in "
			 ".process.capabilities.permitted");
	c = sets(docker, docker, BIT(CAP_SYS_PTRACE), 0);
	CHECK_INT(caps_check(&c, true, &e), -EPERM);
	CHECK_HAS(e.msg, ".inheritable: CAP_SYS_PTRACE: not in .process.capabilities.bounding");
}

static void warns_body(void)
{
	struct spec_caps c = sets(docker | BIT(CAP_SYS_BOOT), docker, 0, docker);
	struct err e = ERR_INIT;
	char out[1024];

	CHECK_INT(cap_drop_bound(CAP_SYS_BOOT), 0);
	CHECK_INT(check_output(&c, false, out, sizeof(out), &e), 0);
	CHECK_HAS(out, "bailey does not have them itself: CAP_SYS_BOOT\n");
	CHECK_HAS(out, ".ambient: left out");
	/* In a user namespace of its own the container has it. */
	CHECK_INT(check_output(&c, true, out, sizeof(out), &e), 0);
	CHECK(!strstr(out, "CAP_SYS_BOOT"));
	c = sets(docker, docker, docker, docker);
	CHECK_INT(check_output(&c, false, out, sizeof(out), &e), 0);
	CHECK_STR(out, "");
}
TEST(check_warns_of_what_is_left_out)
{
	if (!skip_unless_root())
		in_child(warns_body);
}

static void no_setpcap_body(void)
{
	struct spec_caps c = sets(docker, docker, 0, 0);
	struct err e = ERR_INIT;
	cap_t none = cap_init();

	CHECK_INT(cap_set_proc(none), 0);
	cap_free(none);
	CHECK_INT(caps_drop_bounding(&c, &e), -EPERM);
	CHECK_HAS(e.msg, "CAP_SETPCAP is needed");
}
TEST(bounding_set_without_setpcap_is_an_error)
{
	if (!skip_unless_root())
		in_child(no_setpcap_body);
}

TEST_MAIN(T(root_gets_exactly_the_sets), T(another_user_keeps_what_was_asked_for),
    T(sets_are_independent), T(absent_object_means_empty_sets),
    T(callers_inheritable_and_ambient_go), T(ambient_without_inheritable_is_left_out),
    T(what_the_caller_lacks_is_left_out), T(check_refuses_contradictions),
    T(check_warns_of_what_is_left_out), T(bounding_set_without_setpcap_is_an_error))
