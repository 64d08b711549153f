/* The specification's samples, the example and default configurations, and the documents bailey
 * writes. Run from the top of the tree. */
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/str.h"
#include "spec/decode.h"
#include "tests/unit/spec/config.h"

#define SAMPLES "tests/unit/spec/samples/"

/* refusal: what validation says of a good sample that no Linux runtime for cgroup v2 can execute.
 */
static void sample(const char *path, const char *refusal)
{
	_cleanup_arena_ struct arena *a = arena_new();
	struct err e = ERR_INIT;
	struct dec d = { .a = a, .name = path, .e = &e };
	const struct json *root = NULL;
	struct spec *s = NULL;
	_cleanup_free_ char *full = xasprintf("%s%s", SAMPLES, path);

	CHECK_INT(json_parse_file(a, AT_FDCWD, full, &root, &e), 0);
	CHECK(root && spec_decode(&d, root, "/bundle", &s) == 0);
	if (s && !refusal)
		CHECK_INT(validate_spec(&d, s), 0);
	else if (s)
		CHECK_INT(validate_spec(&d, s), -EINVAL);
	CHECK_HAS(e.msg, refusal ? refusal : "");
}

TEST(good)
{
	sample("good/minimal.json", NULL);
	sample("good/minimal-for-start.json", NULL);
	sample("good/linux-rdma.json", NULL);
	sample("good/freebsd-minimal.json", NULL);
	sample("good/zos-minimal.json", NULL);
	sample("good/linux-netdevice.json",
	    ".linux.netDevices: needs a network namespace in .linux.namespaces");
	sample("good/freebsd-example.json", ".hostname");
	sample("good/spec-example.json", ".ociVersion: \"0.5.0-dev\"");
	sample("good/zos-example.json", ".ociVersion: \"0.5.0-dev\"");
}

static void refused(const char *path, const char *message)
{
	_cleanup_free_ char *full = xasprintf("%s%s", SAMPLES, path);
	_cleanup_free_ char *text = NULL;
	struct err e = ERR_INIT;

	CHECK_INT(file_read(AT_FDCWD, full, 1 << 20, &text, NULL, &e), 0);
	if (text)
		CHECK(load(text, &e) == NULL);
	CHECK_HAS(e.msg, message);
}

TEST(bad)
{
	refused("bad/invalid-json.json", "line 1, column 2: invalid JSON");
	refused("bad/linux-hugepage.json", ".linux.resources.hugepageLimits[0].pageSize: \"64kB\"");
	refused("bad/linux-netdevice.json", ".linux.netDevices.eth0.name: 23: must be a string");
	refused("bad/linux-rdma.json", ".linux.resources.rdma.mlx5_1.hcaHandles");
}

/* A bundle in a temporary directory; text: its config.json. */
static char *bundle(const char *text, bool rootfs)
{
	char *dir = xstrdup("/tmp/bailey-test-spec-XXXXXX");
	_cleanup_free_ char *config = NULL, *root = NULL;
	_cleanup_close_ int fd = -EBADF;

	CHECK(mkdtemp(dir) != NULL);
	config = xasprintf("%s/config.json", dir);
	root = xasprintf("%s/rootfs", dir);
	fd = open(config, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	CHECK(fd >= 0 && fd_write_all(fd, text, strlen(text)) == 0);
	if (rootfs)
		CHECK(mkdir(root, 0700) == 0);
	return dir;
}

static void remove_bundle(const char *dir)
{
	_cleanup_free_ char *config = xasprintf("%s/config.json", dir);
	_cleanup_free_ char *root = xasprintf("%s/rootfs", dir);

	unlink(config);
	unlink(root);
	rmdir(root);
	rmdir(dir);
}

TEST(example)
{
	_cleanup_free_ char *text = NULL;
	struct err e = ERR_INIT;
	_cleanup_spec_ struct spec *s = NULL;
	_cleanup_free_ char *dir = NULL, *www = NULL;

	CHECK_INT(file_read(AT_FDCWD, "config.json.example", 1 << 20, &text, NULL, &e), 0);
	if (!text)
		return;
	dir = bundle(text, true);
	CHECK_INT(spec_load(dir, NULL, &s, &e), 0);
	CHECK_STR(e.msg, "");
	if (s) {
		www = xasprintf("%s/www", dir);
		CHECK_STR(s->mounts.v[s->mounts.n - 1].source, www);
		CHECK_STR(s->bundle, dir);
		CHECK(s->seccomp.has && s->process.rlimits.n == 2 && s->uid_mappings.n == 1);
	}
	remove_bundle(dir);
}

TEST(rootfs)
{
	_cleanup_free_ char *dir = bundle(DOC(""), false), *root = xasprintf("%s/rootfs", dir);
	_cleanup_free_ char *want = NULL, *notdir = NULL, *cwd = getcwd(NULL, 0);
	struct err e = ERR_INIT;
	_cleanup_spec_ struct spec *s = NULL;

	CHECK_INT(spec_load(dir, NULL, &s, &e), -ENOENT);
	want = xasprintf("config.json: .root.path: rootfs \"%s\": no such file or directory", root);
	CHECK_STR(e.msg, want);
	CHECK_INT(close(open(root, O_WRONLY | O_CREAT | O_CLOEXEC, 0600)), 0);
	CHECK_INT(spec_load(dir, NULL, &s, &e), -ENOTDIR);
	notdir = xasprintf("config.json: .root.path: rootfs \"%s\": not a directory", root);
	CHECK_STR(e.msg, notdir);
	unlink(root);
	CHECK(mkdir(root, 0700) == 0);
	CHECK_INT(chdir(dir), 0); /* the bundle may be relative */
	CHECK_INT(spec_load(".", NULL, &s, &e), 0);
	if (s)
		CHECK_STR(s->root.path, root);
	CHECK_INT(chdir(cwd), 0);
	remove_bundle(dir);
}

TEST(config_elsewhere)
{
	_cleanup_free_ char *dir = bundle("{}", true);
	_cleanup_free_ char *other = bundle(DOC(""), false);
	_cleanup_free_ char *config = xasprintf("%s/config.json", other);
	_cleanup_free_ char *root = xasprintf("%s/rootfs", dir);
	struct err e = ERR_INIT;
	_cleanup_spec_ struct spec *s = NULL;

	CHECK_INT(spec_load(dir, config, &s, &e), 0);
	if (s)
		CHECK_STR(s->root.path, root);
	remove_bundle(dir);
	CHECK_INT(spec_load(dir, NULL, &s, &e), -ENOENT);
	CHECK_HAS(e.msg, "/config.json: no such file or directory");
	remove_bundle(other);
}

static void check_default(bool rootless)
{
	_cleanup_free_ char *text = spec_default_config(rootless);
	_cleanup_spec_ struct spec *s = must_load(text);

	if (!s)
		return;
	CHECK_STR(s->oci_version, OCI_VERSION);
	CHECK(s->process.terminal && s->process.no_new_privileges && s->root.readonly);
	CHECK_STR(s->process.args.v[0], "sh");
	CHECK_INT(s->process.rlimits.v[0].hard, 1024);
	CHECK_INT(s->process.caps.bounding, 1 << 29 | 1 << 5 | 1 << 10);
	CHECK_INT(s->process.caps.effective, s->process.caps.bounding);
	CHECK(!s->process.caps.ambient && !s->process.caps.inheritable);
	CHECK_INT(s->mounts.n, 7);
	CHECK_INT(s->masked_paths.n, 10);
	CHECK_INT(s->readonly_paths.n, 5);
	CHECK(s->ns[NS_MOUNT].has && s->ns[NS_PID].has && s->ns[NS_IPC].has && s->ns[NS_UTS].has);
	CHECK(s->ns[NS_CGROUP].has);
	CHECK_INT(s->ns[NS_NET].has, !rootless);
	CHECK_INT(s->ns[NS_USER].has, rootless);
	CHECK_INT(strv_contains(s->mounts.v[2].options.v, "gid=5"), !rootless);
	CHECK_INT(strv_contains(s->mounts.v[5].options.v, "rbind"), rootless);
	CHECK_INT(s->resources.devices.n, !rootless);
	if (rootless) {
		CHECK(s->uid_mappings.n == 1 && s->uid_mappings.v[0].host_id == geteuid() &&
		      s->uid_mappings.v[0].container_id == 0 && s->uid_mappings.v[0].size == 1);
		CHECK(s->gid_mappings.n == 1 && s->gid_mappings.v[0].host_id == getegid());
	}
}

TEST(defaults)
{
	check_default(false);
	check_default(true);
}

static bool has_string(const struct json *array, const char *s)
{
	json_foreach (it, array)
		if (streq(it->s, s))
			return true;
	return false;
}

TEST(features)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_free_ char *text = spec_features_json(2, NULL); /* SECCOMP_FILTER_FLAG_LOG */
	_cleanup_free_ char *none = spec_features_json(0, "no /dev/kvm");
	const struct json *j = NULL, *n = NULL, *l, *sc, *prev = NULL;
	struct err e = ERR_INIT;

	CHECK_INT(json_parse(a, "features", text, strlen(text), &j, &e), 0);
	CHECK_INT(json_parse(a, "features", none, strlen(none), &n, &e), 0);
	if (!j || !n)
		return;
	CHECK_STR(json_get(j, "ociVersionMin")->s, "1.0.0");
	CHECK_STR(json_get(j, "ociVersionMax")->s, "1.3.0");
	CHECK_INT(json_get(j, "hooks")->len, HOOK_KINDS);
	CHECK_INT(json_get(j, "mountOptions")->len, mount_opts_n);
	json_foreach (it, json_get(j, "mountOptions")) {
		CHECK(!prev || strcmp(prev->s, it->s) < 0); /* sorted, none twice */
		prev = it;
	}
	l = json_get(j, "linux");
	CHECK_INT(json_get(l, "namespaces")->len, NS_TYPES);
	CHECK_INT(json_get(l, "capabilities")->len, 41);
	CHECK(
	    json_get(json_get(l, "cgroup"), "v2")->b && !json_get(json_get(l, "cgroup"), "v1")->b);
	sc = json_get(l, "seccomp");
	CHECK(has_string(json_get(sc, "actions"), "SCMP_ACT_KILL"));
	CHECK_INT(json_get(sc, "knownFlags")->len, 4);
	CHECK_INT(json_get(sc, "supportedFlags")->len, 1);
	CHECK(has_string(json_get(sc, "supportedFlags"), "SECCOMP_FILTER_FLAG_LOG"));
	sc = json_get(json_get(n, "linux"), "seccomp");
	CHECK_INT(json_get(sc, "supportedFlags")->len, 0);
	CHECK(!json_get(json_get(l, "intelRdt"), "enabled")->b);
	CHECK_STR(
	    json_get(json_get(j, "annotations"), "org.bailey.isolation.levels")->s, "namespace,vm");
	CHECK_STR(json_get(json_get(j, "annotations"), "org.bailey.isolation.vm")->s, "available");
	CHECK_STR(
	    json_get(json_get(n, "annotations"), "org.bailey.isolation.vm")->s, "no /dev/kvm");
}

/* What `features` promises is what the decoder takes: each recognized name is accepted. */
TEST(features_are_true)
{
	_cleanup_arena_ struct arena *a = arena_new();
	_cleanup_free_ char *text = spec_features_json(0, NULL);
	const struct json *j = NULL, *l;
	struct err e = ERR_INIT;

	CHECK_INT(json_parse(a, "features", text, strlen(text), &j, &e), 0);
	if (!j)
		return;
	l = json_get(j, "linux");
	json_foreach (it, json_get(l, "capabilities")) {
		_cleanup_free_ char *c =
		    xasprintf(PROC(",\"capabilities\":{\"bounding\":[\"%s\"]}"), it->s);
		_cleanup_spec_ struct spec *s = must_load(c);

		CHECK(s != NULL);
	}
	json_foreach (it, json_get(json_get(l, "seccomp"), "archs")) {
		_cleanup_free_ char *c =
		    xasprintf(LINUX(",\"seccomp\":{\"defaultAction\":"
				    "\"SCMP_ACT_ALLOW\",\"architectures\":[\"%s\"]}"),
			it->s);
		_cleanup_spec_ struct spec *s = must_load(c);

		CHECK(s != NULL);
	}
	json_foreach (it, json_get(json_get(l, "memoryPolicy"), "modes")) {
		bool none = streq(it->s, "MPOL_DEFAULT") || streq(it->s, "MPOL_LOCAL");
		_cleanup_free_ char *c = xasprintf(LINUX(",\"memoryPolicy\":{\"mode\":\"%s\"%s}"),
		    it->s, none ? "" : ",\"nodes\":\"0\"");
		_cleanup_spec_ struct spec *s = must_load(c);

		CHECK(s != NULL);
	}
}

TEST(state)
{
	struct spec_kv kv[] = { { "a", "b" } };
	const struct spec_map annotations = { kv, 1 }, empty = { 0 };
	struct spec_state s = { .id = "i\"d",
		.status = "running",
		.bundle = "/b",
		.pid = 7,
		.rootfs = "/b/rootfs",
		.created = "2024-01-02T03:04:05.000000006Z",
		.owner = "root",
		.annotations = &annotations };
	_cleanup_free_ char *full = spec_state_json(&s, false), *least = NULL;

	CHECK_STR(full,
	    "{\"ociVersion\":\"1.3.0\",\"id\":\"i\\\"d\",\"pid\":7,\"status\":\"running\","
	    "\"bundle\":\"/b\",\"rootfs\":\"/b/rootfs\",\"created\":"
	    "\"2024-01-02T03:04:05.000000006Z\",\"annotations\":{\"a\":\"b\"},\"owner\":\"root\"}");
	s = (struct spec_state){
		.id = "x", .status = "stopped", .bundle = "/b", .annotations = &empty
	};
	least = spec_state_json(&s, true);
	CHECK_STR(least, "{\n  \"ociVersion\": \"1.3.0\",\n  \"id\": \"x\",\n  \"pid\": 0,\n  "
			 "\"status\": \"stopped\",\n  \"bundle\": \"/b\"\n}");
}

TEST_MAIN(T(good), T(bad), T(example), T(rootfs), T(config_elsewhere), T(defaults), T(features),
    T(features_are_true), T(state))
