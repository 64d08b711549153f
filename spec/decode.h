/*
 * Decoding JSON into structs by tables; for spec/, and for images/, whose documents are decoded
 * alike.
 *
 * A table describes one JSON object: each row names a property, what it is and where it goes.
 * Adding a property is one row. A row's kind says which C type the offset points at.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "spec/spec.h"
#include "spec/tables.h"

struct dec {
	struct arena *a;
	const char *name; /* of the file, for messages */
	bool warn; /* tell of deprecated forms: only when a bundle is read for the first time */
	struct err *e;
};

enum kind {
	K_BOOL,	    /* bool */
	K_OPT_BOOL, /* struct opt_bool */
	K_U16,	    /* uint16_t */
	K_I32,
	K_U32,
	K_U64,
	K_OPT_I32, /* struct opt_i32 … */
	K_OPT_U32,
	K_OPT_I64,
	K_OPT_U64,
	K_STR,	  /* const char *; "" is as good as absent */
	K_STRV,	  /* struct spec_strv */
	K_MAP,	  /* struct spec_map */
	K_ENUM,	  /* int or an enum; names */
	K_BITS,	  /* uint64_t: the OR of an array of names */
	K_BITS32, /* uint32_t or int */
	K_CAPS,	  /* uint64_t: bit N for the Nth of an array of names */
	K_OBJECT, /* a struct at the offset; table */
	K_LIST,	  /* struct { T *v; size_t n; }; table for T */
	K_DICT,	  /* the same from an object; table->key_off takes the names */
	K_NODE,	  /* const struct json * */
	K_CUSTOM, /* fn */
};

struct table;
struct field {
	const char *name;
	enum kind kind;
	size_t off;
	bool required;
	int64_t min; /* with max: narrower than the C type; both 0: the type's own range */
	uint64_t max;
	const struct table *table;
	const struct spec_names *names;
	/* K_CUSTOM: decodes. Others: a check once the value is in place (out: the field). */
	int (*fn)(struct dec *d, const struct json *node, void *out);
};

struct table {
	const struct field *fields;
	size_t n;
	size_t size;	/* of an element, for K_LIST and K_DICT */
	size_t key_off; /* K_DICT: const char * that takes the name */
	bool has;	/* the struct tells whether the object was there: the bool at has_off */
	size_t has_off;
	bool closed; /* names are data: an unknown one is an error */
	int (*check)(struct dec *d, const struct json *node, void *obj); /* after all fields */
};
#define TABLE(f, ...)                                          \
	{                                                      \
		.fields = f, .n = ARRAY_SIZE(f), ##__VA_ARGS__ \
	}

/* Fills obj (zeroed by the caller) from node. */
int decode_object(struct dec *d, const struct json *node, const struct table *t, void *obj);

/* "FILE: PATH: message" */
int dec_fail(struct dec *d, const struct json *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* "FILE: PATH: VALUE: message", for scalars */
int dec_bad(struct dec *d, const struct json *node, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* "FILE: PATH.KEY: required property is missing" */
int dec_missing(struct dec *d, const struct json *object, const char *key);
/* As dec_fail, for a member that may be absent: the path is built, not looked up. */
int dec_fail_at(struct dec *d, const char *path, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* NULL where it is absent or null: a JSON null means "not set", as Go engines write it. */
const struct json *dec_get(const struct json *object, const char *key);
/* 0 or "FILE: PATH: must be a string" … */
int dec_type(struct dec *d, const struct json *node, enum json_type want);
int dec_str(struct dec *d, const struct json *node, const char **ret);
/* Of a negative number *ret is the two's complement. */
int dec_int(struct dec *d, const struct json *node, int64_t min, uint64_t max, uint64_t *ret);
int dec_name(struct dec *d, const struct json *node, const struct spec_names *names, uint64_t *ret);

/* Checks for a row's fn. */
int check_absolute(struct dec *d, const struct json *node, void *str);
int check_absolutes(struct dec *d, const struct json *node, void *strv);
int check_cpu_list(struct dec *d, const struct json *node, void *str);

/* The tables. */
extern const struct table process_table;   /* struct spec_process */
extern const struct table resources_table; /* struct spec_resources */
extern const struct table seccomp_table;   /* struct spec_seccomp */
extern const struct table linux_table;	   /* struct spec */
extern const struct table id_map_table;	   /* struct spec_id_map */
extern const struct table config_table;	   /* struct spec */

/* Decodes without validate_spec(). On success *ret owns d->a. */
int spec_decode(struct dec *d, const struct json *root, const char *bundle, struct spec **ret);

/* What holds across properties, and refusals of what is known and not executed; after decoding.
 * root: the object that was decoded. */
int validate_process(struct dec *d, const struct json *root, const struct spec_process *p);
int validate_resources(struct dec *d, const struct json *root, const struct spec_resources *r);
int validate_spec(struct dec *d, const struct spec *s);
