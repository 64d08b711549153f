/*
 * New filesystems: fsopen(2), one fsconfig(2) per option, fsmount(2). What the kernel says about a
 * refusal is read from the filesystem context and becomes part of the message.
 */
#include <fcntl.h>
#include <linux/mount.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/xattr.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "namespaces/mount.h"

#define FSCONFIG_STRING_MAX 255

/* Filesystems that have no medium: `ro` is a matter of the mount alone. The superblock of some of
 * them is shared with other mounts, and of a tmpfs it must stay writable until it is filled. */
static const char *const media_less[] = { "proc", "sysfs", "tmpfs", "devpts", "mqueue", "cgroup2",
	"ramfs", "bpf", "tracefs", "debugfs", "securityfs", "binfmt_misc", "hugetlbfs" };

/* What a refusal by errno means, and what to do. */
static const struct {
	const char *type;
	int code;
	const char *remedy;
} remedies[] = {
	{ "sysfs", EPERM,
	    "a new sysfs needs a network namespace made by the container's user namespace: add "
	    "one, or "
	    "mount /sys with type \"none\", source \"/sys\" and option \"rbind\"" },
	{ "proc", EPERM,
	    "a new procfs needs a pid namespace made by the container's user namespace, and a "
	    "/proc "
	    "here that nothing is mounted over" },
	{ "mqueue", EPERM, "it needs an ipc namespace made by the container's user namespace" },
	{ "cgroup2", EPERM, "it needs a cgroup namespace made by the container's user namespace" },
};

static const char *remedy(const char *type, int code)
{
	for (size_t i = 0; i < ARRAY_SIZE(remedies); i++)
		if (code == remedies[i].code && streq(type, remedies[i].type))
			return remedies[i].remedy;
	return code == ENODEV ? "the kernel knows no such filesystem" : NULL;
}

/* The kernel's latest message about this context: "e tmpfs: Bad value for 'size'" without its
 * severity. Empty when there is none. */
static void fs_log(int fsfd, char *buf, size_t size)
{
	ssize_t n = 0, m;

	while (fsfd >= 0 && (m = read(fsfd, buf, size - 1)) > 0)
		n = m;
	buf[n] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	if (n > 2 && buf[1] == ' ')
		memmove(buf, buf + 2, strlen(buf + 2) + 1);
}

static int fs_error(
    const struct mount_entry *m, const char *type, int fsfd, const char *what, struct err *e)
{
	int code = errno;
	const char *fix = remedy(type, code);
	char log[256];

	fs_log(fsfd, log, sizeof(log));
	err_errno(e, code, "%s: new %s for \"%s\": %s%s%s", m->m->path, type, m->dest, what,
	    *log ? ": " : "", log);
	if (fix) {
		size_t used = strlen(e->msg);

		snprintf(e->msg + used, sizeof(e->msg) - used, " (%s)", fix);
	}
	return -code;
}

static int set_param(int fsfd, const char *key, const char *value)
{
	if (value)
		return sys_fsconfig(fsfd, FSCONFIG_SET_STRING, key, value, 0);
	return sys_fsconfig(fsfd, FSCONFIG_SET_FLAG, key, NULL, 0);
}

/* overlay takes many layers one by one, since a value is at most 255 bytes long. */
static int set_lowerdirs(int fsfd, const char *value)
{
	_cleanup_strv_ char **dirs = strv_split(value, ':');

	for (size_t i = 0; i < strv_len(dirs); i++)
		if (sys_fsconfig(fsfd, FSCONFIG_SET_STRING, "lowerdir+", dirs[i], 0) < 0)
			return -1;
	return 0;
}

/* An owner that the container's user namespace does not map is refused with no more than EINVAL by
 * some kernels, either at the option or when the filesystem is made. Returns -e->code. */
static int owner_hint(const struct mount_entry *m, const struct mount_param *o,
    const struct mount_env *env, struct err *e)
{
	size_t used = strlen(e->msg);

	if (env->userns && e->code == EINVAL && o->value &&
	    (streq(o->key, "gid") || streq(o->key, "uid")))
		snprintf(e->msg + used, sizeof(e->msg) - used,
		    " (the container's user namespace may not map %s %s: map it or drop the "
		    "option)",
		    o->key, o->value);
	return -e->code;
}

static int set_data(const struct mount_entry *m, int fsfd, const struct mount_param *o,
    const struct mount_env *env, struct err *e)
{
	char what[128];
	int r;

	if (o->value && strlen(o->value) > FSCONFIG_STRING_MAX && streq(m->type, "overlay") &&
	    streq(o->key, "lowerdir"))
		r = set_lowerdirs(fsfd, o->value);
	else
		r = set_param(fsfd, o->key, o->value);
	if (r == 0)
		return 0;
	snprintf(what, sizeof(what), "option \"%s%s%.60s\"%s", o->key, o->value ? "=" : "",
	    o->value ? o->value : "",
	    o->value && strlen(o->value) > FSCONFIG_STRING_MAX
		? " (the kernel takes 255 bytes at most)"
		: "");
	fs_error(m, m->type, fsfd, what, e);
	return owner_hint(m, o, env, e);
}

static bool has_param(const struct mount_entry *m, const char *key)
{
	for (size_t i = 0; i < m->n_params; i++)
		if (streq(m->params[i].key, key))
			return true;
	return false;
}

/* The kernel labels proc and sysfs itself, cgroup2 by policy, and takes mqueue's label only as an
 * attribute of its root. */
static bool takes_context(const char *type)
{
	return !streq(type, "proc") && !streq(type, "sysfs") && !streq(type, "cgroup2") &&
	       !streq(type, "mqueue");
}

static int configure(const struct mount_entry *m, const char *type, int fsfd,
    const struct mount_env *env, mode_t target_mode, struct err *e)
{
	bool medium = true;
	char mode[16];
	int r;

	for (size_t i = 0; i < ARRAY_SIZE(media_less); i++)
		medium &= !streq(type, media_less[i]);
	if (m->m->source && *m->m->source && set_param(fsfd, "source", m->m->source) < 0)
		return fs_error(m, type, fsfd, "source", e);
	if (medium && (m->top.set & MOUNT_ATTR_RDONLY) && set_param(fsfd, "ro", NULL) < 0)
		return fs_error(m, type, fsfd, "option \"ro\"", e);
	for (size_t i = 0; i < m->n_params; i++) {
		r = set_data(m, fsfd, &m->params[i], env, e);
		if (r < 0)
			return r;
	}
	if (target_mode && streq(type, "tmpfs") && !has_param(m, "mode")) {
		snprintf(mode, sizeof(mode), "%04o", target_mode & 07777);
		if (set_param(fsfd, "mode", mode) < 0)
			return fs_error(m, type, fsfd, mode, e);
	}
	if (env->mount_label && takes_context(type) && !has_param(m, "context") &&
	    set_param(fsfd, "context", env->mount_label) < 0)
		return fs_error(m, type, fsfd, "SELinux label (linux.mountLabel)", e);
	return 0;
}

static int label_root(const struct mount_entry *m, int mfd, const char *label, struct err *e)
{
	_cleanup_close_ int fd = openat(mfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || fsetxattr(fd, "security.selinux", label, strlen(label) + 1, 0) < 0)
		return err_errno(
		    e, errno, "%s: SELinux label \"%s\" on the new %s", m->m->path, label, m->type);
	return 0;
}

int mount_fs_new(const struct mount_entry *m, const struct mount_env *env, mode_t target_mode,
    int *ret_fd, struct err *e)
{
	const char *type = m->kind == MOUNT_CGROUP ? "cgroup2" : m->type;
	uint64_t attr = m->late_ro ? m->top.set & ~(uint64_t)MOUNT_ATTR_RDONLY : m->top.set;
	_cleanup_close_ int fsfd = sys_fsopen(type, FSOPEN_CLOEXEC);
	_cleanup_close_ int mfd = -EBADF;
	int r;

	if (fsfd < 0)
		return fs_error(m, type, -EBADF, "fsopen", e);
	r = configure(m, type, fsfd, env, target_mode, e);
	if (r < 0)
		return r;
	if (sys_fsconfig(fsfd, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0) {
		r = fs_error(m, type, fsfd, "create", e);
		for (size_t i = 0; i < m->n_params; i++)
			owner_hint(m, &m->params[i], env, e);
		return r;
	}
	mfd = sys_fsmount(fsfd, FSMOUNT_CLOEXEC, (unsigned)attr);
	if (mfd < 0)
		return fs_error(m, type, fsfd, "fsmount", e);
	if (env->mount_label && streq(type, "mqueue")) {
		r = label_root(m, mfd, env->mount_label, e);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < m->n_props; i++) {
		r = mount_set_propagation(mfd, m->prop[i].type, m->prop[i].rec);
		if (r < 0)
			return err_errno(e, -r, "%s: set propagation", m->m->path);
	}
	*ret_fd = steal_fd(&mfd);
	return 0;
}
