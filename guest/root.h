/*
 * A root filesystem that comes on disks instead of in the export (proto.h: CREATE's "root").
 *
 * The agent itself mounts the disks, detached: the container's first process, which puts them in
 * place, is in the container's cgroup by then, whose rules may not let it open their devices.
 */
#pragma once
#include "guest/agent.h"

struct root_disks {
	int image, scratch; /* detached mounts; -EBADF: none */
};
#define ROOT_DISKS_NONE                            \
	{                                          \
		.image = -EBADF, .scratch = -EBADF \
	}
void root_disks_close(struct root_disks *d);
#define _cleanup_root_disks_ __attribute__((cleanup(root_disks_close)))

/* Of the agent: o->root_disk, an EROFS file system, and o->scratch_disk, ext4. Neither is named:
 * nothing is opened. */
int root_disks_open(const struct agent_host *host, const struct create_options *o,
    struct root_disks *ret, struct err *e);
/* Of the container's process, in its mount namespace: *ret is an overlay of the image and, for what
 * the container writes, the scratch disk or a tmpfs, which counts for the container's memory
 * (mount_plan_set_overlay()). It lives as long as the program. */
int root_disks_mount(const struct root_disks *d, const struct overlay **ret, struct err *e);

/* For open_disk(): a detached mount of a new file system. flag: one of its options, or NULL. Raw
 * -errno. */
int root_new_mount(const char *type, const char *source, const char *flag, int *ret);
