/*
 * The monitor: a container's first process that runs its payload in a KVM virtual machine.
 *
 * runtime/vm_init.c has made the process what a container's first one is (cgroup, namespaces, a
 * root that holds the exported files and nothing else) and gives vm_run() what was opened on the
 * host before. vm_run() boots the machine, has the agent make the container in it
 * (guest/proto.h), tells the runtime, waits for start, relays streams, signals and requests, and
 * returns what the payload has ended with. It never executes anything.
 *
 *   vm/run.c       the machine put together, jailed, its end and the words about it
 *   vm/life.c      the container's life as the agent and the runtime go through it
 *   vm/channel.c   frames, requests and replies on the agent's port
 *   vm/clients.c   the control socket: exec, ps, events, update, kill
 *   vm/pump.c      standard streams
 *   vm/jail.c      what the process and each thread give up
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "vm/devices.h"

/* ---- sizes ---- */

#define VM_MIB UINT64_C(1048576)
/* The machine's memory where the container has no limit. */
#define VM_MEMORY_DEFAULT (512 * VM_MIB)
/* Of the machine, at least. */
#define VM_MEMORY_MIN (128 * VM_MIB)

/* What a guest's kernel and the agent take of a machine's memory for themselves, so that `usable`
 * bytes are left for the container. */
uint64_t vm_memory_for(uint64_t usable);
/* What a machine of this memory leaves for the container. */
uint64_t vm_memory_usable(uint64_t memory);
/* What the monitor may take beside the machine's memory: its own heap and stacks, KVM's tables. It
 * is added to the host's limit, so that the host never kills the monitor for what the container
 * uses. */
uint64_t vm_overhead(uint64_t memory, unsigned vcpus);

/* ---- running ---- */

/* What the monitor tells whoever made it. */
struct vm_host {
	void *arg;
	/* The container is made, in the state "created" from now on. 0: `start` will come over
	 * start_fd; 1: at once. */
	int (*created)(void *arg, struct err *e);
	/* start_fd is readable: 1: start now; 0: it was something else. */
	int (*asked)(void *arg);
	/* The payload executes (why NULL), or why not. */
	void (*started)(void *arg, const struct err *why);
	int start_fd; /* -EBADF: none */
};

struct vm_config {
	/* the machine */
	int kvm, kernel, initrd; /* taken over */
	const char *kernel_name; /* for messages */
	const char *parameters;	 /* behind bailey's own, on the kernel's command line; or NULL */
	unsigned vcpus;
	uint64_t memory;
	struct vm_fs fs;	     /* taken over */
	const struct vm_disk *disks; /* their descriptors are taken over */
	size_t n_disks;
	struct vm_nic *nics;
	size_t n_nics;
	const char *net; /* GP_NET's text; NULL: loopback only */
	/* Later ones: a stream of uint32_t lengths (of this machine's byte order) and texts. For a
	 * byte that is written there, all changes up to then, and a length of 0. -EBADF: there
	 * will be none. Taken over. */
	int net_changes;
	/* the container */
	const void *create; /* GP_CREATE's body */
	size_t create_len;
	int stdio[3]; /* taken over; see struct pump_config */
	int tty;      /* the terminal among them, or -EBADF */
	int control;  /* listening, not blocking; taken over */
	unsigned
	    patience; /* seconds that the guest may be silent until it is created; 0: default */
	const struct vm_host *host;
};

/* The calling process has one thread and blocks every signal. Returns 0 with the payload's wait
 * status in *ret_status, or why there is none; e->exit is then what the process shall exit with,
 * if the guest's runtime said so. Errors end with the last words of the guest's kernel. */
int vm_run(const struct vm_config *c, int *ret_status, struct err *e);
