#include "netsetup/pasta.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/sys.h"
#include "netsetup/links.h"

#define PID_FILE       "pasta.pid"
#define END_TIMEOUT_MS 5000
#define ARGS_MAX       (1u << 20)

static char *port_option(const struct net_port *p)
{
	char text[IP_TEXT];

	return p->addr.family
		   ? xasprintf("%s/%u:%u", ip_text(&p->addr, false, text), p->host, p->inner)
		   : xasprintf("%u:%u", p->host, p->inner);
}

/* Its descriptors: by /proc/PID/ns it could not open them, as it gives up its privileges first. */
enum { NETNS = 3, USERNS = 4, FREE = 1000 };

static char **arguments(const struct net_request *q, const char *dir, bool userns)
{
	char **v = NULL;
	bool tcp = false, udp = false;

	strv_push(&v, xstrdup("pasta"));
	strv_push(&v, xstrdup("--config-net"));
	strv_push(&v, xstrdup("--quiet"));
	/* Else the gateway's address would be the host's loopback. */
	strv_push(&v, xstrdup("--no-map-gw"));
	strv_push(&v, xstrdup("--pid"));
	strv_push(&v, xasprintf("%s/" PID_FILE, dir));
	strv_push(&v, xstrdup("--ns-ifname"));
	strv_push(&v, xstrdup(NET_INNER));
	for (size_t i = 0; i < q->n_ports; i++) {
		bool is_udp = q->ports[i].proto == IPPROTO_UDP;

		*(is_udp ? &udp : &tcp) = true;
		strv_push(&v, xstrdup(is_udp ? "-u" : "-t"));
		strv_push(&v, port_option(&q->ports[i]));
	}
	/* Its default is what listens inside, whatever that be: only what was asked for is
	 * published, and nothing of the host's loopback reaches the container. */
	for (const char *const *o =
		 (const char *const[]){ tcp ? "" : "-t", udp ? "" : "-u", "-T", "-U", NULL };
	     *o; o++) {
		if (!**o)
			continue;
		strv_push(&v, xstrdup(*o));
		strv_push(&v, xstrdup("none"));
	}
	if (geteuid() == 0) { /* else it becomes nobody, who may not enter */
		strv_push(&v, xstrdup("--runas"));
		strv_push(&v, xstrdup("0"));
	}
	if (userns) {
		strv_push(&v, xstrdup("--userns"));
		strv_push(&v, xasprintf("/proc/self/fd/%d", USERNS));
	} else {
		strv_push(&v, xstrdup("--netns-only"));
	}
	strv_push(&v, xstrdup("--no-netns-quit")); /* pasta_stop() ends it */
	strv_push(&v, xstrdup("--netns"));
	strv_push(&v, xasprintf("/proc/self/fd/%d", NETNS));
	return v;
}

static int start(char *const *argv, int output, int netns, int userns, pid_t *ret)
{
	posix_spawn_file_actions_t a;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawn_file_actions_init(&a);
	posix_spawn_file_actions_addopen(&a, 0, "/dev/null", O_RDWR, 0);
	posix_spawn_file_actions_adddup2(&a, output, 1);
	posix_spawn_file_actions_adddup2(&a, output, 2);
	/* By way of numbers that nobody has: the first dup2 must not close the second's source. */
	posix_spawn_file_actions_adddup2(&a, netns, FREE);
	if (userns >= 0)
		posix_spawn_file_actions_adddup2(&a, userns, USERNS);
	posix_spawn_file_actions_adddup2(&a, FREE, NETNS);
	posix_spawn_file_actions_addclose(&a, FREE);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	r = posix_spawnp(ret, argv[0], &a, &attr, argv, environ);
	posix_spawnattr_destroy(&attr);
	posix_spawn_file_actions_destroy(&a);
	return -r;
}

/* What it said, on one line. */
static void read_output(int fd, char *text, size_t size)
{
	ssize_t n = pread(fd, text, size - 1, 0);

	text[n > 0 ? n : 0] = '\0';
	while (n > 0 && text[n - 1] == '\n')
		text[--n] = '\0';
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			*p = ' ';
}

/* The process's user namespace, -EBADF if it is ours. */
static int open_userns(pid_t pid, int *ret, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	struct stat own, its;
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &its) < 0)
		return err_errno(e, errno, "open %s", path);
	if (stat("/proc/self/ns/user", &own) < 0)
		return err_errno(e, errno, "stat /proc/self/ns/user");
	*ret = own.st_ino == its.st_ino ? -EBADF : steal_fd(&fd);
	return 0;
}

int pasta_start(const struct net_request *q, const char *dir, int netns, pid_t pid, struct err *e)
{
	_cleanup_close_ int output = memfd_create("pasta", MFD_CLOEXEC), userns = -EBADF;
	_cleanup_strv_ char **argv = NULL;
	char text[512];
	pid_t child;
	int status, r;

	if (output < 0)
		return err_errno(e, errno, "memfd_create");
	r = open_userns(pid, &userns, e);
	if (r < 0)
		return r;
	argv = arguments(q, dir, userns >= 0);
	r = start(argv, output, netns, userns, &child);
	if (r == -ENOENT)
		return err_set(
		    e, ENOENT, "--network pasta: no program \"pasta\" (Debian: passt) in PATH");
	if (r < 0)
		return err_errno(e, -r, "--network pasta: start pasta");
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return err_errno(e, errno, "wait for pasta");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	read_output(output, text, sizeof(text));
	return err_set(
	    e, EIO, "--network pasta: pasta failed: %s", *text ? text : "without a word");
}

/* Is the process the one that was started for the container, and not a later one with its number?
 * One of its arguments is the file's path. The directory may have another path by now, as another
 * mount namespace sees it, but has its own name. */
static int is_ours(pid_t pid, const char *dir, bool *ret, struct err *e)
{
	_cleanup_free_ char *args = NULL, *tail = xasprintf("%s/" PID_FILE, strrchr(dir, '/'));
	char path[40];
	size_t len;
	int r;

	*ret = false;
	snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)pid);
	r = file_read(AT_FDCWD, path, ARGS_MAX, &args, &len, e);
	if (r == -ENOENT || r == -ESRCH || r == -EFBIG) { /* ended, or has not got what we gave */
		err_clear(e);
		return 0;
	}
	if (r < 0)
		return r;
	for (size_t i = 0; i < len && !*ret; i += strlen(args + i) + 1)
		*ret = endswith(args + i, tail);
	return 0;
}

int pasta_stop(const char *dir, int dirfd, struct err *e)
{
	_cleanup_close_ int pidfd = -EBADF;
	_cleanup_free_ char *text = NULL;
	struct pollfd p;
	int64_t pid;
	bool ours;
	int r = kfile_read(dirfd, PID_FILE, &text);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return err_errno(e, -r, "read " PID_FILE);
	if (parse_int_range(text, 2, INT32_MAX, &pid) < 0) /* killed while it wrote */
		return 0;
	pidfd = sys_pidfd_open((pid_t)pid, 0);
	if (pidfd < 0 || (r = is_ours((pid_t)pid, dir, &ours, e)) < 0 || !ours)
		return r;
	if (sys_pidfd_send_signal(pidfd, SIGKILL) < 0 && errno != ESRCH)
		return err_errno(e, errno, "end pasta (pid %d)", (int)pid);
	p = (struct pollfd){ .fd = pidfd, .events = POLLIN };
	while (poll(&p, 1, END_TIMEOUT_MS) < 0 && errno == EINTR)
		;
	return 0;
}
