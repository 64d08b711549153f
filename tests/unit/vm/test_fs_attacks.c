/* What a hostile guest sends to the file server. Everything is asked of the message handler itself,
 * without a kernel that would refuse first. */
#include <sched.h>
#include <sys/mount.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "tests/unit/test.h"
#include "tests/unit/vm/fuse_client.h"

static struct client c;
static char path[512];

static void begin(const struct fuse_limits *limits)
{
	int r = client_start(&c, limits);

	if (r < 0 || c.error.code)
		printf("# %s\n", c.error.msg);
	CHECK_INT(r, 0);
}

static int host_file(const char *name, const char *text)
{
	_cleanup_close_ int fd = open(c_path(&c, name, path), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

/* ---- names ---- */

static int with_name(uint32_t op, const char *name, size_t n)
{
	static const uint8_t zero[64];
	static const size_t args[] = {
		[FUSE_MKNOD] = sizeof(struct fuse_mknod_in),
		[FUSE_MKDIR] = sizeof(struct fuse_mkdir_in),
		[FUSE_CREATE] = sizeof(struct fuse_create_in),
	};
	size_t n_arg = op < ARRAY_SIZE(args) ? args[op] : 0;
	uint8_t arg[64];

	memcpy(arg, zero, sizeof(arg));
	if (op == FUSE_MKNOD)
		((struct fuse_mknod_in *)(void *)arg)->mode = S_IFREG;
	return client_call(&c, op, FUSE_ROOT_ID, arg, n_arg, name, n,
	    op == FUSE_SYMLINK ? "x" : NULL, op == FUSE_SYMLINK ? 2 : 0);
}

TEST(a_name_is_one_component)
{
	static const uint32_t by_name[] = { FUSE_LOOKUP, FUSE_MKDIR, FUSE_MKNOD, FUSE_CREATE,
		FUSE_UNLINK, FUSE_RMDIR, FUSE_SYMLINK };
	char longest[300];

	begin(NULL);
	memset(longest, 'n', sizeof(longest));
	longest[256] = '\0';
	mkdir(c_path(&c, "dir", path), 0755);
	for (unsigned i = 0; i < ARRAY_SIZE(by_name); i++) {
		CHECK_INT(with_name(by_name[i], "..", 3), -EINVAL);
		CHECK_INT(with_name(by_name[i], ".", 2), -EINVAL);
		CHECK_INT(with_name(by_name[i], "", 1), -EINVAL);
		CHECK_INT(with_name(by_name[i], "/", 2), -EINVAL);
		CHECK_INT(with_name(by_name[i], "/etc", 5), -EINVAL);
		CHECK_INT(with_name(by_name[i], "dir/..", 7), -EINVAL);
		CHECK_INT(with_name(by_name[i], "../x", 5), -EINVAL);
		CHECK_INT(with_name(by_name[i], NULL, 0), -EINVAL);
		CHECK_INT(with_name(by_name[i], longest, 257), -ENAMETOOLONG);
		/* No NUL within the message. */
		if (by_name[i] != FUSE_SYMLINK)
			CHECK_INT(with_name(by_name[i], "abc", 3), -EINVAL);
	}
	/* A NUL inside ends the name; what comes behind is nobody's. */
	CHECK_INT(with_name(FUSE_LOOKUP, "dir\0/../..", 11), 0);
	CHECK(S_ISDIR(REPLY(&c, fuse_entry_out)->attr.mode));
	client_stop(&c);
}

TEST(both_names_of_a_rename)
{
	struct fuse_rename2_in in = { .newdir = FUSE_ROOT_ID };
	struct fuse_link_in link = { 0 };
	uint64_t n;

	begin(NULL);
	host_file("a", "x");
	CHECK_INT(client_call(&c, FUSE_RENAME2, 1, &in, sizeof(in), "a", 2, "../b", 5), -EINVAL);
	CHECK_INT(client_call(&c, FUSE_RENAME2, 1, &in, sizeof(in), "../a", 5, "b", 2), -EINVAL);
	CHECK_INT(client_call(&c, FUSE_RENAME2, 1, &in, sizeof(in), "a", 2, NULL, 0), -EINVAL);
	in.flags = 8;
	CHECK_INT(client_call(&c, FUSE_RENAME2, 1, &in, sizeof(in), "a", 2, "b", 2), -EINVAL);
	in = (struct fuse_rename2_in){ .newdir = 77 };
	CHECK_INT(client_call(&c, FUSE_RENAME2, 1, &in, sizeof(in), "a", 2, "b", 2), -ESTALE);
	CHECK_INT(c_lookup(&c, 1, "a", &n), 0);
	link.oldnodeid = n;
	CHECK_INT(CALL_NAME(&c, FUSE_LINK, 1, &link, "../b"), -EINVAL);
	link.oldnodeid = n + 1;
	CHECK_INT(CALL_NAME(&c, FUSE_LINK, 1, &link, "b"), -ESTALE);
	client_stop(&c);
}

/* ---- symlinks and other kinds ---- */

TEST(symlinks_are_never_followed)
{
	uint64_t n, fh, node;

	begin(NULL);
	snprintf(path, sizeof(path), "%s/outside", c.top);
	mkdir(path, 0755);
	CHECK_INT(symlink("../outside", c_path(&c, "out", path)), 0);
	CHECK_INT(symlink("/etc/passwd", c_path(&c, "passwd", path)), 0);
	CHECK_INT(c_lookup(&c, 1, "out", &n), 0);
	CHECK(S_ISLNK(REPLY(&c, fuse_entry_out)->attr.mode));
	CHECK_INT(c_lookup(&c, n, "x", NULL), -ENOTDIR);
	CHECK_INT(c_mkdir(&c, n, "x", NULL), -ENOTDIR);
	CHECK_INT(c_opendir(&c, n, &fh), -ENOTDIR);
	CHECK_INT(c_create(&c, n, "x", O_RDWR, 0644, &node, &fh), -ENOTDIR);
	CHECK_INT(CALL_ONLY_NAME(&c, FUSE_UNLINK, n, "x"), -ENOTDIR);
	CHECK_INT(c_lookup(&c, 1, "passwd", &n), 0);
	CHECK_INT(c_open(&c, n, O_RDONLY, &fh), -ELOOP);
	CHECK_INT(c_create(&c, 1, "passwd", O_RDWR, 0644, &node, &fh), -ESTALE);
	CHECK_INT(client_call(&c, FUSE_READLINK, n, NULL, 0, NULL, 0, NULL, 0), 0);
	CHECK_INT(c.reply_len, 11);
	/* Its own mode and size are not its target's. */
	struct fuse_setattr_in set = { .valid = FATTR_SIZE };
	CHECK_INT(CALL(&c, FUSE_SETATTR, n, &set), -EINVAL);
	set = (struct fuse_setattr_in){ .valid = FATTR_MODE, .mode = 0777 };
	CHECK_INT(CALL(&c, FUSE_SETATTR, n, &set), -EOPNOTSUPP);
	struct stat st;
	CHECK(stat("/etc/passwd", &st) == 0 && (st.st_mode & 07777) != 0777);
	client_stop(&c);
}

TEST(special_files_are_never_opened)
{
	static const char *const kinds[] = { "fifo", "sock", "null", "kmsg" };
	uint64_t n, fh, node;

	begin(NULL);
	CHECK_INT(mkfifo(c_path(&c, "fifo", path), 0666), 0);
	CHECK_INT(mknod(c_path(&c, "sock", path), S_IFSOCK | 0666, 0), 0);
	CHECK_INT(mknod(c_path(&c, "null", path), S_IFCHR | 0666, makedev(1, 3)), 0);
	CHECK_INT(mknod(c_path(&c, "kmsg", path), S_IFCHR | 0666, makedev(1, 11)), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(kinds); i++) {
		struct fuse_setattr_in set = { .valid = FATTR_SIZE };

		CHECK_INT(c_lookup(&c, 1, kinds[i], &n), 0);
		CHECK_INT(c_open(&c, n, O_RDONLY, &fh), -ENXIO);
		CHECK_INT(c_open(&c, n, O_RDWR | O_TRUNC, &fh), -ENXIO);
		CHECK_INT(c_opendir(&c, n, &fh), -ENOTDIR);
		CHECK_INT(c_create(&c, 1, kinds[i], O_RDWR, 0644, &node, &fh), -ESTALE);
		CHECK_INT(c_create(&c, 1, kinds[i], O_RDWR | O_EXCL, 0644, &node, &fh), -EEXIST);
		CHECK_INT(CALL(&c, FUSE_SETATTR, n, &set), -EINVAL);
	}
	CHECK_INT(c_lookup(&c, 1, "kmsg", &n), 0);
	CHECK_INT(REPLY(&c, fuse_entry_out)->attr.rdev, 1 << 8 | 11);
	client_stop(&c);
}

/* A neighbour on the host swaps a directory and a symlink that leads outside while the guest makes
 * files below that name. */
static void *swapper(void *arg)
{
	char a[600], b[600];

	snprintf(a, sizeof(a), "%s/spot", c.root);
	snprintf(b, sizeof(b), "%s/link", c.root);
	while (!__atomic_load_n((bool *)arg, __ATOMIC_ACQUIRE))
		if (renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE) < 0)
			abort();
	return NULL;
}

TEST(a_symlink_race_leads_nowhere)
{
	bool stop = false;
	pthread_t t;
	unsigned made = 0, refused = 0;
	uint64_t n, node, fh;
	struct stat st;

	begin(NULL);
	snprintf(path, sizeof(path), "%s/outside", c.top);
	mkdir(path, 0777);
	mkdir(c_path(&c, "spot", path), 0755);
	CHECK_INT(symlink("../outside", c_path(&c, "link", path)), 0);
	pthread_create(&t, NULL, swapper, &stop);
	for (int i = 0; i < 3000; i++) {
		char name[32];

		snprintf(name, sizeof(name), "f%d", i);
		if (c_lookup(&c, 1, "spot", &n) < 0)
			continue;
		int r = c_create(&c, n, name, O_RDWR | O_EXCL, 0644, &node, &fh);
		made += r == 0;
		refused += r == -ENOTDIR;
		CHECK(r == 0 || r == -ENOTDIR);
		if (r == 0)
			CHECK_INT(c_release(&c, node, fh), 0);
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELEASE);
	pthread_join(t, NULL);
	CHECK(made > 0 && refused > 0);
	snprintf(path, sizeof(path), "%s/outside", c.top);
	CHECK(stat(path, &st) == 0 && st.st_nlink == 2);
	CHECK_INT(rmdir(path), 0); /* empty */
	client_stop(&c);
}

/* What was looked up is the inode, not the path: moving a directory redirects nothing. */
TEST(a_directory_moved_by_the_host)
{
	char to[600];
	uint64_t dir, n;

	begin(NULL);
	mkdir(c_path(&c, "dir", path), 0755);
	CHECK_INT(c_lookup(&c, 1, "dir", &dir), 0);
	snprintf(to, sizeof(to), "%s/moved", c.top);
	CHECK_INT(rename(c_path(&c, "dir", path), to), 0);
	CHECK_INT(symlink("/etc", c_path(&c, "dir", path)), 0);
	CHECK_INT(c_lookup(&c, dir, "passwd", &n), -ENOENT);
	CHECK_INT(c_lookup(&c, dir, "..", &n), -EINVAL);
	client_stop(&c);
}

/* ---- what the host forbids ---- */

static void read_only_calls(uint64_t dir, uint64_t file)
{
	struct fuse_setattr_in mode = { .valid = FATTR_MODE, .mode = 0777 },
			       size = { .valid = FATTR_SIZE },
			       owner = { .valid = FATTR_UID, .uid = 1 },
			       times = { .valid = FATTR_MTIME | FATTR_MTIME_NOW };
	struct fuse_setxattr_in xattr = { .size = 1 };
	struct fuse_rename_in ren = { .newdir = dir };
	struct fuse_link_in ln = { .oldnodeid = file };
	uint64_t n, fh;

	CHECK_INT(c_open(&c, file, O_RDWR, &fh), -EROFS);
	CHECK_INT(c_open(&c, file, O_WRONLY | O_TRUNC, &fh), -EROFS);
	CHECK_INT(c_create(&c, dir, "new", O_RDWR, 0644, &n, &fh), -EROFS);
	CHECK_INT(c_mkdir(&c, dir, "new", NULL), -EROFS);
	CHECK_INT(CALL_ONLY_NAME(&c, FUSE_UNLINK, dir, "file"), -EROFS);
	CHECK_INT(client_call(&c, FUSE_RENAME, dir, &ren, sizeof(ren), "file", 5, "g", 2), -EROFS);
	CHECK_INT(CALL_NAME(&c, FUSE_LINK, dir, &ln, "g"), -EROFS);
	CHECK_INT(client_call(&c, FUSE_SYMLINK, dir, NULL, 0, "g", 2, "x", 2), -EROFS);
	CHECK_INT(CALL(&c, FUSE_SETATTR, file, &mode), -EROFS);
	CHECK_INT(CALL(&c, FUSE_SETATTR, file, &size), -EROFS);
	CHECK_INT(CALL(&c, FUSE_SETATTR, file, &owner), -EROFS);
	CHECK_INT(CALL(&c, FUSE_SETATTR, file, &times), -EROFS);
	CHECK_INT(client_call(&c, FUSE_SETXATTR, file, &xattr, sizeof(xattr), "user.a", 7, "v", 1),
	    -EROFS);
	CHECK_INT(c_open(&c, file, O_RDONLY, &fh), 0);
	CHECK_INT(c_read(&c, file, fh, 0, 100), 4);
}

/* In a mount namespace of its own. */
static void in_namespace(void (*fn)(void))
{
	int status = -1;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		if (unshare(CLONE_NEWNS) < 0 ||
		    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
			printf("# mount namespace: %s\n", strerror(errno));
			_exit(1);
		}
		begin(NULL);
		fn();
		client_stop(&c);
		fflush(stdout);
		_exit(test_failed);
	}
	waitpid(pid, &status, 0);
	CHECK_INT(status, 0);
}

static void read_only(void)
{
	uint64_t dir, file;

	mkdir(c_path(&c, "ro", path), 0755);
	host_file("ro/file", "text");
	CHECK_INT(mount(path, path, NULL, 0, NULL), -1); /* path is the file */
	c_path(&c, "ro", path);
	CHECK_INT(mount(path, path, NULL, MS_BIND, NULL), 0);
	CHECK_INT(mount(NULL, path, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL), 0);
	CHECK_INT(c_lookup(&c, 1, "ro", &dir), 0);
	CHECK_INT(c_lookup(&c, dir, "file", &file), 0);
	read_only_calls(dir, file);
	umount2(c_path(&c, "ro", path), MNT_DETACH);
}

TEST(a_read_only_mount_stays_read_only)
{
	in_namespace(read_only);
}

/* A mount is crossed, told as such, with inode numbers of its own, and its node never goes. */
static void mounts(void)
{
	struct fuse_attr a, b;
	uint64_t m, below, file, beside;

	mkdir(c_path(&c, "mnt", path), 0755);
	CHECK_INT(mount("none", path, "tmpfs", 0, NULL), 0);
	host_file("mnt/f", "in");
	host_file("beside", "");
	host_file("single", "");
	char from[512], to[512];
	CHECK_INT(
	    mount(c_path(&c, "mnt/f", from), c_path(&c, "single", to), NULL, MS_BIND, NULL), 0);
	CHECK_INT(c_lookup(&c, 1, "mnt", &m), 0);
	CHECK_INT(REPLY(&c, fuse_entry_out)->attr.flags, FUSE_ATTR_SUBMOUNT);
	CHECK_INT(c_lookup(&c, m, "f", &below), 0);
	a = REPLY(&c, fuse_entry_out)->attr;
	CHECK_INT(a.flags, 0);
	CHECK(a.ino < 1ull << 48); /* as it is on the host */
	CHECK_INT(c_lookup(&c, 1, "single", &file), 0);
	b = REPLY(&c, fuse_entry_out)->attr;
	CHECK_INT(b.flags, 0); /* a file is no mount for the guest */
	CHECK(b.ino >> 48 != 0 && (b.ino & ((1ull << 48) - 1)) == a.ino);
	CHECK_INT(c_lookup(&c, 1, "beside", &beside), 0);
	CHECK(REPLY(&c, fuse_entry_out)->attr.ino < 1ull << 48);
	CHECK(file != below);
	CHECK_INT(c_forget(&c, below, 100), 0);
	CHECK_INT(c_forget(&c, m, 100), 0);
	CHECK_INT(c_getattr(&c, m, &a), 0);
	umount2(to, MNT_DETACH);
	umount2(c_path(&c, "mnt", path), MNT_DETACH);
}

TEST(mounts_are_crossed)
{
	in_namespace(mounts);
}

TEST_MAIN(T(a_name_is_one_component), T(both_names_of_a_rename), T(symlinks_are_never_followed),
    T(special_files_are_never_opened), T(a_symlink_race_leads_nowhere),
    T(a_directory_moved_by_the_host), T(a_read_only_mount_stays_read_only), T(mounts_are_crossed))
