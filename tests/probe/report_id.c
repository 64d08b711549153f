/* Who the process is: ids, capabilities, seccomp, namespaces, environment. */
#include <dirent.h>
#include <errno.h>
#include <grp.h>
#include <linux/keyctl.h>
#include <linux/securebits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "tests/probe/probe.h"

extern char **environ;

static void report_ids(void)
{
	uid_t u[3];
	gid_t g[3], groups[1024];
	mode_t mask;
	int n;

	getresuid(&u[0], &u[1], &u[2]);
	getresgid(&g[0], &g[1], &g[2]);
	js_open("uid", '[');
	for (int i = 0; i < 3; i++)
		js_int(NULL, u[i]);
	js_close(']');
	js_open("gid", '[');
	for (int i = 0; i < 3; i++)
		js_int(NULL, g[i]);
	js_close(']');
	n = getgroups(1024, groups);
	js_open("groups", '[');
	for (int i = 0; i < n; i++)
		js_int(NULL, groups[i]);
	js_close(']');
	mask = umask(0);
	umask(mask);
	js_int("umask", mask);
	js_int("pid", getpid());
	js_int("ppid", getppid());
	js_int("sid", getsid(0));
	js_int("pgid", getpgid(0));
}

static void cap_list(const char *key, bool (*has)(int))
{
	js_open(key, '[');
	for (int i = 0; i < 64; i++)
		if (has(i)) {
			char *name = cap_to_name(i);
			js_str(NULL, name);
			cap_free(name);
		}
	js_close(']');
}

static cap_t caps;
static bool cap_flag(int c, cap_flag_t f)
{
	cap_flag_value_t v;

	return cap_get_flag(caps, c, f, &v) == 0 && v == CAP_SET;
}
static bool in_eff(int c)
{
	return cap_flag(c, CAP_EFFECTIVE);
}
static bool in_prm(int c)
{
	return cap_flag(c, CAP_PERMITTED);
}
static bool in_inh(int c)
{
	return cap_flag(c, CAP_INHERITABLE);
}
static bool in_bnd(int c)
{
	return prctl(PR_CAPBSET_READ, c, 0, 0, 0) == 1;
}
static bool in_amb(int c)
{
	return prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_IS_SET, c, 0, 0) == 1;
}

static void report_security(void)
{
	caps = cap_get_proc();
	js_open("caps", '{');
	cap_list("effective", in_eff);
	cap_list("permitted", in_prm);
	cap_list("inheritable", in_inh);
	cap_list("bounding", in_bnd);
	cap_list("ambient", in_amb);
	js_close('}');
	cap_free(caps);
	js_int("securebits", prctl(PR_GET_SECUREBITS, 0, 0, 0, 0));
	js_int("seccomp", prctl(PR_GET_SECCOMP, 0, 0, 0, 0));
	js_int("no_new_privs", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	js_int("dumpable", prctl(PR_GET_DUMPABLE, 0, 0, 0, 0));
	js_file("status", "/proc/self/status");
	js_file("attr_current", "/proc/self/attr/current");
}

static void report_signals(void)
{
	sigset_t blocked;
	struct sigaction sa;

	sigprocmask(SIG_BLOCK, NULL, &blocked);
	js_open("blocked", '[');
	for (int i = 1; i < NSIG; i++)
		if (sigismember(&blocked, i) == 1)
			js_int(NULL, i);
	js_close(']');
	js_open("ignored", '[');
	for (int i = 1; i < NSIG; i++)
		if (sigaction(i, NULL, &sa) == 0 && sa.sa_handler == SIG_IGN)
			js_int(NULL, i);
	js_close(']');
}

static void report_keyring(void)
{
	char buf[256];
	long n = syscall(SYS_keyctl, KEYCTL_DESCRIBE, KEY_SPEC_SESSION_KEYRING, buf, sizeof(buf));

	js_str("session_keyring", n > 0 ? buf : NULL);
}

static void report_namespaces(void)
{
	static const char *const names[] = { "cgroup", "ipc", "mnt", "net", "pid", "time", "user",
		"uts", NULL };
	char path[64];
	struct utsname u;

	js_open("ns", '{');
	for (int i = 0; names[i]; i++) {
		snprintf(path, sizeof(path), "/proc/self/ns/%s", names[i]);
		js_link(names[i], path);
	}
	js_close('}');
	uname(&u);
	js_str("hostname", u.nodename);
	js_str("domainname", u.domainname);
	js_str("machine", u.machine);
	js_file("uid_map", "/proc/self/uid_map");
	js_file("gid_map", "/proc/self/gid_map");
	js_file("setgroups", "/proc/self/setgroups");
	js_file("cgroup", "/proc/self/cgroup");
}

void report_identity(void)
{
	js_open("env", '[');
	for (char **e = environ; *e; e++)
		js_str(NULL, *e);
	js_close(']');
	report_ids();
	report_security();
	report_signals();
	report_keyring();
	report_namespaces();
}
