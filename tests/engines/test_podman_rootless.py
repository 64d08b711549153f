"""podman by an ordinary user with ranges of subordinate ids, with runc (which proves the script) and
with the runtime under test."""
import os

from lib import host
from lib.container import must, wait_for
from lib.podman import Rootless
from lib.terminal import open_pty
from lib.testing import cases, timeout

RUNTIMES = {"runc": "runc", "tested": None}


@timeout(240)
@cases(**RUNTIMES)
def test_run(t, rt):
    s = Rootless(t, rt)
    r = must(s.run("/probe")).json()
    t.eq((r["uid"][0], r["pid"], r["seccomp"]), (0, 1, 2))
    t.eq(r["uid_map"].split()[:6],
         ["0", str(host.TEST_UID), "1", "1", str(host.SUBID[0]), str(host.SUBID[1])])
    r = must(s.run("/probe", opts=["--user", "1000:1000"])).json()
    t.eq((r["uid"], r["gid"]), ([1000] * 3, [1000] * 3))
    r = must(s.run("/probe", opts=["--userns", "keep-id"])).json()
    t.eq(r["uid"], [host.TEST_UID] * 3, "keep-id")
    for code in (0, 1, 77, 255):
        t.eq(s.run("/probe", "exit", code).code, code, "exit code")
    t.eq(s.run("/etc").code, 126, "a directory")
    t.eq(s.run("nosuchcommand").code, 127, "name not found")


@timeout(240)
@cases(**RUNTIMES)
def test_exec_logs_stop(t, rt):
    s = Rootless(t, rt)
    n = s.up("/bin/sh", "-c", "trap 'echo bye; exit 4' TERM; echo hello; while :; do sleep 0.1; "
             "done")
    wait_for("the log", lambda: "hello" in s("logs", n).out)
    t.eq(must(s("exec", "-i", n, "/bin/cat", input="x y")).out, "x y")
    t.eq(must(s("exec", "-u", "1000:2000", "-w", "/tmp", n, "/bin/sh", "-c", "id -u; id -g; pwd")
              ).out, "1000\n2000\n/tmp\n")
    t.eq(s("exec", n, "/probe", "exit", "9").code, 9)
    must(s("stop", "-t", "20", n))
    t.eq(must(s("logs", n)).out, "hello\nbye\n")
    t.eq(s.inspect(n)["State"]["ExitCode"], 4)
    must(s("start", n))
    must(s("kill", n))
    t.eq(must(s("wait", n)).out.strip(), "137")


@timeout(240)
@cases(**RUNTIMES)
def test_files(t, rt):
    s = Rootless(t, rt)
    d = t.dir("volume")
    os.chown(d, host.TEST_UID, host.TEST_UID)
    t.eq(must(s.run("/bin/sh", "-c", "echo mine > /v/f; touch /v/g; chown 1000 /v/g; stat -c %u /v/g",
                    opts=["-v", f"{d}:/v"])).out, "1000\n")
    t.eq(os.stat(f"{d}/f").st_uid, host.TEST_UID, "root inside is the user outside")
    t.eq(os.stat(f"{d}/g").st_uid, host.SUBID[0] + 999, "another id is of the range")
    t.eq(must(s.run("/bin/sh", "-c", "touch /n/f; ls /n", opts=["-v", f"{t.mark}:/n"])).out, "f\n")
    r = s.run("/bin/sh", "-c", "touch /x 2>/dev/null && echo no; touch /tmp/x && echo tmp",
              opts=["--read-only", "--read-only-tmpfs"])
    t.eq(r.out, "tmp\n")
    t.ne(s.run("/bin/cat", "/etc/shadow", opts=["-v", "/etc/shadow:/etc/shadow:ro"]).code, 0,
         "a file of the host's root")


@timeout(240)
@cases(**RUNTIMES)
def test_terminal(t, rt):
    s = Rootless(t, rt)
    master, slave = open_pty(91, 33)
    p = s.podman.popen("run", "--rm", "-it", "--name", s.name(), "localhost/bailey-test:1",
                       "/bin/sh", stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
    os.close(slave)
    master.write("until stty size | grep -q '33 91'; do sleep 0.1; done; tty; exit 7\n")
    t.has(master.read_all(60), "/dev/", "tty")
    t.eq(p.wait(60), 7, "exit code")
    master.close()


@timeout(240)
@cases(**RUNTIMES)
def test_healthcheck_and_top(t, rt):
    s = Rootless(t, rt)
    n = s.up(opts=["--health-cmd", "test -e /tmp/well", "--health-interval", "disable",
                   "--health-retries", "1"])
    t.ne(s("healthcheck", "run", n).code, 0, "not yet well")
    must(s("exec", n, "/bin/touch", "/tmp/well"))
    t.eq(s("healthcheck", "run", n).code, 0, "well")
    t.has(must(s("top", n, "pid", "args")).out, "/probe sleep")
