/* The file server's own promises, message by message; test_fs_mount compares the rest with a plain
 * directory under a real client. */
#include <linux/capability.h>
#include <sys/xattr.h>
#include <time.h>

#include "tests/unit/test.h"
#include "tests/unit/vm/fuse_client.h"
#include "vm/fuse_internal.h"

static struct client c;
static char path[512];
static struct stat st;

static void begin(void)
{
	int r = client_start(&c, NULL);

	if (r < 0 || c.error.code)
		printf("# %s\n", c.error.msg);
	CHECK_INT(r, 0);
}

static int host_stat(const char *name)
{
	return lstat(c_path(&c, name, path), &st);
}

static void host_file(const char *name, const char *text)
{
	_cleanup_close_ int fd = open(c_path(&c, name, path), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

/* ---- who owns what is made ---- */

TEST(what_is_made_belongs_to_who_asked)
{
	struct fuse_mknod_in nod = { .mode = S_IFIFO | 0640 };
	uint64_t n, fh;

	begin();
	c.uid = 1000;
	c.gid = 1001;
	CHECK_INT(c_create(&c, 1, "f", O_RDWR, 0640, &n, &fh), 0);
	CHECK_INT(c_mkdir(&c, 1, "d", &n), 0);
	CHECK_INT(CALL_NAME(&c, FUSE_MKNOD, 1, &nod, "p"), 0);
	CHECK_INT(client_call(&c, FUSE_SYMLINK, 1, NULL, 0, "l", 2, "x", 2), 0);
	static const char *const names[] = { "f", "d", "p", "l" };
	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		CHECK_INT(host_stat(names[i]), 0);
		CHECK_INT(st.st_uid, 1000);
		CHECK_INT(st.st_gid, 1001);
	}
	CHECK_INT(host_stat("f"), 0);
	CHECK_INT(st.st_mode, S_IFREG | 0640);
	/* Another one, and root again. */
	c.uid = c.gid = 0;
	CHECK_INT(c_mkdir(&c, 1, "root", &n), 0);
	CHECK(host_stat("root") == 0 && st.st_uid == 0 && st.st_gid == 0);
	c.uid = UINT32_MAX;
	CHECK_INT(c_mkdir(&c, 1, "nobody", &n), -EOVERFLOW);
	CHECK_INT(host_stat("nobody"), -1);
	/* The thread of the test is who it was. */
	CHECK_INT(geteuid(), 0);
	client_stop(&c);
}

/* The guest has checked: neither ownership nor mode on the host is asked again. */
TEST(a_users_request_needs_no_more_permission)
{
	uint64_t d, n, fh;

	begin();
	CHECK_INT(mkdir(c_path(&c, "d", path), 0700), 0);
	CHECK_INT(c_lookup(&c, 1, "d", &d), 0);
	c.uid = c.gid = 1000;
	CHECK_INT(c_create(&c, d, "f", O_RDWR, 0000, &n, &fh), 0);
	CHECK_INT(c_open(&c, n, O_RDWR, &fh), 0);
	CHECK_INT(c_write(&c, n, fh, 0, "x", 1, FUSE_WRITE_KILL_SUIDGID), 1);
	CHECK(host_stat("d/f") == 0 && st.st_uid == 1000 && st.st_size == 1);
	client_stop(&c);
}

/* Set-group-id directories give their group; a file's set-group-id takes membership, which the
 * extension proves. */
TEST(set_group_id_directories)
{
	static const uint32_t supp[4] = { 16, 32, 1, 500 };
	uint64_t d, n, fh;

	begin();
	CHECK_INT(mkdir(c_path(&c, "d", path), 0755), 0);
	CHECK(chown(path, 0, 500) == 0 && chmod(path, 02777) == 0);
	CHECK_INT(c_lookup(&c, 1, "d", &d), 0);
	c.uid = c.gid = 1000;
	CHECK_INT(c_mkdir(&c, d, "sub", &n), 0);
	CHECK(host_stat("d/sub") == 0 && st.st_gid == 500 && st.st_mode & S_ISGID);
	CHECK_INT(c_create(&c, d, "stranger", O_RDWR, 02770, &n, &fh), 0);
	CHECK(host_stat("d/stranger") == 0 && st.st_gid == 500 && !(st.st_mode & S_ISGID));
	c.ext = supp;
	c.n_ext = 2;
	CHECK_INT(c_create(&c, d, "member", O_RDWR, 02770, &n, &fh), 0);
	CHECK(host_stat("d/member") == 0 && st.st_gid == 500 && st.st_mode & S_ISGID);
	c.n_ext = 0;
	CHECK_INT(c_create(&c, d, "stranger2", O_RDWR, 02770, &n, &fh), 0);
	CHECK(host_stat("d/stranger2") == 0 && !(st.st_mode & S_ISGID));
	c.uid = 0;
	CHECK_INT(c_create(&c, d, "root", O_RDWR, 02770, &n, &fh), 0);
	CHECK(host_stat("d/root") == 0 && st.st_mode & S_ISGID);
	client_stop(&c);
}

/* ---- set-id bits and file capabilities go where a local file system drops them ---- */

static void set_ids(void)
{
	CHECK_INT(chmod(c_path(&c, "f", path), 06755), 0);
}

static bool has_ids(void)
{
	return host_stat("f") == 0 && (st.st_mode & 06000) == 06000;
}

TEST(set_id_bits_are_killed_when_asked)
{
	struct fuse_setattr_in cut = { .valid = FATTR_SIZE },
			       own = { .valid = FATTR_UID, .uid = 7 };
	struct fuse_open_in op = { .flags = O_RDWR | O_TRUNC };
	uint64_t n, fh;

	begin();
	CHECK_INT(c_create(&c, 1, "f", O_RDWR, 0755, &n, &fh), 0);
	set_ids();
	CHECK_INT(c_write(&c, n, fh, 0, "x", 1, 0), 1);
	CHECK(has_ids());
	CHECK_INT(c_write(&c, n, fh, 0, "x", 1, FUSE_WRITE_KILL_SUIDGID), 1);
	CHECK(!has_ids());
	set_ids();
	CHECK_INT(CALL(&c, FUSE_SETATTR, n, &cut), 0);
	CHECK(has_ids());
	cut.valid |= FATTR_KILL_SUIDGID;
	CHECK_INT(CALL(&c, FUSE_SETATTR, n, &cut), 0);
	CHECK(!has_ids());
	set_ids();
	CHECK_INT(CALL(&c, FUSE_OPEN, n, &op), 0);
	CHECK(has_ids());
	op.open_flags = FUSE_OPEN_KILL_SUIDGID;
	CHECK_INT(CALL(&c, FUSE_OPEN, n, &op), 0);
	CHECK(!has_ids());
	set_ids();
	CHECK_INT(CALL(&c, FUSE_SETATTR, n, &own), 0);
	CHECK(!has_ids());
	CHECK_INT(st.st_uid, 7);
	/* A mode is what the guest says, whatever the last request was allowed to keep. */
	own = (struct fuse_setattr_in){ .valid = FATTR_GID, .gid = 500 };
	CHECK_INT(CALL(&c, FUSE_SETATTR, n, &own), 0);
	CHECK_INT(c_write(&c, n, fh, 0, "x", 1, FUSE_WRITE_KILL_SUIDGID), 1);
	own = (struct fuse_setattr_in){ .valid = FATTR_MODE, .mode = 02755 };
	CHECK_INT(CALL(&c, FUSE_SETATTR, n, &own), 0);
	CHECK(host_stat("f") == 0 && (st.st_mode & 07777) == 02755);
	own = (struct fuse_setattr_in){ .valid = FATTR_UID, .uid = 7 };
	/* Owner and mode in one: the mode is the last word. */
	own.valid |= FATTR_MODE;
	own.mode = 04711;
	CHECK_INT(CALL(&c, FUSE_SETATTR, n, &own), 0);
	CHECK(host_stat("f") == 0 && (st.st_mode & 07777) == 04711);
	client_stop(&c);
}

TEST(file_capabilities_go_with_a_write)
{
	const struct vfs_cap_data cap = { .magic_etc = VFS_CAP_REVISION_2,
		.data = { { .permitted = 1 << CAP_NET_RAW } } };
	const char name[] = "security.capability";
	struct fuse_setxattr_in in = { .size = sizeof(cap) };
	struct fuse_getxattr_in get = { .size = 64 };
	uint64_t n, fh;

	begin();
	CHECK_INT(c_create(&c, 1, "f", O_RDWR, 0755, &n, &fh), 0);
	CHECK_INT(client_call(
		      &c, FUSE_SETXATTR, n, &in, sizeof(in), name, sizeof(name), &cap, sizeof(cap)),
	    0);
	CHECK_INT(CALL_NAME(&c, FUSE_GETXATTR, n, &get, name), 0);
	CHECK_INT(c.reply_len, sizeof(cap));
	CHECK(memcmp(c.reply, &cap, sizeof(cap)) == 0);
	CHECK_INT(c_write(&c, n, fh, 0, "x", 1, 0), 1);
	CHECK_INT(CALL_NAME(&c, FUSE_GETXATTR, n, &get, name), -ENODATA);
	client_stop(&c);
}

/* ---- extended attributes ---- */

TEST(other_attributes_are_neither_shown_nor_set)
{
	static const char *const refused[] = { "system.posix_acl_access",
		"system.posix_acl_default", "security.selinux", "security.ima", "trusted.x",
		"btrfs.compression", "security.capabilityx", "nodot" };
	struct fuse_setxattr_in set = { .size = 1 };
	struct fuse_getxattr_in get = { .size = 1000 };
	uint64_t n;

	begin();
	host_file("f", "");
	CHECK_INT(setxattr(path, "trusted.hidden", "v", 1, 0), 0);
	CHECK_INT(setxattr(path, "user.seen", "value", 5, 0), 0);
	CHECK_INT(c_lookup(&c, 1, "f", &n), 0);
	for (unsigned i = 0; i < ARRAY_SIZE(refused); i++) {
		const char *name = refused[i];
		size_t len = strlen(name) + 1;

		CHECK_INT(client_call(&c, FUSE_SETXATTR, n, &set, sizeof(set), name, len, "v", 1),
		    -EOPNOTSUPP);
		CHECK_INT(CALL_NAME(&c, FUSE_GETXATTR, n, &get, name), -EOPNOTSUPP);
		CHECK_INT(CALL_ONLY_NAME(&c, FUSE_REMOVEXATTR, n, name), -EOPNOTSUPP);
	}
	CHECK_INT(CALL(&c, FUSE_LISTXATTR, n, &get), 0);
	CHECK_INT(c.reply_len, sizeof("user.seen"));
	CHECK_STR((char *)c.reply, "user.seen");
	get.size = 0;
	CHECK_INT(CALL(&c, FUSE_LISTXATTR, n, &get), 0);
	CHECK_INT(REPLY(&c, fuse_getxattr_out)->size, sizeof("user.seen"));
	get.size = 3;
	CHECK_INT(CALL_NAME(&c, FUSE_GETXATTR, n, &get, "user.seen"), -ERANGE);
	get.size = 5;
	CHECK_INT(CALL_NAME(&c, FUSE_GETXATTR, n, &get, "user.seen"), 0);
	CHECK(c.reply_len == 5 && memcmp(c.reply, "value", 5) == 0);
	client_stop(&c);
}

/* ---- directories ---- */

#define MANY 2500

/* One READDIR; marks the names it tells, remembers cookies. Returns the last cookie, 0 at the end.
 */
static uint64_t read_some(uint64_t fh, uint64_t at, bool plus, uint8_t *seen, uint32_t size)
{
	struct fuse_read_in in = { .fh = fh, .offset = at, .size = size };
	size_t off = 0;

	CHECK_INT(CALL(&c, plus ? FUSE_READDIRPLUS : FUSE_READDIR, 1, &in), 0);
	CHECK(c.reply_len <= size);
	at = 0;
	while (off < c.reply_len) {
		const struct fuse_dirent *d = (const void *)(c.reply + off);
		uint64_t nodeid = 0;

		if (plus) {
			const struct fuse_direntplus *p = (const void *)d;

			nodeid = p->entry_out.nodeid;
			d = &p->dirent;
		}
		if (d->name[0] == 'f') {
			unsigned i = (unsigned)strtoul(d->name + 1, NULL, 10);

			CHECK(i < MANY && !(plus && nodeid == 0));
			seen[i]++;
		} else {
			CHECK(nodeid == 0); /* "." and ".." */
		}
		at = d->off;
		off += plus ? FUSE_DIRENTPLUS_SIZE(
				  (const struct fuse_direntplus *)(const void *)(c.reply + off))
			    : FUSE_DIRENT_SIZE(d);
	}
	CHECK_INT(off, c.reply_len);
	return at;
}

static void read_all(bool plus, uint32_t size)
{
	uint8_t seen[MANY] = { 0 };
	uint64_t fh, at = 0, half = 0;
	unsigned rounds = 0;

	CHECK_INT(c_opendir(&c, 1, &fh), 0);
	while ((at = read_some(fh, at, plus, seen, size)) != 0)
		if (++rounds == 1)
			half = at;
	for (unsigned i = 0; i < MANY; i++)
		CHECK_INT(seen[i], 1);
	/* Back to a cookie of before, with another handle: the rest once more. */
	unsigned again = 0;
	CHECK_INT(c_releasedir(&c, 1, fh), 0);
	CHECK_INT(c_opendir(&c, 1, &fh), 0);
	for (at = half; (at = read_some(fh, at, plus, seen, size)) != 0;)
		;
	for (unsigned i = 0; i < MANY; i++)
		again += seen[i] == 2;
	CHECK(again > 0 && again < MANY);
	CHECK_INT(c_releasedir(&c, 1, fh), 0);
}

TEST(directories_are_read_once_and_from_any_cookie)
{
	begin();
	for (int i = 0; i < MANY; i++) {
		char name[64];

		snprintf(name, sizeof(name), "f%d%.*s", i, i % 40,
		    "-and-quite-a-long-name-behind-the-number");
		host_file(name, "");
	}
	read_all(false, 4096);
	read_all(false, 60000);
	CHECK_INT(fuse_server_usage(c.server).nodes, 1);
	read_all(true, 4096);
	read_all(true, 100000);
	CHECK_INT(fuse_server_usage(c.server).nodes, 1 + MANY);
	/* Each entry has counted a lookup, and no more than one each time. */
	uint64_t n;
	CHECK_INT(c_lookup(&c, 1, "f0", &n), 0);
	CHECK_INT(c_forget(&c, n, 3), 0);
	CHECK_INT(fuse_server_usage(c.server).nodes, 1 + MANY);
	CHECK_INT(c_forget(&c, n, 2), 0);
	client_stop(&c);
}

/* ---- data ---- */

TEST(append_follows_the_flags_of_each_write)
{
	struct fuse_write_in in = { .size = 1, .flags = O_APPEND };
	uint64_t n, fh;

	begin();
	CHECK_INT(c_create(&c, 1, "f", O_RDWR | O_APPEND, 0644, &n, &fh), 0);
	CHECK_INT(c_write(&c, n, fh, 0, "abc", 3, 0), 3);
	in.fh = fh;
	CHECK_INT(client_call(&c, FUSE_WRITE, n, &in, sizeof(in), "d", 1, NULL, 0), 0);
	in.flags = 0; /* fcntl(F_SETFL) in the guest */
	CHECK_INT(client_call(&c, FUSE_WRITE, n, &in, sizeof(in), "X", 1, NULL, 0), 0);
	CHECK_INT(c_read(&c, n, fh, 0, 100), 4);
	CHECK(memcmp(c.reply, "Xbcd", 4) == 0);
	client_stop(&c);
}

TEST(kept_pages_are_good_only_while_the_file_is_as_it_was)
{
	struct fuse_open_in in = { .flags = O_RDONLY };
	uint64_t n;

	begin();
	host_file("f", "one");
	CHECK_INT(c_lookup(&c, 1, "f", &n), 0);
	usleep(120000);
	CHECK_INT(CALL(&c, FUSE_OPEN, n, &in), 0);
	CHECK(!(REPLY(&c, fuse_open_out)->open_flags & FOPEN_KEEP_CACHE)); /* the first */
	CHECK_INT(CALL(&c, FUSE_OPEN, n, &in), 0);
	CHECK(REPLY(&c, fuse_open_out)->open_flags & FOPEN_KEEP_CACHE);
	host_file("f", "two");
	CHECK_INT(CALL(&c, FUSE_OPEN, n, &in), 0);
	CHECK(!(REPLY(&c, fuse_open_out)->open_flags & FOPEN_KEEP_CACHE));
	/* Too young to be told from a change within the same tick. */
	CHECK_INT(CALL(&c, FUSE_OPEN, n, &in), 0);
	CHECK(!(REPLY(&c, fuse_open_out)->open_flags & FOPEN_KEEP_CACHE));
	client_stop(&c);
}

TEST(close_asks_where_it_can_fail)
{
	struct fuse_open_in in = { .flags = O_WRONLY };
	uint64_t n;

	begin();
	host_file("f", "");
	CHECK_INT(c_lookup(&c, 1, "f", &n), 0);
	/* Tests lie on a local file system. */
	CHECK_INT(CALL(&c, FUSE_OPEN, n, &in), 0);
	CHECK(REPLY(&c, fuse_open_out)->open_flags & FOPEN_NOFLUSH);
	c.server->silent[0] = false;
	CHECK_INT(CALL(&c, FUSE_OPEN, n, &in), 0);
	CHECK(!(REPLY(&c, fuse_open_out)->open_flags & FOPEN_NOFLUSH));
	in.flags = O_RDONLY;
	CHECK_INT(CALL(&c, FUSE_OPEN, n, &in), 0);
	CHECK(REPLY(&c, fuse_open_out)->open_flags & FOPEN_NOFLUSH);
	client_stop(&c);
}

TEST(temporary_files_get_a_name_by_link)
{
	struct fuse_create_in in = { .flags = O_RDWR, .mode = S_IFREG | 0600 };
	struct fuse_link_in ln = { 0 };
	uint64_t n, fh;

	begin();
	CHECK_INT(CALL_NAME(&c, FUSE_TMPFILE, 1, &in, "/"), 0);
	n = REPLY(&c, fuse_entry_out)->nodeid;
	fh = ((const struct fuse_open_out *)(const void *)(c.reply + sizeof(struct fuse_entry_out)))
		 ->fh;
	CHECK_INT(c_write(&c, n, fh, 0, "tmp", 3, 0), 3);
	ln.oldnodeid = n;
	CHECK_INT(CALL_NAME(&c, FUSE_LINK, 1, &ln, "named"), 0);
	CHECK(REPLY(&c, fuse_entry_out)->nodeid == n);
	CHECK(host_stat("named") == 0 && st.st_size == 3 && st.st_nlink == 1);
	client_stop(&c);
}

/* ---- attributes ---- */

TEST(times_to_the_nanosecond_and_a_birth_time)
{
	struct {
		uint32_t getattr_flags, reserved;
		uint64_t fh;
		uint32_t flags, mask;
	} in = { .mask = STATX_BTIME };
	struct fuse_setattr_in set = { .valid = FATTR_ATIME | FATTR_MTIME,
		.atime = 5,
		.atimensec = 123456789,
		.mtime = 6,
		.mtimensec = 987654321 };
	struct statx sx;
	uint64_t n;

	begin();
	host_file("f", "x");
	CHECK_INT(statx(AT_FDCWD, path, 0, STATX_BTIME, &sx), 0);
	CHECK_INT(c_lookup(&c, 1, "f", &n), 0);
	CHECK_INT(CALL(&c, FUSE_SETATTR, n, &set), 0);
	const struct fuse_attr *a = &REPLY(&c, fuse_attr_out)->attr;
	CHECK(a->atime == 5 && a->atimensec == 123456789);
	CHECK(a->mtime == 6 && a->mtimensec == 987654321);
	set.mtimensec = UTIME_NOW;
	CHECK_INT(CALL(&c, FUSE_SETATTR, n, &set), -EINVAL);
	/* Offsets in struct fuse_statx_out of 7.39: mask at 32, btime at 32 + 80. */
	CHECK_INT(CALL(&c, 52, n, &in), 0);
	CHECK_INT(c.reply_len, 288);
	uint32_t mask;
	int64_t sec;
	memcpy(&mask, c.reply + 32, 4);
	memcpy(&sec, c.reply + 32 + 80, 8);
	CHECK_INT(mask & STATX_BTIME, sx.stx_mask & STATX_BTIME);
	CHECK_INT(sec, sx.stx_btime.tv_sec);
	client_stop(&c);
}

TEST(whole_file_systems)
{
	struct fuse_syncfs_in sync = { 0 };
	uint64_t n;

	begin();
	host_file("f", "x");
	CHECK_INT(c_lookup(&c, 1, "f", &n), 0);
	CHECK_INT(client_call(&c, FUSE_STATFS, n, NULL, 0, NULL, 0, NULL, 0), 0);
	CHECK(REPLY(&c, fuse_statfs_out)->st.blocks > 0);
	CHECK_INT(REPLY(&c, fuse_statfs_out)->st.namelen, 255);
	CHECK_INT(CALL(&c, FUSE_SYNCFS, 1, &sync), 0);
	CHECK_INT(CALL(&c, FUSE_SYNCFS, n, &sync), -EINVAL);
	client_stop(&c);
}

TEST_MAIN(T(what_is_made_belongs_to_who_asked), T(a_users_request_needs_no_more_permission),
    T(set_group_id_directories), T(set_id_bits_are_killed_when_asked),
    T(file_capabilities_go_with_a_write), T(other_attributes_are_neither_shown_nor_set),
    T(directories_are_read_once_and_from_any_cookie), T(append_follows_the_flags_of_each_write),
    T(kept_pages_are_good_only_while_the_file_is_as_it_was), T(close_asks_where_it_can_fail),
    T(temporary_files_get_a_name_by_link), T(times_to_the_nanosecond_and_a_birth_time),
    T(whole_file_systems))
