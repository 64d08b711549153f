/* The config.json that `bailey spec` writes: a shell behind namespaces. */
#include <unistd.h>

#include "base/cleanup.h"
#include "spec/spec.h"

#define STRV(...) ((char *const[]){ __VA_ARGS__, NULL })

static void capabilities(struct json_gen *g)
{
	static const char *const sets[] = { "bounding", "effective", "permitted" };

	json_gen_key(g, "capabilities");
	json_gen_map(g);
	for (size_t i = 0; i < ARRAY_SIZE(sets); i++)
		json_gen_kstrv(
		    g, sets[i], STRV("CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"));
	json_gen_end(g);
}

static void process(struct json_gen *g)
{
	json_gen_key(g, "process");
	json_gen_map(g);
	json_gen_kbool(g, "terminal", true);
	json_gen_key(g, "user");
	json_gen_map(g);
	json_gen_kint(g, "uid", 0);
	json_gen_kint(g, "gid", 0);
	json_gen_end(g);
	json_gen_kstrv(g, "args", STRV("sh"));
	json_gen_kstrv(g, "env",
	    STRV(
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "TERM=xterm"));
	json_gen_kstr(g, "cwd", "/");
	capabilities(g);
	json_gen_key(g, "rlimits");
	json_gen_array(g);
	json_gen_map(g);
	json_gen_kstr(g, "type", "RLIMIT_NOFILE");
	json_gen_kint(g, "hard", 1024);
	json_gen_kint(g, "soft", 1024);
	json_gen_end(g);
	json_gen_end(g);
	json_gen_kbool(g, "noNewPrivileges", true);
	json_gen_end(g);
}

/* rootless: the row for a container whose user namespace maps one ID and which keeps the host's
 * network namespace: no group 5 for terminals, and a sysfs of its own may not be mounted. */
static const struct default_mount {
	enum { ALWAYS, ROOT_ONLY, ROOTLESS_ONLY } when;
	const char *destination, *type, *source;
	char *options[8];
} default_mounts[] = {
	{ ALWAYS, "/proc", "proc", "proc", { NULL } },
	{ ALWAYS, "/dev", "tmpfs", "tmpfs",
	    { "nosuid", "strictatime", "mode=755", "size=65536k" } },
	{ ROOT_ONLY, "/dev/pts", "devpts", "devpts",
	    { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5" } },
	{ ROOTLESS_ONLY, "/dev/pts", "devpts", "devpts",
	    { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620" } },
	{ ALWAYS, "/dev/shm", "tmpfs", "shm",
	    { "nosuid", "noexec", "nodev", "mode=1777", "size=65536k" } },
	{ ALWAYS, "/dev/mqueue", "mqueue", "mqueue", { "nosuid", "noexec", "nodev" } },
	{ ROOT_ONLY, "/sys", "sysfs", "sysfs", { "nosuid", "noexec", "nodev", "ro" } },
	{ ROOTLESS_ONLY, "/sys", "none", "/sys", { "rbind", "nosuid", "noexec", "nodev", "rro" } },
	{ ALWAYS, "/sys/fs/cgroup", "cgroup", "cgroup",
	    { "nosuid", "noexec", "nodev", "relatime", "ro" } },
};

static void mounts(struct json_gen *g, bool rootless)
{
	json_gen_key(g, "mounts");
	json_gen_array(g);
	for (size_t i = 0; i < ARRAY_SIZE(default_mounts); i++) {
		const struct default_mount *m = &default_mounts[i];

		if (m->when == (rootless ? ROOT_ONLY : ROOTLESS_ONLY))
			continue;
		json_gen_map(g);
		json_gen_kstr(g, "destination", m->destination);
		json_gen_kstr(g, "type", m->type);
		json_gen_kstr(g, "source", m->source);
		if (m->options[0])
			json_gen_kstrv(g, "options", m->options);
		json_gen_end(g);
	}
	json_gen_end(g);
}

static void one_mapping(struct json_gen *g, const char *key, unsigned host_id)
{
	json_gen_key(g, key);
	json_gen_array(g);
	json_gen_map(g);
	json_gen_kint(g, "containerID", 0);
	json_gen_kuint(g, "hostID", host_id);
	json_gen_kint(g, "size", 1);
	json_gen_end(g);
	json_gen_end(g);
}

static void namespaces(struct json_gen *g, bool rootless)
{
	static const enum spec_ns_type types[] = { NS_PID, NS_NET, NS_IPC, NS_UTS, NS_MOUNT,
		NS_CGROUP, NS_USER };

	json_gen_key(g, "namespaces");
	json_gen_array(g);
	for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
		if (types[i] == (rootless ? NS_NET : NS_USER))
			continue;
		json_gen_map(g);
		json_gen_kstr(g, "type", spec_ns_name(types[i]));
		json_gen_end(g);
	}
	json_gen_end(g);
}

static void linux_section(struct json_gen *g, bool rootless)
{
	json_gen_key(g, "linux");
	json_gen_map(g);
	if (rootless) {
		one_mapping(g, "uidMappings", geteuid());
		one_mapping(g, "gidMappings", getegid());
	} else {
		json_gen_key(g, "resources");
		json_gen_map(g);
		json_gen_key(g, "devices");
		json_gen_array(g);
		json_gen_map(g);
		json_gen_kbool(g, "allow", false);
		json_gen_kstr(g, "access", "rwm");
		json_gen_end(g);
		json_gen_end(g);
		json_gen_end(g);
	}
	namespaces(g, rootless);
	json_gen_kstrv(g, "maskedPaths",
	    STRV("/proc/acpi", "/proc/asound", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
		"/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug", "/sys/firmware",
		"/proc/scsi"));
	json_gen_kstrv(g, "readonlyPaths",
	    STRV("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"));
	json_gen_end(g);
}

char *spec_default_config(bool rootless)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(true);

	json_gen_map(g);
	json_gen_kstr(g, "ociVersion", OCI_VERSION);
	process(g);
	json_gen_key(g, "root");
	json_gen_map(g);
	json_gen_kstr(g, "path", "rootfs");
	json_gen_kbool(g, "readonly", true);
	json_gen_end(g);
	json_gen_kstr(g, "hostname", "bailey");
	mounts(g, rootless);
	linux_section(g, rootless);
	json_gen_end(g);
	return xstrdup(json_gen_text(g, NULL));
}
