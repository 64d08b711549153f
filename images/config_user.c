/*
 * "user[:group]" by the image's own passwd and group, which are hostile files: they are opened
 * inside the root alone, have to be regular and of a bounded size. No NSS: that would be the
 * host's.
 *
 * A number is a number, also where a user is called so. One that no id can be is an error and never
 * a name (CVE-2024-40635).
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/path.h"
#include "base/str.h"
#include "images/images.h"

#define DB_MAX	   (16u * 1024 * 1024)
#define ID_MAX	   (UINT32_MAX - 1) /* the last one means "no change" to the kernel */
#define GROUPS_MAX 65536	    /* NGROUPS_MAX */

static bool is_number(const char *s)
{
	return *s && s[strspn(s, "0123456789")] == '\0';
}

static int parse_id(const char *s, uint32_t *ret)
{
	uint32_t v;

	if (!is_number(s) || parse_u32(s, &v) < 0 || v > ID_MAX)
		return -EINVAL;
	*ret = v;
	return 0;
}

/* A missing file is an empty one: who needs it finds nobody in it. */
static int read_db(int rootfd, const char *path, char **ret, struct err *e)
{
	_cleanup_close_ int fd = root_open(rootfd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;
	int r;

	if (fd == -ENOENT || fd == -ENOTDIR) {
		*ret = xstrdup("");
		return 0;
	}
	if (fd < 0)
		return err_errno(e, -fd, "the image's %s", path);
	if (fstat(fd, &st) < 0)
		return err_errno(e, errno, "the image's %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, EINVAL, "the image's %s: not a regular file", path);
	r = fd_read_all(fd, DB_MAX, ret, NULL);
	return r < 0 ? err_errno(e, -r, "the image's %s", path) : 0;
}

/* The next line of *at with n fields (the last takes the rest) that are cut out of it. */
static bool next_line(char **at, char **fields, size_t n)
{
	while (*at && **at) {
		char *line = *at, *end = strchr(line, '\n');
		size_t i = 0;

		*at = end ? end + 1 : NULL;
		if (end)
			*end = '\0';
		for (char *p = line; p && i < n; i++) {
			fields[i] = p;
			p = strchr(p, ':');
			if (p && i + 1 < n)
				*p++ = '\0';
		}
		if (i == n)
			return true;
	}
	return false;
}

/* ---- passwd ---- */

struct passwd_line {
	uint32_t uid, gid;
	const char *name; /* in the arena */
};

/* By name, or by uid where name is NULL. 1: found; 0: not. */
static int find_user(int rootfd, const char *name, uint32_t uid, struct arena *a,
    struct passwd_line *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char *at, *f[4 + 1]; /* name, password, uid, gid, the rest */
	int r = read_db(rootfd, "/etc/passwd", &text, e);

	if (r < 0)
		return r;
	for (at = text; next_line(&at, f, ARRAY_SIZE(f));) {
		uint32_t line_uid, line_gid;
		bool valid;

		f[3][strcspn(f[3], ":")] = '\0';
		valid = parse_id(f[2], &line_uid) == 0 && parse_id(f[3], &line_gid) == 0;
		if (name ? !streq(f[0], name) : !valid || line_uid != uid)
			continue;
		if (!valid)
			return err_set(e, EINVAL,
			    "user %s: the image's /etc/passwd gives no valid numbers",
			    json_quote(a, name));
		*ret = (struct passwd_line){
			.uid = line_uid,
			.gid = line_gid,
			.name = arena_strdup(a, f[0]),
		};
		return 1;
	}
	return 0;
}

/* ---- group ---- */

static int find_group(int rootfd, const char *name, struct arena *a, uint32_t *ret, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char *at, *f[3];
	int r = read_db(rootfd, "/etc/group", &text, e);

	if (r < 0)
		return r;
	for (at = text; next_line(&at, f, ARRAY_SIZE(f));) {
		if (!streq(f[0], name))
			continue;
		f[2][strcspn(f[2], ":")] = '\0';
		if (parse_id(f[2], ret) == 0)
			return 0;
		return err_set(e, EINVAL, "group %s: the image's /etc/group gives no valid number",
		    json_quote(a, name));
	}
	return err_set(e, ENOENT, "group %s: not in the image's /etc/group", json_quote(a, name));
}

static bool is_member(char *members, const char *user)
{
	char *save;

	for (char *m = strtok_r(members, ",", &save); m; m = strtok_r(NULL, ",", &save))
		if (streq(m, user))
			return true;
	return false;
}

static bool has_gid(const struct spec_user *u, uint32_t gid)
{
	for (size_t i = 0; i < u->additional_gids.n; i++)
		if (u->additional_gids.v[i] == gid)
			return true;
	return u->gid == gid;
}

static int member_groups(
    int rootfd, const char *user, struct arena *a, struct spec_user *u, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char *at, *f[4];
	size_t cap = 0;
	int r = read_db(rootfd, "/etc/group", &text, e);

	if (r < 0)
		return r;
	for (at = text; next_line(&at, f, ARRAY_SIZE(f));) {
		uint32_t gid, *bigger;

		f[3][strcspn(f[3], ":\r")] = '\0';
		if (!is_member(f[3], user) || parse_id(f[2], &gid) < 0 || has_gid(u, gid))
			continue;
		if (u->additional_gids.n == GROUPS_MAX)
			return err_set(e, EINVAL, "user %s: in more than %d groups",
			    json_quote(a, user), GROUPS_MAX);
		if (u->additional_gids.n == cap) {
			cap = cap ? 2 * cap : 16;
			bigger = arena_calloc(a, cap, sizeof(*bigger));
			if (u->additional_gids.n)
				memcpy(bigger, u->additional_gids.v,
				    u->additional_gids.n * sizeof(*bigger));
			u->additional_gids.v = bigger;
		}
		u->additional_gids.v[u->additional_gids.n++] = gid;
	}
	return 0;
}

/* ---- both ---- */

bool image_user_needs_root(const char *user)
{
	const char *colon = user ? strchr(user, ':') : NULL;

	if (!user || !*user)
		return false;
	if (!colon)
		return true; /* a number's group is looked up as well */
	return strspn(user, "0123456789") != (size_t)(colon - user) || colon == user ||
	       !is_number(colon + 1);
}

static int resolve_user(int rootfd, const char *user, bool with_group, struct arena *a,
    struct spec_user *u, struct err *e)
{
	struct passwd_line p;
	int r;

	if (is_number(user)) {
		if (parse_id(user, &u->uid) < 0)
			return err_set(e, ERANGE, "user %s: no user ID is larger than %u",
			    json_quote(a, user), ID_MAX);
		if (with_group)
			return 0;
		r = find_user(rootfd, NULL, u->uid, a, &p, e);
		if (r > 0)
			u->gid = p.gid;
		return r < 0 ? r : 0;
	}
	r = find_user(rootfd, user, 0, a, &p, e);
	if (r < 0)
		return r;
	if (r == 0)
		return err_set(
		    e, ENOENT, "user %s: not in the image's /etc/passwd", json_quote(a, user));
	u->uid = p.uid;
	u->gid = p.gid;
	return with_group ? 0 : member_groups(rootfd, user, a, u, e);
}

int image_user_resolve(
    int rootfd, const char *user, struct arena *a, struct spec_user *ret, struct err *e)
{
	const char *colon = user ? strchr(user, ':') : NULL;
	struct spec_user u = { 0 };
	const char *name, *group;
	int r;

	if (!user || !*user) {
		*ret = u;
		return 0;
	}
	name = colon ? arena_strndup(a, user, (size_t)(colon - user)) : user;
	group = colon ? colon + 1 : NULL;
	if (!*name || (group && !*group))
		return err_set(e, EINVAL, "user %s: must be USER, UID, USER:GROUP or UID:GID",
		    json_quote(a, user));
	r = resolve_user(rootfd, name, group != NULL, a, &u, e);
	if (r < 0)
		return r;
	if (group && is_number(group) && parse_id(group, &u.gid) < 0)
		return err_set(e, ERANGE, "group %s: no group ID is larger than %u",
		    json_quote(a, group), ID_MAX);
	if (group && !is_number(group) && (r = find_group(rootfd, group, a, &u.gid, e)) < 0)
		return r;
	*ret = u;
	return 0;
}
