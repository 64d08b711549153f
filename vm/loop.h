/* An epoll(7) loop: one for the monitor's main thread, one for each device worker. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct loop;
typedef void (*loop_fn)(void *arg, uint32_t events);

int loop_new(struct loop **ret, struct err *e);
/* Closes nothing but its own; what was posted and not yet run is dropped. Accepts NULL. */
void loop_free(struct loop *l);

/* These three belong to the loop's thread (and to whoever sets it up before it runs). */

/* Level-triggered. fd stays the caller's; one entry per fd, to be removed before it is closed. */
int loop_add(struct loop *l, int fd, uint32_t events, loop_fn fn, void *arg, struct err *e);
int loop_change(struct loop *l, int fd, uint32_t events, struct err *e);
/* Also from inside a callback: the removed one is not called again. No entry: nothing to do. */
void loop_remove(struct loop *l, int fd);

/* Runs callbacks until loop_stop(), which may have come before. */
int loop_run(struct loop *l, struct err *e);
/* One round: waits at most timeout_ms (-1: for ever) and runs what is due. Returns whether anything
 * was, or -errno. */
int loop_once(struct loop *l, int timeout_ms, struct err *e);
/* From any thread. */
void loop_stop(struct loop *l);
/* Runs fn once on the loop's thread, from any thread; in the order of posting. Returns 0. */
int loop_post(struct loop *l, void (*fn)(void *arg), void *arg);
