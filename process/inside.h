/*
 * What a process does inside its container between spawn() and payload_prepare(), in this order:
 * inside_enter(), for the first one inside_build_root() and inside_switch_root() with hooks and
 * terminal between them, inside_attributes(). Both isolation levels and exec go this way.
 */
#pragma once
#include <stdbool.h>

#include "base/err.h"
#include "namespaces/namespaces.h"
#include "spec/spec.h"

struct inside {
	const struct spec *spec;
	const struct spec_process *process;
	const struct ns_set *ns;
	unsigned joined;     /* mask of ns->fds that spawn() has joined already */
	bool userns;	     /* in a user namespace that it was made in or joined */
	int procfd;	     /* trusted root of a procfs of the caller's pid namespace */
	int cgroupfd;	     /* the container's cgroup, or -EBADF */
	const char *keyring; /* name of the session keyring; NULL: keeps the caller's */
	bool no_pivot;
	bool limits_raised; /* by the parent, as the process itself may not */
};

/* Joins what is left to join, makes the cgroup namespace, becomes undumpable, dies with the parent
 * from here on, leads a session and joins the keyring. A new time namespace comes first,
 * by timens_enter(). */
int inside_enter(const struct inside *i, struct err *e);
/* Attaches the root, makes mounts and devices in it. The sources are open
 * (mount_plan_open_sources(), devices_open()). ret_rootfd: O_PATH. */
int inside_build_root(const struct inside *i, struct mount_plan *plan,
    const struct device_set *devices, int *ret_rootfd, struct err *e);
/* Makes rootfd the root, then what needs it: sysctls, masked and read-only paths, the root's own
 * flags; slave (-EBADF: none) becomes the terminal and the standard streams. */
int inside_switch_root(
    const struct inside *i, struct mount_plan *plan, int rootfd, int slave, struct err *e);
/* Hard limits, scheduling, memory policy, personality. */
int inside_attributes(const struct inside *i, struct err *e);

/* Where a further process's own description says nothing of scheduling, I/O priority, OOM score
 * and affinity, it has what the container's first one has. */
void inside_inherit(const struct spec_process *from, struct spec_process *p);
