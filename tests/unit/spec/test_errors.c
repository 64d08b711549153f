/* Every kind of error, with the message a user sees. */
#include "base/cleanup.h"
#include "base/str.h"
#include "tests/unit/spec/config.h"

struct bad {
	const char *text, *message;
};

static void check_all(const struct bad *v, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct err e;
		_cleanup_spec_ struct spec *s = load(v[i].text, &e);

		if (s)
			printf("# accepted: %s\n", v[i].text);
		CHECK(s == NULL);
		CHECK_INT(e.code, EINVAL);
		CHECK_STR(e.msg, v[i].message);
	}
}
#define ALL(v) check_all(v, ARRAY_SIZE(v))
#define F      "config.json: "

TEST(document)
{
	static const struct bad v[] = {
		{ "{", F "line 1, column 2: invalid JSON: parse error: premature EOF" },
		{ "[]", F ".: an array: must be an object" },
		{ "{}", F ".ociVersion: required property is missing" },
		{ "{\"ociVersion\":\"1.0.0\"}", F ".root: required property is missing" },
		{ "{\"ociVersion\":\"1.0.0\",\"root\":{}}",
		    F ".root.path: required property is missing" },
		{ "{\"ociVersion\":\"1.0.0\",\"root\":null}",
		    F ".root: required property is missing" },
		{ "{\"ociVersion\":\"1.0.0\",\"root\":{\"path\":\"\"}}",
		    F ".root.path: \"\": must not be empty" },
		{ "{\"ociVersion\":\"0.9.0\",\"root\":{\"path\":\"r\"}}",
		    F ".ociVersion: \"0.9.0\": unsupported version (bailey executes 1.x.y, up to "
		      "1.3.0)" },
		{ "{\"ociVersion\":\"1.0\",\"root\":{\"path\":\"r\"}}",
		    F ".ociVersion: \"1.0\": unsupported version (bailey executes 1.x.y, up to "
		      "1.3.0)" },
		{ "{\"ociVersion\":\"1.01.0\",\"root\":{\"path\":\"r\"}}",
		    F ".ociVersion: \"1.01.0\": unsupported version (bailey executes 1.x.y, up to "
		      "1.3.0)" },
		{ "{\"ociVersion\":\"1.0.0-\",\"root\":{\"path\":\"r\"}}",
		    F ".ociVersion: \"1.0.0-\": unsupported version (bailey executes 1.x.y, up to "
		      "1.3.0)" },
		{ BASE(",\"root\":{}"), F "line 1, column 53: .root: duplicate key" },
		{ DOC(",\"hostname\":\"h\""),
		    F ".hostname: \"h\": needs a uts namespace in .linux.namespaces, else it would "
		      "rename the host" },
		{ DOC(",\"domainname\":\"d\""), F
		    ".domainname: \"d\": needs a uts namespace in .linux.namespaces, else it would "
		    "rename the host" },
		{ DOC(",\"annotations\":{\"a\":1}"), F ".annotations.a: 1: must be a string" },
		{ DOC(",\"annotations\":{\"\":\"b\"}"),
		    F ".annotations[\"\"]: the name must not be empty" },
		{ DOC(",\"linux\":[]"), F ".linux: an array: must be an object" },
		{ DOC(",\"vm\":{\"kernel\":{\"path\":\"/k\"},\"hypervisor\":{\"path\":"
		      "\"/q\"}}"),
		    F ".vm.hypervisor: bailey is the hypervisor itself: there is no other program "
		      "to run or to give parameters" },
		{ DOC(",\"vm\":{\"kernel\":{\"path\":\"/k\"},\"image\":{\"path\":\"/i\","
		      "\"format\":\"raw\"}}"),
		    F ".vm.image: the machine's root filesystem is .root.path; mount the image "
		      "there instead" },
		{ DOC(",\"vm\":{}"), F ".vm.kernel: required property is missing" },
		{ DOC(",\"vm\":{\"kernel\":{\"path\":\"k\"}}"),
		    F ".vm.kernel.path: \"k\": must be an absolute path" },
		{ DOC(",\"vm\":{\"kernel\":{\"path\":\"/k\"},\"image\":{\"path\":\"/i\","
		      "\"format\":\"iso\"}}"),
		    F
		    ".vm.image.format: \"iso\": unknown image format (one of qcow2, raw, vdi, vhd, "
		    "vmdk)" },
	};
	ALL(v);
}

TEST(process)
{
	static const struct bad v[] = {
		{ BASE(",\"process\":{}"), F ".process.cwd: required property is missing" },
		{ BASE(",\"process\":{\"cwd\":\"/\"}"),
		    F ".process.args: required property is missing" },
		{ BASE(",\"process\":{\"cwd\":\"/\",\"args\":[]}"),
		    F ".process.args: must name the program to run" },
		{ BASE(",\"process\":{\"cwd\":\"relative\",\"args\":[\"sh\"]}"),
		    F ".process.cwd: \"relative\": must be an absolute path" },
		{ BASE(",\"process\":{\"cwd\":\"/\",\"args\":[\"sh\",null]}"),
		    F ".process.args[1]: null: must be a string" },
		{ BASE(",\"process\":{\"cwd\":\"/\",\"args\":\"sh\"}"),
		    F ".process.args: \"sh\": must be an array" },
		{ PROC(",\"terminal\":1"), F ".process.terminal: 1: must be a boolean" },
		{ PROC(",\"commandLine\":\"x\""),
		    F ".process.commandLine: is for Windows; use args" },
		{ PROC(",\"env\":[\"A=1\",\"B\"]"),
		    F ".process.env[1]: \"B\": must have the form NAME=value" },
		{ PROC(",\"env\":[\"=1\"]"),
		    F ".process.env[0]: \"=1\": must have the form NAME=value" },
		{ PROC(",\"consoleSize\":{\"height\":25}"),
		    F ".process.consoleSize.width: required property is missing" },
		{ PROC(",\"consoleSize\":{\"height\":65536,\"width\":1}"),
		    F ".process.consoleSize.height: 65536: out of range (0 to 65535)" },
		{ PROC(",\"capabilities\":{\"bounding\":[\"CAP_KILL\",7]}"),
		    F ".process.capabilities.bounding[1]: 7: must be a string" },
		{ PROC(",\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":1,\"hard\":1},"
		       "{\"type\":\"RLIMIT_CORE\",\"soft\":1,\"hard\":1}]"),
		    F ".process.rlimits[1].type: \"RLIMIT_CORE\": the limit is already set by an "
		      "earlier entry" },
		{ PROC(",\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":2,\"hard\":1}]"),
		    F ".process.rlimits[0].soft: 2: above the hard limit (1)" },
		{ PROC(",\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":1}]"),
		    F ".process.rlimits[0].hard: required property is missing" },
		{ PROC(",\"oomScoreAdj\":1001"),
		    F ".process.oomScoreAdj: 1001: out of range (-1000 to 1000)" },
		{ PROC(",\"oomScoreAdj\":-1001"),
		    F ".process.oomScoreAdj: -1001: out of range (-1000 to 1000)" },
		{ PROC(",\"scheduler\":{}"),
		    F ".process.scheduler.policy: required property is missing" },
		{ PROC(",\"scheduler\":{\"policy\":\"SCHED_OTHER\",\"nice\":20}"),
		    F ".process.scheduler.nice: 20: out of range (-20 to 19)" },
		{ PROC(",\"scheduler\":{\"policy\":\"SCHED_OTHER\",\"priority\":1}"),
		    F ".process.scheduler.priority: 1: is for SCHED_FIFO and SCHED_RR, not "
		      "SCHED_OTHER" },
		{ PROC(",\"scheduler\":{\"policy\":\"SCHED_RR\",\"period\":1}"),
		    F ".process.scheduler.period: 1: is for SCHED_DEADLINE, not SCHED_RR" },
		{ PROC(",\"scheduler\":{\"policy\":\"SCHED_DEADLINE\"}"),
		    F ".process.scheduler.runtime: required property is missing" },
		{ PROC(",\"scheduler\":{\"policy\":\"SCHED_RR\",\"flags\":[\"X\"]}"),
		    F ".process.scheduler.flags[0]: \"X\": unknown scheduling flag (one of "
		      "SCHED_FLAG_DL_OVERRUN, SCHED_FLAG_KEEP_PARAMS, SCHED_FLAG_KEEP_POLICY, "
		      "SCHED_FLAG_RECLAIM, SCHED_FLAG_RESET_ON_FORK, SCHED_FLAG_UTIL_CLAMP_MAX, "
		      "SCHED_FLAG_UTIL_CLAMP_MIN)" },
		{ PROC(",\"ioPriority\":{\"class\":\"RT\"}"),
		    F ".process.ioPriority.class: \"RT\": unknown I/O priority class (one of "
		      "IOPRIO_CLASS_BE, IOPRIO_CLASS_IDLE, IOPRIO_CLASS_RT)" },
		{ PROC(",\"ioPriority\":{\"class\":\"IOPRIO_CLASS_RT\",\"priority\":8}"),
		    F ".process.ioPriority.priority: 8: out of range (0 to 7)" },
		{ PROC(",\"execCPUAffinity\":{\"initial\":\"0-a\"}"),
		    F ".process.execCPUAffinity.initial: \"0-a\": must be a list like \"0-3,7\"" },
	};
	ALL(v);
}

/* Each way out of an integer's range, on a 32-bit field whose last value is taken by "no change".
 */
TEST(integers)
{
#define UID(value) PROC(",\"user\":{\"uid\":" value "}")
#define UID_BAD(value, shown)                                                                \
	{                                                                                    \
		UID(value), F ".process.user.uid: " shown ": out of range (0 to 4294967294)" \
	}
	static const struct bad v[] = {
		UID_BAD("-1", "-1"),
		UID_BAD("4294967295", "4294967295"),
		UID_BAD("4294967296", "4294967296"),
		UID_BAD("9223372036854775807", "9223372036854775807"),
		UID_BAD("-9223372036854775808", "-9223372036854775808"),
		UID_BAD("18446744073709551615", "18446744073709551615"),
		UID_BAD("18446744073709551616", "1.8446744073709552e+19"),
		{ UID("1.5"), F ".process.user.uid: 1.5: must be a whole number, written without "
				"fraction and exponent" },
		{ UID("1e3"), F ".process.user.uid: 1000: must be a whole number, written without "
				"fraction and exponent" },
		{ UID("\"0\""), F ".process.user.uid: \"0\": must be a whole number" },
		{ UID("false"), F ".process.user.uid: false: must be a whole number" },
		{ UID("[0]"), F ".process.user.uid: an array: must be a whole number" },
		{ PROC(",\"user\":{\"additionalGids\":[1,4294967295]}"), F
		    ".process.user.additionalGids[1]: 4294967295: out of range (0 to 4294967294)" },
		{ PROC(",\"user\":{\"umask\":512}"),
		    F ".process.user.umask: 512: out of range (0 to 511)" },
		{ RESOURCES("\"memory\":{\"limit\":-2}"), F
		    ".linux.resources.memory.limit: -2: out of range (-1 to 9223372036854775807)" },
		{ RESOURCES("\"memory\":{\"limit\":9223372036854775808}"),
		    F ".linux.resources.memory.limit: 9223372036854775808: out of range (-1 to "
		      "9223372036854775807)" },
		{ PROC(",\"rlimits\":[{\"type\":\"RLIMIT_CORE\",\"soft\":0,\"hard\":-1}]"),
		    F ".process.rlimits[0].hard: -1: out of range (0 to 18446744073709551615)" },
	};
	ALL(v);
}

TEST(namespaces)
{
#define NS(list) DOC(",\"linux\":{\"namespaces\":[" list "]}")
	static const struct bad v[] = {
		{ NS("{\"type\":\"pid\"},{\"type\":\"ipc\"},{\"type\":\"nte\"}"),
		    F ".linux.namespaces[2].type: \"nte\": unknown namespace (one of cgroup, ipc, "
		      "mount, network, pid, time, user, uts)" },
		{ NS("{\"type\":\"pid\"},{\"type\":\"pid\"}"),
		    F ".linux.namespaces[1].type: \"pid\": duplicate namespace" },
		{ NS("{}"), F ".linux.namespaces[0].type: required property is missing" },
		{ NS("null"), F ".linux.namespaces[0]: null: must be an object" },
		{ NS("{\"type\":\"pid\",\"path\":\"proc/1/ns/pid\"}"),
		    F ".linux.namespaces[0].path: \"proc/1/ns/pid\": must be an absolute path" },
		{ NS("{\"type\":\"user\"}"),
		    F ".linux.uidMappings: a new user namespace needs at least one mapping" },
		{ DOC(",\"linux\":{\"namespaces\":[{\"type\":\"user\"}],\"uidMappings\":"
		      "[{\"containerID\":0,\"hostID\":0,\"size\":1}]}"),
		    F ".linux.gidMappings: a new user namespace needs at least one mapping" },
		{ LINUX(",\"uidMappings\":[{\"containerID\":0,\"hostID\":0,\"size\":1}]"),
		    F ".linux.uidMappings: needs a user namespace in .linux.namespaces" },
		{ LINUX(",\"gidMappings\":[{\"containerID\":0,\"hostID\":0,\"size\":0}]"),
		    F ".linux.gidMappings[0].size: 0: out of range (1 to 4294967295)" },
		{ LINUX(",\"gidMappings\":[{\"containerID\":1,\"hostID\":0,\"size\":4294967295}]"),
		    F ".linux.gidMappings[0].size: 4294967295: the range goes beyond the last ID" },
		{ LINUX(",\"gidMappings\":[{\"containerID\":0,\"size\":1}]"),
		    F ".linux.gidMappings[0].hostID: required property is missing" },
		{ DOC(",\"linux\":{\"timeOffsets\":{\"boottime\":{\"secs\":1}}}"),
		    F ".linux.timeOffsets: needs a time namespace in .linux.namespaces" },
		{ DOC(",\"linux\":{\"namespaces\":[{\"type\":\"time\",\"path\":\"/x\"}],"
		      "\"timeOffsets\":{\"boottime\":{\"nanosecs\":1}}}"),
		    F
		    ".linux.timeOffsets: the offsets of a namespace that is joined (/x) cannot be "
		    "set" },
		{ LINUX(",\"timeOffsets\":{\"realtime\":{}}"),
		    F ".linux.timeOffsets.realtime: unknown name (one of boottime, monotonic)" },
		{ LINUX(",\"timeOffsets\":{\"boottime\":{\"nanosecs\":1000000000}}"),
		    F ".linux.timeOffsets.boottime.nanosecs: 1000000000: out of range (0 to "
		      "999999999)" },
		{ DOC(",\"linux\":{\"maskedPaths\":[\"/proc/kcore\"]}"),
		    F ".linux.maskedPaths: needs a mount namespace in .linux.namespaces" },
		{ DOC(",\"linux\":{\"readonlyPaths\":[\"/proc/sys\"]}"),
		    F ".linux.readonlyPaths: needs a mount namespace in .linux.namespaces" },
		{ LINUX(",\"maskedPaths\":[\"/a\",\"b\"]"),
		    F ".linux.maskedPaths[1]: \"b\": must be an absolute path" },
		{ LINUX(",\"readonlyPaths\":[\"\"]"),
		    F ".linux.readonlyPaths[0]: \"\": must be an absolute path" },
		{ DOC(",\"linux\":{\"netDevices\":{\"eth0\":{}}}"),
		    F ".linux.netDevices: needs a network namespace in .linux.namespaces" },
		{ LINUX(",\"netDevices\":{\"eth0\":{\"name\":\"a\"},\"eth1\":{\"name\":\"a\"}}"),
		    F ".linux.netDevices.eth1: another device is to be named \"a\" already" },
		{ LINUX(",\"netDevices\":{\"eth0\":{\"name\":\"0123456789abcdef\"}}"), F
		    ".linux.netDevices.eth0.name: \"0123456789abcdef\": must be an interface name: "
		    "at most 15 bytes, no '/'" },
		{ LINUX(",\"netDevices\":{\"../eth0\":{}}"),
		    F ".linux.netDevices[\"../eth0\"]: must be named like an interface: at most 15 "
		      "bytes, no '/'" },
	};
	ALL(v);
}

TEST(mounts)
{
#define MNT(m) LINUX("},\"mounts\":[" m "],\"x\":{")
	static const struct bad v[] = {
		{ MNT("{}"), F ".mounts[0].destination: required property is missing" },
		{ MNT("{\"destination\":\"/a\",\"type\":\"tmpfs\"},{\"destination\":\"\"}"),
		    F ".mounts[1].destination: \"\": must not be empty" },
		{ MNT("{\"destination\":\"/a\"}"),
		    F ".mounts[0]: needs a type, or \"bind\" or \"rbind\" in its options" },
		{ MNT("{\"destination\":\"/a\",\"options\":[\"rbind\"]}"),
		    F ".mounts[0].source: required property is missing" },
		{ MNT("{\"destination\":\"/a\",\"type\":\"bind\",\"source\":\"/"
		      "b\",\"options\":[\"ro\"]}"),
		    F ".mounts[0].type: \"bind\": a bind mount needs \"bind\" or \"rbind\" in its "
		      "options" },
		{ MNT("{\"destination\":\"/a\",\"type\":\"tmpfs\",\"uidMappings\":"
		      "[{\"containerID\":0,\"hostID\":0,\"size\":1}]}"),
		    F ".mounts[0]: uidMappings and gidMappings must be given together" },
		{ MNT("{\"destination\":\"/a\",\"source\":\"/"
		      "b\",\"options\":[\"rbind\",\"ridmap\"]}"),
		    F ".mounts[0].options[1]: \"ridmap\": needs uidMappings and gidMappings on the "
		      "mount, or a user namespace in .linux.namespaces" },
	};
	ALL(v);
}

TEST(hooks)
{
#define HOOKS(h) DOC(",\"hooks\":{" h "}")
	static const struct bad v[] = {
		{ HOOKS("\"poststop\":[{\"path\":\"true\"}]"),
		    F ".hooks.poststop[0].path: \"true\": must be an absolute path" },
		{ HOOKS("\"prestart\":[{}]"),
		    F ".hooks.prestart[0].path: required property is missing" },
		{ HOOKS("\"createRuntime\":[{\"path\":\"/a\",\"timeout\":0}]"),
		    F ".hooks.createRuntime[0].timeout: 0: out of range (1 to 2147483647)" },
		{ HOOKS("\"poststart\":{}"), F ".hooks.poststart: an object: must be an array" },
	};
	ALL(v);
}

TEST(linux_misc)
{
	static const struct bad v[] = {
		{ LINUX(",\"cgroupsPath\":\"/a/../../b\""),
		    F ".linux.cgroupsPath: \"/a/../../b\": must not contain \"..\"" },
		{ LINUX(",\"cgroupsPath\":\"..\""),
		    F ".linux.cgroupsPath: \"..\": must not contain \"..\"" },
		{ LINUX(",\"rootfsPropagation\":\"x\""),
		    F ".linux.rootfsPropagation: \"x\": unknown propagation (one of private, "
		      "rprivate, "
		      "rshared, rslave, runbindable, shared, slave, unbindable)" },
		{ LINUX(",\"devices\":[{\"path\":\"/dev/x\",\"type\":\"x\"}]"),
		    F ".linux.devices[0].type: \"x\": must be \"b\" (block), \"c\" or \"u\" "
		      "(character) or \"p\" (FIFO)" },
		{ LINUX(",\"devices\":[{\"path\":\"dev/x\",\"type\":\"p\"}]"),
		    F ".linux.devices[0].path: \"dev/x\": must be an absolute path" },
		{ LINUX(",\"devices\":[{\"path\":\"/dev/x\",\"type\":\"c\",\"major\":1}]"),
		    F ".linux.devices[0].minor: required property is missing" },
		{ LINUX(",\"devices\":[{\"path\":\"/dev/"
			"x\",\"type\":\"c\",\"major\":4096,\"minor\":0}]"),
		    F ".linux.devices[0].major: 4096: out of range (0 to 4095)" },
		{ LINUX(",\"intelRdt\":{}"),
		    F ".linux.intelRdt: cache and memory bandwidth allocation is not executed; "
		      "assign "
		      "the container's cgroup to a resctrl group on the host instead" },
		{ LINUX(",\"personality\":{}"),
		    F ".linux.personality.domain: required property is missing" },
		{ LINUX(",\"personality\":{\"domain\":\"LINUX\",\"flags\":[\"X\"]}"), F
		    ".linux.personality.flags[0]: \"X\": the specification defines no personality "
		    "flags" },
		{ LINUX(",\"memoryPolicy\":{\"nodes\":\"0\"}"),
		    F ".linux.memoryPolicy.mode: required property is missing" },
		{ LINUX(",\"memoryPolicy\":{\"mode\":\"MPOL_LOCAL\",\"nodes\":\"0\"}"),
		    F ".linux.memoryPolicy.nodes: \"0\": MPOL_LOCAL takes no nodes" },
		{ LINUX(",\"memoryPolicy\":{\"mode\":\"MPOL_BIND\"}"),
		    F ".linux.memoryPolicy.nodes: required property is missing" },
		{ LINUX(",\"sysctl\":{\"a\":true}"), F ".linux.sysctl.a: true: must be a string" },
	};
	ALL(v);
}

TEST(resources)
{
	static const struct bad v[] = {
		{ RESOURCES("\"devices\":[{\"access\":\"r\"}]"),
		    F ".linux.resources.devices[0].allow: required property is missing" },
		{ RESOURCES("\"devices\":[{\"allow\":true}]"),
		    F ".linux.resources.devices[0].access: required property is missing" },
		{ RESOURCES("\"devices\":[{\"allow\":true,\"access\":\"rx\"}]"),
		    F ".linux.resources.devices[0].access: \"rx\": must be made of r (read), w "
		      "(write) "
		      "and m (mknod)" },
		{ RESOURCES("\"devices\":[{\"allow\":true,\"access\":\"r\",\"type\":\"u\"}]"),
		    F ".linux.resources.devices[0].type: \"u\": must be \"a\" (all), \"b\" (block) "
		      "or "
		      "\"c\" (character)" },
		{ RESOURCES("\"devices\":[{\"allow\":true,\"access\":\"r\",\"major\":-2}]"),
		    F ".linux.resources.devices[0].major: -2: out of range (-1 to 4294967295)" },
		{ RESOURCES("\"cpu\":{\"burst\":2,\"quota\":1}"),
		    F ".linux.resources.cpu.burst: 2: larger than the quota (1)" },
		{ RESOURCES("\"cpu\":{\"cpus\":\"0\\n1\"}"),
		    F ".linux.resources.cpu.cpus: \"0\\x0a1\": must be a list like \"0-3,7\"" },
		{ RESOURCES("\"cpu\":{\"idle\":2}"),
		    F ".linux.resources.cpu.idle: 2: out of range (0 to 1)" },
		{ RESOURCES("\"cpu\":{\"quota\":-2}"),
		    F ".linux.resources.cpu.quota: -2: out of range (-1 to 9223372036854775807)" },
		{ RESOURCES("\"blockIO\":{\"weight\":9}"),
		    F ".linux.resources.blockIO.weight: 9: out of range (10 to 1000, or 0 for "
		      "none)" },
		{ RESOURCES("\"blockIO\":{\"weight\":1001}"),
		    F ".linux.resources.blockIO.weight: 1001: out of range (0 to 1000)" },
		{ RESOURCES("\"blockIO\":{\"weightDevice\":[{\"major\":8,\"minor\":0}]}"),
		    F ".linux.resources.blockIO.weightDevice[0].weight: required property is "
		      "missing" },
		{ RESOURCES("\"blockIO\":{\"throttleReadBpsDevice\":[{\"major\":8,\"minor\":0}]}"),
		    F
		    ".linux.resources.blockIO.throttleReadBpsDevice[0].rate: required property is "
		    "missing" },
		{ RESOURCES("\"hugepageLimits\":[{\"pageSize\":\"02MB\",\"limit\":1}]"),
		    F ".linux.resources.hugepageLimits[0].pageSize: \"02MB\": must be a page size "
		      "like "
		      "\"64KB\", \"2MB\" or \"1GB\"" },
		{ RESOURCES("\"rdma\":{\"mlx\":{}}"),
		    F ".linux.resources.rdma.mlx: hcaHandles or hcaObjects is required" },
		{ RESOURCES("\"unified\":{\"../cgroup.procs\":\"1\"}"), F
		    ".linux.resources.unified[\"../cgroup.procs\"]: must be the name of a file in "
		    "the cgroup" },
		{ RESOURCES("\"unified\":{\"..\":\"1\"}"), F
		    ".linux.resources.unified[\"..\"]: must be the name of a file in the cgroup" },
	};
	ALL(v);
}

TEST(cgroup_v1)
{
#define V1 ": is a feature of cgroup v1; this runtime is for cgroup v2: "
#define R  F ".linux.resources."
	static const struct bad v[] = {
		{ RESOURCES("\"network\":{\"classID\":1}"),
		    R "network.classID" V1 "mark packets with nftables (meta cgroup)" },
		{ RESOURCES("\"network\":{\"priorities\":[{\"name\":\"a\",\"priority\":0}]}"),
		    R "network.priorities" V1 "set priorities with nftables (meta priority)" },
		{ RESOURCES("\"memory\":{\"kernel\":1}"),
		    R "memory.kernel" V1 "memory.limit counts kernel memory too" },
		{ RESOURCES("\"memory\":{\"kernelTCP\":1}"),
		    R "memory.kernelTCP" V1 "memory.limit counts socket buffers too" },
		{ RESOURCES("\"memory\":{\"swappiness\":60}"),
		    R "memory.swappiness" V1 "limit memory.swap instead" },
		{ RESOURCES("\"memory\":{\"disableOOMKiller\":true}"),
		    R "memory.disableOOMKiller" V1
		      "protect the container with process.oomScoreAdj or unified memory.high" },
		{ RESOURCES("\"cpu\":{\"realtimeRuntime\":1}"),
		    R "cpu.realtimeRuntime" V1 "use process.scheduler for real-time policies" },
		{ RESOURCES("\"cpu\":{\"realtimePeriod\":1}"),
		    R "cpu.realtimePeriod" V1 "use process.scheduler for real-time policies" },
		{ RESOURCES("\"blockIO\":{\"leafWeight\":10}"),
		    R "blockIO.leafWeight" V1 "use weight" },
		{ RESOURCES(
		      "\"blockIO\":{\"weightDevice\":[{\"major\":8,\"minor\":0,\"weight\":10},"
		      "{\"major\":8,\"minor\":1,\"leafWeight\":10}]}"),
		    R "blockIO.weightDevice[1].leafWeight" V1 "use weight" },
	};
	ALL(v);
}

TEST(seccomp)
{
#define SECCOMP(text) LINUX(",\"seccomp\":{" text "}")
#define ALLOW	      "\"defaultAction\":\"SCMP_ACT_ALLOW\""
#define RULE(text)    SECCOMP(ALLOW ",\"syscalls\":[{" text "}]")
#define S	      F ".linux.seccomp."
	static const struct bad v[] = {
		{ SECCOMP(""), S "defaultAction: required property is missing" },
		{ SECCOMP("\"defaultAction\":\"ALLOW\""),
		    S "defaultAction: \"ALLOW\": unknown seccomp action (one of SCMP_ACT_ALLOW, "
		      "SCMP_ACT_ERRNO, SCMP_ACT_KILL, SCMP_ACT_KILL_PROCESS, SCMP_ACT_KILL_THREAD, "
		      "SCMP_ACT_LOG, SCMP_ACT_NOTIFY, SCMP_ACT_TRACE, SCMP_ACT_TRAP)" },
		{ SECCOMP("\"defaultAction\":\"SCMP_ACT_NOTIFY\""), S
		    "defaultAction: \"SCMP_ACT_NOTIFY\": cannot be the default action: the agent's "
		    "own answer would need it" },
		{ SECCOMP(ALLOW ",\"defaultErrnoRet\":1"),
		    S "defaultErrnoRet: 1: defaultAction SCMP_ACT_ALLOW takes no errno" },
		{ RULE("\"names\":[\"read\"],\"action\":\"SCMP_ACT_KILL\",\"errnoRet\":1"),
		    S "syscalls[0].errnoRet: 1: action SCMP_ACT_KILL takes no errno" },
		{ RULE("\"names\":[\"read\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":4096"),
		    S "syscalls[0].errnoRet: 4096: out of range (0 to 4095)" },
		{ RULE("\"names\":[],\"action\":\"SCMP_ACT_KILL\""),
		    S "syscalls[0].names: must name at least one system call" },
		{ RULE("\"names\":[\"\"],\"action\":\"SCMP_ACT_KILL\""),
		    S "syscalls[0].names[0]: \"\": must not be empty" },
		{ RULE("\"names\":[\"read\"]"),
		    S "syscalls[0].action: required property is missing" },
		{ RULE("\"names\":[\"read\"],\"action\":\"SCMP_ACT_NOTIFY\""),
		    S "syscalls[0]: SCMP_ACT_NOTIFY needs .linux.seccomp.listenerPath" },
		{ RULE("\"names\":[\"read\"],\"action\":\"SCMP_ACT_TRAP\",\"args\":[{\"index\":6,"
		       "\"value\":0,\"op\":\"SCMP_CMP_EQ\"}]"),
		    S "syscalls[0].args[0].index: 6: out of range (0 to 5)" },
		{ RULE("\"names\":[\"read\"],\"action\":\"SCMP_ACT_TRAP\",\"args\":[{\"index\":0,"
		       "\"value\":-1,\"op\":\"SCMP_CMP_EQ\"}]"),
		    S "syscalls[0].args[0].value: -1: out of range (0 to 18446744073709551615)" },
		{ RULE("\"names\":[\"read\"],\"action\":\"SCMP_ACT_TRAP\",\"args\":[{\"index\":0,"
		       "\"value\":0}]"),
		    S "syscalls[0].args[0].op: required property is missing" },
		{ SECCOMP(ALLOW ",\"architectures\":[\"SCMP_ARCH_Z80\"]"),
		    S "architectures[0]: \"SCMP_ARCH_Z80\": unknown seccomp architecture (one of "
		      "SCMP_ARCH_AARCH64, SCMP_ARCH_ARM, SCMP_ARCH_MIPS, SCMP_ARCH_MIPS64, "
		      "SCMP_ARCH_MIPS64N32, SCMP_ARCH_MIPSEL, SCMP_ARCH_MIPSEL64, "
		      "SCMP_ARCH_MIPSEL64N32, SCMP_ARCH_PARISC, SCMP_ARCH_PARISC64, SCMP_ARCH_PPC, "
		      "SCMP_ARCH_PPC64, SCMP_ARCH_PPC64LE, SCMP_ARCH_RISCV64, SCMP_ARCH_S390, "
		      "SCMP_ARCH_S390X, …)" },
		{ SECCOMP(ALLOW ",\"listenerPath\":\"sock\""),
		    S "listenerPath: \"sock\": must be an absolute path" },
		{ SECCOMP(ALLOW ",\"listenerMetadata\":\"x\""),
		    S "listenerMetadata: not allowed without listenerPath" },
	};
	ALL(v);
}

/* A message is one line whatever the document holds. */
TEST(one_line)
{
	struct err e;
	_cleanup_spec_ struct spec *s = load(DOC(",\"annotations\":{\"a\\nb\":[\"c\\nd\"]}"), &e);

	CHECK(!s);
	CHECK_STR(e.msg, F ".annotations[\"a\\x0ab\"]: an array: must be a string");
	CHECK(!strchr(e.msg, '\n'));
}

TEST_MAIN(T(document), T(process), T(integers), T(namespaces), T(mounts), T(hooks), T(linux_misc),
    T(resources), T(cgroup_v1), T(seccomp), T(one_line))
