/*
 * The child's half of a container's life: init_main() from top to bottom. It is the container's
 * first process; the host's half is runtime/parent.c, the conversation process/handshake.h.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "netsetup/netsetup.h"
#include "process/handshake.h"
#include "process/hooks.h"
#include "process/payload.h"
#include "runtime/lifecycle.h"
#include "security/security.h"

struct init {
	const struct init_args *a;
	const struct spec *s;
	struct mount_plan *plan;
	struct device_set *devices;
	int rootfd;
	int slave; /* terminal */
	struct seccomp_prog seccomp;
	struct payload payload;
	enum hs_step last; /* HS_KEEP, or HS_START */
};

/* Init must not be readable by what shares its pid namespace. /proc/self's files of an undumpable
 * process belong to the host's root, so what is written there comes before it becomes another
 * user; where the runtime is no root, it must be dumpable for it. */
static int enter_namespaces(struct init *i, struct err *e)
{
	const struct spec *s = i->s;
	unsigned left = 0;
	int r;

	if (i->a->ns->new_flags & CLONE_NEWTIME) {
		if (!i->a->sources_open)
			(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
		if ((r = timens_enter(s, i->a->procfd, e)) < 0)
			return r;
	}
	if (spec_has_userns(s) && (r = userns_become_root(e)) < 0)
		return r;
	for (int t = 0; t < NS_TYPES; t++)
		if (i->a->ns->fds[t] >= 0 && !(i->a->joined & (1u << t)))
			left |= 1u << t;
	if ((r = ns_join(i->a->ns, left, e)) < 0)
		return r;
	if (i->a->ns->new_flags & CLONE_NEWCGROUP && unshare(CLONE_NEWCGROUP) < 0)
		return err_errno(e, errno, "make the cgroup namespace");
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return err_errno(e, errno, "prctl");
	if (setsid() < 0)
		return err_errno(e, errno, "setsid");
	if (!i->a->opts->no_new_keyring && (r = keyring_join(i->a->c->id, e)) < 0)
		return r;
	if (i->a->ns->new_flags & CLONE_NEWNET && (r = net_loopback_up(e)) < 0)
		return r;
	return uts_apply(s, e);
}

static int build_root(struct init *i, struct err *e)
{
	const struct init_args *a = i->a;
	int r;

	if (!a->sources_open && ((r = mount_plan_open_sources(i->plan, e)) < 0 ||
				    (r = devices_open(i->s, true, &i->devices, e)) < 0))
		return r;
	r = rootfs_attach(i->plan, &i->rootfd, e);
	if (r < 0)
		return r;
	const struct mount_env env = {
		.rootfd = i->rootfd,
		.procfd = a->procfd,
		.cgroup_dirfd = a->cgroupfd,
		.new_cgroup_ns = a->ns->new_flags & CLONE_NEWCGROUP,
		.userns = spec_has_userns(i->s),
		.mount_label = i->s->mount_label,
	};
	r = mounts_apply(i->plan, &env, e);
	return r < 0 ? r : devices_make(i->devices, i->s, i->rootfd, e);
}

/* The state as hooks inside the container see it: with init's pid there. */
static int container_hooks(struct init *i, enum spec_hook_kind kind, enum status st, struct err *e)
{
	struct spec_state state;

	container_state(i->a->c, st, &state);
	state.pid = getpid();
	return hooks_run(i->s, kind, &state, e);
}

/* The master goes to the console socket with the terminal's name, as engines expect, or to the
 * parent. */
static int open_terminal(struct init *i, struct err *e)
{
	_cleanup_close_ int master = -EBADF;
	int r;

	if (!i->s->process.terminal)
		return 0;
	r = console_open(&i->s->process, i->rootfd, true, &master, &i->slave, e);
	if (r < 0)
		return r;
	if (i->a->console_sock < 0)
		return hs_send(i->a->sock, HS_CONSOLE, master, e);
	r = sock_send_fds(i->a->console_sock, "/dev/ptmx", strlen("/dev/ptmx"), &master, 1);
	return r < 0 ? err_errno(e, -r, "--console-socket: send the terminal") : 0;
}

/* What a mount namespace has as its root is where setns(2) leads, exec's and a payload's own.
 * Started in a chroot, pivot_root exchanges the chroot's mount only, and that would be the host's
 * root. */
static int check_namespace_root(const struct init *i, int mntns, struct err *e)
{
	struct statx want, got;

	if (setns(mntns, CLONE_NEWNS) < 0)
		return err_errno(e, errno, "enter the container's mount namespace anew");
	if (statx(i->rootfd, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &want) < 0 ||
	    statx(AT_FDCWD, "/", 0, STATX_INO | STATX_MNT_ID, &got) < 0)
		return err_errno(e, errno, "statx the container's root");
	if (want.stx_mnt_id != got.stx_mnt_id || want.stx_ino != got.stx_ino)
		return err_set(e, EPERM,
		    "the host's root would stay reachable in the container's mount namespace: "
		    "bailey was "
		    "started in a chroot; enter it by pivot_root(8), or start bailey outside");
	return 0;
}

static int switch_root(struct init *i, struct err *e)
{
	_cleanup_close_ int mntns = openat(i->a->procfd, "self/ns/mnt", O_RDONLY | O_CLOEXEC);
	int r;

	if (mntns < 0)
		return err_errno(e, errno, "open /proc/self/ns/mnt");
	if ((r = rootfs_pivot(i->plan, i->rootfd, i->a->opts->no_pivot, e)) < 0 ||
	    (r = check_namespace_root(i, mntns, e)) < 0 ||
	    (r = sysctl_apply(i->s, i->a->procfd, e)) < 0 ||
	    (r = readonly_paths_apply(i->s, i->rootfd, e)) < 0 ||
	    (r = masked_paths_apply(i->s, i->rootfd, e)) < 0 ||
	    (r = rootfs_finish(i->plan, i->rootfd, e)) < 0)
		return r;
	return i->slave >= 0 ? console_attach(i->slave, e) : 0;
}

static int apply_attributes(const struct init *i, struct err *e)
{
	const struct spec_process *p = &i->s->process;
	int r;

	/* With a user namespace and a privileged runtime the parent has raised the limits. */
	if (!(spec_has_userns(i->s) && i->a->sources_open) && (r = rlimits_raise(0, p, e)) < 0)
		return r;
	if ((r = sched_apply(p, e)) < 0 || (r = mem_policy_apply(&i->s->mem_policy, e)) < 0)
		return r;
	return personality_apply(i->s, e);
}

/* Up to here everything can still be told to whoever called create. */
static int prepare(struct init *i, struct err *e)
{
	const struct init_args *a = i->a;
	int r;

	if ((r = hs_expect(a->sock, "the runtime", HS_GO, NULL, e)) < 0 ||
	    (r = enter_namespaces(i, e)) < 0 || (r = build_root(i, e)) < 0 ||
	    (a->pauses && (r = hs_send(a->sock, HS_MOUNTED, -EBADF, e)) < 0) ||
	    (r = hs_recv_seccomp(a->sock, &i->seccomp, e)) < 0)
		return r;
	if ((r = container_hooks(i, HOOK_CREATE_CONTAINER, ST_CREATING, e)) < 0 ||
	    (r = open_terminal(i, e)) < 0 || (r = switch_root(i, e)) < 0 ||
	    (r = apply_attributes(i, e)) < 0)
		return r;
	i->payload = (struct payload){
		.process = &i->s->process,
		.procfd = a->procfd,
		.preserve_fds = a->preserve_fds,
		.listen_fds = a->listen_fds,
		.seccomp = &i->seccomp,
		.seccomp_agent = a->seccomp_agent,
	};
	/* So that an unknown label fails create. With hooks to come it waits: it is for the next
	 * execve, and would become theirs. */
	if ((i->s->hooks[HOOK_START_CONTAINER].n == 0 &&
		(r = lsm_apply_exec(a->procfd, i->payload.process, e)) < 0) ||
	    (r = payload_prepare(&i->payload, true, e)) < 0)
		return r;
	/* From here on only a blocking receive is left, which a dead parent ends too; and the
	 * parent may end right after it has sent HS_KEEP or HS_START. */
	(void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0);
	if ((r = hs_send(a->sock, HS_READY, -EBADF, e)) < 0)
		return r;
	return hs_expect_either(a->sock, "the runtime", HS_KEEP, HS_START, &i->last, NULL, e);
}

/* `state` connects too, only to see that init still listens, and hangs up without a word; one that
 * is stopped in between must not keep start waiting. Returns the connection on which start waits
 * for the outcome. */
static int wait_for_start(int listening)
{
	const struct timeval patience = { .tv_sec = 10 };

	for (;;) {
		struct err e = ERR_INIT;
		int conn = accept4(listening, NULL, NULL, SOCK_CLOEXEC);

		if (conn < 0 && errno != EINTR && errno != ECONNABORTED)
			return -errno;
		if (conn >= 0 &&
		    setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
		    hs_expect(conn, "start", HS_START, NULL, &e) == 0)
			return conn;
		closep(&conn);
	}
}

static int execute(struct init *i, int conn, struct err *e)
{
	_cleanup_free_ char *state_json = NULL;
	struct spec_state state;
	int r = container_hooks(i, HOOK_START_CONTAINER, ST_CREATED, e);

	if (r < 0)
		return r;
	if (i->a->seccomp_agent >= 0) {
		container_state(i->a->c, ST_CREATED, &state);
		state_json = seccomp_agent_state(i->s, &state, i->a->procfd, e);
		if (!state_json)
			return -e->code;
		i->payload.state_json = state_json;
	}
	i->payload.report = conn;
	return payload_execute(&i->payload, e);
}

_Noreturn void init_main(const struct init_args *a)
{
	struct init i = {
		.a = a,
		.s = a->spec,
		.plan = a->plan,
		.devices = a->devices,
		.rootfd = -EBADF,
		.slave = -EBADF,
	};
	struct err e = ERR_INIT;
	int conn;

	umask(022); /* what is made in the rootfs does not depend on the caller's */
	if (prepare(&i, &e) < 0) {
		hs_send_error(a->sock, &e);
		_exit(1);
	}
	log_mute();
	conn = a->sock;
	if (i.last == HS_KEEP) {
		close(a->sock);
		conn = wait_for_start(a->start_sock);
	}
	if (conn < 0)
		_exit(1);
	if (execute(&i, conn, &e) < 0)
		hs_send_error(conn, &e);
	_exit(e.exit ? e.exit : 1);
}
