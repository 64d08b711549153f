#include "namespaces/newidmap.h"

#include <fcntl.h>
#include <pwd.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

#define SUBID_MAX  (4u * 1024 * 1024)
#define OUTPUT_MAX 65536

/* Not $PATH: whoever sets it would choose what runs. The last is NixOS's only place for set-uid
 * programs. */
static const char *const dirs[] = { "/usr/bin", "/bin", "/usr/local/bin", "/run/wrappers/bin" };

/* One line of /etc/sub[ug]id that is name's or uid's. */
static bool parse_grant(
    char *line, const char *name, uint32_t uid, uint64_t *start, uint64_t *count)
{
	char *save, *who = strtok_r(line, ":", &save);
	char *from = strtok_r(NULL, ":", &save), *n = strtok_r(NULL, ":", &save);
	uint32_t number;

	if (!who || !from || !n || parse_u64(from, start) < 0 || parse_u64(n, count) < 0)
		return false;
	return (name && streq(who, name)) || (parse_u32(who, &number) == 0 && number == uid);
}

bool subid_first_missing(const char *text, const char *name, uint32_t own_uid, uint32_t own,
    const struct spec_id_maps *m, uint32_t *ret)
{
	_cleanup_strv_ char **lines = strv_split(text, '\n');
	_cleanup_free_ struct id_grant {
		uint64_t start, count;
	} *grants = xcalloc(strv_len(lines) + 1, sizeof(*grants));
	size_t n = 0;

	for (size_t i = 0; i < strv_len(lines); i++)
		if (parse_grant(lines[i], name, own_uid, &grants[n].start, &grants[n].count))
			n++;
	grants[n].start = own;
	grants[n++].count = 1;
	for (size_t i = 0; i < m->n; i++) {
		uint64_t id = m->v[i].host_id, end = id + m->v[i].size;

		/* Ranges may abut or overlap, so walk on while some grant holds the next id. */
		for (bool moved = true; moved && id < end;) {
			moved = false;
			for (size_t g = 0; g < n; g++)
				if (id >= grants[g].start &&
				    id - grants[g].start < grants[g].count) {
					id = grants[g].start + grants[g].count;
					moved = true;
				}
		}
		if (id < end) {
			*ret = (uint32_t)id;
			return true;
		}
	}
	return false;
}

static char **helper_argv(const char *path, pid_t pid, const struct spec_id_maps *m)
{
	char **argv = NULL;

	strv_push(&argv, xstrdup(path));
	strv_push(&argv, xasprintf("%d", pid));
	for (size_t i = 0; i < m->n; i++) {
		strv_push(&argv, xasprintf("%u", m->v[i].container_id));
		strv_push(&argv, xasprintf("%u", m->v[i].host_id));
		strv_push(&argv, xasprintf("%u", m->v[i].size));
	}
	return argv;
}

/* Spawns argv with an empty environment and signal mask, stdin from /dev/null, and stdout and
 * stderr into out. Returns 0 or -errno. */
static int spawn(char **argv, int out, pid_t *ret)
{
	static char *const envp[] = { "PATH=/usr/bin:/bin", NULL };
	posix_spawn_file_actions_t fa;
	posix_spawnattr_t attr;
	sigset_t none, all;
	int r;

	sigemptyset(&none);
	sigfillset(&all);
	posix_spawnattr_init(&attr);
	posix_spawnattr_setsigmask(&attr, &none);
	posix_spawnattr_setsigdefault(&attr, &all);
	posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
	posix_spawn_file_actions_init(&fa);
	posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&fa, out, 1);
	posix_spawn_file_actions_adddup2(&fa, out, 2);
	r = posix_spawn(ret, argv[0], &fa, &attr, argv, envp);
	posix_spawn_file_actions_destroy(&fa);
	posix_spawnattr_destroy(&attr);
	return -r;
}

/* Runs argv to its end; *ret_text: what it printed, on one line. */
static int run(char **argv, int *ret_status, char **ret_text)
{
	_cleanup_close_ int rd = -EBADF, wr = -EBADF;
	int p[2], r;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	rd = p[0];
	wr = p[1];
	r = spawn(argv, wr, &pid);
	if (r < 0)
		return r;
	close(steal_fd(&wr));
	return fd_read_child(steal_fd(&rd), pid, OUTPUT_MAX, ret_text, ret_status);
}

/* Why did the helper refuse? Names the first id that is not granted, where there is one. */
static int explain(bool group, const char *json, const char *helper, int status, const char *text,
    const struct spec_id_maps *m, struct err *e)
{
	const char *file = group ? "/etc/subgid" : "/etc/subuid";
	const struct passwd *pw = getpwuid(getuid());
	_cleanup_free_ char *grants = NULL;
	struct err ignored = ERR_INIT;
	uint32_t id;

	if (file_read(AT_FDCWD, file, SUBID_MAX, &grants, NULL, &ignored) < 0)
		grants = xstrdup("");
	if (subid_first_missing(
		grants, pw ? pw->pw_name : NULL, getuid(), group ? getgid() : getuid(), m, &id))
		return err_set(e, EPERM,
		    "config.json: %s: host id %u: %s does not grant it to user %s (uid %u); %s "
		    "says: %s",
		    json, id, file, pw ? pw->pw_name : "without a name", getuid(), helper, text);
	if (WIFSIGNALED(status))
		return err_set(e, EPERM, "config.json: %s: %s: killed by signal %d: %s", json,
		    helper, WTERMSIG(status), text);
	return err_set(e, EPERM, "config.json: %s: %s: exit status %d: %s", json, helper,
	    WEXITSTATUS(status), text);
}

int newidmap_run(
    bool group, const char *json, pid_t pid, const struct spec_id_maps *m, struct err *e)
{
	const char *name = group ? "newgidmap" : "newuidmap";
	char path[64] = "";
	_cleanup_strv_ char **argv = NULL;
	_cleanup_free_ char *text = NULL;
	int status = 0, r;

	for (size_t i = 0; i < ARRAY_SIZE(dirs); i++) {
		snprintf(path, sizeof(path), "%s/%s", dirs[i], name);
		if (access(path, X_OK) == 0)
			break;
		path[0] = '\0';
	}
	if (!path[0])
		return err_set(e, ENOENT,
		    "config.json: %s: %s is not installed (Debian: uidmap), and without it only "
		    "the own id %u can be mapped, alone",
		    json, name, group ? getegid() : geteuid());
	argv = helper_argv(path, pid, m);
	r = run(argv, &status, &text);
	if (r < 0)
		return err_errno(e, -r, "run %s", path);
	if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
		return explain(group, json, path, status, text, m, e);
	log_debug("%s mapped %zu ranges", path, m->n);
	return 0;
}
