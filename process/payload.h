/* The last steps of every process in a container, init's and exec's alike: from a prepared process
 * inside the container to the payload's execve. */
#pragma once
#include <stdbool.h>

#include "base/err.h"
#include "security/security.h"
#include "spec/spec.h"

struct payload {
	const struct spec_process *process;
	char *exe;  /* path inside the container, found by payload_prepare */
	char **env; /* with HOME and LISTEN_* added */
	int procfd;
	int report; /* the socket on which execve's failure is told */
	unsigned preserve_fds;
	unsigned listen_fds; /* of them, by socket activation */
	const struct seccomp_prog *seccomp;
	int seccomp_agent;
	const char *state_json; /* for the seccomp agent */
};

/* The containerProcessState that a seccomp agent gets with the notify descriptor
 * (config-linux.md#containerprocessstate); the pid is the calling process's in the runtime's
 * namespace, read from procfd. Caller frees. */
char *seccomp_agent_state(
    const struct spec *s, const struct spec_state *state, int procfd, struct err *e);

/* In the container's root, still with all capabilities: completes the environment, finds the
 * executable
 * (-ENOENT with exit 127, -EACCES with 126) and enters the working directory (made when make_cwd).
 */
int payload_prepare(struct payload *p, bool make_cwd, struct err *e);
/* Gives up what the payload shall not have, in the one order that works, and executes it. Returns
 * only on failure, with exit 127 or 126 where it was execve that failed; every descriptor but
 * report, seccomp_agent and what the payload gets may be closed then. */
int payload_execute(struct payload *p, struct err *e);
/* For a process that executes another program of the image's: closes all descriptors from 3 on and
 * gives up what the payload shall not have, its label included. What the seccomp filter would ask
 * its agent is refused (ENOSYS): the agent is the payload's. */
int payload_confine(const struct payload *p, struct err *e);
