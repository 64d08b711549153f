#include "process/handshake.h"

#include <linux/bpf_common.h>
#include <linux/filter.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/fd.h"

#define ERR_TEXT_MAX sizeof(((struct err *)0)->msg)

static const char *const step_names[] = {
	[HS_ERROR] = "error",
	[HS_GO] = "go",
	[HS_MOUNTED] = "mounted",
	[HS_SECCOMP] = "seccomp",
	[HS_CONSOLE] = "console",
	[HS_READY] = "ready",
	[HS_KEEP] = "keep",
	[HS_START] = "start",
};

struct message {
	enum hs_step step;
	struct err err;
};

struct seccomp_message {
	enum hs_step step;
	unsigned flags;
	struct sock_filter insns[BPF_MAXINSNS];
};

static const char *step_name(enum hs_step s)
{
	return (size_t)s < ARRAY_SIZE(step_names) && step_names[s] ? step_names[s] : "unknown";
}

int hs_pair(int sockets[2], struct err *e)
{
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) < 0)
		return err_errno(e, errno, "socketpair for the handshake");
	return 0;
}

int hs_send(int sock, enum hs_step step, int fd, struct err *e)
{
	int r = sock_send_fds(sock, &step, sizeof(step), &fd, fd >= 0 ? 1 : 0);

	return r < 0 ? err_errno(e, -r, "handshake: send %s", step_name(step)) : 0;
}

void hs_send_error(int sock, const struct err *why)
{
	struct message m = { .step = HS_ERROR, .err = *why };

	if (sock_send_fds(sock, &m, sizeof(m), NULL, 0) < 0)
		return;
	/* A socket closed with unread messages resets the connection, and the error would be lost.
	 */
	while (recv(sock, &m, sizeof(m), 0) > 0)
		;
}

static int peer_error(const struct message *m, struct err *e)
{
	*e = m->err;
	e->msg[ERR_TEXT_MAX - 1] = '\0';
	if (e->code <= 0)
		e->code = EIO;
	return -e->code;
}

int hs_expect_either(int sock, const char *peer, enum hs_step a, enum hs_step b, enum hs_step *ret,
    int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	struct message m = { 0 };
	size_t n_fds = 1;
	ssize_t n = sock_recv_fds(sock, &m, sizeof(m), &fd, &n_fds);

	if (n == 0 || n == -ECONNRESET)
		return err_set(e, ECONNRESET, "%s ended without saying why, before \"%s\"", peer,
		    step_name(a));
	if (n < 0)
		return err_errno(e, (int)-n, "handshake: receive %s", step_name(a));
	if (m.step == HS_ERROR && n == sizeof(m))
		return peer_error(&m, e);
	if (m.step != a && m.step != b)
		return err_set(e, EPROTO, "handshake: %s sent \"%s\" where \"%s\" was due", peer,
		    step_name(m.step), step_name(a));
	*ret = m.step;
	if (ret_fd)
		*ret_fd = steal_fd(&fd);
	return 0;
}

int hs_expect(int sock, const char *peer, enum hs_step step, int *ret_fd, struct err *e)
{
	enum hs_step got;

	return hs_expect_either(sock, peer, step, step, &got, ret_fd, e);
}

int hs_send_seccomp(int sock, const struct seccomp_prog *p, struct err *e)
{
	const size_t head = offsetof(struct seccomp_message, insns);
	_cleanup_free_ struct seccomp_message *m = NULL;
	size_t bytes = p->n * sizeof(*p->insns);
	int r;

	if (p->n > BPF_MAXINSNS)
		return err_set(e, E2BIG, ".linux.seccomp: %zu instructions, the kernel takes %d",
		    p->n, BPF_MAXINSNS);
	m = xmalloc(head + bytes);
	m->step = HS_SECCOMP;
	m->flags = p->flags;
	if (bytes)
		memcpy(m->insns, p->insns, bytes);
	r = sock_send_fds(sock, m, head + bytes, NULL, 0);
	return r < 0 ? err_errno(e, -r, "handshake: send the seccomp program") : 0;
}

int hs_recv_seccomp(int sock, struct seccomp_prog *ret, struct err *e)
{
	const size_t head = offsetof(struct seccomp_message, insns);
	_cleanup_free_ struct seccomp_message *m = xmalloc(sizeof(*m));
	ssize_t n = sock_recv_fds(sock, m, sizeof(*m), NULL, NULL);
	size_t bytes;

	if (n <= 0)
		return err_set(e, ECONNRESET, "the runtime ended before the seccomp program came");
	if (m->step == HS_ERROR && (size_t)n == sizeof(struct message))
		return peer_error((struct message *)m, e);
	if (m->step != HS_SECCOMP || (size_t)n < head)
		return err_set(
		    e, EPROTO, "handshake: \"%s\" where \"seccomp\" was due", step_name(m->step));
	bytes = (size_t)n - head;
	ret->flags = m->flags;
	ret->n = bytes / sizeof(struct sock_filter);
	ret->insns = NULL;
	if (ret->n) {
		ret->insns = xmalloc(bytes);
		memcpy(ret->insns, m->insns, bytes);
	}
	return 0;
}

int hs_wait_exec(int sock, struct err *e)
{
	struct message m = { 0 };
	ssize_t n = sock_recv_fds(sock, &m, sizeof(m), NULL, NULL);

	if (n == 0)
		return 0;
	if (n < 0)
		return err_errno(e, (int)-n, "wait for the payload to be executed");
	if (m.step == HS_ERROR && n == sizeof(m))
		return peer_error(&m, e);
	return err_set(e, EPROTO, "handshake: unexpected \"%s\" while starting", step_name(m.step));
}
