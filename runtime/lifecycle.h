/*
 * The life of a container, as the verbs call it. Read runtime/parent.c for the host's half and
 * runtime/init.c for the child's; process/handshake.h has the diagram.
 */
#pragma once
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "namespaces/namespaces.h"
#include "runtime/cli.h"
#include "runtime/container.h"
#include "spec/spec.h"

struct net_request;
struct vm_parts;

/* Options that create and run share. */
struct create_opts {
	const char *bundle; /* NULL: the current directory */
	const char *config; /* NULL: BUNDLE/config.json */
	const char *console_socket;
	const char *pid_file;
	const char *isolation;	  /* NULL: see isolation.h */
	const char *rootfs_image; /* NULL: see vm_root_choose() */
	bool no_pivot;
	bool no_new_keyring;
	struct opt_i64 preserve_fds;
	/* set by the verb's check, from preserve_fds and LISTEN_FDS */
	unsigned keep_fds, listen_fds;
	/* run only */
	bool detach;
	bool keep;
	bool start; /* at once, without start.sock */
	/* run --image: the root, and the bundle that it lies in goes with the container */
	const struct overlay *overlay;
	/* run --network: instead of what config.json says; completed by container_create() */
	struct net_request *net;
};

/* Makes the container and leaves its init waiting for start, or with o->start does what
 * container_start does as well. Undoes everything on failure. The container comes back locked
 * (OPEN_EXCLUSIVE). ret_master: the terminal where the spec asks for one and no console socket is
 * given (run only), else NULL. */
int container_create(const struct globals *g, const char *id, const struct create_opts *o,
    struct container **ret, int *ret_master, struct err *e);
/* created -> running; runs the poststart hooks, whose failure ends the container. */
int container_start(struct container *c, struct err *e);
/* Kills what is left, removes the cgroup, runs poststop hooks (which can fail with a warning only),
 * takes the network of run --network back, removes the bundle that was made for it alone (run
 * --image), and forgets the container. Needs OPEN_EXCLUSIVE. */
int container_destroy(struct container *c, struct err *e);

/* What init gets from the parent, by inheritance. */
struct init_args {
	const struct spec *spec;
	const struct container *c;
	const struct create_opts *opts;
	const struct ns_set *ns;
	unsigned joined; /* mask of ns->fds that are joined */
	struct mount_plan *plan;
	struct device_set *devices;
	bool sources_open; /* plan's and devices' sources were opened by the parent */
	bool pauses;	   /* once the root is built, for the host's part (HS_MOUNTED) */
	int sock;	   /* handshake */
	int start_sock;	   /* listening, or -EBADF: HS_START comes by sock */
	const struct vm_parts
	    *vm;	   /* what the machine is made of; NULL: there is none (level namespace) */
	int control_sock;  /* the machine's, listening, or -EBADF */
	int console_sock;  /* connected, or -EBADF */
	int seccomp_agent; /* connected, or -EBADF */
	int procfd;	   /* the host's procfs root */
	int cgroupfd;	   /* the container's cgroup, or -EBADF */
	unsigned preserve_fds; /* 3 .. 3+n go to the payload */
	unsigned listen_fds;   /* the first of them, by socket activation (sd_listen_fds(3)) */
};
_Noreturn void init_main(const struct init_args *a);
/* Somebody has connected to start.sock: the connection of `start`, on which it waits for the
 * outcome, or -errno for any other. */
int init_accept_start(int listening);

/* In a user namespace of its own, new or joined? */
bool spec_has_userns(const struct spec *s);
/* Does the caller hold CAP_SYS_ADMIN over its mount namespace, so that it can open the sources
 * itself? */
bool runtime_is_privileged(void);
/* In any but the first user namespace, where no device nodes can be made. */
int runtime_in_user_namespace(bool *ret, struct err *e);
/* The directory of the program's file, before seal_self(); from argv[0] where that is past (the
 * process executes the sealed copy). NULL: cannot be told. Lives until the process ends. */
const char *host_program_dir(const char *argv0);
/* O_PATH descriptor of /proc, checked to be procfs's root. */
int open_procfs(struct err *e);
/* How many descriptors from 3 on the payload keeps: --preserve-fds plus LISTEN_FDS (*ret_listen of
 * them). Each must be open: called before the runtime opens any of its own, which could else be
 * handed out. */
int check_preserve_fds(const struct opt_i64 *n, unsigned *ret, unsigned *ret_listen, struct err *e);
/* Writes the number, newline-free, atomically, mode 0644. */
int write_pid_file(const char *path, pid_t pid, struct err *e);
