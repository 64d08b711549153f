#include "vm/cache.h"

#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "tests/unit/vm/files.h"

#define CONTENTS (4u << 20)

static struct err e;

/* Slowly, and never the same twice: "BEGIN", then as many bytes as CONTENTS says. */
static int fill(int fd, const char *path, void *arg, struct err *err)
{
	_cleanup_free_ char *buf = xcalloc(1, CONTENTS);

	if (arg && fd_write_all(*(int *)arg, "x", 1) < 0)
		return -EIO;
	for (unsigned i = 0; i < 64; i++) {
		int r = fd_write_all(fd, buf + i * (CONTENTS / 64), CONTENTS / 64);

		if (r < 0)
			return err_errno(err, -r, "write %s", path);
		usleep(1000);
	}
	return 0;
}
static int fill_nothing_and_fail(int fd, const char *path, void *arg, struct err *err)
{
	return err_set(err, EXDEV, "%s: no", path);
}

static int open_cache(struct cache *c)
{
	e = (struct err)ERR_INIT;
	return cache_open(files_dir, false, c, &e);
}
static off_t size_of(const char *name)
{
	_cleanup_free_ char *path = files_path(name);
	struct stat st;

	return lstat(path, &st) < 0 ? -1 : st.st_size;
}

/* One of 20 processes at first use: the inode that it got, of a whole file. */
static void first_use(int report, int made)
{
	_cleanup_cache_ struct cache c = CACHE_NONE;
	struct stat st = { 0 };
	int fd = -1;

	if (open_cache(&c) == 0 && cache_make(&c, "f-1", fill, &made, &fd, &e) == 0 &&
	    fstat(fd, &st) == 0 && st.st_size != CONTENTS)
		st.st_ino = 0;
	_exit(fd_write_all(report, &st.st_ino, sizeof(st.st_ino)) < 0);
}

TEST(twenty_at_first_use_make_one_file)
{
	int report[2], made[2], n = 0;
	ino_t ino[20] = { 0 };
	char makers[32];

	files_begin();
	CHECK(pipe(report) == 0 && pipe(made) == 0);
	for (int i = 0; i < 20; i++)
		if (fork() == 0)
			first_use(report[1], made[1]);
	close(report[1]);
	close(made[1]);
	while (n < 20 && read(report[0], &ino[n], sizeof(ino[n])) == sizeof(ino[n]))
		n++;
	CHECK_INT(n, 20);
	for (int i = 0; i < n; i++)
		CHECK(ino[i] != 0 && ino[i] == ino[0]);
	CHECK_INT(read(made[0], makers, sizeof(makers)), 1);
	CHECK_INT(size_of("f-1"), CONTENTS);
	CHECK_INT(size_of(".new"), -1);
	while (wait(NULL) > 0)
		;
	close(report[0]);
	close(made[0]);
	files_end();
}

/* Whenever a maker dies, there is no file or a whole one, and the next one is not held up. */
TEST(killed_makers)
{
	_cleanup_cache_ struct cache c = CACHE_NONE;
	_cleanup_close_ int fd = -1;
	unsigned unfinished = 0, whole = 0;

	files_begin();
	CHECK_INT(open_cache(&c), 0);
	for (unsigned i = 0; i < 40; i++) {
		int made[2];
		char one;
		pid_t pid;

		CHECK_INT(pipe(made), 0);
		pid = fork();
		if (pid == 0) {
			first_use(open("/dev/null", O_WRONLY), made[1]);
		}
		CHECK_INT(read(made[0], &one, 1), 1);
		/* The last one lives. */
		if (i < 39) {
			usleep(i * i * 100);
			kill(pid, SIGKILL);
		}
		waitpid(pid, NULL, 0);
		unfinished += size_of(".new") >= 0;
		CHECK(size_of("f-1") == -1 || size_of("f-1") == CONTENTS);
		whole += size_of("f-1") >= 0;
		unlinkat(c.fd, "f-1", 0);
		close(made[0]);
		close(made[1]);
	}
	CHECK(unfinished > 0 && whole > 0);
	CHECK_INT(cache_make(&c, "f-1", fill, NULL, &fd, &e), 0);
	CHECK_INT(lseek(fd, 0, SEEK_END), CONTENTS);
	CHECK_INT(size_of(".new"), -1);
	files_end();
}

/* What somebody else could have put there is not read. */
TEST(untrusted_places)
{
	_cleanup_cache_ struct cache c = CACHE_NONE;
	_cleanup_close_ int fd = -1;
	_cleanup_free_ char *file = NULL, *link = NULL, *there = NULL;

	files_begin();
	file = files_path("f-1");
	link = files_path("link");
	there = files_path("there");
	chmod(files_dir, 0770);
	CHECK_INT(open_cache(&c), -EPERM);
	CHECK_HAS(e.msg, "others may write to it (mode 0770)");
	chmod(files_dir, 0702);
	CHECK_INT(open_cache(&c), -EPERM);
	chmod(files_dir, 0755);
	if (geteuid() == 0) {
		CHECK_INT(chown(files_dir, 12345, 0), 0);
		CHECK_INT(open_cache(&c), -EPERM);
		CHECK_HAS(e.msg, "owned by user 12345");
		CHECK_INT(chown(files_dir, 0, 0), 0);
	}
	mkdir(there, 0700);
	CHECK_INT(symlink(there, link), 0);
	CHECK(cache_open(link, false, &c, &e) < 0);
	CHECK_HAS(e.msg, "shall be the directory");
	CHECK(c.fd < 0);

	e = (struct err)ERR_INIT;
	CHECK_INT(open_cache(&c), 0);
	CHECK_INT(cache_get(&c, "f-1"), -ENOENT);
	CHECK_INT(symlink("/etc/passwd", file), 0);
	CHECK_INT(cache_get(&c, "f-1"), -ELOOP);
	unlink(file);
	files_text("f-1", "planted");
	chmod(file, 0666);
	CHECK_INT(cache_get(&c, "f-1"), -ENOENT);
	/* Made anew in its place. */
	CHECK_INT(cache_make(&c, "f-1", fill, NULL, &fd, &e), 0);
	CHECK_INT(lseek(fd, 0, SEEK_END), CONTENTS);
	CHECK_INT(size_of("f-1"), CONTENTS);
	files_end();
}

TEST(no_place_is_no_error)
{
	struct cache c = CACHE_NONE;
	_cleanup_close_ int fd = -1;

	e = (struct err)ERR_INIT;
	CHECK_INT(cache_open("/proc/none/there", false, &c, &e), 0);
	CHECK(c.fd < 0);
	unsetenv("HOME");
	unsetenv("XDG_CACHE_HOME");
	CHECK_INT(cache_open(NULL, true, &c, &e), 0);
	CHECK(c.fd < 0);
	files_begin();
	setenv("HOME", files_dir, 1);
	CHECK_INT(cache_open(NULL, true, &c, &e), 0);
	CHECK(c.fd >= 0 && endswith(c.path, "/.cache/bailey"));
	CHECK_INT(cache_make(&c, "f-1", fill_nothing_and_fail, NULL, &fd, &e), -EXDEV);
	CHECK_HAS(e.msg, "/.cache/bailey/f-1: no");
	CHECK_INT(size_of(".cache/bailey/f-1"), -1);
	CHECK_INT(size_of(".cache/bailey/.new"), -1);
	cache_close(&c);
	setenv("XDG_CACHE_HOME", files_dir, 1);
	CHECK_INT(cache_open(NULL, true, &c, &e), 0);
	CHECK(c.path && startswith(c.path, files_dir) && !strstr(c.path, ".cache"));
	cache_close(&c);
	files_end();
}

TEST(old_files_go)
{
	_cleanup_cache_ struct cache c = CACHE_NONE;
	_cleanup_close_ int fd = -1;
	char name[16];

	files_begin();
	CHECK_INT(open_cache(&c), 0);
	files_text("g-1", "of another kind");
	for (int i = 0; i < CACHE_KEEP + 4; i++) {
		snprintf(name, sizeof(name), "f-%d", i);
		files_text(name, "x");
		utimensat(c.fd, name,
		    (struct timespec[2]){ { .tv_sec = i + 1 }, { .tv_sec = i + 1 } }, 0);
	}
	CHECK_INT(cache_make(&c, "f-new", fill, NULL, &fd, &e), 0);
	CHECK_INT(size_of("f-new"), CONTENTS);
	CHECK_INT(size_of("g-1"), 15);
	CHECK_INT(size_of("f-4"), -1);
	CHECK_INT(size_of("f-5"), 1);
	CHECK_INT(size_of("f-11"), 1);
	files_end();
}

TEST_MAIN(T(twenty_at_first_use_make_one_file), T(killed_makers), T(untrusted_places),
    T(no_place_is_no_error), T(old_files_go))
