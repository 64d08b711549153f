"""Masked and read-only paths, devices, links in /dev, sysctls."""
import os
import stat

from lib import kernel
from lib.container import must
from lib.testing import bailey_only, cases


def test_masked_file(t):
    c = t.container()
    c.bundle.put("secret", "text")
    c.config.linux["maskedPaths"] = ["/secret", "/no/such/path"]
    r = must(c.sh("cat /secret; echo x > /secret; stat -c %t:%T /secret"))
    t.eq(r.out, "1:3\n", "reads as /dev/null")
    t.eq(open(c.bundle.at("secret")).read(), "text", "the file itself")


def test_masked_directory(t):
    c = t.container()
    c.bundle.put("hidden/f", "text")
    c.config.linux["maskedPaths"] = ["/hidden"]
    t.has(c.sh("ls -A /hidden; touch /hidden/x").err, "Read-only")
    s = c.probe("stat", "/hidden", "/hidden/f")
    t.eq(s["/hidden"]["fstype"], kernel.TMPFS_MAGIC)
    t.eq(s["/hidden/f"]["errno"], "ENOENT")


def test_masked_defaults(t):
    r = must(t.container().sh("wc -c < /proc/keys; wc -c < /proc/timer_list; "
                              "ls -A /sys/firmware | wc -l; ls -A /proc/acpi | wc -l"))
    t.eq(r.out.split(), ["0", "0", "0", "0"])


def test_masked_survives_its_own_umount(t):
    """Without capabilities over the mounts they cannot be taken off."""
    t.exited(t.container().probe("umount", "/proc/keys"), "EPERM")


def test_readonly_paths(t):
    c = t.container()
    c.bundle.put("ro/f", "text")
    c.config.linux["readonlyPaths"] += ["/ro", "/no/such"]
    r = c.sh("touch /ro/x; cat /ro/f; echo 1 > /proc/sys/kernel/domainname")
    t.eq(r.out, "text")
    t.eq(r.err.count("Read-only"), 2, r.err)


def test_readonly_paths_keep_flags(t):
    c = t.container()
    c.config.mount("/m", "tmpfs", "tmpfs", ["nosuid", "nodev", "noexec"])
    c.config.linux["readonlyPaths"] = ["/m"]
    flags = c.probe("stat", "/m")["/m"]["fsflags"]
    t.eq(flags & 15, kernel.MS_RDONLY | kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC)


DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9),
           "tty": (5, 0)}


def test_default_devices(t):
    s = t.container().probe("stat", *("/dev/" + d for d in DEVICES))
    for d, (major, minor) in DEVICES.items():
        e = s["/dev/" + d]
        t.eq((e["type"], e["major"], e["minor"], e["mode"], e["uid"]),
             ("char", major, minor, 0o666, 0), d)


def test_devices_work(t):
    r = must(t.container().sh("echo x > /dev/null; head -c 4 /dev/zero | wc -c; "
                              "head -c 4 /dev/urandom | wc -c; echo x > /dev/full || echo full"))
    t.eq(r.out.split(), ["4", "4", "full"])


def test_dev_links(t):
    s = t.container().probe("stat", "/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr",
                            "/dev/ptmx")
    for name, link in (("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0"),
                       ("stdout", "/proc/self/fd/1"), ("stderr", "/proc/self/fd/2")):
        t.eq(s["/dev/" + name].get("link"), link, name)
    t.true(s["/dev/ptmx"].get("link") in ("pts/ptmx", "/dev/pts/ptmx"), "ptmx of the container")
    r = must(t.container().sh("echo via > /dev/stdout"))
    t.eq(r.out, "via\n")


def test_extra_devices(t):
    c = t.container()
    c.config.linux["devices"] = [
        {"path": "/dev/deep/er/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640,
         "uid": 7, "gid": 8},
        {"path": "/dev/blk", "type": "b", "major": 7, "minor": 0},
        {"path": "/dev/pipe", "type": "p", "fileMode": 0o600},
        {"path": "/etc/elsewhere", "type": "u", "major": 1, "minor": 3, "fileMode": 0o444}]
    if t.in_machine:  # which has none of the host's
        c.config.linux["devices"][1]["type"] = "c"
        c.config.linux["devices"][1].update(major=1, minor=5)
    s = c.probe("stat", "/dev/deep/er/fuse", "/dev/blk", "/dev/pipe", "/etc/elsewhere")
    e = s["/dev/deep/er/fuse"]
    t.eq((e["type"], e["major"], e["minor"], e["mode"], e["uid"], e["gid"]),
         ("char", 10, 229, 0o640, 7, 8))
    t.eq((s["/dev/blk"]["type"], s["/dev/blk"]["major"]),
         ("char", 1) if t.in_machine else ("block", 7))
    t.eq((s["/dev/pipe"]["type"], s["/dev/pipe"]["mode"]), ("fifo", 0o600))
    t.eq((s["/etc/elsewhere"]["type"], s["/etc/elsewhere"]["mode"]), ("char", 0o444))


@bailey_only("runc loses the default rule then")
def test_device_overrides_default(t):
    c = t.container()
    c.config.linux["devices"] = [{"path": "/dev/null", "type": "c", "major": 1, "minor": 3,
                                  "fileMode": 0o600}]
    t.eq(c.probe("stat", "/dev/null")["/dev/null"]["mode"], 0o600)


@cases(nomajor=({"path": "/dev/x", "type": "c"}, "major"),
       badtype=({"path": "/dev/x", "type": "z", "major": 1, "minor": 1}, "type"),
       relative=({"path": "dev/x", "type": "c", "major": 1, "minor": 1}, "path"))
@bailey_only("texts")
def test_bad_device(t, device, text):
    c = t.container()
    c.config.linux["devices"] = [device]
    t.fails(c.run(), "linux.devices[0]", code=1, bailey=text)


def test_device_cgroup(t):
    """Rules: nothing but the defaults; mknod of the rest fails even with CAP_MKNOD."""
    c = t.container()
    c.config.caps(**{k: ["CAP_MKNOD"] for k in ("bounding", "effective", "permitted")})
    c.config.linux["resources"]["devices"] = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "r"}]
    c.config.linux["devices"] = [{"path": "/fuse", "type": "c", "major": 10, "minor": 229}]
    t.exited(c.probe("mknod", "/loop", "b", 7, 0))  # mknod alone of any is a default rule
    t.exited(c.probe("open", "/loop", "r"), "EPERM")
    t.exited(c.probe("open", "/fuse", "rw"), "EPERM")
    t.exited(c.probe("open", "/dev/null", "rw"))
    got = c.probe("open", "/fuse", "r")
    t.true(got.get("errno") in (None, "ENXIO", "ENODEV"), f"read is allowed by a rule: {got}")


def test_device_cgroup_order(t):
    """A later rule overrides an earlier one."""
    c = t.container()
    os.mknod(c.bundle.at("zero"), 0o666 | stat.S_IFCHR, os.makedev(1, 5))
    os.mknod(c.bundle.at("mem"), 0o666 | stat.S_IFCHR, os.makedev(1, 1))
    rules = [{"allow": True, "access": "rwm"},
             {"allow": False, "type": "c", "major": 1, "minor": 1, "access": "rwm"}]
    c.config.linux["resources"]["devices"] = rules
    c.config.caps(**{k: ["CAP_SYS_RAWIO"] for k in ("bounding", "effective", "permitted")})
    t.exited(c.probe("open", "/mem", "r"), "EPERM")
    t.exited(c.probe("open", "/zero", "rw"))


# ---- sysctls

def test_sysctl(t):
    c = t.container()
    c.config.linux["sysctl"] = {"net.ipv4.ip_forward": "1", "kernel.shmmax": "12345",
                                "kernel/domainname": "dom.example", "fs.mqueue.msg_max": "9"}
    host = {p: open("/proc/sys/" + p).read() for p in ("net/ipv4/ip_forward", "kernel/shmmax")}
    r = must(c.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/kernel/shmmax "
                  "/proc/sys/kernel/domainname /proc/sys/fs/mqueue/msg_max"))
    t.eq(r.out.split(), ["1", "12345", "dom.example", "9"])
    for p, v in host.items():
        t.eq(open("/proc/sys/" + p).read(), v, f"host's {p}")


@cases(unknown=("net.ipv4.no_such_thing", "1", None), value=("net.ipv4.ip_forward", "x", None),
       global_=("kernel.panic", "1", None), vm=("vm.swappiness", "1", None),
       dots=("net/../kernel/panic", "1", None), host_net=("net.ipv4.ip_forward", "1", "network"),
       host_ipc=("kernel.shmmax", "1", "ipc"))
def test_bad_sysctl(t, name, value, shared):
    c = t.container()
    if shared:
        c.config.without_namespace(shared)
    c.config.linux["sysctl"] = {name: value}
    before = open("/proc/sys/kernel/panic").read()
    t.fails(c.run(), code=1, bailey=("sysctl", name))
    t.eq(open("/proc/sys/kernel/panic").read(), before, "the host's value")


def test_hostname_and_domainname(t):
    c = t.container()
    c.config["hostname"] = "a-host"
    c.config["domainname"] = "a.domain"
    host = os.uname().nodename
    r = c.report()
    t.eq(r["hostname"], "a-host")
    if t.is_bailey:
        t.eq(r["domainname"], "a.domain")
    t.eq(os.uname().nodename, host, "the host's name")
    c.config.without_namespace("uts")
    t.fails(c.run(), code=1, bailey="hostname")
