/*
 * Namespaces differ in when a process gets into them. Mount, network, IPC and UTS namespaces can be
 * joined by the child itself. A pid namespace holds only for children made afterwards: the parent
 * joins it for the length of one clone3. A user namespace changes what its joiner may do at all, so
 * neither the parent nor, where others must be joined with the host's privileges before a new user
 * namespace is made, the child can do it: then a broker in between joins everything, makes the
 * child with CLONE_PARENT, so that it is nevertheless the parent's, and ends.
 */
#include "process/spawn.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sys.h"

#define MADE_BY_CHILD (CLONE_NEWCGROUP | CLONE_NEWTIME)

static unsigned joined_mask(const struct ns_set *ns)
{
	unsigned mask = 0;

	for (int i = 0; i < NS_TYPES; i++)
		if (ns->fds[i] >= 0)
			mask |= 1u << i;
	return mask;
}

static pid_t clone_child(const struct ns_set *ns, int cgroupfd, unsigned long flags, int *pidfd)
{
	struct clone_args a = {
		.flags = (ns->new_flags & ~(unsigned)MADE_BY_CHILD) | flags,
		.exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD,
	};

	if (pidfd) {
		a.flags |= CLONE_PIDFD;
		a.pidfd = (uintptr_t)pidfd;
	}
	if (cgroupfd >= 0) {
		a.flags |= CLONE_INTO_CGROUP;
		a.cgroup = (uint64_t)cgroupfd;
	}
	return sys_clone3(&a);
}

static int clone_error(struct err *e, const struct ns_set *ns)
{
	int code = errno;

	if (ns->new_flags & CLONE_NEWUSER && (code == EPERM || code == ENOSPC || code == EUSERS))
		return err_errno(e, code,
		    "make the container's namespaces (a user namespace is asked for: see "
		    "/proc/sys/user/max_user_namespaces and, where it exists, "
		    "/proc/sys/kernel/unprivileged_userns_clone)");
	if (code == EPERM && !(ns->new_flags & CLONE_NEWUSER) && geteuid() != 0)
		return err_errno(e, code,
		    "make the container's namespaces: an ordinary user needs a user namespace "
		    "among them "
		    "(.linux.namespaces and .linux.uidMappings: see \"bailey spec --rootless\")");
	return err_errno(e, code, "make the container's namespaces");
}

/* own: the parent's pid namespace, which stays what new children (hooks) get. */
static int spawn_directly(const struct ns_set *ns, int own, int cgroupfd, pid_t *ret_pid,
    int *ret_pidfd, unsigned *ret_joined, struct err *e)
{
	int pidfd = -EBADF;
	pid_t pid;

	if (own >= 0 && setns(ns->fds[NS_PID], CLONE_NEWPID) < 0)
		return err_errno(e, errno, "join the pid namespace");
	pid = clone_child(ns, cgroupfd, 0, &pidfd);
	if (pid == 0) {
		*ret_joined = 1u << NS_PID;
		return 0;
	}
	if (pid < 0)
		clone_error(e, ns);
	if (own >= 0 && setns(own, CLONE_NEWPID) < 0 && pid > 0) {
		err_errno(e, errno, "return to the runtime's pid namespace");
		kill(pid, SIGKILL);
		pid = -1;
	}
	if (pid < 0)
		return -e->code;
	*ret_pid = pid;
	*ret_pidfd = pidfd;
	return 1;
}

struct broker_report {
	pid_t pid;
	struct err err;
};

/* In a cgroup namespace nobody may clone into a cgroup from outside of it (the mount option
 * nsdelegate, systemd's default): the child joins that one itself, as it can in any user namespace
 * that exists already. */
static unsigned broker_mask(const struct ns_set *ns)
{
	return joined_mask(ns) & ~(ns->fds[NS_USER] >= 0 ? 1u << NS_CGROUP : 0);
}

/* Returns in the container's process only. */
static void broker(const struct ns_set *ns, int cgroupfd, int sock)
{
	struct broker_report report = { 0 };

	if (ns_join(ns, broker_mask(ns), &report.err) == 0) {
		report.pid = clone_child(ns, cgroupfd, CLONE_PARENT, NULL);
		if (report.pid == 0)
			return;
		if (report.pid < 0)
			clone_error(&report.err, ns);
	}
	(void)fd_write_all(sock, &report, sizeof(report));
	_exit(0);
}

static int spawn_by_broker(const struct ns_set *ns, int cgroupfd, pid_t *ret_pid, int *ret_pidfd,
    unsigned *ret_joined, struct err *e)
{
	struct broker_report report = { 0 };
	_cleanup_close_ int rd = -EBADF, wr = -EBADF;
	int pipefd[2];
	ssize_t n;
	pid_t pid;

	if (pipe2(pipefd, O_CLOEXEC) < 0)
		return err_errno(e, errno, "pipe");
	rd = pipefd[0];
	wr = pipefd[1];
	pid = fork();
	if (pid < 0)
		return err_errno(e, errno, "fork");
	if (pid == 0) {
		broker(ns, cgroupfd, wr);
		*ret_joined = broker_mask(ns);
		return 0;
	}
	closep(&wr);
	wr = -EBADF;
	n = read(rd, &report, sizeof(report));
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (n != sizeof(report))
		return err_set(e, ECHILD, "the process that joins the namespaces died");
	if (report.pid <= 0) {
		*e = report.err;
		return -e->code;
	}
	*ret_pidfd = sys_pidfd_open(report.pid, 0);
	if (*ret_pidfd < 0) {
		err_errno(e, errno, "pidfd_open");
		kill(report.pid, SIGKILL);
		return -e->code;
	}
	*ret_pid = report.pid;
	return 1;
}

int spawn(const struct ns_set *ns, int cgroupfd, pid_t *ret_pid, int *ret_pidfd,
    unsigned *ret_joined, struct err *e)
{
	bool joins = joined_mask(ns) != 0;
	bool needs_broker = ns->fds[NS_USER] >= 0 || (ns->new_flags & CLONE_NEWUSER && joins);
	_cleanup_close_ int own = -EBADF;
	int r;

	if (ns->fds[NS_PID] >= 0 && !needs_broker) {
		own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);
		if (own < 0)
			return err_errno(e, errno, "open /proc/self/ns/pid");
		/* In a user namespace that a caller made (podman for an ordinary user), our pid
		 * namespace is another one's: there would be no way back into it. */
		needs_broker = setns(own, CLONE_NEWPID) < 0;
	}
	log_debug("clone: new namespaces %#x, joined %#x%s", ns->new_flags, joined_mask(ns),
	    needs_broker ? ", by a broker" : "");
	/* Whoever is in those namespaces already may see the child from its first moment on. */
	if (joins && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_errno(e, errno, "prctl");
	r = needs_broker ? spawn_by_broker(ns, cgroupfd, ret_pid, ret_pidfd, ret_joined, e)
			 : spawn_directly(ns, own, cgroupfd, ret_pid, ret_pidfd, ret_joined, e);
	if (joins && r != 0)
		(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	return r;
}
