/*
 * The agent without a machine, for tests: native-agent SOCKET EXPORT CGROUP. It talks over the
 * descriptor SOCKET instead of a console port, finds the host's export at EXPORT instead of on a
 * virtio-fs, names cgroups CGROUP-N, and does to clock and random pool nothing but say so. Started
 * as PID 1 of namespaces of its own (tests/lib/guest.py), with the network among them.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "guest/agent.h"
#include "guest/net.h"
#include "guest/root.h"

static const char *export_dir;

static int mount_tag(const char *tag, const char *dir, struct err *e)
{
	if (!streq(tag, GP_TAG))
		return err_set(e, ENOENT, "no virtio-fs \"%s\"", tag);
	if (mount(export_dir, dir, NULL, MS_BIND | MS_REC, NULL) < 0)
		return err_errno(e, errno, "bind %s", export_dir);
	return 0;
}

/* Disks are links to devices in the export, "disk-SERIAL". */
static int open_disk(
    const char *serial, const char *type, const char *flag, int *ret_mount, struct err *e)
{
	_cleanup_free_ char *path = xasprintf("%s/disk-%s", export_dir, serial);
	int r = root_new_mount(type, path, flag, ret_mount);

	return r < 0 ? err_errno(e, -r, "mount %s", path) : 0;
}

static int set_time(const struct gp_time *t, struct err *e)
{
	return err_set(e, EPERM, "the clock would be %lld.%09u", (long long)t->sec, t->nsec);
}

static int add_entropy(const uint8_t *bytes, size_t n, struct err *e)
{
	return err_set(e, EPERM, "%zu bytes of entropy, first %u", n, bytes[0]);
}

int main(int argc, char **argv)
{
	struct agent_host host = {
		.mount_tag = mount_tag,
		.open_disk = open_disk,
		.set_time = set_time,
		.add_entropy = add_entropy,
		.apply_net = net_configure,
	};
	struct err e = ERR_INIT;
	int procfd, r;

	if (argc != 4 || getpid() != 1) {
		fprintf(stderr, "usage: unshare -p … native-agent SOCKET EXPORT CGROUP\n");
		return 2;
	}
	export_dir = argv[2];
	host.cgroup = argv[3];
	if (mount("proc", "/proc", "proc", 0, NULL) < 0 ||
	    mount("run", "/run", "tmpfs", 0, "mode=755") < 0 || mkdir(AGENT_EXPORT, 0755) < 0) {
		perror("native-agent: mounts");
		return 1;
	}
	procfd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	r = agent_run(atoi(argv[1]), procfd, &host, &e);
	if (r < 0)
		fprintf(stderr, "native-agent: %s\n", e.msg);
	return r < 0 ? 1 : r ? 0 : 3; /* SHUTDOWN: 0, hung up: 3 */
}
