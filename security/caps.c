/*
 * Capability sets, exactly as configured.
 *
 * The order is dictated by the kernel: the bounding set can only be lowered with CAP_SETPCAP in the
 * effective set, which setresuid(2) away from 0 clears; the permitted set survives that change
 * because user_apply() sets PR_SET_KEEPCAPS; capset(2) then makes the sets final and the ambient
 * set comes last, because each of its members must already be permitted and inheritable.
 *
 * What the caller does not have cannot be given. The specification wants such capabilities
 * reported, not refused: caps_check() warns once and caps_apply() leaves them out.
 */
#include <stdint.h>
#include <sys/capability.h>
#include <sys/prctl.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "security/security.h"

static void cap_freep(cap_t *c)
{
	if (*c)
		cap_free(*c);
}
#define _cleanup_cap_ _cleanup_(cap_freep)

static uint64_t bit(int cap)
{
	return UINT64_C(1) << cap;
}

static const char *cap_label(int cap, char buf[24])
{
	const char *name = spec_cap_name(cap);

	if (name)
		return name;
	snprintf(buf, 24, "capability %d", cap);
	return buf;
}

/* Names of the members of set, separated by blanks; caller frees. */
static char *cap_names(uint64_t set)
{
	struct strbuf b = { 0 };
	char buf[24];

	for (int cap = 0; cap < 64; cap++)
		if (set & bit(cap))
			strbuf_addf(&b, "%s%s", b.len ? " " : "", cap_label(cap, buf));
	return strbuf_steal(&b);
}

/* Those of set that the bounding set holds. */
static uint64_t bounding_of(uint64_t set)
{
	for (int cap = 0; cap < 64; cap++)
		if (set & bit(cap) && cap_get_bound(cap) != 1)
			set &= ~bit(cap);
	return set;
}

static int permitted_now(uint64_t *ret, struct err *e)
{
	_cleanup_cap_ cap_t c = cap_get_proc();
	uint64_t set = 0;

	if (!c)
		return err_errno(e, errno, "capget");
	for (int cap = 0; cap < cap_max_bits(); cap++) {
		cap_flag_value_t v = CAP_CLEAR;

		if (cap_get_flag(c, cap, CAP_PERMITTED, &v) == 0 && v == CAP_SET)
			set |= bit(cap);
	}
	*ret = set;
	return 0;
}

static int refuse(const char *set, uint64_t extra, const char *other, struct err *e)
{
	_cleanup_free_ char *names = cap_names(extra);

	return err_set(e, EPERM, ".process.capabilities.%s: %s: not in .process.capabilities.%s",
	    set, names, other);
}

int caps_check(const struct spec_caps *c, bool own_userns, struct err *e)
{
	uint64_t wanted = c->bounding | c->effective | c->permitted | c->inheritable | c->ambient;
	uint64_t permitted, lacking, idle;

	if (!c->has)
		return 0;
	if (c->effective & ~c->permitted)
		return refuse("effective", c->effective & ~c->permitted, "permitted", e);
	if (c->inheritable & ~c->bounding)
		return refuse("inheritable", c->inheritable & ~c->bounding, "bounding", e);
	if (permitted_now(&permitted, e) < 0)
		return -e->code;

	lacking = own_userns ? 0 : wanted & ~(permitted & bounding_of(wanted));
	if (lacking) {
		_cleanup_free_ char *names = cap_names(lacking);

		log_warning(".process.capabilities: left out, because bailey does not have "
			    "them itself: %s",
		    names);
	}
	/* What `spec` of the peers writes: it never had an effect, but the user should know. */
	idle = c->ambient & ~(c->permitted & c->inheritable);
	if (idle) {
		_cleanup_free_ char *names = cap_names(idle);

		log_warning(".process.capabilities.ambient: left out, because ambient capabilities "
			    "must also be permitted and inheritable: %s",
		    names);
	}
	return 0;
}

int caps_drop_bounding(const struct spec_caps *c, struct err *e)
{
	uint64_t keep = c->has ? c->bounding : 0;
	char buf[24];

	/* Refused also for what is not in the set, to who may not drop. */
	for (int cap = 0; cap < cap_max_bits(); cap++) {
		if (keep & bit(cap) || cap_drop_bound(cap) == 0 || !bounding_of(bit(cap)))
			continue;
		if (errno == EPERM)
			return err_set(e, EPERM,
			    ".process.capabilities.bounding: cannot drop %s: CAP_SETPCAP is needed "
			    "(run as root, or use a user namespace)",
			    cap_label(cap, buf));
		return err_errno(
		    e, errno, ".process.capabilities.bounding: drop %s", cap_label(cap, buf));
	}
	return 0;
}

static void flag_fill(cap_t c, cap_flag_t flag, uint64_t set)
{
	cap_value_t list[64];
	int n = 0;

	for (int cap = 0; cap < cap_max_bits(); cap++)
		if (set & bit(cap))
			list[n++] = cap;
	if (n > 0)
		cap_set_flag(c, flag, n, list, CAP_SET);
}

static int ambient_fill(uint64_t set, struct err *e)
{
	char buf[24];

	/* cap_reset_ambient() asks for each capability first. */
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return err_errno(e, errno, ".process.capabilities.ambient: clear");
	for (int cap = 0; cap < cap_max_bits(); cap++)
		if ((set & bit(cap)) && cap_set_ambient(cap, CAP_SET) < 0)
			return err_errno(e, errno, ".process.capabilities.ambient: raise %s",
			    cap_label(cap, buf));
	return 0;
}

int caps_apply(const struct spec_caps *c, struct err *e)
{
	static const struct spec_caps none;
	const struct spec_caps *want = c->has ? c : &none;
	_cleanup_cap_ cap_t sets = NULL;
	uint64_t have, left_out;

	if (permitted_now(&have, e) < 0)
		return -e->code;
	left_out = (want->permitted | want->effective | want->inheritable) & ~have;
	if (left_out && log_debug_enabled()) {
		_cleanup_free_ char *names = cap_names(left_out);

		log_debug("capabilities left out: %s", names);
	}
	sets = cap_init();
	if (!sets)
		return err_errno(e, errno, "capabilities");
	flag_fill(sets, CAP_PERMITTED, want->permitted & have);
	flag_fill(sets, CAP_EFFECTIVE, want->effective & have);
	flag_fill(sets, CAP_INHERITABLE, want->inheritable & have);
	if (cap_set_proc(sets) < 0)
		return err_errno(e, errno, ".process.capabilities: capset");
	if (ambient_fill(want->ambient & want->permitted & want->inheritable & have, e) < 0)
		return -e->code;
	if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		return err_errno(e, errno, "prctl PR_SET_KEEPCAPS");
	return 0;
}
