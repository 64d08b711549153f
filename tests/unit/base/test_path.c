#include "base/path.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "tests/unit/test.h"

/* TMP/root is the container's, TMP/outside must never be reached. */
static char tmp[] = "/tmp/bailey-path-XXXXXX";
static int rootfd = -1;

static void shell(const char *script)
{
	pid_t pid = fork();
	int status = 0;

	if (pid == 0) {
		if (chdir(tmp) == 0)
			execl("/bin/sh", "sh", "-ec", script, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, &status, 0);
	CHECK_INT(status, 0);
}

/* The tree a test starts from; rootfd is its root. */
static void tree(const char *script)
{
	_cleanup_free_ char *root = xasprintf("%s/root", tmp);

	closep(&rootfd);
	shell("rm -rf root outside; mkdir -p root outside");
	shell(script);
	rootfd = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static bool exists(const char *path)
{
	_cleanup_free_ char *full = xasprintf("%s/%s", tmp, path);

	return access(full, F_OK) == 0;
}

/* Where an fd is, below tmp. */
static char *where(int fd)
{
	static char buf[4096];
	char link[FD_PATH_MAX];
	ssize_t n = readlink(fd_path(fd, link), buf, sizeof(buf) - 1);

	buf[n > 0 ? n : 0] = '\0';
	if (fd >= 0)
		close(fd);
	return strncmp(buf, tmp, strlen(tmp)) == 0 ? buf + strlen(tmp) : buf;
}

TEST(resolves_inside)
{
	tree("mkdir -p root/etc outside/deep; echo secret >outside/f; echo in >root/f;"
	     "ln -s ../../../../outside root/up; ln -s /etc root/abs; ln -s /f root/file");
	CHECK_STR(where(root_open(rootfd, "/abs", O_PATH, 0)), "/root/etc");
	CHECK_STR(where(root_open(rootfd, "file", O_PATH, 0)), "/root/f");
	CHECK_INT(root_open(rootfd, "up", O_PATH, 0), -ENOENT);
	CHECK_STR(where(root_open(rootfd, "../../f", O_PATH, 0)), "/root/f");
	CHECK_INT(root_open_nosym(rootfd, "abs", O_PATH, 0), -ELOOP);
	CHECK_STR(where(root_open_nosym(rootfd, "etc", O_PATH, 0)), "/root/etc");
}

TEST(mkdir_stays_inside)
{
	tree("ln -s ../outside root/l; ln -s /real root/m;"
	     "mkdir root/real; ln -s /nowhere root/dangling; echo x >root/file");
	CHECK_STR(where(root_mkdir_p(rootfd, "/a/b/../c", 0755)), "/root/a/c");
	CHECK_STR(where(root_mkdir_p(rootfd, "m/x/y", 0755)), "/root/real/x/y");
	CHECK_INT(root_mkdir_p(rootfd, "l/x", 0755), -ENOENT);
	CHECK_INT(root_mkdir_p(rootfd, "dangling/x", 0755), -ENOENT);
	CHECK_INT(root_mkdir_p(rootfd, "dangling", 0755), -ENOENT);
	CHECK_INT(root_mkdir_p(rootfd, "file/x", 0755), -ENOTDIR);
	CHECK_STR(where(root_mkdir_p(rootfd, "../../up/x", 0755)), "/root/up/x");
	CHECK_STR(where(root_mkdir_p(rootfd, "/", 0755)), "/root");
	CHECK(!exists("outside/x") && !exists("up") && !exists("root/nowhere"));
}

TEST(files_stay_inside)
{
	const char *base = NULL;
	int fd;

	tree("ln -s ../outside/f root/l; ln -s /g root/m;"
	     "echo x >root/g; mkdir root/d");
	CHECK_STR(where(root_create_file(rootfd, "/new/dir/f", 0644)), "/root/new/dir/f");
	CHECK_INT(root_create_file(rootfd, "l", 0644), -ENOENT);
	CHECK(!exists("outside/f"));
	CHECK_STR(where(root_create_file(rootfd, "m", 0644)), "/root/g");
	CHECK_STR(where(root_create_file(rootfd, "d", 0644)), "/root/d");
	fd = root_open_parent(rootfd, "d/x", 0755, &base);
	CHECK_STR(base, "x");
	CHECK_STR(where(fd), "/root/d");
	CHECK_INT(root_open_parent(rootfd, "d/", 0755, &base), -EINVAL);
	CHECK_INT(root_open_parent(rootfd, "d/..", 0755, &base), -EINVAL);
	CHECK_INT(root_open_parent(rootfd, "..", 0755, &base), -EINVAL);
}

TEST(normalizes)
{
	static const char *const rows[][2] = { { "/", "/" }, { "", "/" }, { "a/b", "/a/b" },
		{ "//a///b/", "/a/b" }, { "/a/./b", "/a/b" }, { "/a/../b", "/b" },
		{ "/../../b", "/b" }, { "/a/b/..", "/a" }, { "/..a/...", "/..a/..." },
		{ "a/..", "/" } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		_cleanup_free_ char *got = path_normalize(rows[i][0]);

		CHECK_STR(got, rows[i][1]);
	}
	_cleanup_free_ char *joined = path_join("/a", "b"), *absolute = path_join("/a", "/b"),
			    *slash = path_join("/", "b");
	CHECK_STR(joined, "/a/b");
	CHECK_STR(absolute, "/b");
	CHECK_STR(slash, "/b");
}

TEST(kinds_of_fd)
{
	tree("");

	_cleanup_close_ int proc = open("/proc", O_PATH), self = open("/proc/self", O_PATH),
			    null = open("/dev/null", O_PATH), zero = open("/dev/zero", O_PATH);

	CHECK(fd_is_procfs_root(proc) && fd_is_procfs(self) && !fd_is_procfs_root(self));
	CHECK(!fd_is_procfs(rootfd) && !fd_is_procfs_root(rootfd));
	CHECK(fd_is_chardev(null, 1, 3) && !fd_is_chardev(zero, 1, 3) &&
	      !fd_is_chardev(rootfd, 1, 3));
}

static void tidy(void)
{
	shell("rm -rf root outside");
	rmdir(tmp);
}

int main(void)
{
	const struct test tests[] = { T(resolves_inside), T(mkdir_stays_inside),
		T(files_stay_inside), T(normalizes), T(kinds_of_fd) };
	int bad = 0;

	if (!mkdtemp(tmp))
		return 1;
	atexit(tidy);
	for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		test_failed = 0;
		tests[i].fn();
		printf("%s %s\n", test_failed ? "not ok" : "ok", tests[i].name);
		bad |= test_failed;
	}
	return bad;
}
