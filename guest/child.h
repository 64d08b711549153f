/* What a process of a container does itself, from its making to its execve; after fork, so all of
 * it is the child's own copy. */
#pragma once
#include "guest/agent.h"
#include "guest/root.h"
#include "namespaces/namespaces.h"

struct child {
	const struct agent_host *host;
	const struct create_options *options; /* the container's */
	struct spec *spec;
	const struct spec_process *process;
	bool first; /* builds the container, waits for START; else joins it */
	bool keyring;
	const struct ns_set *ns;
	unsigned joined;
	int procfd;
	int cgroupfd;			/* the container's */
	const struct root_disks *disks; /* of the first one */
	int sock;     /* handshake: HS_CONSOLE, HS_READY; HS_START; end of file or HS_ERROR */
	int stdio[3]; /* -EBADF with a terminal */
};
_Noreturn void child_main(struct child *c);
