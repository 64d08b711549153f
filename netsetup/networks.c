/* Named networks: their files, and those that need none. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "netsetup/claim.h"
#include "netsetup/links.h"
#include "netsetup/network_file.h"

static const char *const without_file[] = { "bridge", "ptp" };
static const char *const reserved[] = { "none", "host", "pasta", "ns", "macvlan", "ipvlan" };

static bool needs_no_file(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(without_file); i++)
		if (streq(name, without_file[i]))
			return true;
	return false;
}

int network_check_name(const char *name, struct err *e)
{
	static const char ok[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";

	if (!*name || *name == '.' || *name == '-' || strlen(name) > NET_NAME_MAX ||
	    name[strspn(name, ok)])
		return err_set(e, EINVAL,
		    "network name \"%.64s\": letters, digits, \"_\", \"-\" and \".\", at most %d, "
		    "the first a letter, a digit or \"_\"",
		    name, NET_NAME_MAX);
	for (size_t i = 0; i < ARRAY_SIZE(reserved); i++)
		if (streq(name, reserved[i]))
			return err_set(
			    e, EINVAL, "network name \"%s\" has a meaning of its own", name);
	return 0;
}

/* ---- choosing a subnet that nobody has ---- */

struct taken {
	struct ip *v;
	size_t n;
};

static void taken_add(struct taken *t, const struct ip *ip)
{
	if (!ip->family)
		return;
	t->v = xrealloc(t->v, (t->n + 1) * sizeof(*t->v));
	t->v[t->n++] = *ip;
}

/* What is written of a network, and nothing made for it. A file that cannot be read is its user's
 * error to see, not that of who looks for others'. */
static bool find_file(const char *name, struct network *ret, struct err *ignored)
{
	_cleanup_close_ int dir = -EBADF;
	_cleanup_free_ char *file = xasprintf(NET_FILES "/%s.json", name);
	_cleanup_free_ char *chosen = xasprintf("%s.json", name);

	return network_read(AT_FDCWD, file, ret, ignored) == 0 ||
	       (run_open(&dir, ignored) == 0 && network_read(dir, chosen, ret, ignored) == 0);
}

static int taken_by_networks(struct taken *t, struct err *e)
{
	_cleanup_strv_ char **names = NULL;
	int r = network_names(&names, e);

	for (size_t i = 0; r == 0 && names[i]; i++) {
		struct err ignored = ERR_INIT;
		struct network n;

		if (!find_file(names[i], &n, &ignored))
			continue;
		taken_add(t, &n.subnet4);
		taken_add(t, &n.subnet6);
	}
	return r;
}

static bool is_free(const struct taken *t, const struct ip *subnet)
{
	for (size_t i = 0; i < t->n; i++)
		if (ip_overlaps(&t->v[i], subnet))
			return false;
	return true;
}

/* IPv4: a /20 of 10.200.0.0/13. IPv6: a random unique local /64 (RFC 4193). */
static int choose_subnets(struct network *n, struct err *e)
{
	_cleanup_batch_ struct batch b = BATCH_INIT;
	_cleanup_free_ struct ip *routes = NULL;
	struct ip four = { .family = AF_INET, .prefix = 20, .b = { 10, 200 } };
	struct ip six = { .family = AF_INET6, .prefix = 64, .b = { 0xfd } };
	struct taken t = { 0 };
	uint32_t index;
	int r = batch_open(NETLINK_ROUTE, &b, e);

	if (r == 0)
		r = host_routes(&b, &t.v, &t.n, &index, e);
	routes = t.v;
	if (r == 0)
		r = taken_by_networks(&t, e);
	routes = t.v;
	if (r < 0)
		return r;
	for (unsigned i = 0; !is_free(&t, &four); i++) {
		if (i == 128)
			return err_set(e, ENOSPC,
			    "no free subnet in 10.200.0.0/13: give one (bailey network create)");
		four.b[1] = (uint8_t)(200 + i / 16);
		four.b[2] = (uint8_t)(i % 16 * 16);
	}
	do {
		if (getrandom(six.b + 1, 5, 0) != 5)
			return err_errno(e, errno, "getrandom");
	} while (!is_free(&t, &six));
	n->subnet4 = four;
	n->subnet6 = six;
	return 0;
}

/* ---- outward ---- */

static int load_chosen(const char *name, struct network *ret, struct err *e)
{
	_cleanup_free_ char *file = xasprintf("%s.json", name);
	_cleanup_close_ int run = -EBADF, lock = -EBADF;
	struct network n = { 0 };
	int r = run_open(&run, e);

	if (r < 0)
		return r;
	if (faccessat(run, file, F_OK, 0) == 0)
		return network_read(run, file, ret, e);
	if ((r = run_lock(run, &lock, e)) < 0)
		return r;
	if (faccessat(run, file, F_OK, 0) == 0)
		return network_read(run, file, ret, e);
	snprintf(n.name, sizeof(n.name), "%s", name);
	if (streq(name, "bridge"))
		snprintf(n.interface, sizeof(n.interface), "bailey0");
	if ((r = choose_subnets(&n, e)) < 0 || (r = network_complete(&n, e)) < 0 ||
	    (r = network_write(run, file, &n, e)) < 0)
		return r;
	*ret = n;
	return 0;
}

int network_load(const char *name, struct network *ret, struct err *e)
{
	_cleanup_free_ char *file = NULL;
	struct network n;
	int r = network_check_name(name, e);

	if (r < 0)
		return r;
	file = xasprintf(NET_FILES "/%s.json", name);
	if (access(file, F_OK) < 0) {
		if (errno != ENOENT)
			return err_errno(e, errno, "%s", file);
		return needs_no_file(name) ? load_chosen(name, ret, e)
					   : err_set(e, ENOENT,
						 "network \"%s\" does not exist: \"bailey network "
						 "create %s\" makes it",
						 name, name);
	}
	r = network_read(AT_FDCWD, file, &n, e);
	if (r < 0)
		return r;
	if (!streq(n.name, name))
		return err_set(e, EINVAL, "%s: .name: \"%s\" is not the file's", file, n.name);
	*ret = n;
	return 0;
}

static bool is_same(const struct network *a, const struct network *b)
{
	return streq(a->interface, b->interface) && a->openvswitch == b->openvswitch &&
	       a->vlan == b->vlan && ip_equal(&a->subnet4, &b->subnet4) &&
	       ip_equal(&a->gateway4, &b->gateway4) && ip_equal(&a->subnet6, &b->subnet6) &&
	       ip_equal(&a->gateway6, &b->gateway6) && a->mtu == b->mtu &&
	       a->isolated == b->isolated;
}

int network_confirm(const struct network *n, int run, struct err *e)
{
	_cleanup_close_ int lock = -EBADF;
	struct err ignored = ERR_INIT;
	struct network now;
	int r = run_lock(run, &lock, e);

	if (r < 0)
		return r;
	if (find_file(n->name, &now, &ignored) && is_same(n, &now))
		return 0;
	return err_set(
	    e, ESTALE, "network \"%s\" was removed or changed meanwhile: try again", n->name);
}

static int make_files_dir(struct err *e)
{
	if ((mkdir("/etc/bailey", 0755) < 0 && errno != EEXIST) ||
	    (mkdir(NET_FILES, 0755) < 0 && errno != EEXIST))
		return err_errno(e, errno, "mkdir " NET_FILES);
	return 0;
}

/* Nobody else's bridge. Ports of Open vSwitch's are told apart by their VLANs. */
static int check_bridge(const struct network *n, struct err *e)
{
	_cleanup_strv_ char **names = NULL;
	int r = network_names(&names, e);

	for (size_t i = 0; r == 0 && names[i]; i++) {
		struct err ignored = ERR_INIT;
		struct network other;

		if (!find_file(names[i], &other, &ignored) ||
		    strcmp(other.interface, n->interface) != 0 || !n->interface[0] ||
		    (n->openvswitch && other.openvswitch))
			continue;
		return err_set(
		    e, EEXIST, ".interface: \"%s\" is network \"%s\"'s", n->interface, other.name);
	}
	return r;
}

int network_create(struct network *n, struct err *e)
{
	_cleanup_close_ int run = -EBADF, lock = -EBADF;
	_cleanup_free_ char *file = NULL;
	int r = network_check_name(n->name, e);

	if (r < 0 || (r = make_files_dir(e)) < 0 || (r = run_open(&run, e)) < 0 ||
	    (r = run_lock(run, &lock, e)) < 0)
		return r;
	file = xasprintf(NET_FILES "/%s.json", n->name);
	if (access(file, F_OK) == 0)
		return err_set(e, EEXIST, "network \"%s\" exists already (%s)", n->name, file);
	if (!n->subnet4.family && !n->subnet6.family && !n->openvswitch &&
	    (r = choose_subnets(n, e)) < 0)
		return r;
	if ((r = network_complete(n, e)) < 0 || (r = check_bridge(n, e)) < 0)
		return r;
	return network_write(AT_FDCWD, file, n, e);
}

static int add_names(DIR *d, char ***to)
{
	for (struct dirent *ent; d && (ent = readdir(d));) {
		_cleanup_free_ char *name = NULL;
		struct err ignored = ERR_INIT;

		if (!endswith(ent->d_name, ".json"))
			continue;
		name = xstrndup(ent->d_name, strlen(ent->d_name) - strlen(".json"));
		if (network_check_name(name, &ignored) == 0 && !strv_contains(*to, name))
			strv_push(to, steal_ptr(name));
	}
	return 0;
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int network_names(char ***ret, struct err *e)
{
	_cleanup_closedir_ DIR *files = opendir(NET_FILES), *chosen = NULL;
	_cleanup_strv_ char **names = xcalloc(1, sizeof(char *));
	int run, r;

	if (!files && errno != ENOENT)
		return err_errno(e, errno, "read " NET_FILES);
	r = run_open(&run, e);
	if (r < 0)
		return r;
	chosen = fdopendir(run);
	if (!chosen) {
		closep(&run);
		return err_errno(e, errno, "read " NET_RUN);
	}
	add_names(files, &names);
	add_names(chosen, &names);
	qsort(names, strv_len(names), sizeof(*names), compare);
	*ret = steal_ptr(names);
	return 0;
}

struct users {
	int (*fn)(void *ctx, const char *address, const char *dir);
	void *ctx;
};

static int one_user(void *ctx, const char *name, const char *detail, const char *dir)
{
	const struct users *u = ctx;

	return u->fn(u->ctx, name, dir);
}

int network_users(const char *name, int (*fn)(void *ctx, const char *address, const char *dir),
    void *ctx, struct err *e)
{
	struct users u = { .fn = fn, .ctx = ctx };
	_cleanup_free_ char *path = xasprintf("addr/%s", name);
	_cleanup_close_ int run = -EBADF, dirfd = -EBADF;
	int r = run_open(&run, e);

	if (r < 0)
		return r;
	dirfd = run_dir(run, path);
	r = dirfd < 0 ? dirfd : claim_each(dirfd, one_user, &u);
	return r < 0 && !e->code ? err_errno(e, -r, NET_RUN "/…/addr/%s", name) : r;
}

static int is_used(void *ctx, const char *address, const char *dir)
{
	return err_set(ctx, EBUSY, "%s has the address %s in it", dir, address);
}

int network_remove(const char *name, struct err *e)
{
	_cleanup_batch_ struct batch b = BATCH_INIT;
	_cleanup_close_ int run = -EBADF, lock = -EBADF;
	_cleanup_free_ char *file = NULL, *chosen = NULL;
	struct network n;
	int r = network_load(name, &n, e);

	if (r < 0 || (r = run_open(&run, e)) < 0 || (r = run_lock(run, &lock, e)) < 0)
		return r;
	r = network_users(name, is_used, e, e);
	if (r < 0)
		return err_wrap(e, "network \"%s\" is in use", name);
	if ((r = batch_open(NETLINK_ROUTE, &b, e)) < 0)
		return r;
	if (n.interface[0] && !n.openvswitch && (r = host_link_del(&b, n.interface)) < 0)
		return err_errno(e, -r, "remove bridge %s", n.interface);
	file = xasprintf(NET_FILES "/%s.json", name);
	chosen = xasprintf("%s.json", name);
	if (unlink(file) < 0 && errno != ENOENT)
		return err_errno(e, errno, "remove %s", file);
	if (unlinkat(run, chosen, 0) < 0 && errno != ENOENT)
		return err_errno(e, errno, "remove " NET_RUN "/…/%s", chosen);
	return 0;
}
