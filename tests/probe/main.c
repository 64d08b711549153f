/* Dispatch: `probe COMMAND ARGS…`; `probe` alone reports. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/probe/probe.h"

static int report(int argc, char **argv)
{
	js_open(NULL, '{');
	js_open("argv", '[');
	for (int i = 0; i < argc; i++)
		js_str(NULL, argv[i]);
	js_close(']');
	report_identity();
	report_scheduling();
	report_files();
	js_close('}');
	js_end();
	return 0;
}

static int cmd_commands(int argc, char **argv);

static const struct command main_commands[] = {
	{ "report", "[ANY…]", "print what is seen as JSON", 0, report },
	{ "commands", "", "list the commands", 0, cmd_commands },
	{},
};
static const struct command *const tables[] = {
	main_commands,
	file_commands,
	process_commands,
	tty_commands,
	hostile_commands,
	network_commands,
	NULL,
};

static int cmd_commands(int argc, char **argv)
{
	for (int t = 0; tables[t]; t++)
		for (const struct command *c = tables[t]; c->name; c++)
			printf("%-12s %-24s %s\n", c->name, c->args, c->what);
	return 0;
}

int main(int argc, char **argv)
{
	static char *report_argv[] = { "report", NULL };
	int ret;

	if (argc < 2)
		return report(1, report_argv);
	for (int t = 0; tables[t]; t++)
		for (const struct command *c = tables[t]; c->name; c++) {
			if (strcmp(c->name, argv[1]) != 0)
				continue;
			if (argc - 2 < c->min_args) {
				fprintf(stderr, "probe: %s %s\n", c->name, c->args);
				return 99;
			}
			ret = c->run(argc - 1, argv + 1);
			fflush(stdout);
			return ret;
		}
	fprintf(stderr, "probe: no command %s\n", argv[1]);
	return 99;
}
