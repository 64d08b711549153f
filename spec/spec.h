/*
 * config.json (OCI runtime-spec 1.3, Linux parts) as plain structs.
 *
 * Everything hangs off one arena and is read-only once spec_load() has returned: strings are never
 * NULL unless a comment says so, arrays come with a count, optional scalars say whether they were
 * set. Enumerations are already the kernel's numbers where the kernel has one.
 *
 * The decoder is a set of tables (spec/decode.c and the tables beside it); `features` is generated
 * from the same tables. Unknown properties are ignored as the specification demands; known ones
 * that bailey does not execute are refused by validate.c.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/alloc.h"
#include "base/err.h"
#include "base/json.h"

#define OCI_VERSION	"1.3.0"
#define OCI_VERSION_MIN "1.0.0"

struct opt_bool {
	bool set, v;
};
struct opt_i32 {
	bool set;
	int32_t v;
};
struct opt_u32 {
	bool set;
	uint32_t v;
};
struct opt_i64 {
	bool set;
	int64_t v;
};
struct opt_u64 {
	bool set;
	uint64_t v;
};

/* NULL-terminated, v is never NULL after decoding. */
struct spec_strv {
	char **v;
	size_t n;
};
struct spec_kv {
	const char *key, *value;
};
struct spec_map {
	struct spec_kv *v;
	size_t n;
};
/* NULL: absent */
const char *spec_map_get(const struct spec_map *m, const char *key);

struct spec_id_map {
	uint32_t container_id, host_id, size;
};
struct spec_id_maps {
	struct spec_id_map *v;
	size_t n;
};

struct spec_user {
	uint32_t uid, gid;
	struct opt_u32 umask;
	struct {
		uint32_t *v;
		size_t n;
	} additional_gids;
};

/* Bit N set: capability N. has: the object was present (absent object: all sets empty). */
struct spec_caps {
	bool has;
	uint64_t bounding, effective, permitted, inheritable, ambient;
};

struct spec_rlimit {
	int resource;
	const char *name;
	uint64_t soft, hard;
};

struct spec_scheduler {
	bool has;
	int policy; /* SCHED_* */
	int32_t nice;
	struct opt_i32 priority;
	uint64_t flags; /* SCHED_FLAG_* */
	uint64_t runtime, deadline, period;
};
struct spec_ioprio {
	bool has;
	int class_; /* IOPRIO_CLASS_* */
	int32_t priority;
};
struct spec_cpu_affinity {
	const char *initial, *final;
}; /* CPU lists or NULL */

struct spec_process {
	bool terminal;
	struct {
		bool set;
		uint16_t width, height;
	} console_size;
	struct spec_user user;
	struct spec_strv args, env;
	const char *cwd;
	struct spec_caps caps;
	struct {
		struct spec_rlimit *v;
		size_t n;
	} rlimits;
	bool no_new_privileges;
	const char *apparmor_profile; /* NULL: none */
	const char *selinux_label;    /* NULL: none */
	struct opt_i32 oom_score_adj;
	struct spec_scheduler scheduler;
	struct spec_ioprio ioprio;
	struct spec_cpu_affinity exec_cpu_affinity;
};

struct spec_mount {
	const char *destination;
	const char *type;   /* NULL: absent (a bind by its options) */
	const char *source; /* NULL: absent */
	struct spec_strv options;
	struct spec_id_maps uid_mappings, gid_mappings;
	const char *path; /* ".mounts[3]", for messages */
};

enum spec_hook_kind {
	HOOK_PRESTART,
	HOOK_CREATE_RUNTIME,
	HOOK_CREATE_CONTAINER,
	HOOK_START_CONTAINER,
	HOOK_POSTSTART,
	HOOK_POSTSTOP,
	HOOK_KINDS
};
extern const char *const spec_hook_names[HOOK_KINDS];
struct spec_hook {
	const char *path; /* absolute */
	struct spec_strv args, env;
	struct opt_i32 timeout; /* seconds, > 0 */
};
struct spec_hooks {
	struct spec_hook *v;
	size_t n;
};

/* Order is the order of joining: user first, mount last. */
enum spec_ns_type {
	NS_USER,
	NS_PID,
	NS_NET,
	NS_IPC,
	NS_UTS,
	NS_CGROUP,
	NS_TIME,
	NS_MOUNT,
	NS_TYPES
};
struct spec_ns {
	bool has;
	const char *path; /* NULL: a new one */
};

struct spec_device {
	const char *path;
	char type; /* 'b', 'c', 'u' (as c), 'p' */
	uint32_t major, minor;
	struct opt_u32 file_mode; /* default 0666 */
	struct opt_u32 uid, gid;
};

/* ---- linux.resources: also what `update` reads ---- */
struct spec_device_rule {
	bool allow;
	char type;		     /* 'a', 'b', 'c' */
	struct opt_i64 major, minor; /* unset or -1: any */
	bool read, write, mknod;
};
struct spec_memory {
	struct opt_i64 limit, reservation, swap, kernel, kernel_tcp;
	struct opt_u64 swappiness;
	struct opt_bool disable_oom_killer, use_hierarchy, check_before_update;
};
struct spec_cpu {
	struct opt_u64 shares, period, burst, realtime_period;
	struct opt_i64 quota, realtime_runtime, idle;
	const char *cpus, *mems; /* NULL: absent */
};
struct spec_throttle {
	uint32_t major, minor;
	uint64_t rate;
};
struct spec_weight_device {
	uint32_t major, minor;
	struct opt_u32 weight, leaf_weight;
};
struct spec_block_io {
	struct opt_u32 weight, leaf_weight;
	struct {
		struct spec_weight_device *v;
		size_t n;
	} weight_device;
	struct spec_throttles {
		struct spec_throttle *v;
		size_t n;
	} read_bps, write_bps, read_iops, write_iops;
};
struct spec_hugepage {
	const char *page_size; /* "2MB" */
	uint64_t limit;
};
struct spec_rdma {
	const char *device;
	struct opt_u32 hca_handles, hca_objects;
};
struct spec_net_prio {
	const char *name;
	uint32_t priority;
};
struct spec_resources {
	struct {
		struct spec_device_rule *v;
		size_t n;
	} devices;
	struct spec_memory memory;
	struct spec_cpu cpu;
	struct opt_i64 pids_limit;
	struct spec_block_io block_io;
	struct {
		struct spec_hugepage *v;
		size_t n;
	} hugepages;
	struct {
		struct spec_rdma *v;
		size_t n;
	} rdma;
	struct opt_u32 net_class_id;
	struct {
		struct spec_net_prio *v;
		size_t n;
	} net_priorities;
	struct spec_map unified; /* file name -> value, checked to hold no '/' */
};

/* ---- linux.seccomp ---- */
enum spec_seccomp_action { /* values index the table in spec/tables */
	SECCOMP_KILL_THREAD,
	SECCOMP_KILL_PROCESS,
	SECCOMP_TRAP,
	SECCOMP_ERRNO,
	SECCOMP_TRACE,
	SECCOMP_ALLOW,
	SECCOMP_LOG,
	SECCOMP_NOTIFY,
};
enum spec_seccomp_op { CMP_NE, CMP_LT, CMP_LE, CMP_EQ, CMP_GE, CMP_GT, CMP_MASKED_EQ };
struct spec_seccomp_arg {
	uint32_t index;
	uint64_t value, value_two;
	enum spec_seccomp_op op;
};
struct spec_seccomp_rule {
	struct spec_strv names;
	enum spec_seccomp_action action;
	struct opt_u32 errno_ret;
	struct {
		struct spec_seccomp_arg *v;
		size_t n;
	} args;
};
struct spec_seccomp {
	bool has;
	enum spec_seccomp_action default_action;
	struct opt_u32 default_errno_ret;
	uint32_t flags;		       /* SECCOMP_FILTER_FLAG_* of the kernel */
	struct spec_strv archs;	       /* "SCMP_ARCH_…" names, checked against the table */
	const char *listener_path;     /* NULL: none */
	const char *listener_metadata; /* NULL: none */
	struct {
		struct spec_seccomp_rule *v;
		size_t n;
	} rules;
};

struct spec_net_device {
	const char *host_name, *name; /* name in the container */
};
struct spec_time_offset {
	struct opt_i64 secs;
	uint32_t nanosecs;
};
struct spec_mem_policy {
	bool has;
	int mode;	   /* MPOL_* */
	const char *nodes; /* or NULL */
	int flags;	   /* MPOL_F_* */
};

enum spec_propagation {
	PROP_DEFAULT,
	PROP_PRIVATE,
	PROP_RPRIVATE,
	PROP_SLAVE,
	PROP_RSLAVE,
	PROP_SHARED,
	PROP_RSHARED,
	PROP_UNBINDABLE,
	PROP_RUNBINDABLE
};

/* `vm` section, as the specification has it. */
struct spec_vm {
	bool has;
	const char *hypervisor_path; /* NULL: none */
	struct spec_strv hypervisor_parameters;
	const char *kernel_path, *initrd; /* NULL: none */
	struct spec_strv kernel_parameters;
	const char *image_path, *image_format; /* NULL: none */
	struct opt_u32 vcpus;
	struct opt_u64 memory; /* bytes */
};

struct spec {
	struct arena *arena;
	const struct json *json; /* the document itself */
	const char *text;	 /* as it was read (spec_load only) */
	size_t text_len;
	const char *bundle; /* absolute */
	const char *oci_version;
	struct {
		const char *path;
		bool readonly;
	} root; /* path absolute, resolved against bundle */
	bool has_process;
	struct spec_process process;
	const char *hostname, *domainname; /* NULL: absent */
	struct {
		struct spec_mount *v;
		size_t n;
	} mounts;
	struct spec_hooks hooks[HOOK_KINDS];
	struct spec_map annotations;

	struct spec_ns ns[NS_TYPES];
	struct spec_id_maps uid_mappings, gid_mappings;
	struct {
		struct spec_device *v;
		size_t n;
	} devices;
	struct {
		struct spec_net_device *v;
		size_t n;
	} net_devices;
	const char *cgroups_path; /* NULL: absent */
	struct spec_resources resources;
	enum spec_propagation rootfs_propagation;
	struct spec_seccomp seccomp;
	struct spec_map sysctl;
	struct spec_strv masked_paths, readonly_paths;
	const char *mount_label;      /* NULL: none */
	const struct json *intel_rdt; /* NULL: absent */
	struct spec_mem_policy mem_policy;
	struct {
		bool has;
		unsigned long persona;
	} personality; /* domain | flags, for personality(2) */
	struct spec_time_offset monotonic, boottime;
	struct spec_vm vm;
};

/* Reads bundle/config.json (config: another path, or NULL) and validates it as a whole; the rootfs
 * must be there. bundle is made absolute. Errors name the file and the JSON path. Free with
 * spec_free(). */
int spec_load(const char *bundle, const char *config, struct spec **ret, struct err *e);
/* The same from memory and without a look at the filesystem, for the state directory's copy (whose
 * rootfs may be gone) and the fuzzer. name is for messages; bundle must be absolute. */
int spec_parse(const char *name, const char *bundle, const char *buf, size_t n, struct spec **ret,
    struct err *e);
void spec_free(struct spec *s);
static inline void spec_freep(struct spec **s)
{
	spec_free(*s);
}
#define _cleanup_spec_ __attribute__((cleanup(spec_freep)))

/* process.json of `exec --process` (path "-": stdin). Strings live in a. */
int spec_load_process(struct arena *a, const char *path, struct spec_process *ret, struct err *e);
int spec_parse_process(struct arena *a, const char *name, const char *buf, size_t n,
    struct spec_process *ret, struct err *e);
/* The members of process.json into an object that is open in g: spec_parse_process() reads the same
 * process from it. */
void spec_process_gen(struct json_gen *g, const struct spec_process *p);
/* resources of `update --resources` (path "-": stdin). */
int spec_load_resources(
    struct arena *a, const char *path, struct spec_resources *ret, struct err *e);
int spec_parse_resources(struct arena *a, const char *name, const char *buf, size_t n,
    struct spec_resources *ret, struct err *e);

/* "CAP_SYS_ADMIN", "sys_admin" -> number, or -EINVAL. */
int spec_cap_parse(const char *name);
const char *spec_cap_name(int cap);		    /* NULL beyond the table */
const char *spec_ns_name(enum spec_ns_type t);	    /* "network" */
int spec_ns_clone_flag(enum spec_ns_type t);	    /* CLONE_NEWNET */
const char *spec_ns_proc_name(enum spec_ns_type t); /* "net" */
/* Checks a container ID: 1..1024 of [A-Za-z0-9_+.-], not "." or "..". */
int spec_check_id(const char *id, struct err *e);

/* The default config.json of `bailey spec`, pretty-printed; rootless: with a user namespace that
 * maps the calling user to 0. Caller frees. */
char *spec_default_config(bool rootless);
/* The `features` document (features.md), from the decoder's tables; caller frees.
 * seccomp_supported_flags: SECCOMP_FILTER_FLAG_* that this kernel takes (security/).
 * vm_unavailable: why there can be no machines here, or NULL. */
char *spec_features_json(unsigned seccomp_supported_flags, const char *vm_unavailable);

/* What state JSON is made of (runtime.md#state plus what engines read). */
struct spec_state {
	const char *id, *status, *bundle, *rootfs, *created, *owner,
	    *isolation; /* rootfs … isolation: NULL leaves out */
	pid_t pid;	/* 0: none; left out of hooks' JSON when 0, as the specification allows */
	const struct spec_map *annotations;
};
char *spec_state_json(const struct spec_state *s, bool pretty); /* caller frees */

/* Mount options, one table for the executor, for `features` and for validation. */
enum mount_opt_kind {
	MOPT_ATTR,     /* sets mask in MOUNT_ATTR_* (value) and clears clr */
	MOPT_ATTR_REC, /* the same, recursively (rro …) */
	MOPT_SB,   /* a superblock flag: fsconfig flag name is the option itself, clr: negated */
	MOPT_BIND, /* bind, rbind (rec) */
	MOPT_PROPAGATION, /* value: MS_* , rec */
	MOPT_IDMAP,	  /* idmap, ridmap */
	MOPT_TMPCOPYUP,
	MOPT_REMOUNT, /* changes the mount that is there instead of making one */
	MOPT_IGNORED, /* accepted, no effect by definition: defaults, noauto, iversion, silent … */
	MOPT_EXTENSION, /* set: one of enum mount_opt_ext */
};
enum mount_opt_ext {
	MOPT_EXT_COPY_SYMLINK = 1,  /* a source that is a symlink is made anew, not followed */
	MOPT_EXT_SRC_NOFOLLOW = 2,  /* a source that is a symlink is mounted itself */
	MOPT_EXT_DEST_NOFOLLOW = 4, /* the destination's last component is not followed */
};
struct mount_opt {
	const char *name;
	enum mount_opt_kind kind;
	uint64_t set, clr; /* MOUNT_ATTR_*, MS_* (propagation, SB) or extension bit */
	bool rec;
};
extern const struct mount_opt mount_opts[];
extern const size_t mount_opts_n;
const struct mount_opt *mount_opt_find(const char *name, size_t len); /* NULL: filesystem data */
