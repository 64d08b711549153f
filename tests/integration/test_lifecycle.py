"""create, start, state, kill, delete, list, ps, and the verbs in the wrong state."""
import json
import os
import re
import signal
import subprocess
import time

from lib import kernel, reaper
from lib.container import kill_pid, must, wait_for, wait_gone
from lib.testing import bailey_only, cases, namespaces_only


def test_statuses(t):
    c = t.container("/probe", "sleep")
    must(c.create())
    s = c.state()
    t.eq(s["status"], "created")
    t.eq(s["id"], c.id)
    t.eq(s["bundle"], c.bundle.path)
    t.true(s["pid"] > 1, "pid of a created container")
    t.true(kernel.process_state(s["pid"]) in "SR", "init waits")
    must(c.start())
    t.eq(c.status(), "running")
    t.eq(c.pid(), s["pid"], "pid stays")
    must(c.kill())
    c.wait_status("stopped")
    t.eq(c.state().get("pid", 0), 0, "pid of a stopped container")
    must(c.delete())
    t.fails(c.verb("state", c.id), "does not exist", code=1)


def test_state_fields(t):
    c = t.container()
    c.config["annotations"] = {"org.example.a": "1", "b": "zwei ü \" \\"}
    c.sleeping()
    s = c.state()
    t.eq(s["annotations"], {"org.example.a": "1", "b": "zwei ü \" \\"})
    t.true(re.match(r"1\.\d+\.\d+", s["ociVersion"]), "ociVersion")
    t.eq(s["rootfs"], c.bundle.rootfs)
    t.true(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z$", s["created"]), s["created"])


def test_payload_waits_for_start(t):
    c = t.container("/bin/touch", "/started")
    must(c.create())
    time.sleep(0.1)
    t.true(not os.path.exists(c.bundle.at("started")), "the payload ran before start")
    must(c.start())
    wait_for("the payload", lambda: os.path.exists(c.bundle.at("started")))


@namespaces_only("the first process stays the monitor")
def test_created_init_is_not_the_payload(t):
    """After create the namespaces exist; the program is still the runtime's."""
    c = t.container("/probe", "sleep")
    must(c.create())
    t.ne(os.path.basename(os.readlink(f"/proc/{c.pid()}/exe")), "probe")
    t.ne(kernel.ns_inode("mnt", c.pid()), kernel.ns_inode("mnt"))
    must(c.start())
    wait_for("execve", lambda: os.readlink(f"/proc/{c.pid()}/exe").endswith("/probe"))


def test_run_removes(t):
    c = t.container("/bin/true")
    must(c.run())
    t.eq(os.listdir(t.root) if os.path.isdir(t.root) else [], [], "state after run")


def test_run_detach(t):
    c = t.container("/probe", "sleep")
    must(c.run("--detach"))
    t.eq(c.status(), "running")


def test_init_reparents_to_the_caller(t):
    """The runtime is gone; its child belongs to the nearest subreaper: this test."""
    pid = t.container().sleeping()
    with open(f"/proc/{pid}/stat") as f:
        t.eq(int(f.read().rpartition(")")[2].split()[1]), os.getpid(), "parent of init")
    kill_pid(pid)
    wait_gone(pid)
    t.eq(reaper.wait(pid), -signal.SIGKILL, "the caller can wait for init")


def test_payload_exit_reaches_the_subreaper(t):
    c = t.container("/probe", "exit", "42")
    must(c.create())
    pid = c.pid()
    must(c.start())
    t.eq(reaper.wait(pid), 42)


@cases(name=("TERM", 15), prefixed=("SIGHUP", 1), number=("10", 10), lower=("usr2", 12))
def test_kill_signal(t, spelling, number):
    c = t.container()
    out = t.file("out")
    with open(out, "w") as f:
        c.config.args("/probe", "trap", "1")
        p = c.runtime.spawn("run", "--bundle", _written(c), c.id, stdin=subprocess.DEVNULL,
                            stdout=f)
    wait_for("readiness", lambda: "ready" in open(out).read())
    must(c.kill(spelling))
    t.eq(p.wait(10), 0)
    t.eq(open(out).read().split(), ["ready", str(number)])


def _written(c):
    c.bundle.write_config()
    c.made = True
    return c.bundle.path


@cases(word="NOSUCH", hex="0x", negative="-1", huge="4096", trailing="9x")
def test_kill_bad_signal(t, sig):
    c = t.container()
    pid = c.sleeping()
    t.fails(c.verb("kill", "--", c.id, sig), code=1, bailey="signal")
    t.eq(kernel.process_state(pid), "S", "lives on")


def test_kill_default_is_term(t):
    c = t.container()
    pid = c.up("/bin/sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.02; done")
    time.sleep(0.1)
    must(c.verb("kill", c.id))
    t.eq(reaper.wait(pid), 3)


def test_kill_created(t):
    c = t.container("/bin/true")
    must(c.create())
    pid = c.pid()
    must(c.kill("KILL"))
    wait_gone(pid)
    c.wait_status("stopped")
    must(c.delete())


# ---- verbs in the wrong state

def test_start_twice(t):
    c = t.container()
    c.sleeping()
    t.fails(c.start(), code=1)
    t.eq(c.status(), "running")


def test_stopped_container_refuses(t):
    c = t.container()
    pid = c.up("/bin/true")
    wait_gone(pid)
    c.wait_status("stopped")
    t.fails(c.start(), code=1, bailey="stopped")
    t.fails(c.exec("/bin/true"), bailey="not running")
    t.fails(c.kill("TERM"), "not running", code=1)
    t.fails(c.verb("pause", c.id), code=1)
    t.fails(c.verb("resume", c.id), code=1)


def test_created_container_refuses(t):
    c = t.container("/probe", "sleep")
    must(c.create())
    t.fails(c.verb("resume", c.id), code=1)
    t.eq(c.status(), "created")
    must(c.delete())  # as the peers do: nothing that runs is lost


def test_delete_running_refused(t):
    c = t.container()
    pid = c.sleeping()
    t.fails(c.delete(), code=1, bailey=("running", c.id))
    t.eq(kernel.process_state(pid), "S", "lives on")


@cases(state=("state",), start=("start",), kill=("kill", "KILL"), delete=("delete",),
       pause=("pause",), resume=("resume",), ps=("ps",), exec=("exec", "/bin/true"),
       update=("update", "--pids-limit", "9"), events=("events", "--stats"))
def test_unknown_container(t, verb, *rest):
    args = [verb, t.mark, *rest] if verb != "update" else [verb, *rest, t.mark]
    if verb == "events":
        args = [verb, *rest, t.mark]
    t.fails(t.runtime(*args), "does not exist", code=255 if verb == "exec" else 1,
            bailey=t.mark)


def test_delete_force_unknown(t):
    t.eq(t.runtime("delete", "--force", t.mark).code, 0)


@cases(created="create", running="run", stopped="stop", paused="pause")
def test_delete_force(t, how):
    c = t.container("/probe", "sleep")
    must(c.create())
    pid = c.pid()
    if how != "create":
        must(c.start())
    if how == "stop":
        kill_pid(pid)
        c.wait_status("stopped")
    if how == "pause":
        must(c.verb("pause", c.id))
    must(c.delete("--force"))
    wait_gone(pid, 2)
    t.fails(c.verb("state", c.id), "does not exist")


@namespaces_only("shares the host's pid namespace")
@bailey_only("runc 1.1 kills init alone")
def test_delete_force_takes_the_whole_tree(t):
    """Also where there is no pid namespace that would do it."""
    c = t.container()
    c.config.without_namespace("pid")
    c.up("/bin/sh", "-c", "for i in 1 2 3; do setsid sleep 1000 & done; wait")
    cg = c.cgroup_dir()
    wait_for("children", lambda: len(open(cg + "/cgroup.procs").read().split()) == 4)
    must(c.delete("--force"))
    t.true(not os.path.exists(cg), "cgroup is gone")


@namespaces_only("shares the host's pid namespace")
def test_kill_all(t):
    c = t.container()
    c.config.without_namespace("pid")
    c.up("/bin/sh", "-c", "setsid sleep 1000 & setsid sleep 1000 & wait")
    procs = c.cgroup_dir() + "/cgroup.procs"
    wait_for("children", lambda: len(open(procs).read().split()) == 3)
    must(c.kill("KILL", "--all"))
    wait_for("the end", lambda: open(procs).read() == "")
    c.wait_status("stopped")


def test_pid_namespace_ends_with_init(t):
    pid = t.container().up("/bin/sh", "-c", "/probe orphan; exit 0")
    wait_gone(pid)  # finish() looks for survivors


def test_id_in_use(t):
    c = t.container()
    pid = c.sleeping()
    t.fails(c.create(), code=1, bailey=("exist", c.id))
    t.fails(c.run(), code=1, bailey=c.id)
    t.eq((c.status(), c.pid()), ("running", pid), "the first one lives on")


@cases(slash="a/b", dotdot="..", dot=".", parent="../x", empty="", space="a b", newline="a\nb",
       long="x" * 1025, nul="x/../../y")
def test_bad_id(t, bad):
    c = t.container("/bin/true")
    c.bundle.write_config()
    t.fails(c.runtime("create", "--bundle", c.bundle.path, bad), code=1, bailey="ID")
    for verb in ("state", "delete"):
        t.ne(c.runtime(verb, bad).code, 0, verb)


@cases(plain="abc", all="Az09_+.-x", digits="0", dot=".x", hex="f" * 64)
def test_good_id(t, good):
    c = t.container("/bin/true", id_=f"{good}", cgroups_path=False)
    c.config.linux["cgroupsPath"] = f"/bailey-test/{t.mark}"
    must(c.run())


# ---- list and ps

def test_list(t):
    a, b = t.container("/probe", "sleep"), t.container("/probe", "sleep", id_=f".{t.mark}")
    must(a.create())
    b.sleeping()
    r = must(t.runtime("list"))
    t.has(r.out.splitlines()[0].split(), "STATUS")
    t.true(re.search(rf"^{a.id}\s+{a.pid()}\s+created\s+{re.escape(a.bundle.path)}", r.out, re.M),
           r.out)
    t.true(re.search(rf"^{re.escape(b.id)}\s+{b.pid()}\s+running", r.out, re.M), r.out)
    t.eq(sorted(must(t.runtime("list", "--quiet")).out.split()), sorted([a.id, b.id]))
    entries = {e["id"]: e for e in must(t.runtime("list", "--format", "json")).json()}
    t.eq(entries[a.id]["status"], "created")
    t.eq(entries[b.id]["pid"], b.pid())
    t.has(entries[b.id], "bundle")
    t.has(entries[b.id], "created")


def test_list_empty(t):
    t.eq(must(t.runtime("list", "--quiet")).out, "")
    t.true(must(t.runtime("list", "-f", "json")).out.strip() in ("null", "[]"), "empty JSON list")
    t.fails(t.runtime("list", "-f", "yaml"), code=1)


def test_ps(t):
    c = t.container()
    pid = c.up("/bin/sh", "-c", "sleep 1000 & wait")
    wait_for("the child", lambda: "sleep 1000" in must(c.verb("ps", c.id)).out)
    r = must(c.verb("ps", c.id))
    t.has(r.out.splitlines()[0], "PID")
    t.eq(len(r.out.splitlines()), 3)
    pids = must(c.verb("ps", "-f", "json", c.id)).json()
    t.has(pids, pid)
    if t.in_machine:  # whose processes are the guest's, and ps(1) is the host's
        t.fails(c.verb("ps", c.id, "-o", "pid,comm"), "another kernel", code=1)
        return
    t.eq(len(pids), 2)
    if "crun" not in t.runtime.path:
        t.has(must(c.verb("ps", c.id, "-o", "pid,comm")).out, str(pid))


# ---- pid reuse

def _state_file(t, c):
    return os.path.join(t.root, c.id, "state.json")


@bailey_only("edits bailey's own state.json")
def test_pid_reuse(t):
    """A recorded pid that now belongs to someone else: stopped, and never signalled."""
    c = t.container()
    pid = c.sleeping()
    victim = t.container()
    other = victim.sleeping()
    path = _state_file(t, c)
    with open(path) as f:
        text = f.read()
    s = json.loads(text)
    kill_pid(pid)
    wait_gone(pid)
    reaper.wait(pid)
    key = next(k for k, v in s.items() if v == pid)
    s[key] = other  # another process, another start time
    with open(path, "w") as f:
        json.dump(s, f)
    t.eq(c.status(), "stopped")
    t.fails(c.kill("KILL"), "not running")
    must(c.delete("--force"))
    t.eq(kernel.process_state(other), "S", "the other process lives on")
    t.eq(victim.status(), "running")
