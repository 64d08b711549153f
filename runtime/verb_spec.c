#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "runtime/verbs.h"
#include "spec/spec.h"

struct spec_opts {
	const char *bundle;
	bool rootless;
};

/* Never through an existing name, be it a symlink; nothing half written stays. */
static int write_config(int dirfd, const char *text, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;
	int r;

	fd = openat(dirfd, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
	if (fd < 0 && errno == EEXIST)
		return err_set(e, EEXIST, "File config.json exists. Remove it first");
	if (fd < 0)
		return err_errno(e, errno, "create config.json");
	r = fd_write_all(fd, text, strlen(text));
	if (r == 0)
		r = fd_write_all(fd, "\n", 1);
	if (r < 0) {
		(void)unlinkat(dirfd, "config.json", 0);
		return err_errno(e, -r, "write config.json");
	}
	return 0;
}

static int run_spec(const struct globals *g, void *opts, int argc, char **argv, struct err *e)
{
	const struct spec_opts *o = opts;
	const char *bundle = o->bundle ? o->bundle : ".";
	_cleanup_close_ int dirfd = -EBADF;
	_cleanup_free_ char *text = NULL;

	dirfd = open(bundle, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dirfd < 0)
		return err_errno(e, errno, "open bundle %s", bundle);
	text = spec_default_config(o->rootless);
	return write_config(dirfd, text, e);
}

#define OFF(field) offsetof(struct spec_opts, field)
static const struct opt spec_opts[] = {
	{ "bundle", 'b', OPT_STR, OFF(bundle), "DIR", "where to write it (default: here)" },
	{ "rootless", 0, OPT_FLAG, OFF(rootless), NULL,
	    "for a caller who is not root: a user namespace with the caller as its root" },
	{ 0 },
};

const struct verb verb_spec = {
	.name = "spec",
	.args = "",
	.summary = "write an example config.json",
	.detail = "The configuration runs sh in the bundle's rootfs directory. A config.json that "
		  "exists is not overwritten.",
	.examples = "bailey spec --bundle bundle",
	.opts = spec_opts,
	.opts_size = sizeof(struct spec_opts),
	.error_exit = 1,
	.run = run_spec,
};
