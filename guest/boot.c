/*
 * Boot. The kernel starts the agent from an initramfs. Its root cannot be pivoted away from, which
 * every container does (namespaces/rootfs.c), so the agent moves to a tmpfs first, as any
 * initramfs does with the real root, and gives the initramfs' memory back.
 */
#include "guest/boot.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/module.h>
#include <poll.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/kernel.h"
#include "base/log.h"
#include "guest/net.h"

#define MODULES	     "/modules"
#define LIST_MAX     (64u << 10)
#define NEW_ROOT     "/newroot"
#define PORTS	     "/sys/class/virtio-ports"
#define POLL_MS	     1
#define FILES_MAX    524288
#define SECURE_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)

/* ---- mounts ---- */

static const struct {
	const char *source, *target, *type;
	unsigned long flags;
	const char *options;
} mounts[] = {
	{ "devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC, "mode=755" },
	{ "proc", "/proc", "proc", SECURE_FLAGS, NULL },
	{ "sysfs", "/sys", "sysfs", SECURE_FLAGS, NULL },
	{ "cgroup2", "/sys/fs/cgroup", "cgroup2", SECURE_FLAGS, NULL },
};

static int mount_all(struct err *e)
{
	for (size_t i = 0; i < ARRAY_SIZE(mounts); i++) {
		(void)mkdir(mounts[i].target, 0755);
		/* The kernel may have mounted devtmpfs itself. */
		if (mount(mounts[i].source, mounts[i].target, mounts[i].type, mounts[i].flags,
			mounts[i].options) < 0 &&
		    errno != EBUSY)
			return err_errno(
			    e, errno, "mount %s on %s", mounts[i].type, mounts[i].target);
	}
	return 0;
}

/* Without a console node in the initramfs the kernel starts us with no descriptors at all. */
static int open_stdio(struct err *e)
{
	int fd;

	do {
		fd = open("/dev/console", O_RDWR | O_NOCTTY);
		if (fd < 0)
			fd = open("/dev/null", O_RDWR);
		if (fd < 0)
			return err_errno(e, errno, "open /dev/null");
	} while (fd < 3);
	close(fd);
	return 0;
}

/* Limits without which a container could not be told of its OOM kills, nor limited in it. A
 * controller that the kernel lacks is an error when a container asks for it. */
static void enable_controllers(void)
{
	static const char *const words[] = { "+memory", "+pids" };
	_cleanup_close_ int dir = open("/sys/fs/cgroup", O_PATH | O_DIRECTORY | O_CLOEXEC);

	for (size_t i = 0; dir >= 0 && i < ARRAY_SIZE(words); i++) {
		int r = kfile_write(dir, "cgroup.subtree_control", words[i]);

		if (r < 0)
			log_debug("cgroup.subtree_control: %s: %s", words[i], strerror(-r));
	}
}

/* A machine is little larger than its container's limit: by default its kernel would refuse what
 * the host's grants until it is touched. The limit's OOM killer decides, as there. */
static void promise_memory(void)
{
	_cleanup_close_ int dir = open("/proc/sys/vm", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = dir < 0 ? -errno : kfile_write(dir, "overcommit_memory", "1");

	if (r < 0)
		log_debug("/proc/sys/vm/overcommit_memory: %s", strerror(-r));
}

/* ---- modules ---- */

static int load_module(int dir, const char *name, struct err *e)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
	int flags = 0;

	if (fd < 0)
		return err_errno(e, errno, "open " MODULES "/%s", name);
	if (!endswith(name, ".ko")) /* .ko.xz, .ko.zst */
		flags |= MODULE_INIT_COMPRESSED_FILE;
	if (syscall(SYS_finit_module, fd, "", flags) < 0 && errno != EEXIST)
		return err_errno(e, errno, "load the module %s%s", name,
		    flags && errno == EOPNOTSUPP
			? " (compressed: this kernel takes only plain ones)"
			: "");
	return 0;
}

/* In the list's order, which is that of the modules' dependencies. No list: nothing to load. */
static int load_modules(struct err *e)
{
	_cleanup_close_ int dir = open(MODULES, O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	_cleanup_strv_ char **names = NULL;
	int r;

	if (dir < 0 || faccessat(dir, "list", F_OK, 0) < 0)
		return 0;
	r = file_read(dir, "list", LIST_MAX, &text, NULL, e);
	if (r < 0)
		return r;
	names = strv_split(text, '\n');
	for (char **n = names; *n; n++)
		if ((r = load_module(dir, *n, e)) < 0)
			return r;
	return 0;
}

/* ---- the root ---- */

/* Removes what is on dir's own file system, and closes dir. */
static void remove_contents(int dir)
{
	DIR *d = fdopendir(dir);
	struct stat root, st;
	const struct dirent *i;

	if (!d) {
		close(dir);
		return;
	}
	(void)fstat(dir, &root);
	while ((i = readdir(d))) {
		if (streq(i->d_name, ".") || streq(i->d_name, "..") ||
		    fstatat(dir, i->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
		    st.st_dev != root.st_dev)
			continue;
		if (S_ISDIR(st.st_mode)) {
			int sub =
			    openat(dir, i->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

			if (sub >= 0)
				remove_contents(sub);
		}
		(void)unlinkat(dir, i->d_name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
	}
	closedir(d);
}

static int leave_initramfs(struct err *e)
{
	static const char *const move[] = { "/dev", "/proc", "/sys" };
	_cleanup_close_ int old = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)mkdir(NEW_ROOT, 0755);
	if (mount("tmpfs", NEW_ROOT, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755") < 0)
		return err_errno(e, errno, "mount the root");
	for (size_t i = 0; i < ARRAY_SIZE(move); i++) {
		_cleanup_free_ char *to = xasprintf(NEW_ROOT "%s", move[i]);

		if (mkdir(to, 0755) < 0 || mount(move[i], to, NULL, MS_MOVE, NULL) < 0)
			return err_errno(e, errno, "move %s to the root", move[i]);
	}
	if (chdir(NEW_ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0 ||
	    chdir("/") < 0)
		return err_errno(e, errno, "enter the root");
	if (old >= 0)
		remove_contents(steal_fd(&old));
	return 0;
}

static int make_dirs(struct err *e)
{
	static const char *const dirs[] = { "/run", AGENT_EXPORT, "/tmp" };

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++)
		if (mkdir(dirs[i], 0755) < 0 && errno != EEXIST)
			return err_errno(e, errno, "make %s", dirs[i]);
	return 0;
}

/* The agent holds several descriptors for each process; they start with fewer (child.c). */
static int raise_limits(struct err *e)
{
	struct rlimit files = { FILES_MAX, FILES_MAX };

	if (setrlimit(RLIMIT_NOFILE, &files) == 0)
		return 0;
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_errno(e, errno, "read the limit of open files");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		return err_errno(e, errno, "raise the limit of open files");
	return 0;
}

/* Nothing but the loopback interface, until the host tells of others. A kernel without any network
 * has none, and says so when the host does. */
static void loopback_up(void)
{
	static const char nothing[] = "{\"interfaces\":[]}";
	struct err e = ERR_INIT;

	if (net_configure(nothing, strlen(nothing), &e) < 0)
		log_warning("%s", e.msg);
}

int boot_machine(int *ret_procfd, struct err *e)
{
	int fd, r;

	if ((r = mount_all(e)) < 0 || (r = open_stdio(e)) < 0 || (r = kernel_require(e)) < 0 ||
	    (r = load_modules(e)) < 0 || (r = leave_initramfs(e)) < 0 || (r = make_dirs(e)) < 0 ||
	    (r = raise_limits(e)) < 0)
		return r;
	enable_controllers();
	promise_memory();
	loopback_up();
	fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "open /proc");
	*ret_procfd = fd;
	return 0;
}

/* ---- the port ---- */

/* "vport2p1", by the name that the host gave the port; NULL: not there (yet). Caller frees. */
static char *find_port(const char *name)
{
	_cleanup_closedir_ DIR *d = opendir(PORTS);
	const struct dirent *i;

	while (d && (i = readdir(d))) {
		_cleanup_free_ char *path = xasprintf("%s/name", i->d_name);
		_cleanup_free_ char *got = NULL;

		if (i->d_name[0] != '.' && kfile_read(dirfd(d), path, &got) == 0 &&
		    streq(got, name))
			return xstrdup(i->d_name);
	}
	return NULL;
}

static int open_port(const char *name)
{
	_cleanup_free_ char *node = find_port(name);
	_cleanup_free_ char *path = node ? xasprintf("/dev/%s", node) : NULL;

	if (!path)
		return -ENOENT;
	int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int boot_port(const char *name, int *ret, struct err *e)
{
	const struct timespec wait = { .tv_nsec = POLL_MS * 1000000 };
	_cleanup_close_ int fd = -ENOENT;

	for (int ms = 0; ms < BOOT_PORT_SECONDS * 1000; ms += POLL_MS) {
		struct pollfd p = { .events = POLLOUT };

		if (fd < 0)
			fd = open_port(name);
		p.fd = fd;
		/* POLLHUP: the host has not opened its end. */
		if (fd >= 0 && poll(&p, 1, 0) >= 0 && !(p.revents & POLLHUP)) {
			*ret = steal_fd(&fd);
			return 0;
		}
		(void)nanosleep(&wait, NULL);
	}
	if (fd < 0)
		return err_errno(e, -fd, "the port \"%s\" of " PORTS, name);
	return err_set(e, ETIMEDOUT, "the host does not open the port \"%s\"", name);
}
