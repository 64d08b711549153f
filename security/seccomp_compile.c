/*
 * A profile of config.json becomes one BPF program.
 *
 * libseccomp knows the system calls and writes the comparisons, one context per architecture;
 * seccomp_join.c puts the parts together. Loading is somebody else's work (seccomp_install.c), so
 * that the parent can compile while the child still mounts.
 */
#include <ctype.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/stat.h>

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

/* From this many rules on a binary tree of numbers beats a chain of comparisons. An empty tree is
 * what libseccomp 2.5 gets wrong, so small profiles never ask for one. */
#define TREE_MIN_CALLS 32

static void ctx_freep(scmp_filter_ctx *c)
{
	if (*c)
		seccomp_release(*c);
}
#define _cleanup_ctx_ _cleanup_(ctx_freep)

static const struct action {
	const char *name;
	uint32_t scmp;
	bool takes_errno;
	bool permissive; /* as default action: calls that the profile does not know still work */
} actions[] = {
	[SECCOMP_KILL_THREAD] = { "SCMP_ACT_KILL_THREAD", SCMP_ACT_KILL_THREAD },
	[SECCOMP_KILL_PROCESS] = { "SCMP_ACT_KILL_PROCESS", SCMP_ACT_KILL_PROCESS },
	[SECCOMP_TRAP] = { "SCMP_ACT_TRAP", SCMP_ACT_TRAP },
	[SECCOMP_ERRNO] = { "SCMP_ACT_ERRNO", SCMP_ACT_ERRNO(0), .takes_errno = true },
	/* A tracer answers ENOSYS by itself where it means it. */
	[SECCOMP_TRACE] = { "SCMP_ACT_TRACE", SCMP_ACT_TRACE(0), .takes_errno = true,
	    .permissive = true },
	[SECCOMP_ALLOW] = { "SCMP_ACT_ALLOW", SCMP_ACT_ALLOW, .permissive = true },
	[SECCOMP_LOG] = { "SCMP_ACT_LOG", SCMP_ACT_LOG, .permissive = true },
	[SECCOMP_NOTIFY] = { "SCMP_ACT_NOTIFY", SCMP_ACT_NOTIFY },
};

static const enum scmp_compare operators[] = {
	[CMP_NE] = SCMP_CMP_NE,
	[CMP_LT] = SCMP_CMP_LT,
	[CMP_LE] = SCMP_CMP_LE,
	[CMP_EQ] = SCMP_CMP_EQ,
	[CMP_GE] = SCMP_CMP_GE,
	[CMP_GT] = SCMP_CMP_GT,
	[CMP_MASKED_EQ] = SCMP_CMP_MASKED_EQ,
};

void seccomp_prog_free(struct seccomp_prog *p)
{
	free(p->insns);
	*p = (struct seccomp_prog){ 0 };
}

/* action + errno value to libseccomp's number; path is the object, name the property. */
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
	*ret = act->takes_errno ? act->scmp | v : act->scmp;
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
	archs[(*n)++] = (struct seccomp_arch){ .token = token, .name = name };
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
 * each condition stands for itself: engines write "one of these values" that way, and libseccomp
 * takes one condition per argument in a rule.
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

static int rule_add(scmp_filter_ctx ctx, uint32_t action, int nr, const struct spec_seccomp_rule *r)
{
	struct scmp_arg_cmp cmp[ARGS_MAX];
	bool alternatives = conditions_are_alternatives(r);
	int rc = 0;

	if (r->args.n == 0)
		return seccomp_rule_add_array(ctx, action, nr, 0, NULL);
	for (size_t i = 0; i < r->args.n && rc == 0; i++) {
		const struct spec_seccomp_arg *a = &r->args.v[i];
		struct scmp_arg_cmp c = { .arg = a->index,
			.op = operators[a->op],
			.datum_a = a->value,
			.datum_b = a->value_two };

		if (alternatives)
			rc = seccomp_rule_add_array(ctx, action, nr, 1, &c);
		else
			cmp[i] = c;
	}
	if (!alternatives)
		rc = seccomp_rule_add_array(ctx, action, nr, (unsigned)r->args.n, cmp);
	return rc;
}

/* A checked rule: its action as libseccomp's number, its calls as numbers (native, or libseccomp's
 * pseudo numbers for calls that only other architectures have). */
struct rule {
	const struct spec_seccomp_rule *spec;
	uint32_t action;
	int *nrs;
	size_t n_nrs;
};

struct profile {
	uint32_t default_action;
	struct rule *rules;
	size_t n_rules, n_calls;
	bool notify;
};

static void profile_free(struct profile *p)
{
	for (size_t i = 0; i < p->n_rules; i++)
		free(p->rules[i].nrs);
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

static int rule_check(const struct spec_seccomp *s, size_t i, struct rule *ret, struct err *e)
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
	return action_value(r->action, &r->errno_ret, path, "errnoRet", &ret->action, e);
}

static void rule_resolve(const struct spec_seccomp_rule *r, struct rule *ret)
{
	ret->nrs = xcalloc(r->names.n + 1, sizeof(*ret->nrs));
	for (size_t j = 0; j < r->names.n; j++) {
		int nr = seccomp_syscall_resolve_name(r->names.v[j]);

		if (nr == __NR_SCMP_ERROR)
			log_debug("seccomp: unknown system call \"%s\" skipped", r->names.v[j]);
		else
			ret->nrs[ret->n_nrs++] = nr;
	}
}

static int profile_prepare(const struct spec_seccomp *s, struct profile *p, struct err *e)
{
	if (s->default_action == SECCOMP_NOTIFY)
		return err_set(e, EINVAL,
		    ".linux.seccomp.defaultAction: SCMP_ACT_NOTIFY cannot be the default");
	if (action_value(s->default_action, &s->default_errno_ret, ".linux.seccomp",
		"defaultErrnoRet", &p->default_action, e) < 0)
		return -e->code;
	p->rules = xcalloc(s->rules.n + 1, sizeof(*p->rules));
	for (size_t i = 0; i < s->rules.n; i++) {
		struct rule *r = &p->rules[p->n_rules];

		if (rule_check(s, i, r, e) < 0)
			return -e->code;
		p->notify |= r->spec->action == SECCOMP_NOTIFY;
		/* libseccomp refuses rules that say what the default says. */
		if (r->action == p->default_action)
			continue;
		rule_resolve(r->spec, r);
		p->n_calls += r->n_nrs;
		p->n_rules++;
	}
	return 0;
}

/* ---- one architecture ---- */

/*
 * The highest number that the profile names. Calls that an old architecture multiplexes (socket by
 * socketcall, semop by ipc) have a pseudo number; the kernel gave them direct ones later.
 */
static uint32_t last_call(const struct spec_seccomp *s, uint32_t token)
{
	const int last_direct_socket = 373, last_direct_ipc = 402;
	int last = -1;

	for (size_t i = 0; i < s->rules.n; i++) {
		const struct spec_strv *names = &s->rules.v[i].names;

		for (size_t j = 0; j < names->n; j++) {
			int nr = seccomp_syscall_resolve_name_arch(token, names->v[j]);

			if (nr <= -101 && nr >= -120)
				nr = last_direct_socket;
			else if (nr <= -201 && nr >= -224)
				nr = last_direct_ipc;
			if (nr > last)
				last = nr;
		}
	}
	/* Nothing named: an empty profile decides about everything by its default. */
	return last < 0 ? UINT32_MAX : (uint32_t)last;
}

static int export(scmp_filter_ctx ctx, struct seccomp_arch *arch, struct err *e)
{
	_cleanup_close_ int fd = memfd_create("seccomp", MFD_CLOEXEC);
	struct stat st;
	int r;

	if (fd < 0)
		return err_errno(e, errno, "memfd_create");
	r = seccomp_export_bpf(ctx, fd);
	if (r < 0)
		return err_errno(e, -r, ".linux.seccomp: compiling for %s", arch->name);
	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, "fstat of a memfd");
	arch->insns = xmalloc((size_t)st.st_size);
	arch->n = (size_t)st.st_size / sizeof(*arch->insns);
	if (pread(fd, arch->insns, (size_t)st.st_size, 0) != st.st_size)
		return err_set(e, EIO, "reading a memfd back: short read");
	return 0;
}

static int arch_compile(const struct profile *p, struct seccomp_arch *arch, struct err *e)
{
	_cleanup_ctx_ scmp_filter_ctx ctx = seccomp_init(p->default_action);
	uint32_t native = seccomp_arch_native();
	int r = 0;

	if (!ctx)
		return err_set(e, EINVAL, ".linux.seccomp.defaultAction: refused by libseccomp");
	if (arch->token != native) {
		r = seccomp_arch_remove(ctx, native);
		if (r == 0)
			r = seccomp_arch_add(ctx, arch->token);
	}
	if (r == 0 && p->n_calls >= TREE_MIN_CALLS)
		r = seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, 2);
	if (r < 0)
		return err_errno(e, -r, ".linux.seccomp: preparing for %s", arch->name);
	for (size_t i = 0; i < p->n_rules; i++) {
		const struct rule *rule = &p->rules[i];

		for (size_t j = 0; j < rule->n_nrs; j++) {
			r = rule_add(ctx, rule->action, rule->nrs[j], rule->spec);
			if (r < 0)
				return err_errno(e, -r,
				    ".linux.seccomp: a rule for system call %d (%s) contradicts an "
				    "earlier one or is not possible for %s",
				    rule->nrs[j], actions[rule->spec->action].name, arch->name);
		}
	}
	return export(ctx, arch, e);
}

static void archs_free(struct seccomp_arch (*archs)[ARCHS_MAX])
{
	for (size_t i = 0; i < ARCHS_MAX; i++)
		free((*archs)[i].insns);
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
	_cleanup_profile_ struct profile p = { 0 };
	_cleanup_archs_ struct seccomp_arch archs[ARCHS_MAX] = { 0 };
	_cleanup_free_ struct sock_filter *insns = NULL;
	size_t n_archs = 0, n = 0;
	bool stub;

	if (profile_prepare(s, &p, e) < 0 || archs_collect(s, archs, &n_archs, e) < 0)
		return -e->code;
	stub = !actions[s->default_action].permissive && p.default_action != SCMP_ACT_ERRNO(ENOSYS);
	for (size_t i = 0; i < n_archs; i++) {
		archs[i].last_call = stub ? last_call(s, archs[i].token) : UINT32_MAX;
		if (arch_compile(&p, &archs[i], e) < 0)
			return -e->code;
	}
	seccomp_join(archs, n_archs, &insns, &n);
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
