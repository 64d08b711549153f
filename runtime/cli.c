#include "runtime/cli.h"

#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/str.h"
#include "spec/spec.h"

/* An argument that begins with a dash, taken apart. The name keeps its dashes for messages. */
struct flag {
	const char *arg, *name, *value; /* value NULL: no '=' */
	int name_len, arg_len;		/* arg_len: dashes and name */
};

static int split_flag(const char *arg, struct flag *f, struct err *e)
{
	const char *name = arg + (arg[1] == '-' ? 2 : 1);
	const char *eq = strchr(name, '=');
	size_t len = eq ? (size_t)(eq - name) : strlen(name);

	if (len == 0 || *name == '-')
		return err_set(e, EINVAL, "bad flag syntax: %s", arg);
	*f = (struct flag){
		.arg = arg,
		.name = name,
		.value = eq ? eq + 1 : NULL,
		.name_len = (int)len,
		.arg_len = (int)(name - arg) + (int)len,
	};
	return 0;
}

static bool is_named(const struct flag *f, const char *name, char letter)
{
	if (f->name_len == 1 && letter && f->name[0] == letter)
		return true;
	return strlen(name) == (size_t)f->name_len && !memcmp(name, f->name, strlen(name));
}

static int parse_bool(const char *s, bool *ret)
{
	/* what Go's strconv.ParseBool takes */
	static const char *const words[2][6] = {
		{ "false", "0", "f", "F", "FALSE", "False" },
		{ "true", "1", "t", "T", "TRUE", "True" },
	};

	for (size_t v = 0; v < 2; v++)
		for (size_t i = 0; i < ARRAY_SIZE(words[v]); i++)
			if (streq(s, words[v][i])) {
				*ret = v;
				return 0;
			}
	return -EINVAL;
}

static int bad_value(const struct flag *f, const char *value, const char *wanted, struct err *e)
{
	return err_set(
	    e, EINVAL, "invalid value \"%s\" for flag %.*s: %s", value, f->arg_len, f->arg, wanted);
}

typedef int setter(
    const struct opt *o, const struct flag *f, const char *value, void *field, struct err *e);

static int set_flag(
    const struct opt *o, const struct flag *f, const char *value, void *field, struct err *e)
{
	bool v = true;

	if (value && parse_bool(value, &v) < 0)
		return bad_value(f, value, "must be true or false", e);
	*(bool *)field = v;
	return 0;
}

static int set_opt_bool(
    const struct opt *o, const struct flag *f, const char *value, void *field, struct err *e)
{
	struct opt_bool *b = field;
	int r = set_flag(o, f, value, &b->v, e);

	if (r == 0)
		b->set = true;
	return r;
}

static int set_str(
    const struct opt *o, const struct flag *f, const char *value, void *field, struct err *e)
{
	*(const char **)field = value;
	return 0;
}

static int set_strv(
    const struct opt *o, const struct flag *f, const char *value, void *field, struct err *e)
{
	strv_push(field, xstrdup(value));
	return 0;
}

static int set_int(
    const struct opt *o, const struct flag *f, const char *value, void *field, struct err *e)
{
	bool any = o->min == 0 && o->max == 0;
	struct opt_i64 *i = field;
	int64_t v;
	int r;

	if (any)
		r = parse_i64(value, &v);
	else
		r = parse_int_range(value, o->min, o->max, &v);
	if (r < 0 && !any && o->max == INT64_MAX)
		return err_set(e, EINVAL,
		    "invalid value \"%s\" for flag %.*s: must be a whole number, %lld or more",
		    value, f->arg_len, f->arg, (long long)o->min);
	if (r < 0 && !any)
		return err_set(e, EINVAL,
		    "invalid value \"%s\" for flag %.*s: must be a whole number from %lld to %lld",
		    value, f->arg_len, f->arg, (long long)o->min, (long long)o->max);
	if (r < 0)
		return bad_value(f, value, "must be a whole number", e);
	*i = (struct opt_i64){ .set = true, .v = v };
	return 0;
}

static int set_size(
    const struct opt *o, const struct flag *f, const char *value, void *field, struct err *e)
{
	struct opt_i64 *i = field;
	int64_t v;

	if (parse_size(value, true, &v) < 0)
		return bad_value(
		    f, value, "must be a number of bytes, with k, m, g or t behind it, or -1", e);
	*i = (struct opt_i64){ .set = true, .v = v };
	return 0;
}

static const struct {
	setter *set;
	bool bare; /* stands alone; a value only with '=' */
} kinds[] = {
	[OPT_FLAG] = { set_flag, true },
	[OPT_OPT_BOOL] = { set_opt_bool, true },
	[OPT_STR] = { set_str, false },
	[OPT_STRV] = { set_strv, false },
	[OPT_INT] = { set_int, false },
	[OPT_SIZE] = { set_size, false },
};

/* One option at argv[0], its value perhaps at argv[1]. Returns how many words it took. */
static int parse_one(const struct opt *table, void *out, int argc, char **argv, struct err *e)
{
	const struct opt *o = table;
	int r, words = 1;
	struct flag f;

	r = split_flag(argv[0], &f, e);
	if (r < 0)
		return r;
	while (o->name && !is_named(&f, o->name, o->letter))
		o++;
	if (!o->name && is_named(&f, "help", 'h'))
		return CLI_HELP;
	if (!o->name)
		return err_set(e, EINVAL, "flag provided but not defined: %.*s", f.arg_len, f.arg);
	if (!f.value && !kinds[o->kind].bare) {
		if (argc < 2)
			return err_set(e, EINVAL, "flag needs an argument: %.*s", f.arg_len, f.arg);
		f.value = argv[1];
		words = 2;
	}
	r = kinds[o->kind].set(o, &f, f.value, (char *)out + o->off, e);
	return r < 0 ? r : words;
}

int cli_parse(
    const struct opt *table, void *out, int argc, char **argv, bool options_first, struct err *e)
{
	_cleanup_free_ char **args = xcalloc((size_t)argc + 1, sizeof(*args));
	int n_args = 0, n_opts = 0, i = 0, r = 0;

	while (i < argc) {
		int words;

		if (streq(argv[i], "--")) {
			argv[n_opts++] = argv[i++];
			break;
		}
		if (argv[i][0] != '-' || !argv[i][1]) {
			if (options_first)
				break;
			args[n_args++] = argv[i++];
			continue;
		}
		words = parse_one(table, out, argc - i, argv + i, e);
		if (words < 0) {
			r = words;
			break;
		}
		while (words--)
			argv[n_opts++] = argv[i++];
	}
	/* argv[i..] stands as it stood: the arguments that were met before it go in front. After an
	 * error too, so that no word is lost. */
	memcpy(argv + n_opts, args, (size_t)n_args * sizeof(*args));
	return r < 0 ? r : n_opts;
}
