/*
 * What a process may do: capabilities (libcap), seccomp, LSM labels, rlimits,
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

/*
 * The order in the child, and why (all of it after the last mount and before execve):
 *
 *   keyring_join, rlimits_raise, sched_apply, mem_policy_apply, personality_apply
 *   oom_score_apply, lsm_apply_exec   before user_apply: a process that changed its user owns its
 *                                     /proc files no more
 *   seccomp_install                   here when noNewPrivileges is false (needs CAP_SYS_ADMIN)
 *   caps_drop_bounding                needs CAP_SETPCAP
 *   user_apply, caps_apply
 *   seccomp_install                   here, last, when no_new_privs is set
 *
 * Raising rlimits and lowering oom_score_adj need privileges of the initial user namespace: for a
 * container with a user namespace of its own the parent does both, by pid. rlimits_apply, which
 * then only lowers them, comes when no more files are opened.
 */

/* Drops every capability that c does not bound from the bounding set (with c->has false: all).
 * Needs CAP_SETPCAP where there is something to drop. prctl(2) PR_CAPBSET_DROP. */
int caps_drop_bounding(const struct spec_caps *c, struct err *e);
/* setgroups, setresgid, setresuid with PR_SET_KEEPCAPS, umask (0022 when the spec has none). Where
 * the user namespace denies setgroups(2) and no additional groups are wanted, the caller's stay. */
int user_apply(const struct spec_user *u, struct err *e);
/* After user_apply: inheritable, permitted, effective by capset(2), then ambient; clears
 * PR_SET_KEEPCAPS. The sets become exactly what the spec says, less what the caller does not have
 * itself (which caps_check() warned about). With c->has false all sets become empty. */
int caps_apply(const struct spec_caps *c, struct err *e);
/* Refuses (-EPERM) sets that contradict each other: effective beyond permitted, inheritable beyond
 * bounding. Warns of capabilities that the caller does not have itself and of ambient ones that are
 * not permitted and inheritable (the peers' `spec` writes such): they are left out, as the
 * specification demands. own_userns: the container gets a user namespace of its own or joins one,
 * where it has all capabilities whatever the caller has. */
int caps_check(const struct spec_caps *c, bool own_userns, struct err *e);

/* ---- seccomp ---- */
struct seccomp_prog {
	struct sock_filter *insns; /* owned */
	size_t n;
	unsigned flags; /* SECCOMP_FILTER_FLAG_*, NEW_LISTENER included where a listener is due */
};
void seccomp_prog_free(struct seccomp_prog *p);
#define _cleanup_seccomp_ __attribute__((cleanup(seccomp_prog_free)))
/* Compiles a profile: native and listed architectures, a search tree over the calls' numbers, code
 * for arguments, and -ENOSYS for syscalls newer than any the profile names (as runc does), where
 * the default action is an error. Numbers are libseccomp's, and so is the answer where rules
 * contradict each other (docs/adr/0006-seccomp-generator.md). Unknown syscall names are skipped
 * with log_debug, as the specification's users expect. */
int seccomp_compile(const struct spec_seccomp *s, struct seccomp_prog *ret, struct err *e);
/* Loads it with seccomp(2) into the calling, single-threaded process (libseccomp owns the name
 * seccomp_load). Needs no_new_privs or CAP_SYS_ADMIN in the user namespace. With a listener, agent
 * is a connected SOCK_STREAM unix socket that gets the notify fd with state_json
 * (containerProcessState) before the first filtered call of the payload, by a helper that is not
 * filtered; then it is shut down for writing. An agent that does not take it within 10 seconds or
 * hangs up is an error. agent -EBADF: none. After success as after an error of the agent, any
 * system call of the caller is subject to the filter; on error no filtered call waits for an agent,
 * because the notify fd is closed. */
int seccomp_install(const struct seccomp_prog *p, int agent, const char *state_json, struct err *e);
/* Makes it one that needs no agent: where it would ask, it answers ENOSYS, as the kernel does once
 * an agent is gone. */
void seccomp_without_agent(struct seccomp_prog *p);
/* SECCOMP_FILTER_FLAG_* that this kernel takes, out of those the specification names. */
unsigned seccomp_supported_flags(void);
/* libseccomp's version, "2.5.4"; returns buf. */
#define SECCOMP_VERSION_MAX 48
const char *seccomp_library_version(char buf[SECCOMP_VERSION_MAX]);

/* ---- LSM ---- */
/* Is the profile/label usable on this kernel? An error names which module is off. */
int lsm_check(const struct spec_process *p, const char *mount_label, struct err *e);
/* Writes attr/apparmor/exec resp. attr/exec (SELinux) below procfd, the root of a trusted procfs of
 * the caller's pid namespace, for the calling process's next execve. */
int lsm_apply_exec(int procfd, const struct spec_process *p, struct err *e);
/* The same for the calling process as it is, for one that will execute nothing:
 * attr/apparmor/current (changeprofile) resp. attr/current, which SELinux grants with process {
 * setcurrent dyntransition } only. It must have one thread, and comes before no_new_privs, with
 * which a change of label may be refused. */
int lsm_apply_now(int procfd, const struct spec_process *p, struct err *e);
/* Joins the session keyring of this name, or makes it and lets processes of the same user find it,
 * so that exec can join it. A kernel without keyrings (ENOSYS) is tolerated: there is nothing to
 * leak. keyctl(2) KEYCTL_JOIN_SESSION_KEYRING. */
int keyring_join(const char *name, struct err *e);

/* ---- process attributes ---- */
/* What raising takes a privilege: the hard limits of pid (0: the calling process) that are lower
 * than wanted. The others stay, so that the process can still open what it needs. prlimit(2); EPERM
 * on RLIMIT_MEMLOCK is tolerated (log_debug). */
int rlimits_raise(pid_t pid, const struct spec_process *p, struct err *e);
/* All limits of the calling process, exactly. */
int rlimits_apply(const struct spec_process *p, struct err *e);
int sched_apply(const struct spec_process *p, struct err *e); /* scheduler, then ioPriority */
int mem_policy_apply(const struct spec_mem_policy *m, struct err *e); /* set_mempolicy(2) */
/* Writes <procfd>/PID/oom_score_adj; pid as procfd's namespace counts, 0: the calling process. */
int oom_score_apply(int procfd, pid_t pid, const struct spec_process *p, struct err *e);
int personality_apply(const struct spec *s, struct err *e);
/* CPU list "0-3,7" -> sched_setaffinity(pid). pid 0: self. NULL list: nothing. */
int cpu_affinity_apply(pid_t pid, const char *list, struct err *e);
