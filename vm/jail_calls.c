/*
 * The system calls of each kind of thread, by name; all else ends the process. A filter is
 * inherited by the threads that its thread makes, and no list lets make one: every thread is made
 * before the main thread is jailed, and jails itself first.
 *
 * No list can open a path but the file server's; none can execute, trace, signal another process,
 * make a socket or map memory executable.
 */
#include <linux/if_tun.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/cleanup.h"
#include "security/security.h"
#include "vm/jail.h"

/* What every thread does: memory, locks, time, its own end. */
static const char *const every[] = {
	"brk",
	"clock_gettime",
	"clock_nanosleep",
	"close",
	"exit",
	"exit_group",
	"futex",
	"getpid",
	"getrandom",
	"gettid",
	"madvise",
	"mremap",
	"munmap",
	"nanosleep",
	"read",
	"restart_syscall",
	"rt_sigprocmask",
	"rt_sigreturn",
	"sched_yield",
	"write",
	NULL,
};

/* Event loops and sockets that are open already. */
static const char *const loops[] = {
	"accept4",
	"epoll_ctl",
	"epoll_pwait",
	"epoll_wait",
	"eventfd2",
	"fcntl",
	"fstat",
	"getsockopt",
	"newfstatat",
	"poll",
	"ppoll",
	"readv",
	"recvfrom",
	"recvmsg",
	"sendmsg",
	"sendto",
	"setsockopt",
	"shutdown",
	"timerfd_create",
	"timerfd_settime",
	"writev",
	NULL,
};

/* The end of children (hooks before the jail may have left some), and vCPUs that are to stop. */
static const char *const main_only[] = { "signalfd4", "tgkill", "wait4", "waitid", NULL };

static const char *const vcpu_only[] = { "epoll_ctl", "fcntl", NULL };

/* The tree below the export's root, by descriptor; ids by thread for what is made. */
static const char *const files[] = {
	"capset",
	"copy_file_range",
	"dup",
	"fallocate",
	"fchmodat",
	"fchownat",
	"fdatasync",
	"fstatfs",
	"fsync",
	"ftruncate",
	"getdents64",
	"getxattr",
	"linkat",
	"listxattr",
	"lseek",
	"mkdirat",
	"mknodat",
	"openat",
	"preadv",
	"preadv2",
	"pwritev",
	"pwritev2",
	"readlinkat",
	"removexattr",
	"renameat",
	"renameat2",
	"setfsgid",
	"setfsuid",
	"setgroups",
	"setxattr",
	"statx",
	"symlinkat",
	"syncfs",
	"truncate",
	"unlinkat",
	"utimensat",
	NULL,
};

static const char *const blocks[] = {
	"fallocate",
	"fdatasync",
	"fsync",
	"lseek",
	"pread64",
	"preadv",
	"preadv2",
	"pwrite64",
	"pwritev",
	"pwritev2",
	NULL,
};

#define LISTS_MAX 3
static const char *const *const lists[VM_THREADS][LISTS_MAX] = {
	[VM_THREAD_MAIN] = { every, loops, main_only },
	[VM_THREAD_VCPU] = { every, vcpu_only },
	[VM_THREAD_FS] = { every, loops, files },
	[VM_THREAD_BLK] = { every, loops, blocks },
	[VM_THREAD_PUMP] = { every, loops },
	[VM_THREAD_PROXY] = { every, loops },
};

/* ioctl(2) is not one call but thousands: by request. */
#define IOCTLS_MAX 8
static const unsigned long ioctls[VM_THREADS][IOCTLS_MAX] = {
	[VM_THREAD_MAIN] = { TIOCGWINSZ, TUNSETOFFLOAD, FIONBIO },
	[VM_THREAD_VCPU] = { KVM_RUN, TUNSETOFFLOAD, KVM_GET_REGS, KVM_GET_SREGS,
	    KVM_GET_VCPU_EVENTS },
	[VM_THREAD_FS] = { FIONBIO },
	[VM_THREAD_PUMP] = { TIOCGWINSZ },
	[VM_THREAD_PROXY] = { TIOCGWINSZ },
};

static struct seccomp_prog programs[VM_THREADS];

static struct spec_seccomp_rule allow_names(struct arena *a, const char *const *names)
{
	struct spec_seccomp_rule r = { .action = SECCOMP_ALLOW };

	while (names[r.names.n])
		r.names.n++;
	r.names.v = arena_calloc(a, r.names.n + 1, sizeof(char *));
	for (size_t i = 0; i < r.names.n; i++)
		r.names.v[i] = arena_strdup(a, names[i]);
	return r;
}

static struct spec_seccomp_rule allow_arg(
    struct arena *a, const char *name, struct spec_seccomp_arg arg)
{
	const char *const names[] = { name, NULL };
	struct spec_seccomp_rule r = allow_names(a, names);

	r.args.v = arena_alloc(a, sizeof(arg));
	*r.args.v = arg;
	r.args.n = 1;
	return r;
}

static int compile(enum vm_thread kind, struct seccomp_prog *ret, struct err *e)
{
	_cleanup_arena_ struct arena *a = arena_new();
	const struct spec_seccomp_arg not_executable = {
		.index = 2, .value = PROT_EXEC, .value_two = 0, .op = CMP_MASKED_EQ
	};
	struct spec_seccomp s = { .has = true, .default_action = SECCOMP_KILL_PROCESS };

	s.archs.v = arena_calloc(a, 1, sizeof(char *));
	s.rules.v = arena_calloc(a, LISTS_MAX + IOCTLS_MAX + 3, sizeof(*s.rules.v));
	for (size_t i = 0; i < LISTS_MAX && lists[kind][i]; i++)
		s.rules.v[s.rules.n++] = allow_names(a, lists[kind][i]);
	s.rules.v[s.rules.n++] = allow_arg(a, "mmap", not_executable);
	s.rules.v[s.rules.n++] = allow_arg(a, "mprotect", not_executable);
	for (size_t i = 0; i < IOCTLS_MAX && ioctls[kind][i]; i++)
		s.rules.v[s.rules.n++] = allow_arg(a, "ioctl",
		    (struct spec_seccomp_arg){
			.index = 1, .value = ioctls[kind][i], .op = CMP_EQ });
	if (kind == VM_THREAD_MAIN) /* once create has returned, it outlives who called it */
		s.rules.v[s.rules.n++] = allow_arg(a, "prctl",
		    (struct spec_seccomp_arg){
			.index = 0, .value = PR_SET_PDEATHSIG, .op = CMP_EQ });
	return seccomp_compile(&s, ret, e);
}

int jail_compile(struct err *e)
{
	for (int kind = 0; kind < VM_THREADS; kind++) {
		int r = programs[kind].n ? 0 : compile((enum vm_thread)kind, &programs[kind], e);

		if (r < 0)
			return err_wrap(e, "jail");
	}
	return 0;
}

int jail_install(enum vm_thread kind, struct err *e)
{
	int r = seccomp_install(&programs[kind], -EBADF, NULL, e);

	return r < 0 ? err_wrap(e, "jail") : 0;
}
