"""Namespaces: new, shared with the host, joined by path; user namespaces."""
import subprocess

from lib import kernel
from lib.container import must
from lib.testing import bailey_only, cases, namespaces_only

KINDS = {"pid": "pid", "network": "net", "ipc": "ipc", "uts": "uts", "mount": "mnt",
         "cgroup": "cgroup", "user": "user", "time": "time"}


@namespaces_only("numbers of two kernels")
@cases(**{k: k for k in ("pid", "network", "ipc", "uts", "mount", "cgroup")})
def test_new(t, kind):
    c = t.container()
    c.config.namespace(kind)
    t.ne(c.report()["ns"][KINDS[kind]], kernel.ns_inode(KINDS[kind]))


@namespaces_only("the host's are refused, or the machine's are meant")
@cases(**{k: k for k in ("pid", "network", "ipc", "uts", "cgroup", "user", "time")})
def test_shared_with_the_host(t, kind):
    c = t.container()
    c.config.without_namespace(kind)
    if kind == "uts":
        del c.config["hostname"]
    if kind == "network":
        c.config.drop_mount("/sys")
    t.eq(c.report()["ns"][KINDS[kind]], kernel.ns_inode(KINDS[kind]))


@namespaces_only("a namespace of the host's kernel; the network's has one machine")
@cases(**{k: k for k in ("pid", "network", "ipc", "uts", "cgroup")})
def test_join_by_path(t, kind):
    first = t.container()
    first.config.namespace("cgroup")
    pid = first.sleeping()
    c = t.container()
    if kind == "uts":
        del c.config["hostname"]
    c.config.namespace(kind, f"/proc/{pid}/ns/{KINDS[kind]}")
    r = c.report()
    t.eq(r["ns"][KINDS[kind]], kernel.ns_inode(KINDS[kind], pid))
    c.config.args("/probe", "sleep")
    c.up()
    t.eq(c.exec_report()["ns"][KINDS[kind]], kernel.ns_inode(KINDS[kind], pid), "exec")


@namespaces_only("a network namespace has one machine")
def test_joined_network_is_shared(t):
    """A listener of one is reachable from the other by 127.0.0.1."""
    first = t.container()
    first.up("/bin/nc", "-l", "-p", "7777", "-e", "/bin/echo", "hello over lo")
    c = t.container()
    c.config.namespace("network", f"/proc/{first.pid()}/ns/net")
    r = c.sh("for i in 1 2 3 4 5 6 7 8 9; do nc 127.0.0.1 7777 </dev/null && break; "
             "usleep 100000; done")
    t.eq(must(r).out, "hello over lo\n")


@namespaces_only("a namespace of the host's kernel")
def test_joined_pid_namespace(t):
    first = t.container()
    pid = first.sleeping()
    c = t.container("/probe", "sleep")
    c.config.namespace("pid", f"/proc/{pid}/ns/pid")
    c.up()
    t.has(must(c.exec("/bin/ps")).out, "probe sleep")
    t.ne(c.exec_report()["pid"], 1)
    must(first.kill())
    c.wait_status("stopped")


def test_loopback_is_up(t):
    t.has(must(t.container().sh("ip addr show lo")).out, "127.0.0.1/8")


@namespaces_only("the payload sees the machine's")
def test_named_network_namespace(t):
    """A bind-mounted namespace file, as `ip netns` and CNI make them."""
    f = t.file("netns")
    keeper = subprocess.Popen(["unshare", "-n", "sleep", "1000"])
    t.later(keeper.wait)
    t.later(keeper.kill)
    host = kernel.ns_inode("net")
    while kernel.ns_inode("net", keeper.pid) == host:
        pass
    kernel.mount(f"/proc/{keeper.pid}/ns/net", f, None, kernel.MS_BIND)
    t.later(kernel.umount, f)
    c = t.container()
    c.config.namespace("network", f)
    t.eq(c.report()["ns"]["net"], kernel.ns_inode("net", keeper.pid))


@bailey_only("texts")
@cases(kind=lambda c: c.config.namespace("network", "/proc/self/ns/ipc"),
       missing=lambda c: c.config.namespace("network", "/no/such/ns"),
       file=lambda c: c.config.namespace("network", "/etc/passwd"),
       relative=lambda c: c.config.namespace("network", "ns/net"),
       unknown=lambda c: c.config.namespace("nte"),
       twice=lambda c: c.config.linux["namespaces"].append({"type": "pid"}))
def test_bad_namespace(t, change):
    c = t.container()
    change(c)
    t.fails(c.run(), "linux.namespaces", code=1)


# ---- user namespaces

def _mapped(t, host=100000, size=65536):
    c = t.container()
    c.config.userns(host, size)
    c.bundle.chown(host, host)
    return c


@namespaces_only("the mapping is the host's, not to be seen in the machine")
def test_user_namespace(t):
    c = _mapped(t)
    r = c.report()
    t.eq(r["uid_map"].split(), ["0", "100000", "65536"])
    t.eq(r["gid_map"].split(), ["0", "100000", "65536"])
    t.eq((r["uid"], r["gid"], r["groups"]), ([0] * 3, [0] * 3, []))
    t.ne(r["ns"]["user"], kernel.ns_inode("user"))
    pid = c.up("/probe", "sleep")
    with open(f"/proc/{pid}/status") as f:
        t.eq(next(l for l in f if l.startswith("Uid:")).split()[1:], ["100000"] * 4)
    e = c.exec_report()
    t.eq(e["ns"]["user"], kernel.ns_inode("user", pid))
    t.eq(e["uid"], [0] * 3)


def test_user_in_user_namespace(t):
    c = _mapped(t)
    c.config.process["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [7, 8]}
    r = c.report()
    t.eq((r["uid"][0], r["gid"][0], sorted(r["groups"])), (1000, 1001, [7, 8]))


@bailey_only("texts")
def test_exec_as_a_user_that_is_not_mapped(t):
    c = _mapped(t)
    c.sleeping()
    for user, what in (("70000:0", "uid"), ("0:70000", "gid")):
        t.fails(c.exec("/bin/true", opts=["--user", user]), code=255,
                bailey=(f"process.user.{what}: 70000", "not mapped"))
    t.fails(c.exec("/bin/true", opts=["--additional-gids", "70000"]), code=255,
            bailey=("additionalGids", "not mapped"))


@namespaces_only("the mapping is the host's, not to be seen in the machine")
def test_several_ranges(t):
    c = _mapped(t, size=10)
    for k in ("uidMappings", "gidMappings"):
        c.config.linux[k].append({"containerID": 5000, "hostID": 300000, "size": 3})
    r = c.report()
    t.eq(r["uid_map"].split(), ["0", "100000", "10", "5000", "300000", "3"])


def test_devices_in_user_namespace(t):
    """The host's nodes, bound: mknod is not possible there."""
    c = _mapped(t)
    s = c.probe("stat", "/dev/null", "/dev/zero", "/dev/tty")
    t.eq((s["/dev/null"]["type"], s["/dev/null"]["minor"]), ("char", 3))
    t.exited(c.probe("mknod", "/x", "c", 1, 3), "EPERM")
    t.eq(must(c.sh("echo x > /dev/null; head -c 3 /dev/zero | wc -c")).out.strip(), "3")


def test_mounts_in_user_namespace(t):
    c = _mapped(t)
    d = t.dir("src", 0o777)
    c.config.mount("/m", "bind", d, ["bind", "ro", "nosuid"]).mount(
        "/t", "tmpfs", "tmpfs", ["size=1m"])
    m = {x["target"]: x for x in kernel.parse_mountinfo(c.report()["mountinfo"])}
    t.eq({"ro", "nosuid"} <= set(m["/m"]["options"]), True, m["/m"]["options"])
    t.eq(m["/t"]["type"], "tmpfs")
    t.has(c.sh("touch /m/x").err, "Read-only")
    t.eq(must(c.sh("touch /t/x && stat -c %u:%g /t/x")).out, "0:0\n")


def test_unmapped_files(t):
    """Host's root owns nothing inside."""
    c = _mapped(t)
    d = t.dir("src")
    c.config.mount("/m", "bind", d, ["bind"])
    t.eq(c.probe("stat", "/m")["/m"]["uid"], 65534)
    t.exited(c.probe("write", "/m/x", "y", "wc"), "EACCES")


def test_terminal_in_user_namespace(t):
    c = _mapped(t)
    c.config.args("/bin/sh", "-c", "tty; stat -c %u /dev/console")
    c.config.process["terminal"] = True
    s = t.console_socket()
    must(c.create("--console-socket", s.path))
    m = s.receive()
    must(c.start())
    t.eq(m.read_all().split()[1:], ["0"])
    m.close()


def test_sysctl_in_user_namespace(t):
    c = _mapped(t)
    c.config.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shmmax": "54321"}
    t.eq(must(c.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax")).out.split(),
         ["1", "54321"])


@namespaces_only("a network namespace has one machine")
@bailey_only("runc 1.1 wants mappings too")
def test_join_user_namespace(t):
    first = _mapped(t)
    pid = first.up("/probe", "sleep")
    c = t.container()
    c.bundle.chown(100000, 100000)
    c.config.namespace("user", f"/proc/{pid}/ns/user")
    c.config.namespace("network", f"/proc/{pid}/ns/net")
    r = c.report()
    t.eq(r["ns"]["user"], kernel.ns_inode("user", pid))
    t.eq(r["uid"], [0] * 3)


@bailey_only("texts")
@cases(nomap=lambda c: [c.config.linux.pop(k) for k in ("uidMappings", "gidMappings")],
       zero=lambda c: c.config.linux["uidMappings"][0].update(size=0),
       overlap=lambda c: c.config.linux["uidMappings"].append(
           {"containerID": 5, "hostID": 900000, "size": 5}),
       maps_without_namespace=lambda c: c.config.without_namespace("user"),
       unmapped_user=lambda c: c.config.process.update(user={"uid": 70000, "gid": 0}))
def test_bad_maps(t, change):
    c = _mapped(t)
    change(c)
    t.fails(c.run(), code=1)
    t.true("Mappings" in c.run().err or "process.user" in c.run().err, c.run().err)


@bailey_only("runc 1.1 needs one")
def test_no_mount_namespace_is_refused(t):
    """Without one the container would rearrange the host's mounts."""
    c = t.container("/bin/true")
    c.config.without_namespace("mount")
    t.fails(c.run(), "mount", code=1)


def test_ipc_is_private(t):
    c = t.container()
    t.eq(must(c.sh("cat /proc/sysvipc/shm | wc -l")).out.strip(), "1")
