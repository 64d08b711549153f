/*
 * The device program in the kernel. It is attached with BPF_F_ALLOW_MULTI, beside what systemd or a
 * cgroup manager may have there: access needs the consent of all. bailey's own are told by their
 * name, so that an update replaces them, and only them.
 */
#include <string.h>

#include "base/log.h"
#include "base/sys.h"
#include "cgroups/internal.h"

#define PROG_NAME    "bailey_devices"
#define MAX_ATTACHED 64 /* the kernel's own limit, BPF_CGROUP_MAX_PROGS */

static int sys_bpf(int cmd, union bpf_attr *a)
{
	long r = syscall(SYS_bpf, cmd, a, sizeof(*a));

	return r < 0 ? -errno : (int)r;
}

static int load(const struct cg_prog *p, char *log, size_t log_size)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	a.insns = (uintptr_t)p->v;
	a.insn_cnt = (uint32_t)p->n;
	a.license = (uintptr_t) "Apache-2.0";
	memcpy(a.prog_name, PROG_NAME, sizeof(PROG_NAME));
	if (log) {
		a.log_buf = (uintptr_t)log;
		a.log_size = (uint32_t)log_size;
		a.log_level = 1;
	}
	return sys_bpf(BPF_PROG_LOAD, &a);
}

static int load_program(const struct cg_prog *p, struct err *e)
{
	char log[2048] = "";
	int fd = load(p, NULL, 0);

	if (fd >= 0)
		return fd;
	if (fd == -EPERM)
		return err_set(e, EPERM,
		    "load the device program: permission denied: it needs CAP_BPF and "
		    "CAP_NET_ADMIN, "
		    "or CAP_SYS_ADMIN, in the initial user namespace");
	if (log_debug_enabled() && load(p, log, sizeof(log)) < 0)
		log_debug("device program of %zu instructions: %s", p->n, log);
	return err_errno(e, -fd, "load the device program");
}

/* A descriptor of program id if it is bailey's, -ENOENT if it is another's or gone. */
static int open_own(uint32_t id)
{
	_cleanup_close_ int fd = -EBADF;
	struct bpf_prog_info info = { 0 };
	union bpf_attr a;
	int r;

	memset(&a, 0, sizeof(a));
	a.prog_id = id;
	fd = sys_bpf(BPF_PROG_GET_FD_BY_ID, &a);
	if (fd < 0)
		return fd;
	memset(&a, 0, sizeof(a));
	a.info.bpf_fd = (uint32_t)fd;
	a.info.info_len = sizeof(info);
	a.info.info = (uintptr_t)&info;
	r = sys_bpf(BPF_OBJ_GET_INFO_BY_FD, &a);
	if (r < 0)
		return r;
	return streq(info.name, PROG_NAME) ? steal_fd(&fd) : -ENOENT;
}

static int detach(int dirfd, int prog)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.target_fd = (uint32_t)dirfd;
	a.attach_bpf_fd = (uint32_t)prog;
	a.attach_type = BPF_CGROUP_DEVICE;
	return sys_bpf(BPF_PROG_DETACH, &a);
}

/* Leaves at most one of bailey's programs attached, open as *ret (-EBADF: none). */
static int find_own(int dirfd, int *ret)
{
	_cleanup_close_ int own = -EBADF;
	uint32_t ids[MAX_ATTACHED];
	union bpf_attr a;
	int r;

	memset(&a, 0, sizeof(a));
	a.query.target_fd = (uint32_t)dirfd;
	a.query.attach_type = BPF_CGROUP_DEVICE;
	a.query.prog_ids = (uintptr_t)ids;
	a.query.prog_cnt = MAX_ATTACHED;
	r = sys_bpf(BPF_PROG_QUERY, &a);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < a.query.prog_cnt; i++) {
		_cleanup_close_ int fd = open_own(ids[i]);

		if (fd == -ENOENT)
			continue;
		if (fd < 0)
			return fd;
		if (own < 0) {
			own = steal_fd(&fd);
			continue;
		}
		r = detach(dirfd, fd);
		if (r < 0)
			return r;
	}
	*ret = steal_fd(&own);
	return 0;
}

static int attach(int dirfd, int prog, int replace)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.target_fd = (uint32_t)dirfd;
	a.attach_bpf_fd = (uint32_t)prog;
	a.attach_type = BPF_CGROUP_DEVICE;
	a.attach_flags = BPF_F_ALLOW_MULTI;
	if (replace >= 0) { /* at once: no moment without a program */
		a.attach_flags |= BPF_F_REPLACE;
		a.replace_bpf_fd = (uint32_t)replace;
	}
	return sys_bpf(BPF_PROG_ATTACH, &a);
}

int cg_devices_attach(int dirfd, const struct cg_prog *p, struct err *e)
{
	_cleanup_close_ int old = -EBADF, prog = -EBADF;
	char name[CG_NAME_MAX];
	int r = find_own(dirfd, &old);

	if (r < 0)
		return err_errno(
		    e, -r, "look up the device programs of cgroup %s", cg_name(dirfd, name));
	if (p->allow_all) {
		r = old >= 0 ? detach(dirfd, old) : 0;
		return r < 0 ? err_errno(e, -r, "detach the device program from cgroup %s",
				   cg_name(dirfd, name))
			     : 0;
	}
	prog = load_program(p, e);
	if (prog < 0)
		return prog;
	r = attach(dirfd, prog, old);
	if (r < 0)
		return err_errno(
		    e, -r, "attach the device program to cgroup %s", cg_name(dirfd, name));
	return 0;
}
