#include "netsetup/ipam.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "netsetup/claim.h"

#define LAST ".last" /* a link too: the number that was given last */

struct take {
	int run, dirfd;
	const struct network *n;
	const char *owner;
};

static int open_dir(int run, const char *network)
{
	char path[NET_NAME_MAX + 8];

	snprintf(path, sizeof(path), "addr/%s", network);
	return run_dir(run, path);
}

static int take_one(struct take *t, const struct ip *a, char **ret_dir)
{
	char name[IP_TEXT];

	return claim_take(t->run, t->dirfd, ip_text(a, false, name), t->owner, ret_dir);
}

static void give_back(struct take *t, const struct ip *a)
{
	char name[IP_TEXT];

	(void)unlinkat(t->dirfd, ip_text(a, false, name), 0);
}

static int take_wanted(struct take *t, const char *option, const struct ip *subnet,
    const struct ip *gateway, const struct ip *want, struct ip *ret, struct err *e)
{
	_cleanup_free_ char *owner = NULL;
	char a[IP_TEXT], s[IP_TEXT];
	struct ip ip = *want;
	uint64_t i;
	int r;

	ip_text(want, false, a);
	if (!subnet->family)
		return err_set(e, EINVAL, "%s %s: network \"%s\" has no subnet of that family",
		    option, a, t->n->name);
	i = ip_index(subnet, want);
	if (!ip_in(subnet, want) || i == 0 || i > ip_last(subnet) || ip_equal(want, gateway))
		return err_set(e, EINVAL,
		    "%s %s: not an address for containers in %s of network \"%s\"", option, a,
		    ip_text(subnet, true, s), t->n->name);
	ip.prefix = subnet->prefix;
	r = take_one(t, &ip, &owner);
	if (r == -EEXIST)
		return err_set(e, EBUSY, "%s %s: taken by %s", option, a, owner);
	if (r < 0)
		return err_errno(e, -r, "%s %s", option, a);
	*ret = ip;
	return 0;
}

static uint64_t last_read(int dirfd)
{
	char text[24];
	ssize_t n = readlinkat(dirfd, LAST, text, sizeof(text) - 1);
	uint64_t v = 1;

	if (n > 0) {
		text[n] = '\0';
		(void)parse_u64(text, &v);
	}
	return v;
}

/* Only where to begin looking: losing it, or a race for it, costs time and no more. */
static void last_write(int dirfd, uint64_t v)
{
	char text[24], name[40];

	snprintf(text, sizeof(text), "%ju", (uintmax_t)v);
	snprintf(name, sizeof(name), LAST ".%d", (int)getpid());
	if (symlinkat(text, dirfd, name) == 0 && renameat(dirfd, name, dirfd, LAST) < 0)
		(void)unlinkat(dirfd, name, 0);
}

static int take_number(
    struct take *t, uint64_t i, bool four, bool six, struct ip *a4, struct ip *a6)
{
	const struct network *n = t->n;
	int r;

	*a4 = four ? ip_nth(&n->subnet4, i) : (struct ip){ 0 };
	*a6 = six ? ip_nth(&n->subnet6, i) : (struct ip){ 0 };
	if ((four && ip_equal(a4, &n->gateway4)) || (six && ip_equal(a6, &n->gateway6)))
		return -EEXIST;
	r = four ? take_one(t, a4, NULL) : 0;
	if (r < 0 || !six)
		return r;
	r = take_one(t, a6, NULL);
	if (r < 0 && four)
		give_back(t, a4);
	return r;
}

static int take_next(
    struct take *t, bool four, bool six, struct ip *ret4, struct ip *ret6, struct err *e)
{
	uint64_t n = UINT32_MAX, last = last_read(t->dirfd);

	if (four)
		n = ip_last(&t->n->subnet4);
	if (six && ip_last(&t->n->subnet6) < n)
		n = ip_last(&t->n->subnet6);
	for (uint64_t tries = 0; tries < n; tries++) {
		uint64_t i = (last + tries) % n + 1;
		struct ip a4, a6;
		int r = take_number(t, i, four, six, &a4, &a6);

		if (r == -EEXIST)
			continue;
		if (r < 0)
			return err_errno(e, -r, "network \"%s\": take an address", t->n->name);
		last_write(t->dirfd, i);
		if (four)
			*ret4 = a4;
		if (six)
			*ret6 = a6;
		return 0;
	}
	return err_set(
	    e, ENOSPC, "network \"%s\": all %ju addresses are taken", t->n->name, (uintmax_t)n);
}

int ipam_take(int run, const struct network *n, const struct ip *want4, const struct ip *want6,
    const char *owner, struct ip *ret4, struct ip *ret6, struct err *e)
{
	_cleanup_close_ int dirfd = open_dir(run, n->name);
	struct take t = { .run = run, .dirfd = dirfd, .n = n, .owner = owner };
	struct ip a4 = { 0 }, a6 = { 0 };
	bool four = n->subnet4.family && !want4->family, six = n->subnet6.family && !want6->family;
	int r = 0;

	if (dirfd < 0)
		return err_errno(e, -dirfd, NET_RUN "/…/addr/%s", n->name);
	if (want4->family)
		r = take_wanted(&t, "--ip", &n->subnet4, &n->gateway4, want4, &a4, e);
	if (r == 0 && want6->family)
		r = take_wanted(&t, "--ip6", &n->subnet6, &n->gateway6, want6, &a6, e);
	if (r == 0 && (four || six))
		r = take_next(&t, four, six, &a4, &a6, e);
	if (r < 0)
		return r; /* net_undo() finds what was taken by its owner */
	*ret4 = a4;
	*ret6 = a6;
	return 0;
}

int ipam_release(
    int run, const char *network, const char *dir, const struct ip *a4, const struct ip *a6)
{
	_cleanup_close_ int dirfd = open_dir(run, network);
	char name[IP_TEXT];
	int r = 0;

	if (dirfd < 0)
		return dirfd;
	if (!a4->family && !a6->family)
		return claim_release_all(dirfd, dir);
	if (a4->family)
		r = claim_release(dirfd, ip_text(a4, false, name), dir);
	if (r == 0 && a6->family)
		r = claim_release(dirfd, ip_text(a6, false, name), dir);
	return r;
}

static int found(void *ctx, const char *name, const char *detail, const char *dir)
{
	return 1;
}

int ipam_is_used(int run)
{
	_cleanup_closedir_ DIR *d = NULL;
	int fd = run_dir(run, "addr"), r = 0;

	d = fd < 0 ? NULL : fdopendir(fd);
	if (!d) {
		r = fd < 0 ? fd : -errno;
		closep(&fd);
		return r;
	}
	for (struct dirent *ent; r == 0 && (ent = readdir(d));) {
		_cleanup_free_ char *path = xasprintf("addr/%s", ent->d_name);
		_cleanup_close_ int dirfd = -EBADF;

		if (ent->d_name[0] == '.')
			continue;
		dirfd = run_dir(run, path);
		r = dirfd < 0 ? dirfd : claim_each(dirfd, found, NULL);
	}
	return r;
}
