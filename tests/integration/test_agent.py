"""The guest's agent, run natively: containers, processes, streams, as the monitor asks for them."""
import json
import os
import shutil
import signal
import struct
import subprocess
import time

from lib import clock
from lib.guest import MAX_DATA, WINDOW, Agent
from lib.testing import bailey_only, cases, timeout


def agent(t, *argv):
    a = Agent(t, t.bundle())
    if argv:
        a.config.args(*argv)
    return a


def _wait_for(a, command):
    """Until a process has this command line; returns the rows of PS."""
    rows = []

    def there():
        rows[:] = a.request("PS")
        return command in [r["cmd"] for r in rows]
    a.wait(there, command)
    return rows


def test_hello(t):
    a = agent(t)
    t.eq(a.hello[0], 1, "version")
    t.eq(a.hello[1], os.sysconf("SC_NPROCESSORS_ONLN"), "CPUs")
    t.eq(a.hello[3], os.uname().release, "release")
    t.eq(a.shutdown(), 0, "SHUTDOWN")


def test_run(t):
    a = agent(t)
    p = a.run("/bin/sh", "-c", "echo out; echo err >&2; exit 7")
    t.eq(a.exited(), 7, "exit code")
    t.eq((p.stdout, p.stderr), ("out\n", "err\n"))
    t.eq(p.ended, {1: True, 2: True}, "ends of streams")
    # Once it has ended, the number is free again.
    p.status = None
    p.ended = {1: False, 2: False}
    a.run("/bin/true")
    t.eq(a.exited(), 0)


def test_facts(t):
    """What the process is, by the probe inside."""
    a = agent(t)
    p = a.run("/probe")
    t.eq(a.exited(), 0)
    r = json.loads(p.stdout)
    t.eq((r["pid"], r["sid"]), (1, 1))
    t.eq(r["hostname"], "bailey-test")
    t.eq(r["no_new_privs"], 1)
    t.eq(sorted(r["fds"]), ["0", "1", "2"])


def _rich(c):
    """A configuration with a bit of everything that a process can be given."""
    p = c.process
    p["user"] = {"uid": 1000, "gid": 1000, "additionalGids": [2000, 5], "umask": 0o27}
    p["cwd"] = "/scratch/made"
    p["env"] = ["PATH=/bin", "A=1", "A=2"]
    p["oomScoreAdj"] = 300
    p["rlimits"] = [{"type": "RLIMIT_NOFILE", "soft": 100, "hard": 200},
                    {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
                    {"type": "RLIMIT_STACK", "soft": 4 << 20, "hard": 8 << 20}]
    p["capabilities"] = {k: ["CAP_NET_BIND_SERVICE", "CAP_KILL"] for k in
                         ("bounding", "effective", "permitted", "inheritable", "ambient")}
    p["scheduler"] = {"policy": "SCHED_OTHER", "nice": 5}
    p["ioPriority"] = {"class": "IOPRIO_CLASS_BE", "priority": 6}
    c["domainname"] = "example.org"
    c.linux["sysctl"] = {"kernel.msgmax": "4096", "net.ipv4.ip_forward": "1"}
    c.linux["personality"] = {"domain": "LINUX32"}
    c.linux["rootfsPropagation"] = "rprivate"
    c.linux["devices"] = [{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229,
                           "fileMode": 0o600, "uid": 1000, "gid": 5}]
    c.linux["resources"] = {"devices": [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rwm"}]}
    c["root"]["readonly"] = True
    c.mount("/scratch", "tmpfs", "tmpfs", ["nosuid", "noexec", "size=1m", "mode=1777"])
    c.namespace("cgroup")
    c.mount("/sys/fs/cgroup", "cgroup", "cgroup", ["ro", "nosuid", "noexec", "nodev"])
    c.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [
        {"names": ["mkdir"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}


_MORE = ("cat /proc/self/mountinfo | while read a b c d e f g; do echo $e ${f%%,relatime*}; done; "
         "ls -ln /dev /dev/pts; cat /proc/sys/kernel/msgmax /proc/sys/net/ipv4/ip_forward; "
         "uname -m; hostname; cat /proc/sys/kernel/domainname; cat /proc/self/cgroup; "
         "cat /proc/self/oom_score_adj; env; pwd; ls -ln /scratch")


def _lines(text):
    """Without times of the day and minor numbers of ptys, which depend on when it was."""
    return [" ".join(w for w in line.split() if ":" not in w or line.startswith("0:"))
            for line in text.splitlines()]


def _facts(text):
    """The probe's report without numbers that the kernel gives out as it likes."""
    r = json.loads(text)
    r["status"] = [x for x in r["status"].splitlines()
                   if not x.startswith(("Vm", "Rss", "SigQ", "voluntary", "nonvoluntary"))]
    r["mountinfo"] = [x.split()[4:] for x in r["mountinfo"].splitlines()]
    r["ns"] = sorted(r["ns"])
    for clock in ("monotonic", "boottime"):
        r.pop(clock, None)
    r["fds"] = sorted(r["fds"])
    return r


def _compare(t, probe, got, wanted):
    if not probe:
        t.eq(_lines(got), _lines(wanted))
        return
    want, got = _facts(wanted), _facts(got)
    t.eq(sorted(got), sorted(want), "facts")
    for k in want:
        t.eq(got[k], want[k], k)


@cases(probe=("/probe",), shell=("/bin/sh", "-c", _MORE))
def test_same_as_at_the_other_level(t, *argv):
    """The same configuration gives the same process."""
    c = t.container(*argv)
    _rich(c.config)
    wanted = t.ok(c.run()).out
    a = agent(t, *argv)
    _rich(a.config)
    p = a.create(id=c.id)
    a.request("START")
    t.eq((a.exited(), p.stderr), (0, ""))
    _compare(t, argv[0] == "/probe", p.stdout, wanted)


@cases(probe=("/probe",), shell=("/bin/sh", "-c", _MORE))
def test_same_exec_as_at_the_other_level(t, *argv):
    """… and so does the same process.json in it."""
    c = t.container("/bin/sleep", "100")
    _rich(c.config)
    t.ok(c.create())
    t.ok(c.start())
    a = agent(t, "/bin/sleep", "100")
    _rich(a.config)
    a.create(id=c.id)
    a.request("START")
    process = a.json_process(*argv, user={"uid": 33, "gid": 34, "additionalGids": [35]},
                             env=["PATH=/bin"], cwd="/scratch", noNewPrivileges=False,
                             rlimits=[{"type": "RLIMIT_NOFILE", "soft": 50, "hard": 60}])
    wanted = t.ok(c.verb("exec", "--process", t.file("p.json", json.dumps(process)), c.id)).out
    a.request("EXEC", json.dumps(process), 0, 1)
    t.eq((a.exited(1), a.proc(1).stderr), (0, ""))
    _compare(t, argv[0] == "/probe", a.proc(1).stdout, wanted)
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


def test_waits_for_start(t):
    a = agent(t, "/bin/echo", "hello")
    p = a.create()
    a.pump(0.2)
    t.eq(p.stdout, "")
    t.has(a.error("CREATE", a.create_body()).text, "container 0 exists already")
    a.request("START")
    t.eq(a.exited(), 0)
    t.eq(p.stdout, "hello\n")


@cases(missing=("/bin/nothing", 127, "no such file or directory"),
       path=("nothing", 127, "executable file not found in $path"),
       mode=("/etc/passwd", 126, "permission denied"),
       directory=("/etc", 126, "is a directory"))
def test_not_executable(t, name, code, text):
    a = agent(t, name)
    e = a.error("CREATE", a.create_body())
    t.eq(e.exit, code, "exit code")
    t.has(e.text.lower(), text)
    # Nothing is left, and another container can be made.
    a.run("/bin/true")
    t.eq(a.exited(), 0)
    e = a.error("EXEC", json.dumps(a.json_process("/bin/true")), 0, 5)
    t.has(e.text, "container not running")


@cases(missing=("/bin/nothing", 127), mode=("/etc/passwd", 126))
def test_exec_not_executable(t, name, code):
    a = agent(t)
    a.run("/bin/sleep", "100")
    e = a.error("EXEC", json.dumps(a.json_process(name)), 0, 1)
    t.eq(e.exit, code, "exit code")
    a.pump(0.2)
    t.true((0, 1) not in a.order, "no EXIT for what never ran")
    a.exec(1, "/bin/true")  # the number is free
    t.eq(a.exited(1), 0)
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


def test_bad_format(t):
    """execve's own failure comes at start, and is then an EXIT as well."""
    a = agent(t)
    a.bundle.put("bin/bad", "\x7fELF nonsense", 0o755)
    a.config.args("/bin/bad")
    a.create()
    e = a.error("START")
    t.has(e.text.lower(), "exec format error")
    t.eq((e.exit, a.exited()), (126, 126))


@cases(json=(b"{\0{}\0", "options"), texts=(b"{}", "two texts"),
       id_=(json.dumps({"id": "..", "bundle": "/", "exports": []}).encode() + b"\0{}\0", "ID"),
       config=(json.dumps({"id": "x", "bundle": "/", "exports": []}).encode() + b"\0{}\0",
               "config.json"))
def test_bad_create(t, body, text):
    a = agent(t)
    t.has(a.error("CREATE", body).text, text)
    t.eq(a.shutdown(), 0)


def test_binds(t):
    a = agent(t)
    shared, private = t.dir("shared"), t.dir("private")
    t.file("shared/in", "from the host\n")
    a.config.mount("/data", "bind", "/nowhere/at/all", ["rbind", "ro"])
    a.config.mount("/rw", "bind", "/nowhere/else", ["bind"])
    n = len(a.config["mounts"])
    a.bind(n - 2, shared)
    a.bind(n - 1, private)
    p = a.run("/bin/sh", "-c", "cat /data/in; echo x > /data/no; echo x > /rw/yes")
    t.eq(a.exited(), 0)
    t.eq(p.stdout, "from the host\n")
    t.has(p.stderr, "Read-only file system")
    t.eq(os.listdir(private), ["yes"])


def test_bind_that_is_not_exported(t):
    a = agent(t)
    a.config.mount("/data", "bind", "/etc", ["rbind"])
    i = len(a.config["mounts"]) - 1
    e = a.error("CREATE", a.create_body(exports=[]))
    t.has(e.text, f".mounts[{i}].source: the host does not export it")
    e = a.error("CREATE", a.create_body(exports=[0]))
    t.has(e.text, "exports[0]: .mounts[0] is no bind mount")


def test_what_is_the_hosts(t):
    """Labels, user namespace, namespaces by path and the host's hooks are left out here."""
    a = agent(t)
    mark = os.path.join(t.tmp, "hook-ran")
    a.config.userns()
    a.config.namespace("network", "/nonexistent")
    a.config.process["apparmorProfile"] = "no-such-profile"
    a.config.process["selinuxLabel"] = "a:b:c:d"
    a.config.hook("createRuntime", "/bin/touch", mark)
    a.config.hook("createContainer", "/bin/touch", mark)
    p = a.run("/bin/cat", "/proc/self/uid_map")
    t.eq(a.exited(), 0)
    t.eq(p.stdout.split(), ["0", "0", "4294967295"])
    t.true(not os.path.exists(mark), "a hook of the host's ran in the guest")


def test_start_hooks(t):
    a = agent(t)
    a.config.hook("startContainer", "/bin/sh", "-c", "cat > /state")
    a.config["annotations"] = {"a": "b"}
    a.config.args("/bin/cat", "/state")
    p = a.create()
    t.true(not os.path.exists(a.bundle.at("state")), "before START")
    a.request("START")
    t.eq(a.exited(), 0)
    s = json.loads(p.stdout)
    t.eq((s["id"], s["status"], s["pid"], s["bundle"]), ("guest-test", "created", 1, "/bundle"))
    t.eq(s["annotations"], {"a": "b"})


def test_failing_start_hook(t):
    a = agent(t, "/bin/true")
    a.config.hook("startContainer", "/bin/false")
    a.create()
    t.has(a.error("START").text, ".hooks.startContainer[0]")
    t.ne(a.exited(), 0)


def test_seccomp_agent_is_refused(t):
    a = agent(t)
    a.config.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent.sock",
        "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]}
    t.has(a.error("CREATE", a.create_body()).text, "listenerPath")


def test_seccomp(t):
    a = agent(t)
    a.config.linux["seccomp"] = {
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}]}
    p = a.run("/bin/sh", "-c", "mkdir /x; sleep 100")
    a.until("not supported", stream=2)
    x = a.exec(1, "/bin/mkdir", "/y")
    t.ne(a.exited(1), 0)
    t.has(x.stderr, "not supported")
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)
    t.eq(p.stdout, "")


# ---------------------------------------------------------------- processes

def test_exec(t):
    a = agent(t)
    a.run("/bin/sleep", "100")
    p = a.exec(1, "/probe", user={"uid": 1000, "gid": 1000, "additionalGids": [2000]}, cwd="/tmp",
               env=["A=b", "PATH=/bin"])
    t.eq(a.exited(1), 0)
    r = json.loads(p.stdout)
    t.eq((r["uid"], r["gid"], r["cwd"], r["hostname"]), ([1000] * 3, [1000] * 3, "/tmp",
                                                       "bailey-test"))
    t.true(r["pid"] > 1, "in the container's pid namespace")
    t.has(r["env"], "A=b")
    a.signal(signal.SIGTERM)
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


def test_many_at_once(t):
    a = agent(t)
    a.run("/bin/sleep", "100")
    numbers = range(1, 21)
    seqs = [a.ask("EXEC", json.dumps(a.json_process(
        "/bin/sh", "-c", f"read x; echo {n}-$x; exit {n}")), 0, n) for n in numbers]
    for s in seqs:
        a.reply(s)
    for n in reversed(numbers):
        a.stdin(b"hello\n", n, end=True)
    for n in numbers:
        t.eq(a.exited(n), n)
        t.eq(a.proc(n).stdout, f"{n}-hello\n")
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


def test_end_of_the_first_ends_all(t):
    a = agent(t)
    p = a.run("/bin/sh", "-c", "read x; exit 3")
    for n in (1, 2, 3):
        a.exec(n, "/bin/sleep", "100")
    a.stdin(b"\n")
    t.eq(a.exited(), 3)
    t.eq([a.exited(n) for n in (1, 2, 3)], [137] * 3)
    t.eq(a.order[-1], (0, 0), "order of EXITs")
    t.eq(len(a.order), 4)
    t.eq(p.status >> 8, 3)
    e = a.error("SIGNAL", struct.pack("<iI", 15, 0))
    t.has(e.text, "container not running")


@cases(term=(signal.SIGTERM, 143), kill=(signal.SIGKILL, 137), segv=(signal.SIGSEGV, 139))
def test_signal(t, number, code):
    a = agent(t)
    a.run("/bin/sleep", "100")
    a.exec(1, "/bin/sleep", "100")
    a.signal(number, 1)
    t.eq(a.exited(1), code)
    e = a.error("SIGNAL", struct.pack("<iI", number, 0), 0, 1)
    t.eq(e.code, 3, "ESRCH")
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


def test_signal_handler(t):
    a = agent(t)
    a.run("/bin/sh", "-c", "trap 'exit 9' TERM; echo ready; while :; do usleep 10000; done")
    a.until("ready")
    a.signal(signal.SIGTERM)
    t.eq(a.exited(), 9)


def test_signal_all(t):
    a = agent(t)
    a.run("/bin/sh", "-c", "trap : TERM; sleep 100 & echo ready; wait; wait; echo waited; sleep 100")
    a.until("ready")
    _wait_for(a, "sleep 100")
    a.exec(1, "/bin/sleep", "100")
    a.signal(signal.SIGTERM, all_=True)
    t.eq(a.exited(1), 143)
    a.until("waited")
    a.signal(signal.SIGKILL, all_=True)
    t.eq(a.exited(), 137)


def test_bad_signal(t):
    a = agent(t)
    a.run("/bin/sleep", "100")
    for n in (-1, 65, 1 << 30):
        t.has(a.error("SIGNAL", struct.pack("<iI", n, 0)).text, "there is none")
        t.has(a.error("SIGNAL", struct.pack("<iI", n, 1)).text, "there is none")
    a.signal(0)
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


def test_killed_before_start(t):
    a = agent(t, "/bin/true")
    a.create()
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)
    t.has(a.error("START").text, "container not running")


def test_orphans(t):
    """What an exec's process leaves behind holds neither its EXIT nor the agent."""
    a = agent(t)
    a.run("/bin/sleep", "100")
    p = a.exec(1, "/bin/sh", "-c", "(sleep 1; echo late; echo still >/alive) & echo early")
    t.eq(a.exited(1, seconds=5), 0)
    t.eq(p.stdout, "early\n")
    x = a.exec(2, "/bin/sh", "-c", "while ! test -e /alive; do usleep 10000; done; cat /alive")
    t.eq(a.exited(2), 0)
    t.eq(x.stdout, "still\n", "it was not killed by its own output")
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


# ---------------------------------------------------------------- streams

def test_stdin(t):
    a = agent(t)
    p = a.run("/bin/cat")
    a.stdin(b"one\n")
    a.until("one\n")
    a.stdin(b"two\n", end=True)
    t.eq(a.exited(), 0)
    t.eq(p.stdout, "one\ntwo\n")


def _size():
    """1 GiB each way, less under emulation."""
    return (48 << 20) if clock.slow > 2 else (1 << 30)


@timeout(600)
def test_much_output(t):
    a = agent(t)
    p = a.proc()
    p.keep = False
    n = _size()
    a.run("/bin/dd", "if=/dev/zero", "bs=65536", f"count={n // 65536}")
    t.eq(a.exited(seconds=500), 0)
    t.eq(p.bytes[1], n)


@timeout(600)
def test_much_input(t):
    a = agent(t)
    n = _size()
    p = a.run("/bin/wc", "-c")
    a.stdin(bytes(n), end=True)
    t.eq(a.exited(seconds=500), 0)
    t.eq(p.stdout.strip(), str(n))


def _memory(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("RssAnon"))


def _agent_pid(a):
    with open(f"/proc/{a.process.pid}/task/{a.process.pid}/children") as f:
        return int(f.read().split()[0])


def test_no_credit_no_output(t):
    """A reader that takes nothing stops the writer, and the agent keeps no more than was granted."""
    a = agent(t)
    p = a.proc()
    p.grant = False
    a.run("/bin/sh", "-c", "yes & yes >&2")
    a.wait(lambda: p.bytes[1] == WINDOW and p.bytes[2] == WINDOW, "the whole window")
    for _ in range(10):
        a.pump(0.05)
    t.eq((p.bytes[1], p.bytes[2]), (WINDOW, WINDOW))
    a.give(1, 1000)
    a.wait(lambda: p.bytes[1] == WINDOW + 1000, "what was granted")
    before = _memory(_agent_pid(a))
    for _ in range(40):
        a.give(2, MAX_DATA)
        a.wait(lambda: p.credit[2] == 0, "output")
    t.true(_memory(_agent_pid(a)) - before < 4096, "the agent grows")
    a.signal(signal.SIGKILL)
    p.grant = True
    p.credit = {1: WINDOW, 2: WINDOW}
    for s in (1, 2):
        a.send("CREDIT", struct.pack("<II", s, WINDOW))
    t.eq(a.exited(), 137)


def test_host_that_does_not_read(t):
    """The port itself is full: the agent waits, loses nothing, keeps little."""
    a = agent(t)
    a.run("/bin/sleep", "100")
    for n in range(1, 31):
        a.exec(n, "/bin/dd", "if=/dev/zero", "bs=65536", "count=16")
        a.proc(n).keep = False
    # Without pump() nothing of the output is read; requests go on being sent.
    end = [a.ask("SIGNAL", struct.pack("<iI", 0, 0)) for _ in range(50)]
    time.sleep(1)
    t.true(_memory(_agent_pid(a)) < 32 << 10, "the agent keeps too much")
    for s in end:
        a.reply(s)
    for n in range(1, 31):
        t.eq(a.exited(n), 0)
        t.eq(a.proc(n).bytes[1], 1 << 20)
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


def test_input_that_nobody_reads(t):
    a = agent(t)
    p = a.run("/bin/sh", "-c", "exec <&-; echo closed; sleep 100")
    a.until("closed")
    a.stdin(b"x" * MAX_DATA)
    a.wait(lambda: p.nobody_reads, "CREDIT 0")
    a.send("STDIN", b"more")  # crosses with it: no harm
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


def test_input_waits(t):
    """A process that does not read its input: what was granted is kept, and no more is granted."""
    a = agent(t)
    p = a.run("/bin/sh", "-c", "echo ready; while ! test -e /go; do usleep 10000; done; wc -c")
    a.until("ready")
    data = b"y" * (WINDOW + (64 << 10))  # the window and a pipe
    sent = 0
    while p.stdin_credit:
        n = min(p.stdin_credit, MAX_DATA)
        p.stdin_credit -= n
        a.send("STDIN", data[:n])
        sent += n
        a.pump(0.02)
    for _ in range(10):
        a.pump(0.02)
    while p.stdin_credit:
        n = min(p.stdin_credit, MAX_DATA)
        p.stdin_credit -= n
        a.send("STDIN", data[:n])
        sent += n
        a.pump(0.05)
    t.true(sent <= len(data), f"{sent} bytes were taken")
    a.bundle.put("go", "")
    a.stdin(b"", end=True)
    t.eq(a.exited(), 0)
    t.has(p.stdout, str(sent))


def test_input_granted_anew(t):
    """When there is enough to be worth a word."""
    a = agent(t)
    p = a.run("/bin/sh", "-c", "head -c 1000 >/dev/null; echo little; exec wc -c")
    a.stdin(b"x" * 1000)
    a.until("little")
    t.eq(p.stdin_credit, WINDOW - 1000, "no answer to each")
    a.stdin(b"x" * (WINDOW // 2))
    a.wait(lambda: p.stdin_credit >= WINDOW - 1000, "what was passed on is granted")
    a.stdin(b"", end=True)
    t.eq(a.exited(), 0)
    t.has(p.stdout, str(WINDOW // 2))


def test_credit_zero(t):
    """Nobody reads any more: the process goes on, its output is dropped."""
    a = agent(t)
    p = a.run("/bin/sh", "-c", "read x; yes | head -c 10000000; exit 4")
    p.credit[1] = 0
    a.send("CREDIT", struct.pack("<II", 1, 0))
    a.stdin(b"\n")
    t.eq(a.exited(), 4)
    t.eq(p.bytes[1], 0)


@cases(stdin=(("STDIN", bytes(MAX_DATA)),) * (WINDOW // MAX_DATA + 8) + ("more than was granted",),
       after_end=(("STDIN", b""), ("STDIN", b"x"), "bytes after its end"),
       credit=(("CREDIT", struct.pack("<II", 1, 1)), "more than the window"),
       stream=(("CREDIT", struct.pack("<II", 3, 1)), "stream 3"))
def test_client_breaks_the_rules(t, *frames):
    """The monitor passes on what its clients say: the machine does not suffer from it."""
    a = agent(t)
    a.run("/bin/sleep", "100")
    a.exec(1, "/bin/sleep", "100")
    a.proc(1).honest = False
    for type_, body in frames[:-1]:
        a.send(type_, body, 0, 1)
    a.wait(lambda: a.logs, "a word in the log")
    t.has(a.logs[0], frames[-1])
    t.eq(a.proc(1).nobody_reads, frames[-1] == "more than was granted")
    a.signal(signal.SIGKILL, 1)
    t.eq(a.exited(1), 137)
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


def test_client_that_goes(t):
    """What the monitor says when a client has hung up, perhaps after an end of its own."""
    a = agent(t)
    a.run("/bin/sleep", "100")
    p = a.exec(1, "/bin/sh", "-c", "cat; yes | head -c 3000000; exit 3")
    p.grant = False
    a.send("STDIN", b"", 0, 1)
    for s in (1, 2):
        a.send("CREDIT", struct.pack("<II", s, 0), 0, 1)
    a.send("STDIN", b"", 0, 1)
    t.eq(a.exited(1), 3)
    t.eq(a.logs, [])
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


@cases(type_=(struct.pack("<IHHIII", 0, 99, 0, 0, 0, 0), "type 99"),
       way=(struct.pack("<IHHIII", 0, 17, 0, 0, 0, 0), "HELLO"),
       length=(struct.pack("<IHHIII", 1 << 30, 7, 0, 0, 0, 1), "CREATE frame of the host"))
def test_bad_frame(t, data, text):
    a = agent(t)
    a.raw(data)
    while a.pump(5):
        pass
    t.eq(a.process_end(), 1)
    with open(os.path.join(t.tmp, "agent.log")) as f:
        t.has(f.read(), text)


def test_hang_up(t):
    a = agent(t)
    a.run("/bin/sleep", "100")
    a.sock.close()
    t.eq(a.process_end(), 3)


# ---------------------------------------------------------------- terminals

def test_terminal(t):
    a = agent(t, "/bin/sh", "-c", "tty; stty size; read x; echo got-$x; exit 5")
    a.config.process["terminal"] = True
    a.config.process["consoleSize"] = {"width": 90, "height": 30}
    p = a.create()
    a.request("START")
    a.until("30 90")
    t.has(p.stdout, "/dev/")
    a.stdin(b"hello\n")
    t.eq(a.exited(), 5)
    t.has(p.stdout, "got-hello")
    t.eq(p.bytes[2], 0, "one stream only")


def test_terminal_facts(t):
    a = agent(t, "/probe")
    a.config.process["terminal"] = True
    p = a.create()
    a.request("START")
    t.eq(a.exited(), 0)
    r = json.loads(p.stdout)
    t.eq(r["tty"], [True] * 3)
    t.eq((r["sid"], r["tty_sid"], r["tty_pgrp"]), (1, 1, 1), "controlling terminal")


def test_winsize(t):
    a = agent(t)
    a.run("/bin/sleep", "100")
    p = a.exec(1, "/bin/sh", "-c", "trap 'stty size; exit 6' WINCH; echo ready; "
               "while :; do usleep 10000; done", terminal=True)
    a.until("ready", 1)
    a.send("WINSIZE", struct.pack("<HH", 41, 101), 0, 1)
    t.eq(a.exited(1), 6)
    t.has(p.stdout, "41 101")
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


def test_control_c(t):
    a = agent(t)
    a.run("/bin/sleep", "100")
    a.exec(1, "/bin/sh", "-c", "echo ready; sleep 100", terminal=True)
    a.until("ready", 1)
    a.stdin(b"\x03", 1)
    t.eq(a.exited(1), 130)
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


def test_terminal_hangs_up(t):
    a = agent(t)
    a.run("/bin/sleep", "100")
    a.exec(1, "/bin/sh", "-c", "trap 'echo hup > /hup; exit 8' HUP; echo ready; "
           "while :; do usleep 10000; done", terminal=True)
    a.until("ready", 1)
    a.stdin(b"", 1, end=True)
    t.eq(a.exited(1), 8)
    t.true(os.path.exists(a.bundle.at("hup")), "SIGHUP")
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


def test_terminal_output_is_whole(t):
    """The last lines of a terminal whose process has ended, with a reader that comes late."""
    a = agent(t)
    a.run("/bin/sleep", "100")
    p = a.proc(1)
    p.grant = False
    p.credit[1] = WINDOW
    a.exec(1, "/bin/sh", "-c", "seq 1 60000; echo last", terminal=True)
    a.wait(lambda: p.bytes[1] == WINDOW, "the window")
    p.grant = True
    a.give(1, WINDOW, 1)
    t.eq(a.exited(1), 0)
    lines, whole = p.stdout.split(), [str(i) for i in range(1, 60001)] + ["last"]
    differs = next((i for i, (a, b) in enumerate(zip(lines, whole)) if a != b), -1)
    t.true(lines == whole, f"{len(lines)} lines, from {differs}: {lines[differs:][:5]}")
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


def test_terminal_output_waits_for_a_slow_host(t):
    """The credit comes when the agent has not run for longer than its patience with terminals."""
    t.need(shutil.which("strace"), "no strace")
    a = agent(t)
    a.run("/bin/sleep", "100")
    p = a.proc(1)
    p.grant = False
    p.credit[1] = WINDOW
    a.exec(1, "/bin/sh", "-c", f"head -c {WINDOW + 2000} /dev/zero | tr '\\0' x", terminal=True)
    a.wait(lambda: p.bytes[1] == WINDOW, "the window")
    a.pump(0.3)  # it ends, and the terminal holds the rest
    delays = subprocess.Popen(["strace", "-e", "trace=epoll_wait", "-e",
                               "inject=epoll_wait:delay_exit=1200000", "-o", "/dev/null", "-p",
                               str(_agent_pid(a))], stderr=subprocess.PIPE)
    t.has(delays.stderr.readline().decode(), "attached")
    a.pump(0.3)
    a.give(1, WINDOW, 1)
    a.wait(lambda: p.bytes[1] != WINDOW or p.status is not None, "the rest, or nothing more")
    delays.terminate()
    delays.communicate()
    t.eq(a.exited(1), 0)
    t.eq(p.bytes[1], WINDOW + 2000)
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


# ---------------------------------------------------------------- the rest

def test_ps(t):
    a = agent(t)
    a.run("/bin/sh", "-c", "sleep 100 & wait")
    a.exec(1, "/bin/sleep", "77", user={"uid": 1000, "gid": 1000})
    rows = _wait_for(a, "sleep 100")
    t.eq([r["pid"] for r in sorted(rows, key=lambda r: r["pid"])][0], 1)
    by = {r["cmd"]: r for r in rows}
    t.eq(by["/bin/sleep 77"]["uid"], 1000)
    t.eq(by["/bin/sleep 77"]["ppid"], 0)
    t.eq(by["sleep 100"]["ppid"], 1)
    t.true(abs(by["sleep 100"]["start"] - os.stat("/proc/self").st_ctime) < 30, "start time")
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)
    t.has(a.error("PS").text, "container not running")


def test_stats_and_update(t):
    a = agent(t)
    a.run("/bin/sleep", "100")
    s = a.request("STATS")
    t.true("pids" in s and "memory" in s, s)
    a.request("UPDATE", json.dumps({"cpu": {"quota": 5000}}))  # the host's: nothing to do here
    t.has(a.error("UPDATE", "[]").text, "resources")
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


def test_limits(t):
    with open("/sys/fs/cgroup/cgroup.controllers") as f:
        t.need("memory" in f.read(), "no memory controller in cgroup v2 here")
    a = agent(t)
    a.config.linux["resources"] = {"memory": {"limit": 32 << 20}, "pids": {"limit": 50},
                                   "cpu": {"quota": 1000, "cpus": "0"}}
    a.run("/bin/sh", "-c", "cat /proc/self/cgroup; tail /dev/zero; sleep 100")
    a.wait(lambda: a.oom.get(0), "OOM")
    d = f"/sys/fs/cgroup/bailey-test/{t.mark}-agent-0"
    with open(d + "/memory.max") as f:
        t.eq(int(f.read()), 32 << 20)
    a.request("UPDATE", json.dumps({"memory": {"limit": 64 << 20}}))
    with open(d + "/memory.max") as f:
        t.eq(int(f.read()), 64 << 20)
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


def test_several_containers(t):
    a = agent(t)
    for c in (0, 1, 7):
        a.run("/bin/sh", "-c", f"read x; echo {c}; exit {c + 1}", container=c)
    for c in (7, 0, 1):
        a.stdin(b"\n", container=c)
        t.eq(a.exited(container=c), c + 1)
        t.eq(a.proc(0, c).stdout, f"{c}\n")


def test_time_and_entropy(t):
    a = agent(t)
    a.send("TIME", struct.pack("<qII", 1234, 5, 0))
    a.send("ENTROPY", b"\x07" * 64)
    a.wait(lambda: len(a.logs) == 2, "what it would do")
    t.has(a.logs[0], "1234.000000005")
    t.has(a.logs[1], "64 bytes of entropy, first 7")


def test_exec_in_sub_cgroup(t):
    a = agent(t)
    a.run("/bin/sleep", "100")
    os.mkdir(f"/sys/fs/cgroup/bailey-test/{t.mark}-agent-0/below")
    p = a.exec(1, "/bin/cat", "/proc/self/cgroup", bailey={"cgroup": "/below"})
    t.eq(a.exited(1), 0)
    t.has(p.stdout, "0::/below")
    e = a.error("EXEC", json.dumps(a.json_process("/bin/true", bailey={"cgroup": "../.."})), 0, 2)
    t.has(e.text, "cgroup below the container's")
    a.signal(signal.SIGKILL)
    t.eq(a.exited(), 137)


for _test in [v for k, v in list(globals().items()) if k.startswith("test_")]:
    bailey_only("the agent is bailey's own")(_test)


# ---- the root on disks ----

def _loop(t, path, link, *opts):
    """A block device, which the rules of the container's cgroup are about."""
    r = subprocess.run(["losetup", "--show", "-f", *opts, path], stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, text=True)
    t.need(r.returncode == 0, f"no loop devices: {r.stderr.strip()}")
    t.later(lambda: subprocess.run(["losetup", "-d", r.stdout.strip()], check=True))
    os.symlink(r.stdout.strip(), link)


def _disks(t, a, scratch):
    """The bundle's rootfs as an EROFS file, and an empty ext4, where native-agent looks for them."""
    t.need(shutil.which("mkfs.erofs"), "no mkfs.erofs (erofs-utils)")
    image, empty = t.tmp + "/image", t.tmp + "/empty"
    subprocess.run(["mkfs.erofs", "--quiet", image, a.bundle.rootfs], check=True)
    with open("/proc/filesystems", encoding="ascii") as f:
        have = f.read().split()
    t.need("erofs" in have and "ext4" in have, "the kernel has no erofs or no ext4")
    os.unlink(a.export + "/rootfs")
    _loop(t, image, a.export + "/disk-root", "-r")
    if scratch:
        with open(empty, "wb") as f:
            f.truncate(32 << 20)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", empty], check=True)
        _loop(t, empty, a.export + "/disk-scratch")
    return {"root": {"disk": "root", **({"scratch": "scratch"} if scratch else {})}}


@cases(memory=(False,), scratch=(True,))
def test_root_on_a_disk(t, scratch):
    """With device rules that let the container open no disk."""
    a = agent(t)
    os.chmod(a.bundle.rootfs, 0o751)
    a.bundle.put("old", "old\n")
    options = _disks(t, a, scratch)
    a.config.args("/bin/sh", "-c", "grep ' / overlay rw' /proc/mounts; stat -c %a /; "
                  "echo new >/old; cat /old; rm /bin/ls; [ -e /bin/ls ] || echo gone; cat /made/f; "
                  "echo w >/made/g")
    shared = t.dir("shared")
    with open(shared + "/f", "w", encoding="utf-8") as f:
        f.write("bound\n")
    a.config["mounts"].append({"destination": "/made", "type": "bind", "source": shared,
                               "options": ["bind"]})
    a.bind(len(a.config["mounts"]) - 1, shared)
    p = a.create(**options)
    a.request("START")
    t.eq(a.exited(), 0)
    lines = p.stdout.splitlines()
    t.has(lines[0], " / overlay rw")
    t.eq(lines[1:], ["751", "new", "gone", "bound"])
    t.true(os.path.exists(shared + "/g"), "through the bind mount")
    if scratch:
        return
    # Again, since nothing of it is left; read-only.
    a.config["root"]["readonly"] = True
    a.config.args("/bin/sh", "-c", "cat /old; echo x >/old || echo read-only")
    p = a.create(1, **options)
    a.request("START", container=1)
    a.exited(container=1)
    t.eq(p.stdout, "old\nread-only\n")


def test_root_on_a_disk_that_is_not_there(t):
    a = agent(t, "/bin/true")
    for root, why in (({"disk": "no"}, "disk-no"), ({"disk": "root", "scratch": "no"}, "disk-")):
        t.has(a.error("CREATE", a.create_body(root=root)).text, why)
    for root, why in (("x", ".root: must be an object"), ({}, ".root.disk: missing"),
                      ({"disk": ""}, ".root.disk: must have 1 to 20 bytes"),
                      ({"disk": "a/b"}, "no slash"), ({"disk": "x" * 21}, "1 to 20"),
                      ({"disk": "r", "scratch": "../x"}, ".root.scratch"),
                      ({"disk": 1}, ".disk: must be a string")):
        t.has(a.error("CREATE", a.create_body(root=root)).text, why)
