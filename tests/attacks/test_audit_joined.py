"""Containers that share namespaces with a hostile one (pods)."""
import json
import subprocess

from lib.container import must, wait_for
from lib.testing import timeout

CAPS = ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN", "CAP_SETUID"]


@timeout(60)
def test_init_that_joins_a_hostile_pod(t):
    """A root payload with CAP_SYS_PTRACE watches every container that joins its user and pid
    namespaces. Init has the host's descriptors: it must not be looked into, not for a moment."""
    a = t.container("/probe", "lurk")
    a.config.userns()
    a.bundle.chown(100000, 100000)
    a.config.caps(bounding=CAPS, effective=CAPS, permitted=CAPS)
    a.bundle.write_config()
    a.made = True
    out = t.file("out")
    with open(out, "w") as f:
        p = t.runtime.spawn("run", "-b", a.bundle.path, a.id, stdin=subprocess.DEVNULL, stdout=f)
    wait_for("the lurker", lambda: "ready" in open(out).read())
    pid = a.pid()
    b = t.container("/probe", "sleep")
    b.bundle.chown(100000, 100000)
    for n in ("user", "pid"):
        b.config.namespace(n, f"/proc/{pid}/ns/{n}")
    for key in ("user", "pid", "ipc", "network", "uts"):
        b.config.namespace(key, f"/proc/{pid}/ns/{'net' if key == 'network' else key}")
    del b.config["hostname"]
    b.config.process["oomScoreAdj"] = 321
    for _ in range(40):
        must(b.create())
        must(b.delete("--force"))
    must(b.create())
    with open(f"/proc/{b.pid()}/oom_score_adj") as f:
        t.eq(f.read().strip(), "321")
    must(b.delete("--force"))
    must(a.kill("TERM"))
    p.wait(10)
    haul = json.loads(open(out).read().split("\n", 1)[1])
    t.true(haul["seen"] > 0, "it saw somebody")
    for k in ("ptrace", "mem", "exe_write", "root", "fds"):
        t.eq(haul[k], 0, f"{k}: {haul}")
