/* auth.json, as several programs write it. */
#include "base/alloc.h"
#include "base/log.h"
#include "images/auth.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena *a = arena_new();
	struct credentials c = { 0 };
	struct err e = ERR_INIT;
	const struct json *doc;
	char *s = fuzz_string(data, size);
	int r = json_parse(a, "auth.json", (const char *)data, size, &doc, &e);

	log_mute();
	must_be_consistent(r, &e);
	if (r == 0) {
		r = auth_file_find(a, "auth.json", doc, "h", "ns/name", &c, &e);
		must_be_consistent(r, &e);
		MUST(r <= 0 || c.user || c.identity_token);
		if (c.user) {
			const char *header = credentials_basic(a, &c);

			MUST(*c.user && !strchr(c.user, ':') && !strpbrk(header, "\r\n"));
		}
	}
	e = (struct err)ERR_INIT;
	must_be_consistent(credentials_parse(a, s, &c, &e), &e);
	free(s);
	arena_free(a);
	return 0;
}
