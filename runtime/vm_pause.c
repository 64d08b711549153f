/*
 * What hinders the freezer. KVM makes a kernel thread for each machine (it undoes the splitting of
 * huge pages) and, before Linux 6.14, puts it into the cgroup of who made the machine. Kernel
 * threads do not freeze, so that the kernel never reports the cgroup as frozen. The thread does
 * nothing for the guest: it goes to the root of the tree.
 */
#include <fcntl.h>
#include <stdlib.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "runtime/procstat.h"
#include "runtime/vm_level.h"

int vm_prepare_freeze(const struct cgroup *cg, struct err *e)
{
	_cleanup_close_ int root = -EBADF;
	_cleanup_free_ pid_t *pids = NULL;
	size_t n = 0;
	int r = cgroup_pids(cg, &pids, &n, e);

	for (size_t i = 0; i < n && r == 0; i++) {
		_cleanup_free_ char *text = xasprintf("%d", pids[i]);
		struct procstat st;

		if (procstat_read(pids[i], &st) < 0 || !st.kernel_thread)
			continue;
		if (root < 0 && (root = cgroup_open_root(e)) < 0)
			return root;
		r = kfile_write(root, "cgroup.procs", text);
		log_debug("kernel thread %d moved out of the cgroup: %d", pids[i], r);
		if (r == -ESRCH)
			r = 0;
		else if (r < 0)
			return err_errno(e, -r,
			    "move KVM's kernel thread %d out of the cgroup, which it keeps from "
			    "freezing (this takes root; Linux 6.14 and later do not put it there)",
			    pids[i]);
	}
	return r;
}
