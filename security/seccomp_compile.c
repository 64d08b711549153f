/*
 * A profile of config.json becomes one BPF program.
 *
 * Compiling is on the way of every container that an engine starts, so nothing is written to disk
 * between containers and nothing is done twice (docs/adr/0006-seccomp-generator.md). libseccomp is
 *the authority on two things: the numbers of calls on each architecture, and rules that contradict
 *each other.
 *
 *	profile    here                 checked; actions as the kernel's numbers
 *	calls      seccomp_resolve.c    per architecture: which rules for which number
 *	chains     seccomp_chain.c      conditions as comparisons that BPF has
 *	decisions  seccomp_decide.c     per number: an action, or code that looks at arguments
 *	code       seccomp_code.c       that code, in self-contained blocks
 *	           seccomp_library.c    blocks by libseccomp, for contradictions
 *	program    seccomp_join.c       architectures, search trees over numbers, blocks
 *
 * Loading is somebody else's work (seccomp_install.c), so that the parent can compile while the
 * child still mounts.
 */
#include <ctype.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "security/seccomp_internal.h"
#include "security/security.h"

#define ARCHS_MAX  16	/* libseccomp knows at most twelve of one byte order */
#define INSNS_MAX  4096 /* BPF_MAXINSNS */
#define ERRNO_MAX  4095
#define ARGS_MAX   6
#define ERRNO_BASE EPERM /* the specification's default */

static const struct action {
	const char *name;
	uint32_t value;
	bool takes_errno;
	bool permissive; /* as default action: calls that the profile does not know still work */
} actions[] = {
	[SECCOMP_KILL_THREAD] = { "SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD },
	[SECCOMP_KILL_PROCESS] = { "SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS },
	[SECCOMP_TRAP] = { "SCMP_ACT_TRAP", SECCOMP_RET_TRAP },
	[SECCOMP_ERRNO] = { "SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO, .takes_errno = true },
	/* A tracer answers ENOSYS by itself where it means it. */
	[SECCOMP_TRACE] = { "SCMP_ACT_TRACE", SECCOMP_RET_TRACE, .takes_errno = true,
	    .permissive = true },
	[SECCOMP_ALLOW] = { "SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW, .permissive = true },
	[SECCOMP_LOG] = { "SCMP_ACT_LOG", SECCOMP_RET_LOG, .permissive = true },
	[SECCOMP_NOTIFY] = { "SCMP_ACT_NOTIFY", SECCOMP_RET_USER_NOTIF },
};

void seccomp_prog_free(struct seccomp_prog *p)
{
	free(p->insns);
	*p = (struct seccomp_prog){ 0 };
}

/* action + errno value to the kernel's number; path is the object, name the property. */
static int action_value(enum spec_seccomp_action a, const struct opt_u32 *ret_value,
    const char *path, const char *name, uint32_t *ret, struct err *e)
{
	const struct action *act = &actions[a];
	uint32_t v = ret_value->set ? ret_value->v : ERRNO_BASE;

	if (ret_value->set && !act->takes_errno)
		return err_set(e, EINVAL, "%s.%s: %u: %s takes no value", path, name, v, act->name);
	/* The kernel would clamp an errno silently; a tracer's value has 16 bits. */
	if (act->takes_errno && v > (a == SECCOMP_ERRNO ? ERRNO_MAX : UINT16_MAX))
		return err_set(e, ERANGE, "%s.%s: %u: above %d", path, name, v,
		    a == SECCOMP_ERRNO ? ERRNO_MAX : UINT16_MAX);
	*ret = act->takes_errno ? act->value | v : act->value;
	return 0;
}

/* ---- architectures ---- */

/* "SCMP_ARCH_X86_64" -> libseccomp's token, 0: unknown to it. */
static uint32_t arch_token(const char *name)
{
	const char *tail = startswith(name, "SCMP_ARCH_");
	char lower[32];
	size_t i;

	if (!tail || strlen(tail) >= sizeof(lower))
		return 0;
	if (streq(tail, "NATIVE"))
		return seccomp_arch_native();
	for (i = 0; tail[i]; i++)
		lower[i] = (char)tolower((unsigned char)tail[i]);
	lower[i] = '\0';
	return seccomp_arch_resolve_name(lower);
}

static void arch_add(struct seccomp_arch *archs, size_t *n, uint32_t token, const char *name)
{
	for (size_t i = 0; i < *n; i++)
		if (archs[i].token == token)
			return;
	archs[(*n)++] = (struct seccomp_arch){
		.token = token,
		.name = name,
		/* The mark of this ABI's token says 64 bits, but its arguments have 32. */
		.wide = (token & __AUDIT_ARCH_64BIT) && token != SCMP_ARCH_MIPS64N32 &&
			token != SCMP_ARCH_MIPSEL64N32,
	};
}

/* The native architecture is always there, listed or not: the payload runs on it. */
static int archs_collect(
    const struct spec_seccomp *s, struct seccomp_arch *archs, size_t *n, struct err *e)
{
	uint32_t native = seccomp_arch_native();

	arch_add(archs, n, native, "the native architecture");
	for (size_t i = 0; i < s->archs.n; i++) {
		const char *name = s->archs.v[i];
		uint32_t token = arch_token(name);

		if (token == 0)
			return err_set(e, EINVAL,
			    ".linux.seccomp.architectures[%zu]: \"%s\": unknown to libseccomp "
			    "%u.%u.%u",
			    i, name, seccomp_version()->major, seccomp_version()->minor,
			    seccomp_version()->micro);
		if ((token ^ native) & __AUDIT_ARCH_LE)
			return err_set(e, EINVAL,
			    ".linux.seccomp.architectures[%zu]: \"%s\": its byte order is not this "
			    "machine's",
			    i, name);
		if (*n == ARCHS_MAX)
			return err_set(e, E2BIG, ".linux.seccomp.architectures: too many");
		arch_add(archs, n, token, name);
	}
	return 0;
}

/* ---- rules ---- */

/*
 * Conditions on different arguments must all hold. Where two of them look at the same argument,
 * each condition stands for itself: engines write "one of these values" that way.
 */
static bool conditions_are_alternatives(const struct spec_seccomp_rule *r)
{
	unsigned seen = 0;

	for (size_t i = 0; i < r->args.n; i++) {
		if (seen & (1u << r->args.v[i].index))
			return true;
		seen |= 1u << r->args.v[i].index;
	}
	return false;
}

static void profile_free(struct seccomp_profile *p)
{
	free(p->rules);
}
#define _cleanup_profile_ _cleanup_(profile_free)

static int check_notify(
    const struct spec_seccomp *s, const struct spec_seccomp_rule *r, size_t i, struct err *e)
{
	if (!s->listener_path)
		return err_set(e, EINVAL,
		    ".linux.seccomp.syscalls[%zu].action: SCMP_ACT_NOTIFY needs "
		    ".linux.seccomp.listenerPath",
		    i);
	/* An error between loading the filter and execve could not be told any more: the peers'
	 * rule, which keeps profiles portable. */
	for (size_t j = 0; j < r->names.n; j++)
		if (streq(r->names.v[j], "write"))
			return err_set(e, EINVAL,
			    ".linux.seccomp.syscalls[%zu].names[%zu]: \"write\" cannot have "
			    "SCMP_ACT_NOTIFY",
			    i, j);
	return 0;
}

static int rule_check(
    const struct spec_seccomp *s, size_t i, struct seccomp_rule *ret, struct err *e)
{
	const struct spec_seccomp_rule *r = &s->rules.v[i];
	char path[64];

	snprintf(path, sizeof(path), ".linux.seccomp.syscalls[%zu]", i);
	if (r->action == SECCOMP_NOTIFY && check_notify(s, r, i, e) < 0)
		return -e->code;
	for (size_t j = 0; j < r->args.n; j++)
		if (r->args.v[j].index >= ARGS_MAX)
			return err_set(e, EINVAL,
			    "%s.args[%zu].index: %u: system calls have arguments 0 to 5", path, j,
			    r->args.v[j].index);
	ret->spec = r;
	ret->alternatives = conditions_are_alternatives(r);
	return action_value(r->action, &r->errno_ret, path, "errnoRet", &ret->action, e);
}

static int profile_prepare(const struct spec_seccomp *s, struct seccomp_profile *p, struct err *e)
{
	if (s->default_action == SECCOMP_NOTIFY)
		return err_set(e, EINVAL,
		    ".linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default");
	if (action_value(s->default_action, &s->default_errno_ret, ".linux.seccomp",
		"defaultErrnoRet", &p->default_action, e) < 0)
		return -e->code;
	p->newer_enosys = !actions[s->default_action].permissive &&
			  p->default_action != (SECCOMP_RET_ERRNO | ENOSYS);
	p->rules = xcalloc(s->rules.n + 1, sizeof(*p->rules));
	p->n_rules = s->rules.n;
	for (size_t i = 0; i < s->rules.n; i++) {
		struct seccomp_rule *r = &p->rules[i];

		if (rule_check(s, i, r, e) < 0)
			return -e->code;
		p->notify |= r->spec->action == SECCOMP_NOTIFY;
		r->skipped = r->action == p->default_action;
	}
	return 0;
}

/* ---- the program ---- */

static void archs_free(struct seccomp_arch (*archs)[ARCHS_MAX])
{
	for (size_t i = 0; i < ARCHS_MAX; i++) {
		free((*archs)[i].calls);
		free((*archs)[i].decisions);
	}
}
#define _cleanup_archs_ _cleanup_(archs_free)

static unsigned load_flags(const struct spec_seccomp *s, bool notify)
{
	unsigned flags = s->flags;

	if (notify)
		return flags | SECCOMP_FILTER_FLAG_NEW_LISTENER;
	/* It says how a call waits for the agent; without one there is no such wait, and the
	 * kernel refuses the flag. */
	if (flags & SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV)
		log_debug("seccomp: WAIT_KILLABLE_RECV has no meaning without SCMP_ACT_NOTIFY");
	return flags & ~SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;
}

int seccomp_compile(const struct spec_seccomp *s, struct seccomp_prog *ret, struct err *e)
{
	_cleanup_profile_ struct seccomp_profile p = { 0 };
	_cleanup_archs_ struct seccomp_arch archs[ARCHS_MAX] = { 0 };
	_cleanup_code_ struct seccomp_code blocks = { 0 };
	_cleanup_free_ struct sock_filter *insns = NULL;
	size_t n_archs = 0, n = 0;

	if (profile_prepare(s, &p, e) < 0 || archs_collect(s, archs, &n_archs, e) < 0)
		return -e->code;
	for (size_t i = 0; i < n_archs; i++) {
		seccomp_resolve(&p, &archs[i]);
		if (seccomp_decide(&p, &archs[i], &blocks, e) < 0)
			return -e->code;
	}
	seccomp_join(&p, archs, n_archs, &blocks, &insns, &n);
	if (n > INSNS_MAX)
		return err_set(e, E2BIG,
		    ".linux.seccomp: %zu BPF instructions, the kernel takes %d (name fewer "
		    "architectures or conditions)",
		    n, INSNS_MAX);
	log_debug("seccomp: %zu rules, %zu architectures, %zu instructions", p.n_rules, n_archs, n);
	*ret = (struct seccomp_prog){
		.insns = steal_ptr(insns), .n = n, .flags = load_flags(s, p.notify)
	};
	return 0;
}
