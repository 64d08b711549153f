#include "netsetup/rtnl.h"

#include <dlfcn.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/alloc.h"
#include "base/cleanup.h"

/* A kernel's dump fits its answers to the reader's buffer, up to this size. */
#define RECV_SIZE 32768

struct mnl_api mnl;

int mnl_load(struct err *e)
{
	static bool loaded;
	struct mnl_api api;
	void *lib;

	if (loaded)
		return 0;
	lib = dlopen("libmnl.so.0", RTLD_NOW | RTLD_LOCAL);
	if (!lib)
		return err_set(e, ENOENT,
		    "load libmnl (Debian: libmnl0), for network interfaces: %s", dlerror());
#define X(f)                                    \
	api.f = (__typeof__(&f))dlsym(lib, #f); \
	if (!api.f)                             \
		return err_set(e, ENOSYS, "libmnl.so.0 lacks %s", #f);
	MNL_FUNCTIONS(X)
#undef X
	mnl = api;
	loaded = true;
	return 0;
}

void rtnl_close(struct rtnl *r)
{
	if (r->sock)
		mnl.mnl_socket_close(r->sock);
	r->sock = NULL;
}

static int open_socket(struct rtnl *ret, unsigned groups, int flags, struct err *e)
{
	struct rtnl r = { .seq = 1 };

	r.sock = mnl.mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | flags);
	if (!r.sock)
		return err_errno(e, errno, "open a netlink socket");
	if (mnl.mnl_socket_bind(r.sock, groups, MNL_SOCKET_AUTOPID) < 0) {
		int code = errno;

		rtnl_close(&r);
		return err_errno(e, code, "bind a netlink socket");
	}
	*ret = r;
	return 0;
}

int rtnl_open(struct rtnl *ret, struct err *e)
{
	return open_socket(ret, 0, 0, e);
}

int rtnl_listen(struct rtnl *ret, unsigned groups, struct err *e)
{
	return open_socket(ret, groups, SOCK_NONBLOCK, e);
}

bool rtnl_drain(struct rtnl *r)
{
	char buf[256]; /* what is cut off is not looked at either */
	bool any = false;

	/* Bounded: who changes things without end is answered in between. */
	for (int i = 0; i < 1000; i++) {
		ssize_t n = recv(mnl.mnl_socket_get_fd(r->sock), buf, sizeof(buf), 0);

		/* ENOBUFS: some were lost. */
		if (n < 0 && errno != EINTR && errno != ENOBUFS)
			break;
		any = true;
	}
	return any;
}

void *rtnl_msg_init(struct rtnl_msg *m, uint16_t type, uint16_t flags, size_t size)
{
	memset(m->buf, 0, sizeof(m->buf));
	m->h = mnl.mnl_nlmsg_put_header(m->buf);
	m->h->nlmsg_type = type;
	m->h->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags);
	return mnl.mnl_nlmsg_put_extra_header(m->h, size);
}

int rtnl_call(struct rtnl *r, struct rtnl_msg *m, mnl_cb_t cb, void *data)
{
	unsigned port = mnl.mnl_socket_get_portid(r->sock);
	_cleanup_free_ char *buf = xmalloc(RECV_SIZE);
	int run = MNL_CB_OK;

	m->h->nlmsg_seq = ++r->seq;
	/* A dump ends with NLMSG_DONE; all else is asked to end with an acknowledgement. NLM_F_DUMP
	 * is two bits, one of which is NLM_F_EXCL for requests that create. */
	if ((m->h->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP)
		m->h->nlmsg_flags |= NLM_F_ACK;
	if (mnl.mnl_socket_sendto(r->sock, m->h, m->h->nlmsg_len) < 0)
		return -errno;
	while (run > MNL_CB_STOP) {
		ssize_t n = mnl.mnl_socket_recvfrom(r->sock, buf, RECV_SIZE);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		run = mnl.mnl_cb_run(buf, (size_t)n, m->h->nlmsg_seq, port, cb, data);
	}
	return run < 0 ? -errno : 0;
}
