/* What linux.cgroupsPath means to systemd: units, slices and their directories. */
#include <stdio.h>

#include "cgroups/systemd.h"

#define UNIT_MAX 255 /* with the suffix; systemd's limit, and that of a directory's name */
#define LETTERS	 "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
#define VALID	 LETTERS ":-_.\\@"

void sd_place_free(struct sd_place *p)
{
	free(steal_ptr(p->slice));
	free(steal_ptr(p->unit));
}

/* Why systemd would not take it as a unit's name, or NULL. */
static const char *bad_unit(const char *name, const char *suffix)
{
	size_t len = strlen(name), stem = len - strlen(suffix);

	if (len > UNIT_MAX)
		return "longer than 255 bytes";
	if (name[strspn(name, VALID)])
		return "only letters, digits and :-_.\\@ may be in a unit's name";
	if (name[0] == '.' || name[0] == '@')
		return "a unit's name cannot start with \".\" or \"@\"";
	if (stem && name[stem - 1] == '@')
		return "a unit's name cannot end with \"@\", which is a template";
	return NULL;
}

static const char *bad_slice(const char *s)
{
	size_t stem;

	if (!endswith(s, ".slice"))
		return "must end in \".slice\"";
	stem = strlen(s) - strlen(".slice");
	if (stem == 0)
		return "has nothing before \".slice\"";
	if (streq(s, "-.slice"))
		return NULL;
	if (s[0] == '-' || s[stem - 1] == '-' || strstr(s, "--"))
		return "a dash stands between the names of two nested slices: there is none at the "
		       "start, at the end or beside another one";
	return bad_unit(s, ".slice");
}

/* An ID may have characters that a unit's name must not: as systemd-escape(1) writes them. */
static char *escape_id(const char *id)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };

	for (; *id; id++) {
		if (strchr(LETTERS "-_.", *id))
			strbuf_addn(&b, id, 1);
		else
			strbuf_addf(&b, "\\x%02x", (unsigned char)*id);
	}
	return strbuf_steal(&b);
}

static int split(const char *text, char *part[3], struct err *e)
{
	char *second = strchr(text, ':'), *third = second ? strchr(second + 1, ':') : NULL;

	if (!third || strchr(third + 1, ':'))
		return err_set(e, EINVAL,
		    "with the systemd cgroup manager it is SLICE:PREFIX:NAME, for example "
		    "\"system.slice:bailey:web\"");
	part[0] = xstrndup(text, (size_t)(second - text));
	part[1] = xstrndup(second + 1, (size_t)(third - second - 1));
	part[2] = xstrdup(third + 1);
	return 0;
}

static int check_place(const struct sd_place *p, const char *name, struct err *e)
{
	const char *why = bad_slice(p->slice);

	if (why)
		return err_set(e, EINVAL, "bad slice name \"%s\": %s", p->slice, why);
	if (!*name)
		return err_set(e, EINVAL, "the name after the second \":\" is empty");
	if (endswith(name, ".slice"))
		return err_set(e, EINVAL,
		    "\"%s\" is a slice, which holds other units and no processes: give it before "
		    "the first \":\"",
		    name);
	why = bad_unit(p->unit, ".scope");
	return why ? err_set(e, EINVAL, "bad unit name \"%s\": %s", p->unit, why) : 0;
}

int sd_parse_place(
    const char *cgroups_path, const char *id, bool user, struct sd_place *ret, struct err *e)
{
	_cleanup_place_ struct sd_place p = { 0 };
	char *part[3] = { NULL };
	int r = 0;

	if (cgroups_path && *cgroups_path)
		r = split(cgroups_path, part, e);
	else
		part[0] = xstrdup(""), part[1] = xstrdup("bailey"), part[2] = escape_id(id);
	if (r == 0) {
		p.slice = xstrdup(*part[0] ? part[0] : user ? "user.slice" : "system.slice");
		p.unit = xasprintf("%s%s%s.scope", part[1], *part[1] ? "-" : "", part[2]);
		r = check_place(&p, part[2], e);
	}
	for (int i = 0; i < 3; i++)
		free(part[i]);
	if (r < 0)
		return err_wrap(
		    e, "config.json: .linux.cgroupsPath: \"%s\"", cgroups_path ? cgroups_path : "");
	*ret = p;
	p = (struct sd_place){ 0 };
	return 0;
}

char *sd_slice_path(const char *slice)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	size_t stem = strlen(slice) - strlen(".slice");

	for (size_t i = 0; i <= stem && !streq(slice, "-.slice"); i++) {
		if (i == stem || slice[i] == '-')
			strbuf_addf(&b, "/%.*s.slice", (int)i, slice);
	}
	return strbuf_steal(&b);
}

char *sd_unit_dir(const char *unit)
{
	return xasprintf("%s%s", unit[0] == '_' ? "_" : "", unit);
}

const char *sd_unit_of(const char *path)
{
	const char *base = strrchr(path, '/');

	base = base ? base + 1 : path;
	return *base == '_' ? base + 1 : base;
}
