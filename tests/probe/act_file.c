/* Commands on files and system calls. Each prints a result() unless noted. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "tests/probe/probe.h"

static int open_flags(const char *s)
{
	int f = 0;

	f |= strchr(s, 'r') && strchr(s, 'w') ? O_RDWR : strchr(s, 'w') ? O_WRONLY : O_RDONLY;
	f |= strchr(s, 'c') ? O_CREAT : 0;
	f |= strchr(s, 't') ? O_TRUNC : 0;
	f |= strchr(s, 'a') ? O_APPEND : 0;
	f |= strchr(s, 'n') ? O_NONBLOCK : 0;
	f |= strchr(s, 'L') ? O_NOFOLLOW : 0;
	f |= strchr(s, 'd') ? O_DIRECTORY : 0;
	return f | O_CLOEXEC;
}

static int cmd_open(int argc, char **argv)
{
	return result(open(argv[1], open_flags(argc > 2 ? argv[2] : "r"), 0666));
}

static int cmd_write(int argc, char **argv)
{
	int fd = open(argv[1], O_WRONLY | O_CLOEXEC | (argc > 3 ? open_flags(argv[3]) : 0), 0666);

	return result(fd < 0 ? -1 : write(fd, argv[2], strlen(argv[2])));
}

/* The file's bytes, or a result() on stdout. */
static int cmd_read(int argc, char **argv)
{
	char buf[65536];
	int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, buf, sizeof(buf));

	if (n < 0)
		return result(-1);
	fwrite(buf, 1, n, stdout);
	return 0;
}

static int cmd_mknod(int argc, char **argv)
{
	mode_t type = argv[2][0] == 'b' ? S_IFBLK : argv[2][0] == 'c' ? S_IFCHR : S_IFIFO;
	dev_t dev = argc > 4 ? makedev(atoi(argv[3]), atoi(argv[4])) : 0;

	return result(mknod(argv[1], type | 0666, dev));
}

static void stat_one(const char *path)
{
	struct stat st;
	struct statfs fs;

	js_open(path, '{');
	if (lstat(path, &st) < 0) {
		js_str("errno", strerrorname_np(errno));
	} else {
		js_int("mode", st.st_mode & 07777);
		js_str("type", S_ISDIR(st.st_mode)    ? "dir"
			       : S_ISREG(st.st_mode)  ? "file"
			       : S_ISLNK(st.st_mode)  ? "link"
			       : S_ISCHR(st.st_mode)  ? "char"
			       : S_ISBLK(st.st_mode)  ? "block"
			       : S_ISFIFO(st.st_mode) ? "fifo"
						      : "socket");
		js_int("uid", st.st_uid);
		js_int("gid", st.st_gid);
		js_int("size", st.st_size);
		js_int("ino", st.st_ino);
		js_int("major", major(st.st_rdev));
		js_int("minor", minor(st.st_rdev));
		if (S_ISLNK(st.st_mode))
			js_link("link", path);
		else if (statfs(path, &fs) == 0) {
			js_int("fstype", fs.f_type);
			js_int("fsflags", fs.f_flags);
			js_int("fsbytes", (long long)fs.f_blocks * fs.f_bsize);
			js_int("fsinodes", fs.f_files);
		}
	}
	js_close('}');
}

/* An object by path: lstat and statfs. */
static int cmd_stat(int argc, char **argv)
{
	js_open(NULL, '{');
	for (int i = 1; i < argc; i++)
		stat_one(argv[i]);
	js_close('}');
	js_end();
	return 0;
}

static int cmd_mount(int argc, char **argv)
{
	unsigned long flags = argc > 4 ? strtoul(argv[4], NULL, 0) : 0;

	return result(mount(argv[1], argv[2], argv[3], flags, argc > 5 ? argv[5] : NULL));
}

static int cmd_umount(int argc, char **argv)
{
	return result(umount2(argv[1], MNT_DETACH));
}

/* Raw system call; an argument with a leading '@' is a string's address. */
static int cmd_syscall(int argc, char **argv)
{
	long a[6] = {};

	for (int i = 0; i < 6 && i + 2 < argc; i++)
		a[i] =
		    argv[i + 2][0] == '@' ? (long)(argv[i + 2] + 1) : strtol(argv[i + 2], NULL, 0);
	return result(syscall(strtol(argv[1], NULL, 0), a[0], a[1], a[2], a[3], a[4], a[5]));
}

static int cmd_chown(int argc, char **argv)
{
	return result(lchown(argv[1], atoi(argv[2]), atoi(argv[3])));
}

/* Is there anything to read in fds 3… that the caller left? Prints {"3": "text"}. */
static int cmd_fdread(int argc, char **argv)
{
	char buf[4096];
	ssize_t n;

	js_open(NULL, '{');
	for (int i = 1; i < argc; i++) {
		n = read(atoi(argv[i]), buf, sizeof(buf));
		if (n < 0)
			js_str(argv[i], NULL);
		else
			js_strn(argv[i], buf, n);
	}
	js_close('}');
	js_end();
	return 0;
}

const struct command file_commands[] = {
	{ "open", "PATH [rwctanLd]", "open(2)", 1, cmd_open },
	{ "write", "PATH TEXT [rwcta]", "open and write(2)", 2, cmd_write },
	{ "read", "PATH", "print a file", 1, cmd_read },
	{ "mknod", "PATH b|c|p [MAJOR MINOR]", "mknod(2)", 2, cmd_mknod },
	{ "stat", "PATH…", "lstat(2), statfs(2)", 1, cmd_stat },
	{ "mount", "SRC DST TYPE [FLAGS [DATA]]", "mount(2)", 3, cmd_mount },
	{ "umount", "PATH", "umount2(2)", 1, cmd_umount },
	{ "syscall", "NR [ARG…]", "syscall(2)", 1, cmd_syscall },
	{ "chown", "PATH UID GID", "lchown(2)", 3, cmd_chown },
	{ "fdread", "FD…", "read(2) from inherited descriptors", 1, cmd_fdread },
	{},
};
