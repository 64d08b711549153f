/* config.json, from the bytes to everything that `create` derives from it before a kernel call. */
#include "namespaces/namespaces.h"
#include "spec/spec.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	_cleanup_spec_ struct spec *s = NULL;
	int r = spec_parse("config.json", "/bundle", (const char *)data, size, &s, &e);
	must_be_consistent(r, &e);
	if (r < 0) {
		MUST(s == NULL);
		return 0;
	}

	struct err plan_err = ERR_INIT;
	_cleanup_mount_plan_ struct mount_plan *plan = NULL;
	must_be_consistent(mount_plan_new(s, &plan, &plan_err), &plan_err);

	struct err sysctl_err = ERR_INIT;
	must_be_consistent(sysctl_check(s, &sysctl_err), &sysctl_err);

	const struct spec_state st = { .id = "fuzz",
		.status = "created",
		.bundle = s->bundle,
		.rootfs = s->root.path,
		.annotations = &s->annotations };
	char *state = spec_state_json(&st, true);
	struct arena *a = arena_new();
	const struct json *j = NULL;
	struct err json_err = ERR_INIT;
	MUST(json_parse(a, "state", state, strlen(state), &j, &json_err) == 0);
	arena_free(a);
	free(state);
	return 0;
}
