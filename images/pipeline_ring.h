/*
 * A bounded ring of buffers between threads: one writes, one or several read, each of them
 * everything. A buffer is written again when all have released it, so nothing is copied.
 *
 * A reader that has seen enough leaves (ring_leave) and no longer holds the writer up; a ring
 * without readers takes everything and waits for nobody. ring_abort ends both sides.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define RING_READERS 2

struct ring;
struct ring *ring_new(size_t slots, size_t slot_size, unsigned readers);
void ring_free(struct ring *r); /* accepts NULL; no thread may use it any more */

/* ---- the writer ---- */
/* A buffer of slot_size bytes; waits for one. NULL: aborted. */
void *ring_write_begin(struct ring *r);
void ring_write_end(struct ring *r, size_t n); /* n bytes of it are valid; 0 gives it back */
void ring_write_close(struct ring *r);	       /* nothing follows */

/* ---- a reader, by its number from 0 ---- */
/* The next buffer, until ring_release(): 1; 0: the end; -ECANCELED: aborted. */
int ring_read(struct ring *r, unsigned reader, const void **p, size_t *n);
void ring_release(struct ring *r, unsigned reader);
void ring_leave(struct ring *r, unsigned reader);

void ring_abort(struct ring *r);
