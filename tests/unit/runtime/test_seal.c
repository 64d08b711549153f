#include "runtime/seal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/unit/test.h"

static int in_data = 1, in_bss;
static const char *const in_relro[] = { "kept", "as well" };
static char self[4096];

static int memfd_of(const char *path)
{
	_cleanup_free_ char *text = NULL;
	int fd = memfd_create("bailey", MFD_CLOEXEC | MFD_ALLOW_SEALING), from;
	size_t len = 0;

	from = open(path, O_RDONLY | O_CLOEXEC);
	CHECK(fd >= 0 && from >= 0 && fd_read_all(from, 64 << 20, &text, &len) == 0);
	CHECK(fd_write_all(fd, text, len) == 0);
	close(from);
	return fd;
}

static int in_child(void (*fn)(void))
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		test_failed = 0;
		fn();
		fflush(stdout);
		_exit(test_failed);
	}
	return waitpid(pid, &status, 0) == pid ? status : -1;
}

static void write_relro(void)
{
	*(const char *volatile *)(uintptr_t)&in_relro[0] = "changed";
}

static void exchanged(void)
{
	_cleanup_free_ char *maps = NULL;
	char exe[4096] = "";
	int r, fd, copy = memfd_of("/proc/self/exe");

	in_data = 2;
	in_bss = 3;
	r = seal_in_place(copy);
	if (r == -EOPNOTSUPP || r == -EPERM) {
		printf("# SKIP not in place here: %s\n", strerror(-r));
		return;
	}
	CHECK_INT(r, 0);
	CHECK(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
	CHECK_STR(exe, "/memfd:bailey (deleted)");
	fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	CHECK_INT(fd_read_all(fd, 1 << 20, &maps, NULL), 0);
	close(fd);
	CHECK_HAS(maps, "memfd:bailey");
	CHECK(!strstr(maps, self));
	CHECK_INT(in_data, 2);
	CHECK_INT(in_bss, 3);
	CHECK_STR(in_relro[0], "kept");
	/* A child's copy of memory is in order, and what was read-only is. */
	CHECK_INT(in_child(write_relro), SIGSEGV);
}

TEST(in_place)
{
	CHECK(readlink("/proc/self/exe", self, sizeof(self) - 1) > 0);
	CHECK_INT(in_child(exchanged), 0);
}

static void sealed(void)
{
	struct err e = ERR_INIT;
	char *const argv[] = { self, NULL };
	char exe[4096] = "";
	int fd;

	/* Where it cannot be done in place, the whole test program runs again, from its copy. */
	CHECK(freopen("/dev/null", "w", stdout) != NULL);
	CHECK_INT(seal_self((char **)argv, &e), 0);
	CHECK(readlink("/proc/self/exe", exe, sizeof(exe) - 1) > 0);
	CHECK_HAS(exe, "memfd:");
	fd = open("/proc/self/exe", O_RDWR);
	CHECK(fd < 0 || write(fd, "x", 1) < 0);
	fd = open("/proc/self/exe", O_RDONLY);
	CHECK_INT(fcntl(fd, F_GET_SEALS), F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	CHECK_INT(seal_self((char **)argv, &e), 0);
}

TEST(nobody_can_write_to_it)
{
	CHECK_INT(in_child(sealed), 0);
}

TEST(another_program)
{
	int same = memfd_of("/proc/self/exe"), other = memfd_of("/bin/true");

	CHECK(seal_is_this_program(same));
	CHECK(!seal_is_this_program(other));
	close(same);
	close(other);
}

TEST_MAIN(T(in_place), T(nobody_can_write_to_it), T(another_program))
