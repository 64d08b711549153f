/* Staying with a process until it ends: signals forwarded, terminal relayed, exit status returned.
 */
#pragma once
#include <sys/types.h>

#include "base/err.h"

/* Before the process is made: from here on signals wait for foreground_wait, so that none is lost.
 */
void foreground_prepare(void);
/* Gives a new terminal the size of the caller's, where there is one: before the process looks. */
void foreground_copy_size(int master);
/* Waits for pid, a child of the caller with pidfd. master: its terminal, or -EBADF; the caller's
 * own terminal (standard input, or /dev/tty where that is none) is raw meanwhile. *ret: exit
 * status, or 128 + signal. */
int foreground_wait(pid_t pid, int pidfd, int master, int *ret, struct err *e);
