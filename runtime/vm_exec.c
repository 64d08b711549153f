/*
 * exec at level vm: the child of runtime/exec.c's parent. The process itself is in the guest; this
 * one is what engines wait for and signal, in the container's cgroup on the host.
 */
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "process/handshake.h"
#include "runtime/exec.h"
#include "runtime/vm_level.h"
#include "security/security.h"
#include "vm/jail.h"
#include "vm/pump.h"

#define REPLY_SEQ 1
#define KILLED	  (128 + SIGKILL) /* what the machine's end is to a process in it */

int vm_exec_check(const struct exec_opts *o, struct err *e)
{
	if (o->keep_fds)
		return err_set(e, ENOTSUP,
		    "--preserve-fds (or LISTEN_FDS): %u: descriptors of the host's kernel cannot "
		    "be handed into a machine (isolation level vm)",
		    o->keep_fds);
	return 0;
}

static int send_master(const struct vm_exec *x, int master, struct err *e)
{
	int r;

	if (x->console_sock < 0)
		return hs_send(x->sock, HS_CONSOLE, master, e);
	r = sock_send_fds(x->console_sock, "/dev/ptmx", strlen("/dev/ptmx"), &master, 1);
	return r < 0 ? err_errno(e, -r, "--console-socket: send the terminal") : 0;
}

static int open_streams(const struct vm_exec *x, int *ret_tty, int ret[3], struct err *e)
{
	_cleanup_close_ int master = -EBADF;
	int slave = -EBADF, r;

	if (x->process->terminal &&
	    ((r = vm_terminal_open(x->process, &master, &slave, e)) < 0 ||
		(r = send_master(x, master, e)) < 0 || (r = console_attach(slave, e)) < 0))
		return r;
	*ret_tty = slave;
	return vm_take_stdio(slave, ret, e);
}

static char *exec_json(const struct vm_exec *x)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);

	json_gen_map(g);
	spec_process_gen(g, x->process);
	json_gen_key(g, "bailey");
	json_gen_map(g);
	if (x->o->cgroup && *x->o->cgroup)
		json_gen_kstr(g, "cgroup", x->o->cgroup);
	json_gen_kbool(g, "keyring", !x->o->no_new_keyring);
	json_gen_end(g);
	json_gen_end(g);
	return xstrdup(json_gen_text(g, NULL));
}

/* As with execve: an error is told, success is silence. */
static int execute(const struct vm_exec *x, struct err *e)
{
	_cleanup_free_ char *json = exec_json(x);
	_cleanup_free_ uint8_t *body = NULL;
	struct gp_header h;
	int r;

	if ((r = vm_send(x->control, GP_EXEC, REPLY_SEQ, json, strlen(json), e)) < 0 ||
	    (r = vm_receive(x->control, &h, &body, e)) < 0)
		return r;
	if (h.type == GP_ERROR)
		return channel_error(body, h.length, e);
	close(x->sock);
	return 0;
}

/* ---- while it runs ---- */

static _Noreturn void ended(void *arg, int r, int status)
{
	if (r < 0)
		_exit(KILLED);
	_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
}

static int jail_pump(void *arg, struct err *e)
{
	return vm_jail_thread(VM_THREAD_PUMP, e);
}

static int relay_signals(struct pump *p, int signals, int tty)
{
	struct signalfd_siginfo info;

	if (tty >= 0)
		pump_winsize(p, tty);
	for (;;) {
		ssize_t n = read(signals, &info, sizeof(info));

		if (n != sizeof(info) && (n >= 0 || errno != EINTR))
			return n < 0 ? -errno : -EIO;
		if (n != sizeof(info))
			continue;
		if (info.ssi_signo == SIGWINCH && tty >= 0)
			pump_winsize(p, tty);
		else
			pump_signal(p, (int)info.ssi_signo);
	}
}

static int stand_in(const struct vm_exec *x, int tty, const int stdio[3], struct err *e)
{
	const int keep[] = { x->control, stdio[0], stdio[1], stdio[2] };
	struct pump_config c = { .sock = x->control, .prepare = jail_pump, .done = ended };
	struct pump *p;
	sigset_t all;
	int r, signals;

	memcpy(c.fds, stdio, sizeof(c.fds));
	if ((r = vm_jail_close_others(keep, ARRAY_SIZE(keep), e)) < 0 ||
	    (r = vm_jail_process(false, e)) < 0)
		return r;
	sigfillset(&all);
	signals = signalfd(-1, &all, SFD_CLOEXEC);
	if (signals < 0)
		return err_errno(e, errno, "signalfd");
	if ((r = pump_start(&c, &p, e)) < 0 || (r = vm_jail_thread(VM_THREAD_PROXY, e)) < 0)
		return r;
	pump_go(p);
	return relay_signals(p, signals, tty);
}

/* Nobody waits for an error any more; the process in the guest ends with its streams. */
static _Noreturn void complain(int to, const struct err *e)
{
	_cleanup_free_ char *line = xasprintf("bailey: %s\n", e->msg);

	(void)fd_write_all(to, line, strlen(line));
	_exit(255);
}

int vm_exec_child(const struct vm_exec *x, struct err *e)
{
	struct seccomp_prog none; /* the agent compiles it */
	int stdio[3], tty, r;
	sigset_t all;

	if ((r = hs_expect(x->sock, "the runtime", HS_GO, NULL, e)) < 0)
		return r;
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0 || prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
		return err_errno(e, errno, "prctl");
	if (setsid() < 0)
		return err_errno(e, errno, "setsid");
	/* They are the guest process's, and read from a descriptor. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	if ((r = open_streams(x, &tty, stdio, e)) < 0 ||
	    (r = hs_recv_seccomp(x->sock, &none, e)) < 0)
		return r;
	if ((r = lsm_apply_now(x->procfd, x->process, e)) < 0)
		return r;
	(void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0); /* as in init: HS_KEEP takes over */
	if ((r = hs_send(x->sock, HS_READY, -EBADF, e)) < 0 ||
	    (r = hs_expect(x->sock, "the runtime", HS_KEEP, NULL, e)) < 0 ||
	    (r = execute(x, e)) < 0)
		return r;
	log_mute();
	if (stand_in(x, tty, stdio, e) < 0)
		complain(stdio[2], e);
	return 0;
}
