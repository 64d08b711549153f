"""The runtime is killed at any moment: `delete --force` ends what there is, and nothing is left."""
import os
import random
import shutil
import signal
import subprocess
import time

from lib.clock import often
from lib.container import must
from lib.testing import bailey_only, cases, timeout
from lib.trace import kills


def _shot(t, runtime, args, delay):
    p = runtime.spawn(*args, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                      stderr=subprocess.DEVNULL)
    time.sleep(delay)
    p.send_signal(signal.SIGKILL)
    return p.wait()


def _delays(seed):
    """Up to 15 ms, or what is as long under emulation; the first ones evenly over half of it."""
    r, (n, most) = random.Random(seed), often((40, 0.015), (16, 0.2))
    return [i * most / n for i in range(n // 2)] + [r.uniform(0, most) for _ in range(n // 2)]


def _gone(t, c, when):
    r = c.delete("--force")
    t.eq(r.code, 0, f"delete --force after {when}: {r}")
    left = [p for p in t._left_behind()]
    t.eq(left, [], f"after {when}")


@bailey_only("peers leave things behind here")
@timeout(120)
def test_killed_create(t):
    c = t.container("/probe", "sleep")
    c.bundle.write_config()
    for d in _delays(1):
        _shot(t, t.runtime, ("create", "--bundle", c.bundle.path, c.id), d)
        _gone(t, c, f"create killed after {d * 1000:.2f} ms")


@bailey_only("peers leave things behind here")
@timeout(120)
def test_killed_run(t):
    c = t.container("/probe", "sleep")
    c.bundle.write_config()
    for d in _delays(2):
        _shot(t, t.runtime, ("run", "--bundle", c.bundle.path, c.id), d)
        _gone(t, c, f"run killed after {d * 1000:.2f} ms")


@bailey_only("peers leave things behind here")
@timeout(120)
def test_killed_create_without_pid_namespace(t):
    """The cgroup is what finds the processes then."""
    c = t.container("/probe", "sleep")
    c.config.without_namespace("pid")
    c.bundle.write_config()
    for d in _delays(3):
        _shot(t, t.runtime, ("create", "--bundle", c.bundle.path, c.id), d)
        _gone(t, c, f"create killed after {d * 1000:.2f} ms")


@bailey_only("peers leave things behind here")
@timeout(120)
def test_killed_start(t):
    c = t.container("/probe", "sleep")
    for d in _delays(4)[::2]:
        must(c.create())
        _shot(t, t.runtime, ("start", c.id), d / 2)
        t.true(c.status() in ("created", "running", "stopped"), c.status())
        _gone(t, c, f"start killed after {d * 500:.2f} ms")


@timeout(120)
def test_killed_exec(t):
    """The container does not notice; what exec had started ends or is its container's."""
    c = t.container("/probe", "sleep")
    pid = c.up()
    for d in _delays(5):
        _shot(t, t.runtime, ("exec", c.id, "/probe", "sleep"), d)
    t.eq((c.status(), c.pid()), ("running", pid))
    t.eq(c.exec("/bin/true").code, 0)


@bailey_only("peers leave things behind here")
@timeout(120)
def test_killed_delete(t):
    c = t.container("/probe", "sleep")
    for d in _delays(6)[::2]:
        must(c.create())
        _shot(t, t.runtime, ("delete", "--force", c.id), d)
        _gone(t, c, f"delete killed after {d * 1000:.2f} ms")


@bailey_only("peers leave things behind here")
@timeout(180)
@cases(create=("create", None), start=("start", "create"), run=("run", None), delete=("delete", "run"))
def test_killed_at_each_call(t, verb, before):
    """Of those that change something, or tell somebody."""
    t.need(shutil.which("strace"), "no strace here (tools/deps test)")
    c = t.container("/probe", "sleep")
    c.config.hook("createRuntime", "/bin/true")
    c.config.hook("poststop", "/bin/true")
    c.bundle.write_config()
    verbs = {"create": ("create", "--bundle", c.bundle.path, c.id), "start": ("start", c.id),
             "run": ("run", "--detach", "--bundle", c.bundle.path, c.id), "delete": ("delete", "--force", c.id)}
    for calls in ("mkdir,mkdirat", "openat2", "write", "clone,clone3", "bind,connect", "sendmsg,recvmsg", "bpf",
                  "renameat", "unlinkat,rmdir", "kill,pidfd_send_signal", "wait4,poll"):
        if before:
            must(t.runtime(*verbs[before]))
        for when in kills(t, calls, 60, *verbs[verb]):
            _gone(t, c, when)
            if before:
                must(t.runtime(*verbs[before]))
        must(c.delete("--force"))


@bailey_only("peers leave things behind here")
@timeout(120)
def test_killed_with_hooks_and_terminal(t):
    c = t.container("/probe", "sleep")
    c.config.process["terminal"] = True
    for k in ("createRuntime", "createContainer", "startContainer", "poststop"):
        c.config.hook(k, "/bin/true")
    c.bundle.write_config()
    s = t.console_socket()
    for d in _delays(7)[::2]:
        _shot(t, t.runtime, ("create", "--console-socket", s.path, "--bundle", c.bundle.path,
                             c.id), d)
        _gone(t, c, f"create killed after {d * 1000:.2f} ms")


@bailey_only("peers leave things behind here")
@timeout(120)
def test_killed_rootless(t):
    rt = t.as_user()
    c = t.container("/probe", "sleep", cgroups_path=False, runtime=rt)
    uid = rt.user[0]
    c.config.rootless(uid, uid, (700000, 65536))
    c.bundle.chown(uid, uid)
    c.bundle.write_config()
    for d in _delays(8)[::2]:
        _shot(t, rt, ("create", "--bundle", c.bundle.path, c.id), d)
        _gone(t, c, f"create killed after {d * 1000:.2f} ms")


@bailey_only("peers' state differs")
def test_ruined_state(t):
    """An empty, torn or foreign state.json is told; it is never taken for a stopped container."""
    c = t.container("/probe", "sleep")
    c.up()
    path = os.path.join(t.root, c.id, "state.json")
    with open(path) as f:
        good = f.read()
    for text in ("", "{", good[:len(good) // 2], '{"pid": "x"}', "[]", "null", "{}"):
        with open(path, "w") as f:
            f.write(text)
        t.fails(c.verb("state", c.id), "state.json", code=1)
        t.fails(c.kill(), "state.json", code=1)
        must(t.runtime("list"))
    with open(path, "w") as f:
        f.write(good)
    t.eq(c.status(), "running")


def test_parallel_create_of_one_id(t):
    """Of many at the same time exactly one wins."""
    c = t.container("/probe", "sleep")
    c.bundle.write_config()
    c.made = True
    ps = [t.runtime.spawn("create", "--bundle", c.bundle.path, c.id, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
          for _ in range(8)]
    t.eq(sorted(p.wait(30) for p in ps).count(0), 1, "winners")
    t.eq(c.status(), "created")


def test_parallel_delete(t):
    c = t.container("/probe", "sleep")
    c.up()
    ps = [t.runtime.spawn("delete", "--force", c.id, stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
          for _ in range(4)]
    codes = [p.wait(30) for p in ps]
    t.has(codes, 0)
    if t.is_bailey:
        t.eq(set(codes), {0}, "delete --force of what is already gone succeeds")


def test_parallel_exec(t):
    c = t.container("/probe", "sleep")
    c.up()
    ps = [t.runtime.spawn("exec", c.id, "/probe", "exit", str(i), stdin=subprocess.DEVNULL)
          for i in range(20)]
    t.eq([p.wait(30) for p in ps], list(range(20)))


def test_start_and_kill_race(t):
    for _ in range(10):
        c = t.container("/probe", "sleep")
        must(c.create())
        a = t.runtime.spawn("start", c.id, stderr=subprocess.DEVNULL)
        b = t.runtime.spawn("kill", c.id, "KILL", stderr=subprocess.DEVNULL)
        a.wait(20)
        t.eq(b.wait(20), 0, "kill")
        c.wait_status("stopped")
        must(c.delete())
