"""podman with systemd as the keeper of cgroups, its default where systemd runs; with runc (which proves
the script) and with the runtime under test."""
import os

from lib.container import must, wait_for
from lib.engine import go_private, need_programs
from lib.podman import FULL_CONF, IMAGE, Scenario
from lib.testing import cases, timeout

RUNTIMES = {"runc": "runc", "tested": None}


def _systemd(t, rt):
    t.need(os.path.isdir("/run/systemd/system"), "systemd does not run here")
    need_programs(t, "catatonit")
    go_private(t)
    return Scenario(t, rt, conf=FULL_CONF, kind="podman-systemd", manager="systemd")


def _cgroup(s, n):
    with open(f"/proc/{s.inspect(n)['State']['Pid']}/cgroup") as f:
        return "/sys/fs/cgroup" + next(l for l in f if l.startswith("0::"))[3:].strip()


@timeout(240)
@cases(**RUNTIMES)
def test_scope(t, rt):
    s = _systemd(t, rt)
    n = s.up(opts=["--network", "none", "--memory", "64m"])
    top = _cgroup(s, n)
    t.has(top, f"libpod-{s.inspect(n)['Id']}.scope")
    with open(top + "/memory.max") as f:
        t.eq(f.read().strip(), str(64 << 20))
    must(s("update", "--memory", "80m", n))
    with open(top + "/memory.max") as f:
        t.eq(f.read().strip(), str(80 << 20), "update")
    t.eq(s("exec", n, "/probe", "exit", "3").code, 3)
    must(s("pause", n))
    t.eq(s.inspect(n)["State"]["Status"], "paused")
    must(s("unpause", n))
    must(s("rm", "-f", "-t", "0", n))
    wait_for("the scope's end", lambda: not os.path.exists(top))


@timeout(300)
@cases(**RUNTIMES)
def test_pod(t, rt):
    s = _systemd(t, rt)
    must(s("pod", "create", "--name", t.mark, "--network", "host"))
    t.later(s, "pod", "rm", "-f", "-t", "0", t.mark)
    n = s.up(opts=["--pod", t.mark])
    m = s.up(opts=["--pod", t.mark])
    t.eq(os.path.dirname(_cgroup(s, n)), os.path.dirname(_cgroup(s, m)), "the pod's slice")
    a, b = (must(s("exec", x, "/probe")).json() for x in (n, m))
    t.eq(a["ns"]["ipc"], b["ns"]["ipc"], "ipc namespace")


KUBE = """apiVersion: v1
kind: Pod
metadata:
  name: %s
spec:
  hostNetwork: true
  restartPolicy: Never
  containers:
  - name: a
    image: %s
    imagePullPolicy: Never
    command: ["/bin/sh", "-c", "cat /v/in; id -u; exec /probe sleep"]
    securityContext:
      runAsUser: 1000
      readOnlyRootFilesystem: true
    volumeMounts:
    - {name: v, mountPath: /v}
  volumes:
  - name: v
    hostPath: {path: %s, type: Directory}
"""


@timeout(300)
@cases(**RUNTIMES)
def test_kube_play(t, rt):
    s = _systemd(t, rt)
    v = t.dir("volume")
    t.file("volume/in", "from host\n")
    f = t.file("pod.yaml", KUBE % (t.mark, IMAGE, v))
    must(s("kube", "play", f))
    t.later(s, "pod", "rm", "-f", "-t", "0", t.mark)
    wait_for("output", lambda: s("logs", f"{t.mark}-a").out == "from host\n1000\n")
    t.ne(s("exec", f"{t.mark}-a", "/bin/touch", "/x").code, 0, "read-only root")
    must(s("kube", "down", f))
