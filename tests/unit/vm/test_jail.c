#include "vm/jail.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/test.h"

/* How a process ends that is jailed as this kind of thread and then does that: its exit code, or
 * 128 + the signal. The program ends by a system call, as _exit() may do others under a sanitizer.
 */
static int jailed(enum vm_thread kind, bool keep, int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct err e = ERR_INIT;
		int r;

		if (vm_jail_process(keep, &e) < 0 || vm_jail_thread(kind, &e) < 0) {
			printf("# %s\n", e.msg);
			fflush(stdout);
			_exit(99);
		}
		r = fn();
		syscall(SYS_exit_group, r);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static int nothing(void)
{
	return 0;
}

static int opens(void)
{
	return (int)syscall(SYS_openat, AT_FDCWD, "/", O_RDONLY) < 0;
}

static int executes(void)
{
	char *const none[] = { NULL };

	syscall(SYS_execve, "/bin/true", none, none);
	return 0;
}

static int makes_socket(void)
{
	syscall(SYS_socket, AF_UNIX, SOCK_STREAM, 0);
	return 0;
}

static int kills(void)
{
	syscall(SYS_kill, 1, 0);
	return 0;
}

static int maps_code(void)
{
	syscall(SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	return 0;
}

static int maps_data(void)
{
	void *p = (void *)syscall(
	    SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED;
}

static int other_ioctl(void)
{
	syscall(SYS_ioctl, 0, 0x5412 /* TIOCSTI */, "x");
	return 0;
}

static int clones(void)
{
	syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
	return 0;
}

static int traces(void)
{
	syscall(SYS_ptrace, 0, 0, 0, 0);
	return 0;
}

#define KILLED (128 + SIGSYS)

TEST(each_kind_of_thread_can_live)
{
	for (int k = 0; k < VM_THREADS; k++) {
		CHECK_INT(jailed((enum vm_thread)k, true, nothing), 0);
		CHECK_INT(jailed((enum vm_thread)k, true, maps_data), 0);
	}
}

TEST(only_the_file_server_opens)
{
	for (int k = 0; k < VM_THREADS; k++)
		CHECK_INT(jailed((enum vm_thread)k, true, opens), k == VM_THREAD_FS ? 0 : KILLED);
}

TEST(nobody_does_these)
{
	static int (*const calls[])(
	    void) = { executes, makes_socket, kills, maps_code, other_ioctl, clones, traces };

	for (int k = 0; k < VM_THREADS; k++)
		for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++)
			CHECK_INT(jailed((enum vm_thread)k, true, calls[i]), KILLED);
}

/* Runs inside of the jail's process, before a thread's filter. */
static int in_process(bool keep, int (*fn)(void))
{
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		struct err e = ERR_INIT;

		_exit(vm_jail_process(keep, &e) < 0 ? 99 : fn());
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static uint64_t effective(void)
{
	struct __user_cap_header_struct h = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct d[2];

	syscall(SYS_capget, &h, d);
	return d[0].effective | d[0].permitted | (uint64_t)(d[1].effective | d[1].permitted) << 32;
}

static int no_caps(void)
{
	return effective() != 0;
}

static int listed_caps(void)
{
	uint64_t want = 0;

	for (const struct vm_jail_cap *c = vm_jail_caps; c->why; c++)
		want |= UINT64_C(1) << c->cap;
	if (want & (1 << CAP_SYS_ADMIN | 1 << CAP_SYS_PTRACE | 1 << CAP_NET_ADMIN))
		return 1;
	return effective() & ~want ? 2 : prctl(PR_CAPBSET_READ, CAP_SYS_ADMIN) ? 3 : 0;
}

static int cannot_gain(void)
{
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1;
}

static int limits(void)
{
	struct rlimit core, files;

	getrlimit(RLIMIT_CORE, &core);
	getrlimit(RLIMIT_NOFILE, &files);
	return core.rlim_cur || core.rlim_max || files.rlim_cur != files.rlim_max;
}

TEST(privileges_of_the_process)
{
	CHECK_INT(in_process(false, no_caps), 0);
	CHECK_INT(in_process(true, listed_caps), 0);
	CHECK_INT(in_process(true, cannot_gain), 0);
	CHECK_INT(in_process(true, limits), 0);
}

static int no_caps_nor_gain(void)
{
	return no_caps() | cannot_gain() << 1;
}

/* exec's process of an ordinary user: it may not reduce its bounding set. */
TEST(an_ordinary_users_process)
{
	pid_t pid;
	int status;

	if (geteuid() != 0) {
		printf("# SKIP becoming an ordinary user takes root\n");
		return;
	}
	pid = fork();
	if (pid == 0) {
		if (setresgid(64321, 64321, 64321) < 0 || setresuid(64321, 64321, 64321) < 0)
			_exit(98);
		_exit(in_process(false, no_caps_nor_gain));
	}
	CHECK_INT(waitpid(pid, &status, 0), pid);
	CHECK_INT(WIFEXITED(status) ? WEXITSTATUS(status) : -1, 0);
}

struct jailed_thread {
	enum vm_thread kind;
	volatile pid_t tid; /* once it is jailed; -1: it could not be */
	volatile bool end;
};

static void *jailed_thread(void *arg)
{
	struct jailed_thread *t = arg;
	struct err e = ERR_INIT;

	t->tid = vm_jail_thread(t->kind, &e) < 0 ? -1 : (pid_t)syscall(SYS_gettid);
	while (!t->end)
		syscall(SYS_sched_yield);
	syscall(SYS_exit, 0);
	return NULL;
}

/* Of a thread, as /proc says it; all bits when it does not. */
static unsigned long long thread_caps(pid_t tid)
{
	unsigned long long caps = ~0ull;
	char path[64], line[256];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/status", tid);
	f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (strncmp(line, "CapPrm:", 7) == 0)
			caps = strtoull(line + 7, NULL, 16);
	if (f)
		fclose(f);
	return caps;
}

static int filter_of_one_thread(void)
{
	struct jailed_thread t = { .kind = VM_THREAD_VCPU }, fs = { .kind = VM_THREAD_FS };
	uint64_t had = effective();
	pthread_t id;
	int bad = 0;

	pthread_create(&id, NULL, jailed_thread, &t);
	pthread_create(&id, NULL, jailed_thread, &fs);
	while (!t.tid || !fs.tid)
		sched_yield();
	bad |= t.tid < 0 || fs.tid < 0;
	bad |= (thread_caps(t.tid) != 0) << 1;
	bad |= (thread_caps(fs.tid) != had) << 2;
	bad |= (open("/", O_RDONLY | O_CLOEXEC) < 0) << 3; /* this one is as it was */
	t.end = fs.end = true;
	return bad;
}

TEST(filters_and_capabilities_are_a_threads_own)
{
	CHECK_INT(in_process(true, filter_of_one_thread), 0);
}

TEST(descriptors)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		struct err e = ERR_INIT;
		int keep[3], bad = 0;

		for (int i = 0; i < 3; i++)
			keep[i] = fcntl(0, F_DUPFD, 20 + 7 * i);
		for (int fd = 40; fd < 44; fd++)
			(void)fcntl(0, F_DUPFD, fd);
		const int list[] = { keep[2], -EBADF, keep[0], keep[2] };

		bad |= vm_jail_close_others(list, 4, &e) < 0;
		for (int fd = 0; fd < 64; fd++) {
			bool open_ = fcntl(fd, F_GETFD) >= 0;

			bad |= fd > 2 && open_ != (fd == keep[0] || fd == keep[2]);
		}
		_exit(bad);
	}
	waitpid(pid, &status, 0);
	CHECK_INT(status, 0);
}

TEST(without_a_jail_threads_are_free)
{
	struct err e = ERR_INIT;

	CHECK_INT(vm_jail_thread(VM_THREAD_VCPU, &e), 0);
	CHECK_INT(opens(), 0);
}

TEST_MAIN(T(each_kind_of_thread_can_live), T(only_the_file_server_opens), T(nobody_does_these),
    T(privileges_of_the_process), T(an_ordinary_users_process),
    T(filters_and_capabilities_are_a_threads_own), T(descriptors),
    T(without_a_jail_threads_are_free))
