/* Libraries that only some verbs need, by dlopen(3): `bailey state` never pays for them. */
#pragma once
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct loadlib_symbol {
	const char *name;
	void **to; /* the function pointer to fill in */
};
/* One per library, static in the file that uses it. */
struct loadlib {
	const char *soname; /* "libzstd.so.1" */
	const char *hint;   /* "Debian: libzstd1, for layers compressed with zstd" */
	const struct loadlib_symbol *symbols;
	size_t n;
	pthread_mutex_t lock;
	bool loaded;
};
#define LOADLIB_INIT(so, why, table)                                                       \
	{                                                                                  \
		.soname = (so), .hint = (why), .symbols = (table), .n = ARRAY_SIZE(table), \
		.lock = PTHREAD_MUTEX_INITIALIZER                                          \
	}

/* Loads it unless it is there already; from any thread. -ENOENT without the library, -ENOSYS when
 * it lacks a function. */
int loadlib(struct loadlib *l, struct err *e);
