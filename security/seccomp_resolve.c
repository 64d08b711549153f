/*
 * Names of system calls to numbers, for one architecture. libseccomp's tables are the authority.
 *
 * A call that an architecture does not have gets a negative number from libseccomp; no program can
 * make it, and the rule is of no use there.
 *
 * socketcall(2) and ipc(2) make a family of calls reachable by one number, with the member in the
 * first argument; x86 and others gave most members direct numbers later. libseccomp names a member
 * by a pseudo number, -100 - MEMBER or -200 - MEMBER, and so a rule for it means both: the member
 * by the multiplexer, where the rule's own condition on the first argument gives way to the member,
 * and the direct number, where there is one.
 */
#include <seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "security/seccomp_internal.h"

#define MEMBERS_MAX 32 /* of one family: socketcall has 20, ipc's numbers end at 24 */

/* x86's last ones. A member counts as the last of its family: the profile knows the family. */
#define LAST_DIRECT_SOCKET 373
#define LAST_DIRECT_IPC	   402

struct resolver {
	struct seccomp_arch *arch;
	size_t cap; /* of arch->calls */
	int last;   /* the highest number named so far */
	bool scanned;
	int direct[2][MEMBERS_MAX]; /* by family and member; -1: none */
};

static bool is_socket_member(int nr)
{
	return nr <= -101 && nr >= -120;
}

static bool is_ipc_member(int nr)
{
	return nr <= -201 && nr >= -224;
}

static bool is_member(int nr)
{
	return is_socket_member(nr) || is_ipc_member(nr);
}

/*
 * libseccomp answers with a direct number only to the opposite question: whose number is this? The
 * windows hold all direct numbers of their architecture and keep the search short.
 */
static void scan_direct(struct resolver *r)
{
	static const struct {
		uint32_t token;
		int first, last;
	} windows[] = {
		{ SCMP_ARCH_X86, 337, 402 },
		{ SCMP_ARCH_MIPS, 4168, 4402 },
		{ SCMP_ARCH_MIPSEL, 4168, 4402 },
	};
	int first = 0, last = 511;

	for (size_t i = 0; i < ARRAY_SIZE(windows); i++)
		if (windows[i].token == r->arch->token) {
			first = windows[i].first;
			last = windows[i].last;
		}
	memset(r->direct, -1, sizeof(r->direct));
	for (int nr = first; nr <= last; nr++) {
		_cleanup_free_ char *name = seccomp_syscall_resolve_num_arch(r->arch->token, nr);
		int member = name ? seccomp_syscall_resolve_name_arch(r->arch->token, name) : 0;

		if (is_member(member))
			r->direct[is_ipc_member(member)][-member % 100] = nr;
	}
	r->scanned = true;
}

static void name_number(struct resolver *r, int nr)
{
	if (nr > r->last)
		r->last = nr;
}

/* Numbers count as named even where the rule says what the default says. */
static void add(struct resolver *r, struct seccomp_call call)
{
	struct seccomp_arch *arch = r->arch;

	name_number(r, (int)call.nr);
	if (call.rule->skipped)
		return;
	if (arch->n_calls == r->cap) {
		r->cap = r->cap ? 2 * r->cap : 512;
		arch->calls = xrealloc(arch->calls, r->cap * sizeof(*arch->calls));
	}
	arch->calls[arch->n_calls++] = call;
}

static void add_member(struct resolver *r, int nr, struct seccomp_call call)
{
	int multiplexer = seccomp_syscall_resolve_name_rewrite(r->arch->token, call.name);
	int direct;

	name_number(r, is_ipc_member(nr) ? LAST_DIRECT_IPC : LAST_DIRECT_SOCKET);
	if (multiplexer < 0)
		return; /* the architecture has no such call */
	if (!r->scanned)
		scan_direct(r);
	call.member = true;
	direct = r->direct[is_ipc_member(nr)][-nr % 100];
	if (direct >= 0) {
		call.nr = (uint32_t)direct;
		add(r, call);
	}
	call.nr = (uint32_t)multiplexer;
	call.selector = (uint32_t)(-nr % 100);
	add(r, call);
}

static int by_key(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;

	return *x < *y ? -1 : *x > *y;
}

/* By number, and by the profile's order among equal ones. Keys of eight bytes are sorted in half
 * the time that the calls themselves would take. */
static void sort(struct seccomp_arch *arch)
{
	_cleanup_free_ uint64_t *keys = xcalloc(arch->n_calls + 1, sizeof(*keys));
	struct seccomp_call *sorted = xcalloc(arch->n_calls + 1, sizeof(*sorted));

	for (size_t i = 0; i < arch->n_calls; i++)
		keys[i] = (uint64_t)arch->calls[i].nr << 32 | i;
	qsort(keys, arch->n_calls, sizeof(*keys), by_key);
	for (size_t i = 0; i < arch->n_calls; i++)
		sorted[i] = arch->calls[(uint32_t)keys[i]];
	free(arch->calls);
	arch->calls = sorted;
}

void seccomp_resolve(const struct seccomp_profile *p, struct seccomp_arch *arch)
{
	struct resolver r = { .arch = arch, .last = -1 };
	bool native = arch->token == seccomp_arch_native();
	uint32_t order = 0;

	for (size_t i = 0; i < p->n_rules; i++) {
		const struct seccomp_rule *rule = &p->rules[i];

		for (size_t j = 0; j < rule->spec->names.n; j++) {
			const char *name = rule->spec->names.v[j];
			int nr = seccomp_syscall_resolve_name_arch(arch->token, name);
			struct seccomp_call call = {
				.nr = (uint32_t)nr, .order = order++, .name = name, .rule = rule
			};

			if (nr >= 0)
				add(&r, call);
			else if (is_member(nr))
				add_member(&r, nr, call);
			else if (nr == __NR_SCMP_ERROR && native)
				log_debug("seccomp: unknown system call \"%s\" skipped", name);
		}
	}
	sort(arch);
	/* Nothing named: an empty profile decides about everything by its default. */
	arch->last_call = p->newer_enosys && r.last >= 0 ? (uint32_t)r.last : UINT32_MAX;
}
