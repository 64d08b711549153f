"""docker end to end, with runc (which proves the script) and with the runtime under test. The daemon
is the test's own, in a network namespace of its own."""
import os
import socket

from lib import kernel
from lib.clock import limit, often
from lib.container import must, wait_for
from lib.engine import IMAGE, Docker, slice_for, weight_of_512_shares
from lib.terminal import open_pty
from lib.testing import cases, timeout

RUNTIMES = {"runc": "runc", "tested": None}
SHARES = "docker"


def _controllers(t, *names):
    with open("/sys/fs/cgroup/cgroup.controllers") as f:
        have = f.read().split()
    for n in names:
        t.need(n in have, f"no {n} controller in the cgroup2 tree of this machine")


@timeout(180)
@cases(**RUNTIMES)
def test_run(t, rt):
    d = Docker(t, rt)
    r = must(d.run("/probe", opts=["-e", "A=b", "-w", "/tmp", "--hostname", "keep"])).json()
    t.eq((r["pid"], r["uid"][0], r["hostname"], r["cwd"]), (1, 0, "keep", "/tmp"))
    t.has(r["env"], "A=b")
    t.has(r["caps"]["effective"], "cap_chown")
    t.lacks(r["caps"]["effective"], "cap_sys_admin")
    t.eq(r["seccomp"], 2, "seccomp mode")
    t.eq(sorted(r["fds"]), ["0", "1", "2"])
    t.eq(must(d.run("/bin/cat", opts=["-i"], input="through\n")).out, "through\n")
    t.has(must(d("info", "--format", "{{json .Runtimes}} {{.DefaultRuntime}}")).out, d.runtime)


@timeout(180)
@cases(**RUNTIMES)
def test_exit_codes(t, rt):
    d = Docker(t, rt)
    for code in often((0, 1, 77, 255), (77,)):
        t.eq(d.run("/probe", "exit", code).code, code, "run")
    t.eq(d.run("/probe", "signal", 11).code, 139, "SIGSEGV")
    t.eq(d.run("/bin/true", opts=["--no-such-flag"]).code, 125, "docker's own")
    t.eq(d.run("/bin/true", opts=["--runtime", "nosuch"]).code, 125, "the daemon's")
    t.eq(d.run("/etc").code, 126, "a directory")
    r = d.run("/etc/passwd")
    t.eq(r.code, 126, f"not executable: {r}")
    t.eq(d.run("/no/such/file").code, 127, "path not found")
    t.eq(d.run("nosuchcommand").code, 127, "name not found")
    n = d.up()
    for code in often((0, 3, 125, 255), (125,)):
        t.eq(d("exec", n, "/probe", "exit", code).code, code, "exec")
    t.eq(d("exec", n, "/etc").code, 126, "a directory")
    t.eq(d("exec", n, "nosuchcommand").code, 126, "docker 20.10 knows no other")


@timeout(180)
@cases(**RUNTIMES)
def test_exec(t, rt):
    d = Docker(t, rt)
    n = d.up()
    r = must(d("exec", n, "/probe")).json()
    t.ne(r["pid"], 1)
    t.eq(r["seccomp"], 2, "seccomp mode")
    t.eq(must(d("exec", "-i", n, "/bin/cat", input="x y")).out, "x y")
    t.eq(must(d("exec", "-u", "1000:2000", "-w", "/tmp", "-e", "A=b", n, "/bin/sh", "-c",
                "id -u; id -g; pwd; echo $A")).out, "1000\n2000\n/tmp\nb\n")
    must(d("exec", "-d", n, "/bin/touch", "/tmp/detached"))
    wait_for("the detached exec", lambda: d("exec", n, "test", "-e", "/tmp/detached").code == 0)
    t.has(must(d("top", n)).out, "/probe sleep")


@timeout(180)
@cases(**RUNTIMES)
def test_terminal(t, rt):
    d = Docker(t, rt)
    n = d.up()
    # The size arrives after the start, for clients and daemons of different age as a change.
    script = "until stty size | grep -q '33 91'; do sleep 0.1; done 2>/dev/null; tty; exit 7"
    for verb in (["run", "--rm", "-it", IMAGE], ["exec", "-it", n]):
        master, slave = open_pty(91, 33)
        p = d.popen(*verb, "/bin/sh", "-c", script, stdin=slave, stdout=slave, stderr=slave,
                    start_new_session=True)
        os.close(slave)
        t.has(master.read_all(60), "/dev/", "tty")
        t.eq(p.wait(limit(20)), 7, f"exit code of {verb[0]}")
        master.close()


@timeout(240)
@cases(**RUNTIMES)
def test_signals_and_states(t, rt):
    d = Docker(t, rt)
    n = d.up("/bin/sh", "-c", "trap 'echo bye; exit 4' USR1; echo hello; while :; do sleep 0.1; "
             "done", opts=["--stop-signal", "USR1"])
    wait_for("the log", lambda: "hello" in d("logs", n).out)
    must(d("pause", n))
    t.eq(d.inspect(n)["State"]["Status"], "paused")
    t.ne(d("exec", n, "/bin/true").code, 0, "exec while paused")
    must(d("unpause", n))
    must(d("stop", "-t", "20", n))
    t.eq(must(d("logs", n)).out, "hello\nbye\n", "log after stop")
    t.eq(d.inspect(n)["State"]["ExitCode"], 4, "exit code")
    must(d("start", n))
    t.eq(d.inspect(n)["State"]["Status"], "running")
    must(d("kill", n))
    t.eq(must(d("wait", n)).out.strip(), "137", "exit code of SIGKILL")
    n = d.up("/probe", "trap", "3")
    wait_for("readiness", lambda: "ready" in d("logs", n).out)
    for sig, number in (("USR1", "10"), ("SIGHUP", "1"), ("15", "15")):
        must(d("kill", "--signal", sig, n))
        wait_for(f"signal {sig}", lambda: number in d("logs", n).out.split())
    t.eq(must(d("wait", n)).out.strip(), "0", "exit after three signals")


@timeout(240)
@cases(**RUNTIMES)
def test_restart_policy(t, rt):
    d = Docker(t, rt)
    n = d.up("/probe", "exit", "5", opts=["--restart", "on-failure:2"])
    wait_for("two restarts", lambda: d.inspect(n)["RestartCount"] == 2, 60)
    wait_for("the end", lambda: d.inspect(n)["State"]["Status"] == "exited", 60)
    t.eq(d.inspect(n)["State"]["ExitCode"], 5)
    n = d.up(opts=["--restart", "always"])
    first = d.inspect(n)["State"]["Pid"]
    os.kill(first, 9)
    wait_for("another init", lambda: d.inspect(n)["State"]["Pid"] not in (0, first), 60)
    must(d("restart", "-t", "0", n))
    t.eq(d.inspect(n)["State"]["Status"], "running", "restart")


@timeout(240)
@cases(**RUNTIMES)
def test_daemon_restart(t, rt):
    """live-restore: containers outlive the daemon, and the next one knows them."""
    d = Docker(t, rt, **{"live-restore": True})
    n = d.up()
    pid = d.inspect(n)["State"]["Pid"]
    d.daemon.stop()
    t.true(os.path.exists(f"/proc/{pid}"), "the container lives")
    d.start()
    t.eq(d.inspect(n)["State"]["Pid"], pid)
    must(d("exec", n, "/bin/true"))


@timeout(300)
@cases(**RUNTIMES)
def test_build(t, rt):
    """The builder of the daemon itself: each RUN is a container of the default runtime."""
    d = Docker(t, rt)
    t.dir("context")
    t.file("context/data", "copied\n")
    t.file("context/Dockerfile", f"FROM {IMAGE}\nCOPY data /data\nRUN cat /data > /made && id -u\n"
           "USER user\nRUN id -u > /tmp/who\nCMD [\"/bin/cat\", \"/made\", \"/tmp/who\"]\n")
    must(d("build", "-t", t.mark, t.tmp + "/context", timeout=120))
    t.eq(must(d("run", "--rm", t.mark)).out, "copied\n1000\n")
    t.file("context/Dockerfile", f"FROM {IMAGE}\nRUN exit 9\n")
    r = d("build", t.tmp + "/context", timeout=120)
    t.ne(r.code, 0)
    t.has(r.out + r.err, "non-zero code: 9", "build")
    must(d("rmi", "-f", t.mark))


@timeout(240)
@cases(**RUNTIMES)
def test_files(t, rt):
    d = Docker(t, rt)
    v = t.dir("volume")
    t.file("volume/in", "from host\n")
    t.eq(must(d.run("/bin/sh", "-c", "cat /v/in; echo back > /v/out",
                    opts=["-v", f"{v}:/v"])).out, "from host\n")
    with open(f"{v}/out") as f:
        t.eq(f.read(), "back\n")
    r = d.run("/bin/sh", "-c", "echo x > /v/out2", opts=["-v", f"{v}:/v:ro"])
    t.ne(r.code, 0, "write to a read-only volume")
    t.eq(must(d.run("/bin/sh", "-c", "touch /n/f; ls /n", opts=["-v", f"{t.mark}:/n"])).out,
         "f\n", "named volume")
    must(d("volume", "rm", t.mark))
    t.has(must(d.run("/bin/cat", "/proc/mounts", opts=["--tmpfs", "/t:size=1m"])).out,
          " /t tmpfs ")
    r = d.run("/bin/sh", "-c", "touch /x 2>/dev/null && echo no; touch /tmp/x && echo tmp",
              opts=["--read-only", "--tmpfs", "/tmp"])
    t.eq(r.out, "tmp\n", "--read-only")
    n = d.up()
    must(d("cp", f"{v}/in", f"{n}:/tmp/in"))
    t.eq(must(d("exec", n, "/bin/cat", "/tmp/in")).out, "from host\n", "cp")
    t.has(must(d("diff", n)).out, "A /tmp/in")


@timeout(240)
@cases(**RUNTIMES)
def test_identity_and_security(t, rt):
    d = Docker(t, rt)
    r = must(d.run("/probe", opts=["--user", "1000:1000", "--group-add", "2000"])).json()
    t.eq((r["uid"], r["gid"], r["caps"]["effective"]), ([1000] * 3, [1000] * 3, []))
    t.has(r["groups"], 2000)
    r = must(d.run("/probe", opts=["--cap-drop", "all", "--cap-add", "net_raw"])).json()
    t.eq(r["caps"]["bounding"], ["cap_net_raw"])
    r = must(d.run("/probe", opts=["--ulimit", "nofile=100:200", "--oom-score-adj", "500"])).json()
    t.eq(r["rlimits"]["RLIMIT_NOFILE"], [100, 200])
    t.eq(r["oom_score_adj"].strip(), "500")
    t.eq(must(d.run("/bin/cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start",
                    opts=["--sysctl", "net.ipv4.ip_unprivileged_port_start=99"])).out, "99\n")
    n = d.up()
    a = must(d("exec", n, "/probe")).json()["ns"]
    b = must(d.run("/probe", opts=["--pid", f"container:{n}", "--network", f"container:{n}"]))
    for k in ("pid", "net"):
        t.eq(b.json()["ns"][k], a[k], f"{k} namespace")


@timeout(180)
@cases(**RUNTIMES)
def test_privileged(t, rt):
    t.need(kernel.has_cap(kernel.CAP_SYS_RESOURCE), "runc gives all capabilities or fails, and "
           "here root lacks CAP_SYS_RESOURCE")
    d = Docker(t, rt)
    r = must(d.run("/probe", opts=["--privileged"])).json()
    t.has(r["caps"]["effective"], "cap_sys_admin")
    t.eq(r["seccomp"], 0, "seccomp")
    n = d.up()
    t.has(must(d("exec", "--privileged", n, "/probe")).json()["caps"]["effective"],
          "cap_sys_admin", "exec")


@timeout(240)
@cases(**RUNTIMES)
def test_healthcheck(t, rt):
    d = Docker(t, rt)
    n = d.up(opts=["--health-cmd", "test -e /tmp/well", "--health-interval", "1s",
                   "--health-retries", "1"])

    def health():
        return d.inspect(n)["State"]["Health"]["Status"]
    wait_for("unhealthy", lambda: health() == "unhealthy", 60)
    must(d("exec", n, "/bin/touch", "/tmp/well"))
    wait_for("healthy", lambda: health() == "healthy", 60)


# ---- networks

def _ask(address, port):
    with socket.create_connection((address, port), limit(10)) as s:
        s.sendall(b"hello\n")
        s.shutdown(socket.SHUT_WR)
        return s.makefile().read()


SERVE = ("/bin/sh", "-c", "while :; do nc -l -p 8000 -e /bin/sh -c 'read x; echo got $x'; done")


def _answered(address, port):
    try:
        return _ask(address, port) == "got hello\n"
    except OSError:
        return False


@timeout(240)
@cases(**RUNTIMES)
def test_published_port(t, rt):
    """A client on the host, by the published port and by the container's own address."""
    d = Docker(t, rt, iptables=True)
    n = d.up(*SERVE, opts=["-p", "127.0.0.1:0:8000"])
    port = int(must(d("port", n, "8000")).out.split(":")[1])
    wait_for("an answer by the published port", lambda: _answered("127.0.0.1", port), 30)
    address = d.inspect(n)["NetworkSettings"]["IPAddress"]
    wait_for("an answer of the container", lambda: _answered(address, 8000), 30)


@timeout(240)
@cases(**RUNTIMES)
def test_two_on_a_network(t, rt):
    """A name from dockerd's name server, and a connection from one container to the other. The
    network namespace is set up by dockerd's prestart hook."""
    d = Docker(t, rt, iptables=True)
    must(d("network", "create", t.mark))
    n = d.up(*SERVE, opts=["--network", t.mark, "--network-alias", "server"])
    address = d.inspect(n)["NetworkSettings"]["Networks"][t.mark]["IPAddress"]
    script = (f"busybox nslookup server 127.0.0.11; for i in 1 2 3 4 5; do echo hello | nc -w 5 "
              f"{address} 8000 && break; sleep 0.2; done")
    r = must(d.run("/bin/sh", "-c", script, opts=["--network", t.mark]))
    t.has(r.out, address, "the name's address")
    t.has(r.out, "got hello")
    must(d("rm", "-f", n))
    must(d("network", "rm", t.mark))


# ---- limits: these need the controllers

@timeout(240)
@cases(**RUNTIMES)
def test_limits(t, rt):
    _controllers(t, "memory", "pids", "cpu", "cpuset")
    d = Docker(t, rt)
    files = ("memory.max", "memory.swap.max", "memory.low", "pids.max", "cpu.max", "cpu.weight",
             "cpuset.cpus")
    n = d.up(opts=["--memory", "64m", "--memory-swap", "96m", "--memory-reservation", "32m",
                   "--pids-limit", "33", "--cpus", "0.5", "--cpu-shares", "512", "--cpuset-cpus",
                   "0"])
    top = f"/sys/fs/cgroup/{t.mark}/{d.inspect(n)['Id']}"

    def values():
        got = {}
        for name in files:
            with open(f"{top}/{name}") as f:
                got[name] = f.read().strip()
        return got
    want = {"memory.max": str(64 << 20), "memory.swap.max": str(32 << 20),
            "memory.low": str(32 << 20), "pids.max": "33", "cpu.max": "50000 100000",
            "cpu.weight": weight_of_512_shares(rt), "cpuset.cpus": "0"}
    t.eq(values(), want)
    must(d("update", "--memory", "80m", "--memory-swap", "100m", "--pids-limit", "44", n))
    t.eq(values(), {**want, "memory.max": str(80 << 20), "memory.swap.max": str(20 << 20),
                    "pids.max": "44"}, "after update")
    r = must(d("stats", "--no-stream", "--format", "{{.MemUsage}}|{{.PIDs}}", n)).out.strip()
    t.has(r, "/ 80MiB|1", "stats")


@timeout(240)
@cases(**RUNTIMES)
def test_limits_act(t, rt):
    _controllers(t, "memory", "pids")
    d = Docker(t, rt)
    n = d.name()
    r = d("run", "--name", n, "--memory", "32m", "--memory-swap", "32m", IMAGE, "/bin/sh", "-c",
          "exec dd if=/dev/zero of=/dev/null bs=100M count=1")
    t.eq(r.code, 137, "exit code")
    wait_for("OOMKilled", lambda: d.inspect(n)["State"]["OOMKilled"])
    r = d.run("/bin/sh", "-c", "for i in 1 2 3 4 5 6 7 8; do sleep 100 & done; echo all",
              opts=["--pids-limit", "5"])
    t.lacks(r.out, "all", "nine processes with a limit of five")


@timeout(240)
@cases(**RUNTIMES)
def test_systemd(t, rt):
    """native.cgroupdriver=systemd, docker's default where systemd runs."""
    parent = slice_for(t)
    d = Docker(t, rt, **{"exec-opts": ["native.cgroupdriver=systemd"], "cgroup-parent": parent})
    n = d.up(opts=["--memory", "64m", "--memory-swap", "64m", "--pids-limit", "33"])
    top = f"/sys/fs/cgroup/{parent}/docker-{d.inspect(n)['Id']}.scope"
    for name, want in (("memory.max", str(64 << 20)), ("pids.max", "33")):
        with open(f"{top}/{name}") as f:
            t.eq(f.read().strip(), want, name)
    must(d("update", "--memory", "80m", "--memory-swap", "80m", n))
    with open(top + "/memory.max") as f:
        t.eq(f.read().strip(), str(80 << 20), "after update")
    must(d("exec", n, "/bin/true"))
    must(d("pause", n))
    must(d("unpause", n))
    must(d("rm", "-f", n))
    wait_for("the scope's end", lambda: not os.path.exists(top))
