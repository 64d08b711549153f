"""containerd end to end by ctr, with runc (which proves the script) and with the runtime under test."""
import os
import signal

from lib.clock import limit
from lib.container import must, wait_for
from lib.engine import IMAGE, Containerd
from lib.terminal import open_pty
from lib.testing import cases, timeout

RUNTIMES = {"runc": "runc", "tested": None}
SHARES = "containerd"


@timeout(180)
@cases(**RUNTIMES)
def test_run(t, rt):
    c = Containerd(t, rt)
    r = must(c.run("/probe", opts=["--env", "A=b", "--cwd", "/tmp"])).json()
    t.eq((r["pid"], r["uid"][0], r["cwd"]), (1, 0, "/tmp"))
    t.has(r["env"], "A=b")
    t.lacks(r["caps"]["effective"], "cap_sys_admin")
    t.eq(r["no_new_privs"], 1)
    for code in (0, 1, 77, 125, 255):
        t.eq(c.run("/probe", "exit", code).code, code, "exit code")
    t.eq(c.run("/probe", "signal", 11).code, 139, "SIGSEGV")
    r = c.run("nosuchcommand")
    t.true(r.code not in (0, 127), f"{r}")
    t.has(r.err.lower(), "executable file not found in $path")


@timeout(180)
@cases(**RUNTIMES)
def test_spec_options(t, rt):
    """What ctr's flags put into config.json."""
    c = Containerd(t, rt)
    t.dir("volume")
    t.file("volume/in", "from host\n")
    mount = f"type=bind,src={t.tmp}/volume,dst=/v,options=rbind:ro"
    t.eq(must(c.run("/bin/cat", "/v/in", opts=["--mount", mount])).out, "from host\n")
    t.ne(c.run("/bin/touch", "/v/x", opts=["--mount", mount]).code, 0, "write to a ro mount")
    t.ne(c.run("/bin/touch", "/x", opts=["--read-only"]).code, 0, "write to a ro root")
    r = must(c.run("/probe", opts=["--seccomp", "--cap-drop", "CAP_CHOWN"])).json()
    t.eq(r["seccomp"], 2)
    t.lacks(r["caps"]["bounding"], "cap_chown")
    r = must(c.run("/probe", opts=["--net-host"])).json()
    t.eq(r["ns"]["net"], os.readlink("/proc/self/ns/net"))


@timeout(240)
@cases(**RUNTIMES)
def test_tasks(t, rt):
    c = Containerd(t, rt)
    n = c.up("/probe", "trap", "9")
    t.eq(c.status(n), "RUNNING")
    r = must(c("tasks", "exec", "--exec-id", "a", n, "/probe")).json()
    t.ne(r["pid"], 1)
    for code in (0, 3, 255):
        t.eq(c("tasks", "exec", "--exec-id", f"e{code}", n, "/probe", "exit", code).code, code)
    t.eq(must(c("tasks", "exec", "--exec-id", "u", "--user", "1000", "--cwd", "/tmp", n, "/bin/sh",
                "-c", "id -u; pwd")).out, "1000\n/tmp\n")
    must(c("tasks", "exec", "-d", "--exec-id", "d", n, "/probe", "sleep"))
    t.eq(len(must(c("tasks", "ps", n)).out.splitlines()), 3, "header, init, exec")
    must(c("tasks", "pause", n))
    t.eq(c.status(n), "PAUSED")
    must(c("tasks", "resume", n))
    t.eq(c.status(n), "RUNNING")
    must(c("tasks", "kill", "--exec-id", "d", "-s", "KILL", n))
    t.has(must(c("tasks", "metrics", n)).out, n)
    must(c("tasks", "kill", "-s", "SIGKILL", n))
    wait_for("the end", lambda: c.status(n) == "STOPPED")
    must(c("tasks", "delete", n))
    t.eq(c.status(n), None)
    must(c("containers", "delete", n))


@timeout(180)
@cases(**RUNTIMES)
def test_start_again(t, rt):
    c = Containerd(t, rt)
    n = c.up("/probe", "exit", "6")
    wait_for("the end", lambda: c.status(n) == "STOPPED")
    must(c("tasks", "delete", n))
    t.eq(c("tasks", "start", n).code, 6, "another task of the same container")
    t.has(must(c("containers", "info", n)).out, "io.containerd.runc.v2")
    must(c("containers", "delete", n))


@timeout(180)
@cases(**RUNTIMES)
def test_kill_all(t, rt):
    """In the host's PID namespace init's end leaves the others: the shim says kill --all."""
    c = Containerd(t, rt)
    n = c.up("/bin/sh", "-c", "sleep 1000 & sleep 1000 & wait", opts=["--with-ns",
             "pid:/proc/self/ns/pid"])
    wait_for("three", lambda: len(must(c("tasks", "ps", n)).out.splitlines()) == 4)
    must(c("tasks", "kill", "-a", "-s", "SIGKILL", n))
    wait_for("the end", lambda: c.status(n) == "STOPPED")
    must(c("tasks", "delete", n))


@timeout(180)
@cases(**RUNTIMES)
def test_terminal(t, rt):
    c = Containerd(t, rt)
    n = c.up()
    script = "until stty size | grep -q '33 91'; do sleep 0.1; done 2>/dev/null; tty; exit 7"
    for verb in (["run", "--rm", "-t", *c.options(), IMAGE, c.name()],
                 ["tasks", "exec", "-t", "--exec-id", "x", n]):
        master, slave = open_pty(91, 33)
        p = c.popen(*verb, "/bin/sh", "-c", script, stdin=slave, stdout=slave, stderr=slave,
                    start_new_session=True)
        os.close(slave)
        t.has(master.read_all(60), "/dev/", "tty")
        t.eq(p.wait(limit(20)), 7, f"exit code of {verb[0]}")
        master.close()


@timeout(180)
@cases(**RUNTIMES)
def test_shim_dies(t, rt):
    """The next delete comes from containerd itself, by the runtime's delete --force."""
    c = Containerd(t, rt)
    n = c.up()
    pid = int(must(c("tasks", "ls")).out.splitlines()[1].split()[1])
    with open(f"/proc/{pid}/stat") as f:
        shim = int(f.read().rpartition(")")[2].split()[1])
    with open(f"/proc/{shim}/comm") as f:
        t.has(f.read(), "containerd-shim")
    os.kill(shim, signal.SIGKILL)
    wait_for("the container's end", lambda: not os.path.exists(f"/proc/{pid}"), 30)
    wait_for("no task", lambda: c.status(n) in (None, "STOPPED", "UNKNOWN"), 30)
    c("tasks", "delete", "-f", n)
    must(c("containers", "delete", n))


@timeout(240)
@cases(**RUNTIMES)
def test_limits(t, rt):
    with open("/sys/fs/cgroup/cgroup.controllers") as f:
        have = f.read().split()
    for name in ("memory", "cpu"):
        t.need(name in have, f"no {name} controller in the cgroup2 tree of this machine")
    c = Containerd(t, rt)
    n = c.up(opts=["--memory-limit", str(64 << 20), "--cpus", "0.5"])
    top = f"/sys/fs/cgroup/{t.mark}/{n}"
    for name, want in (("memory.max", str(64 << 20)), ("cpu.max", "50000 100000")):
        with open(f"{top}/{name}") as f:
            t.eq(f.read().strip(), want, name)
    r = must(c("tasks", "metrics", "--format", "json", n))
    t.has(r.out, str(64 << 20), "the limit in the metrics")
