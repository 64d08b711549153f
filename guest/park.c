#include "guest/park.h"

#include <linux/sockios.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "base/cleanup.h"
#include "guest/netlink.h"

static int parked = -EBADF; /* the socket is all that keeps the namespace */

int park_socket(void)
{
	return parked;
}

static int namespace_of(int fd, struct err *e)
{
	int ns = ioctl(fd, SIOCGSKNS);

	return ns < 0 ? err_errno(e, errno, "network: ask for the namespace of a socket") : ns;
}

/* A socket belongs to the namespace in which it is opened. */
static int open_elsewhere(int fd, struct err *e)
{
	_cleanup_close_ int own = namespace_of(fd, e), there = -EBADF;

	if (own < 0)
		return own;
	if (unshare(CLONE_NEWNET) < 0)
		return err_errno(e, errno, "network: make a namespace for unused interfaces");
	there = nl_open(e);
	if (setns(own, CLONE_NEWNET) < 0)
		return err_errno(e, errno, "network: return to the machine's namespace");
	return steal_fd(&there);
}

static int move(int from, int to, int index, const char *name, struct err *e)
{
	_cleanup_close_ int ns = namespace_of(to, e);
	struct nl_request r;
	struct ifinfomsg *i = nl_begin(&r, RTM_NEWLINK, 0, sizeof(*i));
	int n;

	if (ns < 0)
		return ns;
	i->ifi_index = index;
	i->ifi_change = IFF_UP;
	nl_attr_u32(&r, IFLA_NET_NS_FD, (uint32_t)ns);
	if (name)
		nl_attr(&r, IFLA_IFNAME, name, strlen(name) + 1);
	n = nl_do(from, &r);
	return n < 0 ? err_errno(e, -n, "network: move interface %d to another namespace", index)
		     : 0;
}

int park_put(int fd, int index, const uint8_t mac[6], struct err *e)
{
	char name[IFNAMSIZ];

	if (parked < 0)
		parked = open_elsewhere(fd, e);
	if (parked < 0)
		return parked;
	/* Not the name it has: the next one may have had the same. */
	snprintf(name, sizeof(name), "m%02x%02x%02x%02x%02x%02x", mac[0], mac[1], mac[2], mac[3],
	    mac[4], mac[5]);
	return move(fd, parked, index, name, e);
}

int park_take(int fd, int index, struct err *e)
{
	return move(parked, fd, index, NULL, e);
}
