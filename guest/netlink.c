#include "guest/netlink.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"

#define ANSWER_MAX (64u << 10) /* the kernel makes its messages no larger */

static struct nlmsghdr *header(struct nl_request *r)
{
	return (struct nlmsghdr *)r->buf;
}

void *nl_begin(struct nl_request *r, uint16_t type, uint16_t flags, size_t n)
{
	struct nlmsghdr *h = header(r);

	memset(r, 0, sizeof(*r));
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	h->nlmsg_len = NLMSG_LENGTH((uint32_t)n);
	return NLMSG_DATA(h);
}

void nl_attr(struct nl_request *r, uint16_t type, const void *data, size_t n)
{
	struct nlmsghdr *h = header(r);
	struct rtattr *a = (struct rtattr *)(r->buf + NLMSG_ALIGN(h->nlmsg_len));

	if (NLMSG_ALIGN(h->nlmsg_len) + RTA_SPACE(n) > sizeof(r->buf))
		abort(); /* a defect: no caller has that much to say */
	a->rta_type = type;
	a->rta_len = (unsigned short)RTA_LENGTH(n);
	memcpy(RTA_DATA(a), data, n);
	h->nlmsg_len = NLMSG_ALIGN(h->nlmsg_len) + (uint32_t)RTA_SPACE(n);
}

void nl_attr_u32(struct nl_request *r, uint16_t type, uint32_t v)
{
	nl_attr(r, type, &v, sizeof(v));
}

int nl_open(struct err *e)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return fd < 0 ? err_errno(e, errno, "open a netlink socket") : fd;
}

static ssize_t receive(int fd, void *buf, size_t n)
{
	ssize_t got;

	do
		got = recv(fd, buf, n, MSG_TRUNC);
	while (got < 0 && errno == EINTR);
	if (got < 0)
		return -errno;
	return (size_t)got > n ? -EMSGSIZE : got;
}

static int word_of(const struct nlmsghdr *m)
{
	const struct nlmsgerr *w = NLMSG_DATA(m);

	return m->nlmsg_len < NLMSG_LENGTH(sizeof(*w)) ? -EBADMSG : w->error;
}

static int send_message(int fd, const struct nlmsghdr *h)
{
	return send(fd, h, h->nlmsg_len, 0) < 0 ? -errno : 0;
}

int nl_do(int fd, struct nl_request *r)
{
	uint8_t buf[8192];
	const struct nlmsghdr *m = (const struct nlmsghdr *)buf;
	ssize_t n = send_message(fd, header(r));

	if (n == 0)
		n = receive(fd, buf, sizeof(buf));
	if (n < 0)
		return (int)n;
	if (!NLMSG_OK(m, (size_t)n) || m->nlmsg_type != NLMSG_ERROR)
		return -EBADMSG;
	return word_of(m);
}

/* 1: more to come */
static int each(const uint8_t *buf, size_t n, nl_fn *fn, void *arg, int *ret)
{
	for (const struct nlmsghdr *m = (const struct nlmsghdr *)buf; NLMSG_OK(m, n);
	     m = NLMSG_NEXT(m, n)) {
		if (m->nlmsg_type == NLMSG_DONE)
			return 0;
		if (m->nlmsg_type == NLMSG_ERROR) {
			*ret = word_of(m);
			return 0;
		}
		if (*ret == 0) /* the rest is read all the same: it is in the socket */
			*ret = fn(arg, m);
	}
	return 1;
}

int nl_dump(int fd, uint16_t type, uint8_t family, nl_fn *fn, void *arg)
{
	_cleanup_free_ uint8_t *buf = xmalloc(ANSWER_MAX);
	struct nl_request r;
	int ret = 0, more = 1;

	/* The largest of the structs, so that strict checking finds nothing odd in it. */
	size_t size = type == RTM_GETLINK   ? sizeof(struct ifinfomsg)
		      : type == RTM_GETADDR ? sizeof(struct ifaddrmsg)
					    : sizeof(struct rtmsg);
	*(uint8_t *)nl_begin(&r, type, NLM_F_DUMP, size) = family;
	ret = send_message(fd, header(&r));
	if (ret < 0)
		return ret;
	while (more) {
		ssize_t n = receive(fd, buf, ANSWER_MAX);

		if (n < 0)
			return (int)n;
		more = each(buf, (size_t)n, fn, arg, &ret);
	}
	return ret;
}

const struct rtattr *nl_find(const struct nlmsghdr *m, size_t n, uint16_t type)
{
	size_t left;
	const struct rtattr *a;

	if (m->nlmsg_len < NLMSG_SPACE(n))
		return NULL;
	left = m->nlmsg_len - NLMSG_SPACE(n);
	a = (const struct rtattr *)((const uint8_t *)m + NLMSG_SPACE(n));
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left))
		if ((a->rta_type & NLA_TYPE_MASK) == type)
			return a;
	return NULL;
}

int nl_echo(int fd, const struct nlmsghdr *m, uint16_t type)
{
	struct nl_request r = { 0 };
	struct nlmsghdr *h = header(&r);

	if (m->nlmsg_len > sizeof(r.buf))
		return -EMSGSIZE;
	memcpy(r.buf, m, m->nlmsg_len);
	h->nlmsg_type = type;
	h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	h->nlmsg_seq = h->nlmsg_pid = 0;
	return nl_do(fd, &r);
}
