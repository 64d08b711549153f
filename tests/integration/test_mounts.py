"""config.json's mounts as the container sees them."""
import os

from lib import kernel, leaks
from lib.container import must
from lib.kernel import parse_mountinfo
from lib.testing import bailey_only, cases, namespaces_only


def _mounts(report):
    return {m["target"]: m for m in parse_mountinfo(report["mountinfo"])}


def _run(c):
    return _mounts(c.report())


def test_default_mounts(t):
    m = _run(t.container())
    for target, kind in (("/proc", "proc"), ("/dev", "tmpfs"), ("/dev/pts", "devpts"),
                         ("/dev/shm", "tmpfs"), ("/dev/mqueue", "mqueue"), ("/sys", "sysfs")):
        t.eq(m[target]["type"], kind, target)
    for o in ("nosuid", "noexec", "nodev", "ro"):
        t.has(m["/sys"]["options"], o)
    t.has(m["/dev/shm"]["super"], "size=65536k")
    t.has(m["/dev/pts"]["super"], "ptmxmode=666")
    t.has(m["/dev/pts"]["super"], "gid=5")
    t.has(m["/dev/pts"]["super"], "mode=620")


def test_nothing_of_the_host(t):
    """No mount of the host's tree is left: every mount hangs below the root."""
    r = t.container().report()
    mounts = parse_mountinfo(r["mountinfo"])
    ids = {m["id"] for m in mounts}
    t.eq([m["target"] for m in mounts if m["parent"] not in ids], ["/"])
    t.lacks(r["mountinfo"], t.tmp + "/root")


def test_bind(t):
    d = t.dir("src")
    t.file("src/f", "host\n")
    c = t.container()
    c.config.mount("/m/deep", "bind", d, ["bind"])
    t.eq(must(c.sh("cat /m/deep/f; echo in > /m/deep/g")).out, "host\n")
    t.eq(open(d + "/g").read(), "in\n")


def test_bind_without_type(t):
    d = t.dir("src")
    c = t.container()
    c.config.mount("/m", None, d, ["rbind", "ro"])
    must(c.sh("test -d /m"))
    t.has(c.sh("touch /m/x").err, "Read-only")


def test_bind_file(t):
    f = t.file("file", "content\n")
    c = t.container()
    c.config.mount("/etc/deep/new", "bind", f, ["bind", "ro"])
    t.eq(must(c.sh("cat /etc/deep/new")).out, "content\n")
    t.has(c.sh("echo x > /etc/deep/new").err, "Read-only")


def test_bind_relative_source(t):
    """Relative to the bundle."""
    c = t.container()
    os.mkdir(os.path.join(c.bundle.path, "data"))
    c.config.mount("/m", "bind", "data", ["bind"])
    must(c.sh("touch /m/x"))
    t.true(os.path.exists(os.path.join(c.bundle.path, "data/x")), "written below the bundle")


def test_bind_missing_source(t):
    c = t.container()
    c.config.mount("/m", "bind", t.tmp + "/nosuch", ["bind"])
    t.fails(c.run(), "no such file", bailey=("/nosuch", "mounts["))


@cases(
    ro=(["ro"], ["ro"], []), rw=(["rw"], ["rw"], []), nosuid=(["nosuid"], ["nosuid"], []),
    nodev=(["nodev"], ["nodev"], []), noexec=(["noexec"], ["noexec"], []),
    all=(["ro", "nosuid", "nodev", "noexec"], ["ro", "nosuid", "nodev", "noexec"], []),
    clear=(["noexec", "exec"], [], ["noexec"]), last=(["ro", "rw"], ["rw"], ["ro"]),
    noatime=(["noatime"], ["noatime"], []), nodiratime=(["nodiratime"], ["nodiratime"], []),
    strictatime=(["strictatime"], [], ["relatime", "noatime"]),
    relatime=(["relatime"], ["relatime"], []))
def test_attributes(t, options, want, absent):
    """On a bind and on a filesystem of its own."""
    d = t.dir("src")
    c = t.container()
    c.config.mount("/bind", "bind", d, ["bind", *options])
    c.config.mount("/fs", "tmpfs", "tmpfs", options)
    m = _run(c)
    for target in ("/bind", "/fs"):
        for o in want:
            t.has(m[target]["options"], o, target)
        for o in absent:
            t.lacks(m[target]["options"], o, target)


@bailey_only("nosymfollow is newer than runc 1.1")
def test_nosymfollow(t):
    d = t.dir("src")
    os.symlink("/etc/passwd", d + "/l")
    c = t.container()
    c.config.mount("/m", "bind", d, ["bind", "nosymfollow"])
    t.has(c.sh("cat /m/l").err, "symbolic link")


@namespaces_only("the machine has one mount for all of a bind")
def test_recursive_attributes(t):
    """`ro` is for the top mount, `rro` for all below."""
    d = t.dir("src/sub")
    kernel.mount("tmpfs", d, "tmpfs")
    t.later(kernel.umount, d)
    for option, writable in (("ro", True), ("rro", False)):
        c = t.container()
        c.config.mount("/m", "bind", t.tmp + "/src", ["rbind", option])
        r = c.sh("touch /m/x && echo no; touch /m/sub/x && echo sub")
        t.eq(r.out, "sub\n" if writable else "", option)


def test_bind_is_not_recursive(t):
    d, other = t.dir("src/sub"), t.dir("other")  # tmpfs learnt id-mapping only in Linux 6.3
    kernel.mount(other, d, None, kernel.MS_BIND)
    t.later(kernel.umount, d)
    t.file("src/sub/f")
    for option, want in (("bind", ""), ("rbind", "f\n")):
        c = t.container()
        c.config.mount("/m", "bind", t.tmp + "/src", [option])
        t.eq(must(c.sh("ls /m/sub")).out, want, option)


def test_tmpfs(t):
    c = t.container()
    c.config.mount("/t", "tmpfs", "tmpfs", ["size=1m", "mode=1711", "uid=5", "gid=6",
                                            "nr_inodes=100"])
    s = c.probe("stat", "/t")["/t"]
    t.eq((s["fstype"], s["fsbytes"], s["mode"], s["uid"], s["gid"]),
         (kernel.TMPFS_MAGIC, 1 << 20, 0o1711, 5, 6))
    t.eq(s["fsinodes"], 100)


def test_tmpcopyup(t):
    c = t.container()
    c.bundle.put("opt/a/b", "deep\n", 0o640)
    os.chown(c.bundle.at("opt/a"), 7, 8)
    os.symlink("b", c.bundle.at("opt/a/l"))
    c.config.mount("/opt", "tmpfs", "tmpfs", ["tmpcopyup", "size=1m"])
    r = must(c.sh("cat /opt/a/b; stat -c '%a %u:%g' /opt/a/b /opt/a; readlink /opt/a/l; "
                  "echo new > /opt/x"))
    t.eq(r.out.split("\n")[:4], ["deep", "640 0:0", "755 7:8", "b"])
    t.true(not os.path.exists(c.bundle.at("opt/x")), "writes stay in the tmpfs")


def test_order_and_cover(t):
    """Later mounts lie on top of earlier ones, also at the same place."""
    a, b = t.file("a", "a\n"), t.file("b", "b\n")
    c = t.container()
    c.config.mount("/m/f", "bind", a, ["bind"]).mount("/m/f", "bind", b, ["bind"])
    c.config.mount("/etc", "tmpfs", "tmpfs").mount("/etc/a", "bind", a, ["bind"])
    t.eq(must(c.sh("cat /m/f /etc/a; ls /etc")).out, "b\na\na\n")


def test_destination_through_symlink(t):
    """A symlink on the way is resolved inside the root."""
    c = t.container()
    os.symlink("/real", c.bundle.at("link"))
    os.symlink("../../../../../..", c.bundle.at("up"))
    os.mkdir(c.bundle.at("real"))
    d = t.dir("src")
    t.file("src/f", "x\n")
    c.config.mount("/link/m", "bind", d, ["bind"]).mount("/up/real/n", "bind", d, ["bind"])
    t.eq(must(c.sh("cat /real/m/f /real/n/f")).out, "x\nx\n")


@cases(private="private", slave="slave", shared="shared", unbindable="unbindable",
       rprivate="rprivate", rslave="rslave", rshared="rshared", runbindable="runbindable")
def test_propagation_of_a_mount(t, option):
    src = t.shared_mount("src")
    c = t.container()
    c.config.mount("/m", "bind", src, ["rbind", option])
    m = _run(c)["/m"]["propagation"]
    kind = option[1:] if option[0] == "r" else option
    if kind == "shared":
        t.has(m, "shared")
    else:
        t.eq(m, {"private": [], "unbindable": ["unbindable"],
                 "slave": [] if t.in_machine else ["master"]}[kind])  # its master is the host's


def test_slave_receives_host_mounts(t):
    src = t.shared_mount("src")
    c = t.container("/probe", "sleep")
    c.config.mount("/m", "bind", src, ["rbind", "rslave"])
    c.up()
    os.mkdir(src + "/later")
    kernel.mount("tmpfs", src + "/later", "tmpfs")
    t.later(kernel.umount, src + "/later")
    with open(src + "/later/f", "w") as f:
        f.write("seen")
    t.eq(must(c.exec("/bin/cat", "/m/later/f")).out, "seen")


def test_nothing_propagates_into_the_host(t):
    """Mounts of the set-up and of the payload stay inside, though the host's tree is shared."""
    src = t.shared_mount("src")
    before = leaks.mounts(t.tmp)
    c = t.container()
    c.config.mount("/m", "bind", src, ["rbind"]).mount("/m/inner", "tmpfs", "tmpfs")
    c.config.caps(**{k: ["CAP_SYS_ADMIN"] for k in ("bounding", "effective", "permitted")})
    must(c.sh("mkdir /m/x; mount -t tmpfs none /m/x && mount -t tmpfs none /mnt"))
    t.eq(leaks.mounts(t.tmp), before, "the host's mounts")


@cases(none=(None, []), private=("private", []), rprivate=("rprivate", []),
       slave=("slave", []), rslave=("rslave", []), shared=("shared", ["shared"]),
       unbindable=("unbindable", ["unbindable"]))
def test_rootfs_propagation(t, value, want):
    t.need(t.is_bailey or not want, "runc applies these to the parent mount")
    c = t.container()
    if value:
        c.config.linux["rootfsPropagation"] = value
    m = _run(c)["/"]["propagation"]
    t.eq([p for p in m if p != "master"], want)


def test_readonly_root(t):
    c = t.container()
    c.config["root"]["readonly"] = True
    r = c.sh("touch /x || echo ro; touch /dev/shm/y && echo shm")
    t.eq(r.out, "ro\nshm\n")
    t.true(not os.path.exists(c.bundle.at("x")), "nothing written")
    c.config.args("/probe")
    t.has(_run(c)["/"]["options"], "ro")


def test_readonly_dev(t):
    c = t.container()
    c.config.find_mount("/dev")["options"].append("ro")
    r = c.sh("touch /dev/x || echo ro; echo y > /dev/null && ls /dev/null")
    t.eq(r.out, "ro\n/dev/null\n")


def test_idmapped_mount(t):
    d = t.dir("src")
    for n, uid in (("a", 0), ("b", 1000)):
        t.file(f"src/{n}")
        os.chown(f"{d}/{n}", uid, uid)
    t.need(t.is_bailey, "idmapped mounts are newer than runc 1.1")
    c = t.container()
    ids = [{"containerID": 0, "hostID": 5000, "size": 2000}]
    c.config.mount("/m", "bind", d, ["bind", "idmap"], uidMappings=ids, gidMappings=ids)
    s = c.probe("stat", "/m/a", "/m/b")
    t.eq((s["/m/a"]["uid"], s["/m/b"]["uid"], s["/m/b"]["gid"]), (5000, 6000, 6000))


@bailey_only("idmapped mounts are newer than runc 1.1")
def test_idmap_of_the_user_namespace(t):
    """`idmap` without maps uses the container's: files of host 0 are root's inside."""
    d = t.dir("src")
    t.file("src/a", "x")
    c = t.container()
    c.config.userns()
    c.bundle.chown(100000, 100000)
    c.config.mount("/m", "bind", d, ["bind", "idmap"])
    s = c.probe("stat", "/m/a")["/m/a"]
    t.eq((s["uid"], s["gid"]), (0, 0))


@bailey_only("ridmap is newer than runc 1.1")
def test_ridmap(t):
    d, other = t.dir("src/sub"), t.dir("other")  # tmpfs learnt id-mapping only in Linux 6.3
    kernel.mount(other, d, None, kernel.MS_BIND)
    t.later(kernel.umount, d)
    t.file("src/sub/f")
    ids = [{"containerID": 0, "hostID": 5000, "size": 2000}]
    for option, uid in (("idmap", 0), ("ridmap", 5000)):
        c = t.container()
        c.config.mount("/m", "bind", t.tmp + "/src", ["rbind", option], uidMappings=ids,
                       gidMappings=ids)
        t.eq(c.probe("stat", "/m/sub/f")["/m/sub/f"]["uid"], uid, option)


@cases(unknown_type=(dict(type_="nosuchfs", source="x"), "nosuchfs"),
       no_type=(dict(source="x"), "mounts["),
       bad_data=(dict(type_="tmpfs", source="tmpfs", options=["size=fish"]), "size"),
       contradiction=(dict(type_="tmpfs", source="tmpfs", options=["idmap"]), "idmap"))
@bailey_only("texts; runc lets some pass")
def test_bad_mount(t, what, text):
    c = t.container()
    c.config.mount(what.pop("destination", "/m"), **what)
    t.fails(c.run(), "mounts[", code=1, bailey=text)


def test_sysfs_and_proc_views(t):
    """proc is of the container's pid namespace, sysfs of its network namespace."""
    r = must(t.container().sh("ls /proc | grep -c '^[0-9]'; ls /sys/class/net"))
    t.true(int(r.out.split()[0]) <= 3, "few processes")
    t.eq(r.out.split()[1:], ["lo"])


def test_cgroup_mount(t):
    c = t.container("/bin/cat", "/sys/fs/cgroup/cgroup.procs")
    c.config.namespace("cgroup")
    c.config.mount("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "ro"])
    t.has(must(c.run()).out.split(), "1", "own cgroup at the top")
    c.config.args("/probe", "write", "/sys/fs/cgroup/cgroup.max.depth", "5")
    t.exited(must(c.run()).json(), "EROFS")


@bailey_only("runc shows the whole hierarchy")
def test_cgroup_mount_without_namespace(t):
    c = t.container("/bin/cat", "/sys/fs/cgroup/cgroup.procs")
    c.config.mount("/sys/fs/cgroup", "cgroup", "cgroup", ["nosuid", "noexec", "nodev", "ro"])
    t.eq(must(c.run()).out.split(), ["1"], "the container's own cgroup")


def test_mount_on_proc_refused(t):
    """Over /proc only a procfs may go, and below it nothing but a few files."""
    d = t.dir("fake")
    c = t.container()
    c.config.drop_mount("/proc").mount("/proc", "bind", d, ["bind"])
    if t.is_bailey:
        t.fails(c.run(), bailey="/proc")
    c = t.container()
    c.config.mount("/proc/self/attr", "bind", d, ["bind"])
    t.fails(c.run())


def test_host_tree_may_go_away(t):
    """A source that is unmounted on the host stays usable inside; nothing pins the host's."""
    d = t.dir("src")
    kernel.mount("tmpfs", d, "tmpfs")
    with open(d + "/f", "w") as f:
        f.write("kept")
    c = t.container()
    c.config.mount("/m", "bind", d, ["bind"])
    c.up("/probe", "sleep")
    kernel.umount(d, 0)
    t.eq(must(c.exec("/bin/cat", "/m/f")).out, "kept")


@namespaces_only("refused: the monitor must not keep the host's root")
def test_no_pivot(t):
    c = t.container()
    r = c.report("--no-pivot")
    t.eq(r["root"], "/")
    t.eq(must(c.sh("ls -d /probe", "--no-pivot")).out, "/probe\n")


def test_mount_in_shell_needs_capability(t):
    t.exited(t.container().probe("mount", "none", "/mnt", "tmpfs"), "EPERM")
