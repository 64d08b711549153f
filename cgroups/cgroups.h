/*
 * cgroup v2 (Documentation/admin-guide/cgroup-v2.rst): one directory per container, found through
 * mountinfo wherever cgroup2 is mounted, with limits, freezer, device eBPF and statistics.
 *
 * A container's cgroup is named by its path below the cgroup2 root ("/libpod_parent/libpod-1f…").
 * All work goes through directory descriptors.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "base/json.h"
#include "spec/spec.h"

enum cgroup_manager { CGROUP_CGROUPFS, CGROUP_SYSTEMD, CGROUP_DISABLED };

struct cgroup {
	int dirfd;	 /* O_PATH|O_DIRECTORY usable for CLONE_INTO_CGROUP; -EBADF: none */
	char *path;	 /* below the mount, starts with '/'; NULL: none */
	char *made_from; /* topmost directory that cgroup_create made, for removal; NULL: none */
};
#define CGROUP_INIT             \
	{                       \
		.dirfd = -EBADF \
	}
void cgroup_close(struct cgroup *c); /* closes and frees; the directory stays */
#define _cleanup_cgroup_ __attribute__((cleanup(cgroup_close)))

/* The path a container gets: config's cgroupsPath (absolute: below the root; relative: below the
 * calling process's own cgroup's parent…) or "/bailey-<id>" where it is absent; below the caller's
 * own cgroup when not root. No ".." may be left in it. Caller frees *ret. */
int cgroup_choose_path(const char *cgroups_path, const char *id, char **ret, struct err *e);
/* Where cgroup2 is mounted; O_PATH fd, or -errno with a message that says how to mount it. */
int cgroup_open_root(struct err *e);
/* Makes the directory and its parents, enabling in each parent's cgroup.subtree_control only the
 * controllers that r needs. Refuses one that holds processes (-EBUSY). A needed controller that is
 * missing is an error naming the controller and the file. */
int cgroup_create(
    const char *path, const struct spec_resources *r, struct cgroup *ret, struct err *e);
int cgroup_open(const char *path, struct cgroup *ret, struct err *e);
/* Writes every limit that r sets (never others), then attaches the device program (rules in order,
 * as BPF_PROG_TYPE_CGROUP_DEVICE; default devices of the specification always allowed when rules
 * are given). with_devices false: limits only, as `update` without devices. */
int cgroup_apply(
    const struct cgroup *c, const struct spec_resources *r, bool with_devices, struct err *e);
/* Sends SIGKILL to all through cgroup.kill (walks cgroup.procs where the file is absent), waits
 * until unpopulated (bounded: 10 s), removes it with children, then empty ancestors down from
 * made_from. An absent cgroup is fine. */
int cgroup_destroy(const char *path, const char *made_from, struct err *e);
int cgroup_kill_all(
    const struct cgroup *c, int sig, struct err *e); /* SIGKILL: cgroup.kill; else by pidfd */
int cgroup_freeze(
    const struct cgroup *c, bool frozen, struct err *e); /* waits for cgroup.events, 10 s */
int cgroup_is_frozen(const struct cgroup *c, bool *ret, struct err *e);
/* All pids, children included; caller frees. */
int cgroup_pids(const struct cgroup *c, pid_t **ret, size_t *ret_n, struct err *e);
/* Is a process in it (or below)? */
int cgroup_populated(const struct cgroup *c, bool *ret, struct err *e);
/* cgroup path of a process, from /proc/PID/cgroup's "0::" line; caller frees. */
int cgroup_of_pid(pid_t pid, char **ret, struct err *e);
/* The "data" object of an event as runc prints it for v2: cpu, memory, pids, blkio, hugetlb, rdma.
 */
int cgroup_stats_json(const struct cgroup *c, struct json_gen *g, struct err *e);
/* Blocks until memory.events shows one more oom_kill than *count, cgroup empty (returns 1), or
 * timeout_ms. Updates *count. */
int cgroup_wait_oom(const struct cgroup *c, uint64_t *count, int timeout_ms, struct err *e);
