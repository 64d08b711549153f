#include "netsetup/batch.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"

#define ANSWERS (64 * 1024)

void batch_close(struct batch *b)
{
	if (b->sock)
		mnl.mnl_socket_close(b->sock);
	free(b->buf);
	*b = (struct batch)BATCH_INIT;
}

int batch_open(int protocol, struct batch *ret, struct err *e)
{
	struct batch b = { .protocol = protocol };
	int r = mnl_load(e);

	if (r < 0)
		return r;
	b.sock = mnl.mnl_socket_open2(protocol, SOCK_CLOEXEC);
	if (!b.sock)
		return err_errno(e, errno, "open a netlink socket");
	if (mnl.mnl_socket_bind(b.sock, 0, MNL_SOCKET_AUTOPID) < 0) {
		err_errno(e, errno, "bind a netlink socket");
		mnl.mnl_socket_close(b.sock);
		return -e->code;
	}
	b.buf = xmalloc(BATCH_SIZE);
	*ret = b;
	return 0;
}

int batch_open_in(int netns, int protocol, struct batch *ret, struct err *e)
{
	_cleanup_close_ int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int r = mnl_load(e);

	if (r < 0)
		return r;
	if (own < 0)
		return err_errno(e, errno, "open /proc/self/ns/net");
	if (setns(netns, CLONE_NEWNET) < 0)
		return err_errno(e, errno, "enter the container's network namespace");
	r = batch_open(protocol, ret, e);
	if (setns(own, CLONE_NEWNET) < 0) {
		/* Nothing that follows may happen in the wrong namespace. */
		log_error("return from the container's network namespace: %s", strerror(errno));
		abort();
	}
	return r;
}

void batch_begin(struct batch *b)
{
	b->used = 0;
	b->acks = 0;
	b->h = NULL;
	b->first = b->seq + 1;
}

static void finish(struct batch *b)
{
	if (b->h)
		b->used += MNL_ALIGN(b->h->nlmsg_len);
	b->h = NULL;
}

void *batch_add(struct batch *b, uint16_t type, uint16_t flags, size_t size)
{
	finish(b);
	/* What bailey sends is bounded by its own limits, far below. */
	if (b->used + 4096 > BATCH_SIZE)
		abort();
	memset(b->buf + b->used, 0, 4096);
	b->h = mnl.mnl_nlmsg_put_header(b->buf + b->used);
	b->h->nlmsg_type = type;
	b->h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	b->h->nlmsg_seq = ++b->seq;
	b->acks += flags & NLM_F_ACK && (flags & NLM_F_DUMP) != NLM_F_DUMP;
	return mnl.mnl_nlmsg_put_extra_header(b->h, size);
}

/* Counts the answers in buf; the first error wins. */
static void count(
    const struct batch *b, const char *buf, size_t n, unsigned *got, int *ret, unsigned *failed)
{
	const struct nlmsghdr *h = (const void *)buf;

	for (; NLMSG_OK(h, n); h = NLMSG_NEXT(h, n)) {
		const struct nlmsgerr *a = NLMSG_DATA(h);

		if (h->nlmsg_type != NLMSG_ERROR || h->nlmsg_len < NLMSG_LENGTH(sizeof(*a)) ||
		    h->nlmsg_seq - b->first > b->seq - b->first)
			continue;
		++*got;
		if (a->error == 0 || *ret < 0)
			continue;
		*ret = a->error;
		*failed = h->nlmsg_seq - b->first;
	}
}

int batch_send(struct batch *b, unsigned *ret_failed)
{
	_cleanup_free_ char *buf = xmalloc(ANSWERS);
	unsigned got = 0, failed = 0;
	int r = 0;

	finish(b);
	if (mnl.mnl_socket_sendto(b->sock, b->buf, b->used) < 0)
		return -errno;
	/* An error ends the waiting: of a transaction's messages some may go unanswered then. What
	 * comes late is told from the next batch's answers by its number. */
	while (got < b->acks && (r == 0 || b->protocol == NETLINK_ROUTE)) {
		ssize_t n = mnl.mnl_socket_recvfrom(b->sock, buf, ANSWERS);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		count(b, buf, (size_t)n, &got, &r, &failed);
	}
	if (r < 0 && ret_failed)
		*ret_failed = failed;
	return r;
}

int batch_dump(struct batch *b, mnl_cb_t cb, void *data)
{
	unsigned port = mnl.mnl_socket_get_portid(b->sock);
	_cleanup_free_ char *buf = xmalloc(ANSWERS);
	int run = MNL_CB_OK;

	finish(b);
	if (mnl.mnl_socket_sendto(b->sock, b->buf, b->used) < 0)
		return -errno;
	while (run > MNL_CB_STOP) {
		ssize_t n = mnl.mnl_socket_recvfrom(b->sock, buf, ANSWERS);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		run = mnl.mnl_cb_run(buf, (size_t)n, b->seq, port, cb, data);
	}
	return run < 0 ? -errno : 0;
}
