/* One virtual processor and its thread (private to vm/). */
#pragma once
#include <pthread.h>
#include <stdatomic.h>

#include "vm/boot.h"
#include "vm/bus.h"
#include "vm/kvm.h"

struct vcpu {
	unsigned id;
	int fd;
	struct kvm_run *run;
	size_t run_size;
	pthread_t thread;
	bool has_thread;
	struct machine *machine;
};
/* Makes it with CPUID and MSRs of a machine with n. */
int vcpu_new(int kvm, int vm, unsigned id, unsigned n, struct vcpu *ret, struct err *e);
void vcpu_free(struct vcpu *v);
/* Registers of the one that boots. */
int vcpu_set_boot(const struct vcpu *v, const struct boot_entry *b, struct err *e);
#define VCPU_WHY_MAX 160
/* Runs the guest until it ends, or *stop is set and VM_KICK_SIGNAL arrives (false). */
bool vcpu_run(struct vcpu *v, struct bus *b, const atomic_bool *stop, enum machine_end *end,
    char why[VCPU_WHY_MAX]);
