"""containerd with bailey called as bailey-vm, by ctr and by CRI: a pod's containers in a machine, its
sandbox, which holds the namespaces, on the host."""
import json
import os
import platform
import socket

from lib import vm
from lib.clock import limit
from lib.container import must, wait_for
from lib.cri import CallFailed, decode
from lib.engine import Containerd
from lib.pods import CONTAINER, EXITED, POD, RUNNING, Pods
from lib.testing import bailey_only, timeout

MACHINES = True  # each test boots some
NAMESPACES = ((1, POD), (2, CONTAINER), (3, POD))  # as a kubelet asks for


@timeout(600)
@bailey_only("isolation level vm")
def test_tasks(t):
    c = Containerd(t, vm.program(t))
    r = must(c.run("/bin/sh", "-c", "cat /proc/version; exit 0", opts=["--env", "A=b"]))
    t.lacks(r.out, platform.version(), "another kernel")
    t.eq(c.run("/probe", "exit", 77).code, 77)
    n = c.up("/bin/sh", "-c", "trap 'exit 6' TERM; while :; do sleep 0.1; done")
    t.eq(must(c("tasks", "exec", "--exec-id", "a", "--user", "1000", "--cwd", "/tmp", n, "/bin/sh",
                "-c", "id -u; pwd")).out, "1000\n/tmp\n")
    t.eq(c("tasks", "exec", "--exec-id", "b", n, "/probe", "exit", 3).code, 3)
    must(c("tasks", "exec", "-d", "--exec-id", "d", n, "/probe", "sleep"))
    t.true(len(must(c("tasks", "ps", n)).out.splitlines()) >= 3, "header, the monitor, exec's")
    must(c("tasks", "pause", n))
    t.eq(c.status(n), "PAUSED")
    must(c("tasks", "resume", n))
    t.eq(c.status(n), "RUNNING")
    must(c("tasks", "kill", "--exec-id", "d", "-s", "KILL", n))
    t.has(must(c("tasks", "metrics", n)).out, n)
    must(c("tasks", "kill", "-s", "SIGTERM", n))
    wait_for("the end", lambda: c.status(n) == "STOPPED", 60)
    must(c("tasks", "delete", n))
    must(c("containers", "delete", n))


# ---- pods

def _network(t):
    """A point-to-point link of the pod to the test's network namespace."""
    t.need(os.path.exists("/usr/lib/cni/ptp"), "containernetworking-plugins is not installed")
    return json.dumps({"cniVersion": "0.4.0", "name": "test", "plugins": [{
        "type": "ptp", "ipam": {
            "type": "host-local", "dataDir": t.dir("leases"),
            "ranges": [[{"subnet": "10.98.7.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]})


def _address(p, pod):
    status = decode(p.call("PodSandboxStatus", (1, pod[0]))[1][0])
    return decode(status[5][0])[1][0].decode()


def _answer(address):
    try:
        with socket.create_connection((address, 8000), limit(10)) as s:
            s.sendall(b"hello\n")
            s.shutdown(socket.SHUT_WR)
            return s.makefile().read()
    except OSError:
        return None


@timeout(600)
@bailey_only("isolation level vm")
def test_pod(t):
    p = Pods(t, vm.program(t), namespaces=NAMESPACES, cni=_network(t))
    pod = p.run(hostname="castle")
    a = p.container(pod, "/bin/sh", "-c", "echo out; echo err >&2; while :; do nc -l -p 8000 -e "
                    "/bin/sh -c 'read x; echo got $x'; done", name="a")
    t.eq(p.status(a)[0], RUNNING)
    out, code = p.exec(a, "/bin/sh", "-c", "echo $A; hostname; cat /proc/version; exit 3")
    t.eq(code, 3)
    t.eq(out.splitlines()[:2], ["b", "castle"], "the pod's hostname, from its uts namespace")
    t.lacks(out, platform.version(), "another kernel")
    wait_for("an answer at the pod's address", lambda: _answer(_address(p, pod)) == "got hello\n",
             60)
    with open(t.tmp + "/a.log", encoding="utf-8") as f:
        log = f.read()
    t.has(log, " stdout F out\n")
    t.has(log, " stderr F err\n")
    try:
        p.container(pod, "/probe", "sleep", name="b")
        t.true(False, "a second machine in the pod's network")
    except CallFailed as e:
        t.has(str(e), "eth0")
    p.call("StopContainer", (1, a), (2, 0))
    t.eq(p.status(a), (EXITED, 137))
    p.call("RemoveContainer", (1, a))
    c = p.container(pod, "/probe", "exit", "6", name="c")
    wait_for("the end", lambda: p.status(c)[0] == EXITED, 60)
    t.eq(p.status(c), (EXITED, 6))
