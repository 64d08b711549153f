/* User namespace mappings by the caller's own right; namespaces/newidmap.c asks the helpers. */
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "namespaces/namespaces.h"
#include "namespaces/newidmap.h"

struct map_kind {
	const char *file, *json;
	int cap; /* lets its holder map any id */
	bool group;
};
static const struct map_kind uid_kind = { "uid_map", ".linux.uidMappings", CAP_SETUID, false };
static const struct map_kind gid_kind = { "gid_map", ".linux.gidMappings", CAP_SETGID, true };

static bool has_cap(int cap)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { 0 };

	return syscall(SYS_capget, &h, d) == 0 && (d[cap / 32].effective & (1U << (cap % 32)));
}

static int write_map(
    int pidfd, const struct map_kind *k, const struct spec_id_maps *m, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	int r;

	for (size_t i = 0; i < m->n; i++)
		strbuf_addf(&b, "%u %u %u\n", m->v[i].container_id, m->v[i].host_id, m->v[i].size);
	r = kfile_write(pidfd, k->file, b.s);
	if (r < 0)
		return err_errno(e, -r, "config.json: %s: write /proc/PID/%s", k->json, k->file);
	log_debug("wrote %s", k->file);
	return 0;
}

/* The one mapping that needs no privilege: a single id, the caller's own. */
static bool is_own_single(const struct map_kind *k, const struct spec_id_maps *m)
{
	return m->n == 1 && m->v[0].size == 1 &&
	       m->v[0].host_id == (k->group ? getegid() : geteuid());
}

static int map_one(
    pid_t pid, int pidfd, const struct map_kind *k, const struct spec_id_maps *m, struct err *e)
{
	int r;

	if (m->n == 0)
		return err_set(e, EINVAL,
		    "config.json: %s: empty: a new user namespace needs mappings", k->json);
	if (has_cap(k->cap))
		return write_map(pidfd, k, m, e);
	if (!is_own_single(k, m))
		return newidmap_run(k->group, k->json, pid, m, e);
	if (k->group) {
		/* Else the caller could shed a group that denies it something. */
		r = kfile_write(pidfd, "setgroups", "deny");
		if (r < 0)
			return err_errno(e, -r, "write deny to /proc/PID/setgroups");
	}
	return write_map(pidfd, k, m, e);
}

int userns_write_maps(
    pid_t pid, const struct spec_id_maps *uids, const struct spec_id_maps *gids, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	char path[32];
	int r;

	snprintf(path, sizeof(path), "/proc/%d", pid);
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "open %s", path);
	r = map_one(pid, fd, &gid_kind, gids, e);
	return r < 0 ? r : map_one(pid, fd, &uid_kind, uids, e);
}

int userns_become_root(struct err *e)
{
	/* EPERM: setgroups is denied in this namespace for good, and so is dropping the groups
	 * that came along; without CAP_SETGID the next call fails as well. */
	if (setgroups(0, NULL) < 0 && errno != EPERM)
		return err_errno(e, errno, "drop the supplementary groups");
	if (setresgid(0, 0, 0) < 0)
		return err_errno(e, errno,
		    "become group 0 of the user namespace (does .linux.gidMappings map "
		    "containerID 0?)");
	if (setresuid(0, 0, 0) < 0)
		return err_errno(e, errno,
		    "become user 0 of the user namespace (does .linux.uidMappings map "
		    "containerID 0?)");
	return 0;
}
