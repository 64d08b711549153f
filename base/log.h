/*
 * Diagnostics. Libraries never print; they may call log_debug(), which says which kernel path was
 * taken and is silent without --debug. Warnings tell the user of something that holds less than was
 * asked for and is allowed to; errors are printed once, by runtime/main.
 */
#pragma once
#include <stdbool.h>

#include "base/err.h"

enum log_format { LOG_TEXT, LOG_JSON };
enum log_level { LEVEL_ERROR, LEVEL_WARNING, LEVEL_DEBUG };

/* path: NULL for stderr, a file (appended, O_CLOEXEC), "journald:[ID]" or "syslog:[ID]". An error
 * always goes to stderr as well when path is given, as engines expect. */
int log_open(const char *path, enum log_format format, bool debug, struct err *e);
/* Without it stderr gets errors and warnings and the log errors alone (podman reads the log as one
 * JSON object); this sets both. log_open with debug sets LEVEL_DEBUG. */
void log_set_level(enum log_level level);
/* "error", "warning", "debug"; -EINVAL for others. */
int log_parse_level(const char *s, enum log_level *ret);
/* The log's descriptor, or -EBADF: code that closes inherited fds must spare it. */
int log_fd(void);
/* From here on nothing is written: the child calls it before it runs what is not ours. */
void log_mute(void);
bool log_debug_enabled(void);

void log_error(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void log_debug(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
