#include "runtime/cli.h"

#include <stdlib.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "spec/spec.h"
#include "tests/unit/test.h"

struct sample {
	bool flag, yes;
	const char *str, *other;
	char **list;
	struct opt_i64 num, ranged, low, size;
	struct opt_bool ob;
};

#define OFF(field) offsetof(struct sample, field)
static const struct opt table[] = {
	{ "flag", 'f', OPT_FLAG, OFF(flag), NULL, "" },
	{ "yes", 0, OPT_FLAG, OFF(yes), NULL, "" },
	{ "str", 's', OPT_STR, OFF(str), "S", "" },
	{ "str-other", 0, OPT_STR, OFF(other), "S", "" },
	{ "list", 'l', OPT_STRV, OFF(list), "L", "" },
	{ "num", 'n', OPT_INT, OFF(num), "N", "" },
	{ "ranged", 0, OPT_INT, OFF(ranged), "N", "", 1, 10 },
	{ "low", 0, OPT_INT, OFF(low), "N", "", 1, INT64_MAX },
	{ "size", 0, OPT_SIZE, OFF(size), "B", "" },
	{ "maybe", 'm', OPT_OPT_BOOL, OFF(ob), NULL, "" },
	{ 0 },
};

/* Words are parted by blanks; "_" is the empty word. Leaves argv for a look at its order. */
#define MAX_WORDS 16
static struct sample o;
static struct err e;
static char words[256], *argv[MAX_WORDS + 1];
static int argc;

static int parse(const char *line, bool options_first)
{
	char *save = words;

	strv_free(o.list);
	o = (struct sample){ 0 };
	err_clear(&e);
	argc = 0;
	snprintf(words, sizeof(words), "%s", line);
	for (char *w; (w = strsep(&save, " ")) && argc < MAX_WORDS;)
		if (*line)
			argv[argc++] = streq(w, "_") ? w + 1 : w;
	argv[argc] = NULL;
	return cli_parse(table, &o, argc, argv, options_first, &e);
}

/* The arguments behind the options, joined. */
static const char *rest(int from)
{
	static char buf[256];
	size_t n = 0;

	buf[0] = '\0';
	for (int i = from; i < argc; i++)
		n += (size_t)snprintf(
		    buf + n, sizeof(buf) - n, "%s%s", i > from ? " " : "", argv[i]);
	return buf;
}

static void fails(const char *line, const char *msg)
{
	CHECK_INT(parse(line, false), -EINVAL);
	CHECK_STR(e.msg, msg);
}

TEST(nothing)
{
	CHECK_INT(parse("", false), 0);
	CHECK(!o.flag && !o.str && !o.list && !o.num.set && !o.size.set && !o.ob.set);
}

TEST(dashes_and_values)
{
	static const char *const same[] = { "--str V", "-str V", "--str=V", "-str=V", "-s V",
		"-s=V", "--s V", "--s=V" };

	for (size_t i = 0; i < ARRAY_SIZE(same); i++) {
		int n = parse(same[i], false);

		CHECK_INT(n, argc);
		CHECK_STR(o.str, "V");
	}
	CHECK_INT(parse("--str=a=b", false), 1);
	CHECK_STR(o.str, "a=b");
	CHECK_INT(parse("--str=", false), 1);
	CHECK_STR(o.str, "");
	CHECK_INT(parse("--str _", false), 2);
	CHECK_STR(o.str, "");
	/* a value may look like an option, as in Go */
	CHECK_INT(parse("--str --flag x", false), 2);
	CHECK_STR(o.str, "--flag");
	CHECK(!o.flag);
	CHECK_INT(parse("--str -- x", false), 2);
	CHECK_STR(o.str, "--");
	CHECK_INT(parse("--str-other=1", false), 1);
	CHECK_STR(o.other, "1");
	CHECK(!o.str);
}

TEST(flags)
{
	static const char *const on[] = { "--flag", "-flag", "-f", "--f", "--flag=true", "--flag=1",
		"-f=t", "--flag=T", "--flag=TRUE", "--flag=True", "--flag=false --flag" };
	static const char *const off[] = { "--flag=false", "--flag=0", "-f=f", "--flag=F",
		"--flag=FALSE", "--flag=False", "--flag --flag=false" };

	for (size_t i = 0; i < ARRAY_SIZE(on); i++) {
		CHECK(parse(on[i], false) > 0);
		CHECK(o.flag && !o.yes);
	}
	for (size_t i = 0; i < ARRAY_SIZE(off); i++) {
		CHECK(parse(off[i], false) > 0);
		CHECK(!o.flag);
	}
	/* what follows a flag is never its value */
	CHECK_INT(parse("--flag false", false), 1);
	CHECK(o.flag);
	fails("--flag=maybe", "invalid value \"maybe\" for flag --flag: must be true or false");
	fails("--flag=", "invalid value \"\" for flag --flag: must be true or false");
	fails("-f=TrUe", "invalid value \"TrUe\" for flag -f: must be true or false");
}

TEST(optional_bool)
{
	CHECK_INT(parse("-m", false), 1);
	CHECK(o.ob.set && o.ob.v);
	CHECK_INT(parse("--maybe=false", false), 1);
	CHECK(o.ob.set && !o.ob.v);
	fails("--maybe=2", "invalid value \"2\" for flag --maybe: must be true or false");
	CHECK(!o.ob.set);
}

TEST(lists_collect_and_scalars_override)
{
	CHECK_INT(parse("--list a -l b --list=c --str x --str y -n 1 -n 2", false), 13);
	CHECK_INT(strv_len(o.list), 3);
	CHECK_STR(o.list[0], "a");
	CHECK_STR(o.list[1], "b");
	CHECK_STR(o.list[2], "c");
	CHECK_STR(o.str, "y");
	CHECK_INT(o.num.v, 2);
}

TEST(integers)
{
	CHECK_INT(parse("--num -5", false), 2);
	CHECK(o.num.set);
	CHECK_INT(o.num.v, -5);
	CHECK_INT(parse("--num=9223372036854775807", false), 1);
	CHECK_INT(o.num.v, INT64_MAX);
	CHECK_INT(parse("--ranged 1", false), 2);
	CHECK_INT(parse("--ranged 10", false), 2);
	CHECK_INT(o.ranged.v, 10);
	CHECK_INT(parse("--low 9223372036854775807", false), 2);
	fails("--num 9223372036854775808",
	    "invalid value \"9223372036854775808\" for flag --num: must be a whole number");
	fails("--num=1x", "invalid value \"1x\" for flag --num: must be a whole number");
	fails("-n _", "invalid value \"\" for flag -n: must be a whole number");
	fails("--num +1", "invalid value \"+1\" for flag --num: must be a whole number");
	fails("--num 0x10", "invalid value \"0x10\" for flag --num: must be a whole number");
	CHECK(!o.num.set);
	fails("--ranged 0",
	    "invalid value \"0\" for flag --ranged: must be a whole number from 1 to 10");
	fails("--ranged=11",
	    "invalid value \"11\" for flag --ranged: must be a whole number from 1 to 10");
	fails("--low 0", "invalid value \"0\" for flag --low: must be a whole number, 1 or more");
}

TEST(sizes)
{
	CHECK_INT(parse("--size 4096", false), 2);
	CHECK_INT(o.size.v, 4096);
	CHECK_INT(parse("--size=2m", false), 1);
	CHECK_INT(o.size.v, 2 << 20);
	CHECK_INT(parse("--size -1", false), 2);
	CHECK(o.size.set && o.size.v == -1);
	fails("--size 1q",
	    "invalid value \"1q\" for flag --size: must be a number of bytes, with k, m, g or t "
	    "behind it, or -1");
	fails("--size -2",
	    "invalid value \"-2\" for flag --size: must be a number of bytes, with k, m, g or t "
	    "behind it, or -1");
	CHECK(!o.size.set);
}

/* Engines look for these words. */
TEST(error_texts)
{
	fails("--nope", "flag provided but not defined: --nope");
	fails("-x", "flag provided but not defined: -x");
	fails("-x=1", "flag provided but not defined: -x");
	fails("--fla", "flag provided but not defined: --fla");
	fails("--flagg=1", "flag provided but not defined: --flagg");
	fails("-fs", "flag provided but not defined: -fs");
	fails("--str", "flag needs an argument: --str");
	fails("-s", "flag needs an argument: -s");
	fails("a b --list", "flag needs an argument: --list");
	fails("---flag", "bad flag syntax: ---flag");
	fails("--=x", "bad flag syntax: --=x");
	fails("-=x", "bad flag syntax: -=x");
}

TEST(double_dash)
{
	CHECK_INT(parse("--flag -- --yes x", false), 2);
	CHECK(o.flag && !o.yes);
	CHECK_STR(rest(2), "--yes x");
	CHECK_INT(parse("a --flag -- b --yes", false), 2);
	CHECK(o.flag && !o.yes);
	CHECK_STR(rest(2), "a b --yes");
	CHECK_INT(parse("--", false), 1);
	CHECK_STR(rest(1), "");
	CHECK_INT(parse("-- --", true), 1);
	CHECK_STR(rest(1), "--");
	CHECK_INT(parse("id -- --flag", true), 0);
	CHECK_STR(rest(0), "id -- --flag");
}

TEST(a_single_dash_is_an_argument)
{
	CHECK_INT(parse("- --flag", false), 1);
	CHECK(o.flag);
	CHECK_STR(rest(1), "-");
	CHECK_INT(parse("- --flag", true), 0);
	CHECK_INT(parse("--str - x", false), 2);
	CHECK_STR(o.str, "-");
}

TEST(options_between_arguments)
{
	CHECK_INT(parse("id --flag KILL --str=v more -l x", false), 4);
	CHECK(o.flag);
	CHECK_STR(o.str, "v");
	CHECK_INT(strv_len(o.list), 1);
	CHECK_STR(rest(4), "id KILL more");
	CHECK_STR(argv[0], "--flag");
	CHECK(!argv[argc]);
}

/* Whoever owns the words finds each of them once, after an error too. */
TEST(an_error_loses_no_word)
{
	CHECK_INT(parse("k --flag x --str=a -n 5b y", false), -EINVAL);
	CHECK_INT(argc, 7);
	for (const char *const *w =
		 (const char *const[]){ "k", "--flag", "x", "--str=a", "-n", "5b", "y", NULL };
	     *w; w++) {
		int seen = 0;

		for (int i = 0; i < argc; i++)
			seen += streq(argv[i], *w);
		CHECK_INT(seen, 1);
	}
}

TEST(options_first)
{
	CHECK_INT(parse("--flag id cmd --str v --nope", true), 1);
	CHECK(o.flag && !o.str);
	CHECK_STR(rest(1), "id cmd --str v --nope");
	CHECK_INT(parse("id --help", true), 0);
}

TEST(help)
{
	CHECK_INT(parse("--help", false), CLI_HELP);
	CHECK_INT(parse("-h", false), CLI_HELP);
	CHECK_INT(parse("-help", false), CLI_HELP);
	CHECK_INT(parse("id --help", false), CLI_HELP);
	CHECK_INT(parse("--flag --help --nope", false), CLI_HELP);
	CHECK_INT(e.code, 0);
	CHECK_INT(parse("-- --help", false), 1);
	CHECK_INT(parse("--str --help", false), 2);
}

TEST(cleanup)
{
	strv_free(o.list);
}

TEST_MAIN(T(nothing), T(an_error_loses_no_word), T(dashes_and_values), T(flags), T(optional_bool),
    T(lists_collect_and_scalars_override), T(integers), T(sizes), T(error_texts), T(double_dash),
    T(a_single_dash_is_an_argument), T(options_between_arguments), T(options_first), T(help),
    T(cleanup))
