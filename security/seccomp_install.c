/*
 * Loading a filter, and handing its notify descriptor to an agent.
 *
 * Without a listener this is one system call. With one there is a knot: the descriptor exists only
 * once the filter is active, and from then on any call of ours may be refused, kill us or wait for
 * the very agent that still has no descriptor. So a helper is made before, which the filter does
 * not cover, and the filtered process makes no system call at all until the helper is done: it
 * stores the descriptor's number in memory and spins.
 *
 * The helper is a thread, made by clone(2) directly. It shares the descriptor table and the memory,
 * and nobody has to wait for it: a process would leave a zombie to the payload if wait4(2) were
 * filtered. It runs on its own stack but with our thread-local storage, which is safe because we do
 * nothing meanwhile. execve(2) ends it should it still be on its last instructions.
 */
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/cleanup.h"
#include "security/seccomp_internal.h"
#include "security/security.h"

#define HELPER_STACK 65536

#define FD_PENDING     (-2) /* of helper.notify_fd */
#define FD_NONE	       (-1) /* of helper.notify_fd: the filter was refused */
#define RESULT_PENDING 1    /* of helper.result */

struct helper {
	int agent;
	const char *state;
	size_t len;
	atomic_int notify_fd; /* FD_PENDING, FD_NONE or the descriptor */
	atomic_int result;    /* RESULT_PENDING, 0 or -errno */
};

int seccomp_agent_timeout_ms = 10000;

static const struct {
	const char *name;
	unsigned flag;
	unsigned with; /* the kernel takes it only together with these */
} flags_known[] = {
	{ "SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC, 0 },
	{ "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG, 0 },
	{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW, 0 },
	{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV,
	    SECCOMP_FILTER_FLAG_NEW_LISTENER },
};

static long sys_seccomp(unsigned op, unsigned flags, const void *arg)
{
	return syscall(SYS_seccomp, op, flags, arg);
}

unsigned seccomp_supported_flags(void)
{
	unsigned flags = 0;

	/* A flag that the kernel knows lets it go on to read the program, at address 0. */
	for (size_t i = 0; i < ARRAY_SIZE(flags_known); i++)
		if (sys_seccomp(SECCOMP_SET_MODE_FILTER, flags_known[i].flag | flags_known[i].with,
			NULL) < 0 &&
		    errno == EFAULT)
			flags |= flags_known[i].flag;
	return flags;
}

static int install_error(int code, unsigned flags, struct err *e)
{
	unsigned lacking = flags & ~seccomp_supported_flags();

	if (code == EACCES)
		return err_set(e, EACCES,
		    ".linux.seccomp: loading a filter needs .process.noNewPrivileges or "
		    "CAP_SYS_ADMIN in the user namespace");
	if (code == EBUSY && (flags & SECCOMP_FILTER_FLAG_NEW_LISTENER))
		return err_set(
		    e, EBUSY, ".linux.seccomp: the process already has a filter with a listener");
	for (size_t i = 0; code == EINVAL && i < ARRAY_SIZE(flags_known); i++)
		if (lacking & flags_known[i].flag)
			return err_set(e, EINVAL,
			    ".linux.seccomp.flags: \"%s\": this kernel does not know it",
			    flags_known[i].name);
	return err_errno(e, code, ".linux.seccomp: seccomp");
}

/* ---- the helper's side ---- */

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static ssize_t send_some(int sock, const char *buf, size_t n, int fd)
{
	union {
		char space[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)buf, .iov_len = n };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t sent;

	if (fd >= 0) {
		msg.msg_control = control.space;
		msg.msg_controllen = sizeof(control.space);
		*CMSG_FIRSTHDR(&msg) = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
			.cmsg_type = SCM_RIGHTS,
			.cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(CMSG_FIRSTHDR(&msg)), &fd, sizeof(int));
	}
	sent = sendmsg(sock, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	return sent < 0 ? -errno : sent;
}

/* The descriptor goes with the first bytes only, as the specification demands. */
static int send_state(const struct helper *h, int notify_fd)
{
	int64_t deadline = now_ms() + seccomp_agent_timeout_ms;
	size_t done = 0;

	while (done < h->len) {
		struct pollfd p = { .fd = h->agent, .events = POLLOUT };
		int64_t left = deadline - now_ms();
		ssize_t n;

		if (left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)left) < 0 && errno != EINTR)
			return -errno;
		if (!p.revents)
			continue;
		n = send_some(h->agent, h->state + done, h->len - done, done ? -1 : notify_fd);
		if (n >= 0)
			done += (size_t)n;
		else if (n != -EAGAIN && n != -EINTR)
			return (int)n;
	}
	/* One state per connection. The descriptor itself stays the caller's. */
	return shutdown(h->agent, SHUT_WR) < 0 ? -errno : 0;
}

static int helper_main(void *arg)
{
	const struct timespec pause = { .tv_nsec = 20 * 1000 };
	struct helper *h = arg;
	int fd, r = 0;

	while ((fd = atomic_load(&h->notify_fd)) == FD_PENDING)
		nanosleep(&pause, NULL);
	if (fd >= 0) {
		r = send_state(h, fd);
		/* The last one here: with nobody to ask, the kernel answers ENOSYS at once. */
		close(fd);
	}
	atomic_store(&h->result, r);
	return 0;
}

/* ---- the filtered process's side ---- */

static int helper_start(struct helper *h, struct err *e)
{
	static char stack[HELPER_STACK] __attribute__((aligned(16)));
	const int flags =
	    CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD | CLONE_SYSVSEM;

	if (clone(helper_main, stack + sizeof(stack), flags, h) < 0)
		return err_errno(e, errno, ".linux.seccomp.listenerPath: clone of the helper");
	return 0;
}

/* No system call here: any may be filtered. */
static int helper_wait(struct helper *h)
{
	int r;

	while ((r = atomic_load(&h->result)) == RESULT_PENDING) {
#if defined(__x86_64__) || defined(__i386__)
		__builtin_ia32_pause();
#elif defined(__aarch64__)
		__asm__ volatile("yield");
#endif
	}
	return r;
}

static int install_with_listener(
    const struct sock_fprog *prog, unsigned flags, int agent, const char *state, struct err *e)
{
	struct helper h = {
		.agent = agent,
		.state = state,
		.len = strlen(state),
		.notify_fd = FD_PENDING,
		.result = RESULT_PENDING,
	};
	long fd;
	int code, r;

	if (helper_start(&h, e) < 0)
		return -e->code;
	fd = sys_seccomp(SECCOMP_SET_MODE_FILTER, flags, prog);
	code = errno;
	atomic_store(&h.notify_fd, fd < 0 ? FD_NONE : (int)fd);
	r = helper_wait(&h);
	if (fd < 0)
		return install_error(code, flags, e);
	if (r < 0)
		return err_errno(e, -r,
		    ".linux.seccomp.listenerPath: the agent did not take the notify descriptor");
	return 0;
}

void seccomp_without_agent(struct seccomp_prog *p)
{
	for (size_t i = 0; i < p->n; i++)
		if (p->insns[i].code == (BPF_RET | BPF_K) &&
		    p->insns[i].k == SECCOMP_RET_USER_NOTIF)
			p->insns[i].k = SECCOMP_RET_ERRNO | ENOSYS;
	p->flags &=
	    ~(unsigned)(SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
}

int seccomp_install(const struct seccomp_prog *p, int agent, const char *state_json, struct err *e)
{
	const struct sock_fprog prog = { .len = (unsigned short)p->n, .filter = p->insns };
	unsigned flags = p->flags;
	long r;

	if (flags & SECCOMP_FILTER_FLAG_NEW_LISTENER) {
		if (agent < 0 || !state_json || !*state_json)
			return err_set(e, EINVAL,
			    ".linux.seccomp.listenerPath: SCMP_ACT_NOTIFY without an agent");
		/* It would filter the helper; there is no other thread it could be for. */
		return install_with_listener(
		    &prog, flags & ~SECCOMP_FILTER_FLAG_TSYNC, agent, state_json, e);
	}
	r = sys_seccomp(SECCOMP_SET_MODE_FILTER, flags, &prog);
	if (r < 0)
		return install_error(errno, flags, e);
	if (r > 0)
		return err_set(
		    e, EBUSY, ".linux.seccomp.flags: thread %ld cannot take the filter", r);
	return 0;
}
