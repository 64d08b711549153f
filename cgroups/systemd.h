/* Shared by the files of the systemd driver; nobody else includes it. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/alloc.h"
#include "cgroups/internal.h"

/* ---- names (systemd_names.c) ---- */

/* The unit and the slice that a cgroupsPath asks for. */
struct sd_place {
	char *slice; /* "machine.slice" */
	char *unit;  /* "libpod-1f….scope" */
};
void sd_place_free(struct sd_place *p);
#define _cleanup_place_ __attribute__((cleanup(sd_place_free)))
/* "SLICE:PREFIX:NAME" is PREFIX-NAME.scope in SLICE; an empty SLICE is user.slice for a user's
 * manager and system.slice for the system's, an empty PREFIX leaves "-" out too. NULL or "":
 * bailey-ID.scope. */
int sd_parse_place(
    const char *cgroups_path, const char *id, bool user, struct sd_place *ret, struct err *e);
/* "a-b-c.slice" to "/a.slice/a-b.slice/a-b-c.slice", "-.slice" to ""; caller frees. */
char *sd_slice_path(const char *slice);
/* The unit's directory name, and back from a path to the unit (in place, borrowed). systemd puts
 * "_" before names that could be mistaken for files of the cgroup. */
char *sd_unit_dir(const char *unit);
const char *sd_unit_of(const char *path);

/* ---- properties (systemd_props.c) ---- */

/* A D-Bus value as its signature and its basic values as text, in order: "a(st)" and {
 * "/dev/block/8:0", "1000" }. At most one level of array, of basic types or of structs of them. */
struct sd_prop {
	const char *name, *sig;
	const char **v;
	size_t n, cap;
};
struct sd_props {
	struct arena *arena; /* owns all of it */
	struct sd_prop *v;
	size_t n, cap;
};
void sd_props_free(struct sd_props *p);
#define _cleanup_props_ __attribute__((cleanup(sd_props_free)))
/* Sets name, in place of an earlier value. An array starts out empty. */
struct sd_prop *sd_props_set(struct sd_props *p, const char *name, const char *sig);
void sd_prop_push(struct sd_props *p, struct sd_prop *to, const char *value);
void sd_props_str(struct sd_props *p, const char *name, const char *value);
void sd_props_bool(struct sd_props *p, const char *name, bool value);
void sd_props_u64(struct sd_props *p, const char *name, uint64_t value);
/* Does the plan hold something that only newer versions have a property for? */
bool sd_props_need_version(const struct cg_plan *plan);
/* What the plan asks for as properties; what has none is left to the plan's own writing. dirfd: as
 * for cg_plan. version: of systemd, 0 where sd_props_need_version said no. */
int sd_props_from_plan(
    struct sd_props *p, const struct cg_plan *plan, int dirfd, int version, struct err *e);

/* ---- annotations (systemd_annotations.c) ---- */

/* "org.systemd.property.NAME" with a value in GVariant's text format. */
int sd_props_from_annotations(struct sd_props *p, const struct spec_map *m, struct err *e);

/* ---- the manager (systemd_bus.c) ---- */

struct sd_bus;
struct systemd {
	struct sd_bus *bus;
	bool user;
};
/* Starts a scope with these properties and waits until systemd says that it did. -EEXIST: there is
 * a unit of this name. */
int sd_start_unit(struct systemd *s, const char *unit, const struct sd_props *p, struct err *e);
/* Stops it and waits; one that does not exist is fine. */
int sd_stop_unit(struct systemd *s, const char *unit, struct err *e);
/* Until the next boot, that is, not as a file in /etc. */
int sd_set_properties(struct systemd *s, const char *unit, const struct sd_props *p, struct err *e);
/* Moves a process into the unit's cgroup, or below it ("/sub"). */
int sd_attach(struct systemd *s, const char *unit, const char *below, pid_t pid, struct err *e);
/* A property of the manager itself; caller frees. */
int sd_manager_property(struct systemd *s, const char *name, char **ret, struct err *e);
int sd_version(struct systemd *s, int *ret, struct err *e);
