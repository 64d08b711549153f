/* Commands on terminals. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/probe/probe.h"

static void on_winch(int sig)
{
}

static void print_size(void)
{
	struct winsize ws = {};

	if (ioctl(0, TIOCGWINSZ, &ws) < 0)
		printf("none\n");
	else
		printf("%ux%u\n", ws.ws_col, ws.ws_row);
	fflush(stdout);
}

/* The size now and after each SIGWINCH, COUNT times. */
static int cmd_winch(int argc, char **argv)
{
	struct sigaction sa = { .sa_handler = on_winch };
	sigset_t block, old;

	sigaction(SIGWINCH, &sa, NULL);
	sigemptyset(&block);
	sigaddset(&block, SIGWINCH);
	sigprocmask(SIG_BLOCK, &block, &old);
	print_size();
	for (int i = 0; i < atoi(argv[1]); i++) {
		sigsuspend(&old);
		print_size();
	}
	return 0;
}

/* Types into its own terminal's input: an escape where the terminal is shared with the host. */
static int cmd_tiocsti(int argc, char **argv)
{
	int r = 0;

	for (const char *p = argv[1]; *p && r == 0; p++)
		r = ioctl(0, TIOCSTI, p);
	return result(r);
}

static int cmd_ctty(int argc, char **argv)
{
	return result(open("/dev/tty", O_RDWR | O_CLOEXEC));
}

/* What /dev/console and fd 0 are: {"console": [dev, ino, rdev], "stdin": …}. */
static int cmd_console(int argc, char **argv)
{
	struct stat st;

	js_open(NULL, '{');
	for (int i = 0; i < 2; i++) {
		if ((i ? fstat(0, &st) : stat("/dev/console", &st)) < 0)
			continue;
		js_open(i ? "stdin" : "console", '{');
		js_int("rdev", st.st_rdev);
		js_int("major", major(st.st_rdev));
		js_int("ino", st.st_ino);
		js_int("dev", st.st_dev);
		js_int("uid", st.st_uid);
		js_int("gid", st.st_gid);
		js_int("mode", st.st_mode & 07777);
		js_close('}');
	}
	js_str("ttyname", ttyname(0));
	js_close('}');
	js_end();
	return 0;
}

const struct command tty_commands[] = {
	{ "winch", "COUNT", "print the size at each SIGWINCH", 1, cmd_winch },
	{ "tiocsti", "TEXT", "push input into the terminal", 1, cmd_tiocsti },
	{ "ctty", "", "open /dev/tty", 0, cmd_ctty },
	{ "console", "", "compare /dev/console with stdin", 0, cmd_console },
	{},
};
