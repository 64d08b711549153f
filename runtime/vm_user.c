/*
 * Users that the container's user namespace does not have. The guest's kernel would take any: there
 * is no such namespace in it. Their files could belong to nobody on the host, and the same
 * config.json would be an error at the other level; so it is one here, in the words of
 * security/user.c.
 */
#include <fcntl.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "runtime/vm_level.h"

/* A line of user_namespaces(7)'s uid_map or gid_map: first ID inside, first ID outside, how many.
 */
static bool line_has(const char *line, uint32_t id)
{
	_cleanup_strv_ char **words = strv_split(line, ' ');
	uint32_t first, n;

	return strv_len(words) == 3 && parse_u32(words[0], &first) == 0 &&
	       parse_u32(words[2], &n) == 0 && id >= first && id - first < n;
}

static bool map_has(char *const *lines, uint32_t id)
{
	for (; *lines; lines++)
		if (line_has(*lines, id))
			return true;
	return false;
}

static int read_map(int dir, const char *name, char ***ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	int r = kfile_read(dir, name, &text);

	if (r < 0)
		return err_errno(e, -r, "read the %s of the container's user namespace", name);
	*ret = strv_split(text, '\n');
	return 0;
}

static int not_mapped(const char *what, const char *kind, uint32_t id, struct err *e)
{
	return err_set(e, EINVAL,
	    ".process.user.%s: %u: not mapped in the user namespace (see .linux.%sMappings)", what,
	    id, kind);
}

static int check_groups(int dir, char *const *gids, const struct spec_user *u, struct err *e)
{
	_cleanup_free_ char *setgroups = NULL;
	int r;

	for (size_t i = 0; i < u->additional_gids.n; i++)
		if (!map_has(gids, u->additional_gids.v[i]))
			return not_mapped("additionalGids", "gid", u->additional_gids.v[i], e);
	if (!u->additional_gids.n)
		return 0;
	if ((r = kfile_read(dir, "setgroups", &setgroups)) < 0)
		return err_errno(e, -r, "read setgroups of the container's user namespace");
	if (streq(setgroups, "deny"))
		return err_set(e, EPERM,
		    ".process.user.additionalGids: setgroups is denied in this user namespace (its "
		    "mapping must be written by newgidmap or by root)");
	return 0;
}

int vm_check_user(int procfd, pid_t pid, const struct spec_user *u, struct err *e)
{
	_cleanup_strv_ char **uids = NULL, **gids = NULL;
	_cleanup_close_ int dir = -EBADF;
	char name[16] = "self";
	int r;

	if (pid)
		snprintf(name, sizeof(name), "%d", pid);
	dir = openat(procfd, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return err_errno(e, errno, "open /proc/%s", name);
	if ((r = read_map(dir, "uid_map", &uids, e)) < 0 ||
	    (r = read_map(dir, "gid_map", &gids, e)) < 0)
		return r;
	if (!map_has(gids, u->gid))
		return not_mapped("gid", "gid", u->gid, e);
	if (!map_has(uids, u->uid))
		return not_mapped("uid", "uid", u->uid, e);
	return check_groups(dir, gids, u, e);
}
