"""A container in its machine, verb by verb; many assertions for each boot."""
import hashlib
import json
import os
import re
import signal
import subprocess
import threading
import time

from lib import kernel, reaper, vm
from lib.clock import limit
from lib.container import kill_pid, must, wait_for, wait_gone
from lib.testing import bailey_only, timeout

MACHINE = bailey_only("isolation level vm")
MIB = 1 << 20
# For each way and process; TEST_STDIO_MIB=1024 is the whole gigabyte.
STDIO_MIB = int(os.environ.get("TEST_STDIO_MIB", "24"))


@MACHINE
@timeout(180)
def test_verbs(t):
    """create, state, list, start, exec, ps, events, update, pause, resume, kill, delete."""
    c = t.container("/bin/sh", "-c", "trap 'exit 42' TERM; /probe count /n & "
                    "while :; do sleep 0.1; done")
    c.config.linux["resources"]["memory"] = {"limit": 128 * MIB}
    must(c.create("--isolation=vm", timeout=60))
    s = c.state()
    t.eq((s["status"], s["isolation"]), ("created", "vm"))
    pid = s["pid"]
    t.true(not os.path.exists(c.bundle.at("n")), "the payload waits for start")
    t.has(os.readlink(f"/proc/{pid}/exe"), "bailey", "the monitor is the runtime's program")
    t.has(must(t.runtime("list")).out, c.id)
    must(c.start())
    t.eq((c.status(), c.pid()), ("running", pid))
    wait_for("the payload", lambda: os.path.exists(c.bundle.at("n")))

    r = must(c.exec("/bin/sh", "-c", "cat /proc/sys/kernel/osrelease; echo err >&2"))
    t.ne(r.out.strip(), os.uname().release, "another kernel than the host's")
    t.eq(r.err, "err\n")
    t.eq(c.exec("/bin/sh", "-c", "kill -9 $$").code, 137)
    t.fails(c.exec("/nosuch"), "no such file", code=127)
    t.fails(c.exec("/etc"), code=126)
    _several_execs(t, c)

    table = must(c.verb("ps", c.id)).out
    t.has(table.splitlines()[0], "PID")
    t.has(table, "/probe count /n")
    t.has(must(c.verb("ps", "-f", "json", c.id)).json(), pid, "what stands for it on the host")

    e = must(c.verb("events", "--stats", c.id)).json()
    t.eq((e["type"], e["id"]), ("stats", c.id))
    t.true("memory" in e["data"] and "memory" in e["guest"], "the host's count and the guest's")

    must(c.verb("update", "--memory", str(96 * MIB), c.id))
    if "memory" in open("/sys/fs/cgroup/cgroup.controllers").read().split():
        with open(c.cgroup_dir(pid) + "/memory.max") as f:
            t.true(int(f.read()) > 128 * MIB, "the host's limit has room for the machine")
    t.fails(c.verb("update", "--memory", "64g", c.id), code=1)

    _pause(t, c)
    must(c.kill("TERM"))
    t.eq(reaper.wait(pid), 42, "the monitor ends as the payload does")
    c.wait_status("stopped")
    t.fails(c.exec("/bin/true"), "not running")
    must(c.delete())


def _several_execs(t, c):
    """At a time, each with its own streams and exit code."""
    got = {}

    def one(n):
        got[n] = c.exec("/bin/sh", "-c", f"cat; echo {n}; exit {n}", input=f"in-{n}\n")
    threads = [threading.Thread(target=one, args=(n,)) for n in range(1, 7)]
    for th in threads:
        th.start()
    for th in threads:
        th.join(limit(30))
    for n in range(1, 7):
        t.eq((got[n].code, got[n].out), (n, f"in-{n}\n{n}\n"), f"exec {n}")


def _pause(t, c):
    """More than once: what hinders the freezer is moved away by the first."""
    counter = c.bundle.at("n")
    for _ in range(3):
        must(c.verb("pause", c.id))
        t.eq(c.status(), "paused")
        t.fails(c.exec("/bin/true"), code=255, bailey="paused")
        before = open(counter).read()
        time.sleep(0.3)
        t.eq(open(counter).read(), before, "does not count")
        must(c.verb("resume", c.id))
        wait_for("counting again", lambda: open(counter).read() != before)
    t.eq(must(c.exec("/bin/echo", "back")).out, "back\n")


class _Feed(threading.Thread):
    """Writes n MiB, then the end; knows their digest."""

    def __init__(self, pipe, n):
        super().__init__()
        self.pipe, self.n, self.digest = pipe, n, hashlib.sha256()

    def run(self):
        block = os.urandom(MIB)
        try:
            for _ in range(self.n):
                self.digest.update(block)
                self.pipe.write(block)
                block = block[1:] + block[:1]
            self.pipe.close()
        except OSError:
            pass  # the other end's digest tells


def _through(t, argv, what, kw=None):
    p = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **(kw or {}))
    feed = _Feed(p.stdin, STDIO_MIB)
    feed.start()
    digest, n = hashlib.sha256(), 0
    while data := p.stdout.read(MIB):
        digest.update(data)
        n += len(data)
    feed.join()
    t.eq(p.wait(limit(20)), 0, what)
    t.eq((n, digest.hexdigest()), (STDIO_MIB * MIB, feed.digest.hexdigest()), what)


@MACHINE
@timeout(240 + STDIO_MIB)
def test_much_through_the_streams(t):
    """Of the payload both ways at a time; of an exec'd process out alone, then into a slow reader."""
    c = t.container("/probe", "echo")
    c.bundle.write_config()
    c.made = True
    _through(t, c.runtime.argv("run", "--isolation=vm", "-b", c.bundle.path, c.id), "run")
    vm.boot(c, "/probe", "sleep")
    _through(t, c.runtime.argv("exec", c.id, "/probe", "echo"), "exec")
    p = c.runtime.spawn("exec", c.id, "/bin/dd", "if=/dev/zero", "bs=64k",
                        f"count={STDIO_MIB * 16}", stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    time.sleep(0.5)  # it fills what there is of buffers, and waits
    t.eq(must(c.exec("/bin/echo", "meanwhile")).out, "meanwhile\n", "nobody else waits with it")
    n = 0
    while data := p.stdout.read(MIB):
        n += len(data)
    t.eq((n, p.wait(limit(10))), (STDIO_MIB * MIB, 0))


@MACHINE
@timeout(120)
def test_reader_that_leaves(t):
    """The payload gets EPIPE or SIGPIPE as it would of a pipe; what is left of an exec ends."""
    c = t.container()
    vm.boot(c, "/probe", "sleep")
    p = c.runtime.spawn("exec", c.id, "/bin/sh", "-c", "yes; echo $? >/left", stdout=subprocess.PIPE,
                        stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    p.stdout.read(10)
    p.stdout.close()
    p.wait(limit(20))
    wait_for("the end of yes", lambda: os.path.exists(c.bundle.at("left")) and
             open(c.bundle.at("left")).read())
    t.ne(open(c.bundle.at("left")).read().strip(), "0")


@MACHINE
@timeout(120)
def test_volumes(t):
    """Binds rw, ro, of a file, and what both sides write, each seen by the other."""
    rw, ro = t.dir("rw"), t.dir("ro")
    one = t.file("one", "of the host\n")
    t.file("ro/f", "read\n")
    os.chmod(rw, 0o777)
    c = t.container()
    c.config.caps(**{k: ["CAP_CHOWN", "CAP_FOWNER", "CAP_FSETID", "CAP_DAC_OVERRIDE"]
                     for k in ("bounding", "effective", "permitted")})
    c.config.mount("/rw", "bind", rw, ["rbind", "rw"]).mount("/ro", "bind", ro, ["rbind", "ro"])
    c.config.mount("/etc/one", "bind", one, ["bind", "ro"])
    vm.boot(c, "/probe", "sleep")
    r = c.exec("/bin/sh", "-c", "cat /etc/one /ro/f; echo guest >/rw/g; ln -s /etc/passwd /rw/l; "
               "mkdir /rw/d; chown 1000:1001 /rw/d; chmod 2751 /rw/d; "
               "for f in /ro/f /ro/new /etc/one; do (echo x >$f) || echo no; done")
    t.eq(r.out, "of the host\nread\nno\nno\nno\n")
    t.eq(r.err.count("Read-only file system"), 3, r.err)
    t.eq(open(rw + "/g").read(), "guest\n")
    t.eq(os.readlink(rw + "/l"), "/etc/passwd")
    s = os.stat(rw + "/d")
    t.eq((s.st_uid, s.st_gid, s.st_mode & 0o7777), (1000, 1001, 0o2751))
    t.file("rw/h", "host\n")
    t.eq(must(c.exec("/bin/cat", "/rw/h")).out, "host\n")
    t.file("rw/h", "longer than before\n")
    wait_for("what the host has changed", lambda: must(c.exec("/bin/cat", "/rw/h")).out ==
             "longer than before\n")
    r = must(c.exec("/bin/sh", "-c", "for i in $(seq 200); do echo $i >/rw/d/$i; done; "
                    "ls /rw/d | wc -l; rm /rw/d/1*; ls /rw/d | wc -l", opts=["-u", "1000:1001"]))
    t.eq(r.out.split(), ["200", "89"])
    t.eq({os.stat(f"{rw}/d/{n}").st_uid for n in os.listdir(rw + "/d")}, {1000})
    t.has(must(c.exec("/bin/sh", "-c", "cat /sys/class/bdi/*/read_ahead_kb")).out, "512\n")


@MACHINE
@timeout(120)
def test_submounts(t):
    """Mounts below a recursive bind are other file systems in the guest too: by device number, for
    links and renames, and what comes and goes on the host is seen."""
    sub = t.dir("src/sub")
    kernel.mount("tmpfs", sub, "tmpfs")
    t.later(kernel.umount, sub)
    for d in ("src", "src/sub"):
        t.file(f"{d}/f", d)
    c = t.container()
    c.config.mount("/m", "bind", t.tmp + "/src", ["rbind", "rw"])
    vm.boot(c, "/probe", "sleep")
    top, below, *files = must(c.exec(
        "/bin/stat", "-c", "%d", "/m", "/m/sub/.", "/m/f", "/m/sub/f")).out.split()
    t.ne(top, below)
    t.eq(files, [top, below])
    t.has(c.exec("/bin/ln", "/m/f", "/m/sub/g").err, "ross-device link")
    must(c.exec("/bin/sh", "-c", "mv /m/f /m/sub/h && cat /m/sub/h && echo new >/m/sub/f"))
    t.eq(open(sub + "/f").read(), "new\n")
    t.true(os.path.exists(sub + "/h") and not os.path.exists(t.tmp + "/src/f"), "moved")


@MACHINE
@timeout(120)
def test_network(t):
    """A veth in the namespace that the engine made: its name, addresses and route are the guest's;
    a TCP server inside answers; an address that comes later is there."""
    ns = t.mark
    _ip(t, "netns", "add", ns)
    t.later(_ip, t, "netns", "del", ns)
    _ip(t, "link", "add", f"h{ns}"[:15], "type", "veth", "peer", "name", "eth0", "netns", ns)
    for args in (("addr", "add", "10.201.7.1/24", "dev", f"h{ns}"[:15]),
                 ("link", "set", f"h{ns}"[:15], "up"),
                 ("-n", ns, "link", "set", "lo", "up"),
                 ("-n", ns, "link", "set", "eth0", "mtu", "1400"),
                 ("-n", ns, "addr", "add", "10.201.7.2/24", "dev", "eth0"),
                 ("-n", ns, "link", "set", "eth0", "up"),
                 ("-n", ns, "route", "add", "default", "via", "10.201.7.1")):
        _ip(t, *args)
    mac = re.search(r"link/ether (\S+)", _ip(t, "-n", ns, "link", "show", "eth0"))[1]
    c = t.container()
    c.config.namespace("network", f"/run/netns/{ns}")
    vm.boot(c, "/bin/sh", "-c", "while :; do echo from inside | nc -l -p 8080; done")
    r = must(c.exec("/bin/ip", "addr", "show", "eth0")).out
    for text in (mac, "10.201.7.2/24", "mtu 1400"):
        t.has(r, text)
    t.has(must(c.exec("/bin/ip", "route")).out, "default via 10.201.7.1 dev eth0")

    def ask():
        p = subprocess.run(["busybox", "nc", "-w", "5", "10.201.7.2", "8080"], text=True,
                           stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return p.stdout
    wait_for("the server", lambda: ask() == "from inside\n", 20)
    _ip(t, "-n", ns, "addr", "add", "10.201.7.9/24", "dev", "eth0")
    wait_for("the new address",
             lambda: "10.201.7.9/24" in must(c.exec("/bin/ip", "addr", "show", "eth0")).out, 15)
    must(c.delete("--force"))
    left = _ip(t, "-n", ns, "link")
    t.eq(len(re.findall(r"^\d+:", left, re.M)), 2, f"lo and eth0 are left: {left}")
    t.has(_ip(t, "-n", ns, "addr", "show", "eth0"), "10.201.7.2/24", "as it was")


def _ip(t, *args):
    r = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
    if r.returncode:
        raise AssertionError(f"ip {' '.join(args)}: {r.stderr}")
    return r.stdout


@MACHINE
@timeout(120)
def test_interface_that_comes_later(t):
    """As an engine brings it to a container that runs: seen while it is there, and not before."""
    ns = t.mark
    _ip(t, "netns", "add", ns)
    t.later(_ip, t, "netns", "del", ns)
    c = t.container()
    c.config.namespace("network", f"/run/netns/{ns}")
    vm.boot(c, "/probe", "sleep")

    def seen():
        return must(c.exec("/bin/ls", "/sys/class/net")).out.split()
    t.eq(seen(), ["lo"])
    for _ in range(2):
        _ip(t, "link", "add", f"h{ns}"[:15], "type", "veth", "peer", "name", "eth5", "netns", ns)
        _ip(t, "-n", ns, "addr", "add", "10.202.7.2/24", "dev", "eth5")
        _ip(t, "-n", ns, "link", "set", "eth5", "up")
        wait_for("the interface", lambda: "10.202.7.2/24" in
                 c.exec("/bin/ip", "addr", "show", "eth5").out, 15)
        t.eq(sorted(seen()), ["eth5", "lo"])
        _ip(t, "link", "del", f"h{ns}"[:15])
        wait_for("its end", lambda: seen() == ["lo"], 15)


@MACHINE
@timeout(120)
def test_loopback_only(t):
    """Where the namespace has nothing; and the sizes that the vm section asks for."""
    c = t.container("/bin/sh", "-c", "ls /sys/class/net; ip -o addr; nproc; "
                    "grep MemTotal /proc/meminfo; cat /proc/cmdline")
    kernel_path = _kernel(t)
    c.config["vm"] = {"kernel": {"path": kernel_path, "parameters": ["a.parameter=x"]},
                      "hwConfig": {"vcpus": 2, "memory": 256 * MIB}}
    out = must(c.run(timeout=60)).out
    lines = out.splitlines()
    t.eq(lines[0], "lo")
    t.true(lines[1].startswith("1: lo"), f"nothing beside lo: {lines[:3]}")
    t.eq([l.split()[1] for l in lines if " inet" in l], ["lo", "lo"], "interfaces with addresses")
    t.has(lines, "2", "CPUs")
    t.has(out, "127.0.0.1/8")
    t.has(out, " a.parameter=x")
    total = vm.number(out, r"MemTotal:\s+(\d+) kB")
    t.true(170 * 1024 < total < 256 * 1024, f"{total} KiB of memory")


def _kernel(t):
    for path in (os.path.join(os.path.dirname(t.runtime.path), "guest/vmlinux"),
                 "/usr/local/lib/bailey/guest/vmlinux"):
        if os.path.exists(path):
            return path
    t.skip("no guest kernel beside the program (make guest-kernel)")
    return None


@MACHINE
@timeout(120)
def test_memory_of_the_guest_used_up(t):
    """What takes too much is killed in the guest; the rest of the container lives on. If it is the
    payload, that is how it ends."""
    c = t.container()
    c.config.linux["resources"]["memory"] = {"limit": 64 * MIB}
    vm.boot(c, "/probe", "sleep")
    eater = ("/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=100M", "count=1")
    t.eq(c.exec(*eater, timeout=60).code, 137, "killed in the guest")
    t.eq(must(c.exec("/bin/echo", "alive")).out, "alive\n")
    out = open(os.path.join(t.tmp, "events"), "w+")
    watch = c.runtime.spawn("events", "--interval", "1s", c.id, stdout=out,
                            stdin=subprocess.DEVNULL)
    t.later(watch.wait)
    t.later(watch.kill)

    def events():
        out.seek(0)
        return [json.loads(l)["type"] for l in out if l.endswith("\n")]
    wait_for("the watch", lambda: "stats" in events(), 20)
    t.lacks(events(), "oom", "what was before is not news")
    t.eq(c.exec(*eater, timeout=60).code, 137, "killed in the guest")
    wait_for("the event", lambda: "oom" in events(), 20)
    must(c.delete("--force"))
    t.eq(watch.wait(limit(10)), 0, "events ends with the machine")
    t.eq(events().count("oom"), 1)
    c = t.container(*eater)
    c.config.linux["resources"]["memory"] = {"limit": 64 * MIB}
    t.eq(c.run("--isolation=vm", timeout=60).code, 137, "killed in the guest")


@MACHINE
@timeout(120)
def test_memory_limit_lowered(t):
    """The guest's kernel has what was freed, the host's counts it for the monitor still: a limit that
    is lowered must not have the host kill it."""
    t.need("memory" in open("/sys/fs/cgroup/cgroup.controllers").read().split(),
           "no memory controller")
    c = t.container("/probe", "sleep")
    vm.boot(c)
    eater = ("/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1")
    must(c.exec(*eater))
    must(c.verb("update", "--memory", str(32 * MIB), c.id))
    time.sleep(1)
    t.eq(must(c.exec("/bin/echo", "alive")).out, "alive\n")
    t.eq(c.exec(*eater).code, 137, "the new limit acts")
    must(c.verb("update", "--memory", str(300 * MIB), c.id))
    must(c.exec(*eater))
    t.eq(c.status(), "running")


@MACHINE
@timeout(120)
def test_everything_killed(t):
    """The monitor and exec's process by SIGKILL: stopped, and delete leaves nothing."""
    c = t.container()
    pid = vm.boot(c, "/probe", "sleep")
    f = os.path.join(t.tmp, "pid")
    must(c.exec("/probe", "sleep", opts=["-d", "--pid-file", f]))
    proxy = int(open(f).read())
    waiting = c.runtime.spawn("exec", c.id, "/probe", "sleep", stderr=subprocess.DEVNULL)
    wait_for("exec", lambda: c.exec("/bin/ps").out.count("/probe sleep") >= 3, 20)
    kill_pid(pid, signal.SIGKILL)
    wait_gone(pid)
    t.ne(waiting.wait(limit(10)), 0, "exec of a machine that is gone")
    wait_gone(proxy)
    c.wait_status("stopped")
    t.fails(c.exec("/bin/true"), "not running")
    must(c.delete("--force"))
    t.fails(c.verb("state", c.id), "does not exist")


@MACHINE
@timeout(120)
def test_jail(t):
    """What the monitor is left with: no root of the host's, no new privileges, a filter for each
    thread, few capabilities, its own namespaces."""
    c = t.container()
    pid = vm.boot(c, "/probe", "sleep")
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as f:
            status = dict(l.rstrip("\n").split(":\t", 1) for l in f if ":\t" in l)
        what = f"thread {status['Name']}"
        t.eq(status["NoNewPrivs"], "1", what)
        t.eq(status["Seccomp"], "2", what)
        have = int(status["CapEff"], 16)
        for name in ("SYS_ADMIN", "SYS_MODULE", "SYS_RAWIO", "NET_ADMIN", "SYS_PTRACE", "SYS_BOOT"):
            t.eq(have >> CAPS[name] & 1, 0, f"{what}: CAP_{name}")
    t.eq(sorted(os.listdir(f"/proc/{pid}/root/")), ["m", "rootfs"], "the root it sees")
    for ns in ("mnt", "pid", "ipc", "uts", "net"):
        t.ne(kernel.ns_inode(ns, pid), kernel.ns_inode(ns), ns)


CAPS = {"NET_ADMIN": 12, "SYS_MODULE": 16, "SYS_RAWIO": 17, "SYS_PTRACE": 19, "SYS_ADMIN": 21,
        "SYS_BOOT": 22}
