"""Pods by containerd's CRI plugin, as a kubelet asks for them, with runc (which proves the script) and
with the runtime under test as a runtime handler."""
import base64
import os

from lib.container import must, wait_for
from lib.cri import CallFailed, decode
from lib.engine import weight_of_512_shares
from lib.pods import EXITED, RUNNING, Pods
from lib.testing import cases, timeout

RUNTIMES = {"runc": "runc", "tested": None}
SHARES = "containerd"


@timeout(240)
@cases(**RUNTIMES)
def test_pod(t, rt):
    p = Pods(t, rt)
    pod = p.run()
    a = p.container(pod, "/bin/sh", "-c", "echo out; echo err >&2; exec /probe trap 9", name="a")
    b = p.container(pod, "/probe", "sleep", name="b")
    t.eq(p.status(a)[0], RUNNING)
    t.eq(p.exec(b, "/bin/sh", "-c", "echo $A; hostname; exit 3"),
         (f"b\n{os.uname().nodename}\n", 3))
    t.eq(p.exec(a, "/bin/readlink", "/proc/self/ns/ipc"),
         p.exec(b, "/bin/readlink", "/proc/self/ns/ipc"), "the pod's ipc namespace")
    with open(t.tmp + "/a.log") as f:
        log = f.read()
    t.has(log, " stdout F out\n")
    t.has(log, " stderr F err\n")
    p.call("StopContainer", (1, b), (2, 0))
    t.eq(p.status(b), (EXITED, 137))
    p.call("RemoveContainer", (1, b))
    c = p.container(pod, "/probe", "exit", "6", name="c")
    wait_for("the end", lambda: p.status(c)[0] == EXITED, 30)
    t.eq(p.status(c), (EXITED, 6))
    p.call("StopPodSandbox", (1, pod[0]))
    t.eq(p.status(a)[0], EXITED)


@timeout(240)
@cases(**RUNTIMES)
def test_handler(t, rt):
    """The pod's handler names the binary; an unknown one is refused."""
    p = Pods(t, rt)
    pod = p.run()
    info = must(p.containerd("containers", "info", pod[0].decode())).json()
    options = decode(base64.b64decode(info["Runtime"]["Options"]["value"]))
    t.has(options[6], p.containerd.runtime.encode(), "BinaryName")
    try:
        other = ((1, ((1, "other"), (2, t.mark), (3, "default"))), *pod[1][1:])
        p.call("RunPodSandbox", (1, other), (2, "nosuch"))
        t.true(False, "an unknown handler")
    except CallFailed as e:
        t.has(str(e), "nosuch")


@timeout(240)
@cases(**RUNTIMES)
def test_resources(t, rt):
    with open("/sys/fs/cgroup/cgroup.controllers") as f:
        have = f.read().split()
    for name in ("memory", "cpu"):
        t.need(name in have, f"no {name} controller in the cgroup2 tree of this machine")
    p = Pods(t, rt)
    pod = p.run()
    c = p.container(pod, "/probe", "sleep", resources=(
        (1, 100000), (2, 50000), (3, 512), (4, 64 << 20), (5, 500)))

    def file(name):
        with open(f"/sys/fs/cgroup/{t.mark}/{c.decode()}/{name}") as f:
            return f.read().strip()
    t.eq((file("memory.max"), file("cpu.max"), file("cpu.weight")),
         (str(64 << 20), "50000 100000", weight_of_512_shares(rt)))
    p.call("UpdateContainerResources", (1, c), (2, ((1, 100000), (2, 25000), (4, 80 << 20))))
    t.eq((file("memory.max"), file("cpu.max")), (str(80 << 20), "25000 100000"), "after update")


@timeout(240)
@cases(**RUNTIMES)
def test_systemd(t, rt):
    """SystemdCgroup = true, as on most Kubernetes nodes: scopes in the pod's slice."""
    p = Pods(t, rt, systemd=True)
    pod = p.run()
    c = p.container(pod, "/probe", "sleep", resources=((1, 100000), (2, 50000), (4, 64 << 20)))
    top = f"/sys/fs/cgroup/{p.parent}/cri-containerd-{c.decode()}.scope"
    with open(top + "/memory.max") as f:
        t.eq(f.read().strip(), str(64 << 20))
    p.call("UpdateContainerResources", (1, c), (2, ((4, 80 << 20),)))
    with open(top + "/memory.max") as f:
        t.eq(f.read().strip(), str(80 << 20), "after update")
    t.eq(p.exec(c, "/probe", "exit", "3")[1], 3)
    p.call("StopContainer", (1, c), (2, 0))
    p.call("RemoveContainer", (1, c))
    wait_for("the scope's end", lambda: not os.path.exists(top))
