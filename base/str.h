/* Strings: a growing buffer, string vectors, and strict number parsing. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/err.h"

static inline bool streq(const char *a, const char *b)
{
	return strcmp(a, b) == 0;
}
/* Returns what follows prefix in s, or NULL. */
static inline const char *startswith(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);
	return strncmp(s, prefix, n) == 0 ? s + n : NULL;
}
bool endswith(const char *s, const char *suffix);

/* A growing, always NUL-terminated buffer. Start with `struct strbuf b = { 0 };`. */
struct strbuf {
	char *s; /* NULL while empty */
	size_t len, cap;
};
void strbuf_add(struct strbuf *b, const char *s);
void strbuf_addn(struct strbuf *b, const char *s, size_t n);
void strbuf_addf(struct strbuf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
char *strbuf_steal(struct strbuf *b); /* never NULL; caller frees; b is empty again */
void strbuf_free(struct strbuf *b);
#define _cleanup_strbuf_ __attribute__((cleanup(strbuf_free)))

/* NULL-terminated vectors of heap strings. */
void strv_push(char ***v, char *owned); /* takes ownership of owned */
size_t strv_len(char *const *v);	/* NULL counts as empty */
bool strv_contains(char *const *v, const char *s);
char **strv_split(const char *s, char sep); /* caller frees; empty fields are dropped */
void strv_free(char **v);
static inline void strv_freep(char ***v)
{
	strv_free(*v);
}
#define _cleanup_strv_ __attribute__((cleanup(strv_freep)))

/* Whole-string decimal numbers: no sign unless negative is allowed, no blanks, no trailing text,
 * no overflow. Return 0, -EINVAL or -ERANGE; *ret untouched on failure. */
int parse_u64(const char *s, uint64_t *ret);
int parse_i64(const char *s, int64_t *ret);
int parse_u32(const char *s, uint32_t *ret);
int parse_i32(const char *s, int32_t *ret);
int parse_int_range(const char *s, int64_t min, int64_t max, int64_t *ret);
int parse_octal(const char *s, uint32_t max, uint32_t *ret); /* "0755" or "755" */
/* Bytes with an optional suffix b, k, m, g, t (powers of 1024, either case, "kb"/"kib" too); -1
 * where allow_minus_one. */
int parse_size(const char *s, bool allow_minus_one, int64_t *ret);

/* Signal by number, "TERM" or "SIGTERM", "RTMIN+1"; returns the number (1..64) or -EINVAL. */
int parse_signal(const char *s);

/* RFC 3339 in UTC with nanoseconds, e.g. 2024-01-02T03:04:05.123456789Z; from 1970 on. */
void format_rfc3339(char buf[40], const struct timespec *t);
void format_rfc3339_now(char buf[40]);
