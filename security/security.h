/*
 * What a process may do: capabilities (libcap), seccomp (libseccomp), LSM labels, rlimits,
 * identity and scheduling attributes. Called in the child, last before execve; nothing here
 * resolves a path inside the container.
 */
#pragma once
#include <linux/filter.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "spec/spec.h"

/* ---- capabilities and identity (capabilities(7)) ---- */

/* Drops every capability that c does not bound from the bounding set. Needs CAP_SETPCAP. A
 * capability that the spec names and the kernel or the caller does not have is an error for
 * effective and permitted; it is left out with a warning by caps_check(). */
int caps_drop_bounding(const struct spec_caps *c, struct err *e);
/* setgroups (skipped where it is denied and none are wanted), setresgid, setresuid with KEEPCAPS,
 * umask. setgroups_denied: /proc/self/setgroups says "deny". */
int user_apply(const struct spec_user *u, struct err *e);
/* After user_apply: inheritable, permitted, effective by capset(2), then ambient. With c->has
 * false all sets become empty. */
int caps_apply(const struct spec_caps *c, struct err *e);
/* Refuses (-EPERM) sets that could not be applied by a process with the caller's bounding set,
 * naming the capability; ambient must be within permitted and inheritable. */
int caps_check(const struct spec_caps *c, struct err *e);

/* ---- seccomp ---- */
struct seccomp_prog {
	struct sock_filter *insns; /* owned */
	size_t n;
	unsigned flags; /* SECCOMP_FILTER_FLAG_*, NEW_LISTENER included where a listener is due */
};
void seccomp_prog_free(struct seccomp_prog *p);
#define _cleanup_seccomp_ __attribute__((cleanup(seccomp_prog_free)))
/* Compiles a profile with libseccomp: native and listed architectures, arguments, a binary tree for
 * large profiles, and in front of it -ENOSYS for syscalls newer than any the profile names (as runc
 * does), where the default action is an error. Unknown syscall names are skipped with log_debug, as
 * the specification's users expect. */
int seccomp_compile(const struct spec_seccomp *s, struct seccomp_prog *ret, struct err *e);
/* Loads it with seccomp(2). With a listener, agent is a connected unix socket that gets the notify
 * fd with state_json (seccomp containerProcessState) before the first filtered call of the payload,
 * by a helper that shares the fd table and is not filtered. agent -EBADF: none. */
int seccomp_load(const struct seccomp_prog *p, int agent, const char *state_json, struct err *e);
/* Names the kernel and libseccomp support, for `features`; NULL-terminated static arrays. */
unsigned seccomp_supported_flags(void);

/* ---- LSM ---- */
/* Is the profile/label usable on this kernel? An error names which module is off. */
int lsm_check(const struct spec_process *p, const char *mount_label, struct err *e);
/* Writes attr/apparmor/exec (or attr/exec) resp. the SELinux exec label below procfd, a trusted
 * procfs root, for the calling process's next execve. */
int lsm_apply_exec(int procfd, const struct spec_process *p, struct err *e);
/* keyctl(KEYCTL_JOIN_SESSION_KEYRING, name); ENOSYS and EDQUOT are tolerated as runc does. */
int keyring_join(const char *name, struct err *e);

/* ---- process attributes ---- */
/* prlimit on the calling process. EPERM on RLIMIT_MEMLOCK is tolerated (log_debug). */
int rlimits_apply(const struct spec_process *p, struct err *e);
int sched_apply(const struct spec_process *p, struct err *e); /* scheduler, then ioPriority */
int mem_policy_apply(const struct spec_mem_policy *m, struct err *e); /* set_mempolicy(2) */
int oom_score_apply(int procfd, const struct spec_process *p, struct err *e);
int personality_apply(const struct spec *s, struct err *e);
/* CPU list "0-3,7" -> sched_setaffinity(pid). pid 0: self. NULL list: nothing. */
int cpu_affinity_apply(pid_t pid, const char *list, struct err *e);
