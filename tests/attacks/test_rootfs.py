"""A hostile image: symlinks and other kinds of files wherever the runtime puts something, and a
racing helper that swaps them. The host must stay as it was: a canary directory watches."""
import os
import shutil
import signal
import stat
import subprocess
import time


from lib.clock import often
from lib.testing import bailey_only, cases, timeout


class Canary:
    """A directory of the host that an attack points to; nothing may appear or change in it."""

    def __init__(self, t):
        self.t = t
        self.path = t.dir("canary")
        t.file("canary/file", "host's own\n")
        os.mkdir(self.path + "/sub")
        self.before = self._look()

    def _look(self):
        seen = {}
        for top, dirs, files in os.walk(self.path):
            for n in dirs + files:
                p = os.path.join(top, n)
                st = os.lstat(p)
                text = open(p).read() if stat.S_ISREG(st.st_mode) else None
                seen[p] = (st.st_mode, st.st_uid, st.st_rdev, text)
        return seen

    def check(self):
        self.t.eq(self._look(), self.before, "the host's directory")
        with open("/proc/self/mountinfo") as f:
            self.t.lacks(f.read(), self.path, "the host's mounts")


def _replace(path, target):
    if os.path.islink(path) or os.path.isfile(path):
        os.unlink(path)
    elif os.path.isdir(path):
        shutil.rmtree(path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.symlink(target, path)


# Every place in which the set-up makes, opens or mounts something.
PLACES = ("proc", "sys", "dev", "dev/null", "dev/console", "dev/pts", "dev/shm", "dev/fd",
          "dev/ptmx", "dev/tty", "etc", "etc/passwd", "etc/group", "work", "vol", "vol/deep",
          "dev/mqueue", "masked", "readonly")


def _config(t, c):
    d = t.dir("volume")
    c.config.mount("/vol/deep/er", "bind", d, ["bind"])
    c.config.process["cwd"] = "/work/dir"
    c.config.linux["maskedPaths"] += ["/masked/x", "/masked"]
    c.config.linux["readonlyPaths"] += ["/readonly/x", "/readonly"]
    c.config.linux["devices"] = [{"path": "/dev/extra", "type": "c", "major": 1, "minor": 3}]
    c.config.args("/bin/sh", "-c", "echo x > /dev/null; echo $$")


@cases(**{p.replace("/", "_"): p for p in PLACES})
def test_symlink_to_the_host(t, place):
    """Absolute and relative links that lead to a directory of the host. The container may run or
    be refused; the host's directory is untouched, also without a /dev mount."""
    t.need(t.is_bailey or place != "dev", "runc 1.1 falls to it")
    canary = Canary(t)
    up = "../" * 12
    for target in (canary.path, up + canary.path, canary.path + "/file", "/proc/self/root" +
                   canary.path, "/proc/1/root" + canary.path, canary.path + "/new"):
        for dev in (True, False):
            c = t.container()
            _config(t, c)
            if not dev:
                for m in ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"):
                    c.config.drop_mount(m)
            _replace(c.bundle.at(place), target)
            r = c.run()
            t.true(r.code >= 0, str(r))
            canary.check()
            shutil.rmtree(c.bundle.rootfs)


@cases(proc="/proc", sys="/sys")
@bailey_only("runc 1.1.5 follows some")
def test_proc_and_sys_must_be_directories(t, place):
    """A procfs that lands elsewhere would leave a fake one at its place."""
    c = t.container()
    os.rmdir(c.bundle.at(place))
    os.symlink("/tmp", c.bundle.at(place))
    t.fails(c.run(), place, code=1)


@cases(fifo="p", char="c", file="f", socket="s")
@bailey_only("texts")
def test_odd_kinds_of_files(t, kind):
    """A fifo, device or socket at a mount's place must neither block nor be opened."""
    canary = Canary(t)
    for place in ("dev/null", "dev/console", "masked", "vol", "etc/passwd"):
        c = t.container()
        _config(t, c)
        for m in ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"):
            c.config.drop_mount(m)
        p = c.bundle.at(place)
        os.makedirs(os.path.dirname(p), exist_ok=True)
        if os.path.exists(p):
            os.unlink(p)
        mode = {"p": stat.S_IFIFO, "c": stat.S_IFCHR, "f": stat.S_IFREG, "s": stat.S_IFSOCK}[kind]
        os.mknod(p, mode | 0o666, os.makedev(1, 5) if kind == "c" else 0)
        r = c.run(timeout=15)
        t.true(r.code >= 0, str(r))
        canary.check()


def _races(t, c, a, b, rounds, check):
    """Runs the container again and again while a helper exchanges two names in its rootfs."""
    swap = subprocess.Popen([t.probe_path, "swap", a, b])
    t.later(swap.wait)
    t.later(swap.kill)
    end = time.monotonic() + often(8, 3)
    ran = 0
    for _ in range(rounds):
        r = c.run(timeout=20)
        ran += 1
        t.true(r.code is not None and r.code >= 0, f"died by a signal: {r}")
        check(r)
        if time.monotonic() > end:
            break
    swap.send_signal(signal.SIGKILL)
    return ran


@timeout(90)
@cases(proc="proc", sys="sys", dev="dev", volume="vol", volume_parent="vol/deep", cwd="work",
       pts="dev/pts", masked="masked", readonly="readonly", etc="etc")
@bailey_only("peers' races are theirs")
def test_swap_race(t, place):
    """A directory and a symlink to the host change places during the set-up."""
    canary = Canary(t)
    c = t.container()
    _config(t, c)
    if place == "dev/pts":
        c.config.drop_mount("/dev")
    p = c.bundle.at(place)
    os.makedirs(p, exist_ok=True)
    os.symlink(canary.path, p + ".link")
    _races(t, c, p, p + ".link", 60, lambda r: canary.check())


@timeout(90)
@bailey_only("peers' races are theirs")
def test_swap_race_on_masked_path(t):
    """The mask must cover what is at the path, or the container does not start."""
    c = t.container()
    c.bundle.put("masked", "SECRET")
    c.bundle.put("other", "decoy")
    c.config.linux["maskedPaths"] = ["/proc/keys"]
    c.config.args("/bin/sh", "-c", "cat /proc/keys")
    a, b = c.bundle.at("null.a"), c.bundle.at("null.b")
    os.mknod(a, stat.S_IFCHR | 0o666, os.makedev(1, 3))
    os.symlink("/proc/self/environ", b)
    for m in ("/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"):
        c.config.drop_mount(m)
    os.rename(a, c.bundle.at("dev/null"))

    def check(r):
        if r.code == 0:
            t.eq(r.out, "", "a masked file reads empty")
    _races(t, c, c.bundle.at("dev/null"), b, 60, check)


@bailey_only("runc 1.1.5 runs with them")
def test_fake_proc_volume(t):
    """A volume over /proc with attr/exec and sys/* of the attacker's: refused."""
    fake = t.dir("fake")
    for d in ("self/attr", "self/task", "sys/net/ipv4", "thread-self/attr"):
        os.makedirs(f"{fake}/{d}")
    for f in ("self/attr/exec", "sys/net/ipv4/ip_forward", "self/setgroups"):
        t.file("fake/" + f, "0\n")
    for destination in ("/proc", "/proc/self", "/proc/sys", "/proc/self/attr",
                        "/proc/thread-self"):
        c = t.container("/bin/true")
        c.config.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
        c.config.mount(destination, "bind", fake, ["bind"])
        t.fails(c.run(), "/proc", code=1)
        t.eq(open(fake + "/sys/net/ipv4/ip_forward").read(), "0\n", destination)


@bailey_only("runc 1.1 writes the decoy and goes on")
def test_sysctl_goes_to_the_real_proc(t):
    """With a tmpfs of the attacker's where /proc would be, the value is still the kernel's or the
    container does not start."""
    c = t.container("/bin/true")
    c.config.drop_mount("/proc")
    c.config.linux["maskedPaths"], c.config.linux["readonlyPaths"] = [], []
    c.bundle.put("proc/sys/net/ipv4/ip_forward", "0\n")
    c.config.linux["sysctl"] = {"net.ipv4.ip_forward": "1"}
    c.run()
    t.eq(open(c.bundle.at("proc/sys/net/ipv4/ip_forward")).read(), "0\n", "the decoy")


def test_passwd_is_a_trap(t):
    """HOME's look-up reads the image's passwd: a fifo, a huge line, a link out of the root."""
    for kind in ("fifo", "long", "link", "dir", "nul"):
        c = t.container()
        p = c.bundle.at("etc/passwd")
        os.unlink(p)
        if kind == "fifo":
            os.mkfifo(p)
        elif kind == "long":
            with open(p, "w") as f:
                f.write("root:x:0:0:" + "A" * (8 << 20) + ":/evil:/bin/sh\n")
        elif kind == "nul":
            with open(p, "wb") as f:
                f.write(b"root\0:x:0:0::/e\0vil:/bin/sh\n\xff\xff" * 100)
        elif kind == "link":
            secret = t.file("secret", "root:x:0:0::/from-the-host:/bin/sh\n")
            os.symlink(secret, p)
        else:
            os.mkdir(p)
        t.need(t.is_bailey or kind not in ("fifo", "long"), "runc reads it")
        r = c.run(timeout=15)
        t.true(r.code in (0, 1), str(r))
        if r.code == 0:
            t.lacks(r.out, "from-the-host")


def test_host_devpts_is_not_shown(t):
    c = t.container("/bin/ls", "/dev/pts")
    c.config.drop_mount("/dev/pts")
    r = c.run()
    t.true("0" not in r.out.split(), r.out)
