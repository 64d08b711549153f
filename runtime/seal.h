/* The program's sealed copy. */
#pragma once
#include <stdbool.h>

#include "base/err.h"

/* Makes the process run from a sealed memfd copy of the program, in place where the kernel lets us,
 * else by executing the copy; returns 0 once it does. A process in a container that gets hold of
 * /proc/PID/exe of an init or exec stage (CVE-2019-5736) holds that copy, which nobody can write.
 * Call it while there is one thread, and nothing is open or locked that an execve would lose. */
int seal_self(char **argv, struct err *e);

/* ---- seal_in_place.c ---- */

/* Does copy hold the program that runs? */
bool seal_is_this_program(int copy);
/* Exchanges the program's file for copy, which holds the same and is sealed, as what the process
 * is mapped from and what /proc/self/exe names. Raw -errno: it still runs from its file. */
int seal_in_place(int copy);
