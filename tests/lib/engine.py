"""Container engines with a daemon, for one test: in a mount and a network namespace of the test's
own, with a store that the tests of one run share."""
import fcntl
import hashlib
import http.client
import json
import os
import shutil
import socket
import subprocess
import tarfile
import time

from . import clock, kernel
from .bundle import make_rootfs
from .container import Result, must, open_scratch, slurp

IMAGE = "localhost/bailey-test:1"


def go_private(t):
    """The test's process leaves the machine's /run and network: what daemons keep at fixed places
    there is gone with the process."""
    kernel.unshare(kernel.CLONE_NEWNS | kernel.CLONE_NEWNET)
    kernel.mount(None, "/", None, kernel.MS_REC | kernel.MS_PRIVATE)
    # But for the way to systemd and to the message bus.
    kept = [(p, os.open(p, os.O_PATH)) for p in ("/run/systemd", "/run/dbus") if os.path.isdir(p)]
    kernel.mount("tmpfs", "/run", "tmpfs", 0, "mode=755")
    for path, fd in kept:
        os.mkdir(path)
        kernel.mount(f"/proc/self/fd/{fd}", path, None, kernel.MS_BIND | kernel.MS_REC)
        os.close(fd)
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=clock.limit(10))
    t.later(_remove_cgroup, t.mark)


def slice_for(t):
    """The name of a systemd slice of the test's own, for the systemd cgroup driver."""
    t.need(os.path.isdir("/run/systemd/system"), "systemd does not run here")
    name = t.mark + ".slice"
    t.later(subprocess.run, ["systemctl", "stop", name])
    return name


def _remove_cgroup(mark):
    """The empty parent of the test's containers; one that is not empty is the leak check's."""
    try:
        os.rmdir("/sys/fs/cgroup/" + mark)
    except OSError:
        pass


def shared_dir(t, name):
    """A directory that one test at a time has, and the next one finds as it was left."""
    d = os.path.join(t.session, name)
    os.makedirs(d, exist_ok=True)
    lock = os.open(d + ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    return d


def image_archive(t, path):
    """What `docker save` writes, made here: one layer with busybox and the probe."""
    tree = t.dir("image")
    make_rootfs(tree, t.probe_path)
    layer = path + ".layer"
    with tarfile.open(layer, "w") as tar:
        tar.add(tree, ".")
    with open(layer, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    config = json.dumps({
        "architecture": "amd64", "os": "linux",
        "config": {"Cmd": ["/probe", "sleep"], "Env": ["PATH=/usr/bin:/bin"]},
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + digest]}}).encode()
    name = hashlib.sha256(config).hexdigest() + ".json"
    manifest = json.dumps([{"Config": name, "RepoTags": [IMAGE],
                            "Layers": ["layer.tar"]}]).encode()
    with tarfile.open(path, "w") as tar:
        for entry, data in ((name, config), ("manifest.json", manifest)):
            info = tarfile.TarInfo(entry)
            info.size = len(data)
            with open_scratch() as f:
                f.write(data)
                f.seek(0)
                tar.addfile(info, f)
        tar.add(layer, "layer.tar")
    os.unlink(layer)
    shutil.rmtree(tree)
    return path


def weight_of_512_shares(runtime):
    """runc 1.1 and crun before 1.23 map shares to weights on a straight line, which puts the
    default of 1024 shares below a cgroup's default weight of 100."""
    return "20" if runtime == "runc" else "59"


class Daemon:
    """A process that serves until it is ended."""

    def __init__(self, argv, log, env):
        self.argv, self.log = argv, log
        with open(log, "ab") as f:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=f, stderr=f,
                                            env=env)

    def wait_ready(self, ready, seconds=60):
        end = time.monotonic() + clock.limit(seconds)
        while not ready():
            if self.process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{self.argv[0]} did not come up: {self.last_words()}")
            time.sleep(0.05)

    def last_words(self, lines=15):
        with open(self.log, errors="replace") as f:
            return "".join(f.readlines()[-lines:])

    def last_errors(self):
        with open(self.log, errors="replace") as f:
            return "".join([l for l in f if "level=error" in l][-3:])

    def stop(self):
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(clock.limit(30))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Client:
    """Runs an engine's commands to their end."""

    def __init__(self, argv, env):
        self._argv, self.env = argv, env

    def argv(self, *args):
        return [*self._argv, *map(str, args)]

    def popen(self, *args, **kw):
        return subprocess.Popen(self.argv(*args), env=self.env, **kw)

    def __call__(self, *args, input=None, timeout=60, **kw):
        argv = self.argv(*args)
        with open_scratch() as out, open_scratch() as err:
            p = subprocess.Popen(
                argv, env=self.env, stdout=out, stderr=err,
                stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL, **kw)
            try:
                p.communicate(None if input is None else input.encode(), clock.limit(timeout))
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                raise AssertionError(
                    f"time-out: {Result(argv, 'time-out', slurp(out), slurp(err))}") from None
            return Result(argv, p.returncode, slurp(out), slurp(err))


def need_programs(t, *names):
    for n in names:
        t.need(shutil.which(n), f"{n} is not installed")


def runtime_path(t, runtime):
    """Of a case: a peer's name, None for the runtime under test, or a path."""
    if runtime:
        need_programs(t, runtime)
        return shutil.which(runtime)
    return t.runtime.path


def runtime_kind(runtime):
    """What directories that tests share are called by: a peer's name, or "tested"."""
    return runtime if runtime and "/" not in runtime else "tested"


DOCKER = "/run/docker.sock"


class _DockerApi(http.client.HTTPConnection):
    """What a docker command does, without one: under emulation each costs most of a second."""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(DOCKER)


def _docker(method, path, timeout=60):
    """The answer's status and, if there is one, its JSON; status None: nobody answers."""
    api = _DockerApi("docker", timeout=clock.limit(timeout))
    try:
        api.request(method, path)
        answer = api.getresponse()
        body = answer.read()
        return answer.status, json.loads(body) if body[:1] in (b"[", b"{") else None
    except (OSError, http.client.HTTPException):
        return None, None
    finally:
        api.close()


class Docker(Client):
    """dockerd with the runtime as its default, and the docker command. Its rules in iptables are
    for tests of the network: making them takes as long as the rest of its start."""

    def __init__(self, t, runtime, **conf):
        need_programs(t, "dockerd", "docker", "containerd", "iptables")
        self.runtime = path = runtime_path(t, runtime)
        d = shared_dir(t, "docker-" + runtime_kind(runtime))
        go_private(t)
        self.t = t
        self.name_count = 0
        self.conf = t.file("daemon.json", json.dumps({
            "runtimes": {"tested": {"path": path}}, "default-runtime": "tested",
            "exec-opts": ["native.cgroupdriver=cgroupfs"], "cgroup-parent": "/" + t.mark,
            "iptables": False, "storage-driver": "vfs", "data-root": d, "exec-root": "/run/docker",
            "pidfile": "/run/docker.pid", "hosts": ["unix://" + DOCKER], "group": "root",
            **conf}))
        super().__init__(["docker"], {
            "PATH": os.environ["PATH"], "HOME": t.dir("home"), "DOCKER_BUILDKIT": "0",
            "DOCKER_HOST": "unix://" + DOCKER})
        self.daemon = None
        t.later(self._end)
        self.start()
        if _docker("GET", f"/images/{IMAGE}/json")[0] != 200:
            must(self("load", "-i", image_archive(t, t.tmp + "/image.tar"), timeout=120))

    def start(self):
        self.daemon = Daemon(["dockerd", "--config-file", self.conf], self.t.tmp + "/dockerd.log",
                             self.env)
        self.daemon.wait_ready(lambda: _docker("GET", "/_ping", 5)[0] == 200)

    def _end(self):
        for c in _docker("GET", "/containers/json?all=1")[1] or []:
            _docker("DELETE", f"/containers/{c['Id']}?force=1&v=1")
        _docker("POST", "/networks/prune")
        _docker("POST", "/volumes/prune")
        self.daemon.stop()

    # ---- as a test says it ----
    def name(self):
        self.name_count += 1
        return f"{self.t.mark}-{self.name_count}"

    def run(self, *args, opts=(), **kw):
        return self("run", "--rm", *opts, IMAGE, *args, **kw)

    def up(self, *args, opts=()):
        n = self.name()
        must(self("run", "-d", "--name", n, *opts, IMAGE, *(args or ("/probe", "sleep"))))
        return n

    def inspect(self, name):
        status, what = _docker("GET", f"/containers/{name}/json")
        if status != 200:
            raise AssertionError(f"dockerd knows nothing of {name}: {status} {what}")
        return what


def _has_cpu():
    with open("/sys/fs/cgroup/cgroup.controllers") as f:
        return "cpu" in f.read().split()


CONTAINERD = """version = 2
root = "{root}"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{image}"
  disable_cgroup = {no_cgroup}
  restrict_oom_score_adj = {no_oom}
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "native"
    default_runtime_name = "tested"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tested]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.tested.options]
        BinaryName = "{runtime}"
        SystemdCgroup = {systemd}
"""


class Containerd(Client):
    """containerd and its command ctr, in a containerd namespace of the test's name."""

    def __init__(self, t, runtime, namespace=None, systemd=False, cni=None):
        """cni: the network plugin's configuration; None: pods have the host's network."""
        need_programs(t, "containerd", "ctr")
        self.runtime = runtime_path(t, runtime)
        d = shared_dir(t, "containerd-" + runtime_kind(runtime))
        go_private(t)
        self.t, self.namespace = t, namespace or t.mark
        self.socket = "/run/containerd/containerd.sock"
        self.name_count = 0
        networks = t.dir("cni")
        if cni:
            t.file("cni/10-test.conflist", cni)
        conf = t.file("containerd.toml", CONTAINERD.format(
            root=d, image=IMAGE, cni=networks, runtime=self.runtime, systemd=str(systemd).lower(),
            # The plugin asks for CPU shares for each pod, and for a score below its own.
            no_cgroup=str(not _has_cpu()).lower(),
            no_oom=str(not kernel.has_cap(kernel.CAP_SYS_RESOURCE)).lower()))
        super().__init__(["ctr", "--address", self.socket, "--namespace", self.namespace],
                         {"PATH": os.environ["PATH"], "HOME": t.dir("home")})
        self.daemon = Daemon(["containerd", "--config", conf], t.tmp + "/containerd.log", self.env)
        t.later(self._end)
        self.daemon.wait_ready(
            lambda: os.path.exists(self.socket) and self("version").code == 0)
        must(self("image", "import", "--snapshotter", "native",
                  image_archive(t, t.tmp + "/image.tar"), timeout=120))

    def _end(self):
        for n in self("tasks", "ls", "-q").out.split():
            self("tasks", "rm", "-f", n)
        for n in self("containers", "ls", "-q").out.split():
            self("containers", "rm", n)
        for n in self("images", "ls", "-q").out.split():
            self("images", "rm", "--sync", n)
        self.daemon.stop()

    def name(self):
        self.name_count += 1
        return f"{self.t.mark}-{self.name_count}"

    def options(self, *more):
        # ctr asks for 1024 shares unless told otherwise.
        shares = [] if _has_cpu() else ["--cpu-shares", "0"]
        return ["--snapshotter", "native", "--runtime", "io.containerd.runc.v2", "--runc-binary",
                self.runtime, *shares, *more]

    def run(self, *args, opts=(), **kw):
        return self("run", "--rm", *self.options(*opts), IMAGE, self.name(), *args, **kw)

    def up(self, *args, opts=()):
        n = self.name()
        must(self("run", "-d", *self.options(*opts), IMAGE, n, *(args or ("/probe", "sleep"))))
        return n

    def status(self, name):
        for line in must(self("tasks", "ls")).out.splitlines()[1:]:
            f = line.split()
            if f[0] == name:
                return f[2]
        return None


def answered(address, port):
    """Does a server that answers "got" and the line do so there?"""
    try:
        with socket.create_connection((address, port), clock.limit(10)) as s:
            s.sendall(b"hello\n")
            s.shutdown(socket.SHUT_WR)
            return s.makefile().read() == "got hello\n"
    except OSError:
        return False
