/* A seccomp profile as it stands in linux.seccomp, parsed and compiled to BPF; and asked about,
 * where the model of the unit tests knows the answer. */
#include <linux/audit.h>

#include "base/str.h"
#include "security/security.h"
#include "spec/spec.h"
#include "tests/fuzz/fuzz.h"
#include "tests/unit/security/bpf_sim.h"
#include "tests/unit/security/seccomp_model.h"

static const char head[] =
    "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"r\"},"
    "\"process\":{\"cwd\":\"/\",\"args\":[\"a\"],\"user\":{\"uid\":0,\"gid\":0}},"
    "\"linux\":{\"namespaces\":[{\"type\":\"mount\"}],\"seccomp\":";

/* The model has room, and no rules can contradict each other: all say the same. */
static bool is_modelled(const struct spec_seccomp *s)
{
	uint32_t def = reference_action(s->default_action, &s->default_errno_ret), seen = def;

	if (s->rules.n > 64 || seccomp_arch_native() != SCMP_ARCH_X86_64)
		return false;
	for (size_t i = 0; i < s->rules.n; i++) {
		const struct spec_seccomp_rule *r = &s->rules.v[i];
		uint32_t action = reference_action(r->action, &r->errno_ret);

		if (r->names.n > 16 || r->args.n > 16 ||
		    (seen != def && action != def && seen != action))
			return false;
		seen = action != def ? action : seen;
	}
	return true;
}

static void ask(const struct spec_seccomp *s, const struct seccomp_prog *p, const struct model *m,
    uint32_t nr, uint32_t salt)
{
	struct seccomp_data d = { .nr = (int)nr, .arch = AUDIT_ARCH_X86_64 };
	struct model_remarks remarks;
	uint64_t args[6];
	unsigned steps;

	for (uint32_t i = 0; i < 6; i++) {
		const struct spec_seccomp_rule *r = &s->rules.v[(salt + i) % s->rules.n];

		args[i] = salt % 5;
		if (r->args.n)
			args[i] += r->args.v[salt % r->args.n].value - 2;
		d.args[i] = args[i];
	}
	MUST(bpf_sim(p->insns, p->n, &d, &steps) == model_ask(m, nr, args, &remarks));
}

static void compare(const struct spec_seccomp *s, const struct seccomp_prog *p)
{
	static struct model m;

	model_init(&m, s, SCMP_ARCH_X86_64, true);
	for (size_t i = 0; i < s->rules.n; i++)
		for (size_t j = 0; j < s->rules.v[i].names.n; j++)
			for (uint32_t salt = 0; salt < 10; salt++)
				if (m.names[i][j].nr != MODEL_NONE)
					ask(s, p, &m, m.names[i][j].nr + salt / 8, salt);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size > 16384)
		return 0;
	_cleanup_strbuf_ struct strbuf b = { 0 };
	strbuf_add(&b, head);
	strbuf_addn(&b, (const char *)data, size);
	strbuf_add(&b, "}}");

	struct err e = ERR_INIT;
	_cleanup_spec_ struct spec *s = NULL;
	if (spec_parse("config.json", "/bundle", b.s, b.len, &s, &e) < 0 || !s->seccomp.has)
		return 0;
	_cleanup_seccomp_ struct seccomp_prog p = { 0 };
	int r = seccomp_compile(&s->seccomp, &p, &e);
	must_be_consistent(r, &e);
	MUST(r < 0 || (p.n > 0 && p.insns));
	if (r == 0 && is_modelled(&s->seccomp))
		compare(&s->seccomp, &p);
	return 0;
}
