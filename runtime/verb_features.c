#include "base/cleanup.h"
#include "runtime/verbs.h"
#include "runtime/vm_level.h"
#include "security/security.h"
#include "spec/spec.h"

static int run_features(const struct globals *g, void *opts, int argc, char **argv, struct err *e)
{
	_cleanup_free_ char *no_vm = vm_unavailable(g);
	_cleanup_free_ char *json = spec_features_json(seccomp_supported_flags(), no_vm);

	puts(json);
	return 0;
}

static const struct opt features_opts[] = { { 0 } };

const struct verb verb_features = {
	.name = "features",
	.args = "",
	.summary = "print what this runtime supports as JSON",
	.detail = "The features document of the OCI runtime specification, made from the tables "
		  "that decode config.json.",
	.opts = features_opts,
	.error_exit = 1,
	.run = run_features,
};
