#include "tests/unit/namespaces/sandbox.h"

#include <sys/ioctl.h>
#include <termios.h>

#include "namespaces/namespaces.h"

static void add_devpts(const char *opts)
{
	mkdir(SANDBOX "/dev", 0755);
	mkdir(SANDBOX "/dev/pts", 0755);
	CHECK_INT(mount("devpts", SANDBOX "/dev/pts", "devpts", 0, opts), 0);
}

static int open_console(int rootfd, bool bind, int *master, int *slave, struct err *e)
{
	struct spec_process p = { .console_size = { true, 101, 37 }, .user = { .uid = 7 } };

	*e = (struct err)ERR_INIT;
	*master = *slave = -EBADF;
	return console_open(&p, rootfd, bind, master, slave, e);
}

static void works_body(int rootfd)
{
	struct err e;
	struct winsize w;
	struct termios t;
	struct stat a, b;
	int m, s;

	add_devpts("newinstance,ptmxmode=0666,mode=0620");
	CHECK_INT(open_console(rootfd, true, &m, &s, &e), 0);
	CHECK_STR(e.msg, "");
	CHECK_INT(ioctl(s, TIOCGWINSZ, &w), 0);
	CHECK_INT(w.ws_col, 101);
	CHECK_INT(w.ws_row, 37);
	CHECK_INT(tcgetattr(s, &t), 0);
	CHECK(!(t.c_oflag & ONLCR));
	CHECK(t.c_oflag & OPOST);
	CHECK(fcntl(m, F_GETFD) & FD_CLOEXEC);
	CHECK(fcntl(s, F_GETFD) & FD_CLOEXEC);
	/* It is the container's own pty, at both of its names. */
	CHECK_INT(fstat(s, &a), 0);
	CHECK_INT(a.st_uid, 7);
	CHECK(
	    stat(SANDBOX "/dev/console", &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	CHECK(stat(SANDBOX "/dev/pts/0", &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev);
	int c = open(SANDBOX "/dev/console", O_WRONLY | O_NOCTTY);
	char buf[8] = "";
	CHECK_INT(write(c, "hi\n", 3), 3);
	CHECK_INT(read(m, buf, sizeof(buf)), 3);
	close(c);
	close(m);
	close(s);
}
TEST(works)
{
	in_sandbox(0, works_body);
}

static void no_devpts_body(int rootfd)
{
	struct err e;
	int m, s;

	CHECK_INT(open_console(rootfd, true, &m, &s, &e), -ENOENT);
	CHECK_HAS(e.msg, "/dev/pts");
	/* A directory that looks like one, with a device or with the host's ptmx behind a link. */
	mkdir(SANDBOX "/dev", 0755);
	mkdir(SANDBOX "/dev/pts", 0755);
	CHECK_INT(mknod(SANDBOX "/dev/pts/ptmx", S_IFCHR | 0666, makedev(5, 2)), 0);
	CHECK_INT(open_console(rootfd, true, &m, &s, &e), -EINVAL);
	CHECK_HAS(e.msg, "devpts");
	CHECK_INT(m, -EBADF);
	/* Another file system's root, which has the inode number of devpts'. */
	CHECK_INT(mount("pts", SANDBOX "/dev/pts", "tmpfs", 0, NULL), 0);
	CHECK_INT(mknod(SANDBOX "/dev/pts/ptmx", S_IFCHR | 0666, makedev(5, 2)), 0);
	CHECK_INT(open_console(rootfd, true, &m, &s, &e), -EINVAL);
	CHECK_HAS(e.msg, "/dev/pts is something else");
	CHECK_INT(umount(SANDBOX "/dev/pts"), 0);
	/* Its name as a symlink to a real devpts. */
	unlink(SANDBOX "/dev/pts/ptmx");
	rmdir(SANDBOX "/dev/pts");
	mkdir(SANDBOX "/elsewhere", 0755);
	CHECK_INT(
	    mount("devpts", SANDBOX "/elsewhere", "devpts", 0, "newinstance,ptmxmode=0666"), 0);
	CHECK_INT(symlink("../elsewhere", SANDBOX "/dev/pts"), 0);
	CHECK_INT(open_console(rootfd, true, &m, &s, &e), -ELOOP);
}
TEST(needs_a_real_devpts)
{
	in_sandbox(0, no_devpts_body);
}

/* Something else bound over the multiplexer inside a real devpts. */
static void hostile_ptmx_body(int rootfd)
{
	struct err e;
	int m, s;

	add_devpts("newinstance,ptmxmode=0666");
	make_file(SANDBOX "/plain", "");
	CHECK_INT(mount(SANDBOX "/plain", SANDBOX "/dev/pts/ptmx", NULL, MS_BIND, NULL), 0);
	CHECK_INT(open_console(rootfd, false, &m, &s, &e), -EINVAL);
	CHECK_HAS(e.msg, "ptmx");
	CHECK_INT(umount(SANDBOX "/dev/pts/ptmx"), 0);
	/* A slave, which is on devpts too. */
	int own = open(SANDBOX "/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC), zero = 0;
	CHECK_INT(ioctl(own, TIOCSPTLCK, &zero), 0);
	CHECK_INT(mount(SANDBOX "/dev/pts/0", SANDBOX "/dev/pts/ptmx", NULL, MS_BIND, NULL), 0);
	CHECK_INT(open_console(rootfd, false, &m, &s, &e), -EINVAL);
	CHECK_INT(umount(SANDBOX "/dev/pts/ptmx"), 0);
	CHECK_INT(open_console(rootfd, false, &m, &s, &e), 0);
	close(own);
}
TEST(hostile_ptmx)
{
	in_sandbox(0, hostile_ptmx_body);
}

/* The slave is the master's peer even when something else covers its name. */
static void hostile_slave_body(int rootfd)
{
	struct err e;
	struct stat st;
	int m, s, n = -1;

	add_devpts("newinstance,ptmxmode=0666");
	CHECK_INT(open_console(rootfd, false, &m, &s, &e), 0);
	make_file(SANDBOX "/plain", "");
	CHECK_INT(mount(SANDBOX "/plain", SANDBOX "/dev/pts/0", NULL, MS_BIND, NULL), 0);
	CHECK_INT(ioctl(m, TIOCGPTN, &n), 0);
	CHECK_INT(n, 0);
	close(m);
	close(s);
	CHECK_INT(open_console(rootfd, true, &m, &s, &e), 0);
	CHECK(fstat(s, &st) == 0 && S_ISCHR(st.st_mode));
}
TEST(hostile_slave)
{
	in_sandbox(0, hostile_slave_body);
}

static void console_target_body(int rootfd)
{
	struct err e;
	struct stat st;
	int m, s;

	add_devpts("newinstance,ptmxmode=0666");
	make_file(SANDBOX "/victim", "");
	CHECK_INT(symlink("/victim", SANDBOX "/dev/console"), 0);
	CHECK_INT(open_console(rootfd, true, &m, &s, &e), -ELOOP);
	CHECK_HAS(e.msg, "symbolic link");
	CHECK(stat(SANDBOX "/victim", &st) == 0 && S_ISREG(st.st_mode));
	unlink(SANDBOX "/dev/console");
	/* Dangling: nothing is made behind it. */
	CHECK_INT(symlink("/not_yet", SANDBOX "/dev/console"), 0);
	CHECK_INT(open_console(rootfd, true, &m, &s, &e), -ELOOP);
	CHECK(lstat(SANDBOX "/not_yet", &st) < 0);
	unlink(SANDBOX "/dev/console");
	CHECK_INT(mkdir(SANDBOX "/dev/console", 0755), 0);
	CHECK_INT(open_console(rootfd, true, &m, &s, &e), -EINVAL);
	rmdir(SANDBOX "/dev/console");
	CHECK_INT(mkfifo(SANDBOX "/dev/console", 0755), 0);
	CHECK_INT(open_console(rootfd, true, &m, &s, &e), -EINVAL);
	unlink(SANDBOX "/dev/console");
	CHECK_INT(mknod(SANDBOX "/dev/console", S_IFCHR | 0600, makedev(5, 1)), 0);
	CHECK_INT(open_console(rootfd, true, &m, &s, &e), 0);
	CHECK(stat(SANDBOX "/dev/console", &st) == 0 && major(st.st_rdev) == 136);
}
TEST(console_target)
{
	in_sandbox(0, console_target_body);
}

static void attach_body(int rootfd)
{
	struct err e = ERR_INIT;
	int m, s;

	add_devpts("newinstance,ptmxmode=0666");
	CHECK_INT(open_console(rootfd, false, &m, &s, &e), 0);
	fflush(stdout);
	pid_t pid = fork();
	if (pid == 0) {
		bool ok = console_attach(s, &e) == 0 && getsid(0) == getpid() && isatty(0) &&
			  isatty(1) && isatty(2) && open("/dev/tty", O_RDWR) >= 0 &&
			  !(fcntl(0, F_GETFD) & FD_CLOEXEC);
		_exit(ok ? 0 : 1);
	}
	int status = -1;
	waitpid(pid, &status, 0);
	CHECK_INT(status, 0);
}
TEST(attach)
{
	in_sandbox(0, attach_body);
}

TEST_MAIN(T(works), T(needs_a_real_devpts), T(hostile_ptmx), T(hostile_slave), T(console_target),
    T(attach))
