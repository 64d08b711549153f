"""docker with bailey called as bailey-vm: each container in a virtual machine."""
import os
import platform

from lib import vm
from lib.clock import limit
from lib.container import must, wait_for
from lib.engine import IMAGE, Docker, answered
from lib.testing import bailey_only, timeout

MACHINES = True  # each test boots some
SERVER = ("trap 'echo bye; exit 4' TERM; echo hello; (while :; do nc -l -p 8000 -e /bin/sh -c "
          "'read x; echo got $x'; done) & while :; do sleep 0.1; done")


def _has(controller):
    with open("/sys/fs/cgroup/cgroup.controllers", encoding="ascii") as f:
        return controller in f.read().split()


def _profile(pid):
    """The AppArmor profile of a process of the host; None: there is no AppArmor."""
    try:
        with open(f"/proc/{pid}/attr/apparmor/current", encoding="ascii") as f:
            return f.read().split()[0]
    except OSError:
        return None


def _limits(t, d, n):
    """The host's limit is the container's and the machine's share; stats has the host's numbers."""
    top = f"/sys/fs/cgroup/{t.mark}/{d.inspect(n)['Id']}"
    with open(top + "/memory.max", encoding="ascii") as f:
        limit_there = int(f.read())
    t.true(64 << 20 < limit_there < 256 << 20, f"memory.max {limit_there}")
    with open(top + "/cpu.max", encoding="ascii") as f:
        t.eq(f.read().strip(), "50000 100000")
    used, _, most = must(d("stats", "--no-stream", "--format", "{{.MemUsage}}", n)
                         ).out.strip().partition(" / ")
    t.eq(most, f"{limit_there / (1 << 20):.4g}MiB", "the limit")
    t.true(float(used[:-3]) > 1 and used.endswith("MiB"), f"used {used}")
    guest = must(d("exec", n, "/bin/cat", "/proc/meminfo")).out
    t.true(vm.number(guest, r"MemTotal: +(\d+)") < limit_there >> 10, guest)
    must(d("update", "--memory", "48m", "--memory-swap", "48m", n))
    with open(top + "/memory.max", encoding="ascii") as f:
        t.eq(int(f.read()), limit_there, "the machine is as large as it was")
    eater = d("exec", n, "/bin/dd", "if=/dev/zero", "of=/dev/null", "bs=56M", "count=1")
    t.eq(eater.code, 137, "the new limit acts in the guest")


@timeout(600)
@bailey_only("isolation level vm")
def test_life(t):
    d = Docker(t, vm.program(t), iptables=True)
    opts = ["-p", "127.0.0.1:0:8000", "--hostname", "keep", "-e", "A=b", "-w", "/tmp"]
    if _has("memory") and _has("cpu"):
        opts += ["--memory", "64m", "--cpus", "0.5"]
    n = d.up("/bin/sh", "-c", SERVER, opts=opts)
    pid = d.inspect(n)["State"]["Pid"]
    t.eq(must(d("exec", n, "/bin/sh", "-c", "id -u; hostname; echo $A; pwd")).out,
         "0\nkeep\nb\n/tmp\n")
    t.lacks(must(d("exec", n, "/bin/cat", "/proc/version")).out, platform.version(), "another kernel")
    t.eq(must(d("exec", "-i", "-u", "1000:2000", n, "/bin/sh", "-c", "cat; id -g", input="x ")).out,
         "x 2000\n")
    for code, argv in ((7, ("/bin/sh", "-c", "exit 7")), (126, ("/etc",))):
        t.eq(d("exec", n, *argv).code, code, "exec")
    r = must(d("exec", n, "/probe")).json()
    t.eq(r["seccomp"], 2, "seccomp mode in the guest")
    t.lacks(r["caps"]["effective"], "cap_sys_admin")
    if _profile("self"):
        t.eq(_profile(pid), "docker-default", "AppArmor's profile of the monitor")
    port = int(must(d("port", n, "8000")).out.split(":")[1])
    address = d.inspect(n)["NetworkSettings"]["IPAddress"]
    wait_for("an answer of the container", lambda: answered(address, 8000), 60)
    wait_for("an answer by the published port", lambda: answered("127.0.0.1", port), 60)
    t.has(must(d("top", n)).out, "bailey", "the process that stands for it on the host")
    must(d("pause", n))
    t.eq(d.inspect(n)["State"]["Status"], "paused")
    must(d("unpause", n))
    if "--memory" in opts:
        _limits(t, d, n)
    must(d("stop", "-t", str(int(limit(20))), n))
    t.eq(must(d("logs", n)).out, "hello\nbye\n")
    t.eq(d.inspect(n)["State"]["ExitCode"], 4)
    must(d("start", n))
    must(d("kill", n))
    t.eq(must(d("wait", n)).out.strip(), "137")


@timeout(600)
@bailey_only("isolation level vm")
def test_volumes_build_and_refusals(t):
    d = Docker(t, vm.program(t), iptables=True)
    v = t.dir("volume")
    t.file("volume/in", "from host\n")
    r = d.run("/bin/sh", "-c", "cat /v/in; echo back >/v/out; touch /r/x || echo refused; "
              "touch /x || echo read only; exit 9",
              opts=["-v", f"{v}:/v", "-v", f"{v}:/r:ro", "--read-only", "--tmpfs", "/tmp"])
    t.eq((r.out, r.code), ("from host\nrefused\nread only\n", 9))
    with open(f"{v}/out", encoding="ascii") as f:
        t.eq(f.read(), "back\n")
    t.dir("context")
    t.file("context/Dockerfile", f"FROM {IMAGE}\nRUN cat /proc/version >/kernel\nUSER user\nRUN id -u "
           ">/tmp/who\nCMD [\"/bin/cat\", \"/kernel\", \"/tmp/who\"]\n")
    must(d("build", "-t", t.mark, t.tmp + "/context", timeout=240))
    out = must(d("run", "--rm", t.mark)).out
    t.true(out.endswith("\n1000\n"), out)
    t.lacks(out, platform.version(), "RUN in a machine")
    must(d("rmi", "-f", t.mark))
    for opts, text in ((["--network", "host"], "network of who calls"),
                       (["--pid", "host"], '"pid" is missing'),
                       (["--ipc", "host"], '"ipc" is missing'),
                       (["--device", "/dev/kvm"], "/dev/kvm")):
        r = d.run("/bin/true", opts=opts)
        t.ne(r.code, 0, f"{opts}")
        t.has(r.err, text)
        t.has(r.err, "isolation level vm")
