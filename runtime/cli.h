/*
 * The command line: verbs and their options are tables; one parser, one help printer.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "base/err.h"
#include "cgroups/cgroups.h"

/* What stands before the verb. */
struct globals {
	const char *root; /* absolute; /run/bailey, or $XDG_RUNTIME_DIR/bailey when rootless */
	const char *log;  /* NULL: stderr */
	const char *log_format;
	const char *log_level;
	bool debug;
	bool version;
	bool systemd_cgroup;
	const char *cgroup_manager; /* NULL: by --systemd-cgroup */
	const char *rootless;	    /* "auto", "true", "false" */
	/* derived */
	const char *program;	 /* argv[0] */
	const char *program_dir; /* where the program's file is; NULL: unknown */
	enum cgroup_manager manager;
	bool is_rootless; /* euid is not 0, or 0 in a user namespace that does not map all of the
			     host (auto) */
};

enum opt_kind {
	OPT_FLAG,     /* bool; also --name=true|false */
	OPT_STR,      /* const char * */
	OPT_STRV,     /* char **, NULL-terminated; one per occurrence */
	OPT_INT,      /* struct opt_i64; within min..max */
	OPT_SIZE,     /* struct opt_i64, bytes with k/m/g suffix, -1 allowed */
	OPT_OPT_BOOL, /* struct opt_bool */
};
struct opt {
	const char *name; /* long name without dashes; NULL ends the table */
	char letter;	  /* 0: none */
	enum opt_kind kind;
	size_t off;	  /* of the field in the verb's option struct */
	const char *meta; /* "FILE", shown in help; NULL for flags */
	const char *help; /* NULL: hidden */
	int64_t min, max; /* OPT_INT; 0,0: any */
};

struct verb {
	const char *name;
	const char *args;     /* "CONTAINER [COMMAND [ARG…]]" */
	const char *summary;  /* one line */
	const char *detail;   /* paragraphs for --help and the man page, or NULL */
	const char *examples; /* lines, or NULL */
	const struct opt *opts;
	size_t opts_size;
	int min_args, max_args; /* max -1: any */
	bool sealed;		/* starts a process in a container: runs from the sealed copy */
	bool options_first;	/* options end at the first argument (exec, run) */
	/* Called before main opens any descriptor: what --preserve-fds names must have come from
	 * the caller. NULL: nothing to check. */
	int (*check)(void *opts, struct err *e);
	int error_exit; /* exit code of errors without one of their own: 1, exec 255 */
	/* Returns the exit code (>= 0) or -errno with e set. opts: zeroed struct of opts_size,
	 * filled. */
	int (*run)(const struct globals *g, void *opts, int argc, char **argv, struct err *e);
};
extern const struct verb *const verbs[];	/* NULL-terminated, in help's order */
const struct verb *verb_find(const char *name); /* NULL: unknown */

/* Parses argv[0..argc) by table into out, as Go's flag package does, which runc's callers know: one
 * dash or two, "--x V" or "--x=V", "--" ends the options. Unless options_first, options may stand
 * between arguments; argv is then reordered, options first. A repeated option overrides, an
 * OPT_STRV collects; its vectors belong to the caller.
 *
 * Returns the index of the first argument, CLI_HELP for --help or -h, or -errno with a message like
 * runc's: "flag provided but not defined: --x", "flag needs an argument: --x". */
int cli_parse(
    const struct opt *table, void *out, int argc, char **argv, bool options_first, struct err *e);
#define CLI_HELP (-ECANCELED) /* e is not set */

/* ---- what stands before the verb (globals.c) ---- */

extern const struct opt global_opts[]; /* offsets in struct globals */
/* Like cli_parse, for argv after the program's name; fills in defaults. No descriptor is opened. */
int globals_parse(struct globals *g, int argc, char **argv, struct err *e);
/* Checks the values, derives manager, is_rootless and an absolute root. Not for --help. */
int globals_derive(struct globals *g, struct err *e);

/* ---- help (help.c, man.c) ---- */

void help_program(FILE *f);
void help_verb(FILE *f, const struct verb *v);
void help_version(FILE *f);
/* Manual pages in man(7) format. v NULL: bailey(8). */
void man_page(FILE *f, const struct verb *v);
