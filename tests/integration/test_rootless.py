"""An ordinary user's containers: with the one id, and with a range through newuidmap."""
import os
import shutil

from lib import host, kernel
from lib.container import must
from lib.testing import bailey_only, cases

SINGLE, RANGE = "single", "range"


def _rootless(t, kind, *argv):
    uid = host.SINGLE_UID if kind == SINGLE else host.TEST_UID
    if kind == RANGE:
        t.need(shutil.which("newuidmap"), "newuidmap is not installed (package uidmap)")
    rt = t.as_user(uid)
    c = t.container(*argv, cgroups_path=False, runtime=rt)
    c.config.rootless(uid, uid, host.SUBID if kind == RANGE else None)
    if t.in_machine:  # which cannot have the host's
        c.config.namespace("network")
    c.bundle.chown(uid, uid)
    os.chown(c.bundle.path, uid, uid)
    return c, uid


@cases(single=SINGLE, range=RANGE)
def test_run(t, kind):
    c, uid = _rootless(t, kind)
    r = c.report()
    t.eq((r["uid"], r["gid"], r["pid"]), ([0] * 3, [0] * 3, 1))
    t.eq(r["hostname"], "bailey-test")
    t.eq(sorted(r["caps"]["effective"]),
         ["cap_audit_write", "cap_kill", "cap_net_bind_service"])
    if t.in_machine:  # the mapping is the host's
        return
    maps = [l.split() for l in r["uid_map"].splitlines()]
    want = [["0", str(uid), "1"]]
    if kind == RANGE:
        want.append(["1", str(host.SUBID[0]), str(host.SUBID[1])])
    t.eq(maps, want)
    t.eq([l.split() for l in r["gid_map"].splitlines()], want)
    t.eq(r["setgroups"].strip(), "deny" if kind == SINGLE else "allow")
    t.ne(r["ns"]["user"], kernel.ns_inode("user"))


@cases(single=SINGLE, range=RANGE)
def test_lifecycle(t, kind):
    c, uid = _rootless(t, kind, "/probe", "sleep")
    must(c.create())
    t.eq(c.status(), "created")
    pid = c.pid()
    must(c.start())
    t.eq(c.status(), "running")
    t.eq(os.stat(f"/proc/{pid}").st_uid in (uid, 0), True)
    r = c.exec_report()
    if not t.in_machine:
        t.eq(r["ns"]["user"], kernel.ns_inode("user", pid))
    t.eq(r["uid"], [0] * 3)
    t.eq(c.exec("/probe", "exit", "33").code, 33)
    must(c.kill())
    c.wait_status("stopped")
    must(c.delete())


def test_user_of_the_range(t):
    c, _ = _rootless(t, RANGE)
    groups = {"additionalGids": [2000]} if t.is_bailey else {}  # runc 1.1 refuses them
    c.config.process["user"] = {"uid": 1000, "gid": 1001, **groups}
    r = c.report()
    t.eq((r["uid"][0], r["gid"][0], r["groups"]), (1000, 1001, groups.get("additionalGids", [])))


def test_files_belong_to_the_user(t):
    c, uid = _rootless(t, SINGLE)
    must(c.sh("echo x > /made"))
    t.eq(os.stat(c.bundle.at("made")).st_uid, uid)


def test_files_belong_to_the_range(t):
    c, _ = _rootless(t, RANGE)
    must(c.sh("touch /tmp/made && chmod 1777 /tmp"))
    c.config.process["user"] = {"uid": 1000, "gid": 1000}
    must(c.sh("touch /tmp/by-user"))
    t.eq(os.stat(c.bundle.at("tmp/by-user")).st_uid, host.SUBID[0] + 999)


@cases(single=SINGLE, range=RANGE)
def test_mounts_and_devices(t, kind):
    c, uid = _rootless(t, kind)
    d = t.dir("src", 0o777)
    c.config.mount("/m", "bind", d, ["bind", "ro"])
    r = must(c.sh("echo x > /dev/null && head -c 2 /dev/zero | wc -c; touch /m/x || echo ro; "
                  "touch /dev/shm/y && echo shm; cat /proc/keys | wc -c"))
    t.eq(r.out.split(), ["2", "ro", "shm", "0"])


def test_masked_and_readonly(t):
    c, _ = _rootless(t, SINGLE)
    c.bundle.put("hidden/f", "text")
    os.chmod(c.bundle.at("hidden"), 0o755)
    c.config.linux["maskedPaths"].append("/hidden")
    t.eq(must(c.sh("ls -A /hidden")).out, "")
    t.has(c.sh("echo 1 > /proc/sys/kernel/hostname").err, "Read-only")


def test_own_network_namespace(t):
    c, _ = _rootless(t, SINGLE)
    c.config.namespace("network")
    t.has(must(c.sh("ip addr show lo")).out, "127.0.0.1/8")


def test_seccomp(t):
    c, _ = _rootless(t, SINGLE)
    c.config.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["sethostname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}
    t.exited(c.probe("syscall", 170, "@x", 1), "EOPNOTSUPP")


def test_terminal(t):
    c, _ = _rootless(t, SINGLE, "/bin/sh", "-c", "tty; stty size")
    c.config.process["terminal"] = True
    c.config.process["consoleSize"] = {"width": 70, "height": 20}
    s = t.console_socket()
    must(c.create("--console-socket", s.path))
    m = s.receive()
    must(c.start())
    t.has(m.read_all(), "20 70")
    m.close()


@bailey_only("texts")
def test_range_not_granted(t):
    """The message says what /etc/subuid lacks."""
    c, uid = _rootless(t, RANGE)
    for k in ("uidMappings", "gidMappings"):
        c.config.linux[k][1]["hostID"] = 999000000
    t.fails(c.run(), "/etc/sub", "999000000", code=1)


@bailey_only("texts")
def test_other_users_id(t):
    c, uid = _rootless(t, SINGLE)
    c.config.linux["uidMappings"][0]["hostID"] = uid + 1
    t.fails(c.run(), code=1)


@bailey_only("runc drops them in silence")
def test_groups_without_setgroups(t):
    """Groups that cannot be set are an error, not left out."""
    c, _ = _rootless(t, SINGLE)
    c.config.process["user"]["additionalGids"] = [5]
    t.fails(c.run(), "additionalGids", code=1)


def test_without_user_namespace(t):
    c, _ = _rootless(t, SINGLE, "/bin/true")
    c.config.without_namespace("user")
    c.config.linux.pop("uidMappings")
    c.config.linux.pop("gidMappings")
    t.fails(c.run(), "user namespace", code=1)


def test_state_is_private(t):
    """Nobody else reads the state of a user's containers, and root's is not the user's."""
    c, uid = _rootless(t, SINGLE, "/probe", "sleep")
    c.up()
    t.eq(os.stat(c.runtime.root).st_mode & 0o022, 0)
    other = t.as_user(host.TEST_UID)
    other.root = c.runtime.root
    t.ne(other("state", c.id).code, 0)
    t.ne(other("kill", c.id, "KILL").code, 0)
    t.eq(c.status(), "running")
