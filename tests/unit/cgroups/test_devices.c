/*
 * Device rules: what a real process in a real cgroup may open and make.
 *
 * The nodes have numbers of no driver, on a tmpfs: the cgroup is asked first, so that EPERM says
 * "denied" and ENXIO "allowed, but there is no such device".
 */
#include <sys/sysmacros.h>

#include "base/sys.h"
#include "tests/unit/cgroups/cgtest.h"

#define MAJ 240 /* for local use, Documentation/admin-guide/devices.txt */

static struct spec_device_rule rule(
    bool allow, char type, int64_t maj, int64_t min, const char *access)
{
	return (struct spec_device_rule){ .allow = allow,
		.type = type,
		.major = { maj != -2, maj },
		.minor = { min != -2, min },
		.read = strchr(access, 'r'),
		.write = strchr(access, 'w'),
		.mknod = strchr(access, 'm') };
}

struct
try {
	char type;
	unsigned maj, min;
	const char *access; /* r, w, rw or m */
};

/* In the child: 'y' allowed, 'n' denied, '?' something else. */
static char attempt(const struct try *t, int i)
{
	char node[64];
	mode_t mode = (t->type == 'b' ? S_IFBLK : S_IFCHR) | 0666;
	int flags = streq(t->access, "r") ? O_RDONLY : streq(t->access, "w") ? O_WRONLY : O_RDWR;
	int fd;

	snprintf(node, sizeof(node), "/mnt/made-%d", i);
	if (streq(t->access, "m")) {
		if (mknod(node, mode, makedev(t->maj, t->min)) < 0)
			return errno == EPERM ? 'n' : '?';
		return 'y';
	}
	snprintf(node, sizeof(node), "/mnt/%c-%u-%u", t->type, t->maj, t->min);
	fd = open(node, flags | O_NOCTTY | O_NONBLOCK);
	if (fd >= 0) {
		close(fd);
		return 'y';
	}
	return errno == EPERM ? 'n' : errno == ENXIO || errno == ENODEV ? 'y' : '?';
}

static void make_nodes(const struct try *t, size_t n)
{
	static bool mounted;
	char node[64];

	if (!mounted && mount("none", "/mnt", "tmpfs", 0, NULL) < 0)
		printf("# mount tmpfs: %s\n", strerror(errno));
	mounted = true;
	for (size_t i = 0; i < n; i++) {
		snprintf(node, sizeof(node), "/mnt/%c-%u-%u", t[i].type, t[i].maj, t[i].min);
		mknod(node, (t[i].type == 'b' ? S_IFBLK : S_IFCHR) | 0666,
		    makedev(t[i].maj, t[i].min));
	}
}

static const char *verdicts(const struct cgroup *c, const struct try *t, size_t n)
{
	static char out[64];
	int p[2];
	pid_t pid;

	make_nodes(t, n);
	memset(out, 0, sizeof(out));
	if (pipe(p) < 0)
		abort();
	pid = fork();
	if (pid == 0) {
		for (size_t i = 0; i < n; i++)
			out[i] = enter(c) ? attempt(&t[i], (int)i) : '!';
		for (size_t i = 0; i < n; i++) {
			char node[64];

			snprintf(node, sizeof(node), "/mnt/made-%d", (int)i);
			unlink(node);
		}
		_exit(write(p[1], out, n) != (ssize_t)n);
	}
	close(p[1]);
	if (read(p[0], out, n) < 0)
		abort();
	close(p[0]);
	reap(pid);
	return out;
}

static struct cgroup make(const char *path)
{
	struct cgroup c = CGROUP_INIT;
	struct spec_resources none = { 0 };
	struct err e = ERR_INIT;

	if (cgroup_create(path, &none, false, &c, &e) < 0)
		printf("# %s\n", e.msg);
	return c;
}

static void drop(struct cgroup *c)
{
	struct err e = ERR_INIT;

	CHECK_INT(cgroup_destroy(c->path, 0, c->made_from, &e), 0);
	cgroup_close(c);
}

static void apply(const struct cgroup *c, struct spec_device_rule *v, size_t n)
{
	struct spec_resources r = { .devices = { v, n } };
	struct err e = ERR_INIT;

	CHECK_INT(cgroup_apply(c, &r, true, &e), 0);
	if (e.code)
		printf("# %s\n", e.msg);
}

/* One program per line: rules, attempts, verdicts. */
static void expect(
    struct spec_device_rule *rules, size_t n_rules, const struct try *t, size_t n, const char *want)
{
	struct cgroup c = make(unit_path(""));

	apply(&c, rules, n_rules);
	CHECK_STR(verdicts(&c, t, n), want);
	drop(&c);
}
#define EXPECT(rules, tries, want) expect(rules, ARRAY_SIZE(rules), tries, ARRAY_SIZE(tries), want)

static const struct try standard[] = {
	{ 'c', 1, 3, "rw" },
	{ 'c', 1, 5, "rw" },
	{ 'c', 1, 7, "rw" },
	{ 'c', 1, 8, "r" },
	{ 'c', 1, 9, "r" },
	{ 'c', 10, 200, "rw" },
	{ 'c', MAJ, 7, "m" },
	{ 'b', MAJ, 7, "m" },
	/* and these not */
	{ 'c', 5, 1, "w" },
	{ 'c', 1, 1, "r" },
	{ 'c', MAJ, 7, "r" },
	{ 'b', MAJ, 7, "r" },
	{ 'b', 1, 3, "r" },
};

TEST(defaults_and_nothing_else)
{
	struct spec_device_rule deny[] = { rule(false, 'a', -2, -2, "rwm") };

	if (!real_cgroup2())
		return;
	EXPECT(deny, standard, "yyyyyyyynnnnn");
	/* no rules at all are no permission */
	expect(NULL, 0, standard, ARRAY_SIZE(standard), "yyyyyyyynnnnn");
	/* nor can a rule take the defaults away */
	struct spec_device_rule late[] = { rule(true, 'a', -2, -2, "rwm"),
		rule(false, 'c', 1, 3, "rwm") };
	EXPECT(late, standard, "yyyyyyyyyyyyy");
}

TEST(last_match_wins)
{
	const struct try t[] = { { 'c', MAJ, 1, "rw" }, { 'c', MAJ, 2, "rw" },
		{ 'b', MAJ, 1, "rw" }, { 'b', MAJ + 1, 1, "r" } };
	struct spec_device_rule r[] = { rule(false, 'a', -1, -1, "rwm"),
		rule(true, 'c', MAJ, -1, "rwm"), rule(false, 'c', MAJ, 2, "rwm"),
		rule(true, 'b', -1, 1, "rwm"), rule(false, 'b', MAJ + 1, -1, "rwm") };
	struct spec_device_rule undone[] = { rule(true, 'c', MAJ, 1, "rwm"),
		rule(false, 'a', -1, -1, "rwm"), rule(true, 'b', MAJ, 1, "rwm") };
	struct spec_device_rule open_[] = { rule(false, 'a', -1, -1, "rwm"),
		rule(true, 'a', -2, -2, "rwm"), rule(false, 'b', MAJ, 1, "rwm") };

	if (!real_cgroup2())
		return;
	EXPECT(r, t, "ynyn");
	EXPECT(undone, t, "nnyn");
	EXPECT(open_, t, "yyny");
}

/* Each access by itself; a request for two needs both. */
TEST(accesses)
{
	const struct try t[] = { { 'c', MAJ, 1, "r" }, { 'c', MAJ, 1, "w" },
		{ 'c', MAJ, 1, "rw" } };
	struct spec_device_rule r[] = { rule(true, 'c', MAJ, 1, "r") };
	struct spec_device_rule both[] = { rule(true, 'c', MAJ, 1, "r"),
		rule(true, 'c', MAJ, 1, "w") };
	struct spec_device_rule but_w[] = { rule(true, 'c', MAJ, 1, "rwm"),
		rule(false, 'c', MAJ, 1, "w") };
	struct spec_device_rule all_r[] = { rule(true, 'a', -1, -1, "r") };
	struct spec_device_rule none[] = { rule(false, 'a', -1, -1, "rwm"),
		rule(true, 'c', MAJ, 1, "") };

	if (!real_cgroup2())
		return;
	EXPECT(r, t, "ynn");
	EXPECT(both, t, "yyy");
	EXPECT(but_w, t, "ynn");
	EXPECT(all_r, t, "ynn");
	EXPECT(none, t, "nnn");
}

static int count_programs(const struct cgroup *c)
{
	union bpf_attr a;

	memset(&a, 0, sizeof(a));
	a.query.target_fd = (uint32_t)c->dirfd;
	a.query.attach_type = BPF_CGROUP_DEVICE;
	return syscall(SYS_bpf, BPF_PROG_QUERY, &a, sizeof(a)) < 0 ? -errno : (int)a.query.prog_cnt;
}

/* A program of somebody else's on the cgroup: consents to all. */
static void attach_foreign(const struct cgroup *c)
{
	const struct bpf_insn yes[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr a;
	int fd;

	memset(&a, 0, sizeof(a));
	a.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	a.insns = (uintptr_t)yes;
	a.insn_cnt = 2;
	a.license = (uintptr_t) "MIT";
	fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &a, sizeof(a));
	memset(&a, 0, sizeof(a));
	a.target_fd = (uint32_t)c->dirfd;
	a.attach_bpf_fd = (uint32_t)fd;
	a.attach_type = BPF_CGROUP_DEVICE;
	a.attach_flags = BPF_F_ALLOW_MULTI;
	CHECK_INT(syscall(SYS_bpf, BPF_PROG_ATTACH, &a, sizeof(a)), 0);
	close(fd);
}

TEST(update_replaces_own_program_only)
{
	const struct try t[] = { { 'c', MAJ, 1, "rw" }, { 'c', MAJ, 2, "rw" } };
	struct spec_device_rule one[] = { rule(true, 'c', MAJ, 1, "rwm") };
	struct spec_device_rule two[] = { rule(true, 'c', MAJ, 2, "rwm") };
	struct spec_device_rule all[] = { rule(true, 'a', -1, -1, "rwm") };
	struct spec_resources limits = { 0 };
	struct err e = ERR_INIT;
	struct cgroup c;

	if (!real_cgroup2())
		return;
	c = make(unit_path(""));
	apply(&c, one, 1);
	CHECK_INT(count_programs(&c), 1);
	CHECK_STR(verdicts(&c, t, 2), "yn");
	apply(&c, two, 1);
	CHECK_INT(count_programs(&c), 1);
	CHECK_STR(verdicts(&c, t, 2), "ny");
	attach_foreign(&c);
	apply(&c, one, 1);
	CHECK_INT(count_programs(&c), 2);
	CHECK_STR(verdicts(&c, t, 2), "yn");
	CHECK_INT(cgroup_apply(&c, &limits, false, &e), 0); /* update without devices */
	CHECK_STR(verdicts(&c, t, 2), "yn");
	apply(&c, all, 1); /* nothing to enforce: no program of ours */
	CHECK_INT(count_programs(&c), 1);
	CHECK_STR(verdicts(&c, t, 2), "yy");
	drop(&c);
}

TEST(many_rules)
{
	enum { N = 2000 };
	const struct try t[] = { { 'c', MAJ, 0, "rw" }, { 'c', MAJ, N - 1, "rw" },
		{ 'c', MAJ, N, "rw" } };
	static struct spec_device_rule r[N];

	if (!real_cgroup2())
		return;
	for (int i = 0; i < N; i++)
		r[i] = rule(true, 'c', MAJ, i, "rw");
	EXPECT(r, t, "yyn");
}

TEST(bad_rules)
{
	struct spec_device_rule r[] = { rule(true, 'c', 1, 1, "r"), rule(true, 'c', 1, 1, "r") };
	struct spec_resources res = { .devices = { r, 2 } };
	struct cg_prog p = { 0 };
	struct err e = ERR_INIT;

	r[1].minor.v = 1LL << 32;
	CHECK_INT(cg_devices_compile(&res, &p, &e), -EINVAL);
	CHECK_HAS(e.msg, ".linux.resources.devices[1].minor: 4294967296");
	r[1].major.v = -2;
	CHECK_INT(cg_devices_compile(&res, &p, &e), -EINVAL);
	r[1] = rule(true, 'p', 1, 1, "r");
	CHECK_INT(cg_devices_compile(&res, &p, &e), -EINVAL);
	CHECK_HAS(e.msg, ".linux.resources.devices[1].type: 'p'");
}

TEST_MAIN(T(defaults_and_nothing_else), T(last_match_wins), T(accesses),
    T(update_replaces_own_program_only), T(many_rules), T(bad_rules))
