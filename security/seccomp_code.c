/*
 * Code that looks at arguments. A block is self-contained, so equal ones of several calls or
 * architectures are one:
 *
 *	per chain of conditions:
 *	  per condition: load a half of the argument, compare; does not hold -> the next chain
 *	  return the chain's action
 *	return the default action
 *
 * BPF compares 32 bits at a time, so an argument of 64 bits is its upper half first and its lower
 * half where the upper one leaves the answer open. A chain has at most six conditions of at most
 * five instructions: conditional jumps, which reach 255 instructions, stay within it.
 */
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "security/seccomp_internal.h"

#define LOWER  (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? 0 : 4)
#define UPPER  (4 - LOWER)
#define ARG(i) (offsetof(struct seccomp_data, args) + (i) * sizeof(uint64_t))

/* Where a conditional jump leads. */
enum where {
	ON,    /* to the next instruction */
	HOLDS, /* behind the condition */
	FAILS, /* behind the chain */
	WHERE_N,
};

/* Jumps of a chain that wait for their destination. */
struct waiting {
	struct {
		size_t at;
		bool if_true;
	} jumps[WHERE_N][6 * 6];
	size_t n[WHERE_N];
};

void seccomp_code_free(struct seccomp_code *c)
{
	free(c->insns);
	free(c->blocks);
	*c = (struct seccomp_code){ 0 };
}

size_t seccomp_emit(struct seccomp_code *c, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	if (c->n == c->cap) {
		c->cap = c->cap ? 2 * c->cap : 512;
		c->insns = xrealloc(c->insns, c->cap * sizeof(*c->insns));
	}
	c->insns[c->n] = (struct sock_filter){ .code = code, .jt = jt, .jf = jf, .k = k };
	return c->n++;
}

void seccomp_emit_load(struct seccomp_code *c, size_t offset)
{
	seccomp_emit(c, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

/* ---- one condition ---- */

static void jump(struct seccomp_code *c, struct waiting *w, uint16_t test, uint32_t k,
    enum where if_true, enum where if_false)
{
	size_t at = seccomp_emit(c, BPF_JMP | test | BPF_K, 0, 0, k);

	w->jumps[if_true][w->n[if_true]].at = at;
	w->jumps[if_true][w->n[if_true]++].if_true = true;
	w->jumps[if_false][w->n[if_false]].at = at;
	w->jumps[if_false][w->n[if_false]++].if_true = false;
	w->n[ON] = 0;
}

/* The jumps that wait for this place lead here. */
static void arrive(struct seccomp_code *c, struct waiting *w, enum where place)
{
	for (size_t i = 0; i < w->n[place]; i++) {
		struct sock_filter *insn = &c->insns[w->jumps[place][i].at];
		uint8_t distance = (uint8_t)(c->n - w->jumps[place][i].at - 1);

		if (w->jumps[place][i].if_true)
			insn->jt = distance;
		else
			insn->jf = distance;
	}
	w->n[place] = 0;
}

static void load_masked(struct seccomp_code *c, size_t offset, uint32_t mask)
{
	seccomp_emit_load(c, offset);
	if (mask != UINT32_MAX)
		seccomp_emit(c, BPF_ALU | BPF_AND | BPF_K, 0, 0, mask);
}

static void emit_equal(struct seccomp_code *c, struct waiting *w, const struct seccomp_cond *cond,
    enum where yes, enum where no)
{
	uint32_t upper = (uint32_t)(cond->mask >> 32), lower = (uint32_t)cond->mask;

	if (upper) {
		load_masked(c, ARG(cond->arg) + UPPER, upper);
		jump(c, w, BPF_JEQ, (uint32_t)(cond->value >> 32), lower ? ON : yes, no);
	}
	if (lower) {
		load_masked(c, ARG(cond->arg) + LOWER, lower);
		jump(c, w, BPF_JEQ, (uint32_t)cond->value, yes, no);
	}
}

static void emit_above(struct seccomp_code *c, struct waiting *w, const struct seccomp_cond *cond,
    enum where yes, enum where no)
{
	if (cond->mask >> 32) {
		seccomp_emit_load(c, ARG(cond->arg) + UPPER);
		jump(c, w, BPF_JGT, (uint32_t)(cond->value >> 32), yes, ON);
		jump(c, w, BPF_JEQ, (uint32_t)(cond->value >> 32), ON, no);
	}
	seccomp_emit_load(c, ARG(cond->arg) + LOWER);
	jump(c, w, cond->compare == SECCOMP_GT ? BPF_JGT : BPF_JGE, (uint32_t)cond->value, yes, no);
}

static void emit_cond(struct seccomp_code *c, struct waiting *w, const struct seccomp_cond *cond)
{
	enum where yes = cond->negated ? FAILS : HOLDS, no = cond->negated ? HOLDS : FAILS;

	if (cond->compare == SECCOMP_EQ)
		emit_equal(c, w, cond, yes, no);
	else
		emit_above(c, w, cond, yes, no);
	arrive(c, w, HOLDS);
}

/* ---- blocks ---- */

static uint32_t block_new(struct seccomp_code *c, size_t at)
{
	if (c->n_blocks == c->blocks_cap) {
		c->blocks_cap = c->blocks_cap ? 2 * c->blocks_cap : 16;
		c->blocks = xrealloc(c->blocks, c->blocks_cap * sizeof(*c->blocks));
	}
	c->blocks[c->n_blocks] = (struct seccomp_block){ .at = at, .n = c->n - at };
	return (uint32_t)c->n_blocks++;
}

uint32_t seccomp_block_chains(
    struct seccomp_code *c, const struct seccomp_chains *chains, uint32_t default_action)
{
	struct waiting w = { 0 };
	size_t at = c->n;

	for (size_t i = 0; i < chains->n; i++) {
		for (unsigned j = 0; j < chains->v[i].n; j++)
			emit_cond(c, &w, &chains->v[i].conds[j]);
		seccomp_emit(c, BPF_RET | BPF_K, 0, 0, chains->v[i].action);
		arrive(c, &w, FAILS);
	}
	seccomp_emit(c, BPF_RET | BPF_K, 0, 0, default_action);
	for (size_t i = 0; i < c->n_blocks; i++) {
		const struct seccomp_block *b = &c->blocks[i];

		if (b->n == c->n - at &&
		    memcmp(c->insns + b->at, c->insns + at, b->n * sizeof(*c->insns)) == 0) {
			c->n = at;
			return (uint32_t)i;
		}
	}
	return block_new(c, at);
}

uint32_t seccomp_block_reserve(struct seccomp_code *c)
{
	return block_new(c, c->n);
}

void seccomp_block_fill(
    struct seccomp_code *c, uint32_t block, const struct sock_filter *insns, size_t n)
{
	c->blocks[block] = (struct seccomp_block){ .at = c->n, .n = n };
	for (size_t i = 0; i < n; i++)
		seccomp_emit(c, insns[i].code, insns[i].jt, insns[i].jf, insns[i].k);
}
