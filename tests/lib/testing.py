"""What a test gets: containers, checks that count, a directory of its own; and afterwards the proof
that nothing was left behind.

A test is a function `test_…(t)` of a file test_*.py. `t` is a Test. Tests that only make sense with
bailey (its texts, its extensions) are marked @bailey_only("why"), so that the same files run on a
peer as a second opinion.
"""
import os
import shutil
import signal
import stat

from . import host, kernel, leaks
from .bundle import Bundle
from .container import Container, Result, Runtime, kill_pid
from .terminal import ConsoleSocket


class Skip(Exception):
    pass


def bailey_only(why):
    def mark(fn):
        fn.bailey_only = why
        return fn
    return mark


def namespaces_only(why):
    """Not at isolation level vm, where it means nothing or is refused."""
    def mark(fn):
        fn.namespaces_only = why
        return fn
    return mark


def timeout(seconds):
    def mark(fn):
        fn.timeout = seconds
        return fn
    return mark


def cases(**named):
    """One test per keyword: @cases(a=(1, 2), b=(3, 4)) runs fn(t, 1, 2) as test[a] …"""
    def mark(fn):
        fn.cases = named
        return fn
    return mark


class Test:
    def __init__(self, name, runtime, probe, tmp, is_bailey):
        self.name, self.tmp, self.probe_path = name, tmp, probe
        self.is_bailey = is_bailey
        self.mark = os.path.basename(tmp)
        self.root = os.path.join(tmp, "root")
        self.runtime = Runtime(runtime, self.root)
        self.containers = []
        self.checks = 0
        self.keep_cgroup = False
        self._cleanup = []
        self._users = 0

    @property
    def in_machine(self):
        """At isolation level vm?"""
        return self.settings.isolation == "vm"

    def few(self, values):
        """All of them, or where each costs the boot of a machine the first, middle and last."""
        values = list(values)
        return [values[0], values[len(values) // 2], values[-1]] if self.in_machine else values

    # ---- making ----
    def bundle(self):
        return Bundle(os.path.join(self.tmp, f"bundle{len(self.containers)}"), self.probe_path)

    def container(self, *argv, cgroups_path=True, bundle=None, id_=None, runtime=None):
        b = bundle or self.bundle()
        id_ = id_ or f"{self.mark}-{len(self.containers)}"
        c = Container(runtime or self.runtime, b, id_)
        if argv:
            c.config.args(*argv)
        if cgroups_path:
            c.config.linux["cgroupsPath"] = f"/bailey-test/{id_}"
        self.containers.append(c)
        return c

    def dir(self, name, mode=0o755):
        p = os.path.join(self.tmp, name)
        os.makedirs(p, exist_ok=True)
        os.chmod(p, mode)
        return p

    def file(self, name, text="", mode=0o644):
        p = os.path.join(self.tmp, name)
        with open(p, "w") as f:
            f.write(text)
        os.chmod(p, mode)
        return p

    def console_socket(self):
        s = ConsoleSocket(os.path.join(self.tmp, f"console{len(self._cleanup)}"))
        self.later(s.close)
        return s

    def later(self, fn, *args):
        """Runs at the test's end, last first."""
        self._cleanup.append((fn, args))

    def as_user(self, uid=host.TEST_UID):
        """A Runtime run by an ordinary user, with a cgroup and a run directory of its own."""
        self._users += 1
        home = self.dir(f"user{self._users}")
        os.chown(home, uid, uid)
        r = Runtime(self.runtime.path, os.path.join(home, "root"))
        r.user = (uid, uid)
        if self.in_machine:
            r.groups = [os.stat("/dev/kvm").st_gid]
        r.environ = {"PATH": os.environ["PATH"], "XDG_RUNTIME_DIR": home, "HOME": home}
        self.user_root = r.root
        return r

    def shared_mount(self, name):
        """A tmpfs of the test's own with shared propagation."""
        p = self.dir(name)
        kernel.mount("tmpfs", p, "tmpfs")
        kernel.mount(None, p, None, kernel.MS_SHARED)
        self.later(kernel.umount, p)
        return p

    # ---- checking; each counts ----
    def true(self, ok, what):
        self.checks += 1
        if not ok:
            raise AssertionError(what)

    def eq(self, got, want, what="value"):
        self.true(got == want, f"{what}: got {got!r}, wanted {want!r}")

    def ne(self, got, unwanted, what="value"):
        self.true(got != unwanted, f"{what}: got {got!r}")

    def has(self, whole, part, what="value"):
        self.true(part in whole, f"{what}: {part!r} is not in {whole!r}")

    def lacks(self, whole, part, what="value"):
        self.true(part not in whole, f"{what}: {part!r} is in {whole!r}")

    def ok(self, r: Result):
        self.true(r.code == 0, str(r))
        return r

    def fails(self, r: Result, *texts, code=None, bailey=()):
        """The verb failed with the code (bailey's, not checked on peers) and the texts on stderr;
        `bailey` texts are bailey's own wording."""
        self.true(r.code not in (0, None) and r.code > 0, f"should have failed: {r}")
        if code is not None and self.is_bailey:
            self.true(r.code == code, f"exit code {code} wanted: {r}")
        err = r.err.lower()  # peers differ in capitals, and engines compare without them
        for text in texts:
            self.true(text.lower() in err, f"{text!r} is not in the message: {r}")
        if self.is_bailey:
            for text in ([bailey] if isinstance(bailey, str) else bailey):
                self.true(text.lower() in err, f"{text!r} is not in the message: {r}")
        return r

    def skip(self, why):
        raise Skip(why)

    def need(self, condition, why):
        if not condition:
            raise Skip(why)

    def exited(self, result, errno=None):
        """A probe's result(): succeeded, or failed with errno."""
        if errno is None:
            self.true(result["ret"] >= 0, f"probe: {result}")
        else:
            self.eq(result.get("errno"), errno, f"probe's errno of {result}")

    # ---- the end ----
    def finish(self, failed):
        """Ends containers, then returns what is left behind, as a list of sentences."""
        problems = []
        for c in self.containers:
            if c.made:
                try:
                    r = c.destroy()
                    if r.code != 0 and not failed:
                        problems.append(f"delete --force: {r}")
                except AssertionError as e:
                    problems.append(str(e))
        for fn, args in reversed(self._cleanup):
            try:
                fn(*args)
            except OSError as e:
                problems.append(f"clean-up: {e}")
        problems += self._left_behind()
        return problems

    def _left_behind(self):
        found = []
        for p in leaks.processes():
            found.append(f"process left behind: {p}")
            kill_pid(int(p.split()[0]), signal.SIGKILL)
        leaks.processes()
        for d in leaks.cgroups(self.mark):
            if not self.keep_cgroup:
                found.append(f"cgroup left behind: {d}")
        leaks.remove_cgroups(self.mark)
        for m in leaks.mounts(self.tmp):
            found.append(f"mount left behind: {m}")
            try:
                kernel.umount(m)
            except OSError:
                pass
        for root in {self.root} | {c.runtime.root for c in self.containers}:
            left = [n for n in leaks.state_entries(root)
                    if any(c.id == n for c in self.containers) or self.mark in n]
            if left:
                found.append(f"state left behind in {root}: {left}")
        return found


def remove_tree(path):
    """rmtree that copes with directories a test made unreadable."""
    def again(fn, p, _):
        try:
            os.chmod(os.path.dirname(p), stat.S_IRWXU)
            fn(p)
        except OSError:
            pass
    shutil.rmtree(path, onerror=again)
