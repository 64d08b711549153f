#include "process/payload.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"

#define EXIT_NOT_EXECUTABLE 126
#define EXIT_NOT_FOUND	    127
#define PASSWD_MAX	    (4 * 1024 * 1024)
#define DEFAULT_PATH	    "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

char *seccomp_agent_state(
    const struct spec *s, const struct spec_state *state, int procfd, struct err *e)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_free_ char *text = NULL;
	struct spec_state with_pid = *state;
	const struct json *doc;
	char self[16] = "";
	int64_t pid;

	if (readlinkat(procfd, "self", self, sizeof(self) - 1) < 0 ||
	    parse_int_range(self, 1, INT32_MAX, &pid) < 0) {
		err_set(e, ESRCH, "/proc/self does not tell the process's number (\"%s\")", self);
		return NULL;
	}
	with_pid.pid = (pid_t)pid;
	text = spec_state_json(&with_pid, false);
	if (json_parse(a, "state", text, strlen(text), &doc, e) < 0)
		return NULL;
	json_gen_map(g);
	json_gen_kstr(g, "ociVersion", OCI_VERSION);
	json_gen_kstrv(g, "fds", (char *const[]){ "seccompFd", NULL });
	json_gen_kint(g, "pid", pid);
	if (s->seccomp.listener_metadata)
		json_gen_kstr(g, "metadata", s->seccomp.listener_metadata);
	json_gen_key(g, "state");
	json_gen_node(g, doc);
	json_gen_end(g);
	return xstrdup(json_gen_text(g, NULL));
}

static const char *env_get(char *const *env, const char *name)
{
	size_t n = strlen(name);

	for (; env && *env; env++)
		if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
			return *env + n + 1;
	return NULL;
}

/* Field n (from 0) of a passwd line, as a new string. */
static char *passwd_field(const char *line, size_t len, int n)
{
	const char *end = line + len;

	while (n-- > 0) {
		line = memchr(line, ':', (size_t)(end - line));
		if (!line)
			return NULL;
		line++;
	}
	len = strcspn(line, ":\n");
	return xstrndup(line, len < (size_t)(end - line) ? len : (size_t)(end - line));
}

/* The image's passwd is the image's: whatever it holds, the worst it can do is to name no home. */
static char *home_of(uint32_t uid)
{
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int fd =
	    root_open(root, "/etc/passwd", O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	_cleanup_free_ char *text = NULL;
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
	    fd_read_all(fd, PASSWD_MAX, &text, NULL) < 0)
		return xstrdup("/");
	for (const char *line = text; *line;) {
		size_t len = strcspn(line, "\n");
		_cleanup_free_ char *number = passwd_field(line, len, 2);
		uint32_t got;

		if (number && parse_u32(number, &got) == 0 && got == uid) {
			char *home = passwd_field(line, len, 5);

			if (home && *home == '/')
				return home;
			free(home);
			break;
		}
		line += len + (line[len] ? 1 : 0);
	}
	return xstrdup("/");
}

struct setting {
	const char *text;
	size_t name_len, at;
};

static int by_name_and_place(const void *a, const void *b)
{
	const struct setting *x = a, *y = b;
	int r;

	if (x->name_len != y->name_len)
		return x->name_len < y->name_len ? -1 : 1;
	r = memcmp(x->text, y->text, x->name_len);
	return r ? r : x->at < y->at ? -1 : 1;
}

static bool same_name(const struct setting *x, const struct setting *y)
{
	return x->name_len == y->name_len && memcmp(x->text, y->text, x->name_len) == 0;
}

/* Of several settings of one name the last counts, as for every engine's users, where the first
 * was; getenv(3) would take the first. An image may have very many. */
static char **last_of_each(char *const *env)
{
	size_t n = strv_len(env), kept = 0;
	_cleanup_free_ struct setting *v = xcalloc(n + 1, sizeof(*v));
	char **out = xcalloc(n + 1, sizeof(*out));

	for (size_t i = 0; i < n; i++)
		v[i] = (struct setting){ env[i], strcspn(env[i], "="), i };
	qsort(v, n, sizeof(*v), by_name_and_place);
	for (size_t i = 0, first = 0; i < n; i++) {
		if (i + 1 < n && same_name(&v[first], &v[i + 1]))
			continue;
		out[v[first].at] = xstrdup(v[i].text);
		first = i + 1;
	}
	for (size_t i = 0; i < n; i++)
		if (out[i])
			out[kept++] = out[i];
	out[kept] = NULL;
	return out;
}

static void complete_env(struct payload *p)
{
	p->env = last_of_each(p->process->env.v);
	if (!env_get(p->env, "HOME")) {
		_cleanup_free_ char *home = home_of(p->process->user.uid);

		strv_push(&p->env, xasprintf("HOME=%s", home));
	}
	if (p->listen_fds) {
		strv_push(&p->env, xasprintf("LISTEN_FDS=%u", p->listen_fds));
		strv_push(&p->env, xasprintf("LISTEN_PID=%d", getpid()));
	}
}

/* Reads what the payload's own execve would say, as far as it can be told beforehand. */
static int check_executable(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	return S_ISREG(st.st_mode) && st.st_mode & 0111 ? 0 : -EACCES;
}

/* Engines tell 126 from 127 by the words "permission denied" and "no such file or directory". */
static int exec_error(struct err *e, int code, const char *arg)
{
	if (code == EISDIR)
		err_errno(e, EACCES, "exec: \"%s\": is a directory", arg);
	else
		err_errno(e, code, "exec: \"%s\"", arg);
	return err_exit(
	    e, code == ENOENT || code == ENOTDIR ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
}

static int find_in_path(const char *name, const char *path_list, char **ret)
{
	_cleanup_strv_ char **dirs = strv_split(path_list, ':');
	int worst = -ENOENT;

	for (char **d = dirs; *d; d++) {
		_cleanup_free_ char *path = path_join(*d, name);
		int r = path_is_absolute(path) ? check_executable(path) : -ENOENT;

		if (r == 0) {
			*ret = steal_ptr(path);
			return 0;
		}
		if (r == -EACCES)
			worst = r;
	}
	return worst;
}

static int find_executable(struct payload *p, struct err *e)
{
	const char *name = p->process->args.v[0];
	const char *path = env_get(p->env, "PATH");
	int r;

	if (!*name || strchr(name, '/')) {
		r = *name ? check_executable(name) : -ENOENT;
		if (r < 0)
			return exec_error(e, -r, name);
		p->exe = xstrdup(name);
		return 0;
	}
	r = find_in_path(name, path ? path : DEFAULT_PATH, &p->exe);
	if (r == -ENOENT) {
		err_set(e, ENOENT, "exec: \"%s\": executable file not found in $PATH", name);
		return err_exit(e, EXIT_NOT_FOUND);
	}
	return r < 0 ? exec_error(e, -r, name) : 0;
}

/* A working directory that the kernel cannot name lies outside the root: a leaked descriptor of the
 * host (CVE-2024-21626). The system call tells with "(unreachable)", glibc's wrapper hides it. */
static int check_inside_root(const char *cwd, struct err *e)
{
	char buf[4096];

	if (syscall(SYS_getcwd, buf, sizeof(buf)) < 0)
		return err_errno(e, errno, ".process.cwd: \"%s\"", cwd);
	if (buf[0] != '/')
		return err_set(
		    e, EPERM, ".process.cwd: \"%s\" leads out of the container's root", cwd);
	return 0;
}

static int enter_cwd(const struct payload *p, bool make, struct err *e)
{
	const char *cwd = p->process->cwd;
	_cleanup_close_ int root = -EBADF, fd = -EBADF;

	if (make) {
		root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
		fd = root_mkdir_p(root, cwd, 0755);
	}
	if (chdir(cwd) < 0) {
		int code = errno;

		err_errno(e, code, "chdir to .process.cwd \"%s\"", cwd);
		return err_exit(
		    e, code == ENOENT || code == ENOTDIR ? EXIT_NOT_FOUND : EXIT_NOT_EXECUTABLE);
	}
	return check_inside_root(cwd, e);
}

int payload_prepare(struct payload *p, bool make_cwd, struct err *e)
{
	int r;

	complete_env(p);
	r = enter_cwd(p, make_cwd, e);
	return r < 0 ? r : find_executable(p, e);
}

/* The payload may reopen its standard streams by name (/dev/stdout), which asks for ownership. A
 * file of the host's that it shall only read stays its owner's, who could write to it by that name.
 * What cannot be given stays as it is too: writing to the open descriptor works.
 */
static void own_stdio(uint32_t uid)
{
	for (int fd = 0; fd < 3; fd++) {
		struct stat st;

		if (fstat(fd, &st) < 0 || st.st_uid == uid)
			continue;
		if (S_ISCHR(st.st_mode) && !isatty(fd))
			continue; /* /dev/null is everybody's */
		if (!S_ISCHR(st.st_mode) && !S_ISFIFO(st.st_mode) &&
		    (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY)
			continue;
		if (fchown(fd, uid, (gid_t)-1) < 0)
			log_debug("fchown of standard stream %d: %s", fd, strerror(errno));
	}
}

static void reset_signals(void)
{
	const struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int sig = 1; sig < NSIG; sig++)
		(void)sigaction(sig, &dfl, NULL); /* SIGKILL, SIGSTOP and glibc's own refuse */
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Closes those from first to before end. */
static int close_gap(unsigned first, unsigned end)
{
	return first < end ? close_range(first, end - 1, 0) : 0;
}

/*
 * Closed now, and not by execve(2): until that has found its files, a name such as
 * /proc/self/fd/7/../../../bin/sh would lead through a descriptor of ours to the host, and whoever
 * made the image can write it into a symbolic link or a script's first line. Two sockets stay: the
 * one that tells of execve's failure and the seccomp agent's; nothing can be found through them.
 */
static int close_descriptors(const struct payload *p, struct err *e)
{
	const unsigned first = 3 + p->preserve_fds, report = (unsigned)p->report;
	const unsigned agent = p->seccomp_agent < 0 ? report : (unsigned)p->seccomp_agent;
	const unsigned low = report < agent ? report : agent;
	const unsigned high = report < agent ? agent : report;
	int r;

	for (unsigned fd = 3; fd < first; fd++)
		if ((r = fd_cloexec((int)fd, false)) < 0)
			return err_errno(e, -r, "--preserve-fds: descriptor %u", fd);
	if (close_gap(first, low) < 0 || close_gap(low + 1, high) < 0 ||
	    close_range(high + 1, ~0u, 0) < 0)
		return err_errno(e, errno, "close_range");
	return 0;
}

static int load_seccomp(const struct payload *p, struct err *e)
{
	if (!p->seccomp || !p->seccomp->n)
		return 0;
	return seccomp_install(p->seccomp, p->seccomp_agent, p->state_json, e);
}

/* From all rights to the payload's. */
static int give_up(const struct payload *p, struct err *e)
{
	const struct spec_process *ps = p->process;
	int r = rlimits_apply(ps, e);

	if (r < 0)
		return r;
	if (ps->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_errno(e, errno, "set no_new_privs");
	/* Loading a filter takes CAP_SYS_ADMIN or no_new_privs. With the latter it comes last, so
	 * that the fewest calls of ours must be in the profile. */
	if (!ps->no_new_privileges && (r = load_seccomp(p, e)) < 0)
		return r;
	if ((r = caps_drop_bounding(&ps->caps, e)) < 0 || (r = user_apply(&ps->user, e)) < 0 ||
	    (r = caps_apply(&ps->caps, e)) < 0)
		return r;
	return ps->no_new_privileges ? load_seccomp(p, e) : 0;
}

int payload_execute(struct payload *p, struct err *e)
{
	const struct spec_process *ps = p->process;
	int r;

	own_stdio(ps->user.uid);
	reset_signals();
	if ((r = lsm_apply_exec(p->procfd, ps, e)) < 0 || (r = close_descriptors(p, e)) < 0 ||
	    (r = give_up(p, e)) < 0)
		return r;
	execve(p->exe, ps->args.v, p->env);
	return exec_error(e, errno, p->exe);
}

int payload_confine(const struct payload *p, struct err *e)
{
	struct seccomp_prog prog = *p->seccomp; /* of which this process has its own copy */
	struct payload own = *p;
	int r = lsm_apply_exec(p->procfd, p->process, e);

	if (r < 0)
		return r;
	if (close_range(3, ~0u, 0) < 0)
		return err_errno(e, errno, "close_range");
	seccomp_without_agent(&prog);
	own.seccomp = &prog;
	return give_up(&own, e);
}
