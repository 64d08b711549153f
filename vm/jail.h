/*
 * What the monitor gives up before the first instruction of the guest runs: it serves a kernel that
 * belongs to an attacker.
 *
 * The process: pivoted into the export tree (runtime/vm_init.c), no descriptor but those it works
 * with, no new privileges, the capabilities of vm_jail_caps[] alone. Each thread: a seccomp
 * allow-list of its own; any other call ends the process with SIGSYS.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

enum vm_thread {
	VM_THREAD_MAIN,	 /* the loop: console, net, rng, balloon, clients, signals */
	VM_THREAD_VCPU,	 /* KVM_RUN and the devices' registers */
	VM_THREAD_FS,	 /* a worker of the virtio-fs device */
	VM_THREAD_BLK,	 /* a worker of a block device */
	VM_THREAD_PUMP,	 /* the container's standard streams */
	VM_THREAD_PROXY, /* exec's process: pump and signals */
	VM_THREADS
};

/* The capabilities that stay, and why; the table ends with a NULL reason. */
struct vm_jail_cap {
	int cap;
	const char *why;
};
extern const struct vm_jail_cap vm_jail_caps[];

/* The calling process, which has one thread yet: every capability but those of the table goes from
 * all sets (all of them with keep_caps false), no_new_privs is set, core dumps are off, as many
 * descriptors are allowed as the hard limit has. From here on vm_jail_thread() takes effect. */
int vm_jail_process(bool keep_caps, struct err *e);

/* Closes every descriptor from 3 on but these. */
int vm_jail_close_others(const int *keep, size_t n, struct err *e);

/* The calling thread, before it does anything else: nothing but what its kind needs. Does nothing
 * in a process without vm_jail_process(), such as a test's. */
int vm_jail_thread(enum vm_thread kind, struct err *e);

/* ---- jail_calls.c's for jail.c: the threads' system calls ---- */

/* Compiles the lists of all kinds of threads, so that none has to be compiled behind a filter. */
int jail_compile(struct err *e);
/* Loads one into the calling thread. */
int jail_install(enum vm_thread kind, struct err *e);
