/*
 * The kernel's floor: what a container of the default configuration costs when nothing but the
 * needed kernel calls is made. No configuration is read, no state kept, no error explained.
 *
 *   bare CGROUP2-MOUNT ROOTFS PROGRAM ARG…
 *
 * The calls are those that `bailey run` makes for `bailey spec` without terminal: a fresh cgroup
 * with a device program of the same decisions, clone3 into it with new pid, network, ipc, uts,
 * cgroup and mount namespaces, a session keyring, the seven default mounts, /dev, masked and
 * read-only paths, pivot_root, loopback, hostname, capabilities, rlimit, execve; then waitid and
 * rmdir.
 */
#include <err.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "base/sys.h"

#define TRY(call)                            \
	({                                   \
		__auto_type r_ = (call);     \
		if (r_ < 0)                  \
			err(1, "%s", #call); \
		r_;                          \
	})
#define N(a) (sizeof(a) / sizeof((a)[0]))

/* ---- parent ---- */

#define INSN(c, d, s, o, i) \
	((struct bpf_insn){ .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) })
#define LOAD(d, o)   INSN(BPF_LDX | BPF_MEM | BPF_W, d, BPF_REG_1, o, 0)
#define MOVI(d, i)   INSN(BPF_ALU64 | BPF_MOV | BPF_K, d, 0, 0, i)
#define JNE(d, i, o) INSN(BPF_JMP32 | BPF_JNE | BPF_K, d, 0, o, i)
#define EXIT	     INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define ALLOW_CHAR(maj, min) \
	LOAD(4, 4), JNE(4, maj, 4), LOAD(4, 8), JNE(4, min, 2), MOVI(0, 1), EXIT

static void attach_devices(int cgroup)
{
	const struct bpf_insn prog[] = {
		LOAD(2, 0), /* access and type */
		INSN(BPF_ALU | BPF_MOV | BPF_X, 3, 2, 0, 0),
		INSN(BPF_ALU | BPF_AND | BPF_K, 2, 0, 0, 0xffff),
		INSN(BPF_ALU | BPF_RSH | BPF_K, 3, 0, 0, 16),
		JNE(3, BPF_DEVCG_ACC_MKNOD, 2), /* any node may be made */
		MOVI(0, 1),
		EXIT,
		JNE(2, BPF_DEVCG_DEV_CHAR, 8 * 6 + 4),
		ALLOW_CHAR(1, 3),
		ALLOW_CHAR(1, 5),
		ALLOW_CHAR(1, 7),
		ALLOW_CHAR(1, 8),
		ALLOW_CHAR(1, 9),
		ALLOW_CHAR(5, 0),
		ALLOW_CHAR(5, 2),
		ALLOW_CHAR(10, 200),
		LOAD(4, 4),
		JNE(4, 136, 2), /* ptys */
		MOVI(0, 1),
		EXIT,
		MOVI(0, 0),
		EXIT,
	};
	union bpf_attr load = {
		.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE,
		.insns = (uintptr_t)prog,
		.insn_cnt = N(prog),
		.license = (uintptr_t) "Apache-2.0",
	};
	int fd = (int)TRY(syscall(SYS_bpf, BPF_PROG_LOAD, &load, sizeof(load)));
	union bpf_attr attach = {
		.target_fd = (uint32_t)cgroup,
		.attach_bpf_fd = (uint32_t)fd,
		.attach_type = BPF_CGROUP_DEVICE,
		.attach_flags = BPF_F_ALLOW_MULTI,
	};
	TRY(syscall(SYS_bpf, BPF_PROG_ATTACH, &attach, sizeof(attach)));
	close(fd);
}

/* ---- child: mounts ---- */

struct fs_mount {
	const char *fs, *target;
	unsigned attr;
	const char *data[5][2]; /* value NULL: a flag */
};
static const struct fs_mount mounts[] = {
	{ "proc", "proc", 0, { { 0 } } },
	{ "tmpfs", "dev", MOUNT_ATTR_NOSUID | MOUNT_ATTR_STRICTATIME,
	    { { "mode", "755" }, { "size", "65536k" } } },
	{ "devpts", "dev/pts", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
	    { { "newinstance" }, { "ptmxmode", "0666" }, { "mode", "0620" }, { "gid", "5" } } },
	{ "tmpfs", "dev/shm", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV,
	    { { "mode", "1777" }, { "size", "65536k" } } },
	{ "mqueue", "dev/mqueue", MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV,
	    { { 0 } } },
	{ "sysfs", "sys",
	    MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY,
	    { { 0 } } },
	{ "cgroup2", "sys/fs/cgroup",
	    MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV | MOUNT_ATTR_RDONLY,
	    { { 0 } } },
};

static int open_in(int root, const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)flags | O_CLOEXEC,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
	return sys_openat2(root, path, &how);
}

static int make_fs(const struct fs_mount *m)
{
	int fs = TRY(sys_fsopen(m->fs, FSOPEN_CLOEXEC));
	for (size_t i = 0; i < N(m->data) && m->data[i][0]; i++)
		TRY(sys_fsconfig(fs, m->data[i][1] ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG,
		    m->data[i][0], m->data[i][1], 0));
	TRY(sys_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
	int mnt = TRY(sys_fsmount(fs, FSMOUNT_CLOEXEC, m->attr));
	close(fs);
	return mnt;
}

static void place(int mnt, int target)
{
	TRY(sys_move_mount(mnt, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
	close(mnt);
	close(target);
}

static void make_mounts(int root)
{
	for (size_t i = 0; i < N(mounts); i++) {
		int at = open_in(root, mounts[i].target, O_PATH | O_DIRECTORY);
		if (at < 0) { /* only those in the new /dev are missing */
			TRY(mkdirat(root, mounts[i].target, 0755));
			at = TRY(open_in(root, mounts[i].target, O_PATH | O_DIRECTORY));
		}
		place(make_fs(&mounts[i]), at);
	}
}

static void make_devices(int root)
{
	static const struct {
		const char *name;
		unsigned maj, min;
	} nodes[] = { { "null", 1, 3 }, { "zero", 1, 5 }, { "full", 1, 7 }, { "random", 1, 8 },
		{ "urandom", 1, 9 }, { "tty", 5, 0 } };
	static const char *const links[][2] = { { "/proc/self/fd", "fd" },
		{ "/proc/self/fd/0", "stdin" }, { "/proc/self/fd/1", "stdout" },
		{ "/proc/self/fd/2", "stderr" }, { "/proc/kcore", "core" },
		{ "pts/ptmx", "ptmx" } };
	int dev = TRY(open_in(root, "dev", O_PATH | O_DIRECTORY));
	for (size_t i = 0; i < N(nodes); i++)
		TRY(mknodat(
		    dev, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].maj, nodes[i].min)));
	for (size_t i = 0; i < N(links); i++)
		TRY(symlinkat(links[i][0], dev, links[i][1]));
	close(dev);
}

static void protect_paths(int root)
{
	static const char *const masked[] = { "proc/acpi", "proc/asound", "proc/kcore", "proc/keys",
		"proc/latency_stats", "proc/timer_list", "proc/timer_stats", "proc/sched_debug",
		"sys/firmware", "proc/scsi" };
	static const char *const readonly[] = { "proc/bus", "proc/fs", "proc/irq", "proc/sys",
		"proc/sysrq-trigger" };
	static const struct fs_mount empty = { "tmpfs", NULL, MOUNT_ATTR_RDONLY,
		{ { "mode", "755" } } };
	struct mount_attr ro = { .attr_set = MOUNT_ATTR_RDONLY };
	int null = TRY(open_in(root, "dev/null", O_PATH)), dir = -1;

	for (size_t i = 0; i < N(masked); i++) {
		struct stat st;
		int at = open_in(root, masked[i], O_PATH);
		if (at < 0)
			continue;
		TRY(fstat(at, &st));
		if (S_ISDIR(st.st_mode) && dir < 0)
			dir = make_fs(&empty);
		place(TRY(sys_open_tree(S_ISDIR(st.st_mode) ? dir : null, "",
			  OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH)),
		    at);
	}
	for (size_t i = 0; i < N(readonly); i++) {
		int at = open_in(root, readonly[i], O_PATH);
		if (at < 0)
			continue;
		int tree = TRY(sys_open_tree(
		    at, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH | AT_RECURSIVE));
		TRY(sys_mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &ro));
		place(tree, at);
	}
}

static void switch_root(const char *rootfs)
{
	struct mount_attr slave = { .propagation = MS_SLAVE },
			  ro = { .attr_set = MOUNT_ATTR_RDONLY };
	int tree = TRY(
	    sys_open_tree(AT_FDCWD, rootfs, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE));
	TRY(sys_mount_setattr(AT_FDCWD, "/", AT_RECURSIVE, &slave));
	TRY(sys_move_mount(tree, "", AT_FDCWD, rootfs, MOVE_MOUNT_F_EMPTY_PATH));
	make_mounts(tree);
	make_devices(tree);
	TRY(fchdir(tree));
	TRY(sys_pivot_root(".", "."));
	TRY(umount2(".", MNT_DETACH));
	TRY(chdir("/"));
	protect_paths(tree);
	TRY(sys_mount_setattr(tree, "", AT_EMPTY_PATH, &ro));
}

/* ---- child: the process ---- */

static void loopback_up(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int s = TRY(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
	TRY(ioctl(s, SIOCSIFFLAGS, &ifr));
	close(s);
}

static void drop_privileges(void)
{
	const unsigned keep[] = { CAP_AUDIT_WRITE, CAP_KILL, CAP_NET_BIND_SERVICE };
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2] = { { 0 } };
	uint64_t set = 0;
	for (size_t i = 0; i < N(keep); i++)
		set |= 1ull << keep[i];
	for (unsigned c = 0; c <= CAP_LAST_CAP; c++)
		if (!(set >> c & 1))
			TRY(prctl(PR_CAPBSET_DROP, c, 0, 0, 0));
	TRY(prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0));
	TRY(syscall(SYS_setgroups, 0, NULL));
	TRY(setresgid(0, 0, 0));
	TRY(setresuid(0, 0, 0));
	for (unsigned i = 0; i < 2; i++)
		d[i].effective = d[i].permitted = d[i].inheritable = (uint32_t)(set >> (32 * i));
	TRY(syscall(SYS_capset, &h, d));
	for (size_t i = 0; i < N(keep); i++)
		TRY(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, keep[i], 0, 0));
	TRY(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}

static void child(const char *rootfs, char **argv)
{
	static char *env[] = { "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		"TERM=xterm", NULL };
	const struct rlimit nofile = { 1024, 1024 };
	umask(0);
	TRY(setsid());
	TRY(syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, "bare", 0, 0, 0));
	TRY(prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
	loopback_up();
	TRY(sethostname("bare", 4));
	switch_root(rootfs);
	TRY(setrlimit(RLIMIT_NOFILE, &nofile));
	umask(022);
	drop_privileges();
	TRY(syscall(SYS_close_range, 3u, ~0u, 4u /* CLOSE_RANGE_CLOEXEC */));
	execve(argv[0], argv, env);
	err(127, "%s", argv[0]);
}

int main(int argc, char **argv)
{
	char name[32];
	int pidfd = -1;
	siginfo_t si;
	if (argc < 4)
		errx(2, "usage: bare CGROUP2-MOUNT ROOTFS PROGRAM ARG…");
	snprintf(name, sizeof(name), "bare-%d", (int)getpid());
	int top = TRY(open(argv[1], O_PATH | O_DIRECTORY | O_CLOEXEC));
	TRY(mkdirat(top, name, 0755));
	int cgroup = TRY(openat(top, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	attach_devices(cgroup);

	struct clone_args a = { .flags = CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS |
					 CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_INTO_CGROUP |
					 CLONE_PIDFD,
		.pidfd = (uintptr_t)&pidfd,
		.exit_signal = SIGCHLD,
		.cgroup = (uint64_t)cgroup };
	if (TRY(sys_clone3(&a)) == 0)
		child(argv[2], argv + 3);
	TRY(waitid((idtype_t)3 /* P_PIDFD */, (id_t)pidfd, &si, WEXITED));
	TRY(unlinkat(top, name, AT_REMOVEDIR));
	return si.si_code == CLD_EXITED ? si.si_status : 128 + si.si_status;
}
