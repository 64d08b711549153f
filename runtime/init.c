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
#include "process/inside.h"
#include "process/payload.h"
#include "runtime/lifecycle.h"
#include "runtime/vm_level.h"
#include "security/security.h"

struct init {
	const struct init_args *a;
	const struct spec *s;
	struct inside in;
	struct mount_plan *plan;
	struct device_set *devices;
	int rootfd;
	int slave; /* terminal */
	struct seccomp_prog seccomp;
	struct payload payload;
	enum hs_step last; /* HS_KEEP, or HS_START */
};

/* The files of /proc/self belong to the host's root where init is undumpable; where the runtime is
 * no root, it must be dumpable for the time namespace's. */
static int enter_namespaces(struct init *i, struct err *e)
{
	const unsigned new_flags = i->a->ns->new_flags;
	int r;

	if (new_flags & CLONE_NEWTIME) {
		if (!i->a->sources_open)
			(void)prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
		if ((r = timens_enter(i->s, i->a->procfd, e)) < 0)
			return r;
	}
	if ((r = inside_enter(&i->in, e)) < 0 ||
	    (new_flags & CLONE_NEWNET && (r = net_loopback_up(e)) < 0))
		return r;
	return uts_apply(i->s, e);
}

static int build_root(struct init *i, struct err *e)
{
	int r;

	if (!i->a->sources_open && ((r = mount_plan_open_sources(i->plan, e)) < 0 ||
				       (r = devices_open(i->s, true, &i->devices, e)) < 0))
		return r;
	return inside_build_root(&i->in, i->plan, i->devices, &i->rootfd, e);
}

/* The state as hooks inside the container see it: with init's pid there. */
static int container_hooks(struct init *i, enum spec_hook_kind kind, enum status st,
    const struct payload *as, struct err *e)
{
	struct spec_state state;

	container_state(i->a->c, st, &state);
	state.pid = getpid();
	return hooks_run(i->s, kind, &state, as, e);
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
	if ((r = container_hooks(i, HOOK_CREATE_CONTAINER, ST_CREATING, NULL, e)) < 0 ||
	    (r = open_terminal(i, e)) < 0 ||
	    (r = inside_switch_root(&i->in, i->plan, i->rootfd, i->slave, e)) < 0 ||
	    (r = inside_attributes(&i->in, e)) < 0)
		return r;
	i->payload = (struct payload){
		.process = &i->s->process,
		.procfd = a->procfd,
		.preserve_fds = a->preserve_fds,
		.listen_fds = a->listen_fds,
		.seccomp = &i->seccomp,
		.seccomp_agent = a->seccomp_agent,
	};
	/* The label now, so that an unknown one fails create. */
	if ((r = lsm_apply_exec(a->procfd, i->payload.process, e)) < 0 ||
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
 * is stopped in between must not keep start waiting. */
int init_accept_start(int listening)
{
	const struct timeval patience = { .tv_sec = 10 };
	struct err e = ERR_INIT;
	int conn = accept4(listening, NULL, NULL, SOCK_CLOEXEC);

	if (conn < 0)
		return errno == EINTR || errno == ECONNABORTED ? -EAGAIN : -errno;
	if (setsockopt(conn, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 &&
	    hs_expect(conn, "start", HS_START, NULL, &e) == 0)
		return conn;
	close(conn);
	return -EAGAIN;
}

static int wait_for_start(int listening)
{
	int conn;

	do
		conn = init_accept_start(listening);
	while (conn == -EAGAIN);
	return conn;
}

static int execute(struct init *i, int conn, struct err *e)
{
	_cleanup_free_ char *state_json = NULL;
	struct spec_state state;
	int r = container_hooks(i, HOOK_START_CONTAINER, ST_CREATED, &i->payload, e);

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
		.in = {
			.spec = a->spec,
			.process = &a->spec->process,
			.ns = a->ns,
			.joined = a->joined,
			.userns = spec_has_userns(a->spec),
			.procfd = a->procfd,
			.cgroupfd = a->cgroupfd,
			.keyring = a->opts->no_new_keyring ? NULL : a->c->id,
			.no_pivot = a->opts->no_pivot,
			/* with a user namespace a privileged parent has raised them */
			.limits_raised = spec_has_userns(a->spec) && a->sources_open,
		},
	};
	struct err e = ERR_INIT;
	int conn;

	if (a->vm)
		vm_init_main(a); /* the same steps for a machine; does not return */
	umask(022);		 /* what is made in the rootfs does not depend on the caller's */
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
