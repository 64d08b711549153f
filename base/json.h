/*
 * JSON, the one module that knows yajl.
 *
 * Reading: a document becomes a read-only tree in an arena. Input is capped in size
 * (JSON_MAX_SIZE), depth (JSON_MAX_DEPTH) and node count; invalid UTF-8, NUL inside strings,
 * duplicate keys, trailing text and numbers that fit neither int64, uint64 nor double are errors.
 * Every node knows its path
 * (".linux.namespaces[2].type") for messages.
 *
 * Writing: a thin generator over yajl_gen that cannot produce invalid JSON.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "base/err.h"

#define JSON_MAX_SIZE  (16u * 1024 * 1024)
#define JSON_MAX_DEPTH 64
#define JSON_MAX_NODES 1000000u

enum json_type {
	JSON_NULL,
	JSON_BOOL,
	JSON_INT,
	JSON_UINT,
	JSON_DOUBLE,
	JSON_STRING,
	JSON_ARRAY,
	JSON_OBJECT
};

struct json {
	enum json_type type;
	const char *key;	   /* in an object: its name; else NULL */
	const struct json *parent; /* for json_path */
	const struct json *next;   /* next element or member */
	union {
		bool b;
		int64_t i;		  /* JSON_INT: whole numbers that fit int64 */
		uint64_t u;		  /* JSON_UINT: whole numbers above INT64_MAX */
		double d;		  /* JSON_DOUBLE */
		const char *s;		  /* JSON_STRING, UTF-8, no NUL inside */
		const struct json *child; /* JSON_ARRAY, JSON_OBJECT: first, in document order */
	};
	size_t len; /* elements or members; bytes of a string */
};

#define json_foreach(it, node) for (const struct json *it = (node)->child; it; it = it->next)

/* Parses buf[0..n). name: the file's name (or "standard input") for messages, which also carry line
 * and column. The tree and its strings live in a. */
int json_parse(struct arena *a, const char *name, const char *buf, size_t n,
    const struct json **ret, struct err *e);
/* Reads path below dirfd ("-" is standard input) and parses it. */
int json_parse_file(
    struct arena *a, int dirfd, const char *path, const struct json **ret, struct err *e);
const struct json *json_get(const struct json *object, const char *key); /* NULL: absent */
/* ".a.b[1]", in the arena; "." for the root. */
const char *json_path(struct arena *a, const struct json *node);
const char *json_type_name(enum json_type t);

/* s in double quotes with control bytes escaped and long text cut, for messages; in the arena. */
const char *json_quote(struct arena *a, const char *s);
/* Bytes of the well-formed UTF-8 sequence (RFC 3629) at s, which has n bytes left; 0: malformed. */
size_t utf8_seq_len(const char *s, size_t n);

/* Generator. Calls nest: json_gen_map(g); json_gen_key(g, "k"); json_gen_str(g, "v");
 * json_gen_end(g). Misuse (a value where a key is due, an infinite number, text asked for before
 * the last json_gen_end) is a defect of the caller and aborts. */
struct json_gen;
struct json_gen *json_gen_new(bool pretty); /* pretty: two blanks per level */
void json_gen_free(struct json_gen *g);
static inline void json_gen_freep(struct json_gen **g)
{
	json_gen_free(*g);
}
#define _cleanup_json_gen_ __attribute__((cleanup(json_gen_freep)))
void json_gen_map(struct json_gen *g);
void json_gen_array(struct json_gen *g);
void json_gen_end(struct json_gen *g); /* of the innermost map or array */
void json_gen_key(struct json_gen *g, const char *k);
void json_gen_str(struct json_gen *g, const char *s); /* NULL: null; invalid UTF-8 is replaced */
void json_gen_int(struct json_gen *g, int64_t v);
void json_gen_uint(struct json_gen *g, uint64_t v);
void json_gen_double(struct json_gen *g, double v);
void json_gen_bool(struct json_gen *g, bool v);
void json_gen_null(struct json_gen *g);
void json_gen_node(struct json_gen *g, const struct json *node); /* a parsed tree, as it was */
/* key + value in one */
void json_gen_kstr(struct json_gen *g, const char *k, const char *v);
void json_gen_kint(struct json_gen *g, const char *k, int64_t v);
void json_gen_kuint(struct json_gen *g, const char *k, uint64_t v);
void json_gen_kbool(struct json_gen *g, const char *k, bool v);
void json_gen_kstrv(struct json_gen *g, const char *k, char *const *v); /* array of strings */
/* The text, owned by g until json_gen_free; ends without newline. */
const char *json_gen_text(struct json_gen *g, size_t *ret_len);
