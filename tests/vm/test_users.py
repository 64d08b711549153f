"""Whose machine it is: an ordinary user's, and one in a user namespace."""
import os
import select

from lib import host, kernel, vm
from lib.clock import limit
from lib.container import must
from lib.testing import bailey_only, timeout

MACHINE = bailey_only("isolation level vm")


@MACHINE
@timeout(240)
def test_ordinary_user(t):
    """Who may open /dev/kvm; no cgroup, no privilege on the host."""
    uid = host.TEST_UID
    c = t.container("/probe", "sleep", runtime=t.as_user(uid), cgroups_path=False)
    c.config.rootless(uid, uid).namespace("network")
    c.bundle.chown(uid, uid)
    os.chown(c.bundle.path, uid, uid)
    r, w = os.pipe()
    pid = vm.boot(c, "/bin/sh", "-c", "touch /made; exec /probe sleep", pass_fds=(w,),
                  extra_groups=[os.stat("/dev/kvm").st_gid])
    os.close(w)
    t.eq(select.select([r], [], [], limit(5))[0], [r], "nobody keeps the caller's descriptors")
    os.close(r)
    with open(f"/proc/{pid}/uid_map", encoding="ascii") as f:
        t.eq(f.read().split(), ["0", str(uid), "1"], "the monitor's user namespace")
    r = must(c.exec("/bin/sh", "-c", "id -u; cat; echo err >&2; exit 0", input="through\n"))
    t.eq((r.out, r.err), ("0\nthrough\n", "err\n"))
    t.eq(c.exec("/probe", "exit", "33").code, 33)
    t.eq(os.stat(c.bundle.at("made")).st_uid, uid, "root inside is the user outside")
    t.has(must(c.verb("ps", c.id)).out, "/probe sleep", "the guest's processes")
    t.fails(c.verb("pause", c.id), "has no cgroup", code=1)
    must(c.kill())
    c.wait_status("stopped")
    must(c.delete())


@MACHINE
@timeout(240)
def test_user_namespace(t):
    """The monitor is in it: ids of files are mapped as at the other level, and what is not mapped is
    as much out of reach. In the guest its own root is root."""
    c = t.container()
    c.config.userns(500000, 2000)
    caps = ["CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER"]
    c.config.caps(bounding=caps, permitted=caps, effective=caps)
    c.bundle.chown(500000, 500000)
    secret = c.bundle.put("secret", "x\n", 0o600)
    os.chown(secret, 0, 0)
    pid = vm.boot(c, "/probe", "sleep")
    t.eq(kernel.ns_inode("user", pid) == kernel.ns_inode("user"), False, "another user namespace")
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        t.eq(vm.number(f.read(), r"Uid:\t(\d+)"), 500000)
    script = ("id -u; stat -c %u /bin/busybox /secret; touch /x && chown 1000:1000 /x && "
              "stat -c %u:%g /x; chown 5000 /x 2>/dev/null || echo unmapped")
    t.eq(must(c.exec("/bin/sh", "-c", script)).out, "0\n0\n65534\n1000:1000\nunmapped\n")
    s = os.stat(c.bundle.at("x"))
    t.eq((s.st_uid, s.st_gid), (501000, 501000), "as the host has it")
    t.has(c.exec("/bin/cat", "/secret").err.lower(), "permission denied")
    t.has(c.exec("/bin/sh", "-c", "echo y >/secret").err.lower(), "permission denied")
