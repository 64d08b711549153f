/*
 * Diagnostics. Libraries never print; they may call log_debug(), which says which kernel path was
 * taken and is silent without --debug. Warnings tell the user of something that holds less than was
 * asked for and is allowed to; errors are printed once, by runtime/main.
 */
#pragma once
#include <stdbool.h>

#include "base/err.h"

enum log_format { LOG_TEXT, LOG_JSON };

/* path: NULL for stderr, a file (appended, O_CLOEXEC), "journald:[ID]" or "syslog:[ID]". An error
 * always goes to stderr as well when path is given, as engines expect. */
int log_open(const char *path, enum log_format format, bool debug, struct err *e);
/* The log's descriptor, or -EBADF: code that closes inherited fds must spare it. */
int log_fd(void);
/* From here on nothing is written: the child calls it before it runs what is not ours. */
void log_mute(void);
bool log_debug_enabled(void);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
