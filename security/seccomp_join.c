/*
 * The head of a filter: which architecture, is the call newer than the profile, on to the part.
 *
 * A filter must not answer EPERM to a system call that its author could not know: C libraries try
 * the new call first and fall back to the old one on ENOSYS alone. So a number beyond the highest
 * one that the profile names, for that architecture, gets ENOSYS before the profile is asked. What
 * the profile does name is never touched.
 *
 *	load arch
 *	per architecture:
 *	  not this one?        -> next
 *	  load nr
 *	  x86-64 only: x32 bit -> the x32 half
 *	  nr > last?           -> return ENOSYS
 *	  jump to the part
 *	return KILL (an architecture that the profile does not list)
 *	part, part, …
 *
 * Each part checks the architecture again, and the x86-64 part kills x32 calls: the parts are whole
 * filters as libseccomp wrote them. One context for each is several times faster than one for all,
 * because libseccomp's cost grows faster than the number of its rules.
 */
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <seccomp.h>
#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "security/seccomp_internal.h"

#define HEAD_MAX 128 /* 4 archs share a machine at most, at most 11 instructions each */

struct head {
	struct sock_filter insns[HEAD_MAX];
	size_t n;
	/* Jumps to parts, patched when the head's length is known. */
	struct {
		size_t at, part;
	} jumps[16];
	size_t n_jumps;
};

static size_t emit(struct head *h, uint16_t code, uint8_t jt, uint8_t jf, uint32_t k)
{
	h->insns[h->n] = (struct sock_filter){ .code = code, .jt = jt, .jf = jf, .k = k };
	return h->n++;
}

static void emit_load(struct head *h, size_t offset)
{
	emit(h, BPF_LD | BPF_W | BPF_ABS, 0, 0, (uint32_t)offset);
}

/* Expects the call's number in the accumulator. */
static void emit_limit_and_jump(struct head *h, const struct seccomp_arch *archs, size_t part)
{
	if (archs[part].last_call != UINT32_MAX) {
		emit(h, BPF_JMP | BPF_JGT | BPF_K, 0, 1, archs[part].last_call);
		emit(h, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_ERRNO | ENOSYS);
	}
	h->jumps[h->n_jumps].at = emit(h, BPF_JMP | BPF_JA, 0, 0, 0);
	h->jumps[h->n_jumps++].part = part;
}

static void emit_arch(
    struct head *h, const struct seccomp_arch *archs, size_t part, const size_t *x32)
{
	size_t test = emit(h, BPF_JMP | BPF_JEQ | BPF_K, 0, 0, archs[part].token);

	emit_load(h, offsetof(struct seccomp_data, nr));
	if (archs[part].token == SCMP_ARCH_X86_64) {
		size_t half = emit(h, BPF_JMP | BPF_JSET | BPF_K, 0, 0, X32_CALL_BIT);

		emit_limit_and_jump(h, archs, part);
		h->insns[half].jt = (uint8_t)(h->n - half - 1);
		/* Not listed: the x86-64 part knows what x32 calls deserve. */
		if (x32) {
			emit_limit_and_jump(h, archs, *x32);
		} else {
			h->jumps[h->n_jumps].at = emit(h, BPF_JMP | BPF_JA, 0, 0, 0);
			h->jumps[h->n_jumps++].part = part;
		}
	} else {
		emit_limit_and_jump(h, archs, part);
	}
	h->insns[test].jf = (uint8_t)(h->n - test - 1);
}

void seccomp_join(
    const struct seccomp_arch *archs, size_t n_archs, struct sock_filter **ret, size_t *ret_n)
{
	struct head h = { .n = 0 };
	const size_t *x32 = NULL;
	size_t x32_part = 0, total, at;
	struct sock_filter *insns;

	for (size_t i = 0; i < n_archs; i++)
		if (archs[i].token == SCMP_ARCH_X32) {
			x32_part = i;
			x32 = &x32_part;
		}
	emit_load(&h, offsetof(struct seccomp_data, arch));
	for (size_t i = 0; i < n_archs; i++)
		if (archs[i].token != SCMP_ARCH_X32)
			emit_arch(&h, archs, i, x32);
	emit(&h, BPF_RET | BPF_K, 0, 0, SECCOMP_RET_KILL_THREAD);

	total = h.n;
	for (size_t i = 0; i < n_archs; i++)
		total += archs[i].n;
	insns = xcalloc(total, sizeof(*insns));
	at = h.n;
	for (size_t i = 0; i < n_archs; i++) {
		for (size_t j = 0; j < h.n_jumps; j++)
			if (h.jumps[j].part == i)
				h.insns[h.jumps[j].at].k = (uint32_t)(at - h.jumps[j].at - 1);
		memcpy(insns + at, archs[i].insns, archs[i].n * sizeof(*insns));
		at += archs[i].n;
	}
	memcpy(insns, h.insns, h.n * sizeof(*insns));
	*ret = insns;
	*ret_n = total;
}
