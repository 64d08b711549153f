/*
 * What a bundle says to systemd: cgroupsPath, annotations and the values of unified. The first byte
 * chooses, the rest is the text. What is accepted must be a message that D-Bus can carry.
 */
#include "base/str.h"
#include "cgroups/systemd.h"
#include "tests/fuzz/fuzz.h"

static void place(const char *s)
{
	struct sd_place p = { 0 };
	struct err e = ERR_INIT;
	int r = sd_parse_place(s, "id", false, &p, &e);

	must_be_consistent(r, &e);
	if (r == 0) {
		char *path = sd_slice_path(p.slice), *dir = sd_unit_dir(p.unit);

		MUST(endswith(p.slice, ".slice") && endswith(p.unit, ".scope"));
		MUST(!strchr(p.slice, '/') && !strchr(p.unit, '/') && strlen(p.unit) <= 255);
		MUST(streq(sd_unit_of(dir), p.unit));
		MUST(streq(p.slice, "-.slice") ? !*path : endswith(path, p.slice));
		MUST(!strstr(path, "//") && !strstr(path, "/-"));
		free(path);
		free(dir);
	}
	sd_place_free(&p);
}

/* A basic type, a struct of them, or an array of either; as many values as that takes. */
static void check(const struct sd_props *props)
{
	static const char basic[] = "bynqiuxtdsog";

	for (size_t i = 0; i < props->n; i++) {
		const struct sd_prop *p = &props->v[i];
		bool array = *p->sig == 'a';
		const char *t = p->sig + array;
		size_t each = 1;

		if (*t == '(') {
			each = strlen(t) - 2;
			MUST(array && each > 0 && t[each + 1] == ')');
			MUST(strspn(t + 1, basic) == each);
		} else {
			MUST(*t && strchr(basic, *t) && !t[1]);
		}
		MUST(array ? p->n % each == 0 : p->n == 1);
	}
}

static void annotation(const char *s)
{
	struct spec_kv kv = { "org.systemd.property.TimeoutStopSec", s };
	struct spec_map m = { &kv, 1 };

	for (int i = 0; i < 2; i++, kv.key = "org.systemd.property.Abc") {
		struct sd_props p = { 0 };
		struct err e = ERR_INIT;
		int r = sd_props_from_annotations(&p, &m, &e);

		must_be_consistent(r, &e);
		if (r == 0)
			check(&p);
		sd_props_free(&p);
	}
}

static void unified(const char *s)
{
	static const char *const files[] = { "cpu.max", "cpuset.cpus", "io.max", "io.weight",
		"memory.max" };

	for (size_t i = 0; i < ARRAY_SIZE(files); i++) {
		struct cg_plan plan = { 0 };
		struct sd_props p = { 0 };
		struct err e = ERR_INIT;
		int r;

		cg_plan_add(&plan, (struct cg_write){ .json = "x", .file = files[i], .value = s });
		r = sd_props_from_plan(&p, &plan, -EBADF, 255, &e);
		must_be_consistent(r, &e);
		if (r == 0)
			check(&p);
		sd_props_free(&p);
		cg_plan_free(&plan);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *s = size ? fuzz_string(data + 1, size - 1) : NULL;

	if (size)
		(*data == 'p' ? place : *data == 'u' ? unified : annotation)(s);
	free(s);
	return 0;
}
