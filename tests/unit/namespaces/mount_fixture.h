/* A container's mounts without a container: a sandbox (mount namespace of its own, standing for the
 * host, with a shared tmpfs at FX_DIR) and in it children that do what runtime/init.c does. */
#pragma once
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "base/sys.h"
#include "namespaces/mount.h"
#include "tests/unit/test.h"

#define FX_DIR	  "/tmp/bailey-test-mounts"
#define FX_ROOTFS FX_DIR "/rootfs"

#define FX_MOUNTS 16
struct fx {
	struct spec s;
	struct spec_mount m[FX_MOUNTS];
	char *opts[FX_MOUNTS][12];
	char paths[FX_MOUNTS][24];
	unsigned ns_flags; /* CLONE_NEW* besides NEWNS */
	bool no_pivot;
	struct mount_env env; /* rootfd is filled in */
	struct err e;
};

static inline void fx_init(struct fx *f)
{
	memset(f, 0, sizeof(*f));
	f->s.bundle = FX_DIR;
	f->s.root.path = FX_ROOTFS;
	f->s.ns[NS_MOUNT].has = true;
	f->s.mounts.v = f->m;
	f->env.cgroup_dirfd = -EBADF;
	f->env.procfd = -EBADF;
}

/* Options end with NULL. */
static inline struct spec_mount *fx_mount(
    struct fx *f, const char *dest, const char *type, const char *source, ...)
{
	size_t i = f->s.mounts.n++;
	struct spec_mount *m = &f->m[i];
	va_list ap;
	char *o;

	va_start(ap, source);
	while ((o = va_arg(ap, char *)))
		f->opts[i][m->options.n++] = o;
	va_end(ap);
	snprintf(f->paths[i], sizeof(f->paths[i]), ".mounts[%zu]", i);
	m->destination = dest;
	m->type = type;
	m->source = source;
	m->options.v = f->opts[i];
	m->path = f->paths[i];
	return m;
}

static inline int fx_wait(pid_t pid)
{
	int st;

	while (waitpid(pid, &st, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(st) ? WEXITSTATUS(st) : 128 + WTERMSIG(st);
}

static inline void fx_dir(const char *path)
{
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		printf("# mkdir %s: %m\n", path);
}

static inline void fx_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		printf("# write %s: %m\n", path);
	close(fd);
}

/* Follows no link. */
static inline void fx_chown(const char *path, uid_t uid, gid_t gid)
{
	if (lchown(path, uid, gid) < 0)
		printf("# chown %s: %m\n", path);
}

/* Runs fn in a mount namespace of its own with a fresh shared tmpfs at FX_DIR and a rootfs in it.
 * Counts its failures. */
static inline void fx_sandbox(void (*fn)(void))
{
	pid_t pid;

	if (geteuid() != 0) {
		printf("# SKIP needs root for mount namespaces\n");
		return;
	}
	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		umask(022);
		mkdir(FX_DIR, 0700);
		if (unshare(CLONE_NEWNS) < 0 || mount("", "/", "", MS_REC | MS_PRIVATE, "") < 0 ||
		    mount("fx", FX_DIR, "tmpfs", 0, "mode=0700") < 0 ||
		    mount("", FX_DIR, "", MS_SHARED, "") < 0) {
			printf("# sandbox: %m\n");
			_exit(1);
		}
		fx_dir(FX_ROOTFS);
		fn();
		fflush(stdout);
		_exit(test_failed);
	}
	if (fx_wait(pid) != 0)
		test_failed = 1;
	rmdir(FX_DIR);
}

typedef void fx_check(struct fx *f, struct mount_plan *p);

static inline void fx_maps(struct fx *f)
{
	static struct spec_id_map map = { 0, 100000, 65536 };

	f->s.uid_mappings.v = f->s.gid_mappings.v = &map;
	f->s.uid_mappings.n = f->s.gid_mappings.n = 1;
}

struct fx_result {
	int r;
	struct err e;
};

static inline int fx_child(struct fx *f, struct mount_plan *p, fx_check *check)
{
	int r = rootfs_attach(p, f->no_pivot, &f->env.rootfd, &f->e);

	if (r == 0)
		r = mounts_apply(p, &f->env, &f->e);
	if (r == 0 && check)
		check(f, p);
	return r;
}

/* The runtime's order: plan and sources here, the rest in a child with new namespaces, where check
 * runs once the mounts are made. Returns what failed, with f->e. */
static inline int fx_run(struct fx *f, fx_check *check)
{
	_cleanup_mount_plan_ struct mount_plan *p = NULL;
	struct clone_args ca = { .flags = CLONE_NEWNS | f->ns_flags, .exit_signal = SIGCHLD };
	struct fx_result res = { 0 };
	int go[2], back[2], r;
	pid_t pid;
	char c = 0;

	r = mount_plan_new(&f->s, &p, &f->e);
	if (r == 0)
		r = mount_plan_open_sources(p, &f->e);
	if (r < 0)
		return r;
	if (pipe2(go, O_CLOEXEC) < 0 || pipe2(back, O_CLOEXEC) < 0)
		return -errno;
	fflush(stdout);
	pid = sys_clone3(&ca);
	if (pid == 0) {
		if (read(go[0], &c, 1) != 1)
			_exit(1);
		if ((f->ns_flags & CLONE_NEWUSER) && userns_become_root(&f->e) < 0)
			printf("# %s\n", f->e.msg);
		f->env.userns = f->ns_flags & CLONE_NEWUSER;
		f->env.new_cgroup_ns = f->ns_flags & CLONE_NEWCGROUP;
		res.r = fx_child(f, p, check);
		res.e = f->e;
		if (write(back[1], &res, sizeof(res)) != sizeof(res))
			_exit(1);
		fflush(stdout);
		_exit(test_failed);
	}
	if (pid > 0 && (f->ns_flags & CLONE_NEWUSER))
		r = userns_write_maps(pid, &f->s.uid_mappings, &f->s.gid_mappings, &f->e);
	close(back[1]);
	if (write(go[1], &c, 1) != 1 || read(back[0], &res, sizeof(res)) != sizeof(res))
		test_failed = 1;
	if (fx_wait(pid) != 0)
		test_failed = 1;
	close(go[0]);
	close(go[1]);
	close(back[0]);
	if (r == 0) {
		r = res.r;
		f->e = res.e;
	}
	return r;
}

/* Must work. */
static inline void fx_ok(struct fx *f, fx_check *check)
{
	int r = fx_run(f, check);

	if (r < 0)
		printf("# %s\n", f->e.msg);
	CHECK_INT(r, 0);
}

/* Inside check: pivot and finish, "/" is the container's from here on. */
static inline int fx_enter(struct fx *f, struct mount_plan *p)
{
	int r = rootfs_pivot(p, f->env.rootfd, f->no_pivot, &f->e);

	if (r == 0)
		r = rootfs_finish(p, f->env.rootfd, &f->e);
	if (r < 0)
		printf("# %s\n", f->e.msg);
	CHECK_INT(r, 0);
	return r;
}

/* The latest mount at path: "options optional-fields - type source superoptions", from mountinfo;
 * "" when nothing is mounted there. */
static inline const char *fx_mountinfo(int procfd, const char *path)
{
	static char out[1024];
	_cleanup_free_ char *text = NULL;
	char *save, *l;

	out[0] = '\0';
	if (file_read(procfd, "self/mountinfo", 1 << 20, &text, NULL, &(struct err)ERR_INIT) < 0)
		return "(unreadable)";
	for (l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		char point[512];
		int at = 0;

		if (sscanf(l, "%*s %*s %*s %*s %511s %n", point, &at) == 1 && streq(point, path))
			snprintf(out, sizeof(out), "%s", l + at);
	}
	return out;
}
static inline unsigned long fx_fstype(int dirfd, const char *path)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_PATH | O_CLOEXEC);
	struct statfs st;

	return fd >= 0 && fstatfs(fd, &st) == 0 ? (unsigned long)st.f_type : 0;
}
