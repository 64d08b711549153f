"""podman's resource options, where the kernel has the controllers; with runc (which proves the script)
and with the runtime under test, and podman's own defaults of limits."""
from lib import kernel
from lib.container import must
from lib.engine import weight_of_512_shares
from lib.podman import FULL_CONF, Scenario
from lib.testing import cases, timeout

RUNTIMES = {"runc": "runc", "tested": None}


def _full(t, rt, *controllers):
    with open("/sys/fs/cgroup/cgroup.controllers") as f:
        have = f.read().split()
    for c in controllers:
        t.need(c in have, f"no {c} controller in the cgroup2 tree of this machine")
    t.need(kernel.has_cap(kernel.CAP_SYS_RESOURCE), "podman's default rlimits need "
           "CAP_SYS_RESOURCE")
    return Scenario(t, rt, conf=FULL_CONF, kind="podman-full")


def _values(s, n, *files):
    with open(f"/proc/{s.inspect(n)['State']['Pid']}/cgroup") as f:
        top = "/sys/fs/cgroup" + next(l for l in f if l.startswith("0::"))[3:].strip()
    got = {}
    for name in files:
        with open(f"{top}/{name}") as f:
            got[name] = f.read().strip()
    return got


@timeout(180)
@cases(**RUNTIMES)
def test_defaults(t, rt):
    s = _full(t, rt, "pids")
    n = s.up(opts=["--network", "none"])
    t.eq(_values(s, n, "pids.max"), {"pids.max": "2048"}, "podman's default")
    r = must(s("exec", n, "/probe")).json()
    t.has(r["rlimits"], "RLIMIT_NOFILE")


@timeout(240)
@cases(**RUNTIMES)
def test_limits(t, rt):
    s = _full(t, rt, "memory", "pids", "cpu", "cpuset")
    n = s.up(opts=["--network", "none", "--memory", "64m", "--memory-swap", "96m",
                   "--memory-reservation", "32m", "--pids-limit", "33", "--cpus", "0.5",
                   "--cpu-shares", "512", "--cpuset-cpus", "0"])
    want = {"memory.max": str(64 << 20), "memory.swap.max": str(32 << 20),
            "memory.low": str(32 << 20), "pids.max": "33", "cpu.max": "50000 100000",
            "cpu.weight": weight_of_512_shares(rt), "cpuset.cpus": "0"}
    t.eq(_values(s, n, *want), want)
    r = must(s("stats", "--no-stream", "--format", "{{.MemUsage}}|{{.PIDs}}", n)).out.strip()
    t.true(r.endswith("/ 67.11MB|1"), f"stats: {r}")
    must(s("update", "--cpus", "0.25", n))
    t.eq(_values(s, n, "cpu.max", "pids.max"), {"cpu.max": "25000 100000", "pids.max": "33"},
         "update")


@timeout(240)
@cases(**RUNTIMES)
def test_limits_act(t, rt):
    s = _full(t, rt, "memory", "pids")
    r = s.run("/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1",
              opts=["--network", "none", "--memory", "32m", "--memory-swap", "32m"])
    t.eq(r.code, 137, "exit code")
    r = s.run("/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; echo all",
              opts=["--network", "none", "--pids-limit", "5"])
    t.lacks(r.out, "all", "nine processes with a limit of five")
