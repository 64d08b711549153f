/* The resources of `update --resources`. */
#include "spec/spec.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	_cleanup_arena_ struct arena *a = arena_new();
	struct spec_resources res = { 0 };
	int r = spec_parse_resources(a, "resources.json", (const char *)data, size, &res, &e);
	must_be_consistent(r, &e);
	if (r < 0)
		return 0;
	/* Names in unified become file names in the container's cgroup. */
	for (size_t i = 0; i < res.unified.n; i++)
		MUST(strchr(res.unified.v[i].key, '/') == NULL);
	return 0;
}
