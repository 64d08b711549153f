/* The help texts, all from the tables of verbs and options. */
#include <string.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "runtime/verbs.h"
#include "security/security.h"

#define WIDTH	   79
#define MAX_COLUMN 30 /* descriptions start here at the latest */

/* Columns, not bytes: UTF-8 continuation bytes take none. */
static size_t columns(const char *s, size_t n)
{
	size_t cols = 0;

	for (size_t i = 0; i < n; i++)
		cols += ((unsigned char)s[i] & 0xc0) != 0x80;
	return cols;
}

/* Prints text from column `at` on, broken at blanks, further lines indented to `indent`. */
static void print_wrapped(FILE *f, const char *text, size_t at, size_t indent)
{
	bool first = true;

	while (*text) {
		size_t n = strcspn(text, " \n"), cols = columns(text, n);

		if (!first && at + 1 + cols > WIDTH) {
			fprintf(f, "\n%*s", (int)indent, "");
			at = indent;
			first = true;
		}
		fprintf(f, "%s%.*s", first ? "" : " ", (int)n, text);
		at += cols + !first;
		first = false;
		text += n;
		if (*text == '\n') {
			fprintf(f, "\n%*s", (int)indent, "");
			at = indent;
			first = true;
		}
		text += *text != '\0';
	}
	fputc('\n', f);
}

/* A row of two columns; a long left one has the line for itself. */
static void print_row(FILE *f, const char *left, const char *right, size_t column)
{
	size_t cols = columns(left, strlen(left));

	fputs(left, f);
	if (cols + 2 > column) {
		fputc('\n', f);
		cols = 0;
	}
	fprintf(f, "%*s", (int)(column - cols), "");
	print_wrapped(f, right, column, column);
}

static char *option_left(const struct opt *o)
{
	char letter[] = { '-', o->letter, ',', '\0' };

	return xasprintf("  %3s --%s%s%s", o->letter ? letter : "", o->name, o->meta ? " " : "",
	    o->meta ? o->meta : "");
}

static void print_options(FILE *f, const struct opt *opts)
{
	static const struct opt help = { .name = "help", .letter = 'h', .help = "show this text" };
	size_t column = 0;

	for (int pass = 0; pass < 2; pass++) {
		for (const struct opt *o = opts;; o++) {
			const struct opt *shown = o->name ? o : &help;
			_cleanup_free_ char *left = option_left(shown);
			size_t cols = columns(left, strlen(left)) + 2;

			if (pass == 1 && shown->help)
				print_row(f, left, shown->help, column);
			else if (pass == 0 && shown->help && cols <= MAX_COLUMN && cols > column)
				column = cols;
			if (!o->name)
				break;
		}
	}
}

static void print_examples(FILE *f, const char *lines)
{
	fputs("\nExamples:\n", f);
	while (*lines) {
		size_t n = strcspn(lines, "\n");

		fprintf(f, "  %.*s\n", (int)n, lines);
		lines += n + (lines[n] == '\n');
	}
}

void help_program(FILE *f)
{
	fputs("bailey runs OCI containers: " BAILEY_VERSION "\n\n"
	      "Usage: bailey [GLOBAL OPTION...] COMMAND [OPTION...] [ARGUMENT...]\n\n"
	      "Commands:\n",
	    f);
	for (const struct verb *const *v = verbs; *v; v++) {
		_cleanup_free_ char *left = xasprintf("  %s", (*v)->name);

		print_row(f, left, (*v)->summary, 12);
	}
	fputs("\nGlobal options:\n", f);
	print_options(f, global_opts);
	print_examples(f, "mkdir -p bundle/rootfs && bailey spec --bundle bundle\n"
			  "bailey run --bundle bundle web      # create, start and wait\n"
			  "bailey list                         # what there is\n"
			  "bailey exec web sh -c 'echo hello'  # one more process in it\n"
			  "bailey kill web && bailey delete web");
	fputs("\n\"bailey COMMAND --help\" tells about a command.\n", f);
}

void help_verb(FILE *f, const struct verb *v)
{
	fprintf(f, "Usage: bailey %s [OPTION...]%s%s\n\n", v->name, *v->args ? " " : "", v->args);
	print_wrapped(f, v->summary, 0, 0);
	if (v->detail) {
		fputc('\n', f);
		print_wrapped(f, v->detail, 0, 0);
	}
	fputs("\nOptions:\n", f);
	print_options(f, v->opts);
	if (v->examples)
		print_examples(f, v->examples);
}

void help_version(FILE *f)
{
	char seccomp[SECCOMP_VERSION_MAX];

	fprintf(f, "bailey version %s\ncommit: %s\nspec: %s\nlibseccomp: %s\n", BAILEY_VERSION,
	    BAILEY_COMMIT, OCI_VERSION, seccomp_library_version(seccomp));
}

/* ---- the verb ---- */

struct help_opts {
	bool man, words;
};

/* For shell completion: verbs, or a verb's options, one per line; '=' behind those with a value. */
static void print_words(const struct verb *v)
{
	for (const struct verb *const *it = verbs; !v && *it; it++)
		puts((*it)->name);
	for (const struct opt *o = v ? v->opts : global_opts; o->name; o++)
		if (o->help)
			printf("--%s%s\n", o->name, o->meta ? "=" : "");
}

static int run_help(const struct globals *g, void *opts, int argc, char **argv, struct err *e)
{
	const struct help_opts *o = opts;
	const struct verb *v = argc ? verb_find(argv[0]) : NULL;

	if (argc && !v)
		return err_set(e, EINVAL, "unknown command \"%s\": see \"bailey --help\"", argv[0]);
	if (o->man)
		man_page(stdout, v);
	else if (o->words)
		print_words(v);
	else if (v)
		help_verb(stdout, v);
	else
		help_program(stdout);
	return 0;
}

static const struct opt help_opts[] = {
	{ "man", 0, OPT_FLAG, offsetof(struct help_opts, man), NULL, NULL },
	{ "words", 0, OPT_FLAG, offsetof(struct help_opts, words), NULL, NULL },
	{ 0 },
};

const struct verb verb_help = {
	.name = "help",
	.args = "[COMMAND]",
	.summary = "show help for bailey or for a command",
	.opts = help_opts,
	.opts_size = sizeof(struct help_opts),
	.max_args = 1,
	.error_exit = 1,
	.run = run_help,
};
