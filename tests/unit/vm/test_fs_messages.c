/* Messages that lie: ids and handles out of thin air, lengths, too much of everything, and the
 * session's beginning and end. */
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

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

/* Takes the descriptors of all idle nodes by looking up others. */
static void let_idle(void)
{
	uint64_t other;

	for (int i = 0; i < 10; i++) {
		char name[32];

		snprintf(name, sizeof(name), "x%d", i);
		host_file(name, "");
		CHECK_INT(c_lookup(&c, 1, name, &other), 0);
	}
}

/* What the guest itself removes or moves never makes a node stale that it still holds. */
TEST(an_idle_node_survives_the_guests_own_doings)
{
	const struct fuse_limits few = { .nodes = 1000, .fds = 64, .idle = 4 };
	struct fuse_rename_in ren = { .newdir = FUSE_ROOT_ID };
	struct fuse_rename2_in swap = { .newdir = FUSE_ROOT_ID, .flags = 2 };
	uint64_t gone, moved, replaced, a, b;
	char to[512];
	struct fuse_attr at;

	begin(&few);
	host_file("gone", "1");
	host_file("moved", "22");
	host_file("replaced", "333");
	host_file("a", "4444");
	host_file("b", "55555");
	CHECK_INT(link(c_path(&c, "gone", path), c_path(&c, "hard", to)), 0);
	CHECK_INT(c_lookup(&c, 1, "gone", &gone), 0);
	CHECK_INT(c_lookup(&c, 1, "moved", &moved), 0);
	CHECK_INT(c_lookup(&c, 1, "replaced", &replaced), 0);
	CHECK_INT(c_lookup(&c, 1, "a", &a), 0);
	CHECK_INT(c_lookup(&c, 1, "b", &b), 0);
	let_idle();
	CHECK_INT(CALL_ONLY_NAME(&c, FUSE_UNLINK, 1, "gone"), 0);
	CHECK_INT(client_call(&c, FUSE_RENAME, 1, &ren, sizeof(ren), "moved", 6, "replaced", 9), 0);
	CHECK_INT(client_call(&c, FUSE_RENAME2, 1, &swap, sizeof(swap), "a", 2, "b", 2), 0);
	let_idle();
	CHECK_INT(c_getattr(&c, gone, &at), 0);
	CHECK(at.size == 1 && at.nlink == 1);
	CHECK_INT(c_getattr(&c, moved, &at), 0);
	CHECK_INT(at.size, 2);
	CHECK_INT(c_getattr(&c, replaced, &at), 0);
	CHECK(at.size == 3 && at.nlink == 0);
	CHECK_INT(c_getattr(&c, a, &at), 0);
	CHECK_INT(at.size, 4);
	CHECK_INT(c_getattr(&c, b, &at), 0);
	CHECK_INT(at.size, 5);
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

TEST_MAIN(T(unknown_nodes), T(forgetting_too_often), T(handles_of_others), T(lengths_that_lie),
    T(sizes_of_four_gigabytes), T(messages_of_any_kind), T(extensions_that_lie),
    T(descriptors_run_out_for_the_guest_alone), T(nodes_run_out), T(a_deep_path_is_reopened),
    T(an_idle_node_is_not_its_successor), T(an_idle_node_survives_the_guests_own_doings),
    T(nothing_before_init_and_one_init), T(destroy_forgets_everything))
