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

/* ---- ids and handles out of thin air ---- */

TEST(unknown_nodes)
{
	static const uint64_t ids[] = { 0, 2, 1000, 1ull << 32 | 1, UINT64_MAX, 1u << 20,
		UINT32_MAX };
	struct fuse_attr a;
	uint64_t n;

	begin(NULL);
	for (unsigned i = 0; i < ARRAY_SIZE(ids); i++) {
		CHECK_INT(c_getattr(&c, ids[i], &a), -ESTALE);
		CHECK_INT(c_lookup(&c, ids[i], "x", NULL), -ESTALE);
		CHECK_INT(c_forget(&c, ids[i], 1), 0);
	}
	host_file("f", "x");
	CHECK_INT(c_lookup(&c, 1, "f", &n), 0);
	CHECK_INT(c_getattr(&c, n, &a), 0);
	CHECK_INT(c_forget(&c, n, 1), 0);
	/* The slot is another node's now, under another id. */
	CHECK_INT(c_getattr(&c, n, &a), -ESTALE);
	CHECK_INT(c_lookup(&c, 1, "f", &n), 0);
	CHECK_INT(c_getattr(&c, n & UINT32_MAX, &a), -ESTALE);
	client_stop(&c);
}

TEST(forgetting_too_often)
{
	struct {
		struct fuse_batch_forget_in in;
		struct fuse_forget_one one[3];
	} batch = { .in = { .count = UINT32_MAX } };
	struct fuse_attr a;
	uint64_t n;

	begin(NULL);
	host_file("f", "x");
	CHECK_INT(c_lookup(&c, 1, "f", &n), 0);
	CHECK_INT(c_lookup(&c, 1, "f", &n), 0);
	CHECK_INT(c_forget(&c, n, 1), 0);
	CHECK_INT(c_getattr(&c, n, &a), 0);
	CHECK_INT(c_forget(&c, n, UINT64_MAX), 0);
	CHECK_INT(c_forget(&c, n, UINT64_MAX), 0);
	CHECK_INT(c_getattr(&c, n, &a), -ESTALE);
	CHECK_INT(c_forget(&c, 1, UINT64_MAX), 0);
	CHECK_INT(c_getattr(&c, 1, &a), 0); /* the root stays */
	CHECK_INT(c_lookup(&c, 1, "f", &n), 0);
	batch.one[1] = (struct fuse_forget_one){ .nodeid = n, .nlookup = 7 };
	CHECK_INT(CALL(&c, FUSE_BATCH_FORGET, 0, &batch), 0);
	CHECK_INT(c_getattr(&c, n, &a), -ESTALE);
	CHECK_INT(fuse_server_usage(c.server).nodes, 1);
	CHECK_INT(fuse_server_usage(c.server).fds, 1);
	client_stop(&c);
}

TEST(handles_of_others)
{
	struct fuse_read_in rd = { .size = 4096 };
	struct fuse_getattr_in ga = { .getattr_flags = FUSE_GETATTR_FH };
	struct fuse_fsync_in sync = { 0 };
	uint64_t a, b, dir, fa, fb, fd;

	begin(NULL);
	CHECK_INT(c_create(&c, 1, "a", O_RDWR, 0644, &a, &fa), 0);
	CHECK_INT(c_create(&c, 1, "b", O_RDWR, 0644, &b, &fb), 0);
	CHECK_INT(c_mkdir(&c, 1, "dir", &dir), 0);
	CHECK_INT(c_opendir(&c, dir, &fd), 0);
	CHECK_INT(c_write(&c, a, fb, 0, "x", 1, 0), -EBADF);
	CHECK_INT(c_read(&c, a, fb, 0, 10), -EBADF);
	CHECK_INT(c_read(&c, dir, fd, 0, 10), -EBADF);
	rd.fh = fa;
	CHECK_INT(CALL(&c, FUSE_READDIR, a, &rd), -EBADF);
	rd.fh = fd + 1;
	CHECK_INT(CALL(&c, FUSE_READDIR, dir, &rd), -EBADF);
	ga.fh = fb;
	CHECK_INT(CALL(&c, FUSE_GETATTR, a, &ga), -EBADF);
	sync.fh = fd;
	CHECK_INT(CALL(&c, FUSE_FSYNC, dir, &sync), -EBADF);
	CHECK_INT(CALL(&c, FUSE_FSYNCDIR, dir, &sync), 0);
	CHECK_INT(c_release(&c, b, fa), -EBADF);
	CHECK_INT(c_releasedir(&c, a, fa), -EBADF);
	CHECK_INT(c_release(&c, a, fa), 0);
	CHECK_INT(c_release(&c, a, fa), -EBADF);
	CHECK_INT(c_read(&c, a, fa, 0, 10), -EBADF);
	/* The slot again, with another id. */
	CHECK_INT(c_open(&c, a, O_RDONLY, &fa), 0);
	CHECK_INT(c_write(&c, a, fa, 0, "x", 1, 0), -EBADF); /* opened for reading */
	CHECK_INT(c_read(&c, a, fa & UINT32_MAX, 0, 10), -EBADF);
	/* A handle outlives the node's lookups, and can be released then. */
	CHECK_INT(c_forget(&c, a, 100), 0);
	CHECK_INT(c_release(&c, a, fa), 0);
	client_stop(&c);
}

/* ---- lengths ---- */

static ssize_t raw_header(uint32_t len, size_t given, size_t room)
{
	static uint8_t out[256];
	struct {
		struct fuse_in_header h;
		uint8_t more[256];
	} m = { .h = { .len = len, .opcode = FUSE_GETATTR, .unique = 9, .nodeid = 1 } };
	const struct iovec in = { &m, given }, o = { out, room };

	memset(out, 0, sizeof(out));
	ssize_t n = client_raw(&c, &in, 1, &o, 1);
	return n < 0 ? n : ((struct fuse_out_header *)(void *)out)->error;
}

TEST(lengths_that_lie)
{
	begin(NULL);
	CHECK_INT(raw_header(56, 56, 256), 0);
	CHECK_INT(raw_header(56, 39, 256), -EPROTO); /* no header */
	CHECK_INT(raw_header(56, 0, 256), -EPROTO);
	CHECK_INT(raw_header(56, 56, 15), -EPROTO); /* no room for an answer */
	CHECK_INT(raw_header(56, 56, 0), -EPROTO);
	CHECK_INT(raw_header(56, 56, 16), -EIO); /* room for a header */
	CHECK_INT(raw_header(56, 56, 16 + sizeof(struct fuse_attr_out) - 1), -EIO);
	CHECK_INT(raw_header(56, 50, 256), -EINVAL);
	CHECK_INT(raw_header(0, 56, 256), -EINVAL);
	CHECK_INT(raw_header(39, 56, 256), -EINVAL);
	CHECK_INT(raw_header(55, 56, 256), -EINVAL); /* the struct is longer */
	CHECK_INT(raw_header(UINT32_MAX, 56, 256), -EINVAL);
	client_stop(&c);
}

TEST(sizes_of_four_gigabytes)
{
	struct fuse_write_in wr = { .size = UINT32_MAX };
	struct fuse_read_in rd = { .size = UINT32_MAX };
	struct fuse_setxattr_in set = { .size = UINT32_MAX };
	struct fuse_getxattr_in get = { .size = UINT32_MAX };
	struct fuse_fallocate_in fa = { .length = UINT64_MAX };
	struct fuse_lseek_in ls = { .offset = UINT64_MAX, .whence = SEEK_DATA };
	struct fuse_copy_file_range_in cp = { .off_in = 1ull << 63, .len = UINT64_MAX };
	struct fuse_setattr_in size = { .valid = FATTR_SIZE, .size = UINT64_MAX };
	uint64_t n, fh, dir;
	char value[8] = "user.a\0";

	begin(NULL);
	CHECK_INT(c_create(&c, 1, "f", O_RDWR, 0644, &n, &fh), 0);
	wr.fh = rd.fh = fa.fh = ls.fh = cp.fh_in = cp.fh_out = fh;
	CHECK_INT(c_write(&c, n, fh, 0, "hello", 5, 0), 5);
	CHECK_INT(client_call(&c, FUSE_WRITE, n, &wr, sizeof(wr), "x", 1, NULL, 0), -EINVAL);
	wr.size = 2;
	CHECK_INT(client_call(&c, FUSE_WRITE, n, &wr, sizeof(wr), "x", 1, NULL, 0), -EINVAL);
	wr.size = 1;
	wr.offset = UINT64_MAX;
	CHECK_INT(client_call(&c, FUSE_WRITE, n, &wr, sizeof(wr), "x", 1, NULL, 0), -EINVAL);
	CHECK_INT(CALL(&c, FUSE_READ, n, &rd), 0);
	CHECK_INT(c.reply_len, 5);
	rd.offset = UINT64_MAX;
	CHECK_INT(CALL(&c, FUSE_READ, n, &rd), -EINVAL);
	CHECK_INT(client_call(&c, FUSE_SETXATTR, n, &set, sizeof(set), value, 7, "v", 1), -EINVAL);
	CHECK_INT(
	    client_call(&c, FUSE_GETXATTR, n, &get, sizeof(get), value, 7, NULL, 0), -ENODATA);
	CHECK_INT(CALL(&c, FUSE_LISTXATTR, n, &get), 0);
	CHECK_INT(c.reply_len, 0);
	CHECK_INT(CALL(&c, FUSE_FALLOCATE, n, &fa), -EFBIG);
	fa = (struct fuse_fallocate_in){ .fh = fh, .length = 1, .mode = 0x40 };
	CHECK_INT(CALL(&c, FUSE_FALLOCATE, n, &fa), -EOPNOTSUPP);
	CHECK_INT(CALL(&c, FUSE_LSEEK, n, &ls), -ENXIO);
	ls.whence = SEEK_SET;
	CHECK_INT(CALL(&c, FUSE_LSEEK, n, &ls), -EINVAL);
	cp.nodeid_out = n;
	CHECK_INT(CALL(&c, FUSE_COPY_FILE_RANGE, n, &cp), -EINVAL);
	CHECK_INT(CALL(&c, FUSE_SETATTR, n, &size), -EFBIG);
	size.size = INT64_MAX;
	CHECK(CALL(&c, FUSE_SETATTR, n, &size) < 0);
	CHECK_INT(c_mkdir(&c, 1, "dir", &dir), 0);
	CHECK_INT(c_opendir(&c, dir, &fh), 0);
	rd = (struct fuse_read_in){ .fh = fh, .size = UINT32_MAX };
	CHECK_INT(CALL(&c, FUSE_READDIRPLUS, dir, &rd), 0);
	rd.size = 0;
	CHECK_INT(CALL(&c, FUSE_READDIR, dir, &rd), -EINVAL);
	rd = (struct fuse_read_in){ .fh = fh, .size = 4096, .offset = UINT64_MAX };
	CHECK(CALL(&c, FUSE_READDIR, dir, &rd) <= 0);
	client_stop(&c);
}

/* Longer than anything a guest's kernel sends, or of operations that are not there. */
TEST(messages_of_any_kind)
{
	static uint8_t big[1 << 17];

	begin(NULL);
	for (uint32_t op = 0; op < 70; op++) {
		if (op == FUSE_DESTROY || op == FUSE_WRITE)
			continue;
		int r = client_call(&c, op, 1, big, sizeof(big), NULL, 0, NULL, 0);
		CHECK(op == FUSE_FORGET || op == FUSE_BATCH_FORGET || op == FUSE_INTERRUPT
			  ? r == 0
			  : r == -EINVAL || r == -ENOSYS);
	}
	CHECK_INT(client_call(&c, UINT32_MAX, 1, big, 64, NULL, 0, NULL, 0), -ENOSYS);
	CHECK_INT(client_call(&c, FUSE_SETLK, 1, big, 64, NULL, 0, NULL, 0), -ENOSYS);
	CHECK_INT(client_call(&c, FUSE_IOCTL, 1, big, 64, NULL, 0, NULL, 0), -ENOSYS);
	CHECK_INT(client_call(&c, FUSE_SETUPMAPPING, 1, big, 64, NULL, 0, NULL, 0), -ENOSYS);
	client_stop(&c);
}

TEST(extensions_that_lie)
{
	uint32_t ext[8] = { 16, 32, 1, 500, 8, 99, 0, 0 };
	static const uint32_t bad[][2] = { { 0, 32 }, { 7, 32 }, { 40, 32 }, { UINT32_MAX, 32 } };

	begin(NULL);
	c.ext = ext;
	c.n_ext = 3;
	CHECK_INT(c_mkdir(&c, 1, "ok", NULL), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(bad); i++) {
		ext[0] = bad[i][0];
		ext[1] = bad[i][1];
		c.n_ext = 4;
		CHECK_INT(c_mkdir(&c, 1, "bad", NULL), -EINVAL);
	}
	/* More than there is. */
	struct fuse_in_header h = {
		.len = 56, .opcode = FUSE_MKDIR, .nodeid = 1, .total_extlen = UINT16_MAX
	};
	uint8_t m[56] = { 0 }, out[256];
	memcpy(m, &h, sizeof(h));
	const struct iovec in = { m, sizeof(m) }, o = { out, sizeof(out) };
	CHECK(client_raw(&c, &in, 1, &o, 1) == 16);
	CHECK_INT(((struct fuse_out_header *)(void *)out)->error, -EINVAL);
	client_stop(&c);
}

/* ---- exhaustion ---- */

TEST(descriptors_run_out_for_the_guest_alone)
{
	const struct fuse_limits few = { .nodes = 500, .fds = 40, .idle = 8 };
	struct fuse_limits now;
	uint64_t n, fh[64], dir;
	unsigned open = 0;
	int r = 0;

	begin(&few);
	for (int i = 0; i < 300; i++) {
		char name[32];

		snprintf(name, sizeof(name), "f%d", i);
		host_file(name, name);
		CHECK_INT(c_lookup(&c, 1, name, &n), 0);
		now = fuse_server_usage(c.server);
		CHECK(now.fds <= 10 && now.idle <= 8);
	}
	CHECK_INT(fuse_server_usage(c.server).nodes, 301);
	while (open < 64 && (r = c_open(&c, n, O_RDONLY, &fh[open])) == 0)
		open++;
	CHECK_INT(r, -ENFILE);
	CHECK(open >= 20 && fuse_server_usage(c.server).fds <= 40);
	/* Nothing is made that could not be answered for. */
	CHECK_INT(c_mkdir(&c, 1, "dir", &dir), -ENFILE);
	CHECK(access(c_path(&c, "dir", path), F_OK) < 0);
	CHECK_INT(c_release(&c, n, fh[--open]), 0);
	CHECK_INT(c_release(&c, n, fh[--open]), 0);
	CHECK_INT(c_lookup(&c, 1, "f7", &n), 0);
	client_stop(&c);
}

TEST(nodes_run_out)
{
	const struct fuse_limits few = { .nodes = 20, .fds = 100, .idle = 50 };
	struct fuse_read_in rd = { .size = 65536 };
	char name[32];
	uint64_t n = 0, fh, first = 0;
	int r = 0, i;

	begin(&few);
	for (i = 0; i < 30; i++) {
		snprintf(name, sizeof(name), "f%d", i);
		host_file(name, "");
		r = c_lookup(&c, 1, name, &n);
		if (r < 0)
			break;
		first = first ? first : n;
	}
	CHECK_INT(r, -ENFILE);
	CHECK_INT(i, 19);
	/* A directory can still be read, without the nodes. */
	CHECK_INT(c_opendir(&c, 1, &fh), 0);
	rd.fh = fh;
	CHECK_INT(CALL(&c, FUSE_READDIRPLUS, 1, &rd), 0);
	CHECK(c.reply_len > 20 * 160);
	CHECK_INT(fuse_server_usage(c.server).nodes, 20);
	CHECK_INT(c_forget(&c, first, 100), 0);
	CHECK_INT(c_lookup(&c, 1, name, &n), 0);
	client_stop(&c);
}

/* A deep tree whose directories are no longer open is found again step by step. */
TEST(a_deep_path_is_reopened)
{
	const struct fuse_limits few = { .nodes = 1000, .fds = 64, .idle = 16 };
	uint64_t n = 1, leaf = 0, other;
	struct fuse_attr a;

	begin(&few);
	for (int i = 0; i < 12; i++)
		CHECK_INT(c_mkdir(&c, n, "d", &n), 0);
	leaf = n;
	for (int i = 0; i < 100; i++) {
		char name[32];

		snprintf(name, sizeof(name), "f%d", i);
		host_file(name, "");
		CHECK_INT(c_lookup(&c, 1, name, &other), 0);
	}
	CHECK_INT(c_getattr(&c, leaf, &a), 0);
	CHECK_INT(c_mkdir(&c, leaf, "more", NULL), 0);
	client_stop(&c);
}

/* The same name, another file: the old node is stale, not the new file. */
TEST(an_idle_node_is_not_its_successor)
{
	const struct fuse_limits few = { .nodes = 1000, .fds = 64, .idle = 4 };
	uint64_t n, m, other;
	struct fuse_attr a;

	begin(&few);
	host_file("f", "old");
	CHECK_INT(c_lookup(&c, 1, "f", &n), 0);
	for (int i = 0; i < 10; i++) {
		char name[32];

		snprintf(name, sizeof(name), "x%d", i);
		host_file(name, "");
		CHECK_INT(c_lookup(&c, 1, name, &other), 0);
	}
	CHECK_INT(unlink(c_path(&c, "f", path)), 0);
	usleep(20000);
	host_file("f", "new");
	CHECK_INT(c_getattr(&c, n, &a), -ESTALE);
	CHECK_INT(c_lookup(&c, 1, "f", &m), 0);
	CHECK(m != n);
	CHECK_INT(c_getattr(&c, m, &a), 0);
	CHECK_INT(c_getattr(&c, n, &a), -ESTALE);
	client_stop(&c);
}

/* ---- the session ---- */

TEST(nothing_before_init_and_one_init)
{
	struct fuse_init_in in = { .major = 7, .minor = 38 };
	struct fuse_attr a;

	begin(NULL);
	CHECK_INT(CALL(&c, FUSE_INIT, 0, &in), -EPROTO);
	CHECK_INT(c_getattr(&c, 1, &a), 0);
	CHECK_INT(client_call(&c, FUSE_DESTROY, 0, NULL, 0, NULL, 0, NULL, 0), 0);
	CHECK_INT(c_getattr(&c, 1, &a), -EIO);
	in.minor = 30;
	CHECK_INT(CALL(&c, FUSE_INIT, 0, &in), -EPROTO);
	in.major = 6;
	CHECK_INT(CALL(&c, FUSE_INIT, 0, &in), -EPROTO);
	in = (struct fuse_init_in){ .major = 8 };
	CHECK_INT(CALL(&c, FUSE_INIT, 0, &in), 0);
	CHECK_INT(REPLY(&c, fuse_init_out)->major, 7);
	CHECK_INT(c_getattr(&c, 1, &a), -EIO);
	/* An old guest's short struct, and only what it offers is agreed upon. */
	in = (struct fuse_init_in){ .major = 7, .minor = 31, .flags = FUSE_ASYNC_READ };
	CHECK_INT(client_call(&c, FUSE_INIT, 0, &in, 16, NULL, 0, NULL, 0), 0);
	CHECK_INT(REPLY(&c, fuse_init_out)->flags, FUSE_ASYNC_READ);
	CHECK_INT(REPLY(&c, fuse_init_out)->flags2, 0);
	CHECK_INT(c_getattr(&c, 1, &a), 0);
	client_stop(&c);
}

TEST(destroy_forgets_everything)
{
	uint64_t n, fh, dir;

	begin(NULL);
	CHECK_INT(c_create(&c, 1, "f", O_RDWR, 0644, &n, &fh), 0);
	CHECK_INT(c_mkdir(&c, 1, "dir", &dir), 0);
	CHECK_INT(c_mkdir(&c, dir, "sub", NULL), 0);
	CHECK_INT(c_opendir(&c, dir, &fh), 0);
	CHECK_INT(client_call(&c, FUSE_DESTROY, 0, NULL, 0, NULL, 0, NULL, 0), 0);
	CHECK_INT(fuse_server_usage(c.server).nodes, 1);
	CHECK_INT(fuse_server_usage(c.server).fds, 1);
	CHECK_INT(client_init(&c), 0);
	CHECK_INT(c_releasedir(&c, dir, fh), -EBADF);
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
			printf("# skipped: a mount namespace: %s\n", strerror(errno));
		} else {
			begin(NULL);
			fn();
			client_stop(&c);
		}
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
    T(a_directory_moved_by_the_host), T(unknown_nodes), T(forgetting_too_often),
    T(handles_of_others), T(lengths_that_lie), T(sizes_of_four_gigabytes), T(messages_of_any_kind),
    T(extensions_that_lie), T(descriptors_run_out_for_the_guest_alone), T(nodes_run_out),
    T(a_deep_path_is_reopened), T(an_idle_node_is_not_its_successor),
    T(nothing_before_init_and_one_init), T(destroy_forgets_everything),
    T(a_read_only_mount_stays_read_only), T(mounts_are_crossed))
