/* Between the files of security/; not for other folders. */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Largest number in a list of CPUs or memory nodes, plus one: Linux's own limits are 8192 and 1024.
 */
#define ID_SET_MAX 8192
struct id_set {
	unsigned long words[ID_SET_MAX / (8 * sizeof(unsigned long))];
	size_t end; /* highest member plus one */
};

/* "0-3, 7" to a set: numbers and ascending ranges, separated by commas, blanks around both allowed.
 * property is for the message. An empty or blank list gives an empty set. */
int id_set_parse(const char *property, const char *list, struct id_set *ret, struct err *e);

/* PID/file of procfs, PID being pid or, with 0, the caller as this procfs numbers it, opened
 * O_WRONLY without following symlinks, magic links or mounts. Returns the fd or -errno (-EPERM:
 * procfd is not the root of a procfs). */
int proc_open(int procfd, pid_t pid, const char *file);
