/*
 * The child's half, beside runtime/init.c and runtime/exec.c: the same steps in the same order by
 * the same functions (process/inside.h, process/payload.h). What is the host's business, that is
 * user and network namespaces, hooks but startContainer, and labels, is missing.
 */
#include "guest/child.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "process/handshake.h"
#include "process/hooks.h"
#include "process/inside.h"
#include "process/payload.h"
#include "security/security.h"

#define FILES_USUAL 1024

static struct inside inside_of(const struct child *c)
{
	return (struct inside){
		.spec = c->spec,
		.process = c->process,
		.ns = c->ns,
		.joined = c->joined,
		.procfd = c->procfd,
		.cgroupfd = c->cgroupfd,
		.keyring = c->keyring ? c->options->id : NULL,
	};
}

/* The export is mounted in the container's own mount namespace, so it goes with it. */
static int open_sources(
    const struct child *c, struct mount_plan *plan, struct device_set **devices, struct err *e)
{
	const struct create_options *o = c->options;
	const struct overlay *root = NULL;
	int r;

	if ((r = c->host->mount_tag(o->tag, AGENT_EXPORT, e)) < 0 ||
	    (r = mount_plan_use_export(plan, AGENT_EXPORT, o->exports, o->n_exports, e)) < 0 ||
	    (o->root_disk && (r = root_disks_mount(c->disks, &root, e)) < 0))
		return r;
	if (root)
		mount_plan_set_overlay(plan, root);
	r = mount_plan_open_sources(plan, e);
	if (r < 0)
		return r;
	return devices_open(c->spec, false, devices, e);
}

static int send_terminal(struct child *c, int rootfd, bool bind_console, int *ret, struct err *e)
{
	_cleanup_close_ int master = -EBADF;
	int r;

	if (!c->process->terminal)
		return 0;
	r = console_open(c->process, rootfd, bind_console, &master, ret, e);
	return r < 0 ? r : hs_send(c->sock, HS_CONSOLE, master, e);
}

/* As runtime/init.c's prepare(). */
static int build(struct child *c, const struct inside *in, struct err *e)
{
	_cleanup_mount_plan_ struct mount_plan *plan = NULL;
	_cleanup_(device_set_freep) struct device_set *devices = NULL;
	_cleanup_close_ int rootfd = -EBADF, slave = -EBADF;
	int r;

	if ((r = mount_plan_new(c->spec, &plan, e)) < 0 ||
	    (c->ns->new_flags & CLONE_NEWTIME && (r = timens_enter(c->spec, c->procfd, e)) < 0) ||
	    (r = inside_enter(in, e)) < 0 ||
	    (r = oom_score_apply(c->procfd, 0, c->process, e)) < 0 ||
	    (r = uts_apply(c->spec, e)) < 0 || (r = open_sources(c, plan, &devices, e)) < 0 ||
	    (r = inside_build_root(in, plan, devices, &rootfd, e)) < 0 ||
	    (r = send_terminal(c, rootfd, true, &slave, e)) < 0 ||
	    (r = inside_switch_root(in, plan, rootfd, slave, e)) < 0)
		return r;
	return inside_attributes(in, e);
}

/* As runtime/exec.c's exec_child(). */
static int join(struct child *c, const struct inside *in, struct err *e)
{
	const struct spec_cpu_affinity *cpus = &c->process->exec_cpu_affinity;
	_cleanup_close_ int root = -EBADF, slave = -EBADF;
	int r;

	if ((r = cpu_affinity_apply(0, cpus->initial, e)) < 0 || (r = inside_enter(in, e)) < 0 ||
	    (r = oom_score_apply(c->procfd, 0, c->process, e)) < 0)
		return r;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (root < 0)
		return err_errno(e, errno, "open the container's root");
	if ((r = send_terminal(c, root, false, &slave, e)) < 0 ||
	    (slave >= 0 && (r = console_attach(slave, e)) < 0) ||
	    (r = inside_attributes(in, e)) < 0)
		return r;
	return cpu_affinity_apply(0, cpus->final, e);
}

static int start_hooks(const struct child *c, const struct payload *as, struct err *e)
{
	const struct create_options *o = c->options;
	const struct spec_state state = {
		.id = o->id,
		.status = "created",
		.bundle = o->bundle,
		.rootfs = o->rootfs,
		.created = o->created,
		.owner = o->owner,
		.pid = getpid(),
		.annotations = &c->spec->annotations,
	};

	return hooks_run(c->spec, HOOK_START_CONTAINER, &state, as, e);
}

static int take_stdio(const struct child *c, struct err *e)
{
	if (c->process->terminal)
		return 0; /* console_attach() has */
	for (int fd = 0; fd < 3; fd++)
		if (dup2(c->stdio[fd], fd) < 0)
			return err_errno(e, errno, "put the standard streams in place");
	return 0;
}

static int live(struct child *c, struct err *e)
{
	_cleanup_seccomp_ struct seccomp_prog prog = { 0 };
	const struct inside in = inside_of(c);
	struct payload payload = {
		.process = c->process,
		.procfd = c->procfd,
		.report = c->sock,
		.seccomp = &prog,
		.seccomp_agent = -EBADF,
	};
	int r;

	if ((c->spec->seccomp.has && (r = seccomp_compile(&c->spec->seccomp, &prog, e)) < 0) ||
	    (r = c->first ? build(c, &in, e) : join(c, &in, e)) < 0 ||
	    (r = payload_prepare(&payload, c->first, e)) < 0)
		return r;
	(void)prctl(PR_SET_PDEATHSIG, 0, 0, 0, 0); /* the payload would keep it */
	if ((r = hs_send(c->sock, HS_READY, -EBADF, e)) < 0 ||
	    (c->first && (r = hs_expect(c->sock, "the agent", HS_START, NULL, e)) < 0))
		return r;
	log_mute();
	if ((r = take_stdio(c, e)) < 0 || (c->first && (r = start_hooks(c, &payload, e)) < 0))
		return r;
	return payload_execute(&payload, e);
}

/* The agent's own number of files is for its work; this is what a first process gets of systemd. */
static void usual_files(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur > FILES_USUAL) {
		r.rlim_cur = FILES_USUAL;
		(void)setrlimit(RLIMIT_NOFILE, &r);
	}
}

_Noreturn void child_main(struct child *c)
{
	struct err e = ERR_INIT;

	umask(022);
	usual_files();
	(void)live(c, &e);
	hs_send_error(c->sock, &e);
	_exit(e.exit ? e.exit : c->first ? 1 : 255);
}
