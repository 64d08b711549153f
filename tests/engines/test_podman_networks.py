"""podman with networks, pods and user namespaces of its own choice, with runc (which proves the script)
and with the runtime under test; in a network namespace of the test's own."""
import os

from lib import kernel
from lib.container import must, wait_for
from lib.engine import answered, go_private, need_programs
from lib.podman import CONF, Scenario
from lib.testing import cases, timeout

RUNTIMES = {"runc": "runc", "tested": None}
NETWORK_CONF = CONF.replace('netns = "none"\n', "") + '[network]\nnetwork_backend = "netavark"\n'
SERVE = ("/bin/sh", "-c", "while :; do nc -l -p 8000 -e /bin/sh -c 'read x; echo got $x'; done")


def _private(t, rt):
    go_private(t)
    return Scenario(t, rt, conf=NETWORK_CONF, kind="podman-net")


@timeout(240)
@cases(**RUNTIMES)
def test_published_port(t, rt):
    need_programs(t, "/usr/lib/podman/netavark", "iptables")
    s = _private(t, rt)
    n = s.up(*SERVE, opts=["-p", "127.0.0.1:8099:8000"])
    address = s.inspect(n)["NetworkSettings"]["IPAddress"]
    wait_for("an answer of the container", lambda: answered(address, 8000), 30)
    wait_for("an answer by the published port", lambda: answered("127.0.0.1", 8099), 30)


@timeout(240)
@cases(**RUNTIMES)
def test_two_on_a_network(t, rt):
    need_programs(t, "/usr/lib/podman/netavark", "iptables")
    s = _private(t, rt)
    must(s("network", "create", "--disable-dns", t.mark))
    t.later(s, "network", "rm", "-f", t.mark)
    n = s.up(*SERVE, opts=["--network", t.mark])
    address = s.inspect(n)["NetworkSettings"]["Networks"][t.mark]["IPAddress"]
    script = f"for i in 1 2 3 4 5; do echo hello | nc -w 5 {address} 8000 && break; sleep 0.2; done"
    t.eq(must(s.run("/bin/sh", "-c", script, opts=["--network", t.mark])).out, "got hello\n")


@timeout(300)
@cases(**RUNTIMES)
def test_pod(t, rt):
    """An infra container, whose namespaces the others share."""
    need_programs(t, "/usr/lib/podman/netavark", "iptables", "catatonit")
    s = _private(t, rt)
    # podman 4.3 with cgroupfs forbids every device in the pod's own cgroup, whatever the runtime.
    must(s("pod", "create", "--share-parent=false", "--name", t.mark, "--hostname", "keep"))
    t.later(s, "pod", "rm", "-f", "-t", "0", t.mark)
    n = s.up(*SERVE, opts=["--pod", t.mark])
    m = s.up(opts=["--pod", t.mark])
    a, b = (must(s("exec", x, "/probe")).json() for x in (n, m))
    for k in ("net", "ipc", "uts"):
        t.eq(a["ns"][k], b["ns"][k], f"{k} namespace")
    for k in ("mnt", "pid"):
        t.ne(a["ns"][k], b["ns"][k], f"{k} namespace")
    t.eq(b["hostname"], "keep")
    r = must(s("exec", m, "/bin/sh", "-c", "for i in 1 2 3 4 5; do echo hello | nc -w 5 127.0.0.1 "
               "8000 && break; sleep 0.2; done"))
    t.eq(r.out, "got hello\n", "by the pod's loopback")
    must(s("pod", "pause", t.mark))
    t.eq(s.inspect(m)["State"]["Status"], "paused")
    must(s("pod", "unpause", t.mark))
    t.has(must(s("pod", "top", t.mark, "args")).out, "/probe sleep")
    must(s("pod", "stop", "-t", "0", t.mark))
    t.eq(s.inspect(m)["State"]["Status"], "exited")
    must(s("pod", "start", t.mark))
    t.eq(s.inspect(m)["State"]["Status"], "running")
    must(s("pod", "rm", "-f", "-t", "0", t.mark))


@timeout(240)
@cases(**RUNTIMES)
def test_userns_auto(t, rt):
    """Each container gets a range of its own."""
    go_private(t)
    for name in ("subuid", "subgid"):
        kernel.mount(t.file(name, "containers:2000000:400000\n"), "/etc/" + name, None,
                     kernel.MS_BIND)
    s = Scenario(t, rt, kind="podman-auto")
    maps = []
    for _ in range(2):
        n = s.up(opts=["--userns=auto:size=1024"])
        r = must(s("exec", n, "/probe")).json()
        t.eq(r["uid"][0], 0)
        maps.append(r["uid_map"].split())
    for m in maps:
        t.eq((m[0], m[2]), ("0", "1024"))
        t.true(int(m[1]) >= 2000000, f"{m}")
    t.ne(maps[0][1], maps[1][1], "ranges")
    r = must(s.run("/probe", opts=["--userns=auto:size=2000", "--user", "1000"])).json()
    t.eq(r["uid"], [1000] * 3)


@timeout(240)
@cases(**RUNTIMES)
def test_restart(t, rt):
    s = Scenario(t, rt)
    n = s.up("/probe", "exit", "5", opts=["--restart", "on-failure:2"])
    wait_for("two restarts", lambda: s.inspect(n)["RestartCount"] == 2, 60)
    wait_for("the end", lambda: s.inspect(n)["State"]["Status"] == "exited", 60)
    t.eq(s.inspect(n)["State"]["ExitCode"], 5)
    n = s.up()
    first = s.inspect(n)["State"]["Pid"]
    must(s("restart", "-t", "0", n))
    t.true(s.inspect(n)["State"]["Pid"] not in (0, first), "another init")
    n = s.up(opts=["--restart", "always"])
    first = s.inspect(n)["State"]["Pid"]
    os.kill(first, 9)
    wait_for("another init", lambda: s.inspect(n)["State"]["Pid"] not in (0, first), 60)


@timeout(240)
@cases(**RUNTIMES)
def test_cp_diff_commit(t, rt):
    s = Scenario(t, rt)
    n = s.up()
    must(s("cp", t.file("f", "copied\n"), f"{n}:/tmp/f"))
    t.eq(must(s("exec", n, "/bin/cat", "/tmp/f")).out, "copied\n")
    t.has(must(s("diff", n)).out, "A /tmp/f")
    must(s("commit", "-q", n, f"localhost/{t.mark}:1"))
    t.later(s, "rmi", "-f", f"localhost/{t.mark}:1")
    t.eq(must(s.run("/bin/cat", "/tmp/f", image=f"localhost/{t.mark}:1")).out, "copied\n")
