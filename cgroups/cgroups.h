/*
 * cgroup v2 (Documentation/admin-guide/cgroup-v2.rst): one directory per container, found through
 * mountinfo wherever cgroup2 is mounted, with limits, freezer, device eBPF and statistics.
 *
 * A container's cgroup is named by its path below the cgroup2 mount ("/libpod_parent/libpod-1f…").
 * All work goes through directory descriptors. docs/cgroups.md lists which property becomes which
 * file.
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
	uint64_t id;	 /* inode number: a directory made anew at the same path has another */
	char *made_from; /* topmost directory that cgroup_create made, for removal; NULL: none */
};
#define CGROUP_INIT             \
	{                       \
		.dirfd = -EBADF \
	}
void cgroup_close(struct cgroup *c); /* closes and frees; the directory stays */
#define _cleanup_cgroup_ __attribute__((cleanup(cgroup_close)))

/* The path a container gets. Caller frees *ret. "." and ".." are resolved lexically and never leave
 * the root; a path that names the root itself is -EINVAL.
 *   absolute cgroupsPath:    below the cgroup2 mount;
 *   relative cgroupsPath:    below the parent of the caller's own cgroup, as runc has it: the own
 *                            cgroup holds the caller, so that it could not enable controllers;
 *   none:                    "/bailey-<id>"; a rootless caller's goes where a relative one goes.
 * systemd's "slice:prefix:name" has no meaning here: it is an ordinary relative name. */
int cgroup_choose_path(
    const char *cgroups_path, const char *id, bool rootless, char **ret, struct err *e);
/* Where cgroup2 is mounted (/sys/fs/cgroup is preferred, then a mount of the hierarchy's root):
 * an O_PATH fd, or -ENOENT with a message that says how to mount it. */
int cgroup_open_root(struct err *e);
/* Makes the directory and its parents, enabling in each parent's cgroup.subtree_control only the
 * controllers that r needs and that are not enabled yet. Errors: a cgroup that holds processes or
 * is frozen (-EBUSY), a threaded one (-EOPNOTSUPP), a needed controller that is missing (-ENOENT;
 * names controller, file and property), a property that cgroup v2 does not have (-EOPNOTSUPP).
 * Nothing is left behind on failure.
 *
 * rootless: where the caller may not make cgroups (EACCES, EPERM, EROFS) or cgroup2 is not mounted
 * and r sets no limit, the container runs in the caller's cgroup: returns 0 and *ret stays empty
 * (dirfd -EBADF, path NULL). Device rules do not count, because a rootless caller cannot load the
 * program; values that limit nothing (0, -1) do not count for anybody. */
int cgroup_create(const char *path, const struct spec_resources *r, bool rootless,
    struct cgroup *ret, struct err *e);
/* The topmost directory that making path would have to make, for a caller who must write down what
 * it will leave before it is there; *ret is NULL where all exist. Caller frees. */
int cgroup_first_missing(const char *path, char **ret, struct err *e);
/* For limits that come later (update): has the ancestors hand on the controllers that r needs and
 * that they do not hand on yet. cgroup_apply comes after. */
int cgroup_enable(const struct cgroup *c, const struct spec_resources *r, struct err *e);
/* Opens an existing one: -ENOENT when it is gone. made_from stays NULL. */
int cgroup_open(const char *path, struct cgroup *ret, struct err *e);
/* Writes every limit that r sets (never others), then attaches the device program: r's rules in
 * order, the last that matches deciding, then the default devices (devices.c), all else denied.
 * with_devices false: limits only, for `update` without devices and for rootless callers. A second
 * call replaces the program of the first. On a cgroup without directory (see cgroup_create) a limit
 * is an error, and so are device rules. */
int cgroup_apply(
    const struct cgroup *c, const struct spec_resources *r, bool with_devices, struct err *e);
/* Kills all (cgroup.kill), waits until unpopulated (bounded: 10 s), removes it with children, then
 * its empty ancestors up to and including made_from (NULL: none). An absent cgroup is fine. One
 * with another id than this is somebody else's and stays as it is; id 0: whichever is there. */
int cgroup_destroy(const char *path, uint64_t id, const char *made_from, struct err *e);
/* The same for one that may be somebody else's: nothing is killed. Waits timeout_ms at most until
 * it is empty, and leaves it where it is not. */
int cgroup_remove_empty(const char *path, const char *made_from, int timeout_ms, struct err *e);
/* Signals every process, children's included. SIGKILL goes through cgroup.kill and so reaches
 * frozen sub-cgroups and forks under way; others by pidfd, each process checked to be in the cgroup
 * still after its pidfd was opened. An empty cgroup is fine. */
int cgroup_kill_all(const struct cgroup *c, int sig, struct err *e);
/* Freezes or thaws and waits for cgroup.events to confirm it, at most 10 s. A freeze that does not
 * end in time is undone (-ETIMEDOUT). */
int cgroup_freeze(const struct cgroup *c, bool frozen, struct err *e);
/* What cgroup.freeze was last told: true from the start of a freeze on. */
int cgroup_is_frozen(const struct cgroup *c, bool *ret, struct err *e);
/* All pids, children included, as the caller's pid namespace numbers them; caller frees. */
int cgroup_pids(const struct cgroup *c, pid_t **ret, size_t *ret_n, struct err *e);
/* Is a process in it (or below)? */
int cgroup_populated(const struct cgroup *c, bool *ret, struct err *e);
/* Path of a process's cgroup below the cgroup2 mount, from /proc/PID/cgroup's "0::" line (pid 0:
 * the caller's); caller frees. -ENOENT: no such line, or it lies outside what is mounted. */
int cgroup_of_pid(pid_t pid, char **ret, struct err *e);
/* Writes the "data" object of an event with runc's field names: cpu, memory, pids, blkio, hugetlb,
 * and rdma. What a missing controller would say is left out. Times in ns, sizes in bytes; a limit
 * of "max" is 18446744073709551615, a pids limit of "max" 0. */
int cgroup_stats_json(const struct cgroup *c, struct json_gen *g, struct err *e);
/* Blocks until memory.events' oom_kill is above *count, the cgroup is empty or gone, or timeout_ms
 * (-1: none) is over, or another descriptor can be read (other, -1: none). Returns 1 when empty or
 * gone, else 0; *count is updated in each case, so a rise tells of OOM kills. timeout_ms 0 reads
 * without waiting. */
int cgroup_wait_oom(
    const struct cgroup *c, int other, uint64_t *count, int timeout_ms, struct err *e);

/* ---- by way of systemd (systemd.c, docs/adr/0005): the cgroup is that of a transient scope ----
 */

/* A connection to the manager that has the scopes: the user's or the system's. libsystemd is loaded
 * with the first one. */
struct systemd;
int systemd_connect(bool user, struct systemd **ret, struct err *e);
void systemd_close(struct systemd *s); /* accepts NULL */
static inline void systemd_closep(struct systemd **s)
{
	systemd_close(*s);
}
#define _cleanup_systemd_ __attribute__((cleanup(systemd_closep)))
/* cgroup_choose_path for "SLICE:PREFIX:NAME"; NULL or "": bailey-ID.scope in system.slice, or in
 * the user's manager user.slice. */
int systemd_choose_path(
    struct systemd *s, const char *cgroups_path, const char *id, char **ret, struct err *e);
/* Starts the scope with the limits as properties and with annotations
 * "org.systemd.property.NAME". *ret is as by cgroup_create, for cgroup_apply and for cloning into;
 * *ret_holder keeps the scope alive until the first process is in it, and dies with the caller.
 * -EEXIST: there is a unit of this name. Nothing is left behind on failure. */
struct systemd_scope {
	const char *cgroups_path, *id;
	const struct spec_resources *resources;
	const struct spec_map *annotations;
};
int systemd_start(struct systemd *s, const struct systemd_scope *want, struct cgroup *ret,
    pid_t *ret_holder, struct err *e);
/* Kills and reaps it; 0 is none, and is what stays. */
void systemd_end_holder(pid_t *holder);
/* After that, before cgroup_apply: sets what could not be set while the holder lived, that is, a
 * limit of one task. */
int systemd_settle(
    bool user, const struct cgroup *c, const struct spec_resources *r, struct err *e);
/* Has systemd move a process into the scope (below: "" or a path below it), for callers that may
 * not do it themselves: a login session is outside what its user's manager was delegated. */
int systemd_adopt(bool user, const char *path, const char *below, pid_t pid, struct err *e);
/* Sets what r sets (never others) as properties until the next boot; cgroup_apply comes after. */
int systemd_update(
    bool user, const struct cgroup *c, const struct spec_resources *r, struct err *e);
/* cgroup_destroy: kills all, stops the unit and waits for that (bounded). */
int systemd_stop(bool user, const char *path, uint64_t id, struct err *e);
/* The same for one that was only planned: nothing is killed. Waits timeout_ms at most until it is
 * empty, and leaves it where it is not. */
int systemd_stop_planned(bool user, const char *path, int timeout_ms, struct err *e);
