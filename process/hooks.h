/* OCI hooks (config.md#posix-platform-hooks), run in the namespaces of whoever calls. */
#pragma once
#include "base/err.h"
#include "process/payload.h"
#include "spec/spec.h"

/* Runs the hooks of one kind in order with the container's state on their standard input and
 * nothing but their own environment. as: a prepared payload, for hooks that are the image's
 * programs and so run with no more rights than it (payload_confine()); NULL: with the caller's.
 * The first that fails, times out (it is killed) or cannot be executed ends the row; the error
 * names ".hooks.prestart[0]", how it ended and what it printed. */
int hooks_run(const struct spec *s, enum spec_hook_kind kind, const struct spec_state *state,
    const struct payload *as, struct err *e);
