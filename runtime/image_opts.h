/* The options that run and bundle share: what of an image's configuration is to be otherwise. */
#pragma once
#include "runtime/image_remote.h"
#include "runtime/image_work.h"

struct image_opts {
	const char *platform, *store;
	const char *user, *cwd, *hostname;
	char **env, **entrypoint;
	bool tty;
	struct remote_opts remote;
};

/* T: the verb's struct; F: its struct image_opts. */
/* clang-format off */
#define IMAGE_OPTS(T, F) \
	{ "platform", 0, OPT_STR, offsetof(T, F.platform), "PLATFORM", PLATFORM_HELP, 0, 0 }, \
	{ "store", 0, OPT_STR, offsetof(T, F.store), "DIR", STORE_HELP, 0, 0 }, \
	REMOTE_OPTS(T, F.remote), \
	{ "tty", 't', OPT_FLAG, offsetof(T, F.tty), NULL, "give the image's process a terminal", 0, 0 }, \
	{ "user", 'u', OPT_STR, offsetof(T, F.user), "USER[:GROUP]", "whom the image's process runs as: names of its passwd and group, or numbers", 0, 0 }, \
	{ "env", 'e', OPT_STRV, offsetof(T, F.env), "NAME[=VALUE]", "environment variable of the image's process (repeatable); NAME alone takes the image's away", 0, 0 }, \
	{ "cwd", 0, OPT_STR, offsetof(T, F.cwd), "DIR", "working directory of the image's process", 0, 0 }, \
	{ "entrypoint", 0, OPT_STRV, offsetof(T, F.entrypoint), "ARG", "instead of the image's entrypoint and command, an argument each time", 0, 0 }, \
	{ "hostname", 0, OPT_STR, offsetof(T, F.hostname), "NAME", "host name of the image's container, or of one with --network", 0, 0 }
/* clang-format on */

static inline struct image_run image_run_of(
    const struct image_opts *o, const struct image_ids *ids, char **command)
{
	return (struct image_run){
		.command = command && *command ? command : NULL,
		.entrypoint = o->entrypoint,
		.env = o->env,
		.user = o->user,
		.cwd = o->cwd,
		.hostname = o->hostname,
		.terminal = o->tty,
		.rootless = ids->rootless,
		.uids = ids->uids,
		.gids = ids->gids,
	};
}
