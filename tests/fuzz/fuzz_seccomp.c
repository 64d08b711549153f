/* A seccomp profile as it stands in linux.seccomp, parsed and compiled to BPF. */
#include "base/str.h"
#include "security/security.h"
#include "spec/spec.h"
#include "tests/fuzz/fuzz.h"

static const char head[] =
    "{\"ociVersion\":\"1.0.2\",\"root\":{\"path\":\"r\"},"
    "\"process\":{\"cwd\":\"/\",\"args\":[\"a\"],\"user\":{\"uid\":0,\"gid\":0}},"
    "\"linux\":{\"namespaces\":[{\"type\":\"mount\"}],\"seccomp\":";

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
	return 0;
}
