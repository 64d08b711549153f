#include "tests/unit/namespaces/sandbox.h"

#include <sys/utsname.h>

#include "namespaces/namespaces.h"

static struct spec spec_with(struct spec_kv *kv, const char *key, const char *value)
{
	struct spec s = { 0 };

	kv->key = key;
	kv->value = value;
	s.sysctl.v = kv;
	s.sysctl.n = 1;
	return s;
}

static int check(const char *key, int ns, const char *path, struct err *e)
{
	struct spec_kv kv;
	struct spec s = spec_with(&kv, key, "1");

	*e = (struct err)ERR_INIT;
	if (ns >= 0) {
		s.ns[ns].has = true;
		s.ns[ns].path = path;
	}
	return sysctl_check(&s, e);
}

TEST(needs_the_right_namespace)
{
	static const struct {
		const char *key;
		int ns;
		const char *name;
	} t[] = {
		{ "net.ipv4.ip_forward", NS_NET, "network" },
		{ "net/ipv4/ip_forward", NS_NET, "network" },
		{ "kernel.sem", NS_IPC, "ipc" },
		{ "kernel.shm_rmid_forced", NS_IPC, "ipc" },
		{ "kernel/msgmax", NS_IPC, "ipc" },
		{ "fs.mqueue.msg_max", NS_IPC, "ipc" },
		{ "kernel.domainname", NS_UTS, "uts" },
		{ "user.max_user_namespaces", NS_USER, "user" },
	};
	struct err e;

	for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
		CHECK_INT(check(t[i].key, t[i].ns, NULL, &e), 0);
		CHECK_INT(check(t[i].key, -1, NULL, &e), -EINVAL);
		CHECK_HAS(e.msg, t[i].name);
		CHECK_HAS(e.msg, t[i].key);
		CHECK_INT(check(t[i].key, NS_CGROUP, NULL, &e), -EINVAL);
	}
}

TEST(refuses_the_hosts)
{
	static const char *const keys[] = { "kernel.core_pattern", "vm.swappiness", "net",
		"netx.foo", "kernel.semx", "fs.file-max", "kernel.modprobe", "kernel.sem.x" };
	struct err e;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		for (int ns = 0; ns < NS_TYPES; ns++)
			CHECK_INT(check(keys[i], ns, NULL, &e), -EINVAL);
	CHECK_INT(check("kernel.hostname", NS_UTS, NULL, &e), -EINVAL);
	CHECK_HAS(e.msg, ".hostname");
	/* A namespace by path that is the host's, or cannot be told from it. */
	CHECK_INT(check("net.core.somaxconn", NS_NET, "/proc/self/ns/net", &e), -EINVAL);
	CHECK_HAS(e.msg, "host");
	CHECK_INT(check("net.core.somaxconn", NS_NET, "/nonexistent", &e), -EINVAL);
}

TEST(refuses_odd_names)
{
	static const char *const keys[] = { "", ".", "net.", "net..core", "net/../kernel/modprobe",
		"net/./x", "/net/core/somaxconn", "net/core/", "net//core", "net.//.x" };
	struct err e;

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++)
		CHECK_INT(check(keys[i], NS_NET, NULL, &e), -EINVAL);
	/* Dots separate, so the slashes are a part of the name: "..", spelt with '/'. */
	CHECK_INT(check("net.//.kernel", NS_NET, NULL, &e), -EINVAL);
}

TEST(domainname_may_not_contradict)
{
	struct spec_kv kv;
	struct spec s = spec_with(&kv, "kernel.domainname", "a.example");
	struct err e = ERR_INIT;

	s.ns[NS_UTS].has = true;
	s.domainname = "a.example";
	CHECK_INT(sysctl_check(&s, &e), 0);
	s.domainname = "b.example";
	CHECK_INT(sysctl_check(&s, &e), -EINVAL);
	CHECK_HAS(e.msg, "b.example");
	s.domainname = NULL;
	kv.value = "";
	CHECK_INT(sysctl_check(&s, &e), -EINVAL);
}

static int apply(int procfd, const char *key, const char *value, struct err *e)
{
	struct spec_kv kv;
	struct spec s = spec_with(&kv, key, value);

	*e = (struct err)ERR_INIT;
	return sysctl_apply(&s, procfd, e);
}

static void apply_body(int rootfd)
{
	int procfd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct err e;
	char buf[64];

	CHECK_INT(apply(procfd, "net.ipv4.ip_forward", "1", &e), 0);
	CHECK_STR(e.msg, "");
	CHECK_STR(slurp("/proc/sys/net/ipv4/ip_forward", buf, sizeof(buf)), "1\n");
	CHECK_INT(apply(procfd, "net/ipv4/ip_forward", "0", &e), 0);
	CHECK_STR(slurp("/proc/sys/net/ipv4/ip_forward", buf, sizeof(buf)), "0\n");
	CHECK_INT(apply(procfd, "kernel.domainname", "inner", &e), 0);
	CHECK_STR(slurp("/proc/sys/kernel/domainname", buf, sizeof(buf)), "inner\n");
	CHECK_INT(apply(procfd, "kernel.msgmax", "4096", &e), 0);
	CHECK_STR(slurp("/proc/sys/kernel/msgmax", buf, sizeof(buf)), "4096\n");
	CHECK_INT(apply(procfd, "net.ipv4.nosuch", "1", &e), -ENOENT);
	CHECK_HAS(e.msg, "net.ipv4.nosuch");
	CHECK_INT(apply(procfd, "net.ipv4.ip_default_ttl", "nonsense", &e), -EINVAL);
	CHECK_HAS(e.msg, "nonsense");
	close(procfd);
}
TEST(apply_writes)
{
	in_sandbox(CLONE_NEWNET | CLONE_NEWUTS | CLONE_NEWIPC, apply_body);
}

/* Both key forms name an interface with a dot in it. */
static void dotted_body(int rootfd)
{
	int procfd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct err e;
	char buf[64];

	if (system("ip link add a.b type bridge 2>/dev/null") != 0) {
		printf("# SKIP no ip(8) or no bridges\n");
		return;
	}
	CHECK_INT(apply(procfd, "net.ipv4.conf.a/b.forwarding", "1", &e), 0);
	CHECK_STR(slurp("/proc/sys/net/ipv4/conf/a.b/forwarding", buf, sizeof(buf)), "1\n");
	CHECK_INT(apply(procfd, "net/ipv4/conf/a.b/forwarding", "0", &e), 0);
	CHECK_STR(slurp("/proc/sys/net/ipv4/conf/a.b/forwarding", buf, sizeof(buf)), "0\n");
	close(procfd);
}
TEST(dotted_interface)
{
	in_sandbox(CLONE_NEWNET, dotted_body);
}

/* A tree that only looks like /proc, and a real one with something mounted over it. */
static void fake_proc_body(int rootfd)
{
	int fake, procfd;
	struct err e;
	char buf[64];

	mkdir(SANDBOX "/sys", 0755);
	mkdir(SANDBOX "/sys/net", 0755);
	make_file(SANDBOX "/sys/net/x", "");
	fake = open(SANDBOX, O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(apply(fake, "net.x", "1", &e), -EINVAL);
	CHECK_HAS(e.msg, "procfs");
	close(fake);
	fake = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(apply(fake, "net.core.somaxconn", "1", &e), -EINVAL);
	close(fake);
	CHECK_INT(mount(SANDBOX "/sys", "/proc/sys", NULL, MS_BIND, NULL), 0);
	procfd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	CHECK_INT(apply(procfd, "net.x", "1", &e), -EXDEV);
	CHECK_INT(umount("/proc/sys"), 0);
	CHECK_INT(mount(SANDBOX "/sys/net", "/proc/sys/net", NULL, MS_BIND, NULL), 0);
	CHECK_INT(apply(procfd, "net.x", "1", &e), -EXDEV);
	CHECK_STR(slurp(SANDBOX "/sys/net/x", buf, sizeof(buf)), "");
	/* The same file system at another place: LSM writes were redirected so. */
	CHECK_INT(umount("/proc/sys/net"), 0);
	CHECK_INT(mount("/proc/sys/kernel/domainname", "/proc/sys/net/core/somaxconn", NULL,
		      MS_BIND, NULL),
	    0);
	CHECK_INT(apply(procfd, "net.core.somaxconn", "redirected", &e), -EXDEV);
	close(procfd);
}
TEST(fake_proc)
{
	in_sandbox(CLONE_NEWNET | CLONE_NEWUTS, fake_proc_body);
}

TEST_MAIN(T(needs_the_right_namespace), T(refuses_the_hosts), T(refuses_odd_names),
    T(domainname_may_not_contradict), T(apply_writes), T(dotted_interface), T(fake_proc))
