/* Between the files about seccomp; not for other folders. */
#pragma once
#include <linux/filter.h>
#include <stddef.h>
#include <stdint.h>

/* x86-64 tells x32 calls by this bit of the number. */
#define X32_CALL_BIT 0x40000000u

/* One architecture's part of a profile. */
struct seccomp_arch {
	uint32_t token;		   /* SCMP_ARCH_* */
	const char *name;	   /* "SCMP_ARCH_X86_64", for messages */
	uint32_t last_call;	   /* highest number that the profile names; UINT32_MAX: no limit */
	struct sock_filter *insns; /* owned */
	size_t n;
};

/* Joins the parts to one program: a dispatcher, which also answers ENOSYS beyond last_call, and the
 * parts behind it. The caller frees *ret. */
void seccomp_join(
    const struct seccomp_arch *archs, size_t n_archs, struct sock_filter **ret, size_t *ret_n);

/* How long an agent may take to accept its notify descriptor; tests shorten it. */
extern int seccomp_agent_timeout_ms;
