/*
 * Finding things: where cgroup2 is mounted, which path a container gets, opening a cgroup, and the
 * small readers of cgroup files that the other files share.
 */
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "cgroups/internal.h"

#define CGROUP_MOUNT "/sys/fs/cgroup"
/* A container host has thousands of mounts at most, some 200 bytes each. */
#define MOUNTINFO_MAX (16u * 1024 * 1024)

void cgroup_close(struct cgroup *c)
{
	closep(&c->dirfd);
	c->dirfd = -EBADF;
	free(steal_ptr(c->path));
	free(steal_ptr(c->made_from));
}

char *cg_name(int dirfd, char buf[CG_NAME_MAX])
{
	char link[FD_PATH_MAX];
	ssize_t n = readlink(fd_path(dirfd, link), buf, CG_NAME_MAX - 1);

	if (n < 0)
		snprintf(buf, CG_NAME_MAX, "cgroup");
	else
		buf[n] = '\0';
	return buf;
}

int cg_require(const struct cgroup *c, struct err *e)
{
	if (c->dirfd >= 0)
		return 0;
	return err_set(e, ENOENT, "the container has no cgroup of its own");
}

int cg_check_path(const char *path, struct err *e)
{
	_cleanup_free_ char *clean = path_normalize(path);

	if (path[0] == '/' && path[1] && streq(path, clean))
		return 0;
	return err_set(
	    e, EINVAL, "cgroup path \"%s\": not an absolute, clean path below the root", path);
}

/* ---- mounts ---- */

struct cg_mount {
	int fd;
	char *root; /* which part of the hierarchy is mounted, as the caller's namespace names it */
	int rank;
};

static int open_cgroup2(const char *dir)
{
	_cleanup_close_ int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct statfs sf;

	if (fd < 0 || fstatfs(fd, &sf) < 0)
		return -errno;
	if (sf.f_type != CGROUP2_SUPER_MAGIC)
		return -ENOTTY;
	return steal_fd(&fd);
}

/* mountinfo writes blanks, tabs, newlines and backslashes as \ooo. */
static void unescape(char *s)
{
	char *to = s;

	for (; *s; s++) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 3;
		} else {
			*to++ = *s;
		}
	}
	*to = '\0';
}

/* "ID PARENT MAJ:MIN ROOT POINT OPTIONS [TAGS] - TYPE SOURCE SUPER" */
static void consider_line(char *line, struct cg_mount *best)
{
	char *type = strstr(line, " - "), *field[5], *save = NULL;
	int rank, fd;

	if (!type || !startswith(type + 3, "cgroup2 "))
		return;
	for (int i = 0; i < 5; i++) {
		field[i] = strtok_r(i ? NULL : line, " ", &save);
		if (!field[i])
			return;
	}
	unescape(field[3]);
	unescape(field[4]);
	rank = streq(field[4], CGROUP_MOUNT) ? 3 : streq(field[3], "/") ? 2 : 1;
	if (rank < best->rank)
		return;
	/* Another mount may lie on top of this one: what the path opens to counts. */
	fd = open_cgroup2(field[4]);
	if (fd < 0)
		return;
	closep(&best->fd);
	free(best->root);
	*best = (struct cg_mount){ .fd = fd, .root = xstrdup(field[3]), .rank = rank };
}

static int find_mount(struct cg_mount *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct cg_mount best = { .fd = -EBADF };
	char *save = NULL;
	int r = file_read(AT_FDCWD, "/proc/self/mountinfo", MOUNTINFO_MAX, &text, NULL, e);

	if (r < 0)
		return r;
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save))
		consider_line(l, &best);
	if (best.fd < 0)
		return err_set(e, ENOENT,
		    "cgroup2 is not mounted: bailey needs it, mount it with `mount -t cgroup2 none "
		    "/sys/fs/cgroup` (or boot with systemd.unified_cgroup_hierarchy=1)");
	*ret = best;
	return 0;
}

int cgroup_open_root(struct err *e)
{
	struct cg_mount m;
	int r = open_cgroup2(CGROUP_MOUNT);

	if (r >= 0)
		return r;
	r = find_mount(&m, e);
	if (r < 0)
		return r;
	free(m.root);
	return m.fd;
}

/* ---- paths ---- */

/* Of a path as /proc/PID/cgroup has it, what is below the mounted part; NULL: lies outside. */
static const char *below_mount(const char *path, const char *mount_root)
{
	const char *rest;

	if (streq(mount_root, "/"))
		return path;
	rest = startswith(path, mount_root);
	if (!rest || (*rest && *rest != '/'))
		return NULL;
	return *rest ? rest : "/";
}

static int proc_cgroup(pid_t pid, char **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char file[64], *save = NULL;
	const char *path;
	int r;

	if (pid)
		snprintf(file, sizeof(file), "/proc/%d/cgroup", pid);
	else
		snprintf(file, sizeof(file), "/proc/self/cgroup");
	r = file_read(AT_FDCWD, file, 1024 * 1024, &text, NULL, e);
	if (r < 0)
		return r;
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		path = startswith(l, "0::");
		if (!path)
			continue;
		if (*path != '/' || endswith(path, " (deleted)"))
			return err_set(e, ENOENT, "%s: its cgroup \"%s\" is gone", file, path);
		*ret = xstrdup(path);
		return 0;
	}
	return err_set(e, ENOENT, "%s: no \"0::\" line: the process is in no cgroup2", file);
}

int cgroup_of_pid(pid_t pid, char **ret, struct err *e)
{
	_cleanup_free_ char *full = NULL, *root = NULL;
	struct cg_mount m = { .fd = -EBADF };
	const char *path;
	int r = proc_cgroup(pid, &full, e);

	if (r < 0)
		return r;
	r = find_mount(&m, e);
	if (r < 0)
		return r;
	closep(&m.fd);
	root = m.root;
	path = below_mount(full, root);
	if (!path)
		return err_set(e, ENOENT,
		    "/proc/%d/cgroup: \"%s\" lies outside the mounted part of cgroup2, \"%s\"", pid,
		    full, root);
	*ret = xstrdup(path);
	return 0;
}

/* Below the parent of the caller's own cgroup. */
static int beside_caller(const char *name, char **ret, struct err *e)
{
	_cleanup_free_ char *own = NULL, *joined = NULL;
	int r = cgroup_of_pid(0, &own, e);

	if (r < 0)
		return r;
	strrchr(own, '/')[0] = '\0';
	joined = xasprintf("%s/%s", own, name);
	*ret = path_normalize(joined);
	return 0;
}

int cgroup_choose_path(
    const char *cgroups_path, const char *id, bool rootless, char **ret, struct err *e)
{
	_cleanup_free_ char *def = xasprintf("/bailey-%s", id), *clean = NULL;
	int r;

	if (!cgroups_path || !*cgroups_path) {
		if (rootless && beside_caller(def + 1, ret, e) == 0)
			return 0;
		if (rootless) {
			/* Then there is no cgroup to be had either; cgroup_create decides. */
			log_debug("cgroup path: %s", e->msg);
			err_clear(e);
		}
		*ret = steal_ptr(def);
		return 0;
	}
	/* Cleaned as if it were absolute, so that ".." of a relative one stays below its base. */
	free(def);
	def = xasprintf("/%s", cgroups_path);
	clean = path_normalize(def);
	if (streq(clean, "/"))
		return err_set(e, EINVAL,
		    "config.json: .linux.cgroupsPath: \"%s\": names the root of the hierarchy",
		    cgroups_path);
	if (cgroups_path[0] != '/') {
		r = beside_caller(clean + 1, ret, e);
		return r < 0 ? err_wrap(e, "config.json: .linux.cgroupsPath: \"%s\"", cgroups_path)
			     : 0;
	}
	*ret = steal_ptr(clean);
	return 0;
}

int cgroup_open(const char *path, struct cgroup *ret, struct err *e)
{
	_cleanup_close_ int root = -EBADF, fd = -EBADF;
	struct stat st;
	int r = cg_check_path(path, e);

	if (r < 0)
		return r;
	root = cgroup_open_root(e);
	if (root < 0)
		return root;
	fd = openat(root, path + 1, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_errno(e, errno, "open cgroup %s", path);
	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, "stat cgroup %s", path);
	*ret = (struct cgroup){ .dirfd = steal_fd(&fd), .path = xstrdup(path), .id = st.st_ino };
	return 0;
}

int cgroup_first_missing(const char *path, char **ret, struct err *e)
{
	_cleanup_close_ int root = -EBADF;
	_cleanup_free_ char *p = xstrdup(path), *missing = NULL;
	int r = cg_check_path(path, e);

	if (r < 0)
		return r;
	root = cgroup_open_root(e);
	if (root < 0)
		return root;
	while (*p && faccessat(root, p + 1, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT)
			return err_errno(e, errno, "look for cgroup %s", p);
		free(missing);
		missing = xstrdup(p);
		*strrchr(p, '/') = '\0';
	}
	*ret = steal_ptr(missing);
	return 0;
}

/* ---- small readers ---- */

static int find_key(char *text, const char *key, uint64_t *ret)
{
	char *save = NULL;

	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		const char *v = startswith(l, key);

		if (v && *v == ' ')
			return parse_u64(v + 1, ret);
	}
	return -ENODATA;
}

int cg_read_key(int dirfd, const char *file, const char *key, uint64_t *ret)
{
	_cleanup_free_ char *text = NULL;
	int r = kfile_read(dirfd, file, &text);

	return r < 0 ? r : find_key(text, key, ret);
}

int cg_pread_key(int fd, const char *key, uint64_t *ret)
{
	char text[1024];
	ssize_t n = pread(fd, text, sizeof(text) - 1, 0);

	if (n < 0)
		return -errno;
	text[n] = '\0';
	return find_key(text, key, ret);
}

int cg_read_u64(int dirfd, const char *file, uint64_t *ret)
{
	_cleanup_free_ char *text = NULL;
	int r = kfile_read(dirfd, file, &text);

	if (r < 0)
		return r;
	if (streq(text, "max")) {
		*ret = UINT64_MAX;
		return 0;
	}
	return parse_u64(text, ret);
}

int cg_has_word(int dirfd, const char *file, const char *word)
{
	_cleanup_free_ char *text = NULL;
	_cleanup_strv_ char **words = NULL;
	int r = kfile_read(dirfd, file, &text);

	if (r < 0)
		return r;
	words = strv_split(text, ' ');
	return strv_contains(words, word);
}
