/* Conditions on arguments: from the specification's words to the few comparisons that BPF has. */
#include "base/alloc.h"
#include "security/seccomp_internal.h"

static uint64_t word_mask(bool wide)
{
	return wide ? UINT64_MAX : UINT32_MAX;
}

/*
 * Where arguments have 32 bits, the values lose their upper half, as in libseccomp: the program
 * sees what the call gets.
 */
static struct seccomp_cond normalize(const struct spec_seccomp_arg *a, bool wide)
{
	static const struct {
		enum seccomp_compare compare;
		bool negated;
	} table[] = {
		[CMP_NE] = { SECCOMP_EQ, true },
		[CMP_LT] = { SECCOMP_GE, true },
		[CMP_LE] = { SECCOMP_GT, true },
		[CMP_EQ] = { SECCOMP_EQ, false },
		[CMP_GE] = { SECCOMP_GE, false },
		[CMP_GT] = { SECCOMP_GT, false },
		[CMP_MASKED_EQ] = { SECCOMP_EQ, false },
	};
	struct seccomp_cond c = {
		.arg = (uint8_t)a->index,
		.compare = (uint8_t)table[a->op].compare,
		.negated = table[a->op].negated,
		.mask = word_mask(wide),
		.value = a->value,
	};

	if (a->op == CMP_MASKED_EQ) {
		c.mask &= a->value;
		c.value = a->value_two;
	}
	c.value &= c.mask;
	return c;
}

static struct seccomp_chain *chain_new(struct seccomp_chains *c, const struct seccomp_call *call)
{
	struct seccomp_chain *chain;

	if (c->n == c->cap) {
		c->cap = c->cap ? 2 * c->cap : 16;
		c->v = xrealloc(c->v, c->cap * sizeof(*c->v));
	}
	chain = &c->v[c->n++];
	chain->action = call->rule->action;
	chain->n = 0;
	return chain;
}

static void chain_start(struct seccomp_chain *chain, const struct seccomp_call *call, bool wide)
{
	if (call->selector)
		chain->conds[chain->n++] = (struct seccomp_cond){
			.compare = SECCOMP_EQ, .mask = word_mask(wide), .value = call->selector
		};
}

static void chain_add(struct seccomp_chain *chain, const struct seccomp_call *call,
    const struct spec_seccomp_arg *a, bool wide)
{
	struct seccomp_cond c = normalize(a, wide);

	/* The multiplexer's first argument is taken. */
	if (call->selector && c.arg == 0)
		return;
	/* No bit is looked at: it always holds. */
	if (c.mask == 0)
		return;
	chain->conds[chain->n++] = c;
}

void seccomp_chains_add(struct seccomp_chains *c, const struct seccomp_call *call, bool wide)
{
	const struct spec_seccomp_rule *spec = call->rule->spec;
	struct seccomp_chain *chain = NULL;

	for (size_t i = 0; i < spec->args.n; i++) {
		if (!chain || call->rule->alternatives) {
			chain = chain_new(c, call);
			chain_start(chain, call, wide);
		}
		chain_add(chain, call, &spec->args.v[i], wide);
	}
	if (!chain)
		chain_start(chain_new(c, call), call, wide);
}

/* ---- can both hold? ---- */

static bool holds(const struct seccomp_cond *c, uint64_t v)
{
	bool yes = c->compare == SECCOMP_EQ   ? (v & c->mask) == c->value
		   : c->compare == SECCOMP_GT ? v > c->value
					      : v >= c->value;

	return yes != c->negated;
}

/* from <= the values that fulfil a condition <= to; from > to: none does. */
static void bounds(const struct seccomp_cond *c, bool wide, uint64_t *from, uint64_t *to)
{
	*from = 0;
	*to = word_mask(wide);
	if (c->compare == SECCOMP_EQ)
		return;
	/* Nothing is above the highest number or below 0: [1, 0]. */
	if ((c->compare == SECCOMP_GT && !c->negated && c->value == *to) ||
	    (c->compare == SECCOMP_GE && c->negated && c->value == 0)) {
		*from = 1;
		*to = 0;
	} else if (c->negated) {
		*to = c->value - (c->compare == SECCOMP_GE);
	} else {
		*from = c->value + (c->compare == SECCOMP_GT);
	}
}

static bool conds_exclude(const struct seccomp_cond *a, const struct seccomp_cond *b, bool wide)
{
	uint64_t a_from, a_to, b_from, b_to;

	if (a->arg != b->arg)
		return false;
	if (a->compare == SECCOMP_EQ && !a->negated && a->mask == word_mask(wide))
		return !holds(b, a->value);
	if (b->compare == SECCOMP_EQ && !b->negated && b->mask == word_mask(wide))
		return !holds(a, b->value);
	if (a->compare == SECCOMP_EQ && b->compare == SECCOMP_EQ)
		return !a->negated && !b->negated && ((a->value ^ b->value) & a->mask & b->mask);
	bounds(a, wide, &a_from, &a_to);
	bounds(b, wide, &b_from, &b_to);
	return a_from > a_to || b_from > b_to || a_to < b_from || b_to < a_from;
}

static bool chains_exclude(const struct seccomp_chain *a, const struct seccomp_chain *b, bool wide)
{
	for (unsigned i = 0; i < a->n; i++)
		for (unsigned j = 0; j < b->n; j++)
			if (conds_exclude(&a->conds[i], &b->conds[j], wide))
				return true;
	return false;
}

bool seccomp_chains_contradict(const struct seccomp_chains *c, bool wide)
{
	for (size_t i = 0; i < c->n; i++)
		for (size_t j = 0; j < i; j++)
			if (c->v[i].action != c->v[j].action &&
			    !chains_exclude(&c->v[i], &c->v[j], wide))
				return true;
	return false;
}
