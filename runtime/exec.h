/* A further process in a running container. */
#pragma once
#include "base/err.h"
#include "runtime/cli.h"
#include "runtime/container.h"
#include "spec/spec.h"

struct exec_opts {
	const char
	    *process; /* file, or NULL: from config.json, the flags below and the arguments */
	const char *console_socket, *pid_file;
	const char *cgroup; /* below the container's, or NULL */
	const char *user, *cwd, *apparmor, *process_label;
	char **env, **caps;
	char **additional_gids;
	bool tty, detach, no_new_privs, ignore_paused, no_new_keyring;
	struct opt_i64 preserve_fds;
	/* set by the verb's check */
	unsigned keep_fds, listen_fds;
};

/* Executes args (or --process's) in the container. Returns the exit code of the process, 0 when
 * detached, or -errno. */
int container_exec(
    const struct globals *g, const char *id, const struct exec_opts *o, char **args, struct err *e);
/* What is executed: the configuration's process with the flags applied (exec_process.c). Strings
 * live in a. */
int exec_process(struct arena *a, const struct spec *s, const struct exec_opts *o, char **args,
    struct spec_process *ret, struct err *e);
