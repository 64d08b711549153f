#include "netsetup/ovs.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"

#define OUTPUT_MAX 4096
#define NO_PROGRAM 127 /* as a shell's */
#define NO_BRIDGE  2   /* of ovs-vsctl br-exists */

static _Noreturn void child(char *const *argv, int out, pid_t parent)
{
	const struct sigaction dfl = { .sa_handler = SIG_DFL };
	int in = open("/dev/null", O_RDONLY);
	sigset_t none;

	/* What `delete` finds after a killed runtime must not change any more. */
	if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0 || getppid() != parent)
		_exit(NO_PROGRAM - 1);
	if (in < 0 || dup2(in, 0) < 0 || dup2(out, 1) < 0 || dup2(out, 2) < 0)
		_exit(NO_PROGRAM - 1);
	for (int s = 1; s < NSIG; s++)
		(void)sigaction(s, &dfl, NULL); /* but for those that cannot be changed */
	sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	execvp(argv[0], argv);
	_exit(errno == ENOENT ? NO_PROGRAM : NO_PROGRAM - 1);
}

/* Runs argv to its end; *ret_text: what it said, on one line. */
static int run(char *const *argv, int *ret_status, char **ret_text)
{
	_cleanup_close_ int rd = -EBADF, wr = -EBADF;
	pid_t pid, self = getpid();
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	rd = p[0];
	wr = p[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		child(argv, wr, self);
	close(steal_fd(&wr));
	return fd_read_child(steal_fd(&rd), pid, OUTPUT_MAX, ret_text, ret_status);
}

/* Takes ownership of the strings of args. *ret_exit NULL: must be 0. ovs-vsctl returns 0 for ports
 * that the switch could not set up, too, but says so: without its log (-voff) all that it prints is
 * an error. */
static int vsctl(char **args, int *ret_exit, struct err *e)
{
	_cleanup_strv_ char **argv = NULL;
	_cleanup_free_ char *text = NULL;
	int status, r;

	strv_push(&argv, xstrdup("ovs-vsctl"));
	strv_push(&argv, xstrdup("-voff"));
	strv_push(&argv, xstrdup("--timeout=30")); /* seconds; Open vSwitch may be down */
	for (; *args; args++)
		strv_push(&argv, *args);
	r = run(argv, &status, &text);
	if (r < 0)
		return err_errno(e, -r, "run ovs-vsctl");
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_PROGRAM)
		return err_set(e, ENOENT,
		    "no program \"ovs-vsctl\" (Debian: openvswitch-switch) in PATH, which networks "
		    "of Open vSwitch need");
	if (WIFSIGNALED(status))
		return err_set(e, EIO, "ovs-vsctl: ended by signal %d%s", WTERMSIG(status),
		    WTERMSIG(status) == SIGALRM ? ": no answer from Open vSwitch" : "");
	if (*text || (WEXITSTATUS(status) && !ret_exit))
		return err_set(e, EIO, "ovs-vsctl: %s (exit status %d)",
		    *text ? text : "failed without a word", WEXITSTATUS(status));
	if (ret_exit)
		*ret_exit = WEXITSTATUS(status);
	return 0;
}

int ovs_bridge_check(const char *bridge, struct err *e)
{
	char *args[] = { xstrdup("br-exists"), xstrdup(bridge), NULL };
	int status, r = vsctl(args, &status, e);

	if (r < 0)
		return r;
	if (status == NO_BRIDGE)
		return err_set(e, ENOENT,
		    "Open vSwitch has no bridge \"%s\": \"ovs-vsctl add-br %s\" makes it", bridge,
		    bridge);
	return status ? err_set(e, EIO, "ovs-vsctl br-exists %s: exit status %d", bridge, status)
		      : 0;
}

int ovs_port_add(const char *bridge, const char *port, uint16_t vlan, const char *id, struct err *e)
{
	char *args[] = { xstrdup("add-port"), xstrdup(bridge), xstrdup(port),
		vlan ? xasprintf("tag=%u", vlan) : xstrdup("trunks=[]"), xstrdup("--"),
		xstrdup("set"), xstrdup("Port"), xstrdup(port),
		xasprintf("external_ids:bailey=\"%s\"", id), NULL };

	return vsctl(args, NULL, e);
}

int ovs_port_del(const char *port, struct err *e)
{
	char *args[] = { xstrdup("--if-exists"), xstrdup("del-port"), xstrdup(port), NULL };

	return vsctl(args, NULL, e);
}
