/*
 * Which of the two isolation levels a container gets: Linux namespaces, or a virtual machine of its
 * own (vm/vm.h) around them. The strongest word counts:
 *
 *   1. --isolation=namespace|vm of create and run
 *   2. the annotation org.bailey.isolation of config.json
 *   3. a `vm` section in config.json: vm
 *   4. an engine's annotation that says "a pod's sandbox": namespace. It holds the namespaces that
 *      the pod's containers join, and runs nothing of the user's
 *   5. the name that the program is called by: bailey-vm, for engines that take a path alone
 *   6. "isolation" in bailey's configuration file
 *   7. namespace
 *
 * What was chosen is what happens: where there can be no machine, create fails.
 */
#pragma once
#include <stdbool.h>

#include "base/err.h"
#include "spec/spec.h"

enum isolation { ISOLATION_NAMESPACE, ISOLATION_VM, ISOLATION_LEVELS };
extern const char *const isolation_names[ISOLATION_LEVELS];
/* -EINVAL for other names. */
int isolation_parse(const char *name, enum isolation *ret);

#define ISOLATION_ANNOTATION "org.bailey.isolation"

/* What of a pod a container is, by the annotations of Kubernetes' engines. */
enum pod_part { POD_NONE, POD_SANDBOX, POD_CONTAINER };
enum pod_part pod_part_of(const struct spec *s);

/*
 * bailey's own configuration, a JSON object: $BAILEY_CONFIG, else for who is not root
 * $XDG_CONFIG_HOME/bailey/config.json or $HOME/.config/bailey/config.json, else
 * /etc/bailey/config.json. All members are optional, others are errors:
 *
 *   { "isolation": "namespace" | "vm",
 *     "vm": { "kernel": PATH, "initrd": PATH, "parameters": [STRING …],
 *             "vcpus": 1…32, "memory": BYTES, "patience": SECONDS } }
 *
 * The `vm` part holds for machines whose config.json does not say it itself.
 */
struct settings {
	const char *path; /* the file's; NULL: there is none */
	const char *isolation;
	const char *kernel, *initrd;
	struct spec_strv parameters;
	struct opt_u32 vcpus, patience;
	struct opt_u64 memory;
};
/* A file that is not there is an empty one, but for $BAILEY_CONFIG's. Strings live in a. */
int settings_load(struct arena *a, struct settings *ret, struct err *e);
int settings_parse(struct arena *a, const char *name, const char *text, size_t n,
    struct settings *ret, struct err *e);

/* flag: NULL where --isolation was not given. program: argv[0]. */
int isolation_choose(const char *flag, const struct spec *s, const char *program,
    const struct settings *settings, enum isolation *ret, struct err *e);
