/* From the kernel's first process to an agent that can listen: called once, as PID 1. */
#pragma once
#include "base/err.h"
#include "guest/agent.h"

/* Mounts what a running system needs, loads the modules of the initramfs, and leaves the initramfs
 * for a root in memory, whose contents are freed. ret_procfd: the root of /proc, O_PATH. */
int boot_machine(int *ret_procfd, struct err *e);
/* Opens the console port of this name, once it is there and the host has opened its end; waits for
 * that at most BOOT_PORT_SECONDS. */
#define BOOT_PORT_SECONDS 30
int boot_port(const char *name, int *ret, struct err *e);

/* What the agent does with a machine (host.c). */
extern const struct agent_host machine_host;
