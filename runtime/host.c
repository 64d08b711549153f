/* Small facts about the host and the call that runtime/lifecycle.h declares. */
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "base/sys.h"
#include "runtime/lifecycle.h"

bool spec_has_userns(const struct spec *s)
{
	return s->ns[NS_USER].has;
}

/* CAP_SYS_ADMIN in a user namespace that owns the mount namespace: fsopen(2) checks it before its
 * flags, which are wrong here. (Dropping a real mount again takes an RCU grace period.) */
bool runtime_is_privileged(void)
{
	return sys_fsopen(NULL, ~0U) < 0 && errno == EINVAL;
}

/* The first user namespace is the one whose map is the whole range onto itself. */
int runtime_in_user_namespace(bool *ret, struct err *e)
{
	static const char *const whole[] = { "0", "0", "4294967295\n" };
	_cleanup_strv_ char **fields = NULL;
	_cleanup_free_ char *map = NULL;
	bool same;
	int r;

	r = file_read(AT_FDCWD, "/proc/self/uid_map", 1 << 20, &map, NULL, e);
	if (r < 0)
		return r;
	fields = strv_split(map, ' ');
	same = strv_len(fields) == ARRAY_SIZE(whole);
	for (size_t i = 0; same && i < ARRAY_SIZE(whole); i++)
		same = streq(fields[i], whole[i]);
	*ret = !same;
	return 0;
}

int open_procfs(struct err *e)
{
	_cleanup_close_ int fd = open("/proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_errno(e, errno, "open /proc");
	if (!fd_is_procfs_root(fd))
		return err_set(e, EINVAL, "/proc is not the root of a proc file system");
	return steal_fd(&fd);
}

/* LISTEN_FDS without our number is what an engine or a service got for itself and left in the
 * environment (sd_listen_fds(3)): 3 is some other file of the caller's then. */
static const char *own_listen_fds(void)
{
	const char *text = getenv("LISTEN_PID");
	uint32_t pid;

	return text && parse_u32(text, &pid) == 0 && pid == (uint32_t)getpid()
		   ? getenv("LISTEN_FDS")
		   : NULL;
}

int check_preserve_fds(const struct opt_i64 *n, unsigned *ret, unsigned *ret_listen, struct err *e)
{
	const char *listen_fds = own_listen_fds();
	uint32_t listen = 0;
	unsigned total = n->set ? (unsigned)n->v : 0;

	if (listen_fds && parse_u32(listen_fds, &listen) < 0)
		return err_set(e, EINVAL, "environment: LISTEN_FDS=%s: not a number", listen_fds);
	if (listen > 1024 || total > 1024)
		return err_set(
		    e, EINVAL, "--preserve-fds %u, LISTEN_FDS %u: more than 1024", total, listen);
	total += listen;
	for (unsigned fd = 3; fd < 3 + total; fd++)
		if (fcntl((int)fd, F_GETFD) < 0)
			return err_set(e, EBADF,
			    "--preserve-fds %u: descriptor %u is not open in the calling process",
			    total - listen, fd);
	*ret = total;
	*ret_listen = listen;
	return 0;
}

int write_pid_file(const char *path, pid_t pid, struct err *e)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", pid);
	if (file_replace(AT_FDCWD, path, text, strlen(text), 0644, true, e) < 0)
		return err_wrap(e, "--pid-file");
	return 0;
}

/* As a shell finds a command. */
static char *find_command(const char *name)
{
	const char *list = getenv("PATH");
	_cleanup_strv_ char **dirs = strv_split(list ? list : "", ':');

	if (strchr(name, '/'))
		return xstrdup(name);
	for (char **d = dirs; *d; d++) {
		_cleanup_free_ char *path = path_join(*d, name);

		if (access(path, X_OK) == 0)
			return steal_ptr(path);
	}
	return NULL;
}

const char *host_program_dir(const char *argv0)
{
	static char exe[PATH_MAX];
	_cleanup_free_ char *found = NULL;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);
	char *slash;

	if (n > 0)
		exe[n] = '\0';
	if (n <= 0 || startswith(exe, "/memfd:")) {
		found = find_command(argv0);
		if (!found || !realpath(found, exe))
			return NULL;
	}
	slash = strrchr(exe, '/');
	if (!slash)
		return NULL;
	*slash = '\0';
	return exe;
}
