/* Small grammars of the command line. Strict: no blanks, no signs, nothing behind the value;
 * outputs untouched on failure. */
#pragma once
#include <stdint.h>

#include "spec/spec.h"

/* "UID" or "UID:GID", decimal; 4294967295, which the kernel reads as "unchanged", is refused.
 * Without GID, gid->set is false. Returns 0, -EINVAL or -ERANGE. */
int parse_user_spec(const char *s, uint32_t *uid, struct opt_u32 *gid);
/* A Go duration, "5s", "1m30s", "500ms", "1.5h", or "0"; not negative. Returns 0, -EINVAL, or
 * -ERANGE above 292 years. */
int parse_duration(const char *s, int64_t *ret_ns);
