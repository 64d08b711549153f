/*
 * A directory of files that can be made again: what is in it was made by this user and nobody else
 * can write to it, so it is trusted as the program is.
 *
 * A file appears under its name whole or not at all. Concurrent makers wait for one another by
 * flock(2), so one of them makes it; a maker that is killed leaves at most one unfinished file,
 * which the next one overwrites.
 */
#pragma once
#include <stdbool.h>

#include "base/err.h"

struct cache {
	int fd; /* -EBADF: there is none */
	char *path;
};
#define CACHE_NONE           \
	{                    \
		.fd = -EBADF \
	}

/* Opens, and makes where it is missing: dir if that is given, else /var/cache/bailey or, rootless,
 * $XDG_CACHE_HOME/bailey or $HOME/.cache/bailey. No place that can be made or read leaves
 * CACHE_NONE: 0. A directory of somebody else's, or that others may write to, is -EPERM. */
int cache_open(const char *dir, bool rootless, struct cache *ret, struct err *e);
void cache_close(struct cache *c); /* accepts CACHE_NONE */
#define _cleanup_cache_ __attribute__((cleanup(cache_close)))

/* The file, O_RDONLY; -ENOENT if it is not there or not to be trusted. Raw -errno. */
int cache_get(const struct cache *c, const char *name);

/* Writes the whole file to fd; path is for messages. */
typedef int (*cache_fill)(int fd, const char *path, void *arg, struct err *e);
/* cache_get(), or makes the file first. The oldest files with the same name up to the first "-" go,
 * so that CACHE_KEEP remain. Errors of fill with its code; -EROFS, -EACCES, -ENOSPC, -EBUSY
 * (another maker does not end) … when the cache cannot be written to. */
int cache_make(const struct cache *c, const char *name, cache_fill fill, void *arg, int *ret_fd,
    struct err *e);
#define CACHE_KEEP 8
