/*
 * The file server under a real client: this kernel's FUSE, through /dev/fuse, in a mount namespace
 * of the test's own. The same random calls go to a directory below the mount and to a plain one:
 * results, errors and what is left have to be the same.
 */
#include <grp.h>
#include <linux/falloc.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <time.h>

#include "tests/unit/test.h"
#include "tests/unit/vm/fuse_client.h"
#include "vm/jail.h"

static const char *skips;  /* why only the present test */
static char skipped[128];  /* why */
static struct client host; /* its directories alone */
static char mnt[128], plain[128];

/* ---- the bridge ---- */

#define BRIDGE_MAX (FUSE_DATA_MAX + 8192)

static void *bridge(void *arg)
{
	struct fuse_server *server = ((void **)arg)[0];
	int dev = (int)(intptr_t)((void **)arg)[1];
	struct err e = ERR_INIT;
	struct fuse_worker *w;
	char *in = malloc(BRIDGE_MAX), *out = malloc(BRIDGE_MAX);

	if (fuse_worker_new(server, &w, &e) < 0 || vm_jail_thread(VM_THREAD_FS, &e) < 0) {
		printf("# %s\n", e.msg);
		fflush(stdout);
		_exit(1);
	}
	for (;;) {
		ssize_t n = read(dev, in, BRIDGE_MAX), r;

		if (n < 0 && (errno == EINTR || errno == ENOENT || errno == EAGAIN))
			continue;
		if (n < 0)
			return NULL;
		const struct iovec iv = { in, (size_t)n }, ov = { out, BRIDGE_MAX };

		r = fuse_handle(w, &iv, 1, &ov, 1);
		if (r < 0)
			abort();
		if (r > 0 && write(dev, out, (size_t)r) < 0 && errno != ENOENT)
			printf("# reply of %zd: %s\n", r, strerror(errno));
	}
}

/* How the server lives. */
enum life {
	FREE,
	JAILED,	    /* as in the monitor: its capabilities and system calls alone */
	IN_USER_NS, /* jailed in a user namespace */
};

static void write_map(pid_t pid, const char *file)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	CHECK(write(fd, "0 0 65536", 9) == 9);
}

/* In the child: from here on in a user namespace in which ids are the same; in the parent: waits
 * for that and maps them. */
static void enter_user_ns(pid_t child, int sock)
{
	char c = 0;

	if (child == 0) {
		if (unshare(CLONE_NEWUSER) < 0 || write(sock, &c, 1) != 1 || read(sock, &c, 1) != 1)
			_exit(3);
		return;
	}
	CHECK(read(sock, &c, 1) == 1);
	write_map(child, "uid_map");
	write_map(child, "gid_map");
	CHECK(write(sock, &c, 1) == 1);
}

static void serve(int dev, const struct fuse_limits *limits, enum life life)
{
	struct err e = ERR_INIT;
	struct fuse_server *s;
	pthread_t threads[2];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if ((life != FREE && vm_jail_process(true, &e) < 0) ||
	    fuse_server_new(open(host.root, O_PATH | O_DIRECTORY),
		open("/proc/self/fd", O_PATH | O_DIRECTORY), limits, &s, &e) < 0) {
		printf("# %s\n", e.msg);
		fflush(stdout);
		_exit(1);
	}
	void *arg[2] = { s, (void *)(intptr_t)dev };

	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, bridge, arg);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	_exit(0);
}

static pid_t server_pid;

/* Mounts the server's tree on mnt. False, and a word why, where this machine cannot. */
static bool mounted(const struct fuse_limits *limits, enum life life)
{
	char opts[128];
	int socks[2];
	_cleanup_close_ int dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (skipped[0])
		return false;
	if (dev < 0) {
		snprintf(skipped, sizeof(skipped), "/dev/fuse: %s", strerror(errno));
		return false;
	}
	CHECK_INT(client_tree(&host), 0);
	snprintf(mnt, sizeof(mnt), "%s/mnt", host.top);
	snprintf(plain, sizeof(plain), "%s/plain", host.top);
	mkdir(mnt, 0755);
	mkdir(plain, 0755);
	snprintf(opts, sizeof(opts),
	    "fd=%d,rootmode=40755,user_id=0,group_id=0,default_permissions,allow_other", dev);
	if (mount("bailey", mnt, "fuse", MS_NODEV, opts) < 0) {
		snprintf(skipped, sizeof(skipped), "mount FUSE: %s", strerror(errno));
		nftw(host.top, client_unlink, 16, FTW_DEPTH | FTW_PHYS);
		return false;
	}
	fflush(stdout);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, socks) < 0)
		return false;
	server_pid = fork();
	if (life == IN_USER_NS)
		enter_user_ns(server_pid, socks[server_pid == 0]);
	close(socks[0]);
	close(socks[1]);
	if (server_pid == 0)
		serve(dev, limits, life);
	return true;
}

static void unmounted(void)
{
	int status = 0;

	if (umount2(mnt, MNT_DETACH) < 0)
		perror("# umount");
	waitpid(server_pid, &status, 0);
	CHECK_INT(status, 0);
	nftw(host.top, client_unlink, 16, FTW_DEPTH | FTW_PHYS);
}

/* ---- random calls ---- */

static uint64_t seed;
static uint32_t rnd(uint32_t n)
{
	seed = seed * 6364136223846793005ull + 1442695040888963407ull;
	return (uint32_t)(seed >> 33) % n;
}

static const char *const names[] = { "a", "b", "c", "dir", "dir/a", "dir/b", "dir/sub", "dir/sub/x",
	"dir/sub/y", "link", "e", "f" };
#define FDS 4

/* One side of the comparison. */
struct side {
	int root, fds[FDS];
};

struct call {
	unsigned op, slot, slot2, flags, mode, whence, len, id;
	const char *one, *two;
	off_t at, at2;
	uint8_t fill;
};

static char buf[40000];

static long sum(ssize_t n, uint64_t *digest)
{
	for (ssize_t i = 0; i < n; i++)
		*digest = *digest * 131 + (uint8_t)buf[i];
	return n;
}

static long perform_on_fd(const struct side *s, const struct call *c, uint64_t *digest)
{
	int fd = s->fds[c->slot];

	switch (c->op) {
	case 10:
	case 11: /* open into a slot: one and the same number of calls on both sides */
		return 0;
	case 12:
	case 13:
		memset(buf, c->fill, c->len);
		return pwrite(fd, buf, c->len, c->at);
	case 14:
	case 15:
		return sum(pread(fd, buf, c->len, c->at), digest);
	case 16:
		return ftruncate(fd, c->at);
	case 17:
		return fallocate(fd, c->flags & 1 ? FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE : 0,
		    c->at, c->len + 1);
	case 18: {
		loff_t from = c->at, to = c->at2;

		return copy_file_range(fd, &from, s->fds[c->slot2], &to, c->len % 8192, 0);
	}
	case 19:
		return c->flags < 4 ? fsync(fd) : c->flags < 8 ? syncfs(s->root) : 0;
	case 23:
		memset(buf, c->fill, c->len);
		return write(fd, buf, c->len); /* O_APPEND, or the position */
	case 24:
		return fsetxattr(fd, "user.one", c->one, strlen(c->one), c->flags % 3);
	case 25:
		return sum(fgetxattr(fd, "user.one", buf, sizeof(buf)), digest);
	case 27:
		return fremovexattr(fd, "user.one");
	default:
		return sum(flistxattr(fd, buf, sizeof(buf)), digest);
	}
}

/* Names and types, in whatever order they come. */
static long list_dir(int root, const char *name, uint64_t *digest)
{
	int fd = openat(root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	long n = 0;

	if (!d)
		return -1;
	while ((e = readdir(d))) {
		uint64_t h = e->d_type;

		for (const char *p = e->d_name; *p; p++)
			h = h * 131 + (uint8_t)*p;
		*digest += h;
		n++;
	}
	closedir(d);
	return n;
}

static long perform(const struct side *s, const struct call *c, uint64_t *digest)
{
	struct statvfs vfs;
	struct stat st;
	ssize_t n;

	switch (c->op) {
	case 0:
		return mkdirat(s->root, c->one, c->mode);
	case 1:
		return unlinkat(s->root, c->one, 0);
	case 2:
		return unlinkat(s->root, c->one, AT_REMOVEDIR);
	case 3:
		return renameat2(s->root, c->one, s->root, c->two, c->flags % 3);
	case 4:
		return linkat(s->root, c->one, s->root, c->two, 0);
	case 5:
		return symlinkat(c->two, s->root, c->one);
	case 6:
		return sum(readlinkat(s->root, c->one, buf, sizeof(buf)), digest);
	case 7:
		if (fstatat(s->root, c->one, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return -1;
		*digest = st.st_mode * 31u + st.st_uid * 37u + st.st_gid * 41u +
			  (S_ISDIR(st.st_mode) ? 0 : (uint64_t)st.st_size * 43u) +
			  (uint64_t)st.st_nlink * 47u;
		return 0;
	case 8:
		/* Set-group-id of what the group may not execute is lost to a writer whose
		 * supplementary groups the server does not know. */
		return fchmodat(s->root, c->one,
		    c->mode | (c->flags & 1 ? S_ISUID | (c->mode & 010 ? S_ISGID : 0) : 0), 0);
	case 9:
		return fchownat(s->root, c->one, c->id, c->id, AT_SYMLINK_NOFOLLOW);
	case 20: {
		const struct timespec t[2] = { { c->id + 1, c->len }, { c->id + 77, c->len } };

		if (utimensat(s->root, c->one, t, AT_SYMLINK_NOFOLLOW) < 0 ||
		    fstatat(s->root, c->one, &st, AT_SYMLINK_NOFOLLOW) < 0)
			return -1;
		*digest = (uint64_t)st.st_mtim.tv_sec * 3 + (uint64_t)st.st_mtim.tv_nsec * 5 +
			  (uint64_t)st.st_atim.tv_nsec;
		return 0;
	}
	case 21:
		return mknodat(s->root, c->one, S_IFIFO | c->mode, 0);
	case 22: {
		char path[64];
		int t = openat(s->root, ".", O_TMPFILE | O_RDWR, c->mode);

		if (t < 0)
			return -1;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", t);
		n = write(t, c->one, 1) == 1
			? linkat(AT_FDCWD, path, s->root, c->two, AT_SYMLINK_FOLLOW)
			: -1;
		close(t);
		return n;
	}
	case 26:
		return faccessat(s->root, c->one, c->flags % 8, 0);
	case 29:
		return list_dir(s->root, c->flags & 1 ? "." : c->one, digest);
	case 30:
		return fstatvfs(s->root, &vfs);
	default:
		return perform_on_fd(s, c, digest);
	}
}

static struct call random_call(void)
{
	static const unsigned modes[] = { 0644, 0755, 0700, 0600, 0444, 0777 };

	return (struct call){
		.op = rnd(31),
		.slot = rnd(FDS),
		.slot2 = rnd(FDS),
		.flags = rnd(64),
		.mode = modes[rnd(6)],
		.len = rnd(8) ? rnd(5000) : rnd(40000),
		.id = rnd(3) * 500,
		.one = names[rnd(ARRAY_SIZE(names))],
		.two = names[rnd(ARRAY_SIZE(names))],
		.at = rnd(60000),
		.at2 = rnd(60000),
		.fill = (uint8_t)rnd(256),
	};
}

static long reopen(struct side *s, const struct call *c)
{
	static const int accs[] = { O_RDONLY, O_WRONLY, O_RDWR, O_RDWR };
	int flags = accs[c->flags % 4] | O_NONBLOCK | (c->flags & 4 ? O_CREAT : 0) |
		    (c->flags & 8 ? O_TRUNC : 0) | (c->flags & 16 ? O_APPEND : 0) |
		    (c->flags & 32 && c->flags & 4 ? O_EXCL : 0);
	int fd = openat(s->root, c->one, flags, c->mode);
	struct stat st;

	if (fd < 0)
		return -1;
	/* A fifo's own buffers would be another comparison. */
	if (fstat(fd, &st) == 0 && !S_ISREG(st.st_mode)) {
		close(fd);
		return st.st_mode & S_IFMT;
	}
	close(s->fds[c->slot]);
	s->fds[c->slot] = fd;
	return 0;
}

static bool same_call(struct side s[2], const struct call *c, unsigned step)
{
	uint64_t digest[2] = { 0, 0 };
	long r[2];
	int e[2];

	for (int i = 0; i < 2; i++) {
		errno = 0;
		r[i] =
		    c->op == 10 || c->op == 11 ? reopen(&s[i], c) : perform(&s[i], c, &digest[i]);
		e[i] = r[i] < 0 ? errno : 0;
	}
	if (r[0] == r[1] && e[0] == e[1] && digest[0] == digest[1])
		return true;
	printf("# seed-step %u op %u %s %s len %u at %ld flags %u mode %o: server %ld (%s) %llx, "
	       "plain %ld (%s) %llx\n",
	    step, c->op, c->one, c->two, c->len, (long)c->at, c->flags, c->mode, r[0],
	    strerror(e[0]), (unsigned long long)digest[0], r[1], strerror(e[1]),
	    (unsigned long long)digest[1]);
	fflush(stdout);
	return false;
}

static bool same_file(const char *a, const char *b)
{
	_cleanup_close_ int x = open(a, O_RDONLY | O_NONBLOCK), y = open(b, O_RDONLY | O_NONBLOCK);
	char p[4096], q[4096];
	ssize_t n, m;

	do {
		n = read(x, p, sizeof(p));
		m = read(y, q, sizeof(q));
		if (n != m || (n > 0 && memcmp(p, q, (size_t)n) != 0))
			return false;
	} while (n > 0);
	return true;
}

static bool same_trees(void)
{
	bool same = true;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		char a[512], b[512];
		struct stat x, y;

		snprintf(a, sizeof(a), "%s/t/%s", host.root, names[i]);
		snprintf(b, sizeof(b), "%s/%s", plain, names[i]);
		int r = lstat(a, &x), q = lstat(b, &y);

		if (r != q || (r == 0 && (x.st_mode != y.st_mode || x.st_uid != y.st_uid ||
					     x.st_gid != y.st_gid || x.st_nlink != y.st_nlink))) {
			printf("# %s differs: %o %u, %o %u\n", names[i], x.st_mode, x.st_uid,
			    y.st_mode, y.st_uid);
			same = false;
		} else if (r == 0 && S_ISREG(x.st_mode) && !same_file(a, b)) {
			printf("# %s: other data\n", names[i]);
			same = false;
		}
	}
	return same;
}

static bool run_calls(struct side s[2], unsigned steps)
{
	for (unsigned step = 0; step < steps; step++) {
		struct call c = random_call();

		if (!same_call(s, &c, step))
			return false;
	}
	return true;
}

/* The same as an ordinary user of one more group. */
static bool run_calls_as(uid_t id, gid_t group, struct side s[2], unsigned steps)
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		if (setgroups(1, &group) < 0 || setresgid(id, id, id) < 0 ||
		    setresuid(id, id, id) < 0)
			_exit(2);
		_exit(run_calls(s, steps) ? 0 : 1);
	}
	waitpid(pid, &status, 0);
	return status == 0;
}

static void differential(
    const struct fuse_limits *limits, enum life life, uint64_t with_seed, unsigned steps, uid_t id)
{
	struct side s[2];
	char t[512];

#ifdef __SANITIZE_ADDRESS__
	if (life == JAILED || life == IN_USER_NS) {
		skips = "the sanitizer's own system calls are not on the jail's list";
		return;
	}
#endif
	if (!mounted(limits, life))
		return;
	seed = with_seed;
	snprintf(t, sizeof(t), "%s/t", mnt);
	CHECK_INT(mkdir(t, 0755), 0);
	s[0].root = open(t, O_RDONLY | O_DIRECTORY);
	s[1].root = open(plain, O_RDONLY | O_DIRECTORY);
	for (int i = 0; i < 2; i++) {
		if (id && (fchown(s[i].root, 0, 500) < 0 || fchmod(s[i].root, 02777) < 0))
			CHECK(false);
		for (int f = 0; f < FDS; f++)
			s[i].fds[f] = open("/dev/null", O_RDONLY);
	}
	fflush(stdout);
	CHECK(id ? run_calls_as(id, 500, s, steps) : run_calls(s, steps));
	CHECK(same_trees());
	for (int i = 0; i < 2; i++) {
		close(s[i].root);
		for (int f = 0; f < FDS; f++)
			close(s[i].fds[f]);
	}
	unmounted();
}

static unsigned calls(void)
{
	return getenv("BAILEY_TEST_EMULATED") ? 1000 : 6000;
}

TEST(random_calls_do_what_they_do_on_a_plain_directory)
{
	for (unsigned i = 1; i <= 4; i++)
		differential(NULL, FREE, i * 7919, calls(), 0);
}

/* In a set-group-id directory of a group of theirs. */
TEST(the_same_for_an_ordinary_user)
{
	for (unsigned i = 1; i <= 4; i++)
		differential(NULL, FREE, i * 104729, calls(), 1000);
}

/* So few idle descriptors that nodes are reopened all the time. */
TEST(the_same_with_hardly_any_descriptors)
{
	const struct fuse_limits few = { .nodes = 1000, .fds = 24, .idle = 2 };

	differential(&few, FREE, 4242, calls(), 0);
	differential(&few, FREE, 4243, calls(), 1000);
}

/* The capabilities and system calls of the monitor's workers are enough. */
TEST(the_same_in_the_jail)
{
	differential(NULL, JAILED, 31, calls(), 0);
	differential(NULL, JAILED, 32, calls(), 1000);
}

TEST(the_same_in_a_user_namespace)
{
	differential(NULL, IN_USER_NS, 33, calls(), 1000);
}

int main(void)
{
	const struct test tests[] = {
		T(random_calls_do_what_they_do_on_a_plain_directory),
		T(the_same_for_an_ordinary_user),
		T(the_same_with_hardly_any_descriptors),
		T(the_same_in_the_jail),
		T(the_same_in_a_user_namespace),
	};
	int bad = 0;

	alarm(300);
	umask(0);
	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		snprintf(skipped, sizeof(skipped), "mount namespace: %s", strerror(errno));
	for (size_t i = 0; i < ARRAY_SIZE(tests); i++) {
		test_failed = 0;
		skips = NULL;
		tests[i].fn();
		if (skipped[0])
			skips = skipped;
		printf("%s %s%s%s\n", test_failed ? "not ok" : "ok", tests[i].name,
		    skips ? " # SKIP " : "", skips ? skips : "");
		bad |= test_failed;
	}
	return bad;
}
