/*
 * Random profiles: our program against libseccomp's and against what the profile says (the model).
 *
 * Where the rules for a call do not contradict each other, ours says what the model says.
 * libseccomp does so too, but for operators of order: rules with <, <=, > or >= on one argument of
 * 64 bits share parts of its tree that they should not. Where rules contradict each other, ours is
 * libseccomp's answer for all of the call's arguments.
 */
#include <linux/audit.h>
#include <sched.h>
#include <sys/syscall.h>

#include "tests/unit/security/bpf_sim.h"
#include "tests/unit/security/child.h"
#include "tests/unit/security/seccomp_model.h"

#define PROFILES 500
#define RULES	 16

static uint64_t state;

static uint32_t below(uint32_t n)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return (uint32_t)(state >> 24) % n;
}

static void seed(uint64_t n)
{
	state = 0x9e3779b97f4a7c15u * (n + 1);
	for (int i = 0; i < 8; i++)
		below(2);
}

/* ---- profiles ---- */

static const uint64_t values[] = { 0, 1, 2, 9, 16, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000,
	0x100000001, 0x500000000, 0x7e020000, 0x8000000000000000, UINT64_MAX };

static char *calls[] = { "read", "write", "clone", "socket", "connect", "personality", "send",
	"socketcall", "ipc", "semop", "semget", "shmat", "semtimedop", "sendmmsg", "recvmmsg",
	"accept", "accept4", "ioctl", "openat2", "vm86", "mmap", "mmap2", "fcntl64", "prctl",
	"no_such_call", "clone3", "futex_waitv", "time", "execve", "arm_fadvise64_64",
	"breakpoint" };

static const struct arch {
	char *name;
	uint32_t token, audit;
	bool wide;
} archs[] = {
	{ "SCMP_ARCH_X86_64", SCMP_ARCH_X86_64, AUDIT_ARCH_X86_64, true },
	{ "SCMP_ARCH_X86", SCMP_ARCH_X86, AUDIT_ARCH_I386, false },
	{ "SCMP_ARCH_X32", SCMP_ARCH_X32, AUDIT_ARCH_X86_64, false },
	{ "SCMP_ARCH_ARM", SCMP_ARCH_ARM, AUDIT_ARCH_ARM, false },
	{ "SCMP_ARCH_AARCH64", SCMP_ARCH_AARCH64, AUDIT_ARCH_AARCH64, true },
	{ "SCMP_ARCH_MIPSEL", SCMP_ARCH_MIPSEL, SCMP_ARCH_MIPSEL, false },
	{ "SCMP_ARCH_MIPSEL64N32", SCMP_ARCH_MIPSEL64N32, SCMP_ARCH_MIPSEL64N32, false },
	{ "SCMP_ARCH_PPC64LE", SCMP_ARCH_PPC64LE, SCMP_ARCH_PPC64LE, true },
	{ "SCMP_ARCH_RISCV64", SCMP_ARCH_RISCV64, SCMP_ARCH_RISCV64, true },
};

struct random_profile {
	struct spec_seccomp s;
	struct spec_seccomp_rule rules[RULES];
	struct spec_seccomp_arg args[RULES][4];
	char *names[RULES][16], *archs[5];
	bool listed[ARRAY_SIZE(archs)];
};

static void random_rule(struct random_profile *p, size_t i, enum spec_seccomp_action common,
    char **names, uint32_t n_names)
{
	struct spec_seccomp_rule *r = &p->rules[i];

	*r = (struct spec_seccomp_rule){ .action = below(3) ? common : below(8),
		.names = { p->names[i], 1 + below(3) },
		.args = { p->args[i], below(3) ? 1 + below(3) : 0 } };
	if ((r->action == SECCOMP_ERRNO || r->action == SECCOMP_TRACE) && below(2))
		r->errno_ret = (struct opt_u32){ true, below(200) };
	for (size_t j = 0; j < r->names.n; j++)
		do
			r->names.v[j] = names[below(n_names)];
		while (r->action == SECCOMP_NOTIFY && streq(r->names.v[j], "write"));
	for (size_t j = 0; j < r->args.n; j++)
		r->args.v[j] = (struct spec_seccomp_arg){ below(2) ? below(3) : below(6),
			values[below(ARRAY_SIZE(values))], values[below(ARRAY_SIZE(values))],
			(enum spec_seccomp_op)below(CMP_MASKED_EQ + 1) };
}

static void random_profile(struct random_profile *p)
{
	uint32_t few = below(2) ? ARRAY_SIZE(calls) : 4, from = below(ARRAY_SIZE(calls) - few + 1);
	enum spec_seccomp_action common = below(8);

	*p = (struct random_profile){ .s = { .has = true,
					  .default_action = below(SECCOMP_LOG + 1),
					  .listener_path = "/x",
					  .archs = { p->archs, below(5) },
					  .rules = { p->rules, below(RULES + 1) } } };
	if (p->s.default_action == SECCOMP_ERRNO && below(2))
		p->s.default_errno_ret = (struct opt_u32){ true, below(2) ? ENOSYS : below(4096) };
	p->listed[0] = true; /* the native one */
	for (size_t i = 0; i < p->s.archs.n; i++) {
		uint32_t a = below(below(2) ? 3 : ARRAY_SIZE(archs));

		p->archs[i] = archs[a].name;
		p->listed[a] = true;
	}
	for (size_t i = 0; i < p->s.rules.n; i++)
		random_rule(p, i, common, calls + from, few);
}

/* ---- questions ---- */

static uint64_t random_value(const struct spec_seccomp *s)
{
	uint64_t v = values[below(ARRAY_SIZE(values))];

	/* A value of the profile, or beside it, or the same with another upper half. */
	if (s->rules.n && below(4)) {
		const struct spec_seccomp_rule *r = &s->rules.v[below((uint32_t)s->rules.n)];

		if (r->args.n)
			v = r->args.v[below((uint32_t)r->args.n)].value;
	}
	switch (below(4)) {
	case 0:
		return v + below(3) - 1;
	case 1:
		return v ^ (uint64_t)below(3) << 32;
	default:
		return below(6) ? v : below(25); /* a multiplexer's member */
	}
}

struct tally {
	unsigned long asked, contradictions, errs, unstable, wrong;
};

struct programs {
	struct seccomp_prog ours, library;
};

static void ask(const struct random_profile *p, const struct model *m, const struct arch *a,
    const struct programs *progs, uint32_t nr, struct tally *t)
{
	struct seccomp_data d = { .nr = (int)nr, .arch = a->audit };
	struct model_remarks r;
	uint32_t ours, library, want;
	uint64_t args[6];
	unsigned steps;

	for (int i = 0; i < 6; i++)
		d.args[i] = args[i] = random_value(&p->s);
	want = model_ask(m, nr, args, &r);
	ours = bpf_sim(progs->ours.insns, progs->ours.n, &d, &steps);
	library = bpf_sim(progs->library.insns, progs->library.n, &d, &steps);
	t->asked++;
	if (m->last != MODEL_NONE && nr > m->last)
		library = want; /* newer than the profile: ours alone knows that rule */
	t->contradictions += r.contradiction;
	t->errs += library != want && !r.contradiction;
	if (ours == want && !r.contradiction && (library == want || r.ordered || r.mixed))
		return;
	if (ours == library && r.mixed)
		return;
	/* libseccomp's code for such rules depends on the profile's other calls. */
	if (r.mixed && r.ordered && ++t->unstable)
		return;
	if (t->wrong++ < 5)
		printf("# %s nr %#x args %#llx %#llx %#llx: %#x, libseccomp %#x, model %#x\n",
		    a->name, nr, (unsigned long long)d.args[0], (unsigned long long)d.args[1],
		    (unsigned long long)d.args[2], ours, library, want);
}

/* Calls with conditions are asked more often. */
static int times(const struct model *m, uint32_t nr)
{
	for (size_t i = 0; i < m->s->rules.n; i++)
		for (size_t j = 0; j < m->s->rules.v[i].names.n; j++)
			if (m->names[i][j].nr == nr || m->names[i][j].mux == nr)
				return 40;
	return 1;
}

static void ask_arch(const struct random_profile *p, const struct arch *a,
    const struct programs *progs, struct tally *t)
{
	uint32_t own = (uint32_t)seccomp_syscall_resolve_name_arch(a->token, REFERENCE_OWN_CALL);
	uint32_t base = a->token == SCMP_ARCH_X32	    ? MODEL_X32
			: a->token == SCMP_ARCH_MIPSEL	    ? 4000
			: a->token == SCMP_ARCH_MIPSEL64N32 ? 6000
							    : 0;
	struct model m;

	model_init(&m, &p->s, a->token, a->wide);
	if (a->audit != AUDIT_ARCH_X86_64) /* else one of ask_strangers() */
		ask(p, &m, a, progs, UINT32_MAX, t);
	for (uint32_t nr = base; nr <= base + 600; nr++)
		for (int n = nr == own ? 0 : times(&m, nr); n > 0; n--)
			ask(p, &m, a, progs, nr, t);
}

/* What no call has: an architecture that is not listed, and numbers outside of all tables. */
static void ask_strangers(const struct random_profile *p, const struct programs *progs)
{
	uint32_t def = reference_action(p->s.default_action, &p->s.default_errno_ret);
	const uint32_t enosys = SECCOMP_RET_ERRNO | ENOSYS, kill = SECCOMP_RET_KILL_THREAD;
	struct model native, x32;
	unsigned steps;
	uint32_t got;

	model_init(&native, &p->s, SCMP_ARCH_X86_64, true);
	model_init(&x32, &p->s, SCMP_ARCH_X32, false);
	for (uint32_t i = 0; i < 32; i++) {
		/* -1 and below, from 2^31 on, beyond x32's calls */
		uint32_t nr = i < 16 ? -1 - i : i < 24 ? 2 * MODEL_X32 + i : MODEL_X32 + 5000 + i;
		struct seccomp_data d = { .nr = (int)nr, .arch = AUDIT_ARCH_X86_64 };
		uint32_t want;

		if (nr & MODEL_X32 && p->listed[2])
			want = x32.last != MODEL_NONE && nr > x32.last ? enosys : def;
		else if (nr & MODEL_X32)
			want = nr == UINT32_MAX ? def : kill;
		else
			want = native.last != MODEL_NONE ? enosys : kill;
		got = bpf_sim(progs->ours.insns, progs->ours.n, &d, &steps);
		CHECK_INT(got, want);
		d.arch = AUDIT_ARCH_S390X;
		d.nr = (int)i;
		CHECK_INT(bpf_sim(progs->ours.insns, progs->ours.n, &d, &steps), kill);
	}
}

/* Does the profile name calls that this machine or one of the architectures does not have? */
static bool names_strangers(const struct spec_seccomp *s)
{
	for (size_t i = 0; i < s->rules.n; i++)
		for (size_t j = 0; j < s->rules.v[i].names.n; j++)
			for (size_t a = 0; a < ARRAY_SIZE(archs); a++)
				if (seccomp_syscall_resolve_name_rewrite(
					archs[a].token, s->rules.v[i].names.v[j]) < 0)
					return true;
	return false;
}

TEST(random_profiles)
{
	unsigned compiled = 0, refused = 0;
	struct tally t = { 0 };

	for (uint64_t n = 0; n < PROFILES && seccomp_arch_native() == SCMP_ARCH_X86_64; n++) {
		static struct random_profile p;
		_cleanup_seccomp_ struct seccomp_prog ours = { 0 }, library = { 0 };
		struct err e = ERR_INIT;
		int r, want;

		seed(n);
		random_profile(&p);
		r = seccomp_compile(&p.s, &ours, &e);
		want = reference(&p.s, &library);
		/* Some contradictions it refuses, also about calls that nobody can make. */
		if (want < 0 && r == 0 && names_strangers(&p.s))
			continue;
		CHECK_INT(r, want);
		refused += r < 0;
		if (r < 0 || want < 0)
			continue;
		compiled++;
		for (size_t i = 0; i < ARRAY_SIZE(archs); i++)
			if (p.listed[i])
				ask_arch(&p, &archs[i], &(struct programs){ ours, library }, &t);
		ask_strangers(&p, &(struct programs){ ours, library });
	}
	CHECK_INT(t.wrong, 0);
	CHECK(t.unstable * 10000 <= t.asked);
	printf("# %u profiles (%u more refused), %lu questions, %lu of them contested; libseccomp "
	       "errs "
	       "in %lu\n",
	    compiled, refused, t.asked, t.contradictions, t.errs);
}

/* libseccomp 2.5 does not come to an end with this one. */
TEST(endless_contradiction)
{
	static struct random_profile p;
	_cleanup_seccomp_ struct seccomp_prog prog = { 0 };
	struct err e = ERR_INIT;

	seed(1765);
	random_profile(&p);
	CHECK_INT(seccomp_compile(&p.s, &prog, &e), -EINVAL);
	CHECK(strstr(e.msg, "contradict each other"));
}

/* ---- the kernel's own verdict ---- */

/* Calls that ignore their arguments and do no harm. */
static char *harmless[] = { "getpgrp", "geteuid", "gettid", "getegid", "getppid", "sched_yield" };

static bool has_i386;

/* Return the errno, 0 for success. */
static long call_native(const struct seccomp_data *d)
{
	long r =
	    syscall(d->nr, d->args[0], d->args[1], d->args[2], d->args[3], d->args[4], d->args[5]);

	return r < 0 ? errno : 0;
}

/* Five arguments: the sixth would be the frame pointer. */
static long call_i386(const struct seccomp_data *d)
{
	int r = -ENOSYS;

#ifdef __x86_64__
	__asm__ volatile("int $0x80"
			 : "=a"(r)
			 : "a"(d->nr), "b"(d->args[0]), "c"(d->args[1]), "d"(d->args[2]),
			 "S"(d->args[3]), "D"(d->args[4])
			 : "memory", "r8", "r9", "r10", "r11");
#endif
	return r < 0 && r > -4096 ? -r : 0;
}

static void try_i386(void)
{
	struct seccomp_data getuid32 = { .nr = 199 };

	CHECK_INT(call_i386(&getuid32), 0);
}

static void kernel_body(void)
{
	static struct random_profile p;
	struct seccomp_prog prog = { 0 };
	struct err e = ERR_INIT;
	unsigned steps;

	random_profile(&p);
	p.s.archs.n = 1;
	p.archs[0] = has_i386 ? "SCMP_ARCH_X86" : "SCMP_ARCH_X86_64";
	p.s.default_action = SECCOMP_ALLOW;
	p.s.default_errno_ret.set = false;
	for (size_t i = 0; i < p.s.rules.n; i++) {
		random_rule(&p, i, SECCOMP_ERRNO, harmless, ARRAY_SIZE(harmless));
		p.rules[i].action = SECCOMP_ERRNO;
		p.rules[i].errno_ret = (struct opt_u32){ true, 1000 };
		for (size_t j = 0; j < p.rules[i].args.n; j++)
			p.args[i][j].index %= 5;
	}
	if (seccomp_compile(&p.s, &prog, &e) < 0)
		return;
	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	CHECK_INT(seccomp_install(&prog, -EBADF, NULL, &e), 0);
	for (int n = 0; n < 300; n++) {
		char *name = harmless[below(ARRAY_SIZE(harmless))];
		bool compat = has_i386 && below(2);
		struct seccomp_data d = { .nr = seccomp_syscall_resolve_name_arch(
					      compat ? SCMP_ARCH_X86 : SCMP_ARCH_X86_64, name),
			.arch = compat ? AUDIT_ARCH_I386 : AUDIT_ARCH_X86_64 };

		for (int i = 0; i < 6; i++) {
			d.args[i] = random_value(&p.s);
			d.args[i] = compat ? (uint32_t)d.args[i] : d.args[i];
		}
		CHECK_INT(compat ? call_i386(&d) : call_native(&d),
		    bpf_sim(prog.insns, prog.n, &d, &steps) == SECCOMP_RET_ALLOW ? 0 : 1000);
	}
	seccomp_prog_free(&prog);
}

TEST(the_kernel_decides_as_the_simulation)
{
	/* Not every kernel takes 32-bit calls: the child is killed. */
	has_i386 = child_status(try_i386) == 0;
	printf("# the kernel %s i386 calls\n", has_i386 ? "takes" : "does not take");
	for (uint64_t n = 0; n < 60 && seccomp_arch_native() == SCMP_ARCH_X86_64; n++) {
		seed(n);
		in_child(kernel_body);
	}
}

TEST_MAIN(T(random_profiles), T(endless_contradiction), T(the_kernel_decides_as_the_simulation))
