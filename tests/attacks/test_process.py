"""A hostile payload: the runtime's program, descriptors and memory, working directories, exec."""
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import termios

from lib import kernel
from lib.container import must, wait_for
from lib.terminal import open_pty
from lib.testing import bailey_only, cases, timeout
from lib.trace import strace


def _digest(path):
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


class Untouched:
    """The runtime's program file is the same afterwards."""

    def __init__(self, t):
        self.t, self.path = t, t.runtime.path
        self.before = _digest(self.path)

    def check(self):
        self.t.eq(_digest(self.path), self.before, "the runtime's own program")


# ---- the runtime's program (CVE-2019-5736)

def test_entry_point_is_proc_self_exe(t):
    """The payload is the runtime itself, from inside: it must not find a writable host program."""
    u = Untouched(t)
    c = t.container("/evil")
    c.bundle.put("evil", "#!/proc/self/exe\n", 0o755)
    r = c.run(timeout=20)
    t.true(r.code != 0, str(r))
    c = t.container("/proc/self/exe", "--version")
    r = c.run(timeout=20)
    u.check()
    c = t.container("/probe", "sleep")
    c.bundle.put("evil", "#!/proc/self/exe\n", 0o755)
    c.up()
    for argv in (["/evil"], ["/proc/self/exe"], ["/proc/1/exe", "exit", "3"]):
        t.true(isinstance(c.exec(*argv, timeout=20).code, int), "ends")
    u.check()


def test_program_in_the_container_is_sealed(t):
    """Waiting init's program: not the file on the host, and not writable."""
    u = Untouched(t)
    c = t.container("/probe", "sleep")
    must(c.create())
    pid = c.pid()
    exe = f"/proc/{pid}/exe"
    if t.is_bailey:
        t.ne(os.stat(exe).st_ino, os.stat(u.path).st_ino, "a copy")
        for mode in (os.O_WRONLY, os.O_RDWR):
            try:
                fd = os.open(exe, mode)
            except OSError as e:
                t.true(e.strerror, "refused")
                continue
            try:
                os.write(fd, b"x")
                t.true(False, "the program could be written")
            except OSError as e:
                t.eq(e.errno, 1, "sealed: EPERM")
            finally:
                os.close(fd)
    u.check()


@bailey_only("peers have other ways")
def test_seal_is_tried_again(t):
    """Somebody may hold a page of the copy, reclaim for example: then the kernel refuses for a while."""
    t.need(shutil.which("strace"), "no strace here (tools/deps test)")
    c = t.container("/probe", "sleep")
    c.bundle.write_config()
    create = ("create", "--bundle", c.bundle.path, c.id)
    trace = t.tmp + "/trace"
    t.eq(strace(t, "-e", "trace=fcntl", "--", *create, out=trace).wait(timeout=60), 0)
    with open(trace, encoding="utf-8") as f:
        at = next(n for n, call in enumerate(f, 1) if "F_ADD_SEALS" in call)
    for refusals, code in ((3, 0), (100, 1)):
        must(c.delete("--force"))
        inject = f"inject=fcntl:error=EBUSY:when={at}..{at + refusals - 1}"
        t.eq(strace(t, "-e", "trace=fcntl", "-e", inject, "--", *create).wait(timeout=60), code, refusals)


@timeout(60)
@bailey_only("what peers show is theirs")
@cases(root=(False, ["CAP_DAC_OVERRIDE", "CAP_KILL", "CAP_SETUID", "CAP_SYS_ADMIN"]),
       userns=(True, ["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE", "CAP_SYS_ADMIN", "CAP_SETUID"]))
def test_lurking_in_the_container(t, userns, caps):
    """A root payload watches every exec that comes in and tries its memory, descriptors and
    program. (CAP_SYS_PTRACE over the host's user namespace is the right to do so.)"""
    u = Untouched(t)
    c = t.container()
    if userns:
        c.config.userns()
        c.bundle.chown(100000, 100000)
    c.config.caps(bounding=caps, effective=caps, permitted=caps)
    out = t.file("out")
    c.config.args("/probe", "lurk")
    c.bundle.write_config()
    c.made = True
    with open(out, "w") as f:
        p = t.runtime.spawn("run", "-b", c.bundle.path, c.id, stdin=subprocess.DEVNULL, stdout=f)
    wait_for("the lurker", lambda: "ready" in open(out).read())
    for _ in range(40):
        t.eq(c.exec("/probe", "exit", "0").code, 0)
    must(c.kill("TERM"))
    p.wait(10)
    haul = json.loads(open(out).read().split("\n", 1)[1])
    t.true(haul["seen"] > 0, "it saw somebody")
    for k in ("ptrace", "mem", "exe_write", "root", "fds"):
        t.eq(haul[k], 0, f"{k}: {haul}")
    u.check()


def test_waiting_init_is_not_dumpable(t):
    """Whoever owns its user namespace may not look into it: its /proc files are the host root's."""
    t.need(t.is_bailey, "peers differ")
    c = t.container("/probe", "sleep")
    c.config.userns()
    c.bundle.chown(100000, 100000)
    must(c.create())
    t.eq(os.stat(f"/proc/{c.pid()}/mem").st_uid, 0, "owner of /proc/PID/mem")
    user = {"user": 100000, "group": 100000, "extra_groups": []}
    for what in ("mem", "exe", "fd", "cwd", "root"):
        r = subprocess.run(["ls", "-L", f"/proc/{c.pid()}/{what}/"], capture_output=True,
                           check=False, **user)
        t.ne(r.returncode, 0, what)


# ---- descriptors (CVE-2024-21626)

def test_descriptors_of_init_and_exec(t):
    """Exactly the standard ones, in every variation of starting."""
    for terminal, seccomp, hooks in ((False, False, False), (False, True, True)):
        c = t.container()
        if seccomp:
            c.config.linux["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW"}
        if hooks:
            for k in ("createRuntime", "createContainer", "startContainer"):
                c.config.hook(k, "/bin/true")
        c.config.namespace("cgroup")
        t.eq(sorted(c.report()["fds"]), ["0", "1", "2"])
        c.config.args("/probe", "sleep")
        c.up()
        t.eq(sorted(c.exec_report()["fds"]), ["0", "1", "2"], "exec")
        t.eq(sorted(c.exec_report(opts=["--cwd", "/tmp", "-u", "1:1"])["fds"]), ["0", "1", "2"])


@cases(**{f"fd{n}": n for n in range(3, 16)})
def test_cwd_through_a_leaked_descriptor(t, n):
    """Refused, or a directory of the container: never one of the host's."""
    inside = "stat -c %i / . ..; pwd -P"
    c = t.container("/bin/sh", "-c", inside)
    c.config.process["cwd"] = f"/proc/self/fd/{n}"
    r = c.run()
    if r.code == 0:
        top, here, up, path = r.out.split("\n")[:4]
        t.eq((here, up, path), (top, top, "/"), "the container's own root")
    c.config.process["cwd"] = "/"
    c.config.args("/probe", "sleep")
    c.up()
    r = c.exec("/bin/pwd", opts=["--cwd", f"/proc/self/fd/{n}"])
    t.ne(r.code, 0, f"exec: {r}")


@cases(fd="/proc/self/fd/{n}/../../..", root="/proc/self/root/../..", one="/proc/1/cwd",
       thread="/proc/thread-self/fd/{n}", link="/escape")
def test_cwd_tricks(t, cwd):
    """Whatever the working directory's spelling: it is inside, or the container does not run."""
    for n in range(3, 12):
        c = t.container("/bin/sh", "-c", "pwd; test -e /probe && ls -d ./* | head -3")
        if cwd == "/escape":
            os.symlink(f"/proc/self/fd/{n}", c.bundle.at("escape"))
        c.config.process["cwd"] = cwd.format(n=n)
        r = c.run()
        if r.code == 0:
            t.lacks(r.out, "unreachable")
            t.lacks(r.out, t.tmp)
            t.true(r.out.startswith("/"), r.out)
        if "{n}" not in cwd and cwd != "/escape":
            break


def test_cwd_deleted(t):
    c = t.container("/probe", "sleep")
    c.up()
    must(c.exec("/bin/mkdir", "/gone"))
    must(c.exec("/bin/sh", "-c", "cd /gone && rmdir /gone && (sleep 1000 >/dev/null 2>&1 &)"))
    r = c.exec("/bin/pwd", opts=["--cwd", "/gone"])
    t.ne(r.code, 0, str(r))


# ---- exec into a hostile container

def test_exec_cgroup_escape(t):
    c = t.container("/probe", "sleep")
    c.up()
    top = c.cgroup_dir()
    sibling = os.path.dirname(top) + f"/{t.mark}-sibling"
    os.mkdir(sibling)
    t.later(os.rmdir, sibling)
    for path in ("..", "../..", "a/../..", f"../{t.mark}-sibling", "/", f"/../{t.mark}-sibling",
                 "./..", "..//.."):
        pidf = os.path.join(t.tmp, "pid")
        r = c.exec("/bin/cat", "/proc/self/cgroup", opts=["--cgroup", path, "--pid-file", pidf])
        if r.code == 0:
            t.has(r.out, f"/bailey-test/{c.id}", f"--cgroup {path}")
    with open(sibling + "/cgroup.procs") as f:
        t.eq(f.read(), "", "nobody got in")


def test_exec_path_of_the_container_only(t):
    """PATH and command are looked up inside."""
    c = t.container("/probe", "sleep")
    c.up()
    tool = t.file("tool", "#!/bin/sh\necho host\n", 0o755)
    t.ne(c.exec(tool).code, 0, "a path of the host")
    t.ne(c.exec("tool", opts=["-e", f"PATH={t.tmp}"]).code, 0, "PATH of the host")


def test_oom_score_stays(t):
    """A payload cannot lower what exec'd processes get."""
    c = t.container("/probe", "sleep")
    c.config.process["oomScoreAdj"] = 500
    c.up()
    t.exited(c.exec_probe("write", "/proc/self/oom_score_adj", "-900"), "EACCES")
    t.eq(c.exec_report()["oom_score_adj"].strip(), "500")


def test_frozen_by_the_payload(t):
    """delete --force ends a container whose cgroup is frozen below."""
    c = t.container("/probe", "sleep")
    pid = c.up()
    top = c.cgroup_dir(pid)
    os.mkdir(top + "/sub")
    f = os.path.join(t.tmp, "pid")
    must(c.exec("/probe", "sleep", opts=["-d", "--pid-file", f]))
    with open(top + "/sub/cgroup.procs", "w") as procs:
        procs.write(open(f).read())
    with open(top + "/sub/cgroup.freeze", "w") as fr:
        fr.write("1")
    must(c.delete("--force"))
    t.true(not os.path.exists(top), "gone")


# ---- terminals

def test_tiocsti(t):
    """What a payload types into its terminal stays in its terminal: the host's is another one."""
    c = t.container("/probe", "tiocsti", "touch /tmp/escaped\n")
    c.config.process["terminal"] = True
    m, s = open_pty()
    c.bundle.write_config()
    p = subprocess.Popen(c.runtime.argv("run", "-b", c.bundle.path, c.id), stdin=s, stdout=s,
                         stderr=s, start_new_session=True)
    p.wait(20)
    os.set_blocking(s, False)
    try:
        t.eq(os.read(s, 100), b"", "input of the host's terminal")
    except BlockingIOError:
        t.true(True, "nothing to read")
    os.close(s)
    m.close()


def test_no_terminal_no_controlling_terminal(t):
    """Without a terminal of its own the payload has none of the caller's."""
    m, s = open_pty()
    c = t.container("/probe", "ctty")
    c.bundle.write_config()

    def own():
        os.setsid()
        fcntl.ioctl(s, termios.TIOCSCTTY, 0)
    p = subprocess.Popen(c.runtime.argv("run", "-b", c.bundle.path, c.id),
                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL, preexec_fn=own)
    out = p.communicate(timeout=20)[0]
    t.eq(json.loads(out)["errno"], "ENXIO")
    os.close(s)
    m.close()


# ---- privileges on exec (CVE-2022-29162, CVE-2022-27650)

def test_inheritable_is_empty(t):
    c = t.container("/probe", "sleep")
    c.up()
    for opts in ([], ["--cap", "CAP_NET_RAW"], ["-u", "1000"]):
        caps = c.exec_report(opts=opts)["caps"]
        t.eq((caps["inheritable"], caps["ambient"]), ([], []), str(opts))


def test_sys_and_proc_are_read_only(t):
    for path in ("/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger",
                 "/sys/kernel/uevent_helper", "/sys/fs/cgroup/x"):
        got = t.container().probe("open", path, "w")
        t.true(got["ret"] < 0, f"{path}: {got}")


def test_mount_tricks_need_privilege(t):
    """Default capabilities: no mount, no umount, no remount, no pivot, no new user namespace's
    powers over these mounts."""
    c = t.container()
    for args in (("mount", "none", "/tmp", "tmpfs"), ("umount", "/proc/sys"),
                 ("mount", "none", "/proc/sys", "", str(kernel.MS_REMOUNT | kernel.MS_BIND))):
        t.exited(c.probe(*args), "EPERM")
