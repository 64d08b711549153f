/* A thread with a loop of its own, for a device whose requests block. */
#pragma once
#include "base/err.h"
#include "vm/loop.h"

struct worker;
int worker_new(struct worker **ret, struct err *e);
/* What runs on it. */
struct loop *worker_loop(struct worker *w);
/* Starts the thread, all signals blocked, and runs prepare on it first; returns once that is done,
 * with its error. name: at most 15 bytes. prepare may be NULL. */
int worker_start(struct worker *w, const char *name, int (*prepare)(void *arg, struct err *e),
    void *arg, struct err *e);
/* Ends the loop's run and joins the thread; nothing to do when it does not run. */
void worker_stop(struct worker *w);
void worker_free(struct worker *w); /* stops it too; accepts NULL */
