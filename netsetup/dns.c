#include "netsetup/dns.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/str.h"

#define HOST_FILE  "/etc/resolv.conf"
#define RESOLVED   "/run/systemd/resolve/resolv.conf" /* what systemd-resolved asks itself */
#define RESOLV_MAX (64 * 1024)

/* The address of a line "nameserver ADDRESS[%SCOPE]". */
static bool nameserver(const char *line, struct ip *ret)
{
	const char *p = startswith(line, "nameserver");
	_cleanup_free_ char *addr = NULL;

	if (!p || (*p != ' ' && *p != '\t'))
		return false;
	p += strspn(p, " \t");
	addr = xstrndup(p, strcspn(p, " \t%/"));
	return ip_parse(addr, ret) == 0;
}

char *dns_filter(const char *text, bool *ret_resolved)
{
	_cleanup_strv_ char **lines = strv_split(text, '\n');
	_cleanup_strbuf_ struct strbuf b = { 0 };

	*ret_resolved = false;
	for (char **l = lines; *l; l++) {
		struct ip a;

		if (nameserver(*l, &a) && ip_is_loopback(&a)) {
			*ret_resolved |=
			    a.family == AF_INET && a.b[2] == 0 && (a.b[3] == 53 || a.b[3] == 54);
			continue;
		}
		strbuf_addf(&b, "%s\n", *l);
	}
	return strbuf_steal(&b);
}

static int host_text(char **ret, struct err *e)
{
	_cleanup_free_ char *text = NULL, *real = NULL, *kept = NULL;
	struct err missing = ERR_INIT;
	bool resolved;
	int r = file_read(AT_FDCWD, HOST_FILE, RESOLV_MAX, &text, NULL, &missing);

	if (r == -ENOENT) {
		*ret = xstrdup("");
		return 0;
	}
	if (r < 0) {
		*e = missing;
		return r;
	}
	kept = dns_filter(text, &resolved);
	r = resolved ? file_read(AT_FDCWD, RESOLVED, RESOLV_MAX, &real, NULL, &missing) : -ENOENT;
	if (r < 0 && r != -ENOENT) {
		*e = missing;
		return r;
	}
	if (r == 0) {
		free(kept);
		kept = dns_filter(real, &resolved);
	}
	if (!strstr(kept, "nameserver"))
		log_debug(
		    "net: the host has no nameserver that a container can reach: --dns gives one");
	*ret = steal_ptr(kept);
	return 0;
}

static int write_text(int dirfd, const char *name, const char *text, struct err *e)
{
	return file_replace(dirfd, name, text, strlen(text), 0644, true, e);
}

static int write_resolv(const struct net_request *q, int dirfd, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	_cleanup_free_ char *text = NULL;
	int r = 0;

	if (q->dns && *q->dns) {
		for (char *const *v = q->dns; *v; v++)
			strbuf_addf(&b, "nameserver %s\n", *v);
		text = strbuf_steal(&b);
	} else if (q->kind == NET_HOST) { /* where the host's loopback is its own */
		struct err missing = ERR_INIT;

		r = file_read(AT_FDCWD, HOST_FILE, RESOLV_MAX, &text, NULL, &missing);
		if (r == -ENOENT) {
			text = xstrdup("");
			r = 0;
		} else if (r < 0) {
			*e = missing;
		}
	} else {
		r = host_text(&text, e);
	}
	return r < 0 ? r : write_text(dirfd, DNS_RESOLV, text, e);
}

static int write_hosts(const struct net_request *q, int dirfd, const struct ip *ip4,
    const struct ip *ip6, struct err *e)
{
	_cleanup_strbuf_ struct strbuf b = { 0 };
	char text[IP_TEXT];

	strbuf_add(&b, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
	for (char *const *v = q->hosts; v && *v; v++) {
		const char *colon = strchr(*v, ':');

		strbuf_addf(&b, "%s\t%.*s\n", colon + 1, (int)(colon - *v), *v);
	}
	if (ip4->family)
		strbuf_addf(&b, "%s\t%s\n", ip_text(ip4, false, text), q->hostname);
	if (ip6->family)
		strbuf_addf(&b, "%s\t%s\n", ip_text(ip6, false, text), q->hostname);
	if (!ip4->family && !ip6->family)
		strbuf_addf(&b, "127.0.1.1\t%s\n", q->hostname);
	return write_text(dirfd, DNS_HOSTS, b.s, e);
}

int dns_write(const struct net_request *q, int dirfd, const struct ip *ip4, const struct ip *ip6,
    struct err *e)
{
	_cleanup_free_ char *name = xasprintf("%s\n", q->hostname);
	int r = write_resolv(q, dirfd, e);

	if (r == 0)
		r = write_hosts(q, dirfd, ip4, ip6, e);
	return r < 0 ? r : write_text(dirfd, DNS_NAME, name, e);
}
