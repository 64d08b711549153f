/* What libseccomp itself makes of a profile: one context for all architectures, no code of ours. */
#pragma once
#include <errno.h>
#include <seccomp.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "security/security.h"
#include "tests/unit/test.h"

/* A call that gets a rule in every reference, after the profile's own: libseccomp 2.5 forgets to
 * load the call's number where no call of the profile exists on an architecture. */
#define REFERENCE_OWN_CALL "getcpu"

/* libseccomp 2.5 loses memory where it refuses a rule. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
	return "leak:zmalloc\n";
}

static uint32_t reference_action(enum spec_seccomp_action a, const struct opt_u32 *value)
{
	static const uint32_t base[] = {
		[SECCOMP_KILL_THREAD] = SCMP_ACT_KILL_THREAD,
		[SECCOMP_KILL_PROCESS] = SCMP_ACT_KILL_PROCESS,
		[SECCOMP_TRAP] = SCMP_ACT_TRAP,
		[SECCOMP_ERRNO] = SCMP_ACT_ERRNO(0),
		[SECCOMP_TRACE] = SCMP_ACT_TRACE(0),
		[SECCOMP_ALLOW] = SCMP_ACT_ALLOW,
		[SECCOMP_LOG] = SCMP_ACT_LOG,
		[SECCOMP_NOTIFY] = SCMP_ACT_NOTIFY,
	};
	bool takes = a == SECCOMP_ERRNO || a == SECCOMP_TRACE;

	return base[a] | (!takes ? 0 : value->set ? value->v : EPERM);
}

static struct scmp_arg_cmp reference_cmp(const struct spec_seccomp_arg *a)
{
	static const enum scmp_compare ops[] = { [CMP_NE] = SCMP_CMP_NE,
		[CMP_LT] = SCMP_CMP_LT,
		[CMP_LE] = SCMP_CMP_LE,
		[CMP_EQ] = SCMP_CMP_EQ,
		[CMP_GE] = SCMP_CMP_GE,
		[CMP_GT] = SCMP_CMP_GT,
		[CMP_MASKED_EQ] = SCMP_CMP_MASKED_EQ };

	return (struct scmp_arg_cmp){ a->index, ops[a->op], a->value, a->value_two };
}

/* Conditions on one argument are alternatives; libseccomp takes one per rule. */
static bool reference_alternatives(const struct spec_seccomp_rule *r)
{
	for (size_t i = 0; i < r->args.n; i++)
		for (size_t j = 0; j < i; j++)
			if (r->args.v[i].index == r->args.v[j].index)
				return true;
	return false;
}

static int reference_rule(
    scmp_filter_ctx ctx, uint32_t action, const char *name, const struct spec_seccomp_rule *r)
{
	bool alternatives = reference_alternatives(r);
	int nr = seccomp_syscall_resolve_name(name), rc = 0;
	struct scmp_arg_cmp cmp[6];

	if (nr == __NR_SCMP_ERROR)
		return 0;
	for (size_t i = 0; i < r->args.n && rc == 0; i++) {
		struct scmp_arg_cmp c = reference_cmp(&r->args.v[i]);

		if (alternatives)
			rc = seccomp_rule_add_array(ctx, action, nr, 1, &c);
		else
			cmp[i] = c;
	}
	return alternatives ? rc
			    : seccomp_rule_add_array(ctx, action, nr, (unsigned)r->args.n, cmp);
}

static void reference_export(scmp_filter_ctx ctx, struct seccomp_prog *ret)
{
	_cleanup_close_ int fd = memfd_create("reference", MFD_CLOEXEC);
	off_t size;

	CHECK_INT(seccomp_export_bpf(ctx, fd), 0);
	size = lseek(fd, 0, SEEK_END);
	ret->insns = xmalloc((size_t)size);
	ret->n = (size_t)size / sizeof(*ret->insns);
	CHECK_INT(pread(fd, ret->insns, (size_t)size, 0), size);
}

/* Returns 0, or libseccomp's -errno for a rule that it refuses. */
__attribute__((unused)) static int reference(const struct spec_seccomp *s, struct seccomp_prog *ret)
{
	uint32_t def = reference_action(s->default_action, &s->default_errno_ret);
	int own = seccomp_syscall_resolve_name(REFERENCE_OWN_CALL), rc = 0;
	scmp_filter_ctx ctx = seccomp_init(def);

	CHECK_INT(seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2), 0);
	for (size_t i = 0; i < s->archs.n; i++) {
		char name[32];
		size_t n = 0;

		for (const char *c = s->archs.v[i] + strlen("SCMP_ARCH_"); *c; c++)
			name[n++] = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
		name[n] = '\0';
		rc = seccomp_arch_add(ctx, seccomp_arch_resolve_name(name));
		CHECK(rc == 0 || rc == -EEXIST); /* listed twice, or native */
	}
	rc = 0;
	for (size_t i = 0; i < s->rules.n && rc == 0; i++) {
		const struct spec_seccomp_rule *r = &s->rules.v[i];
		uint32_t action = reference_action(r->action, &r->errno_ret);

		for (size_t j = 0; j < r->names.n && rc == 0 && action != def; j++)
			rc = reference_rule(ctx, action, r->names.v[j], r);
	}
	if (rc == 0)
		rc = seccomp_rule_add(
		    ctx, def == SCMP_ACT_LOG ? SCMP_ACT_ALLOW : SCMP_ACT_LOG, own, 0);
	if (rc == 0)
		reference_export(ctx, ret);
	seccomp_release(ctx);
	return rc;
}
