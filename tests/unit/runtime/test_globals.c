#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "runtime/cli.h"
#include "tests/unit/test.h"

static struct globals g;
static struct err e;
static int index_;
static char *root; /* derived, owned here */

/* Parses and derives; returns the first error. */
static int parse(char *const *words)
{
	char **argv = (char **)words;

	int r;

	free(root);
	root = NULL;
	err_clear(&e);
	index_ = globals_parse(&g, (int)strv_len(argv), argv, &e);
	if (index_ < 0)
		return index_;
	r = globals_derive(&g, &e);
	if (r == 0)
		root = (char *)g.root;
	return r;
}
#define PARSE(...) parse((char *[]){ __VA_ARGS__, NULL })

TEST(defaults)
{
	unsetenv("XDG_RUNTIME_DIR");
	CHECK_INT(PARSE("--rootless=false", "state", "--debug"), 0);
	CHECK_INT(index_, 1);
	CHECK_STR(g.log_format, "text");
	CHECK(!g.log && !g.debug && !g.version && !g.is_rootless);
	CHECK_INT(g.manager, CGROUP_CGROUPFS);
}

TEST(as_containerd_calls)
{
	CHECK_INT(PARSE("--root", "/run/x//y/../z", "--log", "/l.json", "--log-format", "json",
		      "--rootless=true", "--systemd-cgroup=false", "create", "--bundle", "b", "id"),
	    0);
	CHECK_INT(index_, 8);
	CHECK_STR(g.root, "/run/x/z");
	CHECK_STR(g.log, "/l.json");
	CHECK_STR(g.log_format, "json");
	CHECK(g.is_rootless);
}

TEST(root_dir)
{
	char cwd[PATH_MAX];
	_cleanup_free_ char *want = xasprintf("%s/rel", getcwd(cwd, sizeof(cwd)));

	CHECK_INT(PARSE("--root=rel", "list"), 0);
	CHECK_STR(g.root, want);
	CHECK_INT(PARSE("--root=", "list"), -EINVAL);
	CHECK_STR(e.msg, "--root: must not be empty");
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	CHECK_INT(PARSE("--rootless=true", "list"), 0);
	CHECK_STR(g.root, "/run/user/7/bailey");
	setenv("XDG_RUNTIME_DIR", "relative", 1);
	if (geteuid() == 0) {
		CHECK_INT(PARSE("--rootless=true", "list"), 0);
		CHECK_STR(g.root, "/run/bailey");
		setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
		CHECK_INT(PARSE("--rootless=false", "list"), 0);
		CHECK_STR(g.root, "/run/bailey");
	} else {
		CHECK_INT(PARSE("--rootless=true", "list"), -ENOENT);
		CHECK_HAS(e.msg, "set XDG_RUNTIME_DIR");
	}
}

TEST(cgroup_manager)
{
	CHECK_INT(PARSE("--cgroup-manager", "disabled", "list"), 0);
	CHECK_INT(g.manager, CGROUP_DISABLED);
	CHECK_INT(PARSE("--cgroup-manager=cgroupfs", "list"), 0);
	CHECK_INT(g.manager, CGROUP_CGROUPFS);
	CHECK_INT(PARSE("--systemd-cgroup", "list"), 0);
	CHECK_INT(g.manager, CGROUP_SYSTEMD);
	CHECK_INT(PARSE("--cgroup-manager=systemd", "list"), 0);
	CHECK_INT(g.manager, CGROUP_SYSTEMD);
	CHECK_INT(PARSE("--cgroup-manager=systemd", "--systemd-cgroup", "list"), 0);
	CHECK_INT(PARSE("--cgroup-manager=cgroupfs", "--systemd-cgroup", "list"), -EINVAL);
	CHECK_STR(e.msg, "--systemd-cgroup contradicts --cgroup-manager=cgroupfs");
	CHECK_INT(PARSE("--cgroup-manager=v3", "list"), -EINVAL);
	CHECK_STR(e.msg, "--cgroup-manager v3: must be cgroupfs, systemd or disabled");
}

TEST(bad_values)
{
	CHECK_INT(PARSE("--rootless", "maybe", "list"), -EINVAL);
	CHECK_STR(e.msg, "--rootless maybe: must be auto, true or false");
	CHECK_INT(PARSE("--nope", "list"), -EINVAL);
	CHECK_STR(e.msg, "flag provided but not defined: --nope");
	CHECK_INT(PARSE("--root"), -EINVAL);
	CHECK_STR(e.msg, "flag needs an argument: --root");
	CHECK_INT(PARSE("--help"), CLI_HELP);
}

TEST_MAIN(T(defaults), T(as_containerd_calls), T(root_dir), T(cgroup_manager), T(bad_values))
