#include "process/inside.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "security/security.h"

/* Who shares the pid namespace must not be able to trace or read it. /proc/self's files of an
 * undumpable process belong to the host's root, so what is written there comes before it becomes
 * another user. */
int inside_enter(const struct inside *i, struct err *e)
{
	unsigned left = 0;
	int r;

	for (int t = 0; t < NS_TYPES; t++)
		if (i->ns->fds[t] >= 0 && !(i->joined & (1u << t)))
			left |= 1u << t;
	if ((i->userns && (r = userns_become_root(e)) < 0) || (r = ns_join(i->ns, left, e)) < 0)
		return r;
	if (i->ns->new_flags & CLONE_NEWCGROUP && unshare(CLONE_NEWCGROUP) < 0)
		return err_errno(e, errno, "make the cgroup namespace");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return err_errno(e, errno, "prctl");
	if (setsid() < 0)
		return err_errno(e, errno, "setsid");
	return i->keyring ? keyring_join(i->keyring, e) : 0;
}

int inside_build_root(const struct inside *i, struct mount_plan *plan,
    const struct device_set *devices, int *ret_rootfd, struct err *e)
{
	_cleanup_close_ int rootfd = -EBADF;
	int r = rootfs_attach(plan, i->no_pivot, &rootfd, e);

	if (r < 0)
		return r;
	const struct mount_env env = {
		.rootfd = rootfd,
		.procfd = i->procfd,
		.cgroup_dirfd = i->cgroupfd,
		.new_cgroup_ns = i->ns->new_flags & CLONE_NEWCGROUP,
		.userns = i->userns,
		.mount_label = i->spec->mount_label,
	};
	if ((r = mounts_apply(plan, &env, e)) < 0 ||
	    (r = devices_make(devices, i->spec, rootfd, e)) < 0)
		return r;
	*ret_rootfd = steal_fd(&rootfd);
	return 0;
}

/* What a mount namespace has as its root is where setns(2) leads, exec's and a payload's own.
 * Started in a chroot, pivot_root exchanges the chroot's mount only, and that would be the host's
 * root. */
static int check_namespace_root(int rootfd, int mntns, struct err *e)
{
	struct statx want, got;

	if (setns(mntns, CLONE_NEWNS) < 0)
		return err_errno(e, errno, "enter the container's mount namespace anew");
	if (statx(rootfd, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &want) < 0 ||
	    statx(AT_FDCWD, "/", 0, STATX_INO | STATX_MNT_ID, &got) < 0)
		return err_errno(e, errno, "statx the container's root");
	if (want.stx_mnt_id != got.stx_mnt_id || want.stx_ino != got.stx_ino)
		return err_set(e, EPERM,
		    "the host's root would stay reachable in the container's mount namespace: "
		    "bailey was "
		    "started in a chroot; enter it by pivot_root(8), or start bailey outside");
	return 0;
}

int inside_switch_root(
    const struct inside *i, struct mount_plan *plan, int rootfd, int slave, struct err *e)
{
	_cleanup_close_ int mntns = openat(i->procfd, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
	int r;

	if (mntns < 0)
		return err_errno(e, errno, "open /proc/self/ns/mnt");
	if ((r = rootfs_pivot(plan, rootfd, i->no_pivot, e)) < 0 ||
	    (r = check_namespace_root(rootfd, mntns, e)) < 0 ||
	    (r = sysctl_apply(i->spec, i->procfd, e)) < 0 ||
	    (r = readonly_paths_apply(i->spec, rootfd, e)) < 0 ||
	    (r = masked_paths_apply(i->spec, rootfd, e)) < 0 ||
	    (r = rootfs_finish(plan, rootfd, e)) < 0)
		return r;
	return slave >= 0 ? console_attach(slave, e) : 0;
}

int inside_attributes(const struct inside *i, struct err *e)
{
	int r;

	if ((!i->limits_raised && (r = rlimits_raise(0, i->process, e)) < 0) ||
	    (r = sched_apply(i->process, e)) < 0 ||
	    (r = mem_policy_apply(&i->spec->mem_policy, e)) < 0)
		return r;
	return personality_apply(i->spec, e);
}

void inside_inherit(const struct spec_process *from, struct spec_process *p)
{
	if (!p->scheduler.has)
		p->scheduler = from->scheduler;
	if (!p->ioprio.has)
		p->ioprio = from->ioprio;
	if (!p->oom_score_adj.set)
		p->oom_score_adj = from->oom_score_adj;
	if (!p->exec_cpu_affinity.initial && !p->exec_cpu_affinity.final)
		p->exec_cpu_affinity = from->exec_cpu_affinity;
}
