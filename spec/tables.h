/*
 * Names of config.json's enumerations, shared by the decoder, by `features` and by messages.
 * A new constant of the specification is one line in tables.c.
 */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct spec_name {
	const char *name;
	uint64_t value;
};
struct spec_names {
	const char *what; /* "namespace", for "unknown namespace (one of …)" */
	const struct spec_name *v;
	size_t n;
};

extern const struct spec_names spec_ns_names;		 /* enum spec_ns_type */
extern const struct spec_names spec_rlimit_names;	 /* RLIMIT_* */
extern const struct spec_names spec_seccomp_actions;	 /* enum spec_seccomp_action */
extern const struct spec_names spec_seccomp_ops;	 /* enum spec_seccomp_op */
extern const struct spec_names spec_seccomp_archs;	 /* value unused */
extern const struct spec_names spec_seccomp_flags;	 /* SECCOMP_FILTER_FLAG_* */
extern const struct spec_names spec_sched_policies;	 /* SCHED_* */
extern const struct spec_names spec_sched_flags;	 /* SCHED_FLAG_* */
extern const struct spec_names spec_ioprio_classes;	 /* IOPRIO_CLASS_* */
extern const struct spec_names spec_mem_policies;	 /* MPOL_* */
extern const struct spec_names spec_mem_policy_flags;	 /* MPOL_F_* */
extern const struct spec_names spec_personality_domains; /* PER_* */
extern const struct spec_names spec_propagations;	 /* enum spec_propagation */
extern const struct spec_names spec_image_formats;	 /* of vm.image; value unused */
extern const struct spec_names spec_caps;		 /* CAP_*; the index is the number */

/* NULL: not in the table. */
const struct spec_name *spec_name_find(const struct spec_names *t, const char *name);
