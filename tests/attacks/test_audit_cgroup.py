"""One cgroup path for two containers, and cgroups that are another's by now: what is done to one
container never hits another."""
import os
import subprocess

from lib.container import kill_pid, must, wait_gone
from lib.testing import bailey_only


def _stopped_and_successor(t):
    """A container that has ended, and a living one with the same cgroupsPath."""
    a = t.container("/bin/true")
    a.config.linux["cgroupsPath"] = f"/bailey-test-{t.mark}/pod/shared"
    must(a.create())
    must(a.start())
    a.wait_status("stopped")
    b = t.container("/probe", "sleep")
    b.config.linux["cgroupsPath"] = a.config.linux["cgroupsPath"]
    pid = b.up()
    return a, b, pid


@bailey_only("peers kill the successor")
def test_stopped_container_does_not_reach_its_successor(t):
    a, b, pid = _stopped_and_successor(t)
    must(a.kill("KILL", "--all"))
    t.eq((b.status(), b.pid()), ("running", pid), "after kill --all of the stopped one")
    a.kill("KILL")
    t.ne(a.verb("pause", a.id).code, 0)
    t.eq(b.status(), "running")
    must(a.delete())
    t.eq((b.status(), b.pid()), ("running", pid), "after delete of the stopped one")
    t.eq(b.exec("/bin/true").code, 0, "its cgroup is there")
    must(b.delete("--force"))


@bailey_only("peers kill the successor")
def test_order_of_deletion_does_not_matter(t):
    a, b, _ = _stopped_and_successor(t)
    top = b.cgroup_dir()
    must(b.delete("--force"))
    must(a.delete())
    t.true(not os.path.exists(top), "the cgroup")
    t.true(not os.path.exists(f"/sys/fs/cgroup/bailey-test-{t.mark}"),
           "the parents that were made for the first")


def test_successor_does_not_inherit_settings(t):
    a = t.container("/bin/true")
    a.config.linux["resources"]["unified"] = {"cgroup.max.depth": "7"}
    r = a.create()
    t.need(t.is_bailey or r.code == 0, "runc 1.1 wants a controller's name")
    must(a.start())
    a.wait_status("stopped")
    b = t.container("/probe", "sleep")
    b.config.linux["cgroupsPath"] = a.config.linux["cgroupsPath"]
    pid = b.up()
    if t.is_bailey:
        with open(b.cgroup_dir(pid) + "/cgroup.max.depth") as f:
            t.eq(f.read().strip(), "max")
    must(b.delete("--force"))


@bailey_only("peers kill whoever is there")
def test_cgroup_made_anew_by_somebody_else(t):
    """The container's cgroup was removed; a foreign process lives in what has its name."""
    c = t.container("/bin/true")
    must(c.create())
    top = c.cgroup_dir()
    must(c.start())
    c.wait_status("stopped")
    os.rmdir(top)
    os.mkdir(top)
    with subprocess.Popen(["sleep", "100"]) as p:
        with open(top + "/cgroup.procs", "w") as f:
            f.write(str(p.pid))
        must(c.kill("KILL", "--all"))
        must(c.delete("--force"))
        t.eq(p.poll(), None, "the foreign process")
        t.true(os.path.isdir(top), "the foreign cgroup")
        kill_pid(p.pid)
    wait_gone(p.pid)
    os.rmdir(top)


@bailey_only("texts")
def test_prepared_cgroup_survives_a_failed_create(t):
    """An empty cgroup that somebody prepared is taken; where create fails it stays."""
    c = t.container("/nosuch")
    top = "/sys/fs/cgroup" + c.config.linux["cgroupsPath"]
    os.makedirs(top)
    c.config.linux["resources"]["unified"] = {"no.such": "1"}
    t.ne(c.create().code, 0)
    t.true(os.path.isdir(top), "the prepared cgroup")
    os.rmdir(top)


@bailey_only("runc has none")
def test_delete_waits_for_init_without_cgroup(t):
    """Once delete returns, the process is gone, with no cgroup to tell."""
    for _ in range(10):
        c = t.container("/probe", "sleep")
        c.runtime.globals = ["--cgroup-manager", "disabled"]
        pid = c.up()
        must(c.delete("--force"))
        state = ""
        if os.path.exists(f"/proc/{pid}/stat"):
            with open(f"/proc/{pid}/stat") as f:
                state = f.read().rpartition(")")[2].split()[0]
        t.has(("", "Z", "X"), state, "state of init")
