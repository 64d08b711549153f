/* Profiles written down in tests, and questions to their programs. */
#pragma once
#include <errno.h>
#include <linux/audit.h>
#include <seccomp.h>

#include "base/cleanup.h"
#include "security/security.h"
#include "tests/unit/security/bpf_sim.h"
#include "tests/unit/test.h"

#define X64	     AUDIT_ARCH_X86_64
#define I386	     AUDIT_ARCH_I386
#define X32	     0x40000000u
#define RET_ERRNO(n) (SECCOMP_RET_ERRNO | (n))
#define NR_OPENAT2   437

#define NAMES(...)                                                     \
	{                                                              \
		(char *[]){ __VA_ARGS__, NULL },                       \
		    sizeof((char *[]){ __VA_ARGS__ }) / sizeof(char *) \
	}
#define ARGS(...)                                                        \
	{                                                                \
		(struct spec_seccomp_arg[]){ __VA_ARGS__ },              \
		    sizeof((struct spec_seccomp_arg[]){ __VA_ARGS__ }) / \
			sizeof(struct spec_seccomp_arg)                  \
	}

__attribute__((unused)) static struct spec_seccomp profile(
    enum spec_seccomp_action def, struct spec_seccomp_rule *rules, size_t n)
{
	return (struct spec_seccomp){ .has = true, .default_action = def, .rules = { rules, n } };
}

static uint32_t ask_args(
    const struct seccomp_prog *p, uint32_t arch, uint32_t nr, const uint64_t args[6])
{
	struct seccomp_data d = { .nr = (int)nr, .arch = arch };
	unsigned steps;

	memcpy(d.args, args, sizeof(d.args));
	return bpf_sim(p->insns, p->n, &d, &steps);
}

__attribute__((unused)) static uint32_t ask(
    const struct seccomp_prog *p, uint32_t arch, uint32_t nr)
{
	return ask_args(p, arch, nr, (const uint64_t[6]){ 0 });
}

__attribute__((unused)) static uint32_t ask1(
    const struct seccomp_prog *p, uint32_t nr, unsigned index, uint64_t v)
{
	uint64_t args[6] = { 0 };

	args[index] = v;
	return ask_args(p, X64, nr, args);
}

__attribute__((unused)) static void compile(const struct spec_seccomp *s, struct seccomp_prog *p)
{
	struct err e = ERR_INIT;

	CHECK_INT(seccomp_compile(s, p, &e), 0);
	CHECK_STR(e.msg, "");
}

__attribute__((unused)) static bool skip_unless_x86_64(void)
{
	if (seccomp_arch_native() == SCMP_ARCH_X86_64)
		return false;
	printf("# SKIP numbers are those of x86-64\n");
	return true;
}
