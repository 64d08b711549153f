"""One container of the runtime under test: verbs as methods, each with a time limit."""
import json
import os
import signal
import subprocess
import time

from . import clock, kernel


class Result:
    def __init__(self, argv, code, out, err):
        self.argv, self.code, self.out, self.err = argv, code, out, err

    def json(self):
        try:
            return json.loads(self.out)
        except ValueError as e:
            raise AssertionError(f"{self}: no JSON on stdout: {e}") from None

    def __str__(self):
        return (f"`{' '.join(map(str, self.argv))}` exited {self.code}\n"
                f"  stdout: {self.out.strip()[-1500:]!r}\n  stderr: {self.err.strip()[-1500:]!r}")


class Runtime:
    """The program, with a private --root. user: (uid, gid) to run it as."""

    def __init__(self, path, root, timeout=30):
        self.path, self.root, self.timeout = path, root, timeout
        self.user, self.groups = None, []
        self.globals = []
        self.environ = None

    def argv(self, *args):
        return [self.path, "--root", self.root, *self.globals, *map(str, args)]

    def _popen_args(self, kw):
        if self.user:
            kw.setdefault("user", self.user[0])
            kw.setdefault("group", self.user[1])
            kw.setdefault("extra_groups", self.groups)
        if self.environ is not None:
            kw.setdefault("env", self.environ)
        if "env" in kw and "BAILEY_CONFIG" in os.environ:  # the level under test
            kw["env"] = {"BAILEY_CONFIG": os.environ["BAILEY_CONFIG"], **kw["env"]}
        return kw

    def spawn(self, *args, **kw):
        return subprocess.Popen(self.argv(*args), **self._popen_args(kw))

    def __call__(self, *args, input=None, timeout=None, **kw):
        """Runs to the end. Output goes to files, not pipes: a container that lives on and holds
        the descriptors must not keep the caller waiting."""
        argv = self.argv(*args)
        with open_scratch() as out, open_scratch() as err:
            p = subprocess.Popen(
                argv, stdin=subprocess.PIPE if input is not None else subprocess.DEVNULL,
                stdout=out, stderr=err, **self._popen_args(kw))
            try:
                p.communicate(input.encode() if isinstance(input, str) else input,
                              clock.limit(timeout or self.timeout))
            except subprocess.TimeoutExpired:
                p.kill()
                p.wait()
                r = Result(argv, "time-out", slurp(out), slurp(err))
                raise AssertionError(f"time-out: {r}") from None
            return Result(argv, p.returncode, slurp(out), slurp(err))


def open_scratch():
    return os.fdopen(os.memfd_create("output"), "w+b")


def slurp(f):
    f.seek(0)
    return f.read().decode(errors="replace")


class Container:
    def __init__(self, runtime, bundle, id_, log=None):
        self.runtime, self.bundle, self.id = runtime, bundle, id_
        self.config = bundle.config
        self.made = False

    # ---- verbs; each returns Result and checks nothing unless said ----
    def verb(self, verb, *args, **kw):
        return self.runtime(verb, *args, **kw)

    def create(self, *opts, **kw):
        self._write()
        return self.verb("create", "--bundle", self.bundle.path, *opts, self.id, **kw)

    def run(self, *opts, **kw):
        self._write()
        return self.verb("run", "--bundle", self.bundle.path, *opts, self.id, **kw)

    def _write(self):
        self.made = True
        if self.config is not None:
            self.bundle.write_config()

    def start(self, **kw):
        return self.verb("start", self.id, **kw)

    def exec(self, *args, opts=(), **kw):
        return self.verb("exec", *opts, self.id, *args, **kw)

    def kill(self, sig="KILL", *opts, **kw):
        return self.verb("kill", *opts, self.id, sig, **kw)

    def delete(self, *opts, **kw):
        return self.verb("delete", *opts, self.id, **kw)

    def state(self):
        r = self.verb("state", self.id)
        if r.code != 0:
            raise AssertionError(str(r))
        return r.json()

    def status(self):
        return self.state()["status"]

    # ---- compound steps; they fail on a failure ----
    def up(self, *argv, opts=(), **kw):
        """Created and started with argv in the background; returns the pid."""
        if argv:
            self.config.args(*argv)
        must(self.create(*opts, **kw))
        pid = self.pid()
        must(self.start())
        return pid

    def sleeping(self, **kw):
        return self.up("/probe", "sleep", **kw)

    def pid(self):
        return self.state().get("pid", 0)

    def report(self, *opts, **kw):
        """`run` of the probe: what init saw."""
        return must(self.run(*opts, **kw)).json()

    def probe(self, *args, opts=(), **kw):
        """`run` of a probe command: its JSON."""
        self.config.args("/probe", *map(str, args))
        return must(self.run(*opts, **kw)).json()

    def sh(self, script, *opts, **kw):
        """`run` of a shell script: Result."""
        self.config.args("/bin/sh", "-c", script)
        return self.run(*opts, **kw)

    def exec_report(self, opts=(), **kw):
        return must(self.exec("/probe", opts=opts, **kw)).json()

    def exec_probe(self, *args, opts=(), **kw):
        return must(self.exec("/probe", *map(str, args), opts=opts, **kw)).json()

    def wait_status(self, want, timeout=10):
        end = time.monotonic() + clock.limit(timeout)
        while True:
            got = self.status()
            if got == want:
                return
            if time.monotonic() > end:
                raise AssertionError(f"container {self.id} is {got}, not {want}")
            time.sleep(0.01)

    def destroy(self):
        return self.delete("--force")

    # ---- facts from outside ----
    def cgroup_dir(self, pid=None):
        """The container's cgroup as the host sees it."""
        with open(f"/proc/{pid or self.pid()}/cgroup") as f:
            path = next(l for l in f if l.startswith("0::"))[3:].strip()
        return "/sys/fs/cgroup" + path


def must(result):
    if result.code != 0:
        raise AssertionError(str(result))
    return result


def kill_pid(pid, sig=signal.SIGKILL):
    try:
        os.kill(pid, sig)
    except ProcessLookupError:
        pass


def wait_gone(pid, timeout=10):
    """Until the process is dead (a zombie counts)."""
    end = time.monotonic() + clock.limit(timeout)
    while kernel.process_state(pid) not in (None, "Z", "X"):
        if time.monotonic() > end:
            raise AssertionError(f"process {pid} still lives")
        time.sleep(0.005)


def wait_for(what, condition, timeout=10):
    end = time.monotonic() + clock.limit(timeout)
    while True:
        look = time.monotonic()
        v = condition()
        if v:
            return v
        now = time.monotonic()
        if now > end:
            raise AssertionError(f"time-out while waiting for {what}")
        time.sleep(max(0.005, now - look))  # a look may be a program's run
