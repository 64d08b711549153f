/*
 * The child's half of a container's life at level vm: vm_init_main() from top to bottom. The steps
 * and the conversation with the parent are those of runtime/init.c; what is built is not the
 * payload's root but the monitor's, and what comes in the end is not execve but vm_run().
 */
#include <fcntl.h>
#include <linux/mount.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "base/sys.h"
#include "netsetup/netsetup.h"
#include "process/handshake.h"
#include "process/hooks.h"
#include "process/inside.h"
#include "runtime/vm_level.h"
#include "security/security.h"
#include "vm/jail.h"
#include "vm/pump.h"

#define FS_WORKERS	2
#define SEAL_RETRIES	200
#define SEAL_PAUSE_NSEC 10000000

struct vm_init {
	const struct init_args *a;
	const struct spec *s;
	struct mount_export export;
	int master, slave; /* terminal */
	struct vm_net net;
	int self_fd; /* of a procfs of our own: see struct vm_fs */
	int stdio[3];
	int complaints; /* where the machine's end is told once nobody waits for it */
	int sealer;	/* the sealer's socket; -EBADF: there is none */
	int sock;	/* of the handshake; -EBADF once it is over */
	int conn;	/* on which start waits for the outcome */
	char *create;
	size_t create_len;
};

/* ---- namespaces, files, terminal ---- */

static int enter_namespaces(struct vm_init *i, struct err *e)
{
	const struct init_args *a = i->a;
	const struct inside in = {
		.spec = i->s,
		.process = &i->s->process,
		.ns = a->ns,
		.joined = a->joined,
		.userns = spec_has_userns(i->s),
		.procfd = a->procfd,
		.cgroupfd = a->cgroupfd,
	};
	int r = inside_enter(&in, e);

	if (r == 0)
		r = vm_check_user(a->procfd, 0, &i->s->process.user, e);
	if (r == 0 && a->ns->new_flags & CLONE_NEWNET)
		r = net_loopback_up(e);
	return r;
}

/* After the host's part: its hooks bring interfaces too. */
static int carry_network(struct vm_init *i, struct err *e)
{
	int r = vm_net_open(&i->net, e);

	return r < 0 ? err_wrap(e, "network of the machine") : 0;
}

/* One that shows this pid namespace alone: what is reached from it is the monitor's own. */
static int open_self(struct vm_init *i, struct err *e)
{
	_cleanup_close_ int fsfd = sys_fsopen("proc", FSOPEN_CLOEXEC);
	_cleanup_close_ int mfd = -EBADF;

	if (fsfd < 0 || sys_fsconfig(fsfd, FSCONFIG_SET_STRING, "subset", "pid", 0) < 0 ||
	    sys_fsconfig(fsfd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return err_errno(e, errno, "procfs for the file server");
	mfd = sys_fsmount(
	    fsfd, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	if (mfd < 0)
		return err_errno(e, errno, "procfs for the file server");
	i->self_fd = openat(mfd, "self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return i->self_fd < 0 ? err_errno(e, errno, "procfs for the file server: self/fd") : 0;
}

/* What can fail of the files does before the hooks; the tree comes after them, since it would be in
 * the way of their paths. */
static int open_files(struct vm_init *i, struct err *e)
{
	int r;

	if ((!i->a->sources_open && (r = mount_plan_open_sources(i->a->plan, e)) < 0) ||
	    (r = open_self(i, e)) < 0)
		return r;
	return mounts_make_slaves(e);
}

static int create_container_hooks(struct vm_init *i, struct err *e)
{
	struct spec_state state;

	container_state(i->a->c, ST_CREATING, &state);
	state.pid = getpid();
	return hooks_run(i->s, HOOK_CREATE_CONTAINER, &state, NULL, e);
}

static int send_master(const struct vm_init *i, struct err *e)
{
	int r;

	if (i->a->console_sock < 0)
		return hs_send(i->a->sock, HS_CONSOLE, i->master, e);
	r = sock_send_fds(i->a->console_sock, "/dev/ptmx", strlen("/dev/ptmx"), &i->master, 1);
	return r < 0 ? err_errno(e, -r, "--console-socket: send the terminal") : 0;
}

static int open_streams(struct vm_init *i, struct err *e)
{
	int r;

	if (!i->s->process.terminal) {
		i->complaints = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
		return vm_take_stdio(-EBADF, i->stdio, e);
	}
	if ((r = vm_terminal_open(&i->s->process, &i->master, &i->slave, e)) < 0 ||
	    (r = send_master(i, e)) < 0 || (r = console_attach(i->slave, e)) < 0)
		return r;
	closep(&i->master);
	i->master = -EBADF;
	return vm_take_stdio(i->slave, i->stdio, e);
}

/* ---- the sealer ---- */

/* EBUSY: the guest's agent has closed what it had open for writing, but the word of it is still
 * under way. */
static _Noreturn void seal(int sock, int rootfs)
{
	const struct timespec pause = { .tv_nsec = SEAL_PAUSE_NSEC };
	int r = -EBUSY;
	char go;

	if (recv(sock, &go, 1, 0) != 1)
		_exit(0);
	for (int n = 0; r == -EBUSY && n < SEAL_RETRIES; n++) {
		r = mounts_export_seal(rootfs);
		if (r == -EBUSY)
			nanosleep(&pause, NULL);
	}
	(void)send(sock, &r, sizeof(r), MSG_NOSIGNAL);
	_exit(0);
}

/*
 * A child that keeps the right to remount, which the monitor gives up, for the one moment when the
 * rootfs becomes read-only: after the guest's agent has made the mount points that are missing,
 * before the payload starts. It listens to one byte and knows one thing to do.
 */
static int make_sealer(struct vm_init *i, struct err *e)
{
	int pair[2];
	pid_t pid;

	if (!i->s->root.readonly || i->export.rootfs < 0)
		return 0;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(e, errno, "socketpair");
	pid = fork();
	if (pid < 0)
		return err_errno(e, errno, "fork");
	if (pid == 0) {
		const int keep[] = { pair[1], i->export.rootfs };

		(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
		if (vm_jail_close_others(keep, ARRAY_SIZE(keep), e) < 0)
			_exit(1);
		seal(pair[1], i->export.rootfs);
	}
	close(pair[1]);
	i->sealer = pair[0];
	return 0;
}

static int seal_rootfs(struct vm_init *i, struct err *e)
{
	int answer = -EIO;

	if (i->sealer < 0)
		return 0;
	if (send(i->sealer, "s", 1, MSG_NOSIGNAL) != 1 ||
	    recv(i->sealer, &answer, sizeof(answer), 0) != sizeof(answer) || answer < 0)
		return err_errno(e, -answer, ".root.readonly");
	close(steal_fd(&i->sealer));
	return 0;
}

/* ---- what the agent is told ---- */

/* Of a uts namespace that was joined: the monitor is in it. */
static void tell_names(const struct vm_init *i, struct json_gen *g)
{
	struct utsname u;

	if (!i->s->ns[NS_UTS].path || uname(&u) < 0)
		return;
	json_gen_kstr(g, "hostname", u.nodename);
	json_gen_kstr(g, "domainname", u.domainname);
}

static void make_create(struct vm_init *i)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);
	const struct container *c = i->a->c;
	const char *options;
	size_t n;

	json_gen_map(g);
	json_gen_kstr(g, "id", c->id);
	json_gen_kstr(g, "bundle", c->bundle);
	json_gen_kstr(g, "rootfs", c->rootfs);
	json_gen_kstr(g, "created", c->created);
	json_gen_kstr(g, "owner", c->owner);
	json_gen_kbool(g, "keyring", !i->a->opts->no_new_keyring);
	tell_names(i, g);
	if (i->a->vm->root.wanted) {
		json_gen_key(g, "root");
		json_gen_map(g);
		json_gen_kstr(g, "disk", GP_DISK_ROOT);
		json_gen_kstr(g, "scratch", i->a->vm->root.scratch ? GP_DISK_SCRATCH : NULL);
		json_gen_end(g);
	}
	json_gen_key(g, "exports");
	json_gen_array(g);
	for (size_t x = 0; x < i->export.n; x++)
		json_gen_uint(g, i->export.indices[x]);
	json_gen_end(g);
	json_gen_end(g);
	options = json_gen_text(g, &n);
	i->create_len = n + 1 + i->s->text_len + 1;
	i->create = xcalloc(1, i->create_len);
	memcpy(i->create, options, n);
	memcpy(i->create + n + 1, i->s->text, i->s->text_len);
}

/* ---- what the monitor asks of us ---- */

static int on_created(void *arg, struct err *e)
{
	struct vm_init *i = arg;
	enum hs_step last;
	int r = seal_rootfs(i, e);

	if (r < 0)
		return r;
	(void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0); /* as in init: HS_KEEP takes over */
	if ((r = hs_send(i->sock, HS_READY, -EBADF, e)) < 0 ||
	    (r = hs_expect_either(i->sock, "the runtime", HS_KEEP, HS_START, &last, NULL, e)) < 0)
		return r;
	log_mute();
	if (last == HS_START)
		i->conn = i->sock;
	else
		close(i->sock);
	i->sock = -EBADF;
	return last == HS_START;
}

static int on_asked(void *arg)
{
	struct vm_init *i = arg;

	i->conn = init_accept_start(i->a->start_sock);
	return i->conn >= 0;
}

static void on_started(void *arg, const struct err *why)
{
	struct vm_init *i = arg;

	if (why) {
		hs_send_error(i->conn, why);
		_exit(why->exit ? why->exit : 1);
	}
	if (i->a->start_sock >= 0)
		close(i->a->start_sock); /* "running" from now on */
	close(i->conn);
	i->conn = -EBADF;
}

/* ---- the monitor ---- */

static int close_the_rest(const struct vm_init *i, struct err *e)
{
	const struct init_args *a = i->a;
	_cleanup_free_ int *keep = NULL;
	const int fds[] = { a->sock, a->start_sock, a->control_sock, a->vm->kvm, a->vm->kernel.fd,
		a->vm->initrd, a->vm->root.image_fd, a->vm->root.scratch_fd, i->export.root,
		i->self_fd, i->stdio[0], i->stdio[1], i->stdio[2], i->complaints, i->sealer,
		i->net.changes, log_fd() };
	size_t n = ARRAY_SIZE(fds);

	keep = xcalloc(n + i->net.n, sizeof(int));
	memcpy(keep, fds, sizeof(fds));
	for (unsigned x = 0; x < i->net.n; x++)
		keep[n++] = i->net.nics[x].tap;
	return vm_jail_close_others(keep, n, e);
}

static int prepare(struct vm_init *i, struct err *e)
{
	const struct init_args *a = i->a;
	struct seccomp_prog none; /* the payload's is compiled by the agent */
	sigset_t all;
	int r;

	if ((r = hs_expect(a->sock, "the runtime", HS_GO, NULL, e)) < 0 ||
	    (r = enter_namespaces(i, e)) < 0 || (r = open_files(i, e)) < 0 ||
	    (a->pauses && (r = hs_send(a->sock, HS_MOUNTED, -EBADF, e)) < 0) ||
	    (r = hs_recv_seccomp(a->sock, &none, e)) < 0)
		return r;
	if ((r = create_container_hooks(i, e)) < 0 ||
	    (r = mounts_export(a->plan, &i->export, e)) < 0 || (r = carry_network(i, e)) < 0 ||
	    (r = open_streams(i, e)) < 0 ||
	    (r = rootfs_pivot(a->plan, i->export.root, false, e)) < 0 ||
	    (r = make_sealer(i, e)) < 0 || (r = vm_net_follow(&i->net, e)) < 0)
		return r;
	make_create(i);
	/* They are the payload's, and read from a descriptor. */
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	/* The helpers, made above, do what profiles of containers forbid. */
	if ((r = lsm_apply_now(a->procfd, &i->s->process, e)) < 0)
		return r;
	r = close_the_rest(i, e);
	return r < 0 ? r : vm_jail_process(true, e);
}

static int monitor(struct vm_init *i, int *ret_status, struct err *e)
{
	const struct vm_parts *p = i->a->vm;
	struct vm_disk disks[VM_ROOT_DISKS];
	const struct vm_host host = {
		.arg = i,
		.created = on_created,
		.asked = on_asked,
		.started = on_started,
		.start_fd = i->a->start_sock,
	};
	const struct vm_config c = {
		.kvm = p->kvm,
		.kernel = p->kernel.fd,
		.kernel_name = p->kernel.path,
		.initrd = p->initrd,
		.parameters = p->parameters,
		.vcpus = p->vcpus,
		.memory = p->memory,
		.fs = { .tag = GP_TAG,
		    .root = i->export.root,
		    .self_fd = i->self_fd,
		    .threads = FS_WORKERS },
		.disks = disks,
		.n_disks = vm_root_disks(&p->root, disks),
		.nics = i->net.nics,
		.n_nics = i->net.n,
		.net = i->net.json,
		.net_changes = i->net.changes,
		.create = i->create,
		.create_len = i->create_len,
		.stdio = { i->stdio[0], i->stdio[1], i->stdio[2] },
		.tty = i->slave,
		.control = i->a->control_sock,
		.patience = p->patience,
		.host = &host,
	};

	return vm_run(&c, ret_status, e);
}

/* The machine has ended under the payload: engines and users find that in its log. */
static void complain(const struct vm_init *i, const struct err *e)
{
	_cleanup_free_ char *line = xasprintf("bailey: %s\n", e->msg);

	if (i->complaints >= 0)
		(void)fd_write_all(i->complaints, line, strlen(line));
}

_Noreturn void vm_init_main(const struct init_args *a)
{
	struct vm_init i = {
		.a = a,
		.s = a->spec,
		.export = { .root = -EBADF, .rootfs = -EBADF },
		.master = -EBADF,
		.slave = -EBADF,
		.self_fd = -EBADF,
		.net = { .changes = -EBADF },
		.stdio = { -EBADF, -EBADF, -EBADF },
		.complaints = -EBADF,
		.sealer = -EBADF,
		.sock = a->sock,
		.conn = -EBADF,
	};
	struct err e = ERR_INIT;
	int status = 0, r;

	umask(022);
	r = prepare(&i, &e);
	if (r == 0)
		r = monitor(&i, &status, &e);
	if (r == 0)
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
	if (i.sock >= 0)
		hs_send_error(i.sock, &e);
	else
		complain(&i, &e);
	_exit(e.exit ? e.exit : 255);
}
