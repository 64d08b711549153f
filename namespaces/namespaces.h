/*
 * What a container sees: its namespaces, user mappings, mounts, devices, masked paths and sysctls.
 *
 * Two sides use it. The runtime (parent) opens what only the host may reach: namespace paths, bind
 * sources, the rootfs, all as descriptors that the child inherits over clone3. The child places
 * them: every target is resolved inside the root by descriptor (base/path.h), every mount is made
 * detached and put there by move_mount(2). Once the root is known, no mount is made by a string
 * path.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "spec/spec.h"

/* ================= joining and making (namespaces(7)) ================= */

struct ns_set {
	int fds[NS_TYPES];  /* to join; -EBADF: none */
	unsigned new_flags; /* CLONE_NEW* to make */
};
void ns_set_close(struct ns_set *n);
#define _cleanup_ns_set_ __attribute__((cleanup(ns_set_close)))
/* Opens every namespace path of the spec and checks its kind (NS_GET_NSTYPE). A path that is the
 * caller's own user namespace is not joined (setns refuses that). Sets fds to -EBADF first. */
int ns_open(const struct spec *s, struct ns_set *ret, struct err *e);
/* setns(2) to each of fds that mask (1 << NS_…) names, in enum order. */
int ns_join(const struct ns_set *n, unsigned mask, struct err *e);
/* For exec: opens those of the process's namespaces (below its /proc dir procpidfd) that differ
 * from the caller's own. */
int ns_open_process(int procpidfd, struct ns_set *ret, struct err *e);

/* ================= user namespaces (user_namespaces(7)) ================= */

/* Writes uid_map, gid_map and, where needed, setgroups of pid: directly when the caller may, else
 * by newuidmap/newgidmap, else (single id mapping of the caller itself) after setgroups=deny. The
 * error says which ids /etc/subuid does not grant. */
int userns_write_maps(
    pid_t pid, const struct spec_id_maps *uids, const struct spec_id_maps *gids, struct err *e);
/* A user namespace with these maps and no process in it, for idmapped mounts. Returns its fd. */
int userns_new(const struct spec_id_maps *uids, const struct spec_id_maps *gids, struct err *e);
/* In the child, after the maps are written: setgroups([]) where allowed, setresgid(0),
 * setresuid(0). */
int userns_become_root(struct err *e);

/* unshare(CLONE_NEWTIME), offsets, then setns into it (time_namespaces(7)). For a new time
 * namespace. */
int timens_enter(const struct spec *s, int procfd, struct err *e);
/* sethostname, setdomainname. */
int uts_apply(const struct spec *s, struct err *e);

/* ================= mounts and the root ================= */

/* Layers for overlayfs; absolute paths. */
struct overlay {
	char *const *lowers;	  /* top first, NULL-terminated */
	const char *upper, *work; /* NULL: read-only, of two layers or more */
	bool userxattr;		  /* marks are user.overlay.*: in a user namespace */
};
/* Mounts it detached; returns the mount's descriptor. The working directory is changed meanwhile.
 */
int overlay_open(const struct overlay *o, struct err *e);

struct mount_plan; /* what config.json's root and mounts come to, with the sources' descriptors */

/* Parses every mount's options by mount_opts. No kernel call: `create` fails here, before anything
 * is made, on contradictions and unknown kinds. */
int mount_plan_new(const struct spec *s, struct mount_plan **ret, struct err *e);
/* The root is this overlay, not what lies at root.path: it exists in the container's mount
 * namespace alone, and ends with it. o is borrowed. */
void mount_plan_set_overlay(struct mount_plan *p, const struct overlay *o);
/* The root is none of this kernel's: mount_plan_open_sources() opens nothing for it, and
 * mounts_export() exports the binds alone (rootfs is -EBADF then). */
void mount_plan_set_no_root(struct mount_plan *p);
void mount_plan_free(struct mount_plan *p); /* closes what it opened; accepts NULL */
static inline void mount_plan_freep(struct mount_plan **p)
{
	mount_plan_free(*p);
}
#define _cleanup_mount_plan_ __attribute__((cleanup(mount_plan_freep)))
/* Opens the rootfs and every bind source as detached mounts (open_tree OPEN_TREE_CLONE, recursive
 * for rbind), applies idmaps and the default propagation, in the namespace of the host. Called by
 * the runtime when it holds CAP_SYS_ADMIN over its mount namespace, else by the child in its new
 * user and mount namespace. */
int mount_plan_open_sources(struct mount_plan *p, struct err *e);
/* In a virtual machine, before that: the rootfs is dir/rootfs and the source of .mounts[I] dir/m/I,
 * where the host has put its own mounts of them, id-mapped already. indices: which binds those are;
 * -EINVAL names the first that is missing or no bind. dir must stay valid. With an overlay set,
 * that is the rootfs all the same. */
int mount_plan_use_export(
    struct mount_plan *p, const char *dir, const uint32_t *indices, size_t n, struct err *e);
/* The inherited tree of a new mount namespace: what is mounted in it from now on, by hooks for
 * example, does not show on the host. */
int mounts_make_slaves(struct err *e);
/* The host's half of that, in place of rootfs_attach() and mounts_apply(): the child, in its new
 * mount namespace, after mounts_make_slaves() and with the sources open, gets a tree over "/" that
 * holds rootfs and m/INDEX alone (export.c). rootfs_pivot() into root makes it the only one.
 * Nothing that follows host paths, a hook for example, may run in between: ".." at "/" leads into
 * the tree.
 */
struct mount_export {
	int root, rootfs;  /* O_PATH; the caller's to close; rootfs -EBADF: not exported */
	uint32_t *indices; /* of .mounts; the plan's */
	size_t n;
};
int mounts_export(struct mount_plan *p, struct mount_export *ret, struct err *e);
/* Makes the exported rootfs read-only: root.readonly, once the guest has made its mount points.
 * Needs CAP_SYS_ADMIN. -EBUSY: a file in it is open for writing. Raw -errno. */
int mounts_export_seal(int rootfs);
/* Child, in its new mount namespace: mounts_make_slaves(), then attaches the rootfs at root.path,
 * where hooks look for it (over "/" where that cannot be walked, and with no_pivot), and returns an
 * O_PATH fd of its root. */
int rootfs_attach(struct mount_plan *p, bool no_pivot, int *ret_rootfd, struct err *e);
/* Facts that the mounts depend on. */
struct mount_env {
	int rootfd;
	int procfd;	  /* trusted procfs root of the runtime's host view */
	int cgroup_dirfd; /* the container's cgroup, for a bind where there is no cgroup ns; -EBADF:
			     none */
	bool new_cgroup_ns;	 /* the child is in its own cgroup namespace */
	bool userns;		 /* the child is in a user namespace of its own */
	const char *mount_label; /* SELinux context or NULL */
};
/* Makes config.json's mounts in order. */
int mounts_apply(struct mount_plan *p, const struct mount_env *env, struct err *e);
/* pivot_root(".", ".") into the rootfs and drops the old tree (no_pivot: move over "/" and chroot),
 * then chdir("/"). */
int rootfs_pivot(struct mount_plan *p, int rootfd, bool no_pivot, struct err *e);
/* After pivot and after everything was written: rootfsPropagation of the root, root.readonly,
 * remounts that had to wait (read-only tmpfs such as /dev with `ro`). */
int rootfs_finish(struct mount_plan *p, int rootfd, struct err *e);

/* ================= devices and terminal ================= */

struct device_set; /* devices to make; in a user namespace with the host's nodes as detached binds
		    */
/* bind: nodes cannot be made (user namespace, no CAP_MKNOD), so open the host's for binding. Where
 * the caller may not open_tree (rootless), call it in the child. */
int devices_open(const struct spec *s, bool bind, struct device_set **ret, struct err *e);
void device_set_free(struct device_set *d);
static inline void device_set_freep(struct device_set **d)
{
	device_set_free(*d);
}
#define _cleanup_device_set_ __attribute__((cleanup(device_set_freep)))
/* Makes the default devices of config-linux.md, those of linux.devices,
 * /dev/{fd,stdin,stdout,stderr, ptmx,core} links. Skips the defaults when the container's /dev is a
 * bind mount of the host's. Through an fd of /dev opened without following symlinks out of the
 * root. */
int devices_make(const struct device_set *d, const struct spec *s, int rootfd, struct err *e);

/* Opens a pty of the container's devpts (O_NOFOLLOW, checked to be devpts; slave by TIOCGPTPEER),
 * sets size and clears ONLCR, and binds the slave over /dev/console (made O_NOFOLLOW) where /dev
 * exists. Returns both ends. */
int console_open(const struct spec_process *p, int rootfd, bool bind_console, int *ret_master,
    int *ret_slave, struct err *e);
/* setsid, TIOCSCTTY, dup2 to 0, 1, 2. */
int console_attach(int slave, struct err *e);

/* ================= masks and sysctls ================= */

/* Masks files with the container's… a verified null device (fd, rdev 1:3) and directories with one
 * shared read-only empty tmpfs. Missing paths are skipped, symlinks resolved in the root; anything
 * else fails. */
int masked_paths_apply(const struct spec *s, int rootfd, struct err *e);
/* Recursive bind onto itself, read-only, keeping the other flags. Missing paths are skipped. */
int readonly_paths_apply(const struct spec *s, int rootfd, struct err *e);
/* Are all of linux.sysctl namespaced, and the namespace one of the container's own? Before anything
 * is made. */
int sysctl_check(const struct spec *s, struct err *e);
int sysctl_apply(const struct spec *s, int procfd, struct err *e);
