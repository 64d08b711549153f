#include <errno.h>
#include <net/if.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "netsetup/netsetup.h"

int net_loopback_up(struct err *e)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };

	if (fd < 0)
		return err_errno(e, errno, "bring the loopback interface up: socket");
	if (ioctl(fd, SIOCSIFFLAGS, &ifr) < 0)
		return err_errno(e, errno, "bring the loopback interface up");
	return 0;
}
