"""podman end to end, with runc (which proves the script) and with the runtime under test."""
import json
import os
import subprocess
import time

from lib.clock import often
from lib.container import must, wait_for
from lib.podman import IMAGE, Scenario
from lib.terminal import open_pty
from lib.testing import cases, timeout

RUNTIMES = {"runc": "runc", "tested": None}


@cases(**RUNTIMES)
def test_run(t, rt):
    r = must(Scenario(t, rt).run("/probe")).json()
    t.eq(r["uid"][0], 0)
    t.eq(r["pid"], 1)
    t.has(r["caps"]["effective"], "cap_chown")
    t.lacks(r["caps"]["effective"], "cap_sys_admin")
    t.eq(r["seccomp"], 2, "seccomp mode")
    t.eq(sorted(r["fds"]), ["0", "1", "2"])


@cases(**RUNTIMES)
def test_run_stdin(t, rt):
    r = Scenario(t, rt).run("/bin/cat", opts=["-i"], input="through\n")
    t.eq(must(r).out, "through\n")


@cases(**RUNTIMES)
def test_run_terminal(t, rt):
    s = Scenario(t, rt)
    master, slave = open_pty(91, 33)
    p = s.podman.popen("run", "--rm", "-it", "--name", s.name(), IMAGE, "/bin/sh", stdin=slave,
                       stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    # podman hands the size on while the container starts already.
    master.write("until stty size | grep -q '33 91'; do sleep 0.1; done; tty; exit 7\n")
    t.has(master.read_all(30), "/dev/", "tty")
    t.eq(p.wait(20), 7, "exit code")
    master.close()


@cases(**RUNTIMES)
def test_exec(t, rt):
    s = Scenario(t, rt)
    n = s.up()
    r = must(s("exec", n, "/probe")).json()
    t.ne(r["pid"], 1)
    t.eq(r["seccomp"], 2, "seccomp mode")
    t.eq(must(s("exec", "-i", n, "/bin/cat", input="x y")).out, "x y")
    t.eq(must(s("exec", "-u", "1000:2000", "-w", "/tmp", "-e", "A=b", n, "/bin/sh", "-c",
                "id -u; id -g; pwd; echo $A")).out, "1000\n2000\n/tmp\nb\n")


@cases(**RUNTIMES)
def test_exec_terminal(t, rt):
    s = Scenario(t, rt)
    n = s.up()
    master, slave = open_pty(77, 22)
    p = s.podman.popen("exec", "-it", n, "/bin/sh", "-c", "tty; read x; until stty size | grep "
                       "'22 77'; do sleep 0.1; done; echo got-$x; exit 9", stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    master.read_until("/dev/pts/", 20)
    master.write("line\n")
    out = master.read_all(30)
    t.has(out, "got-line")
    t.has(out, "22 77")
    t.eq(p.wait(20), 9, "exit code")
    master.close()


@cases(**RUNTIMES)
def test_detached_logs_stop_rm(t, rt):
    s = Scenario(t, rt)
    n = s.up("/bin/sh", "-c", "trap 'echo bye; exit 4' TERM; echo hello; while :; do sleep 0.05; "
             "done")
    wait_for("the log", lambda: "hello" in s("logs", n).out)
    must(s("stop", "-t", "10", n))
    t.has(must(s("logs", n)).out, "bye", "log after stop")
    t.eq(s.inspect(n)["State"]["ExitCode"], 4, "exit code")
    must(s("start", n))
    t.eq(s.inspect(n)["State"]["Status"], "running")
    must(s("rm", "-f", "-t", "0", n))
    t.ne(s("inspect", n).code, 0, "inspect after rm")


@cases(**RUNTIMES)
def test_kill(t, rt):
    s = Scenario(t, rt)
    n = s.up("/probe", "trap", "3")
    wait_for("readiness", lambda: "ready" in s("logs", n).out)
    for sig, number in (("USR1", "10"), ("SIGHUP", "1"), ("15", "15")):
        must(s("kill", "--signal", sig, n))
        wait_for(f"signal {sig}", lambda: number in s("logs", n).out.split())
    t.eq(must(s("wait", n)).out.strip(), "0", "exit after three signals")
    n = s.up("/probe", "trap", "9")
    must(s("kill", n))
    t.eq(must(s("wait", n)).out.strip(), "137", "exit code of SIGKILL")


@cases(**RUNTIMES)
def test_pause(t, rt):
    s = Scenario(t, rt)
    n = s.up("/probe", "count", "/tmp/n")
    read = lambda: must(s("exec", n, "/bin/cat", "/tmp/n")).out  # noqa: E731
    wait_for("counting", lambda: s("exec", n, "/bin/cat", "/tmp/n").code == 0)
    must(s("pause", n))
    t.eq(s.inspect(n)["State"]["Status"], "paused")
    t.ne(s("exec", n, "/bin/true").code, 0, "exec while paused")
    must(s("unpause", n))
    first = int(read())
    time.sleep(0.05)
    t.true(int(read()) > first, "counts again")


@cases(**RUNTIMES)
def test_volume(t, rt):
    s = Scenario(t, rt)
    d = t.dir("volume")
    t.file("volume/in", "from host\n")
    t.eq(must(s.run("/bin/sh", "-c", "cat /v/in; echo back > /v/out",
                    opts=["-v", f"{d}:/v"])).out, "from host\n")
    with open(f"{d}/out") as f:
        t.eq(f.read(), "back\n")
    r = s.run("/bin/sh", "-c", "echo x > /v/out2", opts=["-v", f"{d}:/v:ro"])
    t.ne(r.code, 0, "write to a read-only volume")
    t.eq(must(s.run("/bin/sh", "-c", "touch /n/f; ls /n", opts=["-v", f"{t.mark}:/n"])).out,
         "f\n", "named volume")
    s("volume", "rm", "-f", t.mark)
    t.has(must(s.run("/bin/cat", "/proc/mounts", opts=["--tmpfs", "/t:size=1m"])).out,
          " /t tmpfs ")


@cases(**RUNTIMES)
def test_user(t, rt):
    s = Scenario(t, rt)
    r = must(s.run("/probe", opts=["--user", "1000:1000", "--group-add", "2000"])).json()
    t.eq((r["uid"], r["gid"]), ([1000] * 3, [1000] * 3))
    t.has(r["groups"], 2000)
    t.eq(r["caps"]["effective"], [])
    t.has(r["env"], "HOME=/home/user")


@cases(**RUNTIMES)
def test_read_only(t, rt):
    s = Scenario(t, rt)
    r = s.run("/bin/sh", "-c", "touch /x 2>/dev/null && echo no; touch /tmp/x && echo tmp",
              opts=["--read-only", "--read-only-tmpfs"])
    t.eq(r.out, "tmp\n")


@cases(**RUNTIMES)
def test_cap_drop(t, rt):
    s = Scenario(t, rt)
    r = must(s.run("/probe", opts=["--cap-drop", "all", "--cap-add", "net_raw"])).json()
    for k in ("effective", "permitted", "bounding"):
        t.eq(r["caps"][k], ["cap_net_raw"], k)
    r = must(s.run("/probe", opts=["--privileged"])).json()
    t.has(r["caps"]["effective"], "cap_sys_admin")
    t.eq(r["seccomp"], 0, "seccomp of privileged")


@cases(**RUNTIMES)
def test_seccomp_profile(t, rt):
    s = Scenario(t, rt)
    profile = t.file("p.json", json.dumps({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": ["SCMP_ARCH_X86_64"],
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO",
                      "errnoRet": 95}]}))
    r = s.run("/bin/mkdir", "/tmp/d", opts=["--security-opt", f"seccomp={profile}"])
    t.has(r.err, "not supported")
    t.ne(r.code, 0)


@cases(**RUNTIMES)
def test_healthcheck(t, rt):
    s = Scenario(t, rt)
    n = s.up(opts=["--health-cmd", "test -e /tmp/well", "--health-interval", "disable",
                   "--health-retries", "1"])
    t.ne(s("healthcheck", "run", n).code, 0, "not yet well")
    must(s("exec", n, "/bin/touch", "/tmp/well"))
    t.eq(s("healthcheck", "run", n).code, 0, "well")


@cases(**RUNTIMES)
def test_exit_codes(t, rt):
    s = Scenario(t, rt)
    for code in often((0, 1, 77, 255), (77,)):
        t.eq(s.run("/probe", "exit", code).code, code, "run")
    t.eq(s.run("/bin/sh", "-c", "kill -SEGV $$; /probe signal 11").code, 139, "SIGSEGV")
    # 125 is podman's own, 126 and 127 come from the runtime's message.
    t.eq(s.run("/bin/true", opts=["--no-such-flag"]).code, 125)
    t.eq(s.run("/etc").code, 126, "a directory")
    t.eq(s.run("/etc/passwd").code, 126, "not executable")
    t.eq(s.run("/no/such/file").code, 127, "path not found")
    t.eq(s.run("nosuchcommand").code, 127, "name not found")


@timeout(240)
@cases(**RUNTIMES)
def test_exec_exit_codes(t, rt):
    s = Scenario(t, rt)
    n = s.up()
    for code in often([*range(0, 256, 17), 125, 126, 127, 128, 137, 254], [125, 137, 255]):
        t.eq(s("exec", n, "/probe", "exit", code).code, code, "exec")
    t.eq(s("exec", n, "/etc").code, 126, "a directory")
    t.eq(s("exec", n, "/etc/passwd").code, 126, "not executable")
    t.eq(s("exec", n, "nosuchcommand").code, 127, "not found")
    t.eq(s("exec", n, "/no/such/file").code, 127, "path not found")
    t.eq(s("exec", "-w", "/no/such/dir", n, "/bin/true").code, 127, "cwd not found")


@cases(**RUNTIMES)
def test_every_exit_code(t, rt):
    """In one container, by the runtime's own exec on podman's container."""
    s = Scenario(t, rt)
    n = s.up()
    info = s.inspect(n)
    root = next(d for d in ("/run/" + os.path.basename(s.podman.runtime),
                            os.path.join(s.podman.dir, "run"), os.path.join(s.podman.dir, "tmp"))
                if os.path.isdir(os.path.join(d, info["Id"])))
    for code in range(0, 256, often(1, 15)):
        r = subprocess.run([s.podman.runtime, "--root", root, "exec", info["Id"], "/probe", "exit",
                            str(code)], stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
        t.eq(r.returncode, code)


@cases(**RUNTIMES)
def test_resources_and_limits(t, rt):
    s = Scenario(t, rt)
    r = must(s.run("/probe", opts=["--ulimit", "nofile=100:200", "--ulimit", "nproc=512:512",
                                   "--oom-score-adj", "500", "--hostname", "keep"])).json()
    t.eq(r["rlimits"]["RLIMIT_NOFILE"], [100, 200])
    t.eq(r["oom_score_adj"].strip(), "500")
    t.eq(r["hostname"], "keep")
    t.eq(must(s.run("/bin/cat", "/proc/sys/net/ipv4/ip_unprivileged_port_start",
                    opts=["--sysctl", "net.ipv4.ip_unprivileged_port_start=99"])).out, "99\n")


@cases(**RUNTIMES)
def test_share_namespaces(t, rt):
    s = Scenario(t, rt)
    n = s.up()
    a = must(s("exec", n, "/probe")).json()["ns"]
    b = must(s.run("/probe", opts=["--pid", f"container:{n}", "--ipc", f"container:{n}",
                                   "--network", f"container:{n}"])).json()["ns"]
    for k in ("pid", "ipc", "net"):
        t.eq(b[k], a[k], f"{k} namespace")
    t.ne(b["mnt"], a["mnt"])


@cases(**RUNTIMES)
def test_userns(t, rt):
    s = Scenario(t, rt)
    r = must(s.run("/probe", opts=["--uidmap", "0:300000:1000", "--gidmap", "0:300000:1000"])).json()
    t.eq(r["uid_map"].split(), ["0", "300000", "1000"])
    t.eq(r["uid"][0], 0)


@cases(**RUNTIMES)
def test_init_and_top(t, rt):
    s = Scenario(t, rt)
    n = s.up("/bin/sh", "-c", "sleep 1000 & wait")
    t.has(must(s("top", n, "pid", "args")).out, "sleep 1000")
    t.has(must(s("ps", "--format", "{{.Names}}")).out, n)
    t.eq(s.inspect(n)["State"]["Status"], "running")
    t.has(must(s("ps", "-a", "--format", "{{.Names}}")).out, n)


@cases(**RUNTIMES)
def test_preserve_fds(t, rt):
    s = Scenario(t, rt)
    r, w = os.pipe()
    os.write(w, b"handed over")
    os.close(w)
    os.dup2(r, 3)
    p = s.podman.popen("run", "--rm", "--name", s.name(), "--preserve-fds", "1", IMAGE, "/probe",
                       "fdread", "3", pass_fds=[3], stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    out = p.communicate(timeout=30)[0]
    t.has(out.decode(), '"handed over"')
