#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "runtime/container.h"
#include "runtime/verbs.h"

struct list_opts {
	bool quiet;
	const char *format;
};

enum { COL_ID, COL_PID, COL_STATUS, COL_BUNDLE, COL_CREATED, COL_OWNER, COL_ISOLATION, COLS };
struct row {
	char *cell[COLS];
	char *json;
};
struct rows {
	struct row *v;
	size_t n;
};

static void rows_free(struct rows *rows)
{
	for (size_t i = 0; i < rows->n; i++) {
		for (size_t c = 0; c < COLS; c++)
			free(rows->v[i].cell[c]);
		free(rows->v[i].json);
	}
	free(rows->v);
}
#define _cleanup_rows_ _cleanup_(rows_free)

static void fill_row(struct row *row, const struct spec_state *s)
{
	const char *const cells[COLS] = {
		[COL_ID] = s->id,
		[COL_STATUS] = s->status,
		[COL_BUNDLE] = s->bundle,
		[COL_CREATED] = s->created,
		[COL_OWNER] = s->owner,
		[COL_ISOLATION] = s->isolation,
	};

	for (size_t i = 0; i < COLS; i++)
		row->cell[i] =
		    i == COL_PID ? xasprintf("%d", s->pid) : xstrdup(cells[i] ? cells[i] : "");
	row->json = spec_state_json(s, false);
}

/* One that cannot be read does not hide the others. */
static void add_container(const struct globals *g, const char *id, struct rows *rows)
{
	_cleanup_container_ struct container *c = NULL;
	struct err e = ERR_INIT;
	struct spec_state state;
	enum status st;
	int r;

	r = container_open(g, id, OPEN_UNLOCKED, &c, &e);
	if (r == -ENOENT) /* deleted since the directory was read */
		return;
	if (r == 0)
		r = container_status(c, &st, &e);
	if (r < 0) {
		log_warning("container \"%s\" left out: %s", id, e.msg);
		return;
	}
	container_state(c, st, &state);
	rows->v = xrealloc(rows->v, (rows->n + 1) * sizeof(*rows->v));
	fill_row(&rows->v[rows->n++], &state);
}

static void print_table(const struct rows *rows)
{
	static const char *const names[COLS] = { "ID", "PID", "STATUS", "BUNDLE", "CREATED",
		"OWNER", "ISOLATION" };
	size_t width[COLS];

	for (size_t c = 0; c < COLS; c++) {
		width[c] = strlen(names[c]);
		for (size_t i = 0; i < rows->n; i++)
			if (strlen(rows->v[i].cell[c]) > width[c])
				width[c] = strlen(rows->v[i].cell[c]);
	}
	for (size_t i = 0; i <= rows->n; i++) {
		const char *const *cell = i ? (const char *const *)rows->v[i - 1].cell : names;

		for (size_t c = 0; c < COLS - 1; c++)
			printf("%-*s   ", (int)width[c], cell[c]);
		printf("%s\n", cell[COLS - 1]);
	}
}

static void print_json(const struct rows *rows)
{
	putchar('[');
	for (size_t i = 0; i < rows->n; i++)
		printf("%s%s", i ? "," : "", rows->v[i].json);
	puts("]");
}

static int run_list(const struct globals *g, void *opts, int argc, char **argv, struct err *e)
{
	const struct list_opts *o = opts;
	bool json = o->format && streq(o->format, "json");
	_cleanup_rows_ struct rows rows = { 0 };
	_cleanup_strv_ char **ids = NULL;
	int r;

	if (o->format && !json && !streq(o->format, "table"))
		return err_set(e, EINVAL, "--format %s: must be table or json", o->format);
	r = container_ids(g, &ids, e);
	if (r < 0)
		return r;
	if (o->quiet) {
		for (char **id = ids; *id; id++)
			puts(*id);
		return 0;
	}
	for (char **id = ids; *id; id++)
		add_container(g, *id, &rows);
	if (json)
		print_json(&rows);
	else
		print_table(&rows);
	return 0;
}

#define OFF(field) offsetof(struct list_opts, field)
static const struct opt list_opts[] = {
	{ "format", 'f', OPT_STR, OFF(format), "FORMAT", "table (default) or json" },
	{ "quiet", 'q', OPT_FLAG, OFF(quiet), NULL, "print the IDs alone" },
	{ 0 },
};

const struct verb verb_list = {
	.name = "list",
	.args = "",
	.summary = "list the containers below --root",
	.detail = "A container that cannot be read is left out with a warning.",
	.examples = "bailey list --format json",
	.opts = list_opts,
	.opts_size = sizeof(struct list_opts),
	.error_exit = 1,
	.run = run_list,
};
