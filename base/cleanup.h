/*
 * Scope-bound ownership: `_cleanup_close_ int fd = -EBADF;` closes on every path out of the scope;
 * steal_fd()/steal_ptr() hand the resource on. All destructors accept the empty value.
 */
#pragma once
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(f) __attribute__((cleanup(f)))

/* Closes *fd if it is >= 0 and keeps errno. */
static inline void closep(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
	}
}
static inline void freep(void *p)
{
	free(*(void **)p);
}
static inline void fclosep(FILE **f)
{
	if (*f)
		fclose(*f);
}
static inline void closedirp(DIR **d)
{
	if (*d)
		closedir(*d);
}

#define _cleanup_close_	   _cleanup_(closep)
#define _cleanup_free_	   _cleanup_(freep)
#define _cleanup_fclose_   _cleanup_(fclosep)
#define _cleanup_closedir_ _cleanup_(closedirp)

/* Returns the descriptor and leaves -EBADF behind, so that the scope no longer closes it. */
static inline int steal_fd(int *fd)
{
	int r = *fd;
	*fd = -EBADF;
	return r;
}
#define steal_ptr(p)                   \
	({                             \
		__auto_type _p = &(p); \
		__auto_type _v = *_p;  \
		*_p = NULL;            \
		_v;                    \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
