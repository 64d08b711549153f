/* newuidmap(1), newgidmap(1): set-uid programs that write the mappings /etc/subuid grants. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "spec/spec.h"

/* Runs new[ug]idmap for pid from a fixed list of directories with an empty environment. json: the
 * property's path for messages. The error holds what the helper printed and the first id that
 * /etc/sub[ug]id does not grant. */
int newidmap_run(
    bool group, const char *json, pid_t pid, const struct spec_id_maps *m, struct err *e);

/* The first id of m that neither is own nor lies in one of text's lines "who:start:count", who
 * being name or the number own_uid. Returns false when all are granted. */
bool subid_first_missing(const char *text, const char *name, uint32_t own_uid, uint32_t own,
    const struct spec_id_maps *m, uint32_t *ret);
