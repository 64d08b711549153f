#include "base/cleanup.h"
#include "guest/agent.h"
#include "tests/unit/test.h"

#define FULL                                                                                  \
	"{\"id\":\"c1\",\"bundle\":\"/b\",\"exports\":[0,7],\"keyring\":false,\"tag\":\"t\"," \
	"\"rootfs\":\"/b/"                                                                    \
	"r\",\"created\":null,\"owner\":\"root\",\"hostname\":\"h\",\"unknown\":[1]}"

static int create(const char *text, struct create_options *o, struct err *e)
{
	static struct arena *a;

	arena_free(a);
	a = arena_new();
	return options_create(a, text, strlen(text), o, e);
}

TEST(create_options)
{
	struct create_options o = { 0 };
	struct err e = ERR_INIT;

	CHECK_INT(create(FULL, &o, &e), 0);
	CHECK_STR(o.id, "c1");
	CHECK_STR(o.bundle, "/b");
	CHECK_STR(o.tag, "t");
	CHECK_STR(o.rootfs, "/b/r");
	CHECK(!o.created);
	CHECK_STR(o.owner, "root");
	CHECK_STR(o.hostname, "h");
	CHECK(!o.domainname);
	CHECK(!o.keyring);
	CHECK_INT(o.n_exports, 2);
	CHECK_INT(o.exports[1], 7);
	CHECK_INT(create("{\"id\":\"c\",\"bundle\":\"/\",\"exports\":[]}", &o, &e), 0);
	CHECK_STR(o.tag, GP_TAG);
	CHECK(o.keyring);
	CHECK_INT(o.n_exports, 0);
}

static void refused(const char *text, const char *why)
{
	struct create_options o = { .id = "untouched" };
	struct err e = ERR_INIT;

	CHECK(create(text, &o, &e) < 0);
	CHECK_HAS(e.msg, why);
	CHECK_STR(o.id, "untouched");
}

#define REST ",\"bundle\":\"/\",\"exports\":[]}"
TEST(bad_create_options)
{
	refused("", "options");
	refused("[]", "must be an object");
	refused("{\"bundle\":\"/\",\"exports\":[]}", ".id: missing");
	refused("{\"id\":1" REST, ".id: must be a string");
	refused("{\"id\":null" REST, ".id: missing");
	refused("{\"id\":\"a/b\"" REST, "a/b");
	refused("{\"id\":\"a\",\"exports\":[]}", ".bundle: missing");
	refused("{\"id\":\"a\",\"bundle\":\"b\",\"exports\":[]}", "absolute");
	refused("{\"id\":\"a\",\"bundle\":\"/\"}", ".exports: must be an array");
	refused("{\"id\":\"a\",\"bundle\":\"/\",\"exports\":[-1]}", ".exports[0]");
	refused("{\"id\":\"a\",\"bundle\":\"/\",\"exports\":[0,\"1\"]}", ".exports[1]");
	refused("{\"id\":\"a\",\"bundle\":\"/\",\"exports\":[4294967296]}", ".exports[0]");
	refused("{\"id\":\"a\",\"keyring\":1" REST, ".keyring");
	refused("{\"id\":\"a\",\"tag\":\"\"" REST, ".tag");
	refused("{\"id\":\"a\",\"tag\":\"123456789012345678901234567890123456\"" REST, ".tag");
}

static int split(const char *bytes, size_t n, const char **a, const char **b)
{
	struct err e = ERR_INIT;
	size_t an = 0, bn = 0;
	int r = options_split((const uint8_t *)bytes, n, a, &an, b, &bn, &e);

	if (r == 0)
		CHECK_INT(an + bn + 2, n);
	return r;
}

TEST(two_texts)
{
	const char *a, *b;

	CHECK_INT(split("one\0two", 8, &a, &b), 0);
	CHECK_STR(a, "one");
	CHECK_STR(b, "two");
	CHECK_INT(split("\0", 2, &a, &b), 0);
	CHECK_INT(split("one", 4, &a, &b), -EPROTO);
	CHECK_INT(split("one\0two", 7, &a, &b), -EPROTO);   /* not ended */
	CHECK_INT(split("one\0two\0", 9, &a, &b), -EPROTO); /* a third */
	CHECK_INT(split("x", 1, &a, &b), -EPROTO);
}

TEST(exec_options)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct exec_options o = { 0 };
	struct err e = ERR_INIT;
#define EXEC(text) options_exec(a, text, strlen(text), &o, &e)

	CHECK_INT(EXEC("{\"args\":[\"x\"]}"), 0);
	CHECK(o.keyring && !o.cgroup);
	CHECK_INT(EXEC("{\"bailey\":{\"cgroup\":\"/a\",\"keyring\":false}}"), 0);
	CHECK(!o.keyring);
	CHECK_STR(o.cgroup, "/a");
	CHECK_INT(EXEC("{\"bailey\":1}"), -EINVAL);
	CHECK_HAS(e.msg, ".bailey: must be an object");
	CHECK_INT(EXEC("{\"bailey\":{\"cgroup\":1}}"), -EINVAL);
	CHECK_HAS(e.msg, ".bailey.cgroup");
}

TEST(resources_of_the_guest)
{
	struct spec_kv kv[] = { { "cpu.max", "1" }, { "memory.high", "2" }, { "io.max", "3" },
		{ "pids.max", "4" }, { "memory", "5" } };
	struct spec_resources r = {
		.memory = { .limit = { true, 1 }, .swap = { true, 2 }, .swappiness = { true, 3 } },
		.cpu = { .quota = { true, 1000 }, .cpus = "0" },
		.pids_limit = { true, 5 },
		.block_io.weight = { true, 10 },
		.unified = { kv, ARRAY_SIZE(kv) },
	};

	ctr_reduce_resources(&r);
	CHECK(r.memory.limit.set && r.pids_limit.set);
	CHECK(!r.memory.swap.set && !r.memory.swappiness.set);
	CHECK(!r.cpu.quota.set && !r.cpu.cpus && !r.block_io.weight.set);
	CHECK_INT(r.unified.n, 2);
	CHECK_STR(r.unified.v[0].key, "memory.high");
	CHECK_STR(r.unified.v[1].key, "pids.max");
}

TEST_MAIN(T(create_options), T(bad_create_options), T(two_texts), T(exec_options),
    T(resources_of_the_guest))
