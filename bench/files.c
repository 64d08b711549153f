/*
 * What a shared file system costs: the same work inside each machine, for bench/vm.
 *
 *   files DIR COUNT MIB
 *
 * Prints a line per phase, its name and milliseconds. Before a phase called "cold" the kernel's
 * caches are dropped, so that it sees what the other side serves and not what the guest remembers.
 * Ends with its input.
 */
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define BLOCK (1u << 20)

static unsigned count, mib;
static char block[BLOCK];

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static const char *name_of(unsigned i)
{
	static char name[32];

	snprintf(name, sizeof(name), "file-%u", i);
	return name;
}

static void create_all(void)
{
	for (unsigned i = 0; i < count; i++) {
		int fd = open(name_of(i), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

		if (fd < 0 || close(fd) < 0)
			err(1, "%s", name_of(i));
	}
}

static void stat_all(void)
{
	struct stat st;

	for (unsigned i = 0; i < count; i++)
		if (stat(name_of(i), &st) < 0)
			err(1, "%s", name_of(i));
}

/* As ls -l does. */
static void list_all(void)
{
	DIR *d = opendir(".");
	const struct dirent *e;
	struct stat st;
	unsigned n = 0;

	while (d && (e = readdir(d)))
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			n += S_ISREG(st.st_mode);
	if (n != count)
		errx(1, "%u files of %u", n, count);
	closedir(d);
}

static void unlink_all(void)
{
	for (unsigned i = 0; i < count; i++)
		if (unlink(name_of(i)) < 0)
			err(1, "%s", name_of(i));
}

static void write_large(void)
{
	int fd = open("large", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	for (unsigned i = 0; i < mib; i++)
		if (write(fd, block, BLOCK) != BLOCK)
			err(1, "write");
	if (close(fd) < 0)
		err(1, "close");
}

static void read_large(void)
{
	int fd = open("large", O_RDONLY | O_CLOEXEC);

	for (unsigned i = 0; i < mib; i++)
		if (read(fd, block, BLOCK) != BLOCK)
			err(1, "read");
	close(fd);
}

/* 4 KiB here and there, each page once at most. */
static void read_random(void)
{
	unsigned pages = mib * (BLOCK / 4096), at = 1;
	int fd = open("large", O_RDONLY | O_CLOEXEC);

	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_RANDOM);
	for (unsigned i = 0; i < count; i++) {
		at = (at * 1103515245u + 12345u) & 0x7fffffff;
		if (pread(fd, block, 4096, (off_t)(at % pages) * 4096) != 4096)
			err(1, "pread");
	}
	close(fd);
}

static void drop_caches(void)
{
	int fd = open("/proc/sys/vm/drop_caches", O_WRONLY | O_CLOEXEC);

	sync();
	if (fd < 0 || write(fd, "3", 1) != 1)
		err(1, "drop_caches");
	close(fd);
}

static const struct {
	const char *name;
	void (*fn)(void);
	int cold;
} phases[] = {
	{ "create", create_all, 0 },
	{ "stat", stat_all, 1 },
	{ "list", list_all, 1 },
	{ "unlink", unlink_all, 0 },
	{ "write", write_large, 0 },
	{ "read", read_large, 1 },
	{ "again", read_large, 0 },
	{ "random", read_random, 1 },
};

int main(int argc, char **argv)
{
	if (argc != 4)
		errx(2, "DIR COUNT MIB");
	count = (unsigned)atoi(argv[2]);
	mib = (unsigned)atoi(argv[3]);
	memset(block, 'x', sizeof(block));
	if ((mkdir(argv[1], 0755), chdir(argv[1])) < 0)
		err(1, "%s", argv[1]);
	for (size_t i = 0; i < sizeof(phases) / sizeof(*phases); i++) {
		if (phases[i].cold)
			drop_caches();
		double start = now();
		phases[i].fn();
		printf("files: %s %.1f\n", phases[i].name, now() - start);
		fflush(stdout);
	}
	unlink("large");
	puts("files: end");
	fflush(stdout);
	while (read(STDIN_FILENO, block, 1) > 0)
		;
	return 0;
}
