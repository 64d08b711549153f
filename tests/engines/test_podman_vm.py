"""podman with bailey called as bailey-vm: the same commands, each container in a virtual machine."""
import os
import platform

from lib import host, kernel, vm
from lib.clock import limit
from lib.container import must, wait_for
from lib.engine import answered, go_private, need_programs
from lib.podman import CONF, FULL_CONF, IMAGE, Rootless, Scenario
from lib.terminal import open_pty
from lib.testing import bailey_only, cases, timeout

MACHINES = True  # each test boots some
NETWORK_CONF = CONF.replace('netns = "none"\n', "") + '[network]\nnetwork_backend = "netavark"\n'
SERVE = ("/bin/sh", "-c", "while :; do nc -l -p 8000 -e /bin/sh -c 'read x; echo got $x'; done")


def _podman(t, **kw):
    return Scenario(t, vm.program(t), **kw)


@timeout(240)
@bailey_only("isolation level vm")
def test_run_exec_stop(t):
    s = _podman(t)
    n = s.up("/bin/sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.1; done",
             opts=["--user", "1000:2000", "--hostname", "keep", "-e", "A=b", "-w", "/tmp"])
    script = "id -u; id -g; hostname; echo $A; pwd; cat /proc/1/comm"
    t.eq(must(s("exec", n, "/bin/sh", "-c", script)).out, "1000\n2000\nkeep\nb\n/tmp\nsh\n")
    t.lacks(must(s("exec", n, "/bin/cat", "/proc/version")).out, platform.version(), "another kernel")
    t.eq(must(s("exec", "-i", n, "/bin/cat", input="x y")).out, "x y")
    t.eq(s("exec", n, "/bin/sh", "-c", "exit 7").code, 7)
    t.eq(s("exec", n, "/no/such").code, 127)
    must(s("pause", n))
    t.eq(s.inspect(n)["State"]["Status"], "paused")
    must(s("unpause", n))
    must(s("stop", "-t", str(int(limit(10))), n))
    t.eq(s.inspect(n)["State"]["ExitCode"], 3)


@timeout(240)
@bailey_only("isolation level vm")
def test_files_and_streams(t):
    s = _podman(t)
    d = t.dir("shared")
    with open(os.path.join(d, "from-host"), "w", encoding="ascii") as f:
        f.write("host\n")
    script = "cat; cat /v/from-host; echo guest >/v/from-guest; touch /r/x || echo refused; exit 9"
    r = s.run("/bin/sh", "-c", script, opts=["-i", "-v", f"{d}:/v", "-v", f"{d}:/r:ro"],
              input="through\n")
    t.eq((r.out, r.code), ("through\nhost\nrefused\n", 9))
    with open(os.path.join(d, "from-guest"), encoding="ascii") as f:
        t.eq(f.read(), "guest\n")


@timeout(240)
@bailey_only("isolation level vm")
def test_terminal(t):
    s = _podman(t)
    master, slave = open_pty(91, 33)
    p = s.podman.popen("run", "--rm", "-it", "--name", s.name(), IMAGE, "/bin/sh", stdin=slave,
                       stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    master.write("until stty size | grep -q '33 91'; do sleep 0.1; done; tty; exit 7\n")
    t.has(master.read_all(limit(60)), "/dev/", "tty")
    t.eq(p.wait(limit(30)), 7, "exit code")
    master.close()


@timeout(300)
@bailey_only("isolation level vm")
def test_published_port(t):
    need_programs(t, "/usr/lib/podman/netavark", "iptables")
    go_private(t)
    s = _podman(t, conf=NETWORK_CONF, kind="podman-net")
    n = s.up(*SERVE, opts=["-p", "127.0.0.1:8099:8000"])
    address = s.inspect(n)["NetworkSettings"]["IPAddress"]
    wait_for("an answer of the container", lambda: answered(address, 8000), 60)
    wait_for("an answer by the published port", lambda: answered("127.0.0.1", 8099), 60)


# ---- pods

@timeout(600)
@bailey_only("isolation level vm")
def test_pod(t):
    """The pod's infra container on the host, which has its network; one member a machine with it."""
    t.need(vm.missing() is None, vm.missing())
    need_programs(t, "/usr/lib/podman/netavark", "iptables", "catatonit")
    go_private(t)
    s = Scenario(t, None, conf=NETWORK_CONF, kind="podman-pod")
    must(s("pod", "create", "--share-parent=false", "--name", t.mark, "--hostname", "keep",
           "-p", "127.0.0.1:8098:8000"))
    t.later(s, "pod", "rm", "-f", "-t", "0", t.mark)
    member = ["--pod", t.mark, "--annotation", "org.bailey.isolation=vm"]
    n = s.up(*SERVE, opts=member)
    out = must(s("exec", n, "/bin/cat", "/proc/version", "/proc/sys/kernel/hostname")).out
    t.lacks(out, platform.version(), "another kernel")
    t.has(out, "keep\n")
    wait_for("an answer by the pod's port", lambda: answered("127.0.0.1", 8098), 60)
    r = s.run("/bin/true", opts=member)
    t.eq(r.code, 126, str(r))
    t.has(r.err, "eth0", "another virtual machine has this network namespace")
    r = s.run("/bin/sh", "-c", "echo hello | nc -w 5 127.0.0.1 8000 || echo alone",
              opts=["--pod", t.mark])
    t.eq(must(r).out, "alone\n", "a member at level namespace: another loopback interface")
    must(s("pod", "stop", "-t", "0", t.mark))
    must(s("pod", "start", t.mark))
    wait_for("an answer after a restart", lambda: answered("127.0.0.1", 8098), 60)


@timeout(300)
@bailey_only("isolation level vm")
def test_pod_of_machines(t):
    """The infra container, which podman does not mark, has the network: the error says what to do."""
    need_programs(t, "catatonit")
    go_private(t)
    s = _podman(t, kind="podman-pod")
    must(s("pod", "create", "--share-parent=false", "--name", t.mark, "--network", "none"))
    t.later(s, "pod", "rm", "-f", "-t", "0", t.mark)
    r = s.run("/bin/true", opts=["--pod", t.mark])
    t.ne(r.code, 0)
    t.has(r.err, "another virtual machine", "make the pod with isolation level namespace")


# ---- limits, systemd, AppArmor: where there are such

def _cgroup(s, n):
    with open(f"/proc/{s.inspect(n)['State']['Pid']}/cgroup", encoding="ascii") as f:
        return "/sys/fs/cgroup" + next(l for l in f if l.startswith("0::"))[3:].strip()


def _number(path):
    with open(path, encoding="ascii") as f:
        return int(f.read())


@timeout(600)
@bailey_only("isolation level vm")
@cases(cgroupfs="cgroupfs", systemd="systemd")
def test_limits(t, manager):
    """The host's limit is the container's and the machine's share, with either keeper of cgroups."""
    with open("/sys/fs/cgroup/cgroup.controllers", encoding="ascii") as f:
        have = f.read().split()
    for c in ("memory", "cpu", "pids"):
        t.need(c in have, f"no {c} controller in the cgroup2 tree of this machine")
    t.need(manager != "systemd" or os.path.isdir("/run/systemd/system"), "systemd does not run here")
    t.need(kernel.has_cap(kernel.CAP_SYS_RESOURCE), "podman's default rlimits need "
           "CAP_SYS_RESOURCE")
    if manager == "systemd":
        go_private(t)
    s = _podman(t, conf=FULL_CONF, kind="pod-" + manager, manager=manager)
    n = s.up(opts=["--network", "none", "--memory", "64m", "--cpus", "0.5"])
    top = _cgroup(s, n)
    t.eq("libpod-" in top and top.endswith(".scope"), manager == "systemd", top)
    most = _number(top + "/memory.max")
    t.true(64 << 20 < most < 256 << 20, f"memory.max {most}")
    with open(top + "/cpu.max", encoding="ascii") as f:
        t.eq(f.read().strip(), "50000 100000")
    guest = must(s("exec", n, "/bin/cat", "/proc/meminfo", "/proc/cpuinfo")).out
    t.true(vm.number(guest, r"MemTotal: +(\d+)") < most >> 10, guest)
    t.eq(guest.count("processor\t"), 1, "no more CPUs than the quota keeps busy")
    used, _, there = must(s("stats", "--no-stream", "--format", "{{.MemUsage}}", n)
                          ).out.strip().partition(" / ")
    t.eq(there, "67.11MB", "podman shows the limit that it was told")
    t.true(float(used.rstrip("kMB")) > 1, f"used {used}")
    must(s("update", "--cpus", "0.25", n))
    with open(top + "/cpu.max", encoding="ascii") as f:
        t.eq(f.read().strip(), "25000 100000", "update")
    if os.path.exists("/sys/kernel/security/apparmor/profiles"):
        with open(f"/proc/{s.inspect(n)['State']['Pid']}/attr/current", encoding="ascii") as f:
            t.has(f.read(), "containers-default-", "podman's profile confines the monitor")
    must(s("pause", n))
    t.eq(s.inspect(n)["State"]["Status"], "paused")
    must(s("unpause", n))
    must(s("rm", "-f", "-t", "0", n))
    wait_for("the cgroup's end", lambda: not os.path.exists(top))
    r = s.run("/bin/sh", "-c", "dd if=/dev/zero of=/dev/null bs=100M count=1",
              opts=["--network", "none", "--memory", "32m"])
    t.eq(r.code, 137, f"killed by the guest's kernel: {r}")


# ---- user namespaces

@timeout(600)
@bailey_only("isolation level vm")
def test_user_namespaces(t):
    """Ids of files are mapped as at the other level; in the guest its own root is root."""
    s = _podman(t)
    script = ("id -u; stat -c %u /bin/busybox; touch /tmp/x && chown 1000:1000 /tmp/x && stat -c %u "
              "/tmp/x; echo mine >/v/f; chown 5 /v/f; stat -c %u /v/f")
    d = t.dir("volume")
    os.chown(d, 500000, 500000)
    r = must(s.run("/bin/sh", "-c", script,
                   opts=["--uidmap", "0:500000:2000", "--gidmap", "0:500000:2000", "-v", f"{d}:/v"]))
    t.eq(r.out, "0\n0\n1000\n5\n")
    t.eq(os.stat(f"{d}/f").st_uid, 500005, "as the host has it")
    n = s.up(opts=["--uidmap", "0:500000:2000"])
    pid = s.inspect(n)["State"]["Pid"]
    with open(f"/proc/{pid}/uid_map", encoding="ascii") as f:
        t.eq(f.read().split(), ["0", "500000", "2000"], "the monitor's user namespace")
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        t.eq(vm.number(f.read(), r"Uid:\t(\d+)"), 500000)
    t.eq(must(s("exec", n, "/bin/sh", "-c", "id -u; id -g")).out, "0\n0\n")
    r = s.run("/bin/sh", "-c", "cat /etc/shadow-of-host",
              opts=["--uidmap", "0:500000:2000", "-v", "/etc/shadow:/etc/shadow-of-host"])
    t.ne(r.code, 0, "a file of the host's root")


@timeout(600)
@bailey_only("isolation level vm")
def test_userns_auto(t):
    """A range of the container's own; podman brings the network when the container is created."""
    need_programs(t, "/usr/lib/podman/netavark", "iptables")
    go_private(t)
    for name in ("subuid", "subgid"):
        kernel.mount(t.file(name, "containers:2000000:400000\n"), "/etc/" + name, None,
                     kernel.MS_BIND)
    s = _podman(t, conf=NETWORK_CONF, kind="podman-auto")
    n = s.up("/bin/sh", "-c", "ip -o addr show eth0 >/first; " + SERVE[2],
             opts=["--userns=auto:size=1024", "-p", "127.0.0.1:8097:8000"])
    i = s.inspect(n)
    with open(f"/proc/{i['State']['Pid']}/uid_map", encoding="ascii") as f:
        inside, outside, size = f.read().split()
    t.eq((inside, size), ("0", "1024"))
    t.true(int(outside) >= 2000000, outside)
    t.eq(must(s("exec", n, "/bin/sh", "-c", "id -u; stat -c %u /first")).out, "0\n0\n")
    address = i["NetworkSettings"]["IPAddress"]
    t.has(must(s("exec", n, "/bin/cat", "/first")).out, address + "/", "there from the beginning")
    wait_for("an answer of the container", lambda: answered(address, 8000), 60)
    wait_for("an answer by the published port", lambda: answered("127.0.0.1", 8097), 60)


# ---- an ordinary user who may open /dev/kvm

def _rootless(t, **kw):
    link = vm.program(t)
    os.chmod(t.tmp, 0o755)
    return Rootless(t, link, **{"kind": "rv", **kw}, groups=[os.stat("/dev/kvm").st_gid])


@timeout(600)
@bailey_only("isolation level vm")
def test_rootless(t):
    s = _rootless(t)
    n = s.up("/bin/sh", "-c", "trap 'echo bye; exit 4' TERM; echo hello; while :; do sleep 0.1; done")
    wait_for("the log", lambda: "hello" in s("logs", n).out, 60)
    t.lacks(must(s("exec", n, "/bin/cat", "/proc/version")).out, platform.version(), "another kernel")
    t.eq(must(s("exec", "-i", n, "/bin/cat", input="x y")).out, "x y")
    t.eq(must(s("exec", "-u", "1000:2000", "-w", "/tmp", n, "/bin/sh", "-c", "id -u; id -g; pwd")
              ).out, "1000\n2000\n/tmp\n")
    t.eq(s("exec", n, "/probe", "exit", "9").code, 9)
    must(s("stop", "-t", str(int(limit(20))), n))
    t.eq(must(s("logs", n)).out, "hello\nbye\n")
    t.eq(s.inspect(n)["State"]["ExitCode"], 4)
    d = t.dir("volume")
    os.chown(d, host.TEST_UID, host.TEST_UID)
    r = must(s.run("/bin/sh", "-c", "echo mine >/v/f; touch /v/g; chown 1000 /v/g; stat -c %u /v/g",
                   opts=["-v", f"{d}:/v"]))
    t.eq(r.out, "1000\n")
    t.eq(os.stat(f"{d}/f").st_uid, host.TEST_UID, "root inside is the user outside")
    t.eq(os.stat(f"{d}/g").st_uid, host.SUBID[0] + 999, "another id is of the range")
    s.podman.groups = []
    r = s.run("/bin/true")
    t.ne(r.code, 0, "without the right to /dev/kvm")
    t.has(r.err, "usermod -aG kvm")


@timeout(600)
@bailey_only("isolation level vm")
def test_rootless_user_namespaces(t):
    """Inside podman's own one another: the user is in the guest who he is outside, or not there."""
    s = _rootless(t)
    d = t.dir("volume")
    os.chown(d, host.TEST_UID, host.TEST_UID)
    script = "id -u; id -g; touch /v/f /tmp/x && stat -c %u /v/f /bin/busybox"
    r = must(s.run("/bin/sh", "-c", script, opts=["--userns", "keep-id", "-v", f"{d}:/v"]))
    t.eq(r.out.split(), [str(host.TEST_UID)] * 3 + ["0"])
    t.eq(os.stat(f"{d}/f").st_uid, host.TEST_UID)
    r = must(s.run("/bin/sh", "-c", "id -u; touch /tmp/x; stat -c %u /tmp/x /bin/busybox /v; "
                   "touch /v/g || echo refused", opts=["--userns", "nomap", "-v", f"{d}:/v"]))
    t.eq(r.out.split(), ["0", "0", "0", "65534", "refused"])


@timeout(600)
@bailey_only("isolation level vm")
def test_rootless_port(t):
    """By slirp4netns' own port handler: rootlessport dials where the machine does not listen."""
    need_programs(t, "slirp4netns")
    t.need(os.stat("/dev/net/tun").st_mode & 6 == 6, "/dev/net/tun is not for everybody")
    go_private(t)
    tmp = f"/run/{t.mark}"  # slirp4netns' socket has a long name
    os.mkdir(tmp)
    os.chown(tmp, host.TEST_UID, host.TEST_UID)
    s = _rootless(t, kind="rn", tmp=tmp, conf=NETWORK_CONF.replace(
        "[engine]\n", '[engine]\nnetwork_cmd_options = ["port_handler=slirp4netns"]\n'))
    s.up(*SERVE, opts=["-p", "8096:8000"])
    wait_for("an answer", lambda: answered("127.0.0.1", 8096), 60)
