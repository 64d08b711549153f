/* The processes of a container, from procfs: names and commands are the processes' own, so they
 * are data to be quoted, nothing else. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "guest/agent.h"

#define STATUS_MAX  (64u << 10)
#define COMMAND_MAX 4096u /* bytes of a command line that are shown */
#define PTS_MAJOR   136
#define PTS_MAJORS  8

struct row {
	pid_t pid, ppid; /* as the agent counts */
	pid_t inside;	 /* as the container does */
	uint32_t uid;
	unsigned tty;
	uint64_t start, ticks;
	char comm[64];
	char *command;
};

/* "Key:\tvalue" of /proc/PID/status; NULL: no such line. */
static const char *status_field(const char *text, const char *key)
{
	size_t n = strlen(key);

	for (const char *l = text; l; l = strchr(l, '\n')) {
		l += *l == '\n';
		if (strncmp(l, key, n) == 0 && l[n] == ':')
			return l + n + 1 + strspn(l + n + 1, " \t");
	}
	return NULL;
}

/* The last number of NSpid is the innermost namespace's. */
static pid_t innermost(const char *field)
{
	size_t n = strcspn(field, "\n");

	while (n && field[n - 1] != '\t' && field[n - 1] != ' ')
		n--;
	return (pid_t)strtol(field + n, NULL, 10);
}

static int read_status(int dir, struct row *r)
{
	_cleanup_close_ int fd = openat(dir, "status", O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	const char *uid, *nspid;
	int n = fd < 0 ? -errno : fd_read_all(fd, STATUS_MAX, &text, NULL);

	if (n < 0)
		return n;
	uid = status_field(text, "Uid");
	nspid = status_field(text, "NSpid");
	if (!uid || !nspid)
		return -EINVAL;
	r->uid = (uint32_t)strtoul(uid, NULL, 10);
	r->inside = innermost(nspid);
	return 0;
}

/* proc_pid_stat(5): comm in parentheses may hold anything, so the last one ends it. Fields from the
 * third on follow. */
static int read_stat(int dir, struct row *r)
{
	_cleanup_close_ int fd = openat(dir, "stat", O_RDONLY | O_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	char *open, *close_, *at;
	uint64_t field[23] = { 0 };
	int n = fd < 0 ? -errno : fd_read_all(fd, STATUS_MAX, &text, NULL);

	if (n < 0)
		return n;
	open = strchr(text, '(');
	close_ = strrchr(text, ')');
	if (!open || !close_ || close_ < open || !close_[1] || !close_[2])
		return -EINVAL;
	*close_ = '\0';
	snprintf(r->comm, sizeof(r->comm), "%s", open + 1);
	at = close_ + 3; /* past ") S" */
	for (size_t i = 4; i < ARRAY_SIZE(field); i++)
		field[i] = (uint64_t)strtoll(at, &at, 10);
	r->ppid = (pid_t)field[4];
	r->tty = (unsigned)field[7];
	r->ticks = field[14] + field[15];
	r->start = field[22];
	return 0;
}

static void read_command(int dir, struct row *r)
{
	_cleanup_close_ int fd = openat(dir, "cmdline", O_RDONLY | O_CLOEXEC);
	char buf[COMMAND_MAX + 1];
	ssize_t n = fd < 0 ? 0 : read(fd, buf, COMMAND_MAX);

	while (n > 0 && buf[n - 1] == '\0')
		n--;
	if (n <= 0) {
		r->command = xasprintf("[%s]", r->comm);
		return;
	}
	buf[n] = '\0';
	for (ssize_t i = 0; i < n; i++)
		if (buf[i] == '\0')
			buf[i] = ' ';
	r->command = xstrdup(buf);
}

/* 1: read; 0: it has ended meanwhile. */
static int read_row(const struct agent *a, pid_t pid, struct row *r)
{
	_cleanup_close_ int dir = -EBADF;
	char name[16];

	snprintf(name, sizeof(name), "%d", pid);
	dir = openat(a->procfd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	*r = (struct row){ .pid = pid };
	if (dir < 0 || read_status(dir, r) < 0 || read_stat(dir, r) < 0)
		return 0;
	read_command(dir, r);
	return 1;
}

static pid_t parent_inside(const struct row *rows, size_t n, pid_t ppid)
{
	for (size_t i = 0; i < n; i++)
		if (rows[i].pid == ppid)
			return rows[i].inside;
	return 0;
}

static void put_tty(struct json_gen *g, unsigned dev)
{
	unsigned maj = (dev >> 8) & 0xfff, min = (dev & 0xff) | ((dev >> 12) & 0xfff00);
	char name[32] = "?";

	if (maj >= PTS_MAJOR && maj < PTS_MAJOR + PTS_MAJORS)
		snprintf(name, sizeof(name), "pts/%u", ((maj - PTS_MAJOR) << 8) + min);
	json_gen_kstr(g, "tty", name);
}

static void put_rows(struct json_gen *g, const struct row *rows, size_t n)
{
	const uint64_t hz = (uint64_t)sysconf(_SC_CLK_TCK);
	struct timespec now, up;

	clock_gettime(CLOCK_REALTIME, &now);
	clock_gettime(CLOCK_BOOTTIME, &up);
	json_gen_array(g);
	for (size_t i = 0; i < n; i++) {
		const struct row *r = &rows[i];

		json_gen_map(g);
		json_gen_kint(g, "pid", r->inside);
		json_gen_kint(g, "ppid", parent_inside(rows, n, r->ppid));
		json_gen_kint(g, "guest_pid", r->pid);
		json_gen_kuint(g, "uid", r->uid);
		put_tty(g, r->tty);
		json_gen_kint(g, "start", now.tv_sec - up.tv_sec + (int64_t)(r->start / hz));
		json_gen_kuint(g, "time", r->ticks / hz);
		json_gen_kstr(g, "comm", r->comm);
		json_gen_kstr(g, "cmd", r->command);
		json_gen_end(g);
	}
	json_gen_end(g);
}

int ctr_ps(struct agent *a, struct ctr *c, struct json_gen *g, struct err *e)
{
	_cleanup_free_ pid_t *pids = NULL;
	_cleanup_free_ struct row *rows = NULL;
	size_t n, got = 0;
	int r = cgroup_pids(&c->cg, &pids, &n, e);

	if (r < 0)
		return r;
	rows = xcalloc(n + 1, sizeof(*rows));
	for (size_t i = 0; i < n; i++)
		got += (size_t)read_row(a, pids[i], &rows[got]);
	put_rows(g, rows, got);
	for (size_t i = 0; i < got; i++)
		free(rows[i].command);
	return 0;
}
