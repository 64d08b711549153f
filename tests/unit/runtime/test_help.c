/* The tables are sound, and every word of them reaches the help texts and the manual pages. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "runtime/verbs.h"
#include "tests/unit/test.h"

static char *text;

static FILE *begin(size_t *n)
{
	free(text);
	text = NULL;
	return open_memstream(&text, n);
}

static void check_width(const char *name)
{
	for (const char *l = text; *l;) {
		size_t n = strcspn(l, "\n"), cols = 0;

		for (size_t i = 0; i < n; i++)
			cols += ((unsigned char)l[i] & 0xc0) != 0x80;
		if (cols > 79)
			printf("# %s: %.*s\n", name, (int)n, l);
		CHECK(cols <= 79);
		CHECK(n == 0 || l[n - 1] != ' ');
		l += n + (l[n] == '\n');
	}
}

static size_t field_size(enum opt_kind kind)
{
	static const size_t sizes[] = {
		[OPT_FLAG] = sizeof(bool),
		[OPT_OPT_BOOL] = sizeof(struct opt_bool),
		[OPT_STR] = sizeof(char *),
		[OPT_STRV] = sizeof(char **),
		[OPT_INT] = sizeof(struct opt_i64),
		[OPT_SIZE] = sizeof(struct opt_i64),
	};

	return sizes[kind];
}

static void check_table(const char *name, const struct opt *opts, size_t size)
{
	for (const struct opt *a = opts; a->name; a++) {
		bool bare = a->kind == OPT_FLAG || a->kind == OPT_OPT_BOOL;

		CHECK(a->off + field_size(a->kind) <= size);
		CHECK(bare == !a->meta);
		CHECK(!streq(a->name, "help") && a->letter != 'h');
		for (const struct opt *b = a + 1; b->name; b++) {
			bool same = streq(a->name, b->name) ||
				    (a->letter && a->letter == b->letter) || a->off == b->off;

			if (same)
				printf("# %s: --%s and --%s\n", name, a->name, b->name);
			CHECK(!same);
		}
	}
}

TEST(tables)
{
	check_table("bailey", global_opts, sizeof(struct globals));
	for (const struct verb *const *v = verbs; *v; v++) {
		CHECK(verb_find((*v)->name) == *v);
		CHECK((*v)->run && (*v)->summary && (*v)->args && (*v)->opts);
		CHECK((*v)->max_args < 0 || (*v)->max_args >= (*v)->min_args);
		CHECK((*v)->error_exit > 0);
		check_table((*v)->name, (*v)->opts, (*v)->opts_size);
	}
	CHECK(!verb_find("checkpoint") && !verb_find("") && !verb_find("KILL"));
}

/* What engines call must be there (docs/engines.md). */
TEST(engines_options)
{
	static const struct {
		const char *verb, *opts;
	} wanted[] = {
		{ "create", "bundle pid-file no-pivot no-new-keyring preserve-fds console-socket" },
		{ "run",
		    "bundle pid-file no-pivot no-new-keyring preserve-fds console-socket detach" },
		{ "exec", "process pid-file detach console-socket tty user cwd env preserve-fds" },
		{ "kill", "all" },
		{ "delete", "force" },
		{ "update", "resources" },
		{ "ps", "format" },
		{ "list", "format quiet" },
		{ "events", "stats interval" },
		{ "spec", "bundle rootless" },
	};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++) {
		const struct verb *v = verb_find(wanted[i].verb);
		_cleanup_strv_ char **names = strv_split(wanted[i].opts, ' ');

		for (char **name = names; v && *name; name++) {
			const struct opt *o = v->opts;

			while (o->name && !streq(o->name, *name))
				o++;
			if (!o->name)
				printf("# %s --%s\n", v->name, *name);
			CHECK(o->name);
		}
		CHECK(v);
	}
}

TEST(program_help)
{
	size_t n;
	FILE *f = begin(&n);

	help_program(f);
	fclose(f);
	check_width("bailey");
	for (const struct verb *const *v = verbs; *v; v++) {
		_cleanup_free_ char *row = xasprintf("\n  %s", (*v)->name);

		CHECK_HAS(text, row);
	}
	for (const struct opt *o = global_opts; o->name; o++)
		CHECK(!o->help || strstr(text, o->name));
	CHECK_HAS(text, "\n  -v, --version ");
	CHECK_HAS(text, "\n  -h, --help ");
}

TEST(verb_help_texts)
{
	for (const struct verb *const *v = verbs; *v; v++) {
		size_t n;
		FILE *f = begin(&n);

		help_verb(f, *v);
		fclose(f);
		check_width((*v)->name);
		CHECK_HAS(text, (*v)->name);
		for (const struct opt *o = (*v)->opts; o->name; o++) {
			_cleanup_free_ char *row = xasprintf(
			    " --%s%s%s", o->name, o->meta ? " " : "", o->meta ? o->meta : "");

			CHECK(!o->help == !strstr(text, row));
		}
	}
}

TEST(version)
{
	size_t n;
	FILE *f = begin(&n);

	help_version(f);
	fclose(f);
	CHECK(startswith(text, "bailey version " BAILEY_VERSION "\ncommit: "));
	CHECK_HAS(text, "\nspec: 1.3.0\nlibseccomp: ");
}

static int run_help(char *verb)
{
	struct globals g = { 0 };
	struct err e = ERR_INIT;
	char *argv[] = { verb, NULL };
	bool opts[16] = { 0 };

	return verb_help.run(&g, opts, verb ? 1 : 0, argv, &e);
}

TEST(unknown_topic)
{
	char topic[] = "checkpoint";

	CHECK_INT(run_help(topic), -EINVAL);
}

static const struct opt roff_opts[] = {
	{ "a-b", 'a', OPT_STR, 0, "FILE", "'quoted' \\ .dot" },
	{ "secret", 0, OPT_STR, 8, "X", NULL },
	{ 0 },
};
static const struct verb roff_verb = {
	.name = "sample",
	.args = "ID [ARG...]",
	.summary = "a sample",
	.detail = ".first\n'second\n\nthird",
	.examples = "one --x",
	.opts = roff_opts,
};

TEST(manual_page)
{
	size_t n;
	FILE *f = begin(&n);

	man_page(f, &roff_verb);
	fclose(f);
	CHECK(startswith(text, ".TH BAILEY-SAMPLE 8 "));
	CHECK_HAS(text, "\nbailey\\-sample \\- a sample\n");
	CHECK_HAS(text, "\n\\&.first\n\\&'second\n.PP\nthird\n");
	CHECK_HAS(
	    text, ".TP\n\\fB\\-a\\fR, \\fB\\-\\-a\\-b\\fR \\fIFILE\\fR\n\\&'quoted' \\e .dot\n");
	CHECK_HAS(text, ".nf\none \\-\\-x\n.fi\n");
	CHECK(!strstr(text, "secret"));
}

TEST(program_page)
{
	size_t n;
	FILE *f = begin(&n);

	man_page(f, NULL);
	fclose(f);
	for (const struct verb *const *v = verbs; *v; v++)
		CHECK_HAS(text, (*v)->name);
	CHECK_HAS(text, "\\-\\-cgroup\\-manager");
	free(text);
}

TEST_MAIN(T(tables), T(engines_options), T(program_help), T(verb_help_texts), T(version),
    T(unknown_topic), T(manual_page), T(program_page))
