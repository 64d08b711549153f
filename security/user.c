/* The user of the process: groups, IDs and umask, in the order that loses no right too early. */
#include <grp.h>
#include <sys/capability.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "security/security.h"

#define UMASK_DEFAULT 0022

static bool has_setgid(void)
{
	cap_t c = cap_get_proc();
	cap_flag_value_t v = CAP_CLEAR;

	if (!c)
		return false;
	cap_get_flag(c, CAP_SETGID, CAP_EFFECTIVE, &v);
	cap_free(c);
	return v == CAP_SET;
}

/*
 * A user namespace that an unprivileged user mapped alone denies setgroups(2) to everybody in it.
 * Only then may the caller's groups stay: the namespace shows them as the overflow group, and a
 * process that could have dropped them must not keep them.
 */
static int groups_apply(const struct spec_user *u, struct err *e)
{
	_Static_assert(sizeof(gid_t) == sizeof(*u->additional_gids.v), "gid_t is 32 bits wide");
	size_t n = u->additional_gids.n;

	if (setgroups(n, u->additional_gids.v) == 0)
		return 0;
	switch (errno) {
	case EINVAL:
		return err_set(e, EINVAL,
		    ".process.user.additionalGids: %zu groups: one is not mapped in the user "
		    "namespace, or they are too many",
		    n);
	case EPERM:
		if (!has_setgid())
			return err_set(
			    e, EPERM, ".process.user.additionalGids: setgroups needs CAP_SETGID");
		if (n > 0)
			return err_set(e, EPERM,
			    ".process.user.additionalGids: setgroups is denied in this user "
			    "namespace (its mapping must be written by newgidmap or by root)");
		log_debug("setgroups is denied in this user namespace: groups stay");
		return 0;
	default:
		return err_errno(e, errno, ".process.user.additionalGids: setgroups");
	}
}

static int id_error(const char *what, uint32_t id, struct err *e)
{
	if (errno == EINVAL)
		return err_set(e, EINVAL,
		    ".process.user.%s: %u: not mapped in the user namespace (see "
		    ".linux.%sMappings)",
		    what, id, what);
	return err_errno(e, errno, ".process.user.%s: %u", what, id);
}

int user_apply(const struct spec_user *u, struct err *e)
{
	/* -1 tells setresuid(2) to change nothing: the process would stay root. */
	if (u->uid == UINT32_MAX || u->gid == UINT32_MAX)
		return err_set(e, EINVAL, ".process.user.%s: 4294967295: not a valid ID",
		    u->uid == UINT32_MAX ? "uid" : "gid");
	/* Before setresuid, which would empty the permitted set. */
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return err_errno(e, errno, "prctl PR_SET_KEEPCAPS");
	if (groups_apply(u, e) < 0)
		return -e->code;
	if (setresgid(u->gid, u->gid, u->gid) < 0)
		return id_error("gid", u->gid, e);
	if (setresuid(u->uid, u->uid, u->uid) < 0)
		return id_error("uid", u->uid, e);
	umask(u->umask.set ? u->umask.v : UMASK_DEFAULT);
	return 0;
}
