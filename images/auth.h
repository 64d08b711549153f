/*
 * Whom a registry knows us as: --creds, or containers-auth.json(5), which skopeo, podman, buildah
 * and docker login write. Private to images/.
 */
#pragma once
#include <stdbool.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"

#define AUTH_FILE_MAX (1024u * 1024)

struct credentials {
	const char *user, *password;
	const char *identity_token; /* in their place; NULL: none */
	const char *from;	    /* "--creds", or the file; for messages */
};

/* "USER:PASSWORD". -EINVAL; the message does not repeat it. */
int credentials_parse(struct arena *a, const char *s, struct credentials *ret, struct err *e);
/* "Basic …" (RFC 7617), in the arena. */
const char *credentials_basic(struct arena *a, const struct credentials *c);

/* The entry of an auth.json for host and the longest beginning of path, in whole parts, that it
 * has; older files' URLs ("https://index.docker.io/v1/") count as hosts. name: the file's, for
 * messages. 1: found; 0: nothing there; -EINVAL. */
int auth_file_find(struct arena *a, const char *name, const struct json *doc, const char *host,
    const char *path, struct credentials *ret, struct err *e);

/* The same in authfile, where it must be there, or with NULL in the first of these that has an
 * entry: $REGISTRY_AUTH_FILE (alone, if set), $XDG_RUNTIME_DIR/containers/auth.json (without the
 * variable /run/containers/UID/auth.json), $XDG_CONFIG_HOME or ~/.config/containers/auth.json,
 * $DOCKER_CONFIG or ~/.docker/config.json. */
int auth_find(struct arena *a, const char *authfile, const char *host, const char *path,
    struct credentials *ret, struct err *e);
