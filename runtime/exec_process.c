/* The process that exec runs, from config.json, the flags and the arguments. */
#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "process/inside.h"
#include "runtime/exec.h"
#include "runtime/values.h"

static void set_strv(struct arena *a, struct spec_strv *v, char *const *more, bool append)
{
	size_t old = append ? v->n : 0, n = strv_len(more);
	char **all = arena_calloc(a, old + n + 1, sizeof(char *));

	for (size_t i = 0; i < old; i++)
		all[i] = v->v[i];
	for (size_t i = 0; i < n; i++)
		all[old + i] = arena_strdup(a, more[i]);
	*v = (struct spec_strv){ .v = all, .n = old + n };
}

static int set_user(struct spec_process *p, const char *text, struct err *e)
{
	struct opt_u32 gid = { 0 };
	uint32_t uid;

	if (parse_user_spec(text, &uid, &gid) < 0)
		return err_set(e, EINVAL, "--user \"%s\": must be UID or UID:GID, numbers", text);
	p->user.uid = uid;
	if (gid.set)
		p->user.gid = gid.v;
	return 0;
}

/* Never inheritable: what the payload executes must not gain by file capabilities (CVE-2022-29162).
 */
static int add_caps(struct spec_process *p, char *const *names, struct err *e)
{
	for (; names && *names; names++) {
		int cap = spec_cap_parse(*names);

		if (cap < 0)
			return err_set(e, EINVAL, "--cap \"%s\": unknown capability", *names);
		p->caps.has = true;
		p->caps.bounding |= 1ULL << cap;
		p->caps.permitted |= 1ULL << cap;
		p->caps.effective |= 1ULL << cap;
	}
	return 0;
}

static int add_gids(struct arena *a, struct spec_process *p, char *const *list, struct err *e)
{
	size_t n = strv_len(list), old = p->user.additional_gids.n;
	uint32_t *all = arena_calloc(a, old + n, sizeof(*all));

	for (size_t i = 0; i < old; i++)
		all[i] = p->user.additional_gids.v[i];
	for (size_t i = 0; i < n; i++)
		if (parse_u32(list[i], &all[old + i]) < 0 || all[old + i] == UINT32_MAX)
			return err_set(
			    e, EINVAL, "--additional-gids \"%s\": not a group id", list[i]);
	p->user.additional_gids.v = all;
	p->user.additional_gids.n = old + n;
	return 0;
}

static int check_env(char *const *env, struct err *e)
{
	for (; env && *env; env++)
		if (!strchr(*env, '=') || **env == '=')
			return err_set(e, EINVAL, "--env \"%s\": must be NAME=VALUE", *env);
	return 0;
}

static int apply_flags(
    struct arena *a, const struct exec_opts *o, struct spec_process *p, struct err *e)
{
	int r;

	if ((o->user && (r = set_user(p, o->user, e)) < 0) || (r = add_caps(p, o->caps, e)) < 0 ||
	    (r = add_gids(a, p, o->additional_gids, e)) < 0 || (r = check_env(o->env, e)) < 0)
		return r;
	if (o->cwd) {
		if (*o->cwd != '/')
			return err_set(e, EINVAL, "--cwd \"%s\": must be an absolute path", o->cwd);
		p->cwd = o->cwd;
	}
	if (o->apparmor)
		p->apparmor_profile = o->apparmor;
	if (o->process_label)
		p->selinux_label = o->process_label;
	if (o->no_new_privs)
		p->no_new_privileges = true;
	set_strv(a, &p->env, o->env, true);
	return 0;
}

int exec_process(struct arena *a, const struct spec *s, const struct exec_opts *o, char **args,
    struct spec_process *ret, struct err *e)
{
	struct spec_process p = s->process;
	int r;

	if (o->process) {
		if (*args)
			return err_set(
			    e, EINVAL, "--process is given: no command may follow the container");
		r = spec_load_process(a, o->process, &p, e);
		if (r < 0)
			return r;
		inside_inherit(&s->process, &p);
		p.terminal |= o->tty;
	} else {
		if (!*args)
			return err_set(e, EINVAL, "a command, or --process FILE, is needed");
		set_strv(a, &p.args, args, false);
		p.terminal = o->tty;
		p.console_size.set = false;
	}
	r = apply_flags(a, o, &p, e);
	if (r == 0)
		*ret = p;
	return r;
}
