/* An engine's profile for unprivileged containers. */
#include <fcntl.h>
#include <time.h>

#include "base/json.h"
#include "tests/unit/security/seccomp_ask.h"
#include "tests/unit/security/seccomp_reference.h"

#define ENGINE_PROFILE "/usr/share/containers/seccomp.json"
#define RULES_MAX      128

static bool lists(const struct json *node, const char *key, const char *what)
{
	const struct json *list = node ? json_get(node, key) : NULL;

	if (list && list->type == JSON_ARRAY)
		json_foreach (it, list)
			if (streq(it->s, what))
				return true;
	return false;
}

static bool has_list(const struct json *node, const char *key)
{
	const struct json *list = node ? json_get(node, key) : NULL;

	return list && list->type == JSON_ARRAY && list->len > 0;
}

/* For an unprivileged container on x86-64, as engines select. */
static bool selected(const struct json *rule)
{
	const struct json *in = json_get(rule, "includes"), *ex = json_get(rule, "excludes");

	if (has_list(in, "arches") && !lists(in, "arches", "amd64"))
		return false;
	return !lists(ex, "arches", "amd64") && !has_list(in, "caps");
}

static uint64_t number(const struct json *object, const char *key)
{
	const struct json *v = json_get(object, key);

	return v ? (uint64_t)v->i : 0;
}

static enum spec_seccomp_action action_of(const char *name)
{
	return streq(name, "SCMP_ACT_ALLOW") ? SECCOMP_ALLOW : SECCOMP_ERRNO;
}

static void convert_rule(struct arena *a, const struct json *in, struct spec_seccomp_rule *out)
{
	const struct json *names = json_get(in, "names"), *args = json_get(in, "args");
	const struct json *value = json_get(in, "errnoRet");
	size_t i = 0;

	out->action = action_of(json_get(in, "action")->s);
	if (value && value->type == JSON_INT)
		out->errno_ret = (struct opt_u32){ true, (uint32_t)value->i };
	out->names.v = arena_calloc(a, names->len + 1, sizeof(char *));
	json_foreach (n, names)
		out->names.v[out->names.n++] = (char *)n->s;
	if (!args || args->type != JSON_ARRAY || args->len == 0)
		return;
	out->args.v = arena_calloc(a, args->len, sizeof(*out->args.v));
	out->args.n = args->len;
	json_foreach (arg, args) {
		const char *op = json_get(arg, "op")->s;

		out->args.v[i++] =
		    (struct spec_seccomp_arg){ .index = (uint32_t)number(arg, "index"),
			    .value = number(arg, "value"),
			    .value_two = number(arg, "valueTwo"),
			    .op = streq(op, "SCMP_CMP_EQ")   ? CMP_EQ
				  : streq(op, "SCMP_CMP_NE") ? CMP_NE
							     : CMP_MASKED_EQ };
	}
}

/* NULL: not installed. */
static struct spec_seccomp *engine_profile(struct arena *a)
{
	struct spec_seccomp *s = arena_alloc(a, sizeof(*s));
	const struct json *doc;
	struct err e = ERR_INIT;

	if (json_parse_file(a, AT_FDCWD, ENGINE_PROFILE, &doc, &e) < 0)
		return NULL;
	*s = profile(action_of(json_get(doc, "defaultAction")->s),
	    arena_calloc(a, RULES_MAX, sizeof(*s->rules.v)), 0);
	if (json_get(doc, "defaultErrnoRet"))
		s->default_errno_ret =
		    (struct opt_u32){ true, (uint32_t)number(doc, "defaultErrnoRet") };
	json_foreach (rule, json_get(doc, "syscalls"))
		if (selected(rule) && s->rules.n < RULES_MAX)
			convert_rule(a, rule, &s->rules.v[s->rules.n++]);
	s->archs.v = arena_calloc(a, 4, sizeof(char *));
	s->archs.v[0] = "SCMP_ARCH_X86_64";
	s->archs.v[1] = "SCMP_ARCH_X86";
	s->archs.v[2] = "SCMP_ARCH_X32";
	s->archs.n = 3;
	return s;
}

static double now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static unsigned compare_all(
    const struct seccomp_prog *p, const struct seccomp_prog *ref, uint32_t arch, uint32_t base)
{
	static const uint64_t values[] = { 0, 1, 8, 9, 0x20000, 0x20008, 0xffffffff, 16, 40,
		0x100000009, 0x100000010, 0x7e020000, 0x10000000, UINT64_MAX };
	unsigned differ = 0;

	/* The first number is -1. */
	for (uint32_t nr = base - 1; nr != base + 601; nr++)
		for (size_t i = 0; i < ARRAY_SIZE(values) * ARRAY_SIZE(values); i++) {
			uint64_t v = values[i % ARRAY_SIZE(values)];
			uint64_t w = values[i / ARRAY_SIZE(values)];
			const uint64_t args[6] = { v, w, w, w, w, w };
			uint32_t got = ask_args(p, arch, nr, args);
			uint32_t want = ask_args(ref, arch, nr, args);

			/* Newer than the profile: ours says ENOSYS, by design. */
			if (got != want && !(got == RET_ERRNO(ENOSYS) && nr - base > 430)) {
				printf("# arch %#x nr %#x value %#llx: %#x, reference %#x\n", arch,
				    nr, (unsigned long long)v, got, want);
				differ++;
			}
		}
	return differ;
}

TEST(engine_profile_decides_as_libseccomp_does)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_seccomp_ struct seccomp_prog p = { 0 }, ref = { 0 };
	struct spec_seccomp *s = engine_profile(a);
	double start, took;

	if (!s || skip_unless_x86_64()) {
		printf("# SKIP no " ENGINE_PROFILE "\n");
		return;
	}
	start = now_ms();
	compile(s, &p);
	took = now_ms() - start;
	CHECK_INT(reference(s, &ref), 0);
	printf("# %zu rules: %zu instructions in %.2f ms; libseccomp alone %zu\n", s->rules.n, p.n,
	    took, ref.n);
	CHECK_INT(compare_all(&p, &ref, X64, 0), 0);
	CHECK_INT(compare_all(&p, &ref, I386, 0), 0);
	CHECK_INT(compare_all(&p, &ref, X64, X32), 0);
	CHECK_INT(compare_all(&p, &ref, AUDIT_ARCH_AARCH64, 0), 0);
	/* The same with a default that is not ENOSYS, so that the head is in play. */
	seccomp_prog_free(&p);
	seccomp_prog_free(&ref);
	s->default_errno_ret = (struct opt_u32){ true, 99 };
	compile(s, &p);
	CHECK_INT(reference(s, &ref), 0);
	CHECK_INT(compare_all(&p, &ref, X64, 0), 0);
	CHECK_INT(compare_all(&p, &ref, I386, 0), 0);
	CHECK_INT(compare_all(&p, &ref, X64, X32), 0);
}

/* A large profile must not cost a chain of comparisons. */
TEST(large_profiles_get_a_tree)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_seccomp_ struct seccomp_prog p = { 0 };
	struct spec_seccomp *s = engine_profile(a);
	unsigned worst = 0, steps;

	if (!s || skip_unless_x86_64()) {
		printf("# SKIP no " ENGINE_PROFILE "\n");
		return;
	}
	compile(s, &p);
	for (uint32_t nr = 0; nr < 450; nr++) {
		struct seccomp_data d = { .nr = (int)nr, .arch = X64 };

		bpf_sim(p.insns, p.n, &d, &steps);
		worst = steps > worst ? steps : worst;
	}
	printf("# worst path: %u instructions\n", worst);
	CHECK(worst < 30);
}

TEST_MAIN(T(engine_profile_decides_as_libseccomp_does), T(large_profiles_get_a_tree))
