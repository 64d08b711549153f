"""cgroups: path, membership, freezer, update, events, removal."""
import json
import os
import subprocess
import time

from lib import kernel
from lib.container import must, wait_for
from lib.testing import bailey_only, cases, namespaces_only


def test_path(t):
    c = t.container()
    pid = c.sleeping()
    t.eq(c.cgroup_dir(pid), f"/sys/fs/cgroup/bailey-test/{c.id}")


def test_default_path(t):
    c = t.container(cgroups_path=False)
    pid = c.sleeping()
    t.true(c.id in c.cgroup_dir(pid), c.cgroup_dir(pid))


def test_nested_path(t):
    c = t.container(cgroups_path=False)
    c.config.linux["cgroupsPath"] = f"/bailey-test/{t.mark}-a/b/c"
    pid = c.sleeping()
    t.eq(c.cgroup_dir(pid), f"/sys/fs/cgroup/bailey-test/{t.mark}-a/b/c")
    must(c.delete("--force"))
    if t.is_bailey:
        t.true(not os.path.exists(f"/sys/fs/cgroup/bailey-test/{t.mark}-a"), "ancestors it made")
    else:
        t.keep_cgroup = True


@cases(up="/bailey-test/../../x", relative_up="../x", dots="/..")
def test_escaping_path(t, path):
    c = t.container("/bin/true", cgroups_path=False)
    c.config.linux["cgroupsPath"] = path
    if t.is_bailey:
        t.fails(c.run(), "cgroupsPath", code=1)


def test_busy_cgroup_is_refused(t):
    path = f"/sys/fs/cgroup/bailey-test/{t.mark}-busy"
    os.mkdir(path)
    p = subprocess.Popen(["sleep", "1000"])
    t.later(p.wait)
    t.later(p.kill)
    with open(path + "/cgroup.procs", "w") as f:
        f.write(str(p.pid))
    c = t.container("/bin/true", cgroups_path=False)
    c.config.linux["cgroupsPath"] = f"/bailey-test/{t.mark}-busy"
    if t.is_bailey:
        t.fails(c.run(), "busy", code=1)
    t.eq(p.poll(), None, "the other process lives on")
    p.kill()
    p.wait()
    wait_for("the end", lambda: not open(path + "/cgroup.procs").read())
    if os.path.isdir(path):
        os.rmdir(path)


def test_existing_empty_cgroup_is_used(t):
    path = f"/sys/fs/cgroup/bailey-test/{t.mark}-mine"
    os.mkdir(path)
    c = t.container(cgroups_path=False)
    c.config.linux["cgroupsPath"] = f"/bailey-test/{t.mark}-mine"
    pid = c.sleeping()
    t.eq(c.cgroup_dir(pid), path)


def test_cgroup_namespace(t):
    c = t.container()
    c.config.namespace("cgroup")
    t.eq(c.report()["cgroup"].split("0::")[1].strip(), "/", "the container's root")
    c.config.args("/probe", "sleep")
    c.up()
    t.eq(c.exec_report()["cgroup"].split("0::")[1].strip(), "/", "exec")


def test_pause_and_resume(t):
    c = t.container()
    c.up("/probe", "count", "/n")
    f = c.bundle.at("n")
    wait_for("counting", lambda: os.path.exists(f) and open(f).read())
    must(c.verb("pause", c.id))
    t.eq(c.status(), "paused")
    before = open(f).read()
    time.sleep(0.05)
    t.eq(open(f).read(), before, "does not count")
    must(c.verb("resume", c.id))
    t.eq(c.status(), "running")
    wait_for("counting again", lambda: open(f).read() != before)
    t.fails(c.verb("resume", c.id), code=1, bailey="not paused")


def test_pause_twice(t):
    c = t.container()
    c.sleeping()
    must(c.verb("pause", c.id))
    t.fails(c.verb("pause", c.id), code=1)
    t.eq(c.status(), "paused")


def test_kill_paused(t):
    c = t.container()
    c.sleeping()
    must(c.verb("pause", c.id))
    must(c.kill("KILL"))
    if not t.is_bailey:
        c.verb("resume", c.id)
    wait_for("the end", lambda: c.status() == "stopped")


def test_pause_created(t):
    c = t.container("/probe", "sleep")
    must(c.create())
    must(c.verb("pause", c.id))
    must(c.verb("resume", c.id))
    must(c.start())
    t.eq(c.status(), "running")


def test_frozen_by_others_is_paused(t):
    """Status is the kernel's word."""
    c = t.container()
    pid = c.sleeping()
    with open(c.cgroup_dir(pid) + "/cgroup.freeze", "w") as f:
        f.write("1")
    c.wait_status("paused")


# ---- limits: this needs the controller; hugetlb is everywhere, the others on a full host

# What a machine's container is limited in there, not by its cgroup on the host.
IN_GUEST = ("memory", "pids")


def _has(controller):
    with open("/sys/fs/cgroup/cgroup.controllers") as f:
        return controller in f.read().split()


def _value(c, pid, name):
    with open(f"{c.cgroup_dir(pid)}/{name}") as f:
        return f.read().strip()


@cases(memory=("memory", {"memory": {"limit": 64 << 20, "reservation": 32 << 20}},
               {"memory.max": str(64 << 20), "memory.low": str(32 << 20)}),
       swap=("memory", {"memory": {"limit": 64 << 20, "swap": 96 << 20}},
             {"memory.swap.max": str(32 << 20)}),
       pids=("pids", {"pids": {"limit": 77}}, {"pids.max": "77"}),
       cpu=("cpu", {"cpu": {"quota": 50000, "period": 100000}}, {"cpu.max": "50000 100000"}),
       cpuset=("cpuset", {"cpu": {"cpus": "0", "mems": "0"}}, {"cpuset.cpus": "0"}),
       hugetlb=("hugetlb", {"hugepageLimits": [{"pageSize": "2MB", "limit": 4 << 20}]},
                {"hugetlb.2MB.max": str(4 << 20)}))
def test_limit(t, controller, resources, want):
    t.need(_has(controller), f"no {controller} controller in the cgroup2 tree of this machine")
    t.need(not (t.in_machine and controller in IN_GUEST), "limited in the guest (test_limits.py)")
    c = t.container("/probe", "sleep")
    c.config.linux["resources"].update(resources)
    pid = c.up()
    for name, value in want.items():
        t.eq(_value(c, pid, name), value, name)


@bailey_only("runc ignores some of these")
@cases(memory={"memory": {"limit": 64 << 20}}, pids={"pids": {"limit": 77}},
       cpu={"cpu": {"quota": 50000, "period": 100000}},
       io={"blockIO": {"weight": 100}}, rdma={"rdma": {"mlx5_0": {"hcaHandles": 3}}})
def test_limit_without_controller_is_refused(t, resources):
    """No property is ignored in silence. What the runtime sees is the tree below a cgroup whose
    parent hands no controller down."""
    controller = {"blockIO": "io"}.get(next(iter(resources)), next(iter(resources)))
    t.need(not (t.in_machine and controller == "pids"), "limited in the guest, which has it")
    parent = f"/sys/fs/cgroup/{t.mark}-parent"
    os.makedirs(parent + "/bare")
    t.later(os.rmdir, parent)
    t.later(os.rmdir, parent + "/bare")

    def see_only_the_bare_cgroup():
        with open(parent + "/bare/cgroup.procs", "w") as f:
            f.write("0")
        kernel.unshare(kernel.CLONE_NEWCGROUP | kernel.CLONE_NEWNS)
        kernel.umount("/sys/fs/cgroup")  # the same filesystem twice in one place is refused
        kernel.mount("cgroup2", "/sys/fs/cgroup", "cgroup2")

    c = t.container("/bin/true")
    c.config.linux["resources"].update(resources)
    t.fails(c.run(preexec_fn=see_only_the_bare_cgroup), controller, code=1)


def test_unified(t):
    c = t.container("/probe", "sleep")
    c.config.linux["resources"]["unified"] = {"cgroup.max.depth": "7"}
    r = c.create()
    t.need(t.is_bailey or r.code == 0, "runc 1.1 wants a controller's name")
    must(r)
    t.eq(_value(c, c.pid(), "cgroup.max.depth"), "7")


@bailey_only("texts")
@cases(slash=("a/b", "1"), missing=("no.such.file", "1"), up=("..", "1"))
def test_bad_unified(t, name, value):
    c = t.container("/bin/true")
    c.config.linux["resources"]["unified"] = {name: value}
    t.fails(c.run(), name, code=1)


@bailey_only("runc updates no hugetlb limit")
def test_update(t):
    t.need(_has("hugetlb"), "no hugetlb controller")
    c = t.container("/probe", "sleep")
    pid = c.up()
    limit = {"hugepageLimits": [{"pageSize": "2MB", "limit": 8 << 20}]}
    f = t.file("res.json", json.dumps(limit))
    must(c.verb("update", "--resources", f, c.id))
    t.eq(_value(c, pid, "hugetlb.2MB.max"), str(8 << 20))
    limit["hugepageLimits"][0]["limit"] = 6 << 20
    must(c.verb("update", "--resources", "-", c.id, input=json.dumps(limit)))
    t.eq(_value(c, pid, "hugetlb.2MB.max"), str(6 << 20), "by stdin")
    if _has("pids") and not t.in_machine:
        must(c.verb("update", "--pids-limit", "55", c.id))
        t.eq(_value(c, pid, "pids.max"), "55")
        t.eq(_value(c, pid, "hugetlb.2MB.max"), str(6 << 20), "what is not named stays")


def test_update_keeps_the_device_rules(t):
    t.need(_has("hugetlb"), "no hugetlb controller")
    c = t.container("/probe", "sleep")
    c.config.caps(**{k: ["CAP_MKNOD"] for k in ("bounding", "effective", "permitted")})
    c.up()
    t.exited(c.exec_probe("mknod", "/loop", "b", 7, 0))
    t.exited(c.exec_probe("open", "/loop", "r"), "EPERM")
    f = t.file("r.json", '{"hugepageLimits": [{"pageSize": "2MB", "limit": 0}]}')
    must(c.verb("update", "--resources", f, c.id))
    t.exited(c.exec_probe("open", "/loop", "r"), "EPERM")


@cases(syntax="{", kind="[]", type_='{"memory": {"limit": "x"}}', missing=None)
def test_bad_update(t, text):
    c = t.container("/probe", "sleep")
    c.up()
    f = os.path.join(t.tmp, "r.json")
    if text is not None:
        t.file("r.json", text)
    t.fails(c.verb("update", "--resources", f, c.id), code=1, bailey="r.json")


def test_update_nothing(t):
    c = t.container("/probe", "sleep")
    c.up()
    if t.is_bailey:
        t.fails(c.verb("update", c.id), code=1)


# ---- events

def test_events_stats(t):
    c = t.container("/probe", "sleep")
    c.up()
    e = must(c.verb("events", "--stats", c.id)).json()
    t.eq((e["type"], e["id"]), ("stats", c.id))
    t.true({"cpu", "memory", "pids", "blkio"} <= set(e["data"]), sorted(e["data"]))


@bailey_only("runc says nothing before the first interval is over")
def test_events_interval(t):
    c = t.container("/probe", "sleep")
    c.up()
    p = c.runtime.spawn("events", "--interval", "1s", c.id, stdout=subprocess.PIPE, text=True)
    line = p.stdout.readline()
    t.eq(json.loads(line)["type"], "stats")
    must(c.kill())
    c.wait_status("stopped")
    t.true(p.wait(15) is not None, "ends with the container")


def test_delete_removes_sub_cgroups(t):
    c = t.container("/probe", "sleep")
    pid = c.up()
    top = c.cgroup_dir(pid)
    os.makedirs(top + "/a/b")
    os.makedirs(top + "/c")
    must(c.delete("--force"))
    t.true(not os.path.exists(top), "gone with what the payload made in it")


def test_disabled_manager(t):
    """--cgroup-manager disabled: stays in the caller's cgroup."""
    t.need(t.is_bailey, "runc has no such option")
    t.runtime.globals = ["--cgroup-manager", "disabled"]
    c = t.container("/probe", "sleep")
    c.config.linux.pop("resources")
    t.eq(c.cgroup_dir(c.up()), c.cgroup_dir(os.getpid()))


@namespaces_only("the payload sees the machine's cgroups")
def test_created_in_its_cgroup(t):
    """Init is a member from its first instruction: nothing is moved afterwards."""
    c = t.container("/bin/cat", "/proc/1/cgroup")
    c.config.hook("createRuntime", "/bin/sh", "-c", "true")
    t.has(must(c.run()).out, f"/bailey-test/{c.id}")
