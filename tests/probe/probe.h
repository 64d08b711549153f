/*
 * The program that tests run inside a container: static, so any rootfs will do. Without arguments
 * (or as `probe report`) it prints what it sees as one JSON object; the other commands try
 * something and say what came of it. tests/lib reads both.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* ---- JSON on stdout (json.c); key NULL inside arrays ---- */
void js_open(const char *key, char bracket); /* '{' or '[' */
void js_close(char bracket);
void js_str(const char *key, const char *s); /* NULL: null */
void js_strn(const char *key, const char *s, size_t n);
void js_int(const char *key, long long v);
void js_bool(const char *key, bool v);
void js_file(const char *key, const char *path); /* its text, or null where it cannot be read */
void js_link(const char *key, const char *path); /* readlink, or null */
void js_end(void);				 /* newline and flush */
/* {"ret": n} or {"ret": -1, "errno": "EPERM"}; returns 0, so that commands can `return result(…)`.
 */
int result(long long ret);

void report_identity(void);   /* report_id.c */
void report_scheduling(void); /* report_sched.c */
void report_files(void);      /* report_fs.c */

struct command {
	const char *name, *args, *what;
	int min_args;
	int (*run)(int argc, char **argv); /* argv[0]: the command's name */
};
extern const struct command file_commands[], process_commands[], tty_commands[], hostile_commands[],
    network_commands[];
