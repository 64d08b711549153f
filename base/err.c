#include "base/err.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* What the message quotes may come from anywhere: it stays one line and moves no cursor. */
static void one_line(struct err *e)
{
	for (unsigned char *p = (unsigned char *)e->msg; *p; p++)
		if (*p < ' ' || *p == 0x7f)
			*p = '?';
}

/* In the middle of a sentence, and as Go's errors are spelled: engines look for "permission
 * denied", some of them in just these letters. */
static void append_cause(struct err *e)
{
	size_t used = strlen(e->msg);
	const char *cause = strerror(e->code);
	bool word = isupper((unsigned char)cause[0]) && !isupper((unsigned char)cause[1]);

	snprintf(e->msg + used, sizeof(e->msg) - used, ": %c%s",
	    word ? tolower((unsigned char)cause[0]) : cause[0], cause + 1);
}

int err_errno(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	e->code = code > 0 ? code : EIO;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg) - 64, fmt, ap);
	va_end(ap);
	one_line(e);
	append_cause(e);
	return -e->code;
}

int err_set(struct err *e, int code, const char *fmt, ...)
{
	va_list ap;

	e->code = code > 0 ? code : EIO;
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg), fmt, ap);
	va_end(ap);
	one_line(e);
	return -e->code;
}

int err_wrap(struct err *e, const char *fmt, ...)
{
	char old[sizeof(e->msg)];
	va_list ap;
	size_t used;

	memcpy(old, e->msg, sizeof(old));
	va_start(ap, fmt);
	vsnprintf(e->msg, sizeof(e->msg) / 2, fmt, ap);
	va_end(ap);
	used = strlen(e->msg);
	snprintf(e->msg + used, sizeof(e->msg) - used, ": %s", old);
	one_line(e);
	return -e->code;
}

void err_clear(struct err *e)
{
	*e = (struct err)ERR_INIT;
}

int err_exit(struct err *e, int exit_code)
{
	e->exit = exit_code;
	return -e->code;
}
