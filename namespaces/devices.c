/* The set of a container's devices, and the links of /dev. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/path.h"
#include "base/str.h"
#include "namespaces/devnode.h"
#include "namespaces/inroot.h"
#include "namespaces/namespaces.h"

struct device_set {
	struct dev_item *v;
	size_t n;
	bool host_dev; /* the container's /dev is a bind mount */
};

static const struct spec_device defaults[] = {
	{ .path = "/dev/null", .type = 'c', .major = 1, .minor = 3 },
	{ .path = "/dev/zero", .type = 'c', .major = 1, .minor = 5 },
	{ .path = "/dev/full", .type = 'c', .major = 1, .minor = 7 },
	{ .path = "/dev/random", .type = 'c', .major = 1, .minor = 8 },
	{ .path = "/dev/urandom", .type = 'c', .major = 1, .minor = 9 },
	{ .path = "/dev/tty", .type = 'c', .major = 5, .minor = 0 },
};

static const struct dev_link {
	const char *name, *target;
	bool replace;	   /* the specification wants exactly this one */
	const char *needs; /* made only if this path exists in the container */
} links[] = {
	{ "fd", "/proc/self/fd", false, NULL },
	{ "stdin", "/proc/self/fd/0", false, NULL },
	{ "stdout", "/proc/self/fd/1", false, NULL },
	{ "stderr", "/proc/self/fd/2", false, NULL },
	{ "core", "/proc/kcore", false, "/proc/kcore" },
	{ "ptmx", "pts/ptmx", true, NULL },
};

/* Is /dev in the container a bind mount? The last mount there is what counts. */
static bool dev_is_bind(const struct spec *s)
{
	bool bind = false;

	for (size_t i = 0; i < s->mounts.n; i++) {
		const struct spec_mount *m = &s->mounts.v[i];
		_cleanup_free_ char *dest = path_normalize(m->destination);

		if (!streq(dest, "/dev"))
			continue;
		bind = (m->type && streq(m->type, "bind")) || strv_contains(m->options.v, "bind") ||
		       strv_contains(m->options.v, "rbind");
	}
	return bind;
}

static bool listed(const struct spec *s, const char *path)
{
	for (size_t i = 0; i < s->devices.n; i++) {
		_cleanup_free_ char *p = path_normalize(s->devices.v[i].path);

		if (streq(p, path))
			return true;
	}
	return false;
}

static int add(
    struct device_set *d, const struct spec_device *dev, char *label, bool bind, struct err *e)
{
	struct dev_item *it = &d->v[d->n++];

	it->dev = *dev;
	it->dev.path = path_normalize(dev->path);
	it->label = label;
	it->tree = -EBADF;
	it->must_exist = d->host_dev && startswith(it->dev.path, "/dev/");
	if (!bind || it->must_exist || dev->type == 'p')
		return 0;
	return dev_open_host(&it->dev, label, &it->tree, e);
}

int devices_open(const struct spec *s, bool bind, struct device_set **ret, struct err *e)
{
	_cleanup_device_set_ struct device_set *d = xcalloc(1, sizeof(*d));
	int r;

	d->host_dev = dev_is_bind(s);
	d->v = xcalloc(ARRAY_SIZE(defaults) + s->devices.n, sizeof(*d->v));
	for (size_t i = 0; i < ARRAY_SIZE(defaults) && !d->host_dev; i++) {
		if (listed(s, defaults[i].path))
			continue;
		r = add(d, &defaults[i], xasprintf("device %s", defaults[i].path), bind, e);
		if (r < 0)
			return r;
	}
	for (size_t i = 0; i < s->devices.n; i++) {
		const struct spec_device *dev = &s->devices.v[i];
		char *label = xasprintf("config.json: .linux.devices[%zu]: %s", i, dev->path);

		r = add(d, dev, label, bind, e);
		if (r < 0)
			return r;
	}
	*ret = steal_ptr(d);
	return 0;
}

void device_set_free(struct device_set *d)
{
	if (!d)
		return;
	for (size_t i = 0; i < d->n; i++) {
		closep(&d->v[i].tree);
		free((char *)d->v[i].dev.path);
		free(d->v[i].label);
	}
	free(d->v);
	free(d);
}

static bool exists_in_root(int rootfd, const char *path)
{
	_cleanup_close_ int fd = root_open(rootfd, path, O_PATH, 0);

	return fd >= 0;
}

/* What an image or a mount has put there stays, except for what must be the container's own: that
 * is replaced, unless it is a pty multiplexer node mounted there on purpose. */
static int make_link(int rootfd, int dev, const struct dev_link *l, struct err *e)
{
	_cleanup_close_ int fd = -EBADF;

	if (l->needs && !exists_in_root(rootfd, l->needs))
		return 0;
	if (symlinkat(l->target, dev, l->name) == 0)
		return 0;
	if (errno == EEXIST && !l->replace) {
		log_debug("/dev/%s is there already", l->name);
		return 0;
	}
	if (errno != EEXIST)
		return err_errno(e, errno, "link the container's /dev/%s", l->name);
	if (unlinkat(dev, l->name, 0) < 0) {
		int saved = errno;

		fd = openat(dev, l->name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
		if (saved == EBUSY && fd >= 0 && fd_is_chardev(fd, 5, 2))
			return 0;
		return err_errno(e, saved, "replace the container's /dev/%s", l->name);
	}
	if (symlinkat(l->target, dev, l->name) < 0)
		return err_errno(e, errno, "link the container's /dev/%s", l->name);
	return 0;
}

static int make_links(int rootfd, struct err *e)
{
	_cleanup_close_ int dev = dir_open_nosym(rootfd, "/dev", true);

	if (dev < 0)
		return err_errno(e, -dev, "the container's /dev");
	for (size_t i = 0; i < ARRAY_SIZE(links); i++) {
		int r = make_link(rootfd, dev, &links[i], e);

		if (r < 0)
			return r;
	}
	return 0;
}

static int make_all(const struct device_set *d, int rootfd, struct err *e)
{
	for (size_t i = 0; i < d->n; i++) {
		int r = dev_place(&d->v[i], rootfd, e);

		if (r < 0)
			return r;
	}
	if (d->host_dev) {
		log_debug("/dev is a bind mount: no default devices and links");
		return 0;
	}
	return make_links(rootfd, e);
}

int devices_make(const struct device_set *d, const struct spec *s, int rootfd, struct err *e)
{
	/* So that mknod gives exactly the configured mode. */
	mode_t old = umask(0);
	int r = make_all(d, rootfd, e);

	umask(old);
	return r;
}
