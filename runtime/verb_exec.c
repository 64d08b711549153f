#include <stddef.h>

#include "runtime/exec.h"
#include "runtime/lifecycle.h"
#include "runtime/verbs.h"

#define OFF(field) offsetof(struct exec_opts, field)
/* clang-format off */
static const struct opt opts[] = {
	{ "process", 'p', OPT_STR, OFF(process), "FILE", "process.json instead of a command; \"-\" is standard input", 0, 0 },
	{ "tty", 't', OPT_FLAG, OFF(tty), NULL, "give the process a terminal", 0, 0 },
	{ "user", 'u', OPT_STR, OFF(user), "UID[:GID]", "whom it runs as", 0, 0 },
	{ "additional-gids", 'g', OPT_STRV, OFF(additional_gids), "GID", "a further group (repeatable)", 0, 0 },
	{ "cwd", 0, OPT_STR, OFF(cwd), "DIR", "working directory in the container", 0, 0 },
	{ "env", 'e', OPT_STRV, OFF(env), "NAME=VALUE", "environment variable (repeatable)", 0, 0 },
	{ "cap", 'c', OPT_STRV, OFF(caps), "CAP", "a further capability (repeatable)", 0, 0 },
	{ "no-new-privs", 0, OPT_FLAG, OFF(no_new_privs), NULL, "set no_new_privs", 0, 0 },
	{ "apparmor", 0, OPT_STR, OFF(apparmor), "PROFILE", "AppArmor profile", 0, 0 },
	{ "process-label", 0, OPT_STR, OFF(process_label), "LABEL", "SELinux label", 0, 0 },
	{ "cgroup", 0, OPT_STR, OFF(cgroup), "PATH", "cgroup below the container's", 0, 0 },
	{ "detach", 'd', OPT_FLAG, OFF(detach), NULL, "return once the process runs", 0, 0 },
	{ "console-socket", 0, OPT_STR, OFF(console_socket), "SOCKET", "unix socket that receives the terminal's master descriptor", 0, 0 },
	{ "pid-file", 0, OPT_STR, OFF(pid_file), "FILE", "where to write the process's number", 0, 0 },
	{ "preserve-fds", 0, OPT_INT, OFF(preserve_fds), "N", "pass N descriptors, from 3 on, to the process", 0, 1024 },
	{ "ignore-paused", 0, OPT_FLAG, OFF(ignore_paused), NULL, "also in a paused container, where it waits", 0, 0 },
	{ "no-new-keyring", 0, OPT_FLAG, OFF(no_new_keyring), NULL, "keep the caller's session keyring", 0, 0 },
	{ 0 },
};
/* clang-format on */

static int check(void *o, struct err *e)
{
	struct exec_opts *x = o;

	return check_preserve_fds(&x->preserve_fds, &x->keep_fds, &x->listen_fds, e);
}

static int run(const struct globals *g, void *o, int argc, char **argv, struct err *e)
{
	return container_exec(g, argv[0], o, argv + 1, e);
}

const struct verb verb_exec = {
	.name = "exec",
	.args = "CONTAINER [COMMAND [ARG...]]",
	.summary = "execute a further process in a container",
	.detail =
	    "The process gets what config.json gives the container's own (user, capabilities, "
	    "limits, "
	    "seccomp …) where no option says otherwise. The exit code is the process's own, 128 + "
	    "N "
	    "when signal N ended it, 127 when the command is not found, 126 when it cannot be "
	    "executed, and 255 for any other failure.",
	.opts = opts,
	.opts_size = sizeof(struct exec_opts),
	.min_args = 1,
	.max_args = -1,
	.sealed = true,
	.options_first = true,
	.check = check,
	.error_exit = 255,
	.run = run,
};
