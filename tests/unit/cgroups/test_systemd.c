/* What is asked of systemd: names, properties and annotations, without a systemd. */
#include "cgroups/systemd.h"
#include "tests/unit/cgroups/cgtest.h"

/* ---- names ---- */

/* "slice unit", or the error's message. */
static const char *place(const char *cgroups_path, const char *id, bool user)
{
	static char buf[1200];
	_cleanup_place_ struct sd_place p = { 0 };
	struct err e = ERR_INIT;

	if (sd_parse_place(cgroups_path, id, user, &p, &e) < 0)
		snprintf(buf, sizeof(buf), "%s", e.msg);
	else
		snprintf(buf, sizeof(buf), "%s %s", p.slice, p.unit);
	return buf;
}

TEST(places)
{
	char name[300];

	CHECK_STR(place(NULL, "web", false), "system.slice bailey-web.scope");
	CHECK_STR(place("", "web", false), "system.slice bailey-web.scope");
	CHECK_STR(place(NULL, "web", true), "user.slice bailey-web.scope");
	CHECK_STR(place(NULL, "a+b", false), "system.slice bailey-a\\x2bb.scope");
	CHECK_STR(place(":docker:1f", "x", false), "system.slice docker-1f.scope");
	CHECK_STR(place(":docker:1f", "x", true), "user.slice docker-1f.scope");
	CHECK_STR(place("machine.slice:libpod:1f", "x", true), "machine.slice libpod-1f.scope");
	CHECK_STR(place("a-b.slice::1f", "x", false), "a-b.slice 1f.scope");
	CHECK_STR(place("-.slice:p:n", "x", false), "-.slice p-n.scope");
	CHECK_HAS(place("/a/b", "x", false), "\"/a/b\": with the systemd cgroup manager it is "
					     "SLICE:PREFIX:NAME");
	CHECK_HAS(place("a.slice:b", "x", false), "SLICE:PREFIX:NAME");
	CHECK_HAS(place("a.slice:b:c:d", "x", false), "SLICE:PREFIX:NAME");
	CHECK_HAS(place("a.slice:b:", "x", false), "the name after the second \":\" is empty");
	CHECK_HAS(place("a.slice:b:c.slice", "x", false), "\"c.slice\" is a slice");
	CHECK_HAS(
	    place("a.slice:b:c/d", "x", false), "bad unit name \"b-c/d.scope\": only letters");
	CHECK_HAS(place("a.slice:b:c@", "x", false), "which is a template");
	CHECK_HAS(place("a.slice:.b:c", "x", false), "cannot start with");
	memset(name, 'n', sizeof(name));
	memcpy(name, "::", 2);
	name[251] = '\0';
	CHECK_INT(strlen(strchr(place(name, "x", false), ' ') + 1), 255);
	name[251] = 'n';
	name[252] = '\0';
	CHECK_HAS(place(name, "x", false), "longer than 255 bytes");
}

TEST(bad_slices)
{
	static const char *const bad[] = { "a:b:c", "a.scope:b:c", ".slice:b:c", "-a.slice:b:c",
		"a-.slice:b:c", "a--b.slice:b:c", "--.slice:b:c", "../a.slice:b:c", "a/b.slice:b:c",
		"a b.slice:b:c" };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_HAS(place(bad[i], "x", false), ".linux.cgroupsPath: ");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_HAS(place(bad[i], "x", false), "bad slice name \"");
}

static const char *slice(const char *name)
{
	static char *got;

	free(got);
	return got = sd_slice_path(name);
}

TEST(slice_paths)
{
	CHECK_STR(slice("-.slice"), "");
	CHECK_STR(slice("system.slice"), "/system.slice");
	CHECK_STR(slice("a-b.slice"), "/a.slice/a-b.slice");
	CHECK_STR(slice("a-b-c.slice"), "/a.slice/a-b.slice/a-b-c.slice");
	CHECK_STR(slice("a.b-c.slice"), "/a.b.slice/a.b-c.slice");
}

TEST(unit_directories)
{
	_cleanup_free_ char *plain = sd_unit_dir("a.scope"), *under = sd_unit_dir("_a.scope");

	CHECK_STR(plain, "a.scope");
	CHECK_STR(under, "__a.scope");
	CHECK_STR(sd_unit_of("/x.slice/a.scope"), "a.scope");
	CHECK_STR(sd_unit_of("/x.slice/__a.scope"), "_a.scope");
	CHECK_STR(sd_unit_of("/x.slice/_memory.scope"), "memory.scope");
}

/* ---- properties ---- */

/* "NAME=SIG(v,v) …" of all that r asks for, or the message. */
static const char *text_of(const struct sd_props *p)
{
	static char *got;
	struct strbuf b = { 0 };

	for (size_t i = 0; i < p->n; i++) {
		strbuf_addf(&b, "%s%s=%s(", i ? " " : "", p->v[i].name, p->v[i].sig);
		for (size_t j = 0; j < p->v[i].n; j++)
			strbuf_addf(&b, "%s%s", j ? "," : "", p->v[i].v[j]);
		strbuf_add(&b, ")");
	}
	free(got);
	return got = strbuf_steal(&b);
}

static const char *props_at(const struct spec_resources *r, int dirfd, int version)
{
	static struct err e;
	_cleanup_plan_ struct cg_plan plan = { 0 };
	_cleanup_props_ struct sd_props p = { 0 };

	e = (struct err)ERR_INIT;
	if (cg_plan(&plan, r, dirfd, &e) < 0 ||
	    sd_props_from_plan(&p, &plan, dirfd, sd_props_need_version(&plan) ? version : 0, &e) <
		0)
		return e.msg;
	return text_of(&p);
}
#define PROPS(...) props_at(&(struct spec_resources){ __VA_ARGS__ }, -EBADF, 252)
#define KV(k, v)   .unified = { &(struct spec_kv){ k, v }, 1 }

TEST(scalars)
{
	CHECK_STR(PROPS(.pids_limit = { true, 77 }), "TasksMax=t(77)");
	CHECK_STR(PROPS(.pids_limit = { true, -1 }), "TasksMax=t(18446744073709551615)");
	CHECK_STR(PROPS(.pids_limit = { 0 }), "");
	CHECK_STR(PROPS(.memory = { .limit = { true, 1000 },
			    .swap = { true, 3000 },
			    .reservation = { true, 10 } }),
	    "MemorySwapMax=t(2000) MemoryMax=t(1000) MemoryLow=t(10)");
	CHECK_STR(PROPS(.memory.limit = { true, -1 }),
	    "MemorySwapMax=t(18446744073709551615) MemoryMax=t(18446744073709551615)");
	CHECK_STR(PROPS(.cpu.shares = { true, 1024 }), "CPUWeight=t(100)");
	CHECK_STR(PROPS(.hugepages = { &(struct spec_hugepage){ "2MB", 0 }, 1 }), "");
}

/* In whole percents, up. */
TEST(quota)
{
	CHECK_STR(PROPS(.cpu = { .quota = { true, 50000 }, .period = { true, 100000 } }),
	    "CPUQuotaPerSecUSec=t(500000) CPUQuotaPeriodUSec=t(100000)");
	CHECK_STR(PROPS(.cpu = { .quota = { true, 50500 }, .period = { true, 100000 } }),
	    "CPUQuotaPerSecUSec=t(510000) CPUQuotaPeriodUSec=t(100000)");
	CHECK_STR(PROPS(.cpu = { .quota = { true, 250000 } }), "CPUQuotaPerSecUSec=t(2500000)");
	CHECK_STR(PROPS(.cpu = { .quota = { true, 10000 }, .period = { true, 30000 } }),
	    "CPUQuotaPerSecUSec=t(340000) CPUQuotaPeriodUSec=t(30000)");
	CHECK_STR(
	    PROPS(.cpu = { .quota = { true, -1 } }), "CPUQuotaPerSecUSec=t(18446744073709551615)");
	CHECK_STR(PROPS(.cpu = { .period = { true, 50000 } }),
	    "CPUQuotaPerSecUSec=t(18446744073709551615) CPUQuotaPeriodUSec=t(50000)");
	CHECK_HAS(PROPS(KV("cpu.max", "99999999999999999 1")), "more than");
	CHECK_HAS(PROPS(KV("cpu.max", "1 2 3")), "not \"QUOTA PERIOD\"");
	CHECK_HAS(PROPS(KV("cpu.max", "1 0")), "not \"QUOTA PERIOD\"");
}

/* An update of one half takes the other from the cgroup. */
TEST(quota_of_an_update)
{
	static const char *const files[] = { "cpu.max", NULL };
	struct fake f = fake_new("cpu", files);
	struct spec_resources quota = { .cpu.quota = { true, 10000 } },
			      period = { .cpu.period = { true, 20000 } };

	put(&f, "cpu.max", "5000 50000\n");
	CHECK_STR(props_at(&quota, f.c.dirfd, 0), "CPUQuotaPerSecUSec=t(200000)");
	CHECK_STR(props_at(&period, f.c.dirfd, 0),
	    "CPUQuotaPerSecUSec=t(250000) CPUQuotaPeriodUSec=t(20000)");
	fake_free(&f);
}

TEST(cpu_sets)
{
	CHECK_STR(PROPS(.cpu.cpus = "0-3,8"), "AllowedCPUs=ay(15,1)");
	CHECK_STR(
	    PROPS(.cpu.cpus = "0", .cpu.mems = "1"), "AllowedCPUs=ay(1) AllowedMemoryNodes=ay(2)");
	CHECK_STR(PROPS(.cpu.cpus = "17"), "AllowedCPUs=ay(0,0,2)");
	CHECK_STR(PROPS(.cpu.cpus = "16,1-2"), "AllowedCPUs=ay(6,0,1)");
	CHECK_HAS(PROPS(.cpu.cpus = "3-1"), ".linux.resources.cpu.cpus: \"3-1\": not a list like");
	CHECK_HAS(PROPS(.cpu.cpus = "0-99999"), "not a list like");
	CHECK_HAS(PROPS(.cpu.cpus = "all"), "not a list like");
}

/* Idle is the weight 0, and only newer versions know it. */
TEST(idle)
{
	struct spec_resources on = { .cpu = { .idle = { true, 1 }, .shares = { true, 1024 } } },
			      off = { .cpu.idle = { true, 0 } },
			      off_weight = { .cpu = {
						 .idle = { true, 0 }, .shares = { true, 1024 } } };

	CHECK_STR(props_at(&on, -EBADF, 252), "CPUWeight=t(0)");
	CHECK_STR(props_at(&on, -EBADF, 251), "CPUWeight=t(100)");
	CHECK_STR(props_at(&off, -EBADF, 252), "CPUWeight=t(18446744073709551615)");
	CHECK_STR(props_at(&off_weight, -EBADF, 252), "CPUWeight=t(100)");
	CHECK_STR(props_at(&off, -EBADF, 251), "");
}

TEST(block_io)
{
	struct spec_throttle t[] = { { 8, 0, 1000 }, { 8, 16, 0 } };
	struct spec_weight_device w = { 8, 0, { true, 10 }, { 0 } };

	CHECK_STR(PROPS(.block_io = { .weight = { true, 1000 }, .weight_device = { &w, 1 } }),
	    "IOWeight=t(10000) IODeviceWeight=a(st)(/dev/block/8:0,1)");
	CHECK_STR(PROPS(.block_io = { .read_bps = { t, 2 } }),
	    "IOReadBandwidthMax=a(st)(/dev/block/8:0,1000,/dev/block/8:16,18446744073709551615)");
	CHECK_STR(PROPS(.block_io = { .write_bps = { t, 1 },
			    .read_iops = { t, 1 },
			    .write_iops = { t, 1 } }),
	    "IOWriteBandwidthMax=a(st)(/dev/block/8:0,1000) "
	    "IOReadIOPSMax=a(st)(/dev/block/8:0,1000) IOWriteIOPSMax=a(st)(/dev/block/8:0,1000)");
	CHECK_STR(PROPS(KV("io.max", "8:0 rbps=5 wiops=max")),
	    "IOReadBandwidthMax=a(st)(/dev/block/8:0,5) "
	    "IOWriteIOPSMax=a(st)(/dev/block/8:0,18446744073709551615)");
	CHECK_HAS(PROPS(KV("io.max", "8:0 rbps=x")), "\"8:0 rbps=x\": not \"MAJ:MIN rbps=N");
	CHECK_STR(PROPS(KV("io.weight", "default 300")), "IOWeight=t(300)");
	/* as systemd makes BFQ's weight of it again: 100 + (w - 100) * 900 / 9900 */
	CHECK_STR(PROPS(KV("io.bfq.weight", "500")), "IOWeight=t(4500)");
	CHECK_STR(PROPS(KV("io.bfq.weight", "50")), "IOWeight=t(50)");
}

/* What unified says comes last and wins; what has no property is not there. */
TEST(unified)
{
	CHECK_STR(PROPS(KV("memory.high", "max")), "MemoryHigh=t(18446744073709551615)");
	CHECK_STR(PROPS(KV("memory.min", "5")), "MemoryMin=t(5)");
	CHECK_STR(
	    PROPS(.memory.limit = { true, 1000 }, KV("memory.max", "2000")), "MemoryMax=t(2000)");
	CHECK_STR(PROPS(KV("memory.oom.group", "1")), "");
	CHECK_STR(PROPS(KV("memory.zswap.max", "1")), "");
	CHECK_HAS(PROPS(KV("memory.max", "lots")),
	    ".linux.resources.unified[\"memory.max\"]: \"lots\": not a number");
}

/* ---- annotations ---- */

static const char *annotation(const char *name, const char *value)
{
	static struct err e;
	_cleanup_props_ struct sd_props p = { 0 };
	_cleanup_free_ char *key = xasprintf("org.systemd.property.%s", name);
	struct spec_kv kv[] = { { "other", "'" }, { key, value } };
	struct spec_map m = { kv, 2 };

	e = (struct err)ERR_INIT;
	if (sd_props_from_annotations(&p, &m, &e) < 0)
		return e.msg;
	return text_of(&p);
}

TEST(annotation_values)
{
	static const struct {
		const char *value, *want;
	} good[] = {
		{ "true", "Abc=b(true)" },
		{ " 'a b' ", "Abc=s(a b)" },
		{ "\"it's\"", "Abc=s(it's)" },
		{ "'a\\'b\\\\'", "Abc=s(a'b\\)" },
		{ "5", "Abc=i(5)" },
		{ "-5", "Abc=i(-5)" },
		{ "1.5", "Abc=d(1.5)" },
		{ "uint64 18446744073709551615", "Abc=t(18446744073709551615)" },
		{ "byte 255", "Abc=y(255)" },
		{ "int16 -32768", "Abc=n(-32768)" },
		{ "objectpath '/a'", "Abc=o(/a)" },
		{ "@t 7", "Abc=t(7)" },
		{ "['a', 'b']", "Abc=as(a,b)" },
		{ "@as []", "Abc=as()" },
		{ "@au [1, 2]", "Abc=au(1,2)" },
		{ "[uint32 1, 2]", "Abc=au(1,2)" },
		{ "[('/dev/sda', uint64 100), ('/dev/sdb', 5)]",
		    "Abc=a(st)(/dev/sda,100,/dev/sdb,5)" },
		{ "@a(st) [('/dev/sda', 100)]", "Abc=a(st)(/dev/sda,100)" },
		{ "@a(st) []", "Abc=a(st)()" },
	};
	static const char *const bad[] = { "", "maybe", "'a", "a", "5 6", "[", "[]", "[1",
		"[1,'a']", "[1,(2)]", "[(1,2),3]", "[(1,2),(3)]", "[(1,2),(3,4,5)]", "(1,2)",
		"@(st) ('a',1)", "2147483648", "uint32 -1", "byte 256", "int16 32768", "boolean 1",
		"uint64 'a'", "string 5", "@zz 5", "@as 'a'", "@t [5]", "1e999", "'a\\x'",
		"true false", "['a' 'b']", "@a(st) [('a')]", "@a(sz) []" };

	for (size_t i = 0; i < ARRAY_SIZE(good); i++)
		CHECK_STR(annotation("Abc", good[i].value), good[i].want);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		CHECK_HAS(annotation("Abc", bad[i]),
		    "config.json: .annotations[\"org.systemd.property.Abc\"]: \"");
}

TEST(annotation_names)
{
	CHECK_STR(annotation("TimeoutStopSec", "1.5"), "TimeoutStopUSec=t(1500000)");
	CHECK_STR(annotation("TimeoutStopSec", "uint64 2"), "TimeoutStopUSec=t(2000000)");
	CHECK_STR(annotation("TimeoutStopUSec", "uint64 2"), "TimeoutStopUSec=t(2)");
	CHECK_HAS(annotation("TimeoutStopSec", "'1min'"), "must be a number of seconds");
	CHECK_HAS(annotation("TimeoutStopSec", "-1"), "must be a number of seconds");
	CHECK_HAS(annotation("ab", "1"), "too short");
	CHECK_HAS(annotation("A-b", "1"), "letters and digits only");
	CHECK_HAS(annotation("4bc", "1"), "letters and digits only");
	CHECK_HAS(annotation("PIDs", "@au [1]"), "is set by bailey");
	CHECK_HAS(annotation("Slice", "'x.slice'"), "is set by bailey");
	CHECK_HAS(annotation("Delegate", "false"), "is set by bailey");
}

/* An annotation is the last word. */
TEST(annotation_overrides)
{
	_cleanup_props_ struct sd_props p = { 0 };
	struct spec_kv kv = { "org.systemd.property.CollectMode", "'inactive'" };
	struct spec_map m = { &kv, 1 };
	struct err e = ERR_INIT;

	sd_props_str(&p, "CollectMode", "inactive-or-failed");
	CHECK_INT(sd_props_from_annotations(&p, &m, &e), 0);
	CHECK_STR(text_of(&p), "CollectMode=s(inactive)");
}

TEST_MAIN(T(places), T(bad_slices), T(slice_paths), T(unit_directories), T(scalars), T(quota),
    T(quota_of_an_update), T(cpu_sets), T(idle), T(block_io), T(unified), T(annotation_values),
    T(annotation_names), T(annotation_overrides))
