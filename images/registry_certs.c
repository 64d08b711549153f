/*
 * Certificates for a registry, as containers-certs.d(5) has them: *.crt are authorities that count
 * beside the system's, a *.cert with its *.key is shown to the server.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "images/registry.h"

#define CERT_MAX (1024u * 1024)

static int compare(const void *x, const void *y)
{
	return strcmp(*(char *const *)x, *(char *const *)y);
}

/* Its names, sorted, so that two runs see the same. *ret NULL: it is not there. */
static int list(const char *dir, bool must, char ***ret, struct err *e)
{
	_cleanup_closedir_ DIR *d = opendir(dir);

	*ret = NULL;
	if (!d && errno == ENOENT && !must)
		return 0;
	if (!d)
		return err_errno(e, errno, "certificates: %s", dir);
	for (struct dirent *ent; (ent = readdir(d));)
		if (ent->d_name[0] != '.')
			strv_push(ret, xstrdup(ent->d_name));
	if (*ret)
		qsort(*ret, strv_len(*ret), sizeof(**ret), compare);
	return 0;
}

static int take_authority(const char *path, struct strbuf *ca, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	size_t n;
	int r = file_read(AT_FDCWD, path, CERT_MAX, &text, &n, e);

	if (r < 0)
		return err_wrap(e, "certificates");
	if (!strstr(text, "-----BEGIN "))
		return err_set(e, EINVAL, "certificates: %s: is not PEM", path);
	strbuf_add(ca, text);
	strbuf_add(ca, "\n");
	return 0;
}

static int take_dir(
    struct arena *a, const char *dir, bool must, struct http_tls *ret, struct err *e)
{
	_cleanup_strbuf_ struct strbuf ca = { 0 };
	_cleanup_strv_ char **names = NULL;
	int r = list(dir, must, &names, e);

	for (size_t i = 0; r == 0 && i < strv_len(names); i++) {
		const char *path = arena_printf(a, "%s/%s", dir, names[i]), *key;

		if (endswith(names[i], ".crt")) {
			r = take_authority(path, &ca, e);
		} else if (endswith(names[i], ".cert") && !ret->cert) {
			key = arena_printf(a, "%.*skey", (int)(strlen(path) - 4), path);
			if (access(key, R_OK) < 0)
				r = err_errno(e, errno, "certificates: %s has no %s", path, key);
			ret->cert = path;
			ret->key = key;
		}
	}
	if (r == 0 && ca.len)
		ret->ca = arena_strdup(a, ca.s);
	return r;
}

int registry_certs(
    struct arena *a, const char *dir, const struct url *u, struct http_tls *ret, struct err *e)
{
	static const char *const places[] = { "/etc/containers/certs.d", "/etc/docker/certs.d" };
	int r = 0;

	if (dir)
		return take_dir(a, dir, true, ret, e);
	for (size_t i = 0; r == 0 && i < ARRAY_SIZE(places); i++) {
		r = take_dir(
		    a, arena_printf(a, "%s/%s:%u", places[i], u->host, u->port), false, ret, e);
		if (r == 0 && !ret->ca && !ret->cert && u->port == 443)
			r = take_dir(
			    a, arena_printf(a, "%s/%s", places[i], u->host), false, ret, e);
		if (ret->ca || ret->cert)
			break;
	}
	return r;
}
