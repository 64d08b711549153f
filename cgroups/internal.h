/* Shared by the files of this folder; nobody else includes it. */
#pragma once
#include <dirent.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/str.h"
#include "cgroups/cgroups.h"

#define CG_TIMEOUT_MS 10000

/* ---- tree.c ---- */
/* The directory's name for messages; buf is returned. */
#define CG_NAME_MAX 512
char *cg_name(int dirfd, char buf[CG_NAME_MAX]);
/* -ENOENT with a message when c has no directory. */
int cg_require(const struct cgroup *c, struct err *e);
/* Absolute, below the root, without empty, "." or ".." components? -EINVAL with a message. */
int cg_check_path(const char *path, struct err *e);
/* "key value" of a flat-keyed file. Raw -errno; -ENODATA: no such key. */
int cg_read_key(int dirfd, const char *file, const char *key, uint64_t *ret);
/* The same from an open file, read from its start: a poll() for POLLPRI on it then tells of changes
 * since. -ENODEV: the cgroup was removed. */
int cg_pread_key(int fd, const char *key, uint64_t *ret);
/* A file with one number, "max" being UINT64_MAX. Raw -errno. */
int cg_read_u64(int dirfd, const char *file, uint64_t *ret);
/* Is word one of those in a file of blank-separated words? Raw -errno. */
int cg_has_word(int dirfd, const char *file, const char *word);

/* ---- walk.c ---- */
/* Visits a cgroup and all below it, parents first, with two descriptors however deep the tree is
 * (who lives in it may have nested it at will). A visit that returns non-zero ends the walk. */
int cg_walk(int dirfd, int (*visit)(int fd, void *arg), void *arg);
/* Removes all below dirfd, deepest first, not dirfd itself. Raw -errno. */
int cg_remove_children(int dirfd);
/* pids of one cgroup without its children; -EOPNOTSUPP: threaded. Raw -errno. */
struct cg_pidv {
	pid_t *v;
	size_t n, cap;
};
int cg_read_pids(int fd, struct cg_pidv *v);

/* ---- control.c ---- */
/* Waits until cgroup.events says `key want`. Raw: 0, -ETIMEDOUT, or -errno (-ENOENT, -ENODEV: the
 * cgroup is gone). */
int cg_wait_event(int dirfd, const char *key, uint64_t want, int timeout_ms);
int cg_freeze(const struct cgroup *c, bool frozen, int timeout_ms, struct err *e);
int64_t cg_now_ms(void);

/* ---- plan.c ---- */
/* One write of one file, in the order of writing. */
struct cg_write {
	const char *json;	/* property, for messages */
	const char *controller; /* NULL: none needed */
	const char *file, *value;
	bool no_limit; /* the value lifts a limit: nothing to do where the file does not exist */
	bool optional; /* the file may be absent where the controller is present (rsvd) */
	bool retried;  /* EINVAL is no error yet: the same write comes again later … */
	bool again;    /* … as this one, skipped where the first succeeded */
};
struct cg_plan {
	struct arena *arena; /* made with the first write */
	struct cg_write *v;
	size_t n, cap;
};
void cg_plan_free(struct cg_plan *p);
#define _cleanup_plan_ __attribute__((cleanup(cg_plan_free)))
/* What r asks for as writes. dirfd: the cgroup that they are for, to complete half-given pairs from
 * its present values, or -EBADF before it exists. */
int cg_plan(struct cg_plan *p, const struct spec_resources *r, int dirfd, struct err *e);
/* Does anything in it restrict? */
bool cg_plan_limits(const struct cg_plan *p);
void cg_plan_add(struct cg_plan *p, struct cg_write w); /* copies file, value and json */
/* The rest of the plan: block I/O, huge pages, RDMA and unified (plan_lists.c). */
int cg_plan_lists(struct cg_plan *p, const struct spec_resources *r, int dirfd, struct err *e);
uint64_t cg_cpu_weight(uint64_t shares);

/* ---- create.c ---- */
/* Enables what p needs in every ancestor of a cgroup that is there. */
int cg_enable_above(const char *path, const struct cg_plan *p, struct err *e);

/* ---- limits.c ---- */
/* memory.checkBeforeUpdate: -EBUSY. */
int cg_check_usage(int dirfd, const struct spec_memory *m, struct err *e);
int cg_missing_controller(int dirfd, const struct cg_write *w, struct err *e);
int cg_write_plan(int dirfd, const struct cg_plan *p, struct err *e);

/* ---- devices.c, devices_attach.c ---- */
struct cg_prog {
	struct bpf_insn *v;
	size_t n, cap;
	bool allow_all; /* nothing to enforce: v is empty */
};
int cg_devices_compile(const struct spec_resources *r, struct cg_prog *ret, struct err *e);
void cg_prog_free(struct cg_prog *p);
#define _cleanup_prog_ __attribute__((cleanup(cg_prog_free)))
/* Makes p the one device program of bailey's on the cgroup. */
int cg_devices_attach(int dirfd, const struct cg_prog *p, struct err *e);
