/* One device node inside a root: made, or a host's node bound. */
#pragma once
#include "base/err.h"
#include "spec/spec.h"

struct dev_item {
	struct spec_device dev; /* path normalized, owned */
	char *label;		/* for messages: "config.json: .linux.devices[2]: /dev/fuse" */
	int tree;		/* the host's node as a detached mount; -EBADF: make a node */
	bool must_exist;	/* below a /dev that is the host's: only look */
};

/* Finds the host's node for dev, at dev's path or by sysfs' name of its number, as a detached
 * mount. */
int dev_open_host(const struct spec_device *dev, const char *label, int *ret, struct err *e);

/* Puts it at its path below rootfd. An existing equal node stays (its mode and owner are set where
 * the configuration names them); anything else there is an error. The caller has set umask(0). */
int dev_place(const struct dev_item *it, int rootfd, struct err *e);
