/*
 * One error, owned by the caller, that says where and why.
 *
 * Functions that can fail return 0 or -errno and take `struct err *` last (never NULL). The first
 * failure fills it in; callers on the way up may put context in front of the message with
 * err_wrap(). Only runtime/main prints it. The struct is plain data and fits one datagram, so that
 * a child's exact error reaches the user through the handshake socket.
 */
#pragma once
#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>

struct err {
	int code;	/* errno value, positive; 0: no error */
	int exit;	/* exit code wanted by the error; 0: the verb's default */
	char msg[1016]; /* one line, no newline, never empty when code is set */
};

#define ERR_INIT  \
	{         \
		0 \
	}

/* Sets code and message, with ": " and strerror(code) appended. code: positive errno.
 * Returns -code, so `return err_errno(e, errno, "open %s", p);`. */
int err_errno(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* The same without strerror: for errors that explain themselves. Returns -code. */
int err_set(struct err *e, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts "context: " before the message. Returns -e->code. */
int err_wrap(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Forgets the error: for callers that have a documented second way. */
void err_clear(struct err *e);

/* Chooses the process's exit code for this error (126, 127, 255 …). Returns -e->code. */
int err_exit(struct err *e, int exit_code);
