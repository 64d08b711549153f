/* Mounts: input lines are, per mount after an empty line, destination, type, source, options. */
#include "base/str.h"
#include "namespaces/namespaces.h"
#include "spec/spec.h"
#include "tests/fuzz/fuzz.h"

static void gen_mount(struct json_gen *g, char *const *fields)
{
	static const char *const keys[] = { "destination", "type", "source" };
	size_t i = 0;
	json_gen_map(g);
	for (; i < 3 && fields[i]; i++)
		if (!streq(fields[i], "-"))
			json_gen_kstr(g, keys[i], fields[i]);
	if (fields[i])
		json_gen_kstrv(g, "options", fields + i);
	json_gen_end(g);
}

static void gen_config(struct json_gen *g, const char *input)
{
	json_gen_map(g);
	json_gen_kstr(g, "ociVersion", "1.2.0");
	json_gen_key(g, "root");
	json_gen_map(g);
	json_gen_kstr(g, "path", "rootfs");
	json_gen_end(g);
	json_gen_key(g, "mounts");
	json_gen_array(g);
	for (const char *p = input; *p;) {
		const char *end = strstr(p, "\n\n");
		size_t n = end ? (size_t)(end - p) : strlen(p);
		_cleanup_strbuf_ struct strbuf one = { 0 };
		strbuf_addn(&one, p, n);
		_cleanup_strv_ char **fields = one.s ? strv_split(one.s, '\n') : NULL;
		if (strv_len(fields))
			gen_mount(g, fields);
		p += n + (end ? 2 : 0);
	}
	json_gen_end(g);
	json_gen_end(g);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *input = fuzz_string(data, size);
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);
	gen_config(g, input);
	free(input);

	struct err e = ERR_INIT;
	size_t n;
	const char *text = json_gen_text(g, &n);
	_cleanup_spec_ struct spec *s = NULL;
	int r = spec_parse("config.json", "/bundle", text, n, &s, &e);
	must_be_consistent(r, &e);
	if (r < 0)
		return 0;
	_cleanup_mount_plan_ struct mount_plan *plan = NULL;
	r = mount_plan_new(s, &plan, &e);
	must_be_consistent(r, &e);
	MUST((r < 0) == (plan == NULL));
	return 0;
}
