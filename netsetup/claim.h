/*
 * Who has what: names in a directory that are symbolic links to nowhere, "INODE:DETAIL:DIR", DIR
 * being the owner's state directory and INODE that directory's. symlink(2) makes name and owner in
 * one step and fails when the name is taken, so neither a lock nor a crash can come between. An
 * owner without that directory is dead: `delete` would have released what it had.
 */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* Opens NET_RUN/INODE of the calling process's network namespace, made where missing. */
int run_open(int *ret, struct err *e);
/* Its INODE. */
int run_inode(uint64_t *ret, struct err *e);
/* Opens another namespace's, if there is one: -ENOENT. */
int run_open_of(uint64_t inode, int *ret, struct err *e);
/* flock(2) of its lock, exclusive; closing *ret releases it. */
int run_lock(int run, int *ret, struct err *e);
/* Opens or makes the directory path below run. Raw -errno. */
int run_dir(int run, const char *path);

/* The owner's text for the state directory dir; the caller frees. */
char *claim_owner(const char *dir, int dirfd, const char *detail);
/* Takes name for owner. A dead owner's claim is taken over, under run's lock. -EEXIST: taken by
 * *ret_dir (caller frees). Raw -errno. */
int claim_take(int run, int dirfd, const char *name, const char *owner, char **ret_dir);
/* Gives name back if it belongs to dir, whichever the detail. Raw -errno; none is 0. */
int claim_release(int dirfd, const char *name, const char *dir);
/* Does name belong to dir? */
bool claim_is(int dirfd, const char *name, const char *dir);
/* Gives back all that belongs to dir. */
int claim_release_all(int dirfd, const char *dir);
/* Calls fn for each claim of a living owner; stops at its first failure. */
typedef int (*claim_fn)(void *ctx, const char *name, const char *detail, const char *dir);
int claim_each(int dirfd, claim_fn fn, void *ctx);
