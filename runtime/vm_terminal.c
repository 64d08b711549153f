#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>

#include "base/cleanup.h"
#include "runtime/vm_level.h"

static int open_pair(int *ret_master, int *ret_slave, struct err *e)
{
	_cleanup_close_ int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	int slave, unlock = 0;

	if (master < 0)
		return err_errno(e, errno, "a terminal needs a pty of the host: open /dev/ptmx");
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return err_errno(e, errno, "unlock the host's pty");
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_errno(e, errno, "open the slave of the host's pty");
	*ret_master = steal_fd(&master);
	*ret_slave = slave;
	return 0;
}

int vm_terminal_open(const struct spec_process *p, int *ret_master, int *ret_slave, struct err *e)
{
	_cleanup_close_ int master = -EBADF, slave = -EBADF;
	struct winsize ws = { .ws_row = p->console_size.height, .ws_col = p->console_size.width };
	struct termios raw;
	int r = open_pair(&master, &slave, e);

	if (r < 0)
		return r;
	if (tcgetattr(slave, &raw) < 0)
		return err_errno(e, errno, "read the terminal's settings");
	cfmakeraw(&raw);
	if (tcsetattr(slave, TCSANOW, &raw) < 0)
		return err_errno(e, errno, "set the terminal's settings");
	if (p->console_size.set && ioctl(slave, TIOCSWINSZ, &ws) < 0)
		return err_errno(
		    e, errno, "config.json: .process.consoleSize: set %ux%u", ws.ws_col, ws.ws_row);
	*ret_master = steal_fd(&master);
	*ret_slave = steal_fd(&slave);
	return 0;
}

int vm_take_stdio(int slave, int ret[3], struct err *e)
{
	_cleanup_close_ int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	int fds[3] = { slave, slave, -EBADF };

	if (null < 0)
		return err_errno(e, errno, "open /dev/null");
	for (int fd = 0; fd < 3; fd++) {
		if (slave < 0)
			fds[fd] = fcntl(fd, F_DUPFD_CLOEXEC, 3);
		if ((slave < 0 && fds[fd] < 0) || dup2(null, fd) < 0)
			return err_errno(e, errno, "standard stream %d", fd);
	}
	memcpy(ret, fds, sizeof(fds));
	return 0;
}
