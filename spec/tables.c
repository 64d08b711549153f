#include "spec/tables.h"

#include <linux/capability.h>
#include <linux/ioprio.h>
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <string.h>
#include <strings.h>
#include <sys/personality.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "spec/spec.h"

/* Newer than the oldest headers that bailey builds with. */
#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5) /* Linux 5.19 */
#endif
#ifndef MPOL_WEIGHTED_INTERLEAVE
#define MPOL_WEIGHTED_INTERLEAVE 6 /* Linux 6.9 */
#endif
#define SCHED_ISO_RESERVED 4 /* the kernel keeps the number and refuses the policy */

#define NAMES(var, noun, table) \
	const struct spec_names var = { .what = noun, .v = table, .n = ARRAY_SIZE(table) }

static const struct spec_name ns_names[] = {
	{ "cgroup", NS_CGROUP },
	{ "ipc", NS_IPC },
	{ "mount", NS_MOUNT },
	{ "network", NS_NET },
	{ "pid", NS_PID },
	{ "time", NS_TIME },
	{ "user", NS_USER },
	{ "uts", NS_UTS },
};
NAMES(spec_ns_names, "namespace", ns_names);
_Static_assert(ARRAY_SIZE(ns_names) == NS_TYPES, "every namespace has a name");

static const struct {
	const char *proc; /* below /proc/PID/ns */
	int flag;
} ns_kernel[] = {
	[NS_USER] = { "user", CLONE_NEWUSER },
	[NS_PID] = { "pid", CLONE_NEWPID },
	[NS_NET] = { "net", CLONE_NEWNET },
	[NS_IPC] = { "ipc", CLONE_NEWIPC },
	[NS_UTS] = { "uts", CLONE_NEWUTS },
	[NS_CGROUP] = { "cgroup", CLONE_NEWCGROUP },
	[NS_TIME] = { "time", CLONE_NEWTIME },
	[NS_MOUNT] = { "mnt", CLONE_NEWNS },
};
_Static_assert(ARRAY_SIZE(ns_kernel) == NS_TYPES, "every namespace has a flag");

static const struct spec_name rlimits[] = {
	{ "RLIMIT_AS", RLIMIT_AS },
	{ "RLIMIT_CORE", RLIMIT_CORE },
	{ "RLIMIT_CPU", RLIMIT_CPU },
	{ "RLIMIT_DATA", RLIMIT_DATA },
	{ "RLIMIT_FSIZE", RLIMIT_FSIZE },
	{ "RLIMIT_LOCKS", RLIMIT_LOCKS },
	{ "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
	{ "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
	{ "RLIMIT_NICE", RLIMIT_NICE },
	{ "RLIMIT_NOFILE", RLIMIT_NOFILE },
	{ "RLIMIT_NPROC", RLIMIT_NPROC },
	{ "RLIMIT_RSS", RLIMIT_RSS },
	{ "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
	{ "RLIMIT_RTTIME", RLIMIT_RTTIME },
	{ "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING },
	{ "RLIMIT_STACK", RLIMIT_STACK },
};
NAMES(spec_rlimit_names, "resource limit", rlimits);

/* SCMP_ACT_KILL is the older name of KILL_THREAD. */
static const struct spec_name seccomp_actions[] = {
	{ "SCMP_ACT_ALLOW", SECCOMP_ALLOW },
	{ "SCMP_ACT_ERRNO", SECCOMP_ERRNO },
	{ "SCMP_ACT_KILL", SECCOMP_KILL_THREAD },
	{ "SCMP_ACT_KILL_PROCESS", SECCOMP_KILL_PROCESS },
	{ "SCMP_ACT_KILL_THREAD", SECCOMP_KILL_THREAD },
	{ "SCMP_ACT_LOG", SECCOMP_LOG },
	{ "SCMP_ACT_NOTIFY", SECCOMP_NOTIFY },
	{ "SCMP_ACT_TRACE", SECCOMP_TRACE },
	{ "SCMP_ACT_TRAP", SECCOMP_TRAP },
};
NAMES(spec_seccomp_actions, "seccomp action", seccomp_actions);

static const struct spec_name seccomp_ops[] = {
	{ "SCMP_CMP_EQ", CMP_EQ },
	{ "SCMP_CMP_GE", CMP_GE },
	{ "SCMP_CMP_GT", CMP_GT },
	{ "SCMP_CMP_LE", CMP_LE },
	{ "SCMP_CMP_LT", CMP_LT },
	{ "SCMP_CMP_MASKED_EQ", CMP_MASKED_EQ },
	{ "SCMP_CMP_NE", CMP_NE },
};
NAMES(spec_seccomp_ops, "seccomp operator", seccomp_ops);

/* What libseccomp 2.5 compiles for, so that `features` promises nothing that create then refuses:
 * LOONGARCH64, M68K, SH and SHEB came with 2.6. */
static const struct spec_name seccomp_archs[] = {
	{ "SCMP_ARCH_AARCH64", 0 },
	{ "SCMP_ARCH_ARM", 0 },
	{ "SCMP_ARCH_MIPS", 0 },
	{ "SCMP_ARCH_MIPS64", 0 },
	{ "SCMP_ARCH_MIPS64N32", 0 },
	{ "SCMP_ARCH_MIPSEL", 0 },
	{ "SCMP_ARCH_MIPSEL64", 0 },
	{ "SCMP_ARCH_MIPSEL64N32", 0 },
	{ "SCMP_ARCH_PARISC", 0 },
	{ "SCMP_ARCH_PARISC64", 0 },
	{ "SCMP_ARCH_PPC", 0 },
	{ "SCMP_ARCH_PPC64", 0 },
	{ "SCMP_ARCH_PPC64LE", 0 },
	{ "SCMP_ARCH_RISCV64", 0 },
	{ "SCMP_ARCH_S390", 0 },
	{ "SCMP_ARCH_S390X", 0 },
	{ "SCMP_ARCH_X32", 0 },
	{ "SCMP_ARCH_X86", 0 },
	{ "SCMP_ARCH_X86_64", 0 },
};
NAMES(spec_seccomp_archs, "seccomp architecture", seccomp_archs);

static const struct spec_name seccomp_flags[] = {
	{ "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG },
	{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
	{ "SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC },
	{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV },
};
NAMES(spec_seccomp_flags, "seccomp flag", seccomp_flags);

static const struct spec_name sched_policies[] = {
	{ "SCHED_BATCH", SCHED_BATCH },
	{ "SCHED_DEADLINE", SCHED_DEADLINE },
	{ "SCHED_FIFO", SCHED_FIFO },
	{ "SCHED_IDLE", SCHED_IDLE },
	{ "SCHED_ISO", SCHED_ISO_RESERVED },
	{ "SCHED_OTHER", SCHED_NORMAL },
	{ "SCHED_RR", SCHED_RR },
};
NAMES(spec_sched_policies, "scheduling policy", sched_policies);

static const struct spec_name sched_flags[] = {
	{ "SCHED_FLAG_DL_OVERRUN", SCHED_FLAG_DL_OVERRUN },
	{ "SCHED_FLAG_KEEP_PARAMS", SCHED_FLAG_KEEP_PARAMS },
	{ "SCHED_FLAG_KEEP_POLICY", SCHED_FLAG_KEEP_POLICY },
	{ "SCHED_FLAG_RECLAIM", SCHED_FLAG_RECLAIM },
	{ "SCHED_FLAG_RESET_ON_FORK", SCHED_FLAG_RESET_ON_FORK },
	{ "SCHED_FLAG_UTIL_CLAMP_MAX", SCHED_FLAG_UTIL_CLAMP_MAX },
	{ "SCHED_FLAG_UTIL_CLAMP_MIN", SCHED_FLAG_UTIL_CLAMP_MIN },
};
NAMES(spec_sched_flags, "scheduling flag", sched_flags);

static const struct spec_name ioprio_classes[] = {
	{ "IOPRIO_CLASS_BE", IOPRIO_CLASS_BE },
	{ "IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE },
	{ "IOPRIO_CLASS_RT", IOPRIO_CLASS_RT },
};
NAMES(spec_ioprio_classes, "I/O priority class", ioprio_classes);

static const struct spec_name mem_policies[] = {
	{ "MPOL_BIND", MPOL_BIND },
	{ "MPOL_DEFAULT", MPOL_DEFAULT },
	{ "MPOL_INTERLEAVE", MPOL_INTERLEAVE },
	{ "MPOL_LOCAL", MPOL_LOCAL },
	{ "MPOL_PREFERRED", MPOL_PREFERRED },
	{ "MPOL_PREFERRED_MANY", MPOL_PREFERRED_MANY },
	{ "MPOL_WEIGHTED_INTERLEAVE", MPOL_WEIGHTED_INTERLEAVE },
};
NAMES(spec_mem_policies, "memory policy", mem_policies);

static const struct spec_name mem_policy_flags[] = {
	{ "MPOL_F_NUMA_BALANCING", MPOL_F_NUMA_BALANCING },
	{ "MPOL_F_RELATIVE_NODES", MPOL_F_RELATIVE_NODES },
	{ "MPOL_F_STATIC_NODES", MPOL_F_STATIC_NODES },
};
NAMES(spec_mem_policy_flags, "memory policy flag", mem_policy_flags);

static const struct spec_name personality_domains[] = {
	{ "LINUX", PER_LINUX },
	{ "LINUX32", PER_LINUX32 },
};
NAMES(spec_personality_domains, "execution domain", personality_domains);

/* The specification knows those without "r"; engines also write the recursive ones. */
static const struct spec_name propagations[] = {
	{ "private", PROP_PRIVATE },
	{ "rprivate", PROP_RPRIVATE },
	{ "rshared", PROP_RSHARED },
	{ "rslave", PROP_RSLAVE },
	{ "runbindable", PROP_RUNBINDABLE },
	{ "shared", PROP_SHARED },
	{ "slave", PROP_SLAVE },
	{ "unbindable", PROP_UNBINDABLE },
};
NAMES(spec_propagations, "propagation", propagations);

static const struct spec_name image_formats[] = {
	{ "qcow2", 0 },
	{ "raw", 0 },
	{ "vdi", 0 },
	{ "vhd", 0 },
	{ "vmdk", 0 },
};
NAMES(spec_image_formats, "image format", image_formats);

#define CAP(x) [CAP_##x] = { "CAP_" #x, CAP_##x }
static const struct spec_name caps[] = {
	CAP(CHOWN),
	CAP(DAC_OVERRIDE),
	CAP(DAC_READ_SEARCH),
	CAP(FOWNER),
	CAP(FSETID),
	CAP(KILL),
	CAP(SETGID),
	CAP(SETUID),
	CAP(SETPCAP),
	CAP(LINUX_IMMUTABLE),
	CAP(NET_BIND_SERVICE),
	CAP(NET_BROADCAST),
	CAP(NET_ADMIN),
	CAP(NET_RAW),
	CAP(IPC_LOCK),
	CAP(IPC_OWNER),
	CAP(SYS_MODULE),
	CAP(SYS_RAWIO),
	CAP(SYS_CHROOT),
	CAP(SYS_PTRACE),
	CAP(SYS_PACCT),
	CAP(SYS_ADMIN),
	CAP(SYS_BOOT),
	CAP(SYS_NICE),
	CAP(SYS_RESOURCE),
	CAP(SYS_TIME),
	CAP(SYS_TTY_CONFIG),
	CAP(MKNOD),
	CAP(LEASE),
	CAP(AUDIT_WRITE),
	CAP(AUDIT_CONTROL),
	CAP(SETFCAP),
	CAP(MAC_OVERRIDE),
	CAP(MAC_ADMIN),
	CAP(SYSLOG),
	CAP(WAKE_ALARM),
	CAP(BLOCK_SUSPEND),
	CAP(AUDIT_READ),
	CAP(PERFMON),
	CAP(BPF),
	CAP(CHECKPOINT_RESTORE),
};
NAMES(spec_caps, "capability", caps);

const char *const spec_hook_names[HOOK_KINDS] = {
	[HOOK_PRESTART] = "prestart",
	[HOOK_CREATE_RUNTIME] = "createRuntime",
	[HOOK_CREATE_CONTAINER] = "createContainer",
	[HOOK_START_CONTAINER] = "startContainer",
	[HOOK_POSTSTART] = "poststart",
	[HOOK_POSTSTOP] = "poststop",
};

const struct spec_name *spec_name_find(const struct spec_names *t, const char *name)
{
	for (size_t i = 0; i < t->n; i++)
		if (streq(t->v[i].name, name))
			return &t->v[i];
	return NULL;
}

int spec_cap_parse(const char *name)
{
	if (strncasecmp(name, "CAP_", 4) == 0)
		name += 4;
	for (size_t i = 0; i < ARRAY_SIZE(caps); i++)
		if (strcasecmp(caps[i].name + 4, name) == 0)
			return (int)i;
	return -EINVAL;
}

const char *spec_cap_name(int cap)
{
	return cap >= 0 && (size_t)cap < ARRAY_SIZE(caps) ? caps[cap].name : NULL;
}

const char *spec_ns_name(enum spec_ns_type t)
{
	for (size_t i = 0; i < ARRAY_SIZE(ns_names); i++)
		if (ns_names[i].value == t)
			return ns_names[i].name;
	return NULL;
}

int spec_ns_clone_flag(enum spec_ns_type t)
{
	return ns_kernel[t].flag;
}

const char *spec_ns_proc_name(enum spec_ns_type t)
{
	return ns_kernel[t].proc;
}

const char *spec_map_get(const struct spec_map *m, const char *key)
{
	for (size_t i = 0; i < m->n; i++)
		if (streq(m->v[i].key, key))
			return m->v[i].value;
	return NULL;
}
