/*
 * A container as the host remembers it: its state directory, and its status from kernel facts.
 *
 *   ROOT/ID/lock         flock, exclusive for verbs that change the container (create, start,
 * delete …) ROOT/ID/state.json   what bailey must know to end the container; replaced atomically,
 * written BEFORE what it names is made, so that `delete --force` always finds it
 *   ROOT/ID/config.json  the configuration as it was at create
 *   ROOT/ID/start.sock   init listens here until it executes the payload
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "cgroups/cgroups.h"
#include "runtime/cli.h"
#include "spec/spec.h"

enum status { ST_CREATING, ST_CREATED, ST_RUNNING, ST_PAUSED, ST_STOPPED, ST_COUNT };
extern const char *const status_names[ST_COUNT];

struct container {
	struct arena *arena;
	const char *id;
	const char *dir; /* ROOT/ID */
	int dirfd;
	int lockfd;
	/* state.json */
	pid_t pid;	     /* 0: init was not yet made */
	uint64_t start_time; /* of pid: field 22 of /proc/PID/stat, clock ticks since boot */
	const char *bundle, *rootfs, *created, *owner;
	const char *cgroup_path, *cgroup_made_from; /* NULL: none */
	uint64_t cgroup_id; /* its inode number; 0: the path is only planned */
	bool systemd;	    /* the cgroup is a scope's, … */
	bool systemd_user;  /* … one of the user's manager */
	bool vm;	    /* isolation level: a machine, or namespaces */
	uint64_t vm_usable; /* with vm: bytes of the machine for the container, */
	uint64_t vm_extra;  /* … and what machine and monitor take besides */
	bool owns_bundle;   /* made for it alone, in the store of images */
	bool network;	    /* made by bailey (run --network): see net_undo() */
	bool ready;	    /* set-up finished (create returned): not "creating" any more */
	struct spec_map annotations;
	int pidfd;		 /* of a verified living init, else -EBADF */
	struct spec *spec;	 /* by container_spec() */
	struct systemd *manager; /* connected from planning the cgroup to making it, else NULL */
};
void container_close(struct container *c); /* accepts NULL; releases the lock, frees */
static inline void container_closep(struct container **c)
{
	container_close(*c);
}
#define _cleanup_container_ __attribute__((cleanup(container_closep)))

/* UNLOCKED for whoever only looks or signals: a hook may call `state` while create holds the lock.
 */
enum lock_mode { OPEN_UNLOCKED, OPEN_EXCLUSIVE };

/* Opens an existing container. "container \"x\" does not exist" (-ENOENT) where there is none. */
int container_open(const struct globals *g, const char *id, enum lock_mode lock,
    struct container **ret, struct err *e);
/* Reserves ID: makes the directory; -EEXIST names the ID. Holds OPEN_EXCLUSIVE. */
int container_new(const struct globals *g, const char *id, struct container **ret, struct err *e);
/* Lets go of the lock, and takes it again: -ENOENT, if somebody deleted the container meanwhile. */
void container_unlock(struct container *c);
int container_relock(struct container *c, struct err *e);
/* Reads state.json into c; container_open has done so. A missing file leaves c as it is: the
 * creator died at once, nothing was made yet. A file of another shape is an error that names the
 * field: guessing would forget what is still there. (Both in state_file.c, by one table.) */
int container_load_state(struct container *c, struct err *e);
/* Writes state.json. */
int container_save(const struct container *c, struct err *e);
/* Removes the state directory. */
int container_forget(struct container *c, struct err *e);
/* The configuration as it was at create; belongs to c. */
int container_spec(struct container *c, struct spec **ret, struct err *e);

/* From kernel facts: pid alive with the same start time and not a zombie; start.sock still
 * listening (created); cgroup frozen (paused). Opens c->pidfd. */
int container_status(struct container *c, enum status *ret, struct err *e);
/* Is the verb legal in the status? One table in status.c. Error: the text that engines match, e.g.
 * "container not running". */
enum container_event {
	EV_START,
	EV_EXEC,
	EV_KILL,
	EV_DELETE,
	EV_PAUSE,
	EV_RESUME,
	EV_UPDATE,
	EV_PS,
	EV_EVENTS,
	EV_COUNT
};
int status_check(const struct container *c, enum container_event ev, enum status st, struct err *e);

/* IDs below g->root, sorted; NULL-terminated, caller strv_free()s. A missing root is an empty list.
 */
int container_ids(const struct globals *g, char ***ret, struct err *e);
/* struct spec_state of a container in a status, strings borrowed from c. */
void container_state(const struct container *c, enum status st, struct spec_state *ret);

/* ---- its cgroup (container_cgroup.c) ---- */

/* Opens it; -ENOENT with a message when it has none, or another directory has its path. */
int container_cgroup(const struct container *c, struct cgroup *ret, struct err *e);
/* Chooses the path and foresees what will be made, for container_save(). */
int container_plan_cgroup(
    const struct globals *g, struct container *c, const char *cgroups_path, struct err *e);
/* Makes what was planned and writes down that it is this container's. *ret stays empty where there
 * is none to be had (rootless) or none was planned. With systemd *ret_holder is a process that
 * keeps the scope alive, for systemd_end_holder() once init is in it. */
int container_make_cgroup(const struct globals *g, struct container *c, const struct spec *s,
    const struct spec_resources *res, struct cgroup *ret, pid_t *ret_holder, struct err *e);
/* Once init is in it: limits and device rules. */
int container_apply_cgroup(const struct container *c, const struct cgroup *cg,
    const struct spec_resources *res, bool with_devices, struct err *e);
/* Limits only what res sets; the device rules, if it has some. */
int container_update_cgroup(
    const struct container *c, const struct spec_resources *res, struct err *e);
/* Kills who is in it and removes it, with the parents that were made for it. */
int container_remove_cgroup(const struct container *c, struct err *e);
