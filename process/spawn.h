/* Making a process in new and joined namespaces, straight inside its cgroup. */
#pragma once
#include <sys/types.h>

#include "base/err.h"
#include "namespaces/namespaces.h"

/*
 * Like fork(2): returns 1 in the parent with *ret_pid and *ret_pidfd (O_CLOEXEC), 0 in the child,
 * or -errno. The child is a child of the calling process whatever had to be joined.
 *
 * The child is in all of ns->new_flags (but CLONE_NEWCGROUP and CLONE_NEWTIME, which it makes
 * itself once it is in its cgroup resp. knows its offsets) and in the joined user and pid
 * namespaces. *ret_joined (child only) says which of ns->fds are joined already, as a mask of 1 <<
 * NS_…; the child joins the rest with ns_join().
 *
 * A child that joins anything is undumpable: it holds the runtime's descriptors, and those who are
 * there already must not be able to trace it.
 *
 * cgroupfd: directory for CLONE_INTO_CGROUP, or -EBADF.
 */
int spawn(const struct ns_set *ns, int cgroupfd, pid_t *ret_pid, int *ret_pidfd,
    unsigned *ret_joined, struct err *e);
