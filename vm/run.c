#include <linux/virtio_ids.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/str.h"
#include "vm/jail.h"
#include "vm/life.h"
#include "vm/machine.h"

/*
 * quiet: each line of the kernel's log costs an exit per buffer, and hundreds of them time.
 * panic=-1 reboot=t: a panic ends the machine at once, as a triple fault that KVM reports.
 * earlyprintk: what the kernel says before it has found the console device; silent while all is
 * well. Unlike earlycon it needs no driver of serial lines.
 * pci=off: there is no bus, and looking for one takes an exit for each of its slots.
 * dummy.numdummies=0: a container without a network sees loopback alone.
 */
#define COMMAND_LINE                                                                               \
	"quiet console=hvc0 earlyprintk=serial,0x3f8,115200 panic=-1 oops=panic reboot=t pci=off " \
	"random.trust_cpu=on no_timer_check tsc=reliable i8042.noaux 8250.nr_uarts=0 "             \
	"cgroup_no_v1=all systemd.unified_cgroup_hierarchy=1 net.ifnames=0 "                       \
	"dummy.numdummies=0"

#define EARLY_MAX 4096
#define WORDS_MAX 640 /* of the guest's kernel, behind an error */

struct vm {
	const struct vm_config *c;
	struct loop *loop;
	struct machine *machine;
	struct virtio_device *console;
	struct life *life;
	char *cmdline;
	pthread_mutex_t lock; /* of what vCPUs' threads write: */
	char early[EARLY_MAX];
	size_t early_len;
	char why[256];
};

/* ---- the console device and the life ---- */

static size_t on_agent(void *arg, const uint8_t *buf, size_t n)
{
	life_agent(((struct vm *)arg)->life, buf, n);
	return n;
}

static void on_agent_open(void *arg, bool open)
{
	life_agent_open(((struct vm *)arg)->life, open);
}

static void on_agent_drained(void *arg)
{
	life_agent_drained(((struct vm *)arg)->life);
}

static void on_log(void *arg, const uint8_t *buf, size_t n)
{
	life_sign(((struct vm *)arg)->life);
}

static size_t to_agent(void *arg, const struct gp_header *h, const void *body)
{
	struct virtio_device *console = ((struct vm *)arg)->console;

	vm_console_queue(console, h, sizeof(*h));
	return vm_console_send(console, body, h->length);
}

/* On a vCPU's thread: the last bytes stay. */
static void on_serial(void *arg, uint8_t byte)
{
	struct vm *v = arg;

	pthread_mutex_lock(&v->lock);
	if (v->early_len == sizeof(v->early)) {
		memmove(v->early, v->early + EARLY_MAX / 2, EARLY_MAX / 2);
		v->early_len = EARLY_MAX / 2;
	}
	v->early[v->early_len++] = (char)byte;
	pthread_mutex_unlock(&v->lock);
}

static void machine_has_ended(void *arg)
{
	struct vm *v = arg;

	life_machine_ended(v->life, v->why);
}

static void on_end(void *arg, enum machine_end end, const char *why)
{
	struct vm *v = arg;

	pthread_mutex_lock(&v->lock);
	snprintf(v->why, sizeof(v->why), "%s%s", why,
	    end == MACHINE_CRASH ? " (its kernel has crashed)" : "");
	pthread_mutex_unlock(&v->lock);
	(void)loop_post(v->loop, machine_has_ended, v);
}

/* ---- threads ---- */

static int jail_device(void *arg, const struct virtio_device *d, struct err *e)
{
	enum vm_thread kind = !d			   ? VM_THREAD_VCPU
			      : d->ops->id == VIRTIO_ID_FS ? VM_THREAD_FS
							   : VM_THREAD_BLK;

	return vm_jail_thread(kind, e);
}

static int jail_pump(void *arg, struct err *e)
{
	return vm_jail_thread(VM_THREAD_PUMP, e);
}

/* ---- put together ---- */

static int add_console(struct vm *v, struct err *e)
{
	const struct console_handler h = { .arg = v,
		.agent = on_agent,
		.agent_open = on_agent_open,
		.agent_drained = on_agent_drained,
		.log = on_log };
	int r = vm_console_new(v->loop, &h, &v->console, e);

	return r < 0 ? r : machine_add(v->machine, v->console, e);
}

static int add_nic(struct vm *v, const struct vm_nic *nic, struct err *e)
{
	struct virtio_device *d;
	int r = vm_net_new(v->loop, nic, &d, e);

	return r < 0 ? r : machine_add(v->machine, d, e);
}

static int add_disk(struct vm *v, const struct vm_disk *disk, struct err *e)
{
	struct virtio_device *d;
	int r = vm_blk_new(disk, &d, e);

	return r < 0 ? r : machine_add(v->machine, d, e);
}

static int add_devices(struct vm *v, struct err *e)
{
	struct virtio_device *d;
	int r;

	if ((r = add_console(v, e)) < 0 || (r = vm_fs_new(&v->c->fs, &d, e)) < 0 ||
	    (r = machine_add(v->machine, d, e)) < 0 || (r = vm_rng_new(v->loop, &d, e)) < 0 ||
	    (r = machine_add(v->machine, d, e)) < 0 || (r = vm_balloon_new(v->loop, &d, e)) < 0 ||
	    (r = machine_add(v->machine, d, e)) < 0)
		return r;
	for (size_t i = 0; i < v->c->n_disks && r == 0; i++)
		r = add_disk(v, &v->c->disks[i], e);
	for (size_t i = 0; i < v->c->n_nics && r == 0; i++)
		r = add_nic(v, &v->c->nics[i], e);
	return r;
}

static int build(struct vm *v, struct err *e)
{
	const struct vm_config *c = v->c;
	const struct machine_config m = {
		.kvm = c->kvm,
		.kernel = c->kernel,
		.kernel_name = c->kernel_name,
		.initrd = c->initrd,
		.cmdline = v->cmdline,
		.vcpus = c->vcpus,
		.memory = c->memory,
		.serial = on_serial,
		.serial_arg = v,
	};
	const struct life_config l = {
		.vm = c, .loop = v->loop, .send = to_agent, .send_arg = v, .prepare = jail_pump
	};
	int r;

	if ((r = machine_new(&m, &v->machine, e)) < 0 || (r = add_devices(v, e)) < 0 ||
	    (r = machine_load(v->machine, e)) < 0)
		return r;
	return life_new(&l, &v->life, e);
}

/*
 * The order of the jail: vCPUs and workers jail themselves before the machine runs, the streams'
 * threads when they are made; this thread when there is no more to make, before its loop hears the
 * first word of the guest.
 */
static int go(struct vm *v, struct err *e)
{
	const struct machine_hooks hooks = { .arg = v, .prepare = jail_device, .ended = on_end };
	int r;

	if ((r = machine_start(v->machine, &hooks, e)) < 0 ||
	    (r = vm_jail_thread(VM_THREAD_MAIN, e)) < 0)
		return r;
	return loop_run(v->loop, e);
}

/* ---- the guest's last words ---- */

/* Its lines, joined; what is no text becomes a blank. */
static void last_words(struct vm *v, struct strbuf *b)
{
	_cleanup_free_ char *log = xcalloc(1, VM_CONSOLE_LOG + EARLY_MAX);
	size_t n, from;

	pthread_mutex_lock(&v->lock);
	n = v->early_len;
	memcpy(log, v->early, n);
	pthread_mutex_unlock(&v->lock);
	if (v->console)
		n += vm_console_log(v->console, log + n, VM_CONSOLE_LOG);
	while (n && (unsigned char)log[n - 1] <= ' ')
		n--;
	from = n > WORDS_MAX ? n - WORDS_MAX : 0;
	for (size_t i = from; i < n; i++) {
		unsigned char c = (unsigned char)log[i];

		if (c == '\n')
			strbuf_add(b, " | ");
		else if (c >= ' ' && c < 0x7f)
			strbuf_addn(b, (const char *)&c, 1);
	}
}

static void add_last_words(struct vm *v, struct err *e)
{
	_cleanup_strbuf_ struct strbuf words = { 0 };
	size_t len = strlen(e->msg);

	last_words(v, &words);
	if (words.len)
		snprintf(e->msg + len, sizeof(e->msg) - len, "; the guest's kernel: %s", words.s);
}

/* What the guest's kernel has to do with: not an error that the agent explains itself. */
static bool is_machines_own(const struct err *e)
{
	return e->code == ECONNRESET || e->code == ETIMEDOUT || e->code == EPROTO;
}

int vm_run(const struct vm_config *c, int *ret_status, struct err *e)
{
	struct vm v = { .c = c, .lock = PTHREAD_MUTEX_INITIALIZER };
	int r = loop_new(&v.loop, e);

	if (r < 0)
		return r;
	v.cmdline =
	    c->parameters ? xasprintf("%s %s", COMMAND_LINE, c->parameters) : xstrdup(COMMAND_LINE);
	r = build(&v, e);
	if (r == 0)
		r = go(&v, e);
	if (r == 0)
		r = life_result(v.life, ret_status, e);
	if (r < 0 && v.machine && is_machines_own(e))
		add_last_words(&v, e);
	/* The process ends now, and the machine with it: nothing is taken apart. */
	return r;
}
