"""podman with a store, a run directory and a configuration of its own, for one runtime."""
import fcntl
import json
import os
import shutil
import signal
import subprocess

from . import clock, host, leaks
from .bundle import make_rootfs
from .container import Result, kill_pid, must, open_scratch, slurp

# For machines without a memory or a pids controller and without CAP_SYS_RESOURCE.
CONF = """[containers]
pids_limit = 0
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "none"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
lock_type = "file"
runtime_supports_json = ["runc", "crun", "bailey"]
runtime_supports_nocgroups = ["crun", "bailey"]
helper_binaries_dir = ["/usr/libexec/podman", "/usr/lib/podman"]
"""
# podman as it comes, but for the network and for what knows bailey's name.
FULL_CONF = "".join(l for l in CONF.splitlines(True)
                    if not l.startswith(("pids_limit", "default_ulimits", "netns"))) + """
[network]
network_backend = "netavark"
"""
IMAGE = "localhost/bailey-test:1"


class Podman:
    def __init__(self, session, runtime, probe, conf=CONF, kind="podman", user=None, groups=(),
                 manager="cgroupfs", tmp=None):
        """session: a directory that all tests of one run share, so that the image is imported
        once per runtime and kind. user: an id to run as, whose directory it then is; groups: its
        additional ones. tmp: where podman keeps sockets, for those with long names."""
        self.runtime = runtime
        base = os.path.basename(runtime)
        self.dir = os.path.join(session, f"{kind}-{base}")
        self.tmp = tmp or self.dir + "/tmp"
        self.conf_text, self.user, self.manager = conf, user, manager
        self.groups = list(groups)
        os.makedirs(self.dir, exist_ok=True)
        if user is not None:
            os.chown(self.dir, user, user)
        self.conf = os.path.join(self.dir, "containers.conf")
        with open(os.path.join(self.dir, "lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._prepare(probe)

    def _prepare(self, probe):
        stamp = os.path.join(self.dir, "ready")
        if os.path.exists(stamp):
            return
        with open(self.conf, "w") as f:
            f.write(self.conf_text)
        with open(os.path.join(self.dir, "policy.json"), "w") as f:
            f.write('{"default": [{"type": "insecureAcceptAnything"}]}')
        rootfs = os.path.join(self.dir, "image")
        os.makedirs(rootfs)
        make_rootfs(rootfs, probe)
        tar = os.path.join(self.dir, "image.tar")
        subprocess.run(["tar", "-C", rootfs, "-cf", tar, "."], check=True)
        r = self("import", "--change", "CMD=/bin/sh", tar, IMAGE)
        if r.code != 0:
            raise AssertionError(str(r))
        shutil.rmtree(rootfs)
        open(stamp, "w").close()

    def argv(self, *args):
        d = self.dir
        return ["podman", "--root", f"{d}/store", "--runroot", f"{d}/run", "--tmpdir", self.tmp,
                "--storage-driver", "vfs", "--network-config-dir", f"{d}/networks",
                "--cgroup-manager", self.manager, "--runtime",
                self.runtime, *map(str, args)]

    def environ(self):
        return {"PATH": os.environ["PATH"], "CONTAINERS_CONF": self.conf, "HOME": self.dir,
                "XDG_RUNTIME_DIR": self.dir}

    def _as_user(self):
        if self.user is None:
            return {}
        return {"user": self.user, "group": self.user, "extra_groups": self.groups,
                "cwd": self.dir}

    def popen(self, *args, **kw):
        return subprocess.Popen(self.argv(*args), env=self.environ(), **self._as_user(), **kw)

    def __call__(self, *args, input=None, timeout=60):
        argv = self.argv(*args)
        with open_scratch() as out, open_scratch() as err:
            p = subprocess.Popen(
                argv, env=self.environ(), stdout=out, stderr=err,
                stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
                **self._as_user())
            try:
                p.communicate(None if input is None else input.encode(), clock.limit(timeout))
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                raise AssertionError(
                    f"time-out: {Result(argv, 'time-out', slurp(out), slurp(err))}") from None
            return Result(["podman", *args], p.returncode, slurp(out), slurp(err))


class Scenario:
    """podman for one test: containers get names of the test's own and are removed at its end."""

    def __init__(self, t, runtime, **kw):
        t.need(shutil.which("podman"), "podman is not installed")
        if runtime:
            t.need(shutil.which(runtime), f"{runtime} is not installed")
            runtime = shutil.which(runtime)
        self.t = t
        self.podman = Podman(t.session, runtime or t.runtime.path, t.probe_path, **kw)
        self.count = 0
        t.later(self._remove)

    def _remove(self):
        for n in range(1, self.count + 1):
            self.podman("rm", "-f", "-t", "0", f"{self.t.mark}-{n}")

    def name(self):
        self.count += 1
        return f"{self.t.mark}-{self.count}"

    def run(self, *args, image=IMAGE, opts=(), **kw):
        return self.podman("run", "--rm", "--name", self.name(), *opts, image, *args, **kw)

    def up(self, *args, opts=()):
        n = self.name()
        must(self.podman("run", "-d", "--name", n, *opts, IMAGE, *(args or ("/probe", "sleep"))))
        return n

    def __call__(self, *args, **kw):
        return self.podman(*args, **kw)

    def inspect(self, name):
        return json.loads(must(self("inspect", name)).out)[0]


def _end_pause_process():
    """podman keeps the user's namespaces by a process of its own."""
    for pid in leaks.descendants(os.getpid()):
        try:
            with open(f"/proc/{pid}/comm") as f:
                if f.read().strip() in ("catatonit", "podman pause", "podman"):
                    kill_pid(pid, signal.SIGKILL)
        except OSError:
            pass


class Rootless(Scenario):
    """An ordinary user's, with a range of subordinate ids."""

    def __init__(self, t, rt, conf=CONF, kind="r", **kw):
        for n in ("newuidmap", "newgidmap"):
            t.need(shutil.which(n), f"{n} is not installed")
        t.later(_end_pause_process)
        os.chmod(t.session, 0o755)
        super().__init__(t, rt, conf=conf, kind=kind + t.mark, user=host.TEST_UID, **kw)
