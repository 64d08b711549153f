#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "base/sys.h"
#include "runtime/create_opts.h"
#include "runtime/foreground.h"
#include "runtime/image_opts.h"
#include "runtime/lifecycle.h"
#include "runtime/run_network.h"
#include "runtime/verbs.h"

struct run_opts {
	struct create_opts create; /* first: create_check() takes it */
	const char *source;
	struct image_opts image;
	struct network_opts network;
};

static const struct opt opts[] = {
	CREATE_OPTS,
	{ "detach", 'd', OPT_FLAG, CREATE_OPT(detach), NULL, "return once the process runs", 0, 0 },
	{ "keep", 0, OPT_FLAG, CREATE_OPT(keep), NULL, "do not delete the container when it ends",
	    0, 0 },
	{ "image", 0, OPT_STR, offsetof(struct run_opts, source), "SOURCE",
	    "an image instead of a bundle; what follows is for images alone", 0, 0 },
	NETWORK_OPTS(struct run_opts, network),
	IMAGE_OPTS(struct run_opts, image),
	{ 0 },
};

/* The container's end is its deletion, and so is the end of the wait for it: nobody knows of it
 * then. While it runs, other verbs may take the lock. */
static int stay(struct container *c, const struct create_opts *o, int master, struct err *e)
{
	struct err gone = ERR_INIT;
	int status = 0, r;

	container_unlock(c);
	r = foreground_wait(c->pid, c->pidfd, master, &status, e);
	status = r < 0 ? r : status;
	if (o->keep)
		return status;
	r = container_relock(c, &gone);
	if (r == -ENOENT) /* somebody else deleted it */
		return status;
	if (r < 0 || container_destroy(c, &gone) < 0)
		log_warning("delete \"%s\": %s", c->id, gone.msg);
	return status;
}

static int run_container(
    const struct globals *g, const char *id, struct create_opts *o, struct err *e)
{
	_cleanup_container_ struct container *c = NULL;
	_cleanup_close_ int master = -EBADF;
	bool foreground = !o->detach && !o->console_socket;
	int r;

	if (!o->detach)
		foreground_prepare();
	o->start = true;
	r = container_create(g, id, o, &c, foreground ? &master : NULL, e);
	if (r < 0)
		return r;
	return o->detach ? 0 : stay(c, o, master, e);
}

/* ---- of an image ---- */

struct image_job {
	const struct run_opts *o;
	struct image_run run;
	const char *owner;
};

static int make_bundle(
    void *ctx, const struct store_opts *so, struct image_result *ret, struct err *e)
{
	_cleanup_progress_ struct image_progress_state progress;
	const struct image_job *j = ctx;
	_cleanup_store_ struct store *s = NULL;
	_cleanup_image_ struct image *im = NULL;
	_cleanup_close_ int lock = -EBADF;
	_cleanup_free_ char *path = NULL;
	const struct image_remote remote = image_remote_of(&j->o->image.remote);
	int r = image_store_open(j->o->image.store, so, &s, e);

	progress_init(&progress, isatty(STDERR_FILENO) ? PROGRESS_AUTO : PROGRESS_QUIET);
	if (r == 0)
		r = image_obtain(s,
		    &(struct image_want){
			.source = j->o->source,
			.platform = j->o->image.platform,
			.progress = progress.callback.fn ? &progress.callback : NULL,
			.remote = &remote,
		    },
		    &im, e);
	if (r == 0)
		r = bundle_make_stored(s, im, &j->run, j->owner, image_mount, &path, &lock, e);
	if (r < 0)
		return r;
	if (strlen(path) >= sizeof(ret->text))
		return err_set(e, ENAMETOOLONG, "store: the path is too long: %s", path);
	snprintf(ret->text, sizeof(ret->text), "%s", path);
	ret->fd = steal_fd(&lock);
	return 0;
}

/* Before anything is pulled for nothing; container_create() decides. */
static int check_free(const struct globals *g, const char *id, const char *owner, struct err *e)
{
	int r = spec_check_id(id, e);

	if (r == 0 && access(owner, F_OK) == 0)
		r = err_set(
		    e, EEXIST, "container with id \"%s\" already exists (in %s)", id, g->root);
	return r;
}

static int run_image(
    const struct globals *g, struct run_opts *o, const char *id, char **command, struct err *e)
{
	_cleanup_free_ char *owner = xasprintf("%s/%s", g->root, id);
	_cleanup_bundle_info_ struct bundle_info b = { 0 };
	_cleanup_image_ids_ struct image_ids ids = { 0 };
	struct image_job j = { .o = o, .owner = owner };
	struct image_result res = { .fd = -EBADF };
	_cleanup_close_ int lock = -EBADF;
	struct err second = ERR_INIT;
	struct overlay overlay;
	int r;

	if ((r = check_free(g, id, owner, e)) < 0 || (r = image_ids(&ids, e)) < 0)
		return r;
	j.run = image_run_of(&o->image, &ids, command);
	r = image_work(&ids, make_bundle, &j, &res, e);
	if (r < 0)
		return r;
	lock = res.fd; /* until the container is there: else the bundle would be swept */
	r = bundle_info(res.text, &b, e);
	if (r == 0) {
		overlay = (struct overlay){
			.lowers = b.overlay.lowers.v,
			.upper = b.overlay.upper,
			.work = b.overlay.work,
			.userxattr = b.overlay.userxattr,
		};
		o->create.bundle = b.path;
		o->create.overlay = &overlay;
		r = run_container(g, id, &o->create, e);
	}
	/* One that was never the container's, or is the container's no more. */
	if (r < 0 && access(owner, F_OK) < 0 && image_bundle_remove(res.text, &second) < 0)
		log_warning("%s", second.msg);
	return r;
}

/* An option that would do nothing must not look as if it did. */
static int without_image(const struct run_opts *o, struct err *e)
{
	const struct image_opts *i = &o->image;
	const struct {
		const char *name;
		bool given;
	} all[] = {
		{ "platform", i->platform },
		{ "store", i->store },
		{ "user", i->user },
		{ "env", i->env },
		{ "cwd", i->cwd },
		{ "entrypoint", i->entrypoint },
		{ "tty", i->tty },
		{ "hostname", i->hostname && !o->network.network },
		{ "authfile", i->remote.authfile },
		{ "creds", i->remote.creds },
		{ "cert-dir", i->remote.cert_dir },
		{ "tls-verify", i->remote.tls_verify.set },
		{ "timeout", i->remote.timeout.set },
		{ "retries", i->remote.retries.set },
	};

	for (size_t k = 0; k < ARRAY_SIZE(all); k++)
		if (all[k].given)
			return err_set(e, EINVAL,
			    "--%s: is for --image%s; a bundle's config.json says it itself",
			    all[k].name, streq(all[k].name, "hostname") ? " and --network" : "");
	return 0;
}

static int run(const struct globals *g, void *opts_, int argc, char **argv, struct err *e)
{
	_cleanup_free_ struct net_port *ports = NULL;
	struct run_opts *o = opts_;
	struct net_request net = { 0 };
	bool wanted;
	int r;

	if (!o->source && argc > 1)
		return err_set(e, EINVAL,
		    "\"bailey run\" requires exactly 1 argument, %d given: a COMMAND goes with "
		    "--image",
		    argc);
	if (!o->source && (r = without_image(o, e)) < 0)
		return r;
	r = network_request(&o->network, o->image.hostname, g->is_rootless, &net, &wanted, e);
	if (r < 0)
		return r;
	ports = net.ports;
	o->create.net = wanted ? &net : NULL;
	if (!o->source)
		return run_container(g, argv[0], &o->create, e);
	if (o->create.bundle || o->create.config)
		return err_set(e, EINVAL, "--image excludes --bundle and --config");
	return run_image(g, o, argv[0], argv + 1, e);
}

const struct verb verb_run = {
	.name = "run",
	.args = "CONTAINER [COMMAND [ARG…]]",
	.summary = "create and start a container, and stay until it ends",
	.detail =
	    "Create, start, wait and delete in one: the exit code is the process's own, or 128 + N "
	    "when signal N ended it. Signals sent to bailey go to the process. With --detach, "
	    "returns at once and leaves the container for delete.\n"
	    "With --image the bundle is made of an image, in the store, and removed with the "
	    "container; COMMAND takes the place of the image's own. " SOURCE_DETAIL
	    "\nWith --network the container gets a network of bailey's making, and resolv.conf, "
	    "hosts and hostname with it.",
	.examples = "bailey run --bundle bundle web\n"
		    "bailey run --image oci:layout:latest -t shell sh\n"
		    "bailey run --bundle bundle --network bridge -p 8080:80 web",
	.opts = opts,
	.opts_size = sizeof(struct run_opts),
	.min_args = 1,
	.max_args = -1,
	.sealed = true,
	.options_first = true,
	.check = create_check,
	.error_exit = 1,
	.run = run,
};
