"""Every limit of the specification, by config.json and by update, as the kernel then tells it. A full
host has the controllers; what the limits do to a process is host/test_controllers.py's."""
import json
import os
import re
import subprocess
import time

from lib.clock import limit
from lib.container import must, wait_for
from lib.testing import bailey_only, cases, namespaces_only, timeout

MIB = 1 << 20


def _need(t, *controllers):
    with open("/sys/fs/cgroup/cgroup.controllers") as f:
        have = f.read().split()
    for c in controllers:
        t.need(c in have, f"no {c} controller in the cgroup2 tree of this machine")


IN_GUEST = ("memory.", "pids.")


class Files:
    """The files of a container's cgroup. At level vm memory and pids are limited in the guest."""

    def __init__(self, t, c, pid=None):
        self.top, self.c, self.in_machine = c.cgroup_dir(pid), c, t.in_machine

    def __getitem__(self, name):
        if self.in_machine and name.startswith(IN_GUEST):
            return must(self.c.exec("/bin/cat", f"/sys/fs/cgroup/{name}")).out.strip()
        with open(f"{self.top}/{name}") as f:
            return f.read().strip()

    def __setitem__(self, name, value):
        with open(f"{self.top}/{name}", "w") as f:
            f.write(value)

    def all(self):
        """What can be written and does not change by itself."""
        names = os.listdir(self.top)
        if self.in_machine:
            names = [n for n in names if not n.startswith(IN_GUEST)] + must(self.c.exec(
                "/bin/sh", "-c", "cd /sys/fs/cgroup && ls -d memory.* pids.*")).out.split()
        got = {}
        for name in names:
            if re.search(r"\.(max|min|low|high|weight|idle|burst|cpus|mems|group|nice|depth|"
                         r"descendants|partition)$", name):
                try:
                    got[name] = self[name]
                except OSError:
                    pass
        return got


# name: controller, linux.resources, what the files say
LIMITS = {
    "memory_limit": ("memory", {"memory": {"limit": 64 * MIB}}, {"memory.max": str(64 * MIB)}),
    "memory_unlimited": ("memory", {"memory": {"limit": -1}}, {"memory.max": "max"}),
    "memory_reservation": ("memory", {"memory": {"reservation": 32 * MIB}},
                           {"memory.low": str(32 * MIB)}),
    "memory_swap": ("memory", {"memory": {"limit": 64 * MIB, "swap": 96 * MIB}},
                    {"memory.max": str(64 * MIB), "memory.swap.max": str(32 * MIB)}),
    "memory_no_swap": ("memory", {"memory": {"limit": 64 * MIB, "swap": 64 * MIB}},
                       {"memory.max": str(64 * MIB), "memory.swap.max": "0"}),
    "memory_swap_unlimited": ("memory", {"memory": {"limit": 64 * MIB, "swap": -1}},
                              {"memory.max": str(64 * MIB), "memory.swap.max": "max"}),
    "cpu_shares": ("cpu", {"cpu": {"shares": 1024}}, {"cpu.weight": "100"}),
    "cpu_shares_least": ("cpu", {"cpu": {"shares": 2}}, {"cpu.weight": "1"}),
    "cpu_shares_most": ("cpu", {"cpu": {"shares": 262144}}, {"cpu.weight": "10000"}),
    "cpu_quota": ("cpu", {"cpu": {"quota": 25000, "period": 50000}}, {"cpu.max": "25000 50000"}),
    "cpu_quota_alone": ("cpu", {"cpu": {"quota": 30000}}, {"cpu.max": "30000 100000"}),
    "cpu_no_quota": ("cpu", {"cpu": {"quota": -1, "period": 50000}}, {"cpu.max": "max 50000"}),
    "cpu_burst": ("cpu", {"cpu": {"quota": 25000, "period": 50000, "burst": 10000}},
                  {"cpu.max": "25000 50000", "cpu.max.burst": "10000"}),
    "cpu_idle": ("cpu", {"cpu": {"idle": 1}}, {"cpu.idle": "1"}),
    "cpuset": ("cpuset", {"cpu": {"cpus": "0", "mems": "0"}},
               {"cpuset.cpus": "0", "cpuset.mems": "0"}),
    "pids": ("pids", {"pids": {"limit": 77}}, {"pids.max": "77"}),
    "pids_unlimited": ("pids", {"pids": {"limit": -1}}, {"pids.max": "max"}),
    "hugetlb": ("hugetlb", {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 * MIB}]},
                {"hugetlb.2MB.max": str(4 * MIB), "hugetlb.2MB.rsvd.max": str(4 * MIB)}),
    "unified": ("memory", {"unified": {"memory.high": str(48 * MIB), "memory.oom.group": "1"}},
                {"memory.high": str(48 * MIB), "memory.oom.group": "1"}),
}


def _matches(t, files, want):
    for name, value in want.items():
        t.eq(files[name], value, name)


def _shown(c):
    """The container has its cgroup at /sys/fs/cgroup."""
    c.config.namespace("cgroup")
    c.config.mount("/sys/fs/cgroup", "cgroup", "cgroup")


def _container(t, key):
    c = t.container("/probe", "sleep")
    _shown(c)
    if t.in_machine:
        t.need(not key.startswith("memory_swap") and key != "memory_no_swap",
               "a guest has no swap")
    return c


@bailey_only("runc 1.1 knows neither burst nor idle nor reservations of huge pages")
@cases(**{k: (k,) for k in LIMITS})
def test_config(t, key):
    controller, resources, want = LIMITS[key]
    _need(t, controller)
    c = _container(t, key)
    c.config.linux["resources"].update(resources)
    _matches(t, Files(t, c, c.up()), want)


@bailey_only("runc 1.1 knows neither burst nor idle nor reservations of huge pages")
@cases(**{k: (k,) for k in LIMITS})
def test_update(t, key):
    """The same of a container that had no limits; and nothing else has changed."""
    controller, resources, want = LIMITS[key]
    _need(t, controller)
    t.need(not (t.in_machine and key == "unified"), "not while a machine runs")
    c = _container(t, key)
    files = Files(t, c, c.up())
    before = files.all()
    must(c.verb("update", "--resources", "-", c.id, input=json.dumps(resources)))
    _matches(t, files, want)
    changed = {n for n, v in files.all().items() if v != before[n]}
    # The kernel lets a group that is idle have the least weight.
    t.true(changed <= set(want) | {"cpu.weight", "cpu.weight.nice"} if key.startswith("cpu_")
           else changed <= set(want), f"changed: {sorted(changed)}")


# option of update: controller, value, file, what it says
OPTIONS = {
    "memory": ("memory", "64m", "memory.max", str(64 * MIB)),
    "memory-reservation": ("memory", "1g", "memory.low", str(1 << 30)),
    "pids-limit": ("pids", "55", "pids.max", "55"),
    "cpu-quota": ("cpu", "20000", "cpu.max", "20000 100000"),
    "cpu-period": ("cpu", "40000", "cpu.max", "max 40000"),
    "cpu-share": ("cpu", "512", "cpu.weight", "59"),
    "cpu-idle": ("cpu", "1", "cpu.idle", "1"),
    "cpuset-cpus": ("cpuset", "0", "cpuset.cpus", "0"),
    "cpuset-mems": ("cpuset", "0", "cpuset.mems", "0"),
}


@bailey_only("runc 1.1 has no --cpu-idle")
@cases(**{k.replace("-", "_"): (k,) for k in OPTIONS})
def test_option(t, option):
    controller, value, name, want = OPTIONS[option]
    _need(t, controller)
    c = _container(t, option)
    files = Files(t, c, c.up())
    must(c.verb("update", "--" + option, value, c.id))
    t.eq(files[name], want)


@namespaces_only("the guest's files are not the host's to write")
@bailey_only("runc rewrites what it remembers")
def test_update_leaves_what_it_is_not_told(t):
    """Values that somebody else wrote by hand stay, though the container once had others."""
    _need(t, "memory", "pids", "cpu")
    c = t.container("/probe", "sleep")
    c.config.linux["resources"].update({
        "memory": {"limit": 64 * MIB, "reservation": 32 * MIB}, "pids": {"limit": 33},
        "cpu": {"shares": 512, "quota": 25000, "period": 50000}})
    files = Files(t, c, c.up())
    foreign = {"pids.max": "44", "cpu.weight": "77", "cpu.max": "33000 66000",
               "memory.low": str(8 * MIB), "memory.high": str(60 * MIB)}
    for name, value in foreign.items():
        files[name] = value
    must(c.verb("update", "--memory", "80m", c.id))
    _matches(t, files, {**foreign, "memory.max": str(80 * MIB)})
    must(c.verb("update", "--resources", "-", c.id, input='{"cpu": {"shares": 1024}}'))
    _matches(t, files, {**foreign, "memory.max": str(80 * MIB), "cpu.weight": "100"})


@bailey_only("runc enables every controller at create")
def test_update_enables_controllers(t):
    """Without limits no ancestor was asked to hand any on."""
    _need(t, "memory", "pids", "cpu")
    c = t.container("/probe", "sleep")
    _shown(c)
    c.config.linux["cgroupsPath"] = f"/bailey-test/{c.id}-above/{c.id}"
    c.config.linux["resources"].pop("pids", None)
    files = Files(t, c, c.up())
    must(c.verb("update", "--memory", "64m", "--pids-limit", "44", "--cpu-quota", "20000", c.id))
    _matches(t, files, {"memory.max": str(64 * MIB), "pids.max": "44", "cpu.max": "20000 100000"})


def test_failed_update_says_which(t):
    _need(t, "memory", "pids")
    c = t.container("/probe", "sleep")
    _shown(c)
    files = Files(t, c, c.up())
    before = files.all()
    r = c.verb("update", "--resources", "-", c.id,
               input=json.dumps({"pids": {"limit": 50}, "cpu": {"cpus": "4000"}}))
    t.fails(r, code=1, bailey="cpus")
    t.eq(files["cpuset.cpus"], before.get("cpuset.cpus", ""))


@bailey_only("runc 1.1 gives it up with another text")
def test_check_before_update(t):
    _need(t, "memory")
    c = t.container("/bin/sh", "-c", "dd if=/dev/zero of=/dev/shm/x bs=1M count=24 2>/dev/null; "
                    "exec /probe sleep")
    c.config.linux["resources"]["memory"] = {"limit": 64 * MIB}
    _shown(c)
    files = Files(t, c, c.up())
    wait_for("memory in use", lambda: int(files["memory.current"]) > 24 * MIB)
    t.fails(c.verb("update", "--resources", "-", c.id, input=json.dumps(
        {"memory": {"limit": 8 * MIB, "checkBeforeUpdate": True}})), "memory.limit", code=1)
    t.eq(files["memory.max"], str(64 * MIB))
    t.eq(c.status(), "running")


def test_oom_kill_is_the_exit_code(t):
    _need(t, "memory")
    c = t.container("/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1")
    c.config.linux["resources"]["memory"] = {"limit": 32 * MIB, "swap": 32 * MIB}
    t.eq(c.run().code, 137)


def test_update_moves_running_processes(t):
    """cpuset: a process that runs already may use what the update says."""
    _need(t, "cpuset")
    cpus = sorted(os.sched_getaffinity(0))
    t.need(len(cpus) > 1, "one processor only")
    c = t.container("/probe", "sleep")
    c.config.linux["resources"]["cpu"] = {"cpus": str(cpus[0])}
    pid = c.up()
    t.eq(os.sched_getaffinity(pid), {cpus[0]})
    must(c.verb("update", "--cpuset-cpus", str(cpus[1]), c.id))
    t.eq(os.sched_getaffinity(pid), {cpus[1]})


# ---- block I/O, of a disk of the test's own

def _loop(t):
    """(major, minor, path) of a loop device of 16 MiB."""
    _need(t, "io")
    path = t.file("disk")
    os.truncate(path, 16 * MIB)
    r = subprocess.run(["losetup", "--find", "--show", path], capture_output=True, text=True,
                       timeout=limit(20), check=False)
    t.need(r.returncode == 0, f"no loop device: {r.stderr.strip()}")
    dev = r.stdout.strip()
    t.later(subprocess.run, ["losetup", "--detach", dev])
    st = os.stat(dev)
    return os.major(st.st_rdev), os.minor(st.st_rdev), dev


THROTTLES = {"throttleReadBpsDevice": "rbps", "throttleWriteBpsDevice": "wbps",
             "throttleReadIOPSDevice": "riops", "throttleWriteIOPSDevice": "wiops"}


def test_io_max(t):
    major, minor, _ = _loop(t)
    c = t.container("/probe", "sleep")
    rates = {k: MIB + n for n, k in enumerate(THROTTLES)}
    c.config.linux["resources"]["blockIO"] = {
        k: [{"major": major, "minor": minor, "rate": r}] for k, r in rates.items()}
    files = Files(t, c, c.up())
    t.eq(files["io.max"], f"{major}:{minor} " + " ".join(
        f"{THROTTLES[k]}={r}" for k, r in rates.items()))
    must(c.verb("update", "--resources", "-", c.id, input=json.dumps({"blockIO": {
        "throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": 2 * MIB}]}})))
    t.eq(files["io.max"].split()[1:3], [f"rbps={2 * MIB}", f"wbps={MIB + 1}"],
         "the one that update names, and another")


@namespaces_only("it reads a disk of the host's")
@timeout(120)
def test_io_max_is_felt(t):
    major, minor, _ = _loop(t)
    c = t.container("/bin/dd", "if=/dev/disk", "of=/dev/null", "bs=256k", "count=12")
    c.config.linux["devices"] = [{"path": "/dev/disk", "type": "b", "major": major, "minor": minor,
                                  "fileMode": 0o600, "uid": 0, "gid": 0}]
    r = c.config.linux["resources"]
    r["devices"].append({"allow": True, "type": "b", "major": major, "minor": minor,
                         "access": "r"})
    r["blockIO"] = {"throttleReadBpsDevice": [{"major": major, "minor": minor, "rate": MIB}]}
    start = time.monotonic()
    must(c.run())
    t.true(time.monotonic() - start > 1.5, "3 MiB at 1 MiB/s")


@bailey_only("runc 1.1 writes io.bfq.weight only")
def test_io_weight(t):
    _need(t, "io")
    c = t.container("/probe", "sleep")
    c.config.linux["resources"]["blockIO"] = {"weight": 100}
    files = Files(t, c, c.up())
    bfq = os.path.exists(files.top + "/io.bfq.weight")
    name, values = ("io.bfq.weight", ("100", "200")) if bfq else ("io.weight", ("910", "1920"))
    t.eq(files[name].splitlines()[0].split()[-1], values[0])
    must(c.verb("update", "--blkio-weight", "200", c.id))
    t.eq(files[name].splitlines()[0].split()[-1], values[1], "update")
