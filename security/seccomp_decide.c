/*
 * What becomes of each call of one architecture.
 *
 * Rules for one call in the order of the profile:
 *
 *	one without conditions    decides, whatever stands before or after it; the first of several
 *	conditions, one action    any of the rules that holds; else the default
 *	several actions           the same where no two rules with different actions can hold at
 *				  once, and the order does not matter either
 *	a contradiction           seccomp_library.c
 */
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "security/seccomp_internal.h"

/* Calls that libseccomp is to decide. */
struct contested {
	struct seccomp_call **calls; /* owned */
	size_t n;
	bool members;
	bool reserved;
	uint32_t block;
};

static void contested_free(struct contested *c)
{
	free(c->calls);
}
#define _cleanup_contested_ _cleanup_(contested_free)

static void chains_free(struct seccomp_chains *c)
{
	free(c->v);
}
#define _cleanup_chains_ _cleanup_(chains_free)

static struct seccomp_target contest(struct contested *c, const struct seccomp_arch *arch,
    struct seccomp_call *calls, size_t n, struct seccomp_code *code)
{
	if (!c->calls)
		c->calls = xcalloc(arch->n_calls, sizeof(*c->calls));
	for (size_t i = 0; i < n; i++) {
		c->calls[c->n++] = &calls[i];
		c->members |= calls[i].member;
	}
	if (!c->reserved)
		c->block = seccomp_block_reserve(code);
	c->reserved = true;
	return (struct seccomp_target){ .block = true, .v = c->block };
}

/* The chains up to the first that always holds; false: there is none. */
static bool collect(
    const struct seccomp_call *calls, size_t n, bool wide, struct seccomp_chains *chains)
{
	chains->n = 0;
	for (size_t i = 0; i < n; i++) {
		size_t added = chains->n;

		seccomp_chains_add(chains, &calls[i], wide);
		for (; added < chains->n; added++)
			if (chains->v[added].n == 0) {
				chains->n = added + 1;
				return true;
			}
	}
	return false;
}

/* n rules for one number. */
static struct seccomp_target decide(const struct seccomp_profile *p, struct seccomp_arch *arch,
    struct seccomp_call *calls, size_t n, struct seccomp_chains *chains, struct contested *c,
    struct seccomp_code *code)
{
	bool always;

	if (calls[0].rule->spec->args.n == 0 && !calls[0].selector)
		return (struct seccomp_target){ .v = calls[0].rule->action };
	always = collect(calls, n, arch->wide, chains);
	/* What is behind the one that always holds was never compared to anything. */
	chains->n -= always;
	if (seccomp_chains_contradict(chains, arch->wide))
		return contest(c, arch, calls, n, code);
	if (always)
		return (struct seccomp_target){ .v = chains->v[chains->n].action };
	return (struct seccomp_target){ .block = true,
		.v = seccomp_block_chains(code, chains, p->default_action) };
}

static int by_order(const void *a, const void *b)
{
	const struct seccomp_call *const *x = a, *const *y = b;

	return (*x)->order < (*y)->order ? -1 : (*x)->order > (*y)->order;
}

int seccomp_decide(const struct seccomp_profile *p, struct seccomp_arch *arch,
    struct seccomp_code *c, struct err *e)
{
	_cleanup_chains_ struct seccomp_chains chains = { 0 };
	_cleanup_contested_ struct contested contested = { 0 };

	arch->decisions = xcalloc(arch->n_calls + 1, sizeof(*arch->decisions));
	for (size_t i = 0, n; i < arch->n_calls; i += n) {
		struct seccomp_decision *d = &arch->decisions[arch->n_decisions++];

		for (n = 1; i + n < arch->n_calls; n++)
			if (arch->calls[i + n].nr != arch->calls[i].nr)
				break;
		d->nr = arch->calls[i].nr;
		d->target = decide(p, arch, &arch->calls[i], n, &chains, &contested, c);
	}
	if (contested.n == 0)
		return 0;
	/* A member's rule is one for its multiplexer, too, and that one's other rules have a say in
	 * whether libseccomp takes it. */
	for (size_t i = 0; contested.members && i < arch->n_calls; i++)
		contested.calls[i] = &arch->calls[i];
	if (contested.members)
		contested.n = arch->n_calls;
	qsort(contested.calls, contested.n, sizeof(*contested.calls), by_order);
	return seccomp_library_block(p, arch, contested.calls, contested.n, c, contested.block, e);
}
