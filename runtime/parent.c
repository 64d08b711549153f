/*
 * The host's half of a container's life: container_create() from top to bottom, then start;
 * runtime/destroy.c is the end. The child's half is runtime/init.c; process/handshake.h shows how
 * they talk.
 *
 * Whatever is made is written down in state.json first, so that a runtime killed at any point
 * leaves nothing that container_destroy() does not find.
 */
#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "netsetup/netsetup.h"
#include "netsetup/network.h"
#include "process/handshake.h"
#include "process/hooks.h"
#include "process/spawn.h"
#include "runtime/foreground.h"
#include "runtime/lifecycle.h"
#include "runtime/procstat.h"
#include "runtime/run_network.h"
#include "runtime/vm_level.h"
#include "security/security.h"

/* What one create holds until init is on its own. */
struct creation {
	const struct globals *g;
	const struct create_opts *o;
	const char *id;
	struct net_plan net; /* with o->net */
	struct spec *spec;
	struct container *c;
	struct ns_set ns;
	struct mount_plan *plan;
	struct device_set *devices;
	struct cgroup cg;
	enum isolation isolation;
	struct vm_parts vm;	      /* with isolation vm */
	struct spec_resources limits; /* of the host's cgroup */
	int control_sock;
	int procfd, start_sock, console_sock, seccomp_agent;
	int sock; /* handshake, our side */
	int child_sock;
	bool sources_open;
	bool raises;   /* the parent raises the limits that init may not */
	bool prepares; /* the parent has work for init before HS_GO */
	bool pauses;   /* init does, for limits and hooks, once its root is built */
	bool told_pid; /* the pid file is ours */
	pid_t holder;  /* keeps a systemd scope alive until init is in it; 0: none */
	pid_t pid;
	int pidfd;
};
#define CREATION_INIT                                                                           \
	{                                                                                       \
		.procfd = -EBADF, .start_sock = -EBADF, .console_sock = -EBADF,                 \
		.seccomp_agent = -EBADF, .sock = -EBADF, .child_sock = -EBADF, .pidfd = -EBADF, \
		.cg = CGROUP_INIT, .vm = VM_PARTS_NONE, .control_sock = -EBADF                  \
	}

static void creation_free(struct creation *k)
{
	vm_parts_close(&k->vm);
	closep(&k->control_sock);
	closep(&k->procfd);
	closep(&k->start_sock);
	closep(&k->console_sock);
	closep(&k->seccomp_agent);
	closep(&k->sock);
	closep(&k->child_sock);
	closep(&k->pidfd);
	systemd_end_holder(&k->holder);
	cgroup_close(&k->cg);
	ns_set_close(&k->ns);
	mount_plan_free(k->plan);
	device_set_free(k->devices);
	if (!k->c) /* which owns it otherwise */
		spec_free(k->spec);
}

/* ---- before anything is made: is this configuration one that can run here? ---- */

static int check_terminal(const struct creation *k, bool foreground, struct err *e)
{
	bool terminal = k->spec->process.terminal;

	if (!terminal && k->o->console_socket)
		return err_set(
		    e, EINVAL, "--console-socket is given, but .process.terminal is false");
	if (terminal && !foreground && !k->o->console_socket)
		return err_set(e, EINVAL,
		    ".process.terminal is true: give --console-socket, or set it to false");
	return 0;
}

/* What the machine is made of is opened now, before there is anything to undo. */
static int choose_isolation(struct creation *k, struct err *e)
{
	struct settings settings;
	struct spec *s = k->spec;
	struct vm_root root;
	int r;

	k->limits = s->resources;
	if ((r = settings_load(s->arena, &settings, e)) < 0 ||
	    (r = isolation_choose(k->o->isolation, s, k->g->program, &settings, &k->isolation, e)) <
		0)
		return r;
	r = vm_root_choose(k->o->rootfs_image, s, k->isolation, &root, e);
	if (r < 0 || k->isolation != ISOLATION_VM)
		return r;
	if ((r = vm_check(s, k->o, e)) < 0 ||
	    (r = vm_parts_open(k->g, s, &settings, &root, &k->vm, e)) < 0)
		return r;
	if (root.wanted)
		mount_plan_set_no_root(k->plan);
	k->limits = vm_host_resources(s->arena, &s->resources, k->vm.usable, k->vm.extra);
	return 0;
}

static int use_network(struct creation *k, struct err *e)
{
	_cleanup_free_ char *dir = path_join(k->g->root, k->id);

	return network_spec(k->o->net, k->id, dir, &k->spec, e);
}

static int load_and_check(struct creation *k, bool foreground, struct err *e)
{
	int r = spec_load(k->o->bundle ? k->o->bundle : ".", k->o->config, &k->spec, e);

	if (r == 0 && k->o->net)
		r = use_network(k, e);
	if (r < 0)
		return r;
	if (!k->spec->has_process)
		return err_set(e, EINVAL, "%s/config.json: .process is missing", k->spec->bundle);
	if (!k->spec->ns[NS_MOUNT].has)
		return err_set(e, EINVAL,
		    "%s/config.json: .linux.namespaces lacks \"mount\": without it the container's "
		    "mounts would be the host's",
		    k->spec->bundle);
	if ((r = check_terminal(k, foreground, e)) < 0 || (r = sysctl_check(k->spec, e)) < 0 ||
	    (r = lsm_check(&k->spec->process, k->spec->mount_label, e)) < 0 ||
	    (r = caps_check(&k->spec->process.caps, spec_has_userns(k->spec), e)) < 0 ||
	    (r = mount_plan_new(k->spec, &k->plan, e)) < 0 || (r = choose_isolation(k, e)) < 0)
		return r;
	if (k->o->overlay)
		mount_plan_set_overlay(k->plan, k->o->overlay);
	r = ns_open(k->spec, &k->ns, e);
	if (k->isolation == ISOLATION_VM)
		k->ns.new_flags &= ~(unsigned)CLONE_NEWTIME; /* the guest's clocks are shifted */
	return r;
}

/* ---- the state directory ---- */

static const char *caller_name(struct arena *a)
{
	struct passwd *pw = getuid() == 0 ? NULL : getpwuid(getuid());

	return pw ? arena_strdup(a, pw->pw_name) : getuid() == 0 ? "root" : "";
}

static int describe_container(struct creation *k, struct err *e)
{
	struct container *c = k->c;
	char now[40];
	int r;

	format_rfc3339_now(now);
	c->bundle = arena_strdup(c->arena, k->spec->bundle);
	c->rootfs = arena_strdup(c->arena, k->spec->root.path);
	c->created = arena_strdup(c->arena, now);
	c->owner = caller_name(c->arena);
	c->vm = k->isolation == ISOLATION_VM;
	c->vm_usable = k->vm.usable;
	c->vm_extra = k->vm.extra;
	c->owns_bundle = k->o->overlay != NULL;
	c->network = k->o->net != NULL;
	c->annotations.n = k->spec->annotations.n;
	c->annotations.v = arena_calloc(c->arena, c->annotations.n, sizeof(struct spec_kv));
	for (size_t i = 0; i < c->annotations.n; i++)
		c->annotations.v[i] = (struct spec_kv){
			.key = arena_strdup(c->arena, k->spec->annotations.v[i].key),
			.value = arena_strdup(c->arena, k->spec->annotations.v[i].value),
		};
	r = container_plan_cgroup(k->g, c, k->spec->cgroups_path, e);
	return r < 0 ? r : container_save(c, e);
}

/* The configuration as it is now is what exec, hooks and delete go by later. */
static int keep_config(struct creation *k, struct err *e)
{
	return file_replace(
	    k->c->dirfd, "config.json", k->spec->text, k->spec->text_len, 0600, true, e);
}

/* ---- what the child inherits ---- */

static bool makes_userns(const struct spec *s)
{
	return s->ns[NS_USER].has && !s->ns[NS_USER].path;
}

static int connect_to(const char *path, const char *what, int type, int *ret, struct err *e)
{
	int fd = path ? unix_connect(type, path) : -EBADF;

	if (path && fd < 0)
		return err_errno(e, -fd, "%s \"%s\"", what, path);
	*ret = fd;
	return 0;
}

static int open_devices(struct creation *k, struct err *e)
{
	bool bind = spec_has_userns(k->spec);
	int r = bind ? 0 : runtime_in_user_namespace(&bind, e);

	return r < 0 ? r : devices_open(k->spec, bind, &k->devices, e);
}

static int listen_at(const struct creation *k, const char *name, int type, int *ret, struct err *e)
{
	int fd = unix_listen(type, k->c->dirfd, name, 0600);

	if (fd < 0)
		return err_errno(e, -fd, "listen on %s/%s", k->c->dir, name);
	*ret = fd;
	return 0;
}

static int open_for_child(struct creation *k, struct err *e)
{
	int r, sockets[2];

	k->procfd = open_procfs(e);
	if (k->procfd < 0)
		return k->procfd;
	if (!k->o->start && (r = listen_at(k, "start.sock", SOCK_SEQPACKET, &k->start_sock, e)) < 0)
		return r;
	if (k->isolation == ISOLATION_VM &&
	    (r = listen_at(k, VM_CONTROL, SOCK_STREAM | SOCK_NONBLOCK, &k->control_sock, e)) < 0)
		return r;
	r = connect_to(k->o->console_socket, "--console-socket", SOCK_STREAM, &k->console_sock, e);
	if (r < 0)
		return r;
	r = connect_to(k->spec->seccomp.listener_path, ".linux.seccomp.listenerPath", SOCK_STREAM,
	    &k->seccomp_agent, e);
	if (r < 0)
		return r;
	if (runtime_is_privileged()) {
		r = mount_plan_open_sources(k->plan, e);
		if (r == 0 && k->isolation != ISOLATION_VM)
			r = open_devices(k, e);
		if (r < 0)
			return r;
		k->sources_open = true;
	}
	k->prepares = k->spec->process.oom_score_adj.set || k->spec->net_devices.n ||
		      makes_userns(k->spec) || k->c->systemd_user || k->o->net;
	k->raises = k->sources_open && spec_has_userns(k->spec) && k->isolation != ISOLATION_VM;
	k->pauses =
	    k->raises || k->spec->hooks[HOOK_PRESTART].n || k->spec->hooks[HOOK_CREATE_RUNTIME].n;
	r = hs_pair(sockets, e);
	if (r < 0)
		return r;
	k->sock = sockets[0];
	k->child_sock = sockets[1];
	return 0;
}

/* From a login session no process may be cloned into what the user's manager was delegated: it is
 * made outside then, and waits for HS_GO until systemd has moved it. */
static int spawn_init(struct creation *k, unsigned *ret_joined, bool *ret_outside, struct err *e)
{
	int r = spawn(&k->ns, k->cg.dirfd, &k->pid, &k->pidfd, ret_joined, e);

	if (r != -EACCES || !k->c->systemd_user)
		return r;
	log_debug("%s: systemd has to move init", e->msg);
	err_clear(e);
	*ret_outside = true;
	return spawn(&k->ns, -EBADF, &k->pid, &k->pidfd, ret_joined, e);
}

/* Where nothing comes before it, HS_GO is sent before there is an init: it then need not be woken,
 * which the kernel would do on our processor, to run when we wait, not at once on another. */
static int make_init(struct creation *k, struct err *e)
{
	struct init_args a = {
		.spec = k->spec,
		.c = k->c,
		.opts = k->o,
		.ns = &k->ns,
		.plan = k->plan,
		.devices = k->devices,
		.sources_open = k->sources_open,
		.pauses = k->pauses,
		.sock = k->child_sock,
		.start_sock = k->start_sock,
		.vm = k->isolation == ISOLATION_VM ? &k->vm : NULL,
		.control_sock = k->control_sock,
		.console_sock = k->console_sock,
		.seccomp_agent = k->seccomp_agent,
		.procfd = k->procfd,
		.cgroupfd = k->cg.dirfd,
		.preserve_fds = k->o->keep_fds,
		.listen_fds = k->o->listen_fds,
	};
	bool outside = false;
	int r = k->prepares ? 0 : hs_send(k->sock, HS_GO, -EBADF, e);

	if (r == 0)
		r = spawn_init(k, &a.joined, &outside, e);
	if (r < 0)
		return r;
	if (r == 0) {
		close(k->sock);
		close(k->c->lockfd); /* a flock lasts as long as any copy of its descriptor */
		init_main(&a);
	}
	closep(&k->child_sock);
	closep(&k->start_sock);
	closep(&k->control_sock);
	vm_parts_close(&k->vm);
	k->child_sock = k->start_sock = k->control_sock = -EBADF;
	r = outside ? systemd_adopt(true, k->c->cgroup_path, "", k->pid, e) : 0;
	systemd_end_holder(&k->holder);
	return r;
}

/* From here on `delete --force` knows whom to kill. Until HS_KEEP init dies with the runtime, and
 * it is in the cgroup that is written down, so it works while this is written. */
static int record_init(struct creation *k, struct err *e)
{
	struct procstat st;
	int r = procstat_read(k->pid, &st);

	if (r < 0)
		return err_set(e, -r, "init died at once");
	k->c->pid = k->pid;
	k->c->start_time = st.start_time;
	return container_save(k->c, e);
}

/* What init, which waits, needs done from outside in its network namespace. */
static int set_up_network(struct creation *k, struct err *e)
{
	_cleanup_close_ int netns = -EBADF;
	char path[48];
	int r;

	if (k->spec->net_devices.n == 0 && !k->o->net)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/ns/net", k->pid);
	netns = k->ns.fds[NS_NET] >= 0 ? fcntl(k->ns.fds[NS_NET], F_DUPFD_CLOEXEC, 0)
				       : open(path, O_RDONLY | O_CLOEXEC);
	if (netns < 0)
		return err_errno(e, errno, "open %s", path);
	r = net_move_devices(k->spec, netns, e);
	return r < 0 || !k->o->net ? r : net_attach(&k->net, netns, k->pid, e);
}

/* ---- the conversation ---- */

static int host_hooks(struct creation *k, struct err *e)
{
	struct spec_state state;
	int r;

	container_state(k->c, ST_CREATING, &state);
	r = hooks_run(k->spec, HOOK_PRESTART, &state, NULL, e);
	return r < 0 ? r : hooks_run(k->spec, HOOK_CREATE_RUNTIME, &state, NULL, e);
}

static int while_it_pauses(struct creation *k, struct err *e)
{
	int r = hs_expect(k->sock, "init", HS_MOUNTED, NULL, e);

	if (r == 0 && k->raises)
		r = rlimits_raise(k->pid, &k->spec->process, e);
	return r < 0 ? r : host_hooks(k, e);
}

static int limit_and_compile(struct creation *k, struct seccomp_prog *prog, struct err *e)
{
	int r = 0;

	if (k->cg.dirfd >= 0)
		r = container_apply_cgroup(k->c, &k->cg, &k->limits, !k->g->is_rootless, e);
	if (r == 0 && k->spec->seccomp.has && k->isolation != ISOLATION_VM)
		r = seccomp_compile(&k->spec->seccomp, prog, e);
	return r;
}

static int prepare_init(struct creation *k, struct err *e)
{
	const struct spec *s = k->spec;
	int r = oom_score_apply(k->procfd, k->pid, &s->process, e);

	if (r == 0 && makes_userns(s))
		r = userns_write_maps(k->pid, &s->uid_mappings, &s->gid_mappings, e);
	if (r == 0)
		r = set_up_network(k, e);
	return r < 0 ? r : hs_send(k->sock, HS_GO, -EBADF, e);
}

static int converse(struct creation *k, int *ret_master, struct err *e)
{
	_cleanup_seccomp_ struct seccomp_prog prog = { 0 };
	enum hs_step got;
	int r;

	if ((k->prepares && (r = prepare_init(k, e)) < 0) || (r = record_init(k, e)) < 0 ||
	    (r = keep_config(k, e)) < 0 || (r = limit_and_compile(k, &prog, e)) < 0 ||
	    (k->pauses && (r = while_it_pauses(k, e)) < 0) ||
	    (r = hs_send_seccomp(k->sock, &prog, e)) < 0)
		return r;

	r = hs_expect_either(k->sock, "init", HS_READY, HS_CONSOLE, &got, ret_master, e);
	if (r < 0 || got == HS_READY)
		return r;
	foreground_copy_size(*ret_master);
	return hs_expect(k->sock, "init", HS_READY, NULL, e);
}

/* Once the payload was executed. */
static int start_hooks(struct container *c, struct err *e)
{
	struct spec_state state;
	struct spec *s;
	int r = container_spec(c, &s, e);

	if (r < 0)
		return r;
	container_state(c, ST_RUNNING, &state);
	return hooks_run(s, HOOK_POSTSTART, &state, NULL, e);
}

/* The pid file comes last: for engines it says that the container exists. */
static int let_go(struct creation *k, struct err *e)
{
	int r;

	k->c->ready = true;
	if ((r = container_save(k->c, e)) < 0 ||
	    (k->o->pid_file && (r = write_pid_file(k->o->pid_file, k->pid, e)) < 0))
		return r;
	k->told_pid = k->o->pid_file;
	if (!k->o->start)
		return hs_send(k->sock, HS_KEEP, -EBADF, e);
	r = hs_send(k->sock, HS_START, -EBADF, e);
	return r < 0 ? r : hs_wait_exec(k->sock, e);
}

static int create_steps(struct creation *k, int *ret_master, struct err *e)
{
	int r;

	if ((r = describe_container(k, e)) < 0 ||
	    (k->o->net && (r = net_plan(k->o->net, k->c->dir, k->c->dirfd, &k->net, e)) < 0) ||
	    (r = container_make_cgroup(k->g, k->c, k->spec, &k->limits, &k->cg, &k->holder, e)) <
		0 ||
	    (r = open_for_child(k, e)) < 0 || (r = make_init(k, e)) < 0 ||
	    (r = converse(k, ret_master, e)) < 0 || (r = let_go(k, e)) < 0)
		return r;
	return k->o->start ? start_hooks(k->c, e) : 0;
}

/* The first error is the one to tell. What cannot be undone now is left for `delete --force`. */
static void undo(struct creation *k)
{
	struct err second = ERR_INIT;

	closep(&k->sock);
	k->sock = -EBADF;
	if (k->pid > 0) {
		(void)sys_pidfd_send_signal(k->pidfd, SIGKILL);
		while (waitpid(k->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	if (k->told_pid)
		(void)unlink(k->o->pid_file);
	if (container_destroy(k->c, &second) < 0)
		log_warning("while undoing: %s", second.msg);
}

int container_create(const struct globals *g, const char *id, const struct create_opts *o,
    struct container **ret, int *ret_master, struct err *e)
{
	_cleanup_(creation_free) struct creation k = CREATION_INIT;
	int master = -EBADF, r;

	k.g = g;
	k.o = o;
	k.id = id;
	for (size_t i = 0; i < NS_TYPES; i++)
		k.ns.fds[i] = -EBADF;
	if ((r = spec_check_id(id, e)) < 0 || (r = load_and_check(&k, ret_master != NULL, e)) < 0 ||
	    (r = container_new(g, id, &k.c, e)) < 0)
		return r;
	k.c->spec = k.spec;
	r = create_steps(&k, &master, e);
	if (r < 0) {
		closep(&master);
		undo(&k);
		container_close(k.c);
		return r;
	}
	k.c->pidfd = steal_fd(&k.pidfd);
	*ret = k.c;
	if (ret_master)
		*ret_master = master;
	return 0;
}

/* ---- start ---- */

static int say_start(const struct container *c, struct err *e)
{
	_cleanup_close_ int sock = unix_connect_at(SOCK_SEQPACKET, c->dirfd, "start.sock");
	int r;

	if (sock < 0)
		return err_errno(e, -sock, "container \"%s\": connect to its init", c->id);
	r = hs_send(sock, HS_START, -EBADF, e);
	return r < 0 ? r : hs_wait_exec(sock, e);
}

int container_start(struct container *c, struct err *e)
{
	int r = say_start(c, e);

	if (r < 0)
		return r;
	(void)unlinkat(c->dirfd, "start.sock", 0);
	r = start_hooks(c, e);
	if (r < 0 && c->pidfd >= 0)
		(void)sys_pidfd_send_signal(c->pidfd, SIGKILL);
	return r;
}
