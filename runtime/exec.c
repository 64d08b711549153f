/*
 * exec: both halves of a further process. It joins what init is in, by init's own descriptors, and
 * takes the same last steps (process/payload.h). From before it can be seen inside until execve it
 * is undumpable and runs from the sealed copy, so that a hostile container finds nothing to trace
 * or open.
 */
#include "runtime/exec.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/sys.h"
#include "process/handshake.h"
#include "process/inside.h"
#include "process/payload.h"
#include "process/spawn.h"
#include "runtime/foreground.h"
#include "runtime/lifecycle.h"
#include "runtime/vm_level.h"

struct exec {
	const struct exec_opts *o;
	struct container *c;
	struct spec *spec;
	struct spec_process process;
	struct ns_set ns;
	unsigned joined;
	bool raises; /* the parent does raise limits, which in a user namespace the child may not */
	int procfd, sock, child_sock, console_sock, seccomp_agent;
	int control; /* of the machine; -EBADF: the container is none */
	struct cgroup cg;
	int cgroupfd; /* where the process goes: cg, below it, or init's */
	pid_t pid;
	int pidfd;
};
#define EXEC_INIT                                                                                  \
	{                                                                                          \
		.procfd = -EBADF, .sock = -EBADF, .child_sock = -EBADF, .console_sock = -EBADF,    \
		.seccomp_agent = -EBADF, .control = -EBADF, .cg = CGROUP_INIT, .cgroupfd = -EBADF, \
		.pidfd = -EBADF                                                                    \
	}

static void exec_free(struct exec *x)
{
	closep(&x->procfd);
	closep(&x->sock);
	closep(&x->child_sock);
	closep(&x->console_sock);
	closep(&x->seccomp_agent);
	closep(&x->control);
	closep(&x->cgroupfd);
	closep(&x->pidfd);
	cgroup_close(&x->cg);
	ns_set_close(&x->ns);
	container_close(x->c);
}

/* ---- the child ---- */

static int exec_terminal(const struct exec *x, struct err *e)
{
	_cleanup_close_ int root = -EBADF, master = -EBADF, slave = -EBADF;
	int r;

	if (!x->process.terminal)
		return 0;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_errno(e, errno, "open the container's root");
	r = console_open(&x->process, root, false, &master, &slave, e);
	if (r < 0)
		return r;
	if (x->console_sock >= 0) {
		r = sock_send_fds(x->console_sock, "/dev/ptmx", strlen("/dev/ptmx"), &master, 1);
		if (r < 0)
			return err_errno(e, -r, "--console-socket: send the terminal");
	} else if ((r = hs_send(x->sock, HS_CONSOLE, master, e)) < 0) {
		return r;
	}
	return console_attach(slave, e);
}

static int exec_child(struct exec *x, struct err *e)
{
	_cleanup_seccomp_ struct seccomp_prog prog = { 0 };
	struct payload payload = {
		.process = &x->process,
		.procfd = x->procfd,
		.report = x->sock,
		.preserve_fds = x->o->keep_fds,
		.listen_fds = x->o->listen_fds,
		.seccomp = &prog,
		.seccomp_agent = x->seccomp_agent,
	};
	const struct inside in = {
		.spec = x->spec,
		.process = &x->process,
		.ns = &x->ns,
		.joined = x->joined,
		.userns = x->ns.fds[NS_USER] >= 0,
		.procfd = x->procfd,
		.cgroupfd = -EBADF,
		.keyring = x->o->no_new_keyring ? NULL : x->c->id,
		.limits_raised = x->raises,
	};
	_cleanup_free_ char *state_json = NULL;
	struct spec_state state;
	int r;

	if ((r = cpu_affinity_apply(0, x->process.exec_cpu_affinity.initial, e)) < 0 ||
	    (r = hs_expect(x->sock, "the runtime", HS_GO, NULL, e)) < 0 ||
	    (r = inside_enter(&in, e)) < 0 || (r = exec_terminal(x, e)) < 0 ||
	    (r = inside_attributes(&in, e)) < 0 ||
	    (r = cpu_affinity_apply(0, x->process.exec_cpu_affinity.final, e)) < 0 ||
	    (r = payload_prepare(&payload, false, e)) < 0 ||
	    (r = hs_recv_seccomp(x->sock, &prog, e)) < 0)
		return r;
	(void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0); /* as in init: HS_KEEP takes over */
	if ((r = hs_send(x->sock, HS_READY, -EBADF, e)) < 0 ||
	    (r = hs_expect(x->sock, "the runtime", HS_KEEP, NULL, e)) < 0)
		return r;
	log_mute();
	if (x->seccomp_agent >= 0) {
		container_state(x->c, ST_RUNNING, &state);
		state_json = seccomp_agent_state(x->spec, &state, x->procfd, e);
		if (!state_json)
			return -e->code;
		payload.state_json = state_json;
	}
	return payload_execute(&payload, e);
}

/* What is made is a process of the guest's, with one on the host that stands for it. */
static int exec_in_machine(struct exec *x, struct err *e)
{
	const struct vm_exec v = {
		.o = x->o,
		.process = &x->process,
		.procfd = x->procfd,
		.sock = x->sock,
		.console_sock = x->console_sock,
		.control = x->control,
	};

	return vm_exec_child(&v, e);
}

static _Noreturn void exec_main(struct exec *x)
{
	struct err e = ERR_INIT;

	closep(&x->sock);
	x->sock = x->child_sock;
	if (x->c->vm)
		(void)exec_in_machine(x, &e);
	else
		(void)exec_child(x, &e);
	hs_send_error(x->sock, &e);
	_exit(e.exit ? e.exit : 255);
}

/* ---- the parent ---- */

static int open_cgroup(struct exec *x, struct err *e)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	int r;

	if (!x->c->cgroup_path && x->o->cgroup)
		return err_set(
		    e, ENOENT, "--cgroup \"%s\": the container has no cgroup", x->o->cgroup);
	if (!x->c->cgroup_path)
		return 0;
	r = container_cgroup(x->c, &x->cg, e);
	if (r < 0)
		return r;
	if (!x->o->cgroup || !*x->o->cgroup || x->c->vm) { /* the guest's is the agent's to find */
		x->cgroupfd = fcntl(x->cg.dirfd, F_DUPFD_CLOEXEC, 3);
	} else {
		const char *below = x->o->cgroup + strspn(x->o->cgroup, "/");

		x->cgroupfd = sys_openat2(x->cg.dirfd, *below ? below : ".", &how);
	}
	if (x->cgroupfd < 0)
		return err_errno(e, errno,
		    "--cgroup \"%s\": must be a cgroup below the container's (%s)",
		    x->o->cgroup ? x->o->cgroup : "", x->c->cgroup_path);
	return 0;
}

/* A cgroup that hands controllers down may hold no process of its own: then init is further down,
 * and that is where its container's processes belong. */
static int use_inits_cgroup(struct exec *x, struct err *e)
{
	_cleanup_cgroup_ struct cgroup cg = CGROUP_INIT;
	_cleanup_free_ char *path = NULL;
	int r = cgroup_of_pid(x->c->pid, &path, e);

	if (r < 0)
		return r;
	r = cgroup_open(path, &cg, e);
	if (r < 0)
		return r;
	log_debug("exec: the container's cgroup takes no process, using init's: %s", path);
	closep(&x->cgroupfd);
	x->cgroupfd = steal_fd(&cg.dirfd);
	return 0;
}

static int open_container(struct exec *x, const struct globals *g, const char *id, struct err *e)
{
	enum status st;
	int r;

	if ((r = container_open(g, id, OPEN_UNLOCKED, &x->c, e)) < 0 ||
	    (r = container_status(x->c, &st, e)) < 0)
		return r;
	if (!(st == ST_PAUSED && x->o->ignore_paused) &&
	    (r = status_check(x->c, EV_EXEC, st, e)) < 0)
		return r;
	return container_spec(x->c, &x->spec, e);
}

static int open_namespaces(struct exec *x, struct err *e)
{
	_cleanup_close_ int dir = -EBADF;
	char path[32];
	int r;

	x->procfd = open_procfs(e);
	if (x->procfd < 0)
		return x->procfd;
	snprintf(path, sizeof(path), "%d", x->c->pid);
	dir = openat(x->procfd, path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_errno(e, errno, "open /proc/%s", path);
	r = ns_open_process(dir, &x->ns, e);
	if (r < 0)
		return r;
	/* Still the process that was checked? Then what was just opened is its own. */
	if (sys_pidfd_send_signal(x->c->pidfd, 0) < 0)
		return err_set(
		    e, ESRCH, "cannot exec in container \"%s\": container not running", x->c->id);
	return 0;
}

/* The process on the host joins nothing but the cgroup. */
static int open_machine(struct exec *x, struct err *e)
{
	int r = vm_exec_check(x->o, e);

	if (r < 0)
		return r;
	x->procfd = r = open_procfs(e);
	if (r < 0 || (r = vm_check_user(x->procfd, x->c->pid, &x->process.user, e)) < 0)
		return r;
	x->control = vm_connect(x->c, e);
	return x->control < 0 ? x->control : 0;
}

static int open_sockets(struct exec *x, struct err *e)
{
	const char *agent = x->spec->seccomp.listener_path;
	int sockets[2], r;

	if (x->o->console_socket) {
		x->console_sock = unix_connect(SOCK_STREAM, x->o->console_socket);
		if (x->console_sock < 0)
			return err_errno(
			    e, -x->console_sock, "--console-socket \"%s\"", x->o->console_socket);
	}
	if (agent) {
		x->seccomp_agent = unix_connect(SOCK_STREAM, agent);
		if (x->seccomp_agent < 0)
			return err_errno(
			    e, -x->seccomp_agent, ".linux.seccomp.listenerPath \"%s\"", agent);
	}
	r = hs_pair(sockets, e);
	if (r == 0) {
		x->sock = sockets[0];
		x->child_sock = sockets[1];
	}
	return r;
}

/* The child starts out with its oom score, which it could not write itself: it is undumpable. */
static int spawn_with_score(struct exec *x, struct err *e)
{
	_cleanup_free_ char *own_score = NULL;
	bool outside = false;
	int r;

	if (kfile_read(x->procfd, "self/oom_score_adj", &own_score) < 0)
		own_score = NULL;
	if ((r = oom_score_apply(x->procfd, 0, &x->process, e)) < 0)
		return r;
	r = spawn(&x->ns, x->cgroupfd, &x->pid, &x->pidfd, &x->joined, e);
	if (r == -EACCES && x->c->systemd_user) { /* see runtime/parent.c, spawn_init() */
		err_clear(e);
		outside = true;
		r = spawn(&x->ns, -EBADF, &x->pid, &x->pidfd, &x->joined, e);
	}
	if (r == 0)
		exec_main(x);
	if (r > 0 && outside)
		r = systemd_adopt(
		    true, x->c->cgroup_path, x->o->cgroup ? x->o->cgroup : "", x->pid, e);
	if (r < 0 && e->code == EBUSY && !x->o->cgroup && x->cgroupfd >= 0) {
		err_clear(e);
		r = use_inits_cgroup(x, e);
		if (r == 0)
			r = spawn(&x->ns, x->cgroupfd, &x->pid, &x->pidfd, &x->joined, e);
		if (r == 0)
			exec_main(x);
	}
	if (own_score)
		(void)kfile_write(x->procfd, "self/oom_score_adj", own_score);
	closep(&x->child_sock);
	x->child_sock = -EBADF;
	return r < 0 ? r : 0;
}

static int converse(struct exec *x, int *ret_master, struct err *e)
{
	_cleanup_seccomp_ struct seccomp_prog prog = { 0 };
	enum hs_step got;
	int r;

	if ((x->raises && (r = rlimits_raise(x->pid, &x->process, e)) < 0) ||
	    (r = hs_send(x->sock, HS_GO, -EBADF, e)) < 0 ||
	    (x->spec->seccomp.has && !x->c->vm &&
		(r = seccomp_compile(&x->spec->seccomp, &prog, e)) < 0) ||
	    (r = hs_send_seccomp(x->sock, &prog, e)) < 0 ||
	    (r = hs_expect_either(
		 x->sock, "the process", HS_READY, HS_CONSOLE, &got, ret_master, e)) < 0)
		return r;
	if (got == HS_CONSOLE) {
		foreground_copy_size(*ret_master);
		r = hs_expect(x->sock, "the process", HS_READY, NULL, e);
		if (r < 0)
			return r;
	}
	if ((r = hs_send(x->sock, HS_KEEP, -EBADF, e)) < 0)
		return r;
	return hs_wait_exec(x->sock, e);
}

/* For conmon the pid file is the only sign of success: it comes after execve. */
static int run_process(struct exec *x, struct err *e)
{
	_cleanup_close_ int master = -EBADF;
	int r, status;

	r = spawn_with_score(x, e);
	if (r < 0)
		return r;
	r = converse(x, &master, e);
	if (r == 0 && x->o->pid_file)
		r = write_pid_file(x->o->pid_file, x->pid, e);
	if (r == 0 && !x->o->detach)
		r = foreground_wait(x->pid, x->pidfd, master, &status, e);
	if (r < 0) {
		(void)sys_pidfd_send_signal(x->pidfd, SIGKILL);
		while (waitpid(x->pid, NULL, 0) < 0 && errno == EINTR)
			;
		return r;
	}
	return status;
}

static int check_terminal(const struct exec *x, struct err *e)
{
	if (x->o->console_socket && !x->process.terminal)
		return err_set(e, EINVAL,
		    "--console-socket is given, but the process has no terminal (--tty)");
	if (x->process.terminal && x->o->detach && !x->o->console_socket)
		return err_set(e, EINVAL, "--detach with a terminal needs --console-socket");
	return 0;
}

int container_exec(
    const struct globals *g, const char *id, const struct exec_opts *o, char **args, struct err *e)
{
	_cleanup_(exec_free) struct exec x = EXEC_INIT;
	int r;

	x.o = o;
	for (size_t i = 0; i < NS_TYPES; i++)
		x.ns.fds[i] = -EBADF;
	if ((r = open_container(&x, g, id, e)) < 0 ||
	    (r = exec_process(x.spec->arena, x.spec, o, args, &x.process, e)) < 0 ||
	    (r = check_terminal(&x, e)) < 0 || (r = lsm_check(&x.process, NULL, e)) < 0 ||
	    (r = caps_check(&x.process.caps, spec_has_userns(x.spec), e)) < 0 ||
	    (r = open_cgroup(&x, e)) < 0 || (r = open_sockets(&x, e)) < 0 ||
	    (r = x.c->vm ? open_machine(&x, e) : open_namespaces(&x, e)) < 0)
		return r;
	x.raises = x.ns.fds[NS_USER] >= 0 && runtime_is_privileged();
	if (!o->detach)
		foreground_prepare();
	return run_process(&x, e);
}
