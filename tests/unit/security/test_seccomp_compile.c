#include <errno.h>
#include <linux/audit.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "base/str.h"
#include "security/security.h"
#include "tests/unit/security/bpf_sim.h"
#include "tests/unit/security/child.h"

#define X64	     AUDIT_ARCH_X86_64
#define I386	     AUDIT_ARCH_I386
#define X32	     0x40000000u
#define RET_ERRNO(n) (SECCOMP_RET_ERRNO | (n))
#define NR_OPENAT2   437

#define NAMES(...)                                                     \
	{                                                              \
		(char *[]){ __VA_ARGS__, NULL },                       \
		    sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *) \
	}
#define ARGS(...)                                                        \
	{                                                                \
		(struct spec_seccomp_arg[]){ __VA_ARGS__ },              \
		    sizeof((struct spec_seccomp_arg[]){ __VA_ARGS__ }) / \
			sizeof(struct spec_seccomp_arg)                  \
	}

static struct spec_seccomp profile(
    enum spec_seccomp_action def, struct spec_seccomp_rule *rules, size_t n)
{
	return (struct spec_seccomp){ .has = true, .default_action = def, .rules = { rules, n } };
}

static uint32_t ask_args(
    const struct seccomp_prog *p, uint32_t arch, uint32_t nr, const uint64_t args[6])
{
	struct seccomp_data d = { .nr = (int)nr, .arch = arch };
	unsigned steps;

	memcpy(d.args, args, sizeof(d.args));
	return bpf_sim(p->insns, p->n, &d, &steps);
}

static uint32_t ask(const struct seccomp_prog *p, uint32_t arch, uint32_t nr)
{
	return ask_args(p, arch, nr, (const uint64_t[6]){ 0 });
}

static uint32_t ask1(const struct seccomp_prog *p, uint32_t nr, unsigned index, uint64_t v)
{
	uint64_t args[6] = { 0 };

	args[index] = v;
	return ask_args(p, X64, nr, args);
}

static void compile(const struct spec_seccomp *s, struct seccomp_prog *p)
{
	struct err e = ERR_INIT;

	CHECK_INT(seccomp_compile(s, p, &e), 0);
	CHECK_STR(e.msg, "");
}

static bool skip_unless_x86_64(void)
{
	if (seccomp_arch_native() == SCMP_ARCH_X86_64)
		return false;
	printf("# SKIP numbers are those of x86-64\n");
	return true;
}

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

/* ---- a whole profile, against libseccomp's own program for all architectures ---- */

#define ENGINE_PROFILE "/usr/share/containers/seccomp.json"
#define RULES_MAX      128

static bool lists(const struct json *node, const char *key, const char *what)
{
	const struct json *list = node ? json_get(node, key) : NULL;

	if (list && list->type == JSON_ARRAY)
		json_foreach (it, list)
			if (streq(it->s, what))
				return true;
	return false;
}

static bool has_list(const struct json *node, const char *key)
{
	const struct json *list = node ? json_get(node, key) : NULL;

	return list && list->type == JSON_ARRAY && list->len > 0;
}

/* For an unprivileged container on x86-64, as engines select. */
static bool selected(const struct json *rule)
{
	const struct json *in = json_get(rule, "includes"), *ex = json_get(rule, "excludes");

	if (has_list(in, "arches") && !lists(in, "arches", "amd64"))
		return false;
	return !lists(ex, "arches", "amd64") && !has_list(in, "caps");
}

static uint64_t number(const struct json *object, const char *key)
{
	const struct json *v = json_get(object, key);

	return v ? (uint64_t)v->i : 0;
}

static enum spec_seccomp_action action_of(const char *name)
{
	return streq(name, "SCMP_ACT_ALLOW") ? SECCOMP_ALLOW : SECCOMP_ERRNO;
}

static void convert_rule(struct arena *a, const struct json *in, struct spec_seccomp_rule *out)
{
	const struct json *names = json_get(in, "names"), *args = json_get(in, "args");
	const struct json *value = json_get(in, "errnoRet");
	size_t i = 0;

	out->action = action_of(json_get(in, "action")->s);
	if (value && value->type == JSON_INT)
		out->errno_ret = (struct opt_u32){ true, (uint32_t)value->i };
	out->names.v = arena_calloc(a, names->len + 1, sizeof(char *));
	json_foreach (n, names)
		out->names.v[out->names.n++] = (char *)n->s;
	if (!args || args->type != JSON_ARRAY || args->len == 0)
		return;
	out->args.v = arena_calloc(a, args->len, sizeof(*out->args.v));
	out->args.n = args->len;
	json_foreach (arg, args) {
		const char *op = json_get(arg, "op")->s;

		out->args.v[i++] =
		    (struct spec_seccomp_arg){ .index = (uint32_t)number(arg, "index"),
			    .value = number(arg, "value"),
			    .value_two = number(arg, "valueTwo"),
			    .op = streq(op, "SCMP_CMP_EQ")   ? CMP_EQ
				  : streq(op, "SCMP_CMP_NE") ? CMP_NE
							     : CMP_MASKED_EQ };
	}
}

/* NULL: not installed. */
static struct spec_seccomp *engine_profile(struct arena *a)
{
	struct spec_seccomp *s = arena_alloc(a, sizeof(*s));
	const struct json *doc;
	struct err e = ERR_INIT;

	if (json_parse_file(a, AT_FDCWD, ENGINE_PROFILE, &doc, &e) < 0)
		return NULL;
	*s = profile(action_of(json_get(doc, "defaultAction")->s),
	    arena_calloc(a, RULES_MAX, sizeof(*s->rules.v)), 0);
	if (json_get(doc, "defaultErrnoRet"))
		s->default_errno_ret =
		    (struct opt_u32){ true, (uint32_t)number(doc, "defaultErrnoRet") };
	json_foreach (rule, json_get(doc, "syscalls"))
		if (selected(rule) && s->rules.n < RULES_MAX)
			convert_rule(a, rule, &s->rules.v[s->rules.n++]);
	s->archs.v = arena_calloc(a, 4, sizeof(char *));
	s->archs.v[0] = "SCMP_ARCH_X86_64";
	s->archs.v[1] = "SCMP_ARCH_X86";
	s->archs.v[2] = "SCMP_ARCH_X32";
	s->archs.n = 3;
	return s;
}

/* The reference: one context for all architectures, a chain of comparisons, no head of ours. */
static void reference(const struct spec_seccomp *s, struct seccomp_prog *ret)
{
	uint32_t def = SCMP_ACT_ERRNO(s->default_errno_ret.set ? s->default_errno_ret.v : EPERM);
	scmp_filter_ctx ctx = seccomp_init(def);
	_cleanup_close_ int fd = memfd_create("reference", MFD_CLOEXEC);
	off_t size;

	CHECK_INT(seccomp_arch_add(ctx, SCMP_ARCH_X86), 0);
	CHECK_INT(seccomp_arch_add(ctx, SCMP_ARCH_X32), 0);
	for (size_t i = 0; i < s->rules.n; i++) {
		const struct spec_seccomp_rule *r = &s->rules.v[i];
		uint32_t act = r->action == SECCOMP_ALLOW
				   ? SCMP_ACT_ALLOW
				   : SCMP_ACT_ERRNO(r->errno_ret.set ? r->errno_ret.v : EPERM);

		for (size_t j = 0; j < r->names.n && act != def; j++) {
			int nr = seccomp_syscall_resolve_name(r->names.v[j]);
			struct scmp_arg_cmp c = { 0 };

			if (r->args.n) {
				const struct spec_seccomp_arg *a = r->args.v;

				c = a->op == CMP_EQ   ? SCMP_CMP(a->index, SCMP_CMP_EQ, a->value)
				    : a->op == CMP_NE ? SCMP_CMP(a->index, SCMP_CMP_NE, a->value)
						      : SCMP_CMP(a->index, SCMP_CMP_MASKED_EQ,
							    a->value, a->value_two);
			}
			if (nr != __NR_SCMP_ERROR)
				CHECK_INT(seccomp_rule_add_array(ctx, act, nr, r->args.n ? 1 : 0,
					      r->args.n ? &c : NULL),
				    0);
		}
	}
	CHECK_INT(seccomp_export_bpf(ctx, fd), 0);
	seccomp_release(ctx);
	size = lseek(fd, 0, SEEK_END);
	ret->insns = xmalloc((size_t)size);
	ret->n = (size_t)size / sizeof(*ret->insns);
	CHECK_INT(pread(fd, ret->insns, (size_t)size, 0), size);
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static unsigned compare_all(
    const struct seccomp_prog *p, const struct seccomp_prog *ref, uint32_t arch, uint32_t base)
{
	static const uint64_t values[] = { 0, 1, 8, 0x20000, 0x20008, 0xffffffff, 16, 40,
		0x7e020000, 0x10000000, UINT64_MAX };
	unsigned differ = 0;

	for (uint32_t nr = base; nr < base + 600; nr++)
		for (size_t v = 0; v < ARRAY_SIZE(values); v++) {
			const uint64_t args[6] = { values[v], values[v], values[v], values[v],
				values[v], values[v] };
			uint32_t got = ask_args(p, arch, nr, args);
			uint32_t want = ask_args(ref, arch, nr, args);

			/* Newer than the profile: ours says ENOSYS, by design. */
			if (got != want && !(got == RET_ERRNO(ENOSYS) && nr - base > 430)) {
				printf("# arch %#x nr %#x value %#llx: %#x, reference %#x\n", arch,
				    nr, (unsigned long long)values[v], got, want);
				differ++;
			}
		}
	return differ;
}

TEST(engine_profile_decides_as_libseccomp_does)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_seccomp_ struct seccomp_prog p = { 0 }, ref = { 0 };
	struct spec_seccomp *s = engine_profile(a);
	double start, took;

	if (!s || skip_unless_x86_64()) {
		printf("# SKIP no " ENGINE_PROFILE "\n");
		return;
	}
	start = now_ms();
	compile(s, &p);
	took = now_ms() - start;
	reference(s, &ref);
	printf("# %zu rules: %zu instructions in %.2f ms; libseccomp alone %zu\n", s->rules.n, p.n,
	    took, ref.n);
	CHECK_INT(compare_all(&p, &ref, X64, 0), 0);
	CHECK_INT(compare_all(&p, &ref, I386, 0), 0);
	CHECK_INT(compare_all(&p, &ref, X64, X32), 0);
	CHECK_INT(compare_all(&p, &ref, AUDIT_ARCH_AARCH64, 0), 0);
	/* The same with a default that is not ENOSYS, so that the head is in play. */
	seccomp_prog_free(&p);
	seccomp_prog_free(&ref);
	s->default_errno_ret = (struct opt_u32){ true, 99 };
	compile(s, &p);
	reference(s, &ref);
	CHECK_INT(compare_all(&p, &ref, X64, 0), 0);
	CHECK_INT(compare_all(&p, &ref, I386, 0), 0);
	CHECK_INT(compare_all(&p, &ref, X64, X32), 0);
}

/* A large profile must not cost a chain of comparisons. */
TEST(large_profiles_get_a_tree)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_seccomp_ struct seccomp_prog p = { 0 };
	struct spec_seccomp *s = engine_profile(a);
	unsigned worst = 0, steps;

	if (!s || skip_unless_x86_64()) {
		printf("# SKIP no " ENGINE_PROFILE "\n");
		return;
	}
	compile(s, &p);
	for (uint32_t nr = 0; nr < 450; nr++) {
		struct seccomp_data d = { .nr = (int)nr, .arch = X64 };

		bpf_sim(p.insns, p.n, &d, &steps);
		worst = steps > worst ? steps : worst;
	}
	printf("# worst path: %u instructions\n", worst);
	CHECK(worst < 60);
}

TEST_MAIN(T(allow_list), T(default_actions_and_values), T(rule_actions_and_values), T(operators),
    T(conditions_on_different_arguments_must_all_hold),
    T(conditions_on_one_argument_are_alternatives), T(newer_calls_get_enosys),
    T(enosys_only_where_the_default_refuses), T(multiplexed_calls_count_by_their_direct_numbers),
    T(empty_profile), T(refusals), T(notify), T(engine_profile_decides_as_libseccomp_does),
    T(large_profiles_get_a_tree))
