"""Limits act: memory, pids, cpu, cpuset and io, enforced by the kernel. That the right numbers are
written is integration/test_cgroup.py's."""
import json
import os
import signal
import subprocess
import time

from lib.clock import limit
from lib.container import must, wait_for
from lib.testing import bailey_only, timeout

MIB = 1 << 20


def _need(t, *controllers):
    with open("/sys/fs/cgroup/cgroup.controllers") as f:
        have = f.read().split()
    for c in controllers:
        t.need(c in have, f"no {c} controller in the cgroup2 tree of this machine")


def _key(c, pid, name, key):
    with open(f"{c.cgroup_dir(pid)}/{name}") as f:
        return next(int(l.split()[1]) for l in f if l.split()[0] == key)


def _read(c, pid, name):
    with open(f"{c.cgroup_dir(pid)}/{name}") as f:
        return f.read().strip()


def _stats(c):
    return must(c.verb("events", "--stats", c.id)).json()["data"]


def test_memory_limit_kills(t):
    _need(t, "memory")
    c = t.container()
    c.config.linux["resources"]["memory"] = {"limit": 32 * MIB, "swap": 32 * MIB}
    r = c.sh("dd if=/dev/zero of=/dev/null bs=16M count=1 2>/dev/null && echo small; "
             "dd if=/dev/zero of=/dev/null bs=100M count=1; echo $?")
    t.eq(r.out, "small\n137\n", "one of 16 MiB, one of 100 MiB")


def test_memory_limit_counts_files_of_tmpfs(t):
    _need(t, "memory")
    c = t.container()
    c.config.linux["resources"]["memory"] = {"limit": 32 * MIB, "swap": 32 * MIB}
    r = c.sh("dd if=/dev/zero of=/dev/shm/x bs=1M count=60 2>/dev/null; echo $?")
    t.eq(r.out, "137\n")


@bailey_only("runc reports an OOM kill in another form")
def test_oom_event(t):
    _need(t, "memory")
    c = t.container("/bin/sh", "-c", "while :; do test -e /go && dd if=/dev/zero of=/dev/null "
                    "bs=100M count=1; sleep 0.1; done")
    c.config.linux["resources"]["memory"] = {"limit": 32 * MIB, "swap": 32 * MIB}
    c.up()
    out = open(os.path.join(t.tmp, "events"), "w+")
    p = c.runtime.spawn("events", "--interval", "600s", c.id, stdout=out,
                        stdin=subprocess.DEVNULL)
    t.later(p.wait)
    t.later(p.kill)
    time.sleep(limit(0.5))  # the watch has begun
    c.bundle.put("go", "")

    def events():
        out.seek(0)
        return [json.loads(l)["type"] for l in out]
    wait_for("the event", lambda: "oom" in events())


def test_pids_limit(t):
    _need(t, "pids")
    c = t.container()
    c.config.linux["resources"]["pids"] = {"limit": 5}
    r = c.sh("for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; echo all")
    t.lacks(r.out, "all", "nine processes with a limit of five")
    t.has(r.err.lower(), "resource temporarily unavailable")


def test_pids_limit_holds_for_exec(t):
    _need(t, "pids")
    c = t.container("/bin/sh", "-c", "sleep 100 & sleep 100 & sleep 100 & wait")
    c.config.linux["resources"]["pids"] = {"limit": 4}
    pid = c.up()
    wait_for("four processes", lambda: _read(c, pid, "pids.current") == "4")
    t.ne(c.exec("/bin/true").code, 0, "a fifth process")
    must(c.verb("update", "--pids-limit", "64", c.id))
    t.eq(c.exec("/bin/true").code, 0, "after the update")
    t.eq(_read(c, pid, "pids.current"), "4", "exec left nothing")


def test_cpu_quota(t):
    _need(t, "cpu")
    c = t.container("/bin/sh", "-c", "while :; do :; done")
    c.config.linux["resources"]["cpu"] = {"quota": 10000, "period": 100000}
    pid = c.up()
    before, start = _key(c, pid, "cpu.stat", "usage_usec"), time.monotonic()
    time.sleep(2)
    used = (_key(c, pid, "cpu.stat", "usage_usec") - before) / 1e6
    share = used / (time.monotonic() - start)
    t.true(0.01 < share < 0.2, f"a tenth of a CPU: {share:.3f}")
    t.true(_key(c, pid, "cpu.stat", "nr_throttled") > 0, "throttled")
    s = _stats(c)["cpu"]
    t.true(s["throttling"]["throttledPeriods"] > 0, f"{s}")


@bailey_only("runc 1.1 knows no idle and another curve")
def test_cpu_idle_and_weight(t):
    _need(t, "cpu")
    c = t.container("/probe", "sleep")
    c.config.linux["resources"]["cpu"] = {"shares": 512}
    pid = c.up()
    t.eq(_read(c, pid, "cpu.weight"), "59", "512 shares")
    must(c.verb("update", "--resources", "-", c.id, input='{"cpu": {"idle": 1}}'))
    t.eq(_read(c, pid, "cpu.idle"), "1")


def test_cpuset(t):
    _need(t, "cpuset")
    last = max(os.sched_getaffinity(0))
    c = t.container()
    c.config.linux["resources"]["cpu"] = {"cpus": str(last), "mems": "0"}
    t.eq(c.report()["affinity"], [last])
    c.config.args("/probe", "sleep")
    c.up()
    t.eq(c.exec_report()["affinity"], [last], "exec")


def _disk(path):
    """major:minor of the whole disk below a path, or None."""
    dev = os.stat(path).st_dev
    node = f"/sys/dev/block/{os.major(dev)}:{os.minor(dev)}"
    if not os.path.exists(node):
        return None
    if os.path.exists(node + "/partition"):
        node += "/.."
    with open(node + "/dev") as f:
        return tuple(map(int, f.read().split(":")))


@timeout(120)
def test_io_throttle(t):
    _need(t, "io")
    disk = _disk(t.tmp)
    t.need(disk, "the tests' directory is on no disk")
    c = t.container("/bin/sh", "-c", "dd if=/dev/zero of=/data bs=1M count=3 conv=fsync 2>&1")
    c.config.linux["resources"]["blockIO"] = {"throttleWriteBpsDevice": [
        {"major": disk[0], "minor": disk[1], "rate": MIB}]}
    start = time.monotonic()
    must(c.run())
    t.true(time.monotonic() - start > 1.5, "3 MiB at 1 MiB/s")


def test_update_of_a_running_container(t):
    _need(t, "memory", "pids", "cpu")
    c = t.container("/probe", "sleep")
    pid = c.up()
    must(c.verb("update", "--memory", str(48 * MIB), "--memory-swap", str(48 * MIB),
                "--pids-limit", "33", "--cpu-quota", "25000", "--cpu-period", "50000", c.id))
    t.eq(_read(c, pid, "memory.max"), str(48 * MIB))
    t.eq(_read(c, pid, "memory.swap.max"), "0")
    t.eq(_read(c, pid, "pids.max"), "33")
    t.eq(_read(c, pid, "cpu.max"), "25000 50000")
    must(c.verb("update", "--pids-limit", "-1", c.id))
    t.eq(_read(c, pid, "pids.max"), "max")
    t.eq(_read(c, pid, "memory.max"), str(48 * MIB), "what is not named stays")


def test_stats(t):
    _need(t, "memory", "pids", "cpu")
    c = t.container("/probe", "sleep")
    c.config.linux["resources"].update(
        {"memory": {"limit": 64 * MIB}, "pids": {"limit": 9}})
    pid = c.up()
    s = _stats(c)
    t.eq(s["memory"]["usage"]["limit"], 64 * MIB)
    t.true(0 < s["memory"]["usage"]["usage"] < 64 * MIB, str(s["memory"]["usage"]))
    t.eq((s["pids"]["current"], s["pids"]["limit"]), (1, 9))
    t.true(s["cpu"]["usage"]["total"] > 0, "processor time")
    t.eq(pid, c.pid())


def test_init_is_in_its_cgroup_from_the_first_page(t):
    """The limit holds for the container's own set-up: nothing of it is charged elsewhere."""
    _need(t, "memory", "pids")
    c = t.container("/probe", "sleep")
    c.config.linux["resources"].update({"pids": {"limit": 1}})
    pid = c.up()
    t.eq(_read(c, pid, "pids.current"), "1")
    t.eq(_key(c, pid, "pids.events", "max"), 0, "set-up needs no second process")
    must(c.kill("KILL"))
    wait_for("the end", lambda: c.status() == "stopped")


def test_payload_cannot_raise_its_limits(t):
    _need(t, "memory", "pids")
    c = t.container()
    c.config.namespace("cgroup").mount("/sys/fs/cgroup", "cgroup", "cgroup",
                                       ["nosuid", "noexec", "nodev", "rw"])
    c.config.linux["resources"].update({"pids": {"limit": 40}, "memory": {"limit": 64 * MIB}})
    r = c.sh("cd /sys/fs/cgroup; cat pids.max memory.max cgroup.procs")
    t.eq(r.out.split()[:2], ["40", str(64 * MIB)])
    c.config.caps(**{k: [] for k in ("bounding", "effective", "permitted")})
    c.config.process["user"] = {"uid": 1000, "gid": 1000}
    r = c.sh("cd /sys/fs/cgroup; echo max > pids.max; mkdir sub")
    t.ne(r.code, 0, "an ordinary user writes pids.max")


def test_kill_of_a_thrashing_container(t):
    _need(t, "memory", "cpu")
    c = t.container("/bin/sh", "-c", "while :; do dd if=/dev/zero of=/dev/null bs=20M count=1 "
                    "2>/dev/null; done")
    c.config.linux["resources"].update({"memory": {"limit": 16 * MIB, "swap": 16 * MIB},
                                        "cpu": {"quota": 5000, "period": 100000}})
    c.up()
    time.sleep(0.5)
    must(c.kill(str(int(signal.SIGKILL))))
    wait_for("the end", lambda: c.status() == "stopped", timeout=20)
