/*
 * Private to the mount code of namespaces/: the plan that mount_plan.c makes of config.json, that
 * mount_source.c fills with descriptors and that mounts.c and rootfs.c carry out.
 *
 *   mount_plan.c    options -> struct mount_entry, contradictions refused (no kernel call)
 *   mount_source.c  rootfs and bind sources -> detached mounts (the host's side)
 *   mount_fs.c      fsopen(2) … fsmount(2): new filesystems as detached mounts
 *   mount_copyup.c  `tmpcopyup`
 *   mount_target.c  destinations -> descriptors inside the root; move_mount(2); the check after it
 *   mounts.c        one entry after the other
 *   rootfs.c        the root: attach, pivot, finish
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/err.h"
#include "namespaces/namespaces.h"
#include "spec/spec.h"

enum mount_kind {
	MOUNT_BIND,
	MOUNT_NEW,     /* a filesystem of its own, by fsopen(2) */
	MOUNT_CGROUP,  /* the container's cgroup, new or bound */
	MOUNT_REMOUNT, /* other flags for what an entry before it mounted */
};

/* Flags for mount_setattr(2): clr are those that the config names as off. */
struct mount_attrs {
	uint64_t set, clr; /* MOUNT_ATTR_* */
};

/* fsconfig(2) key and value; value NULL: a flag. */
struct mount_param {
	const char *key, *value;
};

#define MOUNT_PROPAGATIONS_MAX 4

struct mount_entry {
	const struct spec_mount *m;
	enum mount_kind kind;
	const char *dest; /* absolute, lexically clean */
	const char *type; /* never NULL */

	struct mount_attrs top; /* of the mount itself */
	struct mount_attrs rec; /* of it and all below it (rro …) */
	struct {
		uint64_t type; /* MS_SHARED … */
		bool rec;
	} prop[MOUNT_PROPAGATIONS_MAX];
	size_t n_props;
	struct mount_param *params;
	size_t n_params;

	bool bind_opt, rec_bind, remount_opt;
	unsigned ext; /* MOPT_EXT_* */
	bool idmap, ridmap;
	bool tmpcopyup;
	bool late_ro; /* read-only only once everything is in it */

	int fd;		  /* binds: the detached source; late_ro: the mount; else -EBADF */
	mode_t fmt;	  /* binds: S_IFMT bits of the source */
	const char *link; /* copy-symlink: what the source says; else NULL */
};

struct mount_plan {
	struct arena *arena;
	const struct spec *spec;
	const struct overlay *overlay; /* the root; NULL: root.path is */
	bool no_root;		       /* it is made elsewhere: nothing is opened for it */
	struct mount_entry *v;
	size_t n;
	const char *export; /* where a host's mounts are found (mount_plan_use_export); NULL */
	int root_fd;	    /* the detached rootfs, -EBADF before mount_plan_open_sources */
	struct {
		const struct spec_id_maps *uids, *gids;
		int fd;
	} idmap;	      /* the latest user namespace made for idmapped mounts */
	uint64_t proc_mnt_id; /* of what was placed at /proc; 0: nothing yet */
};

/* MS_* that a clone of the host's mounts gets (recursively) by rootfsPropagation; 0: keep. */
uint64_t mount_default_propagation(enum spec_propagation p);

/* path is dir or below it (both lexically clean): returns what follows, "" or "/…"; else NULL. */
const char *path_below(const char *path, const char *dir);

/* mount_setattr(2) on fd itself; rec: and on what is mounted below it. */
int mount_set_propagation(int fd, uint64_t type, bool rec);

/* A detached mount of entry's filesystem. target_mode: of the directory that was there before, for
 * a tmpfs without mode=; 0: none was. */
int mount_fs_new(const struct mount_entry *m, const struct mount_env *env, mode_t target_mode,
    int *ret_fd, struct err *e);

/* Copies what is in the directory srcfd (O_PATH will do) into the root of the mount mfd: files,
 * directories, links, nodes, with owner, mode, times and extended attributes. Follows no symbolic
 * link and crosses no mount point. */
int mount_copyup(int srcfd, int mfd, const char *what, struct err *e);

struct mount_target {
	int fd; /* O_PATH */
	mode_t mode;
	bool created;
};
/* Opens the entry's destination inside the root, making what is missing: a directory, or an empty
 * file where dir is false. */
int mount_target_open(const struct mount_plan *p, const struct mount_entry *m, int rootfd, bool dir,
    struct mount_target *ret, struct err *e);
/* Puts the detached mount mfd on the target and checks that the destination now leads to it.
 * ret_mnt_id may be NULL. */
int mount_place(const struct mount_entry *m, int rootfd, int mfd, int targetfd,
    uint64_t *ret_mnt_id, struct err *e);
/* copy-symlink: makes the link, or checks that the one that is there says the same. */
int mount_make_link(const struct mount_entry *m, int rootfd, struct err *e);
