/* Which property becomes which file, on plain directories that look like cgroups. */
#include "tests/unit/cgroups/cgtest.h"

#define ALL_CONTROLLERS "cpuset cpu io memory hugetlb pids rdma\n"

static const char *const all_files[] = { "pids.max", "memory.max", "memory.swap.max", "memory.low",
	"cpu.weight", "cpu.max", "cpu.max.burst", "cpu.idle", "cpuset.cpus", "cpuset.mems",
	"io.weight", "io.max", "hugetlb.2MB.max", "hugetlb.2MB.rsvd.max", "rdma.max", "memory.high",
	NULL };

static struct fake full(void)
{
	return fake_new(ALL_CONTROLLERS, all_files);
}

/* Applies r to f; the error is left in *e. */
static int apply(struct fake *f, const struct spec_resources *r, struct err *e)
{
	*e = (struct err)ERR_INIT;
	return cgroup_apply(&f->c, r, false, e);
}

#define SET(v_)          \
	{                \
		true, v_ \
	}

TEST(weight_curve)
{
	static const struct {
		uint64_t shares, weight;
	} want[] = { { 0, 1 }, { 2, 1 }, { 3, 2 }, { 10, 4 }, { 100, 17 }, { 256, 35 }, { 512, 59 },
		{ 1024, 100 }, { 2048, 174 }, { 4096, 303 }, { 65536, 3023 }, { 262143, 10000 },
		{ 262144, 10000 }, { 1u << 30, 10000 } };

	for (size_t i = 0; i < ARRAY_SIZE(want); i++)
		CHECK_INT(cg_cpu_weight(want[i].shares), want[i].weight);
}

TEST(every_scalar)
{
	struct spec_resources r = {
		.memory = { .limit = SET(1000), .swap = SET(1500), .reservation = SET(500) },
		.cpu = { .shares = SET(1024),
		    .quota = SET(50000),
		    .period = SET(200000),
		    .burst = SET(1000),
		    .idle = SET(1),
		    .cpus = "0-1",
		    .mems = "0" },
		.pids_limit = SET(7),
	};
	struct fake f = full();
	struct err e;

	CHECK_INT(apply(&f, &r, &e), 0);
	CHECK_STR(get(&f, "memory.max"), "1000");
	CHECK_STR(get(&f, "memory.swap.max"), "500");
	CHECK_STR(get(&f, "memory.low"), "500");
	CHECK_STR(get(&f, "cpu.weight"), "100");
	CHECK_STR(get(&f, "cpu.max"), "50000 200000");
	CHECK_STR(get(&f, "cpu.max.burst"), "1000");
	CHECK_STR(get(&f, "cpu.idle"), "1");
	CHECK_STR(get(&f, "cpuset.cpus"), "0-1");
	CHECK_STR(get(&f, "cpuset.mems"), "0");
	CHECK_STR(get(&f, "pids.max"), "7");
	fake_free(&f);
}

TEST(lists)
{
	struct spec_weight_device wd = { 8, 0, .weight = SET(1000) };
	struct spec_throttle rbps = { 8, 16, 1048576 };
	struct spec_hugepage huge = { "2MB", 4194304 };
	struct spec_rdma rdma = { "mlx5_1", SET(3), SET(10000) };
	struct spec_resources r = {
		.block_io = { .weight = SET(10), .read_bps = { &rbps, 1 } },
		.hugepages = { &huge, 1 },
		.rdma = { &rdma, 1 },
	};
	struct fake f = full();
	struct err e;

	CHECK_INT(apply(&f, &r, &e), 0);
	CHECK_STR(get(&f, "io.weight"), "1");
	CHECK_STR(get(&f, "io.max"), "8:16 rbps=1048576");
	CHECK_STR(get(&f, "hugetlb.2MB.max"), "4194304");
	CHECK_STR(get(&f, "hugetlb.2MB.rsvd.max"), "4194304");
	CHECK_STR(get(&f, "rdma.max"), "mlx5_1 hca_handle=3 hca_object=10000");
	r.block_io.weight.v = 500;
	CHECK_INT(apply(&f, &r, &e), 0);
	CHECK_STR(get(&f, "io.weight"), "4950");
	r.block_io.weight_device.v = &wd;
	r.block_io.weight_device.n = 1;
	CHECK_INT(apply(&f, &r, &e), 0);
	CHECK_STR(get(&f, "io.weight"), "8:0 10000");
	put(&f, "io.bfq.weight", "");
	CHECK_INT(apply(&f, &r, &e), 0);
	CHECK_STR(get(&f, "io.bfq.weight"), "8:0 1000");
	unlinkat(f.c.dirfd, "hugetlb.2MB.rsvd.max", 0);
	CHECK_INT(apply(&f, &r, &e), 0);
	huge.page_size = "../x";
	CHECK_INT(apply(&f, &r, &e), -EINVAL);
	huge.page_size = "3MB";
	CHECK_INT(apply(&f, &r, &e), -ENOENT);
	CHECK_HAS(e.msg, ".linux.resources.hugepageLimits[0]: this kernel has no /tmp/");
	huge.page_size = "2MB";
	r.block_io.weight.v = 9;
	CHECK_INT(apply(&f, &r, &e), -EINVAL);
	CHECK_HAS(e.msg, ".linux.resources.blockIO.weight: 9: out of range");
	fake_free(&f);
}

TEST(throttle_zero_lifts)
{
	struct spec_throttle wiops = { 8, 0, 0 };
	struct spec_resources r = { .block_io = { .write_iops = { &wiops, 1 } } };
	struct fake f = full(), bare = fake_new("", NULL);
	struct err e;

	CHECK_INT(apply(&f, &r, &e), 0);
	CHECK_STR(get(&f, "io.max"), "8:0 wiops=max");
	CHECK_INT(apply(&bare, &r, &e), 0);
	fake_free(&f);
	fake_free(&bare);
}

/* limit, swap, present memory.max -> memory.swap.max, or the error */
TEST(swap_edges)
{
	static const struct {
		int64_t limit, swap; /* 0: not set */
		const char *now, *want;
		int rc;
	} t[] = {
		{ 100, 300, "max", "200", 0 },
		{ 100, 100, "max", "0", 0 },
		{ 100, -1, "max", "max", 0 },
		{ 100, 0, "max", "", 0 },
		{ -1, 0, "100", "max", 0 },
		{ -1, 300, "100", "300", 0 },
		{ 0, -1, "max", "max", 0 },
		{ 0, 300, "100", "200", 0 },
		{ 0, 300, "max", "", -EINVAL },
		{ 100, 99, "max", "", -EINVAL },
		{ -2, 0, "max", "", -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct spec_resources r = { .memory = { .limit = { true, t[i].limit },
						.swap = { true, t[i].swap } } };
		struct fake f = full();
		struct err e;

		put(&f, "memory.max", t[i].now);
		CHECK_INT(apply(&f, &r, &e), t[i].rc);
		CHECK_STR(get(&f, "memory.swap.max"), t[i].want);
		fake_free(&f);
	}
}

TEST(swap_error_names_both)
{
	struct spec_resources r = { .memory = { .limit = SET(100), .swap = SET(99) } };
	struct fake f = full();
	struct err e;

	CHECK_INT(apply(&f, &r, &e), -EINVAL);
	CHECK_HAS(e.msg, ".linux.resources.memory.swap: 99: ");
	CHECK_HAS(e.msg, "below the memory limit, 100");
	CHECK_STR(get(&f, "memory.max"), "");
	fake_free(&f);
}

/* What engines write for "no limit" must work where no controller exists, and lift where one does.
 */
TEST(harmless_values)
{
	struct spec_resources r = {
		.memory = { .limit = SET(-1),
		    .swap = SET(-1),
		    .reservation = SET(0),
		    .disable_oom_killer = SET(false),
		    .kernel = SET(-1),
		    .kernel_tcp = SET(0) },
		.cpu = { .shares = SET(0),
		    .quota = SET(-1),
		    .period = SET(100000),
		    .cpus = "",
		    .idle = SET(0),
		    .burst = SET(0) },
		.pids_limit = SET(-1),
		.block_io = { .weight = SET(0), .leaf_weight = SET(0) },
	};
	struct fake bare = fake_new("", NULL), f = full();
	struct cgroup none = CGROUP_INIT;
	struct err e;

	CHECK_INT(apply(&bare, &r, &e), 0);
	CHECK_INT(apply(&f, &r, &e), 0);
	CHECK_STR(get(&f, "pids.max"), "max");
	CHECK_STR(get(&f, "memory.max"), "max");
	CHECK_STR(get(&f, "cpu.max"), "max 100000");
	CHECK_STR(get(&f, "cpu.weight"), "");
	r.pids_limit.v = 0;
	put(&f, "pids.max", "5");
	CHECK_INT(apply(&f, &r, &e), 0);
	CHECK_STR(get(&f, "pids.max"), "max");
	e = (struct err)ERR_INIT;
	CHECK_INT(cgroup_apply(&none, &r, false, &e), 0);
	r.pids_limit.v = 5;
	CHECK_INT(cgroup_apply(&none, &r, false, &e), -ENOENT);
	fake_free(&bare);
	fake_free(&f);
}

TEST(missing_controller_is_named)
{
	struct spec_resources r = { .memory = { .limit = SET(1000) } };
	struct fake f = fake_new("cpu pids\n", NULL);
	char want[256];
	struct err e;

	CHECK_INT(apply(&f, &r, &e), -ENOENT);
	snprintf(want, sizeof(want),
	    "memory controller is not available in %s/cgroup.controllers: "
	    ".linux.resources.memory.limit cannot be set",
	    f.dir);
	CHECK_STR(e.msg, want);
	fake_free(&f);
}

/* A period alone keeps the quota, a quota alone the period. */
TEST(half_of_cpu_max)
{
	struct spec_resources r = { .cpu = { .period = SET(50000) } };
	struct fake f = full();
	struct err e;

	put(&f, "cpu.max", "20000 100000");
	CHECK_INT(apply(&f, &r, &e), 0);
	CHECK_INT(strncmp(get(&f, "cpu.max"), "20000 50000", 11), 0);
	r.cpu = (struct spec_cpu){ .quota = SET(3000) };
	put(&f, "cpu.max", "");
	CHECK_INT(apply(&f, &r, &e), 0);
	CHECK_STR(get(&f, "cpu.max"), "3000");
	fake_free(&f);
}

static ssize_t position(const struct cg_plan *p, const char *file)
{
	for (size_t i = 0; i < p->n; i++) {
		if (streq(p->v[i].file, file))
			return (ssize_t)i;
	}
	return -1;
}

TEST(order_of_writes)
{
	struct spec_resources r = {
		.cpu = { .shares = SET(1024), .idle = SET(0), .quota = SET(1), .burst = SET(1) }
	};
	struct cg_plan p = { 0 };
	struct err e = ERR_INIT;

	CHECK_INT(cg_plan(&p, &r, -EBADF, &e), 0);
	CHECK(position(&p, "cpu.idle") < position(&p, "cpu.weight"));
	CHECK(position(&p, "cpu.max.burst") < position(&p, "cpu.max"));
	CHECK(p.v[position(&p, "cpu.max.burst")].retried);
	CHECK(p.n && p.v[p.n - 1].again && streq(p.v[p.n - 1].file, "cpu.max.burst"));
	cg_plan_free(&p);
	r.cpu.idle.v = 1;
	CHECK_INT(cg_plan(&p, &r, -EBADF, &e), 0);
	CHECK(position(&p, "cpu.idle") > position(&p, "cpu.weight"));
	cg_plan_free(&p);
	r.cpu.idle.v = 2;
	CHECK_INT(cg_plan(&p, &r, -EBADF, &e), -EINVAL);
	cg_plan_free(&p);
}

TEST(v1_only_is_refused)
{
	static const struct {
		struct spec_resources r;
		const char *name;
	} t[] = {
		{ { .memory.kernel = SET(5) }, "memory.kernel" },
		{ { .memory.kernel_tcp = SET(5) }, "memory.kernelTCP" },
		{ { .memory.swappiness = SET(0) }, "memory.swappiness" },
		{ { .memory.disable_oom_killer = SET(true) }, "memory.disableOOMKiller" },
		{ { .memory.use_hierarchy = SET(false) }, "memory.useHierarchy" },
		{ { .cpu.realtime_runtime = SET(5) }, "cpu.realtimeRuntime" },
		{ { .cpu.realtime_period = SET(5) }, "cpu.realtimePeriod" },
		{ { .block_io.leaf_weight = SET(10) }, "blockIO.leafWeight" },
		{ { .net_class_id = SET(5) }, "network.classID" },
	};
	struct fake f = full();
	struct err e;

	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		CHECK_INT(apply(&f, &t[i].r, &e), -EOPNOTSUPP);
		CHECK_HAS(e.msg, t[i].name);
	}
	fake_free(&f);
}

TEST(unified)
{
	struct spec_kv kv = { "memory.high", "12345" };
	struct spec_resources r = { .memory = { .limit = SET(7) }, .unified = { &kv, 1 } };
	static const char *const refused[] = { "cgroup.procs", "cgroup.subtree_control",
		"cgroup.freeze", "cgroup.kill", "cgroup.type", "cgroup.threads" };
	static const char *const bad[] = { "../memory.high", "a/b.c", "memory", "", ".." };
	struct fake f = full();
	struct err e;

	CHECK_INT(apply(&f, &r, &e), 0);
	CHECK_STR(get(&f, "memory.high"), "12345");
	/* what is said in v2's own terms comes last and holds */
	kv = (struct spec_kv){ "memory.max", "9" };
	CHECK_INT(apply(&f, &r, &e), 0);
	CHECK_STR(get(&f, "memory.max"), "9");
	kv = (struct spec_kv){ "io.max", "8:0 rbps=1\n8:0 wbps=2\n" };
	CHECK_INT(apply(&f, &r, &e), 0);
	CHECK_STR(get(&f, "io.max"), "8:0 wbps=2");
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		kv = (struct spec_kv){ refused[i], "1" };
		put(&f, refused[i], "");
		CHECK_INT(apply(&f, &r, &e), -EPERM);
		CHECK_STR(get(&f, refused[i]), "");
	}
	CHECK_HAS(e.msg, ".linux.resources.unified[\"cgroup.threads\"]: refused");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		kv = (struct spec_kv){ bad[i], "1" };
		CHECK_INT(apply(&f, &r, &e), -EINVAL);
	}
	kv = (struct spec_kv){ "memory.high", "" };
	CHECK_INT(apply(&f, &r, &e), -EINVAL);
	kv = (struct spec_kv){ "misc.max", "a 1" };
	CHECK_INT(apply(&f, &r, &e), -ENOENT);
	CHECK_HAS(e.msg, "misc controller is not available");
	CHECK_HAS(e.msg, ".linux.resources.unified[\"misc.max\"] cannot be set");
	fake_free(&f);
}

TEST(check_before_update)
{
	struct spec_resources r = { .memory = {
					.limit = SET(1000), .check_before_update = SET(true) } };
	struct fake f = full();
	struct err e;

	put(&f, "memory.current", "1000\n");
	CHECK_INT(apply(&f, &r, &e), -EBUSY);
	CHECK_HAS(e.msg, "1000 bytes");
	CHECK_STR(get(&f, "memory.max"), "");
	put(&f, "memory.current", "999\n");
	CHECK_INT(apply(&f, &r, &e), 0);
	r.memory.swap = (struct opt_i64)SET(1010);
	put(&f, "memory.swap.current", "11\n");
	CHECK_INT(apply(&f, &r, &e), -EBUSY);
	r.memory.check_before_update.v = false;
	CHECK_INT(apply(&f, &r, &e), 0);
	fake_free(&f);
}

/* update writes what it was given, nothing else */
TEST(only_what_is_set)
{
	struct spec_resources r = { .pids_limit = SET(3) };
	struct fake f = full();
	struct err e;

	CHECK_INT(apply(&f, &r, &e), 0);
	for (size_t i = 1; all_files[i]; i++)
		CHECK_STR(get(&f, all_files[i]), "");
	fake_free(&f);
}

TEST(symlinks_are_not_followed)
{
	struct spec_resources r = { .pids_limit = SET(3) };
	struct fake f = fake_new(ALL_CONTROLLERS, NULL);
	struct err e;

	put(&f, "target", "x");
	CHECK_INT(symlinkat("target", f.c.dirfd, "pids.max"), 0);
	CHECK_INT(apply(&f, &r, &e), -ELOOP);
	CHECK_STR(get(&f, "target"), "x");
	fake_free(&f);
}

TEST_MAIN(T(weight_curve), T(every_scalar), T(lists), T(throttle_zero_lifts), T(swap_edges),
    T(swap_error_names_both), T(harmless_values), T(missing_controller_is_named),
    T(half_of_cpu_max), T(order_of_writes), T(v1_only_is_refused), T(unified),
    T(check_before_update), T(only_what_is_set), T(symlinks_are_not_followed))
