/* What a profile's properties mean for the program. */
#include "base/str.h"
#include "tests/unit/security/seccomp_ask.h"

/* ---- what a profile says ---- */

TEST(allow_list)
{
	struct spec_seccomp_rule r[] = { { .names = NAMES("read", "openat2", "no_such_call"),
	    .action = SECCOMP_ALLOW } };
	struct spec_seccomp s = profile(SECCOMP_ERRNO, r, 1);
	_cleanup_seccomp_ struct seccomp_prog p = { 0 };

	if (skip_unless_x86_64())
		return;
	compile(&s, &p);
	CHECK_INT(p.flags, 0);
	CHECK_INT(ask(&p, X64, SCMP_SYS(read)), SECCOMP_RET_ALLOW);
	CHECK_INT(ask(&p, X64, NR_OPENAT2), SECCOMP_RET_ALLOW);
	CHECK_INT(ask(&p, X64, SCMP_SYS(write)), RET_ERRNO(EPERM));
	/* architectures that are not listed */
	CHECK_INT(ask(&p, I386, 3), SECCOMP_RET_KILL_THREAD);
	CHECK_INT(ask(&p, X64, X32 | 0), SECCOMP_RET_KILL_THREAD);
	CHECK_INT(ask(&p, X64, X32 | 9999), SECCOMP_RET_KILL_THREAD);
}

TEST(default_actions_and_values)
{
	static const struct {
		enum spec_seccomp_action action;
		struct opt_u32 value;
		uint32_t want;
	} t[] = {
		{ SECCOMP_KILL_THREAD, { false }, SECCOMP_RET_KILL_THREAD },
		{ SECCOMP_KILL_PROCESS, { false }, SECCOMP_RET_KILL_PROCESS },
		{ SECCOMP_TRAP, { false }, SECCOMP_RET_TRAP },
		{ SECCOMP_ERRNO, { false }, RET_ERRNO(EPERM) },
		{ SECCOMP_ERRNO, { true, 38 }, RET_ERRNO(38) },
		{ SECCOMP_ERRNO, { true, 0 }, RET_ERRNO(0) },
		{ SECCOMP_TRACE, { false }, SECCOMP_RET_TRACE | EPERM },
		{ SECCOMP_TRACE, { true, 0x1234 }, SECCOMP_RET_TRACE | 0x1234 },
		{ SECCOMP_LOG, { false }, SECCOMP_RET_LOG },
	};
	struct spec_seccomp_rule r[] = { { .names = NAMES("read", "tee"),
	    .action = SECCOMP_ALLOW } };

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct spec_seccomp s = profile(t[i].action, r, 1);
		_cleanup_seccomp_ struct seccomp_prog p = { 0 };

		s.default_errno_ret = t[i].value;
		compile(&s, &p);
		CHECK_INT(ask(&p, X64, SCMP_SYS(write)), t[i].want);
		CHECK_INT(ask(&p, X64, SCMP_SYS(read)), SECCOMP_RET_ALLOW);
	}
}

TEST(rule_actions_and_values)
{
	struct spec_seccomp_rule r[] = {
		{ .names = NAMES("read"), .action = SECCOMP_ERRNO, .errno_ret = { true, 13 } },
		{ .names = NAMES("write"), .action = SECCOMP_ERRNO },
		{ .names = NAMES("open"), .action = SECCOMP_TRACE, .errno_ret = { true, 7 } },
		{ .names = NAMES("close"), .action = SECCOMP_KILL_PROCESS },
		{ .names = NAMES("stat"), .action = SECCOMP_ALLOW }, /* as the default: skipped */
	};
	struct spec_seccomp s = profile(SECCOMP_ALLOW, r, ARRAY_SIZE(r));
	_cleanup_seccomp_ struct seccomp_prog p = { 0 };

	compile(&s, &p);
	CHECK_INT(ask(&p, X64, SCMP_SYS(read)), RET_ERRNO(13));
	CHECK_INT(ask(&p, X64, SCMP_SYS(write)), RET_ERRNO(EPERM));
	CHECK_INT(ask(&p, X64, SCMP_SYS(open)), SECCOMP_RET_TRACE | 7);
	CHECK_INT(ask(&p, X64, SCMP_SYS(close)), SECCOMP_RET_KILL_PROCESS);
	CHECK_INT(ask(&p, X64, SCMP_SYS(stat)), SECCOMP_RET_ALLOW);
	CHECK_INT(ask(&p, X64, 5000), SECCOMP_RET_ALLOW); /* permissive: no ENOSYS */
}

TEST(operators)
{
	static const struct {
		enum spec_seccomp_op op;
		uint64_t value, two, hit, miss;
	} t[] = {
		{ CMP_EQ, 0x100000005, 0, 0x100000005, 5 },
		{ CMP_NE, 5, 0, 0x100000005, 5 },
		{ CMP_LT, 0x100000000, 0, 0xffffffff, 0x100000000 },
		{ CMP_LE, 0x100000000, 0, 0x100000000, 0x100000001 },
		{ CMP_GE, 0x100000000, 0, 0x100000000, 0xffffffff },
		{ CMP_GT, 0x100000000, 0, 0x100000001, 0x100000000 },
		{ CMP_MASKED_EQ, 0x7e020000, 0, 0x11, 0x10000000 },
		{ CMP_MASKED_EQ, 0xf0, 0x30, 0x3f, 0x4f },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct spec_seccomp_rule r[] = { { .names = NAMES("clone"),
		    .action = SECCOMP_ALLOW,
		    .args = ARGS({ 2, t[i].value, t[i].two, t[i].op }) } };
		struct spec_seccomp s = profile(SECCOMP_KILL_PROCESS, r, 1);
		_cleanup_seccomp_ struct seccomp_prog p = { 0 };

		compile(&s, &p);
		CHECK_INT(ask1(&p, SCMP_SYS(clone), 2, t[i].hit), SECCOMP_RET_ALLOW);
		CHECK_INT(ask1(&p, SCMP_SYS(clone), 2, t[i].miss), SECCOMP_RET_KILL_PROCESS);
	}
}

TEST(conditions_on_different_arguments_must_all_hold)
{
	struct spec_seccomp_rule r[] = { { .names = NAMES("socket"),
	    .action = SECCOMP_ALLOW,
	    .args = ARGS({ 0, 1, 0, CMP_EQ }, { 1, 2, 0, CMP_EQ }) } };
	struct spec_seccomp s = profile(SECCOMP_ERRNO, r, 1);
	_cleanup_seccomp_ struct seccomp_prog p = { 0 };
	uint32_t nr = SCMP_SYS(socket);

	compile(&s, &p);
	CHECK_INT(ask_args(&p, X64, nr, (const uint64_t[6]){ 1, 2 }), SECCOMP_RET_ALLOW);
	CHECK_INT(ask_args(&p, X64, nr, (const uint64_t[6]){ 1, 3 }), RET_ERRNO(EPERM));
	CHECK_INT(ask_args(&p, X64, nr, (const uint64_t[6]){ 0, 2 }), RET_ERRNO(EPERM));
}

TEST(conditions_on_one_argument_are_alternatives)
{
	struct spec_seccomp_rule r[] = { { .names = NAMES("personality"),
	    .action = SECCOMP_ALLOW,
	    .args = ARGS({ 0, 8, 0, CMP_EQ }, { 0, 16, 0, CMP_EQ }) } };
	struct spec_seccomp s = profile(SECCOMP_ERRNO, r, 1);
	_cleanup_seccomp_ struct seccomp_prog p = { 0 };

	compile(&s, &p);
	CHECK_INT(ask1(&p, SCMP_SYS(personality), 0, 8), SECCOMP_RET_ALLOW);
	CHECK_INT(ask1(&p, SCMP_SYS(personality), 0, 16), SECCOMP_RET_ALLOW);
	CHECK_INT(ask1(&p, SCMP_SYS(personality), 0, 0), RET_ERRNO(EPERM));
}

/* ---- architectures and newer calls ---- */

TEST(newer_calls_get_enosys)
{
	struct spec_seccomp_rule r[] = { { .names = NAMES("read", "openat2", "write"),
	    .action = SECCOMP_ALLOW } };
	struct spec_seccomp s = profile(SECCOMP_ERRNO, r, 1);
	_cleanup_seccomp_ struct seccomp_prog p = { 0 };

	if (skip_unless_x86_64())
		return;
	s.archs = (struct spec_strv)NAMES("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32");
	compile(&s, &p);
	for (uint32_t nr = NR_OPENAT2 + 1; nr < 600; nr++) {
		CHECK_INT(ask(&p, X64, nr), RET_ERRNO(ENOSYS));
		CHECK_INT(ask(&p, I386, nr), RET_ERRNO(ENOSYS));
		CHECK_INT(ask(&p, X64, X32 | nr), RET_ERRNO(ENOSYS));
	}
	CHECK_INT(ask(&p, X64, NR_OPENAT2), SECCOMP_RET_ALLOW);
	CHECK_INT(ask(&p, I386, NR_OPENAT2), SECCOMP_RET_ALLOW);
	CHECK_INT(ask(&p, X64, X32 | NR_OPENAT2), SECCOMP_RET_ALLOW);
	CHECK_INT(ask(&p, X64, NR_OPENAT2 - 1), RET_ERRNO(EPERM));
	CHECK_INT(ask(&p, I386, NR_OPENAT2 - 1), RET_ERRNO(EPERM));
	CHECK_INT(ask(&p, X64, X32 | (NR_OPENAT2 - 1)), RET_ERRNO(EPERM));
	CHECK_INT(ask(&p, I386, 3), SECCOMP_RET_ALLOW);
	CHECK_INT(ask(&p, X64, X32 | 1), SECCOMP_RET_ALLOW);
	CHECK_INT(ask(&p, AUDIT_ARCH_AARCH64, 63), SECCOMP_RET_KILL_THREAD);
}

TEST(enosys_only_where_the_default_refuses)
{
	struct spec_seccomp_rule r[] = { { .names = NAMES("read", "write"),
	    .action = SECCOMP_ALLOW } };
	struct spec_seccomp_rule deny[] = { { .names = NAMES("read"), .action = SECCOMP_ERRNO } };
	struct spec_seccomp s;

	for (int a = 0; a <= SECCOMP_LOG; a++) {
		bool refuses = a != SECCOMP_TRACE && a != SECCOMP_ALLOW && a != SECCOMP_LOG;
		_cleanup_seccomp_ struct seccomp_prog p = { 0 };

		s = a == SECCOMP_ALLOW ? profile(a, deny, 1) : profile(a, r, 1);
		compile(&s, &p);
		CHECK_INT(ask(&p, X64, 999) == RET_ERRNO(ENOSYS), refuses);
	}
}

/* i386 has direct numbers for what socketcall(2) multiplexes; naming them is enough. */
TEST(multiplexed_calls_count_by_their_direct_numbers)
{
	static char *names[] = { "socket", "semget" };
	const uint32_t direct[] = { 359, 393 };

	if (skip_unless_x86_64())
		return;
	for (int i = 0; i < 2; i++) {
		struct spec_seccomp_rule r[] = { { .names = NAMES("read", names[i]),
		    .action = SECCOMP_ALLOW } };
		struct spec_seccomp s = profile(SECCOMP_ERRNO, r, 1);
		_cleanup_seccomp_ struct seccomp_prog p = { 0 };

		s.archs = (struct spec_strv)NAMES("SCMP_ARCH_X86");
		compile(&s, &p);
		CHECK_INT(ask(&p, I386, direct[i]), SECCOMP_RET_ALLOW);
		CHECK_INT(ask(&p, I386, 437), RET_ERRNO(ENOSYS));
	}
}

TEST(empty_profile)
{
	struct spec_seccomp s = profile(SECCOMP_ALLOW, NULL, 0);
	_cleanup_seccomp_ struct seccomp_prog p = { 0 }, q = { 0 };

	compile(&s, &p);
	CHECK_INT(ask(&p, X64, 0), SECCOMP_RET_ALLOW);
	s.default_action = SECCOMP_ERRNO;
	compile(&s, &q);
	CHECK_INT(ask(&q, X64, 0), RET_ERRNO(EPERM));
	CHECK_INT(ask(&q, X64, 999), RET_ERRNO(EPERM));
}

/* ---- refusals ---- */

static void refused(const struct spec_seccomp *s, int code, const char *text)
{
	struct seccomp_prog p = { .n = 77 };
	struct err e = ERR_INIT;

	CHECK_INT(seccomp_compile(s, &p, &e), -code);
	CHECK_HAS(e.msg, text);
	CHECK_INT(p.n, 77); /* untouched */
}

TEST(refusals)
{
	struct spec_seccomp_rule r[] = { { .names = NAMES("read"), .action = SECCOMP_ERRNO } };
	struct spec_seccomp s = profile(SECCOMP_ALLOW, r, 1);

	r[0].errno_ret = (struct opt_u32){ true, 4096 };
	refused(&s, ERANGE, ".linux.seccomp.syscalls[0].errnoRet: 4096: above 4095");
	r[0].action = SECCOMP_TRACE;
	r[0].errno_ret.v = 65536;
	refused(&s, ERANGE, "above 65535");
	r[0].action = SECCOMP_KILL_PROCESS;
	refused(&s, EINVAL, "errnoRet: 65536: SCMP_ACT_KILL_PROCESS takes no value");
	r[0].errno_ret.set = false;
	s.default_errno_ret = (struct opt_u32){ true, 1 };
	refused(&s, EINVAL, ".linux.seccomp.defaultErrnoRet: 1: SCMP_ACT_ALLOW takes no value");
	s.default_errno_ret.set = false;
	s.archs = (struct spec_strv)NAMES("SCMP_ARCH_X86", "SCMP_ARCH_LOONGARCH64");
	refused(&s, EINVAL, ".linux.seccomp.architectures[1]: \"SCMP_ARCH_LOONGARCH64\": unknown");
	s.archs = (struct spec_strv)NAMES("SCMP_ARCH_PPC64");
	refused(&s, EINVAL, "byte order");
	s.archs = (struct spec_strv){ 0 };
	r[0].args.v = &(struct spec_seccomp_arg){ .index = 6 };
	r[0].args.n = 1;
	refused(&s, EINVAL, ".linux.seccomp.syscalls[0].args[0].index: 6");
}

TEST(notify)
{
	struct spec_seccomp_rule r[] = { { .names = NAMES("mkdir"), .action = SECCOMP_NOTIFY } };
	struct spec_seccomp s = profile(SECCOMP_ALLOW, r, 1);
	_cleanup_seccomp_ struct seccomp_prog p = { 0 }, q = { 0 };

	refused(&s, EINVAL, ".linux.seccomp.listenerPath");
	s.listener_path = "/run/agent.sock";
	s.flags = SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV | SECCOMP_FILTER_FLAG_LOG;
	compile(&s, &p);
	CHECK_INT(p.flags, s.flags | SECCOMP_FILTER_FLAG_NEW_LISTENER);
	CHECK_INT(ask(&p, X64, SCMP_SYS(mkdir)), SECCOMP_RET_USER_NOTIF);
	r[0].action = SECCOMP_ERRNO;
	compile(&s, &q);
	CHECK_INT(q.flags, SECCOMP_FILTER_FLAG_LOG);
	r[0] = (struct spec_seccomp_rule){ .names = NAMES("mkdir", "write"),
		.action = SECCOMP_NOTIFY };
	refused(&s, EINVAL, "syscalls[0].names[1]: \"write\" cannot have SCMP_ACT_NOTIFY");
	s = profile(SECCOMP_NOTIFY, NULL, 0);
	refused(&s, EINVAL, ".linux.seccomp.defaultAction: SCMP_ACT_NOTIFY");
}

/* What the kernel needs to answer from its bitmap: a call without conditions is decided before any
 * argument is loaded. */
static bool loads_arguments(const struct seccomp_prog *p, uint32_t nr)
{
	struct seccomp_prog blind = { .insns = xmalloc(p->n * sizeof(*p->insns)), .n = p->n };
	bool r;

	memcpy(blind.insns, p->insns, p->n * sizeof(*p->insns));
	for (size_t i = 0; i < blind.n; i++)
		if (blind.insns[i].code == (BPF_LD | BPF_W | BPF_ABS) &&
		    blind.insns[i].k >= offsetof(struct seccomp_data, instruction_pointer))
			blind.insns[i].code = 0xffff;
	r = ask(&blind, X64, nr) == SIM_BROKEN;
	seccomp_prog_free(&blind);
	return r;
}

TEST(unconditional_calls_load_no_argument)
{
	struct spec_seccomp_rule r[] = {
		{ .names = NAMES("clone", "read"),
		    .action = SECCOMP_ALLOW,
		    .args = ARGS({ 0, 1, 0, CMP_EQ }) },
		{ .names = NAMES("read", "write"), .action = SECCOMP_ALLOW },
		{ .names = NAMES("openat"),
		    .action = SECCOMP_ALLOW,
		    .args = ARGS({ 0, 0, 0, CMP_MASKED_EQ }) }, /* always holds */
	};
	struct spec_seccomp s = profile(SECCOMP_ERRNO, r, ARRAY_SIZE(r));
	_cleanup_seccomp_ struct seccomp_prog p = { 0 };

	compile(&s, &p);
	CHECK(loads_arguments(&p, SCMP_SYS(clone)));
	CHECK(!loads_arguments(&p, SCMP_SYS(read)));
	CHECK(!loads_arguments(&p, SCMP_SYS(write)));
	CHECK(!loads_arguments(&p, SCMP_SYS(openat)));
	CHECK(!loads_arguments(&p, SCMP_SYS(close)));
	CHECK_INT(ask(&p, X64, SCMP_SYS(openat)), SECCOMP_RET_ALLOW);
}

/* Calls and architectures with the same conditions share their code. */
TEST(equal_conditions_are_compiled_once)
{
	struct spec_seccomp_rule one = { .names = NAMES("clone"),
		.action = SECCOMP_ALLOW,
		.args = ARGS({ 0, 1, 0, CMP_GT }, { 1, 2, 0, CMP_LE }, { 2, 3, 0, CMP_NE }) };
	struct spec_seccomp_rule two = one;
	struct spec_seccomp s1 = profile(SECCOMP_ERRNO, &one, 1);
	struct spec_seccomp s2 = profile(SECCOMP_ERRNO, &two, 1);
	_cleanup_seccomp_ struct seccomp_prog p = { 0 }, q = { 0 };

	two.names = (struct spec_strv)NAMES("clone", "mincore");
	compile(&s1, &p);
	compile(&s2, &q);
	/* Two ranges more, two instructions each. */
	CHECK_INT(q.n, p.n + 4);
	CHECK_INT(ask_args(&q, X64, SCMP_SYS(mincore), (const uint64_t[6]){ 2, 2, 4 }),
	    SECCOMP_RET_ALLOW);
}

/* Every call of libseccomp's in one profile, alternately treated: halves of the tree are further
 * away than a conditional jump reaches. */
TEST(far_jumps_and_the_limit)
{
	static char *odd[512], *even[512];
	static struct spec_seccomp_arg many[2000];
	struct spec_seccomp_rule r[] = {
		{ .names = { odd, 0 }, .action = SECCOMP_ALLOW },
		{ .names = { even, 0 }, .action = SECCOMP_LOG },
	};
	struct spec_seccomp_rule huge[] = { { .names = NAMES("ioctl"),
	    .action = SECCOMP_ALLOW,
	    .args = { many, ARRAY_SIZE(many) } } };
	struct spec_seccomp s = profile(SECCOMP_KILL_PROCESS, r, ARRAY_SIZE(r));
	_cleanup_seccomp_ struct seccomp_prog p = { 0 };
	int wrong = 0;

	for (int nr = 0; nr < 512; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);
		struct spec_strv *names = &r[nr % 2].names;

		if (name)
			names->v[names->n++] = name;
	}
	compile(&s, &p);
	for (int i = 0; i < 2; i++)
		for (size_t j = 0; j < r[i].names.n; j++) {
			int nr = seccomp_syscall_resolve_name(r[i].names.v[j]);

			wrong +=
			    ask(&p, X64, (uint32_t)nr) != (i ? SECCOMP_RET_LOG : SECCOMP_RET_ALLOW);
			free(r[i].names.v[j]);
		}
	CHECK_INT(wrong, 0);
	CHECK(r[0].names.n > 150 && p.n > 600);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = (struct spec_seccomp_arg){ 1, i, 0, CMP_EQ };
	s = profile(SECCOMP_ERRNO, huge, 1);
	refused(&s, E2BIG, "BPF instructions, the kernel takes 4096");
	huge[0].args.n = 700; /* one call's code is longer than a conditional jump, too */
	seccomp_prog_free(&p);
	compile(&s, &p);
	CHECK_INT(ask1(&p, SCMP_SYS(ioctl), 1, 699), SECCOMP_RET_ALLOW);
	CHECK_INT(ask1(&p, SCMP_SYS(ioctl), 1, 700), RET_ERRNO(EPERM));
}

static size_t loads_of(const struct seccomp_prog *p, uint32_t offset)
{
	size_t n = 0;

	for (size_t i = 0; i < p->n; i++)
		n += p->insns[i].code == (BPF_LD | BPF_W | BPF_ABS) && p->insns[i].k == offset;
	return n;
}

/* libseccomp's programs look at the architecture again. */
TEST(only_contradictions_are_asked_of_libseccomp)
{
	static const struct {
		struct spec_seccomp_arg a, b;
		bool contradict;
	} t[] = {
		{ { 0, 1, 0, CMP_EQ }, { 0, 2, 0, CMP_EQ }, false },
		{ { 0, 1, 0, CMP_EQ }, { 0, 1, 0, CMP_NE }, false },
		{ { 0, 1, 0, CMP_NE }, { 0, 1, 0, CMP_EQ }, false },
		{ { 0, 0xf0, 0x10, CMP_MASKED_EQ }, { 0, 0x30, 0x20, CMP_MASKED_EQ }, false },
		{ { 0, 0xf0, 0x10, CMP_MASKED_EQ }, { 0, 0x20, 0, CMP_EQ }, false },
		{ { 0, 5, 0, CMP_LT }, { 0, 5, 0, CMP_GE }, false },
		{ { 0, 5, 0, CMP_GT }, { 0, 5, 0, CMP_LE }, false },
		{ { 0, 0, 0, CMP_LT }, { 0, 5, 0, CMP_GE }, false },
		{ { 0, 1, 0, CMP_EQ }, { 1, 2, 0, CMP_EQ }, true },
		{ { 0, 1, 0, CMP_NE }, { 0, 2, 0, CMP_NE }, true },
		{ { 0, 5, 0, CMP_LE }, { 0, 5, 0, CMP_GE }, true },
		{ { 0, 0xf0, 0x10, CMP_MASKED_EQ }, { 0, 0x0f, 1, CMP_MASKED_EQ }, true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct spec_seccomp_arg a = t[i].a, b = t[i].b;
		struct spec_seccomp_rule r[] = {
			{ .names = NAMES("ioctl"), .action = SECCOMP_ALLOW, .args = { &a, 1 } },
			{ .names = NAMES("ioctl"), .action = SECCOMP_LOG, .args = { &b, 1 } },
		};
		struct spec_seccomp s = profile(SECCOMP_ERRNO, r, 2);
		_cleanup_seccomp_ struct seccomp_prog p = { 0 };

		compile(&s, &p);
		CHECK_INT(loads_of(&p, offsetof(struct seccomp_data, arch)) > 1, t[i].contradict);
	}
}

/* Numbers 0 to 2 take no more instructions than 0. */
TEST(neighbours_are_one_range)
{
	struct spec_seccomp_rule one = { .names = NAMES("read"), .action = SECCOMP_ALLOW };
	struct spec_seccomp_rule three = { .names = NAMES("write", "read", "open"),
		.action = SECCOMP_ALLOW };
	struct spec_seccomp s1 = profile(SECCOMP_TRACE, &one, 1);
	struct spec_seccomp s3 = profile(SECCOMP_TRACE, &three, 1);
	_cleanup_seccomp_ struct seccomp_prog p = { 0 }, q = { 0 };

	if (skip_unless_x86_64())
		return;
	compile(&s1, &p);
	compile(&s3, &q);
	CHECK_INT(p.n, q.n);
	CHECK_INT(ask(&q, X64, SCMP_SYS(open)), SECCOMP_RET_ALLOW);
}

/* Two rules with different actions that both hold: libseccomp's answer, which is the closer one. */
TEST(contradictions_are_libseccomps)
{
	struct spec_seccomp_rule r[] = {
		{ .names = NAMES("ioctl"),
		    .action = SECCOMP_ALLOW,
		    .args = ARGS({ 1, 100, 0, CMP_LT }) },
		{ .names = NAMES("ioctl"),
		    .action = SECCOMP_LOG,
		    .args = ARGS({ 1, 5, 0, CMP_EQ }) },
		{ .names = NAMES("ioctl"),
		    .action = SECCOMP_TRAP,
		    .args = ARGS({ 1, 5, 0, CMP_EQ }) },
	};
	struct spec_seccomp s = profile(SECCOMP_ERRNO, r, 2);
	_cleanup_seccomp_ struct seccomp_prog p = { 0 };

	compile(&s, &p);
	CHECK_INT(ask1(&p, SCMP_SYS(ioctl), 1, 5), SECCOMP_RET_LOG);
	CHECK_INT(ask1(&p, SCMP_SYS(ioctl), 1, 6), SECCOMP_RET_ALLOW);
	CHECK_INT(ask1(&p, SCMP_SYS(ioctl), 1, 100), RET_ERRNO(EPERM));
	s.rules.n = 3;
	refused(&s, EEXIST, "a rule for \"ioctl\" contradicts an earlier one");
}

/* A call that i386 does not have must not disturb those that it has. */
TEST(calls_of_other_architectures_do_not_disturb)
{
	struct spec_seccomp_rule r[] = {
		{ .names = NAMES("arm_fadvise64_64"), .action = SECCOMP_ERRNO },
		{ .names = NAMES("write"),
		    .action = SECCOMP_ERRNO,
		    .args = ARGS({ 0, 2, 0, CMP_EQ }) },
	};
	struct spec_seccomp s = profile(SECCOMP_ALLOW, r, ARRAY_SIZE(r));
	_cleanup_seccomp_ struct seccomp_prog p = { 0 };

	if (skip_unless_x86_64())
		return;
	s.archs = (struct spec_strv)NAMES("SCMP_ARCH_X86");
	compile(&s, &p);
	CHECK_INT(ask_args(&p, I386, 4, (const uint64_t[6]){ 2 }), RET_ERRNO(EPERM));
	CHECK_INT(ask_args(&p, I386, 4, (const uint64_t[6]){ 1 }), SECCOMP_RET_ALLOW);
}

TEST_MAIN(T(allow_list), T(default_actions_and_values), T(rule_actions_and_values), T(operators),
    T(conditions_on_different_arguments_must_all_hold),
    T(conditions_on_one_argument_are_alternatives), T(newer_calls_get_enosys),
    T(enosys_only_where_the_default_refuses), T(multiplexed_calls_count_by_their_direct_numbers),
    T(empty_profile), T(refusals), T(notify), T(unconditional_calls_load_no_argument),
    T(equal_conditions_are_compiled_once), T(only_contradictions_are_asked_of_libseccomp),
    T(neighbours_are_one_range), T(far_jumps_and_the_limit), T(contradictions_are_libseccomps),
    T(calls_of_other_architectures_do_not_disturb))
