#include "tests/unit/namespaces/sandbox.h"

#include "namespaces/namespaces.h"

#define OPT(x)                        \
	{                             \
		.set = true, .v = (x) \
	}
/* A spec with these devices. */
#define SPEC(...)                                    \
	struct spec_device devs[] = { __VA_ARGS__ }; \
	struct spec s = { 0 };                       \
	s.devices.v = devs;                          \
	s.devices.n = sizeof(devs) / sizeof(devs[0])

static int make(const struct spec *s, bool bind, int rootfd, struct err *e)
{
	_cleanup_device_set_ struct device_set *d = NULL;
	int r;

	*e = (struct err)ERR_INIT;
	r = devices_open(s, bind, &d, e);
	return r < 0 ? r : devices_make(d, s, rootfd, e);
}

static void defaults_body(int rootfd)
{
	struct spec s = { 0 };
	struct err e;
	struct stat st;
	char buf[64] = "";

	umask(077);
	CHECK_INT(make(&s, false, rootfd, &e), 0);
	CHECK_STR(e.msg, "");
	CHECK(is_char(SANDBOX "/dev/null", 1, 3));
	CHECK(is_char(SANDBOX "/dev/zero", 1, 5));
	CHECK(is_char(SANDBOX "/dev/full", 1, 7));
	CHECK(is_char(SANDBOX "/dev/random", 1, 8));
	CHECK(is_char(SANDBOX "/dev/urandom", 1, 9));
	CHECK(is_char(SANDBOX "/dev/tty", 5, 0));
	CHECK_INT(stat(SANDBOX "/dev/null", &st), 0);
	CHECK_INT(st.st_mode & 07777, 0666);
	CHECK_INT(stat(SANDBOX "/dev", &st), 0);
	CHECK_INT(st.st_mode & 07777, 0755);
	CHECK_INT(umask(0), 077); /* given back */
	CHECK(readlink(SANDBOX "/dev/ptmx", buf, sizeof(buf) - 1) > 0);
	CHECK_STR(buf, "pts/ptmx");
	memset(buf, 0, sizeof(buf));
	CHECK(readlink(SANDBOX "/dev/stderr", buf, sizeof(buf) - 1) > 0);
	CHECK_STR(buf, "/proc/self/fd/2");
	CHECK(lstat(SANDBOX "/dev/core", &st) < 0); /* there is no /proc/kcore */
	/* A second time changes nothing. */
	CHECK_INT(make(&s, false, rootfd, &e), 0);
}
TEST(defaults)
{
	in_sandbox(0, defaults_body);
}

static void configured_body(int rootfd)
{
	SPEC({ .path = "/dev/net/tun",
		 .type = 'u',
		 .major = 10,
		 .minor = 200,
		 .file_mode = OPT(0640),
		 .uid = OPT(12),
		 .gid = OPT(34) },
	    { .path = "/dev/loop9", .type = 'b', .major = 7, .minor = 9 },
	    { .path = "/opt/fifo", .type = 'p', .file_mode = OPT(0622) },
	    { .path = "//dev/./null",
		.type = 'c',
		.major = 1,
		.minor = 3,
		.file_mode = OPT(0600) });
	struct err e;
	struct stat st;

	CHECK_INT(make(&s, false, rootfd, &e), 0);
	CHECK_STR(e.msg, "");
	CHECK(is_char(SANDBOX "/dev/net/tun", 10, 200));
	CHECK_INT(stat(SANDBOX "/dev/net/tun", &st), 0);
	CHECK_INT(st.st_mode & 07777, 0640);
	CHECK_INT(st.st_uid, 12);
	CHECK_INT(st.st_gid, 34);
	CHECK_INT(stat(SANDBOX "/dev/loop9", &st), 0);
	CHECK(S_ISBLK(st.st_mode) && st.st_rdev == makedev(7, 9));
	CHECK_INT(stat(SANDBOX "/opt/fifo", &st), 0);
	CHECK(S_ISFIFO(st.st_mode));
	CHECK_INT(st.st_mode & 07777, 0622);
	/* The configured /dev/null takes the place of the default one. */
	CHECK_INT(stat(SANDBOX "/dev/null", &st), 0);
	CHECK_INT(st.st_mode & 07777, 0600);
}
TEST(configured)
{
	in_sandbox(0, configured_body);
}

static void existing_body(int rootfd)
{
	SPEC({ .path = "/dev/fuse",
	    .type = 'c',
	    .major = 10,
	    .minor = 229,
	    .file_mode = OPT(0604) });
	struct spec none = { 0 };
	struct err e;
	struct stat st;

	/* The same device: kept, with the mode that the configuration asks for. */
	make_null();
	CHECK_INT(chmod(SANDBOX "/dev/null", 0640), 0);
	CHECK_INT(mknod(SANDBOX "/dev/fuse", S_IFCHR | 0666, makedev(10, 229)), 0);
	CHECK_INT(make(&s, false, rootfd, &e), 0);
	CHECK_INT(stat(SANDBOX "/dev/fuse", &st), 0);
	CHECK_INT(st.st_mode & 07777, 0604);
	CHECK_INT(stat(SANDBOX "/dev/null", &st), 0);
	CHECK_INT(st.st_mode & 07777, 0640);
	/* Another number. */
	CHECK_INT(unlink(SANDBOX "/dev/null"), 0);
	CHECK_INT(mknod(SANDBOX "/dev/null", S_IFCHR | 0666, makedev(1, 5)), 0);
	CHECK_INT(make(&none, false, rootfd, &e), -EEXIST);
	CHECK_HAS(e.msg, "/dev/null");
	CHECK_HAS(e.msg, "another device");
	/* The number on another type. */
	CHECK_INT(unlink(SANDBOX "/dev/null"), 0);
	CHECK_INT(mknod(SANDBOX "/dev/null", S_IFBLK | 0666, makedev(1, 3)), 0);
	CHECK_INT(make(&none, false, rootfd, &e), -EEXIST);
	/* A plain file. */
	CHECK_INT(unlink(SANDBOX "/dev/null"), 0);
	make_file(SANDBOX "/dev/null", "x");
	CHECK_INT(make(&none, false, rootfd, &e), -EEXIST);
	CHECK_HAS(e.msg, "a file");
}
TEST(existing)
{
	in_sandbox(0, existing_body);
}

/* The image chooses neither where devices go nor what they are taken for. */
static void symlinks_body(int rootfd)
{
	SPEC({ .path = "/dev/net/tun", .type = 'c', .major = 10, .minor = 200 });
	struct spec none = { 0 };
	struct err e;
	struct stat st;

	CHECK_INT(mkdir(SANDBOX "/volume", 0755), 0);
	CHECK_INT(symlink("/volume", SANDBOX "/dev"), 0);
	CHECK_INT(make(&none, false, rootfd, &e), -ELOOP);
	CHECK_HAS(e.msg, "symbolic link");
	CHECK(lstat(SANDBOX "/volume/null", &st) < 0);
	CHECK_INT(unlink(SANDBOX "/dev"), 0);
	/* Up and out. */
	CHECK_INT(symlink("../../../tmp", SANDBOX "/dev"), 0);
	CHECK_INT(make(&none, false, rootfd, &e), -ELOOP);
	CHECK_INT(unlink(SANDBOX "/dev"), 0);
	/* Dangling: nothing is made where it points to. */
	CHECK_INT(symlink("nowhere", SANDBOX "/dev"), 0);
	CHECK_INT(make(&none, false, rootfd, &e), -ELOOP);
	CHECK(lstat(SANDBOX "/nowhere", &st) < 0);
	CHECK_INT(unlink(SANDBOX "/dev"), 0);
	/* A directory further down. */
	CHECK_INT(mkdir(SANDBOX "/dev", 0755), 0);
	CHECK_INT(symlink("/volume", SANDBOX "/dev/net"), 0);
	CHECK_INT(make(&s, false, rootfd, &e), -ELOOP);
	CHECK(lstat(SANDBOX "/volume/tun", &st) < 0);
	/* The node itself, even when it leads to the right device. */
	CHECK_INT(mknod(SANDBOX "/volume/null", S_IFCHR | 0666, makedev(1, 3)), 0);
	CHECK_INT(unlink(SANDBOX "/dev/null"), 0);
	CHECK_INT(symlink("/volume/null", SANDBOX "/dev/null"), 0);
	CHECK_INT(make(&none, false, rootfd, &e), -EEXIST);
	CHECK_HAS(e.msg, "a symbolic link");
	CHECK_INT(make(&none, true, rootfd, &e), -EEXIST);
}
TEST(symlinks)
{
	in_sandbox(0, symlinks_body);
}

static void links_body(int rootfd)
{
	struct spec s = { 0 };
	struct err e;
	char buf[64] = "";

	CHECK_INT(mkdir(SANDBOX "/dev", 0755), 0);
	CHECK_INT(mkdir(SANDBOX "/proc", 0755), 0);
	make_file(SANDBOX "/proc/kcore", "");
	CHECK_INT(symlink("/etc/own", SANDBOX "/dev/stdin"), 0);
	CHECK_INT(symlink("/etc/shadow", SANDBOX "/dev/ptmx"), 0);
	CHECK_INT(make(&s, false, rootfd, &e), 0);
	CHECK(readlink(SANDBOX "/dev/stdin", buf, sizeof(buf) - 1) > 0);
	CHECK_STR(buf, "/etc/own");
	memset(buf, 0, sizeof(buf));
	CHECK(readlink(SANDBOX "/dev/ptmx", buf, sizeof(buf) - 1) > 0);
	CHECK_STR(buf, "pts/ptmx");
	memset(buf, 0, sizeof(buf));
	CHECK(readlink(SANDBOX "/dev/core", buf, sizeof(buf) - 1) > 0);
	CHECK_STR(buf, "/proc/kcore");
	/* A directory cannot become the link. */
	CHECK_INT(unlink(SANDBOX "/dev/ptmx"), 0);
	CHECK_INT(mkdir(SANDBOX "/dev/ptmx", 0755), 0);
	CHECK(make(&s, false, rootfd, &e) < 0);
	CHECK_HAS(e.msg, "/dev/ptmx");
}
TEST(links_are_replaced_where_they_must)
{
	in_sandbox(0, links_body);
}

/* Host's nodes opened outside, placed in a user namespace where no node can be made. */
static void bind_body(int rootfd)
{
	SPEC({ .path = "/dev/elsewhere", .type = 'c', .major = 1, .minor = 7 },
	    { .path = "/dev/pipe", .type = 'p' });
	_cleanup_device_set_ struct device_set *d = NULL;
	struct err e = ERR_INIT;
	struct stat st;
	int fd;

	CHECK_INT(devices_open(&s, true, &d, &e), 0);
	CHECK_STR(e.msg, "");
	if (!d)
		return;
	CHECK_INT(unshare(CLONE_NEWUSER | CLONE_NEWNS), 0);
	make_file("/proc/self/setgroups", "deny");
	make_file("/proc/self/uid_map", "0 0 1");
	make_file("/proc/self/gid_map", "0 0 1");
	CHECK_INT(mount("root", SANDBOX, "tmpfs", 0, "mode=755"), 0);
	rootfd = open(SANDBOX, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(mkdir(SANDBOX "/dev", 0755), 0);
	make_file(SANDBOX "/dev/zero", ""); /* left by a run before */
	CHECK_INT(devices_make(d, &s, rootfd, &e), 0);
	CHECK_STR(e.msg, "");
	CHECK(is_char(SANDBOX "/dev/null", 1, 3));
	CHECK(is_char(SANDBOX "/dev/zero", 1, 5));
	/* The host has no node of that name, but one of that number. */
	CHECK(is_char(SANDBOX "/dev/elsewhere", 1, 7));
	CHECK(stat(SANDBOX "/dev/pipe", &st) == 0 && S_ISFIFO(st.st_mode));
	fd = open(SANDBOX "/dev/null", O_RDWR);
	CHECK(fd >= 0); /* a real one */
	close(fd);
	close(rootfd);
}
TEST(bind_in_user_namespace)
{
	in_sandbox(0, bind_body);
}

static void bind_unknown_body(int rootfd)
{
	SPEC({ .path = "/dev/nosuch", .type = 'c', .major = 250, .minor = 77 });
	struct err e;

	/* Neither by name nor by number; and a name of another number is not taken. */
	CHECK_INT(make(&s, true, rootfd, &e), -ENODEV);
	CHECK_HAS(e.msg, ".linux.devices[0]: /dev/nosuch");
	devs[0].path = "/dev/zero";
	CHECK_INT(make(&s, true, rootfd, &e), -ENODEV);
}
TEST(bind_takes_only_that_device)
{
	in_sandbox(0, bind_unknown_body);
}

static void bind_full_body(int rootfd)
{
	struct spec s = { 0 };
	struct err e;

	CHECK_INT(mkdir(SANDBOX "/dev", 0755), 0);
	make_file(SANDBOX "/dev/null", "somebody's text");
	CHECK_INT(make(&s, true, rootfd, &e), -EEXIST);
	CHECK_HAS(e.msg, "/dev/null");
}
TEST(bind_covers_no_content)
{
	in_sandbox(0, bind_full_body);
}

static void host_dev_body(int rootfd)
{
	char *rbind[] = { "rbind", "ro", NULL };
	struct spec_mount m[] = { { .destination = "/dev/", .options = { rbind, 2 } } };
	SPEC({ .path = "/dev/fuse", .type = 'c', .major = 10, .minor = 229 },
	    { .path = "/srv/zero", .type = 'c', .major = 1, .minor = 5 });
	struct err e;
	struct stat st;

	s.mounts.v = m;
	s.mounts.n = 1;
	CHECK_INT(mkdir(SANDBOX "/dev", 0755), 0);
	/* What is asked for must be there; nothing is made in the host's directory. */
	CHECK_INT(make(&s, false, rootfd, &e), -ENOENT);
	CHECK_HAS(e.msg, "/dev/fuse");
	CHECK(lstat(SANDBOX "/dev/fuse", &st) < 0);
	CHECK_INT(mknod(SANDBOX "/dev/fuse", S_IFCHR | 0666, makedev(10, 229)), 0);
	CHECK_INT(make(&s, false, rootfd, &e), 0);
	CHECK(lstat(SANDBOX "/dev/null", &st) < 0);
	CHECK(lstat(SANDBOX "/dev/ptmx", &st) < 0);
	CHECK(is_char(SANDBOX "/srv/zero", 1, 5));
	CHECK_INT(unlink(SANDBOX "/dev/fuse"), 0);
	CHECK_INT(mknod(SANDBOX "/dev/fuse", S_IFCHR | 0666, makedev(10, 228)), 0);
	CHECK_INT(make(&s, false, rootfd, &e), -EEXIST);
}
TEST(host_dev_is_left_alone)
{
	in_sandbox(0, host_dev_body);
}

TEST_MAIN(T(defaults), T(configured), T(existing), T(symlinks),
    T(links_are_replaced_where_they_must), T(bind_in_user_namespace),
    T(bind_takes_only_that_device), T(bind_covers_no_content), T(host_dev_is_left_alone))
