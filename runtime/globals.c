#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "runtime/cli.h"
#include "runtime/lifecycle.h"

#define OFF(field) offsetof(struct globals, field)
const struct opt global_opts[] = {
	{ "root", 0, OPT_STR, OFF(root), "DIR",
	    "where containers' states are kept (default: /run/bailey, rootless "
	    "$XDG_RUNTIME_DIR/bailey); not on persistent storage" },
	{ "log", 0, OPT_STR, OFF(log), "FILE",
	    "write errors to FILE as well, to the journal (journald:[ID]) or to syslog "
	    "(syslog:[ID])" },
	{ "log-format", 0, OPT_STR, OFF(log_format), "FORMAT", "text (default) or json" },
	{ "log-level", 0, OPT_STR, OFF(log_level), "LEVEL",
	    "error, warning or debug (default: warnings to standard error, errors to the log)" },
	{ "debug", 0, OPT_FLAG, OFF(debug), NULL, "the same as --log-level=debug" },
	{ "cgroup-manager", 0, OPT_STR, OFF(cgroup_manager), "NAME",
	    "cgroupfs (default), systemd or disabled" },
	{ "systemd-cgroup", 0, OPT_FLAG, OFF(systemd_cgroup), NULL,
	    "the same as --cgroup-manager=systemd" },
	{ "rootless", 0, OPT_STR, OFF(rootless), "WHEN", "auto (default), true or false" },
	{ "version", 'v', OPT_FLAG, OFF(version), NULL, "print the versions and exit" },
	{ 0 },
};

int globals_parse(struct globals *g, int argc, char **argv, struct err *e)
{
	*g = (struct globals){ .log_format = "text", .rootless = "auto" };
	return cli_parse(global_opts, g, argc, argv, true, e);
}

static int derive_rootless(struct globals *g, struct err *e)
{
	if (streq(g->rootless, "true"))
		g->is_rootless = true;
	else if (streq(g->rootless, "false"))
		g->is_rootless = false;
	else if (!streq(g->rootless, "auto"))
		return err_set(
		    e, EINVAL, "--rootless %s: must be auto, true or false", g->rootless);
	else if (geteuid() != 0)
		g->is_rootless = true;
	else
		return runtime_in_user_namespace(&g->is_rootless, e);
	return 0;
}

static int derive_manager(struct globals *g, struct err *e)
{
	static const char *const names[] = {
		[CGROUP_CGROUPFS] = "cgroupfs",
		[CGROUP_SYSTEMD] = "systemd",
		[CGROUP_DISABLED] = "disabled",
	};
	size_t m = g->systemd_cgroup ? CGROUP_SYSTEMD : CGROUP_CGROUPFS;

	if (g->cgroup_manager)
		for (m = 0; m < ARRAY_SIZE(names) && !streq(g->cgroup_manager, names[m]);)
			m++;
	if (m == ARRAY_SIZE(names))
		return err_set(e, EINVAL,
		    "--cgroup-manager %s: must be cgroupfs, systemd or disabled",
		    g->cgroup_manager);
	if (g->systemd_cgroup && m != CGROUP_SYSTEMD)
		return err_set(e, EINVAL, "--systemd-cgroup contradicts --cgroup-manager=%s",
		    g->cgroup_manager);
	g->manager = (enum cgroup_manager)m;
	return 0;
}

static int derive_root(struct globals *g, struct err *e)
{
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	_cleanup_free_ char *joined = NULL;
	char cwd[PATH_MAX] = "/";

	if (g->root && !*g->root)
		return err_set(e, EINVAL, "--root: must not be empty");
	if (!g->root && g->is_rootless && xdg && path_is_absolute(xdg))
		joined = path_join(xdg, "bailey");
	else if (!g->root && geteuid() != 0)
		return err_set(e, ENOENT,
		    "no place for containers' states: set XDG_RUNTIME_DIR to an absolute path or "
		    "give --root");
	else if (!g->root)
		joined = xstrdup("/run/bailey");
	else if (!path_is_absolute(g->root) && !getcwd(cwd, sizeof(cwd)))
		return err_errno(e, errno, "--root %s: current directory", g->root);
	else
		joined = path_join(cwd, g->root);
	g->root = path_normalize(joined);
	return 0;
}

int globals_derive(struct globals *g, struct err *e)
{
	int r = derive_manager(g, e);

	if (r == 0)
		r = derive_rootless(g, e);
	if (r == 0)
		r = derive_root(g, e);
	return r;
}
