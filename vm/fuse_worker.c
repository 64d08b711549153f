/*
 * A worker thread and who it is.
 *
 * What a request makes has to belong to the requester from its first moment: quota, set-group-id
 * directories and others on the host look at it. So the thread takes the file system ids of the
 * request (setfsuid(2), setfsgid(2): they concern files alone) and keeps its capabilities, which
 * the kernel would take from a thread whose id is no longer 0. Ids are changed only when they
 * differ from the last request's, so a container that runs as one user never pays.
 *
 * CAP_FSETID is the switch for what a local file system does with set-id bits: off, writing and
 * truncating clear them and a file's set-group-id needs membership; on, they stay. One thing is
 * stricter than locally: the set-group-id bit of a file that its group may not execute means
 * nothing, survives a member's write locally, and does not survive it here, where a write comes
 * without the writer's groups.
 */
#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/alloc.h"
#include "vm/fuse_internal.h"

#define FSETID (1ull << CAP_FSETID)

/* Raw: libc's would change every thread of the process, or has none. */
static int set_effective(uint64_t permitted, uint64_t effective)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = {
		{ .effective = (uint32_t)effective, .permitted = (uint32_t)permitted },
		{ .effective = (uint32_t)(effective >> 32),
		    .permitted = (uint32_t)(permitted >> 32) },
	};

	return syscall(SYS_capset, &h, d) < 0 ? -errno : 0;
}

static int get_permitted(uint64_t *ret)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	if (syscall(SYS_capget, &h, d) < 0)
		return -errno;
	*ret = d[0].permitted | (uint64_t)d[1].permitted << 32;
	return 0;
}

static void apply_caps(struct fuse_worker *w)
{
	/* A subset of the permitted ones: it cannot fail. */
	set_effective(w->caps, w->fsetid ? w->caps : w->caps & ~FSETID);
}

void worker_fsetid(struct fuse_worker *w, bool on)
{
	if (w->fsetid == on)
		return;
	w->fsetid = on;
	apply_caps(w);
}

/* The two calls tell no error: the id is asked for with one that does not exist. */
static uint32_t set_fs_id(long call, uint32_t id)
{
	syscall(call, id);
	return (uint32_t)syscall(call, FUSE_NO_ID);
}

/* Where groups cannot be set (a user namespace that denies it) membership counts as none: a file's
 * set-group-id bit is lost, nothing is gained. */
static void set_supplementary(struct fuse_worker *w, uint32_t gid)
{
	const gid_t list[1] = { gid };

	if (w->supp == gid)
		return;
	w->supp = gid;
	if (gid != FUSE_NO_ID && syscall(SYS_setgroups, 1, list) == 0)
		return;
	w->supp = FUSE_NO_ID;
	syscall(SYS_setgroups, 0, NULL);
}

int worker_become(struct fuse_request *r)
{
	struct fuse_worker *w = r->w;

	if (r->h.uid == FUSE_NO_ID || r->h.gid == FUSE_NO_ID)
		return -EOVERFLOW;
	if (w->gid != r->h.gid) {
		w->gid = set_fs_id(SYS_setfsgid, r->h.gid);
		if (w->gid != r->h.gid)
			return -EOVERFLOW;
	}
	set_supplementary(w, r->supp);
	if (w->uid != r->h.uid) {
		w->uid = set_fs_id(SYS_setfsuid, r->h.uid);
		w->fsetid = r->h.uid == 0;
		apply_caps(w);
		if (w->uid != r->h.uid)
			return -EOVERFLOW;
	}
	worker_fsetid(w, r->h.uid == 0);
	return 0;
}

int fuse_worker_new(struct fuse_server *s, struct fuse_worker **ret, struct err *e)
{
	struct fuse_worker *w;
	uint64_t caps = 0;
	int r;

	if (unshare(CLONE_FS) < 0)
		return err_errno(e, errno, "file server: a working directory of the worker's own");
	if (fchdir(s->self_fd) < 0)
		return err_errno(
		    e, errno, "file server: change to procfs's directory of descriptors");
	umask(0); /* the guest's kernel has applied the requester's */
	r = get_permitted(&caps);
	if (r < 0)
		return err_errno(e, -r, "file server: capget");
	w = xcalloc(1, sizeof(*w));
	w->s = s;
	w->caps = caps;
	w->uid = (uint32_t)syscall(SYS_setfsuid, FUSE_NO_ID);
	w->gid = (uint32_t)syscall(SYS_setfsgid, FUSE_NO_ID);
	w->supp = 0;
	set_supplementary(w, FUSE_NO_ID);
	w->fsetid = true;
	apply_caps(w);
	*ret = w;
	return 0;
}

void fuse_worker_free(struct fuse_worker *w)
{
	free(w);
}
