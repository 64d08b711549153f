/* Statistics: names and units, from plain directories that look like cgroups. */
#include "tests/unit/cgroups/cgtest.h"

static char *stats(struct fake *f, struct err *e)
{
	_cleanup_json_gen_ struct json_gen *g = json_gen_new(false);

	*e = (struct err)ERR_INIT;
	if (cgroup_stats_json(&f->c, g, e) < 0)
		return NULL;
	return xstrdup(json_gen_text(g, NULL));
}

TEST(all_files)
{
	struct fake f = fake_new("cpu io memory pids hugetlb rdma\n", NULL);
	_cleanup_free_ char *s = NULL;
	struct err e;

	put(&f, "cpu.stat",
	    "usage_usec 30\nuser_usec 20\nsystem_usec 10\nnr_periods 4\nnr_throttled 3\n"
	    "throttled_usec 2\nnr_bursts 0\nburst_usec 0\n");
	put(&f, "cpu.pressure", "some avg10=1.50 avg60=0.00 avg300=0.25 total=77\n");
	put(&f, "memory.current", "4096\n");
	put(&f, "memory.max", "8192\n");
	put(&f, "memory.peak", "5000\n");
	put(&f, "memory.swap.current", "4\n");
	put(&f, "memory.swap.max", "max\n");
	put(&f, "memory.events", "low 0\nhigh 0\nmax 6\noom 0\noom_kill 0\n");
	put(&f, "memory.stat", "anon 11\nfile 22\n");
	put(&f, "pids.current", "3\n");
	put(&f, "pids.max", "max\n");
	put(&f, "io.stat", "8:16 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0\n");
	put(&f, "hugetlb.2MB.current", "9\n");
	put(&f, "hugetlb.2MB.rsvd.current", "2097152\n");
	put(&f, "hugetlb.2MB.events", "max 5\n");
	put(&f, "rdma.current", "mlx5_1 hca_handle=1 hca_object=2\n");
	put(&f, "rdma.max", "mlx5_1 hca_handle=max hca_object=7\n");
	s = stats(&f, &e);
	CHECK_HAS(s, "\"usage\":{\"total\":30000,\"user\":20000,\"kernel\":10000}");
	CHECK_HAS(
	    s, "\"throttling\":{\"periods\":4,\"throttledPeriods\":3,\"throttledTime\":2000}");
	CHECK_HAS(s, "\"psi\":{\"some\":{\"avg10\":1.5,");
	CHECK_HAS(s, "\"avg300\":0.25,\"total\":77}}");
	CHECK_HAS(s, "\"usage\":{\"usage\":4096,\"limit\":8192,\"max\":5000,\"failcnt\":6}");
	CHECK_HAS(s, "\"swap\":{\"usage\":4100,\"limit\":18446744073709551615,\"failcnt\":0}");
	CHECK_HAS(s, "\"cache\":22,\"raw\":{\"anon\":11,\"file\":22}");
	CHECK_HAS(s, "\"pids\":{\"current\":3,\"limit\":0}");
	CHECK_HAS(s, "\"ioServiceBytesRecursive\":[{\"major\":8,\"minor\":16,\"op\":\"Read\","
		     "\"value\":1},{\"major\":8,\"minor\":16,\"op\":\"Write\",\"value\":2}]");
	CHECK_HAS(s, "\"ioServicedRecursive\":[{\"major\":8,\"minor\":16,\"op\":\"Read\","
		     "\"value\":3},{\"major\":8,\"minor\":16,\"op\":\"Write\",\"value\":4}]");
	CHECK_HAS(s, "\"hugetlb\":{\"2MB\":{\"usage\":2097152,\"failcnt\":5}}");
	CHECK_HAS(s, "\"rdma_current\":[{\"device\":\"mlx5_1\",\"hca_handles\":1,"
		     "\"hca_objects\":2}]");
	CHECK_HAS(s, "\"hca_handles\":4294967295,\"hca_objects\":7");
	fake_free(&f);
}

TEST(absent_controllers_are_left_out)
{
	struct fake f = fake_new("", NULL);
	_cleanup_free_ char *s = NULL;
	struct err e;

	put(&f, "cgroup.procs", "1\n2\n");
	s = stats(&f, &e);
	CHECK_STR(s, "{\"cpu\":{},\"memory\":{},\"pids\":{\"current\":2},\"blkio\":{},"
		     "\"hugetlb\":{},\"rdma\":{}}");
	fake_free(&f);
}

TEST(a_cgroup_that_is_gone)
{
	struct fake f = fake_new("", NULL), none = { .c = CGROUP_INIT };
	struct err e;

	unlinkat(f.c.dirfd, "cgroup.controllers", 0);
	CHECK(!stats(&f, &e));
	CHECK_INT(e.code, ENOENT);
	CHECK(!stats(&none, &e));
	CHECK_INT(e.code, ENOENT);
	fake_free(&f);
}

TEST_MAIN(T(all_files), T(absent_controllers_are_left_out), T(a_cgroup_that_is_gone))
