/* /proc/PID/stat (proc_pid_stat(5)): what identifies a process beyond its reusable number. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct procstat {
	char state; /* 'R', 'S', 'Z' … */
	bool kernel_thread;
	uint64_t start_time; /* clock ticks since boot */
};

/* -ESRCH when there is no such process; -EBADMSG when the kernel's line cannot be understood. */
int procstat_read(pid_t pid, struct procstat *ret);
int procstat_parse(const char *line, struct procstat *ret);
