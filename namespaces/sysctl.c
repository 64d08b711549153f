#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "namespaces/namespaces.h"

/* What the kernel keeps per namespace. A name that ends in '/' stands for all below it. */
static const struct {
	const char *name;
	enum spec_ns_type ns;
} namespaced[] = {
	{ "kernel/msgmax", NS_IPC },
	{ "kernel/msgmnb", NS_IPC },
	{ "kernel/msgmni", NS_IPC },
	{ "kernel/msg_next_id", NS_IPC },
	{ "kernel/sem", NS_IPC },
	{ "kernel/sem_next_id", NS_IPC },
	{ "kernel/shmall", NS_IPC },
	{ "kernel/shmmax", NS_IPC },
	{ "kernel/shmmni", NS_IPC },
	{ "kernel/shm_next_id", NS_IPC },
	{ "kernel/shm_rmid_forced", NS_IPC },
	{ "fs/mqueue/", NS_IPC },
	{ "net/", NS_NET },
	{ "kernel/hostname", NS_UTS },
	{ "kernel/domainname", NS_UTS },
	{ "user/", NS_USER },
};

/* The file below /proc/sys: whichever of '.' and '/' comes first separates, the other one is part
 * of a name ("net.ipv4.conf.eth0/1.forwarding" is interface eth0.1). NULL: no file can have this
 * name. Caller frees. */
static char *sysctl_path(const char *key)
{
	_cleanup_free_ char *p = xstrdup(key);
	size_t first = strcspn(key, "./");

	if (key[first] == '.')
		for (char *c = p; *c; c++)
			*c = *c == '.' ? '/' : *c == '/' ? '.' : *c;
	for (const char *c = p;; c++) {
		size_t n = strcspn(c, "/");

		if (n == 0 || (n == 1 && *c == '.') || (n == 2 && startswith(c, "..")))
			return NULL;
		c += n;
		if (!*c)
			return steal_ptr(p);
	}
}

static int find_ns(const char *path)
{
	for (size_t i = 0; i < ARRAY_SIZE(namespaced); i++) {
		const char *name = namespaced[i].name;

		if (endswith(name, "/") ? startswith(path, name) != NULL : streq(path, name))
			return (int)namespaced[i].ns;
	}
	return -ENOENT;
}

/* Is the namespace file at path the runtime's own? */
static bool is_host_ns(enum spec_ns_type t, const char *path)
{
	char own[32];
	struct stat a, b;

	snprintf(own, sizeof(own), "/proc/self/ns/%s", spec_ns_proc_name(t));
	/* A path that cannot be looked at counts as the host's: it will not be joined either. */
	if (stat(own, &a) < 0 || stat(path, &b) < 0)
		return true;
	return a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static int check_one(const struct spec *s, const char *key, const char *value, struct err *e)
{
	_cleanup_free_ char *path = sysctl_path(key);
	int ns;

	if (!path)
		return err_set(e, EINVAL, "not a sysctl name");
	ns = find_ns(path);
	if (ns < 0)
		return err_set(
		    e, EINVAL, "belongs to no namespace: setting it would change the host");
	if (streq(path, "kernel/hostname"))
		return err_set(e, EINVAL, "use .hostname instead");
	/* Docker sets its --domainname so: it stands unless .domainname says something else. */
	if (streq(path, "kernel/domainname") && s->domainname && !streq(s->domainname, value))
		return err_set(e, EINVAL, "contradicts .domainname \"%s\"", s->domainname);
	if (!s->ns[ns].has)
		return err_set(e, EINVAL,
		    "needs a %s namespace in .linux.namespaces: it would change the host's",
		    spec_ns_name(ns));
	if (s->ns[ns].path && is_host_ns(ns, s->ns[ns].path))
		return err_set(e, EINVAL,
		    "the %s namespace %s is the host's: setting it would change the host",
		    spec_ns_name(ns), s->ns[ns].path);
	if (!*value)
		return err_set(e, EINVAL, "empty value");
	return 0;
}

int sysctl_check(const struct spec *s, struct err *e)
{
	for (size_t i = 0; i < s->sysctl.n; i++) {
		const struct spec_kv *kv = &s->sysctl.v[i];

		if (check_one(s, kv->key, kv->value, e) < 0)
			return err_wrap(
			    e, "config.json: .linux.sysctl[\"%s\"]: \"%s\"", kv->key, kv->value);
	}
	return 0;
}

static int write_one(int sysfd, const char *key, const char *value)
{
	_cleanup_free_ char *path = sysctl_path(key);
	/* NO_XDEV: nothing that was mounted over the trusted tree is written to. */
	struct open_how how = {
		.flags = O_WRONLY | O_CLOEXEC | O_NOFOLLOW,
		.resolve =
		    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	_cleanup_close_ int fd = -EBADF;
	size_t n = strlen(value);
	ssize_t w;

	if (!path)
		return -EINVAL;
	fd = sys_openat2(sysfd, path, &how);
	if (fd < 0)
		return -errno;
	if (!fd_is_procfs(fd))
		return -EXDEV;
	do
		w = write(fd, value, n);
	while (w < 0 && errno == EINTR);
	if (w < 0)
		return -errno;
	return (size_t)w == n ? 0 : -EIO;
}

int sysctl_apply(const struct spec *s, int procfd, struct err *e)
{
	struct open_how how = {
		.flags = O_PATH | O_DIRECTORY | O_CLOEXEC,
		.resolve =
		    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV,
	};
	_cleanup_close_ int sysfd = -EBADF;

	if (s->sysctl.n == 0)
		return 0;
	if (!fd_is_procfs_root(procfd))
		return err_set(e, EINVAL, "write sysctls: the descriptor is not a root of procfs");
	sysfd = sys_openat2(procfd, "sys", &how);
	if (sysfd < 0)
		return err_errno(e, errno, "open /proc/sys");
	for (size_t i = 0; i < s->sysctl.n; i++) {
		const struct spec_kv *kv = &s->sysctl.v[i];
		int r = write_one(sysfd, kv->key, kv->value);

		if (r < 0)
			return err_errno(e, -r, "config.json: .linux.sysctl[\"%s\"]: write \"%s\"",
			    kv->key, kv->value);
	}
	return 0;
}
