"""process.apparmorProfile and exec --apparmor at level vm: the profile is the monitor's, and that of
exec's process on the host."""
import os
import subprocess

from lib import vm
from lib.apparmor import label, load_profile
from lib.container import must, wait_for
from lib.testing import bailey_only, timeout

MACHINES = True  # each test boots some


def _processes(c):
    """{pid: label} of the container's cgroup on the host."""
    with open(c.cgroup_dir() + "/cgroup.procs", encoding="ascii") as f:
        return {int(p): label(int(p)) for p in f.read().split() if os.path.exists(f"/proc/{p}/exe")}


@timeout(300)
@bailey_only("isolation level vm")
def test_machine(t):
    t.need(vm.missing() is None, vm.missing())
    name = load_profile(t)
    confined = f"{name} (enforce)"
    c = t.container()
    c.bundle.put("secret", "x\n")
    c.bundle.put("open", "y\n")
    c.config["root"]["readonly"] = True
    c.config.process["apparmorProfile"] = name
    pid = vm.boot(c, "/bin/sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done")
    t.eq(label(pid), confined, "the monitor")
    r = c.exec("/bin/sh", "-c", "cat /open; cat /secret; touch /x")
    t.eq(r.out, "y\n")
    t.has(r.err.lower(), "permission denied", "a rule about the monitor's path")
    t.has(r.err.lower(), "read-only", "the helper that makes the root so is made before")
    p = c.runtime.spawn("exec", c.id, "/bin/sh", "-c", "echo up; exec /probe sleep",
                        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    t.eq(p.stdout.readline(), b"up\n")
    before = _processes(c)
    t.eq((before.pop(pid), sorted(before.values())), (confined, [confined, "unconfined"]),
         "the monitor; exec's process, and the one that watches interfaces")
    must(c.kill("TERM"))
    wait_for("the end", lambda: c.status() == "stopped", 30)
    p.wait(30)
    p.stdout.close()
    must(c.delete())
    c.config.process["apparmorProfile"] = "no-such-profile"
    t.fails(c.run("--isolation=vm", timeout=60), "no-such-profile", "is the profile loaded?", code=1)
