"""Hooks of all six kinds: order, state on stdin, namespaces, environment, failure, time-out."""
import json
import os
import socket
import time

from lib import kernel, leaks
from lib.container import must, wait_for, wait_gone
from lib.testing import bailey_only, cases, namespaces_only

KINDS = ("prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop")
INSIDE = ("startContainer",)


def _script(t, c, name, body):
    """A hook program at the same path on the host and inside."""
    path = t.file(name, "#!/bin/sh\n" + body, 0o755)
    inside = c.bundle.at(path)
    os.makedirs(os.path.dirname(inside), exist_ok=True)
    with open(inside, "w") as f:
        f.write("#!/bin/sh\n" + body)
    os.chmod(inside, 0o755)
    return path


def _log(t, c):
    """One log file for all kinds: the bundle's rootfs is bind-mounted on itself inside."""
    d = t.dir("log")
    c.config.mount(d, "bind", d, ["bind"])
    return os.path.join(d, "log")


@bailey_only("runc 1.1 runs poststart at create")
def test_order_and_state(t):
    c = t.container("/bin/sh", "-c", "exit 0")
    log = _log(t, c)
    path = _script(t, c, "hook", f'printf "%s " "$1" >> {log}; cat >> {log}; echo >> {log}\n')
    for k in KINDS:
        c.config.hook(k, path, k + "-1")
        c.config.hook(k, path, k + "-2")
    c.config["annotations"] = {"key": "value"}
    must(c.create())
    pid = c.pid()
    t.eq([l.split()[0] for l in open(log)],
         [f"{k}-{i}" for k in KINDS[:3] for i in (1, 2)], "after create")
    must(c.start())
    wait_gone(pid)
    must(c.delete())
    lines = [l.split(" ", 1) for l in open(log)]
    t.eq(sorted(n for n, _ in lines[6:10]),
         ["poststart-1", "poststart-2", "startContainer-1", "startContainer-2"])
    t.eq([n for n, _ in lines[10:]], ["poststop-1", "poststop-2"])
    want = {"prestart": ("creating", "created"), "createRuntime": ("creating", "created"),
            "createContainer": ("creating", "created"),
            "startContainer": ("created",), "poststart": ("running",), "poststop": ("stopped",)}
    for n, text in lines:
        s = json.loads(text)
        k = n.split("-")[0]
        t.true(s["status"] in want[k], f"{k}: status {s['status']}")
        t.eq((s["id"], s["bundle"]), (c.id, c.bundle.path), k)
        t.eq(s["annotations"], {"key": "value"}, k)
        t.true("ociVersion" in s, k)
        if k in ("prestart", "createRuntime", "poststart"):
            t.eq(s["pid"], pid, f"{k}: pid as the host sees it")


def test_namespaces(t):
    """prestart, createRuntime, poststart, poststop on the host; the others in the container's."""
    c = t.container("/bin/sh", "-c", "exit 0")
    log = _log(t, c)
    path = _script(t, c, "hook", f'echo "$1 $(readlink /proc/self/ns/mnt) '
                   f'$(readlink /proc/self/ns/net) $(test -e /probe && echo in)" >> {log}\n')
    for k in KINDS:
        c.config.hook(k, path, k)
    must(c.create())
    pid = c.pid()
    inner = kernel.ns_inode("mnt", pid), kernel.ns_inode("net", pid)
    must(c.start())
    wait_gone(pid)
    must(c.delete())
    outer = kernel.ns_inode("mnt"), kernel.ns_inode("net")
    got = {l.split()[0]: l.split()[1:] for l in open(log)}
    for k in ("prestart", "createRuntime", "poststart", "poststop"):
        t.eq(tuple(got[k][:2]), outer, k)
    t.eq(tuple(got["createContainer"][:2]), inner, "createContainer")
    t.eq(got["createContainer"][2:], [], "createContainer runs before the root is switched")
    start = got["startContainer"]
    t.eq(start[2:], ["in"], "startContainer runs in the container's root")
    if not t.in_machine:  # whose numbers are another kernel's
        t.eq(start[:2], [*inner], "startContainer")


def test_host_paths_stay_on_the_host(t):
    """Those too that climb to "/" by "..", as relative links do."""
    c = t.container("/bin/true")
    mark, log = t.file("mark", "host"), os.path.join(t.tmp, "log")
    c.bundle.put(mark, "container")
    c.config.hook("createContainer", _script(t, c, "hook", f"cat /etc/..{mark} > {log}\n"))
    must(c.run())
    t.eq(open(log).read(), "host")


@namespaces_only("config.json's mounts are the guest's, and what hooks mount does not reach it")
def test_root_is_at_its_path(t):
    """In the container's mount namespace, with its mounts, and with what hooks mount in it: from
    within, and as tools for GPUs do from outside."""
    c = t.container("/bin/cat", "/tmp/seen", "/mnt/seen")
    c.config.mount("/etc/bound", "bind", t.file("f", "bound "), ["bind"])
    root, env = c.bundle.rootfs, ["PATH=/usr/sbin:/usr/bin:/sbin:/bin"]
    before = leaks.mounts(t.tmp)
    mount = f'mount -t tmpfs none {root}/$1 && $2 > {root}/$1/seen\n'
    c.config.hook("createContainer", _script(t, c, "within", mount), "tmp",
                  f"cat {root}/etc/bound", env=env)
    within = _script(t, c, "there", mount)
    c.config.hook("createRuntime", _script(
        t, c, "outside", 'pid=$(sed -n \'s/.*"pid": *\\([0-9]*\\).*/\\1/p\')\n'
        f'nsenter -t $pid -m {within} mnt "echo outside"\n'), env=env)
    t.eq(must(c.run()).out, "bound outside\n")
    t.eq(leaks.mounts(t.tmp), before, "the host's mounts")


STATUS = ("{ busybox grep -E '^(Uid|Gid|Groups|Umask|Cap|NoNewPrivs|Seccomp)' /proc/self/status;"
          " ulimit -n; }")


@cases(plain=(True, False), privileged_filter=(False, False), agent=(True, True))
def test_start_container_is_confined(t, no_new_privs, agent):
    """It is a program of the image's: with the rights of what follows, not with the runtime's."""
    t.need(not (agent and t.in_machine), "agents are the host's")
    c = t.container("/bin/sh", "-c", STATUS + " > /log/payload")
    p = c.config.process
    p["user"] = {"uid": 1000, "gid": 1001, "additionalGids": [1002], "umask": 0o27}
    p["noNewPrivileges"] = no_new_privs
    p["rlimits"] = [{"type": "RLIMIT_NOFILE", "hard": 77, "soft": 66}]
    c.config.caps(bounding=["CAP_KILL", "CAP_CHOWN"], permitted=["CAP_KILL"])
    rules = [{"names": ["acct"], "action": "SCMP_ACT_ERRNO"}]
    c.config.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules}
    if agent:
        rules.append({"names": ["sethostname"], "action": "SCMP_ACT_NOTIFY"})
        c.config.linux["seccomp"]["listenerPath"] = os.path.join(t.tmp, "agent")
        s = socket.socket(socket.AF_UNIX)
        s.bind(os.path.join(t.tmp, "agent"))
        s.listen()
        t.later(s.close)
    c.config.hook("startContainer", "/bin/sh", "-c", STATUS + " > /log/hook", env=["PATH=/bin:/usr/bin"])
    log = c.bundle.at("log")
    os.mkdir(log)
    os.chmod(log, 0o777)
    must(c.run())
    hook, payload = (open(os.path.join(log, n)).read() for n in ("hook", "payload"))
    t.has(hook, "Uid:\t1000\t1000")
    t.has(hook, "Seccomp:\t2")
    t.eq(hook, payload, "the hook's rights and the payload's")


def test_environment(t):
    """Exactly what the hook says, nothing of the runtime's."""
    c = t.container("/bin/true")
    log = _log(t, c)
    path = _script(t, c, "hook", f'env > {log}; echo "0=$0" >> {log}\n')
    c.config.hook("createRuntime", path, "a", env=["ONE=1", "TWO=2"])
    must(c.run(env={"PATH": os.environ["PATH"], "SECRET": "x"}))
    text = open(log).read()
    t.has(text, "ONE=1\n")
    t.has(text, "TWO=2\n")
    t.lacks(text, "SECRET")


def test_descriptors(t):
    c = t.container("/bin/true")
    log = _log(t, c)
    path = _script(t, c, "hook", f'ls -l /proc/self/fd > {log}.$1\n')
    for k in KINDS:
        c.config.hook(k, path, k)
    must(c.create())
    pid = c.pid()
    must(c.start())
    wait_gone(pid)
    must(c.delete())
    if t.is_bailey:
        for k in KINDS:
            fds = [l.split()[8] for l in open(f"{log}.{k}") if "->" in l]
            t.true(set(fds) <= {"0", "1", "2", "3"}, f"{k}: {fds}")  # 3: ls's own directory


@cases(prestart="prestart", createRuntime="createRuntime", createContainer="createContainer")
def test_failure_at_create(t, kind):
    c = t.container("/bin/true")
    log = _log(t, c)
    path = _script(t, c, "hook", f'echo "$1" >> {log}; echo a-complaint >&2; exit "$2"\n')
    c.config.hook(kind, path, "first", 0).hook(kind, path, "second", 7).hook(kind, path, "third", 0)
    c.config.hook("poststop", path, "poststop", 0)
    r = t.fails(c.run(), code=1, bailey=(f"hooks.{kind}[1]", "7", "a-complaint"))
    lines = open(log).read().split()
    t.eq(lines[:2], ["first", "second"], "the third is not run")
    t.lacks(lines, "third")
    t.lacks(r.out, "x")
    t.fails(c.verb("state", c.id), "does not exist")


@bailey_only("runc 1.1 does not report it")
def test_failure_of_start_container(t):
    c = t.container("/bin/touch", "/ran")
    path = _script(t, c, "hook", "exit 3\n")
    c.config.hook("startContainer", path)
    must(c.create())
    t.fails(c.start(), code=1, bailey=("hooks.startContainer[0]", "3"))
    t.true(not os.path.exists(c.bundle.at("ran")), "the payload did not run")


@bailey_only("peers differ in what a failed poststart means")
def test_failure_of_poststart_ends_the_container(t):
    c = t.container("/probe", "sleep")
    path = _script(t, c, "hook", "exit 4\n")
    c.config.hook("poststart", path)
    must(c.create())
    pid = c.pid()
    t.fails(c.start(), code=1, bailey="hooks.poststart[0]")
    wait_gone(pid)


@bailey_only("runc 1.1 stops at the first")
def test_failure_of_poststop_is_a_warning(t):
    c = t.container("/bin/true")
    log = _log(t, c)
    path = _script(t, c, "hook", f'echo "$1" >> {log}; exit "$2"\n')
    c.config.hook("poststop", path, "one", 9).hook("poststop", path, "two", 0)
    must(c.create())
    must(c.start())
    c.wait_status("stopped")
    must(c.delete())
    t.eq(open(log).read().split(), ["one", "two"], "later ones still run")


@bailey_only("runc 1.1 waits for the hook's children")
@cases(create="createRuntime", container="createContainer")
def test_timeout(t, kind):
    c = t.container("/bin/true")
    path = _script(t, c, "hook", "sleep 1000\n")
    c.config.hook(kind, path, timeout=1)
    start = time.monotonic()
    t.fails(c.run(timeout=20), code=1, bailey=(f"hooks.{kind}[0]", "1 s"))
    t.true(0.5 < time.monotonic() - start < 8, "about a second")


def test_death_by_signal(t):
    c = t.container("/bin/true")
    path = _script(t, c, "hook", "kill -9 $$\n")
    c.config.hook("createRuntime", path)
    t.fails(c.run(), code=1, bailey=("signal", "hooks.createRuntime[0]"))


@cases(missing="/no/such/hook", directory="/etc", relative="bin/true")
def test_bad_path(t, path):
    c = t.container("/bin/true")
    c.config.hook("createRuntime", path)
    t.fails(c.run(), code=1, bailey=("hooks.createRuntime[0]", path))


@bailey_only("texts")
@cases(zero=0, negative=-1)
def test_bad_timeout(t, n):
    c = t.container("/bin/true")
    c.config.hook("poststop", "/bin/true", timeout=n)
    t.fails(c.run(), "hooks.poststop[0].timeout", code=1)


def test_hook_does_not_read_stdin(t):
    """A hook that ignores a large state must not block or kill the runtime with SIGPIPE."""
    c = t.container("/bin/true")
    c.config["annotations"] = {f"k{i}": "v" * 1000 for i in range(200)}
    c.config.hook("createRuntime", "/bin/true")
    must(c.run())


def test_prestart_can_move_a_device(t):
    """The network namespace exists when createRuntime runs, as CNI hooks need it."""
    c = t.container("/probe", "sleep")
    log = _log(t, c)
    path = _script(t, c, "hook", 'pid=$(sed -n \'s/.*"pid": *\\([0-9]*\\).*/\\1/p\'); '
                   f'readlink /proc/$pid/ns/net > {log}\n')
    c.config.hook("createRuntime", path, env=["PATH=/usr/bin:/bin"])
    must(c.create())
    t.eq(open(log).read().strip(), kernel.ns_inode("net", c.pid()))


def test_poststop_of_forced_delete(t):
    c = t.container("/probe", "sleep")
    log = _log(t, c)
    c.config.hook("poststop", _script(t, c, "hook", f"echo gone > {log}\n"))
    c.up()
    must(c.delete("--force"))
    wait_for("the hook", lambda: os.path.exists(log))
