/* The options that pull, run and bundle share: how a registry is to be met. */
#pragma once
#include "images/images.h"
#include "runtime/cli.h"
#include "spec/spec.h"

struct remote_opts {
	const char *authfile, *creds, *cert_dir;
	struct opt_bool tls_verify;
	struct opt_i64 timeout, retries;
};

/* T: the verb's struct; F: its struct remote_opts. */
/* clang-format off */
#define REMOTE_OPTS(T, F) \
	{ "authfile", 0, OPT_STR, offsetof(T, F.authfile), "FILE", "credentials for registries (default: $REGISTRY_AUTH_FILE, then where podman, skopeo and docker keep theirs)", 0, 0 }, \
	{ "creds", 0, OPT_STR, offsetof(T, F.creds), "USER:PASSWORD", "credentials for the registry; others on the machine can see them meanwhile", 0, 0 }, \
	{ "cert-dir", 0, OPT_STR, offsetof(T, F.cert_dir), "DIR", "*.crt: authorities beside the system's; *.cert, *.key: shown to the registry (default: /etc/containers/certs.d/HOST)", 0, 0 }, \
	{ "tls-verify", 0, OPT_OPT_BOOL, offsetof(T, F.tls_verify), NULL, "false: neither certificates nor TLS wanted, of a registry on a loopback address only", 0, 0 }, \
	{ "timeout", 0, OPT_INT, offsetof(T, F.timeout), "SECONDS", "how long a registry may be silent (30)", 1, 3600 }, \
	{ "retries", 0, OPT_INT, offsetof(T, F.retries), "N", "how often to try again what may go away by itself (5)", 0, 100 }
/* clang-format on */

static inline struct image_remote image_remote_of(const struct remote_opts *o)
{
	return (struct image_remote){
		.authfile = o->authfile,
		.creds = o->creds,
		.cert_dir = o->cert_dir,
		.insecure = o->tls_verify.set && !o->tls_verify.v,
		.timeout = o->timeout.set ? (unsigned)o->timeout.v : 0,
		.retries = o->retries.set ? (unsigned)o->retries.v : 0,
		.no_retries = o->retries.set && o->retries.v == 0,
	};
}
