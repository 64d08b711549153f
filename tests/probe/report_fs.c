/* What the process sees of files: mounts, descriptors, terminal, directories. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "tests/probe/probe.h"

static void report_fds(void)
{
	char path[64];
	struct dirent *de;
	DIR *d = opendir("/proc/self/fd");

	js_open("fds", '{');
	while (d && (de = readdir(d))) {
		if (de->d_name[0] == '.' || atoi(de->d_name) == dirfd(d))
			continue;
		snprintf(path, sizeof(path), "/proc/self/fd/%.20s", de->d_name);
		js_link(de->d_name, path);
	}
	js_close('}');
	if (d)
		closedir(d);
}

static void report_tty(void)
{
	struct winsize ws = {};
	struct termios t;

	js_open("tty", '[');
	for (int i = 0; i < 3; i++)
		js_bool(NULL, isatty(i));
	js_close(']');
	if (ioctl(0, TIOCGWINSZ, &ws) == 0) {
		js_open("winsize", '[');
		js_int(NULL, ws.ws_col);
		js_int(NULL, ws.ws_row);
		js_close(']');
	}
	if (tcgetattr(0, &t) == 0) {
		js_bool("onlcr", t.c_oflag & ONLCR);
		js_int("tty_pgrp", tcgetpgrp(0));
		js_int("tty_sid", tcgetsid(0));
	}
}

void report_files(void)
{
	char cwd[4096];

	js_str("cwd", getcwd(cwd, sizeof(cwd)));
	js_link("exe", "/proc/self/exe");
	js_link("root", "/proc/self/root");
	js_file("mountinfo", "/proc/self/mountinfo");
	report_fds();
	report_tty();
}
