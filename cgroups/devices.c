/*
 * Device rules to a BPF_PROG_TYPE_CGROUP_DEVICE program.
 *
 * The kernel asks once per open (read, write or both) and per mknod. Each of the asked-for accesses
 * is decided by the last rule that names the device and that access, and the whole is allowed if
 * all of them are: "allow r" and "allow w" together allow O_RDWR, and "deny w" after "allow rw"
 * denies it. The program therefore goes through the rules from the last to the first and drops from
 * the request what an allow rule grants; nothing left means allowed, a deny rule that names
 * something left means denied, and so does the end.
 *
 * The default devices come after the configuration's rules and so always hold, and what no rule
 * names is denied, also when there are no rules at all: as runc has it.
 */
#include <stddef.h>

#include "base/alloc.h"
#include "cgroups/internal.h"

#define JNE (BPF_JMP32 | BPF_JNE | BPF_K)
#define ALL 7u /* BPF_DEVCG_ACC_MKNOD | _READ | _WRITE */

/* runc's list. A node alone opens nothing, so that any may be made. The console is missing on
 * purpose: a container's /dev/console is a pty (136), while 5:1 is the host's console. The ptys of
 * other devpts instances have no other path into the container. tun is there because containers
 * have made use of it for years; configuring it takes CAP_NET_ADMIN over the network namespace. */
#define CHR(major_, minor_)                                                                       \
	{                                                                                         \
		.allow = true, .type = 'c', .major = { true, major_ }, .minor = { true, minor_ }, \
		.read = true, .write = true, .mknod = true                                        \
	}
static const struct spec_device_rule defaults[] = {
	{ .allow = true, .type = 'b', .mknod = true },
	{ .allow = true, .type = 'c', .mknod = true }, CHR(10, 200), /* net/tun */
	CHR(5, 2),						     /* ptmx */
	CHR(136, -1),						     /* pts/N */
	CHR(5, 0),						     /* tty */
	CHR(1, 8),						     /* random */
	CHR(1, 9),						     /* urandom */
	CHR(1, 7),						     /* full */
	CHR(1, 5),						     /* zero */
	CHR(1, 3), /* null: opened most, so it comes last and is decided first */
};

/* ---- emitting ---- */

/* Registers: r1 context, r2 type, r3 accesses still undecided, r4 scratch. Each rule loads major
 * and minor anew: were they kept, the verifier would carry what each comparison has taught it
 * through all rules after it, and its work would grow with the square of their number. */

static void emit(struct cg_prog *p, struct bpf_insn i)
{
	if (p->n == p->cap) {
		p->cap = p->cap ? p->cap * 2 : 64;
		p->v = xrealloc(p->v, p->cap * sizeof(*p->v));
	}
	p->v[p->n++] = i;
}

static void emit_load(struct cg_prog *p, int reg, size_t offset)
{
	emit(p, (struct bpf_insn){ .code = BPF_LDX | BPF_MEM | BPF_W,
		    .dst_reg = (uint8_t)reg & 15,
		    .src_reg = BPF_REG_1,
		    .off = (int16_t)offset });
}

/* 32-bit operation or jump on reg with an immediate. */
static void emit_imm(struct cg_prog *p, int code, int reg, uint32_t imm)
{
	emit(p, (struct bpf_insn){
		    .code = (uint8_t)code, .dst_reg = (uint8_t)reg & 15, .imm = (int32_t)imm });
}

static void emit_verdict(struct cg_prog *p, bool allow)
{
	emit_imm(p, BPF_ALU64 | BPF_MOV | BPF_K, BPF_REG_0, allow);
	emit(p, (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT });
}

static void emit_prologue(struct cg_prog *p)
{
	emit_load(p, BPF_REG_3, offsetof(struct bpf_cgroup_dev_ctx, access_type));
	emit(
	    p, (struct bpf_insn){
		   .code = BPF_ALU | BPF_MOV | BPF_X, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_3 });
	emit_imm(p, BPF_ALU | BPF_AND | BPF_K, BPF_REG_2, 0xffff);
	emit_imm(p, BPF_ALU | BPF_RSH | BPF_K, BPF_REG_3, 16);
}

static bool any_number(const struct opt_i64 *n)
{
	return !n->set || n->v == -1;
}

static void emit_number(struct cg_prog *p, const struct opt_i64 *n, size_t offset)
{
	if (any_number(n))
		return;
	emit_load(p, BPF_REG_4, offset);
	emit_imm(p, JNE, BPF_REG_4, (uint32_t)n->v);
}

static uint32_t rule_access(const struct spec_device_rule *d)
{
	return (d->mknod ? BPF_DEVCG_ACC_MKNOD : 0u) | (d->read ? BPF_DEVCG_ACC_READ : 0u) |
	       (d->write ? BPF_DEVCG_ACC_WRITE : 0u);
}

static bool any_device(const struct spec_device_rule *d)
{
	return d->type == 'a' && any_number(&d->major) && any_number(&d->minor);
}

static void emit_rule(struct cg_prog *p, const struct spec_device_rule *d)
{
	uint32_t access = rule_access(d);
	size_t first = p->n;

	if (d->type != 'a')
		emit_imm(
		    p, JNE, BPF_REG_2, d->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR);
	emit_number(p, &d->major, offsetof(struct bpf_cgroup_dev_ctx, major));
	emit_number(p, &d->minor, offsetof(struct bpf_cgroup_dev_ctx, minor));
	if (access != ALL && d->allow) {
		emit_imm(p, BPF_ALU | BPF_AND | BPF_K, BPF_REG_3, ALL & ~access);
		emit_imm(p, JNE, BPF_REG_3, 0);
	} else if (access != ALL) {
		emit_imm(p, BPF_JMP32 | BPF_JSET | BPF_K, BPF_REG_3, access);
		p->v[p->n - 1].off = 1; /* over the jump to the next rule */
		emit(p, (struct bpf_insn){ .code = BPF_JMP | BPF_JA });
	}
	emit_verdict(p, d->allow);
	/* All jumps that are still open go behind the rule. */
	for (size_t i = first; i < p->n - 2; i++) {
		uint8_t class = BPF_CLASS(p->v[i].code);

		if ((class == BPF_JMP || class == BPF_JMP32) && !p->v[i].off)
			p->v[i].off = (int16_t)(p->n - i - 1);
	}
}

/* ---- rules ---- */

static int check_rule(const struct spec_device_rule *d, size_t i, struct err *e)
{
	const struct opt_i64 *number[] = { &d->major, &d->minor };

	for (int n = 0; n < 2; n++) {
		if (!any_number(number[n]) && (number[n]->v < 0 || number[n]->v > UINT32_MAX))
			return err_set(e, EINVAL,
			    ".linux.resources.devices[%zu].%s: %lld: not a device number", i,
			    n ? "minor" : "major", (long long)number[n]->v);
	}
	if (d->type != 'a' && d->type != 'b' && d->type != 'c')
		return err_set(e, EINVAL,
		    ".linux.resources.devices[%zu].type: '%c': cannot be controlled by a cgroup", i,
		    d->type);
	return 0;
}

void cg_prog_free(struct cg_prog *p)
{
	free(p->v);
	*p = (struct cg_prog){ 0 };
}

int cg_devices_compile(const struct spec_resources *r, struct cg_prog *ret, struct err *e)
{
	_cleanup_prog_ struct cg_prog p = { 0 };
	bool denies = false, decided = false;

	for (size_t i = 0; i < r->devices.n; i++) {
		int rc = check_rule(&r->devices.v[i], i, e);

		if (rc < 0)
			return rc;
	}
	emit_prologue(&p);
	for (size_t i = ARRAY_SIZE(defaults); i-- > 0;)
		emit_rule(&p, &defaults[i]);
	/* A rule for everything ends the program: what is before it has no say any more. */
	for (size_t i = r->devices.n; i-- > 0 && !decided;) {
		const struct spec_device_rule *d = &r->devices.v[i];

		if (!rule_access(d))
			continue;
		decided = any_device(d) && rule_access(d) == ALL;
		denies |= !d->allow;
		emit_rule(&p, d);
	}
	if (!decided)
		emit_verdict(&p, false);
	if (decided && !denies)
		*ret = (struct cg_prog){ .allow_all = true };
	else {
		*ret = p;
		p = (struct cg_prog){ 0 };
	}
	return 0;
}
