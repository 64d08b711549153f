/* process.json of `exec --process`. */
#include "spec/spec.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct err e = ERR_INIT;
	_cleanup_arena_ struct arena *a = arena_new();
	struct spec_process p = { 0 };
	int r = spec_parse_process(a, "process.json", (const char *)data, size, &p, &e);
	must_be_consistent(r, &e);
	if (r < 0)
		return 0;
	MUST(p.args.n > 0);
	for (size_t i = 0; i < p.args.n; i++)
		MUST(p.args.v[i]);
	MUST(p.args.v[p.args.n] == NULL);
	MUST(p.cwd && p.cwd[0] == '/');
	return 0;
}
