/* Manual pages in man(7), from the same tables as the help texts. */
#include <ctype.h>
#include <string.h>

#include "base/str.h"
#include "runtime/verbs.h"

/* Text as roff: dashes stay ASCII, nothing at a line's start is a request. */
static void putn(FILE *f, const char *s, size_t n)
{
	bool line_start = true;

	for (; n && *s; s++, n--) {
		if (line_start && (*s == '.' || *s == '\''))
			fputs("\\&", f);
		if (*s == '-')
			fputs("\\-", f);
		else if (*s == '\\')
			fputs("\\e", f);
		else
			fputc(*s, f);
		line_start = *s == '\n';
	}
}

static void put(FILE *f, const char *s)
{
	putn(f, s, strlen(s));
}

static void put_upper(FILE *f, const char *s)
{
	for (; *s; s++)
		fputc(toupper((unsigned char)*s), f);
}

/* Paragraphs are parted by an empty line. */
static void put_paragraphs(FILE *f, const char *text)
{
	while (*text) {
		const char *end = strstr(text, "\n\n");

		putn(f, text, end ? (size_t)(end - text) : strlen(text));
		fputs(end ? "\n.PP\n" : "\n", f);
		text = end ? end + 2 : text + strlen(text);
	}
}

static void put_options(FILE *f, const struct opt *opts)
{
	for (const struct opt *o = opts; o->name; o++) {
		if (!o->help)
			continue;
		fputs(".TP\n", f);
		if (o->letter)
			fprintf(f, "\\fB\\-%c\\fR, ", o->letter);
		fputs("\\fB\\-\\-", f);
		put(f, o->name);
		fputs("\\fR", f);
		if (o->meta) {
			fputs(" \\fI", f);
			put(f, o->meta);
			fputs("\\fR", f);
		}
		fputc('\n', f);
		put(f, o->help);
		fputc('\n', f);
	}
	fputs(".TP\n\\fB\\-h\\fR, \\fB\\-\\-help\\fR\nshow the help text\n", f);
}

static void put_verbatim(FILE *f, const char *lines)
{
	fputs(".SH EXAMPLES\n.nf\n", f);
	put(f, lines);
	fputs("\n.fi\n", f);
}

static void title(FILE *f, const struct verb *v)
{
	fputs(".TH BAILEY", f);
	if (v) {
		fputc('-', f);
		put_upper(f, v->name);
	}
	fprintf(f, " 8 \"\" \"bailey %s\" \"bailey manual\"\n.SH NAME\nbailey", BAILEY_VERSION);
	if (v)
		fprintf(f, "\\-%s", v->name);
	fputs(" \\- ", f);
	put(f, v ? v->summary : "run OCI containers");
	fputs("\n.SH SYNOPSIS\n\\fBbailey\\fR [\\fIGLOBAL OPTION\\fR...] ", f);
	if (!v) {
		fputs("\\fICOMMAND\\fR [\\fIOPTION\\fR...] [\\fIARGUMENT\\fR...]\n", f);
		return;
	}
	fprintf(f, "\\fB%s\\fR [\\fIOPTION\\fR...] ", v->name);
	put(f, v->args);
	fputc('\n', f);
}

static void verb_page(FILE *f, const struct verb *v)
{
	title(f, v);
	fputs(".SH DESCRIPTION\n", f);
	put_paragraphs(f, v->detail ? v->detail : v->summary);
	fputs(".SH OPTIONS\n", f);
	put_options(f, v->opts);
	if (v->examples)
		put_verbatim(f, v->examples);
	fputs(".SH SEE ALSO\n.BR bailey (8)\n", f);
}

static void program_page(FILE *f)
{
	title(f, NULL);
	fputs(".SH DESCRIPTION\n", f);
	put_paragraphs(f,
	    "bailey creates and runs containers from OCI bundles: a directory with a root "
	    "filesystem and a config.json. It is called by container engines (podman, containerd, "
	    "docker, CRI-O) and by hand.\n\n"
	    "It needs Linux 5.12 or later with cgroup v2.");
	fputs(".SH COMMANDS\n", f);
	for (const struct verb *const *v = verbs; *v; v++) {
		fprintf(f, ".TP\n\\fBbailey\\-%s\\fR(8)\n", (*v)->name);
		put(f, (*v)->summary);
		fputc('\n', f);
	}
	fputs(".SH GLOBAL OPTIONS\n", f);
	put_options(f, global_opts);
	fputs(".SH EXIT STATUS\n", f);
	put_paragraphs(f,
	    "0 on success; 1 on an error, which is printed on standard error and to --log. run and "
	    "a foreground exec give the process's own status, 128 plus the signal's number when a "
	    "signal ended it; exec gives 255 when it fails itself, 126 and 127 when the program "
	    "cannot be executed or is not found.");
	fputs(".SH FILES\n.TP\n/run/bailey, $XDG_RUNTIME_DIR/bailey\nstate of the containers, one "
	      "directory each\n.SH ENVIRONMENT\n.TP\nXDG_RUNTIME_DIR\nwhere the state is kept when "
	      "not called as the host's root\n.SH SEE ALSO\n",
	    f);
	for (const struct verb *const *v = verbs; *v; v++)
		fprintf(f, ".BR bailey\\-%s (8)%s\n", (*v)->name, v[1] ? "," : "");
}

void man_page(FILE *f, const struct verb *v)
{
	if (v)
		verb_page(f, v);
	else
		program_page(f);
}
