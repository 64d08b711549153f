/*
 * Containers: what CREATE and EXEC make, the cgroup, and the end. Of config.json the guest executes
 * what happens inside; the rest is left to the host's half (proto.h says what).
 */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/sys.h"
#include "guest/child.h"
#include "process/inside.h"

#define NEW_NAMESPACES (CLONE_NEWPID | CLONE_NEWNS | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP)

/* ---- what of config.json is executed here ---- */

static bool unified_is_ours(const char *file)
{
	return startswith(file, "memory.") || startswith(file, "pids.");
}

/* The host's cgroup holds the machine as a whole: CPU time, I/O and devices are limited there, and
 * the guest has no swap. */
void ctr_reduce_resources(struct spec_resources *r)
{
	struct spec_resources ours = { .devices = r->devices, .pids_limit = r->pids_limit };
	size_t n = 0;

	ours.memory.limit = r->memory.limit;
	ours.memory.reservation = r->memory.reservation;
	ours.memory.check_before_update = r->memory.check_before_update;
	for (size_t i = 0; i < r->unified.n; i++)
		if (unified_is_ours(r->unified.v[i].key))
			r->unified.v[n++] = r->unified.v[i];
	ours.unified.v = r->unified.v;
	ours.unified.n = n;
	*r = ours;
}

static void drop_labels(struct spec_process *p)
{
	p->apparmor_profile = NULL;
	p->selinux_label = NULL;
}

static int reduce(struct spec *s, struct err *e)
{
	static const enum spec_ns_type made[] = { NS_PID, NS_MOUNT, NS_IPC, NS_UTS, NS_CGROUP };

	if (!s->has_process)
		return err_set(e, EINVAL, "config.json: .process is missing");
	if (s->seccomp.listener_path)
		return err_set(e, EOPNOTSUPP,
		    "config.json: .linux.seccomp.listenerPath: an agent of the host cannot take "
		    "descriptors of a virtual machine");
	for (size_t i = 0; i < ARRAY_SIZE(made); i++)
		s->ns[made[i]] = (struct spec_ns){ .has = true };
	s->ns[NS_USER] = s->ns[NS_NET] = (struct spec_ns){ 0 };
	s->ns[NS_TIME].path = NULL;
	s->mount_label = NULL;
	s->mem_policy.has = false;
	drop_labels(&s->process);
	ctr_reduce_resources(&s->resources);
	return 0;
}

/* ---- life ---- */

struct ctr *ctr_find(const struct agent *a, uint32_t number)
{
	for (struct ctr *c = a->containers; c; c = c->next)
		if (c->number == number)
			return c;
	return NULL;
}

static struct ctr *ctr_new(struct agent *a, uint32_t number)
{
	struct ctr *c = xcalloc(1, sizeof(*c));

	c->number = number;
	c->arena = arena_new();
	c->cg = (struct cgroup)CGROUP_INIT;
	c->oom.fd = -EBADF;
	c->next = a->containers;
	a->containers = c;
	return c;
}

void ctr_end(struct agent *a, struct ctr *c)
{
	struct err e = ERR_INIT;

	if (c->cg.path && cgroup_destroy(c->cg.path, c->cg.id, c->cg.made_from, &e) < 0)
		port_log(a, "container %u: %s", c->number, e.msg);
	ctr_free(a, c);
}

void ctr_free(struct agent *a, struct ctr *c)
{
	struct ctr **at = &a->containers;

	while (c->procs)
		proc_forget(a, c->procs);
	while (*at != c)
		at = &(*at)->next;
	*at = c->next;
	watch_close(a, &c->oom);
	cgroup_close(&c->cg);
	spec_free(c->spec);
	arena_free(c->arena);
	free(c);
}

static int load(struct ctr *c, const uint8_t *body, size_t n, struct err *e)
{
	struct create_options *o = arena_alloc(c->arena, sizeof(*o));
	const char *text, *config;
	size_t text_n, config_n;
	int r;

	c->options = o;
	if ((r = options_split(body, n, &text, &text_n, &config, &config_n, e)) < 0 ||
	    (r = options_create(c->arena, text, text_n, o, e)) < 0 ||
	    (r = spec_parse("config.json", o->bundle, config, config_n, &c->spec, e)) < 0)
		return r;
	if (!c->spec->hostname)
		c->spec->hostname = o->hostname;
	if (!c->spec->domainname)
		c->spec->domainname = o->domainname;
	return reduce(c->spec, e);
}

static void oom_ready(struct agent *a, void *arg, uint32_t events)
{
	ctr_oom(a, arg);
}

static int make_cgroup(struct agent *a, struct ctr *c, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s%u", a->host->cgroup, c->number);
	int r = cgroup_create(path, &c->spec->resources, false, &c->cg, e);

	if (r < 0)
		return r;
	c->oom = (struct watch){ .fn = oom_ready, .arg = c };
	c->oom.fd = openat(c->cg.dirfd, "memory.events", O_RDONLY | O_CLOEXEC);
	if (c->oom.fd >= 0)
		watch_set(a, &c->oom, EPOLLPRI);
	return 0;
}

/* Limits come once the process is in, as at the other level. */
static int begin(struct agent *a, struct ctr *c, const struct gp_header *h, struct err *e)
{
	struct ns_set ns = { .new_flags = NEW_NAMESPACES };
	_cleanup_root_disks_ struct root_disks disks = ROOT_DISKS_NONE;
	struct child child = {
		.host = a->host,
		.options = c->options,
		.spec = c->spec,
		.process = &c->spec->process,
		.disks = &disks,
		.first = true,
		.keyring = c->options->keyring,
		.ns = &ns,
		.procfd = a->procfd,
		.cgroupfd = c->cg.dirfd,
	};
	const struct spawn_request request = {
		.seq = h->seq,
		.terminal = c->spec->process.terminal,
		.cgroupfd = c->cg.dirfd,
		.child = &child,
	};
	struct err why = ERR_INIT;
	struct proc *p;
	int r;

	for (int t = 0; t < NS_TYPES; t++)
		ns.fds[t] = -EBADF;
	if (c->spec->ns[NS_TIME].has)
		ns.new_flags |= CLONE_NEWTIME;
	r = root_disks_open(a->host, c->options, &disks, e);
	if (r == 0)
		r = proc_spawn(a, c, &ns, &request, &p, e);
	if (r == 0 && cgroup_apply(&c->cg, &c->spec->resources, true, &why) < 0)
		proc_fail(a, p, &why); /* it frees both */
	return r;
}

int ctr_create(struct agent *a, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	struct ctr *c;
	unsigned n = 0;
	int r;

	for (c = a->containers; c; c = c->next)
		n++;
	if (ctr_find(a, h->container) || n >= AGENT_CONTAINERS)
		return err_set(e, EEXIST, "container %u exists already, or %u others do",
		    h->container, AGENT_CONTAINERS);
	c = ctr_new(a, h->container);
	if ((r = load(c, body, h->length, e)) < 0 || (r = make_cgroup(a, c, e)) < 0 ||
	    (r = begin(a, c, h, e)) < 0)
		ctr_end(a, c);
	return r;
}

/* ---- exec ---- */

static int open_cgroup(const struct ctr *c, const char *below, int *ret, struct err *e)
{
	struct open_how how = { .flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	int fd;

	below = below ? below + strspn(below, "/") : "";
	fd = sys_openat2(c->cg.dirfd, *below ? below : ".", &how);
	if (fd < 0)
		return err_errno(
		    e, errno, "--cgroup \"%s\": must be a cgroup below the container's", below);
	*ret = fd;
	return 0;
}

/* As runtime/exec.c's: a cgroup that hands controllers down may hold no process of its own. */
static int inits_cgroup(const struct proc *init, int *fd, struct err *e)
{
	_cleanup_cgroup_ struct cgroup cg = CGROUP_INIT;
	_cleanup_free_ char *path = NULL;
	int r = cgroup_of_pid(init->pid, &path, e);

	if (r < 0 || (r = cgroup_open(path, &cg, e)) < 0)
		return r;
	closep(fd);
	*fd = steal_fd(&cg.dirfd);
	return 0;
}

static int exec_process(struct ctr *c, const uint8_t *body, size_t n, struct arena *arena,
    struct spec_process *p, struct exec_options *o, struct err *e)
{
	int r;

	if ((r = options_exec(arena, (const char *)body, n, o, e)) < 0 ||
	    (r = spec_parse_process(arena, "process.json", (const char *)body, n, p, e)) < 0)
		return r;
	inside_inherit(&c->spec->process, p);
	drop_labels(p);
	return 0;
}

static int open_namespaces(
    const struct agent *a, const struct proc *init, struct ns_set *ns, struct err *e)
{
	_cleanup_close_ int dir = -EBADF;
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", init->pid);
	dir = openat(a->procfd, pid, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_errno(e, errno, "open /proc/%s", pid);
	return ns_open_process(dir, ns, e);
}

static int exec_spawn(struct agent *a, struct ctr *c, const struct proc *init, struct child *child,
    struct spawn_request *r, const char *cgroup, struct err *e)
{
	_cleanup_ns_set_ struct ns_set ns = { 0 };
	_cleanup_close_ int cgroupfd = -EBADF;
	struct proc *p;
	int n;

	for (int t = 0; t < NS_TYPES; t++)
		ns.fds[t] = -EBADF;
	if ((n = open_cgroup(c, cgroup, &cgroupfd, e)) < 0 ||
	    (n = open_namespaces(a, init, &ns, e)) < 0)
		return n;
	child->ns = &ns;
	r->cgroupfd = cgroupfd;
	n = proc_spawn(a, c, &ns, r, &p, e);
	if (n == -EBUSY && !cgroup) {
		err_clear(e);
		n = inits_cgroup(init, &cgroupfd, e);
		r->cgroupfd = cgroupfd;
		if (n == 0)
			n = proc_spawn(a, c, &ns, r, &p, e);
	}
	return n;
}

int ctr_exec(
    struct agent *a, struct ctr *c, const struct gp_header *h, const uint8_t *body, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	const struct proc *init = proc_find(c, 0);
	struct spec_process process = { 0 };
	struct exec_options o;
	struct child child = {
		.host = a->host,
		.options = c->options,
		.spec = c->spec,
		.process = &process,
		.procfd = a->procfd,
		.cgroupfd = c->cg.dirfd,
	};
	struct spawn_request request = { .number = h->process, .seq = h->seq, .child = &child };
	int r;

	if (h->process == 0 || proc_find(c, h->process))
		return err_set(e, EEXIST, "process %u exists already", h->process);
	if (!init || init->ended || init->state == PROC_PREPARING)
		return err_set(e, ESRCH, "container not running");
	r = exec_process(c, body, h->length, arena, &process, &o, e);
	if (r < 0)
		return r;
	child.keyring = o.keyring;
	request.terminal = process.terminal;
	return exec_spawn(a, c, init, &child, &request, o.cgroup, e);
}

/* ---- while it runs ---- */

int ctr_update(struct ctr *c, const uint8_t *body, size_t n, struct err *e)
{
	_cleanup_arena_ struct arena *arena = arena_new();
	struct spec_resources res = { 0 };
	int r = spec_parse_resources(arena, "resources", (const char *)body, n, &res, e);

	if (r < 0)
		return r;
	ctr_reduce_resources(&res);
	return cgroup_apply(&c->cg, &res, res.devices.n > 0, e);
}

int ctr_stats(struct ctr *c, struct json_gen *g, struct err *e)
{
	return cgroup_stats_json(&c->cg, g, e);
}

/* The file must be read to its end for the next change to be told of. */
static int read_oom_kills(int fd, uint64_t *ret)
{
	char buf[512];
	ssize_t n = pread(fd, buf, sizeof(buf) - 1, 0);
	const char *at;

	if (n < 0)
		return -errno;
	buf[n] = '\0';
	at = strstr(buf, "oom_kill ");
	*ret = at ? strtoull(at + strlen("oom_kill "), NULL, 10) : 0;
	return 0;
}

void ctr_oom(struct agent *a, struct ctr *c)
{
	struct gp_oom body = { 0 };
	const struct gp_header h = {
		.length = sizeof(body), .type = GP_OOM, .container = c->number
	};

	if (c->oom.fd < 0)
		return;
	if (read_oom_kills(c->oom.fd, &body.kills) < 0) {
		watch_close(a, &c->oom);
		return;
	}
	if (body.kills <= c->oom_kills)
		return;
	c->oom_kills = body.kills;
	port_put(a, &h, &body);
}
