"""docker and containerd end to end, each started for one test with directories of its own, with runc
(which proves the script) and with the runtime under test."""
import json
import os
import shutil
import subprocess

from lib.bundle import make_rootfs
from lib.clock import limit
from lib.container import must, open_scratch, slurp, Result, wait_for
from lib.testing import timeout

IMAGE = "bailey-test:1"


def _image(t):
    """A tar file of a rootfs."""
    tar = os.path.join(t.session, "rootfs.tar")
    rootfs = t.dir("rootfs")
    make_rootfs(rootfs, t.probe_path)
    subprocess.run(["tar", "-C", rootfs, "-cf", tar, "."], check=True)
    return tar


class Daemon:
    """A transient unit: the machine's own services and their configuration stay as they are."""

    def __init__(self, t, name, *argv):
        self.unit = f"bailey-{name}-{t.mark}"
        self.t = t
        for p in (argv[0], "systemd-run"):
            t.need(shutil.which(p), f"{p} is not installed")
        r = subprocess.run(["systemd-run", "--quiet", "--collect", f"--unit={self.unit}",
                            "--property=Delegate=yes", "--property=TimeoutStopSec=20", *argv],
                           capture_output=True, text=True, timeout=limit(30), check=False)
        t.eq(r.returncode, 0, f"systemd-run: {r.stderr}")
        t.later(self.stop)

    def stop(self):
        subprocess.run(["systemctl", "stop", self.unit], timeout=limit(60), check=False,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def log(self):
        return subprocess.run(["journalctl", "--no-pager", "-n", "30", "-o", "cat", "-u",
                               self.unit], capture_output=True, text=True, timeout=limit(30),
                              check=False).stdout

    def wait(self, client, *args):
        def up():
            state = subprocess.run(["systemctl", "is-active", self.unit], capture_output=True,
                                   text=True, timeout=limit(20), check=False).stdout.strip()
            self.t.true(state in ("active", "activating"), f"{self.unit}: {state}: {self.log()}")
            return client(*args).code == 0
        wait_for(self.unit, up, timeout=60)


def _client(*first):
    def call(*args, input=None, timeout=60):
        argv = [*first, *map(str, args)]
        with open_scratch() as out, open_scratch() as err:
            p = subprocess.run(argv, stdout=out, stderr=err, timeout=limit(timeout), check=False,
                               input=input.encode() if input is not None else None,
                               stdin=None if input is not None else subprocess.DEVNULL)
            return Result(argv[len(first):], p.returncode, slurp(out), slurp(err))
    return call


def _docker_life(t, docker, runtime):
    name = f"{t.mark}-{runtime}"
    t.later(docker, "rm", "-f", name)
    base = ("--runtime", runtime, "--network", "none")
    r = must(docker("run", "--rm", *base, IMAGE, "/probe")).json()
    t.eq((r["pid"], r["seccomp"]), (1, 2), "pid and seccomp mode")
    t.lacks(r["caps"]["effective"], "cap_sys_admin")
    t.eq(docker("run", "--rm", "-i", *base, IMAGE, "/bin/cat", input="through").out, "through")
    for code in (0, 3, 255):
        t.eq(docker("run", "--rm", *base, IMAGE, "/probe", "exit", code).code, code)
    t.eq(docker("run", "--rm", *base, IMAGE, "/no/such/file").code, 127, "not found")
    t.eq(docker("run", "--rm", *base, IMAGE, "/etc/passwd").code, 126, "not executable")
    t.eq(docker("run", "--rm", *base, "-m", "32m", "--memory-swap", "32m", IMAGE, "/bin/sh", "-c",
                "dd if=/dev/zero of=/dev/null bs=100M count=1; echo $?").out, "137\n", "memory")
    must(docker("run", "-d", "--name", name, *base, "-m", "64m", "--memory-swap", "64m",
                "--pids-limit", "20", "--cpus", "0.5", IMAGE, "/bin/sh", "-c",
                "trap 'exit 4' TERM; echo ready; while :; do sleep 0.1; done"))
    wait_for("the log", lambda: "ready" in docker("logs", name).out)
    info = json.loads(must(docker("inspect", name)).out)[0]
    t.true(info["State"]["Running"], "running")
    with open(f"/proc/{info['State']['Pid']}/cgroup") as f:
        cgroup = "/sys/fs/cgroup" + f.read().split("::")[1].strip()
    for file, want in (("memory.max", str(64 << 20)), ("pids.max", "20"),
                       ("cpu.max", "50000 100000")):
        with open(f"{cgroup}/{file}") as f:
            t.eq(f.read().strip(), want, file)
    must(docker("update", "--pids-limit", "30", name))
    with open(f"{cgroup}/pids.max") as f:
        t.eq(f.read().strip(), "30", "after docker update")
    t.eq(must(docker("exec", name, "/bin/id", "-u")).out, "0\n")
    t.eq(docker("exec", "-u", "1000", name, "/probe", "exit", "9").code, 9, "exec")
    t.has((126, 127), docker("exec", name, "/no/such").code, "exec, not found")
    t.has(must(docker("top", name)).out, "sleep")
    t.has(must(docker("stats", "--no-stream", name)).out, "64MiB")
    must(docker("pause", name))
    t.true(json.loads(docker("inspect", name).out)[0]["State"]["Paused"], "paused")
    must(docker("unpause", name))
    must(docker("stop", "-t", "20", name))
    t.eq(json.loads(docker("inspect", name).out)[0]["State"]["ExitCode"], 4, "exit code")
    must(docker("start", name))
    must(docker("kill", name))
    t.eq(must(docker("wait", name)).out.strip(), "137")
    must(docker("rm", name))
    t.true(not os.path.exists(cgroup), "the cgroup is gone")


@timeout(300)
def test_docker(t):
    d = t.dir("docker")
    config = t.file("daemon.json", json.dumps({
        "data-root": f"{d}/data", "exec-root": f"{d}/exec", "pidfile": f"{d}/pid",
        "hosts": [f"unix://{d}/sock"], "bridge": "none", "iptables": False,
        "storage-driver": "overlay2", "exec-opts": ["native.cgroupdriver=cgroupfs"],
        "runtimes": {"tested": {"path": t.runtime.path}}}))
    daemon = Daemon(t, "dockerd", "dockerd", "--config-file", config)
    docker = _client("docker", "-H", f"unix://{d}/sock")
    daemon.wait(docker, "version")
    must(docker("import", _image(t), IMAGE))
    for runtime in ("runc", "tested"):
        _docker_life(t, docker, runtime)


def _ctr_life(t, ctr, runtime, binary):
    name = f"{t.mark}-{runtime}"
    rootfs = t.dir("rootfs")
    base = ("--runtime", "io.containerd.runc.v2", "--runc-binary", binary, "--rootfs")
    r = must(ctr("run", "--rm", *base, rootfs, f"{name}-1", "/probe")).json()
    t.eq(r["pid"], 1)
    t.eq(ctr("run", "--rm", *base, rootfs, f"{name}-2", "/probe", "exit", "7").code, 7)
    must(ctr("run", "-d", "--memory-limit", 64 << 20, *base, rootfs, name, "/probe", "sleep"))
    t.has(ctr("task", "ls").out, name)
    t.eq(must(ctr("task", "exec", "--exec-id", "e1", name, "/bin/echo", "hello")).out, "hello\n")
    t.has(must(ctr("task", "metrics", "--format", "json", name)).out, "usage")
    must(ctr("task", "pause", name))
    t.has(ctr("task", "ls").out, "PAUSED")
    must(ctr("task", "resume", name))
    must(ctr("task", "kill", "-s", "SIGKILL", name))
    wait_for("the end", lambda: "STOPPED" in ctr("task", "ls").out)
    ctr("task", "rm", name)  # exits with the task's own status
    must(ctr("container", "rm", name))


@timeout(300)
def test_containerd(t):
    d = t.dir("containerd")
    config = t.file("config.toml", f'version = 2\nroot = "{d}/root"\nstate = "{d}/state"\n'
                    f'disabled_plugins = ["io.containerd.grpc.v1.cri"]\n'
                    f'[grpc]\naddress = "{d}/sock"\n')
    daemon = Daemon(t, "containerd", "containerd", "--config", config)
    ctr = _client("ctr", "-a", f"{d}/sock")
    daemon.wait(ctr, "version")
    make_rootfs(t.dir("rootfs"), t.probe_path)
    for runtime, binary in (("runc", shutil.which("runc")), ("tested", t.runtime.path)):
        _ctr_life(t, ctr, runtime, binary)
