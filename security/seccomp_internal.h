/* Between the files about seccomp; not for other folders. seccomp_compile.c has the overview. */
#pragma once
#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "spec/spec.h"

/* x86-64 tells x32 calls by this bit of the number. */
#define X32_CALL_BIT 0x40000000u

/* ---- a profile, checked ---- */

struct seccomp_rule {
	const struct spec_seccomp_rule *spec;
	uint32_t action; /* SECCOMP_RET_* with its value */
	/* It says what the default says. Such a rule decides nothing: it neither hides an earlier
	 * rule nor forbids a later one. */
	bool skipped;
	/* Two conditions look at one argument: each stands for itself. */
	bool alternatives;
};

struct seccomp_profile {
	uint32_t default_action;
	struct seccomp_rule *rules; /* owned; as many as the specification's, in its order */
	size_t n_rules;
	bool notify;
	bool newer_enosys; /* calls newer than the profile get ENOSYS */
};

/* ---- a profile on one architecture ---- */

/* One rule for one call. */
struct seccomp_call {
	uint32_t nr;
	uint32_t order;	   /* of the name in the profile */
	uint32_t selector; /* socketcall(2), ipc(2): the first argument; 0: a direct call */
	bool member;	   /* of a family with a multiplexer, called this way or the other */
	const char *name;
	const struct seccomp_rule *rule;
};

/* What becomes of a call: an action, or a block of code that looks at its arguments. */
struct seccomp_target {
	bool block;
	uint32_t v; /* SECCOMP_RET_* or the block's index */
};

struct seccomp_decision {
	uint32_t nr;
	struct seccomp_target target;
};

struct seccomp_arch {
	uint32_t token;		    /* SCMP_ARCH_* */
	const char *name;	    /* "SCMP_ARCH_X86_64", for messages */
	bool wide;		    /* arguments have 64 bits */
	uint32_t last_call;	    /* highest number the profile names; UINT32_MAX: no limit */
	struct seccomp_call *calls; /* owned; by number, then by order */
	size_t n_calls;
	struct seccomp_decision *decisions; /* owned; one per number, ascending */
	size_t n_decisions;
};

/* seccomp_resolve.c: fills calls and last_call. */
void seccomp_resolve(const struct seccomp_profile *p, struct seccomp_arch *arch);

/* ---- conditions ---- */

enum seccomp_compare { SECCOMP_EQ, SECCOMP_GT, SECCOMP_GE };

/* (argument & mask) == value, argument > value, argument >= value, or the opposite. */
struct seccomp_cond {
	uint8_t arg;
	uint8_t compare;
	bool negated;
	uint64_t mask, value; /* 32 bits where the architecture's arguments have 32 */
};

/* All conditions hold: the action. Conditions that always hold are left out, so none at all means
 * that the call is decided. */
struct seccomp_chain {
	uint32_t action;
	unsigned n;
	struct seccomp_cond conds[6];
};

struct seccomp_chains {
	struct seccomp_chain *v; /* owned */
	size_t n, cap;
};

/* seccomp_chain.c: appends what a rule says about one of its calls. */
void seccomp_chains_add(struct seccomp_chains *c, const struct seccomp_call *call, bool wide);
/* Does some call fulfil two chains that disagree about it? May say so where none does. */
bool seccomp_chains_contradict(const struct seccomp_chains *c, bool wide);

/* ---- code ---- */

/* Self-contained pieces of program, one behind the other: each decides and returns. */
struct seccomp_code {
	struct sock_filter *insns; /* owned */
	size_t n, cap;
	struct seccomp_block {
		size_t at, n;
	} * blocks; /* owned */
	size_t n_blocks, blocks_cap;
};

void seccomp_code_free(struct seccomp_code *c);
#define _cleanup_code_ __attribute__((cleanup(seccomp_code_free)))
/* Appends one instruction and returns its position. */
size_t seccomp_emit(struct seccomp_code *c, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k);
void seccomp_emit_load(struct seccomp_code *c, size_t offset); /* of struct seccomp_data */
/* Appends a block and returns its index; one that is there already is not repeated. */
uint32_t seccomp_block_chains(
    struct seccomp_code *c, const struct seccomp_chains *chains, uint32_t default_action);
/* Reserves a block's index, and gives it its code. */
uint32_t seccomp_block_reserve(struct seccomp_code *c);
void seccomp_block_fill(
    struct seccomp_code *c, uint32_t block, const struct sock_filter *insns, size_t n);

/* seccomp_library.c: the program that libseccomp writes for these calls, as a block. */
int seccomp_library_block(const struct seccomp_profile *p, const struct seccomp_arch *arch,
    struct seccomp_call *const *calls, size_t n, struct seccomp_code *c, uint32_t block,
    struct err *e);

/* seccomp_decide.c: from an architecture's calls to its decisions; blocks go to c. */
int seccomp_decide(const struct seccomp_profile *p, struct seccomp_arch *arch,
    struct seccomp_code *c, struct err *e);

/* seccomp_join.c: the whole program from the decisions of all architectures. The caller frees
 * *ret. */
void seccomp_join(const struct seccomp_profile *p, const struct seccomp_arch *archs, size_t n_archs,
    const struct seccomp_code *blocks, struct sock_filter **ret, size_t *ret_n);

/* How long an agent may take to accept its notify descriptor; tests shorten it. */
extern int seccomp_agent_timeout_ms;
