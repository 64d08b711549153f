/* An epoll(7) loop: one for the monitor's main thread, one for each device worker. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct loop;
typedef void (*loop_fn)(void *arg, uint32_t events);

int loop_new(struct loop **ret, struct err *e);
void loop_free(struct loop *l); /* closes nothing but its own; accepts NULL */
/* Level-triggered. fd stays the caller's; one entry per fd. */
int loop_add(struct loop *l, int fd, uint32_t events, loop_fn fn, void *arg, struct err *e);
int loop_change(struct loop *l, int fd, uint32_t events, struct err *e);
/* Also from inside a callback: the removed one is not called again. */
void loop_remove(struct loop *l, int fd);
/* Runs callbacks until loop_stop(). */
int loop_run(struct loop *l, struct err *e);
/* From any thread. */
void loop_stop(struct loop *l);
/* Runs fn once on the loop's thread, from any thread. */
int loop_post(struct loop *l, void (*fn)(void *arg), void *arg);
