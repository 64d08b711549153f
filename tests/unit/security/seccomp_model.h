/*
 * What a profile says about a call, read from the profile itself: no BPF, no tree, one rule after
 * the other. It decides who is right where our program and libseccomp's differ.
 */
#pragma once
#include "tests/unit/security/seccomp_reference.h"

#define MODEL_NUMBERS 8192
#define MODEL_X32     0x40000000u
#define MODEL_NONE    0xfffffffeu /* no call's number */

/* One architecture, under one profile. */
struct model {
	uint32_t token;
	bool wide;
	uint32_t last; /* MODEL_NONE: no limit */
	const struct spec_seccomp *s;
	/* Per rule and name. */
	struct model_name {
		uint32_t nr;	      /* reached directly; MODEL_NONE: not */
		uint32_t mux, mux_id; /* reached by socketcall or ipc */
	} names[64][16];
};

/* The direct number of a call that libseccomp names by a pseudo number. */
static uint32_t model_direct(uint32_t token, int member)
{
	static struct {
		uint32_t token;
		int32_t of[256]; /* by -member; 0: none */
	} cache[16];
	size_t i = 0;

	while (cache[i].token && cache[i].token != token)
		i++;
	if (!cache[i].token) {
		cache[i].token = token;
		for (int nr = 1; nr < MODEL_NUMBERS; nr++) {
			_cleanup_free_ char *name = seccomp_syscall_resolve_num_arch(token, nr);
			int m = name ? seccomp_syscall_resolve_name_arch(token, name) : 0;

			if (m <= -100 && m > -256)
				cache[i].of[-m] = nr;
		}
	}
	return cache[i].of[-member] ? (uint32_t)cache[i].of[-member] : MODEL_NONE;
}

static bool model_is_member(int nr)
{
	return (nr <= -101 && nr >= -120) || (nr <= -201 && nr >= -224);
}

__attribute__((unused)) static void model_init(
    struct model *m, const struct spec_seccomp *s, uint32_t token, bool wide)
{
	uint32_t def = reference_action(s->default_action, &s->default_errno_ret);
	bool refuses = s->default_action <= SECCOMP_ERRNO && def != SCMP_ACT_ERRNO(ENOSYS);
	int last = -1;

	*m = (struct model){ .token = token, .wide = wide, .s = s };
	for (size_t i = 0; i < s->rules.n; i++)
		for (size_t j = 0; j < s->rules.v[i].names.n; j++) {
			const char *name = s->rules.v[i].names.v[j];
			int nr = seccomp_syscall_resolve_name_arch(token, name);
			int mux = seccomp_syscall_resolve_name_rewrite(token, name);
			struct model_name *n = &m->names[i][j];

			*n = (struct model_name){ MODEL_NONE, MODEL_NONE, 0 };
			if (nr >= 0)
				n->nr = (uint32_t)nr;
			if (model_is_member(nr) && mux >= 0)
				*n = (struct model_name){ model_direct(token, nr), (uint32_t)mux,
					(uint32_t)(-nr % 100) };
			if (model_is_member(nr))
				nr = nr <= -201 ? 402 : 373;
			if (n->nr != MODEL_NONE && (int)n->nr > nr && n->mux != MODEL_NONE)
				nr = (int)n->nr;
			if (n->mux != MODEL_NONE && (int)n->mux > nr)
				nr = (int)n->mux;
			last = nr > last ? nr : last;
		}
	m->last = refuses && last >= 0 ? (uint32_t)last : MODEL_NONE;
}

static bool model_holds(const struct model *m, const struct spec_seccomp_arg *a, uint64_t v)
{
	uint64_t want = a->value, two = a->value_two;

	if (!m->wide)
		v = (uint32_t)v, want = (uint32_t)want, two = (uint32_t)two;
	switch (a->op) {
	case CMP_NE:
		return v != want;
	case CMP_LT:
		return v < want;
	case CMP_LE:
		return v <= want;
	case CMP_EQ:
		return v == want;
	case CMP_GE:
		return v >= want;
	case CMP_GT:
		return v > want;
	case CMP_MASKED_EQ:
		return (v & want) == (two & want);
	}
	return false;
}

enum fulfils { NO, YES, ALWAYS };

/* Multiplexed, the rule's conditions on the first argument give way. */
static enum fulfils model_rule(
    const struct model *m, const struct spec_seccomp_rule *r, bool mux, const uint64_t args[6])
{
	bool alternatives = reference_alternatives(r), all = true, any = false, empty = true;

	for (size_t i = 0; i < r->args.n; i++) {
		const struct spec_seccomp_arg *a = &r->args.v[i];
		uint64_t mask = m->wide ? a->value : (uint32_t)a->value;
		bool idle = (mux && a->index == 0) || (a->op == CMP_MASKED_EQ && mask == 0);
		bool yes = idle || model_holds(m, a, args[a->index]);

		if (alternatives && idle && !mux)
			return ALWAYS;
		all &= yes;
		any |= yes;
		empty &= idle;
	}
	if (empty && !mux)
		return ALWAYS;
	return r->args.n == 0 || (alternatives ? any : all) ? YES : NO;
}

/* What is special about a call, or about a call with these arguments. */
struct model_remarks {
	bool contradiction; /* rules with different actions hold; the first one's is returned */
	bool mixed;	    /* the call's rules have different actions */
	bool ordered;	    /* an operator of order is among the call's rules */
};

__attribute__((unused)) static uint32_t model_ask(
    const struct model *m, uint32_t nr, const uint64_t args[6], struct model_remarks *remarks)
{
	uint32_t def = reference_action(m->s->default_action, &m->s->default_errno_ret);
	uint32_t found = def, always = 0, seen = def;
	bool any = false, decided = false;

	*remarks = (struct model_remarks){ 0 };
	if (m->last != MODEL_NONE && nr > m->last)
		return SECCOMP_RET_ERRNO | ENOSYS;
	for (size_t i = 0; i < m->s->rules.n; i++) {
		const struct spec_seccomp_rule *r = &m->s->rules.v[i];
		uint32_t action = reference_action(r->action, &r->errno_ret);

		for (size_t j = 0; j < r->names.n && action != def; j++) {
			const struct model_name *n = &m->names[i][j];
			bool mux = n->mux == nr && (uint32_t)args[0] == n->mux_id &&
				   (!m->wide || args[0] >> 32 == 0);
			enum fulfils f;

			if (n->nr != nr && n->mux != nr)
				continue;
			remarks->mixed |= seen != def && seen != action;
			seen = action;
			for (size_t k = 0; k < r->args.n; k++)
				remarks->ordered |= r->args.v[k].op != CMP_EQ &&
						    r->args.v[k].op != CMP_NE &&
						    r->args.v[k].op != CMP_MASKED_EQ;
			if (n->nr != nr && !mux)
				continue;
			f = model_rule(m, r, n->nr != nr, args);
			if (f == ALWAYS && !decided)
				decided = true, always = action;
			if (f == NO || decided)
				continue;
			remarks->contradiction |= any && found != action;
			found = any ? found : action;
			any = true;
		}
	}
	return decided ? always : found;
}
