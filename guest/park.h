/*
 * Where the machine's interfaces are while the host has nothing for them: in a network namespace
 * that nobody else has a handle of. A container shall not see those that wait for an interface of
 * the host's.
 */
#pragma once
#include <stdint.h>

#include "base/err.h"

/* Moves an interface of fd's namespace away, which takes its addresses and routes and sets it down.
 * mac: its device's, by which it is named there. fd: by nl_open(). The namespace is made with the
 * first; the calling process must have one thread. */
int park_put(int fd, int index, const uint8_t mac[6], struct err *e);
/* Moves an interface with this index there to the namespace of fd; its name and index may be others
 * than they were. */
int park_take(int fd, int index, struct err *e);
/* A netlink socket there, not the caller's; -EBADF: nothing was ever put there. */
int park_socket(void);
