/* The session keyring: a container must not see its caller's keys. */
#include <linux/keyctl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "security/security.h"

#define KEY_USR_SEARCH 0x00080000u /* key(7): the owner may find it */

static long keyctl(int op, unsigned long a, unsigned long b, unsigned long c)
{
	return syscall(SYS_keyctl, op, a, b, c, 0);
}

/* "type;uid;gid;perm;description" */
static int keyring_permissions(long id, unsigned *ret)
{
	char text[512], *field = text;
	long n = keyctl(KEYCTL_DESCRIBE, (unsigned long)id, (unsigned long)text, sizeof(text) - 1);

	if (n < 0)
		return -errno;
	text[n < (long)sizeof(text) ? n : (long)sizeof(text) - 1] = '\0';
	for (int i = 0; i < 3; i++) {
		field = strchr(field, ';');
		if (!field)
			return -EBADMSG;
		field++;
	}
	*ret = (unsigned)strtoul(field, NULL, 16);
	return 0;
}

static int join_error(int code, const char *name, struct err *e)
{
	switch (code) {
	case EDQUOT:
		return err_set(e, EDQUOT,
		    "session keyring \"%s\": the user has too many keys (raise kernel.keys.maxkeys "
		    "and maxbytes, or use --no-new-keyring)",
		    name);
	case EPERM:
		return err_set(e, EPERM,
		    "session keyring \"%s\": keyctl is not permitted here (use --no-new-keyring "
		    "inside a container that filters it)",
		    name);
	default:
		return err_errno(e, code, "session keyring \"%s\": join", name);
	}
}

int keyring_join(const char *name, struct err *e)
{
	/* Names that begin with a dot are the kernel's; no container's ID has a colon. */
	_cleanup_free_ char *own = xasprintf("%s%s", *name == '.' ? ":" : "", name);
	long id = keyctl(KEYCTL_JOIN_SESSION_KEYRING, (unsigned long)own, 0, 0);
	unsigned perm;
	int r;

	if (id < 0 && errno == ENOSYS) {
		log_debug("this kernel has no keyrings");
		return 0;
	}
	if (id < 0)
		return join_error(errno, name, e);
	/* Without it a second process of the container would get a keyring of its own. */
	r = keyring_permissions(id, &perm);
	if (r == 0 && !(perm & KEY_USR_SEARCH) &&
	    keyctl(KEYCTL_SETPERM, (unsigned long)id, perm | KEY_USR_SEARCH, 0) < 0)
		r = -errno;
	return r < 0 ? err_errno(e, -r, "session keyring \"%s\": permissions", name) : 0;
}
