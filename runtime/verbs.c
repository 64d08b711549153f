#include "runtime/verbs.h"

#include "base/str.h"

const struct verb *const verbs[] = {
	&verb_create,
	&verb_start,
	&verb_run,
	&verb_exec,
	&verb_kill,
	&verb_delete,
	&verb_state,
	&verb_list,
	&verb_ps,
	&verb_pause,
	&verb_resume,
	&verb_update,
	&verb_events,
	&verb_spec,
	&verb_pull,
	&verb_images,
	&verb_bundle,
	&verb_rmi,
	&verb_prune,
	&verb_network,
	&verb_features,
	&verb_help,
	NULL,
};

const struct verb *verb_find(const char *name)
{
	for (const struct verb *const *v = verbs; *v; v++)
		if (streq((*v)->name, name))
			return *v;
	return NULL;
}
