/*
 * A monitor with nothing but a console, for tests/machine/run: boots a kernel with an initramfs,
 * shows its log, says how the machine ended and how long it took.
 *
 *     monitor KERNEL INITRD|- CMDLINE VCPUS MIB [serial|stop|disk FILE]
 *
 * serial: what the guest sends to port 0x3f8 is shown instead. stop: the machine is stopped from
 * outside when the log says "init: ready". disk: with more devices, FILE as a
 * read-only disk, an entropy device, a balloon. The exit status is enum machine_end's, 10 for
 * stopped, 99 for an error.
 */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "vm/devices.h"
#include "vm/machine.h"

enum { STOPPED = 10, FAILED = 99 };

static struct {
	struct loop *loop;
	struct timespec started;
	struct strbuf line;
	bool serial, stop;
	const char *disk;
	atomic_int end;
	char why[200];
} T = { .end = -1 };

static double elapsed_ms(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)(now.tv_sec - T.started.tv_sec) * 1e3 +
	       (double)(now.tv_nsec - T.started.tv_nsec) / 1e6;
}

/* Guest memory, and all the rest that is the monitor's own and private. */
static void memory(const struct guest_memory *m)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/smaps", "re");
	char line[512];
	unsigned long start = 0, end, guest = 0, own = 0, kb;
	while (f && fgets(line, sizeof(line), f)) {

		if (strchr(line, '-') && sscanf(line, "%lx-%lx ", &start, &end) == 2)
			continue;
		if (sscanf(line, "Private_Dirty: %lu", &kb) != 1)
			continue;
		bool in = start >= (unsigned long)m->regions[0].host &&
			  start < (unsigned long)m->regions[0].host + m->size;
		*(in ? &guest : &own) += kb;
	}
	printf("memory: guest %lu KiB, monitor %lu KiB\n", guest, own);
}

static struct machine *machine;

static void line_done(void)
{
	printf("%9.1f %s\n", elapsed_ms(), T.line.s ? T.line.s : "");
	if (T.line.s && strstr(T.line.s, "init: ready")) {
		memory(machine_memory(machine));
		if (T.stop) {
			T.end = STOPPED;
			loop_stop(T.loop);
		}
	}
	fflush(stdout);
	strbuf_free(&T.line);
	T.line = (struct strbuf){ 0 };
}

static void take(const uint8_t *buf, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (buf[i] == '\n')
			line_done();
		else if (buf[i] != '\r')
			strbuf_addn(&T.line, (const char *)buf + i, 1);
}

static void log_bytes(void *arg, const uint8_t *buf, size_t n)
{
	if (!T.serial)
		take(buf, n);
}

static void serial_byte(void *arg, uint8_t byte)
{
	take(&byte, 1);
}

static void ended(void *arg, enum machine_end end, const char *why)
{
	snprintf(T.why, sizeof(T.why), "%s", why);
	atomic_store(&T.end, (int)end);
	loop_stop(T.loop);
}

static int add_more(struct err *e)
{
	struct vm_disk disk = { open(T.disk, O_RDONLY | O_CLOEXEC), true, "a-serial" };
	struct virtio_device *d;
	int r = vm_blk_new(&disk, &d, e);
	if (r < 0 || (r = machine_add(machine, d, e)) < 0)
		return r;
	r = vm_rng_new(T.loop, &d, e);
	if (r < 0 || (r = machine_add(machine, d, e)) < 0)
		return r;
	r = vm_balloon_new(T.loop, &d, e);
	return r < 0 ? r : machine_add(machine, d, e);
}

static int boot(const struct machine_config *c, struct err *e)
{
	const struct console_handler h = { .log = log_bytes };
	const struct machine_hooks hooks = { .ended = ended };
	struct virtio_device *console;
	int r = machine_new(c, &machine, e);
	if (r < 0)
		return r;
	r = vm_console_new(T.loop, &h, &console, e);
	if (r < 0)
		return r;
	r = machine_add(machine, console, e);
	if (r < 0)
		return r;
	if (T.disk && (r = add_more(e)) < 0)
		return r;
	r = machine_load(machine, e);
	if (r < 0)
		return r;
	printf("loaded: %.1f ms\n", elapsed_ms());
	r = machine_start(machine, &hooks, e);
	if (r < 0)
		return r;
	r = loop_run(T.loop, e);
	machine_stop(machine);
	if (T.line.s)
		line_done();
	memory(machine_memory(machine));
	return r;
}

int main(int argc, char **argv)
{
	struct err e = ERR_INIT;
	if (argc < 6) {
		fprintf(
		    stderr, "monitor KERNEL INITRD|- CMDLINE VCPUS MIB [serial|stop|disk FILE]\n");
		return FAILED;
	}
	clock_gettime(CLOCK_MONOTONIC, &T.started);
	T.serial = argc > 6 && streq(argv[6], "serial");
	T.stop = argc > 6 && streq(argv[6], "stop");
	T.disk = argc > 7 && streq(argv[6], "disk") ? argv[7] : NULL;
	struct machine_config c = { .kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC),
		.kernel = open(argv[1], O_RDONLY | O_CLOEXEC),
		.kernel_name = argv[1],
		.initrd = streq(argv[2], "-") ? -EBADF : open(argv[2], O_RDONLY | O_CLOEXEC),
		.cmdline = argv[3],
		.vcpus = (unsigned)atoi(argv[4]),
		.memory = strtoull(argv[5], NULL, 10) << 20,
		.serial = T.serial ? serial_byte : NULL };
	int r = loop_new(&T.loop, &e);
	if (r >= 0)
		r = boot(&c, &e);
	if (r < 0)
		fprintf(stderr, "monitor: %s\n", e.msg);
	else
		printf("end: %d %s after %.1f ms\n", T.end, T.why, elapsed_ms());
	machine_free(machine);
	loop_free(T.loop);
	return r < 0 ? FAILED : T.end;
}
