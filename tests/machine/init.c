/*
 * PID 1 of the guests of tests/machine: loads /modules/ in the order of their names, opens
 * /dev/hvc0, says what machine it sees, and ends as init.end=… of the command line says: off,
 * reboot, panic, spin (every CPU busy), idle,
 * memory (uses some, gives it back, waits for the balloon to report it; off).
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>
#include <time.h>
#include <unistd.h>

static void load_modules(void)
{
	struct dirent **names;
	int n = scandir("/modules", &names, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		char path[300];
		snprintf(path, sizeof(path), "/modules/%s", names[i]->d_name);
		int fd = open(path, O_RDONLY | O_CLOEXEC);
		struct stat st;
		if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
			syscall(SYS_finit_module, fd, "", 0);
		close(fd);
	}
}

/* The console device appears a moment after its driver. */
static void open_console(void)
{
	for (int i = 0; i < 2000; i++) {
		int fd = open("/dev/hvc0", O_RDWR);
		if (fd >= 0) {
			dup2(fd, 0);
			dup2(fd, 1);
			dup2(fd, 2);
			return;
		}
		usleep(1000);
	}
}

static void first_line_of(const char *path, char *buf, size_t size)
{
	FILE *f = fopen(path, "r");
	if (!f || !fgets(buf, (int)size, f))
		buf[0] = '\0';
	buf[strcspn(buf, "\n")] = '\0';
	if (f)
		fclose(f);
}

static int packages(void)
{
	int most = 0;
	for (int cpu = 0; cpu < get_nprocs(); cpu++) {
		char path[100], text[16];
		snprintf(path, sizeof(path),
		    "/sys/devices/system/cpu/cpu%d/topology/physical_package_id", cpu);
		first_line_of(path, text, sizeof(text));
		if (atoi(text) > most)
			most = atoi(text);
	}
	return most + 1;
}

/* What the other devices say, where they are. */
static void devices(void)
{
	char buf[33] = "";
	int fd = open("/dev/hwrng", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, buf, 32) : -1;
	if (n >= 0)
		printf("init: %zd random bytes\n", n);
	close(fd);
	memset(buf, 0, sizeof(buf));
	fd = open("/dev/vda", O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (pread(fd, buf, 32, 1 << 20) == 32)
		printf("init: the disk says %s\n", buf);
	close(fd);
	first_line_of("/sys/block/vda/serial", buf, sizeof(buf));
	char ro[4];
	first_line_of("/sys/block/vda/ro", ro, sizeof(ro));
	printf("init: its serial is %s, it is %s\n", buf, ro[0] == '1' ? "read-only" : "writable");
}

/* Uses 100 MiB and gives them back; the host gets them some time later, if there is a balloon. */
static void use_memory(void)
{
	size_t n = 100u << 20;
	char *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	memset(p, 1, n);
	munmap(p, n);
	sleep(8);
}

static void spin(void)
{
	for (int i = 1; i < get_nprocs(); i++)
		if (fork() == 0)
			for (;;)
				;
	for (;;)
		;
}

static void end(const char *how)
{
	if (!strcmp(how, "reboot"))
		reboot(RB_AUTOBOOT);
	if (!strcmp(how, "panic"))
		exit(3);
	if (!strcmp(how, "spin"))
		spin();
	if (!strcmp(how, "memory"))
		use_memory();
	if (!strcmp(how, "idle"))
		for (;;)
			pause();
	reboot(RB_POWER_OFF);
}

int main(void)
{
	char how[16] = "off", cmdline[4096], clock[64];
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sys", "/sys", "sysfs", 0, NULL);
	load_modules();
	open_console();
	first_line_of("/proc/cmdline", cmdline, sizeof(cmdline));
	first_line_of("/sys/devices/system/clocksource/clocksource0/current_clocksource", clock,
	    sizeof(clock));
	const char *p = strstr(cmdline, "init.end=");
	if (p)
		sscanf(p, "init.end=%15s", how);
	struct sysinfo s;
	sysinfo(&s);
	printf("init: up\n");
	printf("init: %d of %d CPUs in %d package, %lu MiB, clock %s, the year is %s\n",
	    get_nprocs(), get_nprocs_conf(), packages(), s.totalram >> 20, clock,
	    time(NULL) > 1600000000 ? "plausible" : "1970");
	struct timespec a, b;
	clock_gettime(CLOCK_MONOTONIC, &a);
	usleep(50000);
	clock_gettime(CLOCK_MONOTONIC, &b);
	long ms = (b.tv_sec - a.tv_sec) * 1000 + (b.tv_nsec - a.tv_nsec) / 1000000;
	printf("init: slept %s\n", ms >= 50 && ms < 2000 ? "as long as asked" : "wrongly");
	devices();
	printf("init: ready\n");
	end(how);
	return 1;
}
