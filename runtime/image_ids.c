/* Which ids an ordinary user may give away: its own, and those of /etc/subuid and /etc/subgid. */
#include <fcntl.h>
#include <pwd.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"
#include "runtime/image_work.h"
#include "runtime/lifecycle.h"

#define SUBID_MAX  (1024u * 1024)
#define RANGES_MAX 8

int image_is_rootless(bool *ret, struct err *e)
{
	if (geteuid() != 0) {
		*ret = true;
		return 0;
	}
	return runtime_in_user_namespace(ret, e);
}

static void add(struct spec_id_maps *m, uint32_t inside, uint32_t outside, uint32_t count)
{
	if (m->n < RANGES_MAX && count)
		m->v[m->n++] = (struct spec_id_map){ inside, outside, count };
}

/* Lines "who:start:count"; who is the user's name or number. */
static void add_sub_ids(struct spec_id_maps *m, char *text, const char *name)
{
	_cleanup_free_ char *number = xasprintf("%u", geteuid());
	uint32_t next = 1;
	char *save;

	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		_cleanup_strv_ char **f = strv_split(l, ':');
		uint32_t start, count;

		if (strv_len(f) != 3 || (!streq(f[0], number) && !(name && streq(f[0], name))) ||
		    parse_u32(f[1], &start) < 0 || parse_u32(f[2], &count) < 0 ||
		    start > UINT32_MAX - count || next > UINT32_MAX - count)
			continue;
		add(m, next, start, count);
		next += count;
	}
}

static void from_sub_ids(struct spec_id_maps *m, uint32_t own, const char *path, const char *name)
{
	_cleanup_free_ char *text = NULL;
	struct err missing = ERR_INIT;

	add(m, 0, own, 1);
	if (file_read(AT_FDCWD, path, SUBID_MAX, &text, NULL, &missing) < 0)
		log_debug("%s: one id alone", missing.msg);
	else
		add_sub_ids(m, text, name);
}

/* In a user namespace already: all that it maps, as it is. */
static int from_own_map(struct spec_id_maps *m, const char *path, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	char *save;
	int r = file_read(AT_FDCWD, path, SUBID_MAX, &text, NULL, e);

	if (r < 0)
		return r;
	for (char *l = strtok_r(text, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		_cleanup_strv_ char **f = strv_split(l, ' ');
		uint32_t inside, count;

		if (strv_len(f) == 3 && parse_u32(f[0], &inside) == 0 &&
		    parse_u32(f[2], &count) == 0)
			add(m, inside, inside, count);
	}
	return 0;
}

int image_ids(struct image_ids *ret, struct err *e)
{
	_cleanup_image_ids_ struct image_ids ids = { .arena = arena_new() };
	struct passwd *pw;
	int r = image_is_rootless(&ids.rootless, e);

	if (r < 0)
		return r;
	ids.uids.v = arena_calloc(ids.arena, RANGES_MAX, sizeof(*ids.uids.v));
	ids.gids.v = arena_calloc(ids.arena, RANGES_MAX, sizeof(*ids.gids.v));
	if (ids.rootless && geteuid() == 0) {
		if ((r = from_own_map(&ids.uids, "/proc/self/uid_map", e)) < 0 ||
		    (r = from_own_map(&ids.gids, "/proc/self/gid_map", e)) < 0)
			return r;
	} else if (ids.rootless) {
		pw = getpwuid(geteuid());
		from_sub_ids(&ids.uids, geteuid(), "/etc/subuid", pw ? pw->pw_name : NULL);
		from_sub_ids(&ids.gids, getegid(), "/etc/subgid", pw ? pw->pw_name : NULL);
	}
	*ret = ids;
	ids.arena = NULL;
	return 0;
}

void image_ids_free(struct image_ids *i)
{
	arena_free(i->arena);
	i->arena = NULL;
}
