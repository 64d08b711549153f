#include <seccomp.h>
#include <stdio.h>

#include "security/security.h"

const char *seccomp_library_version(char buf[SECCOMP_VERSION_MAX])
{
	const struct scmp_version *v = seccomp_version();

	if (v)
		snprintf(buf, SECCOMP_VERSION_MAX, "%u.%u.%u", v->major, v->minor, v->micro);
	else
		snprintf(buf, SECCOMP_VERSION_MAX, "unknown");
	return buf;
}
