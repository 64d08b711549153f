/* The verbs' own declarations, for the table in verbs.c and for verb_*.c. */
#pragma once
#include "runtime/cli.h"

extern const struct verb verb_create, verb_start, verb_run, verb_exec, verb_kill, verb_delete;
extern const struct verb verb_state, verb_list, verb_ps, verb_pause, verb_resume, verb_update;
extern const struct verb verb_events, verb_spec, verb_features, verb_help;
extern const struct verb verb_pull, verb_images, verb_rmi, verb_prune, verb_bundle, verb_network;
