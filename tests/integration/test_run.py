"""run: exit codes, standard streams, pid file, inherited descriptors, what the payload sees."""
import os
import shutil
import signal
import subprocess
import time

from lib import clock, kernel
from lib.container import Result, must, wait_for, wait_gone
from lib.testing import bailey_only, cases, namespaces_only, timeout
from lib.trace import strace


@timeout(180)
def test_every_exit_code(t):
    c = t.container()
    for code in t.few(range(0, 256, 5)):
        c.config.args("/probe", "exit", str(code))
        t.eq(c.run().code, code, "exit code of run")


@timeout(180)
def test_every_exit_code_of_exec(t):
    c = t.container()
    c.sleeping()
    for code in range(0, 256, clock.often(1, 5)):
        t.eq(c.exec("/probe", "exit", str(code)).code, code, "exit code of exec")


@cases(segv=11, ill=4)
def test_death_by_fault(t, sig):
    c = t.container("/probe", "signal", str(sig))
    t.eq(c.run().code, 128 + sig)


@namespaces_only("a machine has a pid namespace of its own")
@cases(kill=9, term=15, usr1=10, abrt=6, rtmin=34)
def test_death_by_signal(t, sig):
    """A payload in the host's pid namespace may die by its own signal."""
    c = t.container("/probe", "signal", str(sig))
    c.config.without_namespace("pid")
    t.eq(c.run().code, 128 + sig)


def test_exec_death_by_signal(t):
    c = t.container()
    c.sleeping()
    for sig in (9, 15, 11, 6):
        t.eq(c.exec("/probe", "signal", str(sig)).code, 128 + sig)


def test_streams(t):
    c = t.container("/bin/sh", "-c", "cat; echo err >&2")
    r = must(c.run(input="a line\n"))
    t.eq((r.out, r.err), ("a line\n", "err\n"))
    c.config.args("/probe", "echo")
    big = "0123456789abcdef" * 65536
    t.eq(must(c.run(input=big)).out, big, "a megabyte through stdin and stdout")


def test_no_descriptor_but_three(t):
    c = t.container("/probe")
    t.eq(sorted(c.report()["fds"]), ["0", "1", "2"])
    c.config.args("/probe", "sleep")
    c.up()
    t.eq(sorted(c.exec_report()["fds"]), ["0", "1", "2"])


def test_inherited_descriptor_is_not_passed(t):
    c = t.container()
    c.bundle.write_config()
    c.made = True
    with open("/etc/passwd") as f:
        os.set_inheritable(f.fileno(), True)
        r = c.runtime("run", "--bundle", c.bundle.path, c.id, close_fds=False)
    t.eq(sorted(must(r).json()["fds"]), ["0", "1", "2"])


def _pipe_with(text):
    r, w = os.pipe()
    os.write(w, text)
    os.close(w)
    return r


def _raw(c, verb, *args, fds=(), env=None, **kw):
    """The verb in a fresh process whose 3, 4 … are fds (the test's own 3 is in use)."""
    def place():
        tops = [os.dup2(f, 100 + i) for i, f in enumerate(fds)]
        for i, top in enumerate(tops):
            os.dup2(top, 3 + i, inheritable=True)
        os.closerange(3 + len(fds), 200)
    argv = ["/bin/sh", "-c", 'test -z "$LISTEN_FDS" || export LISTEN_PID=$$; exec "$@"', "sh"]
    p = subprocess.run(argv + c.runtime.argv(verb, *args), stdin=subprocess.DEVNULL,
                       capture_output=True, text=True, timeout=30, close_fds=False,
                       preexec_fn=place, env={**os.environ, **(env or {})}, check=False)
    return Result([verb, *args], p.returncode, p.stdout, p.stderr)


@namespaces_only("descriptors of the host are refused")
def test_preserve_fds(t):
    c = t.container("/probe", "fdread", "3", "4")
    c.bundle.write_config()
    c.made = True
    fds = [_pipe_with(b"three"), _pipe_with(b"four")]
    r = must(_raw(c, "run", "--preserve-fds", "2", "-b", c.bundle.path, c.id, fds=fds))
    t.eq(r.json(), {"3": "three", "4": "four"})
    c.config.args("/probe")
    c.bundle.write_config()
    r = must(_raw(c, "run", "--preserve-fds", "1", "-b", c.bundle.path, c.id, fds=fds))
    t.eq(sorted(r.json()["fds"]), ["0", "1", "2", "3"], "the second was not asked for")


@namespaces_only("descriptors of the host are refused")
def test_exec_preserve_fds(t):
    c = t.container()
    c.sleeping()
    r = must(_raw(c, "exec", "--preserve-fds", "1", c.id, "/probe", "fdread", "3",
                  fds=[_pipe_with(b"three")]))
    t.eq(r.json(), {"3": "three"})


@namespaces_only("descriptors of the host are refused")
@bailey_only("runc hands out descriptors of its own")
def test_preserve_fds_beyond_what_is_open(t):
    c = t.container("/probe")
    c.bundle.write_config()
    c.made = True
    for n in ("1", "3", "1000"):
        r = _raw(c, "run", "--preserve-fds", n, "-b", c.bundle.path, c.id)
        t.fails(r, "preserve-fds", code=1)
    for n in ("-1", "x", "99999999999"):
        t.fails(_raw(c, "run", "--preserve-fds", n, "-b", c.bundle.path, c.id), code=1)


@namespaces_only("descriptors of the host are refused")
def test_listen_fds(t):
    """sd_listen_fds(3): the descriptors are passed, and LISTEN_PID is the payload's number."""
    c = t.container("/probe")
    c.bundle.write_config()
    c.made = True
    r = must(_raw(c, "run", "-b", c.bundle.path, c.id, fds=[_pipe_with(b"x")],
                  env={"LISTEN_FDS": "1"})).json()
    t.eq(sorted(r["fds"]), ["0", "1", "2", "3"])
    t.has(r["env"], "LISTEN_FDS=1")
    t.has(r["env"], "LISTEN_PID=1")


def test_pid_file(t):
    c = t.container("/probe", "sleep")
    c.bundle.write_config()
    c.made = True
    d = t.dir("cwd")
    must(c.runtime("create", "--bundle", c.bundle.path, "--pid-file", "init.pid", c.id, cwd=d))
    with open(d + "/init.pid") as f:
        t.eq(f.read(), str(c.pid()), "relative to the caller's directory")
    must(c.start())
    must(c.exec("/probe", "sleep", opts=["--detach", "--pid-file", d + "/exec.pid"]))
    with open(d + "/exec.pid") as f:
        pid = int(f.read())
    t.eq(c.cgroup_dir(pid), c.cgroup_dir(), "a process of the container's")
    if not t.in_machine:  # where it stands for the one in the guest
        t.eq(kernel.ns_inode("pid", pid), kernel.ns_inode("pid", c.pid()))


def test_pid_file_absent_on_failure(t):
    c = t.container("/no/such/program")
    f = os.path.join(t.tmp, "p.pid")
    t.fails(c.create("--pid-file", f))
    t.true(not os.path.exists(f), "no pid file after a failed create")
    t.file("p.pid", "another's")
    t.fails(c.create("--pid-file", f))
    t.true(os.path.exists(f) or not t.is_bailey, "a file that was there is not the failed create's")
    os.unlink(f)
    c = t.container()
    c.sleeping()
    t.fails(c.exec("/no/such", opts=["--detach", "--pid-file", f]))
    t.true(not os.path.exists(f), "no pid file after a failed exec")


def test_pid_file_unwritable(t):
    c = t.container("/bin/true")
    t.fails(c.create("--pid-file", "/no/such/dir/pid"), code=1, bailey="/no/such/dir")


@cases(path=("/no/such", 127, "no such file"), name=("nosuch", 127, "executable file not found"),
       directory=("/etc", 126, "permission denied"),
       mode=("/etc/passwd", 126, "permission denied"), empty=("", 127, ""))
def test_no_command(t, command, code, text):
    c = t.container(command)
    r = t.fails(c.run(), code=code)
    t.has(r.err.lower(), text, "message")
    r = t.fails(c.create(), code=code)
    c.config.args("/probe", "sleep")
    c.up()
    r = t.fails(c.exec(command), code=code)
    t.has(r.err.lower(), text, "message of exec")


def test_command_by_path_variable(t):
    c = t.container("tool")
    c.config.process["env"] = ["PATH=/nowhere:/opt/bin"]
    c.bundle.put("opt/bin/tool", "#!/bin/sh\necho found\n", 0o755)
    t.eq(must(c.run()).out, "found\n")


def test_command_relative_to_cwd(t):
    c = t.container("./tool")
    c.bundle.put("opt/tool", "#!/bin/sh\necho here\n", 0o755)
    c.config.process["cwd"] = "/opt"
    t.eq(must(c.run()).out, "here\n")


def test_script_without_interpreter(t):
    c = t.container("/script")
    c.bundle.put("script", "#!/no/interpreter\n", 0o755)
    t.fails(c.run(), "no such file", code=127)


@cases(garbage=b"\x7fELFgarbage", empty=b"")
def test_not_a_program(t, data):
    c = t.container("/prog")
    c.bundle.put("prog", data, 0o755)
    t.fails(c.run(), code=126, bailey="exec format error" if data else ())


def test_signals_reach_the_payload(t):
    """run forwards what it gets."""
    c = t.container("/probe", "trap", "3")
    out = t.file("out")
    c.bundle.write_config()
    c.made = True
    with open(out, "w") as f:
        p = c.runtime.spawn("run", "--bundle", c.bundle.path, c.id, stdin=subprocess.DEVNULL,
                            stdout=f)
    wait_for("readiness", lambda: "ready" in open(out).read())
    for n, sig in enumerate((signal.SIGHUP, signal.SIGUSR1, signal.SIGTERM)):
        p.send_signal(sig)
        wait_for(f"{sig}", lambda: len(open(out).read().split()) == n + 2)
    t.eq(p.wait(10), 0)
    t.eq(open(out).read().split(), ["ready", "1", "10", "15"])


@bailey_only("runc passes them on")
def test_signal_state_is_clean(t):
    """Blocked and ignored signals of the caller do not leak into the payload."""
    def hostile():
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1, signal.SIGTERM})
        signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    c = t.container()
    r = c.report(preexec_fn=hostile)
    t.eq(r["blocked"], [], "blocked signals")
    t.eq(r["ignored"], [], "ignored signals")


def test_process_identity(t):
    r = t.container().report()
    t.eq((r["pid"], r["ppid"], r["sid"], r["pgid"]), (1, 0, 1, 1))
    t.eq(r["dumpable"], 1)
    t.eq(r["exe"], "/probe")


def test_argv(t):
    c = t.container("/probe", "report", "", "a b", "ü", "--root", "-x", "\n")
    t.eq(c.report()["argv"], ["report", "", "a b", "ü".encode().decode("latin1"), "--root", "-x",
                              "\n"])


def test_keep(t):
    t.need(t.is_bailey, "--keep is newer than runc 1.1")
    c = t.container("/bin/true")
    must(c.run("--keep"))
    t.eq(c.status(), "stopped")
    must(c.delete())


@bailey_only("peers' calls are others")
def test_wait_that_fails(t):
    """Whoever called knows of no container then, and there is none."""
    t.need(shutil.which("strace"), "no strace here (tools/deps test)")
    c = t.container("/probe", "sleep")
    c.bundle.write_config()
    p = strace(t, "-e", "trace=signalfd4", "-e", "inject=signalfd4:error=EMFILE", "--", "run", "--bundle",
               c.bundle.path, c.id)
    t.eq(p.wait(timeout=60), 1, "exit code")
    t.fails(c.verb("state", c.id), "does not exist")


@bailey_only("peers' calls are others")
def test_wait_for_exec_that_fails(t):
    """The process has ended with bailey, the container goes on."""
    t.need(shutil.which("strace"), "no strace here (tools/deps test)")
    c = t.container("/probe", "sleep")
    c.up()
    p = strace(t, "-e", "trace=signalfd4", "-e", "inject=signalfd4:error=EMFILE", "--", "exec", c.id, "/bin/sleep",
               "1000")
    t.true(p.wait(timeout=60) not in (0, 137), "exit code")
    t.lacks(must(c.exec("/bin/ps", "-o", "args")).out, "sleep 1000", "processes")


def test_failed_run_leaves_nothing(t):
    c = t.container()
    c.config.mount("/x", "nosuchfs", "none")
    t.fails(c.run(), bailey="nosuchfs")
    t.eq(os.listdir(t.root) if os.path.isdir(t.root) else [], [])


def test_run_of_many(t):
    for _ in range(3 if t.in_machine else 10):
        must(t.container("/bin/true").run())


@bailey_only("runc copies the streams and waits for their end")
def test_exec_child_outlives_exec(t):
    """Foreground exec returns when its process ends, not when the last descriptor is closed."""
    c = t.container()
    c.sleeping()
    start = time.monotonic()
    t.eq(c.exec("/bin/sh", "-c", "sleep 1000 & exit 5").code, 5)
    t.true(time.monotonic() - start < 5, "exec returned at once")


def test_stopped_by_signal_of_host(t):
    pid = t.container().sleeping()
    os.kill(pid, signal.SIGKILL)
    wait_gone(pid)
