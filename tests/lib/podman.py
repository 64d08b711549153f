"""podman with a store, a run directory and a configuration of its own, for one runtime."""
import fcntl
import os
import shutil
import subprocess

from . import clock
from .bundle import make_rootfs
from .container import Result, open_scratch, slurp

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
IMAGE = "localhost/bailey-test:1"


class Podman:
    def __init__(self, session, runtime, probe):
        """session: a directory that all tests of one run share, so that the image is imported
        once per runtime."""
        self.runtime = runtime
        base = os.path.basename(runtime)
        self.dir = os.path.join(session, "podman-" + base)
        os.makedirs(self.dir, exist_ok=True)
        self.conf = os.path.join(self.dir, "containers.conf")
        with open(os.path.join(self.dir, "lock"), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._prepare(probe)

    def _prepare(self, probe):
        stamp = os.path.join(self.dir, "ready")
        if os.path.exists(stamp):
            return
        with open(self.conf, "w") as f:
            f.write(CONF)
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
        return ["podman", "--root", f"{d}/store", "--runroot", f"{d}/run", "--tmpdir", f"{d}/tmp",
                "--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--runtime",
                self.runtime, *map(str, args)]

    def environ(self):
        return {"PATH": os.environ["PATH"], "CONTAINERS_CONF": self.conf, "HOME": self.dir,
                "XDG_RUNTIME_DIR": self.dir}

    def popen(self, *args, **kw):
        return subprocess.Popen(self.argv(*args), env=self.environ(), **kw)

    def __call__(self, *args, input=None, timeout=60):
        argv = self.argv(*args)
        with open_scratch() as out, open_scratch() as err:
            p = subprocess.Popen(
                argv, env=self.environ(), stdout=out, stderr=err,
                stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL)
            try:
                p.communicate(None if input is None else input.encode(), clock.limit(timeout))
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                raise AssertionError(
                    f"time-out: {Result(argv, 'time-out', slurp(out), slurp(err))}") from None
            return Result(["podman", *args], p.returncode, slurp(out), slurp(err))
