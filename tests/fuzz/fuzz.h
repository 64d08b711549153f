/*
 * What the fuzz targets share. Each target defines LLVMFuzzerTestOneInput(); libFuzzer drives it in
 * `make fuzz`, replay.c runs it over the corpus in `make check`.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/err.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A property that must hold for every input. */
#define MUST(cond)                                                                               \
	do {                                                                                     \
		if (!(cond)) {                                                                   \
			fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #cond); \
			abort();                                                                 \
		}                                                                                \
	} while (0)

/* The contract of every function with a struct err: 0 and no error, or -code and a one-line text.
 */
static inline void must_be_consistent(int r, const struct err *e)
{
	if (r >= 0) {
		MUST(e->code == 0);
		return;
	}
	MUST(e->code == -r);
	MUST(e->msg[0] != '\0');
	MUST(memchr(e->msg, '\0', sizeof(e->msg)) != NULL);
	MUST(strchr(e->msg, '\n') == NULL);
}

/* data as a string; the caller frees. A NUL inside ends it early, as it does on a command line. */
static inline char *fuzz_string(const uint8_t *data, size_t size)
{
	char *s = malloc(size + 1);
	if (!s)
		abort();
	memcpy(s, data, size);
	s[size] = '\0';
	return s;
}
