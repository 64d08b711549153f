/*
 * Standard streams between descriptors of the host and a process in the guest, over a connection of
 * the monitor's client table (vm/clients.h): threads with blocking reads and writes, so that a slow
 * reader on the host holds up nobody but its own stream.
 *
 *   reader      descriptor 0 -> STDIN, as far as the guest has granted credit
 *   receiver    frames -> the writers' queues; EXIT
 *   writers     STDOUT, STDERR -> descriptors 1 and 2, then credit for what was written
 *
 * The monitor has one for the container's own streams; exec's process (runtime/vm_exec.c) is one.
 * The other end of the connection is the monitor: its frames are checked, but trusted.
 */
#pragma once
#include <stdbool.h>

#include "base/err.h"

struct pump;
struct pump_config {
	int sock; /* blocking; owned */
	/* Standard streams; owned, closed when their stream ends. -EBADF: none. With a terminal
	 * fds[1] is fds[0], and fds[2] is none; they stay open. */
	int fds[3];
	/* Runs first on each thread (the jail). May be NULL. */
	int (*prepare)(void *arg, struct err *e);
	/* On a thread of the pump, once: the process has ended with this wait status and all it has
	 * written is written; or -ECONNRESET: the machine is gone. */
	void (*done)(void *arg, int r, int status);
	void *arg;
};
/* Makes the threads and waits until each is prepared. They and the pump live as long as the calling
 * process. */
int pump_start(const struct pump_config *c, struct pump **ret, struct err *e);
/* The process is there: standard input may be read now. */
void pump_go(struct pump *p);

/* From any thread. Nothing is told of a connection that is gone: done() does. */
void pump_signal(struct pump *p, int number);
/* Tells the size of tty, if it has one. */
void pump_winsize(struct pump *p, int tty);
