#include <errno.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "namespaces/namespaces.h"

static int apply_name(const struct spec *s, const char *what, const char *value,
    int (*set)(const char *, size_t), struct err *e)
{
	if (!value)
		return 0;
	/* Without this line a missing namespace would rename the host. */
	if (!s->ns[NS_UTS].has)
		return err_set(e, EINVAL,
		    "config.json: .%s: \"%s\": needs a uts namespace in .linux.namespaces", what,
		    value);
	if (set(value, strlen(value)) < 0) {
		if (errno == EINVAL)
			return err_set(e, EINVAL, "config.json: .%s: \"%s\": longer than 64 bytes",
			    what, value);
		return err_errno(e, errno, "config.json: .%s: set \"%s\"", what, value);
	}
	return 0;
}

int uts_apply(const struct spec *s, struct err *e)
{
	int r = apply_name(s, "hostname", s->hostname, sethostname, e);

	return r < 0 ? r : apply_name(s, "domainname", s->domainname, setdomainname, e);
}
