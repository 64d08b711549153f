/* The network of a machine: the interfaces of the container's namespace, carried by taps, and the
 * process that watches them. */
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "netsetup/carry.h"
#include "runtime/vm_level.h"
#include "security/security.h"
#include "vm/jail.h"

#define TUN_DEVICE "/dev/net/tun"
/* For interfaces that engines bring once the container is created. */
#define SPARES 2

/* Without the device there can be no interfaces; carry_open() says so where there are some. */
int vm_net_open(struct vm_net *n, struct err *e)
{
	_cleanup_close_ int tun = open(TUN_DEVICE, O_PATH | O_CLOEXEC);
	const struct carry_config c = { .tun = tun, .spares = tun < 0 ? 0 : SPARES };
	int r = carry_open(&c, &n->carry, e);

	if (r < 0)
		return r;
	n->n = carry_count(n->carry);
	n->nics = xcalloc(n->n + 1, sizeof(*n->nics));
	for (unsigned i = 0; i < n->n; i++) {
		const struct carry_nic nic = carry_take(n->carry, i);

		n->nics[i].tap = nic.tap;
		n->nics[i].mtu = nic.mtu;
		memcpy(n->nics[i].mac, nic.mac, sizeof(nic.mac));
	}
	n->json = carry_json(n->carry);
	return 0;
}

/* Nothing of the machine's stays here, nor of who called: a caller's pipe that is never closed
 * would have no end. */
static _Noreturn void follow(struct carry *c, int out)
{
	const uint64_t keep = UINT64_C(1) << CAP_NET_ADMIN;
	const struct spec_caps caps = {
		.has = true, .bounding = keep, .permitted = keep, .effective = keep
	};
	int fds[CARRY_FDS + 2] = { out, log_fd() };
	struct err e = ERR_INIT;

	(void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	carry_fds(c, fds + 2);
	if (vm_jail_close_others(fds, ARRAY_SIZE(fds), &e) < 0 ||
	    caps_drop_bounding(&caps, &e) < 0 || caps_apply(&caps, &e) < 0 ||
	    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		_exit(1);
	_exit(carry_follow(c, out, &e) < 0);
}

int vm_net_follow(struct vm_net *n, struct err *e)
{
	int pair[2];
	pid_t pid;

	if (!n->n)
		return 0;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_errno(e, errno, "socketpair");
	pid = fork();
	if (pid < 0)
		return err_errno(e, errno, "fork");
	if (pid == 0)
		follow(n->carry, pair[1]);
	close(pair[1]);
	n->changes = pair[0];
	return 0;
}
