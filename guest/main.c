/*
 * bailey-agent: PID 1 of a guest. It ends the machine: powers it off when the host says so or hangs
 * up, and where it cannot go on it ends, which makes the kernel panic; the monitor then has the
 * kernel's log, with the reason in it.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/reboot.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "guest/boot.h"

static void say(const char *text)
{
	_cleanup_free_ char *line = xasprintf("<3>bailey-agent: %s\n", text);
	_cleanup_close_ int fd = open("/dev/kmsg", O_WRONLY | O_CLOEXEC);

	(void)fd_write_all(fd >= 0 ? fd : STDERR_FILENO, line, strlen(line));
}

static int serve(struct err *e)
{
	int port, procfd, r;

	if ((r = boot_machine(&procfd, e)) < 0 || (r = boot_port(GP_PORT_AGENT, &port, e)) < 0)
		return r;
	return agent_run(port, procfd, &machine_host, e);
}

int main(void)
{
	struct err e = ERR_INIT;

	if (getpid() != 1) {
		say("it is the first process of bailey's virtual machines, and nothing else");
		return 1;
	}
	if (serve(&e) < 0) {
		say(e.msg);
		_exit(1);
	}
	sync();
	(void)reboot(RB_POWER_OFF);
	say("the machine cannot be powered off");
	_exit(1);
}
