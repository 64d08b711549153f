/* Programs of the host that make file systems: the few things done by others' code. */
#pragma once
#include <stdint.h>

#include "base/err.h"

struct tool {
	const char *name;    /* looked up in $PATH, then in the system's directories */
	const char *package; /* Debian's, for who has it not */
	char *const *argv;
	int fd;	       /* handed on as descriptor 3; -EBADF: none */
	uint64_t size; /* no file may become larger (RLIMIT_FSIZE); 0: any */
	/* In the tool's process, before it gives up what it holds: namespaces, working directory.
	 * NULL: nothing. */
	int (*prepare)(void *arg, struct err *e);
	void *arg;
	/* The one capability that it keeps (CAP_*); -1: none. */
	int cap;
};

/* Runs it to its end: no input, no other descriptors, no new privileges, C locale. It dies with the
 * caller. -ENOENT: it is not installed; -EFBIG: size; else -EIO with the last of what it said. */
int tool_run(const struct tool *t, struct err *e);
