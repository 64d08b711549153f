/*
 * What a machine cannot give: things of the host that a kernel of one's own does not have.
 *
 * A namespace that the container would share with others, or with the host, is one of the host's
 * kernel. Network and user namespaces are the exceptions: the monitor is in them. In a pod engines
 * always share the uts and ipc namespaces too: the first is read when the container is created, of
 * the second nobody has use, because a machine has its pod's network to itself, so that but for the
 * sandbox it is alone in it.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "runtime/vm_level.h"

#define LEVEL "(isolation level vm)"

static const struct ns_rule {
	enum spec_ns_type type;
	bool may_join;
	bool must_be; /* else it would be the host's, which the machine does not have */
	bool may_in_pod;
} ns_rules[] = {
	{ NS_USER, true, false, true },
	{ NS_NET, true, true, true },
	{ NS_PID, false, true, false },
	{ NS_IPC, false, true, true },
	{ NS_UTS, false, false, true },
	{ NS_CGROUP, false, false, false },
	{ NS_TIME, false, false, false },
	{ NS_MOUNT, false, true, false },
};

static int check_namespaces(const struct spec *s, struct err *e)
{
	bool in_pod = pod_part_of(s) == POD_CONTAINER;

	for (size_t i = 0; i < ARRAY_SIZE(ns_rules); i++) {
		const struct ns_rule *r = &ns_rules[i];
		const struct spec_ns *ns = &s->ns[r->type];
		const char *name = spec_ns_name(r->type);

		if (r->must_be && !ns->has)
			return err_set(e, ENOTSUP,
			    ".linux.namespaces: \"%s\" is missing: the host's cannot be shared "
			    "with a machine " LEVEL,
			    name);
		if (ns->path && !(in_pod ? r->may_in_pod : r->may_join))
			return err_set(e, ENOTSUP,
			    ".linux.namespaces: %s: \"%s\" cannot be joined: it is of the host's "
			    "kernel, the container has its own " LEVEL,
			    name, ns->path);
	}
	return 0;
}

/* Redirecting the interfaces of the host's own network would cut it off. */
static int check_network(const struct spec *s, struct err *e)
{
	const char *path = s->ns[NS_NET].path;
	struct stat own, its;

	if (!path || stat(path, &its) < 0 || stat("/proc/self/ns/net", &own) < 0)
		return 0; /* a new one; what is wrong with the path, joining it tells */
	if (own.st_dev != its.st_dev || own.st_ino != its.st_ino)
		return 0;
	return err_set(e, ENOTSUP,
	    ".linux.namespaces: network: \"%s\" is the network of who calls: a machine needs one "
	    "of "
	    "its own " LEVEL,
	    path);
}

/* The same numbers everywhere, and the guest's kernel has them. */
static const struct {
	char type;
	uint32_t major, minor;
} virtual_devices[] = {
	{ 'c', 1, 3 },	  /* null */
	{ 'c', 1, 5 },	  /* zero */
	{ 'c', 1, 7 },	  /* full */
	{ 'c', 1, 8 },	  /* random */
	{ 'c', 1, 9 },	  /* urandom */
	{ 'c', 5, 0 },	  /* tty */
	{ 'c', 5, 1 },	  /* console */
	{ 'c', 5, 2 },	  /* ptmx */
	{ 'c', 10, 200 }, /* net/tun */
	{ 'c', 10, 229 }, /* fuse */
};

static bool is_virtual(const struct spec_device *d)
{
	char type = d->type == 'u' ? 'c' : d->type;

	if (type == 'p')
		return true;
	for (size_t i = 0; i < ARRAY_SIZE(virtual_devices); i++)
		if (virtual_devices[i].type == type && virtual_devices[i].major == d->major &&
		    virtual_devices[i].minor == d->minor)
			return true;
	return false;
}

static int check_devices(const struct spec *s, struct err *e)
{
	for (size_t i = 0; i < s->devices.n; i++) {
		const struct spec_device *d = &s->devices.v[i];

		if (!is_virtual(d))
			return err_set(e, ENOTSUP,
			    ".linux.devices[%zu]: \"%s\" (%c %u:%u): devices of the host are not "
			    "in the machine " LEVEL,
			    i, d->path, d->type, d->major, d->minor);
	}
	return 0;
}

static int check_parameters(const struct spec *s, struct err *e)
{
	for (size_t i = 0; i < s->vm.kernel_parameters.n; i++)
		for (const char *p = s->vm.kernel_parameters.v[i]; *p; p++)
			if ((unsigned char)*p < ' ')
				return err_set(e, EINVAL,
				    ".vm.kernel.parameters[%zu]: must not hold control characters",
				    i);
	return 0;
}

int vm_check(const struct spec *s, const struct create_opts *o, struct err *e)
{
	int r;

	if ((r = check_namespaces(s, e)) < 0 || (r = check_network(s, e)) < 0 ||
	    (r = check_devices(s, e)) < 0 || (r = check_parameters(s, e)) < 0)
		return r;
	if (s->seccomp.listener_path)
		return err_set(e, ENOTSUP,
		    ".linux.seccomp.listenerPath: \"%s\": a listener of the host cannot answer for "
		    "another kernel's system calls " LEVEL,
		    s->seccomp.listener_path);
	if (o->keep_fds)
		return err_set(e, ENOTSUP,
		    "--preserve-fds (or LISTEN_FDS): %u: descriptors of the host's kernel cannot "
		    "be handed into a machine " LEVEL,
		    o->keep_fds);
	if (o->no_pivot)
		return err_set(e, ENOTSUP,
		    "--no-pivot: the monitor must not keep the host's root below its own " LEVEL);
	return 0;
}
