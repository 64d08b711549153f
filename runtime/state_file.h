/* ROOT/ID/state.json: one table of what it holds, for writing (container_save) and reading. */
#pragma once
#include "runtime/container.h"

/* Fills in c. A missing file leaves it as it is: the creator died at once, nothing was made yet. A
 * file of another shape is an error that names the field: guessing would forget what is still
 * there. */
int state_file_load(struct container *c, struct err *e);
