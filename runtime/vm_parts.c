#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/kernel.h"
#include "base/str.h"
#include "runtime/vm_level.h"
#include "vm/machine.h"

#define KVM_DEVICE "/dev/kvm"
#define CPUINFO	   "/proc/cpuinfo"
/* The first processor is in it, with some of very many others. */
#define CPUINFO_FIRST 16384

void vm_parts_close(struct vm_parts *p)
{
	closep(&p->kvm);
	closep(&p->initrd);
	vm_root_close(&p->root);
	vm_kernel_free(&p->kernel);
	*p = (struct vm_parts)VM_PARTS_NONE;
}

/* In virtual machines whose host gives them no nested one there is a /dev/kvm now and then all the
 * same (of PVM), for guests made for it: an unmodified kernel would say nothing for ever. */
static int check_processor(struct err *e)
{
	_cleanup_close_ int fd = open(CPUINFO, O_RDONLY | O_CLOEXEC);
	char text[CPUINFO_FIRST + 1];
	ssize_t n = fd < 0 ? -1 : read(fd, text, CPUINFO_FIRST);

	text[n < 0 ? 0 : n] = '\0';
	if (kernel_cpuinfo_has_virtualization(text))
		return 0;
	return err_set(e, ENOTSUP,
	    "isolation level vm: " KVM_DEVICE " is there, but the processor has no hardware "
	    "virtualization (neither vmx nor svm in " CPUINFO "), without which no unmodified "
	    "kernel runs (in a virtual machine its host must allow nested ones)");
}

static int open_kvm(struct err *e)
{
	_cleanup_close_ int fd = open(KVM_DEVICE, O_RDWR | O_CLOEXEC);

	if (fd >= 0) {
		int r = check_processor(e);

		return r < 0 ? r : steal_fd(&fd);
	}
	if (errno == EACCES || errno == EPERM)
		return err_errno(e, errno,
		    "isolation level vm: open " KVM_DEVICE
		    " (its group, usually kvm, may: usermod -aG kvm USER)");
	if (errno == ENOENT || errno == ENXIO || errno == ENODEV)
		return err_errno(e, errno,
		    "isolation level vm: open " KVM_DEVICE
		    " (is virtualization on in the firmware, and kvm_intel or kvm_amd loaded? In a "
		    "virtual machine its host must allow nested ones)");
	return err_errno(e, errno, "isolation level vm: open " KVM_DEVICE);
}

static struct vm_places places(
    const struct globals *g, const struct spec *s, const struct settings *st)
{
	return (struct vm_places){
		.kernel = s && s->vm.kernel_path ? s->vm.kernel_path : st->kernel,
		/* one for a kernel that was not chosen with it would be another's */
		.initrd = s && s->vm.kernel_path ? s->vm.initrd : st->initrd,
		.program_dir = g->program_dir ? g->program_dir : host_program_dir(g->program),
		.rootless = g->is_rootless,
	};
}

/* ---- size ---- */

/* What the config limits the container's memory to; 0: nothing. */
static uint64_t memory_limit(const struct spec_resources *r)
{
	const char *max = spec_map_get(&r->unified, "memory.max");
	uint64_t v;

	if (r->memory.limit.set && r->memory.limit.v > 0)
		return (uint64_t)r->memory.limit.v;
	return max && parse_u64(max, &v) == 0 ? v : 0;
}

static uint64_t host_memory(void)
{
	struct sysinfo si;

	return sysinfo(&si) < 0 ? UINT64_MAX : (uint64_t)si.totalram * si.mem_unit;
}

static int choose_memory(
    const struct spec *s, const struct settings *st, uint64_t *ret, struct err *e)
{
	uint64_t limit = memory_limit(&s->resources), most = host_memory();
	uint64_t needed = limit ? vm_memory_for(limit < most ? limit : most) : VM_MEMORY_MIN;
	uint64_t want = s->vm.memory.set ? s->vm.memory.v : 0;

	if (want && want < needed)
		return err_set(e, ENOMEM,
		    ".vm.hwConfig.memory: %llu: the machine needs at least %llu bytes%s",
		    (unsigned long long)want, (unsigned long long)needed,
		    limit ? " for .linux.resources.memory.limit and its own kernel" : "");
	if (!want && limit)
		want = needed;
	if (!want && st->memory.set && st->memory.v < needed)
		return err_set(e, ENOMEM,
		    "%s: .vm.memory: %llu: a machine needs at least %llu bytes", st->path,
		    (unsigned long long)st->memory.v, (unsigned long long)needed);
	if (!want)
		want = st->memory.set ? st->memory.v : vm_memory_for(VM_MEMORY_DEFAULT);
	*ret = want / (2 * VM_MIB) * (2 * VM_MIB);
	return 0;
}

static unsigned own_cpus(void)
{
	cpu_set_t set;
	int n = sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : CPU_COUNT(&set);

	return n < 1 ? 1 : n > VM_VCPUS_MAX ? VM_VCPUS_MAX : (unsigned)n;
}

/* More CPUs than the quota lets run would wait for each other. */
static int choose_vcpus(
    const struct spec *s, const struct settings *st, unsigned *ret, struct err *e)
{
	const struct spec_cpu *cpu = &s->resources.cpu;
	uint64_t period = cpu->period.set && cpu->period.v ? cpu->period.v : 100000;
	unsigned most = own_cpus();

	if (s->vm.vcpus.set && s->vm.vcpus.v) {
		if (s->vm.vcpus.v > VM_VCPUS_MAX)
			return err_set(e, EINVAL, ".vm.hwConfig.vcpus: %u: must be 1 to %d",
			    s->vm.vcpus.v, VM_VCPUS_MAX);
		*ret = s->vm.vcpus.v;
		return 0;
	}
	if (cpu->quota.set && cpu->quota.v > 0) {
		uint64_t n = ((uint64_t)cpu->quota.v + period - 1) / period;

		*ret = n < most ? (unsigned)n : most;
		return 0;
	}
	*ret = st->vcpus.set ? st->vcpus.v : most;
	return 0;
}

static const char *join_parameters(struct arena *a, const struct spec_strv *v)
{
	const char *all = NULL;

	for (size_t i = 0; i < v->n; i++)
		all = all ? arena_printf(a, "%s %s", all, v->v[i]) : v->v[i];
	return all;
}

static enum vm_disks disks_of(const struct vm_root *root)
{
	if (!root->wanted)
		return VM_DISKS_NONE;
	return root->scratch ? VM_DISKS_SCRATCH : VM_DISKS_IMAGE;
}

int vm_parts_open(const struct globals *g, const struct spec *s, const struct settings *st,
    const struct vm_root *root, struct vm_parts *ret, struct err *e)
{
	struct vm_parts p = VM_PARTS_NONE;
	struct vm_places where = places(g, s, st);
	uint64_t size;
	int r;

	if ((r = choose_memory(s, st, &p.memory, e)) < 0 ||
	    (r = choose_vcpus(s, st, &p.vcpus, e)) < 0)
		return r;
	p.usable = vm_memory_usable(p.memory);
	p.extra = p.memory - p.usable + vm_overhead(p.memory, p.vcpus);
	p.patience = st->patience.set ? st->patience.v : 0;
	p.parameters = join_parameters(
	    s->arena, s->vm.kernel_parameters.n ? &s->vm.kernel_parameters : &st->parameters);
	where.disks = disks_of(root);
	p.root = *root;
	p.kvm = r = open_kvm(e);
	if (r < 0 || (r = vm_root_open(&p.root, s->bundle, e)) < 0 ||
	    (r = vm_kernel_find(&where, &p.kernel, e)) < 0 ||
	    (r = vm_initramfs(&where, &p.kernel, &p.initrd, &size, e)) < 0) {
		vm_parts_close(&p);
		return r;
	}
	*ret = p;
	return 0;
}

char *vm_unavailable(const struct globals *g)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_vm_kernel_ struct vm_kernel k = VM_KERNEL_NONE;
	_cleanup_close_ int kvm = -EBADF;
	struct settings st;
	struct err e = ERR_INIT;

	if (settings_load(a, &st, &e) == 0 && (kvm = open_kvm(&e)) >= 0) {
		const struct vm_places where = places(g, NULL, &st);

		(void)vm_kernel_find(&where, &k, &e);
	}
	return e.code ? xstrdup(e.msg) : NULL;
}

/* ---- the host's cgroup ---- */

/* Numbers only: "max" stays what it is. */
static const char *raise_to(struct arena *a, const char *value, uint64_t most)
{
	uint64_t v;

	return parse_u64(value, &v) < 0 ? value : arena_printf(a, "%llu", (unsigned long long)most);
}

static struct spec_map host_unified(struct arena *a, const struct spec_map *in, uint64_t most)
{
	static const char *const raise[] = { "memory.max", "memory.high" };
	struct spec_map out = { .v = arena_calloc(a, in->n, sizeof(struct spec_kv)) };

	for (size_t i = 0; i < in->n; i++) {
		struct spec_kv kv = in->v[i];

		if (startswith(kv.key, "pids."))
			continue;
		for (size_t j = 0; j < ARRAY_SIZE(raise); j++)
			if (streq(kv.key, raise[j]))
				kv.value = raise_to(a, kv.value, most);
		out.v[out.n++] = kv;
	}
	return out;
}

/* The limit of memory and swap together keeps its distance to the limit of memory; where that is
 * not told (update), to the one that the machine was made for. */
static void raise_memory(struct spec_memory *m, uint64_t usable, uint64_t most)
{
	int64_t limit = m->limit.set && m->limit.v > 0 ? m->limit.v : 0;
	int64_t from = limit ? limit : (int64_t)usable;

	if (m->swap.set && m->swap.v >= from)
		m->swap.v = m->swap.v - from > INT64_MAX - (int64_t)most
				? -1
				: (int64_t)most + (m->swap.v - from);
	if (limit)
		m->limit.v = (int64_t)most;
}

struct spec_resources vm_host_resources(
    struct arena *a, const struct spec_resources *in, uint64_t usable, uint64_t extra)
{
	struct spec_resources out = *in;
	uint64_t most = usable + extra;

	raise_memory(&out.memory, usable, most);
	out.memory.check_before_update = (struct opt_bool){ 0 }; /* the guest's to answer */
	out.pids_limit = (struct opt_i64){ 0 }; /* the monitor's threads are not the container's */
	out.unified = host_unified(a, &in->unified, most);
	return out;
}
