/*
 * Memory. Running out of it aborts the process: every stage of a container's life is guarded by
 * its parent's death signal and handshake, so an abort fails closed (docs/adr/0003).
 *
 * An arena owns everything that lives as long as one parsed document: config.json's structs, their
 * strings and arrays are freed by one arena_free().
 */
#pragma once
#include <stdarg.h>
#include <stddef.h>

void *xmalloc(size_t n);
void *xcalloc(size_t n, size_t size); /* zeroed; aborts on overflow too */
void *xrealloc(void *p, size_t n);
char *xstrdup(const char *s);
char *xstrndup(const char *s, size_t n);
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
char *xvasprintf(const char *fmt, va_list ap) __attribute__((format(printf, 1, 0)));

struct arena;
struct arena *arena_new(void);
void arena_free(struct arena *a); /* accepts NULL */
static inline void arena_freep(struct arena **a)
{
	arena_free(*a);
}
#define _cleanup_arena_ __attribute__((cleanup(arena_freep)))

/* Zeroed, aligned for any type; lives until arena_free. */
void *arena_alloc(struct arena *a, size_t n);
void *arena_calloc(struct arena *a, size_t n, size_t size);
char *arena_strdup(struct arena *a, const char *s);
char *arena_strndup(struct arena *a, const char *s, size_t n);
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
