/*
 * The program: which architecture, which number, and where the number leaves it open, arguments.
 *
 *	load arch
 *	per architecture:
 *	  not this one?  -> next
 *	  load nr
 *	  search tree
 *	return KILL (an architecture that the profile does not list)
 *	block, block, …
 *
 * To the search a machine's call numbers are one line from 0 to 2^32 - 1, cut into ranges of the
 *same fate. All peculiarities are ranges: calls newer than the profile, x32's calls in the middle
 *of x86-64's line, numbers that are no calls. The tree halves the ranges until one is left; so a
 * number costs the logarithm of the number of ranges, and what does not depend on arguments is
 * decided without looking at them, which lets the kernel answer from a bitmap.
 *
 *	node:  nr >= K ?  --no->  left half     a right half further away than a conditional jump
 *		 |                              reaches is jumped to without a condition
 *		 yes -> right half
 *	leaf:  return ACTION, or jump to a block
 *
 * A filter must not answer EPERM to a system call that its author could not know: C libraries try
 * the new call first and fall back to the old one on ENOSYS alone. So a number beyond the highest
 * one that the profile names, for that architecture, gets ENOSYS where the default would refuse.
 * What the profile does name is never touched.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "security/seccomp_internal.h"

#define JUMP_MAX 255 /* instructions, of a conditional jump */

/* From this number to the next range's, or to the end. */
struct range {
	uint32_t from;
	struct seccomp_target target;
};

struct line {
	struct range *v; /* owned */
	size_t n, cap;
};

static void line_free(struct line *l)
{
	free(l->v);
}
#define _cleanup_line_ _cleanup_(line_free)

static bool same(struct seccomp_target a, struct seccomp_target b)
{
	return a.block == b.block && a.v == b.v;
}

static struct seccomp_target action(uint32_t v)
{
	return (struct seccomp_target){ .v = v };
}

/* From here on, until the next cut. Cuts come in ascending order; a second one at the same place
 * replaces the first. */
static void cut(struct line *l, uint32_t from, struct seccomp_target target)
{
	if (l->n && l->v[l->n - 1].from == from)
		l->n--;
	if (l->n && same(l->v[l->n - 1].target, target))
		return;
	if (l->n == l->cap) {
		l->cap = l->cap ? 2 * l->cap : 128;
		l->v = xrealloc(l->v, l->cap * sizeof(*l->v));
	}
	l->v[l->n++] = (struct range){ .from = from, .target = target };
}

/* One architecture's decisions between two numbers. */
static void cut_arch(struct line *l, const struct seccomp_profile *p,
    const struct seccomp_arch *arch, uint32_t from, uint32_t to)
{
	const struct seccomp_target other = action(p->default_action);
	const struct seccomp_target newer = action(SECCOMP_RET_ERRNO | ENOSYS);

	cut(l, from, from > arch->last_call ? newer : other);
	for (size_t i = 0; i < arch->n_decisions; i++) {
		const struct seccomp_decision *d = &arch->decisions[i];

		if (d->nr < from || d->nr > to)
			continue;
		cut(l, d->nr, d->target);
		if (d->nr < to)
			cut(l, d->nr + 1, other);
	}
	if (arch->last_call >= from && arch->last_call < to)
		cut(l, arch->last_call + 1, newer);
}

/*
 * x86-64 with its x32 calls, which have bit 30 set (and as far as the kernel lets them come here,
 * any of the others). Not listed they are killed, but for -1, a tracer's way to skip a call.
 */
static void cut_x86_64(struct line *l, const struct seccomp_profile *p,
    const struct seccomp_arch *arch, const struct seccomp_arch *x32)
{
	const struct seccomp_target kill = action(SECCOMP_RET_KILL_THREAD);

	cut_arch(l, p, arch, 0, X32_CALL_BIT - 1);
	if (x32)
		cut_arch(l, p, x32, X32_CALL_BIT, 2 * X32_CALL_BIT - 1);
	else
		cut(l, X32_CALL_BIT, kill);
	cut(l, 2 * X32_CALL_BIT,
	    arch->last_call == UINT32_MAX ? kill : action(SECCOMP_RET_ERRNO | ENOSYS));
	if (x32) {
		cut_arch(l, p, x32, 3 * X32_CALL_BIT, UINT32_MAX);
	} else {
		cut(l, 3 * X32_CALL_BIT, kill);
		cut(l, UINT32_MAX, action(p->default_action));
	}
}

/* ---- code ---- */

/* Jumps to blocks hold the block's index until the program's length is known. */
struct program {
	struct seccomp_code code;
	size_t *jumps; /* owned */
	size_t n_jumps, jumps_cap;
};

static void program_free(struct program *p)
{
	seccomp_code_free(&p->code);
	free(p->jumps);
}
#define _cleanup_program_ _cleanup_(program_free)

static void emit_target(struct program *p, struct seccomp_target t)
{
	if (!t.block) {
		seccomp_emit(&p->code, BPF_RET | BPF_K, 0, 0, t.v);
		return;
	}
	if (p->n_jumps == p->jumps_cap) {
		p->jumps_cap = p->jumps_cap ? 2 * p->jumps_cap : 64;
		p->jumps = xrealloc(p->jumps, p->jumps_cap * sizeof(*p->jumps));
	}
	p->jumps[p->n_jumps++] = seccomp_emit(&p->code, BPF_JMP | BPF_JA, 0, 0, t.v);
}

/* Expects the number in the accumulator. Recursion is as deep as the tree. */
static void emit_tree(struct program *p, const struct range *v, size_t n)
{
	const size_t left = n / 2;
	size_t at;

	if (n == 1) {
		emit_target(p, v->target);
		return;
	}
	at = seccomp_emit(&p->code, BPF_JMP | BPF_JGE | BPF_K, 0, 0, v[left].from);
	/* A tree of n leaves has 2n - 1 instructions as long as it needs no long jump itself. */
	if (2 * left - 1 > JUMP_MAX) {
		p->code.insns[at].jf = 1;
		at = seccomp_emit(&p->code, BPF_JMP | BPF_JA, 0, 0, 0);
		emit_tree(p, v, left);
		p->code.insns[at].k = (uint32_t)(p->code.n - at - 1);
	} else {
		emit_tree(p, v, left);
		p->code.insns[at].jt = (uint8_t)(p->code.n - at - 1);
	}
	emit_tree(p, v + left, n - left);
}

static void emit_arch(struct program *p, uint32_t token, const struct line *l)
{
	size_t skip;

	seccomp_emit(&p->code, BPF_JMP | BPF_JEQ | BPF_K, 1, 0, token);
	skip = seccomp_emit(&p->code, BPF_JMP | BPF_JA, 0, 0, 0);
	seccomp_emit_load(&p->code, offsetof(struct seccomp_data, nr));
	emit_tree(p, l->v, l->n);
	p->code.insns[skip].k = (uint32_t)(p->code.n - skip - 1);
}

void seccomp_join(const struct seccomp_profile *p, const struct seccomp_arch *archs, size_t n_archs,
    const struct seccomp_code *blocks, struct sock_filter **ret, size_t *ret_n)
{
	_cleanup_program_ struct program prog = { 0 };
	const struct seccomp_arch *x32 = NULL;
	struct seccomp_code *code = &prog.code;
	size_t head;

	for (size_t i = 0; i < n_archs; i++)
		if (archs[i].token == SCMP_ARCH_X32)
			x32 = &archs[i];
	seccomp_emit_load(code, offsetof(struct seccomp_data, arch));
	for (size_t i = 0; i < n_archs; i++) {
		_cleanup_line_ struct line l = { 0 };

		if (archs[i].token == SCMP_ARCH_X32)
			continue;
		if (archs[i].token == SCMP_ARCH_X86_64)
			cut_x86_64(&l, p, &archs[i], x32);
		else
			cut_arch(&l, p, &archs[i], 0, UINT32_MAX);
		emit_arch(&prog, archs[i].token, &l);
	}
	seccomp_emit(code, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_THREAD);
	head = code->n;
	for (size_t i = 0; i < prog.n_jumps; i++) {
		struct sock_filter *jump = &code->insns[prog.jumps[i]];

		jump->k = (uint32_t)(head + blocks->blocks[jump->k].at - prog.jumps[i] - 1);
	}
	for (size_t i = 0; i < blocks->n; i++)
		seccomp_emit(code, blocks->insns[i].code, blocks->insns[i].jt, blocks->insns[i].jf,
		    blocks->insns[i].k);
	*ret_n = code->n;
	*ret = steal_ptr(code->insns);
}
