#include "vm/machine.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "vm/acpi.h"
#include "vm/boot.h"
#include "vm/bus.h"
#include "vm/kvm.h"
#include "vm/vcpu.h"

#define VCPU_STACK (256u << 10)
#define WINDOWS	   (VM_DEVICES_MAX * VM_MMIO_SIZE)

/* The argument of a device's worker threads' prepare. */
struct worker {
	const struct machine_hooks *hooks;
	const struct virtio_device *device;
};

struct machine {
	struct machine_config config;
	int vm;
	struct guest_memory memory;
	uint8_t *windows; /* what the devices' windows show, WINDOWS bytes */
	struct bus bus;
	struct worker workers[VM_DEVICES_MAX];
	struct vcpu vcpus[VM_VCPUS_MAX];
	unsigned n_vcpus;

	struct machine_hooks hooks;
	atomic_bool stop, ended;
	/* Threads wait here until all are prepared. */
	pthread_mutex_t lock;
	pthread_cond_t changed;
	unsigned prepared;
	enum { STARTING, RUNNING, FAILED } start;
	struct err start_error;
};

/* ---- construction ---- */

static int check_config(const struct machine_config *c, struct err *e)
{
	if (!c->vcpus || c->vcpus > VM_VCPUS_MAX)
		return err_set(e, EINVAL, "virtual machine: %u vCPUs (1 to %d are possible)",
		    c->vcpus, VM_VCPUS_MAX);
	return kvm_check(c->kvm, c->vcpus, e);
}

static int make_vcpus(struct machine *m, struct err *e)
{
	for (; m->n_vcpus < m->config.vcpus; m->n_vcpus++) {
		struct vcpu *v = &m->vcpus[m->n_vcpus];
		int r = vcpu_new(m->config.kvm, m->vm, m->n_vcpus, m->config.vcpus, v, e);
		if (r < 0)
			return r;
		v->machine = m;
	}
	return 0;
}

int machine_new(const struct machine_config *c, struct machine **ret, struct err *e)
{
	int r = check_config(c, e);
	if (r < 0)
		return r;
	_cleanup_machine_ struct machine *m = xcalloc(1, sizeof(*m));
	m->config = *c;
	m->bus.serial = c->serial;
	m->bus.arg = c->serial_arg;
	pthread_mutex_init(&m->lock, NULL);
	pthread_cond_init(&m->changed, NULL);
	m->vm = kvm_create_vm(c->kvm, e);
	if (m->vm < 0)
		return m->vm;
	r = guest_memory_new(c->memory, &m->memory, e);
	if (r < 0)
		return r;
	r = kvm_set_memory(m->vm, &m->memory, e);
	if (r < 0)
		return r;
	void *windows =
	    mmap(NULL, WINDOWS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (windows == MAP_FAILED)
		return err_errno(e, errno, "virtual machine: map the devices' windows");
	m->windows = windows;
	r = make_vcpus(m, e);
	if (r < 0)
		return r;
	*ret = steal_ptr(m);
	return 0;
}

void machine_free(struct machine *m)
{
	if (!m)
		return;
	machine_stop(m);
	for (unsigned i = 0; i < m->n_vcpus; i++)
		vcpu_free(&m->vcpus[i]);
	for (unsigned i = 0; i < m->bus.n; i++)
		m->bus.devices[i]->ops->free(m->bus.devices[i]);
	/* KVM's references to the memory end with the VM's descriptor. */
	if (m->vm >= 0)
		close(m->vm);
	guest_memory_free(&m->memory);
	if (m->windows)
		munmap(m->windows, WINDOWS);
	pthread_cond_destroy(&m->changed);
	pthread_mutex_destroy(&m->lock);
	free(m);
}

const struct guest_memory *machine_memory(const struct machine *m)
{
	return &m->memory;
}

int machine_add(struct machine *m, struct virtio_device *d, struct err *e)
{
	int r;
	if (m->bus.n == VM_DEVICES_MAX)
		r = err_set(e, ENOSPC, "virtual machine: %s: more than %d devices", d->ops->name,
		    VM_DEVICES_MAX);
	else
		r = virtio_attach(d, &m->memory, m->windows + m->bus.n * VM_MMIO_SIZE, e);
	if (r >= 0)
		r = kvm_bind_device(m->vm, d, bus_window(m->bus.n), VM_IRQ_BASE + m->bus.n, e);
	if (r < 0) {
		d->ops->free(d);
		return r;
	}
	m->bus.devices[m->bus.n++] = d;
	return 0;
}

int machine_load(struct machine *m, struct err *e)
{
	struct acpi_device devices[VM_DEVICES_MAX];
	const struct machine_config *c = &m->config;
	struct boot_entry entry;
	const struct boot_files files = { c->kernel, c->kernel_name, c->initrd, c->cmdline };

	int r = boot_load(&files, &m->memory, &entry, e);
	if (r < 0)
		return r;
	r = kvm_map_windows(m->vm, m->windows, m->bus.n * VM_MMIO_SIZE, e);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < m->bus.n; i++)
		devices[i] =
		    (struct acpi_device){ (uint32_t)bus_window(i), VM_MMIO_SIZE, VM_IRQ_BASE + i };
	r = acpi_write(&m->memory, BOOT_ACPI, BOOT_ACPI_END, m->n_vcpus, devices, m->bus.n, e);
	return r < 0 ? r : vcpu_set_boot(&m->vcpus[0], &entry, e);
}

/* ---- threads ---- */

static int prepare_worker(void *arg, struct err *e)
{
	const struct worker *w = arg;
	return w->hooks->prepare ? w->hooks->prepare(w->hooks->arg, w->device, e) : 0;
}

/* Prepares this vCPU's thread and waits for the others. May the guest run? */
static bool wait_for_start(struct machine *m)
{
	struct err e = ERR_INIT;
	int r = m->hooks.prepare ? m->hooks.prepare(m->hooks.arg, NULL, &e) : 0;
	pthread_mutex_lock(&m->lock);
	m->prepared++;
	if (r < 0 && m->start != FAILED) {
		m->start = FAILED;
		m->start_error = e;
	}
	pthread_cond_broadcast(&m->changed);
	while (m->start == STARTING)
		pthread_cond_wait(&m->changed, &m->lock);
	bool run = m->start == RUNNING;
	pthread_mutex_unlock(&m->lock);
	return run;
}

static void *vcpu_thread(void *arg)
{
	struct vcpu *v = arg;
	struct machine *m = v->machine;
	enum machine_end end;
	char why[VCPU_WHY_MAX];

	snprintf(why, sizeof(why), "vcpu%u", v->id);
	pthread_setname_np(pthread_self(), why);
	if (!wait_for_start(m))
		return NULL;
	if (vcpu_run(v, &m->bus, &m->stop, &end, why) && !atomic_exchange(&m->ended, true))
		m->hooks.ended(m->hooks.arg, end, why);
	return NULL;
}

/* Threads inherit what is blocked: everything, the main loop reads signals by signalfd. */
static int make_threads(struct machine *m, struct err *e)
{
	sigset_t all, saved;
	int r = 0;
	pthread_attr_t attr;
	/* So small that no huge page goes into it. */
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, VCPU_STACK);
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &saved);
	for (unsigned i = 0; i < m->n_vcpus && !r; i++) {
		struct vcpu *v = &m->vcpus[i];
		r = pthread_create(&v->thread, &attr, vcpu_thread, v);
		v->has_thread = !r;
	}
	pthread_sigmask(SIG_SETMASK, &saved, NULL);
	pthread_attr_destroy(&attr);
	return r ? err_errno(e, r, "virtual machine: a thread for each of %u vCPUs", m->n_vcpus)
		 : 0;
}

/* Waits until every thread is prepared, and lets them run, or end. */
static int release(struct machine *m, int r, struct err *e)
{
	pthread_mutex_lock(&m->lock);
	while (r >= 0 && m->start == STARTING && m->prepared < m->n_vcpus)
		pthread_cond_wait(&m->changed, &m->lock);
	if (r < 0) {
		m->start = FAILED;
	} else if (m->start == FAILED) {
		*e = m->start_error;
		r = -e->code;
	} else {
		m->start = RUNNING;
	}
	pthread_cond_broadcast(&m->changed);
	pthread_mutex_unlock(&m->lock);
	return r;
}

int machine_start(struct machine *m, const struct machine_hooks *h, struct err *e)
{
	m->hooks = *h;
	for (unsigned i = 0; i < m->bus.n; i++) {
		m->workers[i] = (struct worker){ &m->hooks, m->bus.devices[i] };
		int r = virtio_start(m->bus.devices[i], prepare_worker, &m->workers[i], e);
		if (r < 0)
			return r;
	}
	int r = release(m, make_threads(m, e), e);
	if (r < 0)
		machine_stop(m);
	return r;
}

void machine_stop(struct machine *m)
{
	/* Whoever ends from here on has nobody to tell. */
	atomic_store(&m->ended, true);
	atomic_store(&m->stop, true);
	for (unsigned i = 0; i < m->n_vcpus; i++)
		if (m->vcpus[i].has_thread)
			pthread_kill(m->vcpus[i].thread, VM_KICK_SIGNAL);
	for (unsigned i = 0; i < m->n_vcpus; i++) {
		if (m->vcpus[i].has_thread)
			pthread_join(m->vcpus[i].thread, NULL);
		m->vcpus[i].has_thread = false;
	}
}
