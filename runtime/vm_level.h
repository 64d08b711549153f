/*
 * The isolation level vm, as the life of a container (runtime/parent.c, init.c) branches into it.
 *
 *   vm_check.c     what config.json asks for that a machine cannot give; before anything is made
 *   vm_user.c      which users there may be
 *   vm_parts.c     what the machine is made of: KVM, kernel, initramfs; its size, the host's limits
 *   vm_root.c      a root filesystem on a disk
 *   vm_init.c      init's half: the export tree, the jail, the monitor (vm/vm.h)
 *   vm_net.c       the container's interfaces, carried into the machine
 *   vm_client.c    requests over the control socket, for ps, events, update, kill
 *   vm_pause.c     what keeps a machine's cgroup from freezing
 *   vm_exec.c      exec's process on the host
 *   vm_terminal.c  the host's half of a terminal
 */
#pragma once
#include "runtime/container.h"
#include "runtime/isolation.h"
#include "runtime/lifecycle.h"
#include "vm/channel.h"
#include "vm/kernels.h"
#include "vm/vm.h"

struct exec_opts;

#define VM_CONTROL "vm.sock" /* in the state directory */

/* ---- a root filesystem on a disk (vm_root.c) ---- */

#define VM_ROOT_OPTION	   "--rootfs-image"
#define VM_ROOT_ANNOTATION "org.bailey.rootfs-image"
#define VM_ROOT_DISKS	   2

struct vm_root {
	bool wanted;
	uint64_t scratch; /* bytes of a disk for what the container writes; 0: the guest's memory */
	int image_fd, scratch_fd; /* -EBADF: none */
};
#define VM_ROOT_NONE                                     \
	{                                                \
		.image_fd = -EBADF, .scratch_fd = -EBADF \
	}
/* "memory", "scratch" or "scratch:SIZE". -EINVAL, -ERANGE. */
int vm_root_parse(const char *text, struct vm_root *ret);
/* The same with a message that begins with where it was said. */
int vm_root_check(const char *where, const char *text, struct vm_root *ret, struct err *e);
/* By the option (NULL: not given), else by the annotation. -EINVAL at another level than vm. */
int vm_root_choose(const char *flag, const struct spec *s, enum isolation level,
    struct vm_root *ret, struct err *e);
/* Where it is wanted: makes or finds the image of the bundle's layers, and makes the scratch disk.
 * -ENOENT, -ENOTSUP: the bundle was not made of an image of a store; -ENOTEMPTY: its root
 * filesystem was changed since. */
int vm_root_open(struct vm_root *v, const char *bundle, struct err *e);
void vm_root_close(struct vm_root *v);
/* The machine's disks. They borrow v's descriptors. Returns how many. */
size_t vm_root_disks(const struct vm_root *v, struct vm_disk ret[VM_ROOT_DISKS]);

struct vm_parts {
	int kvm, initrd;
	struct vm_kernel kernel;
	unsigned vcpus, patience;
	uint64_t memory;	/* of the machine */
	uint64_t usable;	/* of it, by the container */
	uint64_t extra;		/* what the machine and its monitor take besides */
	const char *parameters; /* for the kernel's command line, or NULL */
	struct vm_root root;
};
#define VM_PARTS_NONE                                                                           \
	{                                                                                       \
		.kvm = -EBADF, .initrd = -EBADF, .kernel = VM_KERNEL_NONE, .root = VM_ROOT_NONE \
	}
void vm_parts_close(struct vm_parts *p);

/* Refuses, by name and with the remedy, what would mean something else in a machine. */
int vm_check(const struct spec *s, const struct create_opts *o, struct err *e);
/* Are the user's ids mapped in the user namespace of the process (0: the caller's), and may groups
 * be set there? procfd: root of a procfs that shows the process. */
int vm_check_user(int procfd, pid_t pid, const struct spec_user *u, struct err *e);
/* Opens what the machine is made of and decides its size. -ENOENT, -EACCES: no /dev/kvm, no
 * permission; -ENOENT: no kernel; -ENOMEM: less memory than it takes. root: as it was chosen; it is
 * opened here. Strings live in s. */
int vm_parts_open(const struct globals *g, const struct spec *s, const struct settings *st,
    const struct vm_root *root, struct vm_parts *ret, struct err *e);
/* Can there be machines? NULL, or why not, for `features`; caller frees. */
char *vm_unavailable(const struct globals *g);
/* What of a container's limits the host's cgroup gets. A limit of memory becomes that of the whole
 * machine (usable: bytes of it that the container can have, extra: what machine and monitor take
 * besides), whatever it is in the guest: what the guest's kernel has freed is still the monitor's
 * until it is given back, so that a lower one would have the host kill it. None of what the
 * machine's kernel counts for itself. The result borrows from in and a. */
struct spec_resources vm_host_resources(
    struct arena *a, const struct spec_resources *in, uint64_t usable, uint64_t extra);

/* The child, from the first moment on; see init_main(). */
_Noreturn void vm_init_main(const struct init_args *a);

/* ---- network (vm_net.c) ---- */

struct carry;
struct vm_net {
	struct carry *carry;
	struct vm_nic *nics;
	unsigned n;
	const char *json; /* GP_NET's text */
	int changes;	  /* see struct vm_config; -EBADF before vm_net_follow() */
};
/* In the container's network namespace, with the host's /dev and /proc. */
int vm_net_open(struct vm_net *n, struct err *e);
/* Makes the process that keeps the right to watch and redirect interfaces, and nothing else, no
 * descriptor but its own among it; it dies with the caller. */
int vm_net_follow(struct vm_net *n, struct err *e);

/* A pty of the host in raw mode for the guest's terminal p: its line discipline is the guest's
 * pty's. Both O_CLOEXEC. */
int vm_terminal_open(const struct spec_process *p, int *ret_master, int *ret_slave, struct err *e);
/* The standard streams for a pump (vm/pump.h): the terminal (slave, or -EBADF), or what 0, 1 and 2
 * are. These become /dev/null, so that a stream that has ended can be closed without its number
 * being given to another file. */
int vm_take_stdio(int slave, int ret[3], struct err *e);

/* ---- the control socket ---- */

/* Connects; -ECONNREFUSED and the like say that the machine is gone. Returns the descriptor. */
int vm_connect(const struct container *c, struct err *e);
/* Sends a request and waits for its reply. ret_json: of STATS and PS, caller frees; else NULL. */
int vm_request(
    int sock, enum gp_type type, const void *body, size_t n, char **ret_json, struct err *e);
/* The same in halves, for who has more to say on a connection. The body is NUL-ended; caller frees.
 */
int vm_send(int sock, enum gp_type type, uint32_t seq, const void *body, size_t n, struct err *e);
int vm_receive(int sock, struct gp_header *ret, uint8_t **ret_body, struct err *e);

/* Before a machine's cgroup is frozen (vm_pause.c). */
int vm_prepare_freeze(const struct cgroup *cg, struct err *e);

/* ---- exec (vm_exec.c) ---- */

struct vm_exec {
	const struct exec_opts *o;
	const struct spec_process *process;
	int procfd;	  /* trusted root of a procfs of the caller's pid namespace */
	int sock;	  /* handshake with the parent */
	int console_sock; /* connected, or -EBADF */
	int control;	  /* by vm_connect() */
};
/* What of exec's options a machine cannot have. */
int vm_exec_check(const struct exec_opts *o, struct err *e);
/* The process that stands on the host for one in the guest: has it made, then moves its streams and
 * hands on signals, with no right to anything else, and exits as it does. Returns only on failure.
 */
int vm_exec_child(const struct vm_exec *x, struct err *e);
