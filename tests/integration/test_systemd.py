"""The systemd cgroup manager, against a running systemd: scopes, their properties, what survives a
daemon-reload, and that nothing stays."""
import json
import os
import pwd
import signal
import subprocess
import time

from lib import clock, kernel
from lib.container import Runtime, must, wait_for, wait_gone
from lib.testing import cases, timeout

USER = 1000  # whoever has this id
MIB = 1 << 20
ALLOWED, DENIED = "/dev/fuse", "/dev/loop-control"
NUMBERS = {ALLOWED: (10, 229), DENIED: (10, 237)}


# ---- systemd ----

def _as(user, *env):
    """The user in the host's mount namespace: the tests' own has no /run/user/UID that was mounted
    later."""
    return ["nsenter", "-t", "1", "-m", "setpriv", f"--reuid={user}",
            f"--regid={pwd.getpwuid(user).pw_gid}", "--init-groups", "env", "-i",
            f"PATH={os.environ['PATH']}", *env]


def _systemctl(*args, user=None):
    argv = ["systemctl", *args]
    if user is not None:
        argv = [*_as(user, f"XDG_RUNTIME_DIR=/run/user/{user}"), "systemctl", "--user", *args]
    return subprocess.run(argv, capture_output=True, text=True, timeout=clock.limit(60),
                          check=True).stdout


def _show(unit, *props, user=None):
    out = _systemctl("show", unit, "-p", ",".join(props), user=user)
    return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)


def _is_gone(unit, user=None):
    return _show(unit, "LoadState", user=user)["LoadState"] == "not-found"


def _need_systemd(t):
    with open("/proc/1/comm") as f:
        t.need(f.read().strip() == "systemd" and os.path.isdir("/run/systemd/system"),
               "process 1 is not systemd")
    t.need(kernel.is_cgroup_v2(), "cgroup v2 is not mounted on /sys/fs/cgroup")


# ---- containers ----

def _container(t, slice_="", runtime=None, id_=None):
    """… and its unit."""
    _need_systemd(t)
    rt = runtime or t.runtime
    if "--systemd-cgroup" not in rt.globals:
        rt.globals = rt.globals + ["--systemd-cgroup"]
    c = t.container("/probe", "sleep", cgroups_path=False, runtime=runtime, id_=id_)
    c.config.linux["cgroupsPath"] = f"{slice_}:test:{c.id}"
    return c, f"test-{c.id}.scope"


def _limits(c):
    c.config.linux["resources"].update({
        "memory": {"limit": 64 * MIB, "swap": 96 * MIB, "reservation": 8 * MIB},
        "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0", "mems": "0"},
        "pids": {"limit": 77},
        "blockIO": {"weight": 200},
        "unified": {"memory.high": str(60 * MIB)},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 0}]})


FILES = {"memory.max": str(64 * MIB), "memory.swap.max": str(32 * MIB), "memory.low": str(8 * MIB),
         "memory.high": str(60 * MIB), "cpu.max": "50000 100000", "cpu.weight": "59",
         "cpuset.cpus": "0", "cpuset.mems": "0", "pids.max": "77", "io.weight": "default 1920",
         "hugetlb.2MB.max": "0"}
PROPS = {"MemoryMax": str(64 * MIB), "MemorySwapMax": str(32 * MIB), "MemoryLow": str(8 * MIB),
         "MemoryHigh": str(60 * MIB), "CPUWeight": "59", "CPUQuotaPerSecUSec": "500ms",
         "CPUQuotaPeriodUSec": "100ms", "AllowedCPUs": "0", "AllowedMemoryNodes": "0",
         "TasksMax": "77", "IOWeight": "1920"}


def _files(directory, names=FILES):
    got = {}
    for n in names:
        with open(os.path.join(directory, n)) as f:
            got[n] = f.read().strip()
    return got


# ---- tests ----

@timeout(120)
def test_scope(t):
    c, unit = _container(t)
    pid = c.up()
    got = _show(unit, "ActiveState", "Slice", "Delegate", "DefaultDependencies", "CollectMode",
                "Description", "ControlGroup", "NeedDaemonReload", "Transient")
    t.eq(got, {"ActiveState": "active", "Slice": "system.slice", "Delegate": "yes",
               "DefaultDependencies": "no", "CollectMode": "inactive-or-failed",
               "Description": f"bailey container {c.id}",
               "ControlGroup": f"/system.slice/{unit}", "NeedDaemonReload": "no",
               "Transient": "yes"})
    t.eq(c.cgroup_dir(pid), f"/sys/fs/cgroup/system.slice/{unit}")
    with open(c.cgroup_dir(pid) + "/cgroup.procs") as f:
        t.eq(f.read().split(), [str(pid)], "init alone")
    must(c.delete("--force"))
    t.true(_is_gone(unit), "the unit is gone when delete returns")
    t.true(not os.path.exists(f"/sys/fs/cgroup/system.slice/{unit}"), "and its cgroup")


@timeout(120)
def test_default_path(t):
    c, _ = _container(t)
    del c.config.linux["cgroupsPath"]
    pid = c.up()
    t.eq(c.cgroup_dir(pid), f"/sys/fs/cgroup/system.slice/bailey-{c.id}.scope")


@timeout(120)
def test_nested_slices(t):
    c, unit = _container(t, "baileytest-inner-most.slice")
    pid = c.up()
    t.eq(c.cgroup_dir(pid), "/sys/fs/cgroup/baileytest.slice/baileytest-inner.slice/"
         f"baileytest-inner-most.slice/{unit}")
    must(c.delete("--force"))
    _systemctl("stop", "baileytest.slice")


@cases(no_suffix=("x.slic:a:b", "must end in \".slice\""), start=("-x.slice:a:b", "bad slice name"),
       end=("x-.slice:a:b", "bad slice name"), double=("x--y.slice:a:b", "bad slice name"),
       path=("/a/b", "SLICE:PREFIX:NAME"), two=("x.slice:a", "SLICE:PREFIX:NAME"),
       slice_as_name=("x.slice:a:b.slice", "is a slice"), blank=("x.slice:a:b c", "bad unit name"),
       empty=("x.slice:a:", "is empty"), up=("../x.slice:a:b", ".."))
def test_bad_path(t, path, text):
    c, _ = _container(t)
    c.config.linux["cgroupsPath"] = path
    t.fails(c.run(), "cgroupsPath", code=1, bailey=text)


@timeout(180)
def test_limits_survive_daemon_reload(t):
    c, unit = _container(t)
    _limits(c)
    d = c.cgroup_dir(c.up())
    t.eq(_files(d), FILES)
    t.eq(_show(unit, *PROPS), PROPS)
    _systemctl("daemon-reload")
    t.eq(_files(d), FILES, "after daemon-reload")
    t.eq(_show(unit, *PROPS), PROPS, "after daemon-reload")


@timeout(180)
def test_update(t):
    """Sets what is named, leaves the rest, and both survive."""
    c, unit = _container(t)
    _limits(c)
    d = c.cgroup_dir(c.up())
    must(c.verb("update", "--pids-limit", "88", "--memory", "80m", "--memory-swap", "-1",
                "--cpu-quota", "-1", c.id))
    want = {**FILES, "pids.max": "88", "memory.max": str(80 * MIB), "memory.swap.max": "max",
            "cpu.max": "max 100000"}
    t.eq(_files(d), want)
    t.eq(_show(unit, "TasksMax", "MemoryMax", "MemorySwapMax", "CPUWeight", "NeedDaemonReload"),
         {"TasksMax": "88", "MemoryMax": str(80 * MIB), "MemorySwapMax": "infinity",
          "CPUWeight": "59", "NeedDaemonReload": "no"})
    _systemctl("daemon-reload")
    t.eq(_files(d), want, "after daemon-reload")
    t.fails(c.verb("update", "--cpuset-cpus", "9999", c.id), "cpu")


@timeout(120)
def test_one_task(t):
    c, unit = _container(t)
    c.config.linux["resources"]["pids"] = {"limit": 1}
    d = c.cgroup_dir(c.up())
    _systemctl("daemon-reload")
    t.eq(_files(d, ["pids.max"]), {"pids.max": "1"})
    t.eq(_show(unit, "TasksMax"), {"TasksMax": "1"})


@timeout(120)
def test_idle(t):
    c, unit = _container(t)
    c.config.linux["resources"]["cpu"] = {"idle": 1}
    d = c.cgroup_dir(c.up())
    t.eq(_files(d, ["cpu.idle"]), {"cpu.idle": "1"})
    _systemctl("daemon-reload")
    t.eq(_files(d, ["cpu.idle"]), {"cpu.idle": "1"}, "after daemon-reload")
    must(c.verb("update", "--cpu-idle", "0", "--cpu-share", "1024", c.id))
    _systemctl("daemon-reload")
    t.eq(_files(d, ["cpu.idle", "cpu.weight"]), {"cpu.idle": "0", "cpu.weight": "100"})


def _rule(allow, path):
    major, minor = NUMBERS[path]
    return {"allow": allow, "type": "c", "major": major, "minor": minor, "access": "rwm"}


def _opens(c, path):
    """Whether the device rules let it be opened (the driver may be missing all the same)."""
    r = c.exec_probe("open", path, "r")
    return r["ret"] >= 0 or r["errno"] != "EPERM"


@timeout(240)
def test_devices(t):
    c, _ = _container(t)
    c.config.linux["devices"] = [
        {"path": p, "type": "c", "major": n[0], "minor": n[1], "fileMode": 0o666, "uid": 0,
         "gid": 0} for p, n in NUMBERS.items()]
    c.config.linux["resources"]["devices"].append(_rule(True, ALLOWED))
    c.up()

    def check(first, second, when):
        t.eq((_opens(c, ALLOWED), _opens(c, DENIED), _opens(c, "/dev/null"),
              _opens(c, "/dev/ptmx")), (first, second, True, True), when)
    check(True, False, "at first")
    _systemctl("daemon-reload")
    check(True, False, "after daemon-reload")
    must(c.verb("update", "--pids-limit", "100", c.id))
    check(True, False, "after an update without devices")
    rules = [{"allow": False, "access": "rwm"}, _rule(True, DENIED)]
    must(c.verb("update", "--resources", "-", c.id, input=json.dumps({"devices": rules})))
    check(False, True, "after an update of the devices")
    _systemctl("daemon-reload")
    check(False, True, "after an update of the devices and daemon-reload")


@timeout(120)
def test_annotations(t):
    c, unit = _container(t)
    c.config["annotations"] = {
        "org.systemd.property.TimeoutStopSec": "7",
        "org.systemd.property.Documentation": "['man:a(1)', 'man:b(1)']",
        "org.systemd.property.CollectMode": "'inactive'",
        "org.systemd.property.IOWeight": "uint64 321"}
    c.up()
    t.eq(_show(unit, "TimeoutStopUSec", "Documentation", "CollectMode", "IOWeight"),
         {"TimeoutStopUSec": "7s", "Documentation": '"man:a(1)" "man:b(1)"',
          "CollectMode": "inactive", "IOWeight": "321"})
    must(c.delete("--force"))
    t.true(_is_gone(unit), "the unit")


@cases(syntax=("TimeoutStopUSec", "uint64 x"), unknown=("NoSuchThing", "true"),
       type=("MemoryMax", "'much'"), own=("Slice", "'x.slice'"))
def test_bad_annotation(t, name, value):
    c, unit = _container(t)
    c.config["annotations"] = {f"org.systemd.property.{name}": value}
    t.fails(c.run(), name if name in ("TimeoutStopUSec", "Slice") else unit, code=1)
    t.true(_is_gone(unit), "the unit")


@timeout(240)
def test_end_and_again(t):
    """A container that ended by itself leaves no unit, and its name can be had again at once."""
    c, unit = _container(t)
    for _ in range(3):
        c.config.args("/probe", "exit", "3")
        t.eq(c.run().code, 3)
        t.true(_is_gone(unit), "the unit after run")
    pid = c.sleeping()
    must(c.kill())
    wait_gone(pid)
    c.wait_status("stopped")
    must(c.delete())
    wait_for("the unit's end", lambda: _is_gone(unit))
    c.up()


@timeout(120)
def test_failed_unit_is_no_hindrance(t):
    c, unit = _container(t)
    subprocess.run(["systemd-run", "--scope", "--quiet", "--unit", unit, "-p", "RuntimeMaxSec=1",
                    "sleep", "1000"], timeout=clock.limit(30), check=False)
    wait_for("the failure", lambda: _show(unit, "ActiveState")["ActiveState"] == "failed")
    c.up()


@timeout(120)
def test_taken_name(t):
    c, unit = _container(t)
    pid = c.up()
    other, _ = _container(t)
    other.config.linux["cgroupsPath"] = c.config.linux["cgroupsPath"]
    t.fails(other.run(), "exists", code=1, bailey=unit)
    t.eq(c.status(), "running", "the first one")
    t.ne(kernel.process_state(pid), None, "its init")


@timeout(120)
def test_freezer_and_kill(t):
    c, _ = _container(t)
    pid = c.up()
    must(c.verb("pause", c.id))
    t.eq(c.status(), "paused")
    _systemctl("daemon-reload")
    t.eq(c.status(), "paused", "after daemon-reload")
    must(c.verb("resume", c.id))
    t.true(c.verb("events", "--stats", c.id).json()["data"]["pids"]["current"] >= 1, "statistics")
    t.true(str(pid) in c.verb("ps", "--format", "json", c.id).out, "ps")
    must(c.verb("pause", c.id))
    must(c.delete("--force"))


@timeout(120)
def test_killed_create(t):
    """Its hook kills the runtime: no unit, no process, and delete finds the rest."""
    c, unit = _container(t)
    kill = t.file("kill", "#!/bin/sh\nkill -9 $PPID\n", 0o755)
    c.config.hook("createRuntime", kill)
    t.eq(c.create().code, -signal.SIGKILL)
    wait_for("the unit's end", lambda: _is_gone(unit))
    must(c.delete("--force"))


@timeout(240)
def test_killed_at_any_time(t):
    c, unit = _container(t)
    for ms in range(0, 500, 20):
        c._write()
        p = t.runtime.spawn("create", "--bundle", c.bundle.path, c.id, stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(ms / 1000)
        p.kill()
        p.wait()
        must(c.delete("--force"))
        wait_for(f"the unit's end, killed after {ms} ms", lambda: _is_gone(unit))


def test_no_bus(t):
    c, _ = _container(t)
    t.runtime.environ = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/no/such"}
    t.fails(c.run(), "D-Bus", code=1)


# ---- an ordinary user's systemd ----

def _user_manager(t):
    _need_systemd(t)
    try:
        pwd.getpwuid(USER)
    except KeyError:
        t.skip(f"there is no user {USER}")
    unit = f"user@{USER}.service"
    if _show(unit, "ActiveState")["ActiveState"] != "active":
        _systemctl("start", unit)
    bus = f"/proc/1/root/run/user/{USER}/bus"
    wait_for(bus, lambda: os.path.exists(bus), 30)


class _Outside(Runtime):
    """As from a login session: not in what the user's systemd was delegated."""

    between = []
    env = [f"XDG_RUNTIME_DIR=/run/user/{USER}"]

    def argv(self, *args):
        return [*_as(USER, *self.env), *self.between, *super().argv(*args)]


class _Inside(_Outside):
    """As engines run it."""

    between = ["systemd-run", "--user", "--pipe", "--wait", "--quiet", "--collect", "--"]


class _Mapped(_Inside):
    """As rootless podman runs it, in a user namespace of its own."""

    between = [*_Inside.between, "unshare", "-Ur"]


class _Lonely(_Outside):
    env = []


def _user_container(t, kind):
    _user_manager(t)
    home = t.dir("user")
    os.chown(home, USER, USER)
    c, unit = _container(t, runtime=kind(t.runtime.path, os.path.join(home, "root")))
    c.config.rootless(*((0, 0) if kind is _Mapped else (USER, USER)))
    c.config.namespace("cgroup")
    c.config.linux["resources"] = {"memory": {"limit": 64 * MIB}, "pids": {"limit": 77}}
    c.bundle.chown(USER, USER)
    os.chown(c.bundle.path, USER, USER)
    return c, unit


@timeout(240)
@cases(outside=(_Outside,), inside=(_Inside,), mapped=(_Mapped,))
def test_user(t, kind):
    c, unit = _user_container(t, kind)
    d = c.cgroup_dir(c.up())
    t.has(d, f"/user@{USER}.service/user.slice/{unit}")
    t.eq(_files(d, ["memory.max", "pids.max"]), {"memory.max": str(64 * MIB), "pids.max": "77"})
    t.eq(_show(unit, "MemoryMax", "TasksMax", "Slice", user=USER),
         {"MemoryMax": str(64 * MIB), "TasksMax": "77", "Slice": "user.slice"})
    if kind is not _Mapped:  # each call has a user namespace of its own, and may not join the first
        t.eq(c.exec_report()["cgroup"].split("0::")[1].strip(), "/", "exec")
    must(c.verb("update", "--memory", "80m", c.id))
    _systemctl("daemon-reload", user=USER)
    t.eq(_files(d, ["memory.max"]), {"memory.max": str(80 * MIB)}, "updated and reloaded")
    must(c.delete("--force"))
    t.true(_is_gone(unit, USER), "the unit")


def test_user_without_a_session(t):
    c, _ = _user_container(t, _Lonely)
    t.fails(c.run(), "systemd", code=1, bailey="neither DBUS_SESSION_BUS_ADDRESS nor")
