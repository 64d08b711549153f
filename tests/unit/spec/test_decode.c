/* What ends up in the structs. */
#include <linux/ioprio.h>
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sys/personality.h>
#include <sys/resource.h>

#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/spec/config.h"

TEST(minimal)
{
	_cleanup_spec_ struct spec *s = must_load(BASE(""));

	if (!s)
		return;
	CHECK_STR(s->oci_version, "1.0.2");
	CHECK_STR(s->bundle, "/bundle");
	CHECK_STR(s->root.path, "/bundle/rootfs");
	CHECK(!s->root.readonly && !s->has_process && !s->hostname && !s->cgroups_path);
	CHECK(!s->seccomp.has && !s->mem_policy.has && !s->personality.has && !s->vm.has);
	CHECK_INT(s->rootfs_propagation, PROP_DEFAULT);
	CHECK(s->masked_paths.v && !s->masked_paths.v[0]);
	CHECK(s->readonly_paths.v && !s->readonly_paths.v[0]);
}

TEST(root)
{
	_cleanup_spec_ struct spec *s = must_load(
	    "{\"ociVersion\":\"1.3.0\",\"root\":{\"path\":\"./a/../b//c/\",\"readonly\":true}}");
	_cleanup_spec_ struct spec *t =
	    must_load("{\"ociVersion\":\"1.0.0-rc5+dev\",\"root\":{\"path\":\"/x/./y\"}}");

	if (!s || !t)
		return;
	CHECK_STR(s->root.path, "/bundle/b/c");
	CHECK(s->root.readonly);
	CHECK_STR(t->root.path, "/x/y");
}

/* Go engines write null for what is not set. */
TEST(null_is_absent)
{
	_cleanup_spec_ struct spec *s = must_load(DOC(
	    ",\"hostname\":null,\"mounts\":null,\"hooks\":{\"prestart\":null},\"annotations\":null,"
	    "\"vm\":null,\"linux\":{\"namespaces\":null,\"resources\":{\"memory\":null,\"cpu\":"
	    "{\"quota\":null},\"pids\":{\"limit\":null},\"unified\":null,\"network\":null},"
	    "\"seccomp\":null,\"intelRdt\":null,\"maskedPaths\":null,\"personality\":null,"
	    "\"netDevices\":{\"eth0\":null},\"uidMappings\":null}"));

	if (!s)
		return;
	CHECK(!s->hostname && !s->mounts.n && !s->hooks[HOOK_PRESTART].n && !s->vm.has);
	CHECK(!s->resources.cpu.quota.set && !s->resources.pids_limit.set);
	CHECK(!s->intel_rdt && !s->seccomp.has && !s->net_devices.n && !s->ns[NS_PID].has);
}

/* Properties of later versions, of other platforms and of other tools do not disturb. */
TEST(unknown_is_ignored)
{
	_cleanup_spec_ struct spec *s = must_load(
	    DOC(",\"later\":{\"deep\":[[[1e300]]]},\"windows\":{\"layerFolders\":7},\"zos\":null,"
		"\"solaris\":{},\"freebsd\":{\"jail\":[]},\"linux\":{\"x\":1,\"resources\":"
		"{\"oomScoreAdj\":100,\"memory\":{\"y\":false}}}"));

	CHECK(s != NULL);
}

TEST(process)
{
	_cleanup_spec_ struct spec *s = must_load(BASE(
	    ",\"process\":{\"terminal\":true,\"consoleSize\":{\"height\":25,\"width\":65535},"
	    "\"user\":{\"uid\":4294967294,\"gid\":7,\"umask\":511,\"additionalGids\":[5,0]},"
	    "\"args\":[\"sh\",\"\"],\"env\":[\"A=1\",\"B=\"],\"cwd\":\"/"
	    "w\",\"noNewPrivileges\":true,"
	    "\"apparmorProfile\":\"p\",\"selinuxLabel\":\"\",\"oomScoreAdj\":-1000,"
	    "\"scheduler\":{\"policy\":\"SCHED_DEADLINE\",\"nice\":-20,\"runtime\":1,\"deadline\":"
	    "2,"
	    "\"period\":18446744073709551615,\"flags\":[\"SCHED_FLAG_RECLAIM\","
	    "\"SCHED_FLAG_RESET_ON_FORK\"]},\"ioPriority\":{\"class\":\"IOPRIO_CLASS_IDLE\","
	    "\"priority\":7},\"execCPUAffinity\":{\"initial\":\"7\",\"final\":\"0-3,7\"},"
	    "\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":0,\"hard\":18446744073709551615}]}"));
	const struct spec_process *p;

	if (!s)
		return;
	p = &s->process;
	CHECK(s->has_process && p->terminal && p->no_new_privileges && p->console_size.set);
	CHECK_INT(p->console_size.height, 25);
	CHECK_INT(p->console_size.width, 65535);
	CHECK_INT(p->user.uid, 4294967294u);
	CHECK_INT(p->user.gid, 7);
	CHECK(p->user.umask.set && p->user.umask.v == 0777);
	CHECK(p->user.additional_gids.n == 2 && p->user.additional_gids.v[0] == 5 &&
	      p->user.additional_gids.v[1] == 0);
	CHECK(p->args.n == 2 && streq(p->args.v[1], "") && !p->args.v[2]);
	CHECK(p->env.n == 2 && streq(p->env.v[1], "B=") && !p->env.v[2]);
	CHECK_STR(p->cwd, "/w");
	CHECK_STR(p->apparmor_profile, "p");
	CHECK(!p->selinux_label);
	CHECK(p->oom_score_adj.set && p->oom_score_adj.v == -1000);
	CHECK(
	    p->scheduler.has && p->scheduler.policy == SCHED_DEADLINE && p->scheduler.nice == -20);
	CHECK(p->scheduler.period == UINT64_MAX && !p->scheduler.priority.set);
	CHECK_INT(p->scheduler.flags, SCHED_FLAG_RECLAIM | SCHED_FLAG_RESET_ON_FORK);
	CHECK(p->ioprio.has && p->ioprio.class_ == IOPRIO_CLASS_IDLE && p->ioprio.priority == 7);
	CHECK_STR(p->exec_cpu_affinity.final, "0-3,7");
	CHECK(p->rlimits.n == 1 && p->rlimits.v[0].resource == RLIMIT_CORE);
	CHECK_STR(p->rlimits.v[0].name, "RLIMIT_CORE");
	CHECK(p->rlimits.v[0].hard == UINT64_MAX && p->rlimits.v[0].soft == 0);
	CHECK(!p->caps.has);
}

TEST(capabilities)
{
	_cleanup_spec_ struct spec *s = must_load(
	    PROC(",\"capabilities\":{\"bounding\":[\"CAP_CHOWN\",\"CAP_OF_TOMORROW\",\"CAP_"
		 "CHECKPOINT_RESTORE\"],"
		 "\"effective\":[\"CAP_KILL\",\"CAP_KILL\"],\"permitted\":null,\"ambient\":[]}"));
	const struct spec_caps *c;

	if (!s)
		return;
	c = &s->process.caps;
	CHECK(c->has);
	CHECK_INT(c->bounding, 1 | UINT64_C(1) << 40);
	CHECK_INT(c->effective, 1 << 5);
	CHECK(!c->permitted && !c->inheritable && !c->ambient);
}

TEST(mounts)
{
	_cleanup_spec_ struct spec *s = must_load(
	    DOC(",\"mounts\":[{\"destination\":\"proc/../sys\",\"type\":\"sysfs\"},"
		"{\"destination\":\"/a/./b/\",\"source\":\"data\",\"options\":[\"rbind\",\"ro\"]},"
		"{\"destination\":\"/c\",\"source\":\"tmpfs\",\"type\":\"tmpfs\",\"options\":"
		"[\"size=1m\"]},{\"destination\":\"/d\",\"source\":\"/abs\",\"type\":\"none\","
		"\"options\":[\"bind\",\"idmap\"],\"uidMappings\":[{\"containerID\":1,\"hostID\":2,"
		"\"size\":3}],\"gidMappings\":[{\"containerID\":0,\"hostID\":0,"
		"\"size\":4294967295}]}]"));
	const struct spec_mount *m;

	if (!s)
		return;
	m = s->mounts.v;
	CHECK_INT(s->mounts.n, 4);
	CHECK_STR(m[0].destination, "/sys");
	CHECK(!m[0].source && m[0].options.n == 0 && m[0].options.v && !m[0].options.v[0]);
	CHECK_STR(m[0].path, ".mounts[0]");
	CHECK_STR(m[1].destination, "/a/b");
	CHECK_STR(m[1].source, "/bundle/data");
	CHECK(!m[1].type);
	CHECK_STR(m[1].options.v[1], "ro");
	CHECK_STR(m[2].source, "tmpfs");
	CHECK_STR(m[3].source, "/abs");
	CHECK_STR(m[3].path, ".mounts[3]");
	CHECK(m[3].uid_mappings.n == 1 && m[3].uid_mappings.v[0].container_id == 1 &&
	      m[3].uid_mappings.v[0].host_id == 2 && m[3].uid_mappings.v[0].size == 3);
	CHECK_INT(m[3].gid_mappings.v[0].size, 4294967295u);
}

TEST(hooks)
{
	_cleanup_spec_ struct spec *s = must_load(DOC(
	    ",\"hooks\":{\"prestart\":[{\"path\":\"/1\"}],\"createRuntime\":[{\"path\":\"/2\"}],"
	    "\"createContainer\":[{\"path\":\"/3\"}],\"startContainer\":[{\"path\":\"/4\"}],"
	    "\"poststart\":[{\"path\":\"/5\"}],\"poststop\":[{\"path\":\"/"
	    "6\",\"args\":[\"x\",\"y\"],"
	    "\"env\":[\"A=b\"],\"timeout\":1},{\"path\":\"/7\"}]}"));
	char want[] = "/1";

	if (!s)
		return;
	for (int i = 0; i < HOOK_KINDS; i++, want[1]++) {
		CHECK(s->hooks[i].n >= 1);
		CHECK_STR(s->hooks[i].v[0].path, want);
	}
	CHECK_INT(s->hooks[HOOK_POSTSTOP].n, 2);
	CHECK_STR(s->hooks[HOOK_POSTSTOP].v[0].args.v[1], "y");
	CHECK_INT(s->hooks[HOOK_POSTSTOP].v[0].timeout.v, 1);
	CHECK(!s->hooks[HOOK_POSTSTOP].v[1].timeout.set);
	CHECK(s->hooks[HOOK_POSTSTOP].v[1].args.v && !s->hooks[HOOK_POSTSTOP].v[1].args.v[0]);
}

TEST(namespaces)
{
	_cleanup_spec_ struct spec *s = must_load(
	    DOC(",\"hostname\":\"h\",\"domainname\":\"d\",\"linux\":{\"namespaces\":["
		"{\"type\":\"mount\"},{\"type\":\"user\",\"path\":\"/proc/1/ns/user\"},"
		"{\"type\":\"uts\",\"path\":\"\"},{\"type\":\"time\"},{\"type\":\"network\"}],"
		"\"timeOffsets\":{\"monotonic\":{\"secs\":-5,\"nanosecs\":999999999}},"
		"\"netDevices\":{\"eth0\":{\"name\":\"c%d\"},\"eth1\":{\"name\":\"c%d\"},\"eth2\":{"
		"}}}"));

	if (!s)
		return;
	CHECK(s->ns[NS_MOUNT].has && !s->ns[NS_MOUNT].path);
	CHECK_STR(s->ns[NS_USER].path, "/proc/1/ns/user");
	CHECK(s->ns[NS_UTS].has && !s->ns[NS_UTS].path);
	CHECK(!s->ns[NS_PID].has && !s->ns[NS_IPC].has && !s->ns[NS_CGROUP].has);
	CHECK(s->monotonic.secs.set && s->monotonic.secs.v == -5);
	CHECK_INT(s->monotonic.nanosecs, 999999999);
	CHECK(!s->boottime.secs.set);
	CHECK_INT(s->net_devices.n, 3);
	CHECK_STR(s->net_devices.v[1].host_name, "eth1");
	CHECK_STR(s->net_devices.v[1].name, "c%d");
	CHECK_STR(s->net_devices.v[2].name, "eth2");
}

TEST(linux_misc)
{
	_cleanup_spec_ struct spec *s = must_load(LINUX(
	    ",\"devices\":[{\"path\":\"/dev/f\",\"type\":\"p\"},{\"path\":\"/dev/u\",\"type\":"
	    "\"u\",\"major\":4095,\"minor\":1048575,\"fileMode\":438,\"uid\":1,\"gid\":2}],"
	    "\"cgroupsPath\":\"system.slice:bailey:a..b\",\"rootfsPropagation\":\"rslave\","
	    "\"sysctl\":{\"net.a\":\"1\",\"net.b\":\"\"},\"maskedPaths\":[\"/m\"],"
	    "\"readonlyPaths\":[\"/r\"],\"mountLabel\":\"l\",\"personality\":{\"domain\":"
	    "\"LINUX32\",\"flags\":[]},\"memoryPolicy\":{\"mode\":\"MPOL_INTERLEAVE\","
	    "\"nodes\":\"0-1\",\"flags\":[\"MPOL_F_STATIC_NODES\"]}"));

	if (!s)
		return;
	CHECK_INT(s->devices.n, 2);
	CHECK(s->devices.v[0].type == 'p' && !s->devices.v[0].file_mode.set);
	CHECK(s->devices.v[1].type == 'u' && s->devices.v[1].major == 4095 &&
	      s->devices.v[1].minor == 1048575 && s->devices.v[1].file_mode.v == 0666 &&
	      s->devices.v[1].uid.v == 1 && s->devices.v[1].gid.v == 2);
	CHECK_STR(s->cgroups_path, "system.slice:bailey:a..b");
	CHECK_INT(s->rootfs_propagation, PROP_RSLAVE);
	CHECK_STR(spec_map_get(&s->sysctl, "net.a"), "1");
	CHECK_STR(spec_map_get(&s->sysctl, "net.b"), "");
	CHECK(!spec_map_get(&s->sysctl, "net.c"));
	CHECK_STR(s->masked_paths.v[0], "/m");
	CHECK_STR(s->readonly_paths.v[0], "/r");
	CHECK_STR(s->mount_label, "l");
	CHECK(s->personality.has && s->personality.persona == PER_LINUX32);
	CHECK(s->mem_policy.has && s->mem_policy.mode == MPOL_INTERLEAVE);
	CHECK_STR(s->mem_policy.nodes, "0-1");
	CHECK_INT(s->mem_policy.flags, MPOL_F_STATIC_NODES);
}

static const char resources_text[] =
    "{\"devices\":[{\"allow\":false,\"access\":\"rwm\"},{\"allow\":true,\"type\":\"c\","
    "\"major\":-1,\"minor\":3,\"access\":\"m\"}],\"memory\":{\"limit\":-1,\"swap\":0,"
    "\"swappiness\":18446744073709551615,\"disableOOMKiller\":false,\"kernel\":-1,"
    "\"kernelTCP\":0,\"useHierarchy\":true,\"checkBeforeUpdate\":true},\"cpu\":{\"shares\":2,"
    "\"quota\":-1,\"burst\":5,\"period\":100000,\"realtimeRuntime\":0,\"realtimePeriod\":0,"
    "\"cpus\":\"0-1\",\"mems\":\"\",\"idle\":1},\"pids\":{\"limit\":0},\"blockIO\":{\"weight\":0,"
    "\"leafWeight\":0,\"weightDevice\":[{\"major\":8,\"minor\":1,\"weight\":1000}],"
    "\"throttleReadBpsDevice\":[{\"major\":1,\"minor\":2,\"rate\":3}],"
    "\"throttleWriteBpsDevice\":[{\"major\":1,\"minor\":2,\"rate\":4}],"
    "\"throttleReadIOPSDevice\":[{\"major\":1,\"minor\":2,\"rate\":5}],"
    "\"throttleWriteIOPSDevice\":[{\"major\":1,\"minor\":2,\"rate\":18446744073709551615}]},"
    "\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":7}],\"rdma\":{\"mlx\":"
    "{\"hcaHandles\":3}},\"network\":{\"classID\":0,\"priorities\":[]},"
    "\"unified\":{\"memory.high\":\"max\"}}";

static void check_resources(const struct spec_resources *r)
{
	CHECK_INT(r->devices.n, 2);
	CHECK(!r->devices.v[0].allow && r->devices.v[0].type == 'a' && !r->devices.v[0].major.set);
	CHECK(r->devices.v[0].read && r->devices.v[0].write && r->devices.v[0].mknod);
	CHECK(r->devices.v[1].allow && r->devices.v[1].type == 'c' &&
	      r->devices.v[1].major.v == -1 && r->devices.v[1].minor.v == 3);
	CHECK(!r->devices.v[1].read && !r->devices.v[1].write && r->devices.v[1].mknod);
	CHECK(r->memory.limit.set && r->memory.limit.v == -1);
	CHECK(r->memory.swap.set && r->memory.swap.v == 0 && !r->memory.reservation.set);
	CHECK(r->memory.check_before_update.set && r->memory.check_before_update.v);
	CHECK(r->cpu.shares.v == 2 && r->cpu.quota.v == -1 && r->cpu.burst.v == 5);
	CHECK(r->cpu.idle.set && r->cpu.idle.v == 1 && !r->cpu.mems);
	CHECK_STR(r->cpu.cpus, "0-1");
	CHECK(r->pids_limit.set && r->pids_limit.v == 0);
	CHECK(r->block_io.weight.set && r->block_io.weight.v == 0);
	CHECK_INT(r->block_io.weight_device.v[0].weight.v, 1000);
	CHECK_INT(r->block_io.read_bps.v[0].rate, 3);
	CHECK_INT(r->block_io.write_bps.v[0].rate, 4);
	CHECK_INT(r->block_io.read_iops.v[0].rate, 5);
	CHECK(r->block_io.write_iops.v[0].rate == UINT64_MAX);
	CHECK_INT(r->block_io.write_iops.v[0].minor, 2);
	CHECK_STR(r->hugepages.v[0].page_size, "2MB");
	CHECK_INT(r->hugepages.v[0].limit, 7);
	CHECK_STR(r->rdma.v[0].device, "mlx");
	CHECK(r->rdma.v[0].hca_handles.v == 3 && !r->rdma.v[0].hca_objects.set);
	CHECK(r->net_class_id.set && r->net_class_id.v == 0 && r->net_priorities.n == 0);
	CHECK_STR(spec_map_get(&r->unified, "memory.high"), "max");
}

/* The same text through both doors; zeros, -1 and false where engines mean "not set". */
TEST(resources)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_free_ char *text = xasprintf(
	    "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"r\"},\"linux\":{\"resources\":%s}}",
	    resources_text);
	_cleanup_spec_ struct spec *s = must_load(text);
	struct spec_resources r = { 0 };
	struct err e = ERR_INIT;

	if (s)
		check_resources(&s->resources);
	CHECK_INT(
	    spec_parse_resources(a, "r.json", resources_text, strlen(resources_text), &r, &e), 0);
	if (e.code)
		CHECK_STR(e.msg, "");
	else
		check_resources(&r);
}

TEST(resources_document)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct spec_resources r = { .pids_limit = { true, 42 } };
	struct err e = ERR_INIT;
	const char *bad = "{\"memory\":{\"swappiness\":1}}";

	CHECK_INT(spec_parse_resources(a, "r.json", bad, strlen(bad), &r, &e), -EINVAL);
	CHECK_HAS(e.msg, "r.json: .memory.swappiness: is a feature of cgroup v1");
	CHECK_INT(r.pids_limit.v, 42); /* untouched on failure */
	CHECK_INT(spec_load_resources(a, "/nonexistent/r.json", &r, &e), -ENOENT);
	CHECK_HAS(e.msg, "/nonexistent/r.json");
	CHECK_INT(spec_parse_resources(a, "r.json", "{}", 2, &r, &e), 0);
	CHECK(!r.pids_limit.set);
}

TEST(process_document)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct spec_process p = { .cwd = "/before" };
	struct err e = ERR_INIT;
	const char *good = "{\"cwd\":\"/x\",\"args\":[\"id\"],\"user\":{\"uid\":3,\"gid\":4}}";
	const char *bad = "{\"cwd\":\"/x\",\"args\":[]}";

	CHECK_INT(spec_parse_process(a, "p.json", bad, strlen(bad), &p, &e), -EINVAL);
	CHECK_STR(e.msg, "p.json: .args: must name the program to run");
	CHECK_STR(p.cwd, "/before");
	CHECK_INT(spec_parse_process(a, "p.json", good, strlen(good), &p, &e), 0);
	CHECK_STR(p.cwd, "/x");
	CHECK_STR(p.args.v[0], "id");
	CHECK(p.user.uid == 3 && p.user.gid == 4 && p.env.v && !p.env.v[0]);
	CHECK_INT(spec_load_process(a, "/nonexistent/p.json", &p, &e), -ENOENT);
}

TEST(seccomp)
{
	_cleanup_spec_ struct spec *s = must_load(LINUX(
	    ",\"seccomp\":{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"defaultErrnoRet\":38,"
	    "\"architectures\":[\"SCMP_ARCH_X86_64\",\"SCMP_ARCH_X32\"],\"flags\":"
	    "[\"SECCOMP_FILTER_FLAG_LOG\",\"SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV\"],"
	    "\"listenerPath\":\"/run/agent\",\"listenerMetadata\":\"m\",\"syscalls\":["
	    "{\"names\":[\"mkdir\",\"mknod\"],\"action\":\"SCMP_ACT_NOTIFY\"},"
	    "{\"names\":[\"read\"],\"action\":\"SCMP_ACT_KILL\",\"args\":[{\"index\":5,"
	    "\"value\":18446744073709551615,\"valueTwo\":2,\"op\":\"SCMP_CMP_MASKED_EQ\"}]}]}"));
	const struct spec_seccomp *c;

	if (!s)
		return;
	c = &s->seccomp;
	CHECK(c->has && c->default_action == SECCOMP_ERRNO && c->default_errno_ret.v == 38);
	CHECK_INT(c->flags, SECCOMP_FILTER_FLAG_LOG | 1 << 5);
	CHECK_STR(c->archs.v[1], "SCMP_ARCH_X32");
	CHECK_STR(c->listener_path, "/run/agent");
	CHECK_STR(c->listener_metadata, "m");
	CHECK_INT(c->rules.n, 2);
	CHECK(c->rules.v[0].action == SECCOMP_NOTIFY && c->rules.v[0].names.n == 2);
	CHECK(!c->rules.v[0].errno_ret.set && c->rules.v[0].args.n == 0);
	CHECK(c->rules.v[1].action == SECCOMP_KILL_THREAD && c->rules.v[1].args.n == 1);
	CHECK(c->rules.v[1].args.v[0].index == 5 && c->rules.v[1].args.v[0].value == UINT64_MAX &&
	      c->rules.v[1].args.v[0].value_two == 2 &&
	      c->rules.v[1].args.v[0].op == CMP_MASKED_EQ);
}

TEST_MAIN(T(minimal), T(root), T(null_is_absent), T(unknown_is_ignored), T(process),
    T(capabilities), T(mounts), T(hooks), T(namespaces), T(linux_misc), T(resources),
    T(resources_document), T(process_document), T(seccomp))
